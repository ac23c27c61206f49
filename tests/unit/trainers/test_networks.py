"""The networks: their basis, and what they can represent."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.networks import FourierNetwork, fourier_basis


@settings(deadline=None)
@given(points=st.integers(2, 40), data=st.data())
def test_the_basis_is_orthonormal(points: int, data: st.DataObject) -> None:
    modes = data.draw(st.integers(0, (points - 1) // 2))
    basis = fourier_basis(points, modes)
    assert basis.shape == (points, 2 * modes + 1)
    torch.testing.assert_close(basis.t() @ basis, torch.eye(2 * modes + 1), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("points", "modes"), [(8, 4), (8, 5), (8, -1)])
def test_more_wave_numbers_than_the_grid_carries_are_refused(points: int, modes: int) -> None:
    with pytest.raises(ValueError, match="8 grid points carry fewer than 4 wave numbers"):
        fourier_basis(points, modes)


def test_a_fourier_network_keeps_the_grid() -> None:
    network = FourierNetwork((3, 2), 10, modes=3, width=5, depth=1)
    assert network(torch.randn(4, 3, 10, 10)).shape == (4, 2, 10, 10)
