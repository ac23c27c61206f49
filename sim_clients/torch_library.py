"""Compile libpenstock_torch against the torch that is installed, and find it again.

It runs models in solvers of C, C++ and Fortran. torch is found without importing it, and asked once, by
the compilation, which C++ library ABI it was built with. What is compiled lies in the user's cache, keyed by
source, torch and compiler:

    <cache>/clients/torch-<source, torch and compiler>/libpenstock_torch.so
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from sim_clients.cache import cache_directory
from sim_clients.errors import ClientBuildError
from sim_clients.fortran_library import built_fortran_library, find_fortran_compiler
from sim_clients.native_library import LOG_TAIL_LINES, built_library
from sim_clients.native_library import SOURCE as C_SOURCE

SOURCE = Path(__file__).parent / "torch"
LIBRARY_NAME = "libpenstock_torch.so"
FORTRAN_MODULE = "penstock_torch.f90"
FORTRAN_LIBRARY_NAME = "libpenstock_torch_fortran.so"
FLAGS = ("-std=c++20", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-pthread")
Progress = Callable[[str], None]
_ABI = "import torch; print(int(torch._C._GLIBCXX_USE_CXX11_ABI))"


def built_torch_library(progress: Progress | None = None, *, force: bool = False) -> Path:
    """Return the library for this source, torch and compiler; compile it, in about a minute, if need be.

    Args:
        progress: called with a line of text where it is compiled.
        force: compile even if there is a cached one.

    Raises:
        ClientBuildError: no torch, no C++ compiler, no room, or the compilation failed.
    """
    torch, compiler, client = torch_folder(), find_cxx_compiler(), built_library()
    place = cache_directory() / "clients" / f"torch-{_digest(torch, compiler, client)}" / LIBRARY_NAME
    if force or not place.exists():
        if progress is not None:
            progress(
                f"compiling {LIBRARY_NAME} against {torch}, once: up to a minute, more on a busy machine"
            )
        try:
            _compile(torch, compiler, client.parent, place)
        except OSError as error:
            raise ClientBuildError(
                f"the cache {cache_directory()} cannot be written: {error}. "
                "Set PENSTOCK_CACHE to another directory, where there is room"
            ) from error
    return place


def built_torch_fortran_library() -> Path:
    """Return the folder of the module penstock_torch and its library; compile them, in seconds, if need be.

    Raises:
        ClientBuildError: as by `built_torch_library`, or no Fortran compiler.
    """
    compiler, torch, fortran = find_fortran_compiler(), built_torch_library().parent, built_fortran_library()
    source = SOURCE / FORTRAN_MODULE
    facts = f"{compiler} {torch} {fortran}".encode() + source.read_bytes()
    place = torch.parent / f"torch-fortran-{hashlib.sha256(facts).hexdigest()[:16]}"
    if not place.exists():
        with tempfile.TemporaryDirectory(prefix="building-", dir=torch.parent) as scratch:
            made = Path(scratch) / "made"
            made.mkdir()
            linked = (f"-L{fortran}", "-lpenstock_fortran", f"-L{torch}", "-lpenstock_torch")
            found = (f"-Wl,-rpath,{fortran}", f"-Wl,-rpath,{torch}")
            command = [compiler, "-O2", "-fPIC", "-shared", f"-I{fortran}", str(source), *linked, *found]
            _run(f"compiling {FORTRAN_MODULE}", [*command, "-o", FORTRAN_LIBRARY_NAME], made)
            _move(made, place)
    return place


def _move(made: Path, place: Path) -> None:
    try:
        made.rename(place)
    except OSError:
        if not place.exists():  # else another process was first
            raise


def torch_folder() -> Path:
    """Return where the installed torch is, without importing it.

    Raises:
        ClientBuildError: there is none.
    """
    spec = importlib.util.find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        raise ClientBuildError(
            f"models in a solver's process are run by torch, and {sys.executable} has none: pip install torch"
        )
    return Path(spec.submodule_search_locations[0])


def find_cxx_compiler() -> str:
    """Return the C++ compiler: $CXX, else c++, g++ or clang++ on PATH.

    Raises:
        ClientBuildError: there is none.
    """
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    for name in names:
        if found := shutil.which(name):
            return found
    raise ClientBuildError(
        f"no C++ compiler, none of {', '.join(names)} is on PATH: install g++ (Debian: apt install g++; "
        "conda: conda install gxx)"
    )


def _digest(torch: Path, compiler: str, client: Path) -> str:
    real = Path(compiler).resolve()
    facts = [*FLAGS, platform.machine(), str(client), str(torch), str(real), str(real.stat().st_mtime_ns)]
    digest = hashlib.sha256("\n".join(facts).encode())
    files = [torch / "version.py", *sorted(SOURCE.glob("*.cc")), *sorted(SOURCE.glob("*.h"))]
    for path in files:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _compile(torch: Path, compiler: str, client: Path, place: Path) -> None:
    """Compile beside `place`, then move the result there: it is whole, or not there."""
    place.parent.mkdir(parents=True, exist_ok=True)
    headers = (torch / "include", torch / "include" / "torch" / "csrc" / "api" / "include")
    libraries = (torch / "lib", client)
    with tempfile.TemporaryDirectory(prefix="building-", dir=place.parent) as scratch:
        made = Path(scratch) / LIBRARY_NAME
        command = [
            *(compiler, *FLAGS, f"-D_GLIBCXX_USE_CXX11_ABI={_asked_abi()}", f"-I{C_SOURCE}"),
            *(word for path in headers for word in ("-isystem", str(path))),
            *(str(path) for path in sorted(SOURCE.glob("*.cc"))),
            *(f"-L{path}" for path in libraries),
            *("-ltorch", "-ltorch_cpu", "-lc10", "-lpenstock"),
            *(f"-Wl,-rpath,{path}" for path in libraries),
            *("-o", str(made)),
        ]
        _run(f"compiling {LIBRARY_NAME} with {compiler}", command)
        made.replace(place)


def _asked_abi() -> str:
    """Ask the installed torch for its C++ library ABI: 1 from torch 2.7 on, either before."""
    return _run("asking torch for its ABI", [sys.executable, "-c", _ABI]).strip()


def _run(doing: str, command: list[str], directory: Path | None = None) -> str:
    done = subprocess.run(
        command, cwd=directory, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-LOG_TAIL_LINES:])
        raise ClientBuildError(f"{doing} ended with exit code {done.returncode}", tail)
    return done.stdout
