"""`penstock smartsim-setup`: what SmartSim wants to find, so that `smart build` is not needed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import psutil
import typer

from orchestrator.binaries import find_redis_server
from orchestrator.build import built_module
from orchestrator.cli.options import Debug
from orchestrator.redis_config import RedisConfig, largest_string_bytes
from orchestrator.smartsim import SmartSimFolder, find_redis_cli, find_smartsim, missing_for_colocated


def smartsim_setup(
    smartsim: Annotated[
        str | None,
        typer.Option("--smartsim", metavar="PYTHON", help="The Python that has SmartSim; found by default."),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Where to; in the user's cache by default.")
    ] = None,
    redis_server: Annotated[
        str | None, typer.Option("--redis-server", help="The redis-server to run; found by default.")
    ] = None,
    undo: Annotated[
        bool, typer.Option("--undo", metavar="", help="Remove the folder, and print what unsets the rest.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Let SmartSim 0.8 start its databases with our module, without `smart build`.

    Use it as `eval "$(penstock smartsim-setup)"` in the shell or job script that starts the SmartSim
    driver. It prepares a folder with a redis-server, a redis-cli and the module, each as SmartSim looks
    for it, and prints the variables that lead there. Doing it again brings the folder up to date.
    """
    place = SmartSimFolder(folder.absolute()) if folder is not None else SmartSimFolder.default()
    if undo:
        _say(f"removed {place.path}" if place.remove() else f"{place.path} is not there")
        print(place.unsets())
        return
    installed = find_smartsim(smartsim)
    server, client = find_redis_server(redis_server), find_redis_cli()
    largest = largest_string_bytes(RedisConfig(), psutil.virtual_memory().total)
    place.prepare(installed, built_module(_say), server, client, largest)
    if lacking := missing_for_colocated():
        _say(f"warning: {lacking}")
    _say(f"{place.path} has the module and {server} for {installed}")
    print(place.exports())


def _say(line: str) -> None:
    """Tell the user, not the shell that evaluates stdout."""
    print(f"[smartsim-setup] {line}", file=sys.stderr, flush=True)
