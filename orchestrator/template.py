"""Text with tags, `;name;`, that values take the place of. Pure; on bytes, for any encoding but UTF-16."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

NAME = r"[A-Za-z0-9_.+-]+"
CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
"""What no text has, in any encoding in which ASCII is itself."""
MARK = re.compile(r"[!-~]{1,8}")
DEFAULT_MARK = ";"


@dataclass(frozen=True)
class Tag:
    """A place in a text: the name between its marks, and its line, from 1."""

    name: str
    line: int


@dataclass(frozen=True)
class Template:
    """A text, cut at its tags.

    Attributes:
        pieces: what is before the first tag, between each two, and after the last.
        tags: in their order.
    """

    pieces: tuple[bytes, ...]
    tags: tuple[Tag, ...]

    def filled(self, values: Mapping[str, str]) -> bytes:
        """Return the text with a value in place of each tag. What is in a value is no tag."""
        # as the system writes a path whose name is no text
        texts = [values[tag.name].encode(errors="surrogateescape") for tag in self.tags]
        pairs = zip(self.pieces, [*texts, b""], strict=True)
        return b"".join(part for pair in pairs for part in pair)


def parsed(text: bytes, mark: str = DEFAULT_MARK) -> Template:
    """Return the template that a text is.

    Args:
        text: which `is_text`.
        mark: before and after each name.
    """
    edge = re.escape(mark.encode())
    pieces: list[bytes] = []
    tags: list[Tag] = []
    line, at = 1, 0
    for found in re.finditer(edge + b"(" + NAME.encode() + b")" + edge, text):
        pieces.append(text[at : found.start()])
        line += pieces[-1].count(b"\n")
        tags.append(Tag(found[1].decode(), line))
        at = found.end()
    return Template((*pieces, text[at:]), tuple(tags))


def is_text(content: bytes) -> bool:
    """Tell text from what is none."""
    return CONTROL.search(content) is None


def can_be_given(text: str) -> bool:
    """Tell whether the system takes a text: in an argument, in the environment, as a path."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:  # half of a character, that no encoding has
        return False


def can_be_tag(name: str) -> bool:
    """Tell whether a name can stand between two marks."""
    return re.fullmatch(NAME, name) is not None


def can_be_mark(mark: object) -> bool:
    """Tell whether something can be before and after a name: signs that no name has."""
    return isinstance(mark, str) and bool(MARK.fullmatch(mark)) and not re.search(NAME, mark)
