"""What only a real database can show of the native client: its own calls, failures, waiting, many at once."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest
import redis

from sim_clients import (
    Address,
    DatabaseFull,
    DatabaseRefused,
    DatabaseUnavailable,
    IncompleteSnapshot,
    InferenceFailed,
    KeyMissing,
    ModelRejected,
    SnapshotError,
    StreamFull,
    TensorError,
    UnsupportedClientError,
    WaitTimeout,
    connect,
    keys,
)
from sim_clients.identity import Identity
from sim_clients.native_client import NativeClient
from tests.client_contract import Networks, field
from tests.integration.servers import (
    RedisServer,
    ShardCluster,
    StartServer,
    breaking_connections,
    free_port,
    wait_until,
)
from tests.integration.torchscript import torchscript

pytestmark = pytest.mark.usefixtures("native_library")

ROOT = Path(__file__).parents[3]
OpenNative = Callable[..., NativeClient]


@pytest.fixture
def address(server: RedisServer) -> Address:
    return Address.parse(server.address)


@pytest.fixture
def open_native() -> Iterator[OpenNative]:
    """Open native clients, which are closed after the test."""
    clients: list[NativeClient] = []

    def open_client(where: Address, producer: str = "heat_0", rank: int = 0, **times: float) -> NativeClient:
        clients.append(NativeClient(where, Identity(producer, rank), **times))
        return clients[-1]

    yield open_client
    for client in clients:
        client.close()


def calls(db: redis.Redis) -> dict[str, int]:
    """Return how often each command has been called since the statistics were reset."""
    return {
        name.removeprefix("cmdstat_").lower(): facts["calls"]
        for name, facts in db.info("commandstats").items()
    }


def test_a_client_must_be_one_there_is(address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnsupportedClientError, match="no client 'hiredis'"):
        connect(address, client="hiredis")
    monkeypatch.setenv("PENSTOCK_CLIENT", "other")
    with pytest.raises(UnsupportedClientError, match="no client 'other'"):
        connect(address)
    monkeypatch.setenv("PENSTOCK_CLIENT", "smartredis")
    assert type(connect(address)).__name__ == "SmartRedisClient"
    assert isinstance(connect(address, client="native"), NativeClient)


def test_the_native_client_is_taken_where_it_is_built(
    address: Address, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("PENSTOCK_CLIENT", raising=False)
    assert isinstance(connect(address), NativeClient)
    monkeypatch.setenv("PENSTOCK_CACHE", str(tmp_path))
    assert type(connect(address)).__name__ == "SmartRedisClient"
    with pytest.raises(UnsupportedClientError, match="penstock build"):
        connect(address, client="native")


def test_it_needs_neither_smartredis_nor_redis_py(address: Address) -> None:
    probe = (
        "import sys; from sim_clients import Address, connect; import numpy as np\n"
        f"client = connect(Address.parse({str(address)!r}), client='native')\n"
        "client.put_snapshot(0, {'u': np.ones(3)}); client.get_snapshot(0)\n"
        "print([m for m in ('smartredis', 'redis', 'torch') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_inference_is_one_command_and_stores_nothing(
    address: Address, open_native: OpenNative, networks: Networks, db: redis.Redis
) -> None:
    client = open_native(address)
    client.put_model("product", networks.multiplies_matrices, 1)
    before = set(db.keys())
    db.config_resetstat()
    np.testing.assert_allclose(
        client.infer("product", field((3, 4)), field((4, 2))), field((3, 4)) @ field((4, 2))
    )
    assert calls(db).keys() - {"keys", "config|resetstat", "config", "info"} == {"ai.dagexecute_ro"}
    assert set(db.keys()) == before


@pytest.mark.parametrize("chunk", [1, 100, 10**6])
def test_the_archive_of_a_model_that_comes_in_pieces(
    address: Address, open_native: OpenNative, networks: Networks, db: redis.Redis, chunk: int
) -> None:
    client = open_native(address)
    client.put_model("doubles", networks.doubles, 1)
    before = db.execute_command("AI.CONFIG", "GET", "MODEL_CHUNK_SIZE")
    db.execute_command("AI.CONFIG", "MODEL_CHUNK_SIZE", chunk)
    try:
        assert client.get_model("doubles") == networks.doubles
    finally:
        db.execute_command("AI.CONFIG", "MODEL_CHUNK_SIZE", before)
    np.testing.assert_array_equal(client.infer("doubles", field()), 2 * field())


def test_inference_in_a_cluster_is_one_command_to_one_shard(
    cluster_address: Address, shared_cluster: ShardCluster, open_native: OpenNative, networks: Networks
) -> None:
    client = open_native(cluster_address)
    client.put_model("doubles", networks.doubles, 1)
    for shard in shared_cluster.shards:
        with shard.connect() as db:
            assert len(db.keys("*.doubles*")) == 2
            db.config_resetstat()
    np.testing.assert_array_equal(client.infer("doubles", field()), 2 * field())
    counted = []
    for shard in shared_cluster.shards:
        with shard.connect() as db:
            counted.append(calls(db).get("ai.dagexecute_ro", 0))
            assert "ai.tensorset" not in calls(db) and "ai.tensorget" not in calls(db)
    assert sorted(counted) == [0, 0, 1]


@pytest.mark.parametrize("body", ["return x > 0", "return x[:0]"])
def test_an_output_that_smartredis_could_not_carry_arrives(
    address: Address, open_native: OpenNative, body: str
) -> None:
    client = open_native(address)
    client.put_model("odd", torchscript(f"def forward(self, x):\n    {body}\n"), 1)
    found = client.infer("odd", field())
    wanted = field() > 0 if ">" in body else field()[:0]
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)


def test_shapes_that_do_not_fit_are_told_in_one_line(
    address: Address, open_native: OpenNative, networks: Networks
) -> None:
    client = open_native(address)
    client.put_model("product", networks.multiplies_matrices, 1)
    with pytest.raises(InferenceFailed) as caught:
        client.infer("product", field((2, 3)), field((2, 3)), version=1)
    assert str(caught.value) == (
        "inference with the model 'product@1' failed: mat1 and mat2 shapes cannot be multiplied "
        "(2x3 and 2x3); given was float32 (2, 3), float32 (2, 3)"
    )


def test_a_tensor_is_received_into_the_callers_array(address: Address, open_native: OpenNative) -> None:
    client = open_native(address)
    u = field((300, 500), "float64")
    client.put_tensor("u", u)
    for place in (np.zeros((300, 500)), np.zeros((500, 300)).T, np.zeros((300, 1000))[:, ::-2]):
        client.get_tensor_into("u", place)
        np.testing.assert_array_equal(place, u)
    with pytest.raises(
        TensorError, match=r"has float64 \(300, 500\), the array to be filled is float64 \(3,\)"
    ):
        client.get_tensor_into("u", np.zeros(3))
    with pytest.raises(TensorError, match="is float32"):
        client.get_tensor_into("u", np.zeros((300, 500), np.float32))
    fixed = np.zeros((300, 500))
    fixed.flags.writeable = False
    with pytest.raises(TensorError, match="read-only"):
        client.get_tensor_into("u", fixed)
    with pytest.raises(KeyMissing, match="'v'"):
        client.get_tensor_into("v", np.zeros(3))
    np.testing.assert_array_equal(client.get_tensor("u"), u)


def test_a_string_tensor_of_somebody_else_is_named(
    address: Address, open_native: OpenNative, db: redis.Redis
) -> None:
    db.execute_command("AI.TENSORSET", "words", "STRING", 1, "VALUES", "hello")
    db.execute_command("AI.TENSORSET", "half", "BFLOAT16", 1, "VALUES", 1)
    db.execute_command("AI.TENSORSET", "u", "UINT64", 1, "VALUES", 7)
    client = open_native(address)
    with pytest.raises(TensorError, match="STRING, which this client cannot read"):
        client.get_tensor("words")
    with pytest.raises(TensorError, match="bfloat16, which numpy does not know"):
        client.get_tensor("half")
    assert client.get_tensor("u").tolist() == [7]


# ---- Snapshots that cannot be read


def test_a_dataset_that_says_it_is_complete_and_is_not(
    address: Address, open_native: OpenNative, db: redis.Redis
) -> None:
    db.hset(keys.metadata("heat_0.0.1"), ".COMPLETE", "1")
    db.rpush("snapshots", "{heat_0.0.1}")
    with pytest.raises(IncompleteSnapshot, match="any of its fields"):
        open_native(address).get_snapshot(0)


def test_a_field_that_is_no_tensor(address: Address, open_native: OpenNative, db: redis.Redis) -> None:
    client = open_native(address)
    client.put_snapshot(0, {"u": field(), "v": field()})
    db.set(keys.tensor("heat_0.0.0", "u"), "text")
    with pytest.raises(SnapshotError, match="cannot be read as tensors"):
        client.get_snapshot(0)
    db.delete(keys.tensor("heat_0.0.0", "v"))
    with pytest.raises(IncompleteSnapshot, match="not in the database: v"):
        client.get_snapshot(0)


def test_an_entry_that_names_no_snapshot(address: Address, open_native: OpenNative, db: redis.Redis) -> None:
    db.rpush("snapshots", "{whatever}", "{a.b.1}", "")
    client = open_native(address)
    for position in range(3):
        with pytest.raises(SnapshotError, match=r"<producer>.<rank>.<step>"):
            client.get_snapshot(position)


def test_a_key_of_another_kind_is_refused_with_the_databases_words(
    address: Address, open_native: OpenNative, db: redis.Redis
) -> None:
    db.set("snapshots", "text")
    client = open_native(address)
    with pytest.raises(DatabaseRefused, match=r"of stream snapshots.*WRONGTYPE"):
        client.announced()
    with pytest.raises(DatabaseRefused, match=r"get room in the stream snapshots.*WRONGTYPE"):
        client.put_snapshot(0, {"u": field()})
    assert client.infer is not None and not client.flag_raised("x")


def test_a_model_of_somebody_else_is_not_overwritten(
    address: Address, open_native: OpenNative, networks: Networks, db: redis.Redis
) -> None:
    db.execute_command("AI.MODELSTORE", "closure", "TORCH", "CPU", "TAG", "mine", "BLOB", networks.doubles)
    with pytest.raises(ModelRejected, match="'mine' is not a version"):
        open_native(address).put_model("closure", networks.triples, 1)


NO_ABOUT = """{x}
[1]
null

{
{} {}
{"loss": 0.5,}
{"loss": 0.5
{"loss": NaN}
{"loss": "x"}
{"loss": 1e999}
{"loss": true}
{"loss": [1]}
{"metrics": 3}
{"metrics": {"a": "x"}}
{"metrics": null}
{"samples": 1.5}
{"samples": -1}
{"steps": 1e3}
{"git_commit": 3}
{"format": {}}
{"unix_time": 1e30}
{"a": 01}
{"a": "\\x"}
{"a": "\\u12"}
{"a": nul}
{"a": "
{"a": -}
{"a": 1.}
{"a": 1e}
{"a" 1}
{'a': 1}"""


def test_what_c_says_of_a_version_is_checked(
    address: Address, open_native: OpenNative, networks: Networks
) -> None:
    client, archive = open_native(address), networks.doubles
    for about in (*NO_ABOUT.split("\n"), '{"a": ' + "[" * 40 + "]" * 40 + "}"):
        post = client._c.post_model, b"c", archive, len(archive), 1, b"CPU", about.encode(), 1
        with pytest.raises(ModelRejected, match="an object in JSON, and its loss"):
            client._call(*post)
    assert client.model_versions("c") == []


def test_what_c_says_of_a_version_is_kept(
    address: Address, open_native: OpenNative, networks: Networks
) -> None:
    client, archive = open_native(address), networks.doubles
    said = '{"loss": -5e-1, "metrics": {"a": 0, "b": 1.5E+2}, "samples": null, "": null,'
    said += '\r\n "mine": [true, false, {"x": "\\u00fc\\n"}, []], "steps": 30, "format": "torchscript"}'
    for version, about in enumerate((said, "{}", "{\r }"), 1):
        call = client._c.post_model
        client._call(call, b"c", archive, len(archive), version, b"CPU", about.encode(), 1)
    first, second, third = client.model_versions("c")
    assert (first.state, first.about.loss, first.about.metrics) == ("stored", -0.5, {"a": 0, "b": 150.0})
    assert (first.about.steps, first.about.samples, first.about.format) == (30, None, "torchscript")
    assert (second.state, third.state, third.about.parent) == ("stored", "stored", 2)


def test_an_entry_of_somebody_else_blocks_no_model(
    address: Address, open_native: OpenNative, networks: Networks, db: redis.Redis
) -> None:
    client = open_native(address)
    for version in (1, 2):
        client.put_model("c", networks.doubles, version)
    db.hset("{c}.versions", "1", b"\xff{")
    db.zadd("{c}.lived", {"x": 1})
    states = {each.version: each.state for each in client.model_versions("c")}
    assert states == {1: "damaged", 2: "stored"}
    client.put_model("c", networks.triples, 3)
    client.remove_model_version("c", 1)
    assert client.model_versions("c")[0].state == "removed"


@pytest.mark.parametrize("version", [10**18, 2**63 - 1])
def test_a_version_that_no_tag_can_be_is_refused(
    address: Address, open_native: OpenNative, networks: Networks, version: int
) -> None:
    client, archive = open_native(address), networks.doubles
    with pytest.raises(ModelRejected, match="of up to 18 digits, got 1"):
        client.put_model("c", archive, 10**18)
    with pytest.raises(ModelRejected, match=f"of up to 18 digits, got {version}"):
        client._call(client._c.post_model, b"c", archive, len(archive), version, b"CPU", b"{}", 1)
    client.put_model("c", archive, 10**18 - 1)
    assert client.model_version("c") == 10**18 - 1


def test_a_full_database_says_so_and_announces_nothing(
    start_server: StartServer, open_native: OpenNative
) -> None:
    server = start_server(options={"maxmemory": "8mb", "maxmemory-policy": "noeviction"})
    client = open_native(Address.parse(server.address), timeout_s=1.0)
    u = np.zeros(250_000, np.float32)
    with pytest.raises(StreamFull, match=r"no memory for 1\.0 MB more: it uses .* of its limit of 8\.4 MB"):
        for step in range(100):
            client.put_snapshot(step, {"u": u})
    failed = client.announced()
    assert failed > 0
    assert client.get_snapshot(failed - 1).step == failed - 1
    with pytest.raises(DatabaseFull, match=r"'t\d' was not stored"):
        for i in range(10):
            client.put_tensor(f"t{i}", np.zeros(250_000))


# ---- Servers that die, hang, come back, or are none


def actions(client: NativeClient, networks: Networks) -> list[Callable[[], object]]:
    return [
        lambda: client.put_snapshot(1, {"u": field()}),
        lambda: client.announced(),
        lambda: client.get_snapshot(0),
        lambda: client.put_tensor("t", field()),
        lambda: client.get_tensor("t"),
        lambda: client.infer("closure", field()),
        lambda: client.model_version("closure"),
        lambda: client.put_model("closure", networks.doubles, 2),
        lambda: client.flag_raised("stop"),
        lambda: client.wait_for_flag("stop", 0.1),
    ]


def test_a_database_that_dies_is_named(
    start_server: StartServer, open_native: OpenNative, networks: Networks
) -> None:
    server = start_server()
    client = open_native(Address.parse(server.address), connect_timeout_s=0.2)
    client.put_model("closure", networks.doubles, 1)
    client.put_snapshot(0, {"u": field()})
    server.kill()
    for action in actions(client, networks):
        with pytest.raises(DatabaseUnavailable) as caught:
            action()
        assert caught.value.address == server.address


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_a_database_that_hangs_is_left_at_the_deadline(
    start_server: StartServer, open_native: OpenNative, networks: Networks, kind: str
) -> None:
    server = start_server(port=free_port() if kind == "tcp" else None)
    client = open_native(Address.parse(server.address), timeout_s=0.3, connect_timeout_s=0.3)
    client.put_tensor("t", field())
    os.kill(server.pid, signal.SIGSTOP)
    try:
        for action in (*actions(client, networks), lambda: client.put_tensor("large", np.zeros(8 << 20))):
            begin = time.monotonic()
            with pytest.raises(DatabaseUnavailable, match=r"no answer within (0\.3|1) s"):
                action()
            assert time.monotonic() - begin < 10, "the deadline was not kept"
    finally:
        os.kill(server.pid, signal.SIGCONT)
    wait_until(lambda: not client.flag_raised("stop"), "the client to go on with the server")
    np.testing.assert_array_equal(client.get_tensor("t"), field())


def test_a_client_goes_on_with_a_server_that_was_started_again(
    start_server: StartServer, open_native: OpenNative
) -> None:
    server = start_server(options={"save": '""', "appendonly": "yes", "appendfsync": "always"})
    client = open_native(Address.parse(server.address))
    for step in range(5):
        client.put_snapshot(step, {"u": field()})
        server.restart()
    assert client.announced() == 5
    assert [client.get_snapshot(i).step for i in range(5)] == list(range(5))


def test_nothing_is_announced_twice_over_a_connection_that_breaks(
    address: Address, open_native: OpenNative, server: RedisServer
) -> None:
    """Connections are killed all the while; each snapshot stands in the stream once, in order."""
    client = open_native(address)
    done = threading.Event()

    def kill_connections() -> None:
        with server.connect() as db:
            while not done.is_set():
                db.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    killer = threading.Thread(target=kill_connections)
    killer.start()
    try:
        for step in range(300):
            client.put_snapshot(step, {"u": field()})
    finally:
        done.set()
        killer.join()
    assert client.announced() == 300
    assert [client.get_snapshot(i).step for i in range(0, 300, 37)] == list(range(0, 300, 37))


def test_what_is_no_redis_is_named(open_native: OpenNative, tmp_path: Path) -> None:
    listening = socket.create_server(("127.0.0.1", 0))

    def talk() -> None:
        while True:
            try:
                peer, _ = listening.accept()
            except OSError:
                return
            with peer:
                peer.recv(1000)
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                peer.recv(1000)  # until it has left

    thread = threading.Thread(target=talk)
    thread.start()
    where = Address.parse(f"127.0.0.1:{listening.getsockname()[1]}")
    try:
        with pytest.raises(DatabaseUnavailable, match="does not speak Redis' protocol"):
            open_native(where, connect_timeout_s=0.5)
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


def test_a_socket_that_is_not_there(open_native: OpenNative, tmp_path: Path) -> None:
    where = Address.parse(f"unix://{tmp_path}/gone")
    with pytest.raises(DatabaseUnavailable, match=r"/gone does not answer \(connect\): No such file"):
        open_native(where, connect_timeout_s=0.1)


def test_a_closed_client_says_so(address: Address, open_native: OpenNative) -> None:
    client = open_native(address)
    client.close()
    with pytest.raises(DatabaseUnavailable, match="this client is closed"):
        client.announced()


PATIENT = """
import sys
from sim_clients import Address
from sim_clients.identity import Identity
from sim_clients.native_client import NativeClient
client = NativeClient(Address.parse(sys.argv[1]), Identity("a", 0))
print("connected", flush=True)
sys.stdin.readline()
print("waiting", flush=True)
try:
    {call}
except KeyboardInterrupt:
    print("interrupted", flush=True)
print(client.flag_raised("other"), flush=True)
"""


ELSEWHERE = """
import signal, threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
"""
"""Has another thread take a Ctrl-C: no system call of the one that waits is interrupted by it."""


@pytest.mark.parametrize("before", ["", ELSEWHERE], ids=["interrupting", "between two system calls"])
@pytest.mark.parametrize("call", ["client.wait_for_flag('never', 600)", "client.get_tensor('t')"])
def test_ctrl_c_ends_a_call(start_server: StartServer, call: str, before: str) -> None:
    server = start_server()
    program = subprocess.Popen(
        [sys.executable, "-c", before + PATIENT.format(call=call), server.address],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert program.stdin and program.stdout and program.stderr
        assert program.stdout.readline() == "connected\n"
        if "get_tensor" in call:
            os.kill(server.pid, signal.SIGSTOP)
        program.stdin.write("\n")
        program.stdin.flush()
        assert program.stdout.readline() == "waiting\n"
        wait_until(lambda: sleeps(program.pid), "the program to wait")
        program.send_signal(signal.SIGINT)
        assert program.stdout.readline() == "interrupted\n"
        os.kill(server.pid, signal.SIGCONT)
        assert (program.stdout.read(), program.stderr.read()) == ("False\n", "")
    finally:
        os.kill(server.pid, signal.SIGCONT)
        program.kill()
        program.communicate()


CALLING = """
import signal, sys, threading
from sim_clients import Address
from sim_clients.identity import Identity
from sim_clients.native_client import NativeClient
client = NativeClient(Address.parse(sys.argv[1]), Identity("a", 0))
signal.signal(signal.SIGALRM, lambda number, frame: {act})
signal.setitimer(signal.ITIMER_REAL, 0.2)
try:
    client.wait_for_flag("never", 600)
except Exception as error:
    print(error, flush=True)
print(client.flag_raised("other"))
"""


@pytest.mark.parametrize("act", ["client.raise_flag('other')", "client.close()"])
def test_a_signal_handler_is_told_that_the_client_is_busy(address: Address, act: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CALLING.format(act=act), str(address)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    told, raised = done.stdout.splitlines()
    assert told.startswith("a signal handler called a client in the middle of another call"), done.stderr
    assert raised == "False"


def test_threads_that_share_a_client_wait_for_each_other(address: Address, open_native: OpenNative) -> None:
    client = open_native(address)
    wrong: list[object] = []

    def work(number: int) -> None:
        mine = np.full((50, number + 1), float(number))
        for _ in range(200):
            client.put_tensor(f"of_{number}", mine)
            found = client.get_tensor(f"of_{number}")
            if not np.array_equal(found, mine):
                wrong.append(found)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def sleeps(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


# ---- Clusters


def test_a_slot_that_moves_is_followed(
    cluster_address: Address, shared_cluster: ShardCluster, open_native: OpenNative
) -> None:
    """ASK while it moves, MOVED after it has."""
    client = open_native(cluster_address)
    client.put_snapshot(0, {"u": field(), "v": field()})
    with shared_cluster.shards[0].connect() as any_shard:
        slot = any_shard.execute_command("CLUSTER KEYSLOT", "heat_0.0.0")
    owners = [shard for shard in shared_cluster.shards if owns(shard, slot)]
    source, target = owners[0], next(s for s in shared_cluster.shards if s not in owners)
    with source.connect() as old, target.connect() as new:
        old_id, new_id = (c.execute_command("CLUSTER MYID").decode() for c in (old, new))
        new.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", old_id)
        old.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", new_id)
        try:
            old.delete(*old.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100))
            again = open_native(cluster_address)
            again.put_snapshot(0, {"u": 2 * field(), "v": field()})
            assert new.execute_command("CLUSTER", "COUNTKEYSINSLOT", slot) == 3
            np.testing.assert_array_equal(again.get_snapshot(1).fields["u"], 2 * field())
        finally:
            for shard in (target, source, *shared_cluster.shards):
                with shard.connect() as db:
                    db.execute_command("CLUSTER", "SETSLOT", slot, "NODE", new_id)
    try:
        np.testing.assert_array_equal(client.get_snapshot(0).fields["u"], 2 * field())
    finally:
        with target.connect() as db:
            db.flushall()
        for shard in (source, *shared_cluster.shards):
            with shard.connect() as db:
                db.execute_command("CLUSTER", "SETSLOT", slot, "NODE", old_id)


def owns(shard: RedisServer, slot: int) -> bool:
    with shard.connect() as db:
        ranges = db.execute_command("CLUSTER SLOTS")
    for low, high, master, *_ in [
        (*r[:2], r[2]) if isinstance(r, list) else (*r, ranges[r]["primary"]) for r in ranges
    ]:
        if low <= slot <= high:
            return int(master[1]) == shard.config.port
    raise AssertionError(f"nobody serves slot {slot}")


def test_any_shard_of_the_address_will_do(cluster_address: Address, open_native: OpenNative) -> None:
    nobody = Address.parse(f"127.0.0.1:1,{cluster_address.endpoints[1]}", clustered=True)
    client = open_native(nobody)
    for i in range(20):
        client.put_tensor(f"t{i}", field())
    assert client.get_tensor("t7").shape == (3, 4)


# ---- Waiting, and puts that do not


def test_waiting_ends_when_the_thing_is_there(
    address: Address, open_native: OpenNative, networks: Networks
) -> None:
    reader, writer = open_native(address, "reader"), open_native(address, "writer")
    waits: list[tuple[Callable[[], object], Callable[[], object], object]] = [
        (lambda: reader.wait_for_tensor("t", 60), lambda: writer.put_tensor("t", field()), None),
        (lambda: reader.wait_for_flag("f", 60), lambda: writer.raise_flag("f"), None),
        (lambda: reader.wait_for_snapshots(1, 60), lambda: writer.put_snapshot(0, {"u": field()}), 1),
        (lambda: reader.wait_for_model("m", 60), lambda: writer.put_model("m", networks.doubles, 3), 3),
        (
            lambda: reader.wait_for_model("m", 60, after=3),
            lambda: writer.put_model("m", networks.triples, 4),
            4,
        ),
    ]
    for wait, put, wanted in waits:
        found: list[object] = []
        thread = threading.Thread(target=lambda wait=wait, found=found: found.append(wait()))
        thread.start()
        put()
        thread.join(60)
        assert found == [wanted]
    assert reader.wait_for_snapshots(0, 0.0) == 1


def test_waiting_asks_ever_more_seldom_and_ends_in_time(
    address: Address, open_native: OpenNative, db: redis.Redis
) -> None:
    client = open_native(address)
    db.config_resetstat()
    with pytest.raises(WaitTimeout, match=r"wait for flag never: it had not come after 0\.5 s") as caught:
        client.wait_for_flag("never", 0.5)
    assert isinstance(caught.value, TimeoutError) and caught.value.name == "never"
    assert 5 < calls(db)["exists"] < 80
    for wait in (
        lambda: client.wait_for_tensor("never", 0.01),
        lambda: client.wait_for_snapshots(1, 0.01),
        lambda: client.wait_for_model("never", 0.01),
    ):
        with pytest.raises(WaitTimeout):
            wait()


def test_asynchronous_snapshots_arrive_in_order(address: Address, open_native: OpenNative) -> None:
    client = open_native(address)
    u = np.zeros((64, 64))
    for step in range(50):
        u[:] = step
        client.put_snapshot_async(step, {"u": u.T}, time=step / 2)
    client.put_snapshot(50, {"u": u})
    client.flush()
    assert client.announced() == 51
    for i in (0, 17, 49):
        found = client.get_snapshot(i)
        assert (found.step, found.time) == (i, i / 2)
        assert (found.fields["u"] == i).all()
    with pytest.raises(SnapshotError, match="not greater"):
        client.put_snapshot_async(50, {"u": u})


def test_closing_sends_what_is_queued(address: Address, open_native: OpenNative) -> None:
    client = open_native(address)
    for step in range(20):
        client.put_snapshot_async(step, {"u": np.full(100_000, float(step))})
    client.close()
    assert open_native(address, "reader").announced() == 20


def test_an_asynchronous_put_that_failed_is_told_once(
    start_server: StartServer, open_native: OpenNative
) -> None:
    server = start_server(options={"maxmemory": "8mb", "maxmemory-policy": "noeviction"})
    client = open_native(Address.parse(server.address), timeout_s=1.0)
    u = np.zeros(250_000, np.float32)
    with pytest.raises(StreamFull, match="the database has no memory"):
        for step in range(100):
            client.put_snapshot_async(step, {"u": u})
        client.flush()
    client.flush()
    reader = open_native(Address.parse(server.address), "reader")
    assert 0 < reader.announced() < 100


def test_256_clients_at_once(address: Address, open_native: OpenNative) -> None:
    clients = [open_native(address, "heat", rank) for rank in range(256)]
    failed: list[Exception] = []

    def work(client: NativeClient) -> None:
        try:
            for step in range(3):
                client.put_snapshot(step, {"u": np.full((50, 50), client.rank + step / 10)})
        except Exception as error:  # noqa: BLE001  shown by the main thread
            failed.append(error)

    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    reader = open_native(address, "reader")
    assert reader.announced() == 3 * 256
    for position in range(0, 768, 51):
        found = reader.get_snapshot(position)
        assert (found.fields["u"] == found.rank + found.step / 10).all()


@pytest.mark.parametrize("count", [1, 8])
def test_several_snapshots_take_as_many_round_trips_as_one(
    address: Address, open_native: OpenNative, server: RedisServer, count: int
) -> None:
    client = open_native(address)
    for step in range(8):
        client.put_snapshot(step, {"u": field(), "p": field()})
    client.get_snapshots([0])  # it has learned how large they are
    with server.connect() as db:
        before = db.info("stats")["total_reads_processed"]
        db.ping()
        alone = db.info("stats")["total_reads_processed"]
        client.get_snapshots(range(count))
        assert db.info("stats")["total_reads_processed"] - alone == alone - before - 1 + 3


def test_several_snapshots_that_are_larger_than_what_is_asked_for_at_once(
    address: Address, open_native: OpenNative
) -> None:
    client = open_native(address)
    for step in range(5):
        client.put_snapshot(step, {"u": np.full((1500, 1500), step), "p": np.full(3, step)})
    found = client.get_snapshots(range(5))
    assert [float(one.fields["u"].sum()) for one in found] == [step * 1500.0**2 for step in range(5)]


def test_several_snapshots_of_which_one_cannot_be_read_as_tensors(
    address: Address, open_native: OpenNative, db: redis.Redis
) -> None:
    client = open_native(address)
    for step in range(4):
        client.put_snapshot(step, {"u": field(), "p": field()})
    db.set(keys.tensor("heat_0.0.2", "p"), "text")
    db.rpush("snapshots", "{no snapshot}")
    read: list[int] = []
    while len(read) < 2:
        read += [one.step for one in client.get_snapshots(range(len(read), 4))]
    assert read == [0, 1]
    for positions, name in (([2, 3], "heat_0.0.2"), ([4], "no snapshot")):
        with pytest.raises(SnapshotError) as caught:
            client.get_snapshots(positions)
        assert caught.value.snapshot == name
    assert [one.step for one in client.get_snapshots([3, 4])] == [3]


def test_several_snapshots_have_the_time_of_one_call(open_native: OpenNative) -> None:
    """The first is none, and is read once more, by a server whose answers take most of that time."""
    timeout_s, never = 0.5, threading.Event()
    answers = {b"PING": b"+PONG\r\n", b"LINDEX": b"$4\r\nnone\r\n", b"HGETALL": b"*0\r\n"}

    def serve() -> None:
        peer, _ = listening.accept()
        with peer, suppress(ConnectionError):
            while text := peer.recv(10000):
                never.wait(0.7 * timeout_s if b"LINDEX" in text else 0)
                known = [word for word in text.split(b"\r\n") if word in answers]
                peer.sendall(b"".join(answers[word] for word in known) or b"-ERR unknown command\r\n")

    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        client = open_native(Address.parse(f"127.0.0.1:{listening.getsockname()[1]}"), timeout_s=timeout_s)
        with pytest.raises(DatabaseUnavailable, match=r"no answer within 0\.5 s"):
            client.get_snapshots([0, 1])
        client.close()
        thread.join()


def test_several_snapshots_over_connections_that_break(
    server: RedisServer, address: Address, open_native: OpenNative
) -> None:
    client = open_native(address)
    for step in range(32):
        client.put_snapshot(step, {"u": np.full((64, 512), step), "p": np.full(3, step)})

    with breaking_connections(server, every_s=0.01):  # 8 MB get through in between, also on a busy machine
        for _ in range(60):
            found = client.get_snapshots(range(32))
            assert [one.step for one in found] == list(range(32))
            assert all((one.fields[name] == one.step).all() for one in found for name in "up")
