"""The operators' API on the node's Unix socket. Owns transport and who is calling; what an operation does is
`nodes.operations`.

`POST /v1/<operation>` with a JSON object of arguments; the answer is `{"exit": n, "document": {…}}`, where the
document is the contract's own.
`watch` and `stream` answer lines of JSON. The caller is known by the uid of its socket (SO_PEERCRED): no password, no
token.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from aiohttp import StreamReader, web

from nodes.errors import ERROR_EXITS, FatalError, NodeError, OperationError
from nodes.logging import get_logger
from nodes.sockets import caller_of

MAX_REQUEST_BYTES = 2 * 1024 * 1024
DRAIN_S = 5.0
_PREFIX = "/v1/"

log = get_logger("local_api")
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What an operation comes to. `extra` stands beside the document, for what is no part of the contract's document
    (a file's bytes).
    """

    document: Document
    exit: int = 0
    extra: Document | None = None


Operation = Callable[[int, Document], Awaitable[Answer]]
Stream = Callable[[int, Document, "Lines"], AsyncIterator[Sequence[Document]]]
"""Answers in lines; those that are given together are written together."""


class Lines(Protocol):
    """What the caller of a stream sends."""

    def batches(self, most: int) -> AsyncIterator[list[bytes]]:
        """Its lines as they come, those together that are there already, but at most so many."""


class LocalApi:
    """Serves operations on a bound Unix socket."""

    def __init__(self, operations: dict[str, Operation], streams: dict[str, Stream]) -> None:
        self._operations = operations
        self._streams = streams
        self._runner: web.ServerRunner | None = None
        self._stopping = asyncio.Event()
        self._open: set[_Lines] = set()

    async def start(self, bound: socket.socket) -> None:
        """Begin to answer on `bound`."""
        # The plain server: one route needs no router, which costs a tenth of what a short request does.
        server = web.Server(self._handle, access_log=None, handler_cancellation=True)
        runner = web.ServerRunner(server, shutdown_timeout=DRAIN_S)
        await runner.setup()
        await web.SockSite(runner, bound).start()
        self._runner = runner

    async def stop(self) -> None:
        """End the streams at once, finish what is being answered, then close."""
        self._stopping.set()
        for lines in self._open:
            lines.end()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method != "POST" or not request.path.startswith(_PREFIX):
            return web.Response(status=404)
        name = request.path.removeprefix(_PREFIX)
        uid = _caller(request)
        stream = self._streams.get(name)
        try:
            if stream is not None:
                return await self._stream(request, uid, stream)
            operation = self._operations.get(name)
            if operation is None:
                raise OperationError(
                    "usage", f"this node knows no operation {name!r}", "is the command line newer than the node?"
                )
            return _json(await operation(uid, await _arguments(request)))
        except FatalError:
            raise
        except NodeError as error:
            return _json(Answer(error.document(), error.exit))
        except (asyncio.CancelledError, web.HTTPException):
            raise
        except Exception:
            # Our bug: the trace goes to the log, never to the terminal (docs/CLI.md §3).
            log.exception("operation.failed", operation=name)
            bug = OperationError(
                "internal", "the node failed at this; its log has the trace", "report it with the log lines"
            )
            return _json(Answer(bug.document(), ERROR_EXITS["internal"]))

    async def _stream(self, request: web.BaseRequest, uid: int, stream: Stream) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        lines = _Lines(request.content)
        arguments = read_object(await lines.first() or b"{}")
        documents = stream(uid, arguments, lines)
        # The first document decides whether this is an answer or a refusal: only then are headers sent.
        first = await anext(documents, None)
        await response.prepare(request)
        if first is not None:
            await response.write(_lines(first))
            await self._pour(documents, lines, response)
        await response.write_eof()
        return response

    async def _pour(
        self, documents: AsyncIterator[Sequence[Document]], lines: _Lines, response: web.StreamResponse
    ) -> None:
        """Write each document until the stream ends, or the node does: nobody who watches may hold a node up."""

        async def pour() -> None:
            async for together in documents:
                await response.write(_lines(together))

        pouring = asyncio.create_task(pour())
        stopped = asyncio.create_task(self._stopping.wait())
        self._open.add(lines)
        try:
            await asyncio.wait({pouring, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if pouring.done() or lines.followed:  # what reads its caller has no more to read: it answers and ends
                await pouring
        finally:
            self._open.discard(lines)
            stopped.cancel()
            pouring.cancel()
            await asyncio.wait({pouring, stopped})


class _Lines:
    """What a caller sends, line by line, until there is no more or the node stops."""

    def __init__(self, content: StreamReader) -> None:
        self._content = content
        self._whole: deque[bytes] = deque()  # lines that have come
        self._begun = b""  # of a line that has not
        self._ended = False
        self._waiting: asyncio.Timeout | None = None
        self.followed = False  # whether the stream goes by these lines

    def end(self) -> None:
        """No more lines: whoever waits for one is told so."""
        self._ended = True
        if self._waiting is not None:
            self._waiting.reschedule(asyncio.get_running_loop().time())

    async def first(self) -> bytes:
        """The first line, which holds the arguments; nothing when there is none."""
        await self._fill()
        return self._whole.popleft() if self._whole else b""

    async def batches(self, most: int) -> AsyncIterator[list[bytes]]:
        """See Lines."""
        self.followed = True
        while not self._ended:
            await self._fill()
            if not self._whole:
                return
            while self._whole and not self._ended:
                yield [self._whole.popleft() for _ in range(min(most, len(self._whole)))]

    async def _fill(self) -> None:
        """Wait until a whole line is there, or there will be none. Raises OperationError for one without an end."""
        while not self._whole and not self._ended:
            data = await self._read()
            if not data:
                self._ended = True
                data = b"\n"  # the last line may lack its end
            *whole, self._begun = (self._begun + data).split(b"\n")
            self._whole.extend(line for line in whole if line.strip())
            if len(self._begun) > MAX_REQUEST_BYTES:
                raise OperationError("too_large", "a line of this stream has no end", "one JSON object a line")

    async def _read(self) -> bytes:
        try:
            async with asyncio.timeout(None) as self._waiting:
                return await self._content.readany()
        except TimeoutError:
            if not self._ended:
                raise
            return b""
        finally:
            self._waiting = None


def _caller(request: web.BaseRequest) -> int:
    connection = request.transport.get_extra_info("socket") if request.transport is not None else None
    if connection is None:
        raise OperationError("not_permitted", "the caller is gone", "")
    return caller_of(connection).uid


async def _arguments(request: web.BaseRequest) -> Document:
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > MAX_REQUEST_BYTES:
            raise web.HTTPRequestEntityTooLarge(MAX_REQUEST_BYTES, len(body))
    return read_object(bytes(body) or b"{}")


def read_object(data: bytes) -> Document:
    """The JSON object of a caller. Raises OperationError (`usage`) for anything else.

    Half surrogates and NaN too: no argument must fail where it is encoded, stored or compared.
    """
    try:
        arguments = _DECODER.decode(data.decode())
        if _HALF_SURROGATE.search(data):
            _ENCODER.encode(arguments).encode()
    except (ValueError, RecursionError) as error:  # UnicodeError is a ValueError
        raise OperationError("usage", "the request is no JSON", "is the command line newer than the node?") from error
    if not isinstance(arguments, dict):
        raise OperationError("usage", "the request is no JSON object", "is the command line newer than the node?")
    return arguments


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_HALF_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")  # as bytes they are no UTF-8


def _no_constant(_: str) -> NoReturn:
    raise ValueError


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def _line(document: Document) -> bytes:
    return _ENCODER.encode(document).encode() + b"\n"


def _lines(documents: Sequence[Document]) -> bytes:
    return b"".join(map(_line, documents))


def _json(answer: Answer) -> web.Response:
    body = {"exit": answer.exit, "document": answer.document, **(answer.extra or {})}
    return web.Response(body=_line(body), content_type="application/json")
