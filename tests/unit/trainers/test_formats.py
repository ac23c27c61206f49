"""Forms that a network is exported in: checked beside the network, or refused in one line."""

from __future__ import annotations

import pytest
import torch

from sim_clients.models import backend_of
from tests.steps import missing
from trainers import DeepEnsemble, ExportFailed, ExportMismatch, Format, export, exporting
from trainers.networks import Mlp
from trainers.onnx_file import missing_packages, run_onnx

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated:DeprecationWarning")


class Untypable(torch.nn.Module):
    """What TorchScript cannot compile: a dictionary of two types."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = {"x": x, "two": 2}
        return kept["x"] * kept["two"]


class Branching(torch.nn.Module):
    """What torch.export cannot: a branch by the data."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    ("network", "format"),
    [(Untypable(), Format.TORCHSCRIPT), (Branching(), Format.AOTINDUCTOR)],
)
def test_a_network_that_does_not_export_is_named_with_torchs_reason_in_one_line(
    network: torch.nn.Module, format: Format
) -> None:
    with pytest.raises(ExportFailed) as caught:
        export(network, [torch.ones(2, 2)], format=format)
    assert str(caught.value).startswith(
        f"the network {type(network).__name__} cannot be exported as {format.value}: "
    )
    assert "\n" not in str(caught.value)
    assert len(caught.value.reason) > 10


def test_onnx_without_its_packages_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "missing_packages", lambda: ["onnxscript"])
    with pytest.raises(ExportFailed, match=r"pip install onnxscript, or penstock\[onnx\]"):
        export(Mlp(2, 2), [torch.ones(1, 2)], format=Format.ONNX)


def test_a_file_that_answers_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "packaged", lambda network, inputs: b"package")
    x = torch.ones(1, 2)
    for answer in (x + 1, (x, x)):
        monkeypatch.setattr(exporting, "run_package", lambda archive, inputs, answer=answer: answer)
        with pytest.raises(ExportMismatch):
            export(torch.nn.Identity(), [x], format=Format.AOTINDUCTOR)
    monkeypatch.setattr(exporting, "run_package", lambda archive, inputs: inputs[0])
    assert export(torch.nn.Identity(), [x], format=Format.AOTINDUCTOR) == b"package"


@pytest.mark.parametrize("given", [1, 4])
def test_an_onnx_file_takes_any_number_of_rows_and_has_all_outputs(given: int) -> None:
    if packages := missing_packages():
        missing(f"{', '.join(packages)} is not installed: pip install penstock[onnx]")
    torch.manual_seed(0)
    network = DeepEnsemble([Mlp(4, 3), Mlp(4, 3)]).eval()
    file = export(network, [torch.randn(given, 4)], format=Format.ONNX)
    assert backend_of(file) == "ONNX"
    for rows in (1, 5):
        x = torch.randn(rows, 4)
        for found, expected in zip(run_onnx(file, [x]), network(x), strict=True):
            torch.testing.assert_close(found, expected.detach(), rtol=1e-4, atol=1e-5)


def test_torch_runs_what_is_no_onnx_file() -> None:
    assert backend_of(export(Mlp(2, 2), [torch.ones(1, 2)])) == "TORCH"
    for other in (b"", b"\x08", b"\x08\x0a", b"PK\x03\x04", b"this is no network", b"\x08\x0a\x00"):
        assert backend_of(other) == "TORCH"
