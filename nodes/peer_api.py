"""What peers reach: one round after another over connections that show who calls (PROTOCOL §9, §13).

Owns HTTP forms and limits. It does not know what a round says: its bytes go to `receive`, with the agency that the
connection proves. Limits come before work: a stranger costs a handshake, a peer a bounded number of bytes and rounds.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import Final, cast

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler

from exchange.errors import RefusalCode, RefusalError
from exchange.round import MAX_ROUND_BYTES, SLOWEST_BYTES_PER_S, encode_error
from keys.ids import AgencyId
from nodes.budgets import Budgets, Measure
from nodes.errors import FatalError
from nodes.logging import get_logger
from nodes.metrics import Metrics
from nodes.peer_listener import ConnectionLimits, PeerListener
from nodes.tls import PeerRoots

ROUND_PATH: Final = "/v1/round"
ROUND_TYPE: Final = "application/msgpack"

STATUS_OF: Mapping[RefusalCode, int] = MappingProxyType(
    {
        RefusalCode.NOT_TRUSTED: 403,
        RefusalCode.TOO_LARGE: 413,
        RefusalCode.RATE_LIMITED: 429,
        RefusalCode.INTERNAL: 503,
    }
)
"""HTTP status of an error code (PROTOCOL §9). Every other code is something wrong with the round: 400."""

_MAX_LINE: Final = 4_096
_MAX_HEADERS: Final = 32
_PIECE_BYTES: Final = 65_536

log = get_logger("peer_api")


@dataclass(frozen=True, slots=True)
class PeerLimits:
    """What strangers and peers may take. Times in seconds."""

    listening: ConnectionLimits = field(default_factory=ConnectionLimits)
    connections_per_peer: int = 16
    unserved_per_peer: int = 4  # connections on which an agency hears only that it is not trusted, or has too many
    rounds_per_peer: int = 4
    round_memory_bytes: int = 64 * 1_048_576
    first_request_s: float = 10.0  # from the handshake to the end of the first header
    unserved_first_request_s: float = 1.0  # the same on a connection that is only answered a refusal
    body_s: float = 30.0
    slowest_bytes_per_s: int = SLOWEST_BYTES_PER_S  # a body may take body_s and its size over this
    answer_s: float = 30.0  # and its size over slowest_bytes_per_s
    idle_s: float = 75.0
    refusal_s: float = 1.0  # before rate_limited is said: an answer at once would be asked for at once again
    lingering_s: float = 5.0  # reading on after an early refusal, so that the caller gets to hear it


class _FormError(Exception):
    """A request that is answered with an error before `receive` sees it. `hang_up`: nothing more is read from there."""

    def __init__(self, status: int, code: RefusalCode, *, hang_up: bool = False) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.hang_up = hang_up


class PeerApi:
    """The listener for peers."""

    def __init__(
        self,
        receive: Callable[[AgencyId, bytes], Awaitable[bytes]],
        admit_peer: Callable[[AgencyId], bool],
        roots: PeerRoots,
        metrics: Metrics,
        budgets: Budgets,
        *,
        limits: PeerLimits | None = None,
        on_fatal: Callable[[FatalError], None] | None = None,
    ) -> None:
        """Make it, on the running loop; `start` listens.

        `receive` takes a round's bytes from an agency and gives the answer's. RefusalError becomes its code, any other
        error 503. It is cancelled only when the node stops and can wait no longer, never because its caller hung up.
        `budgets` is charged a round and its bytes before they are read.
        `admit_peer` is asked for each request: False is answered 403 `not_trusted`.
        `on_fatal` hears of a FatalError from `receive` and must end the process.
        """
        self._receive = receive
        self._admit_peer = admit_peer
        self._roots = roots
        self._metrics = metrics
        self._budgets = budgets
        self._limits = limits or PeerLimits()
        self._on_fatal = on_fatal
        self._server = web.Server(self._handle, request_factory=_make_request)
        self._listener = PeerListener(
            self._make_connection, self._places_taken, roots.front, metrics, self._limits.listening
        )
        self._connections: defaultdict[AgencyId, set[_Connection]] = defaultdict(set)
        self._unserved = Counter[AgencyId]()  # of the connections, those that only a refusal awaits
        self._rounds = Counter[AgencyId]()
        self._memory = 0
        self._work: set[asyncio.Task[bytes]] = set()

    # --- life ---------------------------------------------------------------------------------------------------------

    async def start(self, host: str, port: int) -> int:
        """Listen; port 0 takes a free one. Returns the port. Raises ListenError."""
        return await self._listener.start(host, port)

    async def drain(self, timeout_s: float = 15.0) -> None:
        """Stop: accept nothing more, let rounds in progress be answered if they end in time, close everything."""
        await self._listener.stop()
        for connection in [one for siblings in self._connections.values() for one in siblings]:
            connection.retire()
        await self._server.shutdown(max(timeout_s, 0.001))  # to aiohttp 0 is "for ever"
        for work in self._work:
            work.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)

    def close_peer(self, agency: AgencyId) -> None:
        """End an agency's connections: rounds in progress are answered 403 at once, idle connections closed.

        For a peer that was suspended or removed or has another root; what it begins next, `admit_peer` and the roots
        refuse.
        """
        for connection in tuple(self._connections.get(agency, ())):
            connection.end()

    # --- connections --------------------------------------------------------------------------------------------------

    def _make_connection(self) -> _Connection:
        return _Connection(self, self._server, self._limits)

    def _open_connections(self) -> int:
        return sum(map(len, self._connections.values()))

    def _places_taken(self) -> tuple[int, int]:
        unserved = self._unserved.total()
        return self._open_connections() - unserved, unserved

    def opened(self, connection: _Connection) -> float:
        """A connection is up; find out whose it is. Returns for how many seconds its first request is waited for."""
        agency = self._roots.identify(connection.leaf)
        if agency is None:  # its root left the set during the handshake
            connection.abort()
            return 0
        siblings = self._connections.get(agency, set())
        surplus = len(siblings) - self._unserved[agency] >= self._limits.connections_per_peer
        unserved = surplus or not self._admit_peer(agency)
        if unserved and self._unserved[agency] >= self._limits.unserved_per_peer:
            self._metrics.connections_refused.add("unserved")
            connection.abort()
            return 0
        connection.agency, connection.surplus, connection.unserved = agency, surplus, unserved
        self._connections[agency].add(connection)
        self._unserved[agency] += unserved
        self._metrics.peer_connections.set(self._open_connections())
        return self._limits.unserved_first_request_s if unserved else self._limits.first_request_s

    def _serve(self, connection: _Connection, agency: AgencyId) -> None:
        """It counts as served from now on: the agency came to be trusted after the connection was opened."""
        if connection.unserved:
            connection.unserved = False
            self._unserved[agency] -= 1

    def lost(self, connection: _Connection) -> None:
        """A connection has ended."""
        if connection.agency is None:
            return
        siblings = self._connections[connection.agency]
        siblings.discard(connection)
        self._unserved[connection.agency] -= connection.unserved
        if not siblings:
            del self._connections[connection.agency]
            del self._unserved[connection.agency]
        self._metrics.peer_connections.set(self._open_connections())

    # --- requests -----------------------------------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = cast("_Connection", request.protocol)
        with connection.busy():
            try:
                answer = await self._round(request, connection)
                response = _Answer(answer)
                outcome = "answered"
            except (_FormError, RefusalError) as error:
                response = _error_answer(error)
                outcome = error.code
            self._metrics.rounds_in.add(outcome)
            log.debug("round.in", peer=connection.agency, outcome=outcome)
            await self._send(request, response, connection)
            if connection.given_up:
                connection.force_close()
        return response

    async def _round(self, request: web.BaseRequest, connection: _Connection) -> bytes:
        agency = self._caller(connection)
        await self._budgets.take(agency, Measure.ROUNDS, 1)  # also for what is no round: it costs as much to answer
        size = _check_form(request)
        if self._rounds[agency] >= self._limits.rounds_per_peer:
            await asyncio.sleep(self._limits.refusal_s)
            raise _FormError(429, RefusalCode.RATE_LIMITED)
        with contextlib.ExitStack() as held:
            self._rounds[agency] += 1
            held.callback(self._release, agency)
            try:
                await self._budgets.take(agency, Measure.BYTES, size)
            except RefusalError as refused:
                raise _FormError(429, refused.code, hang_up=size > _PIECE_BYTES) from refused
            body = await self._read(request, connection, size, held)
            self._budgets.charge(agency, Measure.BYTES, len(body) - size)  # less came than was announced for it
            self._caller(connection)  # again: it may have been suspended while its body arrived
            # What the peer began is finished even if it hangs up or is suspended: half a commit helps nobody. What was
            # taken for the round is given back when that has ended, so that hanging up buys no further rounds.
            work = asyncio.get_running_loop().create_task(self._ask(agency, body))
            self._work.add(work)
            work.add_done_callback(self._settled)
            given_back = held.pop_all()
            work.add_done_callback(lambda _: given_back.close())
        await asyncio.wait((work, connection.ended), return_when=asyncio.FIRST_COMPLETED)
        if connection.ended.done():
            raise _FormError(403, RefusalCode.NOT_TRUSTED, hang_up=True)
        answer = work.result()
        self._budgets.charge(agency, Measure.BYTES, len(answer))  # a short question may have a long answer
        return answer

    def _caller(self, connection: _Connection) -> AgencyId:
        agency = self._roots.identify(connection.leaf)  # anew: the roots may have changed since the handshake
        if agency is None or agency != connection.agency or not self._admit_peer(agency):
            raise _FormError(403, RefusalCode.NOT_TRUSTED, hang_up=True)
        if connection.surplus:
            raise _FormError(429, RefusalCode.RATE_LIMITED, hang_up=True)
        self._serve(connection, agency)
        return agency

    async def _read(
        self, request: web.BaseRequest, connection: _Connection, size: int, held: contextlib.ExitStack
    ) -> bytes:
        """The body. Memory is booked as it arrives: who announces much and sends little takes nothing from others."""
        body = bytearray()
        held.callback(lambda: self._give_back(len(body)))
        try:
            async with connection.reading(self._limits.body_s + size / self._limits.slowest_bytes_per_s):
                while chunk := await request.content.readany():
                    body += chunk
                    self._memory += len(chunk)
                    if len(body) > MAX_ROUND_BYTES:
                        raise _FormError(413, RefusalCode.TOO_LARGE, hang_up=True)
                    if self._memory > self._limits.round_memory_bytes:
                        raise _FormError(429, RefusalCode.RATE_LIMITED, hang_up=True)
        except (OSError, web.RequestPayloadError) as problem:  # too slow (or told to be), gone, or no HTTP
            connection.given_up = True
            if connection.ended.done():
                raise _FormError(403, RefusalCode.NOT_TRUSTED, hang_up=True) from problem
            if connection.retired:
                raise _FormError(503, RefusalCode.INTERNAL, hang_up=True) from problem
            raise _FormError(400, RefusalCode.MALFORMED, hang_up=True) from problem
        return bytes(body)

    async def _ask(self, agency: AgencyId, body: bytes) -> bytes:
        started = time.monotonic()
        try:
            answer = await self._receive(agency, body)
        except RefusalError:
            raise
        except Exception as error:
            self._metrics.internal_errors.add("receive")
            log.exception("round.failed", peer=agency)
            if isinstance(error, FatalError) and self._on_fatal is not None:
                self._on_fatal(error)
            raise _FormError(503, RefusalCode.INTERNAL) from error
        self._metrics.round_in_seconds.observe(time.monotonic() - started)
        return answer

    def _settled(self, work: asyncio.Task[bytes]) -> None:
        self._work.discard(work)
        if not work.cancelled():
            work.exception()  # looked at: nobody may be waiting for it any more

    def _release(self, agency: AgencyId) -> None:
        self._rounds[agency] -= 1
        if not self._rounds[agency]:
            del self._rounds[agency]

    def _give_back(self, size: int) -> None:
        self._memory -= size

    async def _send(self, request: web.BaseRequest, response: _Answer, connection: _Connection) -> None:
        try:
            async with asyncio.timeout(self._limits.answer_s + response.size / self._limits.slowest_bytes_per_s):
                await response.prepare(request)
                await response.write_eof()
        except TimeoutError:  # a caller that does not read would hold its answer in memory for ever
            connection.abort()
        except ConnectionError:
            log.debug("round.caller_gone", peer=connection.agency)


class _Answer(web.StreamResponse):
    """An answer, written in pieces: only between pieces does asyncio's TLS notice that the caller does not read."""

    def __init__(self, body: bytes, *, status: int = HTTPStatus.OK) -> None:
        super().__init__(status=status, headers={"Content-Type": ROUND_TYPE, "Content-Length": str(len(body))})
        self._unsent = memoryview(body)
        self.size = len(body)

    async def write_eof(self, data: bytes = b"") -> None:
        while self._unsent:
            piece, self._unsent = self._unsent[:_PIECE_BYTES], self._unsent[_PIECE_BYTES:]
            await self.write(piece)
        await super().write_eof(data)


class _Connection(RequestHandler):
    """One connection: who is at its other end, and how long it may say nothing."""

    __slots__ = (
        "_api",
        "_busy",
        "_deadline",
        "_patience",
        "agency",
        "ended",
        "given_up",
        "leaf",
        "retired",
        "surplus",
        "unserved",
    )

    def __init__(self, api: PeerApi, server: web.Server, limits: PeerLimits) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=limits.idle_s,
            access_log=None,  # type: ignore[arg-type] # as web.Server passes it: none is kept
            auto_decompress=False,
            lingering_time=limits.lingering_s,
            max_line_size=_MAX_LINE,
            max_field_size=_MAX_LINE,
            max_headers=_MAX_HEADERS,
        )
        self._api = api
        self._busy = False
        self._deadline: asyncio.Timeout | None = None
        self._patience: asyncio.TimerHandle | None = None
        self.agency: AgencyId | None = None
        self.ended: asyncio.Future[None] = loop.create_future()
        self.given_up = False  # the rest of a body is not waited for
        self.leaf = b""
        self.retired = False
        self.surplus = False
        self.unserved = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.leaf = transport.get_extra_info("ssl_object").getpeercert(True)
        # aiohttp watches the silence between requests; before the first, only this does.
        self._patience = self._loop.call_later(self._api.opened(self), self.abort)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_waiting()
        self._api.lost(self)
        super().connection_lost(exc)

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """A request has come and is being answered."""
        self._stop_waiting()
        self._busy = True
        try:
            yield
        finally:
            self._busy = False

    @contextlib.asynccontextmanager
    async def reading(self, seconds: float) -> AsyncIterator[None]:
        """A body is arriving and must be here in `seconds`. Raises TimeoutError."""
        async with asyncio.timeout(seconds) as deadline:
            self._deadline = deadline
            try:
                yield
            finally:
                self._deadline = None

    def end(self) -> None:
        """No more from here: what is in progress is answered 403, an idle connection closed."""
        if not self.ended.done():
            self.ended.set_result(None)
        self._stop_reading()

    def retire(self) -> None:
        """The node stops: a round that is here is answered, one still arriving gets 503, an idle connection ends."""
        self.retired = True
        self._stop_reading()

    def _stop_reading(self) -> None:
        if not self._busy:
            self.force_close()
        elif self._deadline is not None:
            self._deadline.reschedule(self._loop.time())

    def abort(self) -> None:
        """Cut the connection."""
        if self.transport is not None:
            self.transport.abort()

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 # quotes the request
    ) -> web.StreamResponse:
        """Answer what is no HTTP, or a fault of ours, in our own form and without the text of either."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun")
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return _error_answer(_FormError(400, RefusalCode.MALFORMED, hang_up=True))
        log.error("request.failed", peer=self.agency, exc_info=exc)
        return _error_answer(_FormError(503, RefusalCode.INTERNAL, hang_up=True))


class _Request(web.BaseRequest):
    async def _prepare_hook(self, resp: web.StreamResponse) -> None:
        resp.headers.popall("Server", None)  # versions of our libraries are nobody's business


def _make_request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> _Request:
    return _Request(message, payload, protocol, writer, task, asyncio.get_running_loop())


def _check_form(request: web.BaseRequest) -> int:
    """Judge a request by its header (PROTOCOL §10, step 1). Returns how many bytes its body may have."""
    if request.path_qs != ROUND_PATH:
        raise _FormError(404, RefusalCode.MALFORMED, hang_up=True)
    if request.method != "POST":
        raise _FormError(405, RefusalCode.MALFORMED, hang_up=True)
    if request.headers.get("Content-Encoding", "identity") != "identity" or request.content_type != ROUND_TYPE:
        raise _FormError(415, RefusalCode.MALFORMED, hang_up=True)
    size = request.content_length
    if size is None:
        return MAX_ROUND_BYTES
    if size > MAX_ROUND_BYTES:
        raise _FormError(413, RefusalCode.TOO_LARGE, hang_up=True)
    return size


def _error_answer(error: _FormError | RefusalError) -> _Answer:
    status = error.status if isinstance(error, _FormError) else STATUS_OF.get(error.code, 400)
    answer = _Answer(encode_error(error.code), status=status)
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        answer.headers["Allow"] = "POST"
    if status == HTTPStatus.FORBIDDEN or (isinstance(error, _FormError) and error.hang_up):
        answer.force_close()
    return answer
