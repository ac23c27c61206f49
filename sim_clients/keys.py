"""Every key's name, in one place.

A snapshot is the SmartRedis dataset `<producer>.<rank>.<step>`, announced by appending it to the aggregation
list `<stream>`. A solver that uses plain SmartRedis and the same names is therefore understood:

    dataset = Dataset("heat_0.0.40")
    dataset.add_tensor("u", u)
    client.put_dataset(dataset)
    client.append_to_list("snapshots", dataset)

With SSKEYOUT in its environment a SmartRedis client puts that and a dot before the keys of tensors and
datasets, and looks for tensors under the first of SSKEYIN; so does ours. What programs meet by keeps its
name: streams, flags, models.

Beside the list of a stream, in its slot, the key `{<stream>}.contract` says what its snapshots look like.

A model's version 17 is the model `name@17`; the plain `name` is the live one and carries its version as TAG.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from sim_clients.errors import KeyMissing, NameRefused, SnapshotError

DEFAULT_STREAM = "snapshots"
TIME_FIELD = "time"
"""Name of the scalar metadata field of a snapshot that holds the physical time, s."""

UNITS, DIMS, SHAPE, OFFSET = "units", "dims", "shape", "offset"
"""What the metadata of a snapshot tell of each field; `about` has their names."""

STOP = "stop"
"""Name of the flag by which one program asks all others of the database to end."""

_METADATA = "meta"
_FLAG = "flag."
_NAME = re.compile(r"[A-Za-z0-9_.+=/-]+")
_VERSIONS = re.compile(rb"\{([A-Za-z0-9_.+=/-]+)\}\.versions")
_SNAPSHOT = re.compile(r"(?P<producer>.+)\.(?P<rank>\d+)\.(?P<step>\d+)")


class SnapshotName(NamedTuple):
    """Who made a snapshot, and when."""

    producer: str
    rank: int
    step: int

    def __str__(self) -> str:
        """Return the name of the dataset."""
        return f"{self.producer}.{self.rank}.{self.step}"


class Prefixes(NamedTuple):
    """What SmartRedis puts before keys: of what a client writes, and of the tensors it reads."""

    written: str = ""
    read: str = ""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Prefixes:
        """Return those that a scheduler of programs has given to this one."""
        return cls(environ.get("SSKEYOUT", ""), environ.get("SSKEYIN", "").partition(",")[0])


def prefixed(prefix: str, key: str) -> str:
    """Return a key with a prefix before it, where there is one."""
    return f"{prefix}.{key}" if prefix else key


def checked(what: str, name: str) -> str:
    """Return a name that may be part of a key.

    Args:
        what: what it names, for the message: "field", "stream", …
        name: letters, digits and `_ . + = / -`; braces would decide in which shard a key lives.

    Raises:
        NameRefused
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise NameRefused(what, name)
    return name


def checked_field(name: str) -> str:
    """Return a name that may be that of a field.

    Raises:
        NameRefused
    """
    if name == _METADATA:
        raise NameRefused("field", name, "SmartRedis keeps the names of the fields under it")
    return checked("field", name)


def checked_model(name: str) -> str:
    """Return a name under which a model may be posted: its key is the name itself, which others may have.

    Raises:
        NameRefused
    """
    if checked("model", name).startswith(_FLAG):
        raise NameRefused("model", name, f"the keys of flags begin with {_FLAG}")
    if name == DEFAULT_STREAM:
        raise NameRefused("model", name, "the stream of snapshots has this key")
    return name


def checked_position(position: int) -> int:
    """Return a position of a stream.

    Raises:
        KeyMissing: it is less than 0.
    """
    if position < 0:
        raise KeyMissing(f"position {position}")
    return position


def parse_snapshot(name: str) -> SnapshotName:
    """Read `<producer>.<rank>.<step>`, also as streams have it: in braces, with a prefix before them.

    Raises:
        SnapshotError: the name has another form.
    """
    match = _SNAPSHOT.fullmatch(name.rpartition("{")[2].rstrip("}"))
    if match is None:
        raise SnapshotError(name, "a snapshot's name is <producer>.<rank>.<step>, for example heat_0.0.40")
    return SnapshotName(match["producer"], int(match["rank"]), int(match["step"]))


def dataset(name: str, prefix: str = "") -> str:
    """Return what the keys of a dataset begin with, which is also its entry in a stream."""
    return prefixed(prefix, f"{{{name}}}")


def metadata(entry: str) -> str:
    """Return the hash in which SmartRedis keeps the names of a dataset's tensors."""
    return tensor(entry, _METADATA)


def tensor(entry: str, field: str) -> str:
    """Return the key of one tensor of a dataset."""
    return f"{entry if '{' in entry else dataset(entry)}.{field}"


def about(field: str, what: str) -> str:
    """Return the name of the metadata that tell something of a field, for example its units."""
    return f"{field}.{what}"


def contract(stream: str) -> str:
    """Return the key of a stream's contract, in the stream's slot."""
    return f"{{{stream}}}.contract"


def model_version(name: str, version: int) -> str:
    """Return the key of an immutable version of a model."""
    return f"{name}@{version}"


def flag(name: str) -> str:
    """Return the key whose existence says that something has happened."""
    return f"{_FLAG}{name}"


def ended(stream: str, producer: str, rank: int) -> str:
    """Return the name of the flag by which a rank says that it puts no more snapshots in a stream."""
    return f"{stream}.{producer}.{rank}.ended"


def meter(stream: str) -> str:
    """Return the hash that says how full a stream is; see docs/streams.md."""
    return f"{{{stream}}}.meter"


def beside(stream: str) -> tuple[str, ...]:
    """Return the keys of all that is kept of a bounded stream beside its list."""
    return tuple(f"{{{stream}}}.{part}" for part in ("meter", "sizes", "consumers", "steps"))


def steps(stream: str) -> str:
    """Return the hash of the greatest step of each rank that has put, or tried to, in a stream."""
    return f"{{{stream}}}.steps"


def scratch(client_id: str, name: str) -> str:
    """Return the key of a tensor that one client keeps for its own use.

    The tag in braces keeps all of a client's tensors in one shard.
    """
    return f"{{scratch.{client_id}}}.{name}"


def model_versions(name: str) -> str:
    """Return the hash of what is known of each version of a model; see `registry`."""
    return f"{{{name}}}.versions"


def model_of_versions(key: bytes) -> str | None:
    """Return of which model a key is what is known of its versions; None for keys of others."""
    found = _VERSIONS.fullmatch(key)
    return found and found[1].decode()


def model_lived(name: str) -> str:
    """Return the sorted set of the versions that were live."""
    return f"{{{name}}}.lived"


def model_swap(name: str) -> str:
    """Return the key that a program holds while it changes which version is live, or removes one."""
    return f"{{{name}}}.swap"


def model_trial(name: str) -> str:
    """Return the key that says which version is on trial, and which one would be gone back to."""
    return f"{{{name}}}.trial"


def model_errors(name: str, version: int) -> str:
    """Return the list of what solvers have reported of a version."""
    return f"{{{name}}}.errors.{version}"


def model_place(tag: bytes, name: str, version: int = 0) -> bytes:
    """Return the key of a model in one of its places: a cluster has one for each range of slots.

    Args:
        tag: two bytes whose slot is in the range; empty where there is no cluster.
        name: of the model.
        version: 0: the live one.
    """
    key = (model_version(name, version) if version else name).encode()
    return b"{" + tag + b"}." + key if tag else key
