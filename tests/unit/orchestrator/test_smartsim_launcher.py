"""The launcher smartsim with a stand-in for SmartSim's process: what that is told, and what it is spared."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator import LaunchOptions, Resources
from orchestrator.errors import PlacementError, StartFailed
from orchestrator.hosts import parse_hosts
from orchestrator.launchers.base import Launch
from orchestrator.launchers.smartsim import SmartSimLauncher
from orchestrator.placing import place

PYTHON = """\
import json, sys
if len(sys.argv) == 3:  # it is asked for its SmartSim
    print(json.dumps({"smartsim": "0.8.0", "numpy": "1.26.4", "package": "/smartsim"}))
    sys.exit()
print(json.dumps({"scheduler": sys.argv[4]}), flush=True)
for line in sys.stdin:
    with open(TOLD, "a") as file:
        file.write(line)
    message = json.loads(line)
    about = {name: message[name] for name in ("key", "do", "name")}
    if message["do"] == "show" and message["name"] == "unshown":
        print(json.dumps({**about, "error": "no words for it"}), flush=True)
    elif message["do"] == "show":
        print(json.dumps({**about, "command": message["command"]}), flush=True)
    elif message["do"] == "stop":  # now it answers to the start too
        print(json.dumps({**about, "do": "start", "error": "no such queue"}), flush=True)
        print(json.dumps({**about, "error": "no such step"}), flush=True)
"""


class StandIn:
    """A Python that says it has SmartSim, notes what it is told, and shows commands.

    It answers a start, that it is refused, when the program is to be stopped, which it refuses too.
    """

    def __init__(self, directory: Path) -> None:
        self._told = directory / "told.jsonl"
        self._told.touch()
        self.python = directory / "python"
        self.python.write_text(f"#!{sys.executable}\n" + PYTHON.replace("TOLD", repr(str(self._told))))
        self.python.chmod(0o755)

    def told(self) -> list[dict[str, Any]]:
        """Return what it was told."""
        return [json.loads(line) for line in self._told.read_text().splitlines()]


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """What the launcher takes for SmartSim."""
    made = StandIn(tmp_path)
    monkeypatch.setenv("PENSTOCK_SMARTSIM", str(made.python))
    return made


@pytest.fixture
def launcher(stand_in: StandIn) -> Iterator[SmartSimLauncher]:
    """The launcher with LSF."""
    made = SmartSimLauncher(options=LaunchOptions("smartsim", scheduler="lsf"))
    yield made
    made.close()


def solver(directory: Path, resources: Resources, hosts: str) -> Launch:
    """Return a solver with ranks at its place."""
    placement = place("solver", resources, parse_hosts(hosts), [])
    log = directory / "log.txt"
    return Launch("solver", ("true",), directory, log, {}, placement, resources.rank_count)


@pytest.mark.parametrize(
    ("resources", "hosts", "bound", "cores"),
    [
        (Resources(ranks=8, cores_per_rank=1), "a:4", False, 1),
        (Resources(ranks=8, cores_per_rank=2), "a:4,b:4", False, 2),
        (Resources(ranks=2, cores_per_rank=2), "a:4", True, 2),
    ],
)
def test_a_rank_gets_the_cores_it_asks_for_also_where_it_shares(
    launcher: SmartSimLauncher,
    stand_in: StandIn,
    tmp_path: Path,
    resources: Resources,
    hosts: str,
    bound: bool,
    cores: int,
) -> None:
    launch = solver(tmp_path, resources, hosts)
    assert launch.placement is not None and launch.placement.bound is bound
    launcher.argv(launch)
    assert [told["cores_per_rank"] for told in stand_in.told()] == [cores]


def test_a_database_beside_ranks_is_refused(
    launcher: SmartSimLauncher, stand_in: StandIn, tmp_path: Path
) -> None:
    launch = solver(tmp_path, Resources(ranks=2, beside=Resources()), "a:4")
    named = "'solver' has a database beside its ranks, and SmartSim cannot do that: their scheduler chooses"
    for act in (launcher.argv, launcher.start):
        with pytest.raises(PlacementError, match=named):
            act(launch)
    assert stand_in.told() == []


def test_a_program_without_a_command_is_not_said_to_be_started(
    launcher: SmartSimLauncher, tmp_path: Path
) -> None:
    launch = replace(solver(tmp_path, Resources(ranks=2), "a:4"), name="unshown")
    with pytest.raises(StartFailed, match=r"^SmartSim has no command for 'unshown': no words for it"):
        launcher.argv(launch)


def test_a_start_that_takes_too_long_is_stopped(
    stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("orchestrator.launchers.smartsim_process.ANSWER_TIMEOUT_S", 0.1)
    launcher = SmartSimLauncher(options=LaunchOptions("smartsim", scheduler="lsf"))
    try:
        with pytest.raises(StartFailed, match=r"SmartSim has not answered for 0\.1 s"):
            launcher.start(solver(tmp_path, Resources(ranks=2), "a:4"))
    finally:
        launcher.close()
    started, stopped = stand_in.told()
    assert (started["do"], stopped) == ("start", {"do": "stop", "key": started["key"], "name": "solver"})
    said = capfd.readouterr().err
    assert "SmartSim could not start solver, and has said so late: no such queue\n" in said
    assert "SmartSim could not stop solver: no such step\n" in said
