"""The packages whose libraries run models: torch, OpenVINO and onnxruntime, found without importing them.

Importing one takes seconds, and finding it takes milliseconds. torch is needed; each of the others adds a
backend to the database module where it is installed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from orchestrator.errors import BuildError

OLDEST_TORCH = (2, 6)


@dataclass(frozen=True)
class Engine:
    """An installed package that brings a library which runs models.

    Attributes:
        package: its name, as pip and import have it.
        folder: where it is installed.
        version: of the package.
        fingerprint: differs where the module must be compiled again.
    """

    package: str
    folder: Path
    version: str
    fingerprint: str

    @property
    def name(self) -> str:
        """How the module's load arguments call it."""
        return self.package.upper()

    @property
    def backend(self) -> str:
        """The file name of the backend that is compiled for it."""
        return f"backend_{self.package}.so"

    @property
    def libraries(self) -> Path:
        """The directory of its shared libraries."""
        return self.folder / {"torch": "lib", "openvino": "libs", "onnxruntime": "capi"}[self.package]

    def load_arguments(self, backend: Path) -> list[str]:
        """Return the module's arguments that lead to its libraries and to the backend made for them."""
        return [
            *(self.name, str(backend), f"{self.name}_LIBRARIES", str(self.libraries)),
            *(f"{self.name}_VERSION", self.version),
        ]


def installed_torch() -> Engine:
    """Find the installed torch without importing it.

    Raises:
        BuildError: there is none, or it is older than the module can be compiled against.
    """
    folder = _folder("torch")
    if folder is None:
        raise BuildError(
            f"no torch for {sys.executable}: pip install -c constraints.txt torch", step="finding torch"
        )
    text = (folder / "version.py").read_text(encoding="utf-8")
    match = re.search(r"__version__ = '((\d+)\.(\d+)[^']*)'", text)
    if match is None:
        raise BuildError(f"{folder / 'version.py'} names no version", step="finding torch", log_tail=text)
    if (int(match[2]), int(match[3])) < OLDEST_TORCH:
        oldest = ".".join(map(str, OLDEST_TORCH))
        raise BuildError(
            f"torch {match[1]} is too old: install torch {oldest} or newer", step="finding torch"
        )
    return Engine("torch", folder, match[1], hashlib.sha256(text.encode()).hexdigest())


def optional_engines() -> tuple[Engine, ...]:
    """Find what else is installed that can run models: openvino, onnxruntime."""
    found = (_optional("openvino", "include/openvino/openvino.hpp"), _optional("onnxruntime", "capi"))
    return tuple(engine for engine in found if engine is not None)


def _optional(package: str, needed: str) -> Engine | None:
    """Return a package, unless it is not there or lacks what a backend is made from."""
    folder = _folder(package)
    if folder is None or not (folder / needed).exists():
        return None
    try:
        installed = version(package)
    except PackageNotFoundError:
        return None
    # Our onnxruntime backend asks the library at run time: one file fits every version.
    return Engine(package, folder, installed, "any" if package == "onnxruntime" else installed)


def _folder(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])
