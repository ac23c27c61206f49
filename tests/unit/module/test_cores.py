"""The module's cores, compiled without Redis and torch, under CTest: plain, ASan with UBSan, TSan."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[3] / "orchestrator" / "module"
COMPILE_DEADLINE_S = 600.0


def run(command: list[str], **environment: str) -> str:
    """Run one step to its end and return what it printed; a failure shows that."""
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=COMPILE_DEADLINE_S,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stdout[-8000:]
    return done.stdout


def configure(work: Path, sanitizers: str) -> None:
    """Prepare `work` for the cores and their tests, with sanitizers or without."""
    options = [
        "-DPENSTOCK_TESTS=ON",
        "-DCMAKE_BUILD_TYPE=Debug",
        f"-DPENSTOCK_SANITIZE={sanitizers}",
    ]
    run(["cmake", "-S", str(SOURCE), "-B", str(work), *options])


def build(work: Path, *targets: str) -> None:
    """Compile what a test needs of what `configure` has prepared."""
    run(["cmake", "--build", str(work), "--target", *targets, "--parallel", "2"])


def compile_and_test(work: Path) -> None:
    """Compile the cores and their tests in `work`, which is prepared, and run CTest there."""
    build(work, "cores")
    listed = run(["ctest", "--test-dir", str(work), "--show-only"])
    assert "Total Tests: 0" not in listed
    run(
        ["ctest", "--test-dir", str(work), "--output-on-failure", "--timeout", "120"],
        ASAN_OPTIONS="detect_leaks=1:abort_on_error=0",
        UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1",
        TSAN_OPTIONS="halt_on_error=1",
    )


@pytest.mark.timeout(COMPILE_DEADLINE_S)
def test_cores(plain_build: Path) -> None:
    compile_and_test(plain_build)


@pytest.mark.sanitize
@pytest.mark.timeout(COMPILE_DEADLINE_S)
@pytest.mark.parametrize("sanitizers", ["address,undefined", "thread"])
def test_cores_under_sanitizers(tmp_path: Path, sanitizers: str) -> None:
    configure(tmp_path, sanitizers)
    compile_and_test(tmp_path)
