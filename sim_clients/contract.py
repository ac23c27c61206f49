"""The contract of a stream: what its fields are, agreed on once by all who put snapshots in it.

The first snapshot of a stream fixes it, whoever's it is; a later one, or another rank's, that differs is
refused. It is a text in the database, a line for whose snapshot that was and one for each field:

    since heat_0.0.0
    T: float32 (128, 128) in blocks, K, dims y x
    u: float64 (64, 64)

The shape of a field in blocks is that of the global array, so that ranks whose blocks differ agree. Two
fields are the same where their lines are, which is why units have no commas. `c/contract.c` writes and
compares the same text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from sim_clients.about import NOTHING, About
from sim_clients.errors import SnapshotError
from sim_clients.fields import Array, FieldType

_SINCE = "since "
_DIMS = "dims "


class Described(NamedTuple):
    """What the array of one rank is, and what is known of it."""

    type: FieldType
    about: About = NOTHING

    def __str__(self) -> str:
        """Return the field's line in a contract, for example `float32 (128, 128) in blocks, K, dims y x`."""
        units, dims, block = self.about.units, self.about.dims, self.about.block
        shape = f"{self.type}" if block is None else f"{FieldType(self.type.dtype, block.shape)} in blocks"
        return shape + (f", {units}" if units else "") + (f", {_DIMS}{' '.join(dims)}" if dims else "")

    def place(self) -> str:
        """Return which part of the global array it is, for example `(64, 128) at (64, 0)`."""
        block = self.about.block
        return f"{self.type.shape}" if block is None else f"{self.type.shape} at {block.offset}"


Layout = Mapping[str, Described]


def layout_of(fields: Mapping[str, Array], about: Mapping[str, About]) -> dict[str, Described]:
    """Return what each field of one rank is."""
    return {
        name: Described(FieldType(value.dtype.name, value.shape), about.get(name, NOTHING))
        for name, value in fields.items()
    }


@dataclass(frozen=True)
class Contract:
    """What the fields of a stream are.

    Attributes:
        since: name of the snapshot that fixed it.
        fields: name -> for example `float32 (128, 128) in blocks, K, dims y x`.
    """

    since: str
    fields: Mapping[str, str]

    @classmethod
    def of(cls, snapshot: str, layout: Layout) -> Contract:
        """Return the contract that a snapshot would begin."""
        return cls(snapshot, {name: str(layout[name]) for name in sorted(layout)})

    @classmethod
    def parse(cls, stream: str, text: str) -> Contract:
        """Read the text of a stream's contract.

        Raises:
            SnapshotError: it is none.
        """
        since, *lines = text.split("\n")
        fields = dict(line.split(": ", 1) for line in lines if ": " in line)
        if not since.startswith(_SINCE) or not fields or len(fields) != len(lines):
            raise SnapshotError(stream, f"what the stream keeps as its contract is none: {text[:60]!r}")
        return cls(since[len(_SINCE) :], fields)

    def __str__(self) -> str:
        """Return the text that `parse` reads."""
        return "\n".join([_SINCE + self.since, *(f"{name}: {line}" for name, line in self.fields.items())])

    def units(self, field: str) -> str | None:
        """Return the units of a field; None where the contract has no such field, or none of its units."""
        _, _, described = self.fields.get(field, "").partition(")")
        words = described.split(", ")[1:]
        return words[0] if words and not words[0].startswith(_DIMS) else None

    def check(self, stream: str, found: Contract) -> None:
        """Check that a snapshot keeps it.

        Args:
            stream: whose contract this is.
            found: the contract that the snapshot would begin.

        Raises:
            SnapshotError: naming the field, what it is and what the stream has.
        """
        for name, has in self.fields.items():
            if name not in found.fields:
                raise SnapshotError(
                    found.since,
                    f"the field {name!r} is missing; the stream {stream!r} has it as {has} "
                    f"since {self.since}",
                )
        for name, is_now in found.fields.items():
            has = self.fields.get(name, "")
            if not has:
                raise SnapshotError(
                    found.since,
                    f"the field {name!r} is new, {is_now}; the stream {stream!r} has "
                    f"{', '.join(self.fields)} since {self.since}",
                )
            if has != is_now:
                raise SnapshotError(
                    found.since,
                    f"the field {name!r} is {is_now}; the stream {stream!r} has {has} since {self.since}",
                )


def mark_of(contract: str) -> int:
    """Return by which number the database is told which contract a client keeps; flow.h has the same.

    Args:
        contract: its text.
    """
    mark = 0xCBF29CE484222325  # FNV-1a
    for byte in contract.encode():
        mark = (mark ^ byte) * 0x100000001B3 % 2**64
    return mark % 2**50


def check_blocks(snapshot: str, layout: Layout, first: Layout) -> None:
    """Check that the blocks of a rank are where they were in its first snapshot.

    Raises:
        SnapshotError
    """
    for name, described in layout.items():
        if described.place() != first[name].place():
            raise SnapshotError(
                snapshot,
                f"the block of the field {name!r} is {described.place()}, it was {first[name].place()} "
                "in the first snapshot of this rank",
            )
