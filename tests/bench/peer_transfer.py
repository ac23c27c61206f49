"""One peer puts and gets one array: run by a Python of its own that has the peer, not by ours.

    python peer_transfer.py PEER BYTES SOCKET DIRECTORY        dragon -s peer_transfer.py …, for Dragon

It connects to the Unix socket and is told what to do by lines: `put N`, `get N`, `check`, `end`. It answers
with seconds, or with `good` or `bad`. PEER is one of bp5, sst, dragon.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np


class Bp5:
    """ADIOS2's files, in memory: one file with one step, written and read whole."""

    def __init__(self, array: Any, directory: str) -> None:
        import adios2  # noqa: PLC0415

        self._stream, self._array = adios2.Stream, array
        self._path = f"{directory}/array.bp"

    def put(self) -> None:
        """Write it."""
        with self._stream(self._path, "w") as stream:
            stream.write("u", self._array, self._array.shape, [0], self._array.shape)

    def get(self) -> Any:
        """Read it."""
        with self._stream(self._path, "r") as stream:
            for _ in stream.steps():
                found = stream.read("u")
        return found

    def close(self) -> None:
        """Remove the file."""
        shutil.rmtree(self._path, ignore_errors=True)


class Sst:
    """ADIOS2's streams between two processes: a get has the other process put first."""

    def __init__(self, array: Any, directory: str) -> None:
        import adios2  # noqa: PLC0415

        asked, self._ask = os.pipe()
        self._path = f"{directory}/stream"
        self._writer = os.fork()
        if self._writer == 0:
            os.close(self._ask)
            self._write(adios2, array, asked)
            os._exit(0)
        io = adios2.Adios().declare_io("reader")
        io.set_engine("SST")
        self._stream = adios2.Stream(io, self._path, "r")

    def _write(self, adios2: Any, array: Any, asked: int) -> None:
        io = adios2.Adios().declare_io("writer")
        io.set_engine("SST")
        io.set_parameters({"RendezvousReaderCount": "1", "QueueLimit": "1"})
        stream = adios2.Stream(io, self._path, "w")
        while os.read(asked, 1):
            stream.begin_step()
            stream.write("u", array, array.shape, [0], array.shape)
            stream.end_step()
        stream.close()

    def put(self) -> None:
        """Nothing: see `get`."""

    def get(self) -> Any:
        """Have a step written, and read it."""
        os.write(self._ask, b"x")
        self._stream.begin_step()
        found = self._stream.read("u")
        self._stream.end_step()
        return found

    def close(self) -> None:
        """End the writer."""
        os.close(self._ask)
        self._stream.close()
        os.waitpid(self._writer, 0)


class Dictionary:
    """Dragon's distributed dictionary, of one node."""

    def __init__(self, array: Any, directory: str) -> None:
        del directory
        import dragon  # noqa: F401, PLC0415  before multiprocessing
        from dragon.data.ddict import DDict  # noqa: PLC0415

        self._array = array
        self._dictionary = DDict(1, 1, max(1 << 28, 6 * array.nbytes))

    def put(self) -> None:
        """Set the key."""
        self._dictionary["u"] = self._array

    def get(self) -> Any:
        """Get the key."""
        return self._dictionary["u"]

    def close(self) -> None:
        """End its processes."""
        self._dictionary.destroy()


def seconds(operation: Callable[[], object], count: int) -> float:
    """Return how long so many calls take."""
    start = time.perf_counter()
    for _ in range(count):
        operation()
    return time.perf_counter() - start


def main(peer: str, size: int, path: str, directory: str) -> None:
    """Do what the lines say."""
    array = np.random.default_rng(0).random(size // 4, dtype=np.float32)
    kind: Any = {"bp5": Bp5, "sst": Sst, "dragon": Dictionary}[peer]
    subject = kind(array, directory)
    told = socket.socket(socket.AF_UNIX)
    told.connect(path)
    lines = told.makefile("rw")
    for line in lines:
        word, *count = line.split()
        if word == "end":
            break
        answer: object
        if word == "check":
            answer = "good" if np.array_equal(subject.get(), array) else "bad"
        else:
            answer = seconds(getattr(subject, word), int(count[0]))
        lines.write(f"{answer}\n")
        lines.flush()
    subject.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4])
