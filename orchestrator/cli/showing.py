"""Text of others on a terminal: names of directories, reasons of a scheduler."""

from __future__ import annotations

from rich.text import Text


def plain(text: str) -> Text:
    """Return a text that is shown as it is: brackets are no markup, and what cannot be printed is escaped."""
    return Text("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text))
