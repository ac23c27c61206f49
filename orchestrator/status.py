"""How a database is: the role, memory, slots and keys of each server, and how far replicas are behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.node import Node
from orchestrator.shard import Shard, ShardError

PATIENCE_S = 2.0
"""For each answer: who asks how a database is wants to hear which server hangs."""


@dataclass(frozen=True)
class NodeStatus:
    """One server, as it told itself.

    Attributes:
        name: of its Job.
        shard: the number of the shard whose keys it has.
        address: where it listens.
        role: "primary" or "replica"; None where it does not answer.
        slots: how many it owns; 0 of a replica, and of a database of one shard.
        keys: how many it has.
        memory_bytes: that it uses, for data and for itself.
        shared_bytes: of the memory that it shares with programs on its host, what tensors and clients hold.
        shared_limit_bytes: how much it may share; 0 where it shares none.
        lag_bytes: of a replica: how much of what its primary was told it has not got yet; None where it does
            not follow it.
        problem: why it does not answer, or that it does not follow its primary.
    """

    name: str
    shard: int
    address: str
    role: str | None = None
    slots: int = 0
    keys: int = 0
    memory_bytes: int = 0
    shared_bytes: int = 0
    shared_limit_bytes: int = 0
    lag_bytes: int | None = None
    problem: str | None = None


@dataclass(frozen=True)
class DatabaseStatus:
    """All servers of a database.

    Attributes:
        identifier: of the database.
        nodes: its servers.
    """

    identifier: str
    nodes: tuple[NodeStatus, ...]

    @property
    def primaries(self) -> tuple[NodeStatus, ...]:
        """The servers that own the keys."""
        return tuple(node for node in self.nodes if node.role == "primary")

    @property
    def keys(self) -> int:
        """How many keys there are."""
        return sum(node.keys for node in self.primaries)

    @property
    def memory_bytes(self) -> int:
        """What all servers use."""
        return sum(node.memory_bytes for node in self.nodes)

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong, server by server."""
        return tuple(f"{node.name}: {node.problem}" for node in self.nodes if node.problem is not None)

    def as_json(self) -> dict[str, Any]:
        """Return the same for a program to read."""
        totals = {"keys": self.keys, "memory_bytes": self.memory_bytes}
        return {"identifier": self.identifier, **totals, "nodes": [asdict(node) for node in self.nodes]}


def database_status(identifier: str, nodes: Sequence[Node]) -> DatabaseStatus:
    """Ask all servers of a database how they are; those that do not answer are told with the reason."""
    told = [_told(node) for node in nodes]
    written = {
        node.shard: int(facts["master_repl_offset"])
        for node, facts in zip(nodes, told, strict=True)
        if facts.get("role") == "master"
    }
    return DatabaseStatus(
        identifier,
        tuple(_status(node, facts, written.get(node.shard)) for node, facts in zip(nodes, told, strict=True)),
    )


def _told(node: Node) -> dict[str, str]:
    """Return what a server tells of itself, and its keys and slots; or only why it tells nothing."""
    try:
        with Shard(node.endpoint, timeout_s=PATIENCE_S) as shard:
            facts = {**shard.facts(), **shard.facts("modules"), "keys": str(shard.command("DBSIZE"))}
            if node.slots is not None:
                own = (node.endpoint.host, node.endpoint.port)
                ours = [ends for ends, owner in shard.slot_owners().items() if owner == own]
                facts["slots"] = str(sum(last - first + 1 for first, last in ours))
            return facts
    except ShardError as error:
        return {"problem": str(error) or type(error).__name__}


def _status(node: Node, facts: Mapping[str, str], written: int | None) -> NodeStatus:
    name, shard, address = node.name, node.shard, str(node.endpoint)
    if "role" not in facts:
        return NodeStatus(name, shard, address, problem=f"does not answer: {facts['problem']}")
    follows = facts.get("master_link_status") == "up"
    is_replica = facts["role"] != "master"
    lag = max(0, written - int(facts["slave_repl_offset"])) if follows and written is not None else None
    return NodeStatus(
        name,
        shard,
        address,
        role="replica" if is_replica else "primary",
        slots=int(facts.get("slots", 0)),
        keys=int(facts["keys"]),
        memory_bytes=int(facts["used_memory"]),
        shared_bytes=int(facts.get("ai_arena_used", 0)),
        shared_limit_bytes=int(facts.get("ai_arena_size", 0)),
        lag_bytes=lag,
        problem="does not follow its primary" if is_replica and not follows else None,
    )
