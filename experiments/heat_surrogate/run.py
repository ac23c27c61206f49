"""The main job: a network trained beside a running ensemble, and called by a solver meanwhile.

Run it with `penstock run heat_surrogate`, or as a script: `python run.py --quick`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from heat import SEEDS, Plate
from names import EXAMINED
from report import report
from solvers import Solver

from orchestrator import (
    Application,
    ColocatedDatabase,
    Database,
    Ensemble,
    Experiment,
    LaunchOptions,
    Orchestrator,
    colocate,
    run_script,
)
from orchestrator.errors import PlacementError, UsageError
from trainers import BufferRefused, buffer_named

HERE = Path(__file__).parent
TIMEOUT_S = 600.0


def main(config: dict[str, Any], *, launcher: LaunchOptions, run_dir: Path | None) -> None:
    check(config)
    check_database(config)
    check_buffer(config["buffer"], config["training"])
    check_ranks(config["trainer_ranks"], config["training"]["batch_size"])
    check_seeds(config)
    plate = plate_of(**config["plate"])
    seeds = iter(range(config["seed"], sys.maxsize))  # no two plates of a run share one

    def seeds_for(count: int) -> list[int]:
        return [next(seeds) for _ in range(count)]

    def program(script: str, *arguments: str) -> list[str | Path]:
        return [sys.executable, HERE / script, *arguments, *plate.arguments()]

    experiment = Experiment("heat_surrogate", launcher=launcher, run_dir=run_dir)
    solver = Solver(config["solver"])
    simulate = solver.command(experiment)
    waves = [*simulate, "--seed={seed}", *options(config["waves"]), *plate.arguments()]
    learned = Ensemble("heat", waves, grid={"seed": seeds_for(config["members"])})
    held_out = Ensemble("held_out", waves, grid={"seed": seeds_for(config["held_out"])})
    names = ["--producers", *members(learned), "--held_out", *members(held_out)]
    settings = options(
        {name: config[name] for name in ("seed", "buffer")}
        | config["network"]
        | config["training"]
        | {"batch_size": config["training"]["batch_size"] // config["trainer_ranks"]}
    )
    trainer = Application(
        "trainer", in_ranks(program("train.py", *names, *settings), config["trainer_ranks"])
    )
    until = [f"--until={EXAMINED}"] * config["colocated"]
    coupled = Application("coupled", program("coupled.py", f"--seed={next(seeds)}", *until))
    examined = [str(seed) for seed in seeds_for(config["evaluation"]["members"])]
    jumps = f"--jumps={config['evaluation']['jumps']}"
    evaluation = Application("evaluation", program("evaluate.py", "--seeds", *examined, jumps))

    with saying_how_to_be_reached(config["interface"]), experiment as exp:
        solver.compile_into(Path(simulate[0]).parent)
        db = start_database(exp, config, coupled)
        learning = exp.start(trainer, database=db)
        if not config["colocated"]:
            exp.start(coupled, database=db)
        solvers = [exp.start(ensemble, database=db) for ensemble in (learned, held_out)]
        exp.wait(learning, *solvers, timeout_s=TIMEOUT_S, follow=learning)
        exp.start(evaluation, database=db)
        exp.wait(timeout_s=TIMEOUT_S)
    if not exp.dry_run:
        report(exp.run_dir, config["bars"], solvers=members(learned) + members(held_out))


def in_ranks(command: list[str | Path], ranks: int) -> list[str | Path]:
    """Have torchrun start so many processes of a program, on one host."""
    if ranks == 1:
        return command
    python, *program = command
    return [python, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", *program]


@contextmanager
def saying_how_to_be_reached(interface: str) -> Iterator[None]:
    """Say by which setting of this experiment programs on other hosts reach the database."""
    try:
        yield
    except PlacementError as error:
        if interface != "lo" or "cannot be reached" not in str(error):
            raise
        raise UsageError(f"{error}. This experiment is told so by --set interface=hostname") from error


def start_database(
    exp: Experiment, config: dict[str, Any], coupled: Application
) -> Database | Sequence[ColocatedDatabase]:
    """Start the database: beside the coupled solver, which is started with it, or of its own."""
    open_to_others = config["interface"] != "lo"
    listening = {"port": 0, "interface": config["interface"], "open_port": True} if open_to_others else {}
    if config["colocated"]:
        return exp.colocated(exp.start(colocate(coupled, **listening)))
    nodes = config["nodes"] if open_to_others else None
    return exp.start(Orchestrator(shards=config["shards"], nodes=nodes, **listening))


def check_database(config: dict[str, Any]) -> None:
    """Refuse settings that would have no effect."""
    if config["colocated"] and (config["shards"], config["nodes"]) != (1, 1):
        raise UsageError("colocated is one database on one host: leave shards and nodes at 1")
    if config["nodes"] > 1 and config["interface"] == "lo":
        raise UsageError('nodes beyond 1 need an interface that other hosts reach, as interface="hostname"')


def check_buffer(name: str, training: dict[str, Any]) -> None:
    """Refuse a buffer that there is not, and a watermark that it cannot reach."""
    try:
        buffer_named(name, training["capacity"], watermark=training["watermark"], seed=0)
    except BufferRefused as error:
        raise UsageError(str(error)) from error


def check_ranks(ranks: int, batch_size: int) -> None:
    """Refuse ranks that a batch cannot be divided among."""
    if batch_size % ranks:
        raise UsageError(
            f"training.batch_size must be a multiple of trainer_ranks, {ranks}, got {batch_size}"
        )


def check_seeds(config: dict[str, Any]) -> None:
    """Refuse a seed from which there are not enough others."""
    most = SEEDS - config["members"] - config["held_out"] - config["evaluation"]["members"] - 1
    if not 0 <= config["seed"] <= most:
        raise UsageError(f"seed must be 0 to {most}, got {config['seed']}")


def check(config: dict[str, Any], table: str = "") -> None:
    """Refuse counts and sizes that make no sense before anything starts."""
    for name, value in config.items():
        if isinstance(value, dict):
            check(value, f"{table}{name}.")
        elif isinstance(value, int | float) and name not in ("seed", "colocated") and value <= 0:
            raise UsageError(f"{table}{name} must be greater than 0, got {value}")


def plate_of(points: int, jump_steps: int, jump_time: float, diffusivity: list[float]) -> Plate:
    try:
        least, greatest = diffusivity
        return Plate(points, jump_steps, jump_time, least, greatest)
    except ValueError as error:
        raise UsageError(f"the [plate] of the configuration: {error}") from error


def members(ensemble: Ensemble) -> list[str]:
    return [member.name for member in ensemble.members()]


def options(values: dict[str, Any]) -> list[str]:
    return [f"--{name}={value}" for name, value in values.items()]


if __name__ == "__main__":
    run_script(main, __file__)
