"""The module's cores, compiled without Redis and torch, under CTest: plain, ASan with UBSan, TSan."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.steps import run_step

SOURCE = Path(__file__).parents[3] / "orchestrator" / "module"
COMPILE_DEADLINE_S = 600.0


def configure(work: Path, sanitizers: str) -> None:
    """Prepare `work` for the cores and their tests, with sanitizers or without."""
    options = [
        "-DPENSTOCK_TESTS=ON",
        "-DCMAKE_BUILD_TYPE=Debug",
        f"-DPENSTOCK_SANITIZE={sanitizers}",
    ]
    run_step(["cmake", "-S", str(SOURCE), "-B", str(work), *options])


def build(work: Path, *targets: str) -> None:
    """Compile what a test needs of what `configure` has prepared."""
    run_step(["cmake", "--build", str(work), "--target", *targets, "--parallel", "2"])


def compile_and_test(work: Path) -> None:
    """Compile the cores and their tests in `work`, which is prepared, and run CTest there."""
    build(work, "cores")
    listed = run_step(["ctest", "--test-dir", str(work), "--show-only"])
    assert "Total Tests: 0" not in listed
    run_step(
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
