"""The verbs about the node itself: status, doctor, log, notice, keys."""

from __future__ import annotations

import click

from nodes.cli.client import Answer
from nodes.cli.invocation import Invocation
from nodes.cli.views.service import view_checks, view_keys, view_log, view_notice, view_status
from nodes.errors import OperationError


@click.command
@click.pass_obj
def status(invocation: Invocation) -> int:
    """Show how the node is, what waits, and what needs a person."""
    return invocation.show(invocation.ask("status"), view_status)


@click.command
@click.argument("peer", required=False, metavar="[PEER]")
@click.pass_obj
def doctor(invocation: Invocation, peer: str | None) -> int:
    """Check this node, or the line to PEER, step by step. Without a running node it checks what it can."""
    try:
        answer = invocation.ask("doctor", {"peer": peer}, wait_s=60)
    except OperationError as error:
        if error.code != "node_not_running":
            raise
        from nodes.cli.checkup import check_stopped

        document = check_stopped(invocation.directory, peer, error)
        answer = Answer(document, 0 if document["ok"] else 1)
    return invocation.show(answer, view_checks)


@click.command
@click.pass_obj
def log_verify(invocation: Invocation) -> int:
    """Check every entry of this node's log against its signed heads. A stopped node's log is read, never written."""
    try:
        answer = invocation.ask("log_verify", wait_s=3600)
    except OperationError as error:
        if error.code != "node_not_running":
            raise
        from nodes.offline import verify_stopped_log

        document = verify_stopped_log(str(invocation.directory), invocation.passphrase())
        answer = Answer(document, 0 if document["ok"] else 65)
    return invocation.show(answer, view_log)


@click.command
@click.option(
    "--reason", type=click.Choice(["clock"]), required=True, help="Why: the clock was ahead, and is right now."
)
@click.pass_obj
def log_reopen(invocation: Invocation, reason: str) -> int:
    """Open a new generation of the log. Needed once, after the clock of this machine had run more than a day ahead."""
    return invocation.show(invocation.ask("log_reopen", {"reason": reason}), view_log)


@click.command
@click.pass_obj
def notice_test(invocation: Invocation) -> int:
    """Run the notice command of node.toml once, as for a flash message, and say how it ended."""
    return invocation.show(invocation.ask("notice_test", wait_s=60), view_notice)


@click.command
@click.pass_obj
def keys_status(invocation: Invocation) -> int:
    """Show the keys of this agency and how long they last."""
    return invocation.show(invocation.ask("keys_status"), view_keys)


@click.command
@click.pass_obj
def keys_rotate(invocation: Invocation) -> int:
    """Change the node key pair now. It renews itself; this is for when it may have been seen by others."""
    retry = "look with `tocsin keys status` whether it was done"
    return invocation.show(invocation.ask("keys_rotate", retry=retry), view_keys)
