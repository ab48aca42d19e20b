"""Trees, defaults and documents that the tests of the vocabulary start from."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from exchange.alerts import Completed, Defaults, DutyContact, Originator, Problem, Reference, complete
from exchange.alerts.problems import InvalidAlert
from exchange.alerts.times import format_time

Tree = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted(path for path in (ROOT / "docs" / "examples").iterdir() if path.suffix in (".yaml", ".json"))

NOW = 1_795_432_200_000  # 2026-11-23T11:10:00Z, some hours after the girl was taken
DAY_MS = 86_400_000
MESSAGE_ID = "0193a5b2-7c1e-4d3a-9f00-1234567890ab"
EARLIER_ID = "0193a5b2-7c1e-4d3a-9f00-00000000aaaa"
CASE_ID = "CO-PONAL/2026/000017"

# docs/CLI.md §2, to the letter.
SMALLEST = r"""
{"kind":"alert","precedence":"immediate","summary":"Girl, 9, taken from school in Cucuta, white van towards the border",
 "handling":{"tlp":"AMBER","permitted_actions":"stop_and_protect"},
 "incident":{"type":"child_nonfamily","confirmation":"confirmed","taken":{"earliest":"2026-11-23T02:10:00-05:00",
  "latest":"2026-11-23T02:30:00-05:00","tz":"America/Bogota"},
             "risk":{"level":"extreme","life_at_risk":true,"reasons":["child_under_13"]}},
 "persons":[{"id":"p1","roles":["victim"],"identified":"yes","names":[{"full":"Luc\u00eda P\u00e9rez",
  "type":"official"}],"age":{"min":9,"max":9},"minor":"yes","status":"held_suspected"}],
 "locations":[{"id":"l1","role":"abduction","country":"CO"}],
 "requested_actions":[{"action":"check_border","target":"p1","if_found":"stop_protect_victim"}]}
"""


@dataclass(frozen=True, slots=True)
class Basis:
    """A legal basis as node.toml gives it."""

    code: str
    citation: str = ""


DEFAULTS = Defaults(
    originator=Originator(
        agency_id="ponal.co",
        country="CO",
        agency_name="Policía Nacional de Colombia",
        unit="",
        officer_ref="duty-07",
        duty_contact=DutyContact(
            phone="+573000000417", secure_address=None, languages=("es", "en"), available_24x7=True
        ),
    ),
    languages=("es", "en"),
    legal_basis=(Basis("untoc", "art. 27"), Basis("national_law")),
    now_ms=NOW,
    message_id=MESSAGE_ID,
    case_id=CASE_ID,
)
SUPERSEDES = Reference("supersedes", EARLIER_ID, "ponal.co", NOW - 3_600_000, "ab" * 32)
FOLLOWING = replace(DEFAULTS, references=(SUPERSEDES,), revision=2, precedence="immediate")


def smallest() -> Tree:
    """The smallest alert, as a tree of its own."""
    tree: Tree = json.loads(SMALLEST)
    return tree


def changed(change: Callable[[Tree], Any], tree: Tree | None = None) -> Tree:
    """The smallest alert (or `tree`) after one change."""
    made = copy.deepcopy(tree if tree is not None else smallest())
    change(made)
    return made


def put(path: str, value: Any) -> Callable[[Tree], None]:
    """A change: this value at that JSON Pointer; what lies on the way is made."""

    def change(tree: Tree) -> None:
        *parts, last = path.split("/")[1:]
        found: Any = tree
        for part in parts:
            found = found[int(part)] if isinstance(found, list) else found.setdefault(part, {})
        if isinstance(found, list):
            found[int(last)] = value
        else:
            found[last] = value

    return change


def without(path: str) -> Callable[[Tree], None]:
    """A change: nothing at that JSON Pointer."""

    def change(tree: Tree) -> None:
        *parts, last = path.split("/")[1:]
        found: Any = tree
        for part in parts:
            found = found[int(part)] if isinstance(found, list) else found[part]
        del found[int(last) if isinstance(found, list) else last]

    return change


def completed(tree: Tree | None = None, defaults: Defaults = DEFAULTS) -> Completed:
    """The smallest alert (or `tree`), completed."""
    return complete(smallest() if tree is None else tree, defaults)


def updated(tree: Tree | None = None) -> Tree:
    """The tree of an update to the smallest alert."""
    return {**(tree or smallest()), "kind": "update", "why": "new_fact", "changed": ["/summary"]}


def problems(tree: Tree, defaults: Defaults = DEFAULTS) -> tuple[Problem, ...]:
    """What `complete` says against this tree; () if nothing."""
    try:
        complete(tree, defaults)
    except InvalidAlert as error:
        return error.problems
    return ()


def found(tree: Tree, defaults: Defaults = DEFAULTS) -> set[tuple[str, str]]:
    """(path, rule) of what `complete` says against this tree."""
    return {(problem.path, problem.rule) for problem in problems(tree, defaults)}


def at(ms: int) -> str:
    """A time of a document."""
    return format_time(ms)
