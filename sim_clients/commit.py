"""Which commit of its repository a run was started from, or a network trained by."""

from __future__ import annotations

import subprocess
from pathlib import Path

TIMEOUT_S = 5.0
_COMMAND = ("git", "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty")


def commit_of(directory: Path) -> str | None:
    """Return the commit that is checked out, with -dirty where files that git knows have been changed.

    Returns:
        For example `3f2a91c07d5e-dirty`; None where there is no git, no repository or no commit, or where git
        takes longer than 5 s.
    """
    try:
        done = subprocess.run(
            _COMMAND, cwd=directory, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
