"""Calling a peer: one round out over TLS, and what its failure means (PROTOCOL §9, §13).

Owns connections to peers and the reading of HTTP. It does not know what a round says, nor when to try again.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import io
import ssl
import time
from dataclasses import dataclass
from http import HTTPStatus
from types import SimpleNamespace
from typing import Final

import aiohttp

from exchange.round import MAX_ROUND_BYTES, decode_error
from keys.errors import EncodingError
from keys.ids import AgencyId
from nodes.endpoints import parse_endpoint
from nodes.metrics import Metrics
from nodes.peer_api import ROUND_PATH, ROUND_TYPE
from nodes.tls import OwnLeaf, client_context

CONNECTIONS_PER_PEER: Final = 4
IDLE_S: Final = 60.0  # less than the 75 s after which our server closes
CONNECT_S: Final = 15.0
_MAX_ERROR_BYTES: Final = 256
_BIG_BODY: Final = 1_048_576  # above, aiohttp wants a file: it writes bytes in one piece


class RoundError(Exception):
    """A round that brought no answer: for the courier, not for an operator. Never raised itself."""

    outcome = "failed"


class Unreachable(RoundError):  # noqa: N818 # the word of docs/CLI.md for this state
    """No connection, or one that broke.

    `detail` is one of: endpoint dns connection_refused no_route connect timeout tls wrong_certificate closed forgotten
    own_certificate. `wrong_certificate`: somebody answered who does not hold the key of the pinned root.
    `own_certificate`: our own leaf cannot be loaded, so nobody was called.
    """

    outcome = "unreachable"

    def __init__(self, detail: str) -> None:
        super().__init__(f"the peer cannot be reached: {detail}")
        self.detail = detail


class PeerDoesNotTrustUs(RoundError):  # noqa: N818 # the word of docs/CLI.md for this state
    """The peer showed who it is, then closed before its first byte, twice running: it does not know our TLS root.

    A peer that has not pinned us cannot say so: TLS ends before HTTP begins (PROTOCOL §13).
    """

    outcome = "does_not_trust_us"

    def __init__(self) -> None:
        super().__init__("the peer closes our connections: it has not added this agency")


class PeerRefused(RoundError):  # noqa: N818 # a statement of the peer, not a fault
    """The peer answered with an error. `code` is its word, an unsigned hint; `status` the HTTP status."""

    outcome = "refused"

    def __init__(self, code: str, status: int) -> None:
        super().__init__(f"the peer refused the round: {code}")
        self.code = code
        self.status = status


class BadAnswer(RoundError):  # noqa: N818 # as its siblings
    """The peer answered with what is no answer. `rule`: http status content_type encoding too_large error_body."""

    outcome = "bad_answer"

    def __init__(self, rule: str) -> None:
        super().__init__(f"the peer's answer is not one: {rule}")
        self.rule = rule


@dataclass(frozen=True, slots=True)
class PeerTarget:
    """Whom to call: `endpoint` is https://HOST:PORT, `tls_root` the DER that the peer's anchor names."""

    agency: AgencyId
    endpoint: str
    tls_root: bytes


@dataclass(slots=True)
class _Attempt:
    """What aiohttp tells about the connection of one request."""

    created: bool = False  # TLS is up: the peer has authenticated itself
    reused: bool = False


class _ClosedEarlyError(Exception):
    """The connection ended before the first byte of an answer."""


@dataclass(frozen=True, slots=True)
class _Link:
    root_digest: bytes
    session: aiohttp.ClientSession


class PeerClient:
    """Calls peers. One session per peer, whose context trusts that peer's root alone."""

    def __init__(self, own: OwnLeaf, metrics: Metrics, *, connect_s: float = CONNECT_S, idle_s: float = IDLE_S) -> None:
        self._own = own
        self._metrics = metrics
        self._connect_s = connect_s
        self._idle_s = idle_s
        self._links: dict[AgencyId, _Link] = {}
        self._opening = asyncio.Lock()
        self._closed = False

    async def round(self, target: PeerTarget, body: bytes, timeout_s: float) -> bytes:
        """Send one round and return the bytes of the answer; `timeout_s` is for all of it.

        A round that came to its end twice changes nothing at the peer, so that a connection which the peer had closed
        meanwhile costs a second try here and nothing else.

        Raises:
            Unreachable, PeerDoesNotTrustUs, PeerRefused, BadAnswer: as their names say.
        """
        started = time.monotonic()
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._round(target, body)
        except TimeoutError as problem:
            self._metrics.rounds_out.add(Unreachable.outcome)
            raise Unreachable("timeout") from problem
        except RoundError as error:
            self._metrics.rounds_out.add(error.outcome)
            raise
        self._metrics.rounds_out.add("answered")
        self._metrics.round_out_seconds.observe(time.monotonic() - started)
        return answer

    async def _round(self, target: PeerTarget, body: bytes) -> bytes:
        closed_early = 0
        while True:
            attempt = _Attempt()
            try:
                return await self._post(await self._session(target), target, body, attempt)
            except _ClosedEarlyError as problem:
                if attempt.reused:  # it had been closed while idle, which says nothing; the pool has finitely many
                    continue
                closed_early += 1
                if closed_early == 2:
                    raise PeerDoesNotTrustUs from problem

    async def _session(self, target: PeerTarget) -> aiohttp.ClientSession:
        digest = hashlib.sha256(target.tls_root).digest()
        link = self._links.get(target.agency)
        if link is not None and link.root_digest == digest and not link.session.closed:
            return link.session
        async with self._opening:
            link = self._links.get(target.agency)
            if link is not None and link.root_digest == digest and not link.session.closed:
                return link.session
            try:
                context = await asyncio.to_thread(client_context, self._own, target.agency, target.tls_root)
            except ValueError as problem:
                raise Unreachable("wrong_certificate") from problem
            except OSError as problem:  # ssl.SSLError is one
                raise Unreachable("own_certificate") from problem
            if self._closed:
                raise Unreachable("forgotten")
            session = self._open(context)
            self._links[target.agency] = _Link(digest, session)
        if link is not None:
            await link.session.close()
        return session

    def _open(self, context: ssl.SSLContext) -> aiohttp.ClientSession:
        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(_note_created)
        trace.on_connection_reuseconn.append(_note_reused)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=CONNECTIONS_PER_PEER, keepalive_timeout=self._idle_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_s),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
            trace_configs=[trace],
        )

    async def _post(self, session: aiohttp.ClientSession, target: PeerTarget, body: bytes, attempt: _Attempt) -> bytes:
        try:
            url = parse_endpoint(target.endpoint) + ROUND_PATH
        except ValueError as problem:
            raise Unreachable("endpoint") from problem
        try:
            response = await session.post(
                url,
                data=io.BytesIO(body) if len(body) > _BIG_BODY else body,
                headers={"Content-Type": ROUND_TYPE, "Accept-Encoding": "identity"},
                allow_redirects=False,
                trace_request_ctx=attempt,
            )
        except (aiohttp.ClientError, OSError, RuntimeError) as problem:
            raise _meaning(problem, attempt, session) from problem
        async with response:
            return await _read_answer(response)

    async def forget(self, agency: AgencyId) -> None:
        """Close the connections to a peer; rounds in progress end as `Unreachable`. A later round opens new ones."""
        link = self._links.pop(agency, None)
        if link is not None:
            await link.session.close()

    async def close(self) -> None:
        """Close all connections, for good."""
        self._closed = True
        links, self._links = list(self._links.values()), {}
        for link in links:
            await link.session.close()


_DETAILS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (aiohttp.InvalidURL, "endpoint"),
    (aiohttp.ClientConnectorDNSError, "dns"),
    (aiohttp.ClientConnectorCertificateError, "wrong_certificate"),
    (aiohttp.ClientConnectorSSLError, "tls"),
    (aiohttp.ServerTimeoutError, "timeout"),
)
_CONNECT_DETAILS: Final = {
    errno.ECONNREFUSED: "connection_refused",
    errno.EHOSTUNREACH: "no_route",
    errno.ENETUNREACH: "no_route",
    errno.ETIMEDOUT: "timeout",
}


def _meaning(problem: Exception, attempt: _Attempt, session: aiohttp.ClientSession) -> Exception:
    """What a failure before the first byte of an answer says about the peer."""
    if session.closed:
        return Unreachable("forgotten")
    for kind, detail in _DETAILS:
        if isinstance(problem, kind):
            return Unreachable(detail)
    match problem:
        case aiohttp.ClientConnectorError():
            return Unreachable(_CONNECT_DETAILS.get(problem.os_error.errno or 0, "connect"))
        case aiohttp.ClientResponseError():
            return BadAnswer("http")
        case aiohttp.ClientConnectionError() if attempt.created or attempt.reused:
            return _ClosedEarlyError()
        case aiohttp.ClientError() | OSError():
            return Unreachable("connect")
        case _:
            return problem


async def _note_created(session: object, context: SimpleNamespace, params: object) -> None:  # noqa: ARG001
    context.trace_request_ctx.created = True


async def _note_reused(session: object, context: SimpleNamespace, params: object) -> None:  # noqa: ARG001
    context.trace_request_ctx.reused = True


async def _read_answer(response: aiohttp.ClientResponse) -> bytes:
    if response.headers.get("Content-Encoding", "identity") != "identity":  # never asked for, never inflated
        raise BadAnswer("encoding")
    if response.status == HTTPStatus.OK:
        if response.content_type != ROUND_TYPE:
            raise BadAnswer("content_type")
        return await _read(response, MAX_ROUND_BYTES)
    if response.status < HTTPStatus.BAD_REQUEST:
        raise BadAnswer("status")
    try:
        code = decode_error(await _read(response, _MAX_ERROR_BYTES))
    except EncodingError as problem:  # a proxy's page, not a node's word
        raise BadAnswer("error_body") from problem
    raise PeerRefused(code, response.status)


async def _read(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    data = bytearray()
    try:
        async for chunk in response.content.iter_any():
            data += chunk
            if len(data) > max_bytes:
                raise BadAnswer("too_large")
    except (aiohttp.ClientError, OSError) as problem:
        raise Unreachable("closed") from problem
    return bytes(data)
