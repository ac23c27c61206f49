"""What Slurm prints is read; what cannot be asked is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.errors import SlurmError
from orchestrator.hosts import Host
from orchestrator.schedulers.arrays import elements_of
from orchestrator.schedulers.slurm import SlurmScheduler
from orchestrator.slurm import (
    ask,
    end_of,
    end_run,
    find_command,
    find_steps,
    jobs_here,
    own_lines,
    parse_numbers,
    read_allocation,
)

WHOLE = "JobId=1 NumNodes=2 JOB_GRES=(null)   Nodes=n[1-2] CPU_IDs=0-3 Mem=0 GRES= MinCPUsNode=1 Power="
PARTS = (
    "JobId=1 JOB_GRES=gpu:3 Nodes=a1 CPU_IDs=0-1,6 Mem=4000 GRES=gpu:a100:2(IDX:0,3) "
    "Nodes=b1 CPU_IDs=2 Mem=1000 GRES=gpu:1(IDX:1) MinCPUsNode=1"
)


def test_whole_nodes_have_all_their_cores() -> None:
    allocation = read_allocation("1", WHOLE, {"n[1-2]": ["n1", "n2"]})
    assert allocation.groups == {}
    assert allocation.inventory.hosts == (Host("n1", (0, 1, 2, 3)), Host("n2", (0, 1, 2, 3)))


def test_parts_of_nodes_have_the_cores_gpus_and_memory_of_the_job() -> None:
    first, second = read_allocation("1", PARTS, {"a1": ["a1"], "b1": ["b1"]}).inventory.hosts
    assert (first.name, first.cores, first.gpus) == ("a1", (0, 1, 6), (0, 3))
    assert (second.cores, second.gpus) == ((2,), (1,))
    assert second.memory_gb == pytest.approx(1.048576)


def test_the_parts_of_a_heterogeneous_job_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    told = "\n".join(
        f"JobId={part + 1} HetJobId=1 HetJobOffset={part} Nodes={nodes} CPU_IDs=0-1 Mem=0 GRES= Power="
        for part, nodes in enumerate(("n1", "n[2-3]"))
    )
    allocation = read_allocation("1", told, {"n1": ["n1"], "n[2-3]": ["n2", "n3"]})
    assert [host.name for host in allocation.inventory.hosts] == ["n1", "n2", "n3"]
    assert allocation.groups == {"n1": 0, "n2": 1, "n3": 1}
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert jobs_here() == "7"
    monkeypatch.setenv("SLURM_JOB_ID_HET_GROUP_0", "7")
    monkeypatch.setenv("SLURM_JOB_ID_HET_GROUP_1", "8")
    assert jobs_here() == "7,8"
    monkeypatch.delenv("SLURM_JOB_ID")
    monkeypatch.delenv("SLURM_JOB_ID_HET_GROUP_0")
    monkeypatch.delenv("SLURM_JOB_ID_HET_GROUP_1")
    assert jobs_here() == ""


def test_the_last_element_of_an_array_is_not_taken_for_all_of_it() -> None:
    """Slurm gives it the number of the array, and tells of all elements when asked for that."""
    last = "JobId=7 ArrayJobId=7 ArrayTaskId=1 JobState=RUNNING EndTime=2026-01-01T02:00:00"
    first = "JobId=8 ArrayJobId=7 ArrayTaskId=0 JobState=RUNNING EndTime=2026-01-01T01:00:00"
    assert own_lines("7", f"{last}\n{first}\n") == last
    assert own_lines("1", WHOLE) == WHOLE
    parts = "JobId=1 HetJobId=1 HetJobOffset=0\nJobId=2 HetJobId=1 HetJobOffset=1"
    assert own_lines("1", parts) == parts


@pytest.mark.parametrize("told", ["", "JobId=1 JobState=COMPLETED NodeList=n[1-2]", "Nodes=n1 CPU_IDs=0"])
def test_a_job_without_hosts_is_told(told: str) -> None:
    with pytest.raises(SlurmError, match="job 7 has; it may have ended") as caught:
        read_allocation("7", told, {})
    assert caught.value.said == told


@pytest.mark.parametrize(("text", "numbers"), [("0", (0,)), ("0-2,5", (0, 1, 2, 5)), ("3,1", (3, 1))])
def test_numbers_are_read(text: str, numbers: tuple[int, ...]) -> None:
    assert parse_numbers(text) == numbers


def test_an_end_in_a_format_of_the_user_is_quoted(squeue: Path) -> None:
    """SLURM_TIME_FORMAT may say so."""
    scontrol = squeue.with_name("scontrol")
    scontrol.write_text("#!/bin/sh\necho JobId=7 EndTime=yesterday\n")
    scontrol.chmod(0o755)
    with pytest.raises(SlurmError, match="when the job 7 ends is not told: its EndTime is 'yesterday'"):
        end_of("7")


def test_a_missing_or_failing_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for miss in (lambda: ask("squeue"), lambda: find_command("squeue")):
        with pytest.raises(SlurmError, match=r"no squeue on PATH: .* --launcher local") as caught:
            miss()
        assert caught.value.command == ("squeue",)
    failing = tmp_path / "squeue"
    failing.write_text("#!/bin/sh\necho 'Unable to contact slurm controller' >&2; exit 1\n")
    failing.chmod(0o755)
    with pytest.raises(SlurmError, match="`squeue --me` was refused: Unable to contact") as caught:
        ask("squeue", "--me")
    assert caught.value.said == "Unable to contact slurm controller"
    failing.write_bytes(b"\x7fELF garbage")
    with pytest.raises(SlurmError, match="squeue could not be asked"):
        ask("squeue")


@pytest.mark.parametrize("line", ["Welcome to the cluster", "7|RUNNING", "x|RUNNING|None"])
def test_what_squeue_does_not_tell_in_columns_is_quoted(squeue: Path, line: str) -> None:
    squeue.write_text(f"#!/bin/sh\necho '{line}'\n")
    with pytest.raises(SlurmError, match=r"`squeue .*` has not told what it was asked for: ") as caught:
        elements_of("7")
    assert caught.value.said == line and repr(line) in str(caught.value)


@pytest.mark.parametrize("ask_for", [SlurmScheduler().jobs, lambda: find_steps("7", "a")])
def test_a_greeting_is_no_job_and_no_step(squeue: Path, ask_for: Callable[[], object]) -> None:
    squeue.write_text("#!/bin/sh\necho Welcome to the cluster\n")
    with pytest.raises(SlurmError, match="has not told what it was asked for: it said 'Welcome to"):
        ask_for()


@pytest.fixture
def squeue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for squeue, to be written by the test, and a scancel that notes what it is asked."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    for name, does in (("squeue", "exit 0"), ("scancel", f'echo "$@" >> {tmp_path}/canceled')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    return tmp_path / "squeue"


def test_steps_are_found_by_their_whole_name_and_those_of_a_run_by_its_id(squeue: Path) -> None:
    names = ("r.a", "r.a.b", "r.a", "r-2.a", "other")
    lines = "\n".join(f"1.{number + 8}|{name}" for number, name in enumerate(names))
    squeue.write_text(f"#!/bin/sh\necho '{lines}'\n")
    assert find_steps("1", "r.a") == ["1.8", "1.10"]
    assert find_steps("1", "r") == []
    squeue.write_text(f"#!/bin/sh\ntest -e {squeue.parent}/canceled || echo '{lines}'\n")
    end_run("1", "r", "/tmp/r")
    asked = (squeue.parent / "canceled").read_text().splitlines()
    assert asked == [f"--ctld --signal=9 1.{number}" for number in (8, 9, 10)]


def test_hosts_are_cleared_also_where_slurm_keeps_a_step_in_its_list(
    squeue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm 22.05 does, for ever, where an srun was killed before it had started a program."""
    monkeypatch.setattr("orchestrator.slurm.TIMEOUT_S", 0.1)
    squeue.write_text("#!/bin/sh\ncase \"$*\" in *--steps*) echo '1.6|r.a';; *) echo '1|RUNNING|2';; esac\n")
    srun = squeue.parent / "srun"
    srun.write_text(f'#!/bin/sh\necho "$@" > {squeue.parent}/cleared\n')
    srun.chmod(0o755)
    with pytest.raises(SlurmError, match=r"lists these steps of r though they were killed: 1\.6\."):
        end_run("1", "r", "/tmp/r")
    assert (squeue.parent / "cleared").read_text().endswith(" /tmp/r\n")


def test_a_job_that_has_ended_has_no_steps_and_another_error_is_one(squeue: Path) -> None:
    squeue.write_text("#!/bin/sh\necho 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1\n")
    assert find_steps("1", "a") == []
    squeue.write_text("#!/bin/sh\necho 'Unable to contact slurm controller' >&2; exit 1\n")
    with pytest.raises(SlurmError, match="Unable to contact"):
        find_steps("1", "a")
