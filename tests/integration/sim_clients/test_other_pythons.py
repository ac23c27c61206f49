"""The contract over the native client in other Pythons and with other versions of numpy.

The environment's PENSTOCK_TEST_PYTHONS names them, `path:path`: interpreters with numpy, pytest and redis,
and nothing else of ours. `contract_elsewhere.py` is what they run.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.client_contract import Networks
from tests.integration.servers import RedisServer

ROOT = Path(__file__).parents[3]
PYTHONS = [path for path in os.environ.get("PENSTOCK_TEST_PYTHONS", "").split(":") if path]


@pytest.mark.usefixtures("native_library")
@pytest.mark.parametrize("python", PYTHONS or [pytest.param("", marks=pytest.mark.skip("none is named"))])
def test_the_contract(python: str, server: RedisServer, networks: Networks, tmp_path: Path) -> None:
    for name in ("doubles", "triples", "multiplies_matrices", "doubles_and_triples"):
        (tmp_path / name).write_bytes(getattr(networks, name))
    told = {"PENSTOCK_TEST_ADDRESS": server.address, "PENSTOCK_TEST_MODELS": str(tmp_path)}
    program = "tests/integration/sim_clients/contract_elsewhere.py"
    done = subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--noconftest", program],
        cwd=ROOT,
        env={**os.environ, **told, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr
