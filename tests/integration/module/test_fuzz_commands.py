"""Commands that nobody would send, to a live server: each is answered, and the server lives.

Most of the words are those that the commands know, in an order near to theirs; a failure prints the seed.
PENSTOCK_FUZZ_COMMANDS says how many; `make fuzz` sends a hundred thousand.
"""

from __future__ import annotations

import os
import random

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import execute, get, put, store_model
from tests.integration.servers import StartServer
from tests.integration.torchscript import adder

COMMANDS = int(os.environ.get("PENSTOCK_FUZZ_COMMANDS", "5000"))
PIPELINE = 100
SHAPES = [
    "AI.TENSORSET K TYPE N N BLOB B",
    "AI.TENSORSET K TYPE N VALUES V V",
    "AI.TENSORGET K META BLOB",
    "AI.TENSORGET K VALUES",
    "AI.MODELSTORE K BACKEND DEVICE TAG W BATCHSIZE N MINBATCHSIZE N MINBATCHTIMEOUT N BLOB B",
    "AI.MODELSTORE K BACKEND DEVICE INPUTS N K K OUTPUTS N K BLOB B",
    "AI.MODELSET K BACKEND DEVICE INPUTS K K OUTPUTS K BLOB B",
    "AI.MODELGET K META BLOB",
    "AI.MODELDEL K",
    "AI.MODELEXECUTE K INPUTS N K K OUTPUTS N K TIMEOUT N",
    "AI.MODELRUN K TIMEOUT N INPUTS K K OUTPUTS K",
    "AI.SCRIPTSTORE K DEVICE TAG W ENTRY_POINTS N W SOURCE W",
    "AI.SCRIPTSET K DEVICE TAG W SOURCE W",
    "AI.SCRIPTGET K META SOURCE",
    "AI.SCRIPTDEL K",
    "AI.SCRIPTEXECUTE K f KEYS N K INPUTS N K ARGS N W OUTPUTS N K TIMEOUT N",
    "AI.SCRIPTRUN K f TIMEOUT N INPUTS K $ K OUTPUTS K",
    "AI.DAGEXECUTE LOAD N K PERSIST N K ROUTING K TIMEOUT N |> AI.TENSORSET K TYPE N BLOB B",
    "AI.DAGEXECUTE LOAD N K |> AI.MODELEXECUTE K INPUTS N K K OUTPUTS N K |> AI.TENSORGET K VALUES",
    "AI.DAGEXECUTE_RO LOAD N K |> AI.MODELEXECUTE K INPUTS N K K OUTPUTS N K |> AI.TENSORGET K BLOB",
    "AI.DAGRUN LOAD N K |> AI.MODELRUN K INPUTS K K OUTPUTS K |> AI.SCRIPTRUN K f INPUTS K OUTPUTS K",
    "AI.DAGRUN_RO LOAD N K |> AI.TENSORGET K META",
    "AI.INFO K RESETSTAT",
    "AI._MODELSCAN",
    "AI._SCRIPTSCAN",
    "AI.CONFIG GET MODEL_CHUNK_SIZE",
    "AI.CONFIG LOADBACKEND BACKEND W",
    "AI.CONFIG W W",
    "PENSTOCK.PROMOTE K K",
    "AI.DAGEXECUTE_RO ROUTING K |> PENSTOCK.TAG K |> AI.TENSORSET K TYPE N BLOB B",
    "PENSTOCK.BOUND STREAM ITEMS N BYTES N POLICY POLICY_NAME EVERY N DIRECTORY W WAIT N REPLACE",
    "PENSTOCK.BOUND STREAM ITEMS 3 POLICY POLICY_NAME",
    "PENSTOCK.RESERVE STREAM ENTRY N",
    "PENSTOCK.RESERVE STREAM ENTRY N TIMEOUT 1",
    "PENSTOCK.UNRESERVE STREAM",
    "PENSTOCK.ANNOUNCE STREAM ENTRY N NEXT N",
    "PENSTOCK.ANNOUNCE STREAM ENTRY N COMPLETE METADATA AGREED N",
    "PENSTOCK.BEGIN METADATA .tensor_names B",
    "PENSTOCK.COMPLETE METADATA",
    "PENSTOCK.ANNOUNCE STREAM ENTRY SPILLED",
    "PENSTOCK.SUBSCRIBE STREAM W",
    "PENSTOCK.UNSUBSCRIBE STREAM W",
    "PENSTOCK.ACK STREAM W N",
    "PENSTOCK.FREED STREAM N",
    "PENSTOCK.METER STREAM",
    "PENSTOCK.ROOM K N",
    "PENSTOCK.ROOM K N TIMEOUT 1",
    "PENSTOCK.ROOM METADATA N WRITING TIMEOUT 1",
    "RPUSH STREAM ENTRY ENTRY",
    "DEL STREAM",
    "SET {S}.sizes W",
    "DEL {S}.sizes",
    "HSET {S}.meter items N kept_from N freed_from N bytes N",
    "PENSTOCK.ARENA PID P FORMER N K",
    "PENSTOCK.LEASE N",
    "PENSTOCK.LEASE N TIMEOUT T",
    "PENSTOCK.PUT K TYPE N OFFSET O LEASE N",
    "PENSTOCK.PUT K TYPE N OFFSET O KEEP",
    "PENSTOCK.MAP K BLOB",
    "PENSTOCK.RELEASE O O",
]
CHOICES: dict[str, list[str]] = {
    "K": ["t", "u", "m", "m", "s", "text", "nothing", "out", ""],
    "N": ["0", "1", "2", "3", "-1", "1.5", "x", "99999999999", "9223372036854775807", "-9223372036854775808"],
    "O": ["4096", "4160", "4224", "0", "64", "-1", "18446744073709551615", "x"],
    "P": [str(os.getpid()), "1", "0", "-1", "99999999999", "x"],
    "T": ["0", "1", "20", "-1", "x", "99999999999999999999"],
    "TYPE": ["FLOAT", "INT8", "STRING", "BOOL", "DOUBLE", "UINT64", "BFLOAT16", "COMPLEX64", "COLOUR"],
    "V": ["0", "1", "-1", "nan", "1e400", "text", "1+2j", "18446744073709551615", ""],
    "B": ["", "x", "\0" * 4, "\1" * 12, "a\0b\0"],
    "BACKEND": ["TORCH", "TF", "TFLITE", "ONNX", "JAX"],
    "DEVICE": ["CPU", "CPU:0", "GPU:0", "TPU"],
    "STREAM": ["S", "S", "S", "text", "t", ""],
    "ENTRY": ["{a.0.0}", "{a.0.1}", "{b.0.1}", "p.{a.0.2}", "x", ""],
    "METADATA": ["{a.0.0}.meta", "{a.0.0}.meta", "x.meta", "{a.0.0}.u", "meta", ""],
    "POLICY_NAME": ["block", "drop_oldest", "drop_newest", "thin", "spill", "keep"],
    "W": ["", "tag", "f", "def f(a):\n    return a\n", "BLOB", "INPUTS", "|>"],
}
EVERY = sorted(
    {word for choices in CHOICES.values() for word in choices} | {w for s in SHAPES for w in s.split()}
)


def command(dice: random.Random) -> list[str | bytes]:
    """Return a command of a known shape with a few words changed, left out, doubled or made up."""
    words: list[str | bytes] = [
        dice.choice(CHOICES.get(word, [word])) for word in dice.choice(SHAPES).split()
    ]
    for _ in range(dice.choice([0, 0, 1, 1, 2, 4])):
        at = dice.randrange(1, len(words) + 1)
        change = dice.randrange(4)
        if change == 0:
            words[at:] = words[at + 1 :]
        elif change == 1:
            words.insert(at, dice.choice(EVERY))
        elif change == 2:
            words.insert(at, dice.randbytes(dice.randrange(9)))
        else:
            words[at : at + 1] = [dice.choice(EVERY)]
    return words


@pytest.mark.fuzz
@pytest.mark.timeout(3600)
def test_any_command_is_answered(start_server: StartServer) -> None:
    arguments = ("MODEL_STORE_TIMEOUT", "50", "ARENA", "4")
    server = start_server(options={"maxmemory": "512mb"}, arguments=arguments)
    db = server.connect()
    refused = answered = 0
    for seed in range(max(1, COMMANDS // PIPELINE)):
        dice = random.Random(seed)
        db.flushall()
        put(db, "t", np.ones(3, np.float32))
        put(db, "u", np.ones(3, np.float32))
        store_model(db, "m", adder())
        db.execute_command("AI.SCRIPTSET", "s", "CPU", "SOURCE", "def f(a):\n    return a\n")
        db.set("text", "x")
        db.execute_command("PENSTOCK.ARENA", "PID", os.getpid())
        pipeline = db.pipeline(transaction=dice.random() < 0.2)
        for _ in range(PIPELINE):
            pipeline.execute_command(*command(dice))
        try:
            replies = pipeline.execute(raise_on_error=False)
        except redis.ConnectionError as error:
            pytest.fail(f"seed {seed}: {error}; alive: {server.is_alive()}\n{server.log()[-8000:]}")
        except redis.ResponseError:
            refused += PIPELINE  # a transaction with a command of a wrong arity
            continue
        assert len(replies) == PIPELINE, f"seed {seed}"
        for reply in replies:
            if isinstance(reply, redis.ResponseError):
                refused += 1
                assert str(reply), f"seed {seed}"
                assert "\n" not in str(reply), f"seed {seed}"
            else:
                answered += 1
    assert min(refused, answered) > COMMANDS // 20, (
        "one of the two hardly happened: the fuzzer found no way in"
    )
    db.flushall()
    put(db, "t", np.ones(3, np.float32))
    store_model(db, "m", adder())
    execute(db, "m", ["t", "t"], ["out"])
    np.testing.assert_array_equal(get(db, "out"), np.full(3, 2.0))
