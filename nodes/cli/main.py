"""The entry of `tocsin`: one call from arguments to exit status. Owns the one edge where errors become exits and words.

Imports neither aiohttp, pydantic nor asyncio: a command that talks to the running node is done in the time a person
does not notice.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TextIO

import click

from nodes.cli.client import Document
from nodes.cli.commands import CODE_OPTIONS, COMMANDS, Branch, root
from nodes.cli.invocation import Invocation, error_document, typable, view_error, wants_json
from nodes.errors import ERROR_EXITS, NodeError

EXIT_INTERRUPTED = 130  # what a shell reports for SIGINT
MAX_FRAMES = 6


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status (docs/CLI.md §3.2)."""
    arguments = tuple(sys.argv[1:] if argv is None else argv)
    invocation = Invocation(arguments, as_json=wants_json(arguments))
    _open_what_is_closed()
    for stream in (sys.stdout, sys.stderr):
        _show_what_the_locale_lacks(stream)
    try:
        return _run(invocation)
    except NodeError as error:
        return _fail(invocation, error.document(), error.exit)
    except click.exceptions.NoArgsIsHelpError as error:
        if invocation.as_json:
            document = error_document("usage", "which command?", "tocsin --help")
            return _fail(invocation, document, ERROR_EXITS["usage"])
        sys.stderr.write(error.format_message() + "\n")
        return ERROR_EXITS["usage"]
    except click.ClickException as error:
        path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else _path(arguments)
        hint = _list_asked_for(path, error) or f"{path} --help"
        return _fail(invocation, error_document("usage", error.format_message(), hint), ERROR_EXITS["usage"])
    except (KeyboardInterrupt, click.Abort):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone (`tocsin inbox | head`); nothing more can be said there, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ERROR_EXITS["io_error"]
    except OSError as error:
        document = error_document("io_error", f"input or output failed: {error.strerror}")
        return _fail(invocation, document, ERROR_EXITS["io_error"])
    except Exception as error:  # noqa: BLE001 # our bug, the last edge: its text may hold content, so only its place is told
        document = error_document(
            "internal",
            f"a bug of the command line: {type(error).__name__} at {_place(error)}",
            "please report this line",
        )
        return _fail(invocation, document, ERROR_EXITS["internal"])


def _run(invocation: Invocation) -> int:
    try:
        command = root()
        with command.make_context("tocsin", list(invocation.argv), obj=invocation) as context:
            status = command.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as stop:
        return stop.exit_code
    return status if isinstance(status, int) else 0


def _list_asked_for(path: str, error: click.ClickException) -> str:
    """Where the codes are that an option without its code asks for; "" for any other error."""
    if not isinstance(error, click.BadOptionUsage):
        return ""
    codes = CODE_OPTIONS.get((path.removeprefix("tocsin "), error.option_name))
    return f"tocsin codes {codes} lists CODE" if codes else ""


def _path(arguments: Sequence[str]) -> str:
    """`tocsin peer add` of what was typed: the parser's own errors do not say in which command they arose."""
    names, tree = ["tocsin"], COMMANDS
    for word in arguments:
        entry = tree.get(word)
        if entry is None:
            continue
        names.append(word)
        if not isinstance(entry, Branch):
            break
        tree = entry.entries
    return " ".join(names)


def _fail(invocation: Invocation, document: Document, status: int) -> int:
    if invocation.as_json:
        invocation.print_document(typable(document, invocation.program))
    else:
        page = invocation.aside()
        view_error(document, page)
        page.print(sys.stderr, terminal=False)
    return status


def _place(error: Exception) -> str:
    """Where it happened, innermost first: files and lines, never values."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)[-MAX_FRAMES:]
    return " < ".join(f"{os.path.basename(frame.filename)}:{frame.lineno}" for frame in reversed(frames))


def _open_what_is_closed() -> None:
    """A service manager may start a program without any of the three streams; Python has None there then."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 # until the process ends


def _show_what_the_locale_lacks(stream: TextIO) -> None:
    """A letter that the terminal's encoding lacks becomes its number; it must never end the command."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
