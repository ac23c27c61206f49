"""Databases saved by RedisAI load here, and ours would load there: the files are the same byte for byte."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import execute, get, put, refusal, store_model
from tests.integration.module import rdb_bytes
from tests.integration.servers import ServerDiedError, StartServer
from tests.integration.torchscript import adder

SCRIPT = b"def double(a):\n    return a * 2\n"
ENTRY = b"def f(tensors: List[Tensor], keys: List[str], args: List[str]):\n    return tensors[0]\n"
HALF = len(adder()) // 2
FLOATS = struct.pack("<6f", 1, 2, 3, 4, 5, 6)

SAVED: dict[bytes, bytes] = {
    b"float": rdb_bytes.tensor(2, 32, [2, 3], FLOATS),
    b"double": rdb_bytes.tensor(2, 64, [1], struct.pack("<d", 0.1)),
    b"int8": rdb_bytes.tensor(0, 8, [3], b"\x01\xff\x7f"),
    b"int16": rdb_bytes.tensor(0, 16, [2], struct.pack("<2h", -2, 300)),
    b"int32": rdb_bytes.tensor(0, 32, [1], struct.pack("<i", -70000)),
    b"int64": rdb_bytes.tensor(0, 64, [1], struct.pack("<q", -(1 << 40))),
    b"uint8": rdb_bytes.tensor(1, 8, [2], b"\x00\xff"),
    b"uint16": rdb_bytes.tensor(1, 16, [1], struct.pack("<H", 65535)),
    b"bool": rdb_bytes.tensor(6, 8, [3], b"\x00\x01\x01"),
    b"string": rdb_bytes.tensor(7, 8, [2, 1], b"ab\0c\0", [0, 3]),
    b"scalar": rdb_bytes.tensor(2, 32, [], struct.pack("<f", 4)),
    b"torch": rdb_bytes.model(2, [adder()], tag=b"v:1", inputs=[b"a", b"b"], batching=(4, 2, 50)),
    b"chunks": rdb_bytes.model(2, [adder()[:HALF], adder()[HALF:]], inputs=[b"a", b"b"]),
    b"tf": rdb_bytes.model(0, [b"a graph"], device=b"GPU:1", inputs=[b"x", b"y"], outputs=[b"mul"]),
    b"tflite": rdb_bytes.model(1, [b"flat"], inputs=[b"in"], outputs=[b"out"]),
    b"onnx": rdb_bytes.model(3, [b"a protobuf"], device=b"CPU:0", inputs=[b"i"], outputs=[b"o"]),
    b"script": rdb_bytes.script(SCRIPT, tag=b"s:1"),
    b"entries": rdb_bytes.script(ENTRY, entry_points=[b"f"]),
}


def check_saved(db: redis.Redis) -> None:
    values: dict[str, Any] = {
        "float": (b"FLOAT", [2, 3], FLOATS),
        "double": (b"DOUBLE", [1], struct.pack("<d", 0.1)),
        "int8": (b"INT8", [3], b"\x01\xff\x7f"),
        "int16": (b"INT16", [2], struct.pack("<2h", -2, 300)),
        "int32": (b"INT32", [1], struct.pack("<i", -70000)),
        "int64": (b"INT64", [1], struct.pack("<q", -(1 << 40))),
        "uint8": (b"UINT8", [2], b"\x00\xff"),
        "uint16": (b"UINT16", [1], b"\xff\xff"),
        "bool": (b"BOOL", [3], b"\x00\x01\x01"),
        "string": (b"STRING", [2, 1], b"ab\0c\0"),
        "scalar": (b"FLOAT", [], struct.pack("<f", 4)),
    }
    for key, (dtype, shape, blob) in values.items():
        wanted = [b"dtype", dtype, b"shape", shape, b"blob", blob]
        assert db.execute_command("AI.TENSORGET", key, "META", "BLOB") == wanted, key
    models: dict[str, list[Any]] = {
        "torch": [b"TORCH", b"CPU", b"v:1", 4, 2, [b"a", b"b"], [], 50, adder()],
        "chunks": [b"TORCH", b"CPU", b"", 0, 0, [b"a", b"b"], [], 0, adder()],
        "tf": [b"TF", b"GPU:1", b"", 0, 0, [b"x", b"y"], [b"mul"], 0, b"a graph"],
        "tflite": [b"TFLITE", b"CPU", b"", 0, 0, [b"in"], [b"out"], 0, b"flat"],
        "onnx": [b"ONNX", b"CPU:0", b"", 0, 0, [b"i"], [b"o"], 0, b"a protobuf"],
    }
    for key, wanted in models.items():
        assert db.execute_command("AI.MODELGET", key)[1::2] == wanted, key
    assert db.execute_command("AI.SCRIPTGET", "script")[1::2] == [b"CPU", b"s:1", [], SCRIPT]
    assert db.execute_command("AI.SCRIPTGET", "entries")[1::2] == [b"CPU", b"", [b"f"], ENTRY]


def check_runs(db: redis.Redis) -> None:
    put(db, "x", np.ones(2, np.float32))
    for key in ("torch", "chunks"):
        execute(db, key, ["x", "x"], ["y"], *(["TIMEOUT", 60000] if key == "torch" else []))
        assert get(db, "y").tolist() == [2.0, 2.0]
    db.execute_command("AI.SCRIPTRUN", "script", "double", "INPUTS", "x", "OUTPUTS", "y")
    assert get(db, "y").tolist() == [2.0, 2.0]
    db.execute_command("AI.SCRIPTEXECUTE", "entries", "f", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
    assert get(db, "y").tolist() == [1.0, 1.0]


def test_the_checksum_and_a_dump_are_the_published_ones() -> None:
    """The builder itself: Redis' own test value, and one DUMP written out by hand."""
    assert rdb_bytes.crc64(b"123456789") == 0xE9C6D914C4B8D9CA
    built = rdb_bytes.tensor(1, 8, [2], b"\x0a\xff")
    assert built[:2] == b"\x07\x81"  # a value of a module's type, a number of eight bytes: the type's id
    assert built[10:] == bytes.fromhex(
        "02 01 02 08"  # unsigned 1 (uint), unsigned 8 (bits)
        "02 01 02 02"  # signed 1 (dimensions), signed 2
        "05 02 0AFF"  # a string of two bytes
        "00"  # the end
    )
    number = int.from_bytes(built[2:10], "big")
    assert number & 1023 == 4
    letters = [rdb_bytes.LETTERS[number >> 10 + 6 * i & 63] for i in reversed(range(9))]
    assert "".join(letters) == "AI_TENSOR"


def test_a_file_saved_by_redisai_loads(start_server: StartServer) -> None:
    server = start_server()
    server.shutdown("NOSAVE")
    (server.config.directory / "dump.rdb").write_bytes(rdb_bytes.rdb_file(SAVED))
    server.start()
    db = server.connect()
    assert db.dbsize() == len(SAVED)
    check_saved(db)
    check_runs(db)


def test_what_redisai_dumped_is_restored(db: redis.Redis) -> None:
    for key, value in SAVED.items():
        db.restore(key, 0, rdb_bytes.dump(value))
    check_saved(db)
    check_runs(db)


@pytest.mark.parametrize("key", [key for key in SAVED if key != b"chunks"], ids=bytes.decode)
def test_a_dump_is_what_redisai_would_write(start_server: StartServer, key: bytes) -> None:
    db = start_server(options={"rdbcompression": "no"}).connect()
    db.restore(key, 0, rdb_bytes.dump(SAVED[key]))
    dumped = db.dump(key)
    assert dumped is not None
    assert dumped[:-10] == SAVED[key]  # behind it: the server's RDB version and checksum


OLD: dict[str, tuple[bytes, list[str], list[Any]]] = {
    **{
        f"tensor of version {version}": (
            rdb_bytes.old_tensor(version, 2, 32, [2, 3], FLOATS),
            ["AI.TENSORGET", "old", "META", "BLOB"],
            [b"dtype", b"FLOAT", b"shape", [2, 3], b"blob", FLOATS],
        )
        for version in range(4)
    },
    **{
        f"model of version {version}": (
            rdb_bytes.model(2, [adder()], tag=b"t", batching=(4, 2, 9), inputs=[b"a", b"b"], version=version),
            ["AI.MODELGET", "old"],
            [
                *(b"backend", b"TORCH", b"device", b"CPU", b"tag", b"t", b"batchsize", 4, b"minbatchsize", 2),
                *(b"inputs", [b"a", b"b"], b"outputs", [], b"minbatchtimeout", 9 if version > 1 else 0),
                *(b"blob", adder()),
            ],
        )
        for version in range(4)
    },
    **{
        f"script of version {version}": (
            rdb_bytes.script(ENTRY, tag=b"t", entry_points=[b"f"], version=version),
            ["AI.SCRIPTGET", "old"],
            [
                *(b"device", b"CPU", b"tag", b"t", b"Entry Points", [b"f"] if version > 2 else []),
                *(b"source", ENTRY),
            ],
        )
        for version in range(4)
    },
}


@pytest.mark.parametrize("what", OLD)
def test_older_versions_are_read(db: redis.Redis, what: str) -> None:
    value, command, wanted = OLD[what]
    db.restore("old", 0, rdb_bytes.dump(value))
    assert db.execute_command(*command) == wanted


BAD = {
    "a future version": rdb_bytes.module_value("AI_TENSOR", 5, b""),
    "an unknown kind of number": rdb_bytes.tensor(9, 32, [1], b"1234"),
    "an unknown width": rdb_bytes.tensor(2, 8, [1], b"1"),
    "a negative rank": rdb_bytes.module_value(
        "AI_TENSOR", 4, rdb_bytes.unsigned(2, 32) + rdb_bytes.signed(-1)
    ),
    "a negative dimension": rdb_bytes.tensor(2, 32, [-1], b""),
    "too few bytes": rdb_bytes.tensor(2, 32, [2], b"1234"),
    "a bool of two": rdb_bytes.tensor(6, 8, [1], b"\x02"),
    "a rank without an end": rdb_bytes.module_value("AI_TENSOR", 4, rdb_bytes.unsigned(2, 32, (1 << 62) + 5)),
    "an old tensor of a GPU": rdb_bytes.module_value(
        "AI_TENSOR", 3, rdb_bytes.unsigned(2, 0, 32, 2, 1, 1, 1, 1, 0) + rdb_bytes.text(b"1234")
    ),
    "a model of a fifth backend": rdb_bytes.model(4, [b"x"]),
    "a model of no device": rdb_bytes.model(2, [b"x"], device=b"TPU"),
    "names without an end": rdb_bytes.module_value(
        "AI__MODEL",
        4,
        rdb_bytes.unsigned(2) + rdb_bytes.text(b"CPU\0", b"") + rdb_bytes.unsigned(0, 0, 0, 1 << 60),
    ),
    "a script of no device": rdb_bytes.script(SCRIPT, device=b""),
    "a script that ends early": rdb_bytes.module_value("AI_SCRIPT", 4, rdb_bytes.text(b"CPU\0")),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_wrong_is_refused(db: redis.Redis, what: str) -> None:
    assert "Bad data format" in refusal(db, "RESTORE", "bad", 0, rdb_bytes.dump(BAD[what]))
    assert db.exists("bad") == 0
    assert db.ping()


def test_a_file_with_a_wrong_value_is_named_in_the_log(start_server: StartServer) -> None:
    server = start_server()
    server.shutdown("NOSAVE")
    file = rdb_bytes.rdb_file({b"good": SAVED[b"float"], b"bad": BAD["an unknown kind of number"]})
    (server.config.directory / "dump.rdb").write_bytes(file)
    with pytest.raises(ServerDiedError, match="a tensor of an unknown type"):
        server.start()


def test_what_is_saved_here_is_read_by_the_same_rules(start_server: StartServer) -> None:
    """Ours goes out and comes back through the bytes, for a model whose inputs only its file names."""
    db = start_server(options={"rdbcompression": "no"}).connect()
    store_model(db, "m", adder())
    dumped = db.dump("m")
    assert dumped is not None
    assert dumped[:-10] == rdb_bytes.model(2, [adder()], inputs=[b"a", b"b"])
