"""How a program in the queue is treated: when its turn comes, and what becomes of it when it fails."""

from __future__ import annotations

import math
from dataclasses import dataclass

from orchestrator.errors import UsageError
from sim_clients.errors import NameRefused
from sim_clients.keys import DEFAULT_STREAM, checked

ON_FAILURE = ("stop", "continue")
MOST_DOUBLINGS = 10


@dataclass(frozen=True)
class Policy:
    """How an Application, or each member of an Ensemble, waits for its turn, and what its failure means.

    Attributes:
        priority: whoever has the higher one starts first; among equals who came first.
        timeout_s: how long each attempt may run; then it is told to end, and has failed. For ever by default.
        heartbeat_s: one that has put no snapshot for so long is stuck: it is told to end, and has failed. The
            time is counted from the first snapshot of each attempt until `end_stream`. Never by default.
        heartbeat_stream: the stream in which it puts them.
        retries: how often a failed one is started again, in the same directory, its log continued.
        pause_s: how long it waits before that; twice as long before each further time, up to 1024 times.
        on_failure: what a failure, after all retries, means for the others of the Ensemble. "stop": those
            that run are told to end, those that wait are canceled, and the Experiment's `wait` raises.
            "continue": nothing; ask the group what has failed.
    """

    priority: int = 0
    timeout_s: float | None = None
    heartbeat_s: float | None = None
    heartbeat_stream: str = DEFAULT_STREAM
    retries: int = 0
    pause_s: float = 1.0
    on_failure: str = "stop"

    def __post_init__(self) -> None:
        if not _is_whole(self.priority):
            raise UsageError(f"Policy(priority={self.priority!r}): must be a whole number")
        if not _is_whole(self.retries) or self.retries < 0:
            raise UsageError(f"Policy(retries={self.retries!r}): must be a whole number of at least 0")
        for name, time in (("timeout_s", self.timeout_s), ("heartbeat_s", self.heartbeat_s)):
            if time is not None and not (is_time(time) and time > 0):
                raise UsageError(f"Policy({name}={time!r}): must be a number of seconds above 0")
        try:
            checked("stream", self.heartbeat_stream)
        except NameRefused as error:
            raise UsageError(f"Policy(heartbeat_stream={self.heartbeat_stream!r}): {error}") from error
        if not is_time(self.pause_s):
            raise UsageError(f"Policy(pause_s={self.pause_s!r}): must be a number of seconds of at least 0")
        if self.on_failure == "restart":
            raise UsageError(
                'Policy(on_failure="restart"): retries=N is how often one that failed is started again, '
                f"after its pause_s; on_failure says what follows then: {', '.join(ON_FAILURE)}"
            )
        if self.on_failure not in ON_FAILURE:
            raise UsageError(f"Policy(on_failure={self.on_failure!r}): one of {', '.join(ON_FAILURE)}")

    @property
    def tolerant(self) -> bool:
        """Whether a failure is left to the user to ask for."""
        return self.on_failure == "continue"

    def pause_after(self, attempts: int) -> float:
        """Return how long to wait after so many attempts, s."""
        return self.pause_s * 2.0 ** min(attempts - 1, MOST_DOUBLINGS)


def _is_whole(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)


def is_time(number: object) -> bool:
    """Tell whether something is a finite number of seconds of at least 0."""
    some = isinstance(number, int | float) and not isinstance(number, bool)
    return some and 0 <= number < math.inf  # type: ignore[operator]
