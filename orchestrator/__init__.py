"""Start, watch and stop a simulation, its database and its trainer.

Names are brought in when they are first used, so that the `penstock` command starts at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.application import Application
    from orchestrator.colocated import colocate
    from orchestrator.config import load_config
    from orchestrator.database import Database
    from orchestrator.deployment import Orchestrator
    from orchestrator.ensemble import Ensemble
    from orchestrator.errors import PenstockError
    from orchestrator.experiment import Experiment
    from orchestrator.hosts import Host, Inventory
    from orchestrator.input_files import InputFiles
    from orchestrator.joining import ColocatedDatabase
    from orchestrator.launchers.base import Job, JobState
    from orchestrator.launchers.options import LaunchOptions
    from orchestrator.model_runtime import ModelRuntime
    from orchestrator.policy import Policy
    from orchestrator.reconnecting import RunningDatabase, RunningExperiment, reconnect
    from orchestrator.redis_config import RedisConfig
    from orchestrator.resources import Resources
    from orchestrator.script import run_script
    from orchestrator.status import DatabaseStatus, NodeStatus

__all__ = [
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

_HOMES = {
    "Application": "orchestrator.application",
    "ColocatedDatabase": "orchestrator.joining",
    "Database": "orchestrator.database",
    "DatabaseStatus": "orchestrator.status",
    "Ensemble": "orchestrator.ensemble",
    "Experiment": "orchestrator.experiment",
    "Host": "orchestrator.hosts",
    "InputFiles": "orchestrator.input_files",
    "Inventory": "orchestrator.hosts",
    "Job": "orchestrator.launchers.base",
    "JobState": "orchestrator.launchers.base",
    "LaunchOptions": "orchestrator.launchers.options",
    "ModelRuntime": "orchestrator.model_runtime",
    "NodeStatus": "orchestrator.status",
    "Orchestrator": "orchestrator.deployment",
    "PenstockError": "orchestrator.errors",
    "Policy": "orchestrator.policy",
    "RedisConfig": "orchestrator.redis_config",
    "Resources": "orchestrator.resources",
    "RunningDatabase": "orchestrator.reconnecting",
    "RunningExperiment": "orchestrator.reconnecting",
    "colocate": "orchestrator.colocated",
    "load_config": "orchestrator.config",
    "reconnect": "orchestrator.reconnecting",
    "run_script": "orchestrator.script",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'orchestrator' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
