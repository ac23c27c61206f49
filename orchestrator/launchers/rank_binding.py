"""How each rank gets the cores and GPUs of its place. Pure.

What starts the ranks can bind them where every host has the same cores for its first, second, … rank. Where
hosts differ, or a rank has GPUs of its own, it binds itself by its number before it becomes the program.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.hosts import numbers_text
from orchestrator.launchers.base import Launch
from orchestrator.placement import Placement, RankPlacement, visible_gpus


def same_on_all_hosts(placement: Placement) -> list[tuple[int, ...]] | None:
    """Return the cores of each rank of a host, where hosts do not differ and nobody has GPUs."""
    if any(rank.gpus for rank in placement.ranks):
        return None
    lists = [[rank.cores for rank in placement.on(host)] for host in placement.hosts]
    longest = max(lists, key=len)
    return longest if all(cores == longest[: len(cores)] for cores in lists) else None


def by_rank(launch: Launch, variable: str) -> Sequence[str]:
    """Return a program that binds itself by the number of its rank and then becomes the one to start.

    Args:
        launch: of the one to start.
        variable: of the environment, with the number of the rank.
    """
    if launch.placement is None:
        return launch.command
    ranks = launch.placement.ranks
    if all((rank.cores, rank.gpus) == (ranks[0].cores, ranks[0].gpus) for rank in ranks):
        return (*_given(visible_gpus(ranks[0].gpus)), *_bound(numbers_text(ranks[0].cores)), *launch.command)
    cases = " ".join(f"{number}) {_case(rank)};;" for number, rank in enumerate(ranks))
    script = f'case ${variable} in {cases} esac; exec taskset --cpu-list $cores "$@"'
    return ("sh", "-c", script, "sh", *launch.command)


def _case(rank: RankPlacement) -> str:
    given = "".join(f" export {name}={text};" for name, text in visible_gpus(rank.gpus).items())
    return f"{given.lstrip()}{' ' * bool(given)}cores={numbers_text(rank.cores)}"


def _bound(cores: str) -> tuple[str, ...]:
    return ("taskset", "--cpu-list", cores)


def _given(variables: Mapping[str, str]) -> tuple[str, ...]:
    return ("env", *(f"{name}={text}" for name, text in variables.items())) if variables else ()
