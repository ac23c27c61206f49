"""A database beside a program, for that program alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator import Application, Experiment, JobState, RedisConfig, colocate
from orchestrator.errors import ApplicationError, JobFailed
from orchestrator.guard import end_leftovers
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


def test_missing_executable_is_refused_before_anything_starts() -> None:
    with pytest.raises(ApplicationError, match="no-such"):
        colocate(Application("a", ["no-such"]))
