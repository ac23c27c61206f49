"""AI.MODELSTORE, AI.MODELGET and AI.MODELDEL: options, what comes back, and every refusal."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import redis
import torch

from tests.integration.ai_commands import execute, get, put, refusal, store_model
from tests.integration.torchscript import (
    adder,
    constant,
    forward,
    heavy,
    identity,
    sum_and_difference,
    torchscript,
)

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
PB = b"model_pb"

REFUSED_STORES = [
    ("wrong number of arguments for 'AI.MODELSTORE' command", ()),
    ("wrong number of arguments for 'AI.MODELSTORE' command", ("m", "TORCH", "BLOB", PB)),
    ("unsupported backend", ("m", "PORCH", "CPU", "BLOB", PB)),
    ("Invalid DEVICE", ("m", "TORCH", "bad_device", "BLOB", PB)),
    ("Invalid DEVICE", ("m", "TORCH", "CPU:x", "BLOB", PB)),
    ("Invalid DEVICE", ("m", "TORCH", "CPUS", "BLOB", PB)),
    ("Invalid argument for BATCHSIZE", ("m", "TORCH", "CPU", "BATCHSIZE", "bad_size", "BLOB", PB)),
    ("Invalid argument for BATCHSIZE", ("m", "TORCH", "CPU", "BATCHSIZE", "-1", "BLOB", PB)),
    (
        "Invalid argument for MINBATCHSIZE",
        ("m", "TORCH", "CPU", "BATCHSIZE", 2, "MINBATCHSIZE", "bad_size", "BLOB", PB),
    ),
    (
        "Invalid argument for MINBATCHTIMEOUT",
        (
            "m",
            "TORCH",
            "CPU",
            "BATCHSIZE",
            2,
            "MINBATCHSIZE",
            2,
            "MINBATCHTIMEOUT",
            "bad_timeout",
            "BLOB",
            PB,
        ),
    ),
    ("MINBATCHSIZE specified without BATCHSIZE", ("m", "TORCH", "CPU", "MINBATCHSIZE", 2, "BLOB", PB)),
    (
        "MINBATCHTIMEOUT specified without MINBATCHSIZE",
        ("m", "TORCH", "CPU", "BATCHSIZE", 2, "MINBATCHTIMEOUT", 1000, "BLOB", PB),
    ),
    (
        "INPUTS argument should not be specified for this backend",
        ("m", "TORCH", "CPU", "INPUTS", 2, "a", "b", "OUTPUTS", 1, "c", "BLOB", PB),
    ),
    ("INPUTS not specified for TF", ("m", "TF", "CPU", "BLOB", PB)),
    ("OUTPUTS not specified for TF", ("m", "TF", "CPU", "INPUTS", 2, "a", "b")),
    (
        "number of model inputs does not match the number of given arguments",
        ("m", "TF", "CPU", "INPUTS", 2, "a"),
    ),
    (
        "number of model outputs does not match the number of given arguments",
        ("m", "TF", "CPU", "INPUTS", 2, "a", "b", "OUTPUTS", 1),
    ),
    ("Insufficient arguments, missing model BLOB", ("m", "TORCH", "CPU", "BATCHSIZE", 2)),
    ("Invalid argument, expected BLOB", ("m", "TORCH", "CPU", "BATCHSIZE", 2, "NOT_BLOB")),
    ("Invalid argument, expected BLOB", ("m", "TORCH", "CPU", "NOT_BLOB", PB)),
]

GARBAGE = {
    "text": b"this is no model",
    "one byte": b"\0",
    "zip header only": b"PK\x03\x04" + bytes(60),
    "first half of a model": adder()[: len(adder()) // 2],
    "model with its end cut off": adder()[:-10],
    "model with a damaged middle": adder()[:300] + bytes(600) + adder()[900:],
}


def meta(db: redis.Redis, key: str) -> dict[str, Any]:
    reply = db.execute_command("AI.MODELGET", key, "META")
    assert len(reply) == 16
    return {name.decode(): value for name, value in zip(reply[0::2], reply[1::2], strict=True)}


@pytest.mark.parametrize(("text", "arguments"), REFUSED_STORES, ids=str)
def test_refused_store_names_the_fault_and_keeps_the_old_model(
    db: redis.Redis, text: str, arguments: tuple[Any, ...]
) -> None:
    store_model(db, "m", constant(7.0))
    assert refusal(db, "AI.MODELSTORE", *arguments) == text
    put(db, "x", np.ones(2, np.float32))
    execute(db, "m", ["x"], ["y"])
    np.testing.assert_array_equal(get(db, "y"), np.full(2, 7.0, np.float32))


@pytest.mark.parametrize("blob", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_refused_and_stores_nothing(db: redis.Redis, blob: bytes) -> None:
    assert refusal(db, "AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", blob)
    assert db.exists("m") == 0


@pytest.mark.parametrize("blob", GARBAGE.values(), ids=GARBAGE)
def test_garbage_does_not_replace_a_good_model(db: redis.Redis, blob: bytes) -> None:
    store_model(db, "m", constant(3.0))
    refusal(db, "AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", blob)
    put(db, "x", np.ones(2, np.float32))
    execute(db, "m", ["x"], ["y"])
    np.testing.assert_array_equal(get(db, "y"), np.full(2, 3.0, np.float32))
    assert db.execute_command("AI.MODELGET", "m", "BLOB") == constant(3.0)


def saved(**options: bool) -> bytes:
    """Return what people store first: parameters, saved by torch.save."""
    file = io.BytesIO()
    torch.save(torch.nn.Linear(2, 2).state_dict(), file, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("blob", "said"),
    [
        (b"this is no model", "this is no file of TorchScript: store what torch.jit.save writes"),
        (saved(), "this file has no code, as torch.save writes it: store what torch.jit.save writes"),
        (saved(_use_new_zipfile_serialization=False), "this is no file of TorchScript: store what"),
    ],
    ids=["text", "parameters", "parameters in the old form"],
)
def test_what_is_no_torchscript_is_refused_with_what_to_store(
    db: redis.Redis, blob: bytes, said: str
) -> None:
    assert said in refusal(db, "AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", blob)


def test_empty_blob_is_refused(db: redis.Redis) -> None:
    assert refusal(db, "AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", b"")
    assert db.exists("m") == 0


def test_store_refuses_to_overwrite_what_is_no_model(db: redis.Redis) -> None:
    put(db, "t", np.ones(2))
    assert refusal(db, "AI.MODELSTORE", "t", "TORCH", "CPU", "BLOB", adder()) == WRONG_TYPE
    np.testing.assert_array_equal(get(db, "t"), np.ones(2))


def test_a_gpu_that_is_not_there_is_refused(db: redis.Redis) -> None:
    """The device 99 exists nowhere; whatever refuses it, nothing is stored and the server lives."""
    assert refusal(db, "AI.MODELSTORE", "m", "TORCH", "GPU:99", "BLOB", adder())
    assert db.exists("m") == 0


def test_a_model_without_forward_is_refused(db: redis.Redis) -> None:
    blob = torchscript("def other(self, x):\n    return x\n")
    assert "forward" in refusal(db, "AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", blob)


def test_get_returns_what_was_stored(db: redis.Redis) -> None:
    store_model(db, "m", adder(), "TAG", "m:v1", "BATCHSIZE", 8, "MINBATCHSIZE", 2, "MINBATCHTIMEOUT", 50)
    assert meta(db, "m") == {
        "backend": b"TORCH",
        "device": b"CPU",
        "tag": b"m:v1",
        "batchsize": 8,
        "minbatchsize": 2,
        "inputs": [b"a", b"b"],
        "outputs": [],
        "minbatchtimeout": 50,
    }
    assert db.execute_command("AI.MODELGET", "m", "BLOB") == adder()


def test_get_without_a_format_means_meta_and_blob(db: redis.Redis) -> None:
    store_model(db, "m", identity())
    both = db.execute_command("AI.MODELGET", "m")
    assert len(both) == 18
    assert both[-2:] == [b"blob", identity()]
    assert db.execute_command("AI.MODELGET", "m", "META", "BLOB") == both
    assert both[:16] == db.execute_command("AI.MODELGET", "m", "META")
    assert meta(db, "m")["tag"] == b""


def test_words_are_taken_in_any_case(db: redis.Redis) -> None:
    command = ("ai.modelstore", "m", "torch", "cpu", "tag", "t", "batchsize", 2, "blob", adder())
    assert db.execute_command(*command) == b"OK"
    assert meta(db, "m")["backend"] == b"TORCH"
    assert meta(db, "m")["device"].upper() == b"CPU"


def test_a_blob_in_chunks_is_one_model(db: redis.Redis) -> None:
    blob = sum_and_difference()
    chunks = [blob[i : i + 500] for i in range(0, len(blob), 500)]
    assert len(chunks) > 2
    assert db.execute_command("AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", *chunks) == b"OK"
    assert db.execute_command("AI.MODELGET", "m", "BLOB") == blob


def test_a_model_larger_than_the_chunk_size_comes_in_chunks(db: redis.Redis) -> None:
    store_model(db, "m", adder())
    previous = db.execute_command("AI.CONFIG", "GET", "MODEL_CHUNK_SIZE")
    db.execute_command("AI.CONFIG", "MODEL_CHUNK_SIZE", 700)
    try:
        chunks = db.execute_command("AI.MODELGET", "m", "BLOB")
        in_meta = db.execute_command("AI.MODELGET", "m")[-1]
    finally:
        db.execute_command("AI.CONFIG", "MODEL_CHUNK_SIZE", previous)
    assert [len(c) for c in chunks[:-1]] == [700] * (len(chunks) - 1)
    assert b"".join(chunks) == b"".join(in_meta) == adder()


def test_a_model_never_comes_in_a_million_pieces(db: redis.Redis) -> None:
    """Any client may ask for pieces of one byte, for all the others, too."""
    blob = heavy(1)
    store_model(db, "m", blob)
    previous = db.execute_command("AI.CONFIG", "GET", "MODEL_CHUNK_SIZE")
    db.execute_command("AI.CONFIG", "MODEL_CHUNK_SIZE", 1)
    try:
        chunks = db.execute_command("AI.MODELGET", "m", "BLOB")
    finally:
        db.execute_command("AI.CONFIG", "MODEL_CHUNK_SIZE", previous)
    assert len(chunks) <= 1024
    assert b"".join(chunks) == blob


def test_missing_model_is_named(db: redis.Redis) -> None:
    assert refusal(db, "AI.MODELGET", "nothing") == "model key is empty"
    assert refusal(db, "AI.MODELDEL", "nothing") == "model key is empty"
    assert (
        refusal(db, "AI.MODELEXECUTE", "nothing", "INPUTS", 1, "a", "OUTPUTS", 1, "b") == "model key is empty"
    )


def test_a_key_of_another_type_is_no_model(db: redis.Redis) -> None:
    db.set("text", "x")
    put(db, "t", np.ones(1))
    for key in ("text", "t"):
        assert refusal(db, "AI.MODELGET", key) == WRONG_TYPE
        assert refusal(db, "AI.MODELDEL", key) == WRONG_TYPE
        assert refusal(db, "AI.MODELEXECUTE", key, "INPUTS", 1, "t", "OUTPUTS", 1, "b") == WRONG_TYPE
    assert db.dbsize() == 2


def test_a_model_is_no_tensor(db: redis.Redis) -> None:
    store_model(db, "m", adder())
    assert refusal(db, "AI.TENSORGET", "m") == WRONG_TYPE
    assert refusal(db, "AI.TENSORSET", "m", "FLOAT", 1) == WRONG_TYPE
    assert db.type("m") == b"AI__MODEL"


def test_a_deleted_model_is_gone(db: redis.Redis) -> None:
    store_model(db, "m", adder())
    assert db.execute_command("AI.MODELDEL", "m") == b"OK"
    assert db.exists("m") == 0
    assert refusal(db, "AI.INFO", "m") == "cannot find run info for key"


@pytest.mark.parametrize("words", [(), ("m", "META", "BLOB", "more", "words")])
def test_wrong_number_of_words_for_modelget(db: redis.Redis, words: tuple[str, ...]) -> None:
    store_model(db, "m", adder())
    assert refusal(db, "AI.MODELGET", *words) == "wrong number of arguments for 'AI.MODELGET' command"


def test_a_model_with_one_name_replaces_inputs_and_tag(db: redis.Redis) -> None:
    store_model(db, "m", adder(), "TAG", "first")
    store_model(db, "m", forward("return x * 2"))
    assert meta(db, "m")["inputs"] == [b"x"]
    assert meta(db, "m")["tag"] == b""
