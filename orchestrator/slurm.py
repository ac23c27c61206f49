"""What Slurm is asked: which hosts an allocation has, which steps run in it, and to signal one.

Functions without I/O read what its commands print.
As a program, `python -m orchestrator.slurm JOBS RUN RUNTIME`, it ends the steps of a run whose driver was
killed, and removes its runtime directory from their hosts.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from orchestrator.asking import TIMEOUT_S, Commands
from orchestrator.errors import SlurmError
from orchestrator.hosts import Host, Inventory

JOB_VARIABLE = "SLURM_JOB_ID"
INTERVAL_S = 0.1
REMOVING = "orchestrator.run_files"
"""By which a program removes the runtime directory of a run from its host."""
COMMANDS = Commands("Slurm", SlurmError)
ask = COMMANDS.ask
BYTES_PER_MB = 1 << 20
ON_NODES = re.compile(r"\bNodes=(?P<nodes>\S+) CPU_IDs=(?P<cores>\S+) Mem=(?P<memory>\d+) GRES=(?P<gres>\S*)")
END = re.compile(r"\bEndTime=(\S+)")
NO_END = ("Unknown", "NONE", "None")
ARRAY = " ArrayJobId="
UNKNOWN_JOB = "Invalid job id"
PART = re.compile(r"\bHetJobOffset=(\d+)")
PART_VARIABLE = re.compile(r"SLURM_JOB_ID_HET_GROUP_\d+")
GPU_INDICES = re.compile(r"gpu\b[^(]*\(IDX:([\d,-]+)\)")


@dataclass(frozen=True)
class Allocation:
    """What a job has.

    Attributes:
        inventory: its hosts, with the cores and GPUs that it has of each.
        groups: the number of the part that each host is in; empty unless the job is heterogeneous.
    """

    inventory: Inventory
    groups: Mapping[str, int] = field(default_factory=dict)


def allocation_here() -> str | None:
    """Return the number of the job in whose allocation this process runs; None outside of any."""
    return os.environ.get(JOB_VARIABLE) or None


def jobs_here() -> str:
    """Return the numbers, with commas, of the jobs whose steps are ours: a heterogeneous job has several."""
    parts = {os.environ[name] for name in os.environ if PART_VARIABLE.fullmatch(name)}
    return ",".join(sorted(parts | {allocation_here() or ""} - {""}))


def allocation_of(job: str) -> Allocation:
    """Return what a job has.

    Raises:
        SlurmError: Slurm does not tell.
    """
    told = own_lines(job, ask("scontrol", "show", "job", "--details", "--oneliner", job))
    written = [match["nodes"] for match in ON_NODES.finditer(told)]
    names = {nodes: ask("scontrol", "show", "hostnames", nodes).split() for nodes in written}
    return read_allocation(job, told, names)


def own_lines(job: str, told: str) -> str:
    """Return what `scontrol show job` tells of a job, where its number is also that of a whole array.

    The number of an array is that of its last element; all elements are told of then, each on a line.
    """
    lines = told.splitlines()
    return "\n".join(line for line in lines if ARRAY not in line or line.startswith(f"JobId={job} "))


def read_allocation(job: str, told: str, names: Mapping[str, Sequence[str]]) -> Allocation:
    """Return what a job has, as `scontrol show job --details` tells it, each of its parts on a line.

    Args:
        job: its number.
        told: what it printed.
        names: of the nodes, by the way it writes them, as in n[1-3].

    Raises:
        SlurmError: they are not in it.
    """
    hosts = [
        Host(
            name,
            parse_numbers(found["cores"]),
            tuple(index for text in GPU_INDICES.findall(found["gres"]) for index in parse_numbers(text)),
            int(found["memory"]) * BYTES_PER_MB / 1e9 or None,
        )
        for found in ON_NODES.finditer(told)
        for name in names[found["nodes"]]
    ]
    if not hosts:
        raise SlurmError(
            f"Slurm does not tell which hosts and cores the job {job} has; it may have ended. "
            f"Give them yourself: --hosts NAME:CORES,... It says: {told.strip()[:300]!r}",
            said=told,
        )
    parts = [(int(part[1]), line) for line in told.splitlines() if (part := PART.search(line))]
    groups = {
        name: part for part, line in parts for on in ON_NODES.finditer(line) for name in names[on["nodes"]]
    }
    return Allocation(Inventory(tuple(hosts)), groups)


def end_of(job: str) -> float | None:
    """Return when Slurm will end a job, seconds since 1970; None where it has no limit.

    Raises:
        SlurmError: Slurm does not tell.
    """
    command = ("scontrol", "show", "job", "--oneliner", job)
    told = own_lines(job, ask(*command))
    try:
        return read_end(told)
    except ValueError as error:
        raise SlurmError(
            f"when the job {job} ends is not told: its EndTime is {END.findall(told)[0]!r}. If "
            "SLURM_TIME_FORMAT is set, unset it; or say how long the run may take: --time-limit",
            command=command,
            said=told,
        ) from error


def read_end(told: str) -> float | None:
    """Return the end of a job, as `scontrol show job` tells it in local time; of its parts the first.

    Raises:
        ValueError: it is written in another way.
    """
    ends = [time for time in END.findall(told) if time not in NO_END]
    return min((datetime.fromisoformat(time).timestamp() for time in ends), default=None)


def parse_numbers(text: str) -> tuple[int, ...]:
    """Return the numbers of ranges, as Slurm writes them: `0-3,6`."""
    pairs = [part.partition("-") for part in text.split(",")]
    return tuple(n for first, _, last in pairs for n in range(int(first), int(last or first) + 1))


def find_steps(jobs: str, name: str) -> list[str]:
    """Return the steps of a name in jobs, whose numbers have commas between them; the newest last.

    Raises:
        SlurmError: Slurm does not tell.
    """
    steps = [step for step, called in _steps(jobs) if called == name]
    return sorted(steps, key=lambda step: int(step.rpartition(".")[2]))


def end_run(jobs: str, run_id: str, runtime: str) -> None:
    """Kill the steps of a run in jobs, whose numbers have commas between them, and clear the hosts of these.

    Args:
        jobs: the jobs.
        run_id: of the run.
        runtime: its directory among the temporary files of a host.

    Raises:
        SlurmError: Slurm does not tell of them, or refuses.
    """
    left = _kill_steps(jobs, run_id)
    for job in jobs.split(","):
        if (nodes := _running_nodes(job)) is not None:
            _clear(job, nodes, runtime)
    if left:
        raise SlurmError(
            f"Slurm lists these steps of {run_id} though they were killed: {', '.join(left)}. One whose srun "
            "was killed before it had started a program has none, and ends with its job"
        )


def _kill_steps(jobs: str, run_id: str) -> list[str]:
    """Kill the steps of a run until there are none; return those that do not end."""
    deadline = time.monotonic() + TIMEOUT_S
    while steps := [step for step, called in _steps(jobs) if called.startswith(f"{run_id}.")]:
        if time.monotonic() > deadline:
            break
        for step in steps:  # each time: one may only just have been made, by an srun that was killed then
            signal_step(step, signal.SIGKILL)
        time.sleep(INTERVAL_S)
    return steps


def signal_step(step: str, number: int) -> None:
    """Send a signal to the programs of a step. One that has ended gets none.

    The controller passes it on: scancel's own way to the nodes reports an error though it has arrived.

    Raises:
        SlurmError: Slurm refuses, and the step is still there.
    """
    try:
        ask("scancel", "--ctld", f"--signal={number}", step)
    except SlurmError:
        if step in dict(_steps(step.partition(".")[0])):
            raise


def ask_columns(count: int, *command: str) -> list[list[str]]:
    """Run a command that prints lines of so many columns with `|` between them, and return these.

    The last may have further ones in it.

    Raises:
        SlurmError: as `ask` does; or a line has fewer.
    """
    lines = [line.split("|", count - 1) for line in ask(*command).splitlines()]
    for columns in lines:
        if len(columns) < count:
            raise not_told(command, "|".join(columns))
    return lines


def not_told(command: Sequence[str], said: str) -> SlurmError:
    """Return the error of a command whose answer is another than it must be."""
    return SlurmError(
        f"`{' '.join(command)}` has not told what it was asked for: it said {said!r}; is it Slurm's own?",
        command=command,
        said=said,
    )


def find_command(name: str) -> str:
    """Return where a command of Slurm is.

    Raises:
        SlurmError: it is not on PATH.
    """
    return COMMANDS.find(name)


def _running_nodes(job: str) -> str | None:
    """Return how many nodes a job has; None where it has ended, or is about to."""
    told = ask("squeue", "--noheader", "--states=all", "--format=%i|%T|%D").splitlines()
    running = f"{job}|RUNNING|"
    return next((line.removeprefix(running) for line in told if line.startswith(running)), None)


def _clear(job: str, nodes: str, runtime: str) -> None:
    """Remove what a run has left among the temporary files of a job's nodes."""
    on_each = (f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", "--overlap", "--chdir=/")
    try:
        ask("srun", f"--jobid={job}", *on_each, sys.executable, "-m", REMOVING, runtime)
    except SlurmError:
        if _running_nodes(job) is not None:  # else it has just ended
            raise


def _steps(jobs: str) -> list[tuple[str, str]]:
    """Return the steps of jobs with their names; a job that has ended has none."""
    try:
        told = ask_columns(2, "squeue", "--steps", f"--job={jobs}", "--noheader", "--format=%i|%j")
    except SlurmError as error:
        if UNKNOWN_JOB not in error.said:
            raise
        return []
    return [(step, name) for step, name in told]


if __name__ == "__main__":
    end_run(*sys.argv[1:])
