"""Finding torch, a compiler and a cached build, and saying plainly what is missing."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from orchestrator import build, engines
from orchestrator.engines import Engine
from orchestrator.errors import BuildError


def fake_torch(directory: Path, version: str = "2.13.0+cpu") -> None:
    package = directory / "torch"
    package.mkdir(parents=True)
    (package / "version.py").write_text(f"__version__ = '{version}'\n")
    (package / "__init__.py").write_text("")


def fake_package(directory: Path, name: str, version: str, *parts: str) -> None:
    """Install a package that has the given files, as pip would."""
    for part in ("__init__.py", *parts):
        file = directory / name / part
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("raise ImportError('it must not be imported')")
    facts = directory / f"{name}-{version}.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PENSTOCK_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CXX", raising=False)
    return tmp_path / "cache"


def importing(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """Let `find_spec` see only what lies in `directory`."""
    monkeypatch.setattr("sys.path", [str(directory)])
    monkeypatch.setattr("sys.path_importer_cache", {})
    for package in ("torch", "openvino", "onnxruntime"):
        monkeypatch.delitem(sys.modules, package, raising=False)


def test_no_torch_is_said_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    importing(monkeypatch, tmp_path)
    with pytest.raises(BuildError, match=r"no torch .* pip install .*torch"):
        engines.installed_torch()


def test_an_old_torch_is_refused_by_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_torch(tmp_path, "2.5.1")
    importing(monkeypatch, tmp_path)
    with pytest.raises(BuildError, match=r"torch 2\.5\.1 is too old.*2\.6"):
        engines.installed_torch()


def test_the_installed_torch_is_found_without_importing_it() -> None:
    torch = engines.installed_torch()
    assert (torch.libraries / "libtorch_cpu.so").exists()
    assert torch.version.startswith("2.")


OPENVINO_HEADER = "include/openvino/openvino.hpp"


def test_the_other_engines_are_found_without_importing_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_package(tmp_path, "openvino", "2026.4.1", OPENVINO_HEADER)
    fake_package(tmp_path, "onnxruntime", "1.32.0", "capi/__init__.py")
    importing(monkeypatch, tmp_path)
    openvino, onnxruntime = engines.optional_engines()
    assert openvino.load_arguments(Path("/b/backend_openvino.so")) == [
        *("OPENVINO", "/b/backend_openvino.so", "OPENVINO_LIBRARIES", str(tmp_path / "openvino" / "libs")),
        *("OPENVINO_VERSION", "2026.4.1"),
    ]
    assert (onnxruntime.backend, onnxruntime.version) == ("backend_onnxruntime.so", "1.32.0")
    assert onnxruntime.libraries == tmp_path / "onnxruntime" / "capi"


def test_engines_that_are_not_installed_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An openvino without headers, as Linux distributions pack it, is none to compile against."""
    fake_package(tmp_path, "openvino", "2026.4.1")
    (tmp_path / "onnxruntime").mkdir()  # what an uninstalled package may leave behind
    importing(monkeypatch, tmp_path)
    assert engines.optional_engines() == ()


def test_no_compiler_is_said_with_the_way_out(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match=r"c\+\+, g\+\+, clang\+\+ is on PATH: install g\+\+"):
        build.built_module()


def test_a_missing_cxx_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(BuildError, match="no-such-compiler"):
        build.find_compiler()


@pytest.mark.parametrize(
    ("banner", "named"),
    [
        ("g++ (Debian 10.2.1-6) 10.2.1 20210110", r"g\+\+ 10\.2\.1: C\+\+20 needs g\+\+ 11"),
        ("Debian clang version 11.0.1-2", r"clang 11\.0\.1: C\+\+20 needs clang 14"),
    ],
)
def test_an_old_compiler_is_refused_by_version(
    banner: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", str(script(tmp_path / "cxx", f"echo '{banner}'")))
    with pytest.raises(BuildError, match=named):
        build.find_compiler()


def test_a_compiler_that_cannot_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", str(script(tmp_path / "cxx", "echo broken; exit 3")))
    with pytest.raises(BuildError, match="exit code 3"):
        build.find_compiler()


def test_a_failed_compilation_shows_its_last_lines_and_leaves_no_build(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "module"
    source.mkdir()
    (source / "CMakeLists.txt").write_text('message(FATAL_ERROR "the valve is stuck")')
    monkeypatch.setattr(build, "SOURCE", source)
    with pytest.raises(BuildError, match="configuring the module failed") as caught:
        build.built_module()
    assert "the valve is stuck" in caught.value.log_tail
    assert not list(cache.rglob(build.MODULE_NAME))
    assert not list(cache.rglob("building-*"))


COUNTING_PROJECT = """
cmake_minimum_required(VERSION 3.22)
project(counting NONE)
file(APPEND "{count}" "x")
add_custom_target(penstock_ai ALL COMMAND ${{CMAKE_COMMAND}} -E touch penstock_ai.so)
add_custom_target(backend_torch ALL COMMAND ${{CMAKE_COMMAND}} -E touch backend_torch.so)
if(PENSTOCK_OPENVINO)
  add_custom_target(backend_openvino ALL COMMAND ${{CMAKE_COMMAND}} -E touch backend_openvino.so)
endif()
if(PENSTOCK_ONNXRUNTIME)
  add_custom_target(backend_onnxruntime ALL COMMAND ${{CMAKE_COMMAND}} -E false)
endif()
"""


@pytest.fixture
def counting_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module source that compiles at once and leaves one character per compilation."""
    source, count = tmp_path / "module", tmp_path / "count"
    source.mkdir()
    count.write_text("")
    (source / "CMakeLists.txt").write_text(COUNTING_PROJECT.format(count=count))
    monkeypatch.setattr(build, "SOURCE", source)
    monkeypatch.setattr(build, "_cxx11_abi", lambda: 1)
    monkeypatch.setattr(build, "optional_engines", lambda: ())
    return count


def engine(package: str, version: str) -> Engine:
    return Engine(package, Path("/site") / package, version, fingerprint=version)


def test_another_openvino_is_another_build(
    cache: Path, counting_source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = build.built_module()
    assert list(alone.backends) == ["TORCH"]
    builds = []
    for version in ("2026.3.0", "2026.4.1"):
        monkeypatch.setattr(build, "optional_engines", lambda v=version: (engine("openvino", v),))
        builds.append(build.built_module())
    assert len({found.module for found in (alone, *builds)}) == 3
    assert builds[1].load_arguments()[-1] == "2026.4.1"
    assert builds[1].as_json()["openvino"] == "2026.4.1"
    assert builds[1].as_json()["loadmodule"] == [str(builds[1].module), *builds[1].load_arguments()]
    assert (builds[1].module.parent / "backend_openvino.so").exists()


def test_a_backend_that_does_not_compile_is_left_out_and_said(
    cache: Path, counting_source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "optional_engines", lambda: (engine("onnxruntime", "1.32.0"),))
    lines: list[str] = []
    made = build.built_module(lines.append)
    assert any("no backend for onnxruntime 1.32.0" in line for line in lines)
    assert list(made.backends) == ["TORCH"]
    assert build.built_module() == made


def test_a_second_build_is_taken_from_the_cache(cache: Path, counting_source: Path) -> None:
    lines: list[str] = []
    first = build.built_module(lines.append)
    assert any("compiling the database module" in line for line in lines)
    lines.clear()
    assert build.built_module(lines.append) == first
    assert lines == []
    assert counting_source.read_text() == "x"


def test_force_builds_again(cache: Path, counting_source: Path) -> None:
    build.built_module()
    build.built_module(force=True)
    assert counting_source.read_text() == "xx"


def test_another_source_is_another_build(cache: Path, counting_source: Path) -> None:
    first = build.built_module()
    (build.SOURCE / "tensor.cc").write_text("// changed")
    assert build.built_module().module != first.module


def test_two_builds_at_once_compile_once(cache: Path, counting_source: Path) -> None:
    found: list[build.Build] = []
    threads = [threading.Thread(target=lambda: found.append(build.built_module())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1]
    assert counting_source.read_text() == "x"


def test_a_machine_without_compiler_uses_a_build_from_elsewhere(
    cache: Path, counting_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build.built_module()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert build.built_module() == first


@pytest.mark.parametrize("place", ["file/cache", "/proc/nope"])
def test_a_cache_that_cannot_be_made_is_named_with_the_way_out(
    place: str, cache: Path, counting_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PENSTOCK_CACHE", str(tmp_path / place))
    with pytest.raises(BuildError, match=r"cannot be written(.|\n)*PENSTOCK_CACHE"):
        build.built_module()


def test_a_missing_source_is_named(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "SOURCE", tmp_path / "nowhere")
    with pytest.raises(BuildError, match=r"source is not in .*nowhere"):
        build.built_module()
