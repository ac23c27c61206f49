"""A database on disk: an RDB file of each shard, and `saved.json`, which says what they are.

Each shard is saved as it is at one moment, all within milliseconds of each other; writers that must not fall
in between pause meanwhile. The servers go on: a copy of each, forked, writes its file.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator.binaries import ServerBinary
from orchestrator.errors import SavedError
from orchestrator.node import Node
from orchestrator.redis_config import DUMP
from orchestrator.shard import Shard, ShardError

LIST = "saved.json"
FORMAT = 1
MODULE = "ai"
"""What our module is called in a server."""
SAVE_TIMEOUT_S = 600.0
INTERVAL_S = 0.01
CHUNK_BYTES = 1 << 20


class SavedShard(BaseModel):
    """The file of one shard.

    Attributes:
        file: its name in the directory.
        slots: the first and the last; None of a database of one shard.
        bytes: its size.
        sha256: of what is in it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    file: str = Field(pattern=r"^shard_\d+\.rdb$")
    slots: tuple[int, int] | None
    bytes: int
    sha256: str


class SavedDatabase(BaseModel):
    """What a directory says it holds.

    Attributes:
        penstock_database: the version of this format.
        saved: when, seconds since 1970; what was written before is in it.
        origin: the directory of the database that was saved.
        redis: the version of its servers.
        modules: version of each of their modules; where a tensor or model is saved, one is ours.
        shards: in the order of their slots.
        directory: where it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    penstock_database: int
    saved: float
    origin: str
    redis: str
    modules: dict[str, int]
    shards: tuple[SavedShard, ...] = Field(min_length=1)
    directory: Path = Field(exclude=True)


def save(nodes: Sequence[Node], directory: Path, timeout_s: float = SAVE_TIMEOUT_S) -> SavedDatabase:
    """Save a database that runs.

    Args:
        nodes: all its servers; of each shard the one that is the primary now is saved.
        directory: where to; is made, and must not exist or be empty.
        timeout_s: how long all of it may take.

    Raises:
        SavedError: a shard has no primary, could not write, or took too long; the directory cannot be made.
            No half of it is left.
    """
    began, deadline = time.time(), time.monotonic() + timeout_s
    part = _part_of(directory)
    try:
        with ExitStack() as stack:
            shards = [stack.enter_context(Shard(node.endpoint)) for node in nodes]
            primaries = _primaries(nodes, shards, directory)
            for node, shard in primaries:
                _until(shard.begin_save, deadline, directory, f"{node.name} to begin")
            for node, shard in primaries:
                _until(shard.has_saved, deadline, directory, f"{node.name} to be saved")
                if not shard.saved_well():
                    raise SavedError(
                        directory, f"{node.name} could not write; its log in {node.directory} says why"
                    )
            first = primaries[0][1]
            saved = SavedDatabase(
                penstock_database=FORMAT,
                saved=began,
                origin=str(nodes[0].directory.parent),
                redis=first.facts()["redis_version"],
                modules=first.modules(),
                shards=tuple(_kept(node, part) for node, _ in primaries),
                directory=directory,
            )
        (part / LIST).write_text(saved.model_dump_json(indent=2) + "\n")
        part.rename(directory)
    except ShardError as error:
        raise SavedError(directory, f"a server of the database does not answer: {error}") from error
    except OSError as error:
        raise SavedError(directory, f"it cannot be written: {error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return saved


def read_saved(directory: Path) -> SavedDatabase:
    """Return what a directory holds, after looking at every byte of it.

    Raises:
        SavedError: it is no saved database, a file is missing, or one is not what was saved; names it.
    """
    saved = _listed(directory)
    for shard in saved.shards:
        path = directory / shard.file
        if not path.is_file():
            raise SavedError(path, f"the file is missing, without which {directory} is not complete")
        if path.stat().st_size != shard.bytes:
            raise SavedError(path, f"it has {path.stat().st_size} bytes, of {shard.bytes} that were saved")
        if _sha256(path) != shard.sha256:
            raise SavedError(path, "its checksum is not the one of what was saved: the file was changed")
    return saved


def check_fits(
    saved: SavedDatabase, slots: Sequence[range | None], server: ServerBinary, *, has_module: bool
) -> None:
    """Refuse to start a database with what it could not hold or read.

    Args:
        saved: what it is to start with.
        slots: of each of its shards; None where it has one.
        server: what it runs on.
        has_module: whether it has one.

    Raises:
        SavedError: naming what does not fit.
    """
    directory = saved.directory
    if len(saved.shards) != len(slots):
        raise SavedError(
            directory,
            f"it has the data of {len(saved.shards)} shard(s), and cannot be divided among {len(slots)}; "
            f"give shards={len(saved.shards)}",
        )
    wanted = [(each.start, each.stop - 1) if each is not None else None for each in slots]
    if [shard.slots for shard in saved.shards] != wanted:
        raise SavedError(directory, "its shards have other slots than those of this database")
    if MODULE in saved.modules and not has_module:  # others are a part of Redis 8
        raise SavedError(directory, f"it needs the module {MODULE!r}; module=() loads none")
    newest = tuple(int(part) for part in saved.redis.split(".")[:2])
    if newest > server.version[:2]:
        raise SavedError(directory, f"Redis {saved.redis} has written it, which {server} may not read")


def put_back(saved: SavedDatabase, nodes: Sequence[Node]) -> None:
    """Give the first server of each shard its file, which it reads when it starts.

    Raises:
        SavedError: a file cannot be copied.
    """
    for node in nodes:
        if node.replica == 0:
            try:
                node.directory.mkdir(parents=True, exist_ok=True)
                _linked(saved.directory / saved.shards[node.shard].file, node.directory / DUMP)
            except OSError as error:
                raise SavedError(
                    saved.directory, f"it cannot be copied to {node.directory}: {error}"
                ) from error


def _listed(directory: Path) -> SavedDatabase:
    path = directory / LIST
    try:
        text = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise SavedError(directory, f"it is no saved database: it has no {LIST}") from error
    except (OSError, ValueError) as error:
        raise SavedError(path, f"it cannot be read: {error}") from error
    version = text.get("penstock_database") if isinstance(text, dict) else None
    if version != FORMAT:
        said = "is none of Penstock's" if version is None else f"has version {version}, known is {FORMAT}"
        raise SavedError(path, f"the list {said}")
    try:
        return SavedDatabase.model_validate({**text, "directory": directory})
    except ValidationError as error:
        first = error.errors()[0]
        raise SavedError(path, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _part_of(directory: Path) -> Path:
    """Make the directory that becomes the one wanted when all is there."""
    try:
        if directory.exists() and any(directory.iterdir()):
            raise SavedError(directory, "there is something already; give a directory that does not exist")
        directory.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    except OSError as error:
        raise SavedError(directory, f"it cannot be made: {error}") from error


def _primaries(nodes: Sequence[Node], shards: Sequence[Shard], directory: Path) -> list[tuple[Node, Shard]]:
    """Return the server of each shard that is its primary now, in the order of the shards."""
    found: dict[int, tuple[Node, Shard]] = {}
    for node, shard in zip(nodes, shards, strict=True):
        if shard.answers() and shard.facts()["role"] == "master":
            found[node.shard] = (node, shard)
    missing = sorted({node.shard for node in nodes} - set(found))
    if missing:
        raise SavedError(directory, f"no server of shard {missing[0]} answers as its primary")
    return [found[number] for number in sorted(found)]


def _until(condition: Callable[[], bool], deadline: float, directory: Path, what: str) -> None:
    while not condition():
        if time.monotonic() > deadline:
            raise SavedError(directory, f"the time is over; waited in vain for {what}")
        time.sleep(INTERVAL_S)


def _kept(node: Node, part: Path) -> SavedShard:
    path = part / f"shard_{node.shard}.rdb"
    _linked(node.directory / DUMP, path)
    path.chmod(0o600)
    slots = (node.slots.start, node.slots.stop - 1) if node.slots is not None else None
    return SavedShard(file=path.name, slots=slots, bytes=path.stat().st_size, sha256=_sha256(path))


def _linked(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where that cannot be. Redis writes into none it has saved."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
