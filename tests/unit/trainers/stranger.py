"""Somebody whom nobody has named, and who puts snapshots without an end."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from sim_clients import MemoryClient, MemoryDatabase


@contextmanager
def putting(database: MemoryDatabase, fields: Mapping[str, np.ndarray]) -> Iterator[None]:
    """Have the producer `A` put the same fields again and again, while the block lasts."""
    client, over = MemoryClient(database, "A"), threading.Event()

    def go_on() -> None:
        for step in itertools.count():
            if over.wait(0.001):
                return
            client.put_snapshot(step, fields)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
