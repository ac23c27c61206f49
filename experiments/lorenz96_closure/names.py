"""What the programs of this experiment call things in the database and in their directories."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lorenz96 import BlownUp

from sim_clients import ClientError

MODEL = "closure"
FITS = "fits"
"""Who reads the snapshots after the trainer has."""
X, B = "x", "b"
"""Fields of a snapshot: (members, slow) float32 each."""

REPORT = "report.json"
CLIMATE = "climate.npz"


def write_report(report: dict[str, Any]) -> None:
    """Write what this program has measured into its directory, where it runs."""
    Path(REPORT).write_text(json.dumps(report, indent=1))


def run(main: Callable[[], None], *errors: type[Exception]) -> None:
    """Run a program; say in one sentence what went wrong with the database, and end with 1."""
    try:
        main()
    except (ClientError, BlownUp, *errors) as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")
