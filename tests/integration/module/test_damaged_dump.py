"""RESTORE of bytes whose checksum is right and whose content is not: refused, and the server lives.

Whoever may write to the database can send these, and a disk can too: a module that trusts them takes the
server down, for Redis ends the process when a module reads beyond the end unless the module says it will
handle that.
"""

from __future__ import annotations

import numpy as np
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.ai_commands import put, refusal, store_model
from tests.integration.servers import RedisServer
from tests.integration.torchscript import adder

HEAD = 10
"""The type byte and the module's id before the content."""
FOOT = 10
"""The RDB version and the checksum behind it."""
END = b"\0"
POLYNOMIAL = 0x95AC9329AC4BC9B5
"""Jones' CRC-64, bits reversed."""


def checksum(data: bytes) -> bytes:
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ POLYNOMIAL if crc & 1 else crc >> 1
    return crc.to_bytes(8, "little")


def with_content(dumped: bytes, content: bytes) -> bytes:
    """Return a dump of the same kind with other content and a right checksum."""
    body = dumped[:HEAD] + content + dumped[-FOOT:-8]
    return body + checksum(body)


def content_of(dumped: bytes) -> bytes:
    return dumped[HEAD:-FOOT]


@pytest.fixture
def dumps(db: redis.Redis) -> dict[str, bytes]:
    """One small value of each kind as DUMP gives it, after which the database is empty again."""
    put(db, "tensor", np.arange(3, dtype=np.int16))
    store_model(db, "model", adder(), "TAG", "t")
    source = "def f(tensors: List[Tensor], keys: List[str], args: List[str]):\n    return tensors[0]\n"
    db.execute_command("AI.SCRIPTSTORE", "script", "CPU", "ENTRY_POINTS", 1, "f", "SOURCE", source)
    found = {key: db.dump(key) for key in ("tensor", "model", "script")}
    db.flushall()
    return {key: value for key, value in found.items() if value is not None}


def unsigned(value: int) -> bytes:
    """Return a number as Redis writes it for a module: an opcode and a length."""
    return b"\2\x81" + value.to_bytes(8, "big")


def text(value: bytes) -> bytes:
    assert len(value) < 64
    return b"\5" + bytes([len(value)]) + value


def tensor(code: int, bits: int, rank: int, *dims: int, data: bytes) -> bytes:
    return b"".join(unsigned(n) for n in (code, bits, rank, *dims)) + text(data)


BROKEN_TENSORS = {
    "nothing": b"",
    "unknown kind of number": tensor(9, 16, 1, 3, data=b"abcdef"),
    "unknown width": tensor(0, 17, 1, 3, data=b"abcdef"),
    "no width": tensor(0, 0, 1, 3, data=b"abcdef"),
    "more elements than data": tensor(0, 16, 1, 4, data=b"abcdef"),
    "fewer elements than data": tensor(0, 16, 1, 2, data=b"abcdef"),
    "negative dimension": tensor(0, 16, 1, 2**64 - 3, data=b"abcdef"),
    "product wraps around": tensor(0, 16, 2, 2**63, 2, data=b""),
    "huge rank": tensor(0, 16, 2**40, 3, data=b"abcdef"),
    "negative rank": tensor(0, 16, 2**64 - 1, data=b"abcdef"),
    "rank beyond the dimensions": tensor(0, 16, 4, 3, data=b"abcdef"),
    "data missing": tensor(0, 16, 1, 3, data=b"")[:-2],
}


def test_the_checksum_of_these_tests_is_redis_own(dumps: dict[str, bytes]) -> None:
    for dumped in dumps.values():
        assert checksum(dumped[:-8]) == dumped[-8:]


def test_what_is_whole_is_restored(db: redis.Redis, dumps: dict[str, bytes]) -> None:
    content = tensor(0, 16, 1, 3, data=np.arange(3, dtype=np.int16).tobytes())
    db.restore("tensor", 0, with_content(dumps["tensor"], content + END))
    assert db.execute_command("AI.TENSORGET", "tensor", "BLOB") == np.arange(3, dtype=np.int16).tobytes()


@pytest.mark.parametrize("name", BROKEN_TENSORS)
def test_a_broken_tensor_is_refused(db: redis.Redis, dumps: dict[str, bytes], name: str) -> None:
    payload = with_content(dumps["tensor"], BROKEN_TENSORS[name] + END)
    assert refusal(db, "RESTORE", "tensor", 0, payload) == "Bad data format"
    assert db.exists("tensor") == 0


@pytest.mark.parametrize("kind", ["tensor", "model", "script"])
def test_content_cut_anywhere_is_refused(server: RedisServer, dumps: dict[str, bytes], kind: str) -> None:
    """Cut so far that the footer cannot pass for the bytes that are missing."""
    content = content_of(dumps[kind])
    end = len(content) - 2 * FOOT
    cuts = range(end) if end < 300 else [*range(60), *range(60, end, 97)]
    with server.connect() as db:
        for cut in cuts:
            assert refusal(db, "RESTORE", kind, 0, with_content(dumps[kind], content[:cut]))
        assert db.exists(kind) == 0


@pytest.mark.fuzz
@pytest.mark.parametrize("kind", ["tensor", "model", "script"])
def test_damaged_content_is_refused_or_works(db: redis.Redis, dumps: dict[str, bytes], kind: str) -> None:
    """The first bytes hold the numbers and lengths; what is restored can be read, replaced and deleted."""
    content = content_of(dumps[kind])

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        damage=st.lists(
            st.tuples(st.integers(0, min(len(content), 120) - 1), st.integers(0, 255)), max_size=4
        )
    )
    def try_one(damage: list[tuple[int, int]]) -> None:
        broken = bytearray(content)
        for position, value in damage:
            broken[position] = value
        command = {"tensor": "AI.TENSORGET", "model": "AI.MODELGET", "script": "AI.SCRIPTGET"}[kind]
        try:
            db.restore(kind, 0, with_content(dumps[kind], bytes(broken)), replace=True)
            db.execute_command(command, kind)
        except redis.ResponseError as error:
            assert str(error)
        db.delete(kind)
        assert db.ping()

    try_one()
