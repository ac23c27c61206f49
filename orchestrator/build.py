"""Compile the database module once, and find it again.

The module is compiled on the user's machine against the torch that is installed, into the user's cache, keyed
by source, torch and compiler; where openvino and onnxruntime are installed, each gets a backend too. A build
happens in a temporary directory and is moved into place as a whole, under a lock, so a cached build is always
a complete one and two builds at once do the work once.

    <cache>/modules/<source and engines>/<compiler>/{penstock_ai.so, backend_torch.so, …, build.log}
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestrator.engines import Engine, installed_torch, optional_engines
from orchestrator.errors import BuildError
from sim_clients.cache import cache_directory

SOURCE = Path(__file__).parent / "module"
MODULE_NAME = "penstock_ai.so"
OLDEST_COMPILER = {"g++": 11, "clang": 14}
LOG_TAIL_LINES = 20

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Build:
    """A compiled module, ready to be loaded by redis-server.

    Attributes:
        module: path of penstock_ai.so.
        engines: the installed packages that it has a backend for; torch first.
    """

    module: Path
    engines: tuple[Engine, ...]

    @property
    def backends(self) -> dict[str, Path]:
        """Name of each engine, as in the module's arguments -> path of its backend."""
        return {engine.name: self.module.parent / engine.backend for engine in self.engines}

    def load_arguments(self) -> list[str]:
        """Return what follows `loadmodule <module>` on redis-server's command line."""
        files = self.backends
        return [word for engine in self.engines for word in engine.load_arguments(files[engine.name])]

    def as_json(self) -> dict[str, object]:
        """Return what `penstock build --json` prints."""
        backends = {name: str(path) for name, path in self.backends.items()}
        versions = {engine.package: engine.version for engine in self.engines}
        loadmodule = [str(self.module), *self.load_arguments()]
        return {"module": str(self.module), "backends": backends, **versions, "loadmodule": loadmodule}


def built_module(progress: Progress | None = None, *, force: bool = False) -> Build:
    """Return the module for this source, torch and compiler; compile it if that has not been done yet.

    Args:
        progress: called with a line of text for each step of a compilation, never if nothing is compiled.
        force: compile even if there is a cached build.

    Raises:
        BuildError: no compiler, no torch, one of them too old, no room, or the compilation failed.
    """
    engines = (installed_torch(), *optional_engines())
    home = cache_directory() / "modules" / _source_digest(engines)
    if not force and (found := _cached(home, engines)):
        return found
    report = progress or (lambda _: None)
    compiler = find_compiler()
    place = home / _compiler_digest(compiler)
    try:
        with _locked(home.parent / f"{home.name}.lock", report):
            if force or not (place / MODULE_NAME).exists():
                _compile_into(place, engines, compiler, report)
    except OSError as error:
        raise BuildError(
            f"the cache {cache_directory()} cannot be written: {error}. "
            "Set PENSTOCK_CACHE to another directory, where there is room",
            step="writing the cache",
        ) from error
    return _build_at(place, engines)


def cached_build() -> Build | None:
    """Return the module if it has been built for this source, torch and compiler; compile nothing.

    Raises:
        BuildError: no torch, or one too old.
    """
    engines = (installed_torch(), *optional_engines())
    return _cached(cache_directory() / "modules" / _source_digest(engines), engines)


def find_compiler() -> Path:
    """Return the C++ compiler: $CXX, else c++, g++ or clang++ on PATH.

    Raises:
        BuildError: there is none, or it is too old for C++20.
    """
    found = _compiler_on_path()
    if found is None:
        raise BuildError(
            f"no C++ compiler, none of {', '.join(_compiler_names())} is on PATH: install g++ 11 or newer "
            "(Debian: apt install g++; conda: conda install gxx)",
            step="finding a C++ compiler",
        )
    _refuse_old_compiler(found)
    return found


def _compiler_names() -> list[str]:
    return [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]


def _compiler_on_path() -> Path | None:
    return next((Path(path) for name in _compiler_names() if (path := shutil.which(name))), None)


def _refuse_old_compiler(compiler: Path) -> None:
    asked = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)
    kind = "clang" if "clang" in asked.stdout else "g++"
    first_line = asked.stdout.partition("\n")[0]
    version = re.search(r"(\d+)\.\d+\.\d+", re.sub(r"\([^)]*\)", "", first_line))
    if asked.returncode != 0 or version is None:
        raise BuildError(
            f"{compiler} --version ended with exit code {asked.returncode}",
            step="finding a C++ compiler",
            log_tail=asked.stdout + asked.stderr,
        )
    if int(version[1]) < OLDEST_COMPILER[kind]:
        raise BuildError(
            f"{compiler} is {kind} {version[0]}: C++20 needs {kind} {OLDEST_COMPILER[kind]} or newer; "
            "install one and name it in CXX",
            step="finding a C++ compiler",
        )


def _source_digest(engines: Sequence[Engine]) -> str:
    if not (SOURCE / "CMakeLists.txt").exists():
        raise BuildError(
            f"the module's source is not in {SOURCE}: install Penstock again", step="reading the source"
        )
    known = [f"{engine.package} {engine.fingerprint}" for engine in engines]
    digest = hashlib.sha256(" ".join([*known, platform.machine()]).encode())
    for path in sorted(SOURCE.iterdir()):
        if path.suffix in {".cc", ".h", ".txt"}:
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _compiler_digest(compiler: Path) -> str:
    """Tell one compiler from another by its file, which is cheaper than asking it."""
    real = compiler.resolve()
    state = real.stat()
    return hashlib.sha256(f"{real} {state.st_size} {state.st_mtime_ns}".encode()).hexdigest()[:8]


def _cached(home: Path, engines: Sequence[Engine]) -> Build | None:
    """Return the build of this source and engines by the present compiler; without one the newest build."""
    places = [path.parent for path in home.glob(f"*/{MODULE_NAME}")]
    if not places:
        return None
    if compiler := _compiler_on_path():
        mine = home / _compiler_digest(compiler)
        return _build_at(mine, engines) if mine in places else None
    return _build_at(max(places, key=lambda place: place.stat().st_mtime), engines)


def _build_at(place: Path, engines: Sequence[Engine]) -> Build:
    return Build(place / MODULE_NAME, tuple(e for e in engines if (place / e.backend).exists()))


@contextmanager
def _locked(path: Path, report: Progress) -> Iterator[None]:
    """Hold a lock that the system releases when its holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("another process is building the module: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _compile_into(place: Path, engines: Sequence[Engine], compiler: Path, report: Progress) -> None:
    """Compile in a temporary directory beside `place`, then move the result there as a whole."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="building-", dir=place.parent) as scratch:
        work = Path(scratch) / "work"
        log = Path(scratch) / "build.log"
        named = ", ".join(f"{engine.package} {engine.version}" for engine in engines)
        report(f"compiling the database module for {named} with {compiler}, once")
        _run("configuring the module", _configure_command(work, engines, compiler), log, report)
        _compile(work, engines, log, report)
        finished = Path(scratch) / "finished"
        finished.mkdir()
        for made in (work / MODULE_NAME, *(work / engine.backend for engine in engines)):
            if made.exists():
                shutil.move(made, finished / made.name)
        shutil.move(log, finished / "build.log")
        shutil.rmtree(place, ignore_errors=True)
        finished.rename(place)


def _compile(work: Path, engines: Sequence[Engine], log: Path, report: Progress) -> None:
    """Compile everything; what is needed alone where a backend that is not needed does not compile."""
    command = [_tool("cmake"), "--build", str(work), "--parallel", str(_jobs())]
    try:
        _run("compiling the module", command, log, report)
    except BuildError:
        if len(engines) == 1:
            raise
        needed = [Path(name).stem for name in (MODULE_NAME, engines[0].backend)]
        _run("compiling the module", [*command, "--target", *needed], log, report)
        for engine in engines:
            if not (work / engine.backend).exists():
                report(
                    f"no backend for {engine.package} {engine.version}: it does not compile, see build.log"
                )


def _configure_command(work: Path, engines: Sequence[Engine], compiler: Path) -> list[str]:
    generator = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"] if (ninja := _which("ninja")) else []
    return [
        _tool("cmake"),
        *("-S", str(SOURCE), "-B", str(work)),
        *generator,
        "-DCMAKE_BUILD_TYPE=Release",
        f"-DCMAKE_CXX_COMPILER={compiler}",
        f"-DPENSTOCK_CXX11_ABI={_cxx11_abi()}",
        *(f"-DPENSTOCK_{engine.name}={engine.folder}" for engine in engines),
        *(f"-DPENSTOCK_{engine.name}_VERSION={engine.version}" for engine in engines),
    ]


def _cxx11_abi() -> int:
    """Ask the installed torch which C++ library ABI it was built with: 1 from torch 2.7 on, either before."""
    question = "import torch; print(int(torch._C._GLIBCXX_USE_CXX11_ABI))"
    asked = subprocess.run([sys.executable, "-c", question], capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        raise BuildError(
            "the installed torch cannot be imported: reinstall it",
            step="asking torch for its ABI",
            log_tail=asked.stderr,
        )
    return int(asked.stdout)


def _jobs() -> int:
    return len(os.sched_getaffinity(0))


def _which(name: str) -> str | None:
    """Find a build tool beside this Python (the cmake and ninja wheels) or on PATH."""
    return shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")


def _tool(name: str) -> str:
    if found := _which(name):
        return found
    raise BuildError(f"{name} is missing: pip install {name}", step=f"finding {name}")


def _run(step: str, command: list[str], log: Path, report: Progress) -> None:
    """Run one step, its output into the log and each line to `report`."""
    lines: list[str] = []
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ {' '.join(command)}\n")
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
        with process:
            for line in process.stdout or ():
                file.write(line)
                lines.append(line)
                if line.startswith(("[", "ninja")):
                    report(line.rstrip())
    if process.returncode != 0:
        tail = "".join(lines[-LOG_TAIL_LINES:])
        raise BuildError(f"{step} failed with exit code {process.returncode}", step=step, log_tail=tail)
