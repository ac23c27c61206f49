"""What a script may import from orchestrator, and how exits are told."""

from __future__ import annotations

import orchestrator
from orchestrator.errors import describe_exit


def test_public_names_are_these() -> None:
    assert orchestrator.__all__ == [
        "Application",
        "ColocatedDatabase",
        "Database",
        "DatabaseStatus",
        "Ensemble",
        "Experiment",
        "Host",
        "InputFiles",
        "Inventory",
        "Job",
        "JobState",
        "LaunchOptions",
        "ModelRuntime",
        "NodeStatus",
        "Orchestrator",
        "PenstockError",
        "Policy",
        "RedisConfig",
        "Resources",
        "RunningDatabase",
        "RunningExperiment",
        "colocate",
        "load_config",
        "reconnect",
        "run_script",
    ]
    assert all(
        getattr(orchestrator, name).__module__.startswith("orchestrator.") for name in orchestrator.__all__
    )


def test_exits_are_told_in_words() -> None:
    assert describe_exit(3) == "ended with exit code 3"
    assert describe_exit(-11) == "was killed by signal 11 (SIGSEGV)"
    assert describe_exit(-99) == "was killed by signal 99"
    assert describe_exit(None) == "has not ended"
