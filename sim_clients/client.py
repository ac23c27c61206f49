"""The contract every client keeps: how a rank talks to the database.

A solver needs three lines (`connect`, `put_snapshot`, `infer`); a trainer reads what was announced and posts
models. `SmartRedisClient` and `MemoryClient` keep it, and one contract test runs over both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy.typing as npt

from sim_clients.about import Field
from sim_clients.contract import Contract
from sim_clients.fields import Array
from sim_clients.flow import Bound, Fill
from sim_clients.keys import DEFAULT_STREAM, SnapshotName
from sim_clients.local_model import FOLLOW_EVERY_S, LocalModel
from sim_clients.new_fields import Shape
from sim_clients.registry import ModelAbout, ModelVersion, ReportedError
from sim_clients.snapshot import Place, Snapshot


class Client(Protocol):
    """One connection to one database. Not thread-safe: give each thread its own."""

    @property
    def producer(self) -> str:
        """Name of the application or ensemble member this client belongs to."""
        ...

    @property
    def rank(self) -> int:
        """Rank within the producer, 0 for a serial program."""
        ...

    def put_snapshot(
        self,
        step: int,
        fields: Mapping[str, Array | Field],
        *,
        time: float | None = None,
        stream: str = DEFAULT_STREAM,
    ) -> Snapshot:
        """Store the fields of this rank at one step as one dataset, then announce it.

        Nobody sees the snapshot before all of its fields are in the database. The first snapshot of a stream,
        whoever's it is, fixes the contract of the stream. Where the stream has no room its policy decides
        (see `bound_stream`): the put waits, or the snapshot is skipped or spilled, which the `outcome` of the
        returned one says.

        Args:
            step: the solver's step, 0 or more and greater than that of the snapshot before it.
            fields: name -> array, any shape of at least one dimension, in a dtype the wire carries; or a
                Field, which has units, names of dimensions and its block of the global array too.
            time: physical time, s.
            stream: the list it is announced in.

        Raises:
            TensorError: a dtype, shape or byte order the wire cannot carry; units, dims or a block that do
                not fit the array.
            SnapshotError: no fields, a step that does not grow, or a field that differs from the contract;
                the message names both sides.
            StreamFull: the stream, or the database's memory, had no room in time.
            NameRefused, DatabaseFull, DatabaseUnavailable
        """
        ...

    def end_stream(self, stream: str = DEFAULT_STREAM) -> None:
        """Tell the readers of a stream that this rank puts no more snapshots in it."""
        ...

    def stream_ended(self, producer: str, rank: int = 0, stream: str = DEFAULT_STREAM) -> bool:
        """Tell whether a rank has called `end_stream`."""
        ...

    def announced(self, stream: str = DEFAULT_STREAM) -> int:
        """Return how many snapshots have been announced in a stream, by all producers together."""
        ...

    def contract(self, stream: str = DEFAULT_STREAM) -> Contract | None:
        """Return what all snapshots of a stream have, None where none of our clients has put one."""
        ...

    def forget_stream(self, stream: str = DEFAULT_STREAM) -> None:
        """Remove all that was put in a stream, so that it begins anew: snapshots, contract, who has ended.

        Clients that have put in it, or read it, keep to what they know: let them leave first. A snapshot is
        known by its producer, rank and step alone: one that another stream announces too goes with it.
        """
        ...

    def snapshot_names(self, first: int = 0, stream: str = DEFAULT_STREAM) -> list[SnapshotName]:
        """Return who made the snapshots from a position of the stream on, and at which step.

        Raises:
            SnapshotError: what was announced does not have the name of a snapshot.
        """
        ...

    def get_snapshot(
        self,
        position: int,
        stream: str = DEFAULT_STREAM,
        *,
        fields: Sequence[str] | None = None,
        place: Place | None = None,
    ) -> Snapshot:
        """Return the snapshot announced at a position of the stream, 0 being the first.

        Args:
            position: in the stream.
            stream: the list it was announced in.
            fields: names of those to read; all by default.
            place: called with the name of each, its dtype and shape and what is known of it, returns the
                array that it is received into, in any memory order; a new one by default.

        Raises:
            TensorError: an array of `place` has another dtype or shape, or is read-only.
            IncompleteSnapshot: naming the fields that are not in the database, or the files that cannot be
                read from this host.
            SnapshotDropped: its data has been given up, under the policy of the stream.
            SnapshotError: what was announced does not have the name of a snapshot, or not one of `fields`.
            KeyMissing: the position has not been announced.
        """
        ...

    def get_snapshots(
        self, positions: Sequence[int], stream: str = DEFAULT_STREAM, *, mapped: bool = False
    ) -> list[Snapshot]:
        """Return the snapshots at some positions, or the first of them: those before one that is not whole.

        By the native client they take few round trips, by the others one after the other.

        Args:
            positions: ascending.
            stream: the list they were announced in.
            mapped: fields that lie in shared memory stay there, and are read-only; see `map_snapshot`.

        Raises:
            ClientError: the first cannot be read; see `get_snapshot`.
        """
        ...

    def bound_stream(self, bound: Bound, stream: str = DEFAULT_STREAM) -> None:
        """Say how much of a stream is kept, and what happens to a snapshot that finds no room.

        Every program may say so, and as often as it likes. A stream that nobody has bounded blocks at a share
        of the memory.

        Raises:
            StreamError: the bound makes no sense, or another one is set.
        """
        ...

    def fill(self, stream: str = DEFAULT_STREAM) -> Fill:
        """Return how full a stream is."""
        ...

    def subscribe(self, consumer: str, stream: str = DEFAULT_STREAM) -> int:
        """Become a consumer of a stream, or go on as one: what it has not acknowledged is kept.

        Only `drop_oldest` gives up what was not acknowledged.

        Returns:
            The first position that the consumer has not acknowledged.
        """
        ...

    def acknowledge(self, position: int, consumer: str, stream: str = DEFAULT_STREAM) -> None:
        """Say that the positions before this one need not be kept for a consumer.

        What no consumer needs is removed from the database before the call returns.

        Raises:
            StreamError: the position has not been announced, or the consumer has not subscribed.
        """
        ...

    def unsubscribe(self, consumer: str, stream: str = DEFAULT_STREAM) -> None:
        """Say that a consumer needs nothing any more, of what is there and of what comes.

        Raises:
            StreamError: the consumer has not subscribed.
        """
        ...

    def put_tensor(self, name: str, value: Array) -> None:
        """Store one tensor under a name of the user's."""
        ...

    def get_tensor(self, name: str) -> Array:
        """Return one tensor, C-contiguous and owned by the caller.

        Raises:
            KeyMissing: nobody has stored a tensor of this name.
        """
        ...

    def new_field(self, shape: Shape, dtype: npt.DTypeLike = "float64") -> Array:
        """Return an array to compute in and then to put, whole: as a tensor, or as a field of a snapshot.

        Where the database shares its memory with this client the array lies there, and putting it copies
        nothing. By the put it becomes read-only, everywhere; take a new one for the next. It stays as it was
        put, whatever becomes of its key. A slice that was taken of it before stays writable, and must not be
        written any more.

        Args:
            shape: of at least one dimension.
            dtype: one that the wire carries.

        Raises:
            TensorError: the wire does not carry such an array.
            DatabaseFull: the shared memory had no room by the client's time-out.
        """
        ...

    def map_tensor(self, name: str) -> Array:
        """Return one tensor, read-only: where it lies, if the database shares its memory, else a copy.

        It stays as it is, whatever becomes of its key, until it and all arrays made of it without a copy are
        garbage; until then it takes room in the database. A process that forked has none of its parent's.

        Raises:
            KeyMissing: nobody has stored a tensor of this name.
        """
        ...

    def map_snapshot(self, position: int, stream: str = DEFAULT_STREAM) -> Snapshot:
        """Return the snapshot at a position, its fields read-only and where they lie, as by `map_tensor`.

        Its fields take room in the database until all of them are garbage.

        Raises:
            IncompleteSnapshot, SnapshotError, KeyMissing: see `get_snapshot`.
        """
        ...

    def raise_flag(self, name: str) -> None:
        """Tell everyone who asks that something has happened, for example that a producer has ended."""
        ...

    def flag_raised(self, name: str) -> bool:
        """Tell whether `raise_flag` was called with this name by anyone."""
        ...

    def request_stop(self) -> None:
        """Ask all programs of this database to end when they are ready to: the network is good enough.

        It is the flag `stop`, so programs that use plain SmartRedis can ask and be asked too.
        """
        ...

    def stop_requested(self) -> bool:
        """Tell whether anyone has called `request_stop`; a solver looks between its steps."""
        ...

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
        """Store an immutable version `name@version`, then make it the live one, last.

        In a cluster every shard has the version before any answers by it; then all swap at once.

        Args:
            name: the model's name; plain SmartRedis programs run it under this name.
            model: TorchScript archive, AOTInductor package or ONNX file.
            version: greater than that of the live model, and never used before.
            device: where it runs: CPU, GPU, CPU:n or GPU:n.
            about: what is known of it; who posted it when, after which version, the client adds.
            promote: False: it is stored only.

        Raises:
            ModelRejected: the version is not newer than the live one, or was used before, or some shard could
                not load the model; the live model stays. Where a shard fails in the swap itself all are told
                to go back, and the message says what came of it.
        """
        ...

    def promote(self, name: str, version: int) -> None:
        """Make a version that is stored the live one, on every shard: a later one, or one from before.

        Raises:
            ModelMissing: it is not stored.
            ModelRejected: it does not load, or as by `put_model`.
        """
        ...

    def model_versions(self, name: str) -> list[ModelVersion]:
        """Return the versions of a model, oldest first, with what is known of them; none is an empty list.

        `registry.previous` tells which of them one can go back to.
        """
        ...

    def remove_model_version(self, name: str, version: int) -> None:
        """Remove the archive of a version, and what was reported of it; what is known of it stays.

        Raises:
            ModelMissing: there is no such version.
            ModelRejected: it is the live one, or the one that a trial would go back to.
        """
        ...

    def end_swap(self, name: str) -> None:
        """Have all shards of a cluster answer by the live version, where they do not.

        A program that was killed while it made a version live may have left some with the one before.

        Raises:
            ModelMissing: a shard has not the live version.
            ModelRejected: it could not be done, for a program has been changing what is live for too long.
        """
        ...

    def begin_trial(self, name: str, version: int, before: int, seconds: float) -> None:
        """Have a version kept while another one is live and on trial, for it may be gone back to.

        Args:
            name: of the model.
            version: that is on trial; of another that becomes live nothing is kept any more.
            before: the one that is not to be removed.
            seconds: how long at most, s: nobody else can tell when a trainer was killed.

        Raises:
            ModelRejected: `before` is not below `version`, or the time is not above 0.
        """
        ...

    def end_trial(self, name: str, version: int) -> None:
        """Let go what the trial of a version would have gone back to; harmless where it has none."""
        ...

    def report_error(self, name: str, value: float, version: int) -> None:
        """Tell whoever posts a model how well a version does here.

        A trainer may go back to the version before where this one is worse, or NaN. The last 1000 reports of
        a version are kept. Of a version that is not there, or no more, nothing is.

        Args:
            name: of the model.
            value: by any measure of the solver's, of which less is better; NaN where it has blown up.
            version: that has answered.
        """
        ...

    def reported_errors(self, name: str, version: int) -> list[ReportedError]:
        """Return what solvers have reported of a version, oldest first."""
        ...

    def model_version(self, name: str) -> int:
        """Return the version that is live.

        Raises:
            ModelMissing: no model of this name has been posted.
        """
        ...

    def get_model(self, name: str, version: int | None = None) -> bytes:
        """Return the archive of a model as it was stored, to be run elsewhere.

        Args:
            version: exactly this version; the live one by default.

        Raises:
            ModelMissing: no model of this name, or not this version of it.
        """
        ...

    def local_model(
        self,
        name: str,
        *,
        follow_every_s: float | None = FOLLOW_EVERY_S,
        wait_s: float = 0.0,
        compiled: bool = False,
    ) -> LocalModel:
        """Return a model that torch runs in this process; it follows the live version between its calls.

        Args:
            follow_every_s: how long a call may take for granted what is live, s; 0 looks at every call, None
                never, but for the first call and `LocalModel.refresh`.
            wait_s: how long the first call waits for a first version, s.
            compiled: accept AOTInductor packages, compiled code that runs with this process' rights.

        Raises:
            UnsupportedClientError: torch cannot be imported.
            NameRefused: the name cannot be part of a key.
        """
        ...

    def infer(self, name: str, *inputs: Array, version: int | None = None) -> Array:
        """Run a model in the database on some inputs and return its (only) output.

        Args:
            inputs: one array for each argument of the model.
            version: exactly this version; the live one by default.

        Raises:
            ModelMissing: no model of this name, or not this version of it.
            TensorError: an input that the wire cannot carry.
            InferenceFailed: with the text of the database, for example a wrong shape.
        """
        ...

    def infer_versioned(self, name: str, *inputs: Array) -> tuple[Array, int]:
        """Run the live version of a model, and return its output and which version has answered.

        Raises:
            ModelMissing, TensorError, InferenceFailed: see `infer`.
        """
        ...

    def infer_outputs(
        self, name: str, *inputs: Array, count: int, version: int | None = None
    ) -> tuple[Array, ...]:
        """Run a model in the database and return all its outputs, for example a mean and a spread.

        Args:
            inputs: one array for each argument of the model.
            count: how many outputs it has.
            version: exactly this version; the live one by default.

        Raises:
            InferenceFailed: also where the model has another number of outputs.
            ModelMissing, TensorError: as by `infer`.
        """
        ...

    def infer_outputs_versioned(self, name: str, *inputs: Array, count: int) -> tuple[tuple[Array, ...], int]:
        """Run the live version of a model, and return all its outputs and which version has answered.

        Raises:
            ModelMissing, TensorError, InferenceFailed: see `infer_outputs`.
        """
        ...

    def close(self) -> None:
        """Remove what this client stored for its own use and leave. Closing twice is harmless."""
        ...
