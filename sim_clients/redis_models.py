"""The versions of models over redis-py: for clients that have no commands of their own, and the command line.

What is done when a version is posted, and in which order, is told in c/post.c, which does the same.
"""

from __future__ import annotations

import functools
import math
import secrets
import time
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

_EXPIRY_S = 30
"""How long a program that was killed may keep others from changing which version is live, s."""
_LONGEST_S = 1e9
"""What is to last longer does not expire."""

_TURN_S = 2 * _EXPIRY_S
"""How long a program waits for its turn at most, s."""

_SHARE = 0.9
"""Of its client's time-out it waits for no more: the rest is for the answers."""

# To the letter as in c/swap.c and c/post.c. A full server refuses the first write of a script, but for one
# that only frees.
_TAKE = (
    "local held = redis.call('GET', KEYS[1]) "
    "if held and held ~= ARGV[1] then return 0 end "
    "redis.call('DEL', KEYS[1]) "
    "redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 1"
)
_KEEP = (
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end "
    "return redis.call('PEXPIRE', KEYS[1], ARGV[2])"
)
_LEAVE = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 1"
_END_TRIAL = (
    "local held = redis.call('GET', KEYS[1]) "
    "if held and held:match('^%d+') == ARGV[1] then redis.call('DEL', KEYS[1]) end return 1"
)
_REPORT = (
    "local entry = redis.call('HGET', KEYS[1], ARGV[1]) "
    "if not entry or entry:sub(1, 8) == 'removed ' or entry:sub(1, 11) == 'posting by ' then return 0 end "
    "redis.call('RPUSH', KEYS[2], ARGV[2]) "
    "if redis.call('LLEN', KEYS[2]) + ARGV[3] <= 0 then return 1 end "
    "local first = redis.call('LINDEX', KEYS[2], 0) "
    "redis.call('LTRIM', KEYS[2], ARGV[3], -1) "
    "if first:find('^-?[in]') then redis.call('LSET', KEYS[2], 0, first) end return 1"
)


class _Place(NamedTuple):
    """One range of a cluster's slots, or the only server: a model is stored once in each."""

    tag: bytes
    node: Any


class RedisModels:
    """The versions of the models of one database. Each call opens a connection of its own.

    Args:
        address: of the database.
        timeout_s: of the client, s; a call waits for its turn for the greater part of it, and 60 s at most.
    """

    def __init__(self, address: Address, timeout_s: float = math.inf) -> None:
        self._address = address
        self._turn_s = min(_SHARE * timeout_s, _TURN_S)

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
            registry.check_unused(name, version, held and _text(held), claim)
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
                self._make_live(database, name, version)

    def promote(self, name: str, version: int) -> None:
        """Make a version the live one, on every shard.

        Raises:
            ModelMissing: it is not stored.
            ModelRejected: it does not load; or some shard could not do it, and the message says what is live.
            DatabaseUnavailable: a shard has gone; where that was in the swap, the message says what each has.
        """
        with self._connection("promote model", name) as database:
            self._make_live(database, name, version)

    def end_swap(self, name: str) -> None:
        """Have all shards answer by the live version, where they differ; see `Client.end_swap`."""
        with self._connection("look at the shards of", name) as database:
            places = self._places(database)
            if len({self._tag(database, place, name) for place in places}) == 1:
                return
            with self._swapping(database, name):  # whoever swaps just now is through then
                tags = [self._tag(database, place, name) for place in places]
                version = self._live(database, name) or int(next(tag for tag in tags if tag is not None))
                with _refusals(name, version):
                    for place, tag in zip(places, tags, strict=True):
                        if tag != str(version):
                            self._promote(database, place, name, version)

    def remove(self, name: str, version: int) -> None:
        """Remove the archive of a version, and what was reported of it.

        Raises:
            ModelMissing: there is no such version.
            ModelRejected: it is live, or a trial would go back to it.
        """
        with self._connection("remove a version of", name) as database, self._swapping(database, name):
            registry.check_removable(name, version, self._versions(database, name))
            key = keys.model_versions(name)
            entry = database.hget(key, str(version))
            deleted = self._delete(database, name, version)
            if entry is None and not deleted:
                raise ModelMissing(name, version)
            if entry is not None:
                database.hset(key, str(version), registry.removed_entry(_text(entry)))
            database.zrem(keys.model_lived(name), str(version))
            database.unlink(keys.model_errors(name, version))

    def begin_trial(self, name: str, version: int, before: int, seconds: float) -> None:
        """Have a version kept while another is on trial; see `Client.begin_trial`."""
        text = registry.trial_text(name, version, before, seconds)
        expiry_ms = max(1, round(1000 * seconds)) if seconds < _LONGEST_S else None
        with self._connection("begin the trial of", name) as database:
            database.set(keys.model_trial(name), text, px=expiry_ms)

    def end_trial(self, name: str, version: int) -> None:
        """Let go what a trial would have gone back to; see `Client.end_trial`."""
        with self._connection("end the trial of", name) as database:
            database.eval(_END_TRIAL, 1, keys.model_trial(name), str(version))

    def report_error(self, name: str, version: int, report: ReportedError) -> None:
        """Keep what a solver says of a version, if it is there."""
        with self._connection("report an error of", name) as database:
            places = keys.model_versions(name), keys.model_errors(name, version)
            database.eval(_REPORT, 2, *places, str(version), str(report), -registry.REPORTS_KEPT)

    def reported_errors(self, name: str, version: int) -> list[ReportedError]:
        """Return what solvers have said of a version, oldest first."""
        with self._connection("ask for the errors of", name) as database:
            texts = database.lrange(keys.model_errors(name, version), 0, -1)
            return [registry.reported(text.decode()) for text in texts]

    def _versions(self, database: Any, name: str) -> list[ModelVersion]:
        entries = database.hgetall(keys.model_versions(name))
        lived = {int(member) for member in database.zrange(keys.model_lived(name), 0, -1) if member.isdigit()}
        texts = {_text(key): _text(text) for key, text in entries.items()}
        return registry.versions_from(texts, lived, self._live(database, name), self._trial(database, name))

    def _trial(self, database: Any, name: str) -> str | None:
        try:
            text = database.get(keys.model_trial(name))
        except redis.ResponseError as error:
            if str(error).startswith("WRONGTYPE"):
                return None  # another program's: as a text is that no trainer has written
            raise
        return text and _text(text)

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

    def _make_live(self, database: Any, name: str, version: int) -> None:
        places = self._places(database)
        with _refusals(name, version):
            for place in places:
                self._promote(database, place, name, version, "CHECK")
        with self._swapping(database, name) as turn:
            live = self._live(database, name)
            if live:
                lived = keys.model_lived(name)
                database.zremrangebyscore(lived, f"({live}", "+inf")
                database.zadd(lived, {str(live): live})
            if not self._at_swap(database, name, _KEEP, turn):
                late = f"it took longer than {_EXPIRY_S} s, and another program may change what is live since"
                raise ModelRejected(name, late)
            try:
                for place in places:
                    self._promote(database, place, name, version)
            except redis.RedisError as error:
                back = places if self._may_go_back(database, name, turn) else ()
                told = f"{error}; {self._gone_back(database, places, back, name, live)}"
                if isinstance(error, redis.ResponseError):
                    raise ModelRejected(name, told) from error
                doing = f"make version {version} of {name} live"
                raise DatabaseUnavailable(str(self._address), doing, told) from error

    @contextmanager
    def _swapping(self, database: Any, name: str) -> Iterator[str]:
        """Wait until no other program changes which version is live, and keep all others from it.

        Raises:
            ModelRejected: others have done so for too long.
        """
        begin, pause, turn = time.monotonic(), 0.001, secrets.token_hex(16)
        while not self._at_swap(database, name, _TAKE, turn):
            waited = time.monotonic() - begin
            if waited >= self._turn_s:
                others = (
                    f"other programs have been changing which version is live for {waited:.1f} s; try again"
                )
                raise ModelRejected(name, others)
            time.sleep(pause)
            pause = min(2 * pause, 0.05)
        try:
            yield turn
        finally:
            with suppress(redis.RedisError):  # it expires where this does not arrive
                self._at_swap(database, name, _LEAVE, turn)

    def _at_swap(self, database: Any, name: str, script: str, turn: str) -> bool:
        return bool(database.eval(script, 1, keys.model_swap(name), turn, 1000 * _EXPIRY_S))

    def _may_go_back(self, database: Any, name: str, turn: str) -> bool:
        """Return whether no other program's turn has come, nor can come."""
        try:
            return self._at_swap(database, name, _KEEP, turn)
        except redis.RedisError:
            return True  # others need the same shard

    def _gone_back(
        self, database: Any, places: Sequence[_Place], back: Sequence[_Place], name: str, live: int
    ) -> str:
        """Have some shards, all or none, answer as before, and return what is live now."""
        for place in back:
            with suppress(redis.RedisError):  # what came of it is asked below
                if live:
                    self._promote(database, place, name, live)
                else:
                    self._ask(database, place, "UNLINK", keys.model_place(place.tag, name))
        found = [self._told(database, place, name) for place in places]
        before = f"has version {live}" if live else "has none"
        if set(found) == {before}:
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


def _text(reply: bytes) -> str:
    """Return what another program may have written."""
    return reply.decode(errors="replace")


def _tag_of(slot: int) -> bytes:
    """Return the two bytes that SmartRedis finds for a range that begins at a slot."""
    return next(_tags()[each] for each in range(slot, SLOTS) if each in _tags())


@functools.cache
def _tags() -> dict[int, bytes]:
    """Return for each slot two bytes without a meaning in keys or patterns whose whole CRC it is."""
    pairs = (bytes((first, second)) for first in range(256) for second in range(256))
    return {crc_hqx(tag, 0): tag for tag in pairs if not any(byte in _NONE for byte in tag)}
