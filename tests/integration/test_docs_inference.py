"""docs/inference.md: the C program that runs a model in its own process."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sim_clients import Address, connect
from sim_clients.native_library import SOURCE as C_SOURCE
from sim_clients.torch_library import SOURCE as TORCH_SOURCE
from tests.integration.scripts import snippets
from tests.integration.servers import RedisServer
from tests.integration.test_docs_solvers import shell
from tests.integration.torchscript import torchscript

PAGE = Path(__file__).parents[2] / "docs" / "inference.md"


@pytest.fixture
def solver(tmp_path: Path) -> Path:
    """The directory that has the program as it is printed."""
    (program,) = snippets(PAGE, "c")
    (tmp_path / "solver.c").write_text(program)
    return tmp_path


def test_the_program_is_whole(solver: Path) -> None:
    include = f"-I{C_SOURCE} -I{TORCH_SOURCE}"
    shell(f"cc -std=c11 -Wall -Wextra -Werror -fsyntax-only {include} solver.c", solver)


@pytest.mark.slow  # the library takes a minute to compile, where that has not been done
@pytest.mark.timeout(400)
def test_the_program_is_answered_by_the_live_version(server: RedisServer, solver: Path) -> None:
    address = Address.parse(server.address)
    client = connect(address)
    client.put_model("jump", torchscript("def forward(self, u):\n    return u.sum(1, keepdim=True)\n"), 7)
    client.close()
    (line,) = re.findall(r"^cc solver.c .*$", PAGE.read_text(), re.MULTILINE)
    shell(line, solver)
    done = shell("./solver", solver, **address.environment())
    assert done.stdout.splitlines() == [
        f"step {step}, version 7: {value}" for step, value in enumerate((5, 13, 29))
    ]
