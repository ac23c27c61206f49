"""Models in solvers of C, C++ and Fortran: the numbers of the database, in the solver's own process."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sim_clients import Address
from sim_clients.compiler_flags import Language, compiler_flags
from tests.integration.servers import RedisServer
from tests.integration.sim_clients.test_solvers import compiled, compiler_of, ran, source_of
from tests.integration.torchscript import scripted
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
