"""`tocsin keys export-root` and `keys anchor`: the agency root, off line. Owns the two commands; the work is
`nodes.ceremony`.
"""

from __future__ import annotations

from pathlib import Path

import click

from nodes.cli.client import Answer, Document
from nodes.cli.invocation import Invocation
from nodes.cli.output import OUTPUT
from nodes.cli.page import Page, Whole


@click.command()
@click.option(
    "-o",
    "--output",
    "output",
    required=True,
    metavar="F",
    type=OUTPUT,
    help="Where the sealed root goes: a stick for the safe.",
)
@click.pass_obj
def export_root(invocation: Invocation, output: Path) -> int:
    """Write the agency root to a file sealed with the passphrase, read it back, then remove it from the node."""
    from nodes.ceremony import export_root as export

    document = export(str(invocation.directory), invocation.passphrase(), output)
    return invocation.show(Answer(document, 0), _view_export)


@click.command()
@click.option("--root", "root", required=True, metavar="F", help="The file that `keys export-root` wrote.")
@click.option("--revoke", is_flag=True, help="Make the revocation anchor: the gateway speaks no more.")
@click.option("-o", "--output", "output", required=True, metavar="F", type=OUTPUT, help="Where the new card goes.")
@click.pass_obj
def anchor(invocation: Invocation, root: str, revoke: bool, output: Path) -> int:  # a flag of click
    """Sign the next anchor with the root, while the node is stopped. Send the new card to all peers."""
    from nodes.ceremony import next_anchor

    document = next_anchor(str(invocation.directory), invocation.passphrase(), Path(root), output, revoke=revoke)
    return invocation.show(Answer(document, 0), _view_anchor)


def _view_export(document: Document, page: Page) -> None:
    page.line(
        "The root of ", str(document["agency"]), " is in ", Whole(document["file"]), ", sealed with the passphrase."
    )
    page.line("It was read back and removed from the node. Keep two copies in two safes.")


def _view_anchor(document: Document, page: Page) -> None:
    page.line(
        "Anchor ",
        str(document["serial"]),
        " of ",
        str(document["agency"]),
        " is signed; the card is in ",
        Whole(document["card"]),
    )
    page.line("The safety code is the same: ", str(document["safety_code"]))
    if document["revoked"]:
        page.line("This is a REVOCATION: keep it off line; given to peers, the gateway speaks no more.")
    else:
        page.line("Send the card to all peers: tocsin peer add CARD")
        page.line(
            "A revocation that lies in a safe is older than this and ends nothing any more: while the root is at hand, "
            "sign another with --revoke."
        )
