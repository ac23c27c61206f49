"""Bounds of streams from the Experiment's script, and what `penstock db --streams` shows of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from orchestrator import Experiment, Orchestrator
from orchestrator.errors import UsageError
from sim_clients import Bound, StreamFull, connect
from tests.integration.orchestrator.command import penstock

STREAMS = {"snapshots": Bound(items=2, wait_s=0.05), "coarse": Bound(bytes=10**6, policy="drop_oldest")}


@pytest.mark.parametrize(
    ("streams", "says"),
    [
        (64, r"streams=64: give a dict of names and bounds, as in streams={'snapshots': Bound\(items=64\)}"),
        (Bound(items=64), r"streams=Bound\(items=64, .*\): give a dict"),
        ({"a stream": Bound(items=1)}, "'a stream' cannot name a stream"),
        ({"s": 64}, "a bound is a Bound, got 64"),
    ],
)
def test_streams_that_make_no_sense_are_refused_before_anything_starts(streams: object, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Orchestrator(streams=streams)  # type: ignore[arg-type]


def test_bounds_need_our_module() -> None:
    with pytest.raises(UsageError, match="streams= needs Penstock's own module"):
        Orchestrator(module=(), streams=STREAMS)


@pytest.mark.parametrize("shards", [1, 3])
def test_bounds_are_set_before_any_program_runs(shards: int) -> None:
    with Experiment("e") as exp:
        db = exp.start(Orchestrator(shards=shards, streams=STREAMS))
        assert {each.name: each.fill.bound for each in db.streams()} == STREAMS
        client = connect(db.address, producer="heat", client="native")
        client.subscribe("trainer")
        for step in range(2):
            client.put_snapshot(step, {"u": np.zeros(3)})
        with pytest.raises(StreamFull, match="'trainer' has acknowledged 0 of 2"):
            client.put_snapshot(2, {"u": np.zeros(3)})
        coarse, snapshots = json.loads(penstock("db", "--streams", "--json").stdout)
        assert coarse["stream"] == "coarse" and coarse["policy"] == "drop_oldest"
        assert (snapshots["items"], snapshots["bound_items"], snapshots["level"]) == (2, 2, 1.0)
        assert snapshots["consumers"] == {"trainer": 0} and snapshots["waiting"] == []
        shown = penstock("db", "--streams").stdout
        assert "2 of 2" in shown and "trainer: 0" in shown
        client.close()
