"""The models of a MemoryDatabase: versions, what is known of them, which is live."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sim_clients import keys, registry
from sim_clients.errors import ModelMissing, ModelRejected
from sim_clients.fields import Array
from sim_clients.models import check_newer
from sim_clients.registry import ModelAbout, ModelVersion, ReportedError

Network = Callable[..., Array | tuple[Array, ...]]


@dataclass
class MemoryModels:
    """What a database keeps of all models.

    Attributes:
        networks: `name@version` -> network, which returns a tuple where it has several outputs.
        archives: `name@version` -> what was posted.
        live: name -> version.
        entries: name -> version -> what is kept of it.
        lived: name -> the versions that were live.
        reports: name and version -> what solvers have said.
        trials: name -> what is kept of the last trial, and when it is over, monotonic time, s.
    """

    networks: dict[str, Network] = field(default_factory=dict)
    archives: dict[str, bytes] = field(default_factory=dict)
    live: dict[str, int] = field(default_factory=dict)
    entries: dict[str, dict[str, str]] = field(default_factory=dict)
    lived: dict[str, set[int]] = field(default_factory=dict)
    reports: dict[tuple[str, int], list[ReportedError]] = field(default_factory=dict)
    trials: dict[str, tuple[str, float]] = field(default_factory=dict)

    def post(
        self,
        name: str,
        version: int,
        load: Callable[[], Network],
        *,
        archive: bytes,
        about: ModelAbout | None,
        promote: bool,
    ) -> None:
        """Store a version, and make it the live one; see `Client.put_model`."""
        live = self.live.get(name, 0)
        check_newer(name, version, live)
        entries = self.entries.setdefault(name, {})
        registry.check_unused(name, version, entries.get(str(version)), None)
        try:
            network = load()
        except Exception as error:
            raise ModelRejected(name, str(error)) from error
        self.networks[keys.model_version(name, version)] = network
        self.archives[keys.model_version(name, version)] = archive
        entries[str(version)] = registry.entry_of(about, len(archive), live)
        if promote:
            self.promote(name, version)

    def promote(self, name: str, version: int) -> None:
        """Make a version the live one; see `Client.promote`."""
        self.network(name, version)
        before = {one for one in self.lived.get(name, set()) if one < version}
        self.lived[name] = before | {version}
        self.live[name] = version

    def remove(self, name: str, version: int) -> None:
        """Remove a version; see `Client.remove_model_version`."""
        registry.check_removable(name, version, self.versions(name))
        entries = self.entries.get(name, {})
        if str(version) not in entries:
            raise ModelMissing(name, version)
        entries[str(version)] = registry.removed_entry(entries[str(version)])
        self.networks.pop(keys.model_version(name, version), None)
        self.archives.pop(keys.model_version(name, version), None)
        self.lived.get(name, set()).discard(version)
        self.reports.pop((name, version), None)

    def network(self, name: str, version: int) -> Network:
        """Return a version.

        Raises:
            ModelMissing
        """
        try:
            return self.networks[keys.model_version(name, version)]
        except KeyError as error:
            raise ModelMissing(name, version) from error

    def archive(self, name: str, version: int) -> bytes:
        """Return what was posted as a version.

        Raises:
            ModelMissing
        """
        self.network(name, version)
        return self.archives[keys.model_version(name, version)]

    def versions(self, name: str) -> list[ModelVersion]:
        """Return the versions of a model, oldest first."""
        entries, lived = self.entries.get(name, {}), self.lived.get(name, set())
        trial, end = self.trials.get(name, (None, math.inf))
        here = trial if time.monotonic() < end else None
        return registry.versions_from(entries, lived, self.live.get(name, 0), here)

    def begin_trial(self, name: str, version: int, before: int, seconds: float) -> None:
        """Have a version kept while another is on trial; see `Client.begin_trial`."""
        self.trials[name] = registry.trial_text(name, version, before, seconds), time.monotonic() + seconds

    def end_trial(self, name: str, version: int) -> None:
        """Let go what a trial would have gone back to; see `Client.end_trial`."""
        if self.trials.get(name, ("", 0.0))[0].startswith(f"{version} "):
            del self.trials[name]

    def report(self, name: str, version: int, report: ReportedError) -> None:
        """Keep what a solver says of a version, if it is there."""
        if keys.model_version(name, version) not in self.networks:
            return
        reports = self.reports.setdefault((name, version), [])
        reports.append(report)
        oldest = reports[0]
        del reports[: -registry.REPORTS_KEPT]
        if not math.isfinite(oldest.value):
            reports[0] = oldest
