"""One message on the screen, in the order in which a duty officer needs it (rules: nodes/cli/page.py).

Precedence and exercise; warnings and what must not be done; who, where, when, vehicle; what we are asked to do and by
when; whom to telephone; handling in words; then everything else that the document holds; last the next command.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nodes.cli.page import ALARM, CAUTION, QUIET, STRONG, Page, Piece, Styled
from nodes.cli.times import show_time, show_time_there
from nodes.cli.views.content import view_rest
from nodes.cli.views.fields import Document, at, items, objects, qualified, short, text, texts
from nodes.cli.words import (
    EVIDENCE_USE,
    HANDLING,
    LEVELS,
    ONWARD,
    STATUSES,
    label,
    word,
)

_ALARMING = ("flash", "immediate")
_VICTIMS = ("victim", "victim_possible", "victim_companion")
_KNOWN_STATUS = ("", "actual")


def view_message(document: Document, page: Page, *, language: str | None = None) -> None:
    """The whole of a show-document."""
    content = document.get("content")
    if not isinstance(content, Mapping):
        content = {}
    _banner(document, content, page)
    _prohibitions(content, page)
    _essentials(content, page)
    _asked(content, page)
    _telephone(document, content, page)
    _handling(content, page)
    _narrative(content, page, language)
    view_rest(content, page)
    _identity(document, page)
    page.blank()
    page.line("Next: ", next_command(document), style=STRONG)


def next_command(document: Document) -> str:
    """The one command that brings this message forward."""
    id_ = short(text(document, "message_id"))
    if document.get("superseded_by"):
        return f"tocsin show {short(text(document, 'superseded_by'))}"
    if text(document, "direction") == "out":
        return f"tocsin track {id_}"
    if not document.get("decision"):
        return f"tocsin ack {id_} --accept      or: tocsin ack {id_} --reject CODE"
    if text(document, "decision") == "accepted":
        return f"tocsin ack {id_} --actioned"
    return f"tocsin show {text(document, 'case_id')}"


def _banner(document: Document, content: Document, page: Page) -> None:
    status = text(content, "status")
    if status not in _KNOWN_STATUS:
        page.banner(word(STATUSES, status), style=CAUTION)
    precedence, kind = text(document, "precedence"), text(document, "kind")
    revision = text(document, "revision")
    page.line(
        Styled(f" {precedence.upper()} ", ALARM if precedence in _ALARMING else STRONG),
        f"  {kind.upper()}",
        f" revision {revision}" if revision not in ("", "1") else "",
        " from " if text(document, "direction") != "out" else ", ours, from ",
        text(document, "from"),
        f"   case {text(document, 'case_id')}",
    )
    if document.get("superseded_by"):
        page.banner("SUPERSEDED: a newer one is ", short(text(document, "superseded_by")), style=CAUTION)
    match kind:
        case "cancel":
            page.banner("CALLED OFF: ", label("L34c", _anywhere(content, "cancel", "reason")))
        case "resolve":
            page.banner("CLOSED: ", label("L34r", _anywhere(content, "resolve", "outcome")), style=STRONG)
        case _:
            pass


def _anywhere(content: Document, section: str, name: str) -> str:
    return text(content, section, name) or text(content, name)


def _prohibitions(content: Document, page: Page) -> None:
    """Before anything else: what may kill somebody if it is read too late."""
    for caveat in texts(content, "handling", "caveats"):
        page.line("! ", label("L51", caveat).upper(), style=ALARM)
    warned: dict[str, list[str]] = {}
    for warning in texts(content, "warnings"):
        warned.setdefault(warning, [])
    for person in objects(content, "persons"):
        for warning in texts(person, "warnings"):
            warned.setdefault(warning, []).append(name_of(person))
    for warning, whose in warned.items():
        names = ", ".join(name for name in whose if name)
        page.line("! ", label("L18", warning).upper(), (": ", names) if names else "", style=ALARM)
    if at(content, "incident", "risk", "life_at_risk") is True:
        reasons = ", ".join(label("L11", reason) for reason in texts(content, "incident", "risk", "reasons"))
        page.line("! LIFE AT RISK", f": {reasons}" if reasons else "", style=ALARM)


def _essentials(content: Document, page: Page) -> None:
    page.blank()
    page.line(text(content, "summary"), style=STRONG)
    incident = at(content, "incident")
    if incident is not None:
        page.field(
            "what",
            label("L04", text(incident, "type")),
            f", {text(incident, 'confirmation')}" if text(incident, "confirmation") else "",
            f", {label('L06', text(incident, 'phase'))}" if text(incident, "phase") else "",
        )
    for person in sorted(objects(content, "persons"), key=lambda person: not _is_victim(person)):
        page.field(_role_of(person), _person(person), style=STRONG if _is_victim(person) else "")
    for location in objects(content, "locations"):
        page.field(label("L26", text(location, "role")) or "where", _place(location))
    _when(incident, page)
    for vehicle in objects(content, "vehicles"):
        page.field("vehicle", _vehicle(vehicle))


def _when(incident: Any, page: Page) -> None:
    earliest, latest = at(incident, "taken", "earliest"), at(incident, "taken", "latest")
    zone = text(incident, "taken", "tz")
    place = f" ({zone})" if zone else ""
    if earliest and latest and earliest != latest:
        page.field("taken", "between ", show_time_there(earliest), place)
        page.field("", "and ", show_time_there(latest))
    elif earliest or latest:
        page.field(
            "taken",
            "after " if not latest else "before " if not earliest else "",
            show_time_there(earliest or latest),
            place,
        )
    page.field("last seen", show_time_there(at(incident, "last_seen", "at")))


def _asked(content: Document, page: Page) -> None:
    actions = list(objects(content, "requested_actions"))
    if not actions and not text(content, "respond_by"):
        return
    page.heading("We are asked to")
    for action in actions:
        target = text(action, "target")
        said: list[Piece] = [
            label("L59", text(action, "action")),
            (": ", _named(content, target)) if target else "",
            f"; if found: {label('L59', text(action, 'if_found'))}" if text(action, "if_found") else "",
        ]
        page.line("- ", said, style=STRONG, indent=2)
        page.field("by", show_time_there(action.get("by")), style=CAUTION, indent=4)
        area = ", ".join(_named(content, place) for place in texts(action, "area"))
        page.field("area", area, indent=4)
        if action.get("contact_before_action") is True:
            page.line("CALL THE ORIGINATOR BEFORE YOU ACT", style=ALARM, indent=4)
        page.field("note", text(action, "note"), indent=4)
    page.field("answer by", show_time_there(content.get("respond_by")), style=CAUTION)


def _telephone(document: Document, content: Document, page: Page) -> None:
    originator = at(content, "originator")
    contact = at(originator, "duty_contact")
    phone = text(contact, "phone")
    name = text(originator, "agency_name") or text(originator, "agency_id") or text(document, "from")
    page.heading("Telephone")
    page.line(
        Styled(phone or "no number given", STRONG),
        "  ",
        name,
        f" ({text(originator, 'country')})" if text(originator, "country") else "",
        ", day and night" if _round_the_clock(contact) else "",
        f", speaks {', '.join(texts(contact, 'languages'))}" if texts(contact, "languages") else "",
        f", officer {text(originator, 'officer_ref')}" if text(originator, "officer_ref") else "",
        indent=2,
    )


def _round_the_clock(contact: Any) -> bool:
    return any(at(contact, name) is True for name in ("available_24x7", "available24x7", "24x7", "available"))


def _handling(content: Document, page: Page) -> None:
    handling = at(content, "handling")
    if not isinstance(handling, Mapping):
        return
    page.heading("Handling")
    tlp = text(handling, "tlp")
    page.field("TLP:" + tlp if tlp else "", label("L49", tlp))
    page.field("you may", label("L50", text(handling, "permitted_actions")), style=STRONG)
    for code in texts(handling, "h"):
        page.field(code, word(HANDLING, code), (": ", text(handling, "h3_text")) if code == "H3" else "")
    onward = at(handling, "onward")
    allowed = text(onward, "allowed") or text(onward)
    listed = ", ".join(texts(onward, "list"))
    page.field("pass on", word(ONWARD, allowed), f": {listed}" if listed else "")
    page.field("as evidence", word(EVIDENCE_USE, text(handling, "evidence_use")))
    page.field("erase by", show_time(handling.get("retain_until")))
    if handling.get("log_reads") is True:
        page.line("Each reading is logged with who and why.", style=QUIET)


def _narrative(content: Document, page: Page, language: str | None) -> None:
    told = list(objects(content, "narrative"))
    if not told:
        return
    page.heading("Account")
    wanted = (language or "").lower().partition("-")[0]
    told.sort(key=lambda entry: text(entry, "lang").lower().partition("-")[0] != wanted)
    for entry in told:
        by_machine = ", translated by a machine" if entry.get("machine_translated") is True else ""
        page.line(f"[{text(entry, 'lang')}{by_machine}]", style=QUIET, indent=2)
        page.paragraph(text(entry, "text"), indent=2)


def _identity(document: Document, page: Page) -> None:
    page.heading("This message")
    page.field("id", text(document, "message_id"))
    page.field("case", text(document, "case_id"))
    page.field("posted" if text(document, "direction") == "out" else "received", show_time(document.get("received_at")))
    page.field("opened", show_time(document.get("opened_at")))
    decision = text(document, "decision")
    page.field("decision", word(LEVELS, decision), f", {show_time(document.get('decided_at'))}" if decision else "")
    page.field("sha256", text(document, "content_sha256"), style=QUIET)


# --- parts ---------------------------------------------------------------------------------------------------------


def name_of(person: Document) -> str:
    """How a person is called, the official name first; the local id when no name is known."""
    names = sorted(objects(person, "names"), key=lambda name: text(name, "type") != "official")
    for name in names:
        full = text(name, "full") or " ".join(part for part in (text(name, "given"), text(name, "family")) if part)
        if full:
            original = text(name, "original_script")
            return f"{full} / {original}" if original and original != full else full
    return "unidentified" if text(person, "identified") == "no" else text(person, "id")


def _is_victim(person: Document) -> bool:
    return any(role in _VICTIMS for role in texts(person, "roles"))


def _role_of(person: Document) -> str:
    return ", ".join(label("L08", role) for role in texts(person, "roles")) or "person"


def _person(person: Document) -> Piece:
    age_low, age_high = text(person, "age", "min"), text(person, "age", "max")
    age = age_low if age_low == age_high else f"{age_low or '?'} to {age_high or '?'}"
    look = at(person, "description")
    height = qualified(look, "height_cm")
    return [
        name_of(person),
        f", {age} years" if age else "",
        f", born {qualified(person, 'dob')}" if qualified(person, "dob") else "",
        ", MINOR" if text(person, "minor") == "yes" else "",
        f", {_SEX.get(text(person, 'sex'), text(person, 'sex'))}" if text(person, "sex") else "",
        f", {', '.join(texts(person, 'nationalities'))}" if texts(person, "nationalities") else "",
        f", {label('L24', text(person, 'status'))}" if text(person, "status") else "",
        f", {height} cm" if height else "",
        f", {label('L15', qualified(look, 'build'))}" if qualified(look, "build") else "",
        f", hair {label('L16', qualified(look, 'hair'))}" if qualified(look, "hair") else "",
        f", eyes {label('L17', qualified(look, 'eyes'))}" if qualified(look, "eyes") else "",
        (", wears ", qualified(look, "dress")) if qualified(look, "dress") else "",
    ]


_SEX = {"0": "sex not known", "1": "male", "2": "female", "9": "sex not applicable"}


def _place(location: Document) -> Piece:
    if location.get("withheld") is True:
        return [text(location, "country"), ", place withheld"]
    street = " ".join(part for part in (text(location, "street"), text(location, "number")) if part)
    parts = [text(location, name) for name in ("locality", "subdivision", "country")]
    point = items(location, "geometry", "coordinates") if text(location, "geometry", "type") == "Point" else []
    # GeoJSON writes longitude first; people, and every telephone that opens a map, say latitude first.
    where = (
        f", {point[1]}, {point[0]} (lat, lon)"
        if len(point) >= 2 and all(_is_number(value) for value in point[:2])
        else ""
    )
    return [
        (text(location, "name"), ", ") if text(location, "name") else "",
        (street, ", ") if street else "",
        ", ".join(part for part in parts if part),
        where,
        f", within {text(location, 'radius_m')} m" if text(location, "radius_m") else "",
    ]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _vehicle(vehicle: Document) -> Piece:
    plates = [
        " ".join(
            part
            for part in (
                text(plate, "text"),
                text(plate, "country"),
                "(partial)" if plate.get("partial") is True else "",
            )
            if part
        )
        for plate in objects(vehicle, "plates")
    ]
    colours = ", ".join(label("L22", colour) for colour in texts(vehicle, "colours"))
    model = " ".join(part for part in (colours, text(vehicle, "make"), text(vehicle, "model")) if part)
    direction = text(vehicle, "direction")
    return [
        (Styled(", ".join(plates), STRONG), ", ") if plates else "",
        label("L25", text(vehicle, "kind")),
        (", ", model) if model else "",
        (", towards ", direction) if direction else "",
        (", ", text(vehicle, "features")) if text(vehicle, "features") else "",
    ]


def _named(content: Document, reference: str) -> str:
    """What a local reference (`p1`, `v1`, `l1`) points at, in words."""
    for person in objects(content, "persons"):
        if text(person, "id") == reference:
            return name_of(person)
    for location in objects(content, "locations"):
        if text(location, "id") == reference:
            return text(location, "name") or text(location, "locality") or text(location, "country") or reference
    for vehicle in objects(content, "vehicles"):
        if text(vehicle, "id") == reference:
            return ", ".join(text(plate, "text") for plate in objects(vehicle, "plates")) or reference
    return reference
