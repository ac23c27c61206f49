"""The command, as a user types it: what it prints, and with which exit code it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pytest

from orchestrator import Application, Experiment, Orchestrator
from orchestrator.cli.commands import COMMANDS
from orchestrator.cli.db import owner
from orchestrator.errors import WaitTimeout
from orchestrator.record import all_runs
from orchestrator.redis_config import Endpoint
from orchestrator.script import exit_code
from orchestrator.shard import Shard
from tests.integration.orchestrator.command import penstock
from tests.integration.orchestrator.launchers import MPIEXECS, options_for

RUN = """
import sys
from orchestrator import Application, Experiment, Orchestrator, run_script

def main(config, *, launcher, run_dir):
    with Experiment("toy", launcher=launcher, run_dir=run_dir) as exp:
        program = f"print({config['n']}); raise SystemExit({config['code']})"
        job = exp.start(Application("program", [sys.executable, "-c", program]))
        exp.wait(job)
        print("after", config["n"], flush=True)

if __name__ == "__main__":
    run_script(main, __file__)
"""


@pytest.fixture
def toy(tmp_path):
    """An experiment called `toy` under ./experiments."""
    directory = tmp_path / "experiments" / "toy"
    directory.mkdir(parents=True)
    (directory / "run.py").write_text(RUN)
    (directory / "config.toml").write_text("n = 3\ncode = 0\n[quick]\nn = 1\n")
    return directory


@pytest.mark.parametrize("how", ["toy", "path", "script"])
def test_run_and_its_options(toy: Path, tmp_path: Path, how: str) -> None:
    options = ("--quick", "--set", "n=7", "--run-dir", "here", "--launcher", "local")
    if how == "script":
        command = [sys.executable, str(toy / "run.py"), *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    else:
        done = penstock("run", toy if how == "path" else "toy", *options)
    assert (done.returncode, done.stdout) == (0, "after 7\n")
    directory, started = done.stderr.splitlines()
    assert directory == f"penstock: run directory {tmp_path / 'here'}"
    assert started == "penstock: started program"
    assert (tmp_path / "here" / "program" / "log.txt").read_text() == "7\n"


def test_quick_is_shorter(toy: Path) -> None:
    assert penstock("run", "toy", "--quick").stdout == "after 1\n"
    assert penstock("run", "toy").stdout == "after 3\n"


def test_failure_is_a_sentence_without_a_traceback(toy: Path) -> None:
    done = penstock("run", "toy", "--set", "code=9")
    assert done.returncode == 1
    assert "'program' ended with exit code 9" in done.stderr and "Traceback" not in done.stderr
    assert "Traceback" in penstock("run", "toy", "--set", "code=9", "--debug").stderr


def test_preview_shows_the_command_and_starts_nothing(toy: Path, tmp_path: Path) -> None:
    done = penstock("run", "toy", "--preview")
    assert done.returncode == 0 and "SystemExit(0)" in done.stdout
    assert not (tmp_path / "runs").exists()


def test_preview_as_json_shows_hosts_and_programs(toy: Path, tmp_path: Path) -> None:
    done = penstock("run", "toy", "--preview", "--json", "--hosts", "a:2,b:3", "--launcher", "local")
    assert done.returncode == 0
    shown = json.loads(done.stdout)
    assert done.stderr == "after 3\n", "what the script itself prints is not in the JSON"
    assert (shown["launcher"], [host["name"] for host in shown["hosts"]]) == ("local", ["a", "b"])
    assert [program["name"] for program in shown["programs"]] == ["program"]
    assert shown["hosts"][0]["cores"][0] == {"core": 0, "programs": ["program"]}
    text = penstock("run", "toy", "--preview", "--hosts", "a:2,b:3", "--launcher", "local").stdout
    assert "toy: 1 program by the launcher local, on 2 hosts with 5 cores" in text
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("case", MPIEXECS)
def test_hosts_are_reached_by_mpi(toy: Path, tmp_path: Path, case: str) -> None:
    mpiexec = str(options_for(case, tmp_path).mpiexec)
    done = penstock("run", "toy", "--preview", "--hosts", "a:2,b:3", "--mpiexec", mpiexec)
    assert "toy: 1 program by the launcher mpi (" in done.stdout
    assert penstock("run", "toy", "--mpiexec", mpiexec).stdout == "after 3\n"
    missing = penstock("run", "toy", "--mpiexec", "/nowhere/mpiexec")
    assert missing.returncode == 1 and "no /nowhere/mpiexec on PATH: install MPICH" in missing.stderr


def test_launcher_is_chosen_by_name(toy: Path, tmp_path: Path) -> None:
    done = penstock("run", "toy", "--launcher", "dry_run")
    assert done.returncode == 0 and "SystemExit(0)" in done.stdout
    assert not (tmp_path / "runs").exists()
    assert penstock("run", "toy", "--launcher", "local").stdout == "after 3\n"
    assert penstock("run", "toy", "--launcher", "dry_run", "--preview").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (
            ["run", "toy", "--launcher", "slrum"],
            "'slrum'; there are: local, mpi, slurm, pbs, smartsim, dry_run, auto",
        ),
        (["run", "toy", "--json"], "give --preview too"),
        (["run", "toy", "--hosts", "a:8", "--launcher", "local"], "this host alone"),
        (["run", "toy", "--preview", "--hosts", "a"], "'a' is no host"),
        (["run", "toy", "--preview", "--hosts", "a:8,a:8"], "named twice: a"),
        (["run", "toy", "--preview", "--hosts", "a:99999999999999"], "at most 65536 cores"),
        (["run", "toy", "--mpiexec", "m", "--launcher", "local"], "'local' has none"),
        (["run", "tyo"], "there are: toy"),
        (["run", "toy", "--set", "coed=3"], "did you mean 'code'"),
        (["run", "toy", "--set", "n=many"], "n: 'many'"),
        (["run", "toy", "--quik"], "--quik"),
        (["run"], "EXPERIMENT"),
        (["rnu"], "rnu"),
        (["stop", "x", "--all"], "not both"),
        (["flags", "rust"], "penstock: there is no client for 'rust'; there are: c, c++, fortran"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_names_it(toy: Path, arguments: Sequence[str], named: str) -> None:
    done = penstock(*arguments)
    assert done.returncode == 2
    assert named in done.stderr


def test_directory_without_run_py_and_run_py_without_main(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "has no run.py" in penstock("run", "empty").stderr
    (tmp_path / "empty" / "run.py").write_text("x = 1\n")
    done = penstock("run", "empty")
    assert done.returncode == 2 and "defines no main" in done.stderr


def test_interrupted_run_is_130(toy: Path) -> None:
    (toy / "run.py").write_text(
        RUN.replace("raise SystemExit", "import time; time.sleep(1000); raise SystemExit").replace(
            "exp.wait(job)", "print('up', flush=True); exp.wait(job)"
        )
    )
    command = [sys.executable, "-m", "orchestrator.cli", "run", "toy"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout.readline() == "up\n"
        running.send_signal(signal.SIGINT)
        said = running.communicate(timeout=60)[1]
    run = all_runs()[0]
    assert (running.returncode, run.state) == (130, "interrupted")
    assert f"the run {run.run_id} was interrupted; to go on: penstock run --resume {run.run_id}\n" in said


@pytest.fixture
def active():
    """A run that is active: a database and a program that has said something."""
    with Experiment("live") as exp:
        db = exp.start(Orchestrator(module=()))
        text = "import time; print('hello', flush=True); time.sleep(1000)"
        job = exp.start(Application("solver", [sys.executable, "-c", text]), database=db)
        while "hello" not in job.log.read_text():
            assert not job.wait_ended(0.01)
        yield exp


def test_ps_shows_active_runs(active: Experiment) -> None:
    (run,) = json.loads(penstock("ps", "--json").stdout)
    assert run["run"] == active.run_id and run["driver"]["pid"] == os.getpid()
    assert {job["name"]: job["state"] for job in run["jobs"]} == {"database_0": "active", "solver": "active"}
    shown = penstock("ps", env={**os.environ, "COLUMNS": "120"}).stdout
    assert "solver" in shown and active.run_id in shown


def test_logs_shows_what_a_program_says(active: Experiment) -> None:
    assert penstock("logs", "solver").stdout == "hello\n"
    assert "ready to accept" in penstock("logs", "database_0", "--run", active.run_id).stdout
    done = penstock("logs", "slover")
    assert done.returncode == 1 and "it has: database_0, solver" in done.stderr


def test_logs_follows_to_the_end(active: Experiment) -> None:
    command = [sys.executable, "-m", "orchestrator.cli", "logs", "-f", "solver"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout.readline() == "hello\n"
        active.jobs[0].stop()
        assert following.wait(30) == 0


def test_db_sends_a_command(active: Experiment) -> None:
    assert penstock("db", "-c", "SET key 'a b'").stdout == "OK\n"
    assert penstock("db", "-c", "GET key").stdout == "a b\n"
    done = penstock("db", "-c", "GTE key")
    assert done.returncode == 1 and "unknown command" in done.stderr


@pytest.mark.parametrize(
    ("command", "named"), [("GET 'a", "No closing quotation"), ("", "empty"), (" ", "empty")]
)
def test_db_refuses_what_is_no_command(active: Experiment, command: str, named: str) -> None:
    done = penstock("db", "-c", command)
    assert done.returncode == 2
    assert named in done.stderr and "Traceback" not in done.stderr


def test_db_prompt_shows_errors_and_goes_on(active: Experiment, tmp_path: Path) -> None:
    asked = "DBSIZE\nNOPE\nGET 'a\nKEYS *\n\n"
    done = penstock("db", input=asked, env={**os.environ, "HOME": str(tmp_path)})
    assert done.returncode == 0
    assert "0" in done.stdout and done.stdout.count("(error)") == 2 and "(empty)" in done.stdout
    assert not list(tmp_path.glob(".penstock*"))
    assert (tmp_path / "state" / "penstock" / "db_history").exists()


def test_db_on_a_cluster_asks_the_owner(tmp_path: Path) -> None:
    with Experiment("live") as exp:
        exp.start(Orchestrator(module=(), shards=2))
        assert [penstock("db", "-c", f"SET k{n} {n}").stdout for n in range(4)] == ["OK\n"] * 4
        assert penstock("db", "-c", "GET k3").stdout == "3\n"


def test_owner_of_a_slot_is_the_shard_with_exactly_that_port() -> None:
    shards = [Shard(Endpoint("127.0.0.1", port)) for port in (3333, 33334)]
    assert owner(shards, ["GET", "k"], "7629 127.0.0.1:33334") is shards[1]
    assert owner(shards, ["GET", "k"], "MOVED 7629 127.0.0.1:3333") is shards[0]
    assert owner(shards, ["GET", "k"], "ERR unknown command") is None


def test_stopping_a_run_that_has_ended_says_so() -> None:
    with Experiment("done") as exp:
        pass
    done = penstock("stop", exp.run_id)
    assert (done.returncode, done.stdout) == (0, f"{exp.run_id} has ended already: completed\n")


def test_processes_that_cannot_be_killed_are_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("orchestrator.guard.sweep", unkillable)
    with Experiment("stuck") as exp:
        with pytest.raises(WaitTimeout, match=r"of the run .*: \[7\]"):
            exp._guard.sweep()
        assert exit_code(exp._guard.sweep) == 1
        monkeypatch.undo()
    assert "Traceback" not in capsys.readouterr().err


def unkillable(run_id, sessions):
    raise TimeoutError(f"processes of the run {run_id} cannot be killed: [7]")


def test_no_run_is_said() -> None:
    assert penstock("ps").stdout == "no run is active\n"
    assert penstock("ps", "--json").stdout == "[]\n"
    assert penstock("stop").stdout == "no run is active\n"
    for command in (["logs", "x"], ["db"], ["stop", "x"]):
        done = penstock(*command)
        assert done.returncode == 1 and "there is no" in done.stderr


def test_doctor_names_the_fix_for_what_is_missing(tmp_path: Path) -> None:
    done = penstock("doctor", "--json", env={**os.environ, "PENSTOCK_CACHE": str(tmp_path / "cache")})
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert done.returncode == 1
    assert (
        checks["database module"]["state"] == "missing"
        and checks["database module"]["fix"] == "penstock build"
    )
    assert checks["redis-server"]["state"] == "ok"
    assert all(check["state"] == "ok" or check["fix"] for check in checks.values())


def test_command_starts_without_heavy_imports() -> None:
    heavy = "('torch', 'redis', 'smartredis', 'pydantic')"
    probe = f"import sys, orchestrator.cli.commands; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_help_names_every_command():
    said = penstock("--help").stdout
    for name in COMMANDS:
        assert re.search(rf"^\W*{name} +\w", said, re.MULTILINE), name


def test_version_is_told():
    assert penstock("--version").stdout == f"penstock {version('penstock')}\n"


def test_where_an_error_was_raised_is_shown_who_asks(toy):
    for said in (penstock("run", "nowhere").stderr, penstock("run", "toy", "--set", "code=3").stderr):
        assert "--debug" not in said and "Traceback" not in said
    assert "Traceback" in penstock("run", "toy", "--set", "code=3", "--debug").stderr
