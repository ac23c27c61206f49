"""AI.INFO counts runs per model and script; AI.CONFIG; what INFO MODULES says."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import execute, info, put, refusal, store_model
from tests.integration.servers import RedisServer, StartServer
from tests.integration.torchscript import adder, forward

MISSING = "cannot find run info for key"

REFUSED_CONFIGS = [
    ("wrong number of arguments for 'AI.CONFIG' command", ()),
    ("unsupported subcommand", ("bad_subcommand",)),
    ("unsupported subcommand", ("bad_subcommand", "1")),
    ("MODEL_CHUNK_SIZE: missing chunk size", ("MODEL_CHUNK_SIZE",)),
    ("MODEL_CHUNK_SIZE: invalid chunk size", ("MODEL_CHUNK_SIZE", "not_number")),
    ("MODEL_CHUNK_SIZE: invalid chunk size", ("MODEL_CHUNK_SIZE", "0")),
    ("MODEL_CHUNK_SIZE: invalid chunk size", ("MODEL_CHUNK_SIZE", "-5")),
    ("BACKENDSPATH: missing path argument", ("BACKENDSPATH",)),
]


@pytest.fixture
def run_model(db: redis.Redis) -> None:
    store_model(db, "m", adder(), "TAG", "v1")
    put(db, "a", np.ones((3, 2)))
    execute(db, "m", ["a", "a"], ["c"])
    execute(db, "m", ["a", "a"], ["c"])


@pytest.mark.usefixtures("run_model")
def test_info_counts_a_models_runs(db: redis.Redis) -> None:
    facts = info(db, "m")
    duration = facts.pop("duration")
    assert facts == {
        "key": b"m",
        "type": b"MODEL",
        "backend": b"TORCH",
        "device": b"CPU",
        "tag": b"v1",
        "samples": 6,
        "calls": 2,
        "errors": 0,
    }
    assert duration > 0


def test_info_counts_a_scripts_runs(db: redis.Redis) -> None:
    db.execute_command("AI.SCRIPTSET", "s", "CPU", "SOURCE", "def double(a):\n    return a * 2\n")
    put(db, "a", np.ones(3))
    db.execute_command("AI.SCRIPTRUN", "s", "double", "INPUTS", "a", "OUTPUTS", "b")
    facts = info(db, "s")
    assert (facts["key"], facts["type"], facts["backend"]) == (b"s", b"SCRIPT", b"TORCH")
    assert (facts["samples"], facts["calls"], facts["errors"]) == (-1, 1, 0)


@pytest.mark.usefixtures("run_model")
def test_reset_sets_the_counts_to_zero(db: redis.Redis) -> None:
    assert db.execute_command("AI.INFO", "m", "RESETSTAT") == b"OK"
    facts = info(db, "m")
    assert (facts["duration"], facts["samples"], facts["calls"], facts["errors"]) == (0, 0, 0, 0)


def test_errors_are_counted(db: redis.Redis) -> None:
    store_model(db, "m", forward("return torch.mm(x, x)"))
    put(db, "x", np.ones((2, 3), np.float32))
    for _ in range(3):
        refusal(db, "AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
    assert info(db, "m")["errors"] == 3


def test_info_of_what_is_not_there_is_refused(db: redis.Redis) -> None:
    put(db, "t", np.ones(1))
    assert refusal(db, "AI.INFO", "nothing") == MISSING
    assert refusal(db, "AI.INFO", "t") == MISSING
    assert refusal(db, "AI.INFO", "nothing", "RESETSTAT") == MISSING


@pytest.mark.usefixtures("run_model")
def test_an_unknown_word_behind_info_is_refused(db: redis.Redis) -> None:
    assert refusal(db, "AI.INFO", "m", "RESTAT")
    assert info(db, "m")["calls"] == 2


@pytest.mark.usefixtures("run_model")
def test_info_follows_a_rename(db: redis.Redis) -> None:
    db.rename("m", "n")
    assert info(db, "n")["type"] == b"MODEL"
    assert refusal(db, "AI.INFO", "m") == MISSING


@pytest.mark.usefixtures("run_model")
def test_flushing_forgets_the_counts(db: redis.Redis) -> None:
    db.flushall()
    assert refusal(db, "AI.INFO", "m") == MISSING


@pytest.mark.parametrize(("text", "arguments"), REFUSED_CONFIGS, ids=str)
def test_refused_config_names_the_fault(db: redis.Redis, text: str, arguments: tuple[Any, ...]) -> None:
    size = db.execute_command("AI.CONFIG", "GET", "MODEL_CHUNK_SIZE")
    assert refusal(db, "AI.CONFIG", *arguments) == text
    assert db.execute_command("AI.CONFIG", "GET", "MODEL_CHUNK_SIZE") == size


def test_chunk_size_is_an_integer_and_can_be_set(db: redis.Redis) -> None:
    before = db.execute_command("AI.CONFIG", "GET", "MODEL_CHUNK_SIZE")
    assert before == 535_822_336
    try:
        assert db.execute_command("AI.CONFIG", "MODEL_CHUNK_SIZE", 1 << 20) == b"OK"
        assert db.execute_command("ai.config", "get", "model_chunk_size") == 1 << 20
    finally:
        db.execute_command("AI.CONFIG", "MODEL_CHUNK_SIZE", before)


def test_other_names_are_nil(db: redis.Redis) -> None:
    assert db.execute_command("AI.CONFIG", "GET", "NO_SUCH_NAME") is None


def test_load_arguments_are_shown(start_server: StartServer) -> None:
    arguments = (
        *("MODEL_CHUNK_SIZE", "12345", "threads_per_queue", "2", "INTRA_OP_PARALLELISM", "1"),
        *("Inter_Op_Parallelism", "1", "MODEL_EXECUTION_TIMEOUT", "7000", "BACKEND_MEMORY_LIMIT", "0"),
    )
    db = start_server(arguments=arguments).connect()
    assert db.execute_command("AI.CONFIG", "GET", "MODEL_CHUNK_SIZE") == 12345
    facts = db.info("modules")
    assert int(facts["ai_threads_per_queue"]) == 2
    assert int(facts["ai_model_execution_timeout"]) == 7000


def test_the_module_is_called_ai(db: redis.Redis) -> None:
    modules = db.execute_command("MODULE", "LIST")
    listed = [dict(zip(m[0::2], m[1::2], strict=True)) for m in modules if isinstance(m, list)]
    assert b"ai" in [m[b"name"] for m in listed]


def test_server_info_has_the_sections_of_redisai(server: RedisServer) -> None:
    with server.raw_socket() as raw:
        raw.sendall(b"INFO MODULES\r\nQUIT\r\n")
        lines = b"".join(iter(lambda: raw.recv(4096), b"")).decode().split("\r\n")
    sections: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith("# "):
            sections[line[2:]] = []
        elif ":" in line and sections:
            sections[list(sections)[-1]].append(line.split(":")[0])
    assert sections["ai_versions"] == [
        *("ai_RedisAI_version", "ai_low_level_API_version", "ai_rdb_version"),
    ]
    assert sections["ai_git"] == ["ai_git_sha"]
    assert sections["ai_load_time_configs"][:5] == [
        *("ai_threads_per_queue", "ai_inter_op_parallelism", "ai_intra_op_parallelism"),
        *("ai_model_execution_timeout", "ai_backend_memory_limit"),
    ]
    assert sections["ai_runs"] == ["ai_inline_runs"]
    assert {"ai_backends_info", "ai_cpu"} <= set(sections)
    (sha,) = (line.split(":")[1] for line in lines if line.startswith("ai_git_sha:"))
    assert re.fullmatch("[0-9a-f]{40}", sha)


def test_a_wrong_number_of_words_is_told_in_upper_case(db: redis.Redis) -> None:
    """Of every command; Redis 6.2 says the name as it was typed."""
    names = [name for name in db.command() if name.lower().startswith("ai.") and "SCAN" not in name.upper()]
    assert len(names) >= 16
    for name in names:
        text = refusal(db, name.lower())
        assert text in {
            f"{how} arguments for '{name.upper()}' command" for how in ("wrong number of", "missing")
        }
