"""What the real backends say of a model, asked without a server."""

from __future__ import annotations

import subprocess
import warnings
from pathlib import Path

import pytest
import torch

from orchestrator.build import built_module
from tests.integration.model_files import model_file
from tests.integration.torchscript import adder, burner, forward, heavy, scripted
from tests.unit.module.test_cores import build


@pytest.fixture(scope="module")
def probe(plain_build: Path) -> Path:
    """The program that asks, compiled."""
    build(plain_build, "probe_backend", "probe_busy")
    return plain_build / "tests" / "probe_backend"


class Asker:
    """Writes a model to a file and asks its backend about it."""

    def __init__(self, probe: Path, directory: Path) -> None:
        self.probe = probe
        self.directory = directory

    def __call__(
        self, backend: str, model: bytes, *arguments: str, program: str = "probe_backend"
    ) -> dict[str, list[str]]:
        file = self.directory / "model"
        file.write_bytes(model)
        words = [*built_module().load_arguments(), *arguments]
        done = subprocess.run(
            [self.probe.with_name(program), backend, file, *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        lines = (line.split() for line in done.stdout.splitlines())
        return {name: values for name, *values in lines}


@pytest.fixture
def ask(probe: Path, tmp_path: Path) -> Asker:
    return Asker(probe, tmp_path)


def traced(network: torch.nn.Module, sample: torch.Tensor) -> bytes:
    """Return a network, as it ran on a sample, as a TorchScript file."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*torch\.jit\.\w+.* is deprecated", DeprecationWarning)
        return torch.jit.trace(network.eval(), sample).save_to_buffer()  # type: ignore[no-any-return]


class Flattening(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x).view(x.size(0), -1)


CNN = torch.nn.Sequential(
    torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Dropout(), torch.nn.Flatten()
)
STRAIGHT = {
    "sum": adder(),
    "cnn": scripted(CNN),
    "traced cnn": traced(CNN, torch.ones(1, 1, 8, 8)),
    "traced view": traced(Flattening(), torch.ones(2, 3)),
    "check": forward("if x.dim() != 2:\n    raise ValueError('no matrix')\nreturn x"),
    "shapes": forward(
        "n, t = len(x), (x, 2)\ny = torch.zeros([n, x.numel(), x.shape[0]], dtype=x.dtype, device=x.device)\n"
        "return y.sum() + t[1] + torch.cat([x, x])"
    ),
}
CROOKED = {
    "loop": burner(),
    "endless": forward("while True:\n    x = x + 1\nreturn x"),
    "branch": forward("if bool(x.sum() > 0):\n    x = torch.mm(x, x)\nreturn x"),
    "size from a value": forward("return torch.zeros([int(x[0])])"),
    "size from an item": forward("return torch.zeros([int(x[0].item())])"),
    "size by count": forward("return torch.zeros([[x.sum()].count(torch.ones([])) * 1000])"),
    "size by index": forward("return torch.zeros([[x.sum(), x.max()].index(x.max())])"),
    "size by text": forward("return torch.zeros([len(str(x))])"),
    "size by equality": forward("return torch.zeros([10 if [x] == [x + 1] else 20])"),
    "size by choice": forward("return torch.zeros([10 if torch.equal(x, x + 1) else 20])"),
    "one hot": forward("return torch.nn.functional.one_hot(x.long()).sum()"),
    "bins": forward("return torch.bincount(x.long())"),
    "mask": forward("return x[x > 0]"),
    "selected": forward("return torch.masked_select(x, x > 0)"),
    "where": forward("return torch.where(x > 0)[0]"),
    "distinct": forward("return torch.unique(x)"),
    "parts": forward("return torch.tensor_split(x, x.long())[0]"),
    "recursive": forward("return torch.stack([y + 1 for y in x.unbind(0)])"),
}


@pytest.mark.parametrize("name", STRAIGHT)
def test_a_torch_model_without_loops_is_a_straight_line(ask: Asker, name: str) -> None:
    assert ask("TORCH", STRAIGHT[name])["straight_line"] == ["1"]


@pytest.mark.parametrize("name", CROOKED)
def test_a_torch_model_whose_cost_depends_on_values_is_none(ask: Asker, name: str) -> None:
    assert ask("TORCH", CROOKED[name])["straight_line"] == ["0"]


def test_a_torch_model_tells_its_inputs_and_its_size(ask: Asker) -> None:
    said = ask("TORCH", heavy(2))
    assert said["inputs"] == ["x"]
    assert said["memory_bytes"] == [str(2 << 20)]


def test_openvino_declines_what_would_have_to_wait_for_a_run_under_way(ask: Asker) -> None:
    said = ask("ONNX", model_file("loop.onnx"), "ONNX_BACKEND", "OPENVINO", program="probe_busy")
    assert said == {"before": ["1"], "beside": ["0"], "after": ["1"]}
