"""Models in solvers of C, C++ and Fortran: the numbers of the database, in the solver's own process."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from sim_clients import Address
from sim_clients.compiler_flags import Language, compiler_flags
from sim_clients.native_library import SOURCE as C_SOURCE
from sim_clients.torch_library import torch_folder
from tests.integration.servers import RedisServer
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
