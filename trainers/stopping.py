"""Being told to end: a SIGTERM, as an Experiment or a scheduler sends it, becomes a question to ask."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def asked_to_end() -> Iterator[Callable[[], bool]]:
    """Give a function that tells whether this process has been told to end since.

    A program that handles SIGTERM itself goes on doing so, and on another than the main thread nothing can be
    handled: then the answer is always no.
    """
    told = threading.Event()
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield told.is_set
        return

    def note(number: int, frame: FrameType | None) -> None:
        told.set()

    signal.signal(signal.SIGTERM, note)
    try:
        yield told.is_set
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
