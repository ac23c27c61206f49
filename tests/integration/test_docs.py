"""The pages of docs/: their Python runs as it is printed, and what they list is all there is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from orchestrator.record import run_at
from orchestrator.report import write_report
from sim_clients import Address
from tests.integration.scripts import ran, snippets
from tests.integration.servers import RedisServer, StartServer
from tests.integration.test_docs_solvers import shell
from tests.unit.orchestrator.report.runs import Page, job, write_run

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MODULE = ROOT / "orchestrator" / "module"
CLIENT = ROOT / "sim_clients" / "c"


def run_beside(server: RedisServer, program: Path, *parts: str, deadline_s: float = 100) -> None:
    """Run a program of these parts, which finds the server by its environment."""
    program.write_text("\n".join(parts))
    quiet = {"SR_LOG_FILE": str(program.parent / "log"), "SR_LOG_LEVEL": "INFO", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(program)],
        cwd=program.parent,
        env={**os.environ, **Address.parse(server.address).environment(), **quiet},
        capture_output=True,
        text=True,
        timeout=deadline_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_python_of_the_page_on_inference_runs(server: RedisServer, tmp_path: Path) -> None:
    run_beside(server, tmp_path / "first.py", *snippets(DOCS / "inference.md")[1:])


def test_the_python_of_the_page_on_models_runs(server: RedisServer, tmp_path: Path) -> None:
    run_beside(server, tmp_path / "models.py", *snippets(DOCS / "models.md"))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_compiled_package_of_the_page_on_inference_runs(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server(arguments=("AOTINDUCTOR", "yes"))
    first = snippets(DOCS / "inference.md")[1]
    run_beside(
        server, tmp_path / "compiled.py", first, *snippets(DOCS / "inference.md", "py"), deadline_s=280
    )


@pytest.mark.slow
def test_the_experiment_of_the_page_on_inference_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment, *program = snippets(DOCS / "inference.md")
    (tmp_path / "experiment.py").write_text(experiment)
    (tmp_path / "first.py").write_text("\n".join([*program, 'print("it has ended")']))
    done = ran(tmp_path / "experiment.py", monkeypatch)
    assert "it has ended" in done.stdout


def test_the_python_of_the_page_on_ensembles_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ensembles.py").write_text("\n".join(snippets(DOCS / "ensembles.md")))
    done = ran(tmp_path / "ensembles.py", monkeypatch)
    assert "viscosity 0.02, resolution 64" in done.stdout
    assert "['heat_1', 'heat_3', 'heat_5']" in done.stdout
    assert "these have failed, and are let be: m_2" in done.stderr


def test_the_python_of_the_page_on_databases_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "databases.py").write_text("\n".join(snippets(DOCS / "databases.md")))
    ran(tmp_path / "databases.py", monkeypatch)


def test_the_python_of_the_page_on_runs_that_survive_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "survive.py").write_text("\n".join(snippets(DOCS / "survive.md")))
    done = ran(tmp_path / "survive.py", monkeypatch)
    assert "has put no snapshot for 1 s and was stopped" in done.stderr


def test_the_python_of_the_page_on_colocation_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "colocated.py").write_text("\n".join(snippets(DOCS / "colocated.md")))
    ran(tmp_path / "colocated.py", monkeypatch)


def test_what_the_page_on_reports_writes_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_loop.py").write_text("\n".join(snippets(DOCS / "report.md")))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    ran(tmp_path / "own_loop.py", monkeypatch)
    (history,) = tmp_path.glob("*/history.jsonl")
    write_run(tmp_path, [job(history.parent.name)])
    page = Page(write_report(run_at(tmp_path)).read_text())
    drawn = page.charts["Loss and validation over the gradient steps"]["validation, held-out samples"]
    assert drawn == [[100, 0.12], [200, 0.06]]
    assert "2 went live, 1 refused, 0 rolled back" in page.text
    assert "u (16 × 16, m s-1)" in page.text
    assert "What could not be read" not in page.text


def test_the_python_of_the_page_on_training_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "training.py").write_text("\n".join(snippets(DOCS / "training.md")))
    ran(tmp_path / "training.py", monkeypatch)


def test_the_python_of_the_page_on_clients_runs(server: RedisServer, tmp_path: Path) -> None:
    run_beside(server, tmp_path / "clients.py", *snippets(DOCS / "clients.md"))


def test_the_python_of_the_page_on_streams_runs(server: RedisServer, tmp_path: Path) -> None:
    run_beside(server, tmp_path / "streams.py", *snippets(DOCS / "streams.md"))


@pytest.mark.parametrize("number", [0, 1])
def test_the_c_of_the_page_on_clients_runs(
    server: RedisServer, db: redis.Redis, tmp_path: Path, number: int
) -> None:
    (source,), lines = snippets(DOCS / "clients.md", "c"), snippets(DOCS / "clients.md", "sh")
    (tmp_path / "solver.c").write_text(source)
    (tmp_path / "sim_clients").symlink_to(CLIENT.parent)
    shell(f"cc -std=c11 -Wall -Wextra -Werror -fsyntax-only -I{CLIENT} solver.c", tmp_path)
    shell(lines[number], tmp_path)
    shell("./solver", tmp_path, PENSTOCK_NAME="heat_0", **Address.parse(server.address).environment())
    assert len(lines) == 2
    assert db.lrange("snapshots", 0, -1) == [b"{heat_0.0.0}", b"{heat_0.0.1}", b"{heat_0.0.2}"]
    assert db.exists("flag.snapshots.heat_0.0.ended")


def test_no_page_has_python_that_no_test_runs() -> None:
    with_python = {page.name for page in DOCS.glob("*.md") if snippets(page)}
    expected = {
        "inference.md",
        "ensembles.md",
        "databases.md",
        "colocated.md",
        "survive.md",
        "from-smartsim.md",
        "clients.md",
        "streams.md",
        "training.md",
        "models.md",
        "report.md",
    }
    assert with_python == {
        *expected,
        "fields.md",
        "slurm.md",
        "smartsim.md",
    }  # the last ones in tests of their own


def load_arguments() -> set[str]:
    """Return every key that options.cc knows."""
    source = (MODULE / "options.cc").read_text()
    engines = re.search(r"kEngineNames\[\] = \{(.*?)\}", source, re.DOTALL)
    assert engines is not None
    names = re.findall(r'"(\w+)"', engines[1])
    keys = set(re.findall(r'\{"([A-Z][A-Z_]+)", &Options', source))
    keys |= set(re.findall(r'EqualsAnyCase\(key, "([A-Z_]+)"\)', source))
    accepted = re.search(r"kAccepted\[\] = \{(.*?)\}", source)
    assert accepted is not None
    keys |= set(re.findall(r'"(\w+)"', accepted[1]))
    return keys | {name + suffix for name in names for suffix in ("", "_LIBRARIES", "_VERSION")}


def test_every_load_argument_is_described_and_no_other() -> None:
    page = (DOCS / "inference.md").read_text()
    table = page.partition("## Load arguments")[2].partition("\n## ")[0]
    described = {
        key
        for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        for key in re.findall(r"`(\w+)`", row)
    }
    assert described == load_arguments()


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", ["databases", "colocated", "survive", "ensembles", "from-smartsim", "slurm"])
def test_each_piece_of_python_of_a_page_can_be_copied_alone(page: str, tmp_path: Path) -> None:
    for number, text in enumerate(snippets(DOCS / f"{page}.md")):
        (tmp_path / f"piece_{number}.py").write_text(text)
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821", str(tmp_path)]
    done = subprocess.run(ruff, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
