"""`penstock model`: the versions of the models in the database of a running experiment."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from orchestrator.cli.options import Debug, Json
from orchestrator.cli.showing import plain
from orchestrator.errors import RunError, UsageError
from orchestrator.record import find_run
from sim_clients import keys
from sim_clients.address import Address
from sim_clients.errors import ModelMissing
from sim_clients.redis_models import RedisModels
from sim_clients.registry import ModelVersion, previous

WIDE = 150
"""Of what goes into a file or a pipe, where nothing is cut."""

RunId = Annotated[str | None, typer.Option("--run", help="The run; the newest active by default.")]
Identifier = Annotated[
    str, typer.Option("--database", metavar="NAME", help="Its identifier, where there are several.")
]
Name = Annotated[str, typer.Argument(help="Name of the model.", show_default=False)]
Version = Annotated[int, typer.Argument(help="Number of the version.", show_default=False)]

model = typer.Typer(
    help="Show the versions of models in the database of a running experiment, and choose the live one.",
    no_args_is_help=True,
    add_completion=False,
)


@model.command()
def ls(
    name: Annotated[str | None, typer.Argument(help="Name of the model; all by default.")] = None,
    *,
    everything: Annotated[
        bool, typer.Option("--all", metavar="", help="Those too whose archive has been removed.")
    ] = False,
    as_json: Json = False,
    run_id: RunId = None,
    identifier: Identifier = "",
    debug: Debug = False,
) -> None:
    """List the versions of models, oldest first."""
    models = _models(run_id, identifier)
    names = models.names() if name is None else [keys.checked("model", name)]
    found = {each: _known(models, each) if name else models.versions(each) for each in names}
    shown = {
        each: [version for version in versions if everything or version.state != "removed"]
        for each, versions in found.items()
    }
    if as_json:
        as_lists = {each: [_as_json(version) for version in versions] for each, versions in shown.items()}
        print(json.dumps(as_lists, indent=2))
        return
    table = Table("model", "version", "", "loss", "samples", "steps", "MB", "commit", "parent", "posted")
    for each, versions in shown.items():
        for version in versions:
            table.add_row(*map(plain, (each, *_row(version))))
    Console(width=None if sys.stdout.isatty() else WIDE).print(table)


@model.command()
def show(
    name: Name,
    version: Annotated[int | None, typer.Argument(help="The live one by default.")] = None,
    *,
    run_id: RunId = None,
    identifier: Identifier = "",
    debug: Debug = False,
) -> None:
    """Print what is known of a version, and what solvers have reported of it, as JSON."""
    models = _models(run_id, identifier)
    versions = _known(models, name)
    if version is None and not any(each.live for each in versions):
        raise RunError(f"no version of the model {name!r} is live; name one of {_numbers(versions)}")
    found = [each for each in versions if (each.live if version is None else each.version == version)]
    if not found:
        raise _no_version(versions, name, version)
    reports = models.reported_errors(name, found[0].version)
    told = [{"value": _shown(each.value), "from": f"{each.producer}.{each.rank}"} for each in reports]
    print(json.dumps({"model": name} | _as_json(found[0]) | {"reported_errors": told}, indent=2))


@model.command()
def promote(
    name: Name, version: Version, *, run_id: RunId = None, identifier: Identifier = "", debug: Debug = False
) -> None:
    """Make a version that is stored the live one, on all shards."""
    models = _models(run_id, identifier)
    known = _known(models, name)
    with _missing(known, name, _number(version)):
        models.promote(name, version)
    print(f"{name}: version {version} is live")


@model.command()
def rollback(name: Name, *, run_id: RunId = None, identifier: Identifier = "", debug: Debug = False) -> None:
    """Go back to the version that was live before."""
    models = _models(run_id, identifier)
    before = previous(_known(models, name))
    if before is None:
        raise RunError(f"the model {name!r} has no version from before to go back to")
    models.promote(name, before)
    print(f"{name}: version {before} is live")
    typer.echo("a trainer that still runs promotes its next version that is better than this one", err=True)


@model.command()
def rm(
    name: Name,
    versions: Annotated[list[int], typer.Argument(help="Numbers of versions.", show_default=False)],
    *,
    run_id: RunId = None,
    identifier: Identifier = "",
    debug: Debug = False,
) -> None:
    """Remove versions, but neither the live one nor one that a trial would go back to."""
    models = _models(run_id, identifier)
    known = _known(models, name)
    live = next((each.version for each in known if each.live), 0)
    if live in map(_number, versions):
        raise RunError(
            f"version {live} of the model {name!r} is live, nothing was removed: promote another one before"
        )
    if held := [each.version for each in known if each.fallback and each.version in versions]:
        raise RunError(
            f"the trial of version {live} of the model {name!r} would go back to version {held[0]}, "
            "nothing was removed: wait for its end, or promote another one before"
        )
    before = {each.version for each in known if each.state == "removed"}
    for version in dict.fromkeys(versions):
        with _missing(known, name, version):
            models.remove(name, version)
        print(f"{name}: version {version} {'was removed before' if version in before else 'is removed'}")


def _models(run_id: str | None, identifier: str) -> RedisModels:
    database = find_run(run_id, alive=True).database(identifier)
    return RedisModels(Address.from_environment(database.identifier, database.environment))


def _known(models: RedisModels, name: str) -> list[ModelVersion]:
    versions = models.versions(keys.checked("model", name))
    if not versions:
        there = ", ".join(models.names()) or "none"
        raise RunError(f"the database has no model {name!r}; there is {there}")
    return versions


@contextmanager
def _missing(known: list[ModelVersion], name: str, version: int) -> Iterator[None]:
    """Say of a version that is not there which ones are."""
    try:
        yield
    except ModelMissing as error:
        raise _no_version(known, name, version) from error


def _no_version(known: list[ModelVersion], name: str, version: int | None) -> RunError:
    states = {each.version: each.state for each in known}
    if version in states:
        stored = _numbers([each for each in known if each.state == "stored"]) or "none"
        return RunError(
            f"version {version} of the model {name!r} is {states[version]}, not stored; stored is {stored}"
        )
    return RunError(f"the model {name!r} has no version {version}, it has {_numbers(known)}")


def _number(version: int) -> int:
    if version < 1:
        raise UsageError(f"a version is 1 or greater, got {version}")
    return version


def _numbers(versions: list[ModelVersion]) -> str:
    return ", ".join(str(each.version) for each in versions)


def _as_json(version: ModelVersion) -> dict[str, object]:
    facts = {name: getattr(version, name) for name in ("version", "state", "live", "was_live", "fallback")}
    return facts | {"about": dataclasses.asdict(version.about)}


def _shown(value: float) -> float | str:
    """Return a number as JSON can have it: NaN and infinity as text."""
    return value if math.isfinite(value) else str(value)


def _row(version: ModelVersion) -> tuple[str, ...]:
    about = version.about
    state = "" if version.state == "stored" else version.state
    marks = ("live" if version.live else "", "fallback" if version.fallback else "", state)
    standing = " ".join(filter(None, marks))
    posted = (
        "" if about.unix_time is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(about.unix_time))
    )
    numbers = (about.samples, about.steps)
    return (
        str(version.version),
        standing,
        "" if about.loss is None else f"{about.loss:.4g}",
        *("" if number is None else str(number) for number in numbers),
        "" if about.bytes is None else f"{about.bytes / 1e6:.2f}",
        about.git_commit or "",
        "" if about.parent is None else str(about.parent),
        posted,
    )
