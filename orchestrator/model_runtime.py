"""ModelRuntime: how a database runs the models stored in it, and the module arguments that say so. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.errors import UsageError

ONNX_ENGINES = ("openvino", "onnxruntime")
LEAST_TIMEOUT_MS = 1000


@dataclass(frozen=True)
class ModelRuntime:
    """How models are run.

    Attributes:
        onnx: what runs ONNX models, "openvino" or "onnxruntime"; by default OpenVINO where it is installed,
            else onnxruntime.
        optimize: freeze TorchScript models when they are loaded: faster runs, a slower and larger load.
        compiled_models: allow AOTInductor packages, compiled code that runs with the database's rights. By
            default a database on a private Unix socket does: only its user reaches it, who could run such
            code anyway. One on a port does not.
        memory_limit_mb: what models and runs may take in each of torch and onnxruntime; 0 is no limit.
        run_timeout_ms: end a run that takes longer; None leaves it to the module, which then ends ONNX runs
            after five seconds and no others.
    """

    onnx: str | None = None
    optimize: bool = False
    compiled_models: bool | None = None
    memory_limit_mb: int = 0
    run_timeout_ms: int | None = None

    def __post_init__(self) -> None:
        if self.onnx is not None and self.onnx not in ONNX_ENGINES:
            raise UsageError(f"ModelRuntime(onnx={self.onnx!r}): one of {', '.join(ONNX_ENGINES)}")
        _check_whole("memory_limit_mb", self.memory_limit_mb, 0)
        if self.run_timeout_ms is not None:
            _check_whole("run_timeout_ms", self.run_timeout_ms, LEAST_TIMEOUT_MS)

    def load_arguments(self, *, private: bool) -> tuple[str, ...]:
        """Return the module's arguments that say this, none for what is its default.

        Args:
            private: whether the database listens on a Unix socket only.
        """
        allowed = private if self.compiled_models is None else self.compiled_models
        return (
            *(("ONNX_BACKEND", self.onnx.upper()) if self.onnx else ()),
            *(("FREEZE", "yes") if self.optimize else ()),
            *(("AOTINDUCTOR", "yes") if allowed else ()),
            *(("BACKEND_MEMORY_LIMIT", str(self.memory_limit_mb)) if self.memory_limit_mb else ()),
            *(("MODEL_EXECUTION_TIMEOUT", str(self.run_timeout_ms)) if self.run_timeout_ms else ()),
        )


def _check_whole(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UsageError(f"ModelRuntime({name}={value!r}): must be a whole number of at least {least}")
