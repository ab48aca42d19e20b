"""Drafts on the screen."""

from __future__ import annotations

from nodes.cli.page import Ours, Page, Piece
from nodes.cli.text import lines_of
from nodes.cli.times import show_time
from nodes.cli.views.fields import Document, objects, short, text


def view_drafts(document: Document, page: Page) -> None:
    """The list of drafts, newest first as the node gives it; or what became of one."""
    if "drafts" not in document:
        page.line("Deleted: ", text(document, "draft_id"))
        return
    rows: list[tuple[list[Piece], str]] = [
        (
            [
                short(text(draft, "draft_id")),
                text(draft, "kind"),
                show_time(draft.get("updated_at")),
                text(draft, "by"),
            ],
            "",
        )
        for draft in objects(document, "drafts")
    ]
    page.table(["draft", "kind", "saved", "by"], rows)
    page.line(Ours("Next: tocsin new --draft ID" if rows else "No drafts. Next: tocsin new"))


def view_draft(document: Document, page: Page) -> None:
    """A draft's text: our own, and as it was typed, so that it can be copied."""
    for line in lines_of(text(document, "text")):
        page.line(line, hang=0)
