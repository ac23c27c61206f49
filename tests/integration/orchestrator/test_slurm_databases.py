"""Databases on hosts of a Slurm allocation: clustered on some, with programs on others."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator import (
    Application,
    Database,
    Experiment,
    JobState,
    LaunchOptions,
    Orchestrator,
    RedisConfig,
    Resources,
)
from orchestrator.errors import DatabaseFailed, UsageError
from orchestrator.hosts import parse_hosts
from orchestrator.watcher import read_stat
from tests.integration.orchestrator.bound import servers_in
from tests.integration.orchestrator.command import penstock
from tests.integration.orchestrator.conftest import Driver
from tests.integration.orchestrator.slurm_nodes import SlurmNodes, until

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two cores are needed"),
]
OPEN: dict[str, Any] = {"interface": "eth0", "open_port": True}
SOLVER = """
import os, numpy as np
from smartredis import Client
client = Client(logger_name="solver")
rank = os.environ["SLURM_PROCID"]
for n in range(20):
    client.put_tensor(f"u_{rank}_{n}", np.full(4, float(n)))
    assert client.get_tensor(f"u_{rank}_{n}").tolist() == [n] * 4
print("host", os.uname().nodename, "cores", *os.sched_getaffinity(0))
"""


def server_pid(directory: Path) -> int:
    """Return the redis-server that runs in a directory, whatever its namespaces."""
    (found,) = servers_in(directory)
    return found


def hosts_of(database: Database) -> list[str]:
    return [job.placement.hosts[0] for job in database.jobs if job.placement is not None]


def test_a_cluster_on_three_hosts_serves_solvers_on_the_fourth(allocation: SlurmNodes) -> None:
    with Experiment("spread") as exp:
        db = exp.start(Orchestrator(shards=3, hosts=["n1", "n2", "n3"], **OPEN))
        assert hosts_of(db) == ["n1", "n2", "n3"]
        assert [node.endpoint.host for node in db.nodes] == [allocation.address(f"n{n}") for n in (1, 2, 3)]
        apart = Resources(ranks=2, away_from="database")
        solver = exp.start(
            Application("solver", [sys.executable, "-c", SOLVER], resources=apart), database=db
        )
        exp.wait(timeout_s=90)
        said = {line for line in solver.log.read_text().splitlines() if line.startswith("host")}
        assert said == {"host n4 cores 0", "host n4 cores 1"}
        keys = [node.keys for node in db.status().primaries]
        assert sum(keys) == 40 and all(keys)
        picture = str(exp.preview(Application("next", ["true"])))
        assert re.search(r"A +database_0 +n1 0\n", picture), picture
        assert re.search(r"next +n1 1\n", picture), picture
    assert [(job.state, job.returncode) for job in db.jobs] == [(JobState.CANCELED, 0)] * 3
    assert servers_in(exp.run_dir) == []
    until(lambda: not allocation.steps())


def test_replicas_are_on_other_hosts_and_several_share_one(allocation: SlurmNodes) -> None:
    with Experiment("copied") as exp:
        db = exp.start(Orchestrator(shards=3, nodes=2, replicas=1, module=(), **OPEN))
        assert hosts_of(db) == ["n1", "n2", "n1", "n2", "n1", "n2"]
        ports = [(node.endpoint.host, node.endpoint.port) for node in db.nodes]
        assert len(set(ports)) == 6
        told = db.status()
        assert [node.role for node in told.nodes] == ["primary"] * 3 + ["replica"] * 3 and not told.problems
    assert servers_in(exp.run_dir) == []


def test_one_shard_on_another_host_has_the_port_that_was_given(allocation: SlurmNodes) -> None:
    with Experiment("one") as exp:
        db = exp.start(Orchestrator(hosts=["n3"], port=7100, module=(), **OPEN))
        assert str(db.address) == f"{allocation.address('n3')}:7100"
        with pytest.raises(DatabaseFailed, match=r"host 'n3' did not tell(.|\n)*port 7100 .* cannot be used"):
            exp.start(Orchestrator(hosts=["n3"], port=7100, module=(), identifier="two", **OPEN))
        other = exp.start(Orchestrator(hosts=["n2"], port=7100, module=(), identifier="three", **OPEN))
        assert str(other.address) == f"{allocation.address('n2')}:7100"


def test_an_interface_that_a_host_lacks_is_told_before_anything_starts(allocation: SlurmNodes) -> None:
    with Experiment("lacking") as exp:
        with pytest.raises(DatabaseFailed, match=r"'n1' did not tell(.|\n)*interface 'ib0'.*lo, eth0"):
            exp.start(Orchestrator(shards=2, nodes=2, interface="ib0", open_port=True, module=()))
        with pytest.raises(UsageError, match="n1, n2, where it must listen on an interface that other hosts"):
            exp.start(Orchestrator(shards=2, nodes=2, module=()))
        assert not list(exp.run_dir.glob("database/shard_*"))


def test_a_shard_that_is_killed_there_ends_the_run(allocation: SlurmNodes) -> None:
    with (
        pytest.raises(DatabaseFailed, match=r"shard 'database_1' was killed by signal 9"),
        Experiment("shot") as exp,
    ):
        db = exp.start(Orchestrator(shards=3, nodes=3, module=(), **OPEN))
        exp.start(Application("solver", ["sleep", "1000"], resources=Resources(nodes=1)), database=db)
        os.kill(server_pid(exp.run_dir / "database" / "shard_1"), signal.SIGKILL)
        exp.wait(timeout_s=60)
    assert servers_in(exp.run_dir) == []
    until(lambda: not allocation.steps())


def test_a_shard_that_hangs_there_ends_the_run(allocation: SlurmNodes) -> None:
    with (
        pytest.raises(DatabaseFailed, match=r"shard 'database_1' .* it had not answered for"),
        Experiment("hung") as exp,
    ):
        config = RedisConfig(unresponsive_s=1)
        db = exp.start(Orchestrator(shards=2, nodes=2, module=(), config=config, **OPEN))
        exp.start(Application("solver", ["sleep", "1000"], resources=Resources(nodes=1)), database=db)
        hung = server_pid(exp.run_dir / "database" / "shard_1")
        os.kill(hung, signal.SIGSTOP)
        until(lambda: (stat := read_stat(hung)) is not None and stat.state == "T")
        exp.wait(timeout_s=90)
    assert servers_in(exp.run_dir) == []
    until(lambda: not allocation.steps())


def test_a_replica_on_another_host_takes_the_place_of_its_primary(allocation: SlurmNodes) -> None:
    """It keeps its own address: what follows redirections, as redis-py does, finds it."""
    with Experiment("promoted") as exp:
        promoting = Orchestrator(shards=2, nodes=2, replicas=1, on_shard_failure="promote", module=(), **OPEN)
        db = exp.start(promoting)
        lost = db.nodes[0].endpoint
        os.kill(server_pid(exp.run_dir / "database" / "shard_0"), signal.SIGKILL)
        until(lambda: str(lost) not in str(db.address))
        assert allocation.address("n2") in str(db.address).split(",")[0]
        until(lambda: len(db.status().primaries) == 2)


def test_a_shard_starts_again_on_its_host_with_its_data(allocation: SlurmNodes) -> None:
    logged = RedisConfig(append_only=True)
    with Experiment("again") as exp:
        db = exp.start(
            Orchestrator(hosts=["n2"], port=0, on_shard_failure="restart", config=logged, module=(), **OPEN)
        )
        (node,) = db.nodes
        before = server_pid(node.directory)
        program = "import os, redis; h, p = os.environ['SSDB'].split(':'); redis.Redis(h, int(p)).set('a', 7)"
        exp.start(Application("writer", [sys.executable, "-c", program]), database=db).wait(60)
        os.kill(before, signal.SIGKILL)
        until(lambda: [pid for pid in servers_in(node.directory) if pid != before])
        until(lambda: db.status().keys == 1)
        assert hosts_of(db) == ["n2"]
    assert servers_in(exp.run_dir) == []


START = """
with Experiment("killed") as exp:
    listening = {"interface": "eth0", "open_port": True, "module": ()}
    exp.start(Orchestrator(shards=3, nodes=3, **listening))
    print(exp.run_dir, flush=True)
    exp.start(Application("solver", ["sh", "-c", "touch ready; exec sleep 1000"])).wait()
"""


def test_a_killed_driver_leaves_no_server_on_other_hosts(
    allocation: SlurmNodes, driver: Callable[[str], Driver], gone: Callable[..., None]
) -> None:
    running = driver(START)
    directory = Path(running.line())
    servers = servers_in(directory)
    assert len(servers) == 3
    until((directory / "solver" / "ready").exists)  # else a step without programs may stay in Slurm's list
    running.signal(signal.SIGKILL)
    running.end()
    gone(*servers)
    until(lambda: not allocation.steps())


RUN = """
from orchestrator import Application, Experiment, Orchestrator, Resources

def main(config, *, launcher, run_dir):
    with Experiment("toy", launcher=launcher, run_dir=run_dir) as exp:
        db = exp.start(Orchestrator(shards=2, nodes=2, interface="eth0", open_port=True, module=()))
        told = Application("told", ["sh", "-c", "echo $SSDB"], resources=Resources(away_from="database"))
        exp.wait(exp.start(told, database=db))
"""


def test_the_preview_shows_hosts_cores_and_commands_of_shards(tmp_path: Path, allocation: SlurmNodes) -> None:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "run.py").write_text(RUN)
    shown = penstock("run", "toy", "--preview")
    assert shown.returncode == 0, shown.stderr
    assert re.search(r"database_1 +n2 0\n", shown.stdout)
    commands = [line for line in shown.stdout.splitlines() if "--bind eth0.n" in line]
    assert len(commands) == 2
    assert "srun" in commands[0] and "--nodelist=n1 --cpu-bind=mask_cpu:0x1" in commands[0]
    assert "--bind eth0.n2 --port 6379" in commands[1]
    told = json.loads(penstock("run", "toy", "--preview", "--json").stdout)
    assert [program["ranks"][0]["host"] for program in told["programs"]] == ["n1", "n2", "n3"]
    done = penstock("run", "toy", "--run-dir", "here")
    assert done.returncode == 0, done.stderr
    said = Path("here/told/log.txt").read_text()
    assert said.startswith(f"{allocation.address('n1')}:")


SSH = """#!/bin/sh
# stands in for ssh: drops its options, and runs the rest on a node with as little of the environment
while [ "${1#-}" != "$1" ]; do shift; done
case $1 in CASES esac
shift
exec nsenter --target=$pid --net --uts --ipc --mount env -i PATH="$PATH" HOME="$HOME" sh -c "$*"
"""


@pytest.mark.skipif(shutil.which("mpiexec.mpich") is None, reason="there is no mpiexec.mpich (apt: mpich)")
def test_mpiexec_carries_servers_to_other_hosts(slurm: SlurmNodes, tmp_path: Path) -> None:
    cases = " ".join(f"{slurm.address(name)}) pid={slurm.pid(name)};;" for name in slurm.names)
    ssh = tmp_path / "ssh"
    ssh.write_text(SSH.replace("CASES", cases))
    ssh.chmod(0o755)
    hosts = parse_hosts(",".join(f"{slurm.address(name)}:2" for name in slurm.names[:3]))
    by_ssh = ("-launcher", "ssh", "-launcher-exec", str(ssh))
    mpich = LaunchOptions("mpi", mpiexec="mpiexec.mpich", hosts=hosts, extra_args=by_ssh)
    ping = "h, p = os.environ['SSDB'].split(',')[0].split(':'); print(redis.Redis(h, int(p)).ping())"
    program = f"import os, redis; {ping}"
    with Experiment("carried", mpich) as exp:
        db = exp.start(Orchestrator(shards=2, nodes=2, replicas=1, module=(), **OPEN))
        assert [node.endpoint.host for node in db.nodes[:2]] == list(map(slurm.address, ("n1", "n2")))
        apart = Resources(away_from="database")
        asks = exp.start(Application("ask", [sys.executable, "-c", program], resources=apart), database=db)
        exp.wait(asks, timeout_s=60)
        assert asks.log.read_text() == "True\n"
        servers = servers_in(exp.run_dir)
        assert len(servers) == 4
    assert servers_in(exp.run_dir) == []
    with (
        pytest.raises(DatabaseFailed, match=r"'database_1'.* in the middle"),
        Experiment("shot", mpich) as exp,
    ):
        exp.start(Orchestrator(shards=2, nodes=2, module=(), **OPEN))
        exp.start(Application("solver", ["sleep", "1000"]))
        os.kill(server_pid(exp.run_dir / "database" / "shard_1"), signal.SIGKILL)
        exp.wait(timeout_s=60)
    assert servers_in(exp.run_dir) == []
