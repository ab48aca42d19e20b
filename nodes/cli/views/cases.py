"""A case on the screen: its state, then its messages in the order of time."""

from __future__ import annotations

from collections.abc import Mapping

from nodes.cli.page import ALARM, CAUTION, GOOD, QUIET, STRONG, Page
from nodes.cli.times import show_time
from nodes.cli.views.delivery import view_track
from nodes.cli.views.fields import Document, objects, short, text
from nodes.cli.views.message import view_message

_STATES: Mapping[str, tuple[str, str]] = {
    "active": ("active", STRONG),
    "suspended": ("SUSPENDED", CAUTION),
    "resolved": ("resolved", GOOD),
    "cancelled": ("CANCELLED: take no action", ALARM),
    "expired": ("EXPIRED", CAUTION),
    "recalled": ("RECALLED", ALARM),
}

_MOVES = ("alert", "update", "cancel", "resolve")  # the newest of them is what the recipients are to read


def view_case(document: Document, page: Page, *, language: str | None = None) -> None:
    """`show CASE`: its history in lines, then what stands now in full, the newest first."""
    _head(document, page)
    messages = list(objects(document, "messages"))
    for message in messages:
        page.line(
            f"{short(text(message, 'message_id'))}  {show_time(message.get('received_at'))}  ",
            text(message, "kind"),
            f" {text(message, 'revision')}",
            " from ",
            text(message, "from"),
            ", superseded" if message.get("superseded_by") else "",
            indent=2,
            style=QUIET,
        )
    for message in reversed(messages):
        if not message.get("superseded_by"):
            page.blank()
            page.rule()
            view_message(message, page, language=language)


def view_case_tracked(
    document: Document, page: Page, steps: Mapping[str, Mapping[str, tuple[str, str]]] | None = None
) -> None:
    """`track CASE`: each message of ours with its recipients."""
    _head(document, page)
    messages = list(objects(document, "messages"))
    moves = [place for place, one in enumerate(messages) if "recipients" in one and text(one, "kind") in _MOVES]
    for place, message in enumerate(messages):
        page.blank()
        if "recipients" in message:
            over = text(message, "kind") in (*_MOVES, "renew") and place < max(moves, default=0)
            view_track(message, page, (steps or {}).get(text(message, "message_id")), over=over)
        else:
            page.line(text(message, "message_id"), f"  {text(message, 'kind')}, received from ", text(message, "from"))


def _head(document: Document, page: Page) -> None:
    words, style = _STATES.get(text(document, "state"), (text(document, "state"), ""))
    page.line("Case ", text(document, "case_id"), ": ", words, style=style)
    originators = list(objects(document, "originators"))
    for originator in originators:
        count, agency = originator.get("alerts"), text(originator, "agency")
        if isinstance(count, int) and count > 1:
            page.line(f"{count} alerts of ", agency, " bear this case id: they may be different cases.", style=CAUTION)
            page.line("Ask ", agency, " by telephone; decide about each message by its own id.", indent=2)
    if len(originators) < 2:
        return
    page.line("Several agencies use this case id. What each says of its own alert:", style=CAUTION)
    for originator in originators:
        words, style = _STATES.get(text(originator, "state"), (text(originator, "state"), ""))
        page.line(text(originator, "agency"), ": ", words, indent=2, style=style)
