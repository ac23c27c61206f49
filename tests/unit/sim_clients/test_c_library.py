"""libpenstock without a database: it compiles without a warning, and its tests pass under sanitizers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sim_clients.native_library import SOURCE
from tests.steps import missing, run_step

DEADLINE_S = 300.0
STRICT = [
    "-std=c11",
    "-D_GNU_SOURCE",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Wconversion",
    "-Wsign-conversion",
    "-Wpedantic",
]


def compile_and_test(work: Path, sanitizers: str, tests: str = ".") -> None:
    options = ["-DPENSTOCK_TESTS=ON", "-DBUILD_SHARED_LIBS=OFF", f"-DPENSTOCK_SANITIZE={sanitizers}"]
    run_step(["cmake", "-S", str(SOURCE), "-B", str(work), "-DCMAKE_BUILD_TYPE=Debug", *options])
    run_step(["cmake", "--build", str(work), "--parallel", "2"])
    assert "Total Tests: 0" not in run_step(["ctest", "--test-dir", str(work), "--show-only", "-R", tests])
    run_step(
        ["ctest", "--test-dir", str(work), "--output-on-failure", "--timeout", "120", "-R", tests],
        ASAN_OPTIONS="detect_leaks=1",
        UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1",
    )


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_it_compiles_without_a_warning(compiler: str, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        missing(f"there is no {compiler}")
    sources = [str(path) for path in sorted(SOURCE.glob("*.c"))]
    run_step(
        [
            compiler,
            *STRICT,
            "-Werror",
            "-shared",
            "-fPIC",
            "-pthread",
            *sources,
            "-o",
            str(tmp_path / "lib.so"),
            "-lm",
        ]
    )


@pytest.mark.parametrize("compiler", ["gcc", "g++"])
def test_the_header_is_c_and_cpp(compiler: str, tmp_path: Path) -> None:
    source = tmp_path / ("solver.c" if compiler == "gcc" else "solver.cc")
    source.write_text('#include "penstock.h"\nint main(void) { return penstock_version() == 0; }\n')
    run_step(
        [compiler, "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{SOURCE}", "-fsyntax-only", str(source)]
    )


def test_every_function_of_the_header_is_in_the_library_and_nothing_else(tmp_path: Path) -> None:
    library = tmp_path / "libpenstock.so"
    sources = [str(path) for path in sorted(SOURCE.glob("*.c"))]
    run_step(
        [
            "gcc",
            *STRICT,
            "-fvisibility=hidden",
            "-shared",
            "-fPIC",
            "-pthread",
            *sources,
            "-o",
            str(library),
            "-lm",
        ]
    )
    exported = {
        line.split()[-1] for line in run_step(["nm", "-D", "--defined-only", str(library)]).splitlines()
    }
    declared = {
        word.partition("(")[0].lstrip("*")
        for line in (SOURCE / "penstock.h").read_text().splitlines()
        if line.startswith("PENSTOCK_API")
        for word in line.split()
        if word.lstrip("*").startswith("penstock_") and "(" in word
    }
    assert exported == declared


@pytest.mark.timeout(DEADLINE_S)
def test_its_parts_under_asan_and_ubsan(tmp_path: Path) -> None:
    compile_and_test(tmp_path, "address,undefined")


@pytest.mark.timeout(DEADLINE_S)
def test_its_parts_under_valgrind(tmp_path: Path) -> None:
    if shutil.which("valgrind") is None:
        missing("there is no valgrind")
    compile_and_test(tmp_path, "", "_valgrind")


@pytest.mark.timeout(DEADLINE_S)
def test_a_program_finds_the_installed_library_by_pkg_config(tmp_path: Path) -> None:
    if shutil.which("pkg-config") is None:
        missing("there is no pkg-config")
    prefix, source, program = tmp_path / "prefix", tmp_path / "solver.c", tmp_path / "solver"
    run_step(["cmake", "-S", str(SOURCE), "-B", str(tmp_path / "work"), f"-DCMAKE_INSTALL_PREFIX={prefix}"])
    run_step(["cmake", "--build", str(tmp_path / "work"), "--parallel", "2", "--target", "install"])
    (found,) = prefix.rglob("penstock.pc")
    flags = run_step(
        ["pkg-config", "--cflags", "--libs", "penstock"], PKG_CONFIG_PATH=str(found.parent)
    ).split()
    source.write_text(
        "#include <penstock.h>\n#include <stdio.h>\nint main(void) { puts(penstock_version()); }\n"
    )
    run_step(["gcc", str(source), *flags, f"-Wl,-rpath,{found.parents[1]}", "-o", str(program)])
    assert run_step([str(program)]) == "0.1.0\n"
