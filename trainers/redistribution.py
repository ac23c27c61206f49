"""The ranks of a training become fewer or more at a checkpoint: what they had read goes to those that go on.

States are what the parts of an `Intake` put into a checkpoint. Every sample and every snapshot that a rank
held is afterwards held by exactly one, as one that was drawn or was not. A rank may so come to hold more than
its buffer's bound; then it takes nothing in before it has learned from what it has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain, zip_longest
from typing import Any

import numpy as np

from trainers.normalise import FieldMoments

State = Mapping[str, Any]
Owns = Callable[[str, int], bool]
"""Tells whether the trajectory of a producer's rank is one's own."""


def stream_of(states: Sequence[State], rank: int) -> dict[str, Any]:
    """Return the state of a stream from which a rank goes on, of any number of them.

    All begin at the least cursor, and pass over what any of them has read after it. What was skipped is
    counted by rank 0.
    """
    cursor = min(state["cursor"] for state in states)
    ahead = set(chain.from_iterable(state.get("ahead", ()) for state in states))
    seen = next((state for state in states if state["shapes"]), states[0])
    lost = {
        "missed": max(state["missed"] for state in states),  # each has counted those of all
        "non_finite": sum(state["non_finite"] for state in states) if rank == 0 else 0,
    }
    return {**seen, **lost, "cursor": cursor, "ahead": sorted(place for place in ahead if place >= cursor)}


def loader_of(states: Sequence[State], rank: int, world: int, owns: Owns) -> dict[str, Any]:
    """Return what the loader of one of `world` ranks goes on with.

    Args:
        states: of the loaders there were; of as many as go on, only this rank's needs more than its stream.
        owns: tells which trajectories are this rank's.
    """
    intake = intake_of([state["intake"] for state in states], rank, world, owns)
    if len(states) == world:
        return {**states[rank], "intake": intake}
    return {**states[0], "intake": intake, "drawn": dealt([state["drawn"] for state in states], rank, world)}


def intake_of(states: Sequence[State], rank: int, world: int, owns: Owns) -> dict[str, Any]:
    """Return what one of `world` ranks goes on with; unchanged, but for the stream, if there were as many."""
    if len(states) == world:
        return {**states[rank], "stream": stream_of([state["stream"] for state in states], rank)}
    pairings = [state["pairing"]["last"] for state in states]
    last = {name: value for pairing in pairings for name, value in pairing.items() if _owned(name, owns)}
    return {
        **states[0],
        "stream": stream_of([state["stream"] for state in states], rank),
        "pairing": {"last": last},
        "buffer": buffer_of([state["buffer"] for state in states], rank, world, owns),
        "moments": _moments_of([state["moments"] for state in states], rank),
        "judges": states[0]["judges"] if rank == 0 else [],
        "begun": any(state["begun"] for state in states),
        "came": sorted(set(chain.from_iterable(state["came"] for state in states))),
    }


def buffer_of(states: Sequence[State], rank: int, world: int, owns: Owns) -> dict[str, Any]:
    """Return the state of the buffer of one of `world` ranks."""
    of_one = _pairs_of(states, owns) if states[0]["kind"] == "Pairs" else _samples_of(states, rank, world)
    largest = [state["largest"] for state in states if state["largest"] is not None]
    return {
        **states[0],
        **of_one,
        "largest": max(largest, default=None),
        "draining": all(state["draining"] for state in states),
        "generator": _generator_of(states, rank),
    }


def dealt(lists: Sequence[Sequence[Any]], rank: int, world: int) -> list[Any]:
    """Return every world-th of what is in some lists, the first of each list before the second of any."""
    missing = object()
    rounds = chain.from_iterable(zip_longest(*lists, fillvalue=missing))
    return [item for item in rounds if item is not missing][rank::world]


def _samples_of(states: Sequence[State], rank: int, world: int) -> dict[str, Any]:
    """Deal the samples, those that were never drawn, which are at the front, apart from the others.

    Each stays as old as it was: so many additions have come after it.
    """
    aged = [
        [
            (sample, state["added"] - number)
            for sample, number in zip(state["samples"], state["numbers"], strict=True)
        ]
        for state in states
    ]
    firsts = [state["unseen"] for state in states]
    unseen = dealt([samples[:first] for samples, first in zip(aged, firsts, strict=True)], rank, world)
    seen = dealt([samples[first:] for samples, first in zip(aged, firsts, strict=True)], rank, world)
    total, drawn = (sum(state[name] for state in states) for name in ("added", "drawn"))
    added = len(range(rank, total, world))
    return {
        "samples": [sample for sample, _ in unseen + seen],
        "numbers": [added - age for _, age in unseen + seen],
        "unseen": len(unseen),
        "added": added,
        "drawn": len(range(rank, drawn, world)),
    }


def _pairs_of(states: Sequence[State], owns: Owns) -> dict[str, Any]:
    """Collect the trajectories that are one's own. The numbers of snapshots grow by all that came before."""
    merged: dict[str, list[Any]] = {
        name: [] for name in ("snapshots", "names", "open", "due", "done", "spare", "waiting")
    }
    total = sum(state["added"] for state in states)
    before = 0
    for state in states:
        mine = {number for number, producer, rank, _ in state["names"] if owns(producer, rank)}
        for (number, *name), fields in zip(state["names"], state["snapshots"], strict=True):
            if number in mine:
                merged["names"].append([number + before, *name])
                merged["snapshots"].append(fields)
        merged["open"] += [[n + before for n in each] for each in state["open"] if each[0] in mine]
        for bag in ("due", "done"):
            pairs = [pair for pair in state[bag] if pair[0] in mine]
            merged[bag] += [[first + before, second + before, seen] for first, second, seen in pairs]
        merged["spare"] += [number + before for number in state["spare"] if number in mine]
        ages = [(number, state["added"] - since) for number, since in state["waiting"] if number in mine]
        merged["waiting"] += [[number + before, total - age] for number, age in ages]
        before += state["added"]
    merged["waiting"].sort(key=lambda each: each[1])  # the one that waits longest is the first
    return {**merged, "added": total}


def _moments_of(states: Sequence[State], rank: int) -> dict[str, Any]:
    """Return all that was counted for rank 0, and nothing for the others: they are added up anyway."""
    return (FieldMoments.merged(states) if rank == 0 else FieldMoments(tuple(states[0]))).state_dict()


def _generator_of(states: Sequence[State], rank: int) -> dict[str, Any]:
    """Return the state of a generator of draws that no other rank makes."""
    generator = np.random.PCG64()
    generator.state = states[rank % len(states)]["generator"]
    return dict(generator.jumped(rank // len(states)).state if rank >= len(states) else generator.state)


def _owned(name: str, owns: Owns) -> bool:
    """Tell whether `<producer>.<rank>` is a trajectory of one's own."""
    producer, _, rank = name.rpartition(".")
    return owns(producer, int(rank))
