"""What became of a message: P, the explanation before posting, track, why. Knows states and people, no content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nodes.cli.page import ALARM, CAUTION, GOOD, QUIET, Ours, Page, Piece, Styled
from nodes.cli.times import show_size, show_time
from nodes.cli.views.fields import Document, at, items, objects, short, text, texts
from nodes.cli.words import LEVELS, REASONS, STATES, STATUSES, label, word

_STYLES = {
    "refused": ALARM,
    "expired": ALARM,
    "rejected": CAUTION,
    "queued": CAUTION,
    "accepted": GOOD,
    "actioned": GOOD,
}
HELD = ("peer_pending", "peer_suspended", "held_by_operator", "anchor_expired")  # until somebody here does something
NOT_LOOKED = ("queued", "in_custody", "stored", "expired", "refused")


def view_posted(document: Document, page: Page) -> None:
    """P after a verb that posts: what was posted and where each recipient stands now."""
    message_id = text(document, "message_id")
    done = "Posted already, nothing was sent twice:" if document.get("repeated") else "Posted"
    page.line(done, " ", message_id, f" ({_kind(document)}), case ", text(document, "case_id"))
    _recipients(document, page)
    states = {text(recipient, "state") for recipient in objects(document, "recipients")}
    if states & {"refused", "expired"}:
        page.line("Not everybody will have it. Next: ", Ours(f"tocsin why {short(message_id)}"), style=CAUTION)
    elif states and not states & {"queued", "in_custody"}:
        page.line("Everybody has it. Next, to see who looked: ", Ours(f"tocsin track {short(message_id)}"), style=GOOD)
    elif any(text(recipient, "reason") in HELD for recipient in objects(document, "recipients")):
        page.line("It is safe here and does not go by itself. Next: ", Ours(f"tocsin why {short(message_id)}"))
    else:
        page.line("It is safe here and goes out by itself. Next: ", Ours(f"tocsin track {short(message_id)}"))


def view_explained(document: Document, page: Page) -> None:
    """P of `post --explain`: nothing was posted; who would get what, and what the node filled in."""
    page.line("Nothing was posted. This is what a post would do.", style=CAUTION)
    page.field("message", _kind(document), ", ", text(document, "precedence"))
    page.field("case", text(document, "case_id"))
    _would_send(document, page)
    _defaulted(document, page)


def view_confirm(document: Document, written: Document, page: Page) -> None:
    """The one screen before a post: to whom, what they will see, until when.

    `document` is the node's preview; its `content` is the completed message, `written` what the analyst wrote of it.
    """
    page.heading("About to post")
    content = at(document, "content") or written
    status = text(content, "status")
    if status not in ("", "actual"):
        page.banner(word(STATUSES, status))
    page.field("message", text(document, "precedence").upper(), " ", _kind(document))
    page.field("case", text(content, "case_id") or text(document, "case_id"))
    page.field("summary", text(content, "summary"))
    page.field("reason", label("L34c", text(content, "reason")))
    page.field("outcome", label("L34r", text(content, "outcome")))
    page.field("says", text(content, "text") or text(content, "necessity"))
    tlp, may = text(content, "handling", "tlp"), text(content, "handling", "permitted_actions")
    page.field("handling", (f"TLP:{tlp}: ", label("L49", tlp)) if tlp else "")
    page.field("they may", label("L50", may))
    page.field("until", show_time(at(document, "expires_at") or at(content, "expires_at")))
    page.heading("To")
    _would_send(document, page)
    _defaulted(document, page)


def view_track(
    document: Document, page: Page, phones: Mapping[str, tuple[str, str]] | None = None, *, over: bool = False
) -> None:
    """P: per recipient the state in words, who said it and when; last, who has not looked and what to do about each.

    `phones` gives per agency (sentence, next step), as `why` answers them. `over`: a later message of ours took its
    place, so that nobody need look at this one any more.
    """
    page.line(text(document, "message_id"), f"  {text(document, 'precedence').upper()} {_kind(document)}")
    page.field("case", text(document, "case_id"))
    page.field("posted", show_time(document.get("posted_at")))
    page.blank()
    _recipients(document, page)
    if over:
        _receipts(document, page)
        return
    waiting = _not_looked(document)
    if waiting:
        page.heading("Has not looked")
        for agency in waiting:
            sentence, step = (phones or {}).get(agency, ("", ""))
            page.line(Styled(agency, CAUTION), f": {sentence}" if sentence else "", indent=2)
            if step:
                page.line(Ours(step), indent=4)
        page.line("A delivered message is no guarantee that somebody looked: telephone.", style=QUIET)
    _receipts(document, page)
    page.blank()
    page.line(Ours(f"Next: tocsin why {short(text(document, 'message_id'))}"))


def view_why(document: Document, page: Page) -> None:
    """Per recipient one sentence and the next step."""
    for recipient in objects(document, "recipients"):
        state = text(recipient, "state")
        page.line(Styled(text(recipient, "agency"), _STYLES.get(state, "")), ": ", text(recipient, "sentence"))
        attempts = text(recipient, "attempts")
        if recipient.get("next_attempt_at"):
            page.line(
                f"next attempt {show_time(recipient['next_attempt_at'])}",
                f", {attempts} so far" if attempts else "",
                indent=2,
                style=QUIET,
            )
        page.line("Next: ", Ours(text(recipient, "next_step")), indent=2)


def view_sent(document: Document, page: Page, *, waiting: bool = False, since: str | None = None) -> None:
    """Messages of ours, newest first; what somebody does not have yet stands out.

    `waiting` and `since` are how the list was narrowed: an empty one then says nothing about the rest.
    """
    rows: list[tuple[list[Piece], str]] = []
    for message in objects(document, "messages"):
        states = [text(recipient, "state") for recipient in objects(message, "recipients")]
        rows.append(
            (
                [
                    short(text(message, "message_id")),
                    text(message, "precedence"),
                    show_time(message.get("posted_at")),
                    _kind(message),
                    text(message, "case_id"),
                    _tally(states),
                    text(message, "summary"),
                ],
                next((_STYLES[state] for state in ("refused", "expired", "rejected", "queued") if state in states), ""),
            )
        )
    if not rows and (waiting or since):
        after = f" of what was posted since {show_time(since)}" if since else ""
        page.line(f"Nothing{after} is waiting." if waiting else f"Nothing was posted since {show_time(since)}.")
        page.line(Ours("All that was posted: tocsin sent"))
        return
    if not rows:
        page.line(Ours("Nothing was posted. Next: tocsin post F --to AGENCY"))
        return
    page.table(["id", "precedence", "posted", "kind", "case", "recipients", "summary"], rows)
    page.blank()
    page.line(Ours(f"Next: tocsin track {short(text(next(objects(document, 'messages')), 'message_id'))}"))


def _tally(states: list[str]) -> str:
    """`2 stored, 1 queued`, the least far first."""
    order = [state for state in STATES if state in states]
    return ", ".join(f"{states.count(state)} {state.replace('_', ' ')}" for state in order)


def steps_of(document: Document) -> dict[str, tuple[str, str]]:
    """(sentence, next step) per agency of a `why` document."""
    return {
        text(recipient, "agency"): (text(recipient, "sentence"), text(recipient, "next_step"))
        for recipient in objects(document, "recipients")
    }


def _not_looked(document: Document) -> list[str]:
    return [
        text(recipient, "agency")
        for recipient in objects(document, "recipients")
        if text(recipient, "state") in NOT_LOOKED
    ]


def _recipients(document: Document, page: Page) -> None:
    rows: list[tuple[list[Piece], str]] = []
    for recipient in objects(document, "recipients"):
        state = text(recipient, "state")
        last = _last_receipt(recipient)
        said: list[Piece] = [word(STATES, state)]
        if recipient.get("reason"):
            said.append(f": {word(REASONS, recipient['reason'])}")
        if recipient.get("erased_at"):
            said.append("; erased there")
        who: list[Piece] = [text(last, "officer")]
        rows.append(
            (
                [("  ", text(recipient, "agency")), show_time(recipient.get("updated_at")), who, said],
                _STYLES.get(state, ""),
            )
        )
    page.table(["  to", "since", "officer", "state"], rows)


def _last_receipt(recipient: Document) -> Document:
    receipts = [
        receipt for receipt in objects(recipient, "receipts") if text(receipt, "level") == text(recipient, "state")
    ]
    return receipts[-1] if receipts else {}


def _receipts(document: Document, page: Page) -> None:
    rows: list[tuple[list[Piece], str]] = []
    for recipient in objects(document, "recipients"):
        for receipt in objects(recipient, "receipts"):
            said: list[Piece] = [word(LEVELS, receipt.get("level"))]
            if receipt.get("cause"):
                said.append(f" ({word(REASONS, receipt['cause'])})")
            if receipt.get("text"):
                said.append(f": {text(receipt, 'text')}")
            if receipt.get("verified") is not True:
                said.append(" NOT VERIFIED")
            by: list[Piece] = [text(receipt, "by"), f" {text(receipt, 'officer')}" if receipt.get("officer") else ""]
            rows.append(([("  ", show_time(receipt.get("at"))), by, said], QUIET))
    if rows:
        page.heading("Receipts")
        page.table(["  at", "signed by", "says"], rows)


def _would_send(document: Document, page: Page) -> None:
    names = document.get("names")
    rows: list[tuple[list[Piece], str]] = []
    for recipient in objects(document, "would_send"):
        agency = text(recipient, "agency")
        allowed = recipient.get("allowed") is True
        sees = "the full message" if text(recipient, "view") == "full" else text(recipient, "view")
        via = texts(recipient, "via")
        said: Piece = (
            [sees, f", {show_size(recipient.get('size'))}", f", by way of {', '.join(via)}" if via else ""]
            if allowed
            else f"NOT ALLOWED: {word(REASONS, recipient.get('reason'))}"
        )
        rows.append(([("  ", agency), text(names, agency), said], "" if allowed else ALARM))
    page.table(["  to", "", "sees"], rows)


def _defaulted(document: Document, page: Page) -> None:
    filled = items(document, "defaulted")
    if filled:
        page.field("filled in", "by the node: ", ", ".join(str(pointer) for pointer in filled), style=QUIET)


def _kind(document: Mapping[str, Any]) -> str:
    revision = text(document, "revision")
    return text(document, "kind") + (f" revision {revision}" if revision else "")
