"""Models in the solver's own process, over a database in memory."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sim_clients import (
    DatabaseUnavailable,
    InferenceFailed,
    LocalModel,
    MemoryClient,
    MemoryDatabase,
    ModelMissing,
    NameRefused,
    TensorError,
    UnsupportedClientError,
)
from tests.integration.torchscript import adder, constant, sum_and_difference, torchscript

X = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.fixture
def client() -> MemoryClient:
    return MemoryClient(MemoryDatabase(load=lambda model: lambda *inputs: inputs[0]))


class Counting(MemoryClient):
    """Counts how often it is asked for the live version, and may be told to have lost its database."""

    looks, fetched, lost = 0, 0, False

    def get_model(self, name: str, version: int | None = None) -> bytes:
        self.fetched += 1
        return super().get_model(name, version)

    def model_version(self, name: str) -> int:
        self.looks += 1
        if self.lost:
            raise DatabaseUnavailable("unix://gone", "ask", "it went away")
        return super().model_version(name)


def test_what_is_no_name_is_refused(client: MemoryClient) -> None:
    with pytest.raises(NameRefused, match="model"):
        client.local_model("clo@sure")


def test_no_model_is_named_until_the_first_is_posted(client: MemoryClient) -> None:
    model = client.local_model("closure")
    assert model.version == 0
    for call in (lambda: model(X), model.refresh):
        with pytest.raises(ModelMissing, match="'closure' yet"):
            call()
    client.put_model("closure", constant(2.0), 1)
    assert (model(X) == 2).all() and model.version == 1


def test_the_first_model_is_waited_for(client: MemoryClient) -> None:
    asked = threading.Event()
    other = Counting(client._database)

    def post() -> None:
        asked.wait(10)
        client.put_model("closure", constant(3.0), 1)

    model = other.local_model("closure", wait_s=20)
    version, threads = other.model_version, [threading.Thread(target=post)]

    def noted(name: str) -> int:
        asked.set()
        return version(name)

    other.model_version = noted  # type: ignore[method-assign]
    threads[0].start()
    assert (model(X) == 3).all()
    threads[0].join()


def test_waiting_ends_with_the_error_that_there_is_none(client: MemoryClient) -> None:
    with pytest.raises(ModelMissing, match="closure"):
        client.local_model("closure", wait_s=0.05)(X)


@pytest.mark.parametrize("array", [X[:, ::2], np.asfortranarray(X), X[::-1, ::-1]])
def test_arrays_in_any_order_and_read_only_ones(client: MemoryClient, array: np.ndarray) -> None:
    array.flags.writeable = False
    client.put_model("sum", adder(), 1)
    found = client.local_model("sum")(array, array)
    np.testing.assert_array_equal(found, 2 * array)
    assert found.flags.c_contiguous and found.flags.owndata


def test_it_follows_the_live_version_forwards_and_back(client: MemoryClient) -> None:
    client.put_model("closure", constant(1.0), 1)
    model = client.local_model("closure", follow_every_s=0)
    assert (model(X) == 1).all()
    client.put_model("closure", constant(2.0), 2)
    assert (model(X) == 2).all() and model.version == 2
    client.promote("closure", 1)
    assert (model(X) == 1).all() and model.version == 1


def test_it_looks_no_more_often_than_it_is_told() -> None:
    client = Counting(MemoryDatabase(load=lambda model: lambda *inputs: inputs[0]))
    client.put_model("closure", constant(1.0), 1)
    model = client.local_model("closure", follow_every_s=None)
    for _ in range(5):
        model(X)
    assert client.looks == 1
    client.put_model("closure", constant(2.0), 2)
    assert (model(X) == 1).all()
    assert model.refresh() == 2
    assert (model(X) == 2).all()
    assert client.looks == 2


def test_a_lost_database_is_named_when_it_is_looked_for() -> None:
    client = Counting(MemoryDatabase(load=lambda model: lambda *inputs: inputs[0]))
    client.put_model("closure", constant(1.0), 1)
    model = client.local_model("closure", follow_every_s=None)
    model(X)
    client.lost = True
    assert (model(X) == 1).all()
    with pytest.raises(DatabaseUnavailable):
        model.refresh()


def test_an_archive_that_torch_cannot_load_is_named_and_the_version_before_goes_on(
    client: MemoryClient,
) -> None:
    client.put_model("closure", constant(1.0), 1)
    model = client.local_model("closure", follow_every_s=None)
    model(X)
    client.put_model("closure", b"this is no network", 2)
    with pytest.raises(InferenceFailed, match=r"'closure@2' failed: torch .* cannot load it: .") as caught:
        model.refresh()
    assert "\n" not in str(caught.value)
    assert (model(X) == 1).all() and model.version == 1


@pytest.mark.parametrize("follow_every_s", [0.0, 3600.0])
def test_a_version_that_cannot_be_loaded_is_fetched_and_named_once_and_the_one_before_goes_on(
    follow_every_s: float,
) -> None:
    client = Counting(MemoryDatabase(load=lambda model: lambda *inputs: inputs[0]))
    client.put_model("closure", constant(1.0), 1)
    model = client.local_model("closure", follow_every_s=follow_every_s)
    model(X)
    client.put_model("closure", b"this is no network", 2)
    model._looked_at = float("-inf")
    with pytest.raises(InferenceFailed, match="'closure@2' failed"):
        model(X)
    fetched = client.fetched
    for _ in range(3):
        assert (model(X) == 1).all() and model.version == 1
    assert client.fetched == fetched
    assert client.looks == 2 or not follow_every_s
    with pytest.raises(InferenceFailed, match="'closure@2' failed"):
        model.refresh()
    client.put_model("closure", constant(3.0), 3)
    model._looked_at = float("-inf")
    assert (model(X) == 3).all() and model.version == 3


def test_a_live_version_that_is_missing_is_named_once(client: MemoryClient) -> None:
    client.put_model("closure", constant(1.0), 1)
    model = client.local_model("closure", follow_every_s=0)
    model(X)
    client.put_model("closure", constant(2.0), 2)
    del client._models.networks["closure@2"]
    with pytest.raises(ModelMissing, match="version 2"):
        model(X)
    model._rest_s = 0
    assert (model(X) == 1).all()


def test_with_the_database_gone_what_is_loaded_goes_on_and_looks_again_by_and_by(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr("sim_clients.local_model.time.monotonic", lambda: now[0])
    client = Counting(MemoryDatabase(load=lambda model: lambda *inputs: inputs[0]))
    client.put_model("closure", constant(1.0), 1)
    model = client.local_model("closure", follow_every_s=1.0)
    model(X)
    client.put_model("closure", constant(2.0), 2)
    client.lost, version = True, client.model_version

    def slow(name: str) -> int:
        now[0] += 5.0 if client.lost else 0.0
        return version(name)

    client.model_version = slow  # type: ignore[method-assign]
    now[0] += 1.0
    with pytest.warns(
        RuntimeWarning, match=r"it went away.*; version 1 of the model 'closure' goes on"
    ) as told:
        assert (model(X) == 1).all()
    assert told[0].filename == __file__
    looks = client.looks
    now[0] += 99.0
    assert (model(X) == 1).all() and client.looks == looks
    now[0] += 2.0
    assert (model(X) == 1).all() and client.looks == looks + 1
    with pytest.raises(DatabaseUnavailable):
        model.refresh()
    client.lost = False
    now[0] += 101.0
    assert (model(X) == 2).all() and model.version == 2
    now[0] += 1.0
    client.put_model("closure", constant(3.0), 3)
    assert (model(X) == 3).all()


def test_a_version_that_was_removed_meanwhile_is_passed_over(client: MemoryClient) -> None:
    client.put_model("closure", constant(1.0), 1)
    client.put_model("closure", constant(2.0), 2)
    model = client.local_model("closure")
    versions = iter([1, 2])
    client.model_version = lambda name: next(versions)  # type: ignore[method-assign]
    client.remove_model_version("closure", 1)
    assert (model(X) == 2).all() and model.version == 2


def test_wrong_inputs_are_told_in_one_line(client: MemoryClient) -> None:
    client.put_model("product", torchscript("def forward(self, x, y):\n    return torch.matmul(x, y)\n"), 1)
    model = client.local_model("product")
    with pytest.raises(InferenceFailed) as caught:
        model(X, X)
    assert str(caught.value) == (
        "inference with the model 'product@1' failed: mat1 and mat2 shapes cannot be multiplied "
        "(3x4 and 3x4); given was float32 (3, 4), float32 (3, 4)"
    )
    with pytest.raises(InferenceFailed, match="missing value for argument 'y'"):
        model(X)
    with pytest.raises(TensorError, match="at least one input"):
        model()
    with pytest.raises(TensorError, match=r"input 1 of product.*byte order"):
        model(X, X.astype(">f4"))


def test_several_outputs(client: MemoryClient) -> None:
    client.put_model("both", sum_and_difference(), 1)
    model = client.local_model("both")
    total, difference = model.outputs(X, 2 * X)
    np.testing.assert_array_equal(total, 3 * X)
    np.testing.assert_array_equal(difference, -X)
    with pytest.raises(InferenceFailed, match=r"'both@1'.*has 2 outputs: ask for them by outputs"):
        model(X, X)


@pytest.mark.parametrize("answer", ["{'y': x}", "3", "None"])
def test_what_is_no_tensor_is_refused(client: MemoryClient, answer: str) -> None:
    client.put_model("odd", torchscript(f"def forward(self, x):\n    return {answer}\n"), 1)
    with pytest.raises(InferenceFailed, match="'odd@1'"):
        client.local_model("odd")(X)


def test_a_network_that_raises_is_told_as_one_that_failed(client: MemoryClient) -> None:
    client.put_model(
        "odd", torchscript("def forward(self, x):\n    raise Exception('no')\n    return x\n"), 1
    )
    with pytest.raises(InferenceFailed, match=r"'odd@1' failed: .*no; given was float32 \(3, 4\)"):
        client.local_model("odd")(X)


def test_a_network_that_writes_to_its_input_does_not_write_to_the_solvers(client: MemoryClient) -> None:
    client.put_model("writes", torchscript("def forward(self, x):\n    return x.add_(1)\n"), 1)
    x = X.copy()
    np.testing.assert_array_equal(client.local_model("writes")(x), X + 1)
    np.testing.assert_array_equal(x, X)


def test_an_answer_is_the_callers(client: MemoryClient) -> None:
    kept = torchscript("def forward(self, x):\n    return self.kept\n", {"kept": torch.ones(3, 4)})
    client.put_model("closure", kept, 1)
    model = client.local_model("closure")
    model(X)[...] = 7
    assert (model(X) == 1).all()


def test_a_running_call_ends_on_the_version_it_began_with(client: MemoryClient) -> None:
    client.put_model("closure", constant(1.0), 1)
    model = client.local_model("closure", follow_every_s=0)
    model(X)
    loaded = model._loaded
    assert loaded is not None
    within, go = threading.Event(), threading.Event()

    def slow(inputs: object) -> tuple[np.ndarray, ...]:
        within.set()
        assert go.wait(10)
        return loaded.program(inputs)  # type: ignore[arg-type]

    model._loaded = loaded._replace(program=slow)
    found: list[np.ndarray] = []
    thread = threading.Thread(target=lambda: found.append(model(X)))
    thread.start()
    assert within.wait(10)
    client.put_model("closure", constant(2.0), 2)
    assert (model(X) == 2).all()
    go.set()
    thread.join()
    assert (found[0] == 1).all()


def test_without_torch_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')\n")
    program = (
        "from sim_clients import MemoryClient, MemoryDatabase\n"
        "MemoryClient(MemoryDatabase()).local_model('closure')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[3]}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert UnsupportedClientError.__name__ in done.stderr
    assert "pip install torch" in done.stderr and "no torch here" in done.stderr


def test_the_type_is_public(client: MemoryClient) -> None:
    make: Callable[..., LocalModel] = client.local_model
    assert isinstance(make("closure"), LocalModel)
