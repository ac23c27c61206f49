"""A live server whose module is compiled with a sanitizer, under 64 clients that store, run and vanish.

The backend is the fake one of the unit tests, compiled alike: libtorch, which is not, would fill the report
with what it alone knows to be in order. Redis is not compiled with the sanitizer either; its locks are seen,
and its own leaks are named in `suppressions/`.
"""

from __future__ import annotations

import dataclasses
import os
import random
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import command_of
from tests.integration.module.arena_client import ArenaClient, wait_for
from tests.integration.module.long_runs import run_all
from tests.integration.module.test_arena_kill import check_whole, victims
from tests.integration.servers import (
    Module,
    RedisServer,
    ServerBinary,
    ServerConfig,
    wait_until,
    wheel_binary,
)
from tests.steps import run_step
from tests.unit.module.test_cores import SOURCE

DEADLINE_S = 900.0
CLIENTS = 64
ROUNDS = int(os.environ.get("PENSTOCK_SANITIZE_ROUNDS", "10"))
REPORTED = 66
"""The exit status of a server whose sanitizer had something to say."""
SUPPRESSIONS = Path(__file__).parent / "suppressions"


@dataclasses.dataclass(frozen=True)
class Sanitizer:
    flags: str
    libraries: tuple[str, ...]
    options: str


SANITIZERS = {
    "thread": Sanitizer("thread", ("libtsan.so",), "TSAN_OPTIONS"),
    "address": Sanitizer("address,undefined", ("libasan.so", "libubsan.so"), "ASAN_OPTIONS"),
}


@pytest.fixture(scope="module", params=SANITIZERS)
def sanitizer(request: pytest.FixtureRequest) -> Sanitizer:
    return SANITIZERS[request.param]


@pytest.fixture(scope="module")
def sanitized(sanitizer: Sanitizer, tmp_path_factory: pytest.TempPathFactory) -> Module:
    """The module and the fake backend, compiled with the sanitizer."""
    work = tmp_path_factory.mktemp("sanitized")
    options = ["-DPENSTOCK_TESTS=ON", "-DCMAKE_BUILD_TYPE=Release", f"-DPENSTOCK_SANITIZE={sanitizer.flags}"]
    run_step(["cmake", "-S", str(SOURCE), "-B", str(work), *options])
    run_step(["cmake", "--build", str(work), "--target", "penstock_ai", "fake_backend", "--parallel", "2"])
    backend = str(work / "tests" / "fake_backend.so")
    return Module(
        work / "penstock_ai.so",
        ("TORCH", backend, "THREADS_PER_QUEUE", "3", "MODEL_STORE_TIMEOUT", "1", "ARENA", "16"),
    )


def library(name: str) -> str:
    """Return where the compiler keeps a sanitizer's library."""
    return subprocess.check_output(["g++", f"-print-file-name={name}"], text=True).strip()


@pytest.fixture
def sanitized_server(sanitizer: Sanitizer, sanitized: Module) -> Iterator[RedisServer]:
    """The server; when the test is over it leaves, and must have had nothing to report."""
    with tempfile.TemporaryDirectory(prefix="penstock-") as directory:
        common = f"exitcode={REPORTED}:log_path={directory}/report:second_deadlock_stack=1"
        environment = {
            "LD_PRELOAD": ":".join(map(library, sanitizer.libraries)),
            sanitizer.options: f"{common}:suppressions={SUPPRESSIONS}/{sanitizer.flags.split(',')[0]}.txt",
            "LSAN_OPTIONS": f"suppressions={SUPPRESSIONS}/leak.txt:print_suppressions=0",
            "UBSAN_OPTIONS": f"halt_on_error=1:print_stacktrace=1:log_path={directory}/report",
        }
        binary: ServerBinary = wheel_binary()  # its allocator is libc's, which the sanitizer replaces
        config = ServerConfig(binary, Path(directory), (sanitized,), environment=environment)
        with RedisServer(config) as server:
            yield server
            status = server.shutdown("NOSAVE")
        reports = "\n".join(
            path.read_text(errors="replace")[:6000] for path in Path(directory).glob("report*")
        )
        assert not reports, reports[:12000]
        assert status == 0, server.log()[-4000:] + (Path(directory) / "console.log").read_text()[-4000:]


def commands(number: int, dice: random.Random) -> list[tuple[object, ...]]:
    """Return one client's round: what it stores, runs, copies, asks and deletes."""
    model, script = f"m{dice.randrange(4)}", f"s{dice.randrange(2)}"
    tensor, out = f"t{number}", f"o{dice.randrange(8)}"
    values = np.full(dice.choice([1, 16, 40_000]), number, np.float32)
    blob = dice.choice([b"one", b"two" * 20_000, b"bad"])
    options = dice.choice([(), ("BATCHSIZE", 8), ("BATCHSIZE", 8, "MINBATCHSIZE", 3, "MINBATCHTIMEOUT", 2)])
    execute = ("AI.MODELEXECUTE", model, "INPUTS", 1, tensor, "OUTPUTS", 1, out)
    return [
        command_of(tensor, values),
        ("AI.MODELSTORE", model, "TORCH", "CPU", *options, "BLOB", blob),
        execute,
        (*execute, "TIMEOUT", dice.choice([1, 1000])),
        ("AI.SCRIPTSET", script, "CPU", "SOURCE", "def f(x): return x"),
        ("AI.SCRIPTRUN", script, "f", "INPUTS", tensor, "OUTPUTS", out),
        (
            "AI.DAGEXECUTE",
            "LOAD",
            1,
            tensor,
            "PERSIST",
            1,
            out,
            "|>",
            *execute,
            "|>",
            "AI.TENSORGET",
            out,
            "META",
        ),
        ("AI.INFO", model, *dice.choice([(), ("RESETSTAT",)])),
        ("AI.MODELGET", model, "META"),
        ("COPY", model, f"m{dice.randrange(4)}", "REPLACE"),
        dice.choice(
            [("AI.MODELDEL", model), ("UNLINK", model), ("DEL", out), ("FLUSHALL", "ASYNC"), ("PING",)]
        ),
        dice.choice([("INFO", "MODULES"), ("MEMORY", "USAGE", model), ("DUMP", model)]),
    ]


def resp(*words: object) -> bytes:
    encoded = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in encoded)


@pytest.mark.sanitize
@pytest.mark.timeout(DEADLINE_S)
def test_sixty_four_clients_that_swap_and_run(sanitized_server: RedisServer) -> None:
    answered = threading.Semaphore(0)

    def client(number: int) -> None:
        dice = random.Random(number)
        with sanitized_server.connect() as own:
            for _ in range(ROUNDS):
                for command in commands(number, dice):
                    try:
                        own.execute_command(*command)
                    except redis.ResponseError as error:
                        assert str(error)
                    else:
                        answered.release()

    raised = run_all(*(lambda n=n: client(n) for n in range(CLIENTS)))  # type: ignore[misc]
    assert not raised
    assert answered._value > CLIENTS * ROUNDS * 4, "too few commands were answered for this to mean anything"


@pytest.mark.sanitize
@pytest.mark.timeout(DEADLINE_S)
def test_clients_that_vanish_at_every_stage(sanitized_server: RedisServer) -> None:
    with sanitized_server.connect() as db:
        for wave in range(ROUNDS):
            dice = random.Random(wave)
            for number in range(CLIENTS):
                words = [resp(*command) for command in commands(number, dice)]
                with sanitized_server.raw_socket() as raw:
                    stream = b"".join(words)
                    raw.sendall(stream[: dice.randrange(len(stream))])
        wait_until(lambda: len(db.client_list()) == 1, "every connection to be gone")
        wait_until(lambda: db.info("clients")["blocked_clients"] == 0, "nobody to be waited for")


@pytest.mark.sanitize
@pytest.mark.timeout(DEADLINE_S)
def test_clients_of_the_arena_are_killed_while_it_is_saved(sanitized_server: RedisServer) -> None:
    with sanitized_server.connect() as db, ArenaClient(sanitized_server) as client:
        wait_for(db, ready=16 << 20)
        for wave in range(ROUNDS):
            with victims(sanitized_server, 2):
                db.bgsave()
                for step in range(10):
                    client.put(f"own{step % 2}", np.full(100_000, wave, np.uint8))
                    mapped, offset = client.map("own0")
                    assert mapped.min() == mapped.max() == wave
                    client.release(offset)
                check_whole(db)
            db.execute_command("FLUSHALL", "ASYNC")
            wait_until(
                lambda: db.info("persistence")["rdb_bgsave_in_progress"] == 0, "the save to end or be ended"
            )
            wait_for(db, used=0, leased=0, pinned=0, quarantined=0, deferred=0, processes=1)
