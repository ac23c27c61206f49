"""What the programs of this experiment call things in the database and in their directories."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sim_clients import ClientError

MODEL = "heat"
EXAMINED = "heat.examined"
"""Flag that the evaluation raises: nobody needs the database any more."""

REPORT = "report.json"
EXAMPLE = "example.npz"


def write_report(report: dict[str, Any]) -> None:
    """Write what this program has measured into its directory, where it runs."""
    Path(REPORT).write_text(json.dumps(report, indent=1))


def run(main: Callable[[], None], *errors: type[Exception]) -> None:
    """Run a program; say in one sentence what went wrong with the database, and end with 1."""
    try:
        main()
    except (ClientError, *errors) as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")
