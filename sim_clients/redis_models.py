"""The versions of models over redis-py: for clients that have no commands of their own, and the command line.

What is done when a version is posted, and in which order, is told in c/post.c, which does the same.
"""

from __future__ import annotations

import functools
from binascii import crc_hqx
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import redis

from sim_clients import keys, registry
from sim_clients.address import Address
from sim_clients.errors import ClientError, DatabaseUnavailable, ModelMissing, ModelRejected
from sim_clients.models import check_newer
from sim_clients.plain_redis import connection
from sim_clients.registry import ModelAbout, ModelVersion, ReportedError

SLOTS = 16384
_NONE = b"}?*"
_MISSING = "there is no such model"
_NO_MODEL = "cannot find run info"


class _Place(NamedTuple):
    """One range of a cluster's slots, or the only server: a model is stored once in each."""

    tag: bytes
    node: Any


class RedisModels:
    """The versions of the models of one database. Each call opens a connection of its own."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def versions(self, name: str) -> list[ModelVersion]:
        """Return the versions of a model, oldest first.

        Raises:
            ModelRejected: another program has something else in its key.
        """
        with self._connection("list the versions of", name) as database, _key_of_others(name):
            return self._versions(database, name)

    def live(self, name: str) -> int:
        """Return the version that is live, 0 where there is none.

        Raises:
            ModelRejected: what is live was not posted as a version.
        """
        with self._connection("ask for the version of", name) as database:
            return self._live(database, name)

    def names(self) -> list[str]:
        """Return the names of the models that have versions, sorted; keys of others are left out."""
        with self._connection("list the", "models") as database:
            found = database.scan_iter(match=keys.model_versions("*"), count=1000, _type="hash")
            names = {keys.model_of_versions(key) for key in found}
            return sorted(name for name in names if name is not None)

    def post(
        self,
        name: str,
        version: int,
        *,
        size: int,
        about: ModelAbout | None,
        promote: bool,
        claim: str,
        store: Callable[[str], None],
    ) -> None:
        """Post a version.

        Args:
            name: of the model.
            version: its number.
            size: of the archive, bytes.
            about: what is known of it.
            promote: whether it becomes the live one.
            claim: who posts it, see `registry.claim_of`.
            store: stores the archive on every shard, under the name it is given.

        Raises:
            ModelRejected: the number is not newer, or was used; or what `promote` raises.
        """
        with self._connection("put model", name) as database:
            live = self._live(database, name)
            check_newer(name, version, live)
            database.hsetnx(keys.model_versions(name), str(version), claim)
            held = database.hget(keys.model_versions(name), str(version))
            registry.check_unused(name, version, held and held.decode(), claim)
            try:
                store(keys.model_version(name, version))
            except DatabaseUnavailable:
                raise
            except ClientError:
                self._delete(database, name, version)
                database.hdel(keys.model_versions(name), str(version))
                raise
            entry = registry.entry_of(about, size, live)
            database.hset(keys.model_versions(name), str(version), entry)
            if promote:
                self._make_live(database, name, version, live)

    def promote(self, name: str, version: int) -> None:
        """Make a version the live one, on every shard.

        Raises:
            ModelMissing: it is not stored.
            ModelRejected: it does not load; or some shard could not do it, and the message says what is live.
            DatabaseUnavailable: a shard has gone; where that was in the swap, the message says what each has.
        """
        with self._connection("promote model", name) as database:
            self._make_live(database, name, version, self._live(database, name))

    def remove(self, name: str, version: int) -> None:
        """Remove the archive of a version, and what was reported of it.

        Raises:
            ModelMissing: there is no such version.
            ModelRejected: it is live.
        """
        with self._connection("remove a version of", name) as database:
            registry.check_removable(name, version, self._versions(database, name))
            key = keys.model_versions(name)
            entry = database.hget(key, str(version))
            deleted = self._delete(database, name, version)
            if entry is None and not deleted:
                raise ModelMissing(name, version)
            if entry is not None:
                database.hset(key, str(version), registry.removed_entry(entry.decode()))
            database.zrem(keys.model_lived(name), str(version))
            database.unlink(keys.model_errors(name, version))

    def report_error(self, name: str, version: int, report: ReportedError) -> None:
        """Keep what a solver says of a version."""
        with self._connection("report an error of", name) as database:
            key = keys.model_errors(name, version)
            database.rpush(key, str(report))
            database.ltrim(key, -registry.REPORTS_KEPT, -1)

    def reported_errors(self, name: str, version: int) -> list[ReportedError]:
        """Return what solvers have said of a version, oldest first."""
        with self._connection("ask for the errors of", name) as database:
            texts = database.lrange(keys.model_errors(name, version), 0, -1)
            return [registry.reported(text.decode()) for text in texts]

    def _versions(self, database: Any, name: str) -> list[ModelVersion]:
        entries = database.hgetall(keys.model_versions(name))
        lived = {int(member) for member in database.zrange(keys.model_lived(name), 0, -1)}
        texts = {key.decode(): text.decode() for key, text in entries.items()}
        return registry.versions_from(name, texts, lived, self._live(database, name))

    def _live(self, database: Any, name: str) -> int:
        tag = self._tag(database, self._places(database)[0], name)
        if tag is None:
            return 0
        if not tag.isdigit():
            raise ModelRejected(name, f"its tag {tag!r} is not a version; it was not posted by put_model")
        return int(tag)

    def _tag(self, database: Any, place: _Place, name: str) -> str | None:
        """Return the TAG of what a shard answers by, None where it has no such model."""
        try:
            reply = self._ask(database, place, "AI.INFO", keys.model_place(place.tag, name))
        except redis.ResponseError as error:
            if _NO_MODEL in str(error):
                return None
            raise
        return str(dict(zip(reply[::2], reply[1::2], strict=True))[b"tag"].decode())

    def _make_live(self, database: Any, name: str, version: int, live: int) -> None:
        places = self._places(database)
        with _refusals(name, version):
            for place in places:
                self._promote(database, place, name, version, "CHECK")
        if live:
            lived = keys.model_lived(name)
            database.zremrangebyscore(lived, f"({live}", "+inf")
            database.zadd(lived, {str(live): live})
        try:
            for place in places:
                self._promote(database, place, name, version)
        except redis.ResponseError as error:
            raise ModelRejected(name, f"{error}; {self._gone_back(database, places, name, live)}") from error
        except redis.RedisError as error:
            told = f"{error}; {self._gone_back(database, places, name, live)}"
            doing = f"make version {version} of {name} live"
            raise DatabaseUnavailable(str(self._address), doing, told) from error

    def _gone_back(self, database: Any, places: Sequence[_Place], name: str, live: int) -> str:
        """Have all shards answer as before, and return what is live now."""
        for place in places:
            with suppress(redis.RedisError):  # what came of it is asked below
                if live:
                    self._promote(database, place, name, live)
                else:
                    self._ask(database, place, "UNLINK", keys.model_place(place.tag, name))
        found = [self._told(database, place, name) for place in places]
        back = f"has version {live}" if live else "has none"
        if set(found) == {back}:
            return f"version {live} is live again" if live else "none is live"
        names = [str(self._address) if at.node is None else f"{at.node.host}:{at.node.port}" for at in places]
        shards = ", ".join(f"{shard} {told}" for shard, told in zip(names, found, strict=True))
        return f"{shards}: promote one when all answer"

    def _told(self, database: Any, place: _Place, name: str) -> str:
        """Return in words by which version a shard answers."""
        try:
            tag = self._tag(database, place, name)
        except redis.RedisError:
            return "does not answer"
        return "has none" if tag is None else f"has version {tag}"

    def _promote(self, database: Any, place: _Place, name: str, version: int, *words: str) -> None:
        plain, versioned = (keys.model_place(place.tag, name, which) for which in (0, version))
        self._ask(database, place, "PENSTOCK.PROMOTE", plain, versioned, *words)

    def _delete(self, database: Any, name: str, version: int) -> int:
        key = functools.partial(keys.model_place, name=name, version=version)
        return sum(self._ask(database, at, "UNLINK", key(at.tag)) for at in self._places(database))

    def _ask(self, database: Any, place: _Place, *words: object) -> Any:
        if place.node is None:
            return database.execute_command(*words)
        return database.execute_command(*words, target_nodes=place.node)

    def _places(self, database: Any) -> list[_Place]:
        if not self._address.clustered:
            return [_Place(b"", None)]
        owners = {slot: nodes[0] for slot, nodes in database.nodes_manager.slots_cache.items() if nodes}
        starts = [slot for slot in sorted(owners) if owners.get(slot - 1) != owners[slot]]
        return [_Place(_tag_of(start), owners[start]) for start in starts]

    @contextmanager
    def _connection(self, doing: str, name: str) -> Iterator[Any]:
        with connection(self._address, f"{doing} {name}", name) as database:
            yield database


@contextmanager
def _key_of_others(name: str) -> Iterator[None]:
    try:
        yield
    except redis.ResponseError as error:
        if not str(error).startswith("WRONGTYPE"):
            raise
        key = keys.model_versions(name)
        raise ModelRejected(name, f"what the key {key} has was not posted by put_model") from error


@contextmanager
def _refusals(name: str, version: int) -> Iterator[None]:
    try:
        yield
    except redis.ResponseError as error:
        if _MISSING in str(error):
            raise ModelMissing(name, version) from error
        raise ModelRejected(name, str(error)) from error


def _tag_of(slot: int) -> bytes:
    """Return the two bytes that SmartRedis finds for a range that begins at a slot."""
    return next(_tags()[each] for each in range(slot, SLOTS) if each in _tags())


@functools.cache
def _tags() -> dict[int, bytes]:
    """Return for each slot two bytes without a meaning in keys or patterns whose whole CRC it is."""
    pairs = (bytes((first, second)) for first in range(256) for second in range(256))
    return {crc_hqx(tag, 0): tag for tag in pairs if not any(byte in _NONE for byte in tag)}
