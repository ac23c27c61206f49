"""Compile libpenstock once, and find it again.

It needs a C compiler and nothing else, and takes seconds. What is compiled lies in the user's cache, keyed by
the source and the machine:

    <cache>/clients/<source and machine>/libpenstock.so
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from sim_clients.cache import cache_directory
from sim_clients.errors import ClientBuildError

SOURCE = Path(__file__).parent / "c"
LIBRARY_NAME = "libpenstock.so"
FLAGS = ("-std=c11", "-D_GNU_SOURCE", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-pthread")
LOG_TAIL_LINES = 20


def built_library(*, force: bool = False) -> Path:
    """Return the library for this source and machine; compile it if that has not been done yet.

    Args:
        force: compile even if there is a cached one.

    Raises:
        ClientBuildError: no C compiler, no room, or the compilation failed.
    """
    place = library_place()
    if force or not place.exists():
        try:
            _compile(find_c_compiler(), place)
        except OSError as error:
            raise ClientBuildError(
                f"the cache {cache_directory()} cannot be written: {error}. "
                "Set PENSTOCK_CACHE to another directory, where there is room"
            ) from error
    return place


def cached_library() -> Path | None:
    """Return the library if it has been built for this source and machine; compile nothing."""
    place = library_place()
    return place if place.exists() else None


def library_place() -> Path:
    """Return where the library is, or is to be."""
    return cache_directory() / "clients" / _digest() / LIBRARY_NAME


@functools.cache
def _digest() -> str:
    digest = hashlib.sha256(" ".join([*FLAGS, platform.machine()]).encode())
    for path in sorted(SOURCE.iterdir()):
        if path.suffix in {".c", ".h"}:
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def find_c_compiler() -> str:
    """Return the C compiler: $CC, else cc, gcc or clang on PATH.

    Raises:
        ClientBuildError: there is none.
    """
    names = [os.environ["CC"]] if os.environ.get("CC") else ["cc", "gcc", "clang"]
    for name in names:
        if found := shutil.which(name):
            return found
    raise ClientBuildError(
        f"no C compiler, none of {', '.join(names)} is on PATH: install gcc (Debian: apt install gcc; "
        "conda: conda install gcc)"
    )


def _compile(compiler: str, place: Path) -> None:
    """Compile beside `place`, then move the result there: it is whole, or not there."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="building-", dir=place.parent) as scratch:
        made = Path(scratch) / LIBRARY_NAME
        sources = [str(path) for path in sorted(SOURCE.glob("*.c"))]
        command = [compiler, *FLAGS, *sources, "-o", str(made), "-lm"]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode != 0:
            tail = "\n".join((done.stdout + done.stderr).splitlines()[-LOG_TAIL_LINES:])
            raise ClientBuildError(
                f"compiling libpenstock with {compiler} ended with exit code {done.returncode}", tail
            )
        made.replace(place)
