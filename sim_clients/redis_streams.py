"""Room in streams for a client that has no commands of its own: PENSTOCK.* over redis-py.

The SmartRedis wheel sends only what it knows. Beside it goes one connection of redis-py for the place of a
snapshot, its announcement and acknowledgements; the tensors still travel through the wheel.
"""

from __future__ import annotations

import functools
import re
import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import redis
from redis.cluster import RedisCluster

from sim_clients import keys, spill
from sim_clients.address import Address
from sim_clients.contract import mark_of
from sim_clients.errors import ClientError, DatabaseFull, DatabaseRefused, DatabaseUnavailable, StreamFull
from sim_clients.flow import Bound, Fill, Outcome, fill_from
from sim_clients.plain_redis import string_list

WAIT_S = 600.0
"""How long a put waits for room at most, s."""
_MARGIN_S = 5.0
_ANSWER_S = WAIT_S + 2 * _MARGIN_S
TENSOR_NAMES, SPILLED = ".tensor_names", ".spilled"
_STRING, _FLOAT64, _INT64 = b"\x07", b"\x01", b"\x04"
_FULL, _DISAGREED = "STREAMFULL ", "DISAGREED "
_mark_of = functools.lru_cache(maxsize=64)(mark_of)


class RedisStreams:
    """The streams of one database, for one client; connects at its first use."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._connection: Any = None
        self._promised: dict[str, int] = {}
        """Stream -> bytes of the next snapshot whose place is promised."""

    def reserve(self, stream: str, entry: str, size: int) -> tuple[Outcome, str]:
        """Get room for a snapshot, making it first where the database says so.

        Args:
            stream: the stream.
            entry: name of the dataset as it will stand in the stream.
            size: bytes of its tensors.

        Returns:
            What is to become of it, and the directory where it is to be spilled.

        Raises:
            StreamFull
        """
        until = time.monotonic() + WAIT_S
        with self._errors("get room in the stream", stream):
            verdict, where = b"go", ""
            if self._promised.pop(stream, -1) < size:
                verdict, where = self._place(stream, entry, size, until)
            if verdict == b"skip":
                return Outcome.SKIPPED, where
            if verdict == b"spill":
                return Outcome.SPILLED, where
            writing = [] if self._address.clustered else ["WRITING"]
            key = keys.metadata(entry)
            self._ask("PENSTOCK.ROOM", key, size, *writing, "TIMEOUT", _left_ms(until))
            return Outcome.STORED, where

    def _place(self, stream: str, entry: str, size: int, until: float) -> tuple[bytes, str]:
        while True:
            answer = self._ask("PENSTOCK.RESERVE", stream, entry, size, "TIMEOUT", _left_ms(until))
            if answer[0] != b"remove":
                return answer[0], answer[1].decode() if len(answer) > 1 else ""
            self._remove(stream, answer)

    def announce(self, stream: str, entry: str, size: int | None, contract: str) -> bool:
        """Append a dataset to a stream, and ask for the place of the next one.

        Args:
            stream: the stream.
            entry: name of the dataset.
            size: bytes of its tensors, None where it was spilled.
            contract: what the dataset keeps.

        Returns:
            False where nothing was done, for the stream has another contract, or none any more.
        """
        words: list[str | int] = ["SPILLED"] if size is None else [size, "NEXT", size]
        words += ["AGREED", _mark_of(contract)]
        if not self._address.clustered:
            words += ["COMPLETE", keys.metadata(entry)]
        with self._errors("announce in the stream", stream):
            try:
                _position, promised = self._ask("PENSTOCK.ANNOUNCE", stream, entry, *words)
            except redis.ResponseError as error:
                if str(error).startswith(_DISAGREED):
                    return False
                raise
            if promised and size is not None:
                self._promised[stream] = size
        return True

    def take_back(self, stream: str, entry: str) -> None:
        """Remove a dataset that was refused its announcement, unless an earlier position has it."""
        with suppress(redis.RedisError):  # what is to be told is why it was refused
            if not self._has(stream, entry):
                self._unlink(stream, entry)

    def _has(self, stream: str, entry: str) -> bool:
        try:
            return self._ask("LPOS", stream, entry) is not None
        except redis.ResponseError as error:
            return not str(error).startswith("WRONGTYPE")  # no list has it; else nobody knows

    def store_spilled(
        self,
        entry: str,
        fields: Sequence[str],
        time: float | None,
        about: Mapping[str, Sequence[str] | Sequence[int]],
        place: Path,
    ) -> None:
        """Write the metadata of a dataset whose fields are in files.

        Args:
            entry: of the dataset.
            fields: their names.
            time: physical time, s.
            about: lists of metadata that tell of the fields, by their names.
            place: the directory of the files.
        """
        metadata = {name: _packed(values) for name, values in about.items()}
        if time is not None:
            metadata[keys.TIME_FIELD] = _FLOAT64 + struct.pack("<d", time)
        metadata[TENSOR_NAMES] = _strings(fields)
        metadata[SPILLED] = _strings([socket.gethostname(), str(place)])
        key = keys.metadata(entry)
        with self._errors("put snapshot", entry):
            self._ask("PENSTOCK.BEGIN", key, *(word for pair in metadata.items() for word in pair))
            if self._address.clustered:  # else the announcement does it
                self._ask("PENSTOCK.COMPLETE", key)

    def bound(self, stream: str, bound: Bound) -> None:
        """Set the bound of a stream.

        Raises:
            DatabaseRefused: another one is set.
        """
        with self._errors("bound the stream", stream):
            self._ask("PENSTOCK.BOUND", stream, *bound.words())

    def fill(self, stream: str) -> Fill:
        """Return how full a stream is."""
        with self._errors("read the meter of stream", stream):
            texts = [part.decode() for part in self._ask("PENSTOCK.METER", stream)]
        return fill_from(dict(zip(texts[::2], texts[1::2], strict=True)))

    def subscribe(self, stream: str, consumer: str) -> int:
        """Become a consumer, and return its first position that is not acknowledged."""
        with self._errors("subscribe to the stream", stream):
            return int(self._ask("PENSTOCK.SUBSCRIBE", stream, consumer))

    def acknowledge(self, stream: str, consumer: str, position: int) -> None:
        """Acknowledge the positions before this one, and remove what no consumer needs."""
        with self._errors("acknowledge in the stream", stream):
            self._remove_all(stream, self._ask("PENSTOCK.ACK", stream, consumer, position))

    def unsubscribe(self, stream: str, consumer: str) -> None:
        """Leave a stream, and remove what no consumer needs."""
        with self._errors("leave the stream", stream):
            self._remove_all(stream, self._ask("PENSTOCK.UNSUBSCRIBE", stream, consumer))

    def forget(self, stream: str) -> None:
        """Hold no place in a stream any more, all of which has been removed."""
        self._promised.pop(stream, None)

    def close(self) -> None:
        """Leave; what was promised ends."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._promised.clear()

    def _remove_all(self, stream: str, answer: Sequence[Any]) -> None:
        while answer[1]:
            answer = self._remove(stream, answer)

    def _remove(self, stream: str, answer: Sequence[Any]) -> Sequence[Any]:
        """Remove what an answer names, say so, and return the answer to that."""
        _word, upto, *entries = answer
        for entry in entries:
            self._unlink(stream, entry.decode())
        freed: Sequence[Any] = self._ask("PENSTOCK.FREED", stream, upto)
        return freed

    def _unlink(self, stream: str, entry: str) -> None:
        """Remove the data of a dataset, and its files."""
        names, spilled = self._ask("HMGET", keys.metadata(entry), TENSOR_NAMES, SPILLED)
        if spilled is not None:
            spill.remove(Path(string_list(spilled)[1]), stream, str(keys.parse_snapshot(entry)))
        tensors = [] if names is None else string_list(names)
        self._ask("UNLINK", keys.metadata(entry), *(keys.tensor(entry, tensor) for tensor in tensors))

    def _ask(self, command: str, key: str, *words: object) -> Any:
        if self._connection is None:
            self._connection = _connect(self._address)
        if not self._address.clustered:
            return self._connection.execute_command(command, key, *words)
        node = self._connection.get_node_from_key(key)
        return self._connection.execute_command(command, key, *words, target_nodes=node)

    @contextmanager
    def _errors(self, doing: str, name: str) -> Iterator[None]:
        try:
            yield
        except redis.ResponseError as error:
            raise _meaning(str(error), str(self._address), f"{doing} {name}", name) from error
        except redis.RedisError as error:
            self.close()
            raise DatabaseUnavailable(str(self._address), f"{doing} {name}", str(error)) from error


def _meaning(text: str, address: str, doing: str, name: str) -> ClientError:
    if text.startswith(_FULL):
        return StreamFull(name, text.removeprefix(_FULL))
    if "command not allowed when used memory" in text:
        return DatabaseFull(name, text)
    if re.match("LOADING|CLUSTERDOWN|MASTERDOWN|READONLY", text):
        return DatabaseUnavailable(address, doing, text)
    return DatabaseRefused(address, doing, text)


def _left_ms(until: float) -> int:
    return max(1, int(1e3 * (until - time.monotonic())))


def unpacked(packed: bytes | None) -> Sequence[object] | None:
    """Return the values of a list of metadata, None where there is none."""
    if packed is None:
        return None
    if packed[:1] == _INT64:
        return struct.unpack(f"<{(len(packed) - 1) // 8}q", packed[1:])
    if packed[:1] == _FLOAT64:
        return struct.unpack(f"<{(len(packed) - 1) // 8}d", packed[1:])
    return string_list(packed)


def _packed(values: Sequence[str] | Sequence[int]) -> bytes:
    texts = [value for value in values if isinstance(value, str)]
    if texts:
        return _strings(texts)
    return _INT64 + struct.pack(f"<{len(values)}q", *values)


def _strings(texts: Sequence[str]) -> bytes:
    packed = (len(text.encode()).to_bytes(8, "little") + text.encode() for text in texts)
    return _STRING + b"".join(packed)


def _connect(address: Address) -> Any:
    if address.unix_socket is not None:
        return redis.Redis(
            unix_socket_path=str(address.unix_socket), socket_timeout=_ANSWER_S, single_connection_client=True
        )
    endpoint = address.endpoints[0]
    if address.clustered:
        return RedisCluster(host=endpoint.host, port=endpoint.port, socket_timeout=_ANSWER_S)
    return redis.Redis(endpoint.host, endpoint.port, socket_timeout=_ANSWER_S, single_connection_client=True)
