"""A closure is learned beside the system it closes, and called at every step of a coarse solver meanwhile.

Run it with `penstock run lorenz96_closure`, or as a script: `python run.py --quick`.
"""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorenz96 import System, steps_of
from names import FITS
from report import report

from orchestrator import (
    Application,
    Ensemble,
    Experiment,
    LaunchOptions,
    Orchestrator,
    run_script,
)
from orchestrator.errors import UsageError
from sim_clients import connect

HERE = Path(__file__).parent
TIMEOUT_S = 600.0
MAY_BE_0 = ("seed", "upstream", "downstream", "coupling")


def main(config: dict[str, Any], *, launcher: LaunchOptions, run_dir: Path | None) -> None:
    check(config)
    system = system_of(config)
    check_times(config)
    check_stencil(config)

    experiment = Experiment("lorenz96_closure", launcher=launcher, run_dir=run_dir)
    made = Programs.of(config, system)
    with experiment as exp:
        db = exp.start(Orchestrator())
        if not exp.dry_run:
            with closing(connect(db.address)) as client:
                client.subscribe(FITS)  # what the trainer has acknowledged is kept for them, too
        learning = exp.start(made.trainer, database=db)
        for program in (made.truths, made.held_out, made.coupled):
            exp.start(program, database=db)
        exp.start(made.references)
        exp.wait(learning, timeout_s=TIMEOUT_S, follow=learning)
        if not exp.dry_run:
            print(
                "the coarse solver goes on by the last version, for its climate; the fits do the same",
                flush=True,
            )
        exp.start(made.fits, database=db)
        exp.wait(timeout_s=TIMEOUT_S)
        exp.start(made.cost, database=db)
        exp.wait(timeout_s=TIMEOUT_S)
    if not exp.dry_run:
        solvers = members(made.truths) + members(made.held_out)
        report(exp.run_dir, config, solvers, members(made.references))


@dataclass(frozen=True)
class Programs:
    """Who runs; the README says what each does."""

    truths: Ensemble
    held_out: Ensemble
    references: Ensemble
    trainer: Application
    coupled: Application
    fits: Application
    cost: Application

    @classmethod
    def of(cls, config: dict[str, Any], system: System) -> Programs:
        """Describe the programs of a run."""
        seeds = iter(range(config["seed"], sys.maxsize))  # no two programs of a run share one
        steps, coupled, reference = config["steps"], config["coupled"], config["reference"]
        every, horizon = {"every": config["every"]}, config["horizon"]

        def program(script: str, *arguments: str, **values: Any) -> list[str | Path]:
            return [sys.executable, HERE / script, *arguments, *options(values), *system.arguments()]

        def ensemble(name: str, count: int, script: str, **values: Any) -> Ensemble:
            command = program(script, "--seed={seed}", **every, **values)
            return Ensemble(name, command, grid={"seed": [next(seeds) for _ in range(count)]})

        whole = {"members": config["members"], "horizon": horizon, "dt": steps["truth"]}
        truths = ensemble("truth", config["truths"], "truth.py", **whole)
        held_out = ensemble("held_out", config["held_out"], "truth.py", **whole)
        many = {"members": reference["members"], "time": reference["time"], "dt": steps["reference"]}
        names = ["--producers", *members(truths), "coupled", "--held_out", *members(held_out)]
        learning = {"seed": config["seed"]} | config["network"] | config["training"] | config["trial"]
        start = {"seed": next(seeds), "members": coupled["members"], "dt": steps["coarse"]}
        start |= {"truth_dt": steps["truth"]}
        free = every | {"spin_up": coupled["spin_up"], "free_time": coupled["horizons"] * horizon}
        nudged = {"nudged": config["members"], "nudging_time": coupled["nudging_time"]}
        return cls(
            truths,
            held_out,
            references=ensemble("reference", reference["runs"], "reference.py", **many),
            trainer=Application("trainer", program("train.py", *names, **learning)),
            coupled=Application("coupled", program("coupled.py", **start, **free, **nudged)),
            fits=Application("fits", program("fits.py", *names, **start, **free)),
            cost=Application("cost", program("cost.py", **start, **config["cost"])),
        )


def check(config: dict[str, Any], table: str = "") -> None:
    """Refuse counts and sizes that make no sense before anything starts."""
    for name, value in config.items():
        if isinstance(value, dict):
            check(value, f"{table}{name}.")
        elif name == "seed" and value < 0:
            raise UsageError(f"seed must be 0 or more, got {value}")
        elif isinstance(value, int | float) and name not in MAY_BE_0 and value <= 0:
            raise UsageError(f"{table}{name} must be greater than 0, got {value}")


def check_times(config: dict[str, Any]) -> None:
    """Refuse times that steps do not make up, and members that the coarse solver does not have."""
    steps, every = config["steps"], config["every"]
    try:
        for dt in steps.values():
            steps_of(every, dt)
        steps_of(steps["coarse"], steps["truth"])
        for time in (config["horizon"], config["coupled"]["spin_up"], config["reference"]["time"]):
            steps_of(time, every)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if config["members"] > config["coupled"]["members"]:
        raise UsageError("coupled.members must be members or more: as many are nudged along them")
    if config["reference"]["runs"] < 2:
        raise UsageError("reference.runs must be 2 or more: their distance is the floor")


def check_stencil(config: dict[str, Any]) -> None:
    """Refuse a stencil that is longer than the circle."""
    most = config["system"]["slow"] - 1
    for side in ("upstream", "downstream"):
        points = config["network"][side]
        if not 0 <= points <= most:
            raise UsageError(f"network.{side} must be 0 to {most}, got {points}")


def members(ensemble: Ensemble) -> list[str]:
    return [member.name for member in ensemble.members()]


def options(values: dict[str, Any]) -> list[str]:
    return [f"--{name}={value}" for name, value in values.items()]


def system_of(config: dict[str, Any]) -> System:
    try:
        return System(**config["system"])
    except ValueError as error:
        raise UsageError(f"the [system] of the configuration: {error}") from error


if __name__ == "__main__":
    run_script(main, __file__)
