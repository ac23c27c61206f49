"""Arithmetic that the processor refuses is an error of the run, and never the end of the server."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import execute, get, put, refusal, store_model
from tests.integration.servers import StartServer, wait_until
from tests.integration.torchscript import edited, torchscript

TEXT = "an integer was divided by zero, or the lowest one by -1"
LOWEST = -(2**63)
OPERATIONS = {
    "remainder": "a % b",
    "quotient": "a // b",
    "both": "divmod(a, b)[0]",
    "of tensors": 'int(torch.div(torch.full([64], a), b, rounding_mode="trunc")[0])',
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_a_division_that_the_processor_refuses(db: redis.Redis, operation: str) -> None:
    source = f"def forward(self, x):\n    a, b = int(x[0]), int(x[1])\n    return x + ({operation})\n"
    store_model(db, "m", torchscript(source))
    put(db, "x", np.array([LOWEST, -1], np.int64))
    assert TEXT in refusal(db, "AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
    assert not db.exists("y")
    put(db, "x", np.array([7, 2], np.int64))
    for _ in range(20):  # inline by then
        execute(db, "m", ["x"], ["y"])
    assert get(db, "y").tolist() in ([8, 3], [10, 5])
    put(db, "x", np.array([LOWEST, -1], np.int64))
    assert TEXT in refusal(db, "AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y")


def test_a_script_that_divides_by_zero(db: redis.Redis) -> None:
    db.execute_command("AI.SCRIPTSET", "s", "CPU", "SOURCE", "def f(x):\n    return x + 5 % int(x[0])\n")
    put(db, "x", np.zeros(1, np.float32))
    assert TEXT in refusal(db, "AI.SCRIPTRUN", "s", "f", "INPUTS", "x", "OUTPUTS", "y")


def test_constants_are_divided_when_a_model_is_loaded(db: redis.Redis) -> None:
    blob = torchscript("def forward(self, x):\n    return x + 5 % x.size(0)\n")
    blob = edited(blob, "torch.remainder(5, torch.size(x, 0))", "torch.remainder(5, 0)")
    assert TEXT in refusal(db, "AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", blob)
    db.ping()


def test_the_signal_is_handled_again_when_the_server_has_given_it_back(start_server: StartServer) -> None:
    server = start_server()
    db = server.connect()
    if not db.config_get("crash-log-enabled"):
        pytest.skip("nothing gives it back")
    store_model(db, "m", torchscript("def forward(self, x):\n    return x + 5 % int(x[0])\n"))
    put(db, "x", np.zeros(1, np.float32))
    db.config_set("crash-log-enabled", "no")
    if int(db.info("server")["redis_version"].split(".")[0]) < 7:  # which tell no module of the change
        wait_until(lambda: handles(server.pid, signal.SIGFPE), "the module to look at the signal again")
    assert handles(server.pid, signal.SIGFPE)
    assert TEXT in refusal(db, "AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y")


def handles(pid: int, number: signal.Signals) -> bool:
    """Return whether a process has a handler of its own for a signal."""
    (caught,) = re.findall(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())
    return bool(int(caught, 16) >> (number - 1) & 1)
