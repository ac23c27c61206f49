"""Files that are written under another name first, so that they are whole or not there.

A draft has the name of its file, a dot before it and the number of its process behind it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path


def draft_of(path: Path) -> Path:
    """Return where this process writes what becomes a file."""
    return path.with_name(f".{path.name}.{os.getpid()}")


def remove_stale(directory: Path, names: str) -> None:
    """Remove drafts of processes that do not run on this host, as after a kill; a directory is one trainer's.

    Args:
        names: a regular expression for the names of the files themselves.

    Raises:
        OSError: one cannot be removed.
    """
    for path in directory.iterdir():
        found = re.fullmatch(rf"\.(?:{names})\.([0-9]{{1,7}})", path.name)
        if found and not _is_running(int(found[1])):
            path.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's
    return True
