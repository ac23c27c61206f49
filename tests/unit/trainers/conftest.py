"""What the tests of trainers have in common."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Have torch use one thread: networks are tiny, and threads of a busy machine wait for each other."""
    torch.set_num_threads(1)
