"""What can go wrong between a rank and the database.

ClientError
├── AddressError             the address is missing or malformed
├── IdentityError            the environment names a rank that is not a number
├── UnsupportedClientError   the client library is not here, or would return wrong numbers (numpy 2)
├── ClientBuildError         libpenstock could not be compiled
├── DatabaseUnavailable      the database does not answer, or went away
├── DatabaseFull             the database has reached its memory limit
├── DatabaseRefused          the database answered a command with an error
├── NameRefused              a name that cannot be part of a key
├── TensorError              a tensor the wire cannot carry: dtype, shape or byte order
├── SnapshotError            a field is missing, or differs from the contract of the stream
│   ├── IncompleteSnapshot   announced, but not every field is in the database
│   └── SnapshotDropped      announced, and its data given up since, under the policy of its stream
├── BoundError               a bound that makes no sense
├── StreamError              another bound than the one that is set; a position or consumer there is not
├── StreamFull               a stream had no room for a snapshot in time
├── GlobalFieldError         the blocks of the ranks do not make one global field
├── KeyMissing               no such key
├── ModelMissing             no such model, or no such version of it
├── ModelRejected            the database refused to load the model
├── InferenceFailed          the model ran and failed, or does not fit its inputs
└── WaitTimeout              what was waited for had not come in time
"""

from __future__ import annotations


class ClientError(Exception):
    """Base of every error that sim_clients raises."""


class AddressError(ClientError):
    """The address of the database is missing or malformed."""

    def __init__(self, message: str, address: str) -> None:
        super().__init__(f"{message} (address: {address!r})" if address else message)
        self.address = address


class IdentityError(ClientError):
    """The environment names a rank that is not a number."""

    def __init__(self, variable: str, value: str) -> None:
        super().__init__(f"the environment has {variable}={value!r}, a rank is a number of 0 or more")
        self.variable = variable
        self.value = value


class UnsupportedClientError(ClientError):
    """The client library that was asked for is not here, or would silently return wrong numbers."""


class ClientBuildError(ClientError):
    """The C library could not be compiled."""

    def __init__(self, reason: str, log_tail: str = "") -> None:
        super().__init__(f"{reason}:\n{log_tail}" if log_tail else reason)
        self.reason = reason
        self.log_tail = log_tail


class DatabaseUnavailable(ClientError):
    """The database does not answer, or went away in the middle."""

    def __init__(self, address: str, doing: str, reason: str) -> None:
        super().__init__(
            f"the database at {address} does not answer ({doing}): {reason}. "
            "Is it still running? `penstock ps` shows it, `penstock logs` its log."
        )
        self.address = address
        self.doing = doing
        self.reason = reason


class DatabaseFull(ClientError):
    """The database has reached its memory limit and stores nothing more."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"{key!r} was not stored, the database is full: {reason}")
        self.key = key
        self.reason = reason


class DatabaseRefused(ClientError):
    """The database answered a command with an error that has no class of its own."""

    def __init__(self, address: str, doing: str, reason: str) -> None:
        super().__init__(f"the database at {address} refused ({doing}): {reason}")
        self.address = address
        self.doing = doing
        self.reason = reason


class NameRefused(ClientError):
    """A name that cannot be part of a key."""

    def __init__(
        self, what: str, name: object, reason: str = "use letters, digits and _ . + = / - only"
    ) -> None:
        super().__init__(f"{name!r} cannot name a {what}: {reason}")
        self.what = what
        self.name = name
        self.reason = reason


class TensorError(ClientError):
    """A tensor that the wire cannot carry."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"tensor {name!r}: {reason}")
        self.name = name
        self.reason = reason


class SnapshotError(ClientError):
    """A snapshot whose fields do not fit: one is missing, or differs from the contract of the stream."""

    def __init__(self, snapshot: str, reason: str) -> None:
        super().__init__(f"snapshot {snapshot!r}: {reason}")
        self.snapshot = snapshot
        self.reason = reason


class IncompleteSnapshot(SnapshotError):
    """A snapshot was announced, but not every field of it is in the database."""


class SnapshotDropped(SnapshotError):
    """A snapshot was announced, and its data given up since: dropped, or acknowledged by all consumers.

    Attributes:
        policy: of its stream.
    """

    def __init__(self, snapshot: str, policy: str, reason: str) -> None:
        super().__init__(snapshot, f"dropped under the policy {policy}: {reason}")
        self.policy = policy


class BoundError(ClientError):
    """A bound of a stream that makes no sense."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Bound: {reason}")
        self.reason = reason


class StreamError(ClientError):
    """A bound that is not the one that is set, a position or consumer that there is not."""

    def __init__(self, stream: str, reason: str) -> None:
        super().__init__(f"stream {stream!r}: {reason}")
        self.stream = stream
        self.reason = reason


class StreamFull(ClientError):
    """A stream had no room for a snapshot before the deadline; the snapshot was not stored.

    Attributes:
        reason: how full it is, its bound, and its slowest consumer.
    """

    def __init__(self, stream: str, reason: str) -> None:
        super().__init__(f"there is no room in the stream {stream!r}: {reason}")
        self.stream = stream
        self.reason = reason


class GlobalFieldError(ClientError):
    """The blocks of the ranks do not make one global field."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"the global field {field!r}: {reason}")
        self.field = field
        self.reason = reason


class KeyMissing(ClientError):
    """There is no such key in the database."""

    def __init__(self, key: str) -> None:
        super().__init__(f"there is no {key!r} in the database")
        self.key = key


class ModelMissing(ClientError):
    """There is no such model, or no such version of it, in the database."""

    def __init__(self, name: str, version: int | None = None) -> None:
        what = (
            f"no version {version} of the model {name!r}" if version is not None else f"no model {name!r} yet"
        )
        super().__init__(f"there is {what} in the database; has the trainer posted one?")
        self.name = name
        self.version = version


class ModelRejected(ClientError):
    """The database refused to load a model."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"the database refused the model {name!r}: {reason}")
        self.name = name
        self.reason = reason


class InferenceFailed(ClientError):
    """A model was run in the database and failed."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"inference with the model {name!r} failed: {reason}")
        self.name = name
        self.reason = reason


class WaitTimeout(ClientError, TimeoutError):
    """What was waited for had not come in time; nothing is broken."""

    def __init__(self, doing: str, name: str, reason: str) -> None:
        super().__init__(f"{doing}: {reason}")
        self.doing = doing
        self.name = name
        self.reason = reason
