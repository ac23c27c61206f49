"""Lines of shell before a program, and words before its command."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator import Application, Ensemble, Experiment, JobState, Resources, colocate
from orchestrator.errors import JobFailed

DEADLINE_S = 60.0


def test_lines_run_in_the_shell_that_becomes_the_program(tmp_path: Path) -> None:
    tool = tmp_path / "bin" / "a-tool-of-a-module"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\necho "$GREETING, process $$"\n')
    tool.chmod(0o755)
    with Experiment("e") as exp:
        pre = [
            f"export PATH={tool.parent}:$PATH",
            "f() { GREETING=hello; }; f  # as module does",
            "export GREETING",
        ]
        job = exp.start(Application("a", ["a-tool-of-a-module"], pre=pre, prefix=["env"]))
        exp.wait(timeout_s=DEADLINE_S)
        assert job.log.read_text() == f"hello, process {job.pid}\n"


def test_a_line_that_fails_is_the_failure_of_the_program() -> None:
    told = r"exit code 3(.|\n)*line of pre has failed: \(exit 3\)"
    with pytest.raises(JobFailed, match=told) as caught, Experiment("e") as exp:
        exp.start(Application("a", ["echo", "started"], pre=["true", "(exit 3)"]))
        exp.wait(timeout_s=DEADLINE_S)
    assert caught.value.returncode == 3
    assert "started\n" not in caught.value.log_tail


def test_a_module_that_is_not_there_says_so() -> None:
    with (
        pytest.raises(JobFailed, match=r"exit code 127(.|\n)*no-such-module-command"),
        Experiment("e") as exp,
    ):
        exp.start(Application("a", ["true"], pre=["no-such-module-command load gcc"]))
        exp.wait(timeout_s=DEADLINE_S)


def test_signals_reach_the_program() -> None:
    handler = "import signal, sys; signal.signal(15, lambda *_: sys.exit(7)); print('up'); signal.pause()"
    with Experiment("e", grace_s=DEADLINE_S) as exp:
        job = exp.start(Application("a", [sys.executable, "-uc", handler], pre=["true"], prefix=["env"]))
        while "up" not in job.log.read_text():
            assert not job.wait_ended(0.01)
        job.signal(signal.SIGTERM)
        assert job.wait_ended(DEADLINE_S) and job.returncode == 7


def test_a_preview_has_the_exact_lines_and_they_run(
    short_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_directory))  # the lines make the runtime directory too
    ensemble = Ensemble(
        "m",
        ["sh", "-c", 'echo "$A {n}"'],
        grid={"n": [1, 2]},
        pre=["export A='it'\"'\"'s {n}'"],
        prefix=["env", "B={n}"],
        resources=Resources(cores=1),
    )
    with Experiment("e", "dry_run") as exp:
        text = str(exp.preview(ensemble))
        directory = exp.run_dir
    subprocess.run(["bash", "-ec", text.partition("\n\nmkdir")[2].join(["mkdir", ""])], check=True)
    assert (directory / "m_1" / "log.txt").read_text() == "it's 2 2\n"


def test_beside_a_database() -> None:
    with Experiment("e") as exp:
        program = Application("a", ["sh", "-c", "echo $A $SSDB"], pre=["export A=hello"])
        job = exp.start(colocate(program, module=()))
        exp.wait(timeout_s=DEADLINE_S)
        assert job.state is JobState.COMPLETED and "hello unix://" in job.log.read_text()
