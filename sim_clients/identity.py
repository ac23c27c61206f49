"""Who this process is: the name and the rank under which it announces its snapshots."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from sim_clients.errors import IdentityError
from sim_clients.keys import checked

NAME_VARIABLE = "PENSTOCK_NAME"
RANK_VARIABLES = ("PENSTOCK_RANK", "PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID")


class Identity(NamedTuple):
    """The name of an application or ensemble member, and the rank within it."""

    producer: str
    rank: int


def from_environment(environ: Mapping[str, str] | None = None) -> Identity:
    """Read name and rank from what the launcher and MPI have set.

    A program that nobody launched is called `process-<pid>`, so that two of them never share a name; it is
    rank 0 unless MPI says otherwise.

    Raises:
        IdentityError: a rank that is not a number.
        NameRefused: a name that cannot be part of a key.
    """
    environ = os.environ if environ is None else environ
    name = environ.get(NAME_VARIABLE) or f"process-{os.getpid()}"
    return Identity(checked("producer", name), _rank(environ))


def _rank(environ: Mapping[str, str]) -> int:
    for variable in RANK_VARIABLES:
        text = environ.get(variable)
        if text is None:
            continue
        if not text.isdigit():
            raise IdentityError(variable, text)
        return int(text)
    return 0
