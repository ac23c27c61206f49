"""`penstock run --resume RUN`: go on with a run that ended before it was through."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.cli.stop import clean_up
from orchestrator.cli.submit import submit_resumed
from orchestrator.cli.submit_array import submit_again
from orchestrator.config import load_config
from orchestrator.errors import ResumeError, UsageError
from orchestrator.progress import say
from orchestrator.record import Run, SourceEntry, find_run, run_at
from orchestrator.resuming import run_to_resume
from orchestrator.run_files import RECORD
from orchestrator.schedulers.base import Batch, Scheduler
from orchestrator.schedulers.table import job_here
from orchestrator.script import Options, load_main, run_main, source_of


def resume_run(name: str, given: Options, batch: tuple[Scheduler, Batch] | None = None) -> None:
    """Run the experiment of a run again in its directory, with its options.

    Args:
        name: of the run, or the beginning of it, or its directory.
        given: other options; where programs run may be another place now.
        batch: what is asked of which scheduler, where a batch job is to do it.

    Raises:
        UsageError: options that would make another run of it.
        ResumeError: it cannot be resumed, or its configuration has changed.
    """
    if given.quick or given.overrides or given.run_dir is not None or given.preview or given.as_json:
        raise UsageError(
            "--resume goes on with the run as it was: --quick, --set, --run-dir, --preview and --json do not "
            "go with it"
        )
    directory = Path(name)
    run = run_at(directory.absolute()) if (directory / RECORD).is_file() else find_run(name)
    if run.record.array is not None:
        if batch is not None or given != Options(debug=given.debug):
            raise UsageError("--resume of a job array submits it as it was: it takes no other option")
        submit_again(run)
        return
    if run.state == "lost":
        _check_here(run)
        say(clean_up(run))
    job = job_here()
    run = run_to_resume(run.directory, job.number if job is not None else None)
    source = run.record.source
    if source is None:
        raise ResumeError(
            f"the run {run.run_id} cannot be resumed: it was not started by `penstock run` or run_script",
            run=run.run_id,
        )
    options = Options(
        quick=source.quick,
        overrides=source.overrides,
        run_dir=run.directory,
        debug=given.debug,
        launcher=given.launcher or source.launcher,
        hosts=given.hosts,
        mpiexec=given.mpiexec or source.mpiexec,
        resume=True,
        time_limit_s=_first(given.time_limit_s, source.time_limit_s),
        stop_before_s=_first(given.stop_before_s, source.stop_before_s),
        checkpoint_s=_first(given.checkpoint_s, source.checkpoint_s),
    )
    _check_same(run, source, options)
    if batch is not None:
        submit_resumed(run, given, *batch)
    else:
        run_main(load_main(source.experiment), source.experiment, options)


def _first(given: float | None, before: float | None) -> float | None:
    return before if given is None else given


def _check_here(run: Run) -> None:
    """Refuse a run of which something may still run on another host; a batch job that has ended took all."""
    if not run.is_here and run.record.batch is None:
        raise ResumeError(
            f"the run {run.run_id} was lost on the host {run.record.host}: `penstock stop {run.run_id}` "
            "there ends what is left of it, and then it can be resumed",
            run=run.run_id,
        )


def _check_same(run: Run, source: SourceEntry, options: Options) -> None:
    """Refuse another configuration; of another run.py only tell, for what it starts is compared later."""
    if not (source.experiment / "run.py").is_file():
        raise ResumeError(f"the run {run.run_id} was of {source.experiment}, which is gone", run=run.run_id)
    config = load_config(source.experiment, quick=options.quick, overrides=options.overrides)
    now = source_of(source.experiment, options, config)
    before, after = _flat(source.config), _flat(now["config"])
    changed = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    if changed:
        key = changed[0]
        raise ResumeError(
            f"the run {run.run_id} cannot go on: its configuration had {key} = {before.get(key)!r}, and "
            f"config.toml has {after.get(key)!r}. Put that back, or start a new run",
            run=run.run_id,
        )
    if source.script != now["script"]:
        say("run.py has changed since the run began; what it starts is compared program by program")


def _flat(config: Mapping[str, Any], table: str = "") -> dict[str, Any]:
    """Return the values of a configuration by `table.key`."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        inner = _flat(value, f"{table}{key}.") if isinstance(value, Mapping) else {f"{table}{key}": value}
        found.update(inner)
    return found
