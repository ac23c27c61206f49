"""Ranks on one host agree which of them starts their database; they are processes here, as they are there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.errors import SharingError
from orchestrator.sharing import Share

ROOT = Path(__file__).parents[3]
RANK = """
import sys
from pathlib import Path
from orchestrator.sharing import Share
with Share(Path(sys.argv[1])) as share:
    if share.lead():
        print("leads", flush=True)
        if sys.stdin.readline().strip() == "die":
            raise SystemExit(1)
        share.publish({"SSDB": "unix:///s"})
        print("published", flush=True)
        sys.stdin.readline()
        share.wait_alone()
        print("alone", flush=True)
    else:
        print("follows", flush=True)
        print(share.join().environment["SSDB"], flush=True)
        sys.stdin.readline()
"""


class Rank:
    def __init__(self, path: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", RANK, str(path)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )

    def says(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def told(self, word: str = "") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def ended(self) -> str:
        _, said = self.process.communicate(timeout=60)
        return said


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir(mode=0o700)
    return tmp_path / "run" / "solver.here.share"


@pytest.fixture
def ranks(path: Path) -> Iterator[list[Rank]]:
    """Three, of which the first leads."""
    started = [Rank(path)]
    assert started[0].says() == "leads"
    started += [Rank(path), Rank(path)]
    assert [rank.says() for rank in started[1:]] == ["follows", "follows"]
    yield started
    for rank in started:
        rank.process.kill()
        rank.process.communicate()


def test_one_leads_and_waits_for_the_others(ranks: list[Rank]) -> None:
    first, second, third = ranks
    first.told()
    assert first.says() == "published"
    assert second.says() == third.says() == "unix:///s"
    first.told()
    second.told()
    assert second.ended() == ""
    assert first.process.poll() is None  # the third still uses it
    third.told()
    assert first.says() == "alone"
    assert (first.ended(), third.ended()) == ("", "")


def test_a_leader_that_ends_without_a_database_fails_the_others(ranks: list[Rank]) -> None:
    ranks[0].told("die")
    for rank in ranks[1:]:
        assert "the rank that was to start it has ended" in rank.ended()


def test_a_leader_that_was_killed_is_followed_by_another(ranks: list[Rank], path: Path) -> None:
    first = ranks[0]
    first.told()
    assert first.says() == "published"
    for rank in ranks:
        rank.process.kill()
        rank.process.wait()
    with Share(path) as share:
        assert share.lead()


def test_a_directory_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(SharingError, match="open to others"):
        Share(tmp_path / "solver.share")
    with pytest.raises(SharingError, match="cannot be made on this host"):
        Share(tmp_path / "none" / "run" / "solver.share")
