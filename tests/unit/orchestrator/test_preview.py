"""What a preview shows, as text and as JSON, and that its lines start the program by hand."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from orchestrator.errors import PlacementError, UsageError
from orchestrator.hosts import parse_hosts
from orchestrator.launchers.base import Launch
from orchestrator.launchers.local import LocalLauncher
from orchestrator.launchers.options import LaunchOptions
from orchestrator.launchers.table import check_options, is_dry, make_launcher
from orchestrator.placement import Placement, RankPlacement
from orchestrator.preview import Preview, Program, shell_text
from orchestrator.run_files import RunFiles

ON_A = Placement((RankPlacement("a", (0,)),), "heat")


def launch(directory: Path, placement: Placement | None = ON_A) -> Launch:
    """A program that tells its place."""
    text = 'echo "$X in $(pwd)"'
    return Launch("heat", ("sh", "-c", text), directory, directory / "log.txt", {"X": "it's"}, placement)


@pytest.fixture
def local():
    """The local launcher, as if this host were two."""
    launcher = LocalLauncher(options=LaunchOptions(hosts=parse_hosts("a:2,b:1")))
    yield launcher
    launcher.close()


def test_lines_start_the_program_by_hand_where_nothing_is_there_yet(
    tmp_path: Path, local: LocalLauncher
) -> None:
    directory = tmp_path / "not there" / "heat"
    described = launch(directory)
    text = shell_text(described, local.argv(described))
    assert text.splitlines()[1].startswith(f"mkdir -p '{directory}' && cd '{directory}'")
    assert "taskset --cpu-list 0 sh -c" in text
    subprocess.run(["sh", "-ec", text], check=True)
    assert (directory / "log.txt").read_text() == f"it's in {directory}\n"


def test_json_says_what_the_text_says(tmp_path: Path, local: LocalLauncher) -> None:
    described = launch(tmp_path / "heat")
    program = Program(described, local.argv(described))
    preview = Preview(
        "toy", "local", RunFiles("id", tmp_path, tmp_path / "rt"), local.inventory(), (program,)
    )
    told = json.loads(json.dumps(preview.as_json()))
    assert [host["name"] for host in told["hosts"]] == ["a", "b"]
    assert told["hosts"][0]["cores"] == [{"core": 0, "programs": ["heat"]}, {"core": 1, "programs": []}]
    (heat,) = told["programs"]
    assert heat["command"] == list(program.command) and heat["environment"] == {"X": "it's"}
    assert heat["ranks"] == [{"rank": 0, "host": "a", "cores": [0], "gpus": []}]
    assert (heat["bound"], heat["exclusive"], told["launcher"]) == (True, False, "local")
    text = str(preview)
    assert "toy: 1 program by the launcher local, on 2 hosts with 3 cores" in text
    assert "     0 | A ." in text and f"mkdir -p {tmp_path} && mkdir -p -m 700 {tmp_path / 'rt'}" in text


def test_unbound_program_is_said_to_be(tmp_path: Path, local: LocalLauncher) -> None:
    described = launch(tmp_path, None)
    assert local.argv(described) == described.command
    program = Program(described, local.argv(described))
    preview = Preview("toy", "local", RunFiles("id", tmp_path, tmp_path), local.inventory(), (program,))
    (told,) = preview.as_json()["programs"]
    assert (told["ranks"], told["bound"]) == ([], False)
    assert "any core of the driver's host" in str(preview)


def test_a_preview_refuses_what_the_launcher_would(tmp_path: Path) -> None:
    two = Launch("heat", ("true",), tmp_path, tmp_path / "log.txt", {}, ON_A, ranks=2)
    launcher = make_launcher(LaunchOptions("local", preview=True), lambda pid: None)
    with pytest.raises(PlacementError, match="2 ranks"):
        launcher.start(two)
    launcher.close()


def test_options_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(UsageError, match=r"this host alone; .* launchers mpi, slurm, pbs, smartsim$"):
        check_options(LaunchOptions(hosts=parse_hosts("a:1")))
    with pytest.raises(UsageError, match="no launcher 'k8s'"):
        check_options(LaunchOptions("k8s"))
    check_options(LaunchOptions(hosts=parse_hosts("a:1"), preview=True))


def test_a_preview_stands_in_for_the_launcher_it_shows() -> None:
    for options in (
        LaunchOptions(preview=True),
        LaunchOptions("dry_run"),
        LaunchOptions("dry_run", preview=True),
    ):
        launcher = make_launcher(options, lambda pid: None)
        assert (launcher.shown, launcher.dry, is_dry(options)) == ("local", True, True)
        launcher.close()
