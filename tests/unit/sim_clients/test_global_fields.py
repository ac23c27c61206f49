"""Blocks of ranks as one array: what does not fit together is named, what fits comes back as it was."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import xarray
from hypothesis import given

from sim_clients import Block, Field, GlobalFieldError, MemoryClient, MemoryDatabase, SnapshotError
from sim_clients.global_fields import global_field, global_fields
from tests.decompositions import decompositions, put_blocks

WHOLE = np.arange(24.0).reshape(6, 4)


@pytest.fixture
def database() -> MemoryDatabase:
    return MemoryDatabase()


def rows(start: int, end: int, values: np.ndarray = WHOLE, **changes: Any) -> Field:
    options = {"units": "K", "dims": ("y", "x"), "block": Block(WHOLE.shape, (start, 0)), **changes}
    return Field(values[start:end], **options)


def put(database: MemoryDatabase, *parts: Field, step: int = 0, **options: Any) -> MemoryClient:
    put_blocks(
        lambda producer, rank: MemoryClient(database, producer, rank), "T", list(parts), step, **options
    )
    return MemoryClient(database, "reader")


def test_a_step_that_nobody_has_put(database: MemoryDatabase) -> None:
    client = MemoryClient(database)
    with pytest.raises(
        GlobalFieldError, match=r"'T': nobody has put .* step 0 in 'snapshots'; none has been"
    ):
        global_field(client, "T", 0)
    put(database, rows(0, 6), step=3)
    put(database, rows(0, 6), step=7)
    with pytest.raises(GlobalFieldError, match=r"step 0 .*; those announced are 3 to 7") as caught:
        global_field(client, "T", 0, producer="heat")
    assert caught.value.field == "T"
    with pytest.raises(GlobalFieldError, match="none has been announced"):
        global_field(client, "T", 3, producer="other")


def test_ranks_that_are_missing_are_named(database: MemoryDatabase) -> None:
    client = put(database, rows(0, 2), rows(2, 3))
    with pytest.raises(GlobalFieldError, match=r"no snapshot of step 0 has been announced by rank 2, 3$"):
        global_field(client, "T", 0, ranks=4)


def test_cells_that_nobody_has_are_named(database: MemoryDatabase) -> None:
    client = put(database, rows(0, 2), rows(3, 6))
    with pytest.raises(GlobalFieldError, match=r"no rank has 4 of its 24 cells, the first is \(2, 0\)"):
        global_field(client, "T", 0, ranks=2)


def test_cells_that_nobody_has_are_noticed_where_others_are_shared(database: MemoryDatabase) -> None:
    client = put(database, rows(0, 2), rows(0, 2), rows(3, 5))
    with pytest.raises(GlobalFieldError, match=r"no rank has 8 of its 24 cells, the first is \(2, 0\)"):
        global_field(client, "T", 0)


def test_two_ranks_with_different_values_of_a_cell_are_named(database: MemoryDatabase) -> None:
    other = WHOLE.copy()
    other[3, 1] = -1
    client = put(database, rows(0, 4), rows(3, 6, other))
    says = r"the ranks 0 and 1 have different values of 1 cells, the first is \(3, 1\)"
    with pytest.raises(GlobalFieldError, match=says):
        global_field(client, "T", 0)


def test_cells_that_two_ranks_have_alike_are_no_error(database: MemoryDatabase) -> None:
    values = WHOLE.copy()
    values[3, 2] = np.nan
    client = put(database, rows(0, 4, values), rows(2, 6, values))
    np.testing.assert_array_equal(global_field(client, "T", 0), values)


def test_a_field_without_a_block_is_refused(database: MemoryDatabase) -> None:
    client = put(database, rows(0, 6, block=None))
    with pytest.raises(GlobalFieldError, match="at step 0 rank 0 has put it without its block"):
        global_field(client, "T", 0)


def test_blocks_of_different_fields_are_refused(database: MemoryDatabase) -> None:
    put(database, rows(0, 3))
    database.contracts.clear()  # as plain SmartRedis programs know none
    MemoryClient(database, "heat", 1).put_snapshot(0, {"T": rows(3, 6, units="°C")})
    with pytest.raises(
        GlobalFieldError, match=r"that of rank 1 is .* °C, dims y x, that of rank 0 is .* K, dims"
    ):
        global_field(MemoryClient(database), "T", 0)


def test_ranks_of_different_times_are_refused(database: MemoryDatabase) -> None:
    MemoryClient(database, "heat", 0).put_snapshot(0, {"T": rows(0, 3)}, time=0.5)
    MemoryClient(database, "heat", 1).put_snapshot(0, {"T": rows(3, 6)}, time=0.25)
    with pytest.raises(GlobalFieldError, match=r"the time of rank 1 is 0\.25 s, that of rank 0 is 0\.5 s"):
        global_field(MemoryClient(database), "T", 0)


def test_of_several_producers_one_must_be_named(database: MemoryDatabase) -> None:
    client = put(database, rows(0, 6))
    MemoryClient(database, "other").put_snapshot(0, {"T": rows(0, 6, -WHOLE)})
    with pytest.raises(GlobalFieldError, match="snapshots of heat, other: say producer="):
        global_field(client, "T", 0)
    np.testing.assert_array_equal(global_field(client, "T", 0, producer="other"), -WHOLE)


def test_a_field_that_is_not_there(database: MemoryDatabase) -> None:
    with pytest.raises(SnapshotError, match=r"'heat\.0\.0': it has no field 'p'"):
        global_field(put(database, rows(0, 6)), "p", 0)


def test_it_is_a_data_array_with_units_dims_and_time(database: MemoryDatabase) -> None:
    found = global_field(put(database, rows(0, 3), rows(3, 6), step=40, time=0.5), "T", 40, ranks=2)
    expected = xarray.DataArray(
        WHOLE, dims=("y", "x"), coords={"step": 40, "time": 0.5}, attrs={"units": "K"}, name="T"
    )
    xarray.testing.assert_equal(found, expected)
    assert (found.dims, found.attrs, found.name) == (("y", "x"), {"units": "K"}, "T")
    assert found.coords["time"].attrs == {"units": "s"}
    assert found.sel(y=slice(3, None)).shape == (3, 4)


def test_dims_and_time_need_not_be_known(database: MemoryDatabase) -> None:
    parts = [rows(start, start + 3, dims=None, units=None) for start in (0, 3)]
    found = global_field(put(database, *parts), "T", 0)
    assert (found.dims, found.attrs, set(found.coords)) == (("dim_0", "dim_1"), {}, {"step"})


def test_a_dimension_may_be_called_time(database: MemoryDatabase) -> None:
    found = global_field(put(database, rows(0, 6, dims=("time", "x")), time=0.5), "T", 0)
    assert found.dims == ("time", "x") and set(found.coords) == {"step"}


def test_the_steps_that_all_ranks_have_put(database: MemoryDatabase) -> None:
    for step in (0, 5, 9):
        values = WHOLE + step
        client = put(database, rows(0, 3, values), rows(3, 6, values), step=step, time=0.1 * step)
    MemoryClient(database, "heat", 0).put_snapshot(12, {"T": rows(0, 3)})
    found = xarray.concat(
        list(global_fields(client, "T", ranks=2)), "step", coords="different", compat="equals"
    )
    assert found.dims == ("step", "y", "x") and found.coords["step"].values.tolist() == [0, 5, 9]
    np.testing.assert_array_equal(found.sel(step=5), WHOLE + 5)


@given(decompositions())
def test_any_decomposition_comes_back_whole(drawn: tuple[np.ndarray, list[Field]]) -> None:
    whole, parts = drawn
    database = MemoryDatabase()
    found = global_field(put(database, *parts), "T", 0, ranks=len(parts))
    np.testing.assert_array_equal(found, whole)
    assert found.dtype == whole.dtype


def test_without_xarray_the_error_names_the_extra() -> None:
    program = (
        "import sys; sys.modules['xarray'] = None\n"
        "import sim_clients\n"
        "try: import sim_clients.global_fields\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "global fields need the package xarray: pip install xarray, or penstock[xarray]\n"
