"""The leanest client there can be in Python, so that a figure shows the server and not a client library.

It sends prepared commands with as few copies as Python allows and reads replies into one buffer it keeps.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path


class WireClient:
    """One connection over a Unix socket."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._buffer = bytearray(1 << 16)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0

    def close(self) -> None:
        """Leave."""
        self._socket.close()

    def call(self, *words: bytes | memoryview) -> object:
        """Send one command and return its reply; a bulk comes as a view that the next call overwrites."""
        self._send(words)
        self._start = self._end = 0
        reply = self._reply()
        if isinstance(reply, ConnectionError):
            raise reply
        return reply

    def _send(self, words: Sequence[bytes | memoryview]) -> None:
        parts: list[bytes | memoryview] = [b"*%d\r\n" % len(words)]
        for word in words:
            parts += [b"$%d\r\n" % len(word), word, b"\r\n"]
        sent, size = self._socket.sendmsg(parts), sum(map(len, parts))
        if sent < size:
            self._send_rest(parts, sent)

    def _send_rest(self, parts: Sequence[bytes | memoryview], sent: int) -> None:
        for part in parts:
            if sent >= len(part):
                sent -= len(part)
            else:
                self._socket.sendall(memoryview(part)[sent:])
                sent = 0

    def _reply(self) -> object:
        kind, text = chr(self._buffer[self._first()]), self._line()[1:]
        if kind == "+":
            return text
        if kind == "-":
            return ConnectionError(text.decode())
        if kind == ":":
            return int(text)
        if kind == "$":
            return None if text == b"-1" else self._bulk(int(text))
        return [self._reply() for _ in range(int(text))]

    def _first(self) -> int:
        while self._start == self._end:
            self._receive(1)
        return self._start

    def _line(self) -> bytes:
        while (stop := self._buffer.find(b"\r\n", self._start, self._end)) < 0:
            self._receive(1)
        line = bytes(self._view[self._start : stop])
        self._start = stop + 2
        return line

    def _bulk(self, size: int) -> memoryview:
        while self._end - self._start < size + 2:
            self._receive(size + 2 - (self._end - self._start))
        start, self._start = self._start, self._start + size + 2
        return self._view[start : start + size]

    def _receive(self, needed: int) -> None:
        if len(self._buffer) - self._end < needed:
            bigger = bytearray(2 * (self._end + needed))
            bigger[: self._end] = self._view[: self._end]
            self._buffer, self._view = bigger, memoryview(bigger)
        received = self._socket.recv_into(self._view[self._end :])
        if received == 0:
            raise ConnectionError("the server closed the connection")
        self._end += received
