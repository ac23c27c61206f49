"""HTML and SVG as text: what is put between tags or into attributes is escaped, nothing breaks out."""

from __future__ import annotations

import html
import re

VOID = ("img", "meta")
_CODE = re.compile(r"`([^`\n]+)`")


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


Content = str | int | float | None


def e(name: str, *children: Content, **attributes: Content) -> Markup:
    """Return an element.

    Args:
        name: of the tag.
        children: Markup goes in as it is, other text is escaped, None is left out.
        attributes: `class_` is class, `stroke_width` is stroke-width; None is left out.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(_number(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Markup(f"<{name}{given}/>")
    return Markup(f"<{name}{given}>{join(*children)}</{name}>")


def join(*children: Content) -> Markup:
    """Return several pieces, one after the other."""
    return Markup(
        "".join(
            child if isinstance(child, Markup) else escaped(_number(child))
            for child in children
            if child is not None
        )
    )


def worded(text: str) -> Markup:
    """Return a text in which `what is between such quotes` is code; a quote without its other one stays."""
    parts = _CODE.split(text)
    return join(*(e("code", part) if at % 2 else part for at, part in enumerate(parts)))


def escaped(text: str) -> str:
    """Return a text as HTML and XML can have it: what neither may contain is shown as its escape."""
    return html.escape("".join(letter if _is_allowed(letter) else _shown(letter) for letter in text))


def _number(value: Content) -> str:
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def _is_allowed(letter: str) -> bool:
    if letter < " " or "\x7f" <= letter <= "\x9f":
        return letter in "\t\n"
    return not ("\ud800" <= letter <= "\udfff" or letter in "\ufffe\uffff")


def _shown(letter: str) -> str:
    return letter.encode("unicode_escape").decode()
