"""What follows an alert: the trees that commands make, update, and what changed from one state to the next."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.alerts import (
    Reference,
    ack_fields,
    build_ack,
    build_cancel,
    build_note,
    build_renew,
    build_resolve,
    build_test,
    complete,
    diff,
    handling_of_case,
    parse_input,
    read_received,
)
from tests.alerts.builders import (
    CASE_ID,
    DAY_MS,
    DEFAULTS,
    EARLIER_ID,
    FOLLOWING,
    MESSAGE_ID,
    NOW,
    SUPERSEDES,
    Tree,
    at,
    changed,
    completed,
    found,
    put,
    smallest,
    updated,
    without,
)

REPLYING = replace(DEFAULTS, references=(replace(SUPERSEDES, role="replies_to", originator="bka.de"),))


def ack(level: str = "accepted", **said: Any) -> Tree:
    fields: Tree = {"cause": None, "officer": "duty-07", "text": None, **said}
    tree = build_ack(message_id=EARLIER_ID, content_sha256="ab" * 32, level=level, at_ms=NOW, **fields)
    return {**tree, "precedence": "flash"}


TREES: dict[str, Tree] = {
    "update": updated(),
    "cancel": build_cancel("false_report"),
    "resolve": build_resolve("found_safe"),
    "renew": build_renew(at(NOW + 20 * DAY_MS)),
    "note": build_note("seen at the bridge at 03:40"),
    "ack": ack(),
    "test": build_test("line test"),
}


def defaults_of(kind: str) -> Any:
    return FOLLOWING if kind in ("update", "cancel", "resolve", "renew") else REPLYING


@pytest.mark.parametrize("kind", TREES)
def test_what_a_command_makes_completes_and_is_read_the_same(kind: str) -> None:
    defaults = replace(defaults_of(kind), precedence="flash")
    done = complete(TREES[kind], defaults)
    assert done.headline.kind == kind
    assert done.headline.case_id == CASE_ID
    assert done.headline.summary
    received = read_received(done.content)
    assert (received.document, received.headline) == (done.document, done.headline)


@pytest.mark.parametrize("kind", ["cancel", "resolve", "renew", "note", "ack", "test"])
def test_what_follows_repeats_nothing_of_the_case(kind: str) -> None:
    document = complete(TREES[kind], replace(defaults_of(kind), precedence="flash")).document
    assert not {"incident", "persons", "locations", "requested_actions", "grading", "narrative"} & set(document)


@pytest.mark.parametrize("kind", ["update", "cancel", "resolve", "renew"])
def test_what_moves_a_case_names_the_one_message_it_supersedes(kind: str) -> None:
    done = complete(TREES[kind], FOLLOWING)
    assert done.headline.supersedes == EARLIER_ID
    assert done.headline.revision == 2
    assert done.document["references"] == [
        {
            "role": "supersedes",
            "message_id": EARLIER_ID,
            "originator": "ponal.co",
            "sent_at": at(NOW - 3_600_000),
            "sha256": "ab" * 32,
        }
    ]
    lonely = replace(FOLLOWING, references=())
    assert ("/references", "supersedes") in found(TREES[kind], lonely)
    twice = replace(FOLLOWING, references=(SUPERSEDES, replace(SUPERSEDES, message_id=MESSAGE_ID)))
    assert ("/references", "supersedes") in found(TREES[kind], twice)


@pytest.mark.parametrize("kind", ["note", "ack", "test"])
def test_what_moves_no_case_supersedes_nothing(kind: str) -> None:
    assert ("/references/0/role", "supersedes") in found(TREES[kind], replace(FOLLOWING, precedence="flash"))


def test_an_analyst_may_point_at_further_messages() -> None:
    own = {"role": "related", "message_id": MESSAGE_ID, "originator": "bka.de", "sent_at": at(NOW), "sha256": "cd" * 32}
    document = complete({**updated(), "references": [own]}, FOLLOWING).document
    assert [reference["role"] for reference in document["references"]] == ["supersedes", "related"]


# --- precedence and handling of the case ------------------------------------------------------------------------------


def test_what_follows_goes_as_fast_as_its_case_unless_it_says_otherwise() -> None:
    assert complete(build_cancel("tactical"), FOLLOWING).document["precedence"] == "immediate"
    assert complete({**build_cancel("tactical"), "precedence": "routine"}, FOLLOWING).headline.precedence == "routine"
    assert found(build_cancel("tactical"), replace(FOLLOWING, precedence=None)) == {("/precedence", "required")}


def test_an_alert_never_takes_the_precedence_of_another() -> None:
    tree = changed(without("/precedence"))
    assert found(tree, replace(DEFAULTS, precedence="flash")) == {("/precedence", "required")}


def test_the_handling_of_the_case_is_taken_over_and_marked() -> None:
    case = completed(changed(put("/handling/caveats", ["NATIONAL_EYES_ONLY"]))).document
    defaults = replace(FOLLOWING, handling=case["handling"], transfer_basis=case["transfer_basis"])
    done = complete(build_resolve("rescued"), defaults)
    assert done.document["handling"] == case["handling"]
    assert done.document["transfer_basis"] == "vital_interests"
    assert {"/handling", "/transfer_basis"} <= set(done.defaulted)
    assert done.headline.tlp == "AMBER"


@pytest.mark.parametrize("typed", [False, True], ids=["filled in by the node", "typed by an analyst"])
def test_a_case_can_be_cancelled_when_the_retention_of_its_alert_is_over(typed: bool) -> None:
    """Renewed again and again, an alert may be acted on longer than its first copy was to be kept."""
    tree = smallest()
    if typed:
        tree["handling"]["retain_until"] = at(DEFAULTS.now_ms + 10 * DAY_MS)
    alert = json.loads(completed(tree).content)
    later = DEFAULTS.now_ms + 60 * DAY_MS

    handling = handling_of_case(alert, later)
    cancel = complete(
        {"kind": "cancel", **build_cancel("false_report", None)}, replace(FOLLOWING, now_ms=later, handling=handling)
    )

    assert json.loads(cancel.content)["handling"]["tlp"] == alert["handling"]["tlp"]


def test_a_retention_that_an_analyst_chose_is_handed_on() -> None:
    tree = smallest()
    tree["handling"]["retain_until"] = chosen = at(DEFAULTS.now_ms + 10 * DAY_MS)
    handling = handling_of_case(json.loads(completed(tree).content), DEFAULTS.now_ms)
    assert handling is not None
    assert handling["retain_until"] == chosen
    assert handling["review_at"] > chosen


def test_a_note_with_handling_of_its_own_keeps_it() -> None:
    case = completed().document["handling"]
    own = {**case, "tlp": "RED"}
    defaults = replace(FOLLOWING, references=(), handling=case, transfer_basis="adequacy")
    document = complete({**build_note("x"), "handling": own}, defaults).document
    assert document["handling"]["tlp"] == "RED"
    assert "transfer_basis" not in document


# --- each kind --------------------------------------------------------------------------------------------------------


def test_a_cancel_stops_action_unless_it_asks_for_more() -> None:
    done = complete(build_cancel("error_in_alert", "wrong plate"), FOLLOWING)
    assert (done.document["recipients_must"], done.document["text"]) == ("stop_action", "wrong plate")
    assert "/recipients_must" in done.defaulted
    assert complete(build_cancel("tactical", None, "erase"), FOLLOWING).document["recipients_must"] == "erase"


@pytest.mark.parametrize(("reason", "rule"), [(None, "required"), ("false_alarm", "unknown_code"), ("", "blank")])
def test_a_cancel_has_a_reason_of_the_list(reason: str | None, rule: str) -> None:
    assert found(build_cancel(reason), FOLLOWING) == {("/reason", rule)}


def test_a_resolve_stands_down_now_unless_it_says_otherwise() -> None:
    done = complete(build_resolve("rescued", "two arrests"), FOLLOWING)
    assert done.document["outcome_at"] == at(NOW)
    assert done.document["stand_down"] is True
    earlier = build_resolve("rescued", outcome_at=at(NOW - 1), victims=[{"ref": "p1", "status": "found_safe"}])
    assert complete(earlier, FOLLOWING).document["outcome_at"] == at(NOW - 1)
    assert complete({**earlier, "stand_down": "no"}, FOLLOWING).document["stand_down"] is False


@pytest.mark.parametrize(("outcome", "rule"), [(None, "required"), ("saved", "unknown_code")])
def test_a_resolve_has_an_outcome_of_the_list(outcome: str | None, rule: str) -> None:
    assert found(build_resolve(outcome), FOLLOWING) == {("/outcome", rule)}


@pytest.mark.parametrize(
    ("until", "rule"),
    [
        (None, "required"),
        ("7d", "rfc3339_offset"),
        (at(NOW), "expires_before_sent"),
        (at(NOW + 31 * DAY_MS), "expires_too_late"),
    ],
)
def test_a_renewal_is_for_thirty_days_at_most(until: str | None, rule: str) -> None:
    assert found(build_renew(until, "still held"), FOLLOWING) == {("/expires_at", rule)}
    assert complete(build_renew(at(NOW + 30 * DAY_MS)), FOLLOWING).headline.expires_at_ms == NOW + 30 * DAY_MS


@pytest.mark.parametrize(("text", "rule"), [(None, "required"), (" ", "blank"), ("x" * 2_001, "too_long")])
def test_a_note_has_a_text_of_two_thousand_characters_at_most(text: str | None, rule: str) -> None:
    assert found(build_note(text), FOLLOWING) >= {("/text", rule)}


def test_a_long_note_is_cut_in_the_headline_only() -> None:
    done = complete(build_note("word\n" * 400), replace(FOLLOWING, references=()))
    assert len(done.headline.summary) == 280
    assert done.headline.summary.startswith("word word")
    assert done.document["text"] == "word\n" * 400


def test_an_ack_says_all_that_was_and_was_not_said() -> None:
    done = complete(ack("rejected", cause="duplicate_case", text="ours since Monday"), REPLYING)
    assert done.document["ack"] == {
        "message_id": EARLIER_ID,
        "content_sha256": "ab" * 32,
        "level": "rejected",
        "cause": "duplicate_case",
        "officer": "duty-07",
        "at": at(NOW),
        "text": "ours since Monday",
    }
    assert complete(ack("opened"), REPLYING).document["ack"]["cause"] is None
    fields = ack_fields(read_received(done.content).document)
    assert (fields.message_id, fields.level, fields.cause, fields.at_ms) == (
        EARLIER_ID,
        "rejected",
        "duplicate_case",
        NOW,
    )
    assert (fields.officer, fields.text, fields.content_sha256) == ("duty-07", "ours since Monday", "ab" * 32)
    assert done.headline.replies_to == EARLIER_ID
    assert "ext" not in done.document


@pytest.mark.parametrize(
    "cause", ["duplicate_case", "conflicting_alert", "refused_by_officer", "not_competent", "identity_mismatch"]
)
def test_a_rejection_takes_a_reason_of_either_list(cause: str) -> None:
    assert found(ack("rejected", cause=cause), REPLYING) == set()


@pytest.mark.parametrize(
    ("tree", "path", "rule"),
    [
        (ack("rejected"), "/ack/cause", "required"),
        (ack("rejected", cause="no time"), "/ack/cause", "unknown_code"),
        (ack("delighted"), "/ack/level", "unknown_code"),
        (ack(text="x" * 2_001), "/ack/text", "too_long"),
    ],
)
def test_an_ack_that_says_nothing_usable_is_not_sent(tree: Tree, path: str, rule: str) -> None:
    assert found(tree, REPLYING) == {(path, rule)}


def test_an_ack_can_answer_a_status_of_a_later_version() -> None:
    assert complete({**ack(), "status": "rehearsal"}, REPLYING).headline.status == "rehearsal"


def test_a_test_says_that_it_is_one() -> None:
    done = complete(build_test("line test", "n-1"), DEFAULTS)
    assert (done.headline.status, done.document["nonce"]) == ("test", "n-1")
    assert "ext" not in done.document


def test_an_update_says_why_and_what_changed() -> None:
    assert found(changed(without("/why"), updated()), FOLLOWING) == {("/why", "required")}
    assert found(changed(without("/changed"), updated()), FOLLOWING) == {("/changed", "required")}
    assert found(changed(put("/why", "whim"), updated()), FOLLOWING) == {("/why", "unknown_code")}
    assert found(changed(put("/changed", ["persons"]), updated()), FOLLOWING) == {("/changed/0", "json_pointer")}
    assert found(changed(without("/persons"), updated()), FOLLOWING) >= {("/persons", "required")}


@pytest.mark.parametrize(
    ("why", "action", "suspended"),
    [("status_change", "none", True), ("status_change", "look_out", False), ("new_fact", "none", False)],
)
def test_a_case_is_suspended_by_an_update_that_asks_for_nothing(why: str, action: str, suspended: bool) -> None:
    tree = {**updated(), "why": why, "requested_actions": [{"action": action}]}
    assert complete(tree, FOLLOWING).headline.suspended is suspended


def test_the_last_state_can_be_edited_and_sent_as_an_update() -> None:
    state = completed()
    tree = parse_input(state.content)
    tree["summary"] = "Girl, 9, seen at the bridge"
    tree.update(kind="update", why="new_fact", changed=diff(state.document, tree))
    done = complete(tree, FOLLOWING)
    assert done.document["changed"] == ["/summary"]
    assert done.headline.revision == 2
    assert parse_input(done.content)["summary"] == "Girl, 9, seen at the bridge"


# --- what changed -----------------------------------------------------------------------------------------------------


def test_nothing_changed_between_a_document_and_what_it_was_made_of() -> None:
    done = completed()
    assert diff(done.document, done.document) == []
    assert diff(done.document, smallest()) == []
    assert diff(done.document, updated()) == []
    assert diff(done.document, {**updated(), "expires_at": None}) == []


def test_text_of_yaml_is_no_change_of_a_number() -> None:
    tree = smallest()
    tree["persons"][0]["age"] = {"min": "9", "max": "9"}
    tree["incident"]["risk"]["life_at_risk"] = "true"
    assert diff(completed().document, tree) == []


@pytest.mark.parametrize(
    ("tree", "pointers"),
    [
        (changed(put("/summary", "x")), ["/summary"]),
        (changed(put("/incident/phase", "negotiation")), ["/incident/phase"]),
        (changed(put("/persons/0/age/max", 10)), ["/persons/0/age/max"]),
        (changed(without("/persons/0/names")), ["/persons/0/names"]),
        (changed(put("/vehicles", [{"id": "v1", "kind": "van"}])), ["/vehicles"]),
        (changed(put("/handling/h", ["H0", "H2"])), ["/handling/h/1"]),
        (changed(put("/incident/risk/reasons", [])), ["/incident/risk/reasons"]),
        (changed(put("/ext", {"example": 1})), []),
        (changed(put("/handling/onward", {"allowed": "none"})), ["/handling/onward/allowed"]),
    ],
)
def test_what_is_new_different_or_gone_is_pointed_at(tree: Tree, pointers: list[str]) -> None:
    assert diff(completed().document, tree) == pointers


def test_entries_are_known_by_their_id_wherever_they_stand() -> None:
    old = {"persons": [{"id": "p1", "x": 1}, {"id": "p2", "x": 1}, {"id": "p3", "x": 1}]}
    new = {"persons": [{"id": "p4", "x": 1}, {"id": "p3", "x": 2}, {"id": "p1", "x": 1}]}
    assert diff(old, new) == ["/persons", "/persons/0", "/persons/1/x"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=4), JSON, max_size=4), st.dictionaries(st.text(max_size=4), JSON, max_size=4))
def test_any_two_trees_can_be_compared_and_none_differs_from_itself(old: Tree, new: Tree) -> None:
    assert diff(old, old) == []
    pointers = diff(old, new)
    assert pointers == sorted(set(pointers))


def test_a_reference_names_what_it_points_at_to_the_millisecond() -> None:
    reference = Reference("related", EARLIER_ID, "bka.de", 1_795_417_800_123, "ef" * 32)
    document = complete(build_note("x"), replace(FOLLOWING, references=(reference,))).document
    assert document["references"][0]["sent_at"] == "2026-11-23T07:10:00.123Z"
    assert json.loads(complete(build_note("x"), replace(FOLLOWING, references=(reference,))).content) == document
