"""The folder that SmartSim wants: what is in it, what it refuses, and how it goes away again."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from orchestrator.binaries import ServerBinary
from orchestrator.build import Build
from orchestrator.engines import Engine
from orchestrator.errors import SmartSimError
from orchestrator.smartsim import (
    SmartSim,
    SmartSimFolder,
    arguments_text,
    configuration,
    find_redis_cli,
    find_smartsim,
    missing_for_colocated,
    server_script,
)

BYTES = 1 << 30


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Files that stand for a module and its backend."""
    made = tmp_path / "build"
    made.mkdir()
    for name in ("penstock_ai.so", "backend_torch.so"):
        (made / name).write_bytes(name.encode())
    return Build(made / "penstock_ai.so", (Engine("torch", tmp_path / "torch", "2.13.0", ""),))


@pytest.fixture
def smartsim(tmp_path: Path) -> SmartSim:
    """The package of a SmartSim without its own binaries."""
    package = tmp_path / "site-packages" / "smartsim"
    (package / "_core").mkdir(parents=True)
    return SmartSim("python", "0.8.0", package)


@pytest.fixture
def server(tmp_path: Path) -> ServerBinary:
    """A program that says how it was called, behind a symlink as Debian has it."""
    program = tmp_path / "redis-check-rdb"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$0" "$@"\n')
    program.chmod(0o755)
    (tmp_path / "redis-server").symlink_to(program)
    return ServerBinary(str(tmp_path / "redis-server"), (7, 0, 15))


def prepared(place: SmartSimFolder, smartsim: SmartSim, build: Build, server: ServerBinary) -> SmartSimFolder:
    place.prepare(smartsim, build, server, "/usr/bin/redis-cli", BYTES)
    return place


def said_by(script: str, directory: Path, *arguments: str) -> list[str]:
    """Return what the stand-in for redis-server prints when SmartSim runs the script."""
    file = directory / "script"
    file.write_text(script)
    file.chmod(0o755)
    done = subprocess.run([str(file), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_what_smartsim_looks_for_is_there(
    tmp_path: Path, smartsim: SmartSim, build: Build, server: ServerBinary
) -> None:
    place = prepared(SmartSimFolder(tmp_path / "folder"), smartsim, build, server)
    assert [path.name for path in (place.path / "bin").glob("*-server")] == ["redis-server"]
    assert [path.name for path in (place.path / "bin").glob("*-cli")] == ["redis-cli"]
    module = place.path / "lib/redisai.so"
    assert module.resolve() == module  # SmartSim resolves links, and the arguments lie beside the module
    assert module.read_bytes() == b"penstock_ai.so"
    backend = place.path / "lib/backends/redisai_torch/redisai_torch.so"
    assert backend.resolve() == build.backends["TORCH"]
    assert [path.name for path in (smartsim.package / "_core/bin").iterdir()] == ["redis-cli"]


def test_doing_it_again_changes_what_has_changed_and_nothing_else(
    tmp_path: Path, smartsim: SmartSim, build: Build, server: ServerBinary
) -> None:
    place = prepared(SmartSimFolder(tmp_path / "folder"), smartsim, build, server)
    module, before = place.path / "lib/redisai.so", place.exports()
    inode = module.stat().st_ino
    assert prepared(place, smartsim, build, server).exports() == before
    assert module.stat().st_ino == inode
    build.module.write_bytes(b"newer")
    with module.open("rb") as used:  # by a running database
        prepared(place, smartsim, build, server)
        assert used.read() == b"penstock_ai.so"
    assert module.read_bytes() == b"newer"


def test_undo_leaves_nothing(tmp_path: Path, smartsim: SmartSim, build: Build, server: ServerBinary) -> None:
    place = prepared(SmartSimFolder(tmp_path / "folder"), smartsim, build, server)
    assert place.remove()
    assert not place.path.exists()
    assert not (smartsim.package / "_core/bin").exists()
    assert not place.remove()


def test_undo_leaves_an_empty_directory_alone(tmp_path: Path) -> None:
    assert not SmartSimFolder(tmp_path).remove()
    assert tmp_path.exists()


def test_what_smart_build_has_made_stays(
    tmp_path: Path, smartsim: SmartSim, build: Build, server: ServerBinary
) -> None:
    theirs = smartsim.package / "_core/bin/redis-cli"
    theirs.parent.mkdir()
    theirs.write_text("theirs")
    prepared(SmartSimFolder(tmp_path / "folder"), smartsim, build, server).remove()
    assert theirs.read_text() == "theirs"


@pytest.mark.parametrize("act", ["prepare", "remove"])
def test_a_directory_of_somebody_else_is_left_alone(
    tmp_path: Path, smartsim: SmartSim, build: Build, server: ServerBinary, act: str
) -> None:
    (tmp_path / "thesis").write_text("not to be lost")
    place = SmartSimFolder(tmp_path)
    with pytest.raises(SmartSimError, match="was not made by") as caught:
        prepared(place, smartsim, build, server) if act == "prepare" else place.remove()
    assert caught.value.path == tmp_path
    assert (tmp_path / "thesis").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_package_that_cannot_be_written_is_named(
    tmp_path: Path, smartsim: SmartSim, build: Build, server: ServerBinary
) -> None:
    (smartsim.package / "_core").chmod(0o555)
    with pytest.raises(SmartSimError, match="environment of your own") as caught:
        prepared(SmartSimFolder(tmp_path / "folder"), smartsim, build, server)
    assert caught.value.path == smartsim.package / "_core/bin"


def test_a_place_that_cannot_be_made_is_named(smartsim: SmartSim, build: Build, server: ServerBinary) -> None:
    with pytest.raises(SmartSimError, match="--folder chooses another place"):
        prepared(SmartSimFolder(Path("/proc/folder")), smartsim, build, server)


def test_the_server_runs_under_the_name_it_was_found_by(tmp_path: Path, server: ServerBinary) -> None:
    arguments = ("a conf", "--bind", "127.0.0.1", "--bind-source-addr", "127.0.0.1")
    assert said_by(server_script(server), tmp_path, *arguments) == [server.executable, *arguments]


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        (("a b", "--bind-source-addr", "::1", "--hz", "1"), ("a b", "--hz", "1")),
        (("c", "--bind-source-addr ::1"), ("c",)),
        (("c", "--save", ""), ("c", "--save", "")),
        ((), ()),
    ],
)  # fmt: skip
def test_an_older_server_is_spared_what_it_does_not_know(
    tmp_path: Path, server: ServerBinary, given: tuple[str, ...], passed: tuple[str, ...]
) -> None:
    older = ServerBinary(server.executable, (6, 2, 14))
    assert said_by(server_script(older), tmp_path, *given) == [server.executable, *passed]


def evaluated(script: str) -> str:
    """Return what a shell prints."""
    command = ["/bin/sh", "-euc", script]
    return subprocess.run(command, capture_output=True, text=True, check=True, env={}).stdout.strip()


def test_the_exports_lead_to_the_folder_and_nothing_overrules_them(tmp_path: Path) -> None:
    place = SmartSimFolder(tmp_path)
    asked = 'echo "$SMARTSIM_DEP_INSTALL_PATH|$REDIS_CONF|$SR_SOCKET_TIMEOUT|${RAI_PATH:-}"'
    said = evaluated(f"RAI_PATH=/wrong; {place.exports()}\n{asked}")
    assert said == f"{place.path}|{place.path}/redis.conf|600000|"


def test_what_the_user_has_set_outlives_the_undoing(tmp_path: Path) -> None:
    place = SmartSimFolder(tmp_path)
    asked = 'echo "${REDIS_CONF:-}|$SR_SOCKET_TIMEOUT"'
    assert evaluated(f"SR_SOCKET_TIMEOUT=7\n{place.exports()}\n{place.unsets()}\n{asked}") == "|7"


@pytest.mark.parametrize("name", ["a folder", "it's", "$HOME", "a;b"])
def test_a_path_that_smartsim_would_break_is_refused(
    tmp_path: Path, smartsim: SmartSim, build: Build, server: ServerBinary, name: str
) -> None:
    with pytest.raises(SmartSimError, match="quotes nothing"):
        prepared(SmartSimFolder(tmp_path / name), smartsim, build, server)
    assert not (tmp_path / name).exists()


def test_load_arguments_are_pairs_on_lines() -> None:
    text = arguments_text(["TORCH", "/a b/c.so", "TORCH_VERSION", "2"])
    assert text.splitlines()[1:] == ["TORCH /a b/c.so", "TORCH_VERSION 2"]


def test_the_configuration_is_for_redis_6_2_too() -> None:
    newer = ("appenddirname", "hash-max-listpack", "aof-timestamp", "bind-source-addr")
    assert not any(line.startswith(newer) for line in configuration(BYTES).splitlines())
    assert f"proto-max-bulk-len {BYTES}" in configuration(BYTES)


def python_that_says(directory: Path, said: str) -> str:
    program = directory / "python-that-says"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{said}\nEND\n")
    program.chmod(0o755)
    return str(program)


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ('{"smartsim": "", "numpy": "", "package": ""}', "has no SmartSim"),
        ('{"smartsim": "0.8.0", "numpy": "2.1.0", "package": "/p"}', "numpy 2.1.0"),
    ],
)
def test_a_python_that_will_not_do_is_named_with_the_way_out(tmp_path: Path, said: str, named: str) -> None:
    with pytest.raises(SmartSimError, match=named) as caught:
        find_smartsim(python_that_says(tmp_path, said))
    assert "pip install" in str(caught.value)


def test_what_is_no_python_is_named() -> None:
    with pytest.raises(SmartSimError, match="/bin/false"):
        find_smartsim("/bin/false")
    with pytest.raises(SmartSimError, match="/no/python"):
        find_smartsim("/no/python")


def test_missing_programs_are_named_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "procps" in missing_for_colocated()
    monkeypatch.setattr("orchestrator.smartsim.find_spec", lambda _: None)
    with pytest.raises(SmartSimError, match="redis-tools"):
        find_redis_cli()
