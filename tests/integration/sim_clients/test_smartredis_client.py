"""What only a real database can show: plain SmartRedis beside us, a full one, a dead one, a clean leave."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import redis
from smartredis import Client as Plain
from smartredis import Dataset

from sim_clients import (
    Address,
    DatabaseFull,
    DatabaseRefused,
    DatabaseUnavailable,
    IncompleteSnapshot,
    InferenceFailed,
    ModelRejected,
    SnapshotError,
    StreamFull,
    connect,
    keys,
)
from sim_clients.smartredis_environment import environment_for
from tests.client_contract import Networks, field
from tests.integration.servers import (
    Module,
    RedisServer,
    ServerBinary,
    ShardCluster,
    StartServer,
    shard_configs,
)
from tests.integration.torchscript import torchscript

OF_STREAM = (b"snapshots", b"{snapshots}.meter", b"{snapshots}.sizes", b"{snapshots}.steps")


@pytest.fixture(autouse=True)
def over_smartredis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_CLIENT", "smartredis")


@pytest.fixture
def address(server: RedisServer) -> Address:
    return Address.parse(server.address)


@pytest.fixture
def plain(address: Address) -> Plain:
    """A SmartRedis client as any solver has it."""
    with environment_for(address):
        return Plain(None, logger_name="plain")


@pytest.fixture
def exported(address: Address, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment of a program that Penstock started."""
    for name, value in address.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PENSTOCK_NAME", "heat_7")
    monkeypatch.setenv("PMI_RANK", "3")
    yield


def test_a_solver_on_plain_smartredis_is_understood(plain: Plain, address: Address) -> None:
    dataset = Dataset("heat_0.0.40")
    dataset.add_tensor("u", field())
    plain.put_dataset(dataset)
    plain.append_to_list("snapshots", dataset)
    found = connect(address).get_snapshot(0)
    assert (found.producer, found.rank, found.step, found.time) == ("heat_0", 0, 40, None)
    np.testing.assert_array_equal(found.fields["u"], field())


def test_a_reader_on_plain_smartredis_understands_us(plain: Plain, address: Address) -> None:
    connect(address, producer="heat_0", rank=1).put_snapshot(40, {"u": field()}, time=1.5)
    (found,) = (Dataset.from_pybind(each) for each in plain.get_datasets_from_list("snapshots"))
    assert found.get_name() == "heat_0.1.40"
    np.testing.assert_array_equal(found.get_tensor("u"), field())
    np.testing.assert_array_equal(found.get_meta_scalars("time"), [1.5])


def test_a_solver_on_plain_smartredis_runs_our_live_model(
    plain: Plain, address: Address, networks: Networks
) -> None:
    trainer = connect(address)
    trainer.put_model("closure", networks.doubles, 1)
    trainer.put_model("closure", networks.triples, 2)
    plain.put_tensor("in", field())
    plain.run_model("closure", ["in"], ["out"])
    np.testing.assert_allclose(plain.get_tensor("out"), 3 * field())


def test_a_model_of_somebody_else_is_not_overwritten(
    plain: Plain, address: Address, networks: Networks
) -> None:
    plain.set_model("closure", networks.doubles, "TORCH", "CPU", tag="mine")
    with pytest.raises(ModelRejected, match="'mine' is not a version"):
        connect(address).put_model("closure", networks.triples, 1)


def test_the_environment_says_where_and_who(exported: None, address: Address) -> None:
    client = connect()
    assert (client.producer, client.rank) == ("heat_7", 3)
    client.put_snapshot(0, {"u": field()})
    assert connect(address).get_snapshot(0).name == "heat_7.3.0"


def test_prefixes_of_the_environment_are_where_smartredis_has_them(
    exported: None, monkeypatch: pytest.MonkeyPatch, db: redis.Redis
) -> None:
    monkeypatch.setenv("SSKEYOUT", "other")
    monkeypatch.setenv("SSKEYIN", "other,more")
    client = connect()
    assert os.environ["SSKEYOUT"] == "other"
    client.put_tensor("t", field())
    client.put_snapshot(0, {"u": field()})
    client.raise_flag("ready")
    ours = {b"other.t", b"other.{heat_7.3.0}.u", b"other.{heat_7.3.0}.meta"}
    assert set(db.keys()) == {*ours, *OF_STREAM, b"{snapshots}.contract", b"flag.ready"}
    db.flushall()
    plain = Plain(logger_name="plain")
    dataset = Dataset("heat_7.3.0")
    dataset.add_tensor("u", field())
    plain.put_dataset(dataset)
    plain.put_tensor("t", field())
    assert set(db.keys()) == ours


def test_nothing_is_printed(address: Address, networks: Networks, capfd: pytest.CaptureFixture[str]) -> None:
    client = connect(address)
    client.put_snapshot(0, {"u": field()})
    client.put_model("closure", networks.doubles, 1)
    client.infer("closure", field())
    with pytest.raises(ModelRejected):
        client.put_model("closure", networks.garbage, 2)
    assert capfd.readouterr() == ("", "")


def test_closing_leaves_only_what_was_put(address: Address, networks: Networks, db: redis.Redis) -> None:
    client = connect(address)
    client.put_model("closure", networks.doubles, 1)
    before = set(db.keys())
    client.infer("closure", field())
    client.infer("closure", field(), version=1)
    assert set(db.keys()) > before
    client.close()
    assert set(db.keys()) == before


def test_clients_of_one_name_do_not_mix_their_inferences(address: Address, networks: Networks) -> None:
    one, other = connect(address, producer="solver"), connect(address, producer="solver")
    one.put_model("closure", networks.doubles, 1)
    one.infer("closure", field())
    other.infer("closure", 10 * field())
    one.close()
    np.testing.assert_allclose(other.infer("closure", field()), 2 * field())


def test_a_dataset_that_says_it_is_complete_and_is_not(
    plain: Plain, address: Address, db: redis.Redis
) -> None:
    """What a failed put_dataset of SmartRedis can leave."""
    db.hset(keys.metadata("heat_0.0.1"), ".COMPLETE", "1")
    db.rpush("snapshots", "{heat_0.0.1}")
    with pytest.raises(IncompleteSnapshot, match="any of its fields"):
        connect(address).get_snapshot(0)


def test_a_field_that_is_no_tensor(address: Address, db: redis.Redis) -> None:
    client = connect(address, producer="heat_0")
    client.put_snapshot(0, {"u": field()})
    db.set(keys.tensor("heat_0.0.0", "u"), "text")
    with pytest.raises(SnapshotError, match="cannot be read as tensors"):
        client.get_snapshot(0)


def test_a_dataset_of_another_name(plain: Plain, address: Address) -> None:
    dataset = Dataset("whatever")
    dataset.add_tensor("u", field())
    plain.put_dataset(dataset)
    plain.append_to_list("snapshots", dataset)
    with pytest.raises(SnapshotError, match=r"'whatever'.*<producer>.<rank>.<step>"):
        connect(address).get_snapshot(0)


def test_a_key_of_another_kind_is_refused_with_the_databases_words(address: Address, db: redis.Redis) -> None:
    db.set("snapshots", "text")
    client = connect(address)
    with pytest.raises(DatabaseRefused, match=r"of stream snapshots.*WRONGTYPE"):
        client.announced()


def test_a_full_database_says_so_and_announces_nothing(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sim_clients.redis_streams.WAIT_S", 1.0)
    server = start_server(options={"maxmemory": "8mb", "maxmemory-policy": "noeviction"})
    client = connect(Address.parse(server.address), producer="heat_0")
    u = np.zeros(250_000, np.float32)
    with pytest.raises(StreamFull, match=r"no memory for 1\.0 MB more: it uses .* of its limit of 8\.4 MB"):
        for step in range(100):
            client.put_snapshot(step, {"u": u})
    failed = client.announced()
    assert failed > 0
    assert client.get_snapshot(failed - 1).step == failed - 1
    with pytest.raises(DatabaseFull, match=r"'t\d' was not stored"):
        for i in range(10):
            client.put_tensor(f"t{i}", np.zeros(250_000))


def test_a_database_that_dies_is_named(
    start_server: StartServer, networks: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SR_CMD_TIMEOUT", "1")
    server = start_server()
    client = connect(Address.parse(server.address), producer="heat_0")
    client.put_model("closure", networks.doubles, 1)
    client.put_snapshot(0, {"u": field()})
    server.kill()
    for action in (
        lambda: client.put_snapshot(1, {"u": field()}),
        lambda: client.announced(),
        lambda: client.get_snapshot(0),
        lambda: client.infer("closure", field()),
        lambda: client.model_version("closure"),
        lambda: client.put_model("closure", networks.doubles, 2),
        lambda: client.flag_raised("stop"),
    ):
        with pytest.raises(DatabaseUnavailable) as caught:
            action()
        assert caught.value.address == server.address
        assert caught.value.__cause__ is not None


def test_a_socket_that_is_not_there(start_server: StartServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SR_CONN_TIMEOUT", "1")
    with pytest.raises(DatabaseUnavailable, match=r"\.gone does not answer \(connect\)"):
        connect(Address.parse(start_server().address + ".gone"))


def test_a_shard_that_dies_is_named(
    server_binary: ServerBinary, module: Module, short_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SR_CMD_TIMEOUT", "1")
    directory = Path(tempfile.mkdtemp(dir=short_directory))
    with ShardCluster(shard_configs(server_binary, directory, (module,), 3)) as cluster:
        address = Address.parse(cluster.address, clustered=True)
        client = connect(address, producer="heat_0")
        client.put_snapshot(0, {"u": field()})
        cluster.shards[1].kill()
        with pytest.raises(DatabaseUnavailable) as caught:
            for step in range(1, 50):
                client.put_snapshot(step, {"u": field()})
        assert caught.value.address == cluster.address


@pytest.mark.parametrize("body", ["return x > 0", "return x[:0]"])
def test_an_output_that_smartredis_cannot_carry_is_named(address: Address, body: str) -> None:
    client = connect(address, producer="solver")
    client.put_model("sign", torchscript(f"def forward(self, x):\n    {body}\n"), 1)
    with pytest.raises(InferenceFailed, match="SmartRedis cannot carry its output") as caught:
        client.infer("sign", field(), version=1)
    assert caught.value.name == "sign@1"
    client.close()


def test_shapes_that_do_not_fit_are_told_in_one_line(address: Address, networks: Networks) -> None:
    client = connect(address, producer="solver")
    client.put_model("product", networks.multiplies_matrices, 1)
    with pytest.raises(InferenceFailed) as caught:
        client.infer("product", field((2, 3)), field((2, 3)))
    assert str(caught.value) == (
        "inference with the model 'product' failed: mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3); "
        "given was float32 (2, 3), float32 (2, 3)"
    )
    assert "Traceback of TorchScript" in str(caught.value.__cause__)
    client.close()


def test_a_stream_that_is_a_tensor_is_named(address: Address) -> None:
    client = connect(address, producer="heat_0")
    client.put_tensor("fields", field())
    with pytest.raises(DatabaseRefused, match=r"get room in the stream fields.*WRONGTYPE"):
        client.put_snapshot(0, {"u": field()}, stream="fields")
    client.close()
