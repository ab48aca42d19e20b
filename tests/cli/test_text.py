"""Text of a peer reaches a terminal without power over it."""

from __future__ import annotations

import unicodedata

import pytest
import wcwidth
from hypothesis import given
from hypothesis import strategies as st

from nodes.cli.page import Page, Piece, Styled
from nodes.cli.text import ISOLATE, MAX_MARKS, RELEASE, escape, isolate, lines_of, shown, take, width

ANY_TEXT = st.text(st.characters(codec=None))
# What an attacker would choose, more often than chance does.
HOSTILE = st.lists(
    st.sampled_from(
        [
            "\x1b[2J",
            "\x1b]0;t\x07",
            "\x9b1m",
            "\u202e",
            "\u2066",
            "\u2069",
            "\r",
            "\n",
            "\x00",
            "\u200f",
            "\u2028",
            "\ud800",
        ]
    )
    | ANY_TEXT
    | st.sampled_from(["\u05d0\u05d1", "\u0639\u0631\u0628\u064a", "a\u0301", "\u0301" * 40, "\u4e2d\u6587", "DE-123"])
).map("".join)
FORBIDDEN = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u200e\u200f\u061c\u2028\u2029\ufeff\u200b\u00ad")


def assert_harmless(text: str) -> None:
    assert not FORBIDDEN.intersection(text)
    for character in text:
        assert unicodedata.category(character) not in ("Cc", "Cs", "Co"), hex(ord(character))


@given(HOSTILE)
def test_nothing_escaped_can_move_a_cursor_or_turn_text_around(text: str) -> None:
    escaped = escape(text)
    assert_harmless(escaped)
    assert not {ISOLATE, RELEASE}.intersection(escaped)


@given(HOSTILE)
def test_isolation_is_balanced_and_only_ours(text: str) -> None:
    safe = shown(text)
    assert_harmless(safe)
    assert safe.count(ISOLATE) == safe.count(RELEASE) <= 1
    assert safe.count(ISOLATE) == 0 or (safe.startswith(ISOLATE) and safe.endswith(RELEASE))


@given(HOSTILE)
def test_escaped_text_can_be_written_as_utf_8(text: str) -> None:
    shown(text).encode()


@pytest.mark.parametrize(
    "text",
    [
        "Lucía Pérez",
        "Zoë",
        "Нгуен",
        "中文",
        "ไทย",
        "हिन्दी",
        "👩\u200d👧",
        "\u0645\u06cc\u200c\u0634\u0648\u062f",
        "Nguyễn",
    ],
)
def test_names_as_people_write_them_stay_as_they_are(text: str) -> None:
    assert escape(text) == text


def test_what_runs_right_to_left_is_isolated_and_nothing_else_is() -> None:
    assert shown("محمد") == f"{ISOLATE}محمد{RELEASE}"
    assert shown("Lucía") == "Lucía"


def test_a_control_character_is_seen() -> None:
    assert escape("a\x1b[31mb\x7f\x85\u202e") == "a\u241b[31mb\u2421<U+0085><U+202E>"


def test_a_tower_of_marks_is_cut_down_and_never_stands_on_our_letters() -> None:
    escaped = escape("\u0301" * 40)
    assert escaped[0] == "\u25cc"
    assert sum(unicodedata.combining(character) > 0 for character in escaped) == MAX_MARKS


@given(HOSTILE)
def test_lines_hold_no_break_of_their_own(text: str) -> None:
    assert all(not {"\n", "\r"}.intersection(line) for line in lines_of(text))


@given(HOSTILE.map(escape), st.integers(1, 20))
def test_taking_loses_nothing_and_always_gets_on(escaped: str, columns: int) -> None:
    first, rest = take(escaped, columns)
    assert first + rest == escaped
    assert first or not escaped


@given(st.text(st.characters(max_codepoint=0x2FF)).map(escape))
def test_latin_text_is_as_wide_as_it_has_letters(escaped: str) -> None:
    assert width(escaped) == wcwidth.wcswidth(escaped)


def test_wide_letters_count_twice_and_marks_not_at_all() -> None:
    assert width("中文") == 4
    assert width("e\u0301") == 1
    assert width("plain") == 5


PIECES: st.SearchStrategy[Piece] = st.recursive(
    HOSTILE | st.builds(Styled, HOSTILE, st.sampled_from(["", "bold"])),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(PIECES, max_size=4), st.integers(1, 100) | st.none())
def test_no_way_through_a_page_lets_foreign_text_act(pieces: list[Piece], columns: int | None) -> None:
    page = Page(columns)
    page.line(*pieces, indent=2)
    page.field("label", *pieces)
    page.banner(*pieces)
    page.table(["a", "b", "c"], [([pieces, pieces, pieces], "")])
    page.paragraph("".join(piece for piece in pieces if isinstance(piece, str)))
    for line in page.plain().splitlines():
        assert_harmless(line)
        assert line.count(ISOLATE) == line.count(RELEASE)


@given(st.lists(st.sampled_from(["word", "wörter", "中文字", "a" * 90, "שלום"]), min_size=1), st.integers(40, 100))
def test_wrapped_text_fits_and_loses_no_letter(words: list[str], columns: int) -> None:
    page = Page(columns)
    page.line(" ".join(words))
    lines = page.plain().split("\n")
    assert all(width(line.replace(ISOLATE, "").replace(RELEASE, "")) <= columns for line in lines)
    kept = "".join(lines).replace(ISOLATE, "").replace(RELEASE, "").replace(" ", "")
    assert kept == "".join(words)


def test_without_a_terminal_every_item_is_one_line() -> None:
    page = Page(None)
    page.field("summary", "word " * 200)
    assert page.plain().count("\n") == 1


def test_columns_are_aligned_by_width_and_not_by_letters() -> None:
    page = Page(None)
    page.table(["name", "country"], [(["中文", "CN"], ""), (["Lucía", "CO"], "")])
    lines = page.plain().splitlines()
    assert [line.index(code) for line, code in zip(lines, ["country", "CN", "CO"], strict=True)] == [7, 5, 7]


def test_isolating_twice_is_not_possible_through_a_page() -> None:
    page = Page(None)
    page.line("from ", isolate("محمد"))
    assert page.plain().count(ISOLATE) == 1
    assert "<U+2068>" in page.plain()
