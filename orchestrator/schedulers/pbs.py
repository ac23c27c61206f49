"""PBS as a scheduler: the qsub script, its job followed from a login node, and the hosts that a job has.

For PBS Pro and OpenPBS, whose directive for whole nodes is `select`. Their job does not begin in the
directory and with the environment of who submits it, as a job of Slurm does, so the script says both; and
what a script prints is brought to its place at its end only, so the driver writes its log itself.
"""

from __future__ import annotations

import getpass
import os
import re
import shlex
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from orchestrator.asking import Commands
from orchestrator.errors import PbsError, UsageError
from orchestrator.hosts import Host, Inventory
from orchestrator.schedulers.base import Batch, JobStatus, check_further, check_path

JOB_VARIABLE = "PBS_JOBID"
HOSTS_VARIABLE = "PBS_NODEFILE"
GPUS_VARIABLE = "PENSTOCK_GPUS_PER_HOST"
"""How many GPUs each host of a job has; PBS tells a job of its cores only."""
OURS = re.compile(r"-[NSrVjoehIJ]|-l(.*\W)?(select|place|walltime|nodes)=")
PER_NODE = re.compile(r"\w+=[\w.]+(:\w+=[\w.]+)*")
NUMBER = re.compile(r"\d+(\[\])?\.\S+")
"""Of a job, as qsub tells it: with the server's name."""
LONGEST_NAME = 15
"""Of a job, with PBS Pro before 14; it is only shown."""
STATES = {
    **{"Q": "QUEUED", "R": "RUNNING", "H": "HELD", "W": "WAITING", "T": "MOVING", "S": "SUSPENDED"},
    **{"E": "EXITING", "U": "SUSPENDED", "B": "BEGUN", "F": "FINISHED", "X": "EXPIRED", "M": "MOVED"},
}
RUNNING = "RESU"
ENDED_MEANWHILE = re.compile(r"Unknown Job|has finished|does not exist", re.IGNORECASE)
LIMIT, START = "Resource_List.walltime", "stime"
WALLTIME = re.compile(r"\d+(:\d+){0,3}")
UNITS_S = (1, 60, 3600, 86400)
ATTEMPTS = 5
LONGEST_QUOTE = 300
COMMANDS = Commands("PBS", PbsError)
ask = COMMANDS.ask


class PbsScheduler:
    """Submits by qsub, and asks qstat."""

    name: ClassVar[str] = "pbs"
    title: ClassVar[str] = "PBS"
    submits_by: ClassVar[str] = "qsub"

    def version(self) -> str:
        """Return what the PBS on PATH calls itself, as in `pbs_version = 23.06.06`."""
        return ask("qstat", "--version").strip()

    def job_here(self) -> str | None:
        """Return the number of the job in which this process runs; None outside of any."""
        return os.environ.get(JOB_VARIABLE) or None

    def end_of(self, job: str) -> float | None:
        """Return when a job will be ended, seconds since 1970; None where it has no limit."""
        command = ("qstat", "-f", job)
        told = ask(*command)
        try:
            return read_end(read_jobs(told).get(job, {}))
        except ValueError as error:
            raise PbsError(
                f"when the job {job} ends is not told: {error}. Say how long the run may take: --time-limit",
                command=command,
                said=told,
            ) from error

    def script(
        self, name: str, batch: Batch, driver: Sequence[str], *, log: Path, working_directory: Path
    ) -> str:
        """Return the script that runs a driver inside the allocation. Pure."""
        check_further(self, batch, OURS)
        check_path(self, log, ':"\\')
        cores, gpus, words = _per_node(batch)
        asked = (
            f"-N {name[:LONGEST_NAME]}",
            "-S /bin/sh",
            f"-l select={batch.nodes}:{words}:mpiprocs={cores}",
            "-l place=scatter:excl",
            f"-l walltime={_walltime(batch.seconds)}",
            "-r n",
            "-V",
            "-j oe",
            f'-o "{log.with_name("pbs.log")}"',
            *batch.extra_args,
        )
        lines = [
            "#!/bin/sh",
            *(f"#PBS {word}" for word in asked),
            f"cd {shlex.quote(str(working_directory))} || exit 1",
            *([f"export {GPUS_VARIABLE}={gpus}"] if gpus else []),
            f"exec {shlex.join(driver)} < /dev/null >> {shlex.quote(str(log))} 2>&1",
        ]
        return "\n".join(lines) + "\n"

    def check(self, script: str) -> None:
        """Make sure that there is PBS. It tells only of a job that is there whether it could ever start."""
        COMMANDS.find("qsub")

    def submit(self, script: str) -> str:
        """Submit a script and return the number of the job, which is held: `release` lets it begin."""
        return COMMANDS.submit(NUMBER, "qsub", "-h", script=script)

    def release(self, job: str) -> None:
        """Let a job begin that is held."""
        ask("qrls", job)

    def cancel(self, job: str) -> None:
        """End a job, also one that has not begun."""
        ask("qdel", job)

    def end_driver(self, job: str) -> None:
        """Send a SIGTERM to the session of a job's script; programs have their own, and are told by it."""
        ask("qsig", "-s", "SIGTERM", job)

    def jobs(self) -> Mapping[str, JobStatus]:
        """Return where the jobs of this user stand that have not ended, by their numbers.

        They are listed, then asked for; if one is not told of, it may have ended between the two, and both
        are done again.

        Raises:
            PbsError: one is not told of though it goes on to be listed; or as `ask` does.
        """
        for attempt in range(ATTEMPTS):
            numbers = ask("qselect", "-u", getpass.getuser()).split()
            try:
                told = ask("qstat", "-f", *numbers) if numbers else ""
            except PbsError as error:
                if attempt == ATTEMPTS - 1 or not ENDED_MEANWHILE.search(error.said):
                    raise
                continue
            jobs = {number: facts for number, facts in read_jobs(told).items() if "job_state" in facts}
            missing = [number for number in numbers if number not in jobs]
            if not missing:
                return {number: _status(facts) for number, facts in jobs.items()}
        raise PbsError(
            f"`qstat -f` does not tell of jobs that `qselect` lists: {', '.join(missing)}. It said "
            f"{told[:LONGEST_QUOTE]!r}; try again, and see whether another qstat comes first on PATH",
            command=("qstat", "-f", *numbers),
            said=told,
        )


def read_jobs(told: str) -> dict[str, dict[str, str]]:
    """Return the facts of jobs by their numbers, as `qstat -f` prints them. Long ones go on after a tab."""
    jobs: dict[str, dict[str, str]] = {}
    facts: dict[str, str] = {}
    for line in told.replace("\n\t", "").splitlines():
        if line.startswith("Job Id:"):
            facts = jobs.setdefault(line.removeprefix("Job Id:").strip(), {})
        elif " = " in line:
            key, _, value = line.strip().partition(" = ")
            facts[key] = value
    return jobs


def read_end(facts: Mapping[str, str]) -> float | None:
    """Return when a job will be ended, which is told by its start, in local time, and its limit.

    Raises:
        ValueError: one of the two cannot be read; says which.
    """
    limit, start = facts.get(LIMIT), facts.get(START)
    if limit is None or start is None:
        return None
    if not WALLTIME.fullmatch(limit):
        raise ValueError(f"its {LIMIT} is {limit!r}")
    parts = reversed(limit.split(":"))
    lasts = sum(int(part) * unit for part, unit in zip(parts, UNITS_S, strict=False))
    try:
        return time.mktime(time.strptime(start, "%a %b %d %H:%M:%S %Y")) + lasts
    except (ValueError, OverflowError) as error:
        raise ValueError(f"its {START} is {start!r}") from error


def hosts_of_job() -> Inventory:
    """Return the hosts of this job.

    Raises:
        PbsError: PBS does not tell.
    """
    file = os.environ.get(HOSTS_VARIABLE, "")
    try:
        text = Path(file).read_text()
    except (OSError, ValueError) as error:
        raise PbsError(
            f"the hosts of this job cannot be read from {HOSTS_VARIABLE}={file!r}: {error}. "
            "Give them yourself: --hosts NAME:CORES,..."
        ) from error
    return read_hosts(text, os.environ.get(GPUS_VARIABLE, "0"))


def read_hosts(text: str, gpus: str = "0") -> Inventory:
    """Return the hosts of a node file, which names each as often as it has cores for us.

    Args:
        text: of the file.
        gpus: how many each host has.

    Raises:
        PbsError: it names none; or that is no number.
    """
    counts = Counter(text.split())
    if not counts or not gpus.isdecimal():
        wrong = f"{GPUS_VARIABLE}={gpus!r} is no number" if counts else f"{HOSTS_VARIABLE} names no host"
        raise PbsError(f"the hosts of this job are not known: {wrong}", said=text)
    numbers = tuple(range(int(gpus)))
    return Inventory(tuple(Host(name, tuple(range(cores)), numbers) for name, cores in counts.items()))


def _per_node(batch: Batch) -> tuple[str, str, str]:
    """Return the cores and GPUs of each node, and all that it is to have."""
    if batch.per_node is None:
        raise UsageError(
            "--on pbs needs --per-node ncpus=N: how many cores each node has, and what else your site wants "
            "in a select, as in ncpus=64:ngpus=4; `pbsnodes -a` shows it"
        )
    if not PER_NODE.fullmatch(batch.per_node):
        raise UsageError(f"--per-node {batch.per_node!r}: write it as PBS does, as in ncpus=64:ngpus=4")
    had = dict(word.split("=", 1) for word in batch.per_node.split(":"))
    cores, gpus = had.get("ncpus", "0"), had.get("ngpus", "0")
    if not cores.isdecimal() or int(cores) < 1 or not gpus.isdecimal():
        raise UsageError(f"--per-node {batch.per_node!r}: ncpus must be a number above 0, and ngpus a number")
    if "mpiprocs" in had:
        raise UsageError(f"--per-node {batch.per_node!r}: mpiprocs is given by Penstock itself")
    return cores, gpus if int(gpus) else "", batch.per_node


def _walltime(seconds: int) -> str:
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _status(facts: Mapping[str, str]) -> JobStatus:
    state = facts["job_state"]
    waits = state in ("Q", "H", "W")
    return JobStatus(STATES.get(state, state), facts.get("comment", "") if waits else "", state in RUNNING)
