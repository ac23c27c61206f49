"""Models in solvers of C, C++ and Fortran: the numbers of the database, in the solver's own process."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from sim_clients import Address, connect
from sim_clients.compiler_flags import Language, compiler_flags
from sim_clients.native_library import SOURCE as C_SOURCE
from sim_clients.torch_library import torch_folder
from tests.integration.servers import RedisServer, StartServer
from tests.integration.sim_clients.test_solvers import compiled, compiler_of, ran, source_of
from tests.integration.torchscript import scripted
from tests.steps import missing
from trainers.networks import Mlp


@pytest.mark.slow  # the library takes a minute to compile, where that has not been done
@pytest.mark.timeout(400)
@pytest.mark.parametrize("language", [language.value for language in Language])
def test_the_numbers_are_those_of_the_database(server: RedisServer, tmp_path: Path, language: str) -> None:
    torch.manual_seed(0)
    files = [tmp_path / "one.pt", tmp_path / "two.pt"]
    for file in files:
        file.write_bytes(scripted(Mlp(4, 4)))
    compiler = compiler_of(language)
    flags = compiler_flags(Language(language), local_model=True)
    program, source = tmp_path / "program", str(source_of(language, "local"))
    compiled([*compiler, *flags.compiling, source, *flags.linking, "-lm", "-o", str(program)])
    with server.connect() as connection:
        connection.flushall()
    done = ran([str(program), *map(str, files)], **Address.parse(server.address).environment())
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_what_is_loaded_answers_while_the_database_is_gone(start_server: StartServer, tmp_path: Path) -> None:
    server, source, program = start_server(), str(source_of("c", "lost")), tmp_path / "program"
    flags = compiler_flags(Language.C, local_model=True)
    compiled([*compiler_of("c"), *flags.compiling, source, *flags.linking, "-o", str(program)])
    address = Address.parse(server.address)
    client = connect(address, client="native")
    client.put_model("net", scripted(Mlp(4, 4)), 1)
    client.close()
    pipe = subprocess.PIPE
    environment = {**os.environ, **address.environment()}
    with subprocess.Popen(
        [program], stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment
    ) as solver:
        assert solver.stdout is not None
        assert solver.stdout.readline() == "ready\n"
        server.kill()
        told, errors = solver.communicate(timeout=60)
    assert (solver.returncode, errors) == (0, "")
    assert address.unix_socket is not None and str(address.unix_socket) in told


def test_cmake_knows_it_where_a_torch_is_named(tmp_path: Path) -> None:
    if shutil.which("pkg-config") is None:
        missing("there is no pkg-config: apt install pkg-config")
    build, prefix = tmp_path / "build", tmp_path / "installed"
    named = [f"-DPENSTOCK_TORCH={torch_folder()}", "-DPENSTOCK_FORTRAN=OFF"]
    compiled(["cmake", "-S", str(C_SOURCE), "-B", str(build), f"-DCMAKE_INSTALL_PREFIX={prefix}", *named])
    targets = ran(["cmake", "--build", str(build), "--target", "help"])
    assert "penstock_torch" in targets.stdout
    folders = f"{build}:{build / 'torch'}"
    asked = ran(["pkg-config", "--cflags", "--libs", "penstock-torch"], PKG_CONFIG_PATH=folders)
    assert asked.returncode == 0, asked.stderr
    assert f"-I{prefix}/include" in asked.stdout
    assert "-lpenstock_torch -lpenstock" in asked.stdout
