"""The verbs that need nothing but the program itself: schema, version, help."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from nodes.cli.client import Answer, Document
from nodes.cli.commands import CODE_OPTIONS
from nodes.cli.invocation import Invocation
from nodes.cli.page import Ours, Page
from nodes.errors import OperationError

if TYPE_CHECKING:
    from exchange.alerts.codes import CodeList


@click.command
@click.argument("kind", required=False, metavar="[KIND]")
@click.pass_obj
def schema(invocation: Invocation, kind: str | None) -> int:
    """Print the JSON Schema of a kind of message (of an alert, unless named), as an editor or a program can use it."""
    from exchange.alerts.schema import json_schema, schema_kinds

    wanted = kind or "alert"
    if wanted not in schema_kinds():
        raise OperationError("usage", f"there is no kind {wanted!r}", f"kinds: {', '.join(schema_kinds())}")
    document = json_schema(wanted)
    if invocation.as_json:
        invocation.print_document(document)
    else:
        invocation.print_bytes(json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n")
    return 0


@click.command
@click.argument("name", required=False, metavar="[LIST]")
@click.pass_obj
def codes(invocation: Invocation, name: str | None) -> int:
    """Name all lists of codes, or print one: L38 (why we reject), L34c (why cancelled), L34r (how it ended), L55, …"""
    from exchange.alerts.codes import LIST_NAMES, code_list

    if name is None:
        return invocation.show(
            Answer({"v": 1, "lists": [_list(code_list(known)) for known in LIST_NAMES]}, 0), _view_lists
        )
    wanted = next((known for known in LIST_NAMES if known.lower() == name.lower()), None)
    if wanted is None:
        raise OperationError("usage", f"there is no list {name!r}", "tocsin codes names all lists")
    found = code_list(wanted)
    listed = [{"code": code.code, "meaning": code.meaning} for code in found.codes.values()]
    return invocation.show(Answer({"v": 1, "list": found.name, "title": found.title, "codes": listed}, 0), _view_codes)


def _list(found: CodeList) -> Document:
    options = [f"{command} {option}" for (command, option), of in CODE_OPTIONS.items() if of == found.name]
    return {"list": found.name, "title": found.title, "count": len(found.codes), "options": options}


def _view_lists(document: Document, page: Page) -> None:
    rows = [
        ([one["list"], str(one["count"]), one["title"], ", ".join(one["options"])], "") for one in document["lists"]
    ]
    page.table(["list", "codes", "meaning", "asked for by"], rows)
    page.line(Ours("Next: tocsin codes LIST, for example tocsin codes L38"))


def _view_codes(document: Document, page: Page) -> None:
    page.line(document["list"], f": {document['title']}")
    page.table(["code", "meaning"], [([one["code"], one["meaning"]], "") for one in document["codes"]])


@click.command
@click.pass_obj
def version(invocation: Invocation) -> int:
    """Print the version."""
    return invocation.show(Answer({"v": 1, "version": installed_version()}), _view_version)


def installed_version() -> str:
    """The version of this distribution."""
    from importlib.metadata import version as version_of

    return version_of("tocsin")


def _view_version(document: Document, page: Page) -> None:
    page.line("tocsin ", document["version"])


@click.command
@click.argument("names", nargs=-1, metavar="[COMMAND]...")
@click.pass_context
def help_(context: click.Context, names: tuple[str, ...]) -> int:
    """Explain a command, or list all."""
    here = context.find_root()
    command = here.command
    for name in names:
        found = command.get_command(here, name) if isinstance(command, click.Group) else None
        if found is None:
            raise click.UsageError(f"there is no command {' '.join(names)!r}", context)
        command = found
        here = click.Context(command, info_name=name, parent=here)
    sys.stdout.write(command.get_help(here) + "\n")
    return 0
