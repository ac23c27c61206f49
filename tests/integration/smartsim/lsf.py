"""A stand-in for what SmartSim asks of LSF: jsrun, which runs one rank on this host, jslist and jskill.

What is known of steps is a file for each below LSF_STAND_IN. The words of jslist are those SmartSim reads.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

COMMANDS = ("jsrun", "jslist", "jskill")
DIRECTORY = "LSF_STAND_IN"
WITH_VALUE = ("--chdir", "--stdio_stdout", "--stdio_stderr", "-E")


def install(directory: Path) -> dict[str, str]:
    """Make the commands; return the environment in which they are found."""
    for name in COMMANDS:
        program = directory / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" {name} "$@"\n')
        program.chmod(0o755)
    (directory / "steps").mkdir()
    return {
        DIRECTORY: str(directory / "steps"),
        "PATH": f"{directory}:{os.environ['PATH']}",
        "LSB_JOBID": "7",
    }


def jsrun(*words: str) -> int:
    """Run a program, and note how it is."""
    given = list(words)
    environment, directory = dict(os.environ), "/"
    while given[0].startswith("-"):
        option = given.pop(0)
        value = given.pop(0) if option in WITH_VALUE else ""
        if option == "-E":
            name, _, text = value.partition("=")
            environment[name] = text
        directory = value if option == "--chdir" else directory
    file = steps() / str(len(list(steps().iterdir())) + 1)
    process = subprocess.Popen(given, cwd=directory, env=environment)
    file.write_text(f"{process.pid} 0 Running")
    code = process.wait()
    file.write_text(
        f"{process.pid} {128 - code if code < 0 else code} {'Killed' if code < 0 else 'Complete'}"
    )
    return abs(code)


def jslist() -> int:
    """Print the steps."""
    print("       parent                cpus      gpus      exit")
    print("   ID   ID       nrs    per RS   per RS    status         status")
    print("=" * 80)
    for file in steps().iterdir():
        _, code, state = file.read_text().split()
        print(f"    {file.name}    0        1     1        0         {code}      {state}")
    return 0


def jskill(number: str) -> int:
    """Kill a step."""
    os.kill(int((steps() / number).read_text().split()[0]), signal.SIGKILL)
    return 0


def steps() -> Path:
    """Return the directory of what is known."""
    return Path(os.environ[DIRECTORY])


if __name__ == "__main__":
    sys.exit(globals()[sys.argv[1]](*sys.argv[2:]))
