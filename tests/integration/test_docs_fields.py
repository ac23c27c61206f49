"""docs/fields.md: its programs say the same of a field, each in its language."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sim_clients import About, Address, Block, connect
from sim_clients.global_fields import global_field
from tests.integration.scripts import snippets
from tests.integration.servers import RedisServer
from tests.integration.test_docs_solvers import shell

PAGE = Path(__file__).parents[2] / "docs" / "fields.md"
PROGRAMS = {
    "c": ("c", "cc -O2 blocks.c $(penstock flags) -o blocks"),
    "c++": ("cpp", "c++ -O2 -std=c++17 blocks.cc $(penstock flags c++) -o blocks"),
    "fortran": ("fortran", "gfortran -O2 blocks.f90 $(penstock flags fortran) -o blocks"),
}


def test_the_python_runs_and_the_contract_is_that_of_the_page(server: RedisServer, tmp_path: Path) -> None:
    (program,) = snippets(PAGE)
    (tmp_path / "fields.py").write_text(program)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "fields.py")],
        env={**os.environ, **Address.parse(server.address).environment()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    values, contract = done.stdout.split("\n", 1)
    assert values.startswith("(128, 128) K 0.4 293.1")
    texts = re.findall(r"```text\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert contract == texts[0]


@pytest.mark.parametrize("language", list(PROGRAMS))
def test_each_language_says_the_same(server: RedisServer, tmp_path: Path, language: str) -> None:
    fence, line = PROGRAMS[language]
    (program,) = snippets(PAGE, fence)
    (tmp_path / program.splitlines()[0].split()[-1]).write_text(program)
    shell(line, tmp_path)
    address = Address.parse(server.address)
    for rank in range(2):
        told = {**address.environment(), "PENSTOCK_NAME": "heat", "PENSTOCK_RANK": str(rank)}
        shell("./blocks", tmp_path, **told)
    client = connect(address, client="native")
    turned = language == "fortran"
    dims, block = ("y", "x"), Block((128, 128), (0, 64) if turned else (64, 0))
    assert client.get_snapshot(1).about == {"T": About("K", dims[::-1] if turned else dims, block)}
    whole = global_field(client, "T", 40, ranks=2)
    np.testing.assert_array_equal(whole, np.full((128, 128), 293.15 if turned else 0.0))
    client.close()
