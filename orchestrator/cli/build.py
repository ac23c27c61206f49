"""`penstock build`: compile the database module and the C library of the clients, once."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from orchestrator.build import Build, built_module
from orchestrator.cli.options import Debug, Json
from orchestrator.cli.showing import plain
from orchestrator.errors import BuildError
from orchestrator.progress import say
from sim_clients.errors import ClientBuildError
from sim_clients.native_library import built_library
from sim_clients.torch_library import built_torch_library


def build(
    as_json: Json = False,
    force: Annotated[
        bool, typer.Option("--force", metavar="", help="Compile even if it has been done.")
    ] = False,
    local_model: Annotated[
        bool,
        typer.Option(
            "--local-model", metavar="", help="Also what runs models in solvers of C, C++ and Fortran."
        ),
    ] = False,
    debug: Debug = False,
) -> None:
    """Compile the database module against the installed torch, and libpenstock, unless that has been done."""
    client = {"client": str(_library(built_library, force))}
    if local_model:
        client["local_model"] = str(_library(partial(built_torch_library, say), force))
    made = _with_progress(force)
    if as_json:
        print(json.dumps({**made.as_json(), **client}, indent=2))
    else:
        engines = ", ".join(f"{engine.package} {engine.version}" for engine in made.engines)
        print(f"database module: {made.module} ({engines})\nclient library: {client['client']}")
        if local_model:
            print(f"library for models in the solver: {client['local_model']}")


def _library(build: Callable[..., Path], force: bool) -> Path:
    try:
        return build(force=force)
    except ClientBuildError as error:
        raise BuildError(
            error.reason, step="compiling the client library", log_tail=error.log_tail
        ) from error


def _with_progress(force: bool) -> Build:
    """A moving line on a terminal, plain lines otherwise; on stderr, so that the answer stays alone."""
    console = Console(stderr=True)
    if not console.is_terminal:
        return built_module(lambda line: print(line, file=sys.stderr, flush=True), force=force)
    with console.status("looking for the module") as status:
        return built_module(lambda line: status.update(plain(line)), force=force)
