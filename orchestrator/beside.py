"""The place of the database beside a program on each host, as that program is told it.

Its ranks are bound by their launcher, before one of them starts the database: it cannot tell by its own cores
which the plan has for that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

from orchestrator.errors import PlacementError
from orchestrator.hosts import is_here
from orchestrator.placement import Placement, RankPlacement

VARIABLE = "PENSTOCK_BESIDE"


def beside_environment(placement: Placement) -> dict[str, str]:
    """Return the variable that tells a program where its databases are to be; nothing where it has none."""
    places = [asdict(place) for place in placement.beside]
    return {VARIABLE: json.dumps(places)} if places else {}


def place_here(environment: Mapping[str, str], host: str) -> RankPlacement | None:
    """Return what the database of this host was given; None where nobody has placed it.

    Args:
        environment: of the program beside it.
        host: what this host is called.

    Raises:
        PlacementError: hosts differ, and this is none of them by its name.
    """
    if VARIABLE not in environment:
        return None
    told = json.loads(environment[VARIABLE])
    places = [RankPlacement(each["host"], tuple(each["cores"]), tuple(each["gpus"])) for each in told]
    called = [place for place in places if place.host == host]
    own = called or [place for place in places if is_here(place.host)]
    if own:
        return own[0]
    if all((place.cores, place.gpus) == (places[0].cores, places[0].gpus) for place in places):
        return places[0]  # whatever a host is called here
    names = ", ".join(place.host for place in places)
    raise PlacementError(
        f"the database beside the program has a place on {names}, and this host, {host!r}, is none of them "
        "by its name: give --hosts the names by which the hosts call themselves",
        asked=1,
        available=0,
        what="hosts",
    )
