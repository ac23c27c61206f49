"""`penstock flags`: what a compiler must be told so that a solver finds the client."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from orchestrator.cli.options import Debug
from orchestrator.errors import UsageError
from orchestrator.progress import say
from sim_clients.compiler_flags import Language, compiler_flags

LANGUAGES = [language.value for language in Language]


def flags(
    language: Annotated[
        str,
        typer.Argument(metavar="LANGUAGE", help=f"What the solver is written in: {' or '.join(LANGUAGES)}."),
    ] = Language.C.value,
    compiling: Annotated[
        bool, typer.Option("--cflags", metavar="", help="Only those for compiling a file.")
    ] = False,
    linking: Annotated[
        bool, typer.Option("--libs", metavar="", help="Only those for linking the program.")
    ] = False,
    local_model: Annotated[
        bool,
        typer.Option("--local-model", metavar="", help="For running models in the solver's process, too."),
    ] = False,
    debug: Debug = False,
) -> None:
    """Print what a compiler must be told for a solver in C, C++ or Fortran: cc solver.c $(penstock flags)."""
    if language not in LANGUAGES:
        raise UsageError(f"there is no client for {language!r}; there are: {', '.join(LANGUAGES)}")
    known = compiler_flags(Language(language), local_model=local_model, progress=say)
    both = compiling == linking
    words = (known.compiling if compiling or both else ()) + (known.linking if linking or both else ())
    print(shlex.join(words))
