"""What a model forks belongs to its run: it is counted, told to end and answered for like the rest of it."""

from __future__ import annotations

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import execute, get, put, refusal, store_model
from tests.integration.module.long_runs import workers_sleep
from tests.integration.servers import StartServer, wait_until
from tests.integration.torchscript import forking, torchscript

RUN = ("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
WORK = "def forward(self, x):\n    f = torch.jit.fork(self.work, x)\n    return torch.jit.wait(f)\n"


@pytest.fixture
def one(db: redis.Redis) -> redis.Redis:
    put(db, "x", np.ones(2, np.float32))
    return db


def test_what_is_forked_is_computed(one: redis.Redis) -> None:
    source = (
        "def work(self, x, by: int):\n    return x * by\n"
        "def forward(self, x):\n"
        "    fs = [torch.jit.fork(self.work, x, by) for by in [2, 3]]\n"
        "    f = torch.jit.fork(self.work, x, 4)\n"
        "    return torch.jit.wait(fs[0]) + torch.jit.wait(fs[1]) + torch.jit.wait(f)\n"
    )
    store_model(one, "m", torchscript(source))
    execute(one, "m", ["x"], ["y"])
    assert get(one, "y").tolist() == [9, 9]


def test_an_error_in_a_fork_is_that_of_the_wait(one: redis.Redis) -> None:
    work = "def work(self, x):\n    return x.view(3)\n"
    store_model(one, "m", torchscript(work + WORK))
    assert "shape '[3]' is invalid" in refusal(one, *RUN)


def test_a_fork_that_nobody_waits_for_may_fail(one: redis.Redis) -> None:
    work = "def work(self, x):\n    n = int(x[0])\n    return x + n // (n - 1)\n"
    leave = "    if n > 9:\n        return torch.jit.wait(f)\n    return x\n"
    begin = "def forward(self, x):\n    n = int(x[0])\n    f = torch.jit.fork(self.work, x)\n"
    store_model(one, "m", torchscript(work + begin + leave))
    execute(one, "m", ["x"], ["y"])
    assert get(one, "y").tolist() == [1, 1]


@pytest.mark.parametrize("waits", [True, False])
def test_an_endless_fork_ends_at_the_limit(start_server: StartServer, waits: bool) -> None:
    server = start_server(arguments=("MODEL_EXECUTION_TIMEOUT", "1000"))
    with server.connect() as db:
        put(db, "x", np.ones(2, np.float32))
        store_model(db, "m", forking(waits))
        text = refusal(db, *RUN)
        assert "Exiting due to terminate flag being set to true" in text
        wait_until(lambda: workers_sleep(server), "the worker to be free")


def test_memory_of_a_fork_counts(start_server: StartServer) -> None:
    grow = "    l = [x]\n    while True:\n        l.append(x.repeat(1 << 20))\n    return l[0]\n"
    work = "def work(self, x):\n" + grow
    server = start_server(arguments=("BACKEND_MEMORY_LIMIT", "16"))
    with server.connect() as db:
        put(db, "x", np.ones(2, np.float32))
        store_model(db, "m", torchscript(work + WORK))
        text = refusal(db, *RUN)
        assert "memory limit exceeded" in text


def test_forks_within_forks_have_an_end(one: redis.Redis) -> None:
    depth = 200
    source = "def work0(self, x):\n    return x\n" + "".join(
        f"def work{i + 1}(self, x):\n    return torch.jit.wait(torch.jit.fork(self.work{i}, x))\n"
        for i in range(depth)
    )
    store_model(one, "m", torchscript(source + f"def forward(self, x):\n    return self.work{depth}(x)\n"))
    text = refusal(one, *RUN)
    assert "torch.jit.fork goes more than 100 deep" in text
