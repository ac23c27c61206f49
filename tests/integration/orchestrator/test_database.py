"""The database on real redis-servers: where it listens, when it is ready, how it ends."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from orchestrator import Application, Experiment, JobState, Orchestrator, RedisConfig, Resources
from orchestrator.cluster import key_slot, key_within, slot_ranges
from orchestrator.errors import (
    DatabaseFailed,
    PlacementError,
    PortError,
    ServerError,
    StartFailed,
    UsageError,
)
from orchestrator.ports import BUS_OFFSET, check_port, free_ports, interface_address, listens
from orchestrator.run_files import read_record
from orchestrator.shard import Shard
from orchestrator.watcher import belonging
from tests.integration.orchestrator.command import penstock


class Address(NamedTuple):
    """What psutil tells of an address."""

    address: str
    family: int = socket.AF_INET


@pytest.fixture
def taken_port():
    """A port on which a stranger listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


def plain(redis_server, **options):
    return Orchestrator(module=(), redis_server=redis_server, **options)


def test_one_shard_listens_on_its_socket_only(redis_server: str) -> None:
    with Experiment("e") as exp:
        db = exp.start(plain(redis_server))
        assert db.address.endpoints == () and not db.address.clustered
        sockets = listening_sockets(db.jobs[0].pid)
        assert sockets == []
        with Shard(db.endpoints[0]) as shard:
            assert shard.command("DBSIZE") == 0


def test_one_shard_on_a_port(redis_server: str) -> None:
    with Experiment("e") as exp:
        db = exp.start(plain(redis_server, port=0))
        (endpoint,) = db.address.endpoints
        assert listening_sockets(db.jobs[0].pid) == [("127.0.0.1", endpoint.port)]


def test_cluster_serves_every_slot_and_says_so(redis_server: str) -> None:
    with Experiment("e") as exp:
        db = exp.start(plain(redis_server, shards=3))
        assert db.address.clustered and len(set(db.address.endpoints)) == 3
        for endpoint, slots in zip(db.endpoints, slot_ranges(3), strict=True):
            with Shard(endpoint) as shard:
                key = key_within(slots, "k")
                assert shard.command("CLUSTER KEYSLOT", key) == key_slot(key)
                assert shard.command("SET", key, "v") == b"OK"
                assert shard.command("DEL", key) == 1
                assert shard.command("DBSIZE") == 0
            assert all(host == "127.0.0.1" for host, _ in listening_sockets(db.jobs[0].pid))


def test_nodes_of_a_cluster_know_each_other_and_no_placeholders(redis_server: str) -> None:
    """The owners of the slots in the map they start with exist nowhere; a restart must not meet them."""
    with Experiment("e") as exp:
        db = exp.start(plain(redis_server, shards=3))
        for node in db.nodes:
            with Shard(node.endpoint) as shard:
                known = [line.split() for line in shard.command("CLUSTER NODES").decode().splitlines()]
            assert sorted(words[0] for words in known) == sorted(each.identity for each in db.nodes)
            assert all("master" in words[2] for words in known)
            assert {words[8] for words in known} == {f"{n.slots.start}-{n.slots.stop - 1}" for n in db.nodes}
            written = (node.directory / "nodes.conf").read_text()
            assert "127.0.0.1:1@" not in written and written.count("master") == 3


def test_no_port_is_another_shards_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    offered = [20_000, 30_000, 20_000, 10_000, 20_001]
    monkeypatch.setattr("orchestrator.ports._offered_ports", lambda host, highest: iter(offered))
    monkeypatch.setattr("orchestrator.ports._is_free", lambda host, port: True)
    assert free_ports("127.0.0.1", 2, with_bus=True) == [20_000, 20_001]


def test_ports_the_system_gives_are_apart() -> None:
    ports = free_ports("127.0.0.1", 20, with_bus=True)
    assert len({*ports, *(port + BUS_OFFSET for port in ports)}) == 40
    assert all(port + BUS_OFFSET < 65536 for port in ports)


def test_chosen_ports_are_used(redis_server: str) -> None:
    first = next(port for port in free_ports("127.0.0.1", 20, with_bus=True) if neighbour_is_free(port))
    with Experiment("e") as exp:
        db = exp.start(plain(redis_server, shards=2, port=first))
        assert [endpoint.port for endpoint in db.address.endpoints] == [first, first + 1]


def test_taken_port_is_named_and_its_owner_left_alone(taken_port: int) -> None:
    with Experiment("e") as exp:
        with pytest.raises(PortError, match=str(taken_port)) as caught:
            exp.start(Orchestrator(module=(), port=taken_port))
        assert caught.value.port == taken_port
        assert not (exp.run_dir / "database").exists()


def test_taken_bus_port_is_named(taken_port: int) -> None:
    if taken_port < 1024 + BUS_OFFSET:
        pytest.skip("the operating system gave a port that is no shard's bus")
    with Experiment("e") as exp, pytest.raises(PortError, match=str(taken_port)):
        exp.start(Orchestrator(module=(), shards=2, port=taken_port - BUS_OFFSET))


def test_foreign_redis_on_the_port_is_never_spoken_to(
    redis_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The port is taken between our choice and the shard's start: another one is tried."""
    (port,) = free_ports("127.0.0.1", 1, with_bus=False)
    command = [redis_server, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path), "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as stranger:
        try:
            while not listens(stranger.pid, port):
                assert stranger.poll() is None
            of_its_own = commands_seen(port)  # a newer Valkey counts some that it runs as it starts
            offered = iter([[port]])
            monkeypatch.setattr(
                "orchestrator.survey.free_ports",
                lambda host, count, *, with_bus: (
                    next(offered, None) or free_ports(host, count, with_bus=with_bus)
                ),
            )
            everything = Resources(cores=len(os.sched_getaffinity(0)), exclusive=True)
            with Experiment("e") as exp:
                db = exp.start(plain(redis_server, port=0, resources=everything))
                assert db.address.endpoints[0].port != port
                assert len(db.jobs[0].placement.cores) == everything.cores
            assert stranger.poll() is None
            assert commands_seen(port) == {**of_its_own, "cmdstat_info": 1}
        finally:
            stranger.terminate()


def test_shards_that_cannot_be_placed_start_none() -> None:
    """The first would find its cores; it must not run when the second does not."""
    everything = Resources(cores=len(os.sched_getaffinity(0)), exclusive=True)
    with Experiment("e") as exp:
        with pytest.raises(PlacementError, match="'database_1'"):
            exp.start(Orchestrator(module=(), shards=2, resources=everything))
        assert list(belonging(exp.run_id, set())) == []
        assert not (exp.run_dir / "database").exists()


def test_shard_that_fails_to_start_takes_the_others_with_it() -> None:
    with Experiment("e") as exp:
        (exp.run_dir / "database").mkdir()
        (exp.run_dir / "database" / "shard_1").touch()
        with pytest.raises(StartFailed, match="'database_1' could not be started"):
            exp.start(Orchestrator(module=(), shards=2))
        assert (exp.run_dir / "database" / "shard_0" / "log.txt").exists()
        assert list(belonging(exp.run_id, set())) == []


def test_server_that_dies_at_start_shows_its_log(redis_server: str) -> None:
    config = RedisConfig(extra_args=["--maxclients", "banana"])
    with Experiment("e") as exp, pytest.raises(DatabaseFailed, match="maxclients") as caught:
        exp.start(plain(redis_server, config=config))
    assert caught.value.returncode == 1
    assert "banana" in " ".join(caught.value.command)
    assert read_record(exp.run_dir)["state"] == "completed"


def test_server_that_refuses_our_commands_is_a_sentence(redis_server: str) -> None:
    config = RedisConfig(extra_args=["--requirepass", "secret"])
    with Experiment("e") as exp, pytest.raises(DatabaseFailed, match=r"did not become ready.*uthentication"):
        exp.start(plain(redis_server, config=config))


def test_module_that_is_none_shows_the_servers_log(redis_server: str, tmp_path: Path) -> None:
    garbage = tmp_path / "module.so"
    garbage.write_bytes(b"garbage")
    garbage.chmod(0o755)
    with Experiment("e") as exp, pytest.raises(DatabaseFailed, match=r"module\.so"):
        exp.start(Orchestrator(module=(str(garbage),), redis_server=redis_server))


def test_fake_server_that_ends_at_once_fails_with_its_words(tmp_path: Path) -> None:
    fake = tmp_path / "redis-server"
    fake.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo "v=7.0.0 " && exit\necho out of luck >&2\nexit 7\n'
    )
    fake.chmod(0o755)
    with Experiment("e") as exp, pytest.raises(DatabaseFailed, match=r"exit code 7(.|\n)*out of luck"):
        exp.start(plain(fake, shards=2))


def test_too_old_server_is_refused_before_anything_starts(tmp_path: Path) -> None:
    fake = tmp_path / "redis-server"
    fake.write_text("#!/bin/sh\necho 'Redis server v=6.0.16 '\n")
    fake.chmod(0o755)
    with Experiment("e") as exp:
        with pytest.raises(ServerError, match=r"6\.0\.16; Penstock needs 6\.2"):
            exp.start(plain(fake))
        assert not (exp.run_dir / "database").exists()


def test_unknown_interface_is_named() -> None:
    with Experiment("e") as exp, pytest.raises(UsageError, match=r"'nope0'.*lo"):
        exp.start(Orchestrator(module=(), port=0, interface="nope0"))
    assert interface_address("lo") == "127.0.0.1"


@pytest.mark.parametrize(("interface", "named"), [("nope0", "'nope0'.*lo"), ("eth7", "port=0")])
def test_interface_without_a_port_is_refused(
    monkeypatch: pytest.MonkeyPatch, interface: str, named: str
) -> None:
    """One shard would listen on its Unix socket only, and nobody would find it on the interface."""
    addresses = {"lo": [Address("127.0.0.1")], "eth7": [Address("192.0.2.1")]}
    monkeypatch.setattr("psutil.net_if_addrs", lambda: addresses)
    with Experiment("e") as exp, pytest.raises(UsageError, match=named):
        exp.start(Orchestrator(module=(), interface=interface, open_port=True))
    assert not (exp.run_dir / "database").exists()


def test_open_interface_must_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.deployment.interface_address", lambda name: "192.0.2.1")
    with pytest.raises(UsageError, match="open_port=True"):
        Orchestrator(interface="eth0").host()
    assert Orchestrator(interface="eth0", open_port=True).host() == "192.0.2.1"


@pytest.mark.parametrize("shards", [1, 3])
def test_shard_killed_in_the_middle_ends_the_run(redis_server: str, shards: int) -> None:
    with pytest.raises(DatabaseFailed, match=r"in the middle(.|\n)*log") as caught, Experiment("e") as exp:
        db = exp.start(plain(redis_server, shards=shards))
        solver = exp.start(Application("solver", ["sleep", "1000"]), database=db)
        os.kill(db.jobs[-1].pid, 9)
        exp.wait(solver)
    assert caught.value.returncode == -9
    assert solver.state is JobState.CANCELED
    assert all(job.state.final for job in db.jobs)
    assert read_record(exp.run_dir)["state"] == "failed"


def test_database_that_died_unnoticed_is_raised_at_the_end() -> None:
    with pytest.raises(DatabaseFailed), Experiment("e") as exp:
        db = exp.start(Orchestrator(module=()))
        os.kill(db.jobs[0].pid, 9)
        assert db.jobs[0].wait_ended(30)


def test_length_that_no_host_holds_is_refused_by_the_server(redis_server: str) -> None:
    """It would be allocated at once, and the server would end for want of memory."""
    with Experiment("e") as exp:
        db = exp.start(plain(redis_server, port=0))
        with closing(socket.create_connection(("127.0.0.1", db.endpoints[0].port))) as connection:
            connection.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1099511627776\r\nabc")
            assert b"invalid bulk length" in connection.recv(4096)
        assert db.state is JobState.ACTIVE


def test_server_that_crashes_shows_what_came_before_its_bug_report(redis_server: str) -> None:
    with pytest.raises(DatabaseFailed) as caught, Experiment("e") as exp:
        db = exp.start(plain(redis_server))
        os.kill(db.jobs[0].pid, 11)
        exp.wait(exp.start(Application("solver", ["sleep", "1000"])))
    assert "eady to accept" in caught.value.log_tail
    assert "BUG REPORT" in db.jobs[0].log.read_text() and "BUG REPORT" not in caught.value.log_tail


def test_stop_is_no_failure_and_harmless_twice(redis_server: str) -> None:
    with Experiment("e") as exp:
        db = exp.start(plain(redis_server))
        db.stop()
        db.stop()
        assert db.state is JobState.CANCELED and db.jobs[0].returncode == 0
        assert not db.address.unix_socket.exists()


def test_stopped_server_that_does_not_answer_is_killed() -> None:
    with Experiment("e") as exp:
        db = exp.start(Orchestrator(module=()))
        os.kill(db.jobs[0].pid, 19)
        db.stop(timeout_s=0.1)
        assert db.jobs[0].returncode == -9


def neighbour_is_free(port):
    try:
        for each in (port + 1, port + 1 + BUS_OFFSET):
            check_port("127.0.0.1", each)
    except PortError:
        return False
    return True


def listening_sockets(pid):
    return sorted(tuple(c.laddr) for c in psutil.Process(pid).net_connections("tcp") if c.status == "LISTEN")


def commands_seen(port: int) -> dict[str, int]:
    """Return how often a Redis has run each command, but for the INFO that asks now."""
    with closing(socket.create_connection(("127.0.0.1", port))) as connection:
        connection.sendall(b"INFO commandstats\r\n")
        reply = connection.recv(65536).decode()
    counts = re.findall(r"^(cmdstat_[^:]+):calls=(\d+)", reply, re.MULTILINE)
    return {name: int(calls) for name, calls in counts}


def test_a_server_that_ended_with_its_run_is_not_shown_as_canceled() -> None:
    with Experiment("e") as exp:
        exp.start(Orchestrator(module=()))
        job = exp.start(Application("solver", ["sleep", "1000"]))
        job.stop()
    shown = penstock("ps", "-a", env={**os.environ, "COLUMNS": "120"}).stdout
    rows = {row.split()[1]: row.split()[3] for row in shown.splitlines() if row.startswith("│")}
    assert rows == {"database_0": "ended", "solver": "canceled"}
