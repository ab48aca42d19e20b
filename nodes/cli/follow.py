"""The verbs that follow messages of ours: sent, track, why, resend."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from nodes.cli.client import Document
from nodes.cli.invocation import Invocation
from nodes.cli.page import Page
from nodes.cli.times import parse_time
from nodes.cli.views.cases import view_case_tracked
from nodes.cli.views.delivery import steps_of, view_posted, view_sent, view_track, view_why


@click.command
@click.option("--waiting", is_flag=True, help="Only what somebody does not have yet.")
@click.option("--since", metavar="T", help="Posted since: a time with its offset, or a distance such as 24h.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many, the newest; 100 unless given.")
@click.pass_obj
def sent(invocation: Invocation, waiting: bool, since: str | None, limit: int | None) -> int:
    """List what was posted here, newest first, and where each recipient stands."""
    after = None if since is None else parse_time("--since", since, datetime.now(UTC), past=True)

    def view(document: Document, page: Page) -> None:
        view_sent(document, page, waiting=waiting, since=after)

    return invocation.show(invocation.ask("sent", {"waiting": waiting, "since": after, "limit": limit}), view)


@click.command
@click.argument("id_", metavar="ID|CASE")
@click.pass_obj
def track(invocation: Invocation, id_: str) -> int:
    """Show what became of a message of ours, or of all messages of a case, at each recipient."""
    answer = invocation.ask("track", {"id": id_})
    if invocation.as_json:
        return invocation.show(answer, view_track)
    steps: dict[str, dict[str, tuple[str, str]]] = {}
    for message in _ours(answer.document):
        steps[message] = steps_of(invocation.ask("why", {"id": message, "to": None}).document)

    def view(document: Document, page: Page) -> None:
        if "messages" in document:
            view_case_tracked(document, page, steps)
        else:
            view_track(document, page, steps.get(str(document.get("message_id"))))

    return invocation.show(answer, view)


def _ours(document: Document) -> list[str]:
    messages = document.get("messages", [document])
    return [str(message["message_id"]) for message in messages if isinstance(message, dict) and "recipients" in message]


@click.command
@click.argument("id_", metavar="ID")
@click.option("--to", metavar="A", help="Only this recipient.")
@click.pass_obj
def why(invocation: Invocation, id_: str, to: str | None) -> int:
    """Say in a sentence where each recipient of a message stands, and what to do about it."""
    return invocation.show(invocation.ask("why", {"id": id_, "to": to}), view_why)


@click.command
@click.argument("id_", metavar="ID")
@click.option("--to", required=True, metavar="A", help="The recipient.")
@click.pass_obj
def resend(invocation: Invocation, id_: str, to: str) -> int:
    """Send a message to one recipient again, after it was refused or had expired."""
    retry = f"look first, it may be on its way: tocsin track {id_}"
    return invocation.show(invocation.ask("resend", {"id": id_, "to": to}, retry=retry), view_posted)
