"""Whose mpiexec it is, what its command line is, and what its exit code means."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Resources
from orchestrator.errors import MpiError, PlacementError, UsageError
from orchestrator.launchers.base import Launch
from orchestrator.launchers.mpi_argv import check_extra_args, mpiexec_argv, program_outcome
from orchestrator.mpiexec import Flavour, Mpiexec, find_mpiexec, recognise
from orchestrator.placement import Placement, RankPlacement
from tests.unit.orchestrator.launches import GPUS, launch, launches

GOLDEN = Path(__file__).parents[2] / "data" / "mpiexec_argv.json"
MPICH = Mpiexec("/usr/bin/mpiexec.mpich", Flavour.MPICH, "4.0.2")
OPEN_MPI = Mpiexec("/usr/bin/mpiexec.openmpi", Flavour.OPEN_MPI, "4.1.4")
PALS = Mpiexec("/opt/cray/pals/1.2/bin/mpiexec", Flavour.PALS, "1.2.12")
ENVIRONMENT = {"SSDB": "10.0.0.1:7000", "OMP_NUM_THREADS": "2"}
LAUNCHES = {
    **launches(ENVIRONMENT),
    "one rank with a GPU": launch(Resources(ranks=1, gpus=1), GPUS, ENVIRONMENT),
}


@pytest.mark.parametrize("mpiexec", [MPICH, OPEN_MPI, PALS], ids=["mpich", "openmpi", "pals"])
@pytest.mark.parametrize("case", LAUNCHES)
def test_command_is_the_recorded_one(mpiexec: Mpiexec, case: str) -> None:
    argv = mpiexec_argv(mpiexec, LAUNCHES[case], root=False)
    assert list(argv) == json.loads(GOLDEN.read_text())[f"{mpiexec.flavour.value}: {case}"]


def test_root_is_allowed_and_extra_arguments_come_first() -> None:
    argv = mpiexec_argv(OPEN_MPI, LAUNCHES["no place"], root=True, extra_args=("--mca", "btl", "self"))
    assert argv[:5] == (OPEN_MPI.executable, "--mca", "btl", "self", "--allow-run-as-root")
    assert "--allow-run-as-root" not in mpiexec_argv(MPICH, LAUNCHES["no place"], root=True)


@pytest.mark.parametrize("wrong", [["-n", "4"], ["--host", "a"], ["-bind-to", "core"], "--mca", [3]])
def test_arguments_that_are_given_already_are_refused(wrong: Any) -> None:
    with pytest.raises(UsageError, match="extra_args"):
        check_extra_args(wrong)
    check_extra_args(["--mca", "btl", "self"])


@pytest.mark.parametrize(
    ("said", "flavour", "version"),
    [
        (
            "HYDRA build details:\n    Version:                                 4.0.2\n",
            Flavour.MPICH,
            "4.0.2",
        ),
        ("mpiexec.openmpi (OpenRTE) 4.1.4\n\nReport bugs", Flavour.OPEN_MPI, "4.1.4"),
        ("mpiexec (Open MPI) 5.0.11\n", Flavour.OPEN_MPI, "5.0.11"),
        ("mpiexec version 1.2.12 revision 8bd0f5d\n", Flavour.PALS, "1.2.12"),
    ],
)
def test_an_mpiexec_is_known_by_what_it_says(said: str, flavour: Flavour, version: str) -> None:
    assert recognise("m", said) == Mpiexec("m", flavour, version)


def test_the_mpiexec_of_pals_is_known_by_its_place_too(tmp_path: Path) -> None:
    place = tmp_path / "opt/cray/pals/1.7/bin/mpiexec"
    place.parent.mkdir(parents=True)
    place.touch()
    link = tmp_path / "mpiexec"
    link.symlink_to(place)
    assert recognise(str(link), "1.7.1\n") == Mpiexec(str(link), Flavour.PALS, "1.7.1")


def test_pals_is_told_only_of_ranks_that_fill_hosts_alike() -> None:
    cores = (RankPlacement("a", (0,)), RankPlacement("b", (0,)), RankPlacement("b", (1,)))
    described = Launch("s", ("true",), Path("/"), Path("/l"), {}, Placement(cores), 3)
    with pytest.raises(PlacementError, match="'s' has 1, 2 ranks on its hosts, and the mpiexec of PALS puts"):
        mpiexec_argv(PALS, described, root=False)


@pytest.mark.parametrize("said", ["", "Intel(R) MPI Library for Linux* OS, Version 2021.9", "usage: mpiexec"])
def test_an_unknown_mpiexec_is_refused_with_what_it_says(said: str) -> None:
    with pytest.raises(MpiError, match="whose mpiexec /x/mpiexec is") as caught:
        recognise("/x/mpiexec", said)
    assert (caught.value.executable, caught.value.said) == ("/x/mpiexec", said)


def test_a_missing_or_broken_mpiexec_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MpiError, match="no mpiexec or mpirun on PATH: install"):
        find_mpiexec()
    with pytest.raises(MpiError, match="no /nowhere/mpiexec on PATH"):
        find_mpiexec("/nowhere/mpiexec")
    broken = tmp_path / "mpiexec"
    broken.write_bytes(b"\x7fELF garbage")
    broken.chmod(0o755)
    with pytest.raises(MpiError, match=f"{broken} --version"):
        find_mpiexec()


def test_the_given_mpiexec_comes_before_that_on_path(tmp_path: Path) -> None:
    given = tmp_path / "mine"
    given.write_text("#!/bin/sh\necho 'mine (Open MPI) 9.9'\n")
    given.chmod(0o755)
    assert find_mpiexec(given) == Mpiexec(str(given), Flavour.OPEN_MPI, "9.9")


@pytest.mark.parametrize(
    ("flavour", "code", "log", "outcome"),
    [
        (Flavour.MPICH, 0, "", 0),
        (Flavour.MPICH, 9, "", 9),
        (Flavour.MPICH, 9, "TERMINATED WITH THE EXIT STRING: Killed (signal 9)\n", -9),
        (Flavour.MPICH, 3, "TERMINATED WITH THE EXIT STRING: Killed (signal 9)\n", 3),
        (Flavour.MPICH, -15, "", -15),
        (Flavour.OPEN_MPI, 3, "", 3),
        (Flavour.OPEN_MPI, 128, "", 128),
        (Flavour.OPEN_MPI, 137, "", -9),
        (Flavour.OPEN_MPI, 132, "mpiexec was unable to launch the specified application", 132),
        (Flavour.OPEN_MPI, 255, "", 255),
        (Flavour.PALS, 0, "n1: rank 3 exited with code 3\n", 0),
        (Flavour.PALS, 137, "n1: rank 3 died from signal 9\nn1: rank 0 died from signal 15\n", -9),
        (Flavour.PALS, 143, "x1.hsn: rank 1 exited with code 3\nx1.hsn: rank 0 died from signal 15\n", 3),
        (Flavour.PALS, 137, "it says: rank 3 exited with code 3\n", -9),
        (Flavour.PALS, 2, "", 2),
    ],
)
def test_exit_codes_are_those_of_the_program(flavour: Flavour, code: int, log: str, outcome: int) -> None:
    assert program_outcome(flavour, code, log) == outcome


def test_the_words_by_which_a_rank_binds_itself_are_shell() -> None:
    """With stand-ins for taskset and the program."""
    ranks = (RankPlacement("a", (0, 1, 2), (4,)), RankPlacement("a", (3,), (5, 6)))
    described = Launch(
        "s", ("sh", "-c", 'echo "$1 $CUDA_VISIBLE_DEVICES" "$cores"', "s", "it's"), Path("/"), Path("/l"), {}
    )
    argv = mpiexec_argv(
        OPEN_MPI, Launch(**{**vars(described), "placement": Placement(ranks), "ranks": 2}), root=False
    )
    own = list(argv[argv.index("-n") + 2 :])
    own[2] = own[2].replace("taskset --cpu-list $cores", "env cores=$cores")
    for rank, said in (("0", "it's 4 0-2"), ("1", "it's 5,6 3")):
        done = subprocess.run(
            own, env={"OMPI_COMM_WORLD_RANK": rank}, capture_output=True, text=True, check=True
        )
        assert done.stdout == f"{said}\n"
