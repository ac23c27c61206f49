"""What a compiler must be told so that a solver in C, C++ or Fortran finds Penstock's client."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from sim_clients.fortran_library import built_fortran_library
from sim_clients.native_library import SOURCE, built_library
from sim_clients.torch_library import SOURCE as TORCH_SOURCE
from sim_clients.torch_library import Progress, built_torch_fortran_library, built_torch_library


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


def compiler_flags(
    language: Language, *, local_model: bool = False, progress: Progress | None = None
) -> CompilerFlags:
    """Return the flags for a language; compile the client first where that has not been done.

    Args:
        local_model: with the library that runs models in the solver's process.
        progress: called with a line of text where that library is compiled.

    Raises:
        ClientBuildError: no compiler, no room, or the compilation failed.
    """
    library = _linked(built_library().parent, "penstock")
    headers: tuple[str, ...] = (f"-I{SOURCE}",)
    if local_model:
        library = (*_linked(built_torch_library(progress).parent, "penstock_torch"), *library)
        headers = (*headers, f"-I{TORCH_SOURCE}")
    if language is not Language.FORTRAN:
        return CompilerFlags(headers, library)
    folder = built_fortran_library()
    modules: tuple[str, ...] = (f"-I{folder}",)
    library = (*_linked(folder, "penstock_fortran"), *library)
    if local_model:
        beside = built_torch_fortran_library()
        modules, library = (f"-I{beside}", *modules), (*_linked(beside, "penstock_torch_fortran"), *library)
    return CompilerFlags(modules, library)


def _linked(folder: Path, name: str) -> tuple[str, ...]:
    return (f"-L{folder}", f"-l{name}", f"-Wl,-rpath,{folder}")
