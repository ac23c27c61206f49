"""A program that puts and maps tensors through the arena until it is killed; needs nothing but Python itself.

    arena_victim.py <socket> <its name> <bytes of a tensor>

Every byte of a tensor has the same value; a tensor with two has been seen half-written. It writes a page at a
time, so that a kill comes in the middle of a write, and prints a line when it has begun.
"""

from __future__ import annotations

import mmap
import os
import socket
import sys
from typing import BinaryIO

PAGE = 4096


class Connection:
    """The commands, over a bare socket."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.file: BinaryIO = self.socket.makefile("rb")

    def ask(self, *words: object) -> object:
        encoded = [str(word).encode() for word in words]
        text = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)
        self.socket.sendall(b"*%d\r\n" % len(encoded) + text)
        return self.answer()

    def answer(self) -> object:
        line = self.file.readline()
        kind, text = line[:1], line[1:-2]
        if kind == b":":
            return int(text)
        if kind == b"*":
            return [self.answer() for _ in range(int(text))]
        if kind == b"$":
            return None if text == b"-1" else self.file.read(int(text) + 2)[:-2]
        if kind == b"+":
            return text
        raise SystemExit(f"{line!r}")


def main(path: str, name: str, size: int) -> None:
    connection = Connection(path)
    told = connection.ask("PENSTOCK.ARENA", "PID", os.getpid())
    assert isinstance(told, list)
    descriptor = os.open(told[0], os.O_RDWR)
    memory = mmap.mmap(descriptor, told[1])
    print("begun", flush=True)
    step, offset, mapped_before = 0, None, None
    while True:
        step += 1
        if offset is None:
            offset = connection.ask("PENSTOCK.LEASE", size, "TIMEOUT", 60_000)
        assert isinstance(offset, int)
        for start in range(offset, offset + size, PAGE):
            end = min(start + PAGE, offset + size)
            memory[start:end] = bytes([step % 251]) * (end - start)
        key = f"{name}:{step % 3}"
        offset = connection.ask("PENSTOCK.PUT", key, "UINT8", size, "OFFSET", offset, "LEASE", size)
        mapped = connection.ask("PENSTOCK.MAP", key)
        assert isinstance(mapped, list)
        if mapped_before is not None:
            connection.ask("PENSTOCK.RELEASE", mapped_before)
        mapped_before = mapped[2]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
