"""A PeerApi under test, and raw TLS lines to it that can misbehave at any byte."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

from exchange.round import decode_error
from keys.ids import AgencyId
from nodes.budgets import Budgets, Rates
from nodes.metrics import Gauge, Metrics
from nodes.peer_api import PeerApi, PeerLimits
from nodes.peer_client import PeerClient, PeerTarget
from nodes.tls import PeerRoots, client_context
from tests.nodes.transport.agencies import Agency

HEAD = b"POST /v1/round HTTP/1.1\r\nHost: x\r\nContent-Type: application/msgpack\r\n"


@dataclass(slots=True)
class WatchedGauge(Gauge):
    """A gauge whose values can be waited for."""

    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def set(self, value: float) -> None:
        self.value = value
        task = asyncio.get_running_loop().create_task(self._wake())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _wake(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def until(self, value: float) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: self.value == value)


class Listening:
    """One agency that listens. `receive` answers what the test wants; `trusted` is whom it serves at this moment."""

    def __init__(self, agency: Agency, peers: Iterable[Agency], closing: AsyncExitStack) -> None:
        self.agency = agency
        self.peers = list(peers)
        self.closing = closing
        self.metrics = Metrics()
        self.metrics.peer_connections = self.connections = WatchedGauge("peer_connections", "")
        self.trusted = {peer.id for peer in self.peers}
        self.received: list[tuple[AgencyId, bytes]] = []
        self.receive: Callable[[AgencyId, bytes], Awaitable[bytes]] = self._echo
        self.fatal: list[BaseException] = []
        self.waits: list[float] = []
        self.roots = PeerRoots(agency.own)
        self.port = 0

    async def _echo(self, agency: AgencyId, body: bytes) -> bytes:
        return b"answer to " + body

    async def slept(self, seconds: float) -> None:
        """What a budget lets a caller wait: noted, and not waited for."""
        self.waits.append(seconds)
        await asyncio.sleep(0)

    async def _receive(self, agency: AgencyId, body: bytes) -> bytes:
        self.received.append((agency, body))
        return await self.receive(agency, body)

    async def start(self, limits: PeerLimits | None = None, rates: Rates | None = None) -> None:
        await self.roots.replace([peer.pinned(served=peer.id in self.trusted) for peer in self.peers])
        self.api = PeerApi(
            self._receive,
            self.trusted.__contains__,
            self.roots,
            self.metrics,
            Budgets(rates or Rates(), self.metrics, sleep=self.slept),
            limits=replace(limits or PeerLimits(), refusal_s=0),
            on_fatal=self.fatal.append,
        )
        self.port = await self.api.start("127.0.0.1", 0)
        self.closing.push_async_callback(self.api.drain, 0.0)

    @property
    def target(self) -> PeerTarget:
        return self.agency.target(self.port)

    def client(self, agency: Agency) -> PeerClient:
        """A well-behaved peer."""
        client = PeerClient(agency.own, Metrics())
        self.closing.push_async_callback(client.close)
        return client

    async def line(self, agency: Agency, *, receive_buffer: int | None = None) -> Line:
        """A TLS connection of that agency on which the test writes what it likes."""
        context = client_context(agency.own, self.agency.id, self.agency.root)
        connection = socket.socket()
        if receive_buffer is not None:  # counts only before the connection is made
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=connection, ssl=context, server_hostname="x")
        self.closing.callback(writer.close)
        return Line(reader, writer)

    async def plain_line(self) -> Line:
        """A TCP connection without TLS."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.closing.callback(writer.close)
        return Line(reader, writer)


@dataclass
class Answer:
    """An HTTP answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        return decode_error(self.body)


@dataclass
class Line:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def tls(self) -> ssl.SSLObject:
        found: ssl.SSLObject = self.writer.get_extra_info("ssl_object")
        return found

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def post(self, body: bytes) -> Answer:
        await self.send(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        return await self.answer()

    async def answer(self) -> Answer:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("ascii").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await self.reader.readexactly(int(headers["content-length"]))
        return Answer(int(head[0].split(" ")[1]), headers, body)

    async def closed(self) -> None:
        """Wait until the other side has ended the connection, however it does. Fails when it says something first."""
        try:
            said = await self.reader.read(100)
        except (ConnectionError, ssl.SSLError):
            said = b""
        assert said == b""


async def turns_until(true: Callable[[], bool]) -> None:
    """Let the loop turn until something that signals nobody has happened. The test's own timeout is the only clock."""
    while not true():  # noqa: ASYNC110 # there is no event to wait for
        await asyncio.sleep(0)
