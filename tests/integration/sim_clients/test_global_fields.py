"""Blocks that ranks have put, in C, Fortran and Python, read as one array over each client."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from smartredis import Client as Plain
from smartredis import Dataset

from sim_clients import About, Address, Block, Client, Field, SnapshotError, connect, keys
from sim_clients.fields import WIRE_DTYPES
from sim_clients.global_fields import global_field, global_fields
from sim_clients.native_client import NativeClient
from sim_clients.smartredis_environment import environment_for
from tests.decompositions import ORDERS, decompositions, put_blocks
from tests.integration.servers import RedisServer
from tests.steps import missing

PROGRAMS = Path(__file__).parent / "programs"
COMPILERS = {"c": "mpicc.mpich", "fortran": "mpif90.mpich"}
SOURCES = {"c": "blocks.c", "fortran": "blocks.f90"}
WHOLE = np.add.outer(100.0 * np.arange(7), np.arange(10))

pytestmark = pytest.mark.usefixtures("native_library")


@pytest.fixture(params=["native", "smartredis"])
def opened(request: pytest.FixtureRequest) -> Iterator[Callable[..., Client]]:
    """Open clients that are closed after the test."""
    clients: list[Client] = []

    def open_client(address: Address, producer: str, rank: int = 0) -> Client:
        clients.append(connect(address, producer=producer, rank=rank, client=request.param))
        return clients[-1]

    yield open_client
    for client in clients:
        client.close()


@pytest.fixture(params=["server", "cluster"])
def address(request: pytest.FixtureRequest, server: RedisServer, cluster_address: Address) -> Address:
    """One server and a cluster, which are empty."""
    return cluster_address if request.param == "cluster" else Address.parse(server.address)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=decompositions())
def test_any_decomposition_comes_back_whole(
    address: Address, opened: Callable[..., Client], drawn: tuple[np.ndarray, list[Field]]
) -> None:
    whole, parts = drawn
    reader = opened(address, "reader")
    reader.forget_stream("blocks")
    ranks: list[Client] = []

    def open_client(producer: str, rank: int) -> Client:
        ranks.append(connect(address, producer=producer, rank=rank, client="native"))
        return ranks[-1]

    put_blocks(open_client, "T", parts, stream="blocks")
    found = global_field(reader, "T", 0, ranks=len(parts), stream="blocks")
    np.testing.assert_array_equal(found, whole)
    assert found.dtype == whole.dtype
    assert found.attrs.get("units") == parts[0].units
    for client in ranks:
        client.close()


def test_the_native_client_receives_blocks_in_place(
    address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The arrays that the library fills are parts of the global one."""
    client = connect(address, producer="heat", client="native")
    assert isinstance(client, NativeClient)
    client.put_snapshot(0, {"T": Field(WHOLE[:, 3:], block=Block((7, 10), (0, 3)))})
    other = connect(address, producer="heat", rank=1, client="native")
    other.put_snapshot(0, {"T": Field(WHOLE[:, :3], block=Block((7, 10), (0, 0)))})
    received = []
    get_snapshot = client.get_snapshot

    def watched(*args: object, **options: object) -> object:
        received.append(get_snapshot(*args, **options))  # type: ignore[arg-type]
        return received[-1]

    monkeypatch.setattr(client, "get_snapshot", watched)
    found = global_field(client, "T", 0)
    np.testing.assert_array_equal(found, WHOLE)
    assert all(np.shares_memory(snapshot.fields["T"], found.values) for snapshot in received)
    client.close()
    other.close()


@pytest.mark.parametrize("dtype", WIRE_DTYPES)
@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_any_order_of_memory_is_put_and_filled(server: RedisServer, dtype: str, rank: int) -> None:
    """Put from each order of memory, received into each other."""
    client = connect(Address.parse(server.address), producer="heat", client="native")
    numbers = np.arange(3**rank).reshape((3,) * rank).astype(dtype)
    for step, order in enumerate(ORDERS):
        client.put_snapshot(step, {"u": order(numbers)})
        for other in ORDERS:
            into = other(np.zeros_like(numbers))
            into = into if into.flags.writeable else into.copy()
            client.get_snapshot(step, place=lambda name, is_now, about, into=into: into)
            np.testing.assert_array_equal(into, numbers)
    client.close()


def test_a_plain_program_is_understood_and_understands(
    address: Address, opened: Callable[..., Client]
) -> None:
    client = opened(address, "heat")
    client.put_snapshot(0, {"T": Field(WHOLE[:4], "K", ("y", "x"), Block((7, 10), (0, 0)))})
    with environment_for(address):
        plain = Plain(None, logger_name="plain")
    ours = plain.get_dataset("heat.0.0")
    assert ours.get_meta_strings("T.units") == ["K"]
    assert ours.get_meta_strings("T.dims") == ["y", "x"]
    assert ours.get_meta_scalars("T.shape").tolist() == [7, 10]
    assert ours.get_meta_scalars("T.offset").tolist() == [0, 0]
    theirs = Dataset("heat.1.0")
    theirs.add_tensor("T", np.ascontiguousarray(WHOLE[4:]))
    theirs.add_meta_string("T.units", "K")
    for name, dim, shape, offset in (("T.dims", "y", 7, 4), ("T.dims", "x", 10, 0)):
        theirs.add_meta_string(name, dim)
        theirs.add_meta_scalar("T.shape", np.int32(shape))
        theirs.add_meta_scalar("T.offset", np.int32(offset))
    plain.put_dataset(theirs)
    plain.append_to_list(keys.DEFAULT_STREAM, theirs)
    assert client.get_snapshot(1).about == {"T": About("K", ("y", "x"), Block((7, 10), (4, 0)))}
    np.testing.assert_array_equal(global_field(client, "T", 0, ranks=2), WHOLE)


@pytest.mark.parametrize(
    ("strings", "numbers", "says"),
    [
        ({"T.units": ["K", "Pa"]}, {}, "metadata 'T.units' are not what tells of a field"),
        ({}, {"T.units": [3]}, "metadata 'T.units' are not"),
        ({"T.shape": ["7", "10"]}, {}, "metadata 'T.shape' are not"),
        ({}, {"T.shape": [7.5, 10.0], "T.offset": [0, 0]}, "metadata 'T.shape' are not"),
        ({}, {"T.shape": [7, 10]}, "metadata have one of 'T.shape' and 'T.offset'"),
        (
            {},
            {"T.shape": [7, 10], "T.offset": [0, -1]},
            r"'T' is the block \(7, 10\) at \(0, -1\) of .* \(7, 10\)",
        ),
        (
            {},
            {"T.shape": [7, 9], "T.offset": [0, 0]},
            r"'T' is the block \(7, 10\) at \(0, 0\) of .* \(7, 9\)",
        ),
        ({}, {"T.shape": [-(2**63), 10], "T.offset": [0, 0]}, "'T' is the block"),
        ({"T.dims": ["x", "y", "z"]}, {}, "T.dims|has 2 dimensions, its metadata tell of 3"),
    ],
)
def test_metadata_that_make_no_sense_are_named(
    server: RedisServer,
    opened: Callable[..., Client],
    strings: dict[str, list[str]],
    numbers: dict[str, list[float]],
    says: str,
) -> None:
    address = Address.parse(server.address)
    with environment_for(address):
        plain = Plain(None, logger_name="plain")
    dataset = Dataset("heat.0.0")
    dataset.add_tensor("T", WHOLE)
    for name, texts in strings.items():
        for text in texts:
            dataset.add_meta_string(name, text)
    for name, values in numbers.items():
        for value in values:
            dataset.add_meta_scalar(name, value)
    plain.put_dataset(dataset)
    plain.append_to_list(keys.DEFAULT_STREAM, dataset)
    with pytest.raises(SnapshotError, match=says) as caught:
        opened(address, "reader").get_snapshot(0)
    assert caught.value.snapshot == "heat.0.0"


def test_a_contract_that_is_none_is_said(
    server: RedisServer, db: redis.Redis, opened: Callable[..., Client]
) -> None:
    db.set("{snapshots}.contract", "somebody's text")
    client = opened(Address.parse(server.address), "heat")
    with pytest.raises(SnapshotError, match=r"keeps as its contract is none: .somebody's text"):
        client.contract()
    with pytest.raises(SnapshotError, match="keeps as its contract is none"):
        client.put_snapshot(0, {"T": WHOLE})
    assert client.announced() == 0


@pytest.mark.parametrize("second", ["native", "smartredis"])
def test_all_clients_write_the_same_contract(
    server: RedisServer, db: redis.Redis, opened: Callable[..., Client], second: str
) -> None:
    address = Address.parse(server.address)
    fields = {
        "b.2": Field(WHOLE, "W m⁻²"),
        "b": Field(WHOLE[0], dims=("x",)),
        "B": Field(WHOLE.astype(np.int16), "1", ("y", "x"), Block((14, 10), (7, 0))),
    }
    opened(address, "heat").put_snapshot(0, fields)
    lines = ["since heat.0.0", "B: int16 (14, 10) in blocks, 1, dims y x", "b: float64 (10,), dims x"]
    assert db.get("{snapshots}.contract").decode().split("\n") == [*lines, "b.2: float64 (7, 10), W m⁻²"]
    other = connect(address, producer="heat", rank=1, client=second)
    other.put_snapshot(0, fields)
    other.close()


def started(command: list[str], **environment: str) -> str:
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Compile the program of a language with MPICH's compiler."""

    def compile_program(language: str) -> Path:
        for tool in (COMPILERS[language], "mpiexec.mpich"):
            if shutil.which(tool) is None:
                missing(f"there is no {tool}: apt install mpich libmpich-dev gfortran")
        program = tmp_path_factory.mktemp("blocks") / language
        flags = shlex.split(started([sys.executable, "-m", "orchestrator.cli", "flags", language]))
        source = PROGRAMS / SOURCES[language]
        started([COMPILERS[language], str(source), *flags, "-o", str(program)])
        return program

    return compile_program


@pytest.mark.parametrize("ranks", [1, 4])
@pytest.mark.parametrize(("language", "order"), [("c", ""), ("fortran", ""), ("fortran", "reversed")])
def test_the_blocks_of_mpi_ranks_come_back_as_one_array(
    server: RedisServer,
    opened: Callable[..., Client],
    compiled: Callable[[str], Path],
    language: str,
    order: str,
    ranks: int,
) -> None:
    address = Address.parse(server.address)
    program = [str(compiled(language)), order]
    told = started(
        ["mpiexec.mpich", "-n", str(ranks), *program], PENSTOCK_NAME="heat", **address.environment()
    )
    assert told == f"{2 * ranks} snapshots\n"
    client = opened(address, "reader")
    found = list(global_fields(client, "T", ranks=ranks))
    assert [int(field.step) for field in found] == [0, 10]
    assert [float(field.time) for field in found] == [0.0, 1.0]
    dims = ("x", "y") if (language, order) == ("fortran", "") else ("y", "x")
    for field in found:
        assert (field.dims, field.attrs) == (dims, {"units": "K"})
        np.testing.assert_array_equal(field.transpose("y", "x"), 1000 * int(field.step) + WHOLE)
    for rank in range(ranks):
        assert client.stream_ended("heat", rank)
