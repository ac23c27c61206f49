"""What becomes of a snapshot: it is read, made into a sample and kept, to learn from or to judge by.

No threads: whoever calls has the stream, the buffer and the judges for itself.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sim_clients import Snapshot
from sim_clients.native_memory import Memory
from trainers.buffer import Buffer
from trainers.errors import NoSamples, StreamStalled
from trainers.normalise import FieldMoments
from trainers.pairing import Pairing
from trainers.pairs import Pairs
from trainers.reservoir import Once
from trainers.samples import Sample, owned
from trainers.stream import PRESSES_EVERY_S, SnapshotStream


@dataclass
class Intake:
    """The way of snapshots from the stream into the buffer, and of samples out of it.

    Where the stream has producers, snapshots of others are passed over, with one warning for each of these.

    Attributes:
        held_out: whose snapshots only judge.
        judges_needed: held-out samples there must be; later ones are not used.
        batch_size: samples of a batch, and the most snapshots that are taken in at a time.
        moments: of the fields of all snapshots that are learned from; of none by default.
        judges: the held-out samples.
        begun: a batch has been drawn.
        alone: nobody else learns from the stream; else there may be too little here, and enough elsewhere.
        came: producers of whom a snapshot was taken in.
        unnamed: producers whose snapshots were passed over.
        fed: how many snapshots were taken in that were of use, to learn from or while judges were wanted.
        fed_at: where in the stream it was when the last of these had come.
        memory: where samples are copied that are kept, from the database's memory.
    """

    stream: SnapshotStream
    pairing: Pairing
    buffer: Buffer[Sample] | Pairs
    held_out: tuple[str, ...]
    judges_needed: int
    batch_size: int
    moments: FieldMoments = field(default_factory=lambda: FieldMoments(()))
    judges: list[Sample] = field(default_factory=list)
    begun: bool = False
    alone: bool = True
    came: set[str] = field(default_factory=set)
    unnamed: set[str] = field(default_factory=set)
    fed: int = 0
    fed_at: int = 0
    memory: Memory = field(default_factory=Memory)

    def starved(self) -> bool:
        """Tell whether there is too little to draw a batch from, or to judge by."""
        if not self.buffer.ready(self.batch_size):
            return True
        return not self.can_judge() and self.buffer.room() > 0

    def can_judge(self) -> bool:
        """Tell whether all the held-out samples are there."""
        return len(self.judges) >= self.judges_needed

    def take_in(self) -> bool:
        """Take in what has been announced, no more than there is room for and at most a batch.

        So fast solvers do not keep anybody from drawing. When the stream has ended and there is too little to
        go on drawing, the buffer is drained.

        Returns:
            Whether anything changed.

        Raises:
            NoSamples: the stream has ended with too little; and what reading a stream raises.
        """
        starved = self.starved()
        ended = starved and self.stream.ended()  # asked first: what an ended producer announced is then read
        before = self.stream.cursor
        limit = min(self.buffer.room(), self.batch_size)
        snapshots = self.stream.new(limit, mapped=isinstance(self.buffer, Once))
        fed = self.fed
        for snapshot in snapshots:
            self._take(snapshot)
        if self.fed != fed:
            self.fed_at = self.stream.cursor
        if starved and ended and not snapshots:
            self._drain()
            return True
        return self.stream.cursor != before

    def presses(self) -> bool:
        """Tell whether producers wait, or soon will, for a checkpoint that lets go what was read."""
        return self.stream.presses(look_every_s=0 if self.starved() else PRESSES_EVERY_S)

    def draw(self) -> list[Sample]:
        """Draw the samples of a batch."""
        self.begun = True
        return self.buffer.sample(self.batch_size)

    def settle(self) -> None:
        """Keep what was taken in, and not drawn at once, in memory of its own.

        So snapshots take room in the database's memory for a round at most, however long their samples wait.
        """
        if isinstance(self.buffer, Once):
            self.buffer.settle(self._own)
            self.pairing.settle(self._own)

    def drain_if_ended(self) -> None:
        """Drain the buffer if all producers have ended and all that they put was taken in."""
        if self.stream.drained():
            self.buffer.drain()

    def too_few(self, *, ended: bool) -> NoSamples:
        """Return the error that counts what there is and what is needed.

        Args:
            ended: the stream has, not only the training.
        """
        counts = (len(self.buffer), self.buffer.watermark, len(self.judges), self.judges_needed)
        unnamed = tuple(sorted(self.unnamed))
        return NoSamples(*counts, ended=ended, absent=self.absent(), unnamed=unnamed)

    def stalled(self) -> StreamStalled:
        """Return the error that says for whom it was waited in vain, and whose snapshots came instead."""
        others, unnamed = self.stream.cursor > self.fed_at, tuple(sorted(self.unnamed))
        return self.stream.stalled(others=others, absent=self.absent() if others else (), unnamed=unnamed)

    def absent(self) -> tuple[str, ...]:
        """Return the producers of whom nothing came; none where others read their share of the stream."""
        return tuple(name for name in self.stream.producers if self.alone and name not in self.came)

    def tell_absent(self) -> None:
        """Warn of producers of whom nothing came: their names may be written otherwise."""
        if absent := self.absent():
            text = f"nothing came from {', '.join(absent)}; are the names of the producers right?"
            warnings.warn(text, RuntimeWarning, stacklevel=2)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        return {**parts, "judges": list(self.judges), "begun": self.begun, "came": sorted(self.came)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Raises:
            KeyError, ValueError: the state is of another training.
        """
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.judges[:] = state["judges"]
        self.begun = state["begun"]
        self.came = set(state["came"])
        self.fed_at = self.stream.cursor

    def _parts(self) -> dict[str, Any]:
        names = ("stream", "pairing", "buffer", "moments")
        return {name: getattr(self, name) for name in names}

    def _take(self, snapshot: Snapshot) -> None:
        """Add a snapshot, or the sample that it completes, to the buffer or to the judges."""
        named = {*self.stream.producers, *self.held_out}
        if self.stream.producers and snapshot.producer not in named:
            self._pass_over(snapshot.producer)
            return
        self.came.add(snapshot.producer)
        if snapshot.producer in self.held_out:
            self.fed += not self.can_judge()
            if (sample := self.pairing.add(snapshot)) and not self.can_judge():
                self.judges.append(self._own(sample))
            return
        self.moments.add(snapshot.fields)
        if isinstance(self.buffer, Pairs):
            before = len(self.buffer)
            self.buffer.add(snapshot)
            self.fed += len(self.buffer) > before  # one without another is of no use
            return
        self.fed += 1
        if sample := self.pairing.add(snapshot):
            self.buffer.add(sample)

    def _pass_over(self, producer: str) -> None:
        """Warn, once, that snapshots of a producer whom nobody has named are not used."""
        if producer not in self.unnamed:
            self.unnamed.add(producer)
            named = ", ".join(self.stream.producers)
            text = f"snapshots of {producer!r} are not learned from: the training names {named}"
            warnings.warn(text, RuntimeWarning, stacklevel=2)

    def _own(self, sample: Sample) -> Sample:
        return owned(sample, self.memory)

    def _drain(self) -> None:
        """Drain the buffer, if there was enough to begin with and to judge by."""
        enough = not self.alone or self.begun or len(self.buffer) >= self.buffer.watermark
        if not enough or not self.can_judge():
            raise self.too_few(ended=True)
        self.buffer.drain()
