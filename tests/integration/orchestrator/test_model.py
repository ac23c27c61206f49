"""`penstock model`, as a user types it, on the database of a running experiment."""

from __future__ import annotations

import json
from typing import Protocol

import numpy as np
import pytest

from orchestrator import Experiment, Orchestrator
from orchestrator.cli.commands import app
from sim_clients import Client, ModelAbout, ModelMissing, connect
from tests.integration.orchestrator.command import penstock
from tests.integration.torchscript import constant


class Told(Protocol):
    """Runs `penstock model ARGUMENTS` within this process; returns what it prints, or its error."""

    def __call__(self, *arguments: object, code: int = 0) -> str: ...


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    def run(*arguments: object, code: int = 0) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            app(["model", *map(str, arguments)], prog_name="penstock")
        out, error = capsys.readouterr()
        assert ended.value.code == code, error
        return error if code else out

    return run


def answer(client: Client) -> float:
    return float(client.infer("closure", np.ones(1, np.float32))[0])


@pytest.mark.parametrize("shards", [1, 3])
def test_the_life_of_a_model(shards: int, told: Told) -> None:
    with Experiment("e") as exp:
        db = exp.start(Orchestrator(shards=shards))
        client = connect(db.address, producer="trainer", client="native")
        assert "has no model 'closure'; there is none" in told("ls", "closure", code=1)
        assert json.loads(told("ls", "--json")) == {}
        for version in (1, 2, 3):
            about = ModelAbout(loss=1 / version, steps=10 * version, git_commit="3c07a0a")
            client.put_model("closure", constant(float(version)), version, about=about)
        client.report_error("closure", float("nan"), 3)

        (versions,) = json.loads(told("ls", "--json")).values()
        assert [(each["version"], each["live"]) for each in versions] == [(1, False), (2, False), (3, True)]
        assert versions[1]["about"] | {"unix_time": 0, "bytes": 0} == {
            **{"loss": 0.5, "metrics": {}, "samples": None, "steps": 20, "git_commit": "3c07a0a"},
            **{"format": None, "parent": 1, "unix_time": 0, "bytes": 0},
        }
        assert "live" in told("ls", "closure") and "3c07a0a" in told("ls")
        shown = json.loads(told("show", "closure"))
        assert shown["version"] == 3
        assert shown["reported_errors"] == [{"value": "nan", "from": "trainer.0"}]
        assert "has no version 9, it has 1, 2, 3" in told("show", "closure", 9, code=1)

        client.begin_trial("closure", 3, 2, 600.0)
        assert "fallback" in told("ls", "closure")
        assert "would go back to version 2, nothing was removed" in told("rm", "closure", 1, 2, code=1)
        client.end_trial("closure", 3)

        assert told("rollback", "closure") == "closure: version 2 is live\n"
        assert (client.model_version("closure"), answer(client)) == (2, 2.0)
        assert told("promote", "closure", 1) == "closure: version 1 is live\n"
        assert answer(client) == 1.0
        assert "no version from before to go back to" in told("rollback", "closure", code=1)
        assert "'closure' has no version 9, it has 1, 2, 3" in told("promote", "closure", 9, code=1)
        assert "a version is 1 or greater, got 0" in told("promote", "closure", 0, code=2)
        assert "'clo{sure' cannot name a model" in told("promote", "clo{sure", 1, code=1)

        assert "is live, nothing was removed: promote" in told("rm", "closure", 3, 1, code=1)
        assert "'closure' has no version 9, it has 1, 2, 3" in told("rm", "closure", 9, code=1)
        assert (
            told("rm", "closure", 2, 3, 2) == "closure: version 2 is removed\nclosure: version 3 is removed\n"
        )
        assert told("rm", "closure", 2) == "closure: version 2 was removed before\n"
        gone = "version 2 of the model 'closure' is removed, not stored; stored is 1"
        assert gone in told("promote", "closure", 2, code=1)
        with pytest.raises(ModelMissing):
            client.infer("closure", np.ones(1, np.float32), version=3)
        (versions,) = json.loads(told("ls", "--json")).values()
        assert [each["version"] for each in versions] == [1]
        (versions,) = json.loads(told("ls", "--all", "--json")).values()
        assert [each["state"] for each in versions] == ["stored", "removed", "removed"]
        client.close()
    ended = told("ls", code=1)
    assert f"no active run of yours; {exp.run_id} has ended (completed, 20" in ended
    assert f"`penstock report {exp.run_id}`" in ended and str(exp.run_dir) in ended


def test_without_a_run_it_says_so() -> None:
    done = penstock("model", "ls")
    assert (done.returncode, done.stderr) == (1, "penstock: there is no active run of yours\n")
