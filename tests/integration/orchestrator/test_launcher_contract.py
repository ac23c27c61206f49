"""The contract that every launcher keeps: with each mpiexec there is, in a job of PBS, in one of Slurm."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator import Application, InputFiles
from orchestrator.errors import JobFailed, StartFailed, UsageError
from orchestrator.launchers.base import Job, JobState, Launch, Launcher
from orchestrator.launchers.table import LAUNCHERS, find_launcher, make_launcher
from orchestrator.placement import Placement, RankPlacement
from orchestrator.sources import Sources
from tests.integration.orchestrator.launchers import IN_PBS, MPIEXECS, options_for, smartsim_python

SLURM = pytest.param("slurm", marks=pytest.mark.slurm)
SMARTSIM = pytest.param("smartsim", marks=pytest.mark.slow)
STARTING = ["local", *MPIEXECS, *IN_PBS, SLURM, SMARTSIM]
REAL = pytest.mark.parametrize("launcher", STARTING, indirect=True)  # those that start programs
SOON_S = 0.5  # MPICH's mpiexec loses a SIGTERM that comes before its ranks are there
FOREVER = "import time; time.sleep(1000)"


@pytest.fixture(params=["dry_run", *STARTING])
def launcher(request, tmp_path, monkeypatch):
    """Each launcher there is."""
    if request.param == "smartsim":
        monkeypatch.setenv("PENSTOCK_SMARTSIM", smartsim_python())
    if request.param in IN_PBS:
        request.getfixturevalue("pbs_job")
    if request.param == "slurm":
        request.getfixturevalue("allocation")
    launcher = make_launcher(options_for(request.param, tmp_path), lambda pid: None)
    yield launcher
    launcher.close()


@pytest.fixture
def launch(tmp_path, launcher):
    """Describe a Python program to launch; by the launcher mpi one with a rank."""

    def describe(text="pass", *, command=None, **options):
        directory = tmp_path / "job"
        if launcher.name in ("mpi", "pbs", "slurm"):
            options.setdefault("ranks", 1)
        program = command or [sys.executable, "-c", text]
        return Launch("job", program, directory, directory / "log.txt", {"X": "it's 1"}, **options)

    return describe


@pytest.fixture
def on_one_core(launcher):
    """A place on the first core of the first host."""
    host = launcher.inventory().hosts[0]
    return Placement((RankPlacement(host.name, host.cores[:1]),))


def wait_for_file(path: Path, job: Job) -> str:
    """Wait until a program has written a line."""
    while not path.exists() or not path.read_text().endswith("\n"):
        assert not job.wait_ended(0.01), f"it ended before: {job.log.read_text()}"
    return path.read_text().strip()


def beyond(launcher: Launcher) -> str:
    """Return what a program does before it may fail: SmartSim knows no exit code of its first 0.2 s."""
    return "import time; time.sleep(0.5)" if launcher.name == "smartsim" else "pass"


def test_name_is_that_of_the_table(launcher: Launcher) -> None:
    assert LAUNCHERS[launcher.name] is type(launcher)


def test_it_has_cores_to_give(launcher: Launcher) -> None:
    assert launcher.inventory().core_count


def test_a_good_program_is_completed(launcher: Launcher, launch: Callable[..., Launch]) -> None:
    job = launcher.start(launch())
    assert job.wait(30) is JobState.COMPLETED
    assert (job.name, job.returncode) == ("job", 0)
    assert job.command == tuple(launch().command)
    assert job.started is not None and job.ended >= job.started


@REAL
def test_a_program_finds_its_input_files(
    launcher: Launcher, launch: Callable[..., Launch], tmp_path: Path
) -> None:
    (tmp_path / "run.cfg").write_text("nu = ;nu;\n")
    files = InputFiles(copied={"as/it is": tmp_path / "run.cfg"}, configured=[tmp_path / "run.cfg"])
    application = Application("job", ["true"], files=files, parameters={"nu": 7})
    inputs = Sources().inputs(application, tmp_path / "job")
    text = f"{beyond(launcher)}; print(open('run.cfg').read() + open('as/it is').read())"
    job = launcher.start(launch(text, inputs=inputs))
    assert job.wait(30) is JobState.COMPLETED
    assert job.log.read_text().split() == ["nu", "=", "7", "nu", "=", ";nu;"]


def test_a_program_of_several_calls_is_told_once(launcher: Launcher, launch: Callable[..., Launch]) -> None:
    ended = []
    job = launcher.start(launch())
    job.when_ended(ended.append)
    job.wait(30)
    job.when_ended(ended.append)
    while len(ended) < 2:
        assert job.wait_ended(0.01)
    assert ended == [job, job]


def test_a_listener_that_raises_keeps_nothing_from_others(
    launcher: Launcher, launch: Callable[..., Launch]
) -> None:
    heard = threading.Event()
    job = launcher.start(launch(FOREVER))
    if launcher.dry:  # its Jobs have ended before anybody can listen
        with pytest.raises(ZeroDivisionError):
            job.when_ended(broken)
        return
    job.when_ended(lambda _: heard.set())
    job.when_ended(broken)
    job.stop(SOON_S)
    assert heard.wait(30)
    assert isinstance(job.listener_error, ZeroDivisionError)
    again = launcher.start(launch())
    assert again.wait_ended(30), "the launcher sees no end any more"


def broken(job):
    raise ZeroDivisionError("in a listener")


def test_stopping_what_has_ended_is_harmless(launcher: Launcher, launch: Callable[..., Launch]) -> None:
    job = launcher.start(launch())
    job.wait(30)
    job.stop()
    assert job.state is JobState.COMPLETED


def test_stopped_program_is_final(launcher: Launcher, launch: Callable[..., Launch]) -> None:
    job = launcher.start(launch(FOREVER))
    job.stop(SOON_S)
    assert job.state.final and job.state is not JobState.FAILED


def test_only_a_dry_launcher_starts_nothing(
    launcher: Launcher, launch: Callable[..., Launch], on_one_core: Placement
) -> None:
    described = launch(
        "import os\n"
        "place = f\"{os.environ['X']} {os.getcwd()} {sorted(os.sched_getaffinity(0))}\"\n"
        "os.write(1, f'{place}\\n'.encode())\n"
        "os.write(2, b'and errors\\n')",
        placement=on_one_core,
    )
    launcher.start(described).wait(30)
    assert described.log.exists() is not launcher.dry
    if not launcher.dry:
        said = sorted(described.log.read_text().splitlines())
        assert said == ["and errors", f"it's 1 {described.directory} {list(on_one_core.cores)}"]


def test_its_command_does_the_same_by_hand(
    launcher: Launcher, launch: Callable[..., Launch], on_one_core: Placement
) -> None:
    argv = launcher.argv(launch("print(1)", placement=on_one_core))
    assert argv[-3:] == (sys.executable, "-c", "print(1)")
    assert Path(argv[0]).name.startswith(("mpiexec", "taskset", "srun"))


@REAL
def test_an_exit_code_is_a_failure_with_the_end_of_the_log(
    launcher: Launcher, launch: Callable[..., Launch]
) -> None:
    described = launch(f"print('the reason', flush=True); {beyond(launcher)}; raise SystemExit(3)")
    job = launcher.start(described)
    with pytest.raises(JobFailed, match="ended with exit code 3") as caught:
        job.wait(30)
    assert caught.value.returncode == 3 and "the reason" in caught.value.log_tail


@REAL
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_signal_that_kills_it_is_named(
    launcher: Launcher, launch: Callable[..., Launch], number: int
) -> None:
    job = launcher.start(launch(f"import os; {beyond(launcher)}; os.kill(os.getpid(), {int(number)})"))
    assert job.wait_ended(30)
    assert (job.state, job.returncode) == (JobState.FAILED, -number)


@REAL
def test_somebody_elses_signal_is_a_failure(
    launcher: Launcher, launch: Callable[..., Launch], tmp_path: Path
) -> None:
    file = tmp_path / "pid"
    job = launcher.start(
        launch(f"import os; print(os.getpid(), file=open({str(file)!r}, 'w'), flush=True); {FOREVER}")
    )
    os.kill(int(wait_for_file(file, job)), signal.SIGKILL)
    with pytest.raises(JobFailed, match="SIGKILL"):
        job.wait(30)


@REAL
def test_a_program_may_end_in_order_when_it_is_told_to(
    launcher: Launcher, launch: Callable[..., Launch], tmp_path: Path
) -> None:
    if launcher.name == "smartsim":
        pytest.skip("SmartSim can only kill, and says so: tests/integration/smartsim/test_launcher.py")
    ready, over = tmp_path / "ready", tmp_path / "over"
    job = launcher.start(
        launch(
            "import signal, sys\n"
            "def end(number, frame):\n"
            f"    print('in order', file=open({str(over)!r}, 'w'), flush=True)\n"
            "    sys.exit()\n"
            "signal.signal(signal.SIGTERM, end)\n"
            f"print('ready', file=open({str(ready)!r}, 'w'), flush=True)\n"
            f"{FOREVER}"
        )
    )
    wait_for_file(ready, job)
    job.stop(20)
    assert over.read_text() == "in order\n"
    assert job.state is JobState.CANCELED


@REAL
def test_a_kill_takes_the_whole_tree(
    launcher: Launcher, launch: Callable[..., Launch], tmp_path: Path, gone: Callable[..., None]
) -> None:
    """Those who ignore a SIGTERM, and those who have a session of their own."""
    file = tmp_path / "pids"
    job = launcher.start(
        launch(
            "import os, signal, subprocess, sys\n"
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "child = subprocess.Popen(['sleep', '1000'])\n"
            "apart = subprocess.Popen(['sh', '-c', 'sleep 1000 & wait'], start_new_session=True)\n"
            f"print(os.getpid(), child.pid, apart.pid, file=open({str(file)!r}, 'w'), flush=True)\n"
            f"{FOREVER}"
        )
    )
    pids = [int(word) for word in wait_for_file(file, job).split()]
    job.kill()
    assert job.wait_ended(30)
    gone(*pids)
    assert (job.state, job.returncode) == (JobState.CANCELED, -signal.SIGKILL)


@REAL
def test_what_never_starts_is_told(launcher: Launcher, launch: Callable[..., Launch]) -> None:
    described = launch(command=["/nowhere/solver"])
    try:
        job = launcher.start(described)
    except StartFailed as error:
        assert "/nowhere/solver" in str(error)
        return
    with pytest.raises(JobFailed) as caught:  # mpiexec and srun look for it on each host
        job.wait(30)
    assert "/nowhere/solver" in caught.value.log_tail


@REAL
def test_a_directory_that_cannot_be_made_is_told(
    launcher: Launcher, launch: Callable[..., Launch], tmp_path: Path
) -> None:
    (tmp_path / "job").touch()
    with pytest.raises(StartFailed, match="'job' could not be started"):
        launcher.start(launch())


def test_unknown_launcher_is_refused() -> None:
    with pytest.raises(UsageError, match="no launcher 'k8s'"):
        find_launcher("k8s")
