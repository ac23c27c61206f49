"""What a ModelRuntime says to the module."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator import Application, ModelRuntime, Orchestrator, colocate
from orchestrator.errors import UsageError

WORDS: list[tuple[ModelRuntime, bool, tuple[str, ...]]] = [
    (ModelRuntime(), False, ()),
    (ModelRuntime(), True, ("AOTINDUCTOR", "yes")),
    (ModelRuntime(compiled_models=False), True, ()),
    (ModelRuntime(compiled_models=True), False, ("AOTINDUCTOR", "yes")),
    (
        ModelRuntime("onnxruntime", optimize=True, memory_limit_mb=64, run_timeout_ms=7000),
        False,
        (
            *("ONNX_BACKEND", "ONNXRUNTIME", "FREEZE", "yes"),
            *("BACKEND_MEMORY_LIMIT", "64", "MODEL_EXECUTION_TIMEOUT", "7000"),
        ),
    ),
]


@pytest.mark.parametrize(("runtime", "private", "words"), WORDS)
def test_the_modules_arguments(runtime: ModelRuntime, private: bool, words: tuple[str, ...]) -> None:
    assert runtime.load_arguments(private=private) == words


@pytest.mark.parametrize(
    "fault",
    [{"onnx": "tvm"}, {"memory_limit_mb": -1}, {"memory_limit_mb": True}, {"run_timeout_ms": 999}],
    ids=str,
)
def test_what_is_wrong_is_named(fault: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(fault))):
        ModelRuntime(**fault)


def test_models_with_another_module_are_refused() -> None:
    with pytest.raises(UsageError, match=r"models=.* would have no effect"):
        Orchestrator(module=("/lib/other.so",), models=ModelRuntime(optimize=True))
    with pytest.raises(UsageError, match=r"models=.* would have no effect"):
        colocate(Application("a", ["sleep", "1"]), module=(), models=ModelRuntime(optimize=True))
