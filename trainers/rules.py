"""The rules that a user gives: what goes wrong in one is told as the rule's, and not lost among ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sim_clients import ClientError
from trainers.errors import RuleFailed, TrainerError


@contextmanager
def asking(rule: str) -> Iterator[None]:
    """Ask a user's rule within this.

    Args:
        rule: which one, in words.

    Raises:
        RuleFailed: it has raised, or what it returned cannot be used.
    """
    try:
        yield
    except (TrainerError, ClientError):
        raise
    except Exception as error:  # the edge to the user's code
        raise RuleFailed(rule, error) from error
