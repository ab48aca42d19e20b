"""The verbs that post: post, update, cancel, resolve, renew, note. Owns the message id, made before anything is sent,
and the question before it.

A lost answer can then never become a second message: the same command with the same id finds the first one.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from typing import Any, TypeVar, cast
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


@dataclass(frozen=True, slots=True)
class Sending:
    """How a message is sent: to whom, under which id, how long to wait, whether to ask first."""

    to: list[str]
    without: list[str]
    message_id: str | None
    wait_s: float
    yes: bool

    def arguments(self) -> Document:
        """The same as arguments of an operation."""
        id_ = _given(self.message_id) or str(uuid4())
        return {"to": self.to, "without": self.without, "id": id_, "wait_s": self.wait_s}


def sending(command: Command) -> Command:
    """`--to`, `--without`, `--id`, `--wait` and `--yes`, handed to the command as `how`."""

    @wraps(command)
    def collected(
        *,
        to: tuple[list[str], ...],
        without: tuple[list[str], ...],
        message_id: str | None,
        wait_s: float,
        yes: bool,
        **others: Any,
    ) -> Any:
        return command(how=Sending(flat(to), flat(without), message_id, wait_s, yes), **others)

    options = (
        click.option("--id", "message_id", metavar="UUID", help="The message's id; made unless given."),
        click.option("--yes", is_flag=True, help="Do not ask before posting."),
        click.option(
            "--wait",
            "wait_s",
            type=click.FloatRange(0, 3_600),
            default=0,
            metavar="S",
            help="Wait up to S seconds until every recipient has it.",
        ),
        click.option(
            "--without",
            "without",
            type=Agencies(),
            multiple=True,
            metavar="A[,B]",
            help="Recipients of a case to leave out, by name.",
        ),
        recipients,
    )
    done: Any = collected
    for option in options:
        done = option(done)
    return cast("Command", done)


@click.command
@click.argument("file")
@sending
@click.option("--explain", is_flag=True, help="Post nothing; show what would be sent and what was filled in.")
@click.pass_obj
def post(
    invocation: Invocation,
    file: str,
    how: Sending,
    explain: bool,
) -> int:
    """Post the message in FILE (`-` is standard input), JSON or YAML, to the agencies named.

    A message that follows a case (an update, a note, …) goes to everyone the case went to; --to adds.
    """
    arguments = {**content_of(invocation.read_input(file)), **how.arguments(), "explain": explain}
    if explain:
        return invocation.show(invocation.ask("post", {**arguments, "wait_s": 0}), view_explained)
    return ask_and_send(invocation, "post", arguments, yes=how.yes, stdin=file == "-")


@click.command
@click.argument("case")
@click.argument("file")
@sending
@click.option(
    "--why", "why", metavar="CODE", help="Why it changed: `tocsin codes L55` lists them; new_fact, correction, …"
)
@click.pass_obj
def update(
    invocation: Invocation,
    case: str,
    file: str,
    how: Sending,
    why: str | None,
) -> int:
    """Post the complete new state of CASE from FILE. It goes to everyone the case went to; --to adds."""
    content = content_of(invocation.read_input(file))
    arguments = {"case": case, **content, "why": why, **how.arguments()}
    return ask_and_send(invocation, "update", arguments, yes=how.yes, stdin=file == "-")


@click.command
@click.argument("case")
@click.argument("file", required=False)
@click.option("--reason", metavar="CODE", help="Why: `tocsin codes L34c` lists them; false_report, duplicate, …")
@click.option("--text", metavar="T|-", help="More about it; `-` reads standard input.")
@sending
@click.pass_obj
def cancel(
    invocation: Invocation,
    case: str,
    file: str | None,
    reason: str | None,
    text: str | None,
    how: Sending,
) -> int:
    """Call the alert of CASE off. Nothing is erased; every holder is told to stop. FILE may hold the full form."""
    _check_given(file, reason, "--reason", "L34c")
    arguments = {
        "case": case,
        **_file(invocation, file),
        "reason": reason,
        "text": invocation.spoken(text),
        **how.arguments(),
    }
    return ask_and_send(invocation, "cancel", arguments, yes=how.yes, stdin="-" in (file, text), said=text)


@click.command
@click.argument("case")
@click.argument("file", required=False)
@click.option("--outcome", metavar="CODE", help="How it ended: `tocsin codes L34r` lists them; rescued, …")
@click.option("--text", metavar="T|-", help="More about it; `-` reads standard input.")
@sending
@click.pass_obj
def resolve(
    invocation: Invocation,
    case: str,
    file: str | None,
    outcome: str | None,
    text: str | None,
    how: Sending,
) -> int:
    """Close CASE with its outcome. FILE holds the full form, if given: victims, arrests, needs abroad."""
    _check_given(file, outcome, "--outcome", "L34r")
    arguments = {
        "case": case,
        **_file(invocation, file),
        "outcome": outcome,
        "text": invocation.spoken(text),
        **how.arguments(),
    }
    return ask_and_send(invocation, "resolve", arguments, yes=how.yes, stdin="-" in (file, text), said=text)


@click.command
@click.argument("case")
@click.option("--until", required=True, metavar="T", help="New end: a time with its offset, or a distance such as 7d.")
@click.option("--necessity", metavar="T|-", help="Why it is still needed; `-` reads standard input.")
@sending
@click.pass_obj
def renew(
    invocation: Invocation,
    case: str,
    until: str,
    necessity: str | None,
    how: Sending,
) -> int:
    """Let the alert of CASE run longer, at most 30 days from now."""
    end = parse_time("--until", until, datetime.now(UTC), past=False)
    arguments = {
        "case": case,
        "until": end,
        "necessity": invocation.spoken(necessity),
        **how.arguments(),
    }
    return ask_and_send(invocation, "renew", arguments, yes=how.yes, stdin=necessity == "-", said=necessity)


@click.command
@click.argument("case")
@click.argument("text")
@sending
@click.pass_obj
def note(
    invocation: Invocation,
    case: str,
    text: str,
    how: Sending,
) -> int:
    """Add a note to CASE. TEXT `-` reads standard input, which leaves no trace in the shell's history."""
    arguments = {"case": case, "text": invocation.spoken(text), **how.arguments()}
    return ask_and_send(invocation, "note", arguments, yes=how.yes, stdin=text == "-", said=text)


def ask_and_send(
    invocation: Invocation, verb: str, arguments: Document, *, yes: bool, stdin: bool, said: str | None = None
) -> int:
    """One screen and a question, where a person is there to answer; then as `send`."""
    if not yes and invocation.can_ask:
        confirm(invocation, verb, arguments)
    return send(invocation, verb, arguments, stdin=stdin, said=said)


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


def confirm(invocation: Invocation, verb: str, arguments: Document) -> None:
    """One screen: to whom, what they will see, until when. Raises click.Abort unless a person says yes."""
    asked = {name: value for name, value in arguments.items() if name not in ("id", "wait_s", "explain")}
    answer = invocation.ask("preview", {**asked, "verb": verb})
    page = invocation.page()
    options = {name: value for name, value in asked.items() if name in _SAID and value is not None}
    view_confirm(answer.document, {**_as_written(asked), **options}, page)
    invocation.print_page(page)
    if any(recipient.get("allowed") is not True for recipient in answer.document.get("would_send", [])):
        return  # the node says it better than a question would: nothing is posted, and why
    if invocation.question("Post it? [y/N] ").lower() not in ("y", "yes"):
        invocation.say("nothing was posted")
        raise click.Abort


# Options of a verb that say something, under their names in the message.
_SAID = ("reason", "outcome", "text", "why", "necessity")


def _check_given(file: str | None, code: str | None, option: str, codes: str) -> None:
    if file is None and code is None:
        raise OperationError(
            "usage",
            f"neither {option} nor a file is given",
            f"{option} CODE, or a FILE in the full form; tocsin codes {codes} lists CODE",
        )


def _file(invocation: Invocation, file: str | None) -> Document:
    return {} if file is None else content_of(invocation.read_input(file))


def content_of(data: bytes) -> Document:
    """The analyst's bytes as arguments: exactly what was written, whatever it is; the node judges it."""
    try:
        return {"content": data.decode(), "content_base64": None}
    except UnicodeDecodeError:
        return {"content": None, "content_base64": b64encode(data).decode()}


def flat(to: tuple[list[str], ...]) -> list[str]:
    """Agencies of all `--to` options, each once, in the order given."""
    return list(dict.fromkeys(agency for agencies in to for agency in agencies))


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
        return parse_input((content.get("content") or "").encode())
    except InvalidAlert:
        return {}
