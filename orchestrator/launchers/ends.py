"""The ends of processes of this host, heard by event on the thread that asks."""

from __future__ import annotations

import os
import select
from collections.abc import Callable


class Ends:
    """Processes whose ends one thread waits for. Any thread may add some, and wake it.

    Each pidfd is heard of once (EPOLLONESHOT): a process that is just being started may have a copy of it,
    which would tell of the same end again after it was closed here.
    """

    def __init__(self) -> None:
        self._heard: dict[int, Callable[[], None]] = {}  # by the pidfd
        self._woken = os.eventfd(0)
        self._epoll = select.epoll()  # sees at once what is registered while it waits
        self._epoll.register(self._woken, select.EPOLLIN)

    def watch(self, pid: int, heard: Callable[[], None]) -> None:
        """Have the thread that hears get a function to call when a process has ended; it reaps that."""
        pidfd = os.pidfd_open(pid)
        self._heard[pidfd] = heard
        self._epoll.register(pidfd, select.EPOLLIN | select.EPOLLONESHOT)

    def hear(self, timeout_s: float | None = None) -> list[Callable[[], None]]:
        """Wait until a process has ended, somebody wakes this thread, or the time is over.

        Returns:
            What is to be called: the functions of those that have ended.
        """
        heard = []
        for descriptor, _ in self._epoll.poll(timeout_s):
            if descriptor == self._woken:
                os.eventfd_read(self._woken)
            else:
                heard.append(self._heard.pop(descriptor))
                os.close(descriptor)
        return heard

    def wake(self) -> None:
        """Let the thread that hears go on, now or when it next waits."""
        os.eventfd_write(self._woken, 1)

    def close(self) -> None:
        """Free all descriptors. Nobody hears any more."""
        for descriptor in (self._woken, *self._heard):
            os.close(descriptor)
        self._woken = -1  # a number that is given again must not be written to
        self._epoll.close()
