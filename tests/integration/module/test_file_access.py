"""Who may store a model or a script may not reach the files of the database's host by it."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from tests.integration.ai_commands import refusal
from tests.integration.torchscript import edited, torchscript

READS = 'torch.from_file("/etc/hostname", False, 1)'


REFUSED = "aten::from_file reaches the files of the database's host"


def saves(path: Path) -> str:
    return f'torch.save(x, "{path}")'


def saves_when_loaded(path: Path) -> bytes:
    return torchscript(
        "def forward(self, x):\n    return x\n"
        "def __getstate__(self):\n    return torch.zeros(1), self.training\n"
        "def __setstate__(self, state: Tuple[Tensor, bool]):\n"
        f"    torch.save(state[0], '{path}')\n"
        "    self.training = state[1]\n"
    )


def test_a_model_that_opens_a_file_is_refused(db: redis.Redis) -> None:
    blob = torchscript(f"def forward(self, x):\n    return x + {READS}\n")
    text = refusal(db, "AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", blob)
    assert REFUSED in text


@pytest.mark.parametrize("calls", ["t = torch\n    t.save(", "torch.\\\n    save(", "ops.aten.save("])
def test_code_that_torch_would_not_write_is_refused_too(db: redis.Redis, tmp_path: Path, calls: str) -> None:
    written = tmp_path / "written"
    blob = torchscript(f"def forward(self, x):\n    {saves(written)}\n    return x\n")
    text = refusal(db, "AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", edited(blob, "torch.save(", calls))
    assert "aten::save reaches the files" in text
    assert not written.exists()


@pytest.mark.parametrize("calls", ["t = torch\n    t.save(", "torch.\\\n    save(", "ops.aten.save("])
def test_nor_does_such_code_run_while_it_is_loaded(db: redis.Redis, tmp_path: Path, calls: str) -> None:
    written = tmp_path / "written"
    blob = edited(saves_when_loaded(written), "torch.save(", calls)
    assert "aten::save reaches the files" in refusal(db, "AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", blob)
    assert not written.exists()


def test_a_model_that_writes_a_file_is_refused(db: redis.Redis, tmp_path: Path) -> None:
    written = tmp_path / "written"
    blob = torchscript(f"def forward(self, x):\n    {saves(written)}\n    return x\n")
    assert "reaches the files" in refusal(db, "AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", blob)
    assert not written.exists()


def test_what_runs_while_a_model_is_loaded_writes_no_file(db: redis.Redis, tmp_path: Path) -> None:
    written = tmp_path / "written"
    blob = saves_when_loaded(written)
    assert "reaches the files" in refusal(db, "AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", blob)
    assert not written.exists()


@pytest.mark.parametrize("indent", ["    ", "    if True:\n        "], ids=["at once", "in a branch"])
def test_a_script_that_opens_a_file_is_refused(db: redis.Redis, indent: str) -> None:
    source = f"def f(x):\n    y = x\n{indent}y = x + {READS}\n    return y\n"
    text = refusal(db, "AI.SCRIPTSET", "s", "CPU", "SOURCE", source)
    assert REFUSED in text
