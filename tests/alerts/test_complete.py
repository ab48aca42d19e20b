"""An analyst's tree becomes a document with the node's part filled in, or every problem at once."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.alerts import InvalidAlert, MarkingContradiction, complete, parse_input, read_received
from exchange.alerts.problems import pointer
from tests.alerts.builders import (
    CASE_ID,
    DAY_MS,
    DEFAULTS,
    FOLLOWING,
    MESSAGE_ID,
    NOW,
    SMALLEST,
    Tree,
    at,
    changed,
    completed,
    found,
    problems,
    put,
    smallest,
    updated,
    without,
)

# --- what is filled in ------------------------------------------------------------------------------------------------


def test_the_smallest_alert_is_complete() -> None:
    document = complete(parse_input(SMALLEST.encode()), DEFAULTS).document
    assert document["schema"] == "kxa/1.0"
    assert document["message_id"] == MESSAGE_ID
    assert document["case_id"] == CASE_ID
    assert document["revision"] == 1
    assert document["status"] == "actual"
    assert document["created_at"] == document["sent_at"] == at(NOW)
    assert document["expires_at"] == at(NOW + 7 * DAY_MS)
    assert document["languages"] == {"primary": "es", "also": ["en"]}
    assert document["purpose"] == "save_life"
    assert document["legal_basis"] == [{"code": "untoc", "citation": "art. 27"}, {"code": "national_law"}]
    assert document["transfer_basis"] == "vital_interests"
    grading = document["grading"]
    assert (grading["scheme"], grading["source"], grading["info"], grading["fact"]) == ("4x4", "X", "4", "reported")
    assert document["handling"] == {
        "h": ["H0"],
        "tlp": "AMBER",
        "permitted_actions": "stop_and_protect",
        "onward": {"allowed": "consent"},
        "evidence_use": "with_consent",
        "victim_identity": "full",
        "retain_until": at(NOW + 37 * DAY_MS),
        "review_at": at(NOW + 37 * DAY_MS),
        "log_reads": False,
    }
    incident = document["incident"]
    assert incident["phase"] == "confirmed_no_contact"
    assert incident["media"] == {"state": "blackout"}
    assert incident["cross_border"] == {"suspected": False}
    assert incident["victim_count"] == {"min": 1, "max": 1}
    assert incident["risk"]["assessed_at"] == at(NOW)
    assert document["persons"][0]["led_category"] == "c"
    assert document["originator"]["duty_contact"] == {
        "phone": "+573000000417",
        "languages": ["es", "en"],
        "available_24x7": True,
    }


def resolved(document: Tree, place: str) -> Any:
    value: Any = document
    for part in place.split("/")[1:]:
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value


def leaves(value: Any, place: str = "") -> set[str]:
    if isinstance(value, dict) and value:
        return {leaf for name, inner in value.items() for leaf in leaves(inner, f"{place}/{name}")}
    if isinstance(value, list) and value:
        return {leaf for index, inner in enumerate(value) for leaf in leaves(inner, f"{place}/{index}")}
    return {place}


def test_everything_filled_is_marked_and_nothing_else() -> None:
    done = completed()
    assert done.document["ext"]["tocsin"]["defaulted"] == list(done.defaulted) == sorted(done.defaulted)
    document = {name: value for name, value in done.document.items() if name != "ext"}
    added = leaves(document) - leaves(smallest())
    assert {
        leaf for leaf in added if not any((leaf + "/").startswith(place + "/") for place in done.defaulted)
    } == set()
    for place in done.defaulted:
        assert resolved(document, place) is not None
        with pytest.raises((KeyError, IndexError)):
            resolved(smallest(), place)


def test_disclosure_is_never_filled_in() -> None:
    assert not any(place.startswith(("/handling/tlp", "/handling/permitted")) for place in completed().defaulted)
    assert found(changed(without("/handling"))) == {("/handling", "required")}
    assert found(changed(without("/handling/tlp"))) == {("/handling/tlp", "required")}
    assert found(changed(without("/handling/permitted_actions"))) == {("/handling/permitted_actions", "required")}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/status", "exercise"),
        ("/case_id", "DE-BKA/2026/1"),
        ("/purpose", "locate_missing"),
        ("/legal_basis", [{"code": "prum"}]),
        ("/transfer_basis", "adequacy"),
        ("/created_at", at(NOW - 1_000)),
        ("/expires_at", at(NOW + DAY_MS)),
        ("/languages", {"primary": "pt"}),
        ("/handling/h", ["H0", "H1"]),
        ("/handling/onward", {"allowed": "none"}),
        ("/handling/evidence_use", "no"),
        ("/handling/victim_identity", "initials"),
        ("/handling/retain_until", at(NOW + DAY_MS)),
        ("/handling/review_at", at(NOW + DAY_MS)),
        ("/handling/log_reads", True),
        ("/incident/phase", "negotiation"),
        ("/incident/media", {"state": "limited"}),
        ("/incident/cross_border", {"suspected": True, "direction": ["VE"]}),
        ("/incident/victim_count", {"min": 1, "max": 3}),
        ("/incident/risk/assessed_at", at(NOW - 1_000)),
        ("/persons/0/led_category", "d1"),
    ],
)
def test_what_the_analyst_says_is_not_filled_over(path: str, value: Any) -> None:
    done = completed(changed(put(path, value)))
    assert resolved(done.document, path) == value
    assert not any((place + "/").startswith(path + "/") for place in done.defaulted)


def test_the_originator_may_be_said_but_not_another_s() -> None:
    own = {
        "agency_id": "ponal.co",
        "country": "CO",
        "agency_name": "GAULA",
        "officer_ref": "night-2",
        "duty_contact": {"phone": "+57 300 000 0418"},
    }
    assert completed(changed(put("/originator", own))).document["originator"]["agency_name"] == "GAULA"
    assert found(changed(put("/originator", {**own, "agency_id": "bka.de"}))) == {
        ("/originator/agency_id", "set_by_node")
    }


@pytest.mark.parametrize(
    ("path", "value"),
    [("/message_id", "0193a5b2-7c1e-4d3a-9f00-ffffffffffff"), ("/revision", 9), ("/sent_at", at(NOW - 1))],
)
def test_what_the_node_alone_can_know_is_not_the_analyst_s_to_say(path: str, value: Any) -> None:
    assert found(changed(put(path, value))) == {(path, "set_by_node")}


def test_another_version_of_the_vocabulary_is_not_written() -> None:
    assert found(changed(put("/schema", "kxa/2.0"))) == {("/schema", "schema")}
    assert completed(changed(put("/schema", "kxa/1.0"))).document["schema"] == "kxa/1.0"


@pytest.mark.parametrize(
    ("confirmation", "phase"),
    [
        ("confirmed", "confirmed_no_contact"),
        ("probable", "reported_unconfirmed"),
        ("suspected", "reported_unconfirmed"),
    ],
)
def test_the_phase_follows_from_the_confirmation(confirmation: str, phase: str) -> None:
    assert completed(changed(put("/incident/confirmation", confirmation))).document["incident"]["phase"] == phase


@pytest.mark.parametrize(
    ("marks", "tlp", "logged"),
    [(["H0"], "AMBER", False), (["H2"], "AMBER", True), (["H0"], "RED", True), (["H1"], "GREEN", False)],
)
def test_readings_are_logged_by_the_rule_of_the_marking(marks: list[str], tlp: str, logged: bool) -> None:
    tree = changed(put("/handling/tlp", tlp), changed(put("/handling/h", marks)))
    assert completed(tree).document["handling"]["log_reads"] is logged


def test_h0_stays_in_every_package() -> None:
    done = completed(changed(put("/handling/h", ["H2", "H1"])))
    assert done.document["handling"]["h"] == ["H2", "H1", "H0"]
    assert "/handling/h/2" in done.defaulted


def test_without_a_life_at_risk_no_basis_for_the_transfer_is_assumed() -> None:
    tree = changed(put("/incident/risk/life_at_risk", False), changed(put("/precedence", "urgent")))
    assert "transfer_basis" not in completed(tree).document


@pytest.mark.parametrize(
    ("role", "category"),
    [("suspect", "a"), ("convicted", "b"), ("victim", "c"), ("witness", "d1"), ("reporter", "d2"), ("family", "d3")],
)
def test_the_category_of_data_subject_follows_from_the_first_role(role: str, category: str) -> None:
    person = {"id": "p2", "roles": [role, "unknown"], "identified": "no", "minor": "unknown", "status": "unknown"}
    tree = smallest()
    tree["persons"].append(person)
    assert completed(tree).document["persons"][1]["led_category"] == category


def test_an_officer_is_no_data_subject_and_of_an_unknown_role_the_category_is_asked() -> None:
    tree = smallest()
    tree["persons"].append({"id": "p2", "roles": ["officer"], "identified": "no"})
    assert "led_category" not in completed(tree).document["persons"][1]
    tree["persons"].append({"id": "p3", "roles": ["unknown"], "identified": "no"})
    assert found(tree) == {("/persons/2/led_category", "required")}


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ({"dob": "2017-04-12"}, "yes"),
        ({"dob": "2008-11-24"}, "yes"),
        ({"dob": "2008-11-23"}, "no"),
        ({"dob": "1979"}, "no"),
        ({"dob": "2008"}, "unknown"),
        ({"dob": "2009~"}, "unknown"),
        ({"dob": "198X"}, "no"),
        ({"dob": {"value": "2017", "fact": "reported"}}, "yes"),
        ({"age": {"min": 9, "max": 12}}, "yes"),
        ({"age": {"max": 17}}, "yes"),
        ({"age": {"min": 18}}, "no"),
        ({"age": {"min": 15, "max": 25}}, "unknown"),
    ],
)
def test_whether_a_victim_is_a_minor_is_worked_out_from_what_is_known(said: Tree, answer: str) -> None:
    tree = smallest()
    del tree["persons"][0]["minor"], tree["persons"][0]["age"]
    tree["persons"][0].update(said)
    done = completed(tree)
    assert done.document["persons"][0]["minor"] == answer
    assert "/persons/0/minor" in done.defaulted


def test_the_tree_is_not_changed() -> None:
    tree = changed(put("/expires_at", None))
    before = copy.deepcopy(tree)
    completed(tree)
    assert tree == before


def test_a_blank_is_a_field_left_out() -> None:
    tree = smallest()
    tree["narrative"] = [None, {"lang": None, "text": None}]
    tree["vehicles"] = None
    tree["persons"][0]["description"] = {"hair": None}
    assert completed(tree).document == completed().document
    assert found(changed(put("/summary", None))) == {("/summary", "required")}


# --- the document -----------------------------------------------------------------------------------------------------


def test_content_is_the_document_in_compact_utf8() -> None:
    done = completed()
    assert json.loads(done.content) == done.document
    assert "Lucía Pérez".encode() in done.content
    assert b": " not in done.content.replace(b"2026-11-23T", b"")
    assert list(done.document)[:3] == ["schema", "kind", "message_id"]


def test_the_same_tree_gives_the_same_bytes_whatever_the_order_of_its_fields() -> None:
    tree = smallest()
    turned = {name: tree[name] for name in reversed(tree)}
    assert completed(turned).content == completed(tree).content


def test_text_of_yaml_gives_the_same_document_as_json() -> None:
    def as_text(value: Any) -> Any:
        match value:
            case dict():
                return {name: as_text(inner) for name, inner in value.items()}
            case list():
                return [as_text(inner) for inner in value]
            case bool():
                return "true" if value else "false"
            case _:
                return str(value)

    assert completed(as_text(smallest())).content == completed().content


def test_what_was_completed_is_read_the_same() -> None:
    done = completed()
    received = read_received(done.content)
    assert received.document == done.document
    assert received.headline == done.headline


def test_the_headline_says_what_the_node_files() -> None:
    headline = completed(changed(put("/handling/h", ["H2"]))).headline
    assert (headline.kind, headline.case_id, headline.message_id) == ("alert", CASE_ID, MESSAGE_ID)
    assert (headline.revision, headline.status, headline.precedence) == (1, "actual", "immediate")
    assert headline.summary == smallest()["summary"]
    assert headline.originator == "ponal.co"
    assert (headline.sent_at_ms, headline.expires_at_ms) == (NOW, NOW + 7 * DAY_MS)
    assert (headline.supersedes, headline.replies_to) == (None, None)
    assert (headline.tlp, headline.h, headline.log_reads) == ("AMBER", ("H2", "H0"), True)
    assert headline.life_at_risk
    assert not headline.suspended


def test_a_document_over_the_limit_is_too_large() -> None:
    tree = smallest()
    tree["narrative"] = [{"lang": "es", "text": "á" * 8_000}] * 20
    assert found(tree) == {("", "too_large")}


# --- problems ---------------------------------------------------------------------------------------------------------

MANDATORY = [
    "/kind",
    "/precedence",
    "/summary",
    "/handling",
    "/handling/tlp",
    "/handling/permitted_actions",
    "/incident",
    "/incident/type",
    "/incident/confirmation",
    "/incident/taken",
    "/incident/taken/earliest",
    "/incident/taken/latest",
    "/incident/risk",
    "/incident/risk/level",
    "/incident/risk/life_at_risk",
    "/persons",
    "/persons/0/id",
    "/persons/0/roles",
    "/persons/0/identified",
    "/persons/0/names",
    "/persons/0/age",
    "/persons/0/status",
    "/locations",
    "/locations/0/id",
    "/locations/0/role",
    "/locations/0/country",
    "/requested_actions",
    "/requested_actions/0/action",
]


@pytest.mark.parametrize("path", MANDATORY)
def test_each_missing_mandatory_field_gives_one_problem_with_an_example(path: str) -> None:
    here = [problem for problem in problems(changed(without(path))) if problem.path == path]
    assert [problem.rule for problem in here] == ["required"]
    assert path.rsplit("/", 1)[1] in here[0].message
    assert here[0].example


@pytest.mark.parametrize(
    "path", [path for path in MANDATORY if path not in ("/incident", "/persons", "/incident/risk")]
)
def test_a_missing_field_is_the_only_problem_unless_another_hangs_on_it(path: str) -> None:
    hanging = {
        "/incident/risk/life_at_risk": {("/precedence", "precedence_unjustified")},
        "/persons/0/id": {("/requested_actions/0/target", "unknown_reference")},
        "/persons/0/roles": {("/persons", "no_victim")},
    }
    assert found(changed(without(path))) == {(path, "required")} | hanging.get(path, set())


def test_the_example_of_a_missing_field_mends_it() -> None:
    for path in MANDATORY:
        tree = changed(without(path))
        [problem] = [problem for problem in problems(tree) if problem.path == path]
        text = problem.example
        value = json.loads(text) if text[:1] in "{[" or text in ("true", "false") else text
        mended = changed(put(path, value), tree)
        assert (path, "required") not in found(mended), path


def test_all_problems_are_found_at_once() -> None:
    tree = smallest()
    tree["sumary"] = tree.pop("summary")
    tree["precedence"] = "imediate"
    tree["incident"]["type"] = "child_nonfamly"
    tree["incident"]["taken"]["earliest"] = "2026-11-23T02:10:00"
    tree["incident"]["risk"]["life_at_risk"] = "perhaps"
    tree["handling"]["h"] = ["H2", "H9"]
    tree["handling"]["tlp"] = "GREEN"
    tree["persons"][0]["age"] = {"min": 12, "max": 9}
    tree["locations"][0]["country"] = "Colombia"
    tree["requested_actions"][0]["target"] = "p7"
    tree["expires_at"] = at(NOW - 1)
    assert found(tree) == {
        ("/sumary", "unknown_field"),
        ("/summary", "required"),
        ("/precedence", "unknown_code"),
        ("/incident/type", "unknown_code"),
        ("/incident/taken/earliest", "rfc3339_offset"),
        ("/incident/risk/life_at_risk", "true_or_false"),
        ("/handling/h/1", "unknown_code"),
        ("/handling/tlp", "marking_contradiction"),
        ("/persons/0/age/min", "min_above_max"),
        ("/locations/0/country", "country"),
        ("/requested_actions/0/target", "unknown_reference"),
        ("/expires_at", "expires_before_sent"),
    }


def test_a_misspelt_field_comes_before_the_one_it_leaves_missing() -> None:
    tree = smallest()
    tree["sumary"] = tree.pop("summary")
    assert [problem.path for problem in problems(tree)] == ["/sumary", "/summary"]


@pytest.mark.parametrize("name", ["~kind", "~bare", "~qualified", "~", ""])
def test_an_unknown_field_of_any_name_is_told(name: str) -> None:
    assert found({**smallest(), name: 1}) == {(pointer(name), "unknown_field")}


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/sumary", "summary"),
        ("/Precedence", "precedence"),
        ("/victims", "persons"),
        ("/handling/permitted_action", "permitted_actions"),
        ("/incident/kind", ""),
        ("/incident/risk/reason", "reasons"),
        ("/persons/0/name", "names"),
        ("/persons/0/date_of_birth", "dob"),
        ("/persons/0/gender", "sex"),
        ("/persons/0/names/0/fullname", "full"),
        ("/locations/0/city", "locality"),
        ("/plates", "vehicles"),
        ("/requested_actions/0/iffound", "if_found"),
    ],
)
def test_an_unknown_field_is_answered_with_the_nearest_or_where_it_belongs(path: str, meant: str) -> None:
    [problem] = problems(changed(put(path, "x")))
    assert (problem.path, problem.rule, problem.example) == (path, "unknown_field", meant)


@pytest.mark.parametrize(
    ("path", "value", "meant"),
    [
        ("/status", "Actual", "actual"),
        ("/incident/type", "child-nonfamily", "child_nonfamily"),
        ("/incident/confirmation", "confirm", "confirmed"),
        ("/persons/0/roles/0", "victm", "victim"),
        ("/persons/0/status", "held", "held_suspected"),
        ("/locations/0/role", "abducted", "abduction"),
        ("/handling/tlp", "amber", "AMBER"),
        ("/handling/tlp", "TLP:AMBER", "AMBER"),
        ("/requested_actions/0/action", "check_borders", "check_border"),
        ("/incident/taken/tz", "America/Bogotá", "America/Bogota"),
    ],
)
def test_an_unknown_code_is_answered_with_the_nearest(path: str, value: str, meant: str) -> None:
    here = [problem for problem in problems(changed(put(path, value))) if problem.path == path]
    assert [(problem.rule in ("unknown_code", "time_zone"), problem.example) for problem in here] == [(True, meant)]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/incident", "x"),
        ("/incident", []),
        ("/persons", {"id": "p1"}),
        ("/persons", "p1"),
        ("/persons/0", 7),
        ("/persons/0/names", "Lucía"),
        ("/persons/0/names/0", "Lucía"),
        ("/summary", 7),
        ("/summary", ["x"]),
        ("/handling", []),
        ("/handling/h", "H0"),
        ("/ext", 7),
        ("/originator", 7),
        ("/references", 7),
        ("/incident/risk", "extreme"),
    ],
)
def test_a_value_of_the_wrong_type_is_a_problem_and_no_crash(path: str, value: Any) -> None:
    assert (path, "type") in found(changed(put(path, value)))


def test_only_contradictory_markings_are_told_apart() -> None:
    with pytest.raises(MarkingContradiction):
        completed(changed(put("/handling/tlp", "CLEAR")))
    with pytest.raises(InvalidAlert) as caught:
        completed(changed(without("/summary"), changed(put("/handling/tlp", "CLEAR"))))
    assert not isinstance(caught.value, MarkingContradiction)


def test_an_error_names_rules_and_no_content() -> None:
    with pytest.raises(InvalidAlert) as caught:
        completed(changed(put("/persons/0/names/0/fullname", "Lucía Pérez")))
    assert str(caught.value) == "unknown_field"


@pytest.mark.parametrize(
    ("kind", "asked", "rule"),
    [
        ("alarm", None, "unknown_code"),
        (7, None, "unknown_code"),
        ("sighting", None, "unknown_code"),
        ("update", "alert", "unknown_code"),
    ],
)
def test_a_kind_that_is_not_wanted_is_refused(kind: Any, asked: str | None, rule: str) -> None:
    with pytest.raises(InvalidAlert) as caught:
        complete(changed(put("/kind", kind)), DEFAULTS, kind=asked)
    assert [(problem.path, problem.rule) for problem in caught.value.problems] == [("/kind", rule)]


def test_the_kind_of_the_verb_is_that_of_a_tree_without_one() -> None:
    assert complete(changed(without("/kind")), DEFAULTS, kind="alert").document["kind"] == "alert"


def test_an_empty_tree_is_told_everything_an_alert_needs() -> None:
    assert {path for path, _ in found({})} == {
        *("/kind", "/precedence", "/summary", "/handling", "/incident"),
        *("/persons", "/locations", "/requested_actions"),
    }


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-10, 10)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
PATHS = [
    *MANDATORY,
    "/ext",
    "/references",
    "/originator",
    "/expires_at",
    "/vehicles",
    "/comms",
    "/persons/0/dob",
    "/grading",
]


@given(st.sampled_from(PATHS), JSON)
def test_any_value_anywhere_is_a_document_or_problems(path: str, value: Any) -> None:
    tree = changed(put(path, value))
    for candidate, defaults in ((tree, DEFAULTS), (updated(tree), FOLLOWING)):
        try:
            done = complete(candidate, defaults)
        except InvalidAlert as error:
            if not error.problems:
                raise
        else:
            assert read_received(done.content).headline == done.headline


def test_a_node_without_a_telephone_number_can_post() -> None:
    contact = replace(DEFAULTS.originator.duty_contact, phone=None, languages=())
    defaults = replace(DEFAULTS, originator=replace(DEFAULTS.originator, duty_contact=contact))
    assert completed(defaults=defaults).document["originator"]["duty_contact"] == {"available_24x7": True}
