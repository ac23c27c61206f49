"""Snapshots in files by libpenstock: read in every way, held to what was announced, and removed alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import redis

from sim_clients import Address, Bound, Outcome, SnapshotError
from sim_clients.identity import Identity
from sim_clients.native_client import NativeClient
from tests.integration.servers import RedisServer, ShardCluster, StartServer

pytestmark = pytest.mark.usefixtures("native_library")

U = np.arange(12, dtype=np.float32).reshape(3, 4)
Open = Callable[..., NativeClient]


@pytest.fixture
def server(server: RedisServer) -> RedisServer:
    """The shared server, without connections of tests before: what these are promised would count."""
    with server.connect() as connection:
        connection.client_kill_filter(_type="normal", skipme=True)
    return server


@pytest.fixture
def open_native() -> Iterator[Open]:
    """Open native clients, which are closed after the test."""
    clients: list[NativeClient] = []

    def open_client(server: RedisServer, producer: str = "heat_0") -> NativeClient:
        clients.append(NativeClient(Address.parse(server.address), Identity(producer, 0), timeout_s=30.0))
        return clients[-1]

    yield open_client
    for client in clients:
        client.close()


@pytest.fixture
def client(server: RedisServer, open_native: Open, tmp_path: Path) -> NativeClient:
    """A client whose stream has snapshot 0 in the database and 1 in files."""
    client = open_native(server)
    spill(client, tmp_path)
    return client


def spill(client: NativeClient, directory: Path) -> None:
    client.bound_stream(Bound(items=1, policy="spill", directory=directory))
    outcomes = [client.put_snapshot(step, {"u": U + step}, time=0.5).outcome for step in range(2)]
    assert outcomes == [Outcome.STORED, Outcome.SPILLED]


def file_of(directory: Path) -> Path:
    (found,) = directory.glob("*/snapshots/heat_0.0.1/u.npy")
    return found


def packed(*texts: str) -> bytes:
    return b"\x07" + b"".join(len(text).to_bytes(8, "little") + text.encode() for text in texts)


# ---- Files that are not what was announced


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (U.astype(np.float64), r"'u' is float64 \(3, 4\); the stream 'snapshots' has float32 \(3, 4\)"),
        (U.view(np.int32), r"'u' is int32 \(3, 4\); the stream 'snapshots' has float32 \(3, 4\)"),
        (U.reshape(4, 3), r"'u' is float32 \(4, 3\); the stream 'snapshots' has float32 \(3, 4\)"),
    ],
)
def test_a_file_of_another_array_is_refused(
    client: NativeClient, tmp_path: Path, array: np.ndarray, says: str
) -> None:
    path = file_of(tmp_path)
    np.save(path, array)
    for read in (client.get_snapshot, client.map_snapshot):
        with pytest.raises(SnapshotError, match=rf"{says}.*{path.parent}") as caught:
            read(1)
        assert caught.value.snapshot == "heat_0.0.1"


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ("(999999999999, 4)", "tells of another size than the file has"),
        ("(9223372036854775807, 9223372036854775807)", "no file of an array"),
        ("(3, 4", "no file of an array"),
        (f"(3, 4, {'1, ' * 70})", "no file of an array"),
        ("(0,)", "tells of another size than the file has"),
    ],
)
def test_no_memory_is_taken_by_the_word_of_a_header(
    client: NativeClient, tmp_path: Path, shape: str, says: str
) -> None:
    path = file_of(tmp_path)
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + U.tobytes())
    with pytest.raises(SnapshotError, match=f"heat_0.0.1/u.npy: .*{says}"):
        client.get_snapshot(1)


def test_a_file_that_is_longer_or_shorter_is_refused(client: NativeClient, tmp_path: Path) -> None:
    path = file_of(tmp_path)
    whole = path.read_bytes()
    for wrong in (whole + b"\0", whole[:-1]):
        path.write_bytes(wrong)
        with pytest.raises(SnapshotError, match=r"u\.npy: its header tells of another size"):
            client.get_snapshot(1)
    path.write_bytes(whole)
    np.testing.assert_array_equal(client.get_snapshot(1).fields["u"], U + 1)


# ---- Every way to read


def test_the_fields_that_are_asked_for_into_the_callers_arrays(client: NativeClient) -> None:
    into = np.zeros((3, 4), np.float32)
    found = client.get_snapshot(1, fields=["u"], place=lambda _name, _type, _about: into)
    assert found.outcome is Outcome.SPILLED and found.time == 0.5
    np.testing.assert_array_equal(into, U + 1)


def test_a_view_of_files_is_a_copy_of_its_own(client: NativeClient, tmp_path: Path) -> None:
    found = client.map_snapshot(1)
    assert found.outcome is Outcome.SPILLED
    file_of(tmp_path).write_bytes(b"")
    np.testing.assert_array_equal(found.fields["u"], U + 1)
    client.close()
    np.testing.assert_array_equal(found.fields["u"], U + 1)


@pytest.mark.parametrize("mapped", [False, True])
def test_among_several(client: NativeClient, mapped: bool) -> None:
    client.put_snapshot(2, {"u": U + 2})
    read: list[tuple[int, Outcome]] = []
    while len(read) < 3:
        found = client.get_snapshots([0, 1, 2][len(read) :], mapped=mapped)
        for one in found:
            np.testing.assert_array_equal(one.fields["u"], U + one.step)
            read.append((one.step, one.outcome))
    assert read == [(0, Outcome.STORED), (1, Outcome.SPILLED), (2, Outcome.SPILLED)]


# ---- What is removed, and what is not


@pytest.mark.parametrize("wrong", ["{}/precious", "/", "", "{place}/..", "{place}/.", "{place}/u.npy"])
def test_nothing_goes_that_damaged_metadata_name(
    client: NativeClient, db: redis.Redis, tmp_path: Path, wrong: str
) -> None:
    precious = tmp_path / "precious" / "u.npy"
    precious.parent.mkdir()
    np.save(precious, U)
    place = file_of(tmp_path).parent
    client.subscribe("reader")
    db.hset("{heat_0.0.1}.meta", ".spilled", packed("here", wrong.format(tmp_path, place=place)))
    client.acknowledge(2, "reader")
    assert client.fill().kept_from == 2
    assert precious.exists() and file_of(tmp_path).exists()


def test_other_files_in_a_snapshots_directory_stay(client: NativeClient, tmp_path: Path) -> None:
    place = file_of(tmp_path).parent
    (place / "notes.txt").write_text("mine")
    client.subscribe("reader")
    client.acknowledge(2, "reader")
    assert [path.name for path in place.iterdir()] == ["notes.txt"]


def test_a_stream_that_is_forgotten_leaves_nothing(
    client: NativeClient, db: redis.Redis, tmp_path: Path
) -> None:
    client.subscribe("reader")
    client.put_tensor("other", U)
    client.end_stream()
    client.forget_stream()
    assert db.keys("*") == [b"other"]
    assert list(tmp_path.iterdir()) == []
    fill = client.fill()
    assert (fill.announced, fill.spilled, fill.consumers, fill.bound.policy) == (0, 0, {}, "block")
    spill(client, tmp_path)


def test_a_stream_of_a_cluster_that_is_forgotten_leaves_nothing(
    shared_cluster: ShardCluster, cluster_address: Address, tmp_path: Path
) -> None:
    clients = [NativeClient(cluster_address, Identity("heat", rank), timeout_s=30.0) for rank in range(4)]
    clients[0].bound_stream(Bound(items=6, policy="spill", directory=tmp_path))
    outcomes = [client.put_snapshot(step, {"u": U}).outcome for step in range(3) for client in clients]
    assert outcomes == [Outcome.STORED] * 6 + [Outcome.SPILLED] * 6
    clients[0].subscribe("reader")
    clients[0].acknowledge(8, "reader")
    assert (clients[0].fill().items, len(list(tmp_path.rglob("*.npy")))) == (0, 4)
    clients[1].forget_stream()
    assert list(tmp_path.iterdir()) == []
    for shard in shared_cluster.shards:
        with shard.connect() as db:
            assert db.keys("*") == []
    for client in clients:
        client.close()


# ---- Two runs in one directory


def test_two_databases_do_not_share_files(
    client: NativeClient, start_server: StartServer, open_native: Open, tmp_path: Path
) -> None:
    other = open_native(start_server())
    spill(other, tmp_path)
    assert len(list(tmp_path.glob("*/snapshots/heat_0.0.1/u.npy"))) == 2
    other.subscribe("reader")
    other.acknowledge(2, "reader")
    np.testing.assert_array_equal(client.get_snapshot(1).fields["u"], U + 1)


def test_a_database_that_comes_back_goes_on_in_its_own_directory(
    start_server: StartServer, open_native: Open, tmp_path: Path
) -> None:
    server = start_server()
    spill(open_native(server), tmp_path)
    server.restart("SAVE")
    client = open_native(server, "heat_1")
    client.bound_stream(Bound(items=1, policy="spill", directory=tmp_path))
    assert client.put_snapshot(0, {"u": U}).outcome is Outcome.SPILLED
    np.testing.assert_array_equal(client.get_snapshot(1).fields["u"], U + 1)
    assert len(list(tmp_path.iterdir())) == 1


def test_what_the_disk_refuses_is_named_with_the_path(
    server: RedisServer, open_native: Open, tmp_path: Path
) -> None:
    client = open_native(server)
    (tmp_path / "file").write_text("")
    client.bound_stream(Bound(items=1, policy="spill", directory=tmp_path / "file"))
    client.put_snapshot(0, {"u": U})
    with pytest.raises(SnapshotError, match=r"spilled to .*/file/[0-9a-f]{16}/snapshots/.*: Not a directory"):
        client.put_snapshot(1, {"u": U})
