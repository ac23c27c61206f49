"""Co-location: a database beside a program, on the same host, for that program alone.

`colocate` turns an Application into another Application, whose program is this file: it starts a database on
a Unix socket, runs the original program with its address, and ends the database after it. No launcher knows.
A program with ranks has one on each of its hosts: one rank there starts it, as sharing.py says, for all.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from orchestrator.application import Application
from orchestrator.beside import place_here
from orchestrator.database import Database, start_database
from orchestrator.deployment import LOOPBACK, Orchestrator
from orchestrator.environment import RUNTIME_DIR
from orchestrator.errors import PenstockError, UsageError, describe_exit
from orchestrator.guard import ended_by_signals
from orchestrator.hosts import this_host
from orchestrator.joining import PROGRAM
from orchestrator.launchers.base import Job, JobState, Launch
from orchestrator.launchers.local import LocalLauncher
from orchestrator.model_runtime import ModelRuntime
from orchestrator.placement import Placement, RankPlacement, thread_caps, visible_gpus
from orchestrator.progress import say
from orchestrator.redis_config import RedisConfig
from orchestrator.resources import Resources
from orchestrator.run_files import RunFiles, colocated_directory, log_of, runtime_here
from orchestrator.sharing import Share, Shared, host_name
from orchestrator.watcher import RUN_ID_VARIABLE
from sim_clients.identity import NAME_VARIABLE

GRACE_S = 3.0
"""Shorter than an Experiment's, so that this program is through before it is killed itself."""
INTERRUPTED = 130
LONGEST_HOST = 20
"""As much of a host's name, its end, as there is room for in that of a socket."""


def colocate(
    application: Application,
    config: RedisConfig | None = None,
    *,
    redis_server: str | Path | None = None,
    module: Sequence[str] | None = None,
    models: ModelRuntime | None = None,
    port: int | None = None,
    interface: str = LOOPBACK,
    open_port: bool = False,
    resources: Resources | None = None,
) -> Application:
    """Return an Application that runs with a database of its own beside it.

    Bounds of streams are for the program to set, by `bound_stream` before its first put.

    Args:
        application: the program; it finds the database's address in its environment.
        config: how the database is set up.
        redis_server: as for an Orchestrator.
        module: as for an Orchestrator.
        models: as for an Orchestrator.
        port: as for an Orchestrator: on a private Unix socket by default.
        interface: as for an Orchestrator.
        open_port: as for an Orchestrator.
        resources: what the database has on each host of the program: cores to which it is bound, GPUs, and
            memory. One core by default. Where too few are free it shares cores as the program does.

    Raises:
        ApplicationError: its executable is missing or not executable.
        UsageError: what the database is given cannot be right.
    """
    config, models = config or RedisConfig(), models or ModelRuntime()
    listening: dict[str, Any] = {"port": port, "interface": interface, "open_port": open_port}
    # or refuse it here
    Orchestrator(config=config, redis_server=redis_server, module=module, models=models, **listening)
    description = {
        **listening,
        "config": asdict(config),
        "models": asdict(models),
        "redis_server": None if redis_server is None else str(redis_server),
        "module": None if module is None else list(module),
    }
    command = [sys.executable, "-m", PROGRAM, json.dumps(description), *application.argv()]
    root = str(Path(__file__).absolute().parent.parent)
    inherited = application.environment.get("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    path = os.pathsep.join(part for part in (inherited, root) if part)
    environment = {**application.environment, "PYTHONPATH": path}
    both = replace(application.resources, beside=resources or Resources())
    return replace(application, command=command, pre=(), prefix=(), environment=environment, resources=both)


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
    files, name = _files(), os.environ[NAME_VARIABLE]
    # a pid alone is of several hosts, and their databases have their directories side by side
    database_name = f"c{os.getpid()}_{host_name().partition('.')[0][-LONGEST_HOST:]}"
    leads = False
    own, place = tuple(sorted(os.sched_getaffinity(0))), place_here(os.environ, host_name())

    def start(launch: Launch) -> Job:
        started.append(launcher.start(launch))
        return started[-1]

    def start_server(launch: Launch) -> Job:
        return start(launch if place is None else _placed(launch, place))

    def run_program(environment: Mapping[str, str]) -> Job:
        directory = Path.cwd()
        found = {**environment, RUNTIME_DIR: str(files.runtime)}
        at = _bound_here(name, own)
        return start(Launch(name, command, directory, log_of(directory), found, at, inherits=_of_mpi()))

    with Share(files.share(name, host_name())) as share:
        try:
            leads = share.lead()
            if leads:
                if place is not None:
                    os.sched_setaffinity(0, {*own, *place.cores})  # what it starts can be bound to no others
                database = start_database(orchestrator, files, start_server, name=database_name)
                environment = database.address.environment()
                share.publish(environment)
                with _told(environment):
                    return _lead(run_program(environment), database, share, over)
            shared = share.join()
            return _follow(run_program(shared.environment), shared, share, over)
        finally:
            for job in reversed(started):
                job.stop(GRACE_S)
            launcher.close()
            if leads:  # the driver, who removes what is on its own host, may be on another
                files.socket(database_name).unlink(missing_ok=True)
                share.clear()


def _placed(launch: Launch, place: RankPlacement) -> Launch:
    """Return the launch of the database with its cores and GPUs, which are not those of the program."""
    its_own = {**thread_caps(len(place.cores)), **visible_gpus(place.gpus)}
    environment = {**launch.environment, **its_own}
    return replace(launch, environment=environment, placement=_bound_here(launch.name, place.cores))


def _bound_here(name: str, cores: Sequence[int]) -> Placement:
    return Placement((RankPlacement(this_host().name, tuple(cores)),), name)


@contextmanager
def _told(environment: Mapping[str, str]) -> Iterator[None]:
    """Let the Experiment know where the database is, as long as it is there."""
    host = host_name()
    path = colocated_directory(Path.cwd()) / f"{host}.json"
    part = path.with_suffix(".part")
    path.parent.mkdir(exist_ok=True)
    part.write_text(json.dumps({"host": host, "environment": dict(environment)}))
    part.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _lead(job: Job, database: Database, share: Share, over: threading.Event) -> int:
    """Wait for the end of the program, or of its database, which ends the program; then for other ranks."""
    for each in (job, *database.jobs):
        each.when_ended(lambda _: over.set())
    over.wait()
    failure = database.failure()
    if failure is not None:
        raise failure
    if job.state is JobState.COMPLETED:  # else the launcher ends the others
        share.wait_alone()
    database.stop()
    return _exit_code(job)


def _follow(job: Job, shared: Shared, share: Share, over: threading.Event) -> int:
    """Wait for the end of the program, or of the rank that has the database, which ends the program."""
    job.when_ended(lambda _: over.set())
    threading.Thread(target=_await_leader, args=(shared, over), name="penstock-leader", daemon=True).start()
    over.wait()
    if not job.state.final:
        raise share.lost()
    return _exit_code(job)


def _await_leader(shared: Shared, over: threading.Event) -> None:
    with suppress(ProcessLookupError):
        descriptor = os.pidfd_open(shared.leader)
        try:
            select.select([descriptor], [], [])
        finally:
            os.close(descriptor)
    over.set()


def _exit_code(job: Job) -> int:
    if job.returncode is None or job.returncode < 0:
        say(f"{job.name!r} {describe_exit(job.returncode)}")
        return 128 - (job.returncode or 0)
    return job.returncode


def _of_mpi() -> tuple[int, ...]:
    """Return the open files by which mpiexec speaks with a rank: MPICH's Hydra names one."""
    number = os.environ.get("PMI_FD", "")
    return (int(number),) if number.isdigit() else ()


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
    return RunFiles(os.environ[RUN_ID_VARIABLE], Path.cwd(), runtime_here(Path(os.environ[RUNTIME_DIR])))


if __name__ == "__main__":
    sys.exit(main())
