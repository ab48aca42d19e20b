"""The inbox, an arrival, an ack. Flash stands first; what is not actual stands apart and says so."""

from __future__ import annotations

from nodes.cli.page import ALARM, CAUTION, GOOD, QUIET, Ours, Page, Piece, Styled
from nodes.cli.times import show_time
from nodes.cli.views.fields import Document, items, objects, short, text
from nodes.cli.words import LEVELS, STATES, STATUSES, precedence_order, word

URGENT = ("flash", "immediate")
_STYLES = {"flash": ALARM, "immediate": CAUTION}


def view_inbox(document: Document, page: Page, *, narrowed: bool = False) -> None:
    """What was received: actual first, flash first in it, then newest first. `narrowed`: there may be more."""
    messages = list(objects(document, "messages"))
    actual = [message for message in messages if text(message, "status") in ("", "actual")]
    if not messages:
        page.line("Nothing here." if not items(document, "messages") else "Nothing that can be listed.")
        return
    _listing(actual, page)
    for status in sorted({text(message, "status") for message in messages} - {"", "actual"}):
        page.blank()
        page.banner(word(STATUSES, status).upper(), style=CAUTION)
        _listing([message for message in messages if text(message, "status") == status], page)
    waiting = [message for message in messages if _open(message)]
    if waiting:
        first = min(waiting, key=lambda message: (message not in actual, precedence_order(message.get("precedence"))))
        page.blank()
        page.line(
            f"{len(waiting)} of those listed not decided. " if narrowed else f"{len(waiting)} not decided. ",
            Ours(f"Next: tocsin show {short(text(first, 'message_id'))}"),
        )


def view_arrival(document: Document, page: Page) -> bool:
    """One document of `watch`. True if it should wake somebody."""
    inner = document.get("message")
    message: Document = inner if isinstance(inner, dict) else document
    status = text(message, "status")
    if text(message, "message_id") and "summary" in message:
        precedence = text(message, "precedence")
        page.line(
            *((Styled(f"{word(STATUSES, status)}  ", CAUTION),) if status not in ("", "actual") else ()),
            Styled(precedence.upper(), _STYLES.get(precedence, "")),
            f"  {show_time(message.get('received_at'))}  {text(message, 'kind')} from ",
            text(message, "from"),
            ": ",
            text(message, "summary"),
        )
        page.line(Ours(f"tocsin show {short(text(message, 'message_id'))}"), indent=2, style=QUIET)
        return precedence in URGENT and status in ("", "actual") and text(document, "event") in ("", "message")
    if text(document, "event") == "watching":
        page.line("Watching. Nothing is opened by this; end it with Ctrl-C.", style=QUIET)
        return False
    if text(document, "event") == "delivery":
        _moved(message, page)
        return False
    said = [f"{name} {text(value)}" for name, value in document.items() if name not in ("v", "event") and text(value)]
    page.line(text(document, "event") or "news", ": ", ", ".join(said), style=QUIET)
    return False


def _moved(message: Document, page: Page) -> None:
    """News about a message of ours: where each recipient stands now."""
    for recipient in objects(message, "recipients"):
        page.line(
            text(message, "kind"),
            f" {short(text(message, 'message_id'))} at ",
            text(recipient, "agency"),
            f": {word(STATES, recipient.get('state'))}",
            style=QUIET,
        )


def view_ack(document: Document, page: Page) -> None:
    """What was said to the originator."""
    cause, officer = text(document, "cause"), text(document, "officer")
    page.line(
        word(LEVELS, document.get("level")),
        f" ({cause})" if cause else "",
        ": ",
        text(document, "message_id"),
        f", at {show_time(document.get('at'))}",
        (", by ", officer) if officer else "",
        style=GOOD,
    )
    note = f"tocsin note {text(document, 'case_id') or 'CASE'} -"
    page.line(Ours(f"The originator gets it signed. A decision stands; to explain it: {note}"), style=QUIET)


def _listing(messages: list[Document], page: Page) -> None:
    rows: list[tuple[list[Piece], str]] = []
    for message in sorted(messages, key=lambda message: precedence_order(message.get("precedence")) != 0):
        precedence = text(message, "precedence")
        kind = text(message, "kind")
        revision = text(message, "revision")
        rows.append(
            (
                [
                    short(text(message, "message_id")),
                    precedence.upper() if precedence in URGENT else precedence,
                    show_time(message.get("received_at")),
                    text(message, "from"),
                    kind + (f" {revision}" if revision not in ("", "1") else ""),
                    _standing(message),
                    text(message, "case_id"),
                    text(message, "summary"),
                ],
                _STYLES.get(precedence, "") if _open(message) else "",
            )
        )
    page.table(["id", "precedence", "received", "from", "kind", "state", "case", "summary"], rows)


def _open(message: Document) -> bool:
    return not message.get("decision") and not message.get("superseded_by")


def _standing(message: Document) -> str:
    if message.get("superseded_by"):
        return "superseded"
    if message.get("decision"):
        return word(LEVELS, message["decision"])
    return "opened" if message.get("opened_at") else "NEW"
