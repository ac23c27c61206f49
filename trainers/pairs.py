"""Pairs: a buffer of snapshots, whose samples are pairs of one trajectory that are some steps apart.

A trajectory is what one rank puts with ever greater steps; a step that is not greater begins another. Keeping
snapshots takes half the memory of keeping their pairs, and a snapshot serves several jumps.

A snapshot is in one of three states. *Kept*: one of its pairs has never been drawn. *Waiting*: it may go, but
may still find a partner. *Spare*: it may go. Each addition and each draw takes a time that does not depend on
how many are held.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sim_clients import Snapshot
from trainers.bound import Bound
from trainers.buffer import Drawn
from trainers.errors import BufferFull, BufferRefused
from trainers.held import Bag, Held, Pair, Rank
from trainers.samples import Numbered, fields_of, paired


class Pairs(Drawn):
    """Pairs (t, t + jump) of one trajectory, the least used first.

    Draws are made in rounds: in each, every pair is drawn once, in random order, and one that comes in joins
    the round that is under way. So no pair is drawn again before all others were, and a new one is not drawn
    over and over to catch up with the old ones. (The reservoir of paired simulations in Melissa's
    documentation weighs pairs by how seldom they were drawn.)

    When it is full, a random one goes of the snapshots whose pairs have all been drawn. One that may still
    find a partner goes only when there is no other, or when it has waited for as many additions as there are
    snapshots here: its producer has then probably ended.

    Args:
        inputs: fields of the first snapshot that a sample has; "jump" is the jump itself, (1,) float32.
        target: the field of the second one, `<target>_next` in a sample.
        jumps: how many solver steps may lie between the two; 0 takes both from one snapshot.
        snapshots: the most snapshots it holds; or
        nbytes: the most bytes of arrays it holds; or both.
        watermark: pairs there must be before the first draw.
        seed: of the draws.

    Raises:
        BufferRefused: no bound, one too small for a pair of each jump, no jump, or a negative one.
    """

    def __init__(
        self,
        inputs: Sequence[str],
        target: str,
        jumps: Sequence[int],
        *,
        snapshots: int | None = None,
        nbytes: int | None = None,
        watermark: int = 1,
        seed: int,
    ) -> None:
        super().__init__(watermark, seed)
        self._bound = Bound(snapshots, nbytes, "snapshots")
        if not jumps or min(jumps) < 0:
            raise BufferRefused("jumps", tuple(jumps), "at least one, none of them negative")
        if watermark < 1:
            raise BufferRefused("watermark", watermark, "at least 1")
        self._inputs, self._target, self._jumps = tuple(inputs), target, tuple(dict.fromkeys(jumps))
        self._together = 1 + sum(jump > 0 for jump in self._jumps)  # that one addition may make kept
        if snapshots is not None and snapshots < self._together:
            raise BufferRefused("snapshots", snapshots, f"at least {self._together}, for its jumps")
        self._clear()

    def _clear(self) -> None:
        self._held: dict[int, Held] = {}  # by their numbers
        self._open: dict[Rank, dict[int, Held]] = {}  # those that may find a partner, by their steps
        self._due: Bag[Pair] = Bag()  # to be drawn in this round
        self._done: Bag[Pair] = Bag()
        self._spare: Bag[Held] = Bag()
        self._waiting: dict[int, int] = {}  # numbers, the one that waits longest first -> additions before
        self._nbytes = self._kept = self._kept_nbytes = self._unseen = 0

    def __len__(self) -> int:
        """How many pairs there are."""
        return len(self._due) + len(self._done)

    @property
    def snapshots(self) -> int:
        """How many snapshots are held."""
        return len(self._held)

    @property
    def unseen(self) -> int:
        """How many of the pairs have never been drawn."""
        return self._unseen

    def room(self) -> int:
        """Return how many more snapshots are surely taken in; none larger than those before is assumed."""
        return self._bound.room(self._kept, self._kept_nbytes, self._largest, together=self._together)

    def add(self, snapshot: Snapshot) -> None:
        """Take a snapshot in, with the pairs that it makes with earlier ones. An addition ends a drain.

        Raises:
            BufferFull: it does not fit beside those whose pairs have not all been drawn; nothing has changed.
            SampleTooLarge: it is larger than the bound.
            BufferRefused: the bound is too small for the jumps, or for the trajectories side by side.
            SampleError: it lacks a field that the network is trained on.
        """
        rank = (snapshot.producer, snapshot.rank)
        fields = fields_of(snapshot, (*self._inputs, self._target))
        one = Held(self._added, rank, snapshot.step, fields)
        self._bound.check_size(one.nbytes, self._together)
        partners = self._partners(one)
        new = [partner for partner in partners if not partner.unseen]
        if not self._bound.fits(self._kept + len(new) + 1, self._kept_nbytes + _nbytes((one, *new))):
            raise BufferFull(self._kept, str(self._bound))
        for partner in new:
            self._keep(partner)
        if 0 in self._jumps:
            partners.append(one)
        self._make_room(one.nbytes, alone=not partners)
        self._hold(one)
        for partner in partners:
            self._enter(Pair(partner, one), self._due)
        if one.unseen:
            self._keep(one)
        else:
            self._let_go(one)
        self._close(rank, up_to=one.step - max(self._jumps))
        self._draining = False

    def given(self) -> dict[str, Any]:
        """Return what it was made with besides watermark and seed."""
        fields = [*self._inputs, self._target]
        return {"bound": str(self._bound), "jumps": list(self._jumps), "fields": fields}

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        held = list(self._held.values())
        return {
            "kind": "Pairs",
            "bound": [self._bound.count, self._bound.nbytes],
            "jumps": list(self._jumps),
            "snapshots": [one.fields for one in held],
            "names": [[one.number, *one.rank, one.step] for one in held],
            "open": [[one.number for one in steps.values()] for steps in self._open.values()],
            "due": [[pair.first.number, pair.second.number, pair.seen] for pair in self._due],
            "done": [[pair.first.number, pair.second.number, pair.seen] for pair in self._done],
            "spare": [one.number for one in self._spare],
            "waiting": [list(each) for each in self._waiting.items()],
            **self._own_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Raises:
            ValueError: the state is that of another kind of buffer, of another bound or of other jumps.
        """
        count, nbytes = state["bound"]
        theirs = (state["kind"], Bound(count, nbytes, "snapshots"), tuple(state.get("jumps", ())))
        ours = ("Pairs", self._bound, self._jumps)
        if theirs != ours:
            raise ValueError(
                "the state is of a {} of {} with jumps {}, this is a {} of {} with jumps {}".format(
                    *theirs, *ours
                )
            )
        self._clear()
        for (number, producer, rank, step), fields in zip(state["names"], state["snapshots"], strict=True):
            self._held[number] = Held(number, (producer, rank), step, fields)
        for numbers in state["open"]:
            steps = {self._held[number].step: self._held[number] for number in numbers}
            self._open[self._held[numbers[0]].rank] = steps
        for bag, pairs in ((self._due, state["due"]), (self._done, state["done"])):
            for first, second, seen in pairs:
                self._enter(Pair(self._held[first], self._held[second], seen), bag)
        for number in state["spare"]:
            self._spare.put(self._held[number])
        self._waiting = dict(state["waiting"])
        self._nbytes = _nbytes(self._held.values())
        kept = [one for one in self._held.values() if one.unseen]
        self._kept, self._kept_nbytes = len(kept), _nbytes(kept)
        self._load_own_state(state)

    def _partners(self, one: Held) -> list[Held]:
        """Return the earlier snapshots that one makes a pair with."""
        steps = self._open.get(one.rank)
        if steps and one.step <= next(reversed(steps)):  # it begins another trajectory
            self._close(one.rank, up_to=next(reversed(steps)))
            return []
        return (
            [steps[one.step - jump] for jump in self._jumps if jump and one.step - jump in steps]
            if steps
            else []
        )

    def _hold(self, one: Held) -> None:
        self._held[one.number] = one
        self._open.setdefault(one.rank, {})[one.step] = one
        self._nbytes += one.nbytes
        self._largest = max(self._largest or 0, one.nbytes)
        self._added += 1

    def _enter(self, pair: Pair, bag: Bag[Pair]) -> None:
        bag.put(pair)
        self._unseen += not pair.seen
        for end in pair.ends:
            end.pairs.append(pair)
            end.unseen += not pair.seen

    def _enough(self, count: int) -> bool:
        return len(self) >= self._watermark

    def _draw(self, count: int) -> list[Numbered]:
        """Draw pairs, those due in this round first; fewer than asked for only when it is drained."""
        return [self._draw_one() for _ in range(min(count, len(self)) if self._draining else count)]

    def _draw_one(self) -> Numbered:
        if not self._due:
            self._due, self._done = self._done, self._due
        pair = self._due.drawn(self._generator)
        if not pair.seen:
            pair.seen = True
            self._unseen -= 1
            for end in pair.ends:
                end.unseen -= 1
                if not end.unseen:
                    self._kept -= 1
                    self._kept_nbytes -= end.nbytes
                    self._let_go(end)
        if self._draining:
            for end in pair.ends:
                end.pairs.remove(pair)
        else:
            self._done.put(pair)
        first, second = pair.first, pair.second
        sample = paired(self._inputs, self._target, first.fields, second.fields, second.step - first.step)
        return Numbered(sample, second.number)

    def _keep(self, one: Held) -> None:
        """Let a snapshot stay, now that it has a pair that was never drawn."""
        self._waiting.pop(one.number, None)
        self._kept += 1
        self._kept_nbytes += one.nbytes

    def _let_go(self, one: Held) -> None:
        """Let a snapshot go when its room is needed: none of its pairs has never been drawn."""
        if self._open.get(one.rank, {}).get(one.step) is one:
            self._waiting[one.number] = self._added
        else:
            self._spare.put(one)

    def _close(self, rank: Rank, up_to: int) -> None:
        """Let the snapshots of a trajectory up to a step find no more partners."""
        steps = self._open.get(rank, {})
        for step in [step for step in steps if step <= up_to]:
            one = steps.pop(step)
            if self._waiting.pop(one.number, None) is not None:
                self._spare.put(one)
        if not steps:
            self._open.pop(rank, None)

    def _make_room(self, size: int, *, alone: bool) -> None:
        """Drop what may go until so many bytes fit.

        Args:
            alone: what needs the room makes no pair yet.
        """
        hopeless = alone and not len(self) and not self._draining  # if one went that waits for a partner
        if hopeless:
            self._check_spare_room(size)
        while not self._bound.fits(len(self._held) + 1, self._nbytes + size):
            number, since = next(iter(self._waiting.items()), (-1, self._added))
            if self._spare and (hopeless or self._added - since <= len(self._held)):
                one = self._spare.drawn(self._generator)
            else:
                one = self._held[number]
            self._drop(one)

    def _check_spare_room(self, size: int) -> None:
        count, nbytes = len(self._held) - len(self._spare), self._nbytes - _nbytes(self._spare)
        if not self._bound.fits(count + 1, nbytes + size):
            expected = (
                f"greater: none of the {len(self._held)} snapshots makes a pair with another; "
                "are there so many trajectories side by side, or so many snapshots in a jump?"
            )
            raise BufferRefused("bound", str(self._bound), expected)

    def _drop(self, one: Held) -> None:
        if self._waiting.pop(one.number, None) is not None:
            steps = self._open[one.rank]
            del steps[one.step]
            if not steps:
                del self._open[one.rank]
        for pair in sorted(one.pairs, key=_numbers):  # a restored snapshot may have them in another order
            (self._due if pair in self._due else self._done).take(pair)
            for end in pair.ends:
                end.pairs.remove(pair)
        del self._held[one.number]
        self._nbytes -= one.nbytes


def _numbers(pair: Pair) -> tuple[int, int]:
    return pair.first.number, pair.second.number


def _nbytes(held: Iterable[Held]) -> int:
    return sum(one.nbytes for one in held)
