"""Every error text that clients of RedisAI rely on, word by word: tests/data/error_texts.tsv.

Its lines are the text, how the answer must match it, and the command that we send for it; `<..>` stands for
bytes given below. `within`: the text is part of a longer one, such as a script's. `cluster`: sent to a shard.
`openvino`, `onnxruntime`: part of what its models are answered. `n/a`: no command leads to it, and why.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import put, store_model
from tests.integration.model_files import model_file, store_onnx
from tests.integration.module.test_backend_limits import needs, put_loop
from tests.integration.servers import Module, ServerBinary, ShardCluster, StartServer, shard_configs
from tests.integration.torchscript import adder, forward

TABLE = Path(__file__).parents[2] / "data" / "error_texts.tsv"
SIGNATURE = "(tensors: List[Tensor], keys: List[str], args: List[str])"
FUNCTIONS = {
    "first": "return tensors[0]",
    "run_model": "return redisAI.model_execute(keys[0], tensors, 1)",
    "incomplete_set": 'redis.execute("SET", keys[0])\n    return torch.ones([1])',
    "get_key": 'redis.execute("GET", keys[0])\n    return torch.ones([1])',
}
SOURCE = "\n".join(f"def {name}{SIGNATURE}:\n    {body}\n" for name, body in FUNCTIONS.items())


class Row(NamedTuple):
    text: str
    match: str
    command: str


def rows(*matches: str) -> list[Row]:
    lines = TABLE.read_text(encoding="utf-8").splitlines()[1:]
    return [row for row in (Row(*line.split("\t")) for line in lines) if row.match in matches]


def bytes_of(name: str) -> bytes:
    """Return what `<name>` in the table stands for."""
    if "." in name:
        return model_file(name)
    if name == "onnx of 32 MB":
        return large_onnx(32)
    return {
        "adder": adder(),
        "bar": f"def bar{SIGNATURE}:\n    return tensors[0]\n".encode(),
        "bar of two": b"def bar(a, b):\n    return a\n",
        "bar of wrong types": b"def bar(a, b, c):\n    return a\n",
        "nul inside": b"in\0side",
        "one string": b"one\0",
    }[name]


def large_onnx(megabytes: int) -> bytes:
    """Return a product with a matrix so large, written out by hand: numbers and lengths of protobuf.

    A sum would not do: onnxruntime leaves such a weight in the file, and lays out only matrices anew.
    """

    def varint(number: int) -> bytes:
        return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)

    def number(field: int, value: int) -> bytes:
        return varint(field << 3) + varint(value)

    def part(field: int, *parts: bytes) -> bytes:
        content = b"".join(parts)
        return varint(field << 3 | 2) + varint(len(content)) + content

    rows, columns = megabytes << 8, 1024
    floats = number(1, 1)
    shape = part(2, part(1, number(1, 1)), part(1, number(1, rows)))
    x = part(1, b"x") + part(2, part(1, floats, shape))
    y = part(1, b"y") + part(2, part(1, floats))
    weight = number(1, rows) + number(1, columns) + number(2, 1) + part(8, b"w")
    weight += part(9, b"\x01" * (4 * rows * columns))
    node = part(1, b"x") + part(1, b"w") + part(2, b"y") + part(4, b"MatMul")
    graph = part(1, node) + part(2, b"g") + part(5, weight) + part(11, x) + part(12, y)
    return number(1, 8) + part(7, graph) + part(8, part(1, b""), number(2, 13))


def words_of(command: str) -> list[str | bytes]:
    found = re.findall(r"<([^>]*)>|(\S+)", command)
    return [bytes_of(name) if name else word for name, word in found]


def answer_to(db: redis.Redis, command: str) -> str:
    try:
        return f"no error but {db.execute_command(*words_of(command))}"
    except redis.ResponseError as error:
        return str(error)


@pytest.fixture
def stored(db: redis.Redis) -> None:
    put(db, "a", np.ones(2))
    put(db, "b", np.ones(2))
    db.hset("hash", "field", "value")
    store_model(db, "m", adder())
    store_model(db, "batched", forward("return x[:1].repeat(3)"), "BATCHSIZE", 4)
    words = ("AI.SCRIPTSTORE", "s", "CPU", "ENTRY_POINTS", len(FUNCTIONS), *FUNCTIONS, "SOURCE", SOURCE)
    assert db.execute_command(*words) == b"OK"


def answered_otherwise(db: redis.Redis, *matches: str) -> str:
    """Send each row's command; return the rows that were not answered by their text."""
    wrong = []
    for row in rows(*matches):
        answer = answer_to(db, row.command)
        if answer != row.text and (row.match == "exact" or row.text not in answer):
            wrong.append(f"{row.text!r} was answered by {answer!r}")
    return "\n".join(wrong)


@pytest.mark.usefixtures("stored")
def test_each_text_is_the_answer_to_its_command(db: redis.Redis) -> None:
    keys = set(db.keys())
    assert answered_otherwise(db, "exact", "within") == ""
    assert set(db.keys()) == keys


@pytest.mark.usefixtures("stored")
def test_texts_of_models_in_openvino(db: redis.Redis, module: Module) -> None:
    needs(module, "OPENVINO")
    fixed = model_file("fixed.onnx")
    for key, blob in {"fixed": fixed, "fixed_0": fixed.replace(b"X", b"0")}.items():
        assert db.execute_command("AI.MODELSTORE", key, "ONNX", "CPU", "BLOB", blob) == b"OK"
    put(db, "three", np.ones((3, 3), np.float32))
    put(db, "integers", np.ones((2, 3), np.int32))
    put(db, "step", np.ones(2, np.float32))
    assert answered_otherwise(db, "openvino") == ""
    assert db.exists("new", "c") == 0


def test_texts_of_models_in_onnxruntime(start_server: StartServer, module: Module) -> None:
    needs(module, "ONNXRUNTIME")
    limits = ("BACKEND_MEMORY_LIMIT", "16", "MODEL_EXECUTION_TIMEOUT", "1000")
    patient = ("MODEL_STORE_TIMEOUT", "60000")  # what is wrong with a model is told to who stores it
    db = start_server(arguments=("ONNX_BACKEND", "ONNXRUNTIME", *limits, *patient)).connect()
    store_onnx(db, "zeros", "zeros")
    store_onnx(db, "loop", "loop")
    put(db, "many", np.array([8 << 20], np.int64))
    put_loop(db)
    assert answered_otherwise(db, "onnxruntime") == ""
    assert db.exists("new", "c") == 0


def test_a_shard_refuses_keys_of_several_slots(
    server_binary: ServerBinary, module: Module, short_directory: Path
) -> None:
    configs = shard_configs(server_binary, short_directory / f"texts-{server_binary.name}", (module,), 1)
    with ShardCluster(configs) as cluster:
        db = cluster.shards[0].connect()
        (row,) = rows("cluster")
        assert row.text in answer_to(db, row.command)


def test_what_no_command_leads_to_has_its_reason() -> None:
    assert [(row.text.split()[1], bool(row.command)) for row in rows("n/a")] == [("execute", True)]
