"""Means and variances as numpy has them, however they came; and a network that has them inside."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.steps import missing
from trainers import DeepEnsemble, Format, export
from trainers.networks import Mlp
from trainers.normalise import FieldMoments, Moments, Normalised, NormalisedWithSpread
from trainers.onnx_file import missing_packages, run_onnx

VALUES = st.floats(-1000, 1000, width=32)
BLOCKS = st.lists(arrays(np.float32, st.integers(0, 7), elements=VALUES), max_size=6)

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated:DeprecationWarning")


def of(blocks: list[np.ndarray]) -> Moments:
    moments = Moments()
    for block in blocks:
        moments.add(block)
    return moments


@given(BLOCKS, BLOCKS)
def test_moments_are_those_of_numpy_in_whatever_parts_the_values_came(
    ours: list[np.ndarray], theirs: list[np.ndarray]
) -> None:
    merged = of(ours)
    merged.merge(of(theirs))
    values = np.concatenate([*ours, *theirs, np.empty(0, np.float32)]).astype(np.float64)
    assert merged.count == len(values)
    if len(values):
        assert merged.mean == pytest.approx(values.mean(), rel=1e-12, abs=1e-9)
        assert merged.variance == pytest.approx(values.var(), rel=1e-9, abs=1e-9)


def test_a_mean_that_is_large_beside_the_deviation_costs_no_digits() -> None:
    generator = np.random.default_rng(0)
    blocks = [1e9 + generator.normal(0, 1, 1000) for _ in range(100)]
    assert of(blocks).variance == pytest.approx(np.concatenate(blocks).var(), rel=1e-6)


@pytest.mark.parametrize("value", [0.0, 3.0, 1e30])
def test_a_constant_field_is_divided_by_nothing_but_1(value: float) -> None:
    assert of([np.full(10, value)]).scale == 1
    assert Moments().scale == 1


def test_resumed_moments_go_on() -> None:
    before, after = FieldMoments(["u", "v"]), FieldMoments(["u", "v"])
    before.add({"u": np.arange(5.0), "w": np.zeros(3)})
    after.load_state_dict(before.state_dict())
    for moments in (before, after):
        moments.add({"u": np.arange(7.0), "v": np.ones(2)})
    assert before.of == after.of
    assert after.of["u"].count == 12
    with pytest.raises(KeyError, match="p"):
        FieldMoments(["p"]).load_state_dict(before.state_dict())


class Two(torch.nn.Module):
    """Remembers its inputs' moments as it got them."""

    def forward(self, u: torch.Tensor, jump: torch.Tensor) -> torch.Tensor:
        return u.mean(0, keepdim=True) + 0 * u + jump


def normalised(network: torch.nn.Module, *inputs: str) -> tuple[Normalised, np.ndarray]:
    values = np.random.default_rng(0).normal(273, 5, (40, 3)).astype(np.float32)
    moments = FieldMoments([*inputs, "y"])
    moments.add({"u": values, "y": np.array([100.0, 300.0])})
    wrapped = Normalised(network, inputs, "y")
    wrapped.follow(moments)
    return wrapped, values


def test_raw_fields_go_in_and_a_raw_one_comes_out() -> None:
    wrapped, values = normalised(Two(), "u", "jump")
    answer = wrapped(torch.from_numpy(values), torch.full((40, 1), 2.0))
    assert answer.dtype == torch.float32
    inside = ((values - values.mean(dtype=np.float64)) / values.std(dtype=np.float64)).mean(0) + 2
    np.testing.assert_allclose(answer[0].numpy(), 200 + 100 * inside, rtol=1e-5)


def test_before_it_follows_anything_it_changes_nothing() -> None:
    network = Mlp(3, 1)
    x = torch.rand(5, 3)
    assert torch.equal(Normalised(network, ["u"], "y")(x), network(x))


def test_what_is_exported_has_the_means_and_scales_inside() -> None:
    wrapped, values = normalised(Mlp(3, 2), "u")
    x = torch.from_numpy(values)
    archive = torch.jit.load(io.BytesIO(export(wrapped, [x[:1]])))
    torch.testing.assert_close(archive(x), wrapped.eval()(x))
    two, _ = normalised(Two(), "u", "jump")
    archive = torch.jit.load(io.BytesIO(export(two, [x[:1], torch.ones(1, 1)])))
    torch.testing.assert_close(archive(x, torch.ones(40, 1)), two(x, torch.ones(40, 1)))


def test_an_onnx_file_has_them_inside_and_takes_any_number_of_rows() -> None:
    if packages := missing_packages():
        missing(f"{', '.join(packages)} is not installed: pip install penstock[onnx]")
    two, values = normalised(Two(), "u", "jump")
    file = export(two, [torch.from_numpy(values)[:1], torch.ones(1, 1)], format=Format.ONNX)
    x = torch.from_numpy(values)
    (found,) = run_onnx(file, [x, torch.ones(40, 1)])
    torch.testing.assert_close(found, two.eval()(x, torch.ones(40, 1)).detach(), rtol=1e-4, atol=1e-4)


def test_a_spread_is_brought_to_the_targets_scale() -> None:
    moments = FieldMoments(["x", "y"])
    moments.add({"x": np.array([0.0, 2.0]), "y": np.array([10.0, 30.0])})
    inside = DeepEnsemble([Mlp(1, 1), Mlp(1, 1)])
    outside = NormalisedWithSpread(inside, ["x"], "y")
    outside.follow(moments)
    x = torch.tensor([[0.5], [3.0]])
    mean, spread = inside((x - 1) / 1)
    torch.testing.assert_close(outside(x), (mean * 10 + 20, spread * 10))
    answers = torch.stack(outside.answers(x))
    torch.testing.assert_close((answers.mean(0), answers.std(0)), outside(x))


def test_means_and_scales_are_part_of_the_networks_state() -> None:
    wrapped, values = normalised(Mlp(3, 2), "u")
    other = Normalised(Mlp(3, 2), ["u"], "y")
    other.load_state_dict(wrapped.state_dict())
    x = torch.from_numpy(values)
    assert torch.equal(other(x), wrapped(x))
