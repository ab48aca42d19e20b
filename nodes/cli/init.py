"""`tocsin init`: makes a node. Owns the options and what is said after; the making is `nodes.birth`."""

from __future__ import annotations

import getpass
import shlex
from dataclasses import replace

import click

from nodes.cli.client import Answer, Document
from nodes.cli.invocation import Invocation
from nodes.cli.page import Ours, Page, Whole
from nodes.errors import ConfigError

_EXAMPLES = {
    "agency": "--agency bka.de",
    "name": "--name Bundeskriminalamt",
    "country": "--country DE",
    "languages": "--language de --language en",
    "listen": "--listen 0.0.0.0:7443",
    "endpoints": "--endpoint https://tocsin.bka.example:7443",
    "contact": "--contact +4961155123",
    "case_prefix": "--case-prefix DE-BKA",
}


@click.command()
@click.argument("directory", metavar="DIR")
@click.option("--agency", required=True, metavar="ID", help="Agency id, for example bka.de.")
@click.option("--name", required=True, metavar="NAME", help="The agency's own name.")
@click.option("--country", required=True, metavar="CC", help="ISO 3166-1 code, for example DE.")
@click.option(
    "--listen",
    required=True,
    metavar="HOST:PORT",
    help="Where peers reach this node; `none` for no inbound connections.",
)
@click.option("--endpoint", metavar="URL", help="The address that peers are told, if it differs from --listen.")
@click.option("--contact", metavar="+E164", help="The telephone that is answered day and night.")
@click.option("--case-prefix", metavar="PREFIX", help="Begins every case id, for example DE-BKA.")
@click.option("--language", "languages", multiple=True, metavar="TAG", help="Language of the agency; may repeat. [en]")
@click.pass_obj
def command(
    invocation: Invocation,
    directory: str,
    agency: str,
    name: str,
    country: str,
    listen: str,
    endpoint: str | None,
    contact: str | None,
    case_prefix: str | None,
    languages: tuple[str, ...],
) -> int:
    """Make a node in DIR: its keys, its log, its card. The passphrase seals the keys."""
    from nodes.birth import check_place
    from nodes.daemon import init_node

    check_place(directory)  # before a passphrase is thought of
    settings: dict[str, object] = {
        "agency": agency,
        "name": name,
        "country": country,
        "listen": listen,
        "endpoints": [endpoint] if endpoint else [],
        "contact": contact,
        "case_prefix": case_prefix,
        "languages": list(languages) or ["en"],
    }
    passphrase = invocation.passphrase(confirm=True)
    try:
        born = init_node(directory, settings, passphrase, operator=_operator())
    except ConfigError as error:
        raise _as_options(error) from error
    return invocation.show(Answer(born.document(), 0), _view)


def _as_options(error: ConfigError) -> ConfigError:
    """The same with examples that can be typed here: those of node.toml are lines of that file."""
    problems = tuple(
        replace(problem, example=_EXAMPLES.get(problem.path.split("/")[1], problem.example) if problem.path else None)
        for problem in error.problems
    )
    example = problems[0].example if problems else None
    hint = f"for example: {example}" if example else error.hint
    return ConfigError(error.path, error.key, error.rule, hint, message=error.message, problems=problems)


def _operator() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a uid without a name, as in a container
        return "admin"


def _view(document: Document, page: Page) -> None:
    page.line("Made the node of ", str(document["agency"]), " in ", Whole(document["dir"]))
    page.line("card         ", Whole(document["card"]))
    page.line("safety code  ", str(document["safety_code"]))
    page.line("listens on   ", str(document["listen"] or "nothing: it only calls out"))
    page.line("")
    page.line("Give the card to your peers; tell them the safety code by telephone, never with the card.")
    page.line(Ours(f"Start it:  tocsin -D {shlex.quote(str(document['dir']))} run"))
