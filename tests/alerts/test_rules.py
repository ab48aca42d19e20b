"""Each rule between fields, broken alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.alerts.builders import (
    DAY_MS,
    NOW,
    Tree,
    at,
    changed,
    completed,
    found,
    put,
    smallest,
    without,
)

VEHICLE = {"id": "v1", "kind": "van", "plates": [{"text": "SXK 482", "country": "CO"}]}
PHONE = {"id": "c1", "type": "msisdn", "value": "+573000000417"}


def several(*changes: Callable[[Tree], None]) -> Tree:
    tree = smallest()
    for change in changes:
        change(tree)
    return tree


BROKEN: dict[str, tuple[Tree, str, str]] = {
    "an alert ends before it begins": (
        several(put("/expires_at", at(NOW - 1))),
        "/expires_at",
        "expires_before_sent",
    ),
    "an alert ends when it begins": (several(put("/expires_at", at(NOW))), "/expires_at", "expires_before_sent"),
    "an alert runs for more than thirty days": (
        several(put("/expires_at", at(NOW + 30 * DAY_MS + 1))),
        "/expires_at",
        "expires_too_late",
    ),
    "it is sent before it was written": (several(put("/created_at", at(NOW + 1))), "/created_at", "created_after_sent"),
    "an answer is due before it is asked": (several(put("/respond_by", at(NOW))), "/respond_by", "respond_before_sent"),
    "it must be erased before it is sent": (
        several(put("/handling/retain_until", at(NOW - 1))),
        "/handling/retain_until",
        "retention_over",
    ),
    "keeping it must be reviewed before it is sent": (
        several(put("/handling/review_at", at(NOW - 1))),
        "/handling/review_at",
        "retention_over",
    ),
    "the earliest moment is after the latest": (
        several(put("/incident/taken/earliest", "2026-11-23T03:00:00-05:00")),
        "/incident/taken/earliest",
        "earliest_after_latest",
    ),
    "flash without a life at risk": (
        several(put("/precedence", "flash"), put("/incident/risk/life_at_risk", False)),
        "/precedence",
        "precedence_unjustified",
    ),
    "immediate without a life at risk": (
        several(put("/incident/risk/life_at_risk", "no")),
        "/precedence",
        "precedence_unjustified",
    ),
    "H3 without its restriction": (several(put("/handling/h", ["H3"])), "/handling/h3_text", "required"),
    "a list to pass it on to that is not given": (
        several(put("/handling/onward", {"allowed": "listed"})),
        "/handling/onward/list",
        "required",
    ),
    "readers that no node can limit": (
        several(put("/handling/audience", {"max_readers": 3})),
        "/handling/audience",
        "not_enforced",
    ),
    "a grade that its scheme does not have": (
        several(
            put(
                "/grading",
                {
                    "scheme": "4x4",
                    "source": "E",
                    "info": "4",
                    "fact": "fact",
                    "assessed_at": at(NOW),
                    "sanitised": True,
                },
            )
        ),
        "/grading/source",
        "unknown_code",
    ),
    "no victim": (several(put("/persons/0/roles", ["suspect"])), "/persons", "no_victim"),
    "fewer victims counted than listed": (
        several(put("/incident/victim_count", {"min": 0, "max": 0})),
        "/incident/victim_count/max",
        "fewer_than_listed",
    ),
    "a count from more to less": (
        several(put("/incident/offender_count", {"min": 4, "max": 2})),
        "/incident/offender_count/min",
        "min_above_max",
    ),
    "somebody identified without a name": (several(without("/persons/0/names")), "/persons/0/names", "required"),
    "a victim without an age": (several(without("/persons/0/age")), "/persons/0/age", "required"),
    "a victim of whom nothing is said now": (several(without("/persons/0/status")), "/persons/0/status", "required"),
    "a child that is said to be grown up": (
        several(put("/persons/0/minor", "no")),
        "/persons/0/minor",
        "minor_contradicts_age",
    ),
    "a grown-up that is said to be a child": (
        several(put("/persons/0/age", {"min": 30})),
        "/persons/0/minor",
        "minor_contradicts_age",
    ),
    "health without a reason to tell it": (
        several(put("/persons/0/health", {"conditions": ["asthma"]})),
        "/persons/0/special_category_justification",
        "required",
    ),
    "complexion without a reason to tell it": (
        several(put("/persons/0/description", {"complexion": "pale"})),
        "/persons/0/special_category_justification",
        "required",
    ),
    "a normalised plate that is another": (
        several(put("/vehicles", [{**VEHICLE, "plates": [{"text": "SXK 482", "country": "CO", "normalised": "ABC"}]}])),
        "/vehicles/0/plates/0/normalised",
        "plate_key",
    ),
    "two things of one id": (several(put("/vehicles", [{**VEHICLE, "id": "p1"}])), "/vehicles/0/id", "duplicate_id"),
    "an action about nobody": (
        several(put("/requested_actions/0/target", "p2")),
        "/requested_actions/0/target",
        "unknown_reference",
    ),
    "an action in no place": (
        several(put("/requested_actions/0/area", ["VE", "l9"])),
        "/requested_actions/0/area/1",
        "unknown_reference",
    ),
    "a person in no place": (
        several(put("/persons/0/location_ref", "p1")),
        "/persons/0/location_ref",
        "unknown_reference",
    ),
    "a device that is not listed": (
        several(put("/persons/0/devices", ["c1"])),
        "/persons/0/devices/0",
        "unknown_reference",
    ),
    "a relation to nobody": (
        several(put("/persons/0/relations", [{"to": "p9", "type": "parent"}])),
        "/persons/0/relations/0/to",
        "unknown_reference",
    ),
    "a telephone used by nobody": (
        several(put("/comms", [{**PHONE, "used_by": "l1"}])),
        "/comms/0/used_by",
        "unknown_reference",
    ),
    "a route through no place": (
        several(put("/incident/cross_border", {"suspected": True, "route": ["l1", "l2"]})),
        "/incident/cross_border/route/1",
        "unknown_reference",
    ),
    "last seen in no place": (
        several(put("/incident/last_seen", {"location": "l2"})),
        "/incident/last_seen/location",
        "unknown_reference",
    ),
    "a vehicle last seen in no place": (
        several(put("/vehicles", [{**VEHICLE, "last_seen": {"location": "v1"}}])),
        "/vehicles/0/last_seen/location",
        "unknown_reference",
    ),
    "an alert that supersedes": (
        several(
            put(
                "/references",
                [
                    {
                        "role": "supersedes",
                        "message_id": "0193a5b2-7c1e-4d3a-9f00-1234567890ac",
                        "originator": "ponal.co",
                        "sent_at": at(NOW - 1),
                        "sha256": "0" * 64,
                    }
                ],
            )
        ),
        "/references/0/role",
        "supersedes",
    ),
    "persons without one": (several(put("/persons", [])), "/persons", "empty"),
    "locations without one": (several(put("/locations", [])), "/locations", "empty"),
    "actions without one": (several(put("/requested_actions", [])), "/requested_actions", "empty"),
    "a person without a role": (several(put("/persons/0/roles", [])), "/persons/0/roles", "empty"),
}


@pytest.mark.parametrize("sentence", BROKEN)
def test_a_broken_rule_is_found_where_it_is_broken(sentence: str) -> None:
    tree, path, rule = BROKEN[sentence]
    assert (path, rule) in found(tree)


HANGING = {
    "persons without one": {("/persons", "no_victim"), ("/requested_actions/0/target", "unknown_reference")},
    "locations without one": set(),
    "a person without a role": {("/persons", "no_victim")},
    "two things of one id": set(),
}


@pytest.mark.parametrize("sentence", BROKEN)
def test_a_broken_rule_breaks_no_other(sentence: str) -> None:
    tree, path, rule = BROKEN[sentence]
    extra = found(tree) - {(path, rule)}
    assert extra <= HANGING.get(sentence, set())


KEPT: dict[str, Tree] = {
    "flash with a life at risk": several(put("/precedence", "flash")),
    "flash with a reason": several(
        put("/precedence", "flash"),
        put("/incident/risk/life_at_risk", False),
        put("/precedence_reason", "live location of the suspect's vehicle"),
    ),
    "urgent without a life at risk": several(put("/precedence", "urgent"), put("/incident/risk/life_at_risk", False)),
    "an alert that runs for thirty days": several(put("/expires_at", at(NOW + 30 * DAY_MS))),
    "a moment that is known exactly": several(
        put("/incident/taken/earliest", "2026-11-23T02:30:00-05:00"),
        put("/incident/taken/latest", "2026-11-23T07:30:00Z"),
    ),
    "a time that nobody knows": several(put("/incident/taken", {"absent": "unknown"})),
    "half a time": several(put("/incident/taken", {"latest": "2026-11-23T07:30:00Z", "absent": "not_asked"})),
    "a victim of whom nothing is known": several(
        put(
            "/persons/0", {"id": "p1", "roles": ["victim"], "identified": "no", "minor": "unknown", "status": "missing"}
        )
    ),
    "more victims than are listed": several(put("/incident/victim_count", {"min": 1, "max": 4})),
    "a range open above": several(put("/incident/offender_count", {"min": 3})),
    "a message that speaks of another": several(
        put(
            "/references",
            [
                {
                    "role": "related",
                    "message_id": "0193a5b2-7c1e-4d3a-9f00-1234567890ac",
                    "originator": "bka.de",
                    "sent_at": at(NOW - 1),
                    "sha256": "0" * 64,
                }
            ],
        )
    ),
    "health with a reason to tell it": several(
        put("/persons/0/health", {"conditions": ["asthma"]}),
        put("/persons/0/special_category_justification", "needs her inhaler"),
    ),
    "an action about a vehicle in a country and a place": several(
        put("/vehicles", [VEHICLE]),
        put("/requested_actions", [{"action": "look_out", "target": "v1", "area": ["VE", "l1"]}]),
    ),
}


@pytest.mark.parametrize("sentence", KEPT)
def test_what_keeps_the_rules_is_taken(sentence: str) -> None:
    assert found(KEPT[sentence]) == set()


@pytest.mark.parametrize("scheme", ["4x4", "6x6", "5x5x5", "3x5x2"])
def test_each_grading_scheme_has_its_own_grades(scheme: str) -> None:
    grades: Any = {"4x4": ("X", "4"), "6x6": ("F", "6"), "5x5x5": ("E", "5"), "3x5x2": ("2", "D")}
    source, info = grades[scheme]
    grading = {"scheme": scheme, "source": source, "info": info, "fact": "fact", "sanitised": "yes"}
    tree = changed(put("/grading", {**grading, "assessed_at": at(NOW)}))
    assert completed(tree).document["grading"]["sanitised"] is True


@pytest.mark.parametrize("minor", [{"value": "yes"}, [], ["no"]], ids=str)
def test_a_minor_of_another_type_is_told_and_nothing_breaks(minor: object) -> None:
    assert ("/persons/0/minor", "type") in found(changed(put("/persons/0/minor", minor)))
