"""What a run says while it runs: a line for each thing that happens, and the lines of one program's log."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

INTERVAL_S = 0.2
"""How often a log is looked at for new lines; nothing waits for it."""


def say(sentence: str) -> None:
    """Tell the user something, beside what programs print."""
    print(f"penstock: {sentence}", file=sys.stderr, flush=True)


@contextmanager
def following(name: str, log: Path) -> Iterator[None]:
    """Show each new line of a program's log, with its name in front, until the block ends."""
    over = threading.Event()
    copying = threading.Thread(target=_copy_lines, args=(name, log, over), name=f"follow {name}", daemon=True)
    copying.start()
    try:
        yield
    finally:
        over.set()
        copying.join()


def _copy_lines(name: str, log: Path, over: threading.Event) -> None:
    with log.open(errors="replace") as file:
        rest = ""
        while True:
            last = over.wait(INTERVAL_S)  # before reading: what was written until then is still shown
            rest = _show(name, rest + file.read(), sys.stdout)
            if last:
                break
        if rest:
            _show(name, f"{rest}\n", sys.stdout)


def _show(name: str, text: str, out: TextIO) -> str:
    """Print the whole lines of a text and return what follows them."""
    *lines, rest = text.split("\n")
    for line in lines:
        print(f"{name} | {line}", file=out, flush=True)
    return rest
