"""The command lines of srun, and what it says of an end. Pure.

A step shares the cores of its hosts with all other steps (`--overlap`), because Penstock itself places
programs and Slurm does not know its plan; with `--cpus-per-task` as well, Slurm would refuse to bind ranks.
Each rank's host is written out (`--distribution=arbitrary`), and its cores are a mask, in the order of the
ranks of a host.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping, Sequence

from orchestrator.errors import PlacementError
from orchestrator.launchers.base import Launch
from orchestrator.launchers.options import check_words
from orchestrator.launchers.rank_binding import by_rank, same_on_all_hosts
from orchestrator.placement import Placement
from orchestrator.watcher import RUN_ID_VARIABLE

RANK_VARIABLE = "SLURM_PROCID"
STEP_S = 60
"""How long Slurm may take to make a step. Steps that overlap never wait for another, so it is at once."""
OURS = (
    *("n", "ntasks", "N", "nodes", "w", "nodelist", "m", "distribution", "cpu-bind", "D", "chdir", "J"),
    *("job-name", "het-group", "overlap", "exact", "exclusive", "c", "cpus-per-task", "I", "immediate", "K"),
    *("kill-on-bad-exit", "o", "output", "e", "error"),
)
ENDED = re.compile(
    r"srun: error: \S+: tasks? [\d,-]+: (?:Exited with exit code (\d+)|(.+?)(?: \(core dumped\))?)$"
)
NEVER = re.compile(r"srun: error: (Unable to |Task launch for |Invalid |Required node|No directives)")
LOST = (re.compile(r"srun: error: (Node failure on \S+)"), re.compile(r"srun: (Job step aborted)"))
ABOVE_CODES, HIGHEST_SIGNAL = 128, 64
SIGNALS = {signal.strsignal(number): int(number) for number in signal.valid_signals()}


def srun_argv(
    launch: Launch, extra_args: Sequence[str] = (), groups: Mapping[str, int] | None = None
) -> tuple[str, ...]:
    """Return the command that starts the ranks of a program as a step of the allocation.

    Args:
        launch: the program.
        extra_args: further arguments of srun.
        groups: the part of a heterogeneous job that each host is in.

    Raises:
        PlacementError: its ranks are in several parts, over which srun cannot be told to place them.
    """
    flags = [
        *_group(launch, groups or {}),
        "--overlap",
        "--kill-on-bad-exit=1",
        f"--immediate={STEP_S}",
        f"--job-name={step_name(launch)}",
        *_place(launch),
        f"--chdir={launch.directory}",
    ]
    return ("srun", *extra_args, *flags, *_program(launch))


def step_name(launch: Launch) -> str:
    """Return what the step of a program is called: by it a step is found again."""
    run = launch.environment.get(RUN_ID_VARIABLE)
    return launch.name if run is None else f"{run}.{launch.name}"


def check_extra_args(extra_args: Sequence[str]) -> None:
    """Refuse arguments of srun that Penstock gives itself.

    Raises:
        UsageError: naming one.
    """
    check_words(extra_args, "srun", OURS)


def program_outcome(code: int, log_tail: str) -> int:
    """Return how the program ended, a signal as a negative number, where srun ended with a code.

    srun ends with the highest code of all ranks, and with 128 more than a signal. When a rank fails it ends
    the others, so what it said of the first is what counts.
    """
    if not ABOVE_CODES < code <= ABOVE_CODES + HIGHEST_SIGNAL:
        return code
    first = next(filter(None, map(ENDED.match, log_tail.splitlines())), None)
    if first is None:
        return ABOVE_CODES - code
    number = SIGNALS.get(first[2])
    return int(first[1]) if first[1] else -(number if number is not None else code - ABOVE_CODES)


def never_started(log_tail: str) -> str | None:
    """Return why a step has never started, as srun has said it; None where it did."""
    said = [line for line in log_tail.splitlines() if NEVER.match(line)]
    return f"has never started: {said[0].removeprefix('srun: error: ')}" if said else None


def lost(log_tail: str) -> str | None:
    """Return why Slurm has ended a step, or never heard of its end; None where nothing is said of it.

    srun ends with 0 where a node has failed.
    """
    found = (pattern.match(line) for pattern in LOST for line in log_tail.splitlines())
    said = next(filter(None, found), None)
    return f"is lost: {said[1]}" if said is not None else None


def _group(launch: Launch, groups: Mapping[str, int]) -> list[str]:
    hosts = launch.placement.hosts if launch.placement is not None else ()
    parts = sorted({groups[host] for host in hosts if host in groups})
    if len(parts) > 1:
        raise PlacementError(
            f"{launch.name!r} has its place on {', '.join(hosts)}, which are in {len(parts)} parts of a "
            "heterogeneous job, and a step cannot span these: ask for fewer ranks, or say where with --hosts",
            asked=len(parts),
            available=1,
            what="parts",
        )
    return [f"--het-group={part}" for part in parts]


def _place(launch: Launch) -> list[str]:
    placement = launch.placement
    if placement is None:
        return [f"--ntasks={launch.ranks or 1}"]
    return [
        f"--nodes={len(placement.hosts)}",
        f"--ntasks={len(placement.ranks)}",
        "--distribution=arbitrary",
        f"--nodelist={','.join(rank.host for rank in placement.ranks)}",
        f"--cpu-bind={_binding(placement)}",
    ]


def _binding(placement: Placement) -> str:
    cores = same_on_all_hosts(placement)
    return "none" if cores is None else "mask_cpu:" + ",".join(map(_mask, cores))


def _mask(cores: Sequence[int]) -> str:
    return hex(sum(1 << core for core in cores))


def _program(launch: Launch) -> Sequence[str]:
    if launch.placement is None or same_on_all_hosts(launch.placement) is not None:
        return launch.command
    return by_rank(launch, RANK_VARIABLE)
