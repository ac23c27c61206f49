"""What a compiler must be told so that a solver in C, C++ or Fortran finds Penstock's client."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from sim_clients.fortran_library import built_fortran_library
from sim_clients.native_library import SOURCE, built_library


class Language(Enum):
    """What a solver is written in."""

    C = "c"
    CXX = "c++"
    FORTRAN = "fortran"


@dataclass(frozen=True)
class CompilerFlags:
    """Arguments for a compiler.

    Attributes:
        compiling: for every file that uses the client.
        linking: behind all files, when the program is linked. The program finds the libraries when it runs.
    """

    compiling: tuple[str, ...]
    linking: tuple[str, ...]


def compiler_flags(language: Language) -> CompilerFlags:
    """Return the flags for a language; compile the client first where that has not been done.

    Raises:
        ClientBuildError: no compiler, no room, or the compilation failed.
    """
    library = _linked(built_library().parent, "penstock")
    if language is not Language.FORTRAN:
        return CompilerFlags((f"-I{SOURCE}",), library)
    folder = built_fortran_library()
    return CompilerFlags((f"-I{folder}",), (*_linked(folder, "penstock_fortran"), *library))


def _linked(folder: Path, name: str) -> tuple[str, ...]:
    return (f"-L{folder}", f"-l{name}", f"-Wl,-rpath,{folder}")
