"""Every skeleton parses, asks for what is missing, and posts once its blanks are filled."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from exchange.alerts import InvalidAlert, complete, kinds, new_template, parse_input
from tests.alerts.builders import CASE_ID, DAY_MS, DEFAULTS, FOLLOWING, NOW, at

WRITTEN = tuple(kind for kind in kinds() if kind != "ack")

FILLED = {
    "precedence": "immediate",
    "summary": "Girl, 9, taken from school",
    "tlp": "AMBER",
    "permitted_actions": "stop_and_protect",
    "type": "child_nonfamily",
    "confirmation": "confirmed",
    "earliest": "2026-11-23T02:10:00-05:00",
    "latest": "2026-11-23T02:30:00-05:00",
    "level": "extreme",
    "life_at_risk": "true",
    "identified": "yes",
    "full": "Lucía Pérez",
    "status": "held_suspected",
    "country": "CO",
    "action": "check_border",
    "case_id": CASE_ID,
    "why": "new_fact",
    "reason": "false_report",
    "outcome": "rescued",
    "expires_at": at(NOW + DAY_MS),
}
BLANK = re.compile(r"^( *(?:- )?)(\w+):( *(?:#.*)?)$")


def fill(text: str) -> str:
    lines = []
    for line in text.splitlines():
        blank = BLANK.match(line)
        value = FILLED.get(blank[2]) if blank else None
        lines.append(f"{blank[1]}{blank[2]}: {value}  {blank[3]}" if blank and value else line)
    return (
        "\n".join(lines)
        .replace("{min: , max: }", "{min: 9, max: 9}")
        .replace("\ntext: |\n", "\ntext: |\n  seen at the bridge")
    )


def defaults_of(kind: str) -> Any:
    return FOLLOWING if kind in ("update", "cancel", "resolve", "renew") else DEFAULTS


@pytest.mark.parametrize("kind", WRITTEN)
def test_a_filled_skeleton_posts(kind: str) -> None:
    done = complete(parse_input(fill(new_template(kind)).encode()), replace(defaults_of(kind), precedence=None))
    assert done.headline.kind == kind
    if kind not in ("alert", "test", "note"):
        assert "/case_id" not in done.defaulted


@pytest.mark.parametrize("kind", [kind for kind in WRITTEN if kind != "test"])
def test_an_empty_skeleton_asks_for_what_is_missing_and_for_nothing_else(kind: str) -> None:
    with pytest.raises(InvalidAlert) as caught:
        complete(parse_input(new_template(kind).encode()), replace(defaults_of(kind), precedence=None))
    assert {problem.rule for problem in caught.value.problems} <= {"required", "blank"}


def uncommented(text: str) -> str:
    """With the vehicles, the comms and every field of a person, place, incident or action that is offered."""
    lines, block = [], False
    for line in text.splitlines():
        block = line in ("# vehicles:", "# comms:") or (block and line.startswith("#"))
        offered = re.match(r"^ +# (?=(?:cross_border|method|sex|nationalities|description|documents|area|by): )", line)
        lines.append(line[2:] if block else line.replace("# ", "", 1) if offered else line)
    return "\n".join(lines)


@pytest.mark.parametrize("kind", ["alert", "update"])
def test_what_stands_behind_a_comment_sign_can_be_used_as_it_stands(kind: str) -> None:
    text = uncommented(fill(new_template(kind)))
    document = complete(parse_input(text.encode()), defaults_of(kind)).document
    assert document["vehicles"][0]["plates"][0]["text"] == "SXK 482"
    assert document["comms"][0]["value"] == "+573000000417"
    assert document["persons"][0]["description"]["height_cm"] == 132
    assert document["incident"]["cross_border"]["direction"] == ["VE"]
    assert document["requested_actions"][0]["area"] == ["VE"]


@pytest.mark.parametrize("kind", WRITTEN)
def test_a_skeleton_fits_a_screen(kind: str) -> None:
    assert all(len(line) <= 120 for line in new_template(kind).splitlines())
    assert new_template(kind).endswith("\n")


@pytest.mark.parametrize("kind", ["ack", "alarm", ""])
def test_there_is_no_skeleton_for_what_nobody_writes(kind: str) -> None:
    with pytest.raises(KeyError):
        new_template(kind)
