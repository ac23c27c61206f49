"""`penstock db`: a prompt on the database of a running experiment."""

from __future__ import annotations

import json
import readline
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from orchestrator.cli.options import Debug, Json
from orchestrator.cli.showing import plain
from orchestrator.cluster import SLOTS, key_slot
from orchestrator.errors import PenstockError, RunError, UsageError
from orchestrator.progress import say
from orchestrator.record import DatabaseEntry, Run, find_run
from orchestrator.redis_config import Endpoint
from orchestrator.run_files import database_history
from orchestrator.saved import save
from orchestrator.shard import Shard, ShardError
from orchestrator.status import database_status
from orchestrator.streams import StreamStatus, stream_statuses
from sim_clients.address import Address

LONGEST_SHOWN = 400
WIDE = 150
"""Of what goes into a file or a pipe, where nothing is cut."""


def db(
    command: Annotated[
        str | None, typer.Option("--command", "-c", help="Send one command and leave.")
    ] = None,
    run_id: Annotated[
        str | None, typer.Option("--run", help="The run; the newest active by default.")
    ] = None,
    identifier: Annotated[
        str, typer.Option("--database", metavar="NAME", help="Its identifier, where there are several.")
    ] = "",
    status: Annotated[
        bool, typer.Option("--status", metavar="", help="Show role, memory, slots and keys of each server.")
    ] = False,
    streams: Annotated[
        bool, typer.Option("--streams", metavar="", help="Show how full each stream is, and who waits.")
    ] = False,
    as_json: Json = False,
    snapshot: Annotated[
        Path | None, typer.Option("--snapshot", metavar="DIR", help="Save all data into a new directory.")
    ] = None,
    shard: Annotated[int, typer.Option("--shard", help="The shard to ask where a command names no key.")] = 0,
    debug: Debug = False,
) -> None:
    """Send commands to the database of a running experiment."""
    run = find_run(run_id, alive=True)
    if as_json and not (status or streams):
        raise UsageError("--json goes with --status or --streams")
    if streams:
        _show_streams(run.run_id, run.database(identifier), as_json=as_json)
        return
    if status:
        _show_status(run.database(identifier), as_json=as_json)
        return
    if snapshot is not None:
        _save(run.database(identifier), snapshot)
        return
    shards = _shards(run.database(identifier))
    if not 0 <= shard < len(shards):
        there = "one shard, 0" if len(shards) == 1 else f"the shards 0 to {len(shards) - 1}"
        raise RunError(f"the database of {run.run_id} has {there}", run=run.run_id)
    try:
        if command is not None:
            print(_ask(shards, shard, command))
        else:
            _prompt(run, shards, shard)
    except ShardError as error:
        raise PenstockError(f"the database of {run.run_id}: {error}") from error
    finally:
        for each in shards:
            each.close()


def shown(reply: Any, indent: str = "") -> str:
    """Return a reply as text a person can read."""
    if isinstance(reply, list):
        lines = [f"{indent}{n}) {shown(item, indent + '   ').lstrip()}" for n, item in enumerate(reply, 1)]
        return "\n".join(lines) or f"{indent}(empty)"
    if isinstance(reply, bytes):
        return indent + _text(reply)
    return indent + ("(nil)" if reply is None else str(reply))


def _text(reply: bytes) -> str:
    try:
        text = reply.decode()
    except UnicodeDecodeError:
        text = repr(reply)[2:-1]
    cut = len(text) - LONGEST_SHOWN
    return text if cut <= 0 or "\n" in text else f"{text[:LONGEST_SHOWN]}… ({cut} more)"


def _save(database: DatabaseEntry, directory: Path) -> None:
    saved = save([entry.node() for entry in database.nodes], directory.absolute())
    size = sum(shard.bytes for shard in saved.shards)
    shards = "one shard" if len(saved.shards) == 1 else f"{len(saved.shards)} shards"
    print(f"saved {shards}, {size / 1e6:.1f} MB, in {directory}")


def _show_status(database: DatabaseEntry, *, as_json: bool) -> None:
    status = database_status(database.identifier, [entry.node() for entry in database.nodes])
    if as_json:
        print(json.dumps(status.as_json(), indent=2))
        return
    table = Table("server", "shard", "role", "address", "slots", "keys", "MB", "shared MB", "behind")
    for node in status.nodes:
        behind = "" if node.lag_bytes is None else f"{node.lag_bytes} bytes"
        shared = f"{node.shared_bytes / 1e6:.1f} of {node.shared_limit_bytes / 1e6:.0f}"
        shares = shared if node.shared_limit_bytes else ""
        counts = (str(node.slots or ""), str(node.keys), f"{node.memory_bytes / 1e6:.1f}", shares, behind)
        told = counts if node.role is not None else ("",) * len(counts)
        row = (node.name, str(node.shard), node.role or "no answer", node.address, *told)
        table.add_row(*map(plain, row))
    Console(width=None if sys.stdout.isatty() else WIDE).print(table)
    for problem in status.problems:
        say(problem)


def _show_streams(run_id: str, database: DatabaseEntry, *, as_json: bool) -> None:
    try:
        streams = stream_statuses([entry.node() for entry in database.nodes])
    except ShardError as error:
        raise PenstockError(f"the database of {run_id}: {error}") from error
    if as_json:
        print(json.dumps([stream.as_json() for stream in streams], indent=2))
        return
    headings = (
        "stream",
        "policy",
        "kept",
        "MB",
        "announced",
        "lost",
        "waiting",
        "acknowledged by the slowest",
    )
    if not streams:
        print("there is no stream yet")
        return
    table = Table(*headings)
    for stream in streams:
        table.add_row(*map(plain, _stream_row(stream)))
    Console(width=None if sys.stdout.isatty() else WIDE).print(table)


def _stream_row(stream: StreamStatus) -> tuple[str, ...]:
    fill, bound = stream.fill, stream.fill.bound
    kept = f"{fill.items} of {bound.items}" if bound.items else str(fill.items)
    size = f"{fill.bytes / 1e6:.1f}" + (f" of {bound.bytes / 1e6:.1f}" if bound.bytes else "")
    lost = {"dropped": fill.dropped, "skipped": fill.skipped}
    told = ", ".join(f"{count} {what}" for what, count in lost.items() if count) or "0"
    waiting = str(len(stream.waiting)) + (f" ({stream.waiting[0]} first)" if stream.waiting else "")
    slowest = fill.slowest
    consumer = "none" if slowest is None else f"{slowest}: {fill.consumers[slowest]}"
    return (stream.name, bound.policy, kept, size, str(fill.announced), told, waiting, consumer)


def _shards(database: DatabaseEntry) -> list[Shard]:
    address = Address.from_environment(database.identifier, database.environment)
    if address.unix_socket is not None:
        return [Shard(Endpoint(unix_socket=address.unix_socket))]
    return [Shard(Endpoint(at.host, at.port)) for at in address.endpoints]


def _prompt(run: Run, shards: list[Shard], chosen: int) -> None:
    deployment = "one shard" if len(shards) == 1 else f"{len(shards)} shards"
    print(f"{run.run_id}, {deployment}. Type any command of Redis; an empty line or Ctrl-D leaves.")
    with _remembered(database_history()):
        while line := _line():
            try:
                print(_ask(shards, chosen, line))
            except (ShardError, UsageError) as error:
                print(f"(error) {error}")


@contextmanager
def _remembered(history: Path) -> Iterator[None]:
    """Know what was typed in former sessions, and let the next know of this one."""
    try:
        if history.exists():
            readline.read_history_file(history)
        yield
    finally:
        try:
            readline.write_history_file(history)
        except OSError as error:
            say(f"what was typed cannot be kept: {error}")


def _line() -> str:
    try:
        return input("db> ").strip()
    except (EOFError, KeyboardInterrupt):
        print()
        return ""


def _ask(shards: list[Shard], chosen: int, line: str) -> str:
    """Send a command: in a cluster to the shard that the answer MOVED names."""
    words = _words(line)
    try:
        return shown(shards[chosen].command(*words))
    except ShardError as error:
        asked = owner(shards, words, str(error))
        if asked is None:
            raise
        return shown(asked.command(*words))


def _words(line: str) -> list[str]:
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"{line!r} is no command: {error}") from error
    if not words:
        raise UsageError("the command is empty")
    return words


def owner(shards: Sequence[Shard], words: Sequence[str], refusal: str) -> Shard | None:
    """Return the shard that another's refusal sends us to, None where it refused for another reason."""
    if len(shards) == 1 or len(words) < 2 or ("MOVED" not in refusal.upper() and not refusal[:1].isdigit()):
        return None
    print(f"(slot {key_slot(words[1])} of {SLOTS})", file=sys.stderr)
    port = refusal.rpartition(":")[2]
    return next((shard for shard in shards if str(shard.endpoint.port) == port), None)
