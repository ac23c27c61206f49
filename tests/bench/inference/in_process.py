"""libtorch in a process of its own, without Python and without a database: the limit of inference."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from orchestrator.build import find_compiler
from orchestrator.engines import installed_torch
from sim_clients.cache import cache_directory

SOURCE = Path(__file__).with_suffix(".cc")
KEPT = str(1 << 30)
"""Memory that was freed is kept: without this glibc gives each large array back to the system."""


def program() -> Path:
    """Return the compiled program, made when this source and this torch are new.

    Raises:
        subprocess.CalledProcessError: the compiler refused.
    """
    torch = installed_torch()
    digest = hashlib.sha256(SOURCE.read_bytes() + torch.fingerprint.encode()).hexdigest()[:16]
    place = cache_directory() / "bench" / f"in_process-{digest}"
    if place.exists():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    print("compiling the in-process reference, once", flush=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
        made = Path(scratch) / "in_process"
        command = [
            *(str(find_compiler()), "-std=c++20", "-O2", "-w", str(SOURCE), "-o", str(made)),
            *(f"-I{torch.folder}/include", f"-I{torch.folder}/include/torch/csrc/api/include"),
            *(f"-L{torch.libraries}", f"-Wl,-rpath,{torch.libraries}"),
            *("-ltorch", "-ltorch_cpu", "-lc10", "-pthread"),
        ]
        subprocess.run(command, check=True)
        made.rename(place)
    return place


class InProcess:
    """A running program; as a context manager it is gone when its block ends."""

    def __init__(self, model: bytes, shape: Sequence[int], directory: Path, name: str) -> None:
        file = directory / f"{name}.pt"
        file.write_bytes(model)
        self._process = subprocess.Popen(
            [str(program()), str(file), *map(str, shape)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ
            | {"OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": KEPT, "MALLOC_TRIM_THRESHOLD_": KEPT},
        )
        self.total = float(self._line())

    def __enter__(self) -> InProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def pid(self) -> int:
        """The process, to pin it and to count its CPU time."""
        return self._process.pid

    def seconds(self, runs: int, threads: int = 1) -> float:
        """Run the model and return the wall seconds that all runs took together."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{runs} {threads}\n")
        self._process.stdin.flush()
        return float(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the in-process reference left with status {self._process.wait()}")
        return line
