"""Servers as an Experiment starts them: with Penstock's settings of the allocator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from orchestrator.redis_config import RedisConfig, allocator_options, redis_environment
from tests.integration.servers import Module, ServerBinary, ServerConfig

LARGE = {"proto-max-bulk-len": "4gb", "client-query-buffer-limit": "4gb"}


def deployed(
    binary: ServerBinary, directory: Path, modules: tuple[Module, ...], port: int | None = None
) -> ServerConfig:
    """Return the configuration of such a server."""
    config = RedisConfig()
    options = {**LARGE, **_options(config)}
    return ServerConfig(binary, directory, modules, options, port, redis_environment(config))


def _options(config: RedisConfig) -> Mapping[str, str]:
    words = allocator_options(config)
    return {name.removeprefix("--"): value for name, value in zip(words[::2], words[1::2], strict=True)}
