"""What a run says while it runs: a line for each thing that happens, and the lines of one program's log."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

INTERVAL_S = 0.2
"""How often a log is looked at for new lines; nothing waits for it."""


def say(sentence: str) -> None:
    """Tell the user something, beside what programs print.

    Where the terminal has been closed there is nobody to tell, and a run must still end in good order.
    """
    _tell(f"penstock: {sentence}", sys.stderr)


def _tell(line: str, out: TextIO) -> None:
    """Print a line; once nobody reads any more, let everything go nowhere.

    What a stream keeps because it could not be written would fail again when the process ends, and change its
    exit code to 120.
    """
    try:
        print(line, file=out, flush=True)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, out.fileno())
        os.close(nowhere)


@contextmanager
def following(name: str, log: Path) -> Iterator[None]:
    """Show each new line of a program's log, with its name in front, until the block ends."""
    over = threading.Event()
    copying = threading.Thread(target=_show_lines, args=(name, log, over), name=f"follow {name}", daemon=True)
    copying.start()
    try:
        yield
    finally:
        over.set()
        copying.join()


def follow(log: Path, over: Callable[[float], bool]) -> Iterator[str]:
    """Yield what is in a log and what comes, in pieces as they come.

    Args:
        log: the file.
        over: waits for that many seconds at most, and tells whether the program has ended. It is asked
            before the log is read, so that what was written until then is still yielded.

    A program that waits for its turn has no log yet, and one that never ran has none at its end.
    """
    while not log.exists():
        if over(INTERVAL_S) and not log.exists():
            return
    with log.open(errors="replace") as file:
        yield file.read()
        ended = False
        while not ended:
            ended = over(INTERVAL_S)
            yield file.read()


def _show_lines(name: str, log: Path, over: threading.Event) -> None:
    rest = ""
    for piece in follow(log, over.wait):
        rest = _show(name, rest + piece)
    if rest:
        _show(name, f"{rest}\n")


def _show(name: str, text: str) -> str:
    """Print the whole lines of a text and return what follows them."""
    *lines, rest = text.split("\n")
    for line in lines:
        _tell(f"{name} | {line}", sys.stdout)
    return rest
