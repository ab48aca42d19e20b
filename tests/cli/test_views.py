"""Screens: the order in which things are read, what stands apart, and that no document can break them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.cli.page import Page
from nodes.cli.views.cases import view_case, view_case_tracked
from nodes.cli.views.delivery import view_confirm, view_explained, view_posted, view_sent, view_track, view_why
from nodes.cli.views.drafts import view_draft, view_drafts
from nodes.cli.views.evidence import view_exported, view_verified
from nodes.cli.views.inbox import view_ack, view_arrival, view_inbox
from nodes.cli.views.message import next_command, view_message
from nodes.cli.views.peers import view_operators, view_peer, view_peers
from nodes.cli.views.service import view_checks, view_keys, view_log, view_notice, view_status
from tests.cli.contract import check_document, examples
from tests.cli.samples import CONTENT, MESSAGE_ID, SHOWN, SUPERSEDING_ID, inbox_entry, posted, recipient
from tests.cli.test_text import HOSTILE, assert_harmless

View = Callable[[dict[str, Any], Page], object]

VIEWS: dict[str, View] = {
    "ack": view_ack,
    "case": view_case,
    "doctor": view_checks,
    "draft": view_draft,
    "drafts": view_drafts,
    "evidence_export": view_exported,
    "evidence_verify": view_verified,
    "explain": view_explained,
    "inbox": view_inbox,
    "keys_status": view_keys,
    "log_verify": view_log,
    "notice_test": view_notice,
    "operator": view_operators,
    "operator_list": view_operators,
    "peer": view_peer,
    "peer_list": view_peers,
    "post": view_posted,
    "sent": view_sent,
    "show": view_message,
    "status": view_status,
    "track": view_track,
    "watch": view_arrival,
    "why": view_why,
}


def page_of(view: View, document: dict[str, Any]) -> str:
    page = Page(None)
    view(document, page)
    return page.plain()


def places(text: str, *words: str) -> list[int]:
    for word in words:
        assert word in text, word
    return [text.index(word) for word in words]


def test_a_message_is_read_in_the_order_in_which_it_matters() -> None:
    text = page_of(view_message, SHOWN)
    found = places(
        text,
        "FLASH",  # precedence
        "DO NOT CALL THE FAMILY",  # what must not be done
        "LIFE AT RISK",
        CONTENT["summary"],
        "Lucía Pérez, 9 years",  # who
        "without it: FATAL",
        "Cúcuta",  # where
        "2026-11-23 02:10 there",  # when
        "ABC12? CO (partial)",  # vehicle
        "We are asked to",
        "2026-11-23 12:00",  # by when
        "+576015159000",  # whom to telephone
        "Handling",
        "you may",
        "Everything in it",
        "Next: ",
    )
    assert found == sorted(found)


def test_the_last_line_is_the_next_command() -> None:
    last = page_of(view_message, SHOWN).rstrip().splitlines()[-1]
    assert last.startswith(f"Next: tocsin ack {MESSAGE_ID[-8:]} --accept")


@pytest.mark.parametrize(
    ("more", "command"),
    [
        ({"direction": "out"}, f"tocsin track {MESSAGE_ID[-8:]}"),
        ({"decision": "accepted"}, f"tocsin ack {MESSAGE_ID[-8:]} --actioned"),
        ({"decision": "rejected"}, "tocsin show CO-PONAL/2026/000017"),
        ({"superseded_by": SUPERSEDING_ID}, f"tocsin show {SUPERSEDING_ID[-8:]}"),
    ],
)
def test_the_next_command_is_what_brings_the_message_forward(more: dict[str, Any], command: str) -> None:
    assert next_command({**SHOWN, **more}) == command


def test_the_victim_stands_before_everybody_else() -> None:
    lines = page_of(view_message, SHOWN).splitlines()
    victim = next(number for number, line in enumerate(lines) if line.startswith("victim"))
    suspect = next(number for number, line in enumerate(lines) if line.startswith("suspect"))
    assert victim < suspect


def test_an_exercise_says_so_before_its_first_word() -> None:
    exercise = {**SHOWN, "content": {**CONTENT, "status": "exercise"}}
    assert "EXERCISE" in page_of(view_message, exercise).splitlines()[0]
    assert "EXERCISE" not in page_of(view_message, SHOWN)


def test_a_position_is_read_latitude_first() -> None:
    assert "7.9, -72.5 (lat, lon)" in page_of(view_message, SHOWN)


def test_what_this_version_does_not_know_is_shown_as_it_came() -> None:
    content = {**CONTENT, "warnings": ["laser_eyes"], "handling": {"caveats": ["BRAND_NEW"], "tlp": "ULTRAVIOLET"}}
    text = page_of(view_message, {**SHOWN, "content": content})
    assert "LASER EYES" in text
    assert "BRAND NEW" in text
    assert "TLP:ULTRAVIOLET" in text
    assert "unheard_of: kept, 7" in text


def test_every_scalar_of_a_document_is_somewhere_on_its_page() -> None:
    def scalars(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [scalar for inner in value.values() for scalar in scalars(inner)]
        if isinstance(value, list):
            return [scalar for inner in value for scalar in scalars(inner)]
        return [value] if isinstance(value, str) and "T" not in value else []

    text = page_of(view_message, SHOWN)
    assert [scalar for scalar in scalars(CONTENT) if scalar not in text] == []


@pytest.mark.parametrize(
    ("kind", "more", "first", "words"),
    [
        ("cancel", {"reason": "duplicate", "recipients_must": "stop_action"}, "CALLED OFF", "stop action"),
        ("resolve", {"outcome": "rescued", "stand_down": True}, "CLOSED", "STAND DOWN"),
        ("renew", {"expires_at": "2026-12-01T00:00:00Z", "necessity": "still held"}, "RENEW", "still held"),
        ("note", {"text": "seen at the bridge"}, "NOTE", "seen at the bridge"),
    ],
)
def test_what_follows_an_alert_says_what_it_changes_first(
    kind: str, more: dict[str, Any], first: str, words: str
) -> None:
    content = {"kind": kind, "status": "actual", "originator": CONTENT["originator"], **more}
    text = page_of(view_message, {**SHOWN, "kind": kind, "content": content})
    assert places(text, first, words) == sorted(places(text, first, words))
    assert text.index(words) < text.index("Telephone") < text.index("Everything in it")


def test_the_language_asked_for_is_told_first() -> None:
    def told(language: str | None) -> str:
        page = Page(None)
        view_message(SHOWN, page, language=language)
        return page.plain()

    assert places(told("es-CO"), "La vieron", "Seen by") == sorted(places(told("es-CO"), "La vieron", "Seen by"))
    assert places(told(None), "Seen by", "La vieron") == sorted(places(told(None), "Seen by", "La vieron"))


def test_an_erased_message_still_says_what_it_was() -> None:
    text = page_of(view_message, {**SHOWN, "content": None})
    assert MESSAGE_ID in text
    assert "ponal.co" in text


def test_the_inbox_puts_flash_first_and_keeps_the_order_of_time_otherwise() -> None:
    entries = [inbox_entry(1), inbox_entry(2, precedence="urgent"), inbox_entry(3, precedence="flash"), inbox_entry(4)]
    text = page_of(view_inbox, {"v": 1, "messages": entries})
    found = places(text, "summary 3", "summary 1", "summary 2", "summary 4")
    assert found == sorted(found)
    assert text.rstrip().splitlines()[-1].endswith("tocsin show 00000003")


def test_exercise_and_test_never_stand_among_what_is_actual() -> None:
    entries = [
        inbox_entry(1, status="exercise", precedence="flash"),
        inbox_entry(2),
        inbox_entry(3, status="test"),
        inbox_entry(4),
    ]
    text = page_of(view_inbox, {"v": 1, "messages": entries})
    found = places(text, "summary 2", "summary 4", "EXERCISE", "summary 1", "TEST", "summary 3")
    assert found == sorted(found)


def test_a_narrowed_inbox_does_not_count_for_the_whole() -> None:
    entries = [inbox_entry(1), inbox_entry(2, status="exercise"), inbox_entry(3, decision="accepted")]
    whole, part = Page(None), Page(None)
    view_inbox({"v": 1, "messages": entries}, whole)
    view_inbox({"v": 1, "messages": entries}, part, narrowed=True)
    assert whole.plain().rstrip().splitlines()[-1].startswith("2 not decided. Next: tocsin show 00000001")
    assert part.plain().rstrip().splitlines()[-1].startswith("2 of those listed")


def test_status_counts_what_the_inbox_lists() -> None:
    document = copy.deepcopy(next(document for name, document in examples() if name == "status"))
    document["inbound"] = {"unopened": 27, "undecided": 27, "listed": {"unopened": 0, "undecided": 0}}
    text = page_of(view_status, document)
    assert "27 not" not in text
    assert "tocsin inbox" not in text
    document["inbound"]["listed"] = None
    assert "27 not decided" in page_of(view_status, document)


def test_track_names_who_has_not_looked_and_what_to_do() -> None:
    document = posted(recipient("bka.de", "opened", officer="duty-07"), recipient("interpol.int", "stored"))
    check_document("post", document)
    page = Page(None)
    view_track(document, page, {"interpol.int": ("Nobody has opened it yet.", "call +33472447000")})
    text = page.plain()
    assert places(text, "duty-07", "Has not looked", "+33472447000")
    assert "bka.de" not in text[text.index("Has not looked") : text.index("Receipts")]


def test_a_case_called_off_asks_who_read_that_and_not_who_read_the_alert() -> None:
    alert = posted(recipient("bka.de", "stored"))
    cancel = {**posted(recipient("bka.de", "stored")), "kind": "cancel", "message_id": SUPERSEDING_ID}
    page = Page(None)
    view_case_tracked({"v": 1, "case_id": "CO/1", "state": "cancelled", "messages": [alert, cancel]}, page)
    text = page.plain()
    assert text.count("Has not looked") == 1
    assert text.index("Has not looked") > text.index(SUPERSEDING_ID)


@pytest.mark.parametrize("state", ["refused", "expired"])
def test_a_post_that_somebody_will_not_get_leads_to_why(state: str) -> None:
    text = page_of(view_posted, posted(recipient("bka.de", "stored"), recipient("ponal.co", state)))
    assert "tocsin why" in text.splitlines()[-1]


@pytest.mark.parametrize(("reason", "command"), [("peer_suspended", "why"), ("peer_pending", "why"), (None, "track")])
def test_a_post_that_nobody_carries_out_leads_to_why(reason: str | None, command: str) -> None:
    text = page_of(view_posted, posted({**recipient("bka.de", "queued"), "reason": reason}))
    assert f"tocsin {command}" in text.splitlines()[-1]


@pytest.mark.parametrize(("queued", "told"), [(2, True), (0, False)])
def test_a_removed_peer_leads_to_what_waited_for_it(queued: int, told: bool) -> None:
    peer = {**next(document for name, document in examples() if name == "peer"), "trust": "removed", "queued": queued}
    assert ("tocsin sent --waiting" in page_of(view_peer, peer)) is told


def test_a_list_that_was_narrowed_to_nothing_does_not_say_that_nothing_was_posted() -> None:
    def last(**narrowed: Any) -> str:
        page = Page(None)
        view_sent({"v": 1, "messages": []}, page, **narrowed)
        return page.plain().splitlines()[-1]

    assert last().endswith("tocsin post F --to AGENCY")
    assert last(waiting=True).endswith("tocsin sent")
    assert last(since="2026-11-23T07:12:30.911Z").endswith("tocsin sent")


def test_the_confirm_screen_says_to_whom_what_and_until_when() -> None:
    preview = {
        **posted(),
        "would_send": [{"agency": "bka.de", "allowed": True, "reason": None, "via": [], "view": "full", "size": 1480}],
        "defaulted": ["/purpose"],
        "names": {"bka.de": "Bundeskriminalamt"},
        "expires_at": "2026-11-30T07:12:30.911Z",
    }
    page = Page(None)
    view_confirm(preview, CONTENT, page)
    places(
        page.plain(), CONTENT["summary"], "TLP:AMBER", "stop, and protect", "2026-11-30", "bka.de", "Bundeskriminalamt"
    )


def test_evidence_says_first_what_it_proves_and_in_the_same_line_under_which_condition() -> None:
    document = next(document for name, document in examples() if name == "evidence_verify")
    lines = page_of(view_verified, document).splitlines()
    assert lines[0].startswith("PROVED, if ")
    assert "7KQ2-M9XD-4T0A-VB3E-H6WZ" in lines[0]


@pytest.mark.parametrize(
    ("verdict", "reason", "said"),
    [("contradicted", "wrong_key", "CONTRADICTED"), ("not_proved", "content_mismatch", "NOT PROVED")],
)
def test_what_is_not_proved_begins_with_its_verdict_and_has_no_condition(verdict: str, reason: str, said: str) -> None:
    document = next(document for name, document in examples() if name == "evidence_verify")
    claims = [{**claim, "result": verdict, "reason": reason} for claim in document["claims"]]
    text = page_of(view_verified, {**document, "verdict": verdict, "claims": claims})
    assert text.startswith(f"{said}: {reason.replace('_', ' ')}\n")
    assert "7KQ2-M9XD-4T0A-VB3E-H6WZ" in text  # which code is in the file is what a telephone call compares
    assert "if the safety code" not in text


def test_a_case_shows_in_full_only_what_still_stands() -> None:
    old = {**SHOWN, "superseded_by": SUPERSEDING_ID}
    new = {**SHOWN, "message_id": SUPERSEDING_ID, "kind": "update", "revision": 2}
    text = page_of(view_case, {"v": 1, "case_id": SHOWN["case_id"], "state": "active", "messages": [old, new]})
    assert text.count("We are asked to") == 1
    assert MESSAGE_ID[-8:] in text


@pytest.mark.parametrize(
    ("name", "document"), [pair for pair in examples() if pair[0] in VIEWS], ids=lambda pair: str(pair)[:20]
)
def test_a_screen_shows_what_its_document_says(name: str, document: dict[str, Any]) -> None:
    assert page_of(VIEWS[name], document).strip()


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | HOSTILE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(HOSTILE, inner, max_size=3),
    max_leaves=8,
)


def mutated(document: dict[str, Any], path: list[int], value: Any) -> dict[str, Any]:
    """The document with something else at a place that `path` chooses."""
    changed = copy.deepcopy(document)
    inner: Any = changed
    for number, choice in enumerate(path):
        keys: list[Any] = sorted(inner) if isinstance(inner, dict) else list(range(len(inner)))
        if not keys:
            break
        key = keys[choice % len(keys)]
        if number == len(path) - 1 or not isinstance(inner[key], dict | list):
            inner[key] = value
            break
        inner = inner[key]
    return changed


@pytest.mark.parametrize("name", VIEWS)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=5), JSON)
def test_no_document_breaks_a_screen_or_reaches_the_terminal(name: str, path: list[int], value: Any) -> None:
    example = {"show": SHOWN, "inbox": {"v": 1, "messages": [inbox_entry(1)]}}.get(name)
    document = example or next((d for n, d in examples() if n == name), posted(recipient("bka.de", "stored")))
    for line in page_of(VIEWS[name], mutated(document, path, value)).splitlines():
        assert_harmless(line)


@given(JSON)
def test_content_of_any_shape_is_shown(content: Any) -> None:
    for line in page_of(view_message, {**SHOWN, "content": content}).splitlines():
        assert_harmless(line)
    page_of(view_case_tracked, {"v": 1, "messages": content})


@pytest.mark.parametrize(
    "content",
    [
        {"persons": [{"roles": ["\x1b[2J\u202e"], "names": [{"full": "x"}]}]},
        {"locations": [{"role": "\x1b[2J\u202e", "country": "CO"}]},
        {"handling": {"h": ["\x1b[2J\u202e"]}},
    ],
    ids=lambda content: next(iter(content)),
)
def test_a_code_that_a_peer_made_up_is_escaped_where_it_stands_as_a_label(content: dict[str, Any]) -> None:
    text = page_of(view_message, {**SHOWN, "content": content})
    assert "\u241b[2J<U+202E>" in text
    for line in text.splitlines():
        assert_harmless(line)


FORGED = "seen at the bridge\n\nTelephone\n  +491711234567  Bundeskriminalamt\r\nHandling"


@pytest.mark.parametrize("columns", [None, 40])
@pytest.mark.parametrize(
    "content",
    [
        {**CONTENT, "kind": "note", "text": FORGED},
        {**CONTENT, "narrative": [{"lang": "en", "text": FORGED}]},
        {**CONTENT, "x_habit": {"inner": FORGED}},
        {**CONTENT, "text": "word " * 40 + "\nTelephone"},
        {**CONTENT, "summary": FORGED},
    ],
    ids=["note", "account", "unknown field", "wrapped", "summary"],
)
def test_the_lines_that_a_peer_wrote_cannot_pass_for_parts_of_the_screen(
    content: dict[str, Any], columns: int | None
) -> None:
    page = Page(columns)
    view_message({**SHOWN, "content": content}, page)
    lines = page.plain().splitlines()
    assert lines.count("Telephone") == 1
    assert lines.count("Handling") == (1 if "handling" in content else 0)
    assert any(line.strip() == "| Telephone" for line in lines)
    assert not any("+491711234567" in line and not line.lstrip().startswith("| ") for line in lines)
    assert not any(line.startswith(("word", "seen at")) for line in lines)


def test_a_draft_is_printed_as_it_was_typed() -> None:
    draft = {"v": 1, "draft_id": MESSAGE_ID, "kind": "alert", "by": "duty-07", "updated_at": None, "text": "a:\n  b: 1"}
    assert page_of(view_draft, draft) == "a:\n  b: 1\n"
