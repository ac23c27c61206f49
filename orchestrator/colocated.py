"""Co-location: a database beside a program, on the same host, for that program alone.

`colocate` turns an Application into another Application, whose program is this file: it starts a database on
a Unix socket, runs the original program with its address, and ends the database after it. No launcher knows.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from orchestrator.application import Application
from orchestrator.database import Database, start_database
from orchestrator.deployment import Orchestrator
from orchestrator.environment import RUNTIME_DIR
from orchestrator.errors import PenstockError, UsageError, describe_exit
from orchestrator.guard import ended_by_signals
from orchestrator.launchers.base import Job, Launch
from orchestrator.launchers.local import LocalLauncher
from orchestrator.model_runtime import ModelRuntime
from orchestrator.progress import say
from orchestrator.redis_config import RedisConfig
from orchestrator.run_files import RunFiles, log_of
from orchestrator.watcher import RUN_ID_VARIABLE
from sim_clients.identity import NAME_VARIABLE

GRACE_S = 3.0
"""Shorter than an Experiment's, so that this program is through before it is killed itself."""
INTERRUPTED = 130


def colocate(
    application: Application,
    config: RedisConfig | None = None,
    *,
    redis_server: str | Path | None = None,
    module: Sequence[str] | None = None,
    models: ModelRuntime | None = None,
) -> Application:
    """Return an Application that runs with a database of its own beside it.

    Args:
        application: the program; it finds the database's address in its environment.
        config: how the database is set up.
        redis_server: as for an Orchestrator.
        module: as for an Orchestrator.
        models: as for an Orchestrator.

    Raises:
        ApplicationError: its executable is missing or not executable.
        UsageError: what the database is given cannot be right.
    """
    config, models = config or RedisConfig(), models or ModelRuntime()
    Orchestrator(config=config, redis_server=redis_server, module=module, models=models)  # or refuse it here
    description = {
        "config": asdict(config),
        "models": asdict(models),
        "redis_server": None if redis_server is None else str(redis_server),
        "module": None if module is None else list(module),
    }
    command = [sys.executable, "-m", "orchestrator.colocated", json.dumps(description), *application.argv()]
    root = str(Path(__file__).absolute().parent.parent)
    inherited = application.environment.get("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    path = os.pathsep.join(part for part in (inherited, root) if part)
    return replace(application, command=command, environment={**application.environment, "PYTHONPATH": path})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a program beside a database and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="orchestrator.colocated", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("description", help="the database, as JSON")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="the program and its arguments")
    given = parser.parse_args(arguments)
    try:
        over = threading.Event()
        with ended_by_signals(over.set):
            return _run(_orchestrator(given.description), given.command, over)
    except PenstockError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(orchestrator: Orchestrator, command: Sequence[str], over: threading.Event) -> int:
    launcher = LocalLauncher()
    started: list[Job] = []

    def start(launch: Launch) -> Job:
        started.append(launcher.start(launch))
        return started[-1]

    try:
        database = start_database(orchestrator, _files(), start, name=f"c{os.getpid()}")
        directory = Path.cwd()
        name = os.environ[NAME_VARIABLE]
        job = start(Launch(name, command, directory, log_of(directory), database.address.environment()))
        return _watch(job, database, over)
    finally:
        for job in reversed(started):
            job.stop(GRACE_S)
        launcher.close()


def _watch(job: Job, database: Database, over: threading.Event) -> int:
    """Wait for the end of the program, or of its database, which ends the program."""
    for each in (job, *database.jobs):
        each.when_ended(lambda _: over.set())
    over.wait()
    failure = database.failure()
    if failure is not None:
        raise failure
    database.stop()
    if job.returncode is None or job.returncode < 0:
        say(f"{job.name!r} {describe_exit(job.returncode)}")
        return 128 - (job.returncode or 0)
    return job.returncode


def _orchestrator(text: str) -> Orchestrator:
    description = json.loads(text)
    config = RedisConfig(**description.pop("config"))
    models = ModelRuntime(**description.pop("models"))
    return Orchestrator(config=config, models=models, **description)


def _files() -> RunFiles:
    missing = [name for name in (RUN_ID_VARIABLE, NAME_VARIABLE, RUNTIME_DIR) if name not in os.environ]
    if missing:
        raise UsageError(
            f"a co-located program is started by an Experiment; the environment has no {missing[0]}"
        )
    return RunFiles(os.environ[RUN_ID_VARIABLE], Path.cwd(), Path(os.environ[RUNTIME_DIR]))


if __name__ == "__main__":
    sys.exit(main())
