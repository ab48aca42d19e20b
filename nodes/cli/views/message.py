"""One message on the screen, in the order in which a duty officer needs it (rules: nodes/cli/page.py).

Precedence and exercise; warnings and what must not be done; who, where, when, vehicle; what we are asked to do and by
when; whom to telephone; handling in words; then everything else that the document holds; last the next command.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nodes.cli.page import ALARM, CAUTION, QUIET, STRONG, Ours, Page, Piece, Styled
from nodes.cli.times import show_time, show_time_there
from nodes.cli.views.content import view_rest
from nodes.cli.views.fields import Document, at, objects, short, text, texts
from nodes.cli.views.particulars import (
    is_victim,
    name_behind,
    name_of,
    needs_of,
    person_line,
    place_line,
    role_of,
    vehicle_line,
)
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
_KNOWN_STATUS = ("", "actual")


def view_message(document: Document, page: Page, *, language: str | None = None) -> None:
    """The whole of a show-document."""
    content = document.get("content")
    if not isinstance(content, Mapping):
        content = {}
    _banner(document, content, page)
    _prohibitions(content, page)
    _essentials(document, content, page)
    _asked(content, page)
    _telephone(document, content, page)
    _handling(content, page)
    _narrative(content, page, language)
    view_rest(content, page)
    _identity(document, page)
    page.blank()
    page.line("Next: ", Ours(next_command(document)), style=STRONG)


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
    if kind == "cancel":
        page.banner("CALLED OFF: ", label("L34c", text(content, "reason")))
    elif kind == "resolve":
        page.banner("CLOSED: ", label("L34r", text(content, "outcome")), style=STRONG)
        if content.get("stand_down") is True:
            page.line("! STAND DOWN: stop acting on this case", style=ALARM)


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
    if at(content, "handling", "confidential_existence") is True:
        page.line("! KEEP SECRET THAT THIS MESSAGE EXISTS", style=ALARM)
    if at(content, "incident", "risk", "life_at_risk") is True:
        reasons = ", ".join(label("L11", reason) for reason in texts(content, "incident", "risk", "reasons"))
        page.line("! LIFE AT RISK", f": {reasons}" if reasons else "", style=ALARM)


def _essentials(document: Document, content: Document, page: Page) -> None:
    page.blank()
    if text(content, "summary"):
        page.paragraph(text(content, "summary"), style=STRONG)
    if text(content, "text"):
        page.paragraph(text(content, "text"))
    page.field("holders must", text(content, "recipients_must").replace("_", " "), style=STRONG)
    page.field("ended", show_time_there(at(content, "outcome_at")))
    page.field("runs until", show_time(at(document, "expires_at") or at(content, "expires_at")))
    page.field("because", text(content, "necessity"))
    incident = at(content, "incident")
    if incident is not None:
        page.field(
            "what",
            label("L04", text(incident, "type")),
            f" ({text(incident, 'confirmation')})" if text(incident, "confirmation") else "",
        )
        page.field("phase", label("L06", text(incident, "phase")))
    for person in sorted(objects(content, "persons"), key=lambda person: not is_victim(person)):
        page.field(role_of(person), person_line(person), style=STRONG if is_victim(person) else "")
        page.field("needs", needs_of(person), style=CAUTION)
    for location in objects(content, "locations"):
        page.field(label("L26", text(location, "role")) or "where", place_line(location))
    _when(incident, page)
    for vehicle in objects(content, "vehicles"):
        page.field("vehicle", vehicle_line(vehicle))


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
            (": ", name_behind(content, target)) if target else "",
            f"; if found: {label('L59', text(action, 'if_found'))}" if text(action, "if_found") else "",
        ]
        page.line("- ", said, style=STRONG, indent=2)
        page.field("by", show_time_there(action.get("by")), style=CAUTION, indent=4)
        area = ", ".join(name_behind(content, place) for place in texts(action, "area"))
        page.field("area", area, indent=4)
        if action.get("contact_before_action") is True:
            page.line("CALL THE ORIGINATOR BEFORE YOU ACT", style=ALARM, indent=4)
        page.field("note", text(action, "note"), indent=4)
    page.field("answer by", show_time_there(content.get("respond_by")), style=CAUTION)


def _telephone(document: Document, content: Document, page: Page) -> None:
    if text(document, "direction") == "out":
        return
    originator = at(content, "originator")
    contact = at(originator, "duty_contact")
    phone = text(contact, "phone")
    name = text(originator, "agency_name") or text(originator, "agency_id") or text(document, "from")
    page.heading("Telephone")
    page.line(
        Styled(phone or "no number given", STRONG),
        "  ",
        name,
        (", ", text(originator, "unit")) if text(originator, "unit") else "",
        f" ({text(originator, 'country')})" if text(originator, "country") else "",
        ", day and night" if at(contact, "available_24x7") is True else "",
        f", speaks {', '.join(texts(contact, 'languages'))}" if texts(contact, "languages") else "",
        f", officer {text(originator, 'officer_ref')}" if text(originator, "officer_ref") else "",
        indent=2,
    )


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
    identity = text(handling, "victim_identity")
    page.field("victim's name", f"shown as {identity}" if identity not in ("", "full") else "")
    removed = texts(handling, "redactions")
    page.field("removed", f"for this agency: {', '.join(removed)}" if removed else "", style=CAUTION)
    media = text(content, "incident", "media", "state")
    page.field("media", media.replace("_", " ").upper() if media == "blackout" else media.replace("_", " "))
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
