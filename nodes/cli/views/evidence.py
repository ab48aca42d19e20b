"""Evidence on the screen: what a file holds, and what it proves to whom."""

from __future__ import annotations

import shlex

from nodes.cli.page import ALARM, CAUTION, GOOD, QUIET, STRONG, Ours, Page, Piece, Styled, Whole
from nodes.cli.times import show_size, show_time
from nodes.cli.views.fields import Document, objects, short, text
from nodes.cli.words import LEVELS, word

_VERDICTS = {
    "proved": ("PROVED", GOOD),
    "not_proved": ("NOT PROVED", CAUTION),
    "contradicted": ("CONTRADICTED", ALARM),
}


def view_exported(document: Document, page: Page) -> None:
    """What `evidence export` wrote."""
    file = text(document, "file")
    page.line("Written and read back: ", Whole(file), f", {show_size(document.get('size'))}", style=GOOD)
    page.field("message", text(document, "message_id"))
    page.field("sha256", text(document, "sha256"))
    page.line(Ours(f"Next: tocsin evidence verify {shlex.quote(file)}"))


def view_verified(document: Document, page: Page) -> None:
    """What a file proves: first under which condition, then the verdict, then each claim."""
    for anchor in objects(document, "anchors"):
        if anchor.get("trusted") is not True:
            page.line(
                "True if the safety code of ",
                text(anchor, "agency"),
                " is ",
                Styled(text(anchor, "safety_code"), STRONG),
                ": compare it with a card you trust.",
            )
    verdict, style = _VERDICTS.get(text(document, "verdict"), (text(document, "verdict"), ""))
    reason = text(document, "reason")
    page.line(
        Styled(verdict, style), "  ", Whole(text(document, "file")), f": {reason.replace('_', ' ')}" if reason else ""
    )
    page.field("message", text(document, "message_id"))
    page.field("case", text(document, "case_id"))
    rows: list[tuple[list[Piece], str]] = []
    for claim in objects(document, "claims"):
        result, claim_style = _VERDICTS.get(text(claim, "result"), (text(claim, "result"), ""))
        reason = text(claim, "reason")
        rows.append(
            (
                [
                    ("  ", word(LEVELS, claim.get("claim"))),
                    _about(claim),
                    [text(claim, "agency"), f" {text(claim, 'officer')}" if claim.get("officer") else ""],
                    show_time(claim.get("at")),
                    [Styled(result.lower(), claim_style), f" ({reason})" if reason else ""],
                ],
                "",
            )
        )
    page.table(["  claim", "of", "by", "at", "result"], rows)
    page.line("Checked with the keys in the file itself, not with any server.", style=QUIET)


def _about(claim: Document) -> str:
    """Which message a claim is about: `alert 567890ab`, or its envelope where the file shows no content."""
    if claim.get("message_id"):
        return f"{text(claim, 'kind') or 'message'} {short(text(claim, 'message_id'))}"
    return f"envelope {short(text(claim, 'envelope_id'))}" if claim.get("envelope_id") else ""
