"""Random decompositions of random arrays, for property tests: uneven blocks, any order of memory."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise, product
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sim_clients import Block, Client, Field
from sim_clients.fields import WIRE_DTYPES

ORDERS: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
    lambda part: part,
    np.ascontiguousarray,
    np.asfortranarray,
    lambda part: np.pad(part, 1)[tuple(slice(1, -1) for _ in part.shape)],  # within ghost cells
    lambda part: np.flip(np.flip(part).copy()),
)
"""What memory the array of a rank may lie in; the numbers stay."""


@st.composite
def decompositions(draw: st.DrawFn) -> tuple[np.ndarray, list[Field]]:
    """Draw an array of 1 to 4 dimensions, and its blocks in a random order of ranks."""
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    numbers = np.random.default_rng(draw(st.integers(0, 2**32))).integers(0, 100, shape)
    whole = numbers.astype(draw(st.sampled_from(WIRE_DTYPES)))
    cuts = [sorted({0, length, *draw(st.lists(st.integers(0, length), max_size=2))}) for length in shape]
    pieces = [list(pairwise(each)) for each in cuts]
    units = draw(st.sampled_from([None, "K", "m s-1"]))
    dims = draw(st.sampled_from([None, tuple("abcd"[: len(shape)])]))
    fields = []
    for block in product(*pieces):
        part = draw(st.sampled_from(ORDERS))(whole[tuple(slice(*edges) for edges in block)])
        fields.append(Field(part, units, dims, Block(shape, tuple(start for start, _ in block))))
    return whole, draw(st.permutations(fields))


def put_blocks(
    open_client: Callable[[str, int], Client], name: str, parts: list[Field], step: int = 0, **options: Any
) -> None:
    """Put each block by a rank of its own."""
    for rank, part in enumerate(parts):
        open_client("heat", rank).put_snapshot(step, {name: part}, **options)
