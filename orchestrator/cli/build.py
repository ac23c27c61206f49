"""`penstock build`: compile the database module and the C library of the clients, once."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from orchestrator.build import Build, built_module
from orchestrator.cli.options import Debug, Json
from orchestrator.cli.showing import plain
from orchestrator.errors import BuildError
from sim_clients.errors import ClientBuildError
from sim_clients.native_library import built_library


def build(
    as_json: Json = False,
    force: Annotated[
        bool, typer.Option("--force", metavar="", help="Compile even if it has been done.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Compile the database module against the installed torch, and libpenstock, unless that has been done."""
    library = _library(force)
    made = _with_progress(force)
    if as_json:
        print(json.dumps({**made.as_json(), "client": str(library)}, indent=2))
    else:
        engines = ", ".join(f"{engine.package} {engine.version}" for engine in made.engines)
        print(f"database module: {made.module} ({engines})\nclient library: {library}")


def _library(force: bool) -> Path:
    try:
        return built_library(force=force)
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
