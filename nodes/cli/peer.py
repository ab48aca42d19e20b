"""The verbs about peers. Owns the moment of trust: a person types the safety code that the other side said."""

from __future__ import annotations

import shlex

import click

from nodes.cli.client import Answer
from nodes.cli.invocation import AnsweredError, Invocation
from nodes.cli.views.peers import view_peer, view_peers
from nodes.errors import OperationError


@click.command
@click.argument("card")
@click.option("--code", metavar="CODE", help="The peer's own safety code, as its `tocsin card` prints it.")
@click.pass_obj
def add(invocation: Invocation, card: str, code: str | None) -> int:
    """Add the peer whose CARD (a file, `-` is standard input) this is. Without its safety code it stays pending."""
    if code is not None and not code.strip():  # a variable that is empty in somebody's script is no wish to wait
        raise OperationError("usage", "--code is empty; nothing was stored", "type the code, or leave the option out")
    text = invocation.read_text(card, code="invalid_card")
    answer = invocation.ask("peer_add", {"card": text, "code": code})
    if code is None and answer.document.get("trust") == "pending" and invocation.can_ask:
        answer = _typed_code(invocation, card, text, answer)
    return invocation.show(answer, view_peer)


def _typed_code(invocation: Invocation, file: str, card: str, pending: Answer) -> Answer:
    agency = str(pending.document.get("agency", ""))
    invocation.say(agency, " is added, pending.")
    invocation.say(
        "Telephone ", agency, " at a number you already know. Ask for the safety code that its `tocsin card` prints."
    )
    typed = invocation.question("Type it here (Enter: later): ")
    if not typed:
        return pending
    try:
        return invocation.ask("peer_add", {"card": card, "code": typed})
    except AnsweredError as error:
        if error.code != "safety_code_mismatch":
            raise
        raise OperationError(  # the node says that nothing was stored, of this second question; the first one was
            "safety_code_mismatch",
            f"this is not the safety code of the card; {agency} stays pending, and nothing goes to it",
            f"compare it by phone, then: tocsin peer add {shlex.quote(file)} --code CODE; "
            f"if it still differs, somebody may have changed the card: tocsin peer remove {agency}",
        ) from error


@click.command
@click.pass_obj
def list_(invocation: Invocation) -> int:
    """List the peers."""
    return invocation.show(invocation.ask("peer_list"), view_peers)


@click.command
@click.argument("agency")
@click.pass_obj
def show(invocation: Invocation, agency: str) -> int:
    """Show one peer."""
    return invocation.show(invocation.ask("peer_show", {"agency": agency}), view_peer)


@click.command
@click.argument("agency")
@click.option("--reason", metavar="T", help="Why, for the record.")
@click.pass_obj
def suspend(invocation: Invocation, agency: str, reason: str | None) -> int:
    """Stop exchanging with AGENCY at once. What is queued for it stays queued."""
    return invocation.show(invocation.ask("peer_suspend", {"agency": agency, "reason": reason}), view_peer)


@click.command
@click.argument("agency")
@click.pass_obj
def resume(invocation: Invocation, agency: str) -> int:
    """Exchange with AGENCY again; what was queued goes out."""
    return invocation.show(invocation.ask("peer_resume", {"agency": agency}), view_peer)


@click.command
@click.argument("agency")
@click.option("--yes", is_flag=True, help="Do not ask before removing.")
@click.pass_obj
def remove(invocation: Invocation, agency: str, yes: bool) -> int:
    """Forget AGENCY. What was exchanged with it stays, and stays provable; what waits for it goes nowhere."""
    if not yes and invocation.can_ask:
        waiting = invocation.ask("peer_show", {"agency": agency}).document.get("queued")
        if waiting:
            invocation.say(agency, f" is still to get what waits for it: {waiting}. Removed, it gets nothing.")
        invocation.say("It comes back with its card and the safety code that it says by telephone, and not otherwise.")
        if invocation.question("Remove it? [y/N] ").lower() not in ("y", "yes"):
            invocation.say("nothing was changed")
            raise click.Abort
    return invocation.show(invocation.ask("peer_remove", {"agency": agency}), view_peer)


@click.command
@click.argument("agency")
@click.argument("card")
@click.option("--code", required=True, metavar="CODE", help="The safety code of the new root.")
@click.pass_obj
def replace(invocation: Invocation, agency: str, card: str, code: str) -> int:
    """Take the new root in CARD in place of the one known of AGENCY, because AGENCY said so by telephone."""
    text = invocation.read_text(card, code="invalid_card")
    return invocation.show(invocation.ask("peer_replace", {"agency": agency, "card": text, "code": code}), view_peer)
