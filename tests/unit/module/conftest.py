"""One place where the module's cores are compiled for all tests that need no sanitizer: once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.module.test_cores import configure


@pytest.fixture(scope="session")
def plain_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cores, their tests and the probes, configured: a target that is built there stays there."""
    work = tmp_path_factory.mktemp("cores")
    configure(work, "")
    return work
