"""Markings that contradict each other are not sent; markings that cannot be honoured are not taken."""

from __future__ import annotations

from typing import Any

import pytest

from exchange.alerts import MarkingContradiction, unsupported_handling
from tests.alerts.builders import Tree, completed, found, smallest


def marked(**handling: Any) -> Tree:
    tree = smallest()
    tree["handling"].update(handling)
    return tree


CONTRADICTIONS: dict[str, tuple[Tree, str]] = {
    "green and not to be passed on": (marked(tlp="GREEN", h=["H2"]), "/handling/tlp"),
    "clear and not to be passed on": (marked(tlp="CLEAR", h=["H2"]), "/handling/tlp"),
    "clear and about persons": (marked(tlp="CLEAR"), "/handling/tlp"),
    "not to be passed on, but inside the country": (
        marked(h=["H2"], onward={"allowed": "national"}),
        "/handling/onward/allowed",
    ),
    "red, but inside the country": (marked(tlp="RED", onward={"allowed": "national"}), "/handling/onward/allowed"),
    "red, but to those listed": (
        marked(tlp="RED", onward={"allowed": "listed", "list": ["bka.de"]}),
        "/handling/onward/allowed",
    ),
    "not in court, but as evidence": (marked(h=["H1"], evidence_use="yes"), "/handling/evidence_use"),
    "no media, but an appeal": (
        marked(caveats=["NO_MEDIA"], permitted_actions="public_appeal"),
        "/handling/permitted_actions",
    ),
    "an exercise that is real": (marked(caveats=["EXERCISE"]), "/status"),
}


@pytest.mark.parametrize("sentence", CONTRADICTIONS)
def test_a_contradiction_is_found_before_anything_is_sealed(sentence: str) -> None:
    tree, path = CONTRADICTIONS[sentence]
    with pytest.raises(MarkingContradiction):
        completed(tree)
    assert (path, "marking_contradiction") in found(tree)


def test_no_media_and_an_authorised_appeal_contradict_each_other() -> None:
    tree = marked(caveats=["NO_MEDIA"])
    tree["incident"]["media"] = {"state": "appeal_authorised"}
    assert found(tree) == {("/incident/media/state", "marking_contradiction")}


def test_it_may_be_passed_on_to_agencies_and_countries_that_are_named() -> None:
    assert found(marked(onward={"allowed": "listed", "list": ["bka.de", "VE", "XK"]})) == set()
    assert found(marked(onward={"allowed": "listed", "list": ["bka.de", "the BKA", "ve"]})) == {
        ("/handling/onward/list/1", "agency_or_country"),
        ("/handling/onward/list/2", "agency_or_country"),
    }


def test_an_exercise_that_says_so_is_none() -> None:
    assert found({**marked(caveats=["EXERCISE"]), "status": "exercise"}) == set()


@pytest.mark.parametrize("tlp", ["RED", "AMBER+STRICT", "AMBER", "GREEN"])
@pytest.mark.parametrize("allowed", ["none", "same_agency", "consent"])
def test_markings_that_agree_are_taken(tlp: str, allowed: str) -> None:
    assert found(marked(tlp=tlp, onward={"allowed": allowed})) == set()


@pytest.mark.parametrize("tlp", ["RED", "AMBER+STRICT", "AMBER"])
def test_h1_h2_and_h3_can_stand_together(tlp: str) -> None:
    tree = marked(tlp=tlp, h=["H0", "H1", "H2", "H3"], h3_text="ask first", evidence_use="with_consent")
    assert found(tree) == set()
    assert unsupported_handling(completed(tree).document) is None


@pytest.mark.parametrize(
    ("handling", "name"),
    [
        ({"h": ["H0", "H4"]}, "h.H4"),
        ({"h": 7}, "h.7"),
        ({"tlp": "ULTRAVIOLET"}, "tlp.ULTRAVIOLET"),
        ({"tlp": ["RED"]}, "tlp.['RED']"),
        ({"onward": {"allowed": "allies"}}, "onward.allies"),
        ({"onward": {"allowed": "none", "after": "2027"}}, "onward.after"),
        ({"onward": "consent"}, "onward.consent"),
        ({"evidence_use": "perhaps"}, "evidence_use.perhaps"),
        ({"audience": {"max_readers": 3}}, "audience"),
        ({"audience": {}}, "audience"),
        ({"self_destruct": True}, "self_destruct"),
    ],
)
def test_a_requirement_that_this_version_cannot_honour_is_named(handling: Tree, name: str) -> None:
    document = completed().document
    document["handling"] = {**document["handling"], **handling}
    assert unsupported_handling(document) == name


@pytest.mark.parametrize(
    "handling",
    [
        {"caveats": ["NEW_CAVEAT"]},
        {"permitted_actions": "new_action"},
        {"audience": None},
        {"confidential_existence": True, "originator_anonymous": True},
        {"victim_identity": "withheld", "redactions": ["/persons/0/names"]},
    ],
)
def test_orders_to_people_and_what_is_shown_can_be_honoured(handling: Tree) -> None:
    document = completed().document
    document["handling"] = {**document["handling"], **handling}
    assert unsupported_handling(document) is None


@pytest.mark.parametrize("handling", [None, "x", [], {}])
def test_a_message_without_handling_asks_for_nothing(handling: Any) -> None:
    assert unsupported_handling({"handling": handling}) is None
    assert unsupported_handling({}) is None
