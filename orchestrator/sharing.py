"""One of the ranks of a program on a host starts the database that all of them there use.

They agree by a lock on a file in the runtime directory, which the kernel frees when its holder ends, however
it does. Whoever gets it exclusively leads: it starts the database, writes down where that is, and from then
on shares the lock. The others wait until they can share it too, and read. When its own program has ended, the
leader waits until it can have the lock alone again: then all have ended, and it ends the database. So nothing
is polled, and no rank needs to know how many there are.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from orchestrator.errors import SharingError
from orchestrator.watcher import read_stat


class Shared(NamedTuple):
    """Who has started a database, and the variables by which programs find it."""

    leader: int
    start_time: int
    environment: dict[str, str]


def host_name() -> str:
    """Return what tells this host from others: the node's name in Slurm, where several may be one machine."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


class Share:
    """The part of one rank in the database of its host.

    Args:
        path: the file, the same for all ranks on the host. Its directory is made where there is none, since
            the driver may be on another host.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        _make_private(path.parent)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> Share:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def lead(self) -> bool:
        """Tell whether this rank is to start the database, and keep the others waiting if it is."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return self._read() is None  # else the leader was just about to share its lock

    def publish(self, environment: Mapping[str, str]) -> None:
        """Tell the others, who wait for it, where the database is."""
        stat = read_stat(os.getpid())
        if stat is None:
            raise AssertionError("this process is there")
        facts = json.dumps(Shared(stat.pid, stat.start_time, dict(environment))._asdict())
        os.truncate(self._file, 0)
        os.pwrite(self._file, facts.encode(), 0)
        fcntl.flock(self._file, fcntl.LOCK_SH)

    def join(self) -> Shared:
        """Wait until the leader has told where the database is.

        Raises:
            SharingError: it has ended without.
        """
        fcntl.flock(self._file, fcntl.LOCK_SH)
        shared = self._read()
        if shared is None:
            raise SharingError(
                self._path, "the rank that was to start it has ended; what it has printed says why"
            )
        return shared

    def wait_alone(self) -> None:
        """Wait until no other rank uses the database any more."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        os.truncate(self._file, 0)

    def lost(self) -> SharingError:
        """Return the error of a rank whose leader has ended before it."""
        return SharingError(
            self._path, "the rank that has started it has ended; what it has printed says why"
        )

    def clear(self) -> None:
        """Remove the file, and its directory where nothing else is in it: the driver may be elsewhere."""
        self._path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # another program is here, or the driver, who removes it himself
            self._path.parent.rmdir()

    def _read(self) -> Shared | None:
        """Return what a leader that lives has written."""
        text = os.pread(self._file, 1 << 16, 0)
        if not text:
            return None
        shared = Shared(**json.loads(text))
        stat = read_stat(shared.leader)
        lives = stat is not None and stat.start_time == shared.start_time and stat.state not in "ZX"
        return shared if lives else None


def _make_private(directory: Path) -> None:
    """Make a directory of this user alone, or make sure that it is."""
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        stat = directory.stat()
    except OSError as error:
        raise SharingError(directory, f"its directory cannot be made on this host: {error}") from error
    if stat.st_uid != os.getuid() or stat.st_mode & 0o077:
        raise SharingError(directory, "its directory belongs to somebody else, or is open to others")
