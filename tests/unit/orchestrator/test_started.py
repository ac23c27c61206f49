"""What is news to the user: asking never changes the answer, raising does."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import JobFailed
from orchestrator.launchers.base import Job, Launch
from orchestrator.placement import Placement, RankPlacement
from orchestrator.started import Started

PLACE = Placement((RankPlacement("here", (0,)),))


def ended(name: str, returncode: int) -> Job:
    """A Job that no launcher knows, and that has ended."""
    launch = Launch(name, [name], Path("/"), Path("/nowhere"), {}, PLACE)
    job = Job(launch, lambda number: None)
    job.report_started(None)
    job.report_ended(returncode)
    return job


@pytest.fixture
def started() -> Started:
    """Three programs; the last in order is the first that failed."""
    started = Started(dry=False)
    good, first, second = ended("good", 0), ended("first", 1), ended("second", 2)
    started.jobs.extend([second, good, first])
    return started


def test_asking_changes_nothing(started: Started) -> None:
    for _ in range(2):
        assert isinstance(failure := started.failure(), JobFailed) and failure.name == "first"
        assert isinstance(news := started.news(), JobFailed) and news.name == "first"


def test_what_was_raised_is_no_news_but_still_a_failure(started: Started) -> None:
    news = started.news()
    assert news is not None
    started.report(news)
    assert started.news() is None
    assert started.failure() is not None


def test_what_a_job_has_raised_itself_is_no_news(started: Started) -> None:
    with pytest.raises(JobFailed):
        started.jobs[2].wait()
    assert isinstance(news := started.news(), JobFailed) and news.name == "second"


def test_what_a_listener_raised_is_told_once(started: Started) -> None:
    error = ZeroDivisionError()
    started.jobs = [ended("good", 0)]
    started.jobs[0].listener_error = error
    assert started.news() is error
    started.report(error)
    assert started.news() is None


def test_a_dry_run_has_no_failures_and_keeps_its_cores() -> None:
    started = Started(dry=True)
    started.jobs.append(ended("job", 1))
    assert started.failure() is None and started.news() is None
    assert started.placements() == [PLACE]
    wet = Started(dry=False)
    wet.jobs.append(ended("job", 0))
    assert wet.placements() == []
