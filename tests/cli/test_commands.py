"""What each verb asks of the node, and what it says of the answer."""

from __future__ import annotations

import base64
import io
import json
import os
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from jsonschema import Draft202012Validator

from nodes.cli.invocation import Invocation
from tests.cli.conftest import Operator
from tests.cli.contract import check_document, examples
from tests.cli.recorded import Recorded, RecordedNode
from tests.cli.samples import CASE_ID, CONTENT, MESSAGE_ID, SHOWN, inbox_entry, posted, recipient

EXAMPLES = dict(examples())
PEER = EXAMPLES["peer"]


@pytest.fixture
def alert(tmp_path: Path) -> str:
    path = tmp_path / "alert.json"
    path.write_text(json.dumps(CONTENT, ensure_ascii=False), encoding="utf-8")
    return str(path)


def stdin(monkeypatch: pytest.MonkeyPatch, data: bytes, *, terminal: bool = False) -> None:
    text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8")
    text.isatty = lambda: terminal  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdin", text)


# --- posting


def test_post_sends_the_file_as_it_is_and_an_id_of_its_own(node: RecordedNode, tocsin: Operator, alert: str) -> None:
    node.answers("post", posted(recipient("bka.de", "queued", "connecting")))
    said = tocsin("post", alert, "--to", "bka.de, PONAL.co", "--to", "bka.de", "--json")
    assert said.exit == 0
    check_document("post", said.json)
    asked = node.asked("post")
    assert asked["content"] == Path(alert).read_text(encoding="utf-8")
    assert asked["to"] == ["bka.de", "ponal.co"]
    assert UUID(asked["id"]).version == 4
    assert (asked["explain"], asked["wait_s"], asked["without"], asked["content_base64"]) == (False, 0, [], None)


def test_two_posts_never_share_an_id(node: RecordedNode, tocsin: Operator, alert: str) -> None:
    node.answers("post", posted())
    tocsin("post", alert, "--to", "bka.de")
    tocsin("post", alert, "--to", "bka.de")
    assert len({arguments["id"] for _, arguments in node.requests}) == 2


def test_an_id_given_is_the_id_sent(node: RecordedNode, tocsin: Operator, alert: str) -> None:
    node.answers("post", posted())
    tocsin("post", alert, "--to", "bka.de", "--id", MESSAGE_ID.upper(), "--wait", "2.5")
    assert (node.asked("post")["id"], node.asked("post")["wait_s"]) == (MESSAGE_ID, 2.5)


def test_bytes_that_are_no_text_reach_the_node_unchanged(node: RecordedNode, tocsin: Operator, tmp_path: Path) -> None:
    node.answers("post", posted())
    (tmp_path / "latin1").write_bytes(b"summary: Ni\xf1a")
    tocsin("post", str(tmp_path / "latin1"), "--to", "bka.de")
    asked = node.asked("post")
    assert asked["content"] is None
    assert base64.b64decode(asked["content_base64"]) == b"summary: Ni\xf1a"


def test_standard_input_is_a_file_too(node: RecordedNode, tocsin: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    node.answers("post", posted())
    stdin(monkeypatch, "summary: Niña\n".encode())
    assert tocsin("post", "-", "--to", "bka.de").exit == 0
    assert node.asked("post")["content"] == "summary: Niña\n"


def test_there_are_no_default_recipients(node: RecordedNode, tocsin: Operator, alert: str) -> None:
    node.answers("post", posted())
    assert tocsin("post", alert).exit == 0  # the node knows whether it follows a case, and refuses what does not
    assert node.asked("post")["to"] == []
    node.requests.clear()
    assert tocsin("post", alert, "--to", ",", "--json").exit == 2
    assert node.requests == []


@pytest.mark.parametrize(("verb", "option"), [("cancel", "--reason"), ("resolve", "--outcome")])
def test_a_closing_verb_needs_its_code_or_a_file(
    node: RecordedNode, tocsin: Operator, alert: str, verb: str, option: str
) -> None:
    said = tocsin(verb, CASE_ID, "--json")
    assert (said.exit, said.json["error"]["code"], node.requests) == (2, "usage", [])
    assert option in said.json["error"]["message"]
    node.answers(verb, posted())
    assert tocsin(verb, CASE_ID, alert).exit == 0
    assert node.asked(verb)["content"] == Path(alert).read_text()


def test_explain_posts_nothing(node: RecordedNode, tocsin: Operator, alert: str) -> None:
    node.answers("post", EXAMPLES["explain"])
    said = tocsin("post", alert, "--to", "bka.de", "--explain", "--json")
    check_document("explain", said.json)
    assert node.asked("post")["explain"] is True


def test_an_id_that_is_none_is_a_usage_error(node: RecordedNode, tocsin: Operator, alert: str) -> None:
    assert tocsin("post", alert, "--to", "bka.de", "--id", "17", "--json").exit == 2


def test_a_file_that_is_not_there_or_too_large_is_said_before_the_node_is_asked(
    node: RecordedNode, tocsin: Operator, tmp_path: Path
) -> None:
    said = tocsin("post", str(tmp_path / "nothing"), "--to", "bka.de", "--json")
    assert (said.exit, said.json["error"]["code"]) == (74, "io_error")
    (tmp_path / "huge").write_bytes(b"x" * 2_000_000)
    said = tocsin("post", str(tmp_path / "huge"), "--to", "bka.de", "--json")
    assert (said.exit, said.json["error"]["code"]) == (65, "too_large")
    assert node.requests == []


@pytest.mark.parametrize(
    ("argv", "operation", "arguments"),
    [
        (["cancel", CASE_ID, "--reason", "duplicate"], "cancel", {"reason": "duplicate", "text": None}),
        (["resolve", CASE_ID, "--outcome", "rescued", "--text", "x"], "resolve", {"outcome": "rescued", "text": "x"}),
        (
            ["renew", CASE_ID, "--until", "2026-12-01T00:00:00Z"],
            "renew",
            {"until": "2026-12-01T00:00:00.000Z", "necessity": None},
        ),
        (["note", CASE_ID, "seen again"], "note", {"text": "seen again"}),
    ],
)
def test_a_verb_about_a_case_sends_its_own_words(
    node: RecordedNode, tocsin: Operator, argv: list[str], operation: str, arguments: dict[str, Any]
) -> None:
    node.answers(operation, posted())
    assert tocsin(*argv, "--to", "bka.de", "--without", "fbi.gov").exit == 0
    asked = node.asked(operation)
    assert UUID(asked.pop("id")).version == 4
    assert asked == {"case": CASE_ID, "to": ["bka.de"], "without": ["fbi.gov"], "wait_s": 0, **arguments}


def test_an_update_sends_the_new_state_and_why(node: RecordedNode, tocsin: Operator, alert: str) -> None:
    node.answers("update", posted())
    assert tocsin("update", CASE_ID, alert, "--why", "correction").exit == 0
    asked = node.asked("update")
    assert (asked["case"], asked["why"], asked["to"]) == (CASE_ID, "correction", [])
    assert asked["content"].startswith("{")


def test_a_note_from_standard_input_loses_its_last_line_break_only(
    node: RecordedNode, tocsin: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.answers("note", posted())
    stdin(monkeypatch, b"first\nsecond\n\n")
    tocsin("note", CASE_ID, "-")
    assert node.asked("note")["text"] == "first\nsecond\n"


# --- the screen before a post


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Somebody sits at a terminal; what is put into the list is typed, line by line."""
    typed: list[str] = []
    monkeypatch.setattr(Invocation, "can_ask", property(lambda _: True))
    monkeypatch.setattr(Invocation, "question", lambda _self, _text: typed.pop(0) if typed else "")
    return typed


PREVIEW = {
    **EXAMPLES["explain"],
    "would_send": [{"agency": "bka.de", "allowed": True, "reason": None, "via": [], "view": "full", "size": 1480}],
    "content": CONTENT,
    "expires_at": "2026-11-30T07:12:30.911Z",
}


def test_a_person_sees_what_will_be_posted_and_says_yes(
    node: RecordedNode, tocsin: Operator, alert: str, person: list[str]
) -> None:
    node.answers("preview", PREVIEW)
    node.answers("post", posted())
    person.append("y")
    said = tocsin("post", alert, "--to", "bka.de")
    assert said.exit == 0
    assert CONTENT["summary"] in said.out
    assert [name for name, _ in node.requests] == ["preview", "post"]


def test_what_was_written_in_yaml_is_seen_as_well(
    node: RecordedNode, tocsin: Operator, tmp_path: Path, person: list[str]
) -> None:
    (tmp_path / "alert.yaml").write_text("summary: Girl, 9\nhandling:\n  tlp: AMBER\n")
    node.answers("preview", {name: value for name, value in PREVIEW.items() if name != "content"})
    said = tocsin("post", str(tmp_path / "alert.yaml"), "--to", "bka.de")
    assert "Girl, 9" in said.out
    assert "TLP:AMBER" in said.out


@pytest.mark.parametrize("answer", ["", "n", "yesno"])
def test_anything_but_yes_posts_nothing(
    node: RecordedNode, tocsin: Operator, alert: str, person: list[str], answer: str
) -> None:
    node.answers("preview", PREVIEW)
    person.append(answer)
    assert tocsin("post", alert, "--to", "bka.de").exit == 130
    assert [name for name, _ in node.requests] == ["preview"]


def test_yes_on_the_command_line_asks_nothing(
    node: RecordedNode, tocsin: Operator, alert: str, person: list[str]
) -> None:
    node.answers("post", posted())
    assert tocsin("post", alert, "--to", "bka.de", "--yes").exit == 0
    assert [name for name, _ in node.requests] == ["post"]


def test_what_is_not_allowed_is_refused_by_the_node_without_a_question(
    node: RecordedNode, tocsin: Operator, alert: str, person: list[str]
) -> None:
    node.answers("preview", EXAMPLES["explain"])
    error = {"code": "peer_not_usable", "message": "no", "hint": "", "exit": 77, "problems": []}
    node.answers("post", {"v": 1, "error": error}, 77)
    assert tocsin("post", alert, "--to", "bka.de,interpol.int").exit == 77


# --- reading


def test_the_inbox_is_asked_for_what_was_meant(node: RecordedNode, tocsin: Operator) -> None:
    node.answers("inbox", {"v": 1, "messages": [inbox_entry(1)]})
    said = tocsin("inbox", "--unacknowledged", "--since", "2026-11-23T02:10:00-05:00", "--limit", "5", "--json")
    check_document("inbox", said.json)
    assert node.asked("inbox") == {
        "unacknowledged": True,
        "all": False,
        "since": "2026-11-23T07:10:00.000Z",
        "limit": 5,
    }


def test_show_hands_on_the_document_as_it_came(node: RecordedNode, tocsin: Operator) -> None:
    document = {**SHOWN, "content": {**CONTENT, "x": ["\u202e", "ü", 10**40, 1.5e300, None]}}
    node.answers("show", document)
    assert tocsin("show", "567890ab", "--json").json == document
    assert node.asked("show") == {"id": "567890ab", "displayed": "all"}


def test_json_is_utf_8_and_half_a_surrogate_does_not_end_it(node: RecordedNode, tocsin: Operator) -> None:
    node.answers("show", body=b'{"exit":0,"document":{"v":1,"content":{"a":"\\ud800","b":"\xc3\xbc"}}}')
    assert tocsin("show", "567890ab", "--json").json["content"] == {"a": "\ud800", "b": "ü"}
    node.answers("show", {"v": 1, "content": {"b": "ü"}})
    assert "ü" in tocsin("show", "567890ab", "--json").out


def test_a_peer_s_text_has_no_power_over_the_terminal(node: RecordedNode, tocsin: Operator) -> None:
    hostile = "\x1b[2J\x1b]0;owned\x07\u202egpj.exe\r"
    node.answers("inbox", {"v": 1, "messages": [inbox_entry(1, summary=hostile)]})
    node.answers("show", {**SHOWN, "from": hostile, "content": {**CONTENT, "summary": hostile, hostile: hostile}})
    error = {"code": "unknown_id", "message": hostile, "hint": hostile, "exit": 65, "problems": []}
    node.answers("track", {"v": 1, "error": error}, 65)
    for argv in (["inbox"], ["show", "567890ab"], ["track", "567890ab"]):
        said = tocsin(*argv)
        assert not {"\x1b", "\x07", "\r", "\u202e"}.intersection(said.out + said.err)
        assert "\u241b[2J" in said.out + said.err


def test_watch_says_what_comes(node: RecordedNode, tocsin: Operator) -> None:
    lines = [
        {"v": 1, "event": "watching", "at": "2026-11-23T07:12:31.204Z"},
        {"v": 1, "event": "message", "message": inbox_entry(7, precedence="flash")},
        {"v": 1, "event": "delivery", "message": posted(recipient("bka.de", "opened"))},
    ]
    for line in lines:
        check_document("watch", line)
    node.answers("watch", lines=lines)
    out = tocsin("watch").out
    assert "summary 7" in out
    assert "FLASH" in out
    assert "opened, no decision" in out


@pytest.mark.parametrize(
    ("argv", "level", "cause"),
    [
        (["--accept"], "accepted", None),
        (["--reject", "duplicate_case"], "rejected", "duplicate_case"),
        (["--actioned"], "actioned", None),
    ],
)
def test_ack_sends_one_decision(
    node: RecordedNode, tocsin: Operator, argv: list[str], level: str, cause: str | None
) -> None:
    node.answers("ack", {**EXAMPLES["ack"], "level": level, "cause": cause})
    said = tocsin("ack", "567890ab", *argv, "--text", "on our way", "--officer", "duty-07", "--json")
    check_document("ack", said.json)
    assert node.asked("ack") == {
        "id": "567890ab", "level": level, "cause": cause, "text": "on our way", "officer": "duty-07",
    }  # fmt: skip


@pytest.mark.parametrize("argv", [[], ["--accept", "--actioned"], ["--accept", "--reject", "x"]])
def test_a_decision_is_exactly_one(node: RecordedNode, tocsin: Operator, argv: list[str]) -> None:
    assert tocsin("ack", "567890ab", *argv, "--json").json["error"]["code"] == "usage"
    assert node.requests == []


def test_a_lost_ack_says_that_it_may_be_repeated_and_not_what_was_said(node: RecordedNode, tocsin: Operator) -> None:
    node.answers("ack", lost=True)
    said = tocsin("ack", "567890ab", "--accept", "--text", "the grandmother knows")
    assert said.exit == 69
    assert "grandmother" not in said.err


# --- following


def test_track_for_a_person_asks_why_too_and_for_a_program_does_not(node: RecordedNode, tocsin: Operator) -> None:
    node.answers("track", posted(recipient("bka.de", "stored")))
    node.answers("why", EXAMPLES["why"])
    said = tocsin("track", "567890ab")
    assert EXAMPLES["why"]["recipients"][0]["next_step"].replace("tocsin", tocsin.program) in said.out
    assert [name for name, _ in node.requests] == ["track", "why"]
    node.requests.clear()
    check_document("track", tocsin("track", "567890ab", "--json").json)
    assert [name for name, _ in node.requests] == ["track"]


def test_a_case_is_tracked_message_by_message(node: RecordedNode, tocsin: Operator) -> None:
    document = {
        "v": 1,
        "case_id": CASE_ID,
        "state": "active",
        "originators": [],
        "messages": [posted(recipient("bka.de", "stored")), SHOWN],
    }
    check_document("case", document)
    node.answers("track", document)
    node.answers("why", EXAMPLES["why"])
    said = tocsin("track", CASE_ID)
    assert said.exit == 0
    assert node.asked("why") == {"id": MESSAGE_ID, "to": None}


def test_why_and_resend_name_message_and_recipient(node: RecordedNode, tocsin: Operator) -> None:
    node.answers("why", EXAMPLES["why"])
    node.answers("resend", posted(recipient("bka.de", "queued", "connecting")))
    check_document("why", tocsin("why", "567890ab", "--to", "bka.de", "--json").json)
    check_document("post", tocsin("resend", "567890ab", "--to", "bka.de", "--json").json)
    assert [arguments for _, arguments in node.requests] == [{"id": "567890ab", "to": "bka.de"}] * 2


# --- peers, operators, node


@pytest.fixture
def card(tmp_path: Path) -> str:
    path = tmp_path / "card.tocsin"
    path.write_text("-----BEGIN TOCSIN CARD-----\nAAAA\n-----END TOCSIN CARD-----\n")
    return str(path)


def test_a_peer_is_added_with_the_text_of_its_card(node: RecordedNode, tocsin: Operator, card: str) -> None:
    node.answers("peer_add", PEER)
    said = tocsin("peer", "add", card, "--code", "7kq2 m9xd 4t0a vb3e h6wz", "--json")
    check_document("peer", said.json)
    assert node.asked("peer_add") == {"card": Path(card).read_text(), "code": "7kq2 m9xd 4t0a vb3e h6wz"}


def test_a_person_types_the_code_and_is_never_shown_it(
    node: RecordedNode, tocsin: Operator, card: str, person: list[str]
) -> None:
    trusted = {**PEER, "trust": "trusted", "safety_code": "7KQ2-M9XD-4T0A-VB3E-H6WZ"}
    node.replies["peer_add"] = lambda arguments: Recorded(trusted if arguments["code"] else PEER)
    person.append("7KQ2-M9XD-4T0A-VB3E-H6WZ")
    said = tocsin("peer", "add", card)
    assert [arguments["code"] for _, arguments in node.requests] == [None, "7KQ2-M9XD-4T0A-VB3E-H6WZ"]
    assert "trusted" in said.out
    assert "7KQ2" not in said.err


def test_a_wrong_code_at_the_question_leaves_the_peer_pending_and_says_so(
    node: RecordedNode, tocsin: Operator, card: str, person: list[str]
) -> None:
    wrong = {"v": 1, "error": {"code": "safety_code_mismatch", "message": "m", "hint": "h", "exit": 65, "problems": []}}
    node.replies["peer_add"] = lambda arguments: Recorded(wrong, 65) if arguments["code"] else Recorded(PEER)
    person.append("0000-0000-0000-0000-0000")
    said = tocsin("peer", "add", card)
    assert (said.exit, said.out) == (65, "")
    assert "pending" in said.err.rpartition("error: ")[2]
    for command in (f"{tocsin.program} peer add {card} --code CODE", f"{tocsin.program} peer remove {PEER['agency']}"):
        assert command in said.err


def test_without_a_code_the_peer_stays_pending_and_the_next_step_is_said(
    node: RecordedNode, tocsin: Operator, card: str, person: list[str]
) -> None:
    node.answers("peer_add", PEER)
    said = tocsin("peer", "add", card)
    assert len(node.requests) == 1
    assert said.out.rstrip().splitlines()[-1].startswith("Next: ")


def test_a_card_that_is_no_text_is_no_card(node: RecordedNode, tocsin: Operator, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff")
    said = tocsin("peer", "add", str(tmp_path / "photo.jpg"), "--json")
    assert (said.exit, said.json["error"]["code"]) == (65, "invalid_card")


@pytest.mark.parametrize(
    ("argv", "operation", "arguments"),
    [
        (["show", "bka.de"], "peer_show", {"agency": "bka.de"}),
        (["suspend", "bka.de", "--reason", "stolen"], "peer_suspend", {"agency": "bka.de", "reason": "stolen"}),
        (["resume", "bka.de"], "peer_resume", {"agency": "bka.de"}),
        (["remove", "bka.de"], "peer_remove", {"agency": "bka.de"}),
    ],
)
def test_a_verb_about_a_peer_names_it(
    node: RecordedNode, tocsin: Operator, argv: list[str], operation: str, arguments: dict[str, Any]
) -> None:
    node.answers(operation, PEER)
    check_document("peer", tocsin("peer", *argv, "--json").json)
    assert node.asked(operation) == arguments


def test_a_new_root_is_taken_with_its_code_only(node: RecordedNode, tocsin: Operator, card: str) -> None:
    node.answers("peer_replace", PEER)
    assert tocsin("peer", "replace", "bka.de", card, "--json").exit == 2
    tocsin("peer", "replace", "bka.de", card, "--code", "X")
    assert node.asked("peer_replace") == {"agency": "bka.de", "card": Path(card).read_text(), "code": "X"}


def test_an_operator_is_enrolled_with_its_roles(node: RecordedNode, tocsin: Operator) -> None:
    node.answers("operator_add", EXAMPLES["operator"])
    said = tocsin(
        "operator", "add", "duty-07", "--uid", "1007", "--role", "analyst,Auditor", "--role", "analyst", "--json"
    )
    check_document("operator", said.json)
    assert node.asked("operator_add") == {
        "ref": "duty-07",
        "uid": 1007,
        "roles": ["analyst", "auditor"],
        "program": False,
    }
    assert tocsin("operator", "add", "x", "--uid", "1", "--role", "king", "--json").exit == 2


@pytest.mark.parametrize(
    ("argv", "operation", "document", "arguments"),
    [
        (["peer", "list"], "peer_list", "peer_list", {}),
        (["operator", "list"], "operator_list", "operator_list", {}),
        (["operator", "remove", "duty-07"], "operator_remove", "operator", {"ref": "duty-07"}),
        (["status"], "status", "status", {}),
        (["doctor", "bka.de"], "doctor", "doctor", {"peer": "bka.de"}),
        (["doctor"], "doctor", "doctor", {"peer": None}),
        (["log", "verify"], "log_verify", "log_verify", {}),
        (["log", "reopen", "--reason", "clock"], "log_reopen", "log_reopen", {"reason": "clock"}),
        (["notice", "test"], "notice_test", "notice_test", {}),
        (["keys", "status"], "keys_status", "keys_status", {}),
        (["keys", "rotate"], "keys_rotate", "keys_status", {}),
        (["drafts"], "drafts", "drafts", {}),
        (["drafts", "show", "d001"], "draft_show", "draft", {"draft_id": "d001"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_verb_about_the_node_asks_and_shows(
    node: RecordedNode, tocsin: Operator, argv: list[str], operation: str, document: str, arguments: dict[str, Any]
) -> None:
    node.answers(operation, EXAMPLES[document])
    check_document(document, tocsin(*argv, "--json").json)
    assert node.asked(operation) == arguments
    assert tocsin(*argv).out.strip()


# --- evidence


def test_evidence_is_written_for_its_owner_alone_and_read_back(
    node: RecordedNode, tocsin: Operator, tmp_path: Path
) -> None:
    data = os.urandom(5000)
    extra = {"file_base64": base64.b64encode(data).decode(), "left_out": 2}
    node.answers("evidence_export", {"v": 1, "message_id": MESSAGE_ID}, extra=extra)
    path = tmp_path / "e.tocsin"
    said = tocsin("evidence", "export", "567890ab", "-o", str(path), "--json")
    check_document("evidence_export", said.json)
    assert said.json == {
        "v": 1, "message_id": MESSAGE_ID, "file": str(path), "sha256": sha256(data).hexdigest(), "size": 5000,
    }  # fmt: skip
    assert path.read_bytes() == data
    assert path.stat().st_mode & 0o777 == 0o600
    assert "2 of the acks" in said.err
    assert [entry.name for entry in tmp_path.iterdir() if "e.tocsin" in entry.name] == ["e.tocsin"]


def test_evidence_that_cannot_be_written_is_an_input_output_error(
    node: RecordedNode, tocsin: Operator, tmp_path: Path
) -> None:
    node.answers("evidence_export", {"v": 1}, extra={"file_base64": "AAAA", "left_out": 0})
    said = tocsin("evidence", "export", "567890ab", "-o", str(tmp_path / "no" / "such" / "place"), "--json")
    assert (said.exit, said.json["error"]["code"]) == (74, "io_error")


@pytest.mark.parametrize("extra", [{}, {"file_base64": "!"}, {"file_base64": None}])
def test_an_export_without_a_file_is_our_bug(
    node: RecordedNode, tocsin: Operator, tmp_path: Path, extra: dict[str, Any]
) -> None:
    node.answers("evidence_export", {"v": 1}, extra=extra)
    said = tocsin("evidence", "export", "567890ab", "-o", str(tmp_path / "e"), "--json")
    assert (said.exit, said.json["error"]["code"]) == (70, "internal")
    assert not (tmp_path / "e").exists()


# --- the program itself


def test_version_and_help_need_no_node(tocsin: Operator) -> None:
    check_document("version", tocsin("version", "--json").json)
    assert "--reject" in tocsin("help", "ack").out
    assert "peer" in tocsin("help").out
    assert tocsin("help", "peer", "fly", "--json").exit == 2


@pytest.mark.parametrize(
    "argv", [["fly"], ["peer"], ["peer", "fly"], ["show"], ["status", "--bogus"], ["inbox", "--limit", "0"]]
)
def test_a_usage_error_is_a_document_too(tocsin: Operator, argv: list[str]) -> None:
    said = tocsin(*argv, "--json")
    check_document("error", said.json)
    assert (said.exit, said.json["error"]["code"]) == (2, "usage")
    said = tocsin(*argv)
    assert said.exit == 2
    assert not said.out
    assert said.err


def test_a_misspelt_command_is_told_its_neighbour(tocsin: Operator) -> None:
    assert "'inbox'" in tocsin("inbx").err


def test_our_own_bug_shows_its_place_and_nothing_of_the_case(
    tocsin: Operator, node: RecordedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: object) -> None:
        raise ValueError("the grandmother knows")

    monkeypatch.setattr("nodes.cli.service.view_status", broken)
    node.answers("status", EXAMPLES["status"])
    said = tocsin("status")
    assert said.exit == 70
    assert "Traceback" not in said.err
    assert "grandmother" not in said.err


def test_problems_are_listed_one_a_line_with_path_rule_and_example(
    node: RecordedNode, tocsin: Operator, alert: str
) -> None:
    document = EXAMPLES["error"]
    problem = document["error"]["problems"][0]
    document["error"]["problems"].append({**problem, "path": "", "rule": "required", "example": None})
    node.answers("post", document, 65)
    said = tocsin("post", alert, "--to", "bka.de")
    assert said.exit == 65
    assert not said.out
    lines = said.err.splitlines()
    assert lines[0].startswith("tocsin: error: ")
    assert all(part in lines[1] for part in (problem["path"], problem["rule"], problem["example"]))
    assert "required" in lines[2]
    assert lines[-1].startswith("tocsin: hint: ")


def test_a_program_without_streams_still_ends_as_it_should(node: RecordedNode, children: Any) -> None:
    node.answers("status", EXAMPLES["status"])
    shell = f"'{sys.executable}' -m nodes.cli -D '{node.directory}' status <&- >&- 2>&-"
    assert children.run(["sh", "-c", shell]).returncode == 0
    shell = f"'{sys.executable}' -m nodes.cli -D '{node.directory}/nowhere' status --json <&- >&- 2>&-"
    assert children.run(["sh", "-c", shell]).returncode == 69


def test_who_reads_our_output_may_leave(node: RecordedNode, children: Any) -> None:
    node.answers("inbox", {"v": 1, "messages": [inbox_entry(n) for n in range(2000)]})
    shell = f"'{sys.executable}' -m nodes.cli -D '{node.directory}' inbox | head -1; echo ${{PIPESTATUS[0]}}"
    said = children.run(["bash", "-c", shell])
    assert said.stderr == b""
    assert said.stdout.splitlines()[-1] in (b"0", b"74")  # 0 if it had said everything before the reader left


def test_the_schema_of_a_kind_needs_no_node_and_takes_the_smallest_alert(tocsin: Operator) -> None:
    schema = tocsin("schema", "--json").json
    Draft202012Validator.check_schema(schema)
    assert list(Draft202012Validator(schema).iter_errors(EXAMPLES["alert"])) == []
    assert json.loads(tocsin("schema", "update").out)["properties"]["kind"] == {
        **schema["properties"]["kind"],
        "const": "update",
    }
    assert tocsin("schema", "rumour", "--json").json["error"]["code"] == "usage"


def test_an_empty_code_of_a_peer_is_no_wish_to_wait(node: RecordedNode, tocsin: Operator, tmp_path: Path) -> None:
    (tmp_path / "card").write_text("a card")
    said = tocsin("peer", "add", str(tmp_path / "card"), "--code", "", "--json")
    assert said.json["error"]["code"] == "usage"
    assert not node.requests
