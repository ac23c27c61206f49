"""What Slurm prints is read; what cannot be asked is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import SlurmError
from orchestrator.hosts import Host
from orchestrator.slurm import ask, find_command, jobs_here, parse_numbers, read_allocation

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


@pytest.mark.parametrize("told", ["", "JobId=1 JobState=COMPLETED NodeList=n[1-2]", "Nodes=n1 CPU_IDs=0"])
def test_a_job_without_hosts_is_told(told: str) -> None:
    with pytest.raises(SlurmError, match="job 7 has; it may have ended") as caught:
        read_allocation("7", told, {})
    assert caught.value.said == told


@pytest.mark.parametrize(("text", "numbers"), [("0", (0,)), ("0-2,5", (0, 1, 2, 5)), ("3,1", (3, 1))])
def test_numbers_are_read(text: str, numbers: tuple[int, ...]) -> None:
    assert parse_numbers(text) == numbers


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
