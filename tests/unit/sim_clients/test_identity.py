"""Name and rank of this process."""

from __future__ import annotations

import os

import pytest

from sim_clients import IdentityError, NameRefused
from sim_clients.identity import RANK_VARIABLES, Identity, from_environment


def test_the_launchers_name_is_taken() -> None:
    assert from_environment({"PENSTOCK_NAME": "heat_3"}) == Identity("heat_3", 0)


def test_a_program_that_nobody_launched_has_a_name_of_its_own() -> None:
    assert from_environment({}) == Identity(f"process-{os.getpid()}", 0)


@pytest.mark.parametrize("variable", RANK_VARIABLES)
def test_every_mpi_tells_the_rank(variable: str) -> None:
    assert from_environment({"PENSTOCK_NAME": "heat", variable: "7"}).rank == 7


def test_penstocks_rank_comes_first() -> None:
    assert from_environment({"SLURM_PROCID": "0", "PENSTOCK_RANK": "3"}).rank == 3


def test_a_rank_that_is_no_number() -> None:
    with pytest.raises(IdentityError, match="PMI_RANK='one'"):
        from_environment({"PMI_RANK": "one"})


def test_a_name_that_breaks_keys() -> None:
    with pytest.raises(NameRefused, match="producer"):
        from_environment({"PENSTOCK_NAME": "{heat}"})
