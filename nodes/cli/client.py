"""Requests to the running node over its Unix socket. Owns the transport and its failures; knows no operation's meaning.

HTTP/1.1 through http.client, no asyncio: `POST /v1/<operation>` with a JSON object of arguments is answered
`{"exit": n, "document": {…}}`; a stream is answered in lines, each a document.
"""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nodes.directory import last_pid, layout_of
from nodes.errors import OperationError
from nodes.sockets import connect_local

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse

Document = dict[str, Any]

TIMEOUT_S = 60.0  # beyond what an operation itself may wait
HTTP_OK, HTTP_TOO_LARGE, HTTP_FAILED = 200, 413, 500


@dataclass(frozen=True, slots=True)
class Answer:
    """What the node said. `extra` stands beside the document: what is no part of it (a file's bytes)."""

    document: Document
    exit: int = 0
    extra: Document = field(default_factory=dict)


class LostAnswerError(OperationError):
    """The request was sent, or may have been, and no answer came: whether it was done is not known."""

    def __init__(self, hint: str) -> None:
        super().__init__(
            "node_not_running", "the node went away before it answered; whether it did this is not known", hint
        )


def ask(directory: Path, operation: str, arguments: Document, *, retry: str = "", wait_s: float = 0) -> Answer:
    """Have the node do `operation`. `retry` is what an operator does after a lost answer, said in that error.

    Raises:
        OperationError: `node_not_running` before anything was sent; `too_large`; `internal`: a senseless answer.
        LostAnswerError: after.
    """
    request = _body(arguments)
    connection = _connect(directory, wait_s + TIMEOUT_S)
    with contextlib.closing(connection):
        again = retry or "look with `tocsin status` before doing it again"
        with _after_sending(again):
            response = _send(connection, operation, request)
            body = response.read()
        _check_status(response, again)
        return _answer(body)


def stream(directory: Path, operation: str, arguments: Document) -> Iterator[Answer]:
    """Each document of a stream as it comes, until the node ends it. Silence may last; a node that goes away does not.

    Raises:
        OperationError: as `ask`. The stream ends with LostAnswerError when the node is killed.
    """
    request = _body(arguments)
    connection = _connect(directory, None)
    with contextlib.closing(connection):
        with _after_sending("start it again once the node runs"):
            response = _send(connection, operation, request)
        _check_status(response, "start it again once the node runs")
        while True:
            with _after_sending("start it again once the node runs"):
                line = response.readline()
            if not line:
                return
            yield _stream_answer(line)


def _connect(directory: Path, timeout_s: float | None) -> HTTPConnection:
    from http.client import HTTPConnection

    layout = layout_of(directory)
    try:
        socket = connect_local(layout.socket, timeout_s=timeout_s)
    except PermissionError as problem:
        raise OperationError(
            "not_permitted",
            f"this user may not reach {layout.socket}",
            "the directory above it must be passable (0711)",
        ) from problem
    except OSError as problem:
        start = f"tocsin -D {shlex.quote(str(layout.root))} run"
        pid = last_pid(layout)
        if pid is not None:
            raise OperationError(
                "node_not_running",
                f"the node in {layout.root} does not answer (process {pid} is starting or stopping)",
                f"try again in a few seconds; if none runs: {start}",
            ) from problem
        raise OperationError(
            "node_not_running",
            f"no node runs in {layout.root}",
            f"start it: {start}"
            if layout.config_file.exists()
            else f"{layout.root} holds no node; make one: tocsin init DIR",
        ) from problem
    connection = HTTPConnection("node", timeout=timeout_s)
    connection.sock = socket
    # Without this a connection that was closed would be opened anew, over TCP, to whatever answers to that name.
    connection.auto_open = 0
    return connection


def _body(arguments: Document) -> bytes:
    try:
        return json.dumps(arguments, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except UnicodeEncodeError as problem:  # bytes of the command line that are no UTF-8; a file's travel as base64
        raise OperationError("usage", "an argument is no UTF-8 text", "check the terminal's encoding") from problem


def _send(connection: HTTPConnection, operation: str, body: bytes) -> HTTPResponse:
    connection.request("POST", f"/v1/{operation}", body, {"Content-Type": "application/json"})
    return connection.getresponse()


@contextlib.contextmanager
def _after_sending(retry: str) -> Iterator[None]:
    """The one place where failures of the line become ours."""
    from http.client import HTTPException

    try:
        yield
    except (OSError, HTTPException) as problem:
        raise LostAnswerError(retry) from problem


def _check_status(response: HTTPResponse, retry: str) -> None:
    if response.status == HTTP_FAILED:  # its disk failed under this very request, and it is about to stop
        raise LostAnswerError(retry)
    if response.status == HTTP_TOO_LARGE:
        raise OperationError("too_large", "the node takes no request of this size", "a message holds at most 256 KiB")
    if response.status != HTTP_OK:
        raise _senseless(f"HTTP status {response.status}")


def _answer(body: bytes) -> Answer:
    parsed = _object(body)
    document, status = parsed.pop("document", None), parsed.pop("exit", None)
    if not isinstance(document, dict) or type(status) is not int:
        raise _senseless("no document")
    return Answer(document, status, parsed)


def _stream_answer(line: bytes) -> Answer:
    """A line is a document; a refusal before the stream began comes in the form of any other answer."""
    parsed = _object(line)
    if isinstance(parsed.get("document"), dict) and "exit" in parsed:
        return _answer(line)
    return Answer(parsed)


def _object(data: bytes) -> Document:
    try:
        parsed = json.loads(data)
    except (ValueError, RecursionError) as problem:
        raise _senseless("no JSON") from problem
    if not isinstance(parsed, dict):
        raise _senseless("no JSON object")
    return parsed


def _senseless(what: str) -> OperationError:
    return OperationError(
        "internal",
        f"the node's answer makes no sense to this command line ({what})",
        "compare `tocsin version` with the version that `tocsin status` shows",
    )
