"""The libFuzzer targets, compiled with ASan and UBSan and run on their corpus and what grows from it.

A short run by default; PENSTOCK_FUZZ_RUNS says how many inputs each target gets (`make fuzz`: a million).
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.steps import missing, run_step

ROOT = Path(__file__).parents[2]
RUNS = int(os.environ.get("PENSTOCK_FUZZ_RUNS", "20000"))
COMPILE_DEADLINE_S = 900.0
RUN_DEADLINE_S = 3600.0
TARGETS = ["words", "rdb", "values"]


@pytest.fixture(scope="session")
def fuzzers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the compiled targets."""
    compiler = shutil.which("clang++")
    if compiler is None:
        missing("there is no clang++ with libFuzzer (Debian: apt install clang libclang-rt-14-dev)")
    work = tmp_path_factory.mktemp("fuzz")
    options = [
        "-DPENSTOCK_FUZZ=ON",
        "-DPENSTOCK_SANITIZE=address,undefined",
        f"-DCMAKE_CXX_COMPILER={compiler}",
    ]
    source = str(ROOT / "orchestrator" / "module")
    run_step(["cmake", "-S", source, "-B", str(work), *options], deadline_s=COMPILE_DEADLINE_S)
    run_step(
        ["cmake", "--build", str(work), "--target", "fuzzers", "--parallel", "2"],
        deadline_s=COMPILE_DEADLINE_S,
    )
    return work / "fuzz"


@pytest.mark.fuzz
@pytest.mark.timeout(RUN_DEADLINE_S)
@pytest.mark.parametrize("target", TARGETS)
def test_no_input_crashes_or_leaks(fuzzers: Path, tmp_path: Path, target: str) -> None:
    grown = tmp_path / "grown"
    grown.mkdir()
    corpus = ROOT / "tests" / "fuzz" / "corpus" / target
    assert any(corpus.iterdir())
    limits = [f"-runs={RUNS}", "-max_len=4000", "-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1"]
    printed = run_step(
        [str(fuzzers / f"fuzz_{target}"), *limits, f"-artifact_prefix={tmp_path}/", str(grown), str(corpus)],
        deadline_s=RUN_DEADLINE_S,
        UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1",
    )
    units = re.search(r"stat::number_of_executed_units: (\d+)", printed)
    assert units is not None
    assert int(units[1]) >= RUNS
