"""The units of the module, a header and its source each, include one another in one direction only."""

from __future__ import annotations

import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

MODULE = Path(__file__).parents[3] / "orchestrator/module"
INCLUDE = re.compile(r'^#include "(\w+)\.h"$', re.MULTILINE)


def included() -> dict[str, set[str]]:
    """Return which units each unit includes."""
    units: dict[str, set[str]] = {}
    for file in [*MODULE.glob("*.h"), *MODULE.glob("*.cc")]:
        units.setdefault(file.stem, set()).update(INCLUDE.findall(file.read_text()))
    return {unit: others - {unit} for unit, others in units.items()}


def test_no_unit_includes_itself_by_way_of_others() -> None:
    units = included()
    assert len(units) > 50 and "backend" in units["executable"]
    try:
        TopologicalSorter(units).prepare()
    except CycleError as error:
        pytest.fail(f"a cycle of includes: {' → '.join(error.args[1])}")
