"""The contract in one process, for unit tests and for trying things out: no server, no wire."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sim_clients import keys, spill
from sim_clients.about import About, Field
from sim_clients.contract import Contract
from sim_clients.errors import (
    IncompleteSnapshot,
    InferenceFailed,
    KeyMissing,
    ModelMissing,
)
from sim_clients.fields import Array, model_inputs, wire_array
from sim_clients.flow import Bound, Fill, Outcome, check_bound, checked_acknowledgement, dropped
from sim_clients.local_model import FOLLOW_EVERY_S, LocalModel
from sim_clients.memory_models import MemoryModels, Network
from sim_clients.memory_streams import MemoryStream
from sim_clients.models import check_post, checked_count, checked_error, checked_version
from sim_clients.new_fields import Shape, ordinary_field, read_only, spend
from sim_clients.registry import ModelAbout, ModelVersion, ReportedError, checked_model_about
from sim_clients.snapshot import (
    Place,
    Snapshot,
    SnapshotSeries,
    read_in_turn,
    selected,
    with_read_only_fields,
)

Loader = Callable[[bytes], Network]
NO_PREFIXES = keys.Prefixes()


def no_loader(model: bytes) -> Network:
    """Refuse every model: sim_clients knows no torch, so the user of a MemoryClient brings a loader."""
    raise ValueError("this MemoryDatabase has no loader for models")


@dataclass
class MemoryDatabase:
    """What several MemoryClients share, as processes share a database.

    Attributes:
        load: turns the bytes of a model into a function of numpy arrays, or raises.
        models: their versions.
    """

    load: Loader = no_loader
    tensors: dict[str, Array] = field(default_factory=dict)
    times: dict[str, float] = field(default_factory=dict)
    abouts: dict[str, Mapping[str, About]] = field(default_factory=dict)
    datasets: dict[str, tuple[str, ...]] = field(default_factory=dict)
    spilled: dict[str, Path] = field(default_factory=dict)
    streams: dict[str, MemoryStream] = field(default_factory=dict)
    contracts: dict[str, Contract] = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)
    models: MemoryModels = field(default_factory=MemoryModels)

    def stream(self, name: str) -> MemoryStream:
        """Return a stream, an empty one where there is none."""
        return self.streams.setdefault(name, MemoryStream(name, lambda entry: self.remove(name, entry)))

    def remove(self, stream: str, entry: str) -> None:
        """Remove the data of a dataset."""
        for field_name in self.datasets.pop(entry, ()):
            self.tensors.pop(keys.tensor(entry, field_name), None)
        self.times.pop(entry, None)
        self.abouts.pop(entry, None)
        if (place := self.spilled.pop(entry, None)) is not None:
            spill.remove(place, stream, str(keys.parse_snapshot(entry)))


class MemoryClient:
    """A `Client` over a MemoryDatabase.

    Args:
        database: that it shares with others.
        producer: name of the application or ensemble member it belongs to.
        rank: within the producer.
        prefixes: of keys, as SSKEYOUT and SSKEYIN give them to a client of a real database.
    """

    def __init__(
        self,
        database: MemoryDatabase,
        producer: str = "memory",
        rank: int = 0,
        prefixes: keys.Prefixes = NO_PREFIXES,
    ) -> None:
        self._database = database
        self._prefixes = prefixes
        self._producer = keys.checked("producer", producer)
        self._rank = rank
        self._series: dict[str, SnapshotSeries] = {}

    @property
    def producer(self) -> str:
        """Name of the application or ensemble member this client belongs to."""
        return self._producer

    @property
    def rank(self) -> int:
        """Rank within the producer."""
        return self._rank

    def put_snapshot(
        self,
        step: int,
        fields: Mapping[str, Array | Field],
        *,
        time: float | None = None,
        stream: str = keys.DEFAULT_STREAM,
    ) -> Snapshot:
        """Store and announce a snapshot; see `Client.put_snapshot`."""
        keys.checked("stream", stream)
        series = self._series_of(stream)
        snapshot = series.prepare(step, fields, time)
        if self._database.contracts.get(stream) != series.contract:
            series.agree_again(snapshot.name)  # somebody has forgotten the stream
        entry = keys.dataset(snapshot.name, self._prefixes.written)
        flow = self._database.stream(stream)
        outcome = flow.reserve(entry, sum(value.nbytes for value in snapshot.fields.values()))
        if outcome is not Outcome.SKIPPED:
            self._store(entry, snapshot, outcome, flow)
            flow.announce(entry, outcome)
        series.stored(snapshot)
        spend(snapshot.fields.values())
        return dataclasses.replace(snapshot, outcome=outcome)

    def _series_of(self, stream: str) -> SnapshotSeries:
        if stream not in self._series:
            self._series[stream] = SnapshotSeries(
                self.producer,
                self.rank,
                stream,
                lambda contract: self._database.contracts.setdefault(stream, contract),
            )
        return self._series[stream]

    def _store(self, entry: str, snapshot: Snapshot, outcome: Outcome, flow: MemoryStream) -> None:
        if outcome is Outcome.SPILLED:
            place = spill.write(flow.directory or "", flow.name, snapshot.name, snapshot.fields)
            self._database.spilled[entry] = place
        self._database.datasets[entry] = tuple(snapshot.fields)
        self._database.abouts[entry] = snapshot.about
        for name, value in snapshot.fields.items() if outcome is Outcome.STORED else ():
            self._database.tensors[keys.tensor(entry, name)] = value.copy()
        if snapshot.time is not None:
            self._database.times[entry] = snapshot.time

    def end_stream(self, stream: str = keys.DEFAULT_STREAM) -> None:
        """Tell the readers that this rank puts no more snapshots."""
        self.raise_flag(keys.ended(keys.checked("stream", stream), self.producer, self.rank))

    def stream_ended(self, producer: str, rank: int = 0, stream: str = keys.DEFAULT_STREAM) -> bool:
        """Tell whether a rank has called `end_stream`."""
        return self.flag_raised(keys.ended(stream, producer, rank))

    def announced(self, stream: str = keys.DEFAULT_STREAM) -> int:
        """Return how many snapshots have been announced."""
        return len(self._database.stream(stream).entries)

    def contract(self, stream: str = keys.DEFAULT_STREAM) -> Contract | None:
        """Return what all snapshots of a stream have; see `Client.contract`."""
        return self._database.contracts.get(keys.checked("stream", stream))

    def forget_stream(self, stream: str = keys.DEFAULT_STREAM) -> None:
        """Remove all that was put in a stream; see `Client.forget_stream`."""
        for entry in self._database.stream(keys.checked("stream", stream)).forget():
            producer, rank, _ = keys.parse_snapshot(entry)
            self._database.flags.discard(keys.flag(keys.ended(stream, producer, rank)))
            self._database.remove(stream, entry)
        self._database.contracts.pop(stream, None)
        self._series.pop(stream, None)

    def snapshot_names(self, first: int = 0, stream: str = keys.DEFAULT_STREAM) -> list[keys.SnapshotName]:
        """Return who made the snapshots of a stream, and when; see `Client.snapshot_names`."""
        entries = self._database.stream(keys.checked("stream", stream)).entries
        return [keys.parse_snapshot(entry.name) for entry in entries[keys.checked_position(first) :]]

    def get_snapshot(
        self,
        position: int,
        stream: str = keys.DEFAULT_STREAM,
        *,
        fields: Sequence[str] | None = None,
        place: Place | None = None,
    ) -> Snapshot:
        """Return the snapshot at a position of the stream; see `Client.get_snapshot`."""
        if not 0 <= position < self.announced(stream):
            raise KeyMissing(f"{stream}[{position}]")
        flow = self._database.stream(stream)
        entry = flow.entries[position].name
        if position < flow.kept_from and entry not in self._database.datasets:
            raise dropped(str(keys.parse_snapshot(entry)), position, stream, flow.fill())
        outcome = Outcome.SPILLED if entry in self._database.spilled else Outcome.STORED
        found = self._fields(entry)
        about, time = self._database.abouts[entry], self._database.times.get(entry)
        snapshot = Snapshot(*keys.parse_snapshot(entry), found, time, about, outcome)
        if outcome is Outcome.SPILLED:
            spill.check_contract(snapshot, stream, self.contract(stream), self._database.spilled[entry])
        return selected(snapshot, fields, place)

    def get_snapshots(
        self, positions: Sequence[int], stream: str = keys.DEFAULT_STREAM, *, mapped: bool = False
    ) -> list[Snapshot]:
        """Return the snapshots at some positions, one after the other; see `Client.get_snapshots`."""
        return read_in_turn(lambda position: self.get_snapshot(position, stream), positions)

    def _fields(self, entry: str) -> dict[str, Array]:
        if entry in self._database.spilled:
            name, names = str(keys.parse_snapshot(entry)), list(self._database.datasets[entry])
            return spill.read(self._database.spilled[entry], socket.gethostname(), name, names)
        stored = {name: keys.tensor(entry, name) for name in self._database.datasets[entry]}
        missing = sorted(name for name, key in stored.items() if key not in self._database.tensors)
        if missing:
            snapshot = str(keys.parse_snapshot(entry))
            raise IncompleteSnapshot(snapshot, f"announced, but not in the database: {', '.join(missing)}")
        return {name: self._database.tensors[key].copy() for name, key in stored.items()}

    def bound_stream(self, bound: Bound, stream: str = keys.DEFAULT_STREAM) -> None:
        """Say how much of a stream is kept; see `Client.bound_stream`."""
        check_bound(bound, stream)
        self._database.stream(stream).set_bound(bound)

    def fill(self, stream: str = keys.DEFAULT_STREAM) -> Fill:
        """Return how full a stream is."""
        return self._database.stream(keys.checked("stream", stream)).fill()

    def subscribe(self, consumer: str, stream: str = keys.DEFAULT_STREAM) -> int:
        """Become a consumer of a stream, or go on as one; see `Client.subscribe`."""
        return self._database.stream(keys.checked("stream", stream)).subscribe(
            keys.checked("consumer", consumer)
        )

    def acknowledge(self, position: int, consumer: str, stream: str = keys.DEFAULT_STREAM) -> None:
        """Say that the positions before this one need not be kept; see `Client.acknowledge`."""
        at = checked_acknowledgement(position, stream)
        self._database.stream(keys.checked("stream", stream)).acknowledge(
            keys.checked("consumer", consumer), at
        )

    def unsubscribe(self, consumer: str, stream: str = keys.DEFAULT_STREAM) -> None:
        """Say that a consumer needs nothing any more; see `Client.unsubscribe`."""
        self._database.stream(keys.checked("stream", stream)).unsubscribe(keys.checked("consumer", consumer))

    def put_tensor(self, name: str, value: Array) -> None:
        """Store one tensor."""
        key = keys.prefixed(self._prefixes.written, keys.checked("tensor", name))
        self._database.tensors[key] = wire_array(name, value).copy()
        spend([value])

    def get_tensor(self, name: str) -> Array:
        """Return one tensor; see `Client.get_tensor`."""
        key = keys.prefixed(self._prefixes.read, keys.checked("tensor", name))
        try:
            return self._database.tensors[key].copy()
        except KeyError as error:
            raise KeyMissing(name) from error

    def new_field(self, shape: Shape, dtype: npt.DTypeLike = "float64") -> Array:
        """Return an array to compute in and put; see `Client.new_field`."""
        return ordinary_field(shape, dtype)

    def map_tensor(self, name: str) -> Array:
        """Return one tensor, read-only; see `Client.map_tensor`."""
        return read_only(self.get_tensor(name))

    def map_snapshot(self, position: int, stream: str = keys.DEFAULT_STREAM) -> Snapshot:
        """Return a snapshot whose fields are read-only; see `Client.map_snapshot`."""
        return with_read_only_fields(self.get_snapshot(position, stream))

    def raise_flag(self, name: str) -> None:
        """Tell everyone who asks that something has happened."""
        self._database.flags.add(keys.flag(keys.checked("flag", name)))

    def flag_raised(self, name: str) -> bool:
        """Tell whether `raise_flag` was called with this name by anyone."""
        return keys.flag(name) in self._database.flags

    def request_stop(self) -> None:
        """Ask all programs of this database to end; see `Client.request_stop`."""
        self.raise_flag(keys.STOP)

    def stop_requested(self) -> bool:
        """Tell whether anyone has called `request_stop`."""
        return self.flag_raised(keys.STOP)

    def put_model(
        self,
        name: str,
        model: bytes,
        version: int,
        *,
        device: str = "CPU",
        about: ModelAbout | None = None,
        promote: bool = True,
    ) -> None:
        """Store a version and make it the live one; see `Client.put_model`. The device is not used."""
        check_post(name, model, device)
        version = checked_version(name, version)
        checked_model_about(name, about)
        self._models.post(
            name,
            version,
            lambda: self._database.load(model),
            archive=model,
            about=about,
            promote=promote,
        )

    @property
    def _models(self) -> MemoryModels:
        return self._database.models

    def promote(self, name: str, version: int) -> None:
        """Make a version the live one; see `Client.promote`."""
        self._models.promote(keys.checked("model", name), checked_version(name, version))

    def model_versions(self, name: str) -> list[ModelVersion]:
        """Return the versions of a model; see `Client.model_versions`."""
        return self._models.versions(keys.checked("model", name))

    def remove_model_version(self, name: str, version: int) -> None:
        """Remove a version; see `Client.remove_model_version`."""
        self._models.remove(keys.checked("model", name), checked_version(name, version))

    def end_swap(self, name: str) -> None:
        """Do nothing: there is one place. See `Client.end_swap`."""
        keys.checked("model", name)

    def begin_trial(self, name: str, version: int, before: int, seconds: float) -> None:
        """Have a version kept while another is on trial; see `Client.begin_trial`."""
        at = checked_version(name, version), checked_version(name, before)
        self._models.begin_trial(keys.checked("model", name), *at, seconds)

    def end_trial(self, name: str, version: int) -> None:
        """Let go what a trial would have gone back to; see `Client.end_trial`."""
        self._models.end_trial(keys.checked("model", name), checked_version(name, version))

    def report_error(self, name: str, value: float, version: int) -> None:
        """Tell how well a version does here; see `Client.report_error`."""
        report = ReportedError(checked_error(name, value), self.producer, self.rank)
        self._models.report(keys.checked("model", name), checked_version(name, version), report)

    def reported_errors(self, name: str, version: int) -> list[ReportedError]:
        """Return what solvers have reported of a version."""
        at = keys.checked("model", name), checked_version(name, version)
        return list(self._models.reports.get(at, ()))

    def model_version(self, name: str) -> int:
        """Return the version that is live; see `Client.model_version`."""
        if keys.checked("model", name) not in self._models.live:
            raise ModelMissing(name)
        return self._models.live[name]

    def get_model(self, name: str, version: int | None = None) -> bytes:
        """Return the archive of a model; see `Client.get_model`."""
        return self._models.archive(keys.checked("model", name), self._at(name, version))

    def local_model(
        self,
        name: str,
        *,
        follow_every_s: float | None = FOLLOW_EVERY_S,
        wait_s: float = 0.0,
        compiled: bool = False,
    ) -> LocalModel:
        """Return a model to be run in this process; see `Client.local_model`."""
        return LocalModel(self, name, follow_every_s=follow_every_s, wait_s=wait_s, compiled=compiled)

    def infer(self, name: str, *inputs: Array, version: int | None = None) -> Array:
        """Run a model; see `Client.infer`."""
        return self.infer_outputs(name, *inputs, count=1, version=version)[0]

    def infer_outputs(
        self, name: str, *inputs: Array, count: int, version: int | None = None
    ) -> tuple[Array, ...]:
        """Run a model that has several outputs; see `Client.infer_outputs`."""
        count = checked_count(name, count)
        arrays = model_inputs(keys.checked("model", name), inputs)
        network = self._models.network(name, self._at(name, version))
        try:
            answer = network(*arrays)
        except Exception as error:
            raise InferenceFailed(name, str(error)) from error
        outputs = answer if isinstance(answer, tuple) else (answer,)
        if len(outputs) != count:
            raise InferenceFailed(name, f"it has {len(outputs)} outputs, and {count} were asked for")
        return tuple(np.array(output, order="C") for output in outputs)

    def _at(self, name: str, version: int | None) -> int:
        return self.model_version(name) if version is None else checked_version(name, version)

    def infer_versioned(self, name: str, *inputs: Array) -> tuple[Array, int]:
        """Run a model, and tell which version has answered; see `Client.infer_versioned`."""
        (output,), version = self.infer_outputs_versioned(name, *inputs, count=1)
        return output, version

    def infer_outputs_versioned(self, name: str, *inputs: Array, count: int) -> tuple[tuple[Array, ...], int]:
        """Run a model, and tell which version has answered; see `Client.infer_outputs_versioned`."""
        model_inputs(keys.checked("model", name), inputs)
        version = self.model_version(name)
        return self.infer_outputs(name, *inputs, count=count, version=version), version

    def close(self) -> None:
        """Leave; there is nothing to remove."""
