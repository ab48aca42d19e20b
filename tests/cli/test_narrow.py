"""A narrow window: lines end at words, and what is copied as one stands in one piece."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.cli.invocation import error_document, view_error
from nodes.cli.page import MIN_COLUMNS, Ours, Page
from nodes.cli.text import ISOLATE, RELEASE, width
from nodes.cli.views.delivery import view_confirm, view_track
from tests.cli.contract import examples
from tests.cli.recorded import RecordedNode
from tests.cli.samples import CASE_ID, CONTENT, MESSAGE_ID, SHOWN, SUPERSEDING_ID, inbox_entry, posted, recipient
from tests.cli.test_terminal import on_a_terminal
from tests.cli.test_text import HOSTILE
from tests.cli.test_views import VIEWS, View
from tests.processes import Children

WIDTHS = (40, 60, 80)
PROGRAM = "tocsin -D '/srv/agencies/a b, c'"
PHONE = "+33472447000"
EXAMPLES = dict(examples())
LONG = "Girl, 9, taken from school in Cucuta, white van towards the border, two men, one of them armed"
STEP = f"call {PHONE}; then: tocsin resend {MESSAGE_ID} --to interpol.int"
RECIPIENTS = (
    recipient("bka.de", "opened", officer="duty-07", text="two cars and a helicopter from the border station"),
    recipient("policia-fronteriza.interior.gob.ve", "queued", "peer_pending"),
    recipient("interpol.int", "refused", "policy_denied"),
)
SENT = posted(*RECIPIENTS, summary=LONG)
PEERS = [
    {**EXAMPLES["peer"], "agency": "policia-fronteriza.interior.gob.ve", "name": "Policía de la Frontera Norte"},
    {**EXAMPLES["peer"], "agency": "bka.de", "trust": "suspended", "reason": "call them first", "queued": 12},
]
FINDING = {
    "code": "root_online",
    "severity": "warning",
    "peer": None,
    "sentence": "The root of this agency lies on this machine.",
    "next_step": "stop the node, then: tocsin keys export-root -o FILE (on a stick, for the safe); then start it again",
}


def confirm(document: dict[str, Any], page: Page) -> None:
    """The screen before a post."""
    view_confirm(document, CONTENT, page)


def tracked(document: dict[str, Any], page: Page) -> None:
    """`track`, with what to do about who has not looked."""
    view_track(document, page, {"interpol.int": ("Nobody there has opened it yet.", STEP)})


SCREENS: dict[str, tuple[View, dict[str, Any]]] = {
    **{name: (view, EXAMPLES[name]) for name, view in VIEWS.items() if name in EXAMPLES},
    "case": (VIEWS["case"], {"v": 1, "case_id": CASE_ID, "state": "active", "messages": [SHOWN, SHOWN]}),
    "confirm": (confirm, {**EXAMPLES["explain"], "names": {"bka.de": "Bundeskriminalamt"}}),
    "error": (view_error, error_document("wrong_state", LONG, f"a note corrects it: tocsin note {CASE_ID} -")),
    "inbox": (
        VIEWS["inbox"],
        {"v": 1, "messages": [inbox_entry(1, summary=LONG, precedence="flash"), inbox_entry(2, status="exercise")]},
    ),
    "peer": (VIEWS["peer"], PEERS[0]),
    "peer_list": (VIEWS["peer_list"], {"v": 1, "peers": PEERS}),
    "post": (VIEWS["post"], SENT),
    "sent": (VIEWS["sent"], {"v": 1, "messages": [SENT, {**SENT, "message_id": SUPERSEDING_ID}]}),
    "show": (VIEWS["show"], SHOWN),
    "status": (VIEWS["status"], {**EXAMPLES["status"], "findings": [FINDING]}),
    "track": (tracked, posted(*RECIPIENTS)),
    "watch": (VIEWS["watch"], {"v": 1, "event": "message", "message": inbox_entry(1, summary=LONG)}),
    "why": (
        VIEWS["why"],
        {"v": 1, "recipients": [{"agency": "bka.de", "state": "refused", "sentence": LONG, "next_step": STEP}]},
    ),
}

_COPIED = re.compile(
    r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{64}|[A-Z]{2}-[A-Z]+/\d{4}/\d{6}|(?:\+\d{11,12})\b|[0-9A-Z]{4}(?:-[0-9A-Z]{4}){4}"
    r"|\b[a-z][a-z-]+(?:\.[a-z-]+)*\.(?:de|co|int|ve)\b|https://\S+[0-9]"
)
_END_OF_CLAUSE = re.compile(r"[;,.:)]*(?:\s{2,}|[;,.:)]\s| \(|\n|$)")


def rendered(name: str, columns: int | None) -> str:
    view, document = SCREENS[name]
    page = Page(columns, PROGRAM)
    view(document, page)
    return page.plain()


def commands(text: str) -> list[str]:
    """What a page prints to be typed, as far as it stands on one line."""
    found = []
    for before in text.split(PROGRAM)[1:]:
        end = _END_OF_CLAUSE.search(before)
        found.append(before[: end.start()] if end else before)
    return found


def seen(line: str) -> int:
    return width(line.replace(ISOLATE, "").replace(RELEASE, ""))


def is_one_thing(line: str) -> bool:
    """A command, or one word."""
    said = line.strip()
    return commands(said) == [said.removeprefix(PROGRAM)] if said.startswith(PROGRAM) else " " not in said


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("name", SCREENS)
def test_no_line_is_longer_than_the_window_but_one_that_is_copied_whole(name: str, columns: int) -> None:
    lines = rendered(name, columns).splitlines()
    assert [line for line in lines if seen(line) > columns and not is_one_thing(line)] == []


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("name", SCREENS)
def test_what_is_copied_is_in_one_piece_on_a_narrow_window(name: str, columns: int) -> None:
    wide, narrow = rendered(name, None), rendered(name, columns)
    assert Counter(_COPIED.findall(narrow)) == Counter(_COPIED.findall(wide))
    assert Counter(commands(narrow)) == Counter(commands(wide))


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("name", SCREENS)
def test_a_narrow_window_says_every_word(name: str, columns: int) -> None:
    def words(text: str) -> set[str]:
        return {word.strip(";,.:()") for word in text.split() if word.strip("-")}

    assert words(rendered(name, None)) - words(rendered(name, columns)) == set()


@pytest.mark.parametrize(
    ("said", "command"),
    [
        ("with the root at hand: tocsin keys anchor --root F -o CARD; send it", "keys anchor --root F -o CARD"),
        ("check this machine's clock (tocsin doctor)", "doctor"),
        ("both are listed by tocsin track.", "track"),
        ("type the code: tocsin peer add CARD --code CODE (for bka.de)", "peer add CARD --code CODE"),
        ("take its card: tocsin peer add CARD --code CODE, then again", "peer add CARD --code CODE"),
        ("tocsin peer list shows whom you can send to", "peer list"),
        ("look with `tocsin status` before doing it again", "status"),
        ("tocsin ack 567890ab --accept      or later", "ack 567890ab --accept"),
        ("tocsin post F --to bka.de,ponal.co", "post F --to bka.de,ponal.co"),
    ],
)
def test_a_command_that_is_longer_than_the_window_stands_alone(said: str, command: str) -> None:
    page = Page(MIN_COLUMNS, f"tocsin -D {'/srv/agency' * 5}")
    page.line("Next: ", Ours(said), indent=21)
    lines = page.plain().splitlines()
    assert f"tocsin -D {'/srv/agency' * 5} {command}" in lines
    assert all(seen(line) <= MIN_COLUMNS for line in lines if "tocsin" not in line)


def test_a_command_as_it_was_typed_stands_alone_whatever_the_directory_is_called() -> None:
    again = f"""tocsin post a.json -D '/srv/a; b, (c) '"'"'d' --to bka.de,ponal.co --id {MESSAGE_ID}"""
    page = Page(60, PROGRAM)
    view_error(error_document("node_not_running", "gone", f"run this again, it cannot post twice: {again}"), page)
    assert again in page.plain().splitlines()


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("word", ["x" * 90 + "Telephone:+491711234567", "Telephone" * 20, "\u4e2d" * 90, "a" * 300])
def test_a_peer_s_word_never_reaches_the_next_row_by_itself(word: str, columns: int) -> None:
    page = Page(columns)
    page.line("from ", word)
    page.field("needs", word)
    page.field(word, word)
    page.banner(word)
    page.table(["id", "from", "summary"], [(["1", word, word], ""), ([word, "x", "y"], "")])
    page.paragraph(word)
    page.paragraph(f"{'0' * 64}\n{'a.' * 30}")
    assert max(map(seen, page.plain().splitlines())) <= columns


@given(st.lists(HOSTILE, min_size=3, max_size=3), st.sampled_from(WIDTHS))
def test_a_peer_s_text_stays_within_the_window(texts: list[str], columns: int) -> None:
    page = Page(columns)
    page.line(*texts)
    page.field(*texts)
    page.table(["a", "b", "c"], [(texts, "")])
    page.paragraph(texts[0], indent=2)
    assert [line for line in page.plain().split("\n") if seen(line) > columns and not is_one_thing(line)] == []


@pytest.mark.parametrize("columns", WIDTHS)
def test_what_is_nested_deep_keeps_room_for_words(columns: int) -> None:
    deep: Any = "seen at the bridge\nby two pupils"
    for _ in range(15):
        deep = {"in": [{"which": deep}]}
    page = Page(columns)
    VIEWS["show"]({**SHOWN, "content": {**CONTENT, "ext": deep}}, page)
    lines = page.plain().splitlines()
    assert max(map(seen, lines)) <= max(columns, 66)  # the hash
    assert any("| seen at the" in line for line in lines)


def test_columns_without_room_follow_below_with_their_names() -> None:
    page = Page(40)
    page.table(["id", "from", "state", "summary"], [(["1", "bka.de", "", LONG], ""), (["2", "x" * 30, "NEW", "s"], "")])
    lines = page.plain().splitlines()
    assert lines[0].split() == ["id", "from"]
    assert lines[1].split() == ["1", "bka.de"]
    assert lines[2].startswith("  summary Girl")
    assert lines[-1] == "  state NEW  summary s"


@pytest.mark.parametrize("columns", [60, 80])
def test_an_error_wraps_on_a_terminal_and_its_command_does_not(
    node: RecordedNode, children: Children, columns: int
) -> None:
    node.answers("inbox", {**error_document("wrong_state", LONG, f"to tell them: tocsin note {CASE_ID} -")}, 65)
    status, said = on_a_terminal(children, node.directory, "inbox", environment={"COLUMNS": str(columns)})
    lines = said.decode().splitlines()
    assert status == 65
    assert max(len(line) for line in lines if str(node.directory) not in line) <= columns
    assert any(line.strip().endswith(f"{node.directory} note {CASE_ID} -") for line in lines)


def test_a_list_keeps_to_the_terminal(node: RecordedNode, children: Children) -> None:
    node.answers("inbox", {"v": 1, "messages": [inbox_entry(1, summary=LONG), inbox_entry(2)]})
    status, said = on_a_terminal(
        children, node.directory, "inbox", environment={"COLUMNS": "60", "NO_COLOR": "1", "TERM": "dumb"}
    )
    lines = said.decode().splitlines()
    assert status == 0
    assert max(len(line) for line in lines if str(node.directory) not in line) <= 60
    assert sum(CASE_ID in line for line in lines) == 2


def test_into_a_pipe_each_row_is_one_line() -> None:
    assert len(rendered("sent", None).splitlines()) == 1 + 2 + 2
