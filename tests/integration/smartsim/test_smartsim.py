"""SmartSim 0.8.0 starts, uses and stops databases with our module, by its own settings and nothing else."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path

import pytest

from tests.integration.servers import free_port, wait_until
from tests.integration.smartsim.conftest import Run, outputs
from tests.integration.torchscript import adder

pytestmark = pytest.mark.slow


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    """A model that adds its two inputs."""
    file = tmp_path / "adder.pt"
    file.write_bytes(adder())
    return file


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def servers_in(directory: Path) -> list[int]:
    """Return the redis-servers whose working directory lies in a directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            at, command = os.readlink(process / "cwd"), (process / "cmdline").read_bytes()  # noqa: PTH115
        except OSError:
            continue  # it has left, or is another user's
        if at.startswith(str(directory)) and b"redis-server" in command:
            found.append(int(process.name))
    return found


def test_a_database_of_its_own(run: Run, model_file: Path, tmp_path: Path) -> None:
    found = run("standalone.py", model_file, free_port())
    assert found["application"] == "SmartSimStatus.STATUS_COMPLETED", outputs(tmp_path)
    assert "all answers are right" in outputs(tmp_path)
    assert (found["active"], found["after"]) == (True, False)
    assert found["threads_per_queue"] == "2"
    wait_until(lambda: not is_there(int(found["pid"])), "the database to leave")


@pytest.mark.parametrize("how", ["uds", "tcp"])
def test_a_database_beside_the_application(
    run: Run, model_file: Path, tmp_path: Path, short_directory: Path, how: str
) -> None:
    where = short_directory / "colocated.sock" if how == "uds" else free_port()
    found = run("colocated.py", model_file, how, where)
    assert found["application"] == "SmartSimStatus.STATUS_COMPLETED", outputs(tmp_path)
    assert "all answers are right" in outputs(tmp_path)
    wait_until(lambda: not servers_in(tmp_path), "the co-located database to leave")


def test_its_own_validation_passes(run: Run, smartsim_python: str) -> None:
    """What `smart validate` does: a traced torch network, and a clustering of scikit-learn as ONNX."""
    asked = [smartsim_python, "-c", "import skl2onnx"]
    if subprocess.run(asked, capture_output=True, check=False).returncode != 0:
        pytest.skip("no skl2onnx beside SmartSim, which its validation needs")
    torch = importlib.util.find_spec("torch")
    assert torch is not None
    assert torch.origin is not None
    found = run("validate.py", Path(torch.origin).parents[1])
    assert {"torch", "onnxruntime", "tensorflow"} >= set(found["backends"]) >= {"torch", "onnxruntime"}


def test_its_own_information_finds_everything(smartsim_python: str, setup: dict[str, str]) -> None:
    command = [smartsim_python, "-m", "smartsim._core._cli", "info"]
    said = subprocess.run(command, env=setup, capture_output=True, text=True, check=True).stdout
    assert "REDIS" in said
    assert setup["SMARTSIM_DEP_INSTALL_PATH"] in said
    torch = next(line for line in said.splitlines() if "Torch" in line)
    assert "True" in torch
