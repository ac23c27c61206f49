"""One inference with a small network, batch 1: in the database against in the process.

The network is an MLP of width 64. The reference is the same TorchScript network run in this process; PING is
the bare round trip.
"""

from __future__ import annotations

import io
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from smartredis import Client

from orchestrator.build import built_module
from sim_clients import Address
from sim_clients.smartredis_environment import environment_for
from tests.bench.measure import Series, compare, pinned, placements
from tests.bench.wire import WireClient
from tests.integration.servers import Module, RedisServer, ServerConfig, system_binary, wheel_binary

WIDTH = 64
REPEAT = 300


def network() -> torch.jit.ScriptModule:
    """Return an MLP of three layers as TorchScript."""
    layers = torch.nn.Sequential(
        torch.nn.Linear(WIDTH, WIDTH), torch.nn.ReLU(), torch.nn.Linear(WIDTH, WIDTH), torch.nn.ReLU(),
        torch.nn.Linear(WIDTH, WIDTH),
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.trace(layers.eval(), torch.zeros(1, WIDTH))


def run(quick: bool) -> dict[str, Any]:
    """Measure on one server, pinned to one core and to two."""
    torch.set_num_threads(1)
    build = built_module(print)
    module = Module(build.module, tuple(build.load_arguments()))
    binary = system_binary() or wheel_binary()
    report: dict[str, Any] = {"server": binary.name}
    with (
        tempfile.TemporaryDirectory() as directory,
        RedisServer(ServerConfig(binary, Path(directory), (module,))) as server,
    ):
        for placement, (client_core, server_core) in placements().items():
            reference, series = _series(server)
            with pinned(client_core, server_core, [server.pid]):
                report[placement] = compare(
                    reference, series, server_pids=[server.pid], rounds=3 if quick else 9
                )
    return report


def _series(server: RedisServer) -> tuple[Series, list[Series]]:
    mlp, blob = network(), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(mlp, blob)
    x = np.random.default_rng(0).random((1, WIDTH), dtype=np.float32)
    with environment_for(Address.parse(server.address)):
        smart = Client(None, logger_name="bench")
    wire = WireClient(server.config.unix_socket)
    smart.set_model("mlp", blob.getvalue(), "TORCH", "CPU")
    smart.put_tensor("x", x)
    eager = torch.from_numpy(x)
    set_x = (b"AI.TENSORSET", b"x", b"FLOAT", b"1", str(WIDTH).encode(), b"BLOB", x.tobytes())
    execute = (b"AI.MODELEXECUTE", b"mlp", b"INPUTS", b"1", b"x", b"OUTPUTS", b"1", b"y")

    def in_process() -> torch.Tensor:
        with torch.no_grad():
            return mlp(eager)

    def whole_by_wire() -> object:
        wire.call(*set_x)
        wire.call(*execute)
        return wire.call(b"AI.TENSORGET", b"y", b"META", b"BLOB")

    def whole_by_smartredis() -> np.ndarray[Any, Any]:
        smart.put_tensor("x", x)
        smart.run_model("mlp", ["x"], ["y"])
        return smart.get_tensor("y")

    np.testing.assert_allclose(whole_by_smartredis(), in_process().numpy(), rtol=1e-5)
    return Series("in process", in_process, REPEAT), [
        Series("PING", lambda: wire.call(b"PING"), REPEAT),
        Series("AI.MODELEXECUTE", lambda: wire.call(*execute), REPEAT),
        Series("set, execute, get", whole_by_wire, REPEAT),
        Series("SmartRedis run_model", lambda: smart.run_model("mlp", ["x"], ["y"]), REPEAT),
        Series("SmartRedis put, run, get", whole_by_smartredis, REPEAT),
    ]
