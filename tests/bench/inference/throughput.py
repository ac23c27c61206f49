"""Many clients: the rate of small and large networks, with and without batching, against GET's.

redis-benchmark asks for both, without pipelining. After each run AI.INFO must have counted every request and
no error, and the answer in the database must be torch's.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.bench.inference import load
from tests.bench.inference.in_process import InProcess
from tests.bench.inference.networks import WIDTHS, Network, cnn, large_cnn, mlp
from tests.bench.inference.subject import check, execute, key_of, run_counts, server, store
from tests.bench.measure import Series, bind, compare, pinned, placements
from tests.bench.wire import WireClient
from tests.integration.servers import RedisServer

CLIENTS = (1, 8, 16, 64)
CNN_CLIENTS = 4
BATCH = 64
SECONDS = 0.3
"""What one measurement of the throughput takes, about."""


def measure(quick: bool) -> dict[str, Any]:
    """Measure networks of several widths from several numbers of clients, pinned to one core and to two."""
    networks = [mlp(width) for width in (WIDTHS[:1] if quick else WIDTHS)]
    report: dict[str, Any] = {}
    with server() as running:
        wire = WireClient(running.config.unix_socket)
        wire.call(b"SET", b"plain", bytes(4 * WIDTHS[0]))
        for network in networks:
            store(wire, network)
            store(wire, network, BATCH)
        for placement, (client_core, server_core) in placements().items():
            with pinned(client_core, server_core, [running.pid]):
                report[placement] = {
                    f"{clients} clients": _compared(running, wire, networks, clients, quick)
                    for clients in ((8,) if quick else CLIENTS)
                }
        wire.close()
    return report


def _compared(
    running: RedisServer, wire: WireClient, networks: Sequence[Network], clients: int, quick: bool
) -> dict[str, Any]:
    socket = running.config.unix_socket
    get = ("GET", "plain")
    series = [_loaded(running, wire, network, batch, clients) for network in networks for batch in (0, BATCH)]
    count = _sized(socket, clients, get)
    reference = Series(
        "GET", lambda: load.seconds(socket, clients, count, get), self_timed=True, requests=count
    )
    return compare(reference, series, server_pids=[running.pid], rounds=3 if quick else 9)


def _loaded(running: RedisServer, wire: WireClient, network: Network, batch: int, clients: int) -> Series:
    """Return the series of one network, which checks every run of its own."""
    socket, words = running.config.unix_socket, execute(network, batch)
    count = _sized(socket, clients, words)

    def operation() -> float:
        before = run_counts(wire, key_of(network, batch))
        took = load.seconds(socket, clients, count, words)
        runs, errors = run_counts(wire, key_of(network, batch))
        if (runs - before[0], errors - before[1]) != (count, 0):
            raise AssertionError(f"{count} runs were asked for; {runs - before[0]} ran, {errors} failed")
        check(wire, network, batch)
        return took

    name = f"{network.name}, BATCHSIZE {batch}" if batch else network.name
    return Series(name, operation, self_timed=True, requests=count)


def _sized(socket: Path, clients: int, words: Sequence[str]) -> int:
    """Return how many requests take about SECONDS."""
    tried = 50 * clients
    rate = load.requests_per_second(socket, clients, tried, words)
    return max(2 * clients, int(SECONDS * rate))


def measure_cnn(quick: bool) -> dict[str, Any]:
    """Measure CNNs from four clients against libtorch in a process on the same cores."""
    cores = sorted({core for pair in placements().values() for core in pair})
    counts = (1,) if quick or len(cores) == 1 else (1, 2)
    return {
        f"{network.name}, {count} core{'s' * (count > 1)}": _cnn_on(network, cores[:count], quick)
        for network in ((cnn(),) if quick else (cnn(), large_cnn()))
        for count in counts
    }


def _cnn_on(network: Network, cores: Sequence[int], quick: bool) -> dict[str, Any]:
    """Compare the process with a plain database and one that optimizes, with as many threads each."""
    threads = str(len(cores))
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory()))
        alone = stack.enter_context(InProcess(network.file, network.shape, directory, network.name))
        bind(alone.pid, set(cores))
        stack.enter_context(pinned(cores[0], cores[0], []))
        series, pids = [], [alone.pid]
        for how, arguments in {"": (), ", FREEZE": ("FREEZE", "yes")}.items():
            running = stack.enter_context(server("THREADS_PER_QUEUE", threads, *arguments))
            wire = WireClient(running.config.unix_socket)
            stack.callback(wire.close)
            pids.append(running.pid)
            for batch in (0, BATCH):
                store(wire, network, batch)
                bind(running.pid, set(cores))
                one = _loaded(running, wire, network, batch, CNN_CLIENTS)
                series.append(replace(one, name=one.name + how))
        count = max(16, int(SECONDS / (alone.seconds(32) / 32)))
        reference = Series(
            "in process", lambda: alone.seconds(count, len(cores)), self_timed=True, requests=count
        )
        return compare(reference, series, server_pids=pids, rounds=3 if quick else 9)
