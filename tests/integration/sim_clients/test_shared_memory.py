"""libpenstock's half of shared memory: what goes through it, what it does where it cannot, who ends what."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

from sim_clients import (
    Address,
    Bound,
    ClientError,
    DatabaseFull,
    KeyMissing,
    Outcome,
    StreamFull,
    TensorError,
    native_client,
)
from sim_clients.flow import Policy
from sim_clients.identity import Identity
from sim_clients.native_binding import loaded
from sim_clients.native_client import NativeClient
from sim_clients.native_views import is_mapped
from tests.integration.module.arena_client import arena, wait_for
from tests.integration.servers import RedisServer, StartServer, breaking_connections, wait_until

MEGABYTE = 1 << 20
LARGE = (256, 512)
"""A float64 array of 1 MB."""
NOBODY = 65534
ROOT = Path(__file__).parents[3]

OpenNative = Callable[..., NativeClient]

pytestmark = pytest.mark.usefixtures("native_library")


@pytest.fixture
def open_native() -> Iterator[OpenNative]:
    """Open clients that are closed after the test."""
    clients: list[NativeClient] = []

    def open_client(server: RedisServer, **options: Any) -> NativeClient:
        clients.append(NativeClient(Address.parse(server.address), Identity("heat", 0), **options))
        return clients[-1]

    yield open_client
    for client in clients:
        client.close()


@pytest.fixture
def sharing(sharing_server: RedisServer) -> RedisServer:
    """The server that shares memory, empty."""
    with sharing_server.connect() as db:
        db.flushall()
        wait_for(db, used=0)
    return sharing_server


@pytest.fixture
def db(sharing: RedisServer) -> Iterator[redis.Redis]:
    with sharing.connect() as connection:
        yield connection


@pytest.fixture
def client(sharing: RedisServer, open_native: OpenNative) -> NativeClient:
    return open_native(sharing)


def field(value: float = 0.0) -> np.ndarray:
    """A float64 array of 1 MB."""
    return np.arange(np.prod(LARGE), dtype=np.float64).reshape(LARGE) + value


# ---- Bad input, and what stands in the way


@pytest.mark.parametrize("text", ["yes", "-1", "1.5", " 1", "9" * 19])
def test_a_variable_that_is_no_size_is_refused(
    sharing: RedisServer, open_native: OpenNative, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("PENSTOCK_SHARED_MEMORY", text)
    with pytest.raises(ClientError, match=f"PENSTOCK_SHARED_MEMORY is '{text}'"):
        open_native(sharing)


def test_it_can_be_turned_off(
    sharing: RedisServer, open_native: OpenNative, monkeypatch: pytest.MonkeyPatch, db: redis.Redis
) -> None:
    monkeypatch.setenv("PENSTOCK_SHARED_MEMORY", "0")
    check_ordinary(open_native(sharing), db, "unix")


def test_a_server_without_an_arena(server: RedisServer, open_native: OpenNative) -> None:
    client = open_native(server)
    assert client.transport == "unix"
    check_round_trips(client)


def test_a_user_who_may_not(start_server: StartServer, open_native: OpenNative) -> None:
    server = start_server(arguments=("ARENA", "16"))
    with server.connect() as db:
        db.execute_command("ACL", "SETUSER", "default", "-PENSTOCK.ARENA")
        check_ordinary(open_native(server), db, "unix")


@pytest.mark.parametrize("command", ["LEASE", "PUT", "MAP", "RELEASE"])
def test_a_user_who_may_only_see_it(start_server: StartServer, open_native: OpenNative, command: str) -> None:
    server = start_server(arguments=("ARENA", "16"))
    with server.connect() as db:
        client = open_native(server)
        db.execute_command("ACL", "SETUSER", "default", f"-PENSTOCK.{command}")
        for _ in range(3):
            check_round_trips(client)
        assert (client.map_tensor("t") == field()).all()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_goes_by_the_socket(sharing: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The socket is opened to all here; the memory is its user's alone."""
    library, path = native_client.cached_library(), Path(sharing.address.removeprefix("unix://"))
    monkeypatch.setattr(native_client, "cached_library", lambda: library)
    loaded(library)
    for place in (path, path.parent, path.parent.parent):
        place.chmod(0o777)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            client = NativeClient(Address.parse(sharing.address), Identity("heat", 0))
            check_round_trips(client)
            status = 0 if client.transport == "unix" else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def check_round_trips(client: NativeClient) -> None:
    client.put_tensor("t", field())
    np.testing.assert_array_equal(client.get_tensor("t"), field())
    client.put_tensor("small", np.ones(3))
    np.testing.assert_array_equal(client.get_tensor("small"), np.ones(3))


def check_ordinary(client: NativeClient, db: redis.Redis, transport: str) -> None:
    assert client.transport == transport
    check_round_trips(client)
    new = client.new_field(LARGE)
    new[...] = 5
    client.put_tensor("n", new)
    assert not new.flags.writeable
    mapped = client.map_tensor("n")
    assert (mapped == 5).all()
    assert not mapped.flags.writeable
    assert arena(db)["used"] == 0


# ---- What goes where


def test_large_arrays_lie_in_the_arena_and_small_ones_do_not(
    client: NativeClient, db: redis.Redis, sharing: RedisServer
) -> None:
    assert client.transport == "shared memory"
    client.put_tensor("small", np.zeros(100))
    assert arena(db)["used"] == 0
    client.put_tensor("large", field())
    assert arena(db)["used"] == MEGABYTE
    client.put_snapshot(1, {"a": field(1), "b": np.zeros(10), "c": field(2).T})
    assert arena(db)["used"] - arena(db)["leased"] == 3 * MEGABYTE
    other = NativeClient(Address.parse(sharing.address), Identity("other", 0))
    found = other.get_snapshot(0).fields
    np.testing.assert_array_equal(found["c"], field(2).T)
    other.close()


def test_a_steady_put_is_one_round_trip(client: NativeClient, db: redis.Redis) -> None:
    array = np.zeros((64, 1024))  # 512 KB, of which an arena of 64 MB lends one ahead
    for _ in range(3):
        client.put_tensor("t", array)
    before = db.info("commandstats")
    for _ in range(20):
        client.put_tensor("t", array)
    after = db.info("commandstats")

    def count(name: str) -> int:
        key = f"cmdstat_PENSTOCK.{name}"
        return int(after.get(key, {"calls": 0})["calls"]) - int(before.get(key, {"calls": 0})["calls"])

    assert (count("PUT"), count("LEASE")) == (20, 0)
    assert arena(db)["leased"] == array.nbytes
    client.close()
    wait_for(db, leased=0)


def test_a_put_in_place_copies_nothing(client: NativeClient, db: redis.Redis) -> None:
    new = client.new_field(LARGE)
    assert arena(db)["leased"] == MEGABYTE
    assert new.__array_interface__["data"][0] % 64 == 0
    new[...] = field(7)
    client.put_snapshot(0, {"u": new})
    mapped = client.map_snapshot(0).fields["u"]
    assert mapped.__array_interface__["data"][0] == new.__array_interface__["data"][0]
    assert arena(db)["used"] - arena(db)["leased"] == MEGABYTE


def test_what_was_put_in_place_can_be_read_when_its_key_is_gone(
    client: NativeClient, db: redis.Redis
) -> None:
    new = client.new_field(LARGE)
    new[...] = field(7)
    client.put_tensor("t", new)
    db.delete("t")
    for i in range(100):  # it would be reused by these
        client.put_tensor("t", np.full(LARGE, float(i)))
    np.testing.assert_array_equal(new, field(7))
    del new
    gc.collect()
    client.put_tensor("t", field())
    client.close()
    wait_for(db, used=MEGABYTE, pinned=0, leased=0)


def test_a_new_field_that_is_not_put_is_given_back(client: NativeClient, db: redis.Redis) -> None:
    arrays = [client.new_field(LARGE) for _ in range(5)]
    assert arena(db)["leased"] == 5 * MEGABYTE
    del arrays
    gc.collect()
    client.flag_raised("anything")  # what has ended is told with the next command
    assert arena(db)["leased"] == 0


def test_a_put_that_is_refused_leaves_the_new_field_writable(client: NativeClient, db: redis.Redis) -> None:
    new = client.new_field(LARGE)
    new[...] = 3
    db.config_set("maxmemory", 1)
    try:
        with pytest.raises(DatabaseFull):
            client.put_tensor("t", new)
    finally:
        db.config_set("maxmemory", 0)
    new[...] = 4
    client.put_tensor("t", new)
    assert (client.get_tensor("t") == 4).all()
    assert arena(db)["used"] - arena(db)["leased"] == MEGABYTE


def test_one_new_field_under_two_names(client: NativeClient, db: redis.Redis) -> None:
    new = client.new_field(LARGE)
    new[...] = field()
    client.put_snapshot(1, {"a": new, "b": new})
    for value in client.get_snapshot(0).fields.values():
        np.testing.assert_array_equal(value, field())
    assert arena(db)["used"] - arena(db)["leased"] == 2 * MEGABYTE


def test_a_copy_is_made_where_the_caller_says(client: NativeClient) -> None:
    client.put_tensor("t", field())
    whole = np.zeros((LARGE[1], LARGE[0])).T
    client.get_tensor_into("t", whole)
    np.testing.assert_array_equal(whole, field())
    with pytest.raises(
        TensorError, match=r"the database has float64 \(256, 512\), the array .* float64 \(3,\)"
    ):
        client.get_tensor_into("t", np.zeros(3))
    np.testing.assert_array_equal(client.get_tensor("t"), field())


# ---- Views and who ends them


def test_views_are_released_when_the_last_array_is_garbage(client: NativeClient, db: redis.Redis) -> None:
    client.put_snapshot(0, {"u": field(), "v": field(1)})
    snapshot = client.map_snapshot(0)
    row = snapshot.fields["u"][5]
    del snapshot
    gc.collect()
    client.announced()
    assert arena(db)["pinned"] == 2 * MEGABYTE
    np.testing.assert_array_equal(row, field()[5])
    del row
    gc.collect()
    client.announced()
    assert arena(db)["pinned"] == 0


def test_views_live_longer_than_their_client(client: NativeClient, db: redis.Redis) -> None:
    client.put_tensor("t", field(1))
    views = [client.map_tensor("t") for _ in range(3)]
    new = client.new_field(LARGE)
    client.close()
    assert client.transport == ""
    db.delete("t")
    assert (arena(db)["pinned"], arena(db)["leased"]) == (MEGABYTE, MEGABYTE)
    for view in views:
        np.testing.assert_array_equal(view, field(1))
    del views, view, new
    gc.collect()
    wait_for(db, used=0, processes=0)


def test_views_end_on_any_thread(sharing: RedisServer, client: NativeClient, db: redis.Redis) -> None:
    client.put_tensor("t", field(1))
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(300):
                assert client.map_tensor("t")[0, 0] == 1
        except BaseException as error:  # noqa: BLE001  shown below
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    gc.collect()
    client.announced()
    assert arena(db)["pinned"] == 0


def test_a_server_that_is_gone_leaves_its_views(start_server: StartServer, open_native: OpenNative) -> None:
    server = start_server(arguments=("ARENA", "16"))
    client = open_native(server, connect_timeout_s=0.2)
    client.put_tensor("t", field(1))
    view, new = client.map_tensor("t"), client.new_field(LARGE)
    new[...] = field(2)
    server.kill()
    np.testing.assert_array_equal(view, field(1))
    server.start()
    np.testing.assert_array_equal(view, field(1))
    client.put_tensor("n", new)  # it lies in the former server's memory, and goes by the socket
    np.testing.assert_array_equal(client.get_tensor("n"), field(2))
    for i in range(20):
        client.put_tensor("t", field(i))
        np.testing.assert_array_equal(client.get_tensor("t"), field(i))
    assert client.transport == "shared memory"
    del view, new
    gc.collect()
    with server.connect() as db:
        client.close()
        wait_for(db, used=MEGABYTE, leased=0, pinned=0)


def test_several_snapshots_where_they_lie(client: NativeClient, db: redis.Redis) -> None:
    for step in range(4):
        client.put_snapshot(step, {"u": field(step), "small": np.full(3, step)})
    found = client.get_snapshots(range(4), mapped=True)
    for one in found:
        np.testing.assert_array_equal(one.fields["u"], field(one.step))
        np.testing.assert_array_equal(one.fields["small"], np.full(3, one.step))
        assert is_mapped(one.fields["u"]) and not one.fields["u"].flags.writeable
        assert not is_mapped(one.fields["small"])
    assert arena(db)["pinned"] == 4 * MEGABYTE
    del found[1:], one
    gc.collect()
    client.announced()
    assert arena(db)["pinned"] == MEGABYTE
    copied = client.get_snapshots(range(4))
    assert not any(is_mapped(one.fields["u"]) for one in copied)
    assert arena(db)["pinned"] == MEGABYTE
    client.close()
    np.testing.assert_array_equal(found[0].fields["u"], field())


def test_what_is_mapped_of_several_of_which_one_is_not_whole_is_given_back(
    client: NativeClient, db: redis.Redis
) -> None:
    for step in range(3):
        client.put_snapshot(step, {"u": field(step), "v": field()})
    db.delete("{heat.0.1}.v")
    found = client.get_snapshots(range(3), mapped=True)
    assert [one.step for one in found] == [0]
    client.announced()
    assert arena(db)["pinned"] == 2 * MEGABYTE


def test_connections_that_break(sharing: RedisServer, client: NativeClient) -> None:
    """What was leased and mapped is taken over; nothing is lost, and nothing stays."""
    with breaking_connections(sharing):
        for step in range(100):
            new = client.new_field((64, 512))
            new[...] = step
            client.put_snapshot(step, {"u": field(step)[:64], "v": new, "w": np.zeros(4)})
            view = client.map_snapshot(step)
            assert (view.fields["v"] == step).all()
            assert view.fields["u"][0, 1] == step + 1
    assert client.announced() == 100
    del view, new
    gc.collect()
    client.close()
    with sharing.connect() as db:
        wait_for(db, leased=0, pinned=0, quarantined=0)
        # What was put when its answer was lost may have gone again through the socket.
        assert 40 * MEGABYTE <= arena(db)["used"] <= 50 * MEGABYTE


# ---- Full


def test_who_finds_it_full_is_told_by_whom(start_server: StartServer, open_native: OpenNative) -> None:
    server = start_server(arguments=("ARENA", "4"))
    client = open_native(server, timeout_s=0.3)
    view = [client.new_field(LARGE) for _ in range(3)]
    with pytest.raises(
        DatabaseFull, match=f"no room .* 1048576 bytes.*process {os.getpid()} holds 3145728"
    ) as caught:
        client.put_tensor("t", field())
    assert caught.value.key == "t"
    with pytest.raises(DatabaseFull):
        client.new_field(LARGE)
    view.pop()
    client.put_tensor("t", field())
    np.testing.assert_array_equal(client.get_tensor("t"), field())


@pytest.mark.parametrize("policy", ["block", "drop_oldest", "drop_newest", "spill"])
def test_where_it_is_full_the_policy_of_a_stream_alone_decides(
    start_server: StartServer, open_native: OpenNative, tmp_path: Path, policy: Policy
) -> None:
    server = start_server(arguments=("ARENA", "4"))
    client = open_native(server, timeout_s=20.0)
    directory = tmp_path if policy == "spill" else None
    client.bound_stream(Bound(items=3, policy=policy, directory=directory))
    view = [client.new_field(LARGE) for _ in range(3)]
    outcomes = [client.put_snapshot(step, {"u": field(step)}).outcome for step in range(3)]
    assert outcomes == [Outcome.STORED] * 3
    for position in range(3):
        np.testing.assert_array_equal(client.get_snapshot(position).fields["u"], field(position))
    expected = {"drop_oldest": Outcome.STORED, "drop_newest": Outcome.SKIPPED, "spill": Outcome.SPILLED}
    if policy in expected:
        assert client.put_snapshot(3, {"u": field(3)}).outcome is expected[policy]
    assert len(view) == 3


def test_what_lies_in_it_asks_for_no_room_in_the_servers_own_memory(
    start_server: StartServer, open_native: OpenNative
) -> None:
    server = start_server(arguments=("ARENA", "64"), options={"maxmemory": "12mb"})
    client = open_native(server)
    for name in "abcdefghijklmnopqrst":
        client.put_tensor(name, field())  # which waits until the server has taken the memory from the system
    with server.connect() as db:
        db.flushall()
    client.bound_stream(Bound(items=64))
    for step in range(16):
        assert client.put_snapshot(step, {"u": field(step)}).outcome is Outcome.STORED
    with server.connect() as db:
        calls = {name.lower(): facts["calls"] for name, facts in db.info("commandstats").items()}
    assert "cmdstat_penstock.room" not in calls


def test_fields_by_the_socket_still_ask_for_room(start_server: StartServer, open_native: OpenNative) -> None:
    server = start_server(arguments=("ARENA", "4"), options={"maxmemory": "16mb"})
    client = open_native(server, timeout_s=1.0)
    client.bound_stream(Bound(items=64))
    view = [client.new_field(LARGE) for _ in range(3)]
    with pytest.raises(StreamFull, match=r"the database has no memory for 1\.0 MB more"):
        for step in range(64):
            client.put_snapshot(step, {"u": field(step)})
    assert 0 < client.announced() < 16 and len(view) == 3


def test_a_put_waits_for_room(start_server: StartServer, open_native: OpenNative) -> None:
    server = start_server(arguments=("ARENA", "4"))
    client, other = open_native(server), open_native(server)
    for i in range(3):
        other.put_tensor(f"t{i}", field(i))
    with server.connect() as db:
        put = threading.Thread(target=client.put_tensor, args=("t3", field(3)))
        put.start()
        wait_for(db, waiting_clients=1)
        db.delete("t0")
        put.join()
    np.testing.assert_array_equal(client.get_tensor("t3"), field(3))


def test_what_is_larger_than_the_arena_goes_by_the_socket(
    start_server: StartServer, open_native: OpenNative
) -> None:
    client = open_native(start_server(arguments=("ARENA", "2")))
    array = np.arange(MEGABYTE // 2, dtype=np.float64)
    client.put_tensor("t", array)
    np.testing.assert_array_equal(client.get_tensor("t"), array)
    new = client.new_field(array.shape)
    new[...] = array
    client.put_tensor("n", new)
    np.testing.assert_array_equal(client.map_tensor("n"), array)


# ---- Processes


def test_a_forked_child_disturbs_nothing(sharing: RedisServer, client: NativeClient, db: redis.Redis) -> None:
    client.put_tensor("t", field(1))
    view, new = client.map_tensor("t"), client.new_field(LARGE)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            del view, new  # gives back nothing that is its parent's
            gc.collect()
            own = NativeClient(Address.parse(sharing.address), Identity("child", 0))
            own.put_tensor("c", field(2))
            mapped = own.map_tensor("t")
            status = int(not (mapped == field(1)).all())
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    np.testing.assert_array_equal(view, field(1))
    np.testing.assert_array_equal(client.get_tensor("c"), field(2))
    wait_for(db, pinned=MEGABYTE, leased=MEGABYTE, processes=1)


def test_two_processes_pass_a_field_on(sharing: RedisServer, client: NativeClient) -> None:
    program = (
        "import sys, numpy as np\n"
        "from sim_clients import connect\n"
        "client = connect(producer='other', rank=0, client='native')\n"
        "client.wait_for_tensor('question', 60)\n"
        "u = client.map_tensor('question')\n"
        "answer = client.new_field(u.shape)\n"
        "answer[...] = 2 * u\n"
        "client.put_tensor('answer', answer)\n"
    )
    environment = {**os.environ, "SSDB": sharing.address, "PYTHONPATH": str(ROOT)}
    other = subprocess.Popen([sys.executable, "-c", program], env=environment)
    client.put_tensor("question", field(3))
    client.wait_for_tensor("answer", 60)
    np.testing.assert_array_equal(client.map_tensor("answer"), 2 * field(3))
    assert other.wait(60) == 0
    np.testing.assert_array_equal(client.map_tensor("answer"), 2 * field(3))


# ---- Killed at any moment

VICTIM = """
import sys, itertools, numpy as np
from sim_clients import connect
client = connect(producer=sys.argv[1], rank=0, client="native")
print("ready", flush=True)
for step in itertools.count():
    new = client.new_field((128, 256))
    new[...] = step
    client.put_snapshot(step, {"a": np.full((200, 256), float(step)), "b": new})
    client.put_tensor("c", np.full(40_000, float(step)))
    view = client.map_snapshot(client.announced() - 1)
    assert len({*view.fields["a"].ravel(), *view.fields["b"].ravel()}) == 1
"""


def kill_at_random(server: RedisServer, client: NativeClient, times: int) -> None:
    """Kill a program that puts and maps, and look at what it has left each time."""
    random = np.random.default_rng(7)
    environment = {**os.environ, "SSDB": server.address, "PYTHONPATH": str(ROOT)}
    with server.connect() as db:
        for i in range(times):
            victim = subprocess.Popen(
                [sys.executable, "-c", VICTIM, f"victim_{i}"], env=environment, stdout=subprocess.PIPE
            )
            with victim:
                assert victim.stdout is not None
                assert victim.stdout.readline() == b"ready\n"
                time.sleep(random.uniform(0, 0.03))
                victim.send_signal(signal.SIGKILL)
            for position in range(client.announced()):
                fields = client.get_snapshot(position).fields
                assert (fields["a"] == fields["a"][0, 0]).all()
                assert (fields["b"] == fields["a"][0, 0]).all()
            try:
                found = client.get_tensor("c")
                assert (found == found[0]).all()
            except KeyMissing:
                pass
            client.forget_stream()
            db.delete("c")
            wait_until(lambda: db.keys() == [], "what was never announced to be removed")
            client.announced()  # tells what has been read
            wait_for(db, used=0, leased=0, pinned=0, quarantined=0, processes=1)


def test_a_program_that_is_killed_leaves_nothing(start_server: StartServer, open_native: OpenNative) -> None:
    server = start_server(arguments=("ARENA", "256"))
    kill_at_random(server, open_native(server), 30)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_program_that_is_killed_500_times(start_server: StartServer, open_native: OpenNative) -> None:
    server = start_server(arguments=("ARENA", "256"))
    kill_at_random(server, open_native(server), 500)


# ---- A server that is started again


OTHER = """
import sys
from sim_clients import Address
from sim_clients.identity import Identity
from sim_clients.native_client import NativeClient
client = NativeClient(Address.parse(sys.argv[1]), Identity("other", 0))
print(client.transport, flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def others() -> Iterator[Callable[[RedisServer], None]]:
    """Have another process connect to a server; it leaves after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(server: RedisServer) -> None:
        program = subprocess.Popen(
            [sys.executable, "-c", OTHER, server.address],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(program)
        assert program.stdout
        assert program.stdout.readline() == "shared memory\n"

    yield start
    for program in started:
        program.communicate("\n")


def test_a_number_of_a_connection_means_nothing_to_the_next_server(
    start_server: StartServer, open_native: OpenNative, others: Callable[[RedisServer], None]
) -> None:
    server = start_server(arguments=("ARENA", "16"))
    clients = [open_native(server) for _ in range(4)]
    for client in clients:
        client.put_tensor("t", field())
    server.kill()
    server.start()
    for _ in range(6):
        others(server)  # they get the numbers that the clients had
    for i, client in enumerate(clients):
        client.put_tensor(f"t{i}", field(i))
        np.testing.assert_array_equal(client.get_tensor(f"t{i}"), field(i))
        assert client.transport == "shared memory"
    for client in clients:
        client.close()
    with server.connect() as db:
        wait_for(db, leased=0, pinned=0)


def test_room_in_the_former_servers_memory_is_none_in_the_next_ones(
    start_server: StartServer, open_native: OpenNative
) -> None:
    server = start_server(arguments=("ARENA", "32"))
    client = open_native(server)
    new = client.new_field(LARGE)
    new[...] = 7
    client.put_snapshot(0, {"a": np.ones(LARGE), "b": np.ones((4, *LARGE))})
    server.kill()
    server.start()
    client.put_snapshot(9, {"a": new, "b": np.full((4, *LARGE), 9.0)})
    found = client.get_snapshot(0).fields
    assert (np.unique(found["a"]), np.unique(found["b"])) == (7, 9)


def test_a_server_that_comes_back_without_shared_memory_is_reached_by_the_socket(
    start_server: StartServer, open_native: OpenNative
) -> None:
    server = start_server(arguments=("ARENA", "64"))
    client = open_native(server)
    fields = {"a": field(1), "b": np.stack([field(2)] * 4)}
    for step in range(3):
        client.put_snapshot(step, fields)
    server.kill()
    without = tuple(replace(each, arguments=each.arguments[:-2]) for each in server.config.modules)
    with RedisServer(replace(server.config, modules=without)) as again:
        assert again.address == server.address
        client.put_snapshot(9, fields)
        np.testing.assert_array_equal(client.get_snapshot(0).fields["b"], fields["b"])
        assert client.transport == "unix"


def test_a_field_that_has_no_room_beside_another_goes_by_the_socket(
    start_server: StartServer, open_native: OpenNative
) -> None:
    """A put that waited for a second block while it holds its first could wait for itself."""
    server = start_server(arguments=("ARENA", "4"))
    client = open_native(server)
    fields = {name: field(i) for i, name in enumerate("abcdef")}
    client.put_snapshot(0, fields)
    found = client.get_snapshot(0).fields
    for name, value in fields.items():
        np.testing.assert_array_equal(found[name], value)


# ---- What has been put is read-only


@pytest.mark.parametrize(
    "seen",
    [lambda u: u[0], lambda u: u.reshape(512, 256), np.ravel, lambda u: u.view("int64")],
    ids=["row", "reshaped", "flat", "other dtype"],
)
def test_a_new_field_that_is_put_under_another_form_is_spent(
    client: NativeClient, seen: Callable[[np.ndarray], np.ndarray]
) -> None:
    new = client.new_field((1, *LARGE))
    new[...] = 1
    client.put_snapshot(0, {"u": seen(new)})
    assert not new.flags.writeable
    part = client.new_field((2, *LARGE))
    client.put_tensor("half", part[0])
    assert part.flags.writeable  # a part was copied


def test_a_new_field_whose_put_was_not_answered_is_spent(
    start_server: StartServer, open_native: OpenNative
) -> None:
    server = start_server(arguments=("ARENA", "16"))
    client = open_native(server, timeout_s=0.3)
    new = client.new_field(LARGE)
    new[...] = 1
    os.kill(server.pid, signal.SIGSTOP)
    try:
        with pytest.raises(ClientError):
            client.put_tensor("t", new)
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert not new.flags.writeable
