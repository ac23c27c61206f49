"""Model files in formats other than TorchScript; tests/data/models/make_models.py says what they compute."""

from __future__ import annotations

from pathlib import Path

import redis

FOLDER = Path(__file__).parents[1] / "data" / "models"


def model_file(name: str) -> bytes:
    """Return the bytes of a model, named with its suffix."""
    return (FOLDER / name).read_bytes()


def store_onnx(db: redis.Redis, key: str, name: str) -> None:
    """Store an ONNX model on the CPU."""
    blob = model_file(f"{name}.onnx")
    assert db.execute_command("AI.MODELSTORE", key, "ONNX", "CPU", "BLOB", blob) == b"OK"
