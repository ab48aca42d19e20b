"""One call of the command line: its global options, its streams, its node. Knows no command.

Standard output carries the answer and nothing else: with `--json` exactly one object (or JSON Lines of a stream), else
the page a person reads. Everything else that is said goes to standard error.
"""

from __future__ import annotations

import json
import os
import shlex
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from nodes.cli.client import Answer, Document, ask, stream
from nodes.cli.page import Ours, Page, Piece, with_program
from nodes.cli.times import show_times_in
from nodes.directory import layout_of
from nodes.errors import ERROR_EXITS, NodeError, OperationError

MAX_INPUT_BYTES = 960 * 1024  # as JSON text below the node's limit of a request; a message itself holds 256 KiB
MAX_PASSPHRASE_BYTES = 4096
UNKNOWN_COLUMNS = 80

View = Callable[[Document, Page], None]


class AnsweredError(NodeError):
    """The node answered with an error document; it is handed on as it came."""

    def __init__(self, document: Document, exit_: int) -> None:
        error = document["error"]
        super().__init__(str(error.get("message", "")), hint=str(error.get("hint", "")))
        self.code = str(error.get("code", "internal"))
        self._document = document
        self._exit = exit_

    @property
    def exit(self) -> int:
        return self._exit

    def document(self) -> dict[str, object]:
        return self._document


class UnknownPassphraseError(NodeError):
    """There is no passphrase to be had, or none that can be used."""

    code = "bad_passphrase"


@dataclass(slots=True)
class Invocation:
    """What every command gets (`click.pass_obj`). The options are filled while the command line is parsed."""

    argv: tuple[str, ...]
    as_json: bool = False
    directory_option: str | None = None
    language: str | None = None
    verbosity: int = 0
    passphrase_file: str | None = None

    # --- the node

    @property
    def directory(self) -> Path:
        """The node's directory: -D, TOCSIN_DIR, or the current one if it is a node's.

        Raises:
            OperationError: `usage` when none of these names one.
        """
        named = self.directory_option or os.environ.get("TOCSIN_DIR")
        if named:
            return layout_of(named).root
        here = layout_of(".")
        if here.config_file.is_file():
            return here.root
        raise OperationError(
            "usage", "which node? the current directory is no node's", "name it: -D DIR, or set TOCSIN_DIR"
        )

    def ask(self, operation: str, arguments: Document | None = None, *, retry: str = "", wait_s: float = 0) -> Answer:
        """Have the node do something.

        Raises:
            AnsweredError: it said no.
            OperationError: it cannot be asked, see nodes.cli.client.ask.
        """
        began = time.monotonic()
        answer = ask(self.directory, operation, arguments or {}, retry=retry, wait_s=wait_s)
        if self.verbosity:
            self.say(f"{operation}: {(time.monotonic() - began) * 1000:.0f} ms")
        return _checked(answer)

    def stream(self, operation: str, arguments: Document | None = None) -> Iterator[Answer]:
        """Each document of a stream. Raises as `ask`."""
        for answer in stream(self.directory, operation, arguments or {}):
            yield _checked(answer)

    def retry_with(self, id_: str, *, stdin: bool = False, hidden: Sequence[str] = ()) -> str:
        """The command as it was typed, with the message id that it had made: safe to run again whatever happened.

        `hidden` are words that an error must not repeat; they become `-`, to be given on standard input.
        """
        argv = [_without(word, hidden) for word in self.argv]
        if not any(word == "--id" or word.startswith("--id=") for word in argv):
            end = _end_of_options(argv)
            argv[end:end] = ["--id", id_]
        again = " with the same text on standard input" if stdin else ""
        return f"run this again{again}, it cannot post twice: {shlex.join(['tocsin', *argv])}"

    # --- what is printed

    def show(self, answer: Answer, view: View) -> int:
        """Print an answer, as JSON or as `view` lays it out. Returns the exit it asks for."""
        if self.as_json:
            self.print_document(answer.document)
        else:
            page = self.page()
            view(answer.document, page)
            self.print_page(page)
        return answer.exit

    def print_document(self, document: Document) -> None:
        """One JSON object on standard output, one line."""
        try:
            line = json.dumps(document, ensure_ascii=False).encode()
        except UnicodeEncodeError:  # half a surrogate pair from a peer's document is no character
            line = json.dumps(document).encode()
        self.print_bytes(line + b"\n")

    def print_bytes(self, data: bytes) -> None:
        """Bytes on standard output as they are."""
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def page(self) -> Page:
        """An empty page as wide as the terminal, unlimited when nobody is looking."""
        return Page(_columns(sys.stdout), self.program)

    def aside(self) -> Page:
        """The same for standard error."""
        return Page(_columns(sys.stderr), self.program)

    @property
    def program(self) -> str:
        """How `tocsin` reaches the same node again: with the directory that was named on this command line."""
        return "tocsin" if self.directory_option is None else f"tocsin -D {shlex.quote(self.directory_option)}"

    def print_page(self, page: Page) -> None:
        """A page on standard output."""
        page.print(sys.stdout, terminal=sys.stdout.isatty())
        sys.stdout.flush()

    def say(self, *pieces: Piece) -> None:
        """One line on standard error, escaped like everything that may hold foreign text."""
        page = self.aside()
        page.line("tocsin: ", *pieces)
        page.print(sys.stderr, terminal=False)
        sys.stderr.flush()

    # --- what is asked

    @property
    def can_ask(self) -> bool:
        """True when a person is there to answer a question."""
        return not self.as_json and sys.stdin.isatty() and sys.stderr.isatty()

    def question(self, text: str) -> str:
        """A line typed by a person; "" when nothing or the end of input came."""
        sys.stderr.write(text)
        sys.stderr.flush()
        return sys.stdin.readline().strip()

    def passphrase(self, *, confirm: bool = False) -> str:
        """The passphrase of the key files: --passphrase-file, TOCSIN_PASSPHRASE_FILE, systemd's credential, a prompt.

        `confirm` asks twice, for a passphrase that is being chosen.

        Raises:
            UnknownPassphraseError: none is given and nobody is there to type one, or it is empty.
        """
        named = self.passphrase_file or os.environ.get("TOCSIN_PASSPHRASE_FILE") or _credential()
        if named:
            return self._passphrase_in(Path(named))
        if not sys.stdin.isatty():
            raise UnknownPassphraseError(
                "no passphrase was given and nobody is there to type one",
                hint="name a file that only its owner may read: --passphrase-file F or TOCSIN_PASSPHRASE_FILE",
            )
        from getpass import getpass

        typed = getpass("Passphrase: ")
        if confirm and typed != getpass("Passphrase, again: "):
            raise UnknownPassphraseError("the two passphrases differ", hint="run it again")
        return _nonempty(typed)

    def _passphrase_in(self, path: Path) -> str:
        try:
            with path.open("rb") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                data = file.read(MAX_PASSPHRASE_BYTES + 1)
            text = data.decode()
        except OSError as problem:
            raise UnknownPassphraseError(
                f"cannot read {path}: {problem.strerror}", hint="check its name and mode"
            ) from problem
        except UnicodeDecodeError:
            raise UnknownPassphraseError(f"{path} is no text", hint="a passphrase is one line of UTF-8") from None
        if len(data) > MAX_PASSPHRASE_BYTES:
            raise UnknownPassphraseError(f"{path} holds more than a passphrase", hint="a passphrase is one line")
        if mode & 0o077:
            self.say("warning: others may read ", str(path), f" (mode {mode:04o}): chmod 600 it")
        return _nonempty(text.removesuffix("\n").removesuffix("\r"))

    # --- what is read

    def read_input(self, name: str, limit: int = MAX_INPUT_BYTES) -> bytes:
        """The bytes of a file, or of standard input for `-`: at most `limit`.

        Raises:
            OperationError: `io_error` when it cannot be read, `too_large`.
        """
        try:
            if name == "-":
                if self.can_ask:
                    self.say("type it, then Ctrl-D on a line of its own")
                data = sys.stdin.buffer.read(limit + 1)
            else:
                with open(name, "rb") as file:
                    data = file.read(limit + 1)
        except OSError as problem:
            raise OperationError(
                "io_error", f"cannot read {name}: {problem.strerror}", "check the name of the file"
            ) from problem
        if len(data) > limit:
            raise OperationError("too_large", f"{_named(name)} is too large", f"at most {limit} bytes are read")
        return data

    def read_text(self, name: str, *, code: str) -> str:
        """The same as text. Raises OperationError with `code` when it is no UTF-8."""
        try:
            return self.read_input(name).decode()
        except UnicodeDecodeError as problem:
            raise OperationError(
                code, f"{_named(name)} is no UTF-8 text", "check that it is the right file"
            ) from problem

    def spoken(self, text: str | None) -> str | None:
        """A text option: `-` is standard input, without its last line break."""
        return self.read_text("-", code="usage").removesuffix("\n") if text == "-" else text


def wants_json(argv: Sequence[str]) -> bool:
    """Whether `--json` is among the options, known before they are parsed: a usage error answers in JSON too."""
    return "--json" in argv[: _end_of_options(argv)]


def error_document(code: str, message: str, hint: str = "") -> Document:
    """The contract's error document for a failure that is no NodeError."""
    return {
        "v": 1,
        "error": {"code": code, "message": message, "hint": hint, "exit": ERROR_EXITS[code], "problems": []},
    }


def view_error(document: Document, page: Page) -> None:
    """An error as a person reads it: what happened, every problem on a line, what to do."""
    error: dict[str, Any] = document["error"]
    page.line("tocsin: error: ", show_times_in(str(error.get("message", ""))), hang=4)
    for problem in error.get("problems") or []:
        example = problem.get("example")
        page.line(
            str(problem.get("path") or "(whole document)"),
            ": ",
            show_times_in(str(problem.get("message", ""))),
            f" [{problem.get('rule', '')}]",
            ("  e.g. ", str(example)) if example else "",
            indent=4,
        )
    if error.get("hint"):
        page.line("tocsin: hint: ", Ours(error["hint"]), hang=4)


def typable(document: Document, program: str) -> Document:
    """An error document whose hint reaches the same node again: commands in it carry the directory that was named."""
    error = document["error"]
    return {**document, "error": {**error, "hint": with_program(str(error.get("hint") or ""), program)}}


def _checked(answer: Answer) -> Answer:
    if isinstance(answer.document.get("error"), dict):
        raise AnsweredError(answer.document, answer.exit)
    return answer


def _columns(stream: TextIO) -> int | None:
    """The width of the terminal behind a stream; None if there is none."""
    if not stream.isatty():
        return None
    named = os.environ.get("COLUMNS", "")
    if named.isdecimal() and int(named):
        return int(named)
    try:
        return os.get_terminal_size(stream.fileno()).columns or UNKNOWN_COLUMNS
    except (OSError, ValueError):  # something that only says that it is a terminal
        return UNKNOWN_COLUMNS


def _end_of_options(argv: Sequence[str]) -> int:
    return argv.index("--") if "--" in argv else len(argv)


def _without(word: str, hidden: Sequence[str]) -> str:
    option, _, value = word.partition("=")
    if word in hidden:
        return "-"
    return f"{option}=-" if option.startswith("--") and value in hidden else word


def _credential() -> str | None:
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    path = Path(directory) / "passphrase" if directory else None
    return str(path) if path is not None and path.is_file() else None


def _nonempty(passphrase: str) -> str:
    if not passphrase:
        raise UnknownPassphraseError("the passphrase is empty", hint="choose one of several words")
    return passphrase


def _named(name: str) -> str:
    return "standard input" if name == "-" else name
