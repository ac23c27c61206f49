"""Text with tags: what is one, what takes its place, and that nothing else of the text changes."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.template import Tag, can_be_mark, is_text, parsed


@pytest.mark.parametrize(
    ("text", "mark", "made"),
    [
        ("nu = ;nu;\n", ";", "nu = 1\n"),
        ("nu=@nu@;n=@n@", "@", "nu=1;n=2"),
        ("%%nu%%%%n%%", "%%", "12"),
        ("$nu$ [nu] ^nu^", "^", "$nu$ [nu] 1"),
        (";nu;n;", ";", "1n;"),
        ("x = 1 ; not a tag ; at all", ";", "x = 1 ; not a tag ; at all"),
        ("für é ;nu;", ";", "für é 1"),
        ("", ";", ""),
    ],
)
def test_values_take_the_place_of_tags(text: str, mark: str, made: str) -> None:
    template = parsed(text.encode(), mark)
    assert template.filled({"nu": "1", "n": "2"}).decode() == made


def test_bytes_of_another_encoding_stay() -> None:
    assert parsed(b"# \xe9t\xe9\r\nnu=;nu;\r\n").filled({"nu": "ü"}) == b"# \xe9t\xe9\r\nnu=\xc3\xbc\r\n"


def test_each_tag_has_its_line() -> None:
    template = parsed(b"a;nu;\n\n;n;;b.c-1;\n;5;")
    assert template.tags == (Tag("nu", 1), Tag("n", 3), Tag("b.c-1", 3), Tag("5", 4))


def test_a_value_with_a_tag_in_it_is_left_as_it_is() -> None:
    assert parsed(b";a; ;b;").filled({"a": ";b;", "b": "x"}) == b";b; x"


@given(
    st.lists(st.text("ab ;\n", max_size=5).filter(lambda text: ";" not in text)),
    st.sampled_from([";", "@", "%%"]),
)
def test_cut_and_put_together_again_is_the_same(words: list[str], mark: str) -> None:
    text = f"{mark}nu{mark}".join(words)
    template = parsed(text.encode(), mark)
    assert template.filled({tag.name: f"{mark}{tag.name}{mark}" for tag in template.tags}).decode() == text
    assert len(template.tags) >= max(0, len(words) - 1)


@pytest.mark.parametrize("content", [b"\x00", b"\x7fELF\x02", b"\x1f\x8b\x08", "nu=;nu;".encode("utf-16")])
def test_what_is_no_text_is_told(content: bytes) -> None:
    assert not is_text(content)
    assert is_text(b"tab\t\r\n\x0c \x1b[0m \xff")


@pytest.mark.parametrize("mark", ["", "a", ";a", "1", "_", "-", ".", "; ", "é", ";" * 9, None, 3, "\n"])
def test_a_mark_that_names_could_have_in_them_is_none(mark: object) -> None:
    assert not can_be_mark(mark)


def test_a_name_that_is_no_text_is_written_as_the_system_does() -> None:
    name = os.fsdecode(b"mesh-\xff.dat")
    assert parsed(b"file = ;mesh;").filled({"mesh": name}) == b"file = mesh-\xff.dat"
