"""A stand-in for PBS: qsub, qrls, qselect, qstat, qdel and qsig, which really run the scripts they are given.

A job is a directory below PBS_STAND_IN with what qsub was given, and a process that runs its script on this
host once it is released: as a session, read from its standard input, by the shell of `-S`, with PBS_JOBID and
PBS_NODEFILE. A file `full` there keeps jobs from beginning. What qsub does not know, it refuses.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

COMMANDS = ("qsub", "qrls", "qselect", "qstat", "qdel", "qsig")
DIRECTORY = "PBS_STAND_IN"
KILL_DELAY_S = 5.0
DIRECTIVE = re.compile(r"#PBS -(\w) ?(.*)")
WIDTH = 78


def install(directory: Path) -> dict[str, str]:
    """Make the commands; return the environment in which they are found."""
    for name in COMMANDS:
        program = directory / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" {name} "$@"\n')
        program.chmod(0o755)
    return {DIRECTORY: str(directory), "PATH": f"{directory / 'bin'}:{os.environ['PATH']}"}


def end_all(directory: Path) -> None:
    """Kill the jobs that are left, and wait until they are gone."""
    os.environ[DIRECTORY] = str(directory)
    deadline = time.monotonic() + 60
    while left := list(jobs().iterdir()):
        for job in left:
            end(job)
        assert time.monotonic() < deadline, f"these do not end: {left}"
        time.sleep(0.02)


def end(job: Path) -> None:
    """Kill the session of a job, or forget one that has none."""
    try:
        facts = json.loads((job / "job.json").read_text())
        if facts["job_state"] != "R":
            shutil.rmtree(job)
        elif "session" in facts:
            os.killpg(facts["session"], signal.SIGKILL)
    except (FileNotFoundError, ProcessLookupError):
        return  # it is ending


def qsub(*words: str) -> None:
    """Take a script from the standard input, and print the number of its job."""
    if words != ("-h",):
        fail(f"qsub: what is {words}?")
    script = sys.stdin.read()
    facts: dict[str, Any] = {"job_state": "H", "script": script, "environment": {}}
    for letter, text in DIRECTIVE.findall(script):
        understand(facts, letter, text.strip().strip('"'))
    number = f"{len(list(jobs().iterdir())) + 1}.stand-in"
    (jobs() / number).mkdir()
    write(number, facts)
    print(number)


def understand(facts: dict[str, Any], letter: str, text: str) -> None:
    """Note what a directive asks for."""
    if letter == "l":
        name, _, value = text.partition("=")
        facts[f"Resource_List.{name}"] = value
    elif letter == "V":
        facts["environment"] = dict(os.environ)
    elif letter in "NSojrqA":
        facts[{"N": "Job_Name", "o": "Output_Path", "q": "queue"}.get(letter, letter)] = text
    else:
        fail(f"qsub: illegal option -- {letter}")
    if facts.get("queue", "workq") != "workq":
        fail("qsub: Unknown queue")


def qrls(number: str) -> None:
    """Let a held job begin: now, or when `qstat` looks and `full` has gone."""
    facts = read(number)
    write(number, {**facts, "job_state": "Q"})
    begin(number)


def begin(number: str) -> None:
    facts = read(number)
    if (jobs().parent / "full").exists():
        why = "Not Running: Insufficient amount of resource: ncpus (R: 2 A: 0 T: 2), and a few words more"
        write(number, {**facts, "comment": why})
        return
    write(number, {**facts, "job_state": "R", "stime": time.strftime("%a %b %d %H:%M:%S %Y")})
    subprocess.Popen(
        [sys.executable, __file__, "run", number],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def run(number: str) -> None:
    """Run the script of a job to its end or the end of its time; the job is gone then."""
    facts = read(number)
    hosts = jobs() / number / "nodes"
    asked = dict(word.split("=") for word in facts["Resource_List.select"].split(":")[1:])
    names = [os.uname().nodename, "localhost"][: int(facts["Resource_List.select"].split(":")[0])]
    hosts.write_text("".join(f"{name}\n" * int(asked["mpiprocs"]) for name in names))
    environment = {**facts["environment"], "PBS_JOBID": number, "PBS_NODEFILE": str(hosts)}
    with Path(facts["Output_Path"]).open("ab") as output:
        process = subprocess.Popen(
            [facts["S"]],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=environment,
            cwd="/",
            start_new_session=True,
        )
        write(number, {**facts, "session": process.pid})
        assert process.stdin is not None
        process.stdin.write(facts["script"].encode())
        process.stdin.close()
        wait(process, facts["Resource_List.walltime"])
    shutil.rmtree(jobs() / number)


def wait(process: subprocess.Popen[bytes], walltime: str) -> None:
    hours, minutes, seconds = map(int, walltime.split(":"))
    try:
        process.wait(hours * 3600 + minutes * 60 + seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(KILL_DELAY_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def qselect(*words: str) -> None:
    """List the jobs; there is only one user."""
    print("\n".join(path.name for path in jobs().iterdir()))


def qstat(*words: str) -> None:
    """Print all that is known of jobs."""
    assert words[0] == "-f"
    for number in words[1:]:
        facts = read(number)
        print(f"Job Id: {number}")
        for name, value in facts.items():
            if isinstance(value, str) and name != "script":
                line = f"    {name} = {value}"
                print("\n\t".join(line[start : start + WIDTH] for start in range(0, len(line), WIDTH)))
        print()


def qdel(number: str) -> None:
    """End a job: the session of one that runs is told to end, and killed later."""
    facts = read(number)
    if facts["job_state"] != "R":
        shutil.rmtree(jobs() / number)
        return
    os.killpg(facts["session"], signal.SIGTERM)


def qsig(*words: str) -> None:
    """Send a signal to the session of a job."""
    option, name, number = words
    facts = read(number)
    if option != "-s" or facts["job_state"] != "R":
        fail(f"qsig: Request invalid for state of job {number}")
    os.killpg(facts["session"], signal.Signals[name])


def jobs() -> Path:
    """Return the directory of the jobs."""
    directory = Path(os.environ[DIRECTORY]) / "jobs"
    directory.mkdir(exist_ok=True)
    return directory


def read(number: str) -> dict[str, Any]:
    """Return what is known of a job."""
    try:
        return dict(json.loads((jobs() / number / "job.json").read_text()))
    except FileNotFoundError:
        fail(f"qstat: Unknown Job Id {number}")


def write(number: str, facts: dict[str, Any]) -> None:
    """Note what is known of a job."""
    part = jobs() / number / "part"
    part.write_text(json.dumps(facts))
    part.replace(jobs() / number / "job.json")


def fail(text: str) -> Any:
    """End with an error."""
    print(text, file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
