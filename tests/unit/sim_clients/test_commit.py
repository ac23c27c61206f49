"""Which commit an experiment is started from, as its run's record has it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from orchestrator.script import Options, source_of
from sim_clients.commit import commit_of


def git(directory: Path, *words: str) -> str:
    own = ("-c", "user.name=me", "-c", "user.email=me@here", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *own, *words], cwd=directory, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    """A directory in a repository of one commit, with a tag."""
    directory = tmp_path / "experiment"
    directory.mkdir()
    (directory / "run.py").write_text("pass\n")
    git(directory, "init", "-q")
    git(directory, "add", "run.py")
    git(directory, "commit", "-q", "-m", "first")
    git(directory, "tag", "v1")
    return directory


def test_a_commit_is_named_and_so_is_what_differs_from_it(experiment: Path) -> None:
    head = git(experiment, "rev-parse", "HEAD")[:12]
    assert commit_of(experiment) == head
    (experiment / "notes.txt").write_text("git does not know it")
    assert commit_of(experiment) == head
    (experiment / "run.py").write_text("1\n")
    assert commit_of(experiment) == f"{head}-dirty"
    assert source_of(experiment, Options(), {})["commit"] == f"{head}-dirty"


def test_without_a_repository_a_commit_or_git_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit_of(tmp_path) is None
    git(tmp_path, "init", "-q")
    assert commit_of(tmp_path) is None
    monkeypatch.setenv("PATH", "")
    assert commit_of(tmp_path) is None
