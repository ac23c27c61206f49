"""Compile the Fortran module `penstock` with the user's Fortran compiler, and find it again.

Module files are understood by the compiler that made them and no other, so each has a folder of its own:

    <cache>/clients/fortran-<source, compiler and machine>/libpenstock_fortran.so, penstock.mod
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from sim_clients.cache import cache_directory
from sim_clients.errors import ClientBuildError
from sim_clients.native_library import LOG_TAIL_LINES, built_library
from sim_clients.native_library import SOURCE as C_SOURCE

SOURCE = Path(__file__).parent / "fortran"
MODULES = ("penstock_c.f90", "penstock.f90")
DESCRIPTORS = "descriptors.c"
LIBRARY_NAME = "libpenstock_fortran.so"
COMPILERS = ("gfortran", "ifx", "flang", "flang-new", "nvfortran")
C_OF = {"GNU Fortran": "", "ifx": "icx", "flang": "clang", "nvfortran": "nvc"}
"""By a word of `--version`: the C compiler with the same descriptors of arrays; "" is the compiler itself."""


def built_fortran_library() -> Path:
    """Return the folder of the module and its library; compile them if that has not been done yet.

    The compiler is the environment's FC, else the first of gfortran, ifx, flang and nvfortran on PATH.

    Raises:
        ClientBuildError: no Fortran compiler, none for C that fits it, no room, or the compilation failed.
    """
    compiler = find_fortran_compiler()
    version = _run([compiler, "--version"], Path.cwd())
    library = built_library().parent
    place = cache_directory() / "clients" / f"fortran-{_digest(compiler, version, str(library))}"
    if not place.exists():
        try:
            _compile(compiler, _c_compiler(compiler, version), library, place)
        except OSError as error:
            raise ClientBuildError(
                f"the cache {cache_directory()} cannot be written: {error}. "
                "Set PENSTOCK_CACHE to another directory, where there is room"
            ) from error
    return place


def find_fortran_compiler() -> str:
    """Return the Fortran compiler.

    Raises:
        ClientBuildError: there is none.
    """
    names = (os.environ["FC"],) if os.environ.get("FC") else COMPILERS
    for name in names:
        if found := shutil.which(name):
            return found
    raise ClientBuildError(
        f"no Fortran compiler, none of {', '.join(names)} is on PATH: install gfortran (Debian: apt install "
        "gfortran; conda: conda install gfortran), or name yours by FC"
    )


def _c_compiler(fortran: str, version: str) -> str:
    word = next((word for word in C_OF if word in version), None)
    if word is None:
        raise ClientBuildError(
            f"{fortran} is none of {', '.join(C_OF)}: compile {SOURCE} as its files say, with a C compiler "
            "that knows its descriptors"
        )
    if not C_OF[word]:
        return fortran
    number = "".join(re.findall(r"-\d+$", fortran))
    beside = Path(fortran).resolve().parent / C_OF[word]
    for name in (str(beside), f"{C_OF[word]}{number}", C_OF[word]):
        if found := shutil.which(name):
            return found
    raise ClientBuildError(
        f"{fortran} needs {C_OF[word]}, which is neither beside it nor on PATH: install it"
    )


def _digest(*facts: str) -> str:
    digest = hashlib.sha256("\n".join([*facts, platform.machine()]).encode())
    for path in (*(SOURCE / name for name in (*MODULES, DESCRIPTORS)), C_SOURCE / "penstock.h"):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _compile(fortran: str, c: str, library: Path, place: Path) -> None:
    """Compile beside `place`, then move the folder there: it is whole, or not there."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="building-", dir=place.parent) as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        options = ["-O2", "-fPIC", "-c"]
        headers = [f"-I{C_SOURCE}", f"-I{Path(fortran).resolve().parents[1] / 'include' / 'flang'}"]
        _run([c, "-std=c11", "-D_GNU_SOURCE", *options, *headers, str(SOURCE / DESCRIPTORS)], made)
        for name in MODULES:
            _run([fortran, *options, str(SOURCE / name)], made)
        objects = [f"{Path(name).stem}.o" for name in (*MODULES, DESCRIPTORS)]
        linked = [f"-L{library}", "-lpenstock", f"-Wl,-rpath,{library}"]
        _run([fortran, "-shared", "-o", LIBRARY_NAME, *objects, *linked], made)
        for name in objects:
            (made / name).unlink()
        try:
            made.rename(place)
        except OSError:
            if not place.exists():  # else another process was first
                raise


def _run(command: list[str], directory: Path) -> str:
    done = subprocess.run(
        command, cwd=directory, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-LOG_TAIL_LINES:])
        raise ClientBuildError(f"`{' '.join(command)}` ended with exit code {done.returncode}", tail)
    return done.stdout
