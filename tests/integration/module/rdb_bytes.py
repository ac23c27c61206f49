"""RDB files and DUMPs byte by byte, as Redis and RedisAI 1.2.7 write them, without the module's writer."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cache

MODULE_VALUE = 7
END, SIGNED, UNSIGNED, STRING = 0, 1, 2, 5
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
RDB_VERSION = 9
"""Understood by every server from Redis 5 on."""


@cache
def _crc_table() -> list[int]:
    polynomial = 0x95AC9329AC4BC9B5  # Jones, reflected
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (polynomial if byte & 1 else 0)
        table.append(byte)
    return table


def crc64(data: bytes) -> int:
    """Redis' checksum: that of `123456789` is e9c6d914c4b8d9ca."""
    table, crc = _crc_table(), 0
    for byte in data:
        crc = table[(crc ^ byte) & 255] ^ crc >> 8
    return crc


def length(number: int) -> bytes:
    """Redis' variable-length integer."""
    if number < 1 << 6:
        return bytes([number])
    if number < 1 << 14:
        return struct.pack(">H", 1 << 14 | number)
    if number < 1 << 32:
        return b"\x80" + struct.pack(">I", number)
    return b"\x81" + struct.pack(">Q", number)


def module_id(name: str, version: int) -> bytes:
    """Nine letters of six bits, then ten bits of encoding version."""
    number = 0
    for letter in name:
        number = number << 6 | LETTERS.index(letter)
    return length(number << 10 | version)


def unsigned(*values: int) -> bytes:
    return b"".join(length(UNSIGNED) + length(value) for value in values)


def signed(*values: int) -> bytes:
    """Redis writes signed numbers as unsigned ones, under the same opcode."""
    return unsigned(*(value & (1 << 64) - 1 for value in values))


def text(*values: bytes) -> bytes:
    return b"".join(length(STRING) + length(len(value)) + value for value in values)


def module_value(name: str, version: int, body: bytes) -> bytes:
    return bytes([MODULE_VALUE]) + module_id(name, version) + body + length(END)


def dump(value: bytes) -> bytes:
    """What DUMP answers and RESTORE takes."""
    payload = value + struct.pack("<H", RDB_VERSION)
    return payload + struct.pack("<Q", crc64(payload))


def rdb_file(values: dict[bytes, bytes]) -> bytes:
    """A whole file with one database."""
    body = b"REDIS%04d" % RDB_VERSION + b"\xfe\x00"
    for key, value in values.items():
        body += value[:1] + length(len(key)) + key + value[1:]
    body += b"\xff"
    return body + struct.pack("<Q", crc64(body))


def tensor(code: int, bits: int, dims: Sequence[int], data: bytes, offsets: Sequence[int] = ()) -> bytes:
    body = unsigned(code, bits) + signed(len(dims), *dims) + text(data) + unsigned(*offsets)
    return module_value("AI_TENSOR", 4, body)


def old_tensor(version: int, code: int, bits: int, dims: Sequence[int], data: bytes) -> bytes:
    """Versions 0 to 3: every field of a DLPack tensor."""
    strides = [1]
    for dim in reversed(dims[1:]):
        strides.insert(0, strides[0] * dim)
    numbers = [1, 0, bits, code, 1, len(dims), *dims, *strides[: len(dims)], 0]
    return module_value("AI_TENSOR", version, unsigned(*numbers) + text(data))


def names(*values: bytes) -> bytes:
    return unsigned(len(values)) + text(*(value + b"\0" for value in values))


def model(
    backend: int,
    pieces: Sequence[bytes],
    *,
    device: bytes = b"CPU",
    tag: bytes = b"",
    batching: tuple[int, int, int] = (0, 0, 0),
    inputs: Sequence[bytes] = (),
    outputs: Sequence[bytes] = (),
    version: int = 4,
) -> bytes:
    """TF 0, TFLITE 1, TORCH 2, ONNX 3."""
    body = unsigned(backend) + text(device + b"\0") + text(tag if version > 1 else tag + b"\0")
    body += unsigned(*batching[: 3 if version > 1 else 2]) + names(*inputs) + names(*outputs)
    if version > 0:
        body += unsigned(sum(map(len, pieces)), len(pieces))
    return module_value("AI__MODEL", version, body + text(*pieces))


def script(
    source: bytes,
    *,
    device: bytes = b"CPU",
    tag: bytes = b"",
    entry_points: Sequence[bytes] = (),
    version: int = 4,
) -> bytes:
    body = text(device + b"\0", tag if version > 1 else tag + b"\0", source + b"\0")
    return module_value("AI_SCRIPT", version, body + (names(*entry_points) if version > 2 else b""))
