"""A client may have the server's own backend opened, and no other file: what is opened runs in the server."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.integration.ai_commands import execute, get, put, refusal, store_model
from tests.integration.servers import Module, StartServer
from tests.integration.torchscript import adder


def own_backend(module: Module) -> Path:
    return Path(module.arguments[module.arguments.index("TORCH") + 1])


def mapped_files(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


def without_backend_file(module: Module) -> Module:
    """Return the module as it is loaded by whoever relies on the folder it lies in."""
    at = module.arguments.index("TORCH")
    return Module(module.path, module.arguments[:at] + module.arguments[at + 2 :])


@pytest.mark.parametrize("spelling", ["{file}", "{folder}/./{name}", "{name}"])
def test_the_servers_own_backend_is_opened_when_told(
    start_server: StartServer, module: Module, spelling: str
) -> None:
    file = own_backend(module)
    server = start_server()
    db = server.connect()
    assert file.name not in mapped_files(server.pid)
    path = spelling.format(file=file, folder=file.parent, name=file.name)
    assert db.execute_command("AI.CONFIG", "LOADBACKEND", "TORCH", path) == b"OK"
    assert str(file) in mapped_files(server.pid)
    store_model(db, "m", adder())
    put(db, "a", np.ones(2))
    execute(db, "m", ["a", "a"], ["b"])
    np.testing.assert_array_equal(get(db, "b"), [2.0, 2.0])
    assert refusal(db, "AI.CONFIG", "LOADBACKEND", "TORCH", path) == "error loading backend"


def test_a_file_that_a_client_chooses_is_never_opened(
    start_server: StartServer, module: Module, tmp_path: Path
) -> None:
    """The file is as good as the server's own, so that nothing but where it lies is wrong."""
    chosen = tmp_path / "backend_torch.so"
    shutil.copy(own_backend(module), chosen)
    server = start_server()
    db = server.connect()
    for path in (chosen, Path("../../..") / chosen.relative_to("/"), tmp_path, "", "."):
        text = refusal(db, "AI.CONFIG", "LOADBACKEND", "TORCH", str(path))
        assert text == "error loading backend"
    assert str(tmp_path) not in mapped_files(server.pid)
    assert str(chosen) in server.log()
    store_model(db, "m", adder())


def test_a_folder_that_a_client_chooses_is_refused(
    start_server: StartServer, module: Module, tmp_path: Path
) -> None:
    shutil.copy(own_backend(module), tmp_path / "backend_torch.so")
    server = start_server(modules=(without_backend_file(module),))
    db = server.connect()
    before = db.execute_command("AI.CONFIG", "GET", "BACKENDSPATH")
    assert str(tmp_path) in refusal(db, "AI.CONFIG", "BACKENDSPATH", str(tmp_path))
    assert db.execute_command("AI.CONFIG", "GET", "BACKENDSPATH") == before
    store_model(db, "m", adder())
    assert str(tmp_path) not in mapped_files(server.pid)


def test_the_folder_given_at_load_is_used_and_may_be_said_again(
    start_server: StartServer, module: Module, tmp_path: Path
) -> None:
    shutil.copy(own_backend(module), tmp_path / "backend_torch.so")
    bare = without_backend_file(module).with_arguments("BACKENDSPATH", str(tmp_path))
    server = start_server(modules=(bare,))
    db = server.connect()
    assert db.execute_command("AI.CONFIG", "GET", "BACKENDSPATH") == str(tmp_path).encode()
    assert db.execute_command("AI.CONFIG", "BACKENDSPATH", f"{tmp_path}/") == b"OK"
    store_model(db, "m", adder())
    assert str(tmp_path / "backend_torch.so") in mapped_files(server.pid)
