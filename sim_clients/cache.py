"""Where Penstock keeps what it compiles."""

from __future__ import annotations

import os
from pathlib import Path


def cache_directory() -> Path:
    """Return the directory for what Penstock compiles: $PENSTOCK_CACHE, else penstock in the user's cache."""
    explicit = os.environ.get("PENSTOCK_CACHE")
    if explicit:
        return Path(explicit)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "penstock"
