"""An analyst's file becomes a tree, or every reason why not. No bytes at all can do anything else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exchange.alerts import InvalidAlert, parse_input
from tests.alerts.builders import EXAMPLES, SMALLEST, completed, smallest

MAX_BYTES = 262_144


def rules(text: bytes) -> list[str]:
    with pytest.raises(InvalidAlert) as caught:
        parse_input(text)
    return [problem.rule for problem in caught.value.problems]


def places(text: bytes) -> set[tuple[str, str]]:
    with pytest.raises(InvalidAlert) as caught:
        parse_input(text)
    return {(problem.path, problem.rule) for problem in caught.value.problems}


# --- JSON -------------------------------------------------------------------------------------------------------------


def test_json_is_read_as_it_stands() -> None:
    assert parse_input(SMALLEST.encode()) == smallest()


def test_a_byte_order_mark_of_an_editor_is_overlooked() -> None:
    assert parse_input(b"\xef\xbb\xbf" + SMALLEST.encode()) == smallest()
    assert parse_input(b"\xef\xbb\xbfkind: alert") == {"kind": "alert"}


def test_every_repeated_name_is_found_with_its_place() -> None:
    text = b'{"kind": "alert", "kind": "cancel", "persons": [{"id": "p1", "a/b": 1, "a/b": 2}]}'
    assert places(text) == {("/kind", "duplicate_name"), ("/persons/0/a~1b", "duplicate_name")}


@pytest.mark.parametrize(
    "number",
    ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9007199254740992", "-9007199254740992", "1" * 5_000],
)
def test_a_number_that_readers_would_not_agree_on_is_refused(number: str) -> None:
    assert rules(b'{"a": %s}' % number.encode()) == ["json_number"]


@pytest.mark.parametrize("number", ["9007199254740991", "-9007199254740991", "0.1", "1e300"])
def test_a_number_that_readers_agree_on_is_taken(number: str) -> None:
    assert parse_input(b'{"a": %s}' % number.encode()) == {"a": json.loads(number)}


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (b"", "empty"),
        (b" \n\t ", "empty"),
        (b'{"kind": "alert"', "json_syntax"),
        (b'{"kind": "alert"} {"kind": "alert"}', "json_syntax"),
        (b'{"kind": "alert",}', "json_syntax"),
        (b"{'kind': 'alert'}", "json_syntax"),
        (b'{"kind": "a\nb"}', "json_syntax"),
        (b'{"kind": "\xff"}', "utf8"),
        (b"kind: \xff", "utf8"),
        (b'{"kind": "\\ud83d"}', "half_surrogate"),
        (b'{"\\udc00": 1}', "half_surrogate"),
        (b"[1, 2]", "type"),
        (b'"alert"', "type"),
        (b"alert", "type"),
        (b"{" + b" " * MAX_BYTES + b"}", "too_large"),
    ],
)
def test_what_is_no_document_is_refused(text: bytes, rule: str) -> None:
    assert rules(text) == [rule]


def test_a_whole_surrogate_pair_is_a_character() -> None:
    assert parse_input(b'{"a": "\\ud83d\\ude97"}') == {"a": "\U0001f697"}


@pytest.mark.parametrize(("depth", "taken"), [(32, True), (33, False), (100, False), (100_000, False)])
@pytest.mark.parametrize("shape", ["lists", "objects"])
def test_nesting_is_bounded(shape: str, depth: int, taken: bool) -> None:
    if shape == "lists":
        text = b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"
    else:
        text = b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)
    if taken:
        assert parse_input(text)
    else:
        assert rules(text) in (["too_deep"], ["too_large"])


def test_brackets_inside_texts_are_no_nesting() -> None:
    assert parse_input(b'{"a": "%s"}' % (b"[{" * 1_000))


# --- YAML -------------------------------------------------------------------------------------------------------------


def test_every_scalar_of_yaml_stays_what_was_typed() -> None:
    text = """
country: NO
phone: +4790000417
number: 0123
time: 12:30:45
octal: 0o17
hex: 0x1F
float: 1.10
exponent: 1e3
date: 2026-11-23
truth: yes
other: True
name: Null
quoted: "null"
empty_text: ""
"""
    assert parse_input(text.encode()) == {
        "country": "NO",
        "phone": "+4790000417",
        "number": "0123",
        "time": "12:30:45",
        "octal": "0o17",
        "hex": "0x1F",
        "float": "1.10",
        "exponent": "1e3",
        "date": "2026-11-23",
        "truth": "yes",
        "other": "True",
        "name": "Null",
        "quoted": "null",
        "empty_text": "",
    }


def test_a_blank_of_yaml_is_nothing() -> None:
    assert parse_input(b"a:\nb: ~\nc: null\nd: {x: }\n") == {
        "a": None,
        "b": None,
        "c": None,
        "d": {"x": None},
    }


def test_block_texts_comments_and_flow_are_yaml() -> None:
    text = "a: |\n  first\n  second\n# a comment\nb: [1, {c: d}]  # another\n"
    assert parse_input(text.encode()) == {"a": "first\nsecond\n", "b": ["1", {"c": "d"}]}


@pytest.mark.parametrize(
    ("text", "place", "rule"),
    [
        ("a: &x 1\nb: 2", "/a", "yaml_anchor"),
        ("a: &x {b: 1}", "/a", "yaml_anchor"),
        ("a: &x [1]", "/a", "yaml_anchor"),
        ("a: !!int 1", "/a", "yaml_tag"),
        ("a: !x {b: 1}", "/a", "yaml_tag"),
        ("persons: [{id: !!str p1}]", "/persons/0/id", "yaml_tag"),
        ("a: 1\n---\nb: 2", "", "yaml_documents"),
        ("%YAML 1.1\n---\na: 1", "", "yaml_directive"),
        ("%TAG ! tag:example.org,2000:\n---\na: 1", "", "yaml_directive"),
        ("? [a, b]\n: 1", "", "yaml_name"),
        ("a: 1\na: 2", "/a", "duplicate_name"),
        ("a: {b: 1, b: 2}", "/a/b", "duplicate_name"),
        ("a: [1", "", "yaml_syntax"),
        ("a: 1\n b: 2", "", "yaml_syntax"),
        ("a: 'x", "", "yaml_syntax"),
        ("\ta: 1", "", "yaml_syntax"),
        ('a: "\\U00110000"', "", "yaml_syntax"),
        ("- a\n- b", "", "type"),
        ("just words", "", "type"),
        ("a: " + "[" * 40 + "]" * 40, "", "too_deep"),
    ],
)
def test_what_makes_yaml_mean_something_else_is_refused(text: str, place: str, rule: str) -> None:
    assert (place, rule) in places(text.encode())


def test_every_fault_of_a_yaml_file_is_found_at_once() -> None:
    text = b"a: &x 1\nb: *x\nc: !!int 3\nd: 1\nd: 2\n"
    assert places(text) == {("/a", "yaml_anchor"), ("/b", "yaml_alias"), ("/c", "yaml_tag"), ("/d", "duplicate_name")}


def test_aliases_do_not_multiply() -> None:
    text = b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"
    assert {rule for _, rule in places(text)} == {"yaml_anchor", "yaml_alias"}


def test_a_list_of_faults_ends() -> None:
    found = rules(b"a: [" + b"&x 1, " * 5_000 + b"]")
    assert len(found) == 101
    assert found[-1] == "more_problems"


# --- documents that come back -----------------------------------------------------------------------------------------


def test_a_completed_document_is_taken_back_to_what_its_analyst_wrote() -> None:
    assert parse_input(completed().content) == smallest()


def test_what_the_analyst_decided_is_not_taken_back() -> None:
    tree = smallest()
    tree["handling"]["h"] = ["H2"]
    tree["purpose"] = "investigate"
    assert parse_input(completed(tree).content) == {**tree, "handling": {**tree["handling"], "h": ["H2"]}}


@pytest.mark.parametrize(
    "mark",
    [
        None,
        7,
        {"defaulted": 7},
        {"defaulted": [1, None, "", "/", "//", "/x/y/z", "/persons/99", "/persons/-1", "/kind/0", "/persons/x", "~"]},
        {"defaulted": ["/persons/0/names/99999999999999999999"]},
    ],
)
def test_a_mark_that_no_node_made_takes_nothing_back(mark: Any) -> None:
    tree = {**smallest(), "ext": {"tocsin": mark}}
    assert parse_input(json.dumps(tree).encode()) == smallest()


def test_extensions_of_others_stay() -> None:
    tree = {**smallest(), "ext": {"example": {"x": 1}, "tocsin": {"defaulted": []}}}
    assert parse_input(json.dumps(tree).encode())["ext"] == {"example": {"x": 1}}


# --- all bytes --------------------------------------------------------------------------------------------------------

YAML_PIECES = st.sampled_from(
    [
        *("a", "b: ", "- ", "? ", ": ", "\n", " ", "\t", "#", "&x ", "*x", "!t ", "!!str ", "!<", "%YAML 1.1\n", "%"),
        *("---\n", "...\n", "[", "]", "{", "}", ",", '"', "'", "|", ">", "|9", "\\U00110000", "\\x4", "\\ud800", "~"),
        *("\r", "\x00", "\x85", "\u2028", "\ufeff", "\ud7ff", "<<", "@", "`", "null", "-", "0", ":"),
    ]
)


def is_tree_or_problems(data: bytes) -> None:
    try:
        assert isinstance(parse_input(data), dict)
    except InvalidAlert as error:
        if not error.problems:
            raise


@given(st.binary(max_size=400))
@example(b"[" * 100_000)
@example(b"{" * 100_000)
@example(b'{"a":' * 50_000)
@example(b"- " * 50_000)
@example(b"\x00")
@example(b"%")
def test_any_bytes_are_a_tree_or_problems(data: bytes) -> None:
    is_tree_or_problems(data)


@given(st.lists(YAML_PIECES, max_size=40).map("".join))
def test_anything_like_yaml_is_a_tree_or_problems(text: str) -> None:
    is_tree_or_problems(text.encode())


@given(st.sampled_from(EXAMPLES), st.data())
def test_a_damaged_example_is_a_tree_or_problems(path: Any, data: st.DataObject) -> None:
    text = path.read_text()[: data.draw(st.integers(1, 900))]
    place = data.draw(st.integers(0, len(text)))
    piece = data.draw(YAML_PIECES)
    is_tree_or_problems((text[:place] + piece + text[place:]).encode())


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=20,
    )
)
def test_json_of_any_object_is_read_as_json_reads_it(value: Any) -> None:
    tree = {"a": value}
    assert parse_input(json.dumps(tree).encode()) == tree
