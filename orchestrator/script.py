"""Run an experiment: a directory with a run.py that defines `main(config, *, launcher, run_dir)`."""

from __future__ import annotations

import argparse
import importlib.util
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from orchestrator.config import load_config
from orchestrator.errors import PenstockError, UsageError
from orchestrator.launchers import find_launcher
from orchestrator.launchers.dry_run import DryRunLauncher
from orchestrator.launchers.local import LocalLauncher
from orchestrator.progress import say
from sim_clients.errors import ClientError

FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130
SCRIPT = "run.py"
COLLECTION = "experiments"


class Main(Protocol):
    """What the run.py of an experiment defines."""

    def __call__(self, config: dict[str, Any], *, launcher: str, run_dir: Path | None) -> None:
        """Run the experiment."""
        ...


@dataclass(frozen=True)
class Options:
    """How an experiment is to be run.

    Attributes:
        quick: with the `[quick]` values of its configuration.
        preview: print the exact commands and start nothing: the launcher dry_run.
        overrides: `key=value`, for the configuration.
        run_dir: the directory of the run.
        debug: show where in the code an error was raised.
        launcher: what starts the programs, by name; `local` by default.
    """

    quick: bool = False
    preview: bool = False
    overrides: Sequence[str] = ()
    run_dir: Path | None = None
    debug: bool = False
    launcher: str | None = None

    def launcher_name(self) -> str:
        """Return the name of the launcher to start programs with.

        Raises:
            UsageError: there is none of this name, or two are asked for.
        """
        if self.preview and self.launcher not in (None, DryRunLauncher.name):
            raise UsageError(f"give --preview or --launcher {self.launcher}, not both")
        default = DryRunLauncher if self.preview else LocalLauncher
        return find_launcher(self.launcher or default.name).name


def run_script(main: Main, file: str) -> None:
    """Run an experiment as a script of its own: `if __name__ == "__main__": run_script(main, __file__)`.

    Takes the options of `penstock run`, and exits with its exit codes.
    """
    directory = Path(file).absolute().parent
    options = _parse(sys.argv[1:])
    sys.exit(exit_code(lambda: run_main(main, directory, options), debug=options.debug))


def run_main(main: Main, directory: Path, options: Options) -> None:
    """Load the configuration of an experiment and run it."""
    launcher = options.launcher_name()
    config = load_config(directory, quick=options.quick, overrides=options.overrides)
    run_dir = options.run_dir.absolute() if options.run_dir is not None else None
    main(config, launcher=launcher, run_dir=run_dir)


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

    Only Penstock's own errors are put into a sentence; a programming error keeps its traceback.
    """
    try:
        act()
    except KeyboardInterrupt as error:
        say(str(error) or f"ended by {signal.SIGINT.name}")
        return INTERRUPTED
    except (PenstockError, ClientError) as error:
        if debug:
            traceback.print_exc()
        wrong_usage = isinstance(error, UsageError)
        say(f"{error}" if debug or wrong_usage else f"{error}\n(--debug shows where this was raised)")
        return WRONG_USAGE if wrong_usage else FAILED
    return 0


def _parse(arguments: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--quick", action="store_true", help="shorter, with the [quick] values of config.toml"
    )
    parser.add_argument("--preview", action="store_true", help="print the exact commands and start nothing")
    parser.add_argument("--launcher", metavar="NAME", help="what starts the programs: local by default")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a value")
    parser.add_argument("--run-dir", type=Path, metavar="DIR", help="the directory of this run")
    parser.add_argument("--debug", action="store_true", help="show where in the code an error was raised")
    given = parser.parse_args(arguments)
    return Options(given.quick, given.preview, tuple(given.set), given.run_dir, given.debug, given.launcher)
