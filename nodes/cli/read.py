"""The verbs of who receives: inbox, show, watch, ack."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import click

from nodes.cli.client import Document, LostAnswerError
from nodes.cli.invocation import Invocation
from nodes.cli.page import Page
from nodes.cli.times import parse_time
from nodes.cli.views.cases import view_case
from nodes.cli.views.inbox import view_ack, view_arrival, view_inbox
from nodes.cli.views.message import view_message
from nodes.errors import OperationError


@click.command
@click.option("--unacknowledged", is_flag=True, help="Only what nobody has accepted or rejected yet.")
@click.option("--all", "all_", is_flag=True, help="Also what is expired or superseded.")
@click.option("--since", metavar="T", help="Received since: a time with its offset, or a distance such as 24h.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many, the newest.")
@click.pass_obj
def inbox(invocation: Invocation, unacknowledged: bool, all_: bool, since: str | None, limit: int | None) -> int:
    """List what was received. Listing opens nothing: only `show` tells the sender that somebody looked."""
    after = None if since is None else parse_time("--since", since, datetime.now(UTC), past=True)
    arguments = {"unacknowledged": unacknowledged, "all": all_, "since": after, "limit": limit}

    def view(document: Document, page: Page) -> None:
        messages = document["messages"] if all_ else [entry for entry in document["messages"] if _is_live(entry)]
        view_inbox({**document, "messages": messages}, page, narrowed=bool(since or limit))
        hidden = len(document["messages"]) - len(messages)
        if hidden:
            page.line(f"{hidden} superseded or expired not listed: --all")

    return invocation.show(invocation.ask("inbox", arguments), view)


def _is_live(entry: Document) -> bool:
    """What a person at the desk need look at; the JSON document always has everything."""
    expires = entry["expires_at"]
    return not entry["superseded_by"] and (expires is None or datetime.fromisoformat(expires) > datetime.now(UTC))


@click.command
@click.argument("id_", metavar="ID|CASE")
@click.pass_obj
def show(invocation: Invocation, id_: str) -> int:
    """Show a message or a whole case. The sender learns that it was opened, if a person asks."""
    answer = invocation.ask("show", {"id": id_, "displayed": "all" if invocation.as_json else "current"})

    def view(document: Document, page: Page) -> None:
        if "messages" in document:
            view_case(document, page, language=invocation.language)
        else:
            view_message(document, page, language=invocation.language)

    return invocation.show(answer, view)


@click.command
@click.pass_obj
def watch(invocation: Invocation) -> int:
    """Print what arrives, as it arrives, until interrupted. With --json one object a line."""
    try:
        for answer in invocation.stream("watch"):
            if invocation.as_json:
                invocation.print_document(answer.document)
                continue
            page = invocation.page()
            urgent = view_arrival(answer.document, page)
            invocation.print_page(page)
            if urgent and sys.stdout.isatty():
                sys.stdout.write("\a")
                sys.stdout.flush()
    except LostAnswerError:
        pass  # it was killed; for who watches that is the same
    raise OperationError("node_not_running", "the node stopped", "start this again once the node runs")


@click.command
@click.argument("id_", metavar="ID")
@click.option("--accept", is_flag=True, help="We take it on.")
@click.option("--reject", metavar="CODE", help="We do not, and why: `tocsin codes L38` lists them.")
@click.option("--actioned", is_flag=True, help="We have done what was asked.")
@click.option("--text", metavar="T|-", help="Words for the originator; `-` reads standard input.")
@click.option("--officer", metavar="REF", help="Who decided; a program must say it.")
@click.pass_obj
def ack(
    invocation: Invocation,
    id_: str,
    accept: bool,
    reject: str | None,
    actioned: bool,
    text: str | None,
    officer: str | None,
) -> int:
    """Tell the originator what we decided about a message. A decision is signed and stands; a note explains it."""
    chosen = [level for level, given in (("accepted", accept), ("rejected", reject), ("actioned", actioned)) if given]
    if len(chosen) != 1:
        raise OperationError(
            "usage", "exactly one of --accept, --reject CODE, --actioned", "tocsin codes L38 lists CODE"
        )
    arguments = {"id": id_, "level": chosen[0], "cause": reject, "text": invocation.spoken(text), "officer": officer}
    retry = "run the same command again: the same decision a second time changes nothing"
    return invocation.show(invocation.ask("ack", arguments, retry=retry), view_ack)
