"""The contract over the SmartRedis wheel: the only file that imports it.

SmartRedis is what solvers in C, C++ and Fortran use, so whatever this client writes they can read, and the
other way round. Its defects are guarded against here: numpy 2, Fortran order, datasets that say they are
complete and are not, exceptions without a key.
"""

from __future__ import annotations

import dataclasses
import os
import secrets
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
from smartredis import Client as Wheel
from smartredis import Dataset
from smartredis.error import (
    RedisConnectionError,
    RedisDatabaseError,
    RedisReplyError,
    RedisTimeoutError,
)

from sim_clients import diagnosis, keys, plain_redis, spill
from sim_clients.about import Field, read_about, written
from sim_clients.address import Address
from sim_clients.contract import Contract
from sim_clients.errors import (
    ClientError,
    DatabaseFull,
    DatabaseRefused,
    DatabaseUnavailable,
    IncompleteSnapshot,
    InferenceFailed,
    KeyMissing,
    ModelMissing,
    ModelRejected,
    SnapshotError,
    UnsupportedClientError,
)
from sim_clients.fields import WIRE_DTYPES, Array, model_inputs, wire_array
from sim_clients.flow import Bound, Fill, Outcome, check_bound, checked_acknowledgement, dropped, refusals_of
from sim_clients.identity import Identity
from sim_clients.local_model import FOLLOW_EVERY_S, LocalModel
from sim_clients.models import backend_of, check_post, checked_count, checked_error, checked_version
from sim_clients.new_fields import Shape, ordinary_field, read_only, spend
from sim_clients.redis_models import RedisModels
from sim_clients.redis_streams import SPILLED, TENSOR_NAMES, RedisStreams, unpacked
from sim_clients.registry import ModelAbout, ModelVersion, ReportedError, checked_model_about, claim_of
from sim_clients.smartredis_environment import environment_for
from sim_clients.snapshot import (
    Place,
    Snapshot,
    SnapshotSeries,
    read_in_turn,
    selected,
    with_read_only_fields,
)

_GONE = ("Redis IO error", "failed to connect", "CLUSTERDOWN", "LOADING", "max retry number")
_NO_TENSOR = "tensor key is empty"
_NO_MODEL = "model key is empty"
_TRACEBACK = " (The following operation failed in the TorchScript interpreter"
"""After the cause torch writes a dozen lines of its own code, of which the wire makes one."""
_NO_MODEL_INFO = "cannot find run info"


class SmartRedisClient:
    """A `Client` over SmartRedis, to a standalone or clustered database."""

    def __init__(self, address: Address, identity: Identity) -> None:
        """Connect.

        Raises:
            UnsupportedClientError: the installed numpy makes the wheel return wrong numbers.
            DatabaseUnavailable: nothing answers at the address.
        """
        refuse_numpy_2(np.__version__)
        self._address = address
        self._identity = identity
        self._id = f"{identity.producer}.{identity.rank}.{uuid.uuid4().hex[:8]}"
        self._series: dict[str, SnapshotSeries] = {}
        self._scratch: set[str] = set()
        self._streams = RedisStreams(address)
        self._models = RedisModels(address)
        self._token = secrets.token_hex(16)
        self._prefixes_of_keys = keys.Prefixes.from_environment(os.environ)
        with environment_for(address), self._translated("connect"):
            self._wheel = Wheel(None, logger_name=self._id)
            self._wheel.use_list_ensemble_prefix(False)  # programs meet in streams
            self._wheel.use_tensor_ensemble_prefix(False)  # and by flags; tensors of the user's have it

    @property
    def producer(self) -> str:
        """Name of the application or ensemble member this client belongs to."""
        return self._identity.producer

    @property
    def rank(self) -> int:
        """Rank within the producer."""
        return self._identity.rank

    def put_snapshot(
        self,
        step: int,
        fields: Mapping[str, Array | Field],
        *,
        time: float | None = None,
        stream: str = keys.DEFAULT_STREAM,
    ) -> Snapshot:
        """Store the fields of this rank at one step, then announce them; see `Client.put_snapshot`."""
        keys.checked("stream", stream)
        snapshot = self._series_of(stream).prepare(step, fields, time)
        entry = keys.dataset(snapshot.name, self._prefixes_of_keys.written)
        size = sum(array.nbytes for array in snapshot.fields.values())
        outcome, directory = self._streams.reserve(stream, entry, size)
        try:
            if outcome is Outcome.STORED:
                with self._translated("put snapshot", snapshot.name):
                    self._wheel.put_dataset(_dataset(snapshot))
                self._announce(stream, entry, snapshot.name, size)
            elif outcome is Outcome.SPILLED:
                self._spill(stream, entry, snapshot, directory)
        except ClientError:
            self._streams.close()  # with the connection ends what was promised, and goes what was written
            raise
        self._series[stream].stored(snapshot)
        spend(snapshot.fields.values())
        return dataclasses.replace(snapshot, outcome=outcome)

    def _spill(self, stream: str, entry: str, snapshot: Snapshot, directory: str) -> None:
        place = spill.write(directory, stream, snapshot.name, snapshot.fields)
        lists = {k: v for name, about in snapshot.about.items() for k, v in written(name, about).items()}
        self._streams.store_spilled(entry, list(snapshot.fields), snapshot.time, lists, place)
        self._announce(stream, entry, snapshot.name, None)

    def _announce(self, stream: str, entry: str, name: str, size: int | None) -> None:
        series = self._series[stream]
        try:
            while not self._streams.announce(stream, entry, size, str(series.contract)):
                series.agree_again(name)
        except DatabaseUnavailable:
            raise  # nobody knows whether it is announced
        except ClientError:
            if self._address.clustered or size is None:  # else the database removes it with the connection
                self._streams.take_back(stream, entry)
            raise

    def _series_of(self, stream: str) -> SnapshotSeries:
        if stream not in self._series:
            self._series[stream] = SnapshotSeries(
                self.producer,
                self.rank,
                stream,
                lambda contract: Contract.parse(
                    stream, plain_redis.offer_contract(self._address, stream, str(contract))
                ),
            )
        return self._series[stream]

    def end_stream(self, stream: str = keys.DEFAULT_STREAM) -> None:
        """Tell the readers that this rank puts no more snapshots; see `Client.end_stream`."""
        self.raise_flag(keys.ended(keys.checked("stream", stream), self.producer, self.rank))

    def stream_ended(self, producer: str, rank: int = 0, stream: str = keys.DEFAULT_STREAM) -> bool:
        """Tell whether a rank has called `end_stream`."""
        return self.flag_raised(keys.ended(stream, producer, rank))

    def announced(self, stream: str = keys.DEFAULT_STREAM) -> int:
        """Return how many snapshots have been announced; see `Client.announced`."""
        with self._translated("count the snapshots of stream", stream):
            return int(self._wheel.get_list_length(stream))

    def contract(self, stream: str = keys.DEFAULT_STREAM) -> Contract | None:
        """Return what all snapshots of a stream have; see `Client.contract`."""
        text = plain_redis.contract(self._address, keys.checked("stream", stream))
        return None if text is None else Contract.parse(stream, text)

    def forget_stream(self, stream: str = keys.DEFAULT_STREAM) -> None:
        """Remove all that was put in a stream; see `Client.forget_stream`."""
        plain_redis.forget(self._address, keys.checked("stream", stream))
        self._streams.forget(stream)
        self._series.pop(stream, None)

    def snapshot_names(self, first: int = 0, stream: str = keys.DEFAULT_STREAM) -> list[keys.SnapshotName]:
        """Return who made the snapshots of a stream, and when; see `Client.snapshot_names`."""
        first = keys.checked_position(first)
        entries = plain_redis.entries(self._address, keys.checked("stream", stream), first)
        return [keys.parse_snapshot(entry) for entry in entries]

    def get_snapshot(
        self,
        position: int,
        stream: str = keys.DEFAULT_STREAM,
        *,
        fields: Sequence[str] | None = None,
        place: Place | None = None,
    ) -> Snapshot:
        """Return the snapshot at a position of the stream; see `Client.get_snapshot`."""
        if position < 0:
            raise KeyMissing(f"{stream}[{position}]")
        try:
            with self._translated("get a snapshot of stream", stream):
                found = self._wheel.get_dataset_list_range(stream, position, position)
        except DatabaseRefused as error:
            return selected(self._from_files(stream, position, error), fields, place)
        if not found or not (snapshot := _snapshot(Dataset.from_pybind(found[0]))).fields:
            return selected(self._from_files(stream, position, None), fields, place)
        return selected(snapshot, fields, place)

    def get_snapshots(
        self, positions: Sequence[int], stream: str = keys.DEFAULT_STREAM, *, mapped: bool = False
    ) -> list[Snapshot]:
        """Return the snapshots at some positions, one after the other; see `Client.get_snapshots`."""
        return read_in_turn(lambda position: self.get_snapshot(position, stream), positions)

    def _from_files(self, stream: str, position: int, cause: ClientError | None) -> Snapshot:
        """Return a snapshot whose fields were spilled to files, or raise why it cannot be read."""
        entry = diagnosis.announced(self._address, stream, position)
        found = None if entry is None else diagnosis.spilled(self._address, entry)
        if entry is None or found is None:
            raise self._unreadable(stream, position) from cause
        name = keys.parse_snapshot(entry)
        host, place = plain_redis.string_list(found[SPILLED])
        names = plain_redis.string_list(found[TENSOR_NAMES])
        fields = spill.read(Path(place), host, str(name), names)
        about = {
            field: read_about(str(name), field, array.shape, lambda key: unpacked(found.get(key)))
            for field, array in fields.items()
        }
        times = unpacked(found.get(keys.TIME_FIELD))
        time = None if times is None else float(str(times[0]))
        snapshot = Snapshot(*name, fields, time, about, Outcome.SPILLED)
        spill.check_contract(snapshot, stream, self.contract(stream), Path(place))
        return snapshot

    def bound_stream(self, bound: Bound, stream: str = keys.DEFAULT_STREAM) -> None:
        """Say how much of a stream is kept; see `Client.bound_stream`."""
        check_bound(bound, stream)
        with refusals_of(stream):
            self._streams.bound(stream, bound)

    def fill(self, stream: str = keys.DEFAULT_STREAM) -> Fill:
        """Return how full a stream is."""
        return self._streams.fill(keys.checked("stream", stream))

    def subscribe(self, consumer: str, stream: str = keys.DEFAULT_STREAM) -> int:
        """Become a consumer of a stream, or go on as one; see `Client.subscribe`."""
        return self._streams.subscribe(keys.checked("stream", stream), keys.checked("consumer", consumer))

    def acknowledge(self, position: int, consumer: str, stream: str = keys.DEFAULT_STREAM) -> None:
        """Say that the positions before this one need not be kept; see `Client.acknowledge`."""
        names = keys.checked("stream", stream), keys.checked("consumer", consumer)
        with refusals_of(stream):
            self._streams.acknowledge(*names, checked_acknowledgement(position, stream))

    def unsubscribe(self, consumer: str, stream: str = keys.DEFAULT_STREAM) -> None:
        """Say that a consumer needs nothing any more; see `Client.unsubscribe`."""
        with refusals_of(stream):
            self._streams.unsubscribe(keys.checked("stream", stream), keys.checked("consumer", consumer))

    def _unreadable(self, stream: str, position: int) -> ClientError:
        """Find out why the snapshot at a position could not be read."""
        entry = diagnosis.announced(self._address, stream, position)
        if entry is None:
            return KeyMissing(f"{stream}[{position}]")
        name = entry.rpartition("{")[2].rstrip("}")
        missing = diagnosis.missing_fields(self._address, entry)
        if missing != [] and position < (fill := self._streams.fill(stream)).kept_from:
            return dropped(name, position, stream, fill)
        if missing is None:
            return IncompleteSnapshot(name, "announced, but not in the database: any of its fields")
        if not missing:
            return SnapshotError(name, "its fields are in the database and cannot be read as tensors")
        return IncompleteSnapshot(name, f"announced, but not in the database: {', '.join(missing)}")

    def put_tensor(self, name: str, value: Array) -> None:
        """Store one tensor; see `Client.put_tensor`."""
        array = wire_array(name, value)
        with self._prefixes():
            self._put(keys.checked("tensor", name), array)
        spend([value])

    def get_tensor(self, name: str) -> Array:
        """Return one tensor; see `Client.get_tensor`."""
        try:
            with self._prefixes():
                return self._get(keys.checked("tensor", name))
        except DatabaseRefused as error:
            if _NO_TENSOR in error.reason:
                raise KeyMissing(name) from error
            raise

    def new_field(self, shape: Shape, dtype: npt.DTypeLike = "float64") -> Array:
        """Return an array to compute in and put, in ordinary memory; see `Client.new_field`."""
        return ordinary_field(shape, dtype)

    def map_tensor(self, name: str) -> Array:
        """Return a copy of one tensor, read-only; see `Client.map_tensor`."""
        return read_only(self.get_tensor(name))

    def map_snapshot(self, position: int, stream: str = keys.DEFAULT_STREAM) -> Snapshot:
        """Return a copy of a snapshot whose fields are read-only; see `Client.map_snapshot`."""
        return with_read_only_fields(self.get_snapshot(position, stream))

    @contextmanager
    def _prefixes(self) -> Iterator[None]:
        """Let SmartRedis put SSKEYOUT before the keys of tensors, and SSKEYIN before those it reads."""
        self._wheel.use_tensor_ensemble_prefix(True)
        try:
            yield
        finally:
            self._wheel.use_tensor_ensemble_prefix(False)

    def _get(self, key: str) -> Array:
        with self._translated("get tensor", key):
            return np.array(self._wheel.get_tensor(key), order="C")

    def raise_flag(self, name: str) -> None:
        """Tell everyone who asks that something has happened; see `Client.raise_flag`."""
        self._put(keys.flag(keys.checked("flag", name)), np.ones(1, np.uint8))

    def flag_raised(self, name: str) -> bool:
        """Tell whether `raise_flag` was called with this name by anyone."""
        with self._translated("look for flag", name):
            return bool(self._wheel.key_exists(keys.flag(name)))

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
        """Store a version on every shard, then make it the live one; see `Client.put_model`."""
        check_post(name, model, device)
        version = checked_version(name, version)
        checked_model_about(name, about)

        def store(key: str) -> None:
            with self._translated("put model", key):
                self._wheel.set_model(key, model, backend_of(model), device, tag=str(version))

        try:
            self._models.post(
                *(name, version),
                size=len(model),
                about=about,
                promote=promote,
                claim=claim_of(self.producer, self.rank, self._token),
                store=store,
            )
        except DatabaseRefused as error:
            raise ModelRejected(name, error.reason) from error

    def promote(self, name: str, version: int) -> None:
        """Make a version the live one, on every shard; see `Client.promote`."""
        self._models.promote(keys.checked("model", name), checked_version(name, version))

    def model_versions(self, name: str) -> list[ModelVersion]:
        """Return the versions of a model; see `Client.model_versions`."""
        return self._models.versions(keys.checked("model", name))

    def remove_model_version(self, name: str, version: int) -> None:
        """Remove a version; see `Client.remove_model_version`."""
        self._models.remove(keys.checked("model", name), checked_version(name, version))

    def end_swap(self, name: str) -> None:
        """Have all shards answer by the live version; see `Client.end_swap`."""
        self._models.end_swap(keys.checked("model", name))

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
        self._models.report_error(keys.checked("model", name), checked_version(name, version), report)

    def reported_errors(self, name: str, version: int) -> list[ReportedError]:
        """Return what solvers have reported of a version."""
        return self._models.reported_errors(keys.checked("model", name), checked_version(name, version))

    def model_version(self, name: str) -> int:
        """Return the version that is live; see `Client.model_version`."""
        live = self._live_version(keys.checked("model", name))
        if live is None:
            raise ModelMissing(name)
        return live

    def _live_version(self, name: str) -> int | None:
        """Return the TAG of the plain name, which is the only record of what is live."""
        shard = str(self._address).partition(",")[0]
        try:
            with self._translated("ask for the version of", name):
                tag = str(self._wheel.get_ai_info([shard], name)[0]["tag"])
        except DatabaseRefused as error:
            if _NO_MODEL_INFO in error.reason:
                return None
            raise
        if not tag.isdigit():
            raise ModelRejected(name, f"its tag {tag!r} is not a version; it was not posted by put_model")
        return int(tag)

    def get_model(self, name: str, version: int | None = None) -> bytes:
        """Return the archive of a model; see `Client.get_model`.

        SmartRedis cannot put an archive together that the database sends in pieces (more than 511 MB).
        """
        key = keys.checked("model", name)
        if version is not None:
            key = keys.model_version(name, checked_version(name, version))
        try:
            with self._translated("get model", key):
                return bytes(self._wheel.get_model(key))
        except DatabaseRefused as error:
            if _NO_MODEL in error.reason:
                raise ModelMissing(name, version) from error
            raise

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
        """Run a model in the database; see `Client.infer`."""
        return self.infer_outputs(name, *inputs, count=1, version=version)[0]

    def infer_outputs(
        self, name: str, *inputs: Array, count: int, version: int | None = None
    ) -> tuple[Array, ...]:
        """Run a model that has several outputs; see `Client.infer_outputs`."""
        count = checked_count(name, count)
        arrays = model_inputs(keys.checked("model", name), inputs)
        places = [keys.scratch(self._id, f"in{i}") for i in range(len(arrays))]
        answers = [keys.scratch(self._id, f"out{i}") for i in range(count)]
        for place, array in zip(places, arrays, strict=True):
            self._put(place, array)
            self._scratch.add(place)
        key = name if version is None else keys.model_version(name, checked_version(name, version))
        try:
            self._run(key, name, version, places, answers)
        except InferenceFailed as error:
            given = ", ".join(f"{array.dtype} {array.shape}" for array in arrays)
            raise InferenceFailed(key, f"{error.reason}; given was {given}") from error.__cause__
        return tuple(self._answer(key, answer) for answer in answers)

    def infer_versioned(self, name: str, *inputs: Array) -> tuple[Array, int]:
        """Run the version that is live now, and tell which it is; see `Client.infer_versioned`."""
        (output,), version = self.infer_outputs_versioned(name, *inputs, count=1)
        return output, version

    def infer_outputs_versioned(self, name: str, *inputs: Array, count: int) -> tuple[tuple[Array, ...], int]:
        """Run the version that is live now, and tell which it is; see `Client.infer_outputs_versioned`."""
        while True:
            version = self.model_version(name)
            try:
                return self.infer_outputs(name, *inputs, count=count, version=version), version
            except ModelMissing:
                if version == self.model_version(name):
                    raise  # it was not posted as a version, or somebody has removed it

    def _answer(self, model: str, key: str) -> Array:
        try:
            return self._get(key)
        except DatabaseRefused as error:
            raise InferenceFailed(
                model,
                "SmartRedis cannot carry its output: a dtype other than "
                f"{', '.join(WIRE_DTYPES)}, or no elements ({error.reason})",
            ) from error

    def _run(self, key: str, name: str, version: int | None, inputs: list[str], outputs: list[str]) -> None:
        try:
            with self._translated("run model", key):
                self._wheel.run_model(key, inputs, outputs)
        except DatabaseRefused as error:
            if _NO_MODEL in error.reason:
                raise ModelMissing(name, version) from error
            reason = error.reason.removeprefix("ERR ").partition(_TRACEBACK)[0]
            raise InferenceFailed(key, reason) from error
        self._scratch.update(outputs)

    def close(self) -> None:
        """Remove the inputs and the output of this client's inferences; see `Client.close`."""
        self._streams.close()
        while self._scratch:
            key = self._scratch.pop()
            with self._translated("remove", key):
                self._wheel.delete_tensor(key)

    def _put(self, key: str, array: Array) -> None:
        with self._translated("put tensor", key):
            self._wheel.put_tensor(key, array)

    @contextmanager
    def _translated(self, doing: str, key: str = "") -> Iterator[None]:
        """Turn what SmartRedis raises into the errors of the contract."""
        try:
            yield
        except (RedisReplyError, RedisConnectionError) as error:
            raise _meaning(error, str(self._address), f"{doing} {key}".rstrip(), key) from error


def refuse_numpy_2(version: str) -> None:
    """Refuse a numpy under which the wheel's get_tensor returns wrong numbers without a word.

    Raises:
        UnsupportedClientError
    """
    if int(version.partition(".")[0]) >= 2:
        raise UnsupportedClientError(
            f"SmartRedis 0.6.1 returns wrong numbers under numpy {version}; install numpy<2"
        )


def _meaning(error: Exception, address: str, doing: str, key: str) -> ClientError:
    text = str(error)
    reason = text.strip().splitlines()[-1].removeprefix("Redis error when executing command: ")
    if isinstance(error, RedisConnectionError):
        return DatabaseUnavailable(address, doing, text.strip().splitlines()[0])
    if isinstance(error, (RedisDatabaseError, RedisTimeoutError)) or any(sign in text for sign in _GONE):
        return DatabaseUnavailable(address, doing, reason)
    if "OOM command not allowed" in text:
        return DatabaseFull(key, reason)
    return DatabaseRefused(address, doing, reason)


def _dataset(snapshot: Snapshot) -> Dataset:
    dataset = Dataset(snapshot.name)
    for name, value in snapshot.fields.items():
        dataset.add_tensor(name, value)
    if snapshot.time is not None:
        dataset.add_meta_scalar(keys.TIME_FIELD, snapshot.time)
    for name, about in snapshot.about.items():
        for metadata, values in written(name, about).items():
            for one in values:
                if isinstance(one, str):
                    dataset.add_meta_string(metadata, one)
                else:
                    dataset.add_meta_scalar(metadata, one)
    return dataset


def _snapshot(dataset: Dataset) -> Snapshot:
    """Read a dataset. What SmartRedis returns are views of the dataset's memory: copy while it lives."""
    producer, rank, step = keys.parse_snapshot(dataset.get_name())
    fields = {name: np.array(dataset.get_tensor(name), order="C") for name in dataset.get_tensor_names()}
    name, there = str(keys.SnapshotName(producer, rank, step)), frozenset(dataset.get_metadata_field_names())

    def lists(metadata: str) -> list[object] | None:
        if metadata not in there:
            return None
        with suppress(RedisReplyError):
            return list(dataset.get_meta_strings(metadata))
        return list(np.asarray(dataset.get_meta_scalars(metadata)).tolist())

    about = {field: read_about(name, field, value.shape, lists) for field, value in fields.items()}
    time = float(dataset.get_meta_scalars(keys.TIME_FIELD)[0]) if keys.TIME_FIELD in there else None
    return Snapshot(producer, rank, step, fields, time, about)
