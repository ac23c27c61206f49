"""Several databases in one Experiment, and prefixes of keys, as the SmartRedis client takes them."""

from __future__ import annotations

import sys
from pathlib import Path

from orchestrator import Application, Ensemble, Experiment, Orchestrator

HEAD = """\
import numpy as np
from smartredis import Client, ConfigOptions
def client(identifier):
    options = ConfigOptions.create_from_environment(identifier)
    return Client(options, logger_name="test")
"""


def program(directory: Path, text: str) -> list[str | Path]:
    path = directory / "program.py"
    path.write_text(HEAD + text)
    return [sys.executable, path]


def test_a_program_reaches_each_database_by_its_identifier(tmp_path: Path) -> None:
    command = program(
        tmp_path,
        """
fields, weights, plain = client("fields"), client("weights"), client("")
fields.put_tensor("u", np.zeros(3))
assert weights.key_exists("w") and not weights.key_exists("u") and not fields.key_exists("w")
assert plain.key_exists("u") and not plain.key_exists("w")
""",
    )
    store = program_of_one(tmp_path, 'Client(logger_name="s").put_tensor("w", np.ones(2))')
    with Experiment("e") as exp:
        fields = exp.start(Orchestrator(identifier="fields"))
        weights = exp.start(Orchestrator(identifier="weights", shards=2))
        assert {job.name for job in (*fields.jobs, *weights.jobs)} == {
            *("database_fields_0", "database_weights_0", "database_weights_1")
        }
        exp.start(Application("store", store), database=weights).wait()
        exp.start(Application("both", command), database=[fields, weights]).wait()


def program_of_one(directory: Path, text: str) -> list[str | Path]:
    path = directory / "store.py"
    path.write_text(HEAD + text)
    return [sys.executable, path]


def test_members_write_under_their_own_names_and_a_reader_chooses(tmp_path: Path) -> None:
    solver = program_of_one(
        tmp_path,
        """
import sys
mine = Client(logger_name="solver")
mine.use_tensor_ensemble_prefix(True)
mine.put_tensor("u", np.full(2, float(sys.argv[1])))
assert mine.get_tensor("u")[0] == float(sys.argv[1])
""",
    )
    reader = program(
        tmp_path,
        """
reader = Client(logger_name="reader")
assert reader.get_tensor("u").tolist() == [5, 5]
for name, nu in (("heat_1", 7), ("heat_0", 5)):
    reader.set_data_source(name)
    assert reader.get_tensor("u").tolist() == [nu, nu]
reader.use_tensor_ensemble_prefix(False)
reader.put_tensor("plain", np.zeros(1))
assert reader.key_exists("plain") and reader.key_exists("heat_1.u") and not reader.key_exists("u")
""",
    )
    with Experiment("e") as exp:
        db = exp.start(Orchestrator())
        heat = Ensemble("heat", [*solver, "{nu}"], grid={"nu": [5, 7]}, prefix_keys=True)
        exp.wait(exp.start(heat, database=db))
        names = [member.name for member in heat.members()]
        exp.start(Application("reader", reader, reads_from=names), database=db).wait()


def test_our_client_puts_and_gets_tensors_under_the_name_of_its_program(tmp_path: Path) -> None:
    command = program_of_one(
        tmp_path,
        """
from sim_clients import connect
connect().put_snapshot(0, {"u": np.zeros(2)})
assert connect().get_snapshot(0).fields["u"].shape == (2,)
connect().put_tensor("t", np.ones(2))
assert connect().get_tensor("t").tolist() == [1, 1]
assert Client(logger_name="plain").get_tensor("t").tolist() == [1, 1]
""",
    )
    with Experiment("e") as exp:
        db = exp.start(Orchestrator())
        exp.start(Application("a", command, prefix_keys=True), database=db).wait()
