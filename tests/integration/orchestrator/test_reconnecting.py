"""The databases of a run from another process, by the directory of the run."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator import Experiment, Orchestrator, reconnect
from orchestrator.errors import RunError
from orchestrator.run_files import read_record, replace_record

DRIVER = """
import numpy as np
from sim_clients import connect
with Experiment("e") as exp:
    print(exp.run_dir, flush=True)
    fields = exp.start(Orchestrator(identifier="fields"))
    exp.start(Orchestrator(shards=2, identifier="weights"))
    connect(fields.address).put_tensor("u", np.ones(3))
    print("ready", flush=True)
    sys.stdin.read()
    exp.wait(exp.start(Application("endless", ["sleep", "1000"])))
"""


def changed(directory: Path, **facts: Any) -> None:
    replace_record(directory, json.dumps({**read_record(directory), **facts}))


def test_every_database_is_reached_and_the_end_is_told(driver: Any) -> None:
    other = driver(DRIVER)
    directory = Path(other.line())
    assert other.line() == "ready"
    run = reconnect(directory)
    assert list(run.databases) == ["fields", "weights"] and run.run_dir == directory
    assert run.database() == run.databases["fields"]
    assert run.database("fields").client().get_tensor("u").tolist() == [1, 1, 1]
    weights = run.database("weights")
    weights.client(producer="p").put_tensor("w", np.zeros(1))
    assert weights.address.clustered and weights.status().keys == 1
    assert set(weights.environment()) >= {"SSDB", "SSDB_weights", "SR_DB_TYPE_weights"}
    assert len(weights.snapshot("saved").shards) == 2
    with pytest.raises(RunError, match="no database 'x'; it has: fields, weights"):
        run.database("x")
    other.signal(signal.SIGTERM)
    other.end()
    with pytest.raises(RunError, match="has ended: interrupted"):
        reconnect(directory)


def test_a_run_whose_driver_was_killed_has_ended(driver: Any, gone: Any) -> None:
    other = driver(DRIVER)
    directory = Path(other.line())
    assert other.line() == "ready"
    pids = [job["pid"] for job in read_record(directory)["jobs"]]
    other.signal(signal.SIGKILL)
    other.end()
    gone(*pids)
    with pytest.raises(RunError, match="has ended: its driver was killed; `penstock stop`"):
        reconnect(directory)


def test_a_directory_without_a_run_and_a_damaged_record_are_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no run in .*: it has no run\.json"):
        reconnect(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RunError, match="cannot be read"):
        reconnect(tmp_path)


def test_a_run_without_a_database_says_so() -> None:
    with Experiment("e") as exp:
        run = reconnect(exp.run_dir)
        assert run.databases == {}
        with pytest.raises(RunError, match="has no database"):
            run.database()


def test_from_another_host_a_socket_is_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    with Experiment("e") as exp:
        exp.start(Orchestrator(module=()))
        monkeypatch.setattr("orchestrator.reconnecting.socket.gethostname", lambda: "elsewhere")
        with pytest.raises(RunError, match=r"on the host .* Unix socket there; .*open_port=True"):
            reconnect(exp.run_dir)
    with Experiment("e") as exp:
        db = exp.start(Orchestrator(module=(), port=0))
        assert reconnect(exp.run_dir).database().address == db.address
