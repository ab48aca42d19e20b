"""Peers and operators on the screen."""

from __future__ import annotations

from nodes.cli.page import ALARM, CAUTION, GOOD, Ours, Page, Piece
from nodes.cli.times import show_span, show_time
from nodes.cli.views.fields import Document, items, objects, text, texts
from nodes.cli.words import TRUST, word

SKEW_WARNING_MS = 2_000
_STYLES = {"trusted": GOOD, "pending": CAUTION, "suspended": ALARM}


def view_peer(document: Document, page: Page) -> None:
    """K: one peer, and what to do next with it."""
    agency, trust = text(document, "agency"), text(document, "trust")
    page.line(agency, f"  {text(document, 'name')}", f" ({text(document, 'country')})")
    page.field("trust", word(TRUST, trust), style=_STYLES.get(trust, ""))
    page.field("reason", text(document, "reason"))
    page.field("safety code", text(document, "safety_code"))
    page.field("listens at", ", ".join(texts(document, "endpoints")) or "nowhere: it calls us")
    page.field("card", f"serial {text(document, 'serial')}, valid until {show_time(document.get('card_expires_at'))}")
    page.field("added", show_time(document.get("added_at")))
    page.field("confirmed", show_time(document.get("confirmed_at")))
    page.field("last contact", show_time(document.get("last_contact_at")) or "none yet")
    _skew(document, page)
    page.field("queued", text(document, "queued"))
    step = {
        "pending": "telephone them, then: tocsin peer add CARD --code CODE",
        "trusted": f"tocsin doctor {agency}",
        "suspended": f"tocsin peer resume {agency}",
    }.get(trust)
    if step:
        page.line("Next: ", Ours(step))
    elif trust == "removed" and text(document, "queued") not in ("", "0"):
        page.line(f"Messages that waited for it: {text(document, 'queued')}. They go nowhere now.", style=CAUTION)
        page.line("Next: ", Ours("tocsin sent --waiting"))


def view_peers(document: Document, page: Page) -> None:
    """The list of peers."""
    if not items(document, "peers"):
        page.line(Ours("No peers yet. Next: tocsin peer add CARD"))
        return
    rows: list[tuple[list[Piece], str]] = []
    for peer in objects(document, "peers"):
        trust = text(peer, "trust")
        said: list[Piece] = [word(TRUST, trust), f" ({text(peer, 'reason')})" if peer.get("reason") else ""]
        rows.append(
            (
                [
                    text(peer, "agency"),
                    text(peer, "country"),
                    show_time(peer.get("last_contact_at")) or "no contact yet",
                    text(peer, "queued"),
                    text(peer, "name"),
                    said,
                ],
                _STYLES.get(trust, "") if trust != "trusted" else "",
            )
        )
    page.table(["agency", "country", "last contact", "queued", "name", "trust"], rows)


def view_operators(document: Document, page: Page) -> None:
    """The list of operators, or one."""
    listed = list(objects(document, "operators")) or ([document] if document.get("ref") else [])
    rows: list[tuple[list[Piece], str]] = [
        (
            [
                text(operator, "ref"),
                text(operator, "uid"),
                "program" if operator.get("program") is True else "person",
                ", ".join(texts(operator, "roles")),
            ],
            "",
        )
        for operator in listed
    ]
    page.table(["operator", "uid", "is a", "roles"], rows)
    if not rows:
        page.line("No operators.")


def _skew(document: Document, page: Page) -> None:
    skew = document.get("clock_skew_ms")
    if isinstance(skew, int) and not isinstance(skew, bool):
        late = abs(skew) >= SKEW_WARNING_MS
        page.field("its clock", show_span(skew), " from ours", style=CAUTION if late else "")
