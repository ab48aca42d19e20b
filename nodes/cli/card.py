"""`tocsin card`: this agency's card as text. Works without a node: the card lies in the directory."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from nodes.cli.client import Answer, Document
from nodes.cli.invocation import Invocation
from nodes.cli.output import OUTPUT
from nodes.cli.page import Page
from nodes.cli.times import format_millis, show_time
from nodes.cli.views.fields import text, texts
from nodes.directory import layout_of, write_whole
from nodes.errors import OperationError


@click.command
@click.option("-o", "output", metavar="F", type=OUTPUT, help="Write the card to a file.")
@click.pass_obj
def command(invocation: Invocation, output: Path | None) -> int:
    """Print this agency's card, and nothing else, on standard output.

    Hand the card to another agency over any channel; tell it the safety code by telephone.
    """
    described = _described(invocation) if invocation.as_json or sys.stdout.isatty() else None
    card = _armour(invocation, described)
    if output is not None:
        write_whole(output, card)
    if invocation.as_json and described is not None:
        return invocation.show(described, view_card)
    if output is None:
        invocation.print_bytes(card)
    else:
        invocation.say("the card is in ", str(output))
    if described is not None:
        page = invocation.aside()
        view_card(described.document, page)
        page.print(sys.stderr, terminal=False)
    return 0


def _armour(invocation: Invocation, described: Answer | None) -> bytes:
    if described is not None:
        return str(described.document["card"]).encode()
    path = layout_of(invocation.directory).card
    try:
        return path.read_bytes()
    except OSError as problem:
        raise OperationError(
            "io_error", f"cannot read {path}: {problem.strerror}", "it is made by: tocsin init DIR"
        ) from problem


def _described(invocation: Invocation) -> Answer:
    try:
        return invocation.ask("card")
    except OperationError as error:
        if error.code != "node_not_running":
            raise
        return Answer(_read(_armour(invocation, None)))


def _read(armour: bytes) -> Document:
    """The same document from the file alone."""
    from exchange.card import CardError, parse_card

    try:
        text = armour.decode()
        card = parse_card(text)
    except (UnicodeDecodeError, CardError) as problem:
        raise OperationError(
            "invalid_card", "card.tocsin is damaged", "the node makes it anew: tocsin run"
        ) from problem
    anchor = card.keys.anchors[-1].body
    return {
        "v": 1,
        "agency": anchor.agency,
        "name": anchor.names[0][1],
        "country": anchor.country,
        "serial": anchor.serial,
        "root_key_id": anchor.root.ed25519.hex()[:16],
        "safety_code": card.safety_code,
        "endpoints": list(card.profile.endpoints),
        "issued_at": format_millis(anchor.issued_at),
        "expires_at": format_millis(anchor.expires_at),
        "card": text,
    }


def view_card(document: Document, page: Page) -> None:
    """What a person needs beside the card: whose it is and its safety code."""
    page.field("agency", text(document, "agency"), f", {text(document, 'name')} ({text(document, 'country')})")
    page.field("safety code", text(document, "safety_code"), "   (say it by telephone, never send it with the card)")
    page.field("listens at", ", ".join(texts(document, "endpoints")) or "nowhere: it calls others")
    page.field("valid until", show_time(document.get("expires_at")), f", serial {text(document, 'serial')}")
