"""The command lines of srun, and what its end means."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Resources
from orchestrator.errors import PlacementError, UsageError
from orchestrator.hosts import parse_hosts
from orchestrator.launchers.slurm_argv import (
    check_extra_args,
    lost,
    never_started,
    program_outcome,
    srun_argv,
)
from tests.unit.orchestrator.launches import launch, launches

GOLDEN = Path(__file__).parents[2] / "data" / "srun_argv.json"
ENVIRONMENT = {"PENSTOCK_RUN_ID": "heat-1"}
LAUNCHES = {
    **launches(ENVIRONMENT),
    "many cores": launch(Resources(ranks=1, cores_per_rank=70), parse_hosts("a:128"), ENVIRONMENT),
}


@pytest.mark.parametrize("case", LAUNCHES)
def test_command_is_the_recorded_one(case: str) -> None:
    assert list(srun_argv(LAUNCHES[case])) == json.loads(GOLDEN.read_text())[case]


def test_extra_arguments_come_first_and_a_step_outside_a_run_has_the_name_of_its_program() -> None:
    argv = srun_argv(replace(LAUNCHES["no place"], environment={}), ["--mpi=pmi2"])
    assert argv[:2] == ("srun", "--mpi=pmi2")
    assert "--job-name=solver" in argv


def test_a_step_is_in_one_part_of_a_heterogeneous_job() -> None:
    described = LAUNCHES["hosts alike"]
    assert srun_argv(described, groups={"a": 1, "b": 1, "c": 0})[1] == "--het-group=1"
    with pytest.raises(PlacementError, match="on a, b, which are in 2 parts of a heterogeneous job"):
        srun_argv(described, groups={"a": 0, "b": 1})


@pytest.mark.parametrize(
    "wrong", [["-n", "4"], ["--nodelist=a"], ["--overlap"], ["--cpus-per-task=2"], "--mpi=pmi2", [3]]
)
def test_arguments_that_are_given_already_are_refused(wrong: Any) -> None:
    with pytest.raises(UsageError, match="extra_args"):
        check_extra_args(wrong)
    check_extra_args(["--mpi=pmi2", "--label"])


RANK_3 = "srun: error: n2: task 1: Exited with exit code 3\nsrun: error: n1: task 0: Terminated\n"
SEGFAULT = "srun: error: n2: tasks 0-1: Segmentation fault (core dumped)\nsrun: error: n1: task 2: Killed\n"


@pytest.mark.parametrize(
    ("code", "said", "outcome"),
    [
        (0, "", 0),
        (3, "", 3),
        (137, "", -9),
        (137, "srun: error: n1: task 0: Killed\n", -9),
        (137, "srun: error: n1: task 0: Exited with exit code 137\n", 137),
        (143, RANK_3, 3),
        (143, SEGFAULT, -11),
        (143, "the program says: srun: error: n1: task 0: Killed\n", -15),
        (192, "srun: error: n1: task 0: Some new words\n", -64),
        (233, "srun: error: Application launch failed: Communication connection failure\n", 233),
    ],
)
def test_exit_codes_are_those_of_the_rank_that_failed_first(code: int, said: str, outcome: int) -> None:
    assert program_outcome(code, said) == outcome


def test_a_step_whose_node_has_failed_is_lost_though_srun_ends_with_0() -> None:
    said = "up\nsrun: error: Node failure on n2\nsrun: Job step aborted: Waiting up to 7 seconds\n"
    assert lost(said) == "is lost: Node failure on n2"
    assert lost("the program says: srun: Job step aborted\n") is None


def test_a_step_that_never_started_is_told_from_a_program_that_failed() -> None:
    said = "Unable to create step for job 1: Requested node configuration is not available"
    assert never_started(f"x\nsrun: error: {said}\n") == f"has never started: {said}"
    assert never_started(RANK_3) is None
