"""The verbs that post: post, update, cancel, resolve, renew, note. Owns the message id, made before anything is sent.

A lost answer can then never become a second message: the same command with the same id finds the first one.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID, uuid4

import click

from nodes.cli.client import Document
from nodes.cli.invocation import Invocation
from nodes.cli.times import parse_time
from nodes.cli.views.delivery import view_confirm, view_explained, view_posted
from nodes.errors import OperationError

Command = TypeVar("Command", bound=Callable[..., Any])


class Agencies(click.ParamType[list[str]]):
    """`A,B`, or the option repeated."""

    name = "A[,B]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        names = [name.strip().lower() for name in str(value).split(",") if name.strip()]
        if not names:
            self.fail("names no agency", param, ctx)
        return names


def recipients(command: Command) -> Command:
    """`--to`, given once or often."""
    return click.option("--to", "to", type=Agencies(), multiple=True, metavar="A[,B]", help="Recipients.")(command)


def of_the_case(command: Command) -> Command:
    """`--to` adds to everyone the case went to; `--without` leaves out by name, never silently."""
    without = click.option(
        "--without", "without", type=Agencies(), multiple=True, metavar="A[,B]", help="Recipients to leave out."
    )  # fmt: skip
    return without(recipients(command))


def sending(command: Command) -> Command:
    """`--id` and `--wait`."""
    command = click.option("--id", "message_id", metavar="UUID", help="The message's id; made unless given.")(command)
    wait = click.option(
        "--wait", "wait_s", type=click.FloatRange(0, 3_600), default=0, metavar="S",
        help="Wait up to S seconds until every recipient has it.",
    )  # fmt: skip
    return wait(command)


@click.command
@click.argument("file")
@recipients
@sending
@click.option("--explain", is_flag=True, help="Post nothing; show what would be sent and what was filled in.")
@click.option("--yes", is_flag=True, help="Do not ask before posting.")
@click.pass_obj
def post(
    invocation: Invocation,
    file: str,
    to: tuple[list[str], ...],
    message_id: str | None,
    wait_s: float,
    explain: bool,
    yes: bool,
) -> int:
    """Post the message in FILE (`-` is standard input), JSON or YAML, to the agencies named."""
    agencies = flat(to)
    if not agencies and not explain:
        raise OperationError(
            "usage", "to whom? there are no default recipients", "--to AGENCY[,AGENCY]; tocsin peer list"
        )
    content = content_of(invocation.read_input(file))
    if explain:
        answer = invocation.ask(
            "post", {**content, "to": agencies, "id": _given(message_id), "explain": True, "wait_s": 0, "dry": None}
        )
        return invocation.show(answer, view_explained)
    if not yes and invocation.can_ask:
        confirm(invocation, content, agencies)
    id_ = _given(message_id) or str(uuid4())
    arguments = {**content, "to": agencies, "id": id_, "explain": False, "wait_s": wait_s, "dry": None}
    return send(invocation, "post", arguments, stdin=file == "-")


@click.command
@click.argument("case")
@click.argument("file")
@of_the_case
@sending
@click.option("--why", "why", metavar="CODE", help="Why it changed (list L55): new_fact, correction, regrade, …")
@click.pass_obj
def update(
    invocation: Invocation,
    case: str,
    file: str,
    to: tuple[list[str], ...],
    without: tuple[list[str], ...],
    message_id: str | None,
    wait_s: float,
    why: str | None,
) -> int:
    """Post the complete new state of CASE from FILE. It goes to everyone the case went to; --to adds."""
    content = content_of(invocation.read_input(file))
    arguments = {"case": case, **content, "why": why, **_address(to, without, message_id, wait_s)}
    return send(invocation, "update", arguments, stdin=file == "-")


@click.command
@click.argument("case")
@click.option(
    "--reason", required=True, metavar="CODE", help="Why (list L34c): false_report, duplicate, error_in_alert, …"
)
@click.option("--text", metavar="T|-", help="More about it; `-` reads standard input.")
@of_the_case
@sending
@click.pass_obj
def cancel(
    invocation: Invocation,
    case: str,
    reason: str,
    text: str | None,
    to: tuple[list[str], ...],
    without: tuple[list[str], ...],
    message_id: str | None,
    wait_s: float,
) -> int:
    """Call the alert of CASE off. Nothing is erased; every holder is told to stop."""
    arguments = {
        "case": case,
        "reason": reason,
        "text": invocation.spoken(text),
        **_address(to, without, message_id, wait_s),
    }
    return send(invocation, "cancel", arguments, stdin=text == "-", said=text)


@click.command
@click.argument("case")
@click.option(
    "--outcome", required=True, metavar="CODE", help="How it ended (list L34r): rescued, found_safe, released_paid, …"
)
@click.option("--text", metavar="T|-", help="More about it; `-` reads standard input.")
@of_the_case
@sending
@click.pass_obj
def resolve(
    invocation: Invocation,
    case: str,
    outcome: str,
    text: str | None,
    to: tuple[list[str], ...],
    without: tuple[list[str], ...],
    message_id: str | None,
    wait_s: float,
) -> int:
    """Close CASE with its outcome."""
    arguments = {
        "case": case,
        "outcome": outcome,
        "text": invocation.spoken(text),
        **_address(to, without, message_id, wait_s),
    }
    return send(invocation, "resolve", arguments, stdin=text == "-", said=text)


@click.command
@click.argument("case")
@click.option("--until", required=True, metavar="T", help="New end: a time with its offset, or a distance such as 7d.")
@click.option("--necessity", metavar="T|-", help="Why it is still needed; `-` reads standard input.")
@of_the_case
@sending
@click.pass_obj
def renew(
    invocation: Invocation,
    case: str,
    until: str,
    necessity: str | None,
    to: tuple[list[str], ...],
    without: tuple[list[str], ...],
    message_id: str | None,
    wait_s: float,
) -> int:
    """Let the alert of CASE run longer, at most 30 days from now."""
    end = parse_time("--until", until, datetime.now(UTC), past=False)
    arguments = {
        "case": case,
        "until": end,
        "necessity": invocation.spoken(necessity),
        **_address(to, without, message_id, wait_s),
    }
    return send(invocation, "renew", arguments, stdin=necessity == "-", said=necessity)


@click.command
@click.argument("case")
@click.argument("text")
@of_the_case
@sending
@click.pass_obj
def note(
    invocation: Invocation,
    case: str,
    text: str,
    to: tuple[list[str], ...],
    without: tuple[list[str], ...],
    message_id: str | None,
    wait_s: float,
) -> int:
    """Add a note to CASE. TEXT `-` reads standard input, which leaves no trace in the shell's history."""
    arguments = {"case": case, "text": invocation.spoken(text), **_address(to, without, message_id, wait_s)}
    return send(invocation, "note", arguments, stdin=text == "-", said=text)


def send(
    invocation: Invocation,
    operation: str,
    arguments: Document,
    *,
    stdin: bool = False,
    said: str | None = None,
    retry: str = "",
) -> int:
    """Hand a message over and show P. `said` is free text from the command line: it is not repeated in an error."""
    hidden = () if said in (None, "-") else (said,)
    again = retry or invocation.retry_with(arguments["id"], stdin=stdin or bool(hidden), hidden=hidden)
    answer = invocation.ask(operation, arguments, retry=again, wait_s=arguments["wait_s"])
    return invocation.show(answer, view_posted)


def confirm(invocation: Invocation, content: Document, to: list[str]) -> None:
    """One screen: to whom, what they will see, until when. Raises click.Abort unless a person says yes."""
    answer = invocation.ask("preview", {**content, "to": to})
    page = invocation.page()
    view_confirm(answer.document, _as_written(content), page)
    invocation.print_page(page)
    if any(recipient.get("allowed") is not True for recipient in answer.document.get("would_send", [])):
        return  # the node says it better than a question would: nothing is posted, and why
    if invocation.question("Post it? [y/N] ").lower() not in ("y", "yes"):
        invocation.say("nothing was posted")
        raise click.Abort


def content_of(data: bytes) -> Document:
    """The analyst's bytes as arguments: exactly what was written, whatever it is; the node judges it."""
    try:
        return {"content": data.decode(), "content_base64": None}
    except UnicodeDecodeError:
        return {"content": None, "content_base64": b64encode(data).decode()}


def flat(to: tuple[list[str], ...]) -> list[str]:
    """Agencies of all `--to` options, each once, in the order given."""
    return list(dict.fromkeys(agency for agencies in to for agency in agencies))


def _address(
    to: tuple[list[str], ...], without: tuple[list[str], ...], message_id: str | None, wait_s: float
) -> Document:
    return {"to": flat(to), "without": flat(without), "id": _given(message_id) or str(uuid4()), "wait_s": wait_s}


def _given(message_id: str | None) -> str | None:
    if message_id is None:
        return None
    try:
        return str(UUID(message_id))
    except ValueError:
        raise OperationError("usage", f"--id {message_id!r} is no UUID", "leave it out: one is made") from None


def _as_written(content: Document) -> Document:
    """What the analyst wrote, for the screen only; nothing of it where it cannot be read: the node says why."""
    from exchange.alerts.input import parse_input
    from exchange.alerts.problems import InvalidAlert

    try:
        return parse_input((content["content"] or "").encode())
    except InvalidAlert:
        return {}
