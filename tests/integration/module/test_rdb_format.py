"""What the native types look like on disk: RedisAI's encoding version 4, so its RDB files are ours too.

The bytes are decoded here from Redis' own description of a DUMP: a type byte, the module's id, then pairs of
opcode and value up to the opcode for the end, the RDB version and a checksum.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import TYPES, put, store_model
from tests.integration.servers import StartServer
from tests.integration.torchscript import adder, heavy

MODULE_VALUE = 7
END, UNSIGNED, STRING = 0, 2, 5
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
CODES = {"i": 0, "u": 1, "f": 2}
"""DLPack's code for each kind of number."""


class Dump:
    """Reads one DUMP from its beginning."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        self._at += count
        return self._data[self._at - count : self._at]

    def length(self) -> int:
        """Read Redis' variable-length integer."""
        first = self.take(1)[0]
        if first >> 6 == 0:
            return first
        if first >> 6 == 1:
            return (first & 63) << 8 | self.take(1)[0]
        size, form = {0x80: (4, ">I"), 0x81: (8, ">Q")}[first]
        return int(struct.unpack(form, self.take(size))[0])

    def value(self) -> Any:
        """Read one opcode and its value; None at the end."""
        opcode = self.length()
        if opcode == END:
            return None
        if opcode == STRING:
            return self.take(self.length())
        assert opcode == UNSIGNED  # also for signed numbers
        return self.length()

    def module(self) -> tuple[str, int]:
        """Read the module's id: nine letters of six bits, then ten bits of encoding version."""
        number = self.length()
        name = "".join(LETTERS[(number >> (10 + 6 * i)) & 63] for i in reversed(range(9)))
        return name, number & 1023


def decoded(db: redis.Redis, key: str) -> tuple[tuple[str, int], list[Any]]:
    data = db.dump(key)
    assert data is not None
    dump = Dump(data)
    assert dump.take(1)[0] == MODULE_VALUE
    return dump.module(), list(iter(dump.value, None))


@pytest.fixture
def plain(start_server: StartServer) -> redis.Redis:
    """A server that does not compress strings."""
    return start_server(options={"rdbcompression": "no"}, arguments=("MODEL_CHUNK_SIZE", "400000")).connect()


def test_tensors(plain: redis.Redis) -> None:
    for name, dtype in TYPES.items():
        array = np.arange(1, 25).reshape(2, 3, 4).astype(dtype)
        put(plain, "t", array)
        kind, bits = array.dtype.kind, array.dtype.itemsize * 8
        assert decoded(plain, "t") == (
            ("AI_TENSOR", 4),
            [CODES[kind], bits, 3, 2, 3, 4, array.tobytes()],
        ), name


def test_models(plain: redis.Redis) -> None:
    store_model(plain, "m", adder(), "TAG", "tag:1", "BATCHSIZE", 8, "MINBATCHSIZE", 2, "MINBATCHTIMEOUT", 70)
    assert decoded(plain, "m") == (
        ("AI__MODEL", 4),
        [
            *(2, b"CPU\0", b"tag:1", 8, 2, 70),
            *(2, b"a\0", b"b\0", 0, len(adder()), 1, adder()),
        ],
    )


def test_models_in_chunks(plain: redis.Redis) -> None:
    store_model(plain, "m", heavy(1))
    _, values = decoded(plain, "m")
    start = values.index(len(heavy(1)))
    _, count, *chunks = values[start:]
    assert count == len(chunks) == 3
    assert b"".join(chunks) == heavy(1)


def test_scripts(plain: redis.Redis) -> None:
    old = "def double(a):\n    return a * 2\n"
    plain.execute_command("AI.SCRIPTSET", "s", "CPU", "SOURCE", old)
    assert decoded(plain, "s") == (("AI_SCRIPT", 4), [b"CPU\0", b"", old.encode() + b"\0", 0])
    new = "def f(tensors: List[Tensor], keys: List[str], args: List[str]):\n    return tensors[0]\n"
    plain.execute_command("AI.SCRIPTSTORE", "s", "CPU", "TAG", "tag:2", "ENTRY_POINTS", 1, "f", "SOURCE", new)
    assert decoded(plain, "s") == (
        ("AI_SCRIPT", 4),
        [b"CPU\0", b"tag:2", new.encode() + b"\0", 1, b"f\0"],
    )
