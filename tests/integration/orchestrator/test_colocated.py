"""A database beside a program, for that program alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import Application, Experiment, JobState, LaunchOptions, RedisConfig, Resources, colocate
from orchestrator.errors import ApplicationError, JobFailed, PlacementError, UsageError, WaitTimeout
from orchestrator.guard import end_leftovers
from orchestrator.hosts import parse_hosts
from orchestrator.watcher import belonging

SHOW = "import os; print(os.environ['SSDB']); print(os.environ['PENSTOCK_NAME'])"
TALK = """
import os, redis
r = redis.Redis(unix_socket_path=os.environ["SSDB"].removeprefix("unix://"))
r.set("a", 1)
print(r.config_get("maxmemory"), r.info("server")["process_id"], flush=True)
"""


def beside(redis_server, text, **options):
    app = Application("solver", [sys.executable, "-c", text])
    return colocate(app, RedisConfig(**options), redis_server=redis_server, module=())


def test_program_talks_to_a_database_of_its_own(redis_server: str, gone: Callable[..., None]) -> None:
    with Experiment("e") as exp:
        job = exp.start(beside(redis_server, TALK, maxmemory_bytes=123_000_000))
        exp.wait(job, timeout_s=60)
        said = job.log.read_text()
        assert "123000000" in said
        gone(int(said.split()[-1]))


def test_exit_code_is_the_programs(redis_server: str) -> None:
    with Experiment("e") as exp:
        job = exp.start(beside(redis_server, "print('why'); raise SystemExit(5)"))
        with pytest.raises(JobFailed, match="why") as caught:
            exp.wait(job, timeout_s=60)
    assert caught.value.returncode == 5


def test_program_killed_by_a_signal_is_a_failure(redis_server: str) -> None:
    with Experiment("e") as exp:
        job = exp.start(beside(redis_server, "import os; os.kill(os.getpid(), 9)"))
        with pytest.raises(JobFailed, match="was killed by signal 9") as caught:
            exp.wait(job, timeout_s=60)
    assert caught.value.returncode == 137


def test_database_killed_in_the_middle_fails_the_program(redis_server: str) -> None:
    with Experiment("e") as exp:
        job = exp.start(beside(redis_server, TALK + "import time; time.sleep(1000)"))
        while "}" not in (said := job.log.read_text()):
            assert not job.wait_ended(0.01)
        os.kill(int(said.split()[-1]), signal.SIGKILL)
        with pytest.raises(JobFailed, match=r"database's shard(.|\n)*in the middle"):
            exp.wait(job, timeout_s=60)


def test_stopping_it_stops_both(redis_server: str, gone: Callable[..., None]) -> None:
    with Experiment("e") as exp:
        job = exp.start(beside(redis_server, TALK + "import time; time.sleep(1000)"))
        while "}" not in (said := job.log.read_text()):
            assert not job.wait_ended(0.01)
        job.stop()
        assert job.state is JobState.CANCELED and job.returncode == 130
        gone(int(said.split()[-1]))


def test_two_beside_each_other_have_a_database_each() -> None:
    with Experiment("e") as exp:
        apps = [Application(name, [sys.executable, "-c", SHOW]) for name in ("a", "b")]
        jobs = [exp.start(colocate(app, module=())) for app in apps]
        exp.wait(timeout_s=60)
    (first, name_a), (second, name_b) = (job.log.read_text().split() for job in jobs)
    assert first != second and (name_a, name_b) == ("a", "b")


def test_a_rank_whose_leader_was_killed_fails_and_says_why(tmp_path: Path) -> None:
    """The leader's database may live on for a moment; the run ends it."""
    runtime, run_id = tmp_path / "runtime", f"test-{os.getpid()}"
    runtime.mkdir(mode=0o700)
    command = colocate(Application("solver", ["sleep", "1000"]), module=()).argv()
    names = {"PENSTOCK_RUN_ID": run_id, "PENSTOCK_NAME": "solver", "PENSTOCK_RUNTIME_DIR": str(runtime)}
    environment = {**os.environ, **names}
    ranks = []
    try:
        for _ in range(2):
            rank = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
            ranks.append(rank)
            while len(list(belonging(run_id, set()))) < 2 * len(ranks) + 1:
                assert rank.poll() is None
        ranks[0].kill()
        _, said = ranks[1].communicate(timeout=60)
        assert ranks[1].returncode == 1 and "the rank that has started it has ended" in said
    finally:
        end_leftovers(run_id, set())
        for rank in ranks:
            rank.communicate()


SOLVER = """
import time
import numpy as np
from smartredis import Client
client = Client(logger_name="solver")
client.put_tensor("u", np.full(3, 7.0))
assert client.poll_tensor("seen", 10, 6000)
"""
TRAINER = """
import numpy as np
from smartredis import Client, ConfigOptions
client = Client(ConfigOptions.create_from_environment("solver_0"), logger_name="trainer")
assert client.poll_tensor("u", 10, 6000)
assert client.get_tensor("u").tolist() == [7, 7, 7]
Client(logger_name="trainer").put_tensor("seen", np.zeros(1))
"""


@pytest.mark.parametrize("port", [None, 0])
def test_a_trainer_joins_the_database_beside_a_solver(redis_server: str, port: int | None) -> None:
    with Experiment("e") as exp:
        app = Application("solver", [sys.executable, "-c", SOLVER])
        solver = exp.start(colocate(app, redis_server=redis_server, port=port))
        (beside,) = exp.colocated(solver)
        assert (beside.address.unix_socket is None) == (port is not None)
        exp.start(Application("trainer", [sys.executable, "-c", TRAINER]), database=[beside])
        exp.wait(timeout_s=90)
        with pytest.raises(
            UsageError, match="the databases beside it, have ended: it ended with exit code 0"
        ):
            exp.colocated(solver)


def test_what_has_no_database_beside_it_cannot_be_joined() -> None:
    with Experiment("e") as exp:
        job = exp.start(Application("solver", ["true"]))
        with pytest.raises(UsageError, match="'solver' has no database beside it"):
            exp.colocated(job)
        exp.wait()


def test_databases_that_do_not_come_are_waited_for_no_longer_than_said(tmp_path: Path) -> None:
    fake = tmp_path / "redis-server"
    fake.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "v=7.0.0 " && exit\nsleep 1000\n')
    fake.chmod(0o755)
    with Experiment("e") as exp:
        app = Application("solver", ["true"])
        job = exp.start(colocate(app, redis_server=fake, module=()))
        with pytest.raises(WaitTimeout, match=r"beside 'solver' \(0 of 1 are there\)"):
            exp.colocated(job, timeout_s=0.1)
        job.stop()


def test_a_socket_of_another_host_is_out_of_reach() -> None:
    with Experiment("e") as exp:
        job = exp.start(colocate(Application("solver", ["sleep", "1000"]), module=()))
        (beside,) = exp.colocated(job)
        elsewhere = replace(beside, host="n7")
        with pytest.raises(PlacementError, match=r"'trainer' .*on n7 cannot be reached.*open_port=True"):
            exp.start(Application("trainer", ["true"]), database=[elsewhere])
        job.stop()


@pytest.mark.parametrize("port", [None, 0, 7000])
def test_a_preview_shows_who_joins_them(port: int | None) -> None:
    hosts = LaunchOptions("slurm", hosts=parse_hosts("a:2,b:2"), preview=True, show=lambda preview: None)
    with Experiment("e", hosts) as exp:
        app = Application("solver", ["true"], resources=Resources(nodes=2))
        listening = {} if port is None else {"port": port, "interface": "eth0", "open_port": True}
        beside = exp.colocated(exp.start(colocate(app, module=(), **listening)))
        assert [(each.identifier, each.host) for each in beside] == [("solver_0", "a"), ("solver_1", "b")]
        at = [str(each.address) for each in beside]
        assert at == [f"eth0.{host}:{port or 6379}" for host in "ab"] or at[0].endswith("/solver.sock")
        exp.start(Application("trainer", ["true"]), database=beside)
        assert "SSDB_solver_1=" in str(exp.preview())
        with pytest.raises(UsageError, match="'trainer' has no database beside it"):
            exp.colocated(exp.jobs[-1])


def test_missing_executable_is_refused_before_anything_starts() -> None:
    with pytest.raises(ApplicationError, match="no-such"):
        colocate(Application("a", ["no-such"]))
