"""The same perceptron in each engine that the module was built for: one client, batch 1, against torch."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from orchestrator.build import built_module
from tests.bench.inference.networks import Network, mlp, mlp_layers
from tests.bench.inference.onnx_file import perceptron
from tests.bench.inference.subject import execute, server, store
from tests.bench.measure import Series, compare, pinned, placements
from tests.bench.wire import WireClient

WIDTH = 64
REPEAT = 1000


def measure(quick: bool) -> dict[str, Any]:
    """Measure every engine on a server of its own, pinned to one core and to two."""
    onnx = replace(mlp(WIDTH), name=f"onnx{WIDTH}", file=perceptron(mlp_layers(WIDTH), WIDTH))
    names = [engine.name for engine in built_module(print).engines]
    report: dict[str, Any] = {}
    with ExitStack() as stack:
        series, pids = [], []
        for name in names:
            arguments = () if name == "TORCH" else ("ONNX_BACKEND", name)
            running = stack.enter_context(server(*arguments))
            wire = WireClient(running.config.unix_socket)
            stack.callback(wire.close)
            series.append(_series(wire, mlp(WIDTH) if name == "TORCH" else onnx, name))
            pids.append(running.pid)
        for placement, (client_core, server_core) in placements().items():
            with pinned(client_core, server_core, pids):
                report[placement] = compare(series[0], series[1:], server_pids=pids, rounds=3 if quick else 9)
    return report


def _series(wire: WireClient, network: Network, engine: str) -> Series:
    store(wire, network, backend="TORCH" if engine == "TORCH" else "ONNX")  # compares the answer with torch's
    words = tuple(word.encode() for word in execute(network))
    return Series(engine, lambda: wire.call(*words), REPEAT)
