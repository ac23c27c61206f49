"""What ranks say before a step, and what all conclude from it."""

from __future__ import annotations

import dataclasses

import torch

from tests.unit.trainers.rank_threads import on_ranks
from trainers.distributed import ALONE, Ranks, SingleRank
from trainers.rounds import Round, Rounds, Word

CPU = torch.device("cpu")
WORD = Word(samples=4, exhausted=0, can_judge=1, pressed=0, asked=0, progress=0.25, cursor=12, shown=1)


def said(*changes: dict[str, float]) -> Round:
    return Round(tuple(dataclasses.replace(WORD, **change) for change in changes))


def test_a_step_is_made_of_what_there_is() -> None:
    assert said({"samples": 0}, {"samples": 3}).samples == 3
    assert said({"samples": 0}, {"samples": 0}).samples == 0


def test_one_is_enough_to_end_or_to_press_and_all_are_needed_to_be_exhausted() -> None:
    assert said({}, {"asked": 1}).asked
    assert said({}, {"pressed": 1}).pressed
    assert not said({"exhausted": 1}, {}).exhausted
    assert said({"exhausted": 1}, {"exhausted": 1}).exhausted
    assert not said({"can_judge": 0}, {}).can_judge
    assert said({"progress": 0.5}, {"progress": 0.75}).progress == 0.75
    assert said({"cursor": 7}, {"cursor": 5}).lowest == 5


def test_a_sample_is_shown_only_where_one_who_needs_it_knows_none() -> None:
    assert said({"samples": 0, "shown": 0}, {}).source == 1
    assert said({"samples": 0, "shown": 1}, {}).source is None
    assert said({"samples": 0, "shown": 0}, {"samples": 0}).source is None


def test_weights_make_the_mean_over_ranks_that_over_all_samples() -> None:
    sizes = (3, 0, 5)

    def mean(ranks: Ranks) -> tuple[float, float]:
        size = sizes[ranks.rank]
        values = torch.arange(size, dtype=torch.float64) + 10 * ranks.rank
        batch = {"x": values[:, None]} if size else None
        rounds = Rounds(ranks, 60.0, CPU)
        rounds.agree(dataclasses.replace(WORD, samples=size), batch)
        mine, weight = rounds.weighed(batch)
        return sum(ranks.gather(float(mine["x"].mean()) * weight)) / ranks.world, weight

    found = on_ranks(3, mean)
    expected = (0 + 1 + 2 + 20 + 21 + 22 + 23 + 24) / 8
    assert [round(value, 12) for value, _ in found] == [expected] * 3
    assert found[1][1] == 0


def test_alone_nobody_is_asked() -> None:
    assert ALONE.gather("x") == ["x"] and ALONE.numbers([1, 2]) == [[1, 2]]
    assert ALONE.broadcast(3) == 3
    network = torch.nn.Linear(1, 1)
    assert SingleRank().replicate(network) is network
    rounds = Rounds(ALONE, 0.0, CPU)
    assert not rounds.stalled
    assert rounds.agree(WORD, {"x": torch.zeros(4, 1)}).samples == 4
    assert rounds.weighed({"x": torch.zeros(4, 1)})[1] == 1
