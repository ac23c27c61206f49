"""What a contract says of a field, read back from its text."""

from __future__ import annotations

import pytest

from sim_clients.about import About, Block
from sim_clients.contract import Contract, Described
from sim_clients.fields import FieldType


@pytest.mark.parametrize("units", ["K", "m s-1", "W/(m2 K)", None])
@pytest.mark.parametrize("dims", [("y", "x"), None])
@pytest.mark.parametrize("block", [Block((8, 8), (4, 0)), None])
def test_units_are_those_that_the_first_snapshot_had(
    units: str | None, dims: tuple[str, ...] | None, block: Block | None
) -> None:
    described = Described(FieldType("float32", (4, 8)), About(units, dims, block))
    contract = Contract.parse("snapshots", str(Contract.of("heat_0.0.0", {"T": described})))
    assert contract.units("T") == units
    assert contract.units("u") is None
