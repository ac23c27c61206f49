"""Batches are made while the network learns: read, checked, kept, drawn and stacked by a thread of their own.

Threads. One beside the loop's. Of the two, one at a time has the *turn*: with it go the intake (stream,
buffer, judges) and the client, which is not made for two threads. The thread has it for a round, in which
it takes in at most a batch of snapshots and draws at most one batch. The loop has it within `paused()`, and
never waits for more than the round under way.

Hand-over. At most `ahead` batches are ready; then none is drawn before the loop has taken one. So memory is
bounded by the buffer and these, and a buffer that is full leaves its snapshots to the stream, whose policy
says what becomes of their producers.

Nothing is lost. A batch that was drawn and not taken is part of the state, and the first one after a resume.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import torch

from sim_clients.native_memory import Memory
from trainers.batches import Batch, batch_of, moved, pinned, rows_of
from trainers.intake import Intake
from trainers.samples import Sample
from trainers.stream import LONGEST_PAUSE_S, Pauses

HEED_EVERY_S = 0.1
"""How often the loop looks whether it is told to end while it waits for a batch."""
CPU = torch.device("cpu")


class Loader:
    """The batches of a training, each ready when it is needed; used within `with`.

    Args:
        intake: where they come from; nobody else's but within `paused()`.
        ahead: how many are made before they are needed. With 0 there is no thread, and each is made when it
            is asked for: then the same stream gives the same batches.
        timeout_s: how long nothing may come while there is too little to learn from.
        device: where the batches go; for a GPU they are copied from page-locked memory beside the step.
    """

    def __init__(
        self, intake: Intake, *, ahead: int = 2, timeout_s: float = 60.0, device: torch.device = CPU
    ) -> None:
        self.intake = intake
        self._ahead = ahead
        self._timeout_s = timeout_s
        self._device = device
        self._memory = Memory()
        self._turn = threading.RLock()
        self._unclaimed = threading.Event()
        self._unclaimed.set()
        self._changed = threading.Condition()  # guards what follows
        self._batches: deque[Batch] = deque()
        self._error: BaseException | None = None
        self._used_up = self._leaving = False
        self._thread: threading.Thread | None = None
        self.pressed = False
        """Producers need a checkpoint soon."""
        self.waiting = False
        """There is too little to draw a batch from, and nothing new that is of use."""
        self._pauses: Pauses | None = None  # of a wait without a thread that `unless` has cut short
        self.idle_s = 0.0
        """Time that was spent in waiting for batches, s."""

    def __enter__(self) -> Loader:
        if self._ahead:
            self._thread = threading.Thread(target=self._run, name="penstock-loader", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the thread, after the request to the database that it is in."""
        with self._changed:
            self._leaving = True
            self._changed.notify_all()
        self._unclaimed.set()
        if self._thread is not None:
            self._thread.join()

    @property
    def exhausted(self) -> bool:
        """Whether the buffer was drained and the last batch has been taken."""
        return self._used_up and not self._batches

    def batch(self, *, unless: Callable[[], bool] = lambda: False) -> Batch | None:
        """Return the next batch, on the device.

        Args:
            unless: asked now and then; when it says so, none is waited for any longer.

        Returns:
            None when there is none and it says so, or producers need a checkpoint, or when `exhausted`.

        Raises:
            TrainerError, ClientError: what went wrong in reading, with the traceback of the thread.
        """
        start = time.perf_counter()
        try:
            if self._thread is None:
                self._make_one(unless)
            return self._handed(unless)
        finally:
            self.idle_s += time.perf_counter() - start

    @contextmanager
    def paused(self) -> Iterator[Intake]:
        """Have the intake and the client for oneself."""
        self._unclaimed.clear()
        with self._turn:
            try:
                yield self.intake
            finally:
                self._unclaimed.set()

    def drain_if_ended(self) -> None:
        """Draw no sample twice any more, if the producers have ended and all that they put was taken in."""
        with self.paused() as intake:
            intake.drain_if_ended()
            self._used_up = intake.buffer.exhausted

    def judges(self) -> Batch:
        """Return the held-out samples as one batch, on the device.

        Raises:
            NoSamples: there are too few.
        """
        with self.paused() as intake:
            if not intake.can_judge():
                raise intake.too_few(ended=intake.stream.ended())
            return moved(batch_of(intake.judges), self._device)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        with self.paused() as intake:
            return {"intake": intake.state_dict(), "drawn": list(map(rows_of, self._batches))}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken, before the loader is entered.

        Raises:
            KeyError, ValueError: the state is of another training.
        """
        self.intake.load_state_dict(state["intake"])
        self._batches = deque(self._stacked(samples) for samples in state["drawn"])
        self._used_up = self.intake.buffer.exhausted

    def _handed(self, unless: Callable[[], bool]) -> Batch | None:
        with self._changed:
            while not self._batches and not self._returns_none() and not unless():
                self._changed.wait(HEED_EVERY_S)
            if self._error is not None and not self._batches:
                raise self._error
            if not self._batches:
                return None
            batch = self._batches.popleft()
            self._changed.notify_all()
        return moved(batch, self._device)

    def _returns_none(self) -> bool:
        return self._error is not None or self.pressed or self._used_up

    def _make_one(self, unless: Callable[[], bool]) -> None:
        pauses, self._pauses = self._pauses or Pauses(self._timeout_s), None
        while not self._batches and not self._returns_none():
            fed = self.intake.fed
            busy = self._round()
            if self.intake.fed != fed or self._batches:
                pauses = Pauses(self._timeout_s)
            elif busy and pauses.over and not self._used_up:  # busy with what nobody uses
                raise self.intake.stalled()
            if unless():
                self._pauses = pauses
                return
            if not busy and not self._returns_none():
                self._rest(pauses)

    def _run(self) -> None:
        try:
            pauses = Pauses(self._timeout_s)
            while not self._leaving and not self._used_up:
                since = time.monotonic()
                self._unclaimed.wait()
                with self._turn:
                    # While the loop has the turn it waits for nothing.
                    pauses.put_off(time.monotonic() - since)
                    fed = self.intake.fed
                    busy, starved = self._round(), self.intake.starved()
                if self.intake.fed != fed or not starved or self._batches:  # nobody waits for something new
                    pauses = Pauses(self._timeout_s)
                if busy and pauses.over and not self._used_up:  # busy with what nobody uses
                    raise self.intake.stalled()
                if not busy:
                    self._rest(pauses if starved else None)
        except BaseException as error:  # noqa: BLE001 the edge of a thread: the loop raises it
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _round(self) -> bool:
        """Take in what has come and draw a batch if one is wanted; tell whether there was anything to do."""
        fed, busy = self.intake.fed, self.intake.take_in()
        pressed = not self.pressed and self.intake.presses()
        drawn: list[Sample] = []
        if self._wanted() and not self.intake.starved():
            drawn = self.intake.draw()
        batch = self._stacked(drawn) if drawn else {}
        self.intake.settle()
        with self._changed:
            if drawn:
                self._batches.append(batch)
            self.pressed = self.pressed or pressed
            self.waiting = self.intake.fed == fed and not drawn and self.intake.starved()
            self._used_up = self.intake.buffer.exhausted
            self._changed.notify_all()
        return busy or bool(drawn)

    def _wanted(self) -> bool:
        return len(self._batches) < max(1, self._ahead)

    def _stacked(self, samples: list[Sample]) -> Batch:
        return pinned(batch_of(samples, self._memory), self._device)

    def _rest(self, pauses: Pauses | None) -> None:
        """Wait until a batch is wanted or there may be something new; None: there is enough to learn from."""
        pause_s = LONGEST_PAUSE_S if pauses is None else pauses.next_s()
        if pause_s is None:
            raise self.intake.stalled()
        with self._changed:
            if not self._leaving and not (pauses is None and self._wanted()):
                self._changed.wait(pause_s)
