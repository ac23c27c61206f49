"""Bounded streams of a real database: slow consumers, many producers, memory, programs that are killed."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

from sim_clients import (
    Address,
    Bound,
    DatabaseRefused,
    DatabaseUnavailable,
    Fill,
    SnapshotDropped,
    SnapshotError,
    StreamFull,
    connect,
)
from sim_clients.identity import Identity
from sim_clients.native_client import NativeClient
from tests.integration.servers import (
    RedisServer,
    ShardCluster,
    StartServer,
    free_port,
    wait_in_step,
    wait_until,
)

pytestmark = pytest.mark.usefixtures("native_library")

ROOT = Path(__file__).parents[3]
DEADLINE_S = 60.0
MB = 1 << 20
Open = Callable[..., NativeClient]


@pytest.fixture
def address(server: RedisServer) -> Address:
    """The shared server, without connections of tests before: what these are promised would count."""
    with server.connect() as connection:
        connection.client_kill_filter(_type="normal", skipme=True)
    return Address.parse(server.address)


@pytest.fixture
def open_native() -> Iterator[Open]:
    """Open native clients, which are closed after the test."""
    clients: list[NativeClient] = []

    def open_client(where: Address, producer: str = "heat_0", timeout_s: float = DEADLINE_S) -> NativeClient:
        clients.append(NativeClient(where, Identity(producer, 0), timeout_s=timeout_s))
        return clients[-1]

    yield open_client
    for client in clients:
        client.close()


def field(step: int, size: int = 64) -> dict[str, np.ndarray]:
    return {"u": np.full(size, step, np.float32)}


def produce(client: NativeClient, count: int, size: int = 64) -> list[str]:
    """Put snapshots as fast as it goes, and return what became of them."""
    return [client.put_snapshot(step, field(step, size)).outcome.value for step in range(count)]


class Producers:
    """Programs' worth of producers, each a thread with a client of its own.

    Attributes:
        outcomes: of all snapshots.
        errors: that a producer ended with.
    """

    def __init__(self, clients: list[NativeClient], count: int, size: int = 64) -> None:
        self.outcomes: Counter[str] = Counter()
        self.errors: list[Exception] = []
        self._threads = [threading.Thread(target=self._run, args=(one, count, size)) for one in clients]
        for thread in self._threads:
            thread.start()

    def _run(self, client: NativeClient, count: int, size: int) -> None:
        try:
            self.outcomes.update(produce(client, count, size))
        except Exception as error:  # noqa: BLE001  looked at by the test
            self.errors.append(error)

    def running(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(DEADLINE_S)
        assert not self.running()


def consume(client: NativeClient, producers: Producers, *, batch: int, pause_s: float = 0.0) -> list[str]:
    """Read all that comes, acknowledging so many at once, and return the names of what could be read."""
    names: list[str] = []
    at = acknowledged = client.subscribe("slow")
    while producers.running() or at < client.announced():
        if at == client.announced():
            time.sleep(0.001)
            continue
        try:
            found = client.get_snapshot(at)
        except SnapshotDropped:
            at = max(at + 1, client.fill().kept_from)
            continue
        assert (found.fields["u"] == found.step).all(), found
        names.append(found.name)
        at += 1
        if at - acknowledged >= batch:
            time.sleep(pause_s)
            client.acknowledge(at, "slow")
            acknowledged = at
    client.acknowledge(at, "slow")
    return names


def datasets_of(db: redis.Redis) -> list[bytes]:
    """Return the keys of all datasets, tensors and metadata."""
    return [*db.scan_iter("{*}.u"), *db.scan_iter("{*.*.*}.meta")]


def nothing_is_left(db: redis.Redis, fill: Fill) -> None:
    """Check that no data of a dataset is in the database any more."""
    assert (fill.items, fill.bytes) == (0, 0)
    assert datasets_of(db) == []


# ---- A slow consumer under each policy


@pytest.mark.parametrize(
    "bound",
    [
        Bound(items=8),
        Bound(bytes=2000),
        Bound(items=8, policy="drop_oldest"),
        Bound(items=8, policy="drop_newest"),
        Bound(items=8, policy="thin", keep_every=4),
        Bound(items=8, policy="spill", directory="/tmp"),
    ],
    ids=lambda bound: f"{bound.policy}-{'items' if bound.items else 'bytes'}",
)
def test_a_slow_consumer(
    address: Address, db: redis.Redis, open_native: Open, bound: Bound, tmp_path: Path
) -> None:
    if bound.directory:
        bound = Bound(items=bound.items, policy="spill", directory=tmp_path)
    reader = open_native(address, "reader")
    reader.bound_stream(bound)
    reader.subscribe("slow")
    producers = Producers([open_native(address, f"heat_{i}") for i in range(4)], 50)
    names = consume(reader, producers, batch=4, pause_s=0.005)
    producers.join()
    assert producers.errors == []
    assert len(names) == len(set(names))
    fill, outcomes = reader.fill(), producers.outcomes
    assert outcomes.total() == 200
    assert (outcomes["skipped"], outcomes["spilled"]) == (fill.skipped, fill.spilled)
    assert fill.announced == 200 - fill.skipped
    expected = {"block": 200, "spill": 200}.get(bound.policy, 200 - fill.skipped)
    assert len(names) <= expected
    if bound.policy != "drop_oldest":
        assert len(names) == expected, "something that was announced could not be read"
    assert (fill.dropped > 0) == (bound.policy == "drop_oldest")
    assert (fill.skipped > 0) == (bound.policy in ("drop_newest", "thin"))
    nothing_is_left(db, fill)
    assert list(tmp_path.rglob("*.npy")) == []


def test_asynchronous_puts_wait_too(address: Address, db: redis.Redis, open_native: Open) -> None:
    solver, reader = open_native(address), open_native(address, "reader")
    reader.bound_stream(Bound(items=2))
    reader.subscribe("slow")
    outcomes = {solver.put_snapshot_async(step, field(step)).outcome.value for step in range(20)}
    assert outcomes == {"queued"}
    wait_until(lambda: reader.fill().waiting == 1, "the thread of the queue to wait")
    assert reader.announced() == 2
    for position in range(20):
        reader.wait_for_snapshots(position + 1, DEADLINE_S)
        assert reader.get_snapshot(position).step == position
        reader.acknowledge(position + 1, "slow")
    solver.flush(DEADLINE_S)
    nothing_is_left(db, reader.fill())


def test_an_asynchronous_put_without_room_is_told_by_the_next_call(
    address: Address, open_native: Open
) -> None:
    solver = open_native(address)
    solver.bound_stream(Bound(items=1, wait_s=0.05))
    solver.put_snapshot_async(0, field(0))
    solver.put_snapshot_async(1, field(1))
    with pytest.raises(StreamFull, match="nobody has subscribed"):
        solver.flush(DEADLINE_S)


@pytest.mark.timeout(300)
def test_256_clients_at_once(address: Address, db: redis.Redis, open_native: Open) -> None:
    reader = open_native(address, "reader")
    reader.bound_stream(Bound(items=16))
    reader.subscribe("slow")
    producers = Producers([open_native(address, f"heat_{i}") for i in range(256)], 4)
    most = 0
    watched = open_native(address, "watch")

    def watch() -> None:
        nonlocal most
        while producers.running():
            most = max(most, watched.fill().items)

    watcher = threading.Thread(target=watch)
    watcher.start()
    names = consume(reader, producers, batch=8)
    producers.join()
    watcher.join(DEADLINE_S)
    assert producers.errors == [] and producers.outcomes == {"stored": 1024}
    assert sorted(names) == sorted(f"heat_{i}.0.{step}" for i in range(256) for step in range(4))
    assert 0 < most <= 16
    nothing_is_left(db, reader.fill())


# ---- Memory


def refusals(server: redis.Redis) -> int:
    """Return how many commands the server refused for want of memory."""
    errors = server.info("errorstats") if "errorstat_OOM" in str(server.info("errorstats")) else {}
    return int(errors.get("errorstat_OOM", {"count": 0})["count"])


def is_short_of_memory(db: redis.Redis) -> bool:
    """Tell whether the server would not promise a gigabyte."""
    for i in range(100):
        try:
            return bool(db.execute_command("PENSTOCK.ROOM", f"key{i}", 1 << 30) == 0)
        except redis.exceptions.MovedError:  # to another shard
            continue
    raise AssertionError("no key is in this shard")


@pytest.mark.timeout(300)
def test_many_producers_never_reach_the_memory_limit(start_server: StartServer, open_native: Open) -> None:
    server = start_server(options={"maxmemory": "64mb"})
    where = Address.parse(server.address)
    reader = open_native(where, "reader")
    reader.subscribe("slow")
    producers = Producers([open_native(where, f"heat_{i}") for i in range(16)], 12, MB // 4)
    names = consume(reader, producers, batch=8)
    producers.join()
    assert producers.errors == [] and producers.outcomes == {"stored": 192}
    assert len(names) == 192
    with server.connect() as db:
        assert refusals(db) == 0
        assert db.info("memory")["used_memory_peak"] < 64 * MB


@pytest.mark.parametrize("where", ["one server", "a cluster"])
def test_without_a_consumer_the_reason_comes_before_redis_says_it(
    start_server: StartServer,
    shared_cluster: ShardCluster,
    cluster_address: Address,
    open_native: Open,
    where: str,
) -> None:
    """In a cluster too, where the shard of the stream is not the one that is short of memory."""
    if where == "one server":
        servers = [start_server(options={"maxmemory": "32mb"})]
        address = Address.parse(servers[0].address)
    else:
        servers, address = shared_cluster.shards, cluster_address
        for shard in servers:
            with shard.connect() as db:
                db.config_resetstat()  # other tests have been refused something
                db.config_set("maxmemory", 32 * MB)
                wait_until(lambda: is_short_of_memory(db), "the module to know its limit")
    try:
        client = open_native(address, timeout_s=2.0)
        client.bound_stream(Bound(bytes=1 << 40))
        with pytest.raises(
            StreamFull, match=r"the database has no memory for 4\.2 MB more: it uses .* of its limit"
        ):
            for step in range(64):
                client.put_snapshot(step, field(step, MB))
        for shard in servers:
            with shard.connect() as db:
                assert refusals(db) == 0
        client.put_tensor("small", np.ones(3))
    finally:
        for shard in servers:
            with shard.connect() as db:
                db.flushall()
                db.config_set("maxmemory", 0)


def test_a_bound_is_a_share_of_the_memory_where_nobody_gives_one(
    start_server: StartServer, open_native: Open
) -> None:
    server = start_server(options={"maxmemory": "100mb"})
    bound = open_native(Address.parse(server.address)).fill().bound
    assert (bound.items, bound.policy) == (None, "block")
    assert bound.bytes == pytest.approx(0.9 * 100 * MB, rel=1e-3)


# ---- Programs that are killed

PRODUCER = """
import sys
import numpy as np
from sim_clients import Address
from sim_clients import connect

client = connect(Address.parse(sys.argv[1]), producer=sys.argv[2], rank=0, client=sys.argv[3])
print("ready", flush=True)
for step in range(10**9):
    client.put_snapshot(step, {"u": np.full(20000, step, np.float32)})
"""


def start_producer(address: Address, name: str, client: str = "native") -> subprocess.Popen[str]:
    program = subprocess.Popen(
        [sys.executable, "-c", PRODUCER, str(address), name, client],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None and program.stdout.readline() == "ready\n"
    return program


@pytest.mark.parametrize(("client", "lives"), [("native", 6), ("smartredis", 3)])
def test_producers_that_are_killed_at_any_moment_leak_nothing(
    address: Address, db: redis.Redis, open_native: Open, client: str, lives: int
) -> None:
    reader = open_native(address, "reader")
    reader.bound_stream(Bound(items=5))
    at = reader.subscribe("slow")
    before = len(db.client_list())
    dice = np.random.default_rng(0)
    for life in range(lives):
        program = start_producer(address, f"heat_{life}", client)
        until = time.monotonic() + dice.uniform(0, 0.2)
        while time.monotonic() < until:
            if at < reader.announced():
                reader.get_snapshot(at)
                reader.acknowledge(at := at + 1, "slow")
        os.kill(program.pid, signal.SIGKILL)
        program.wait(DEADLINE_S)
        assert program.stdout is not None
        program.stdout.close()
    wait_until(lambda: len(db.client_list()) <= before, "the connections of the killed to end")
    for position in range(at, reader.announced()):
        assert (reader.get_snapshot(position).fields["u"] == reader.get_snapshot(position).step).all()
    reader.acknowledge(reader.announced(), "slow")
    assert (reader.fill().items, reader.fill().bytes, reader.fill().waiting) == (0, 0, 0)
    wait_until(lambda: datasets_of(db) == [], "what was never announced to be removed")
    meter = dict(zip(*[iter(db.execute_command("PENSTOCK.METER", "snapshots"))] * 2, strict=True))
    assert (meter[b"promised_items"], meter[b"promised_bytes"]) == (b"0", b"0")
    solver = open_native(address)
    assert produce(solver, 5, 20000) == ["stored"] * 5


def test_what_a_put_that_failed_has_written_is_removed(
    address: Address, db: redis.Redis, open_native: Open
) -> None:
    """Although its client stays: what that puts next is another dataset."""
    solver, other = open_native(address), open_native(address, "other")
    solver.put_snapshot(0, field(0))
    other.forget_stream()
    other.put_snapshot(0, {"u": np.zeros(3)})
    with pytest.raises(SnapshotError, match="'u' is float32"):
        solver.put_snapshot(1, field(1))
    wait_until(lambda: len(datasets_of(db)) == 2, "the refused snapshot to be removed")


@pytest.mark.parametrize("where", ["address", "cluster_address"])
@pytest.mark.parametrize("client", ["native", "smartredis"])
def test_what_is_refused_its_announcement_is_removed(
    request: pytest.FixtureRequest, server_binary: object, where: str, client: str
) -> None:
    """A key of the stream has another kind of value."""
    found: Address = request.getfixturevalue(where)
    with ExitStack() as opened:
        solver, again = (
            opened.enter_context(closing(connect(found, producer="heat_0", rank=0, client=client)))
            for _ in range(2)
        )
        database = opened.enter_context(closing(all_of(found)))
        solver.put_snapshot(0, field(0))
        datasets = set(datasets_of(database))
        database.delete("{snapshots}.steps")
        database.set("{snapshots}.steps", "text")
        with pytest.raises(DatabaseRefused, match="WRONGTYPE"):
            solver.put_snapshot(1, field(1))
        wait_until(lambda: set(datasets_of(database)) == datasets, "the refused snapshot to be removed")
        with pytest.raises(DatabaseRefused, match="WRONGTYPE"):
            again.put_snapshot(0, field(7))
        assert set(datasets_of(database)) == datasets, "it is that of a position that was announced"
        assert (solver.get_snapshot(0).fields["u"] == 7).all()


@pytest.mark.parametrize("client", ["native", "smartredis"])
def test_files_of_what_is_refused_its_announcement_are_removed(
    address: Address, db: redis.Redis, client: str, tmp_path: Path
) -> None:
    with closing(connect(address, producer="heat_0", rank=0, client=client)) as solver:
        solver.bound_stream(Bound(items=1, policy="spill", directory=tmp_path))
        solver.put_snapshot(0, field(0))
        db.delete("{snapshots}.steps")
        db.set("{snapshots}.steps", "text")
        with pytest.raises(DatabaseRefused, match="WRONGTYPE"):
            solver.put_snapshot(1, field(1))
        assert list(tmp_path.rglob("*.npy")) == []
        wait_until(lambda: len(datasets_of(db)) == 2, "the refused snapshot to be removed")


def all_of(address: Address) -> Any:
    """Connect to all shards of a database."""
    if not address.clustered:
        return redis.Redis(unix_socket_path=str(address.unix_socket))
    return redis.RedisCluster(host=address.endpoints[0].host, port=address.endpoints[0].port)


REMOVE = """
local there = redis.call('EXISTS', KEYS[1]) == 1 and redis.call('HEXISTS', KEYS[1], '.COMPLETE') == 0
if there then redis.call('UNLINK', KEYS[1], KEYS[2]) end
return there
"""


def test_a_snapshot_that_was_removed_too_early_is_stored_again(
    address: Address, db: redis.Redis, open_native: Open
) -> None:
    """A client whose connection broke is taken for dead; here somebody removes what is not announced yet."""
    solver, reader = open_native(address), open_native(address, "reader")
    step, before, until = 0, errors_of(db)["GONE"], time.monotonic() + DEADLINE_S
    stop = threading.Event()

    def remove() -> None:
        removed = -1
        with redis.Redis(unix_socket_path=str(address.unix_socket)) as other:
            while not stop.is_set():
                now = step
                keys = (f"{{heat_0.0.{now}}}.meta", f"{{heat_0.0.{now}}}.u")
                if removed != now and other.eval(REMOVE, 2, *keys):
                    removed = now

    remover = threading.Thread(target=remove)
    remover.start()
    try:
        while errors_of(db)["GONE"] == before:
            assert time.monotonic() < until, "no snapshot was removed in time"
            solver.put_snapshot(step, field(step, MB // 4))
            step += 1
    finally:
        stop.set()
        remover.join(DEADLINE_S)
    assert [name.step for name in reader.snapshot_names()] == list(range(step))
    assert (reader.get_snapshot(step - 1).fields["u"] == step - 1).all()


def errors_of(db: redis.Redis) -> Counter[str]:
    """Return how often the server has answered each code of an error."""
    stats = db.info("errorstats").items()
    return Counter({name.removeprefix("errorstat_"): int(facts["count"]) for name, facts in stats})


@pytest.mark.parametrize("client", ["native", "smartredis"])
def test_a_contract_that_the_database_has_lost_is_made_anew(
    address: Address, db: redis.Redis, client: str
) -> None:
    solver = connect(address, producer="heat_0", rank=0, client=client)
    for step in range(3):
        solver.put_snapshot(step, field(step))
    db.flushall()
    for step in (3, 4):
        solver.put_snapshot(step, field(step))
    assert solver.contract() is not None and solver.announced() == 2
    assert solver.get_snapshot(1).step == 4
    solver.close()


def test_the_thread_of_the_queue_makes_it_anew_too(
    address: Address, db: redis.Redis, open_native: Open
) -> None:
    solver = open_native(address)
    solver.put_snapshot_async(0, field(0))
    solver.flush(DEADLINE_S)
    before = errors_of(db)["DISAGREED"]
    db.flushall()
    for step in (1, 2, 3):
        solver.put_snapshot_async(step, field(step))
    solver.flush(DEADLINE_S)
    assert solver.contract() is not None and solver.announced() == 3
    assert errors_of(db)["DISAGREED"] == before + 1


# ---- Clients that leave with something queued


def test_what_was_queued_and_did_not_arrive_is_told_by_close(address: Address, open_native: Open) -> None:
    solver = open_native(address, timeout_s=1.0)
    solver.bound_stream(Bound(items=1))
    for step in range(3, 8):
        solver.put_snapshot_async(step, field(step))
    says = (
        "nobody has subscribed.*; of what was queued did not arrive: steps 4 to 7 of the stream 'snapshots'"
    )
    with pytest.raises(StreamFull, match=says):
        solver.close()
    solver.close()  # twice is harmless
    with pytest.raises(DatabaseUnavailable, match="this client is closed"):
        solver.announced()


def test_a_client_that_nobody_closes_warns(address: Address) -> None:
    solver = NativeClient(address, Identity("heat_0", 0), timeout_s=0.2)
    solver.bound_stream(Bound(items=1))
    for step in range(2):
        solver.put_snapshot_async(step, field(step))
    with pytest.warns(RuntimeWarning, match="did not arrive: step 1 of the stream 'snapshots'"):
        del solver
        gc.collect()


def test_room_that_was_promised_ends_with_the_connection(address: Address, open_native: Open) -> None:
    solver = open_native(address)
    solver.bound_stream(Bound(items=1))
    killed = redis.Redis(unix_socket_path=str(address.unix_socket), single_connection_client=True)
    assert killed.execute_command("PENSTOCK.RESERVE", "snapshots", "{killed.0.0}", 8) == [b"go"]
    waiting = threading.Thread(target=produce, args=(solver, 1))
    waiting.start()
    wait_until(lambda: open_native(address).fill().waiting == 1, "the solver to wait")
    killed.close()
    waiting.join(DEADLINE_S)
    assert solver.announced() == 1


@pytest.mark.parametrize("where", ["address", "cluster_address"])
def test_a_consumer_that_dies_before_it_has_removed_anything_leaks_nothing(
    request: pytest.FixtureRequest, server_binary: object, open_native: Open, where: str
) -> None:
    found: Address = request.getfixturevalue(where)
    solver, reader = open_native(found), open_native(found, "reader")
    solver.bound_stream(Bound(items=4))
    reader.subscribe("slow")
    produce(solver, 4)
    acknowledging = connection_of(found)
    answer = acknowledging.execute_command("PENSTOCK.ACK", "snapshots", "slow", 3)
    assert answer[:2] == [b"remove", 3] and len(answer) == 5
    acknowledging.close()
    assert solver.fill().kept_from == 3
    assert solver.fill().items == 4
    again = open_native(found, "heat_1")
    assert produce(again, 2) == ["stored"] * 2
    assert solver.fill().items == 3
    reader.acknowledge(6, "slow")
    assert (solver.fill().items, solver.fill().bytes) == (0, 0)


def connection_of(address: Address) -> redis.Redis:
    if address.clustered:
        endpoint = address.endpoints[0]
        cluster = redis.RedisCluster(host=endpoint.host, port=endpoint.port)
        return cluster.get_redis_connection(cluster.get_node_from_key("snapshots"))
    return redis.Redis(unix_socket_path=str(address.unix_socket))


# ---- Servers that end and come back


@pytest.mark.parametrize("how", ["kill", "rdb"])
def test_a_server_that_comes_back_goes_on_as_it_was(
    start_server: StartServer, open_native: Open, how: str
) -> None:
    options = {"appendonly": "yes", "appendfsync": "always"} if how == "kill" else {}
    server = start_server(options=options)
    where = Address.parse(server.address)
    solver, reader = open_native(where), open_native(where, "reader")
    solver.bound_stream(Bound(items=6, wait_s=0.05))
    reader.subscribe("slow")
    produce(solver, 6)
    reader.acknowledge(2, "slow")
    with server.connect() as db:
        db.execute_command("PENSTOCK.ACK", "snapshots", "slow", 3)  # and dies before it removes it
    before = reader.fill()
    if how == "kill":
        server.kill()
        server.start()
    else:
        server.restart("SAVE")
    solver, reader = open_native(where, "heat_1"), open_native(where, "reader")
    assert reader.fill() == before and before.kept_from == 3 and before.items == 4
    for position in (3, 4, 5):
        assert reader.get_snapshot(position).step == position
    assert produce(solver, 3) == ["stored"] * 3
    with pytest.raises(StreamFull, match="'slow' has acknowledged 3 of 9"):
        solver.put_snapshot(3, field(3))
    reader.acknowledge(9, "slow")
    with server.connect() as db:
        nothing_is_left(db, reader.fill())


def test_a_client_whose_server_came_back_asks_for_room_again(
    start_server: StartServer, open_native: Open
) -> None:
    server = start_server(options={"appendonly": "yes", "appendfsync": "always"})
    solver = open_native(Address.parse(server.address))
    solver.bound_stream(Bound(items=100))
    assert produce(solver, 1) == ["stored"]  # the next one is promised its place
    server.kill()
    server.start()
    assert solver.put_snapshot(1, field(1)).outcome.value == "stored"
    with server.connect() as db:
        calls = {name.lower(): facts["calls"] for name, facts in db.info("commandstats").items()}
        assert calls["cmdstat_penstock.reserve"] == 1
    assert solver.announced() == 2


def test_a_replica_that_takes_over_goes_on_as_the_master(
    start_server: StartServer, open_native: Open
) -> None:
    port, other_port = free_port(), free_port()
    master, replica = start_server(port=port), start_server(port=other_port)
    with master.connect() as db, replica.connect() as other:
        other.execute_command("REPLICAOF", "127.0.0.1", port)
        solver = open_native(Address.parse(master.address))
        solver.bound_stream(Bound(items=3, wait_s=0.05))
        solver.subscribe("slow")
        produce(solver, 3)
        solver.acknowledge(1, "slow")
        solver.put_snapshot(3, field(3))
        wait_in_step(db, other)
        before = solver.fill()
        other.execute_command("REPLICAOF", "NO", "ONE")
    again = open_native(Address.parse(replica.address), "heat_1")
    assert again.fill() == before
    with pytest.raises(StreamFull, match="'slow' has acknowledged 1 of 4"):
        again.put_snapshot(0, field(0))
    again.acknowledge(4, "slow")
    assert again.fill().items == 0


def test_a_list_that_was_deleted_is_counted_anew(
    address: Address, db: redis.Redis, open_native: Open
) -> None:
    solver = open_native(address)
    solver.bound_stream(Bound(items=3))
    solver.subscribe("slow")
    produce(solver, 3)
    solver.acknowledge(2, "slow")
    db.delete("snapshots")
    fill = solver.fill()
    assert (fill.items, fill.announced, fill.kept_from, fill.consumers) == (0, 0, 0, {"slow": 0})
    assert produce(open_native(address, "again"), 3) == ["stored"] * 3
    assert solver.fill().items == 3


def test_plain_appends_are_counted_and_dropped(address: Address, db: redis.Redis, open_native: Open) -> None:
    """A SmartRedis program knows no bound; what it announces counts, and is acknowledged as all else."""
    client = connect(address, producer="plain", client="native")
    solver = open_native(address)
    solver.bound_stream(Bound(items=4, wait_s=0.05))
    solver.subscribe("slow")
    for step in range(3):
        db.execute_command("AI.TENSORSET", f"{{plain.0.{step}}}.u", "FLOAT", 1, "VALUES", step)
        names = b"\x07" + (1).to_bytes(8, "little") + b"u"
        db.hset(f"{{plain.0.{step}}}.meta", mapping={".tensor_names": names, ".COMPLETE": "1"})
        db.rpush("snapshots", f"{{plain.0.{step}}}")
    assert (solver.fill().items, solver.fill().bytes) == (3, 0)
    assert produce(solver, 1) == ["stored"]
    with pytest.raises(StreamFull, match="keeps 4 snapshots"):
        solver.put_snapshot(1, field(1))
    assert client.get_snapshot(1).step == 1
    client.acknowledge(4, "slow")
    nothing_is_left(db, solver.fill())
    client.close()
