"""The contract over libpenstock, our own library: arrays leave without a copy and arrive where they belong.

Arrays in any memory order are sent as they are; the library reads them through a small buffer. What Python
can get wrong (types, names, the order of steps) is checked here, by the rules that all clients share.
"""

from __future__ import annotations

import ctypes
import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sim_clients import keys
from sim_clients.about import NOTHING, About, Field
from sim_clients.address import Address
from sim_clients.contract import Contract
from sim_clients.errors import KeyMissing, TensorError, UnsupportedClientError
from sim_clients.fields import Array, model_inputs, sendable
from sim_clients.flow import (
    POLICIES,
    Bound,
    Fill,
    Outcome,
    check_bound,
    checked_acknowledgement,
    fill_from,
    refusals_of,
)
from sim_clients.identity import Identity
from sim_clients.local_model import FOLLOW_EVERY_S, LocalModel
from sim_clients.models import check_post, checked_count, checked_error, checked_version
from sim_clients.native_arrays import about_of, c_about, c_array, c_arrays, c_fields, dtype_code, type_of
from sim_clients.native_binding import EACH, CBound, CSnapshot, loaded
from sim_clients.native_calls import Calls
from sim_clients.native_library import cached_library
from sim_clients.native_memory import Memory
from sim_clients.native_views import View
from sim_clients.new_fields import Shape, checked_layout, spending
from sim_clients.registry import ModelAbout, ModelVersion, ReportedError, checked_model_about
from sim_clients.snapshot import Place, Snapshot, prepared, wanted

if TYPE_CHECKING:
    from sim_clients.redis_models import RedisModels

TIMEOUT_S = 600.0
"""How long the database may take to answer one call, s: a model may run for minutes."""
CONNECT_TIMEOUT_S = 5.0
"""How long a database that is not there is looked for, s."""
_NO_TIME = float("nan")


class NativeClient:
    """A `Client` over libpenstock, to a standalone or clustered database.

    Args:
        address: of the database.
        identity: under which snapshots are announced.
        timeout_s: how long the database may take to answer one call, s.
        connect_timeout_s: how long a database that is not there is looked for, s.
    """

    def __init__(
        self,
        address: Address,
        identity: Identity,
        *,
        timeout_s: float = TIMEOUT_S,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
    ) -> None:
        """Connect.

        Raises:
            UnsupportedClientError: libpenstock has not been built.
            DatabaseUnavailable: nothing answers at the address.
        """
        library = cached_library()
        if library is None:
            raise UnsupportedClientError(
                "libpenstock has not been compiled: `penstock build` does it, in seconds"
            )
        self._address = address
        self._identity = identity
        self._timeout_s = timeout_s
        self._told: dict[tuple[str, str], About] = {}
        self._call = Calls(loaded(library), str(address), connect_timeout_s)
        self._c = self._call.library
        self._call(self._c.set_identity, identity.producer.encode(), identity.rank)
        self._call(self._c.set_timeout, timeout_s)

    @property
    def producer(self) -> str:
        """Name of the application or ensemble member this client belongs to."""
        return self._identity.producer

    @property
    def rank(self) -> int:
        """Rank within the producer."""
        return self._identity.rank

    @property
    def transport(self) -> str:
        """How large arrays travel: "shared memory", "unix" or "tcp"; "" once the client is closed."""
        return self._call.transport()

    def put_snapshot(
        self,
        step: int,
        fields: Mapping[str, Array | Field],
        *,
        time: float | None = None,
        stream: str = keys.DEFAULT_STREAM,
    ) -> Snapshot:
        """Store the fields of this rank at one step, then announce them; see `Client.put_snapshot`."""
        with spending([value.values if isinstance(value, Field) else value for value in fields.values()]):
            return self._put_snapshot(self._c.put_snapshot, step, fields, time, stream)

    def put_snapshot_async(
        self,
        step: int,
        fields: Mapping[str, Array | Field],
        *,
        time: float | None = None,
        stream: str = keys.DEFAULT_STREAM,
    ) -> Snapshot:
        """Copy the fields into a bounded queue, from which a thread stores and announces them in order.

        Waits where there is no room. What went wrong is raised by the next such call, or by `flush`.

        Raises:
            ClientError: of this put or of one before it; see `Client.put_snapshot`.
        """
        return self._put_snapshot(self._c.put_snapshot_async, step, fields, time, stream)

    def _put_snapshot(
        self,
        function: object,
        step: int,
        fields: Mapping[str, Array | Field],
        time: float | None,
        stream: str,
    ) -> Snapshot:
        at = keys.checked("stream", stream).encode()
        snapshot = prepared(keys.SnapshotName(self.producer, self.rank, step), fields, time, sendable)
        when = _NO_TIME if snapshot.time is None else snapshot.time
        described = c_fields(snapshot.fields)
        with self._call.turn:
            for name, about in snapshot.about.items():
                if about != self._told.get((stream, name), NOTHING):
                    self._tell(stream, name, about, snapshot.fields[name].ndim)
            self._call(function, at, snapshot.step, when, described, len(described))
            outcome = self._call.outcome() if function is self._c.put_snapshot else Outcome.QUEUED
        return snapshot if outcome is Outcome.STORED else dataclasses.replace(snapshot, outcome=outcome)

    def _tell(self, stream: str, name: str, about: About, rank: int) -> None:
        known = ctypes.byref(c_about(about, rank))
        self._call(self._c.describe_field, stream.encode(), name.encode(), known)
        self._told[stream, name] = about

    def flush(self, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until everything that was queued is in the database.

        Raises:
            WaitTimeout: it is still on its way.
            ClientError: what went wrong with it.
        """
        self._call(self._c.flush, timeout_s)

    def end_stream(self, stream: str = keys.DEFAULT_STREAM) -> None:
        """Tell the readers that this rank puts no more snapshots; see `Client.end_stream`."""
        self.flush()
        self._call(self._c.end_stream, keys.checked("stream", stream).encode())

    def stream_ended(self, producer: str, rank: int = 0, stream: str = keys.DEFAULT_STREAM) -> bool:
        """Tell whether a rank has called `end_stream`."""
        ended = ctypes.c_int()
        self._call(self._c.stream_ended, stream.encode(), producer.encode(), rank, ctypes.byref(ended))
        return bool(ended.value)

    def announced(self, stream: str = keys.DEFAULT_STREAM) -> int:
        """Return how many snapshots have been announced; see `Client.announced`."""
        count = ctypes.c_int64()
        self._call(self._c.announced, keys.checked("stream", stream).encode(), ctypes.byref(count))
        return count.value

    def contract(self, stream: str = keys.DEFAULT_STREAM) -> Contract | None:
        """Return what all snapshots of a stream have; see `Client.contract`."""
        found = ctypes.c_char_p()
        with self._call.turn:
            self._call(self._c.contract, keys.checked("stream", stream).encode(), ctypes.byref(found))
            text = found.value
        return None if text is None else Contract.parse(stream, text.decode())

    def forget_stream(self, stream: str = keys.DEFAULT_STREAM) -> None:
        """Remove all that was put in a stream; see `Client.forget_stream`."""
        self._call(self._c.forget_stream, keys.checked("stream", stream).encode())

    def snapshot_names(self, first: int = 0, stream: str = keys.DEFAULT_STREAM) -> list[keys.SnapshotName]:
        """Return who made the snapshots of a stream, and when; see `Client.snapshot_names`."""
        at, first = keys.checked("stream", stream).encode(), keys.checked_position(first)
        names, count = ctypes.POINTER(ctypes.c_char_p)(), ctypes.c_int64()
        with self._call.turn:
            self._call(self._c.snapshot_names, at, first, ctypes.byref(names), ctypes.byref(count))
            return [keys.parse_snapshot(name.decode()) for name in names[: count.value]]

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
        at, found = keys.checked("stream", stream).encode(), CSnapshot()
        with self._call.turn:
            if fields is None and place is None:
                callback = self._call.places.callback
                arrays = self._call(self._c.get_snapshot, at, position, callback, None, ctypes.byref(found))
            else:
                self._call(self._c.snapshot_info, at, position, ctypes.byref(found))
                arrays = _placed(found, fields, place, self._call.places.memory)
                into = c_fields(arrays)
                self._call(self._c.get_snapshot_fields, at, position, into, len(into), ctypes.byref(found))
            return _snapshot(found, arrays, self._call.outcome())

    def get_snapshots(
        self, positions: Sequence[int], stream: str = keys.DEFAULT_STREAM, *, mapped: bool = False
    ) -> list[Snapshot]:
        """Return the snapshots at some positions, by few round trips; see `Client.get_snapshots`."""
        if not positions:
            return []
        at, most = keys.checked("stream", stream).encode(), len(positions)
        numbers, views = (ctypes.c_int64 * most)(*positions), (ctypes.c_void_p * most)()
        found, count = ctypes.POINTER(CSnapshot)(), ctypes.c_int()
        with self._call.turn:
            places = self._call.places
            self._call(
                self._c.get_snapshots,
                *(at, numbers, most, places.callback_of, None),
                *(ctypes.byref(found), views if mapped else None, ctypes.byref(count)),
            )
            there = [View(self._c, ctypes.c_void_p(view)) for view in views[: count.value] if mapped]
            arrays = [view.mapped() for view in there] or [{} for _ in range(count.value)]
            for (i, name), array in places.taken_of().items():
                if i < count.value:
                    arrays[i][name] = array
            outcome = self._call.outcome()
            return [_snapshot(found[i], fields, outcome) for i, fields in enumerate(arrays)]

    def bound_stream(self, bound: Bound, stream: str = keys.DEFAULT_STREAM) -> None:
        """Say how much of a stream is kept; see `Client.bound_stream`."""
        check_bound(bound, stream)
        directory = None if bound.directory is None else str(bound.directory).encode()
        policy, wait_s = POLICIES.index(bound.policy), bound.wait_s or 0.0
        numbers = (bound.items or 0, bound.bytes or 0, policy, bound.keep_every or 0)
        with refusals_of(stream):
            self._call(self._c.bound_stream, stream.encode(), CBound(*numbers, directory, wait_s))

    def fill(self, stream: str = keys.DEFAULT_STREAM) -> Fill:
        """Return how full a stream is."""
        meter: dict[str, str] = {}

        def take(_context: object, name: bytes, value: bytes) -> None:
            meter[name.decode()] = value.decode()

        self._call(self._c.stream_meter, keys.checked("stream", stream).encode(), EACH(take), None)
        return fill_from(meter)

    def subscribe(self, consumer: str, stream: str = keys.DEFAULT_STREAM) -> int:
        """Become a consumer of a stream, or go on as one; see `Client.subscribe`."""
        position = ctypes.c_int64()
        self._call(self._c.subscribe, *_consumer(consumer, stream), ctypes.byref(position))
        return position.value

    def acknowledge(self, position: int, consumer: str, stream: str = keys.DEFAULT_STREAM) -> None:
        """Say that the positions before this one need not be kept; see `Client.acknowledge`."""
        names = _consumer(consumer, stream)
        with refusals_of(stream):
            self._call(self._c.acknowledge, *names, checked_acknowledgement(position, stream))

    def unsubscribe(self, consumer: str, stream: str = keys.DEFAULT_STREAM) -> None:
        """Say that a consumer needs nothing any more; see `Client.unsubscribe`."""
        with refusals_of(stream):
            self._call(self._c.unsubscribe, *_consumer(consumer, stream))

    def put_tensor(self, name: str, value: Array) -> None:
        """Store one tensor; see `Client.put_tensor`."""
        array = c_array(sendable(name, value))
        with spending([value]):
            self._call(self._c.put_tensor, keys.checked("tensor", name).encode(), array)

    def get_tensor(self, name: str) -> Array:
        """Return one tensor; see `Client.get_tensor`."""
        place = self._call.places.callback
        return self._call(self._c.get_tensor_to, keys.checked("tensor", name).encode(), place, None)[name]

    def new_field(self, shape: Shape, dtype: npt.DTypeLike = "float64") -> Array:
        """Return an array to compute in and put, in shared memory if there is some."""
        layout = checked_layout(shape, dtype)
        numbers = (ctypes.c_int64 * len(layout[0]))(*layout[0])
        return self._view(self._c.lease, dtype_code(layout[1]), len(layout[0]), numbers).leased()

    def map_tensor(self, name: str) -> Array:
        """Return one tensor where it lies, read-only; see `Client.map_tensor`."""
        return self._view(self._c.map_tensor, keys.checked("tensor", name).encode()).mapped()[name]

    def map_snapshot(self, position: int, stream: str = keys.DEFAULT_STREAM) -> Snapshot:
        """Return a snapshot whose fields are where they lie, read-only; see `Client.map_snapshot`."""
        if position < 0:
            raise KeyMissing(f"{stream}[{position}]")
        at, found = keys.checked("stream", stream).encode(), CSnapshot()
        with self._call.turn:
            fields = self._view(self._c.map_snapshot, at, position, ctypes.byref(found)).mapped()
            return _snapshot(found, fields, self._call.outcome())

    def _view(self, function: object, *arguments: object) -> View:
        handle = ctypes.c_void_p()
        self._call(function, *arguments, ctypes.byref(handle))
        return View(self._c, handle)

    def get_tensor_into(self, name: str, array: Array) -> None:
        """Receive a tensor into an array of the caller's.

        Args:
            name: of the tensor.
            array: of its dtype and shape, in any memory order, writable.

        Raises:
            TensorError: the tensor has another dtype or shape.
            KeyMissing: nobody has stored a tensor of this name.
        """
        if not sendable(name, array).flags.writeable:
            raise TensorError(name, "the array to be filled is read-only")
        self._call(self._c.get_tensor, keys.checked("tensor", name).encode(), c_array(array))

    def raise_flag(self, name: str) -> None:
        """Tell everyone who asks that something has happened; see `Client.raise_flag`."""
        self._call(self._c.raise_flag, keys.checked("flag", name).encode())

    def flag_raised(self, name: str) -> bool:
        """Tell whether `raise_flag` was called with this name by anyone."""
        raised = ctypes.c_int()
        self._call(self._c.flag_raised, keys.checked("flag", name).encode(), ctypes.byref(raised))
        return bool(raised.value)

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
        known = checked_model_about(name, about).encode()
        self._call(
            self._c.post_model,
            *(name.encode(), model, len(model), version, device.encode(), known, int(promote)),
        )

    def promote(self, name: str, version: int) -> None:
        """Make a version the live one, on every shard; see `Client.promote`."""
        at = checked_version(keys.checked("model", name), version)
        self._call(self._c.promote_model, name.encode(), at, version=at)

    def model_versions(self, name: str) -> list[ModelVersion]:
        """Return the versions of a model; see `Client.model_versions`."""
        return self._models().versions(keys.checked("model", name))

    def remove_model_version(self, name: str, version: int) -> None:
        """Remove a version; see `Client.remove_model_version`."""
        self._models().remove(keys.checked("model", name), checked_version(name, version))

    def end_swap(self, name: str) -> None:
        """Have all shards answer by the live version; see `Client.end_swap`."""
        self._models().end_swap(keys.checked("model", name))

    def begin_trial(self, name: str, version: int, before: int, seconds: float) -> None:
        """Have a version kept while another is on trial; see `Client.begin_trial`."""
        at = checked_version(name, version), checked_version(name, before)
        self._models().begin_trial(keys.checked("model", name), *at, seconds)

    def end_trial(self, name: str, version: int) -> None:
        """Let go what a trial would have gone back to; see `Client.end_trial`."""
        self._models().end_trial(keys.checked("model", name), checked_version(name, version))

    def report_error(self, name: str, value: float, version: int) -> None:
        """Tell how well a version does here; see `Client.report_error`."""
        at = checked_version(keys.checked("model", name), version)
        self._call(self._c.report_error, name.encode(), checked_error(name, value), at)

    def reported_errors(self, name: str, version: int) -> list[ReportedError]:
        """Return what solvers have reported of a version."""
        return self._models().reported_errors(keys.checked("model", name), checked_version(name, version))

    def _models(self) -> RedisModels:
        from sim_clients.redis_models import RedisModels  # noqa: PLC0415  solvers do without

        return RedisModels(self._address, self._timeout_s)

    def model_version(self, name: str) -> int:
        """Return the version that is live; see `Client.model_version`."""
        version = ctypes.c_int64()
        self._call(self._c.model_version, keys.checked("model", name).encode(), ctypes.byref(version))
        return version.value

    def get_model(self, name: str, version: int | None = None) -> bytes:
        """Return the archive of a model; see `Client.get_model`."""
        at = 0 if version is None else checked_version(name, version)
        place, key = self._call.places.callback, keys.checked("model", name).encode()
        found = self._call(self._c.get_model, key, at, place, None, version=version)
        return found[name].tobytes()

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
        """Run a model in the database, in one round trip to one shard; see `Client.infer`."""
        return self.infer_outputs(name, *inputs, count=1, version=version)[0]

    def infer_outputs(
        self, name: str, *inputs: Array, count: int, version: int | None = None
    ) -> tuple[Array, ...]:
        """Run a model that has several outputs; see `Client.infer_outputs`."""
        count = checked_count(name, count)
        arrays = model_inputs(keys.checked("model", name), inputs, sendable)
        at = 0 if version is None else checked_version(name, version)
        place = self._call.places.callback
        given = c_arrays(arrays)
        outputs = self._call(
            self._c.infer_to,
            *(name.encode(), at, given, len(arrays), count, place, None),
            version=version,
        )
        return tuple(outputs[str(i)] for i in range(count))

    def infer_versioned(self, name: str, *inputs: Array) -> tuple[Array, int]:
        """Run a model, and learn by the same message which version it was; see `Client.infer_versioned`."""
        (output,), version = self.infer_outputs_versioned(name, *inputs, count=1)
        return output, version

    def infer_outputs_versioned(self, name: str, *inputs: Array, count: int) -> tuple[tuple[Array, ...], int]:
        """Run a model, and learn by the same message which version it was."""
        count = checked_count(name, count)
        arrays = model_inputs(keys.checked("model", name), inputs, sendable)
        answered = ctypes.c_int64()
        place, given = self._call.places.callback, c_arrays(arrays)
        outputs = self._call(
            self._c.infer_versioned_to,
            *(name.encode(), given, len(arrays), count, place, None, ctypes.byref(answered)),
        )
        return tuple(outputs[str(i)] for i in range(count)), answered.value

    def wait_for_tensor(self, name: str, timeout_s: float) -> None:
        """Wait until a tensor is there.

        Raises:
            WaitTimeout
        """
        self._call(self._c.wait_tensor, keys.checked("tensor", name).encode(), timeout_s)

    def wait_for_flag(self, name: str, timeout_s: float) -> None:
        """Wait until a flag is raised.

        Raises:
            WaitTimeout
        """
        self._call(self._c.wait_flag, keys.checked("flag", name).encode(), timeout_s)

    def wait_for_snapshots(self, count: int, timeout_s: float, stream: str = keys.DEFAULT_STREAM) -> int:
        """Wait until at least `count` snapshots have been announced, and return how many have been.

        Raises:
            WaitTimeout
        """
        found, at = ctypes.c_int64(), keys.checked("stream", stream).encode()
        self._call(self._c.wait_list, at, count, timeout_s, ctypes.byref(found))
        return found.value

    def wait_for_model(self, name: str, timeout_s: float, *, after: int = 0) -> int:
        """Wait until a version greater than `after` is live, and return it.

        Raises:
            WaitTimeout
        """
        found, at = ctypes.c_int64(), keys.checked("model", name).encode()
        self._call(self._c.wait_model, at, after, timeout_s, ctypes.byref(found))
        return found.value

    def close(self) -> None:
        """Send what is queued, and leave; see `Client.close`.

        Raises:
            ClientError: some of what was queued did not arrive; it says which steps of which stream.
        """
        self._call.close()


def _consumer(consumer: str, stream: str) -> tuple[bytes, bytes]:
    return keys.checked("stream", stream).encode(), keys.checked("consumer", consumer).encode()


def _snapshot(found: CSnapshot, arrays: Mapping[str, Array], outcome: Outcome) -> Snapshot:
    """Read what the library tells of a snapshot, while it holds."""
    time = found.time if found.has_time else None
    known = (found.fields[i] for i in range(found.count))
    about = {name: about_of(one.about) for one in known if (name := one.name.decode()) in arrays}
    return Snapshot(found.producer.decode(), found.rank, found.step, arrays, time, about, outcome)


def _placed(
    found: CSnapshot, fields: Sequence[str] | None, place: Place | None, memory: Memory
) -> dict[str, Array]:
    """Return the arrays that the fields of a snapshot are to be received into."""
    there = {one.name.decode(): one for one in (found.fields[i] for i in range(found.count))}
    snapshot = keys.SnapshotName(found.producer.decode(), found.rank, found.step)
    arrays: dict[str, Array] = {}
    for name in wanted(str(snapshot), there, fields):
        is_now, about = type_of(name, there[name].info), about_of(there[name].about)
        array = (
            memory.array(is_now.shape, np.dtype(is_now.dtype))
            if place is None
            else place(name, is_now, about)
        )
        if not sendable(name, array).flags.writeable:
            raise TensorError(name, "the array to be filled is read-only")
        arrays[name] = array
    return arrays
