"""What a peer sent is read as it came, or refused; no bytes can do anything else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exchange.alerts import InvalidAlert, ack_fields, build_ack, complete, read_received, unsupported_handling
from tests.alerts.builders import (
    DEFAULTS,
    EARLIER_ID,
    EXAMPLES,
    FOLLOWING,
    NOW,
    Tree,
    at,
    changed,
    completed,
    put,
    updated,
    without,
)


def document() -> Tree:
    found: Tree = json.loads(completed().content)
    return found


def sent(tree: Any) -> bytes:
    return json.dumps(tree, ensure_ascii=False).encode()


def found(content: bytes) -> set[tuple[str, str]]:
    with pytest.raises(InvalidAlert) as caught:
        read_received(content)
    return {(problem.path, problem.rule) for problem in caught.value.problems}


def test_unknown_fields_and_codes_are_kept_as_they_came() -> None:
    tree = document()
    tree["of_a_later_version"] = {"deep": [1, None, {"x": "y"}]}
    tree["incident"]["type"] = "code_of_a_later_version"
    tree["incident"]["weather"] = "fog"
    tree["persons"][0]["roles"] = ["victim", "new_role"]
    tree["persons"][0]["description"] = {"hair": {"value": "iridescent", "new": 1}, "aura": "x"}
    tree["vehicles"] = [{"id": "v1", "kind": "hovercraft", "plates": [{"text": "", "country": "Atlantis"}]}]
    tree["comms"] = [{"id": "c1", "type": "telepathy", "value": "?"}]
    tree["status"] = "rehearsal"
    tree["handling"]["caveats"] = ["NEW_CAVEAT"]
    received = read_received(sent(tree))
    assert received.document == tree
    assert received.headline.status == "rehearsal"


def test_a_sender_s_order_spaces_and_escapes_do_not_matter() -> None:
    tree = document()
    turned = {name: tree[name] for name in reversed(tree)}
    text = json.dumps(turned, ensure_ascii=True, indent=3)
    assert read_received(text.encode()).headline == completed().headline


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/schema",
            "/kind",
            "/message_id",
            "/case_id",
            "/revision",
            "/status",
            "/precedence",
            "/originator",
            "/sent_at",
        ),
        *("/summary", "/handling", "/incident", "/persons", "/locations", "/requested_actions", "/expires_at"),
        *("/originator/agency_id", "/handling/h", "/handling/tlp", "/incident/risk/life_at_risk", "/persons/0/id"),
    ],
)
def test_a_document_without_what_its_kind_needs_is_refused(path: str) -> None:
    broken = sent(changed(without(path), document()))
    if path == "/kind":
        assert ("/kind", "required") in found(broken)
    else:
        assert found(broken) == {(path, "required")}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/message_id", "0193A5B2-7C1E-4D3A-9F00-1234567890AB"),
        ("/message_id", "17"),
        ("/message_id", 17),
        ("/case_id", "x" * 65),
        ("/case_id", "../../etc/passwd"),
        ("/case_id", "CO-PONAL/2026/17\n"),
        ("/revision", 0),
        ("/revision", "1"),
        ("/revision", 1.0),
        ("/revision", True),
        ("/revision", 10**12),
        ("/precedence", "lightning"),
        ("/status", ""),
        ("/status", "x" * 65),
        ("/status", 1),
        ("/sent_at", "yesterday"),
        ("/sent_at", "9999-12-31T23:59:59-01:00"),
        ("/expires_at", "0001-01-01T00:00:00Z"),
        ("/expires_at", 1),
        ("/originator/agency_id", "BKA"),
        ("/originator/agency_id", "a/b"),
        ("/summary", 7),
        ("/summary", None),
        ("/handling/h", "H0"),
        ("/handling/tlp", ["RED"]),
        ("/incident/risk/life_at_risk", "true"),
        ("/incident/risk/life_at_risk", 1),
        ("/persons", {}),
        ("/persons/0", "p1"),
        ("/persons/0/age/min", "9"),
        ("/persons/0/names", "Lucía"),
        ("/ext", []),
        ("/references", {}),
        ("/kind", "Alert!"),
        ("/kind", ""),
        ("/kind", 7),
    ],
)
def test_a_value_of_the_wrong_type_or_one_that_the_node_cannot_act_on_is_refused(path: str, value: Any) -> None:
    assert path in {place for place, _ in found(sent(changed(put(path, value), document())))}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"null",
        b"[]",
        b'"x"',
        b"\xef\xbb\xbf{}",
        b"kind: alert",
        b"\xff\xfe{\x00}\x00",
        b"{" + b" " * 262_144 + b"}",
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'{"a": "\\ud800"}',
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 40_000 + b"1" + b"}" * 40_000,
    ],
)
def test_what_is_no_message_is_refused(content: bytes) -> None:
    assert found(content)


def test_a_name_that_repeats_is_refused_even_with_the_same_value() -> None:
    content = completed().content
    assert found(content[:-1] + b',"kind":"alert"}') == {("/kind", "duplicate_name")}
    assert found(content.replace(b'"level":"extreme"', b'"level":"low","level":"extreme"')) == {
        ("/incident/risk/level", "duplicate_name")
    }


def test_a_document_of_a_thousand_faults_is_one_problem() -> None:
    tree = document()
    tree["persons"] = [{}] * 1_000
    assert found(sent(tree)) == {("", "more_problems")}


# --- kinds ------------------------------------------------------------------------------------------------------------


def test_a_kind_of_a_later_version_is_read_by_its_header() -> None:
    tree = {name: value for name, value in document().items() if name not in ("incident", "persons", "handling")}
    tree["kind"] = "freeze_request"
    tree["assets"] = [{"id": "a1"}]
    tree["references"] = [
        {"role": "related", "message_id": EARLIER_ID, "originator": "bka.de", "sent_at": at(NOW), "sha256": "0" * 64}
    ]
    received = read_received(sent(tree))
    assert received.document == tree
    assert received.headline.kind == "freeze_request"
    assert unsupported_handling(received.document) is None


@pytest.mark.parametrize(
    ("roles", "taken"), [([], False), (["supersedes"], True), (["supersedes"] * 2, False), (["related"], False)]
)
def test_a_message_that_moves_a_case_supersedes_exactly_one(roles: list[str], taken: bool) -> None:
    tree = json.loads(complete(updated(), FOLLOWING).content)
    tree["references"] = [{**tree["references"][0], "role": role} for role in roles]
    if taken:
        assert read_received(sent(tree)).headline.supersedes == EARLIER_ID
    else:
        assert found(sent(tree)) == {("/references", "supersedes")}


def test_an_alert_supersedes_none() -> None:
    tree = document()
    tree["references"] = json.loads(complete(updated(), FOLLOWING).content)["references"]
    assert found(sent(tree)) == {("/references", "supersedes")}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/ack/message_id", "17"),
        ("/ack/content_sha256", "AB" * 32),
        ("/ack/content_sha256", "ab" * 31),
        ("/ack/level", "stored"),
        ("/ack/level", "delighted"),
        ("/ack/at", "now"),
        ("/ack/text", 7),
        ("/ack/officer", 7),
        ("/ack", "accepted"),
    ],
)
def test_an_ack_that_the_node_cannot_act_on_is_refused(path: str, value: Any) -> None:
    tree = build_ack(
        message_id=EARLIER_ID,
        content_sha256="ab" * 32,
        level="accepted",
        cause=None,
        officer=None,
        at_ms=NOW,
        text=None,
    )
    good = json.loads(complete({**tree, "precedence": "flash"}, DEFAULTS).content)
    assert ack_fields(read_received(sent(good)).document).level == "accepted"
    assert path in {place for place, _ in found(sent(changed(put(path, value), good)))}


# --- all bytes --------------------------------------------------------------------------------------------------------


def is_read_or_refused(content: bytes) -> None:
    try:
        received = read_received(content)
    except InvalidAlert as error:
        if not error.problems:
            raise
        return
    assert received.document == json.loads(content)
    assert len(received.headline.summary) <= 280
    unsupported_handling(received.document)


@given(st.binary(max_size=300))
@example(b"\x00")
@example(b'{"kind":{}}')
@example(b'{"\xed\xa0\x80":1}')
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    is_read_or_refused(content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_any_json_is_read_or_refused(value: Any) -> None:
    is_read_or_refused(json.dumps(value).encode())


def pointers(value: Any, place: str = "") -> list[str]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place or "/ext", *(found for name, item in inner for found in pointers(item, f"{place}/{name}"))]


@given(st.sampled_from(pointers(document())), JSON, st.sampled_from(["alert", "update", "ack", "note", "sighting"]))
def test_any_value_anywhere_is_read_or_refused(path: str, value: Any, kind: str) -> None:
    is_read_or_refused(json.dumps({**changed(put(path, value), document()), "kind": kind}).encode())


@given(st.data())
def test_any_damage_is_read_or_refused(data: st.DataObject) -> None:
    content = bytearray(completed().content)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    is_read_or_refused(bytes(content))


@given(JSON)
def test_whatever_handling_says_is_supported_or_named(value: Any) -> None:
    answer = unsupported_handling({"handling": value})
    assert answer is None or isinstance(answer, str)


def test_the_examples_are_there() -> None:
    assert len(EXAMPLES) >= 11
