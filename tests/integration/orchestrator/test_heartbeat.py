"""Programs that are stuck: they have put snapshots, run on, and put no more."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from orchestrator import (
    Application,
    Ensemble,
    Experiment,
    JobState,
    Orchestrator,
    Policy,
    RedisConfig,
    Resources,
    colocate,
)
from orchestrator.cluster import key_slot, slot_ranges
from orchestrator.database import Database
from orchestrator.errors import JobFailed, UsageError
from orchestrator.run_files import read_record
from orchestrator.shard import Shard

DEADLINE_S = 60.0
HEARTBEAT_S = 1.0

# Announces as SmartRedis does, without the time that its import takes.
SOLVER = """
import os, socket, sys, time
def command(*words):
    place = next(value for key, value in os.environ.items() if key.split("_")[0] == "SSDB")
    if place.startswith("unix://"):
        to = socket.socket(socket.AF_UNIX)
        to.connect(place.removeprefix("unix://"))
    else:
        host, port = place.split(",")[int(os.environ.get("SHARD", "0"))].split(":")
        to = socket.create_connection((host, int(port)))
    text = [str(word).encode() for word in words]
    to.sendall(b"*%d\\r\\n" % len(text) + b"".join(b"$%d\\r\\n%s\\r\\n" % (len(t), t) for t in text))
    reply = to.recv(1000)
    assert reply[:1] in b"+:*" or reply.startswith(b"-STREAMFULL"), reply
name = os.environ["PENSTOCK_NAME"]
for number, word in enumerate(sys.argv[1:]):
    if word == "step":
        deadline = time.monotonic() + 60
        while True:
            try:
                command("RPUSH", "snapshots", "{%s.0.%d}" % (name, number))
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        time.sleep(0.3)
    elif word == "end":
        command("SET", "flag.snapshots.%s.0.ended" % name, 1)
    elif word == "hang":
        time.sleep(1000)
    elif word == "bound":
        command("PENSTOCK.BOUND", "snapshots", "ITEMS", 1, "POLICY", os.environ["BOUND"])
    elif word == "wait":
        command("PENSTOCK.RESERVE", "snapshots", "{%s.0.%d}" % (name, number), 1, "TIMEOUT", 3000)
    elif word == "skip":
        command("PENSTOCK.RESERVE", "snapshots", "{%s.0.%d}" % (name, number), 1)
        time.sleep(0.3)
    elif word == "nap":
        time.sleep(2.5)
    elif word == "once":
        if not os.path.exists("tried"):
            open("tried", "w").close()
            time.sleep(1000)
"""


def solver(*words: str, name: str = "solver", **options) -> Application:
    return Application(name, [sys.executable, "-c", SOLVER, *words], **options)


def test_without_a_database_it_is_refused() -> None:
    with Experiment("e") as exp:
        with pytest.raises(UsageError, match=r"heartbeat_s=5.*database=.*timeout_s"):
            exp.start(solver("hang"), policy=Policy(heartbeat_s=5))
        assert exp.jobs == ()


def test_a_database_beside_the_program_is_refused() -> None:
    with Experiment("e") as exp, pytest.raises(UsageError, match="out of the driver's sight"):
        exp.start(colocate(solver("hang"), module=()), policy=Policy(heartbeat_s=5))


@pytest.mark.parametrize("shards", [1, 3])
def test_a_stuck_program_has_failed(shards: int, capfd: pytest.CaptureFixture[str]) -> None:
    owner = next(n for n, slots in enumerate(slot_ranges(shards)) if key_slot("snapshots") in slots)
    told = "'solver' has put no snapshot for 1 s and was stopped"
    with pytest.raises(JobFailed, match=told), Experiment("e") as exp:
        db = exp.start(Orchestrator(module=(), shards=shards))
        program = solver("step", "step", "hang", environment={"SHARD": str(owner)})
        job = exp.start(program, database=db, policy=Policy(heartbeat_s=HEARTBEAT_S))
        exp.wait(timeout_s=DEADLINE_S)
    assert job.state is JobState.FAILED
    assert "solver has put no snapshot for 1 s" in capfd.readouterr().err
    (entry,) = [each for each in read_record(exp.run_dir)["jobs"] if each["name"] == "solver"]
    assert entry["reason"] == "has put no snapshot for 1 s and was stopped" and entry["state"] == "failed"


def test_it_is_tried_again_and_goes_on() -> None:
    with Experiment("e") as exp:
        db = exp.start(Orchestrator(module=()))
        policy = Policy(heartbeat_s=HEARTBEAT_S, retries=1, pause_s=0)
        job = exp.start(solver("step", "once", "step"), database=db, policy=policy)
        exp.wait(timeout_s=DEADLINE_S)
    assert job.state is JobState.COMPLETED and job.attempts == 2


def test_who_has_put_nothing_or_has_ended_the_stream_or_goes_on_is_not_stuck() -> None:
    with Experiment("e") as exp:
        db = exp.start(Orchestrator(module=()))
        policy = Policy(heartbeat_s=HEARTBEAT_S)
        jobs = [
            exp.start(solver(*words, name=f"s{number}"), database=db, policy=policy)
            for number, words in enumerate([["nap"], ["step", "end", "nap"], ["step"] * 8])
        ]
        exp.wait(timeout_s=DEADLINE_S)
    assert [job.state for job in jobs] == [JobState.COMPLETED] * 3


def test_who_waits_for_room_or_finds_none_is_not_stuck() -> None:
    with Experiment("e") as exp:
        for bound, words in (("block", ["wait"]), ("drop_newest", ["skip"] * 8)):
            db = exp.start(Orchestrator(identifier=bound))
            exp.start(
                solver("bound", "step", *words, name=bound, environment={"BOUND": bound}),
                database=db,
                policy=Policy(heartbeat_s=HEARTBEAT_S),
            )
        exp.wait(timeout_s=DEADLINE_S)
    assert {job.state for job in exp.jobs if job.name in ("block", "drop_newest")} == {JobState.COMPLETED}


def test_who_is_stuck_where_snapshots_were_skipped_has_failed() -> None:
    told = "'solver' has put no snapshot for 1 s and was stopped"
    with pytest.raises(JobFailed, match=told), Experiment("e") as exp:
        db = exp.start(Orchestrator())
        program = solver("bound", "step", "skip", "hang", environment={"BOUND": "drop_newest"})
        exp.start(program, database=db, policy=Policy(heartbeat_s=HEARTBEAT_S))
        exp.wait(timeout_s=DEADLINE_S)


def test_one_that_is_frozen_is_killed_and_others_go_on() -> None:
    with Experiment("e", grace_s=0.5) as exp:
        db = exp.start(Orchestrator(module=()))
        command = [sys.executable, "-c", SOLVER, *["step"] * 10, "{n}"]
        ensemble = Ensemble("m", command, grid={"n": ["hang", "x"]}, resources=Resources(cores=1))
        policy = Policy(heartbeat_s=HEARTBEAT_S, on_failure="continue")
        group = exp.start(ensemble, database=db, policy=policy)
        frozen, other = group.jobs
        while not any(b"m_0." in entry for entry in _announced(db)):  # the other one may be first
            assert not frozen.wait_ended(0.05)
        os.kill(frozen.pid, signal.SIGSTOP)
        exp.wait(timeout_s=DEADLINE_S)
    assert (frozen.state, other.state) == (JobState.FAILED, JobState.COMPLETED)
    assert frozen.returncode == -signal.SIGKILL


def test_while_a_server_is_started_again_nobody_is_stuck() -> None:
    with Experiment("e") as exp:
        config = RedisConfig(append_only=True)
        db = exp.start(Orchestrator(module=(), on_shard_failure="restart", config=config))
        job = exp.start(solver(*["step"] * 8), database=db, policy=Policy(heartbeat_s=HEARTBEAT_S))
        while b"snapshots" not in _keys(db):
            assert not job.wait_ended(0.05)
        os.kill(db.jobs[0].pid, signal.SIGKILL)
        exp.wait(job, timeout_s=DEADLINE_S)
        assert job.state is JobState.COMPLETED


def _keys(db: Database) -> list[bytes]:
    with Shard(db.nodes[0].endpoint) as shard:
        found: list[bytes] = shard.command("KEYS", "*")
        return found


def _announced(db: Database) -> list[bytes]:
    with Shard(db.nodes[0].endpoint) as shard:
        found: list[bytes] = shard.command("LRANGE", "snapshots", "0", "-1")
        return found
