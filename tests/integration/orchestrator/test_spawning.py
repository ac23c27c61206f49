"""A process that posix_spawn starts is what subprocess would have made of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.launchers import spawning
from orchestrator.launchers.spawning import Spawned, spawn

# Everything that a process inherits from who started it.
TELL = """
import json, os, signal, sys
files = sorted(int(name) for name in os.listdir("/proc/self/fd"))
blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
print(json.dumps({
    "argv": sys.argv[1:], "cwd": os.getcwd(), "environment": dict(os.environ),
    "leads": os.getsid(0) == os.getpid(),
    "files": [number for number in files if os.path.exists(f"/proc/self/fd/{number}")],
    "input": os.readlink("/proc/self/fd/0"), "blocked": list(blocked), "ignored": status["SigIgn"].strip(),
}), flush=True)
print("an error", file=sys.stderr)
"""


OF_GLIBC = 0b11 << 31
"""Signals that no program may use."""


@pytest.fixture(params=["posix_spawn", "subprocess"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Start by posix_spawn, and as where the C library lacks something."""
    if request.param == "subprocess":
        monkeypatch.setattr(spawning, "_library", lambda: None)
    elif spawning._library() is None:
        pytest.skip("this C library lacks what posix_spawn needs")
    return str(request.param)


def run(command: list[str], directory: Path, environment: dict[str, str]) -> tuple[int, str]:
    log = os.open(directory / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC)
    try:
        process = spawn(command, directory, environment, log)
    finally:
        os.close(log)
    assert process.returncode is None
    code = process.wait()
    assert process.returncode == code == process.wait()
    return code, (directory / "log.txt").read_text()


def test_it_begins_as_it_is_to(way: str, tmp_path: Path) -> None:
    leak = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(leak, True)
    environment = {"EMPTY": "", "TEXT": "a=b ü \n", "BYTES": os.fsdecode(b"\xff")}
    try:
        code, said = run([sys.executable, "-I", "-c", TELL, "", "ü", "a b"], tmp_path, environment)
    finally:
        os.close(leak)
    told: dict[str, Any] = json.loads(said.partition("\n")[0])
    assert code == 0 and said.endswith("an error\n")
    assert told["argv"] == ["", "ü", "a b"] and told["cwd"] == str(tmp_path) and told["leads"]
    assert {name: told["environment"][name] for name in environment} == environment
    assert told["files"] == [0, 1, 2] and told["input"] == "/dev/null" and told["blocked"] == []
    python_ignores = 1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1)
    assert int(told["ignored"], 16) & ~(python_ignores | OF_GLIBC) == 0  # Python does it when it begins


def test_signals_that_python_ignores_are_not_ignored(way: str, tmp_path: Path) -> None:
    code, said = run(["/bin/grep", "SigIgn", "/proc/self/status"], tmp_path, {})
    assert code == 0 and int(said.split()[1], 16) & ~OF_GLIBC == 0


@pytest.mark.parametrize(("command", "code"), [("exit 3", 3), ("kill -KILL $$", -9), ("true", 0)])
def test_its_end_is_told(way: str, tmp_path: Path, command: str, code: int) -> None:
    assert run(["/bin/sh", "-c", command], tmp_path, {})[0] == code


@pytest.mark.parametrize(
    ("program", "kind"),
    [("/none", FileNotFoundError), ("/etc/passwd", PermissionError), (str(Path(__file__)), PermissionError)],
)
def test_what_cannot_be_started_is_told(way: str, tmp_path: Path, program: str, kind: type[OSError]) -> None:
    with pytest.raises(kind, match=program):
        run([program], tmp_path, {})
    with pytest.raises(FileNotFoundError):
        spawn(["/bin/true"], tmp_path / "no", {}, 1)


def test_inherited_files_and_names_without_a_path_are_for_subprocess(tmp_path: Path) -> None:
    for command, inherits in ((["true"], ()), (["/bin/true"], (0,))):
        process = spawn(command, tmp_path, dict(os.environ), 1, inherits)
        assert isinstance(process, subprocess.Popen) and process.wait() == 0
    if spawning._library() is not None:
        process = spawn(["/bin/true"], tmp_path, {}, 1)
        assert isinstance(process, Spawned) and process.wait() == 0
