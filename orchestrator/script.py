"""Run an experiment: a directory with a run.py that defines `main(config, *, launcher, run_dir)`."""

from __future__ import annotations

import argparse
import errno
import hashlib
import importlib.util
import json
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TextIO

from orchestrator.config import load_config
from orchestrator.errors import PenstockError, UsageError
from orchestrator.hosts import parse_hosts
from orchestrator.launchers.mpi import MpiLauncher
from orchestrator.launchers.options import AUTO, LaunchOptions
from orchestrator.launchers.table import check_options, find_launcher, is_dry
from orchestrator.policy import is_time
from orchestrator.preview import Preview
from orchestrator.progress import say
from orchestrator.schedulers.table import job_here
from sim_clients.commit import commit_of
from sim_clients.errors import ClientError

FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
SCRIPT = "run.py"
COLLECTION = "experiments"
TIMES = {
    "time-limit": "End the run in order after so many seconds.",
    "stop-before": "End it in order so many seconds before its time is over, or its allocation's.",
    "checkpoint": "Save its databases every so many seconds, for --resume.",
}
"""Options in seconds, and what they are."""


class Main(Protocol):
    """What the run.py of an experiment defines."""

    def __call__(self, config: dict[str, Any], *, launcher: LaunchOptions, run_dir: Path | None) -> None:
        """Run the experiment."""
        ...


@dataclass(frozen=True)
class Options:
    """How an experiment is to be run.

    Attributes:
        quick: with the `[quick]` values of its configuration.
        preview: show hosts, cores and the exact commands, and start nothing.
        overrides: `key=value`, for the configuration.
        run_dir: the directory of the run.
        debug: show where in the code an error was raised.
        launcher: what starts the programs, by name; `slurm` or `pbs` in a job of theirs by default, and
            elsewhere `local`, or `mpi` with hosts.
        as_json: show the preview as JSON.
        hosts: where, as `name:cores,…`; the allocation or this host by default. Others are reached by the
            launchers mpi, slurm, pbs and smartsim.
        mpiexec: of the launchers mpi and pbs.
        resume: go on with the run that is in `run_dir`.
        time_limit_s: as of an Experiment, in place of what the script says; so are the next two.
        stop_before_s: likewise.
        checkpoint_s: likewise.
    """

    quick: bool = False
    preview: bool = False
    overrides: Sequence[str] = ()
    run_dir: Path | None = None
    debug: bool = False
    launcher: str | None = None
    as_json: bool = False
    hosts: str | None = None
    mpiexec: str | None = None
    resume: bool = False
    time_limit_s: float | None = None
    stop_before_s: float | None = None
    checkpoint_s: float | None = None

    def times(self) -> dict[str, float | None]:
        """Return the options in seconds, as they are called on the command line."""
        times = (self.time_limit_s, self.stop_before_s, self.checkpoint_s)
        return dict(zip(TIMES, times, strict=True))

    def launch_options(self) -> LaunchOptions:
        """Return how programs are to be started.

        Raises:
            UsageError: there is no such launcher, host or time, or they do not go together.
        """
        for name, seconds in self.times().items():
            if seconds is not None and not (is_time(seconds) and seconds > 0):
                raise UsageError(f"--{name} {seconds:g}: must be a number of seconds above 0")
        hosts = parse_hosts(self.hosts) if self.hosts is not None else None
        chosen = self.mpiexec is not None and "mpiexec" not in find_launcher(AUTO).takes
        by_mpi = chosen or (hosts is not None and job_here() is None)
        default = MpiLauncher.name if by_mpi else AUTO
        options = LaunchOptions(
            self.launcher or default,
            hosts,
            self.preview,
            mpiexec=self.mpiexec,
            time_limit_s=self.time_limit_s,
            stop_before_s=self.stop_before_s,
            checkpoint_s=self.checkpoint_s,
        )
        check_options(options)
        if not self.as_json:
            return options
        if not is_dry(options):
            raise UsageError("--json shows what would be started: give --preview too")
        return replace(options, show=partial(_print_json, sys.stdout))


def run_script(main: Main, file: str) -> None:
    """Run an experiment as a script of its own: `if __name__ == "__main__": run_script(main, __file__)`.

    Takes the options of `penstock run`, and exits with its exit codes.
    """
    directory = Path(file).absolute().parent
    options = _parse(sys.argv[1:])
    sys.exit(exit_code(lambda: run_main(main, directory, options), debug=options.debug))


def run_main(main: Main, directory: Path, options: Options) -> None:
    """Load the configuration of an experiment and run it."""
    run_with(options.launch_options(), main, directory, options)


def run_with(launcher: LaunchOptions, main: Main, directory: Path, options: Options) -> None:
    """Load the configuration of an experiment and run it by another launcher than that of its options."""
    config = load_config(directory, quick=options.quick, overrides=options.overrides)
    launcher = replace(launcher, resume=options.resume, source=source_of(directory, options, config))
    run_dir = options.run_dir.absolute() if options.run_dir is not None else None
    with redirect_stdout(sys.stderr) if options.as_json else nullcontext():  # what else the script prints
        main(config, launcher=launcher, run_dir=run_dir)


def source_of(directory: Path, options: Options, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run is made from, for its record."""
    plain: dict[str, Any] = json.loads(json.dumps(config, default=str))
    return {
        "experiment": str(directory),
        "quick": options.quick,
        "overrides": list(options.overrides),
        "launcher": options.launcher,
        "mpiexec": options.mpiexec,
        "time_limit_s": options.time_limit_s,
        "stop_before_s": options.stop_before_s,
        "checkpoint_s": options.checkpoint_s,
        "config": plain,
        "commit": commit_of(directory),
        "script": hashlib.sha256((directory / SCRIPT).read_bytes()).hexdigest(),
    }


def find_experiment(name: str) -> Path:
    """Return the directory of an experiment, given itself or by its name under ./experiments.

    Raises:
        UsageError: there is none; names those that are there.
    """
    for directory in (Path(name), Path(COLLECTION) / name):
        if (directory / SCRIPT).is_file():
            return directory.absolute()
    if Path(name).is_dir():
        raise UsageError(f"{name} has no {SCRIPT}: an experiment is a directory with one that defines main()")
    known = sorted(path.parent.name for path in Path(COLLECTION).glob(f"*/{SCRIPT}"))
    there = f"there are: {', '.join(known)}" if known else f"there is no ./{COLLECTION} here: give its path"
    raise UsageError(f"there is no experiment {name!r}; {there}")


def load_main(directory: Path) -> Main:
    """Return `main` of the run.py in a directory; modules beside it can be imported by it.

    Raises:
        UsageError: it defines no main.
    """
    script = directory / SCRIPT
    spec = importlib.util.spec_from_file_location("run", script)
    if spec is None or spec.loader is None:
        raise UsageError(f"{script} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(directory))
    sys.modules["run"] = module
    spec.loader.exec_module(module)
    main: Main | None = getattr(module, "main", None)
    if not callable(main):
        raise UsageError(f"{script} defines no main(config, *, launcher, run_dir)")
    return main


def exit_code(act: Callable[[], None], *, debug: bool = False) -> int:
    """Do something at the edge of the process: print what went wrong, and return the exit code.

    Only Penstock's own errors and a full disk are put into a sentence; a programming error keeps its
    traceback.
    """
    try:
        act()
    except KeyboardInterrupt as error:
        say(str(error) or f"ended by {signal.SIGINT.name}")
        return INTERRUPTED
    except (PenstockError, ClientError) as error:
        if debug:
            traceback.print_exc()
        say(str(error))
        return WRONG_USAGE if isinstance(error, UsageError) else FAILED
    except OSError as error:
        if debug or error.errno not in FULL:
            raise
        say(f"nothing more can be written: {error}")
        return FAILED
    return 0


def _print_json(out: TextIO, preview: Preview) -> None:
    print(json.dumps(preview.as_json(), indent=1), file=out, flush=True)


def _parse(arguments: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--quick", action="store_true", help="shorter, with the [quick] values of config.toml"
    )
    parser.add_argument(
        "--preview", action="store_true", help="show hosts, cores and commands; start nothing"
    )
    parser.add_argument("--json", action="store_true", help="the preview as JSON")
    parser.add_argument("--hosts", metavar="NAME:CORES,...", help="where: by default here")
    parser.add_argument("--mpiexec", metavar="PATH", help="of the launchers mpi and pbs")
    parser.add_argument(
        "--launcher", metavar="NAME", help="what starts the programs: local, mpi, slurm, pbs or smartsim"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a value")
    for name, what in TIMES.items():
        parser.add_argument(f"--{name}", type=float, metavar="S", help=what)
    parser.add_argument("--run-dir", type=Path, metavar="DIR", help="the directory of this run")
    parser.add_argument("--debug", action="store_true", help="show where in the code an error was raised")
    given = parser.parse_args(arguments)
    return Options(
        given.quick,
        given.preview,
        tuple(given.set),
        given.run_dir,
        given.debug,
        given.launcher,
        given.json,
        given.hosts,
        given.mpiexec,
        time_limit_s=given.time_limit,
        stop_before_s=given.stop_before,
        checkpoint_s=given.checkpoint,
    )
