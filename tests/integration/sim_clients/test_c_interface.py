"""Every call of penstock.h by a C program, under sanitizers, against one server and a cluster."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from sim_clients import Address
from sim_clients.native_library import SOURCE
from tests.integration.servers import RedisServer, ServerBinary

PROGRAM = Path(__file__).parent / "programs" / "exercise.c"
FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-g", "-pthread", f"-I{SOURCE}"]


@pytest.fixture(scope="session", params=["address,undefined", "thread"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program with the library, compiled with the sanitizers."""
    made = tmp_path_factory.mktemp("c") / "exercise"
    sanitize = [f"-fsanitize={request.param}", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
    sources = [PROGRAM, *sorted(SOURCE.glob("*.c"))]
    subprocess.run(["gcc", *FLAGS, *sanitize, *sources, "-o", made, "-lm"], check=True)
    return made


@pytest.mark.parametrize("where", ["server", "cluster_address", "sharing_server"])
def test_every_call(
    request: pytest.FixtureRequest, server_binary: ServerBinary, program: Path, where: str, tmp_path: Path
) -> None:
    found: RedisServer | Address = request.getfixturevalue(where)
    address = found if isinstance(found, Address) else Address.parse(found.address)
    if not isinstance(found, Address):
        with found.connect() as db:
            db.flushall()
    options = {"TSAN_OPTIONS": "halt_on_error=1", "PENSTOCK_SHARED_MEMORY": "1"}
    done = subprocess.run(
        [program, tmp_path],
        env={**os.environ, **address.environment(), **options},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
