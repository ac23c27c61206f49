"""The command lines of mpiexec. Pure.

MPICH binds ranks itself (`-bind-to user:0+1,2+3`: a list for the ranks of one host, the same on each). Where
hosts differ, and with Open MPI, whose rankfiles count cores in one way or another by its version, each rank
binds itself by its number before it becomes the program; so does a rank that has GPUs of its own. PALS has
the list too (`--cpu-bind list:0-1:2-3`), fills each host with as many ranks as the one before, and takes the
working directory and the environment of its mpiexec.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from orchestrator.errors import PlacementError
from orchestrator.hosts import numbers_text
from orchestrator.launchers.base import Launch
from orchestrator.launchers.options import check_words
from orchestrator.launchers.rank_binding import by_rank, same_on_all_hosts
from orchestrator.mpiexec import Flavour, Mpiexec
from orchestrator.placement import Placement

RANK_VARIABLE = {
    Flavour.MPICH: "PMI_RANK",
    Flavour.OPEN_MPI: "OMPI_COMM_WORLD_RANK",
    Flavour.PALS: "PALS_RANKID",
}
PALS_ENDED = re.compile(r"^\S+: rank \d+ (?:died from signal (\d+)|exited with code (\d+))$", re.MULTILINE)
SIGNALLED = re.compile(r"EXIT STRING: .*\(signal (\d+)\)")
NEVER_STARTED = re.compile(r"was unable to launch the specified application")
HIGHEST_SIGNAL = 64
OURS = (
    *("n", "np", "wdir", "host", "hosts", "hostfile", "machinefile", "f", "ppn", "bind-to", "cpu-bind", "x"),
    *("oversubscribe", "allow-run-as-root"),
)


def mpiexec_argv(
    mpiexec: Mpiexec, launch: Launch, *, root: bool, extra_args: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return the command that starts the ranks of a program.

    Args:
        mpiexec: whose flags are used.
        launch: the program.
        root: whether root starts it, which Open MPI must be told to allow.
        extra_args: further arguments of mpiexec.

    Raises:
        PlacementError: PALS cannot be told to place the ranks so.
    """
    flavour, where = mpiexec.flavour, ("-wdir", str(launch.directory))
    if flavour is Flavour.OPEN_MPI:
        flags, program = [*_open_mpi(launch, root), *where], by_rank(launch, RANK_VARIABLE[flavour])
    else:
        flags = [*_mpich(launch), *where] if flavour is Flavour.MPICH else _pals(launch)
        program = _listed_program(launch, flavour)
    return (mpiexec.executable, *extra_args, *flags, "-n", str(launch.ranks or 1), *program)


def check_extra_args(extra_args: Sequence[str]) -> None:
    """Refuse arguments of mpiexec that Penstock gives itself.

    Raises:
        UsageError: naming one.
    """
    check_words(extra_args, "mpiexec", OURS)


def program_outcome(flavour: Flavour, code: int, log_tail: str) -> int:
    """Return how the program ended, a signal as a negative number, where mpiexec ended with a code.

    MPICH ends with the number of the signal and says so in the log; Open MPI with 128 more, like a shell.
    PALS says of each rank how it ended, and the first is what counts.
    """
    if flavour is Flavour.MPICH:
        signals = [int(number) for number in SIGNALLED.findall(log_tail)]
        return -code if code > 0 and code in signals else code
    if flavour is Flavour.PALS and code > 0 and (ended := PALS_ENDED.search(log_tail)) is not None:
        return -int(ended[1]) if ended[1] else int(ended[2])
    if 128 < code <= 128 + HIGHEST_SIGNAL and not NEVER_STARTED.search(log_tail):
        return 128 - code
    return code


def _mpich(launch: Launch) -> list[str]:
    placement = launch.placement
    if placement is None:
        return []
    binding = same_on_all_hosts(placement)
    bind = "none" if binding is None else "user:" + ",".join("+".join(map(str, cores)) for cores in binding)
    return ["-hosts", _hosts(placement), "-bind-to", bind]


def _pals(launch: Launch) -> list[str]:
    placement = launch.placement
    if placement is None:
        return []
    counts = [sum(1 for _ in placement.on(host)) for host in placement.hosts]
    if any(count != counts[0] for count in counts[:-1]) or counts[-1] > counts[0]:
        raise PlacementError(
            f"{launch.name!r} has {', '.join(map(str, counts))} ranks on its hosts, and the mpiexec of PALS "
            "puts as many on each: say ranks_per_node",
            asked=max(counts),
            available=counts[0],
            what="ranks",
        )
    binding = same_on_all_hosts(placement)
    bind = "none" if binding is None else "list:" + ":".join(map(numbers_text, binding))
    return ["--hosts", ",".join(placement.hosts), "--ppn", str(counts[0]), "--cpu-bind", bind]


def _listed_program(launch: Launch, flavour: Flavour) -> Sequence[str]:
    """Return the program where mpiexec has a list of cores for the ranks of a host, the same on each."""
    if launch.placement is None or same_on_all_hosts(launch.placement) is not None:
        return launch.command
    return by_rank(launch, RANK_VARIABLE[flavour])


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
