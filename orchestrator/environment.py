"""What a started program finds in its environment. Pure but for the PATH of this process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from orchestrator.application import Application, search_path
from orchestrator.placement import thread_caps
from orchestrator.run_files import RunFiles
from orchestrator.watcher import RUN_ID_VARIABLE
from sim_clients.identity import NAME_VARIABLE

RUN_DIR = "PENSTOCK_RUN_DIR"
JOB_DIR = "PENSTOCK_JOB_DIR"
RUNTIME_DIR = "PENSTOCK_RUNTIME_DIR"


def program_environment(application: Application, databases: Mapping[str, str]) -> dict[str, str]:
    """Return thread caps, what leads to its databases and keys, and last what the application asks for."""
    path = search_path(application.environment)
    return {
        **thread_caps(application.resources.rank_cores),
        "PYTHONUNBUFFERED": "1",
        **databases,
        **_key_prefixes(application),
        **application.environment,
        **({"PATH": path} if path != os.environ.get("PATH") else {}),
    }


def _key_prefixes(application: Application) -> dict[str, str]:
    """Return SmartRedis's prefixes: of the keys that a program writes, and of those it may choose to read."""
    own = (application.name,) if application.prefix_keys else ()
    sources = dict.fromkeys((*application.reads_from, *own))
    return {
        **({"SSKEYOUT": application.name} if application.prefix_keys else {}),
        **({"SSKEYIN": ",".join(sources)} if sources else {}),
    }


def run_environment(name: str, directory: Path, files: RunFiles) -> dict[str, str]:
    """Return what tells a program which run it belongs to, and the run which programs are its own.

    Args:
        name: of the Application or shard.
        directory: where it runs.
        files: of the run.
    """
    return {
        NAME_VARIABLE: name,
        RUN_DIR: str(files.directory),
        JOB_DIR: str(directory),
        RUNTIME_DIR: str(files.runtime),
        RUN_ID_VARIABLE: files.run_id,
    }
