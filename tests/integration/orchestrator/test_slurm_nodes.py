"""The Slurm that the other tests use: it works as they expect, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.watcher import everybody
from tests.integration.orchestrator.slurm_nodes import SlurmNodes, remove_stale

pytestmark = pytest.mark.slurm


def left_by(directory: Path) -> list[str]:
    """Return what remains of a Slurm: processes, mounts, namespaces and devices."""
    processes = [stat.pid for stat in everybody() if stat.pid != os.getpid()]
    ours = [f"process {pid}" for pid in processes if str(directory).encode() in _environment(pid)]
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if str(directory) in line]
    return [*ours, *mounts]


def devices() -> set[str]:
    """Return the bridges and namespaces there are."""
    return {path.name for place in ("/sys/class/net", "/run/netns") for path in Path(place).glob("p*")}


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def test_each_node_has_a_name_an_address_and_cores(slurm: SlurmNodes) -> None:
    told = "echo $(hostname) $SLURM_CPUS_ON_NODE; getent hosts $(hostname)"
    said = slurm.command("srun", "--nodes=4", "--exclusive", "sh", "-c", told).splitlines()
    assert set(said) >= {f"{name} {slurm.cores}" for name in slurm.names}
    assert {line.split()[0] for line in said if line.startswith("10.")} == set(
        map(slurm.address, slurm.names)
    )


def test_it_leaves_nothing_though_a_job_runs(slurm_nodes: SlurmNodes, short_directory: Path) -> None:
    before = devices()
    directory = short_directory / "own"
    directory.mkdir()
    with SlurmNodes(directory, count=1) as nodes:
        assert devices() > before
        nodes.command("sbatch", "--output=none", "--wrap", "setsid sleep 1000")
    assert (left_by(directory), devices()) == ([], before)


def test_what_a_killed_test_run_left_is_removed_by_the_next(
    slurm_nodes: SlurmNodes, short_directory: Path
) -> None:
    before = devices()
    directory = short_directory / "killed"
    directory.mkdir()
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        f"from {SlurmNodes.__module__} import SlurmNodes\n"
        "nodes = SlurmNodes(Path(sys.argv[1]), count=1).__enter__()\n"
        "nodes.command('sbatch', '--output=none', '--wrap', 'setsid sleep 1000')\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(directory)], check=False, timeout=60)
    assert devices() > before
    remove_stale()
    assert (left_by(directory), devices()) == ([], before)
