"""The exact command of a shard, and what the user may not add to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Orchestrator, RedisConfig
from orchestrator.errors import UsageError
from orchestrator.redis_config import (
    Endpoint,
    allocator_options,
    check_shared_memory,
    largest_string_bytes,
    redis_argv,
    redis_environment,
    sharing_arguments,
)

GOLDEN = Path(__file__).parents[2] / "data" / "redis_argv.json"
CASES = {
    "one shard on a socket": redis_argv(
        "/usr/bin/redis-server",
        RedisConfig(),
        Endpoint(unix_socket=Path("/run/p/database.sock")),
        directory=Path("/run/d"),
        largest_bytes=8 << 30,
        load_arguments=("/cache/penstock_ai.so", "TORCH", "/cache/backend_torch.so"),
    ),
    "a shard of a cluster": redis_argv(
        "redis-server",
        RedisConfig(maxmemory_bytes=1 << 30, append_only=True, huge_pages=False, extra_args=["--hz", "100"]),
        Endpoint("127.0.0.1", 7001),
        directory=Path("/run/d"),
        largest_bytes=1 << 30,
        clustered=True,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_command_is_the_recorded_one(case: str) -> None:
    assert list(CASES[case]) == json.loads(GOLDEN.read_text())[case]


def test_every_option_that_is_given_is_refused_a_second_time() -> None:
    given = {word for argv in CASES.values() for word in argv if word.startswith("--")}
    for option in given - {"--hz", "--appendfsync"}:
        with pytest.raises(UsageError, match=f"{option} is given by Penstock itself"):
            RedisConfig(extra_args=[option, "1"])


def test_how_long_an_answer_waits_for_the_disk_is_the_user_s() -> None:
    config = RedisConfig(append_only=True, extra_args=["--appendfsync", "always"])
    argv = redis_argv(
        "redis-server", config, Endpoint("127.0.0.1", 1), directory=Path("/run"), largest_bytes=1
    )
    assert argv.index("no", argv.index("--appendfsync")) < argv.index("always")


@pytest.mark.parametrize(
    ("maxmemory_bytes", "memory_bytes", "largest"),
    [(0, 8 << 30, 4 << 30), (1 << 30, 8 << 30, 1 << 30), (1, 8 << 30, 1 << 20), (0, 1, 1 << 20)],
)
def test_no_argument_may_be_longer_than_the_host_can_hold(
    maxmemory_bytes: int, memory_bytes: int, largest: int
) -> None:
    assert largest_string_bytes(RedisConfig(maxmemory_bytes=maxmemory_bytes), memory_bytes) == largest


def test_nothing_but_the_socket_is_listened_on() -> None:
    argv = redis_argv(
        "r", RedisConfig(), Endpoint(unix_socket=Path("/s")), directory=Path("/d"), largest_bytes=1
    )
    assert argv[argv.index("--port") + 1] == "0"
    assert argv[argv.index("--unixsocketperm") + 1] == "600"


def test_allocator_settings_only_with_huge_pages() -> None:
    assert "MALLOC_CONF" in redis_environment(RedisConfig())
    assert redis_environment(RedisConfig(huge_pages=False)) == {}
    assert "--jemalloc-bg-thread" in allocator_options(RedisConfig())
    assert allocator_options(RedisConfig(huge_pages=False)) == ("--disable-thp", "yes")


@pytest.mark.parametrize(
    "wrong",
    [
        {"maxmemory_bytes": -1},
        {"cluster_node_timeout_ms": 0},
        {"extra_args": ["--port", "6379"]},
        {"extra_args": ["--Bind", "0.0.0.0"]},
        {"extra_args": ["--bind 0.0.0.0"]},
        {"extra_args": ["--hz 10\nbind 0.0.0.0"]},
        {"extra_args": ["--tls-port", "6379"]},
        {"extra_args": ["--include", "/etc/redis/redis.conf"]},
        {"extra_args": ["--cluster-announce-ip", "192.0.2.1"]},
        {"extra_args": ["--proto-max-bulk-len", "1gb"]},
        {"extra_args": ["--loadmodule", "other.so"]},
        {"extra_args": ["--sentinel"]},
        {"extra_args": ["hz", "100"]},
        {"extra_args": ["--hz", 100]},
        {"extra_args": "--hz 100"},
        {"extra_args": 3},
        {"maxmemory_bytes": "1gb"},
        {"maxmemory_bytes": 1.5},
        {"maxmemory_bytes": True},
        {"cluster_node_timeout_ms": "15 s"},
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: Any) -> None:
    with pytest.raises(UsageError, match="RedisConfig"):
        RedisConfig(**wrong)


@pytest.mark.parametrize("size", [-1, 1.5, "64", True])
def test_shared_memory_is_a_whole_number(size: object) -> None:
    with pytest.raises(UsageError, match=r"RedisConfig\(shared_memory_mb=.*whole number of MB, 0 for none"):
        RedisConfig(shared_memory_mb=size)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("config", "private", "words"),
    [
        (RedisConfig(), True, ("ARENA", "auto")),
        (RedisConfig(), False, ()),
        (RedisConfig(maxmemory_bytes=1 << 30), True, ()),
        (RedisConfig(shared_memory_mb=0), True, ()),
        (RedisConfig(shared_memory_mb=64), False, ("ARENA", "64")),
        (RedisConfig(shared_memory_mb=64, maxmemory_bytes=1 << 30), True, ("ARENA", "64")),
    ],
)
def test_the_modules_arguments(config: RedisConfig, private: bool, words: tuple[str, ...]) -> None:
    assert sharing_arguments(config, private=private) == words


def test_shared_memory_that_a_host_has_not_is_refused() -> None:
    config = RedisConfig(shared_memory_mb=512)
    check_shared_memory(config, 1 << 30, 2, "n1")
    check_shared_memory(RedisConfig(), 1 << 20, 3, "n1")
    with pytest.raises(
        UsageError, match=r"512\) for each of 3 servers is more than the memory of n1, 1024 MB"
    ):
        check_shared_memory(config, 1 << 30, 3, "n1")


def test_shared_memory_of_another_module_is_refused() -> None:
    with pytest.raises(UsageError, match=r"shared_memory_mb=64.* would have no effect"):
        Orchestrator(module=("/lib/other.so",), config=RedisConfig(shared_memory_mb=64))
    Orchestrator(module=(), config=RedisConfig(shared_memory_mb=0))
