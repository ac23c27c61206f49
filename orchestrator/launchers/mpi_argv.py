"""The command lines of mpiexec. Pure.

MPICH binds ranks itself (`-bind-to user:0+1,2+3`: a list for the ranks of one host, the same on each). Where
hosts differ, and with Open MPI, whose rankfiles count cores in one way or another by its version, each rank
binds itself by its number before it becomes the program; so does a rank that has GPUs of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from orchestrator.errors import UsageError
from orchestrator.hosts import numbers_text
from orchestrator.launchers.base import Launch
from orchestrator.mpiexec import Flavour, Mpiexec
from orchestrator.placement import Placement, RankPlacement, visible_gpus

RANK_VARIABLE = {Flavour.MPICH: "PMI_RANK", Flavour.OPEN_MPI: "OMPI_COMM_WORLD_RANK"}
SIGNALLED = re.compile(r"EXIT STRING: .*\(signal (\d+)\)")
NEVER_STARTED = re.compile(r"was unable to launch the specified application")
HIGHEST_SIGNAL = 64
OURS = ("n", "np", "wdir", "host", "hosts", "bind-to", "x", "oversubscribe", "allow-run-as-root")


def mpiexec_argv(
    mpiexec: Mpiexec, launch: Launch, *, root: bool, extra_args: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return the command that starts the ranks of a program.

    Args:
        mpiexec: whose flags are used.
        launch: the program.
        root: whether root starts it, which Open MPI must be told to allow.
        extra_args: further arguments of mpiexec.
    """
    if mpiexec.flavour is Flavour.MPICH:
        flags, program = _mpich(launch), _mpich_program(launch)
    else:
        flags, program = _open_mpi(launch, root), _by_rank(launch, Flavour.OPEN_MPI)
    count = str(launch.ranks or 1)
    return (mpiexec.executable, *extra_args, *flags, "-wdir", str(launch.directory), "-n", count, *program)


def check_extra_args(extra_args: Sequence[str]) -> None:
    """Refuse arguments of mpiexec that Penstock gives itself.

    Raises:
        UsageError: naming one.
    """
    if isinstance(extra_args, str) or not all(isinstance(word, str) for word in extra_args):
        raise UsageError(f"extra_args={extra_args!r}: a list of text, the further arguments of mpiexec")
    for word in extra_args:
        if word.startswith("-") and word.lstrip("-") in OURS:
            raise UsageError(f"extra_args: {word} is given by Penstock itself")


def program_outcome(flavour: Flavour, code: int, log_tail: str) -> int:
    """Return how the program ended, a signal as a negative number, where mpiexec ended with a code.

    MPICH ends with the number of the signal and says so in the log; Open MPI with 128 more, like a shell.
    """
    if flavour is Flavour.MPICH:
        signals = [int(number) for number in SIGNALLED.findall(log_tail)]
        return -code if code > 0 and code in signals else code
    if 128 < code <= 128 + HIGHEST_SIGNAL and not NEVER_STARTED.search(log_tail):
        return 128 - code
    return code


def _mpich(launch: Launch) -> list[str]:
    placement = launch.placement
    if placement is None:
        return []
    binding = _same_on_all_hosts(placement)
    bind = "none" if binding is None else "user:" + ",".join("+".join(map(str, cores)) for cores in binding)
    return ["-hosts", _hosts(placement), "-bind-to", bind]


def _mpich_program(launch: Launch) -> Sequence[str]:
    if launch.placement is None or _same_on_all_hosts(launch.placement) is not None:
        return launch.command
    return _by_rank(launch, Flavour.MPICH)


def _open_mpi(launch: Launch, root: bool) -> list[str]:
    flags = ["--allow-run-as-root"] if root else []
    placement = launch.placement
    flags += ["--host", _hosts(placement)] if placement is not None else []
    flags += ["--bind-to", "none"]
    flags += ["--oversubscribe"] if placement is None or not placement.bound else []
    for name in sorted(launch.environment):  # to other hosts it takes none by itself
        flags += ["-x", name]
    return flags


def _hosts(placement: Placement) -> str:
    return ",".join(f"{host}:{sum(1 for _ in placement.on(host))}" for host in placement.hosts)


def _same_on_all_hosts(placement: Placement) -> list[tuple[int, ...]] | None:
    """Return the cores of each rank of a host, where hosts do not differ and nobody has GPUs."""
    if any(rank.gpus for rank in placement.ranks):
        return None
    lists = [[rank.cores for rank in placement.on(host)] for host in placement.hosts]
    longest = max(lists, key=len)
    return longest if all(cores == longest[: len(cores)] for cores in lists) else None


def _by_rank(launch: Launch, flavour: Flavour) -> Sequence[str]:
    """Return a program that binds itself by the number of its rank and then becomes the one to start."""
    if launch.placement is None:
        return launch.command
    ranks = launch.placement.ranks
    if all((rank.cores, rank.gpus) == (ranks[0].cores, ranks[0].gpus) for rank in ranks):
        return (*_given(visible_gpus(ranks[0].gpus)), *_bound(numbers_text(ranks[0].cores)), *launch.command)
    cases = " ".join(f"{number}) {_case(rank)};;" for number, rank in enumerate(ranks))
    script = f'case ${RANK_VARIABLE[flavour]} in {cases} esac; exec taskset --cpu-list $cores "$@"'
    return ("sh", "-c", script, "sh", *launch.command)


def _case(rank: RankPlacement) -> str:
    given = "".join(f" export {name}={text};" for name, text in visible_gpus(rank.gpus).items())
    return f"{given.lstrip()}{' ' * bool(given)}cores={numbers_text(rank.cores)}"


def _bound(cores: str) -> tuple[str, ...]:
    return ("taskset", "--cpu-list", cores)


def _given(variables: Mapping[str, str]) -> tuple[str, ...]:
    return ("env", *(f"{name}={text}" for name, text in variables.items())) if variables else ()
