"""One client, batch 1: the same network in a process by libtorch, and in the database in every way to ask.

The reference is libtorch in C++ alone. What the database adds is a figure of its own: a run, less PING's
round trip, less the reference. A network that runs again and again finds its weights and code in the caches;
what it loses by a round trip between two runs, in its own process, is seen by PING and the run in turn.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from smartredis import Client

from sim_clients import Address, connect
from sim_clients.smartredis_environment import environment_for
from tests.bench.inference.in_process import InProcess
from tests.bench.inference.networks import Network, cnn, mlp
from tests.bench.inference.subject import execute, server, set_input, store
from tests.bench.measure import Checked, Series, bind, compare, pinned, placements
from tests.bench.wire import WireClient
from tests.integration.servers import RedisServer

REPEAT = 1000
REPEAT_ALONE = 4000
RUN = "AI.MODELEXECUTE"


def measure(quick: bool) -> dict[str, Any]:
    """Measure an MLP of width 64 and a CNN, pinned to one core and to two."""
    torch.set_num_threads(1)
    report: dict[str, Any] = {}
    for network in (mlp(64),) if quick else (mlp(64), cnn()):
        with server() as running:
            report[network.name] = _of(network, running, quick)
    return report


def _of(network: Network, running: RedisServer, quick: bool) -> dict[str, Any]:
    report: dict[str, Any] = {}
    series = _series(network, running)
    with (
        TemporaryDirectory() as directory,
        InProcess(network.file, network.shape, Path(directory), network.name) as alone,
    ):
        np.testing.assert_allclose(alone.total, network.answer().sum(), rtol=1e-3)
        reference = Series(
            "in process", lambda: alone.seconds(REPEAT_ALONE), self_timed=True, requests=REPEAT_ALONE
        )
        for placement, (client_core, server_core) in placements().items():
            with pinned(client_core, server_core, [running.pid]):
                bind(alone.pid, {client_core})
                pids = [running.pid, alone.pid]
                found = compare(reference, series, server_pids=pids, rounds=3 if quick else 9)
            report[placement] = found | {"over_a_round_trip_us": _added(found)}
    return report


def _added(report: dict[str, Any]) -> float:
    """Return what the database adds to a round trip and the network itself, in µs."""
    wall = {row["name"]: row["wall_us"] for row in report["series"]}
    return float(wall[RUN] - wall["PING"] - wall["in process"])


def _series(network: Network, running: RedisServer) -> list[Series]:
    wire, smart = WireClient(running.config.unix_socket), _smartredis(running)
    store(wire, network)
    x, run = network.input(), tuple(word.encode() for word in execute(network))
    key, given, made = run[1], run[4], run[7]
    get = (b"AI.TENSORGET", made, b"BLOB")
    answer = bytes(wire.call(*get))  # type: ignore[arg-type]  # compared with torch's by store()
    eager = torch.from_numpy(x)

    def by_python() -> Any:
        with torch.no_grad():
            return network.module(eager).numpy()

    def ping() -> Any:
        return wire.call(b"PING")

    def set_run_get() -> Any:
        wire.call(*set_input(network))
        wire.call(*run)
        return wire.call(*get)

    def by_dag() -> Any:
        # One command, which moves no tensor to a key: set, run and get are done under the one name {x}.
        steps = (b"|>", *set_input(network), b"|>", *run, b"|>", *get)
        return wire.call(b"AI.DAGEXECUTE", b"ROUTING", given, *steps)[2]  # type: ignore[index]

    client = connect(Address.parse(running.address), client="native")
    client.put_model("local", network.file, 1)
    local = client.local_model("local")

    def by_local_model() -> Any:
        return local(x).tobytes()

    def by_infer() -> Any:
        return client.infer("local", x).tobytes()

    def by_run_model() -> None:
        smart.run_model(key.decode(), [given.decode()], [made.decode()])

    def by_smartredis() -> Any:
        smart.put_tensor(given.decode(), x)
        by_run_model()
        return smart.get_tensor(made.decode())

    return [
        Series("in process, Python", by_python, REPEAT),
        Series("local_model, Python", Checked(by_local_model, answer), REPEAT),
        Series("PING", ping, REPEAT),
        Series("PING and in process, Python", lambda: (ping(), by_python())[1], REPEAT),
        Series(RUN, lambda: wire.call(*run), REPEAT),
        Series("set, execute, get", Checked(set_run_get, answer), REPEAT),
        Series("AI.DAGEXECUTE", Checked(by_dag, answer), REPEAT),
        Series("client.infer", Checked(by_infer, answer), REPEAT),
        Series("SmartRedis run_model", by_run_model, REPEAT),
        Series("SmartRedis put, run, get", Checked(by_smartredis, answer), REPEAT),
    ]


def _smartredis(running: RedisServer) -> Client:
    with environment_for(Address.parse(running.address)):
        return Client(None, logger_name="bench")
