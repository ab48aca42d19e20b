"""What the node fills in so that a person in a hurry need not: the table of docs/CLI.md §2, and nothing beyond it.

Owns the facts a node hands in and the filling; each filled place is named in the document itself (`ext.tocsin`), so
that a reader years later can tell what the analyst said from what a machine assumed. Judges nothing: that is `rules`.
`handling.tlp` and `handling.permitted_actions` are never filled: disclosure is decided by a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from exchange.alerts.codes import code_list
from exchange.alerts.header import SCHEMA
from exchange.alerts.registry import Kind, Standing
from exchange.alerts.rules import age_answer, is_victim
from exchange.alerts.times import format_time, ms_or_none
from exchange.alerts.values import truth_of

DAY_MS: Final = 86_400_000
LIFETIME_MS: Final = 7 * DAY_MS
RETENTION_MS: Final = 30 * DAY_MS


class Citation(Protocol):
    """A legal basis: a code of L46 and the article ("" for none)."""

    @property
    def code(self) -> str:
        """Code of list L46."""

    @property
    def citation(self) -> str:
        """The article, or ""."""


@dataclass(frozen=True, slots=True)
class DutyContact:
    """Whom recipients can telephone."""

    phone: str | None
    secure_address: str | None
    languages: tuple[str, ...]
    available_24x7: bool


@dataclass(frozen=True, slots=True)
class Originator:
    """This agency, as its messages name it. `unit` "" for none."""

    agency_id: str
    country: str
    agency_name: str
    unit: str
    officer_ref: str
    duty_contact: DutyContact


@dataclass(frozen=True, slots=True)
class Reference:
    """A message that the new one speaks about. `role`: supersedes, replies_to or related."""

    role: str
    message_id: str
    originator: str
    sent_at_ms: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the node knows. `now_ms` becomes the time of sending; `languages`: the main one first.

    `case_id` is used unless the analyst names one. `precedence` and `handling` (with `transfer_basis`) are those of the
    case, for what follows it; None where there is no case yet.
    """

    originator: Originator
    languages: tuple[str, ...]
    legal_basis: tuple[Citation, ...]
    now_ms: int
    message_id: str
    case_id: str
    references: tuple[Reference, ...] = ()
    revision: int = 1
    precedence: str | None = None
    handling: Mapping[str, Any] | None = None
    transfer_basis: str | None = None
    runs_until_ms: int | None = None  # the case that is followed: what follows it does not shorten it unasked


# What the node fills, by place; `*` is any index. The JSON Schema leaves these out of `required`.
FILLED: Final = frozenset(
    """
    /schema /message_id /case_id /revision /references /status /originator /sent_at
    /created_at /expires_at /languages /purpose /legal_basis /transfer_basis /grading
    /handling/h /handling/onward /handling/onward/allowed /handling/evidence_use /handling/victim_identity
    /handling/retain_until /handling/review_at /handling/log_reads
    /incident/phase /incident/cross_border /incident/cross_border/suspected /incident/media /incident/media/state
    /incident/victim_count /incident/risk/assessed_at
    /persons/*/led_category /persons/*/minor
    /recipients_must /outcome_at /stand_down
    """.split()
)


class Filling:
    """Fills one tree. `places` are the JSON Pointers of what was filled."""

    def __init__(self, tree: dict[str, Any], defaults: Defaults) -> None:
        self._tree = tree
        self._defaults = defaults
        self._now = format_time(defaults.now_ms)
        self.places: list[str] = []

    def fill(self, kind: Kind) -> None:
        """Fill what this kind has and the analyst left out."""
        self._header(kind)
        if kind.carries_case:
            self._full_header()
            self._handling()
            self._incident()
            self._persons()
        elif kind.marks_defaults:
            self._of_the_case()
        if kind.name == "cancel":
            self._put(self._tree, "", "recipients_must", "stop_action")
        if kind.name == "resolve":
            self._put(self._tree, "", "outcome_at", self._now)
            self._put(self._tree, "", "stand_down", True)

    def _put(self, where: dict[str, Any], place: str, name: str, value: Any) -> None:
        """`place`: the JSON Pointer of `where`. Our own names need no escaping."""
        if name not in where:
            where[name] = value
            self.places.append(f"{place}/{name}")

    def _put_in(self, where: dict[str, Any], place: str, outer: str, name: str, value: Any) -> None:
        inner = where.setdefault(outer, {})
        if isinstance(inner, dict):
            self._put(inner, f"{place}/{outer}", name, value)

    def _header(self, kind: Kind) -> None:
        tree, defaults = self._tree, self._defaults
        self._put(tree, "", "schema", SCHEMA)
        self._put(tree, "", "message_id", defaults.message_id)
        self._put(tree, "", "case_id", defaults.case_id)
        self._put(tree, "", "revision", defaults.revision)
        given = tree.get("references", [])
        if defaults.references and isinstance(given, list):
            own = [_reference(reference) for reference in defaults.references]
            # The analyst may point at further messages; which one is superseded is the node's knowledge.
            tree["references"] = own + given
            self.places += [f"/references/{index}" for index in range(len(own))]
        self._put(tree, "", "status", "actual")
        if defaults.precedence is not None and kind.standing is not Standing.FIRST:
            self._put(tree, "", "precedence", defaults.precedence)
        self._put(tree, "", "originator", _originator(defaults.originator))
        self._put(tree, "", "sent_at", self._now)

    def _full_header(self) -> None:
        tree, defaults = self._tree, self._defaults
        self._put(tree, "", "created_at", self._now)
        self._put(tree, "", "expires_at", format_time(self._expires_ms()))
        primary, *also = defaults.languages
        self._put(tree, "", "languages", {"primary": primary, **({"also": also} if also else {})})
        self._put(tree, "", "purpose", "save_life")
        self._put(tree, "", "legal_basis", [_citation(basis) for basis in defaults.legal_basis])
        risk = _at(tree, "incident", "risk")
        if risk is not None and truth_of(risk.get("life_at_risk")):
            self._put(tree, "", "transfer_basis", "vital_interests")
        graded = {"scheme": "4x4", "source": "X", "info": "4", "fact": "reported"}
        self._put(tree, "", "grading", {**graded, "assessed_at": self._now, "sanitised": False})

    def _expires_ms(self) -> int:
        return max(self._defaults.now_ms + LIFETIME_MS, self._defaults.runs_until_ms or 0)

    def _handling(self) -> None:
        handling = _at(self._tree, "handling")
        if handling is None:
            return
        place = "/handling"
        expires = ms_or_none(self._tree.get("expires_at")) or self._expires_ms()
        self._put(handling, place, "h", ["H0"])
        marks = handling["h"]
        if isinstance(marks, list) and "H0" not in marks:
            handling["h"] = [*marks, "H0"]  # H0 stays in every package; at the end, so that no other changes its place
            self.places.append(f"{place}/h/{len(marks)}")
        self._put_in(handling, place, "onward", "allowed", "consent")
        self._put(handling, place, "evidence_use", "with_consent")
        self._put(handling, place, "victim_identity", "full")
        self._put(handling, place, "retain_until", format_time(expires + RETENTION_MS))
        self._put(handling, place, "review_at", format_time(expires + RETENTION_MS))
        marked = isinstance(marks, list) and any(mark in ("H2", "H3") for mark in marks)
        self._put(handling, place, "log_reads", marked or handling.get("tlp") == "RED")

    def _incident(self) -> None:
        incident = _at(self._tree, "incident")
        if incident is None:
            return
        place = "/incident"
        confirmed = incident.get("confirmation") == "confirmed"
        self._put(incident, place, "phase", "confirmed_no_contact" if confirmed else "reported_unconfirmed")
        victims = sum(is_victim(person) for person in _objects(self._tree.get("persons")))
        self._put(incident, place, "victim_count", {"min": victims, "max": victims})
        if not incident.get("cross_border"):  # a direction without `suspected` is for the analyst to complete
            self._put_in(incident, place, "cross_border", "suspected", value=False)
        self._put_in(incident, place, "media", "state", "blackout")
        risk = _at(incident, "risk")
        if risk is not None:
            self._put(risk, f"{place}/risk", "assessed_at", self._now)

    def _persons(self) -> None:
        persons = self._tree.get("persons")
        for index, person in enumerate(persons if isinstance(persons, list) else ()):
            if not isinstance(person, dict):
                continue
            place = f"/persons/{index}"
            category = _led_category(person.get("roles"))
            if category is not None:
                self._put(person, place, "led_category", category)
            answer = age_answer(person, self._defaults.now_ms)
            if answer is not None and is_victim(person):
                self._put(person, place, "minor", answer)

    def _of_the_case(self) -> None:
        handling, basis = self._defaults.handling, self._defaults.transfer_basis
        if handling is not None and "handling" not in self._tree:
            self._put(self._tree, "", "handling", dict(handling))
            if basis is not None:
                self._put(self._tree, "", "transfer_basis", basis)


def _led_category(roles: Any) -> str | None:
    first = roles[0] if isinstance(roles, list) and roles else None
    code = code_list("L08").codes.get(first) if isinstance(first, str) else None
    category = None if code is None else code.more.get("led")
    return category if isinstance(category, str) else None


def _reference(reference: Reference) -> dict[str, Any]:
    return {
        "role": reference.role,
        "message_id": reference.message_id,
        "originator": reference.originator,
        "sent_at": format_time(reference.sent_at_ms),
        "sha256": reference.sha256,
    }


def _originator(originator: Originator) -> dict[str, Any]:
    contact = originator.duty_contact
    return {
        "agency_id": originator.agency_id,
        "country": originator.country,
        "agency_name": originator.agency_name,
        "unit": originator.unit or None,
        "officer_ref": originator.officer_ref,
        "duty_contact": {
            "phone": contact.phone,
            "secure_address": contact.secure_address,
            "languages": list(contact.languages) or None,
            "available_24x7": contact.available_24x7,
        },
    }


def _citation(basis: Citation) -> dict[str, Any]:
    return {"code": basis.code, **({"citation": basis.citation} if basis.citation else {})}


def _at(tree: Mapping[str, Any], *names: str) -> dict[str, Any] | None:
    found: Any = tree
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else None


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
