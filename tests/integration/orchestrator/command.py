"""The command as a user types it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any


def penstock(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `penstock ARGUMENTS` to its end."""
    command = [sys.executable, "-m", "orchestrator.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)
