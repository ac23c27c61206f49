"""Who may store a model or a script may not reach the files of the database's host by it."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from tests.integration.ai_commands import refusal
from tests.integration.torchscript import torchscript

READS = 'torch.from_file("/etc/hostname", False, 1)'


def saves(path: Path) -> str:
    return f'torch.save(x, "{path}")'


def test_a_model_that_opens_a_file_is_refused(db: redis.Redis) -> None:
    blob = torchscript(f"def forward(self, x):\n    return x + {READS}\n")
    text = refusal(db, "AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", blob)
    assert "torch.from_file reaches the files of the database's host" in text


def test_a_model_that_writes_a_file_is_refused(db: redis.Redis, tmp_path: Path) -> None:
    written = tmp_path / "written"
    blob = torchscript(f"def forward(self, x):\n    {saves(written)}\n    return x\n")
    assert "reaches the files" in refusal(db, "AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", blob)
    assert not written.exists()


def test_what_runs_while_a_model_is_loaded_is_looked_at_before(db: redis.Redis, tmp_path: Path) -> None:
    written = tmp_path / "written"
    blob = torchscript(
        "def forward(self, x):\n    return x\n"
        "def __getstate__(self):\n    return torch.zeros(1), self.training\n"
        "def __setstate__(self, state: Tuple[Tensor, bool]):\n"
        f"    torch.save(state[0], '{written}')\n"
        "    self.training = state[1]\n"
    )
    assert "reaches the files" in refusal(db, "AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", blob)
    assert not written.exists()


@pytest.mark.parametrize("indent", ["    ", "    if True:\n        "], ids=["at once", "in a branch"])
def test_a_script_that_opens_a_file_is_refused(db: redis.Redis, indent: str) -> None:
    source = f"def f(x):\n    y = x\n{indent}y = x + {READS}\n    return y\n"
    text = refusal(db, "AI.SCRIPTSET", "s", "CPU", "SOURCE", source)
    assert "aten::from_file reaches the files of the database's host" in text
