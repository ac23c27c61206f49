"""Peers that run in a Python of their own, driven over a socket; see peer_transfer.py."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import struct
import subprocess
from pathlib import Path
from types import TracebackType

from orchestrator.watcher import RUN_ID_VARIABLE, sweep
from tests.bench.measure import Series, bind
from tests.bench.own_python import ADIOS2, DRAGON, OwnPython

PROGRAM = Path(__file__).with_name("peer_transfer.py")
START_S = 60.0
OF: dict[str, tuple[str, OwnPython]] = {
    "bp5": ("ADIOS2 BP5, /dev/shm", ADIOS2),
    "sst": ("ADIOS2 SST, put and get", ADIOS2),
    "dragon": ("Dragon's dictionary", DRAGON),
}


class Peer:
    """A peer with one array of so many bytes, and its own processes.

    They are stopped while it is not asked: beside the busy loops of those of Dragon nothing can be measured.
    """

    def __init__(self, kind: str, size: int, directory: Path) -> None:
        self.kind = kind
        self.name, own = OF[kind]
        self._mark = f"peer-{secrets.token_hex(4)}"
        path = directory / f"{kind}.socket"
        launcher = [str(DRAGON.directory / "bin" / "dragon"), "-s"] if kind == "dragon" else [str(own.python)]
        with socket.socket(socket.AF_UNIX) as listening, (directory / f"{kind}.log").open("wb") as log:
            listening.bind(str(path))
            listening.listen()
            listening.settimeout(START_S)
            self._process = subprocess.Popen(
                [*launcher, str(PROGRAM), kind, str(size), str(path), str(directory)],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**own.environment(), RUN_ID_VARIABLE: self._mark},
            )
            try:
                self._connection, _ = listening.accept()
            except TimeoutError:
                self._end()
                printed = (directory / f"{kind}.log").read_text()[-2000:]
                raise RuntimeError(f"{self.name} did not start: {printed}") from None
        self._connection.settimeout(START_S)
        self._lines = self._connection.makefile("rw")
        self._signal(signal.SIGSTOP)

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._signal(signal.SIGCONT)
        if kind is None:
            self._lines.write("end\n")
            self._lines.flush()
            self._process.wait(START_S)
        self._connection.close()
        self._end()

    def _end(self) -> None:
        """End what it has left behind."""
        self._process.kill()
        self._process.wait()
        sweep(self._mark, set())

    def pids(self) -> list[int]:
        """Return its processes, helpers among them."""
        mark = f"{RUN_ID_VARIABLE}={self._mark}".encode()
        found = []
        for each in Path("/proc").iterdir():
            if each.name.isdigit():
                try:
                    marked = mark in (each / "environ").read_bytes().split(b"\0")
                except OSError:
                    continue  # it has ended, or is another user's
                if marked:
                    found.append(int(each.name))
        return found

    def _signal(self, number: signal.Signals) -> None:
        """Send it to all of its processes but those that end meanwhile."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def bind(self, core: int, others: int) -> None:
        """Bind the process that puts and gets to one core, its helpers to another or the same."""
        main = struct.unpack("3i", self._connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        for pid in self.pids():
            bind(pid, {core if pid == main else others})

    def ask(self, *words: object) -> str:
        """Send a line, return the answer."""
        self._signal(signal.SIGCONT)
        self._lines.write(" ".join(map(str, words)) + "\n")
        self._lines.flush()
        answer = self._lines.readline().strip()
        self._signal(signal.SIGSTOP)
        if not answer:
            raise RuntimeError(f"{self.name} has ended")
        return answer

    def check(self) -> None:
        """See that what it gets is what it put."""
        if self.ask("check") != "good":
            raise AssertionError(f"{self.name}: the bytes that came back are not those that were to come")

    def series(self, direction: str, repeat: int) -> Series:
        """Return its puts or gets as a series that times itself."""
        return Series(self.name, lambda: float(self.ask(direction, repeat)), self_timed=True, requests=repeat)


def there() -> list[str]:
    """Return the kinds of peers that are installed."""
    return [kind for kind, (_, own) in OF.items() if own.is_there()]
