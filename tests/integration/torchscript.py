"""TorchScript models for the tests, from a few lines of source; what they compute is seen at a glance."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Mapping
from functools import cache

import torch

torch.set_num_threads(1)


def torchscript(
    source: str,
    buffers: Mapping[str, torch.Tensor] | None = None,
    attributes: Mapping[str, dict[str, int]] | None = None,
) -> bytes:
    """Compile methods given as source into a TorchScript file.

    Args:
        source: one or more `def`s with `self`; `forward` is what the database calls.
        buffers: tensors the source reaches as `self.<name>`.
        attributes: dictionaries likewise.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*torch\.jit\.\w+.* is deprecated", DeprecationWarning)
        module = _network(buffers or {}, attributes or {})
        module.define(source)
        file = io.BytesIO()
        torch.jit.save(module, file)
    return file.getvalue()


def scripted(network: torch.nn.Module) -> bytes:
    """Return a network as a TorchScript file."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*torch\.jit\.\w+.* is deprecated", DeprecationWarning)
        return torch.jit.script(network.eval()).save_to_buffer()  # type: ignore[no-any-return]


def edited(blob: bytes, before: str | bytes, after: str | bytes, record: str = ".py") -> bytes:
    """Return a TorchScript archive whose code, or what else its records end with, has been edited by hand."""
    before, after = (text.encode() if isinstance(text, str) else text for text in (before, after))
    changed, file = 0, io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(blob)) as given, zipfile.ZipFile(file, "w") as made:
        for name in given.namelist():
            content = given.read(name)
            if name.endswith(record):
                changed += content.count(before)
                content = content.replace(before, after)
            made.writestr(name, content)
    assert changed
    return file.getvalue()


def _network(
    buffers: Mapping[str, torch.Tensor], attributes: Mapping[str, dict[str, int]]
) -> torch.jit.ScriptModule:
    class Network(torch.jit.ScriptModule):  # a new class each time, for TorchScript keeps methods per class
        def __init__(self) -> None:
            super().__init__()
            for name, tensor in buffers.items():
                self.register_buffer(name, tensor)
            for name, numbers in attributes.items():
                setattr(self, name, torch.jit.Attribute(numbers, dict[str, int]))

    return Network()


@cache
def adder() -> bytes:
    """Two inputs, one output: their sum."""
    return torchscript("def forward(self, a, b):\n    return a + b\n")


@cache
def identity() -> bytes:
    """One input, given back."""
    return torchscript("def forward(self, x):\n    return x\n")


@cache
def sum_and_difference() -> bytes:
    """Two inputs, two outputs."""
    return torchscript("def forward(self, a, b):\n    return a + b, a - b\n")


@cache
def constant(value: float) -> bytes:
    """Answers every element with `value`: which version of a model answered is seen from its answer."""
    return torchscript(
        "def forward(self, x):\n    return torch.zeros_like(x) + self.value\n", {"value": torch.tensor(value)}
    )


@cache
def burner() -> bytes:
    """Multiplies a matrix with itself `rounds[0]` times: a run as long as a test wants it."""
    return torchscript(
        "def forward(self, x, rounds):\n"
        "    for _ in range(int(rounds[0])):\n"
        "        x = torch.tanh(torch.mm(x, x))\n"
        "    return x\n"
    )


@cache
def endless() -> bytes:
    """Goes on for ever, without allocating; its loop can be told to end."""
    return torchscript(
        "def forward(self, x):\n    i = 0\n    while i >= 0:\n        i = 1 - i\n    return x + i\n"
    )


@cache
def forking(waits: bool = True) -> bytes:
    """Forks what goes on for ever; it waits for that, or would only for a large `x`."""
    work = "def work(self, x):\n    i = 0\n    while i >= 0:\n        i = 1 - i\n    return x + i\n"
    leave = "" if waits else "    if int(x[0]) < 100:\n        return x\n"
    fork = "def forward(self, x):\n    f = torch.jit.fork(self.work, x)\n"
    return torchscript(work + fork + leave + "    return torch.jit.wait(f)\n")


@cache
def deaf() -> bytes:
    """Sums `rounds[0]` times 1024 ones in one operation, which nothing could tell to stop."""
    return torchscript(
        "def forward(self, x, rounds):\n    return x + torch.ones([1]).expand([int(rounds[0]), 1024]).sum()\n"
    )


@cache
def rows() -> bytes:
    """Answers every element with the number of rows of its run: how many shared it is seen from that."""
    return torchscript("def forward(self, x):\n    return torch.zeros_like(x) + x.size(0)\n")


@cache
def heavy(megabytes: int, step: float = 1.0) -> bytes:
    """One input plus `step`, the second of many weights: a model as large as a test wants it."""
    weight = step * torch.arange(megabytes * 262_144, dtype=torch.float32)
    return torchscript("def forward(self, x):\n    return x + self.weight[1]\n", {"weight": weight})


@cache
def slow_to_load(value: float, rounds: int) -> bytes:
    """As `constant`, but its load multiplies a matrix `rounds` times with itself before it is done."""
    return torchscript(
        "def forward(self, x):\n    return torch.zeros_like(x) + self.value\n"
        "def __getstate__(self):\n    return self.value, self.training\n"
        "def __setstate__(self, state: Tuple[Tensor, bool]):\n"
        "    x = torch.ones(300, 300)\n"
        f"    for _ in range({rounds}):\n"
        "        x = torch.tanh(torch.mm(x, x))\n"
        "    self.value = state[0] + 0 * x[0, 0]\n"
        "    self.training = state[1]\n",
        {"value": torch.tensor(value)},
    )


@cache
def never_loaded() -> bytes:
    """A load that goes on for years, and cannot be told to end."""
    return slow_to_load(1.0, 10**12)


def forward(source: str) -> bytes:
    """Compile the body of a one-input `forward(x)`."""
    body = "\n".join(f"    {line}" for line in source.splitlines())
    return torchscript(f"def forward(self, x):\n{body}\n")
