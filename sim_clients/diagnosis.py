"""What is wrong with a snapshot that cannot be read: asked of the database itself, on the way to an error.

SmartRedis' API cannot tell: it either fails without naming a key or silently returns less.
"""

from __future__ import annotations

from sim_clients import keys
from sim_clients.address import Address
from sim_clients.plain_redis import connection, read_text, tensor_names

_SPILLED = b".spilled"
_LOOK = "look at a broken snapshot"


def announced(address: Address, stream: str, position: int) -> str | None:
    """Return the entry at a position of a stream, None where nothing is announced."""
    with connection(address, _LOOK, stream) as database:
        return read_text(database.lindex(stream, position))


def spilled(address: Address, entry: str) -> dict[str, bytes] | None:
    """Return the metadata of a dataset that was spilled to files, as they are packed, else None."""
    with connection(address, _LOOK, entry) as database:
        found = database.hgetall(keys.metadata(entry))
    return {name.decode(): packed for name, packed in found.items()} if _SPILLED in found else None


def missing_fields(address: Address, entry: str) -> list[str] | None:
    """Return the fields that a dataset names and that are not in the database, sorted.

    Args:
        address: of the database.
        entry: of the dataset in a stream.

    Returns:
        None when the database does not have the dataset at all.
    """
    with connection(address, _LOOK, entry) as database:
        names = tensor_names(database, entry)
        if names is None:
            return None
        return sorted(name for name in names if not database.exists(keys.tensor(entry, name)))
