"""Which code a network was trained by."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_ANSWER_S = 5.0


def git_commit(script: Path | None = None) -> str | None:
    """Return the commit that a script's directory is at, with `-dirty` where it has changed since.

    Args:
        script: a file in the repository; the program that runs by default.

    Returns:
        None where there is no repository, or no git.
    """
    of = Path(sys.argv[0]) if script is None else script
    command = ["git", "-C", str(of.absolute().parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.strip() or None
