"""A server with a peer's certificate that says exactly what a test tells it to, and remembers what it was told."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

from tests.nodes.transport.agencies import Agency

Behaviour = Callable[["Heard", asyncio.StreamWriter], Awaitable[None]]


class Heard:
    """One request as it came."""

    def __init__(self, head: bytes, body: bytes, connection: int) -> None:
        self.head = head
        self.body = body
        self.connection = connection

    @property
    def headers(self) -> dict[str, str]:
        lines = self.head.decode("ascii").split("\r\n")[1:]
        return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}


class ScriptedPeer:
    """Behaves as the next of `script` says for each request; the last one for all that follow."""

    def __init__(self, agency: Agency, caller: Agency, script: Sequence[Behaviour]) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(agency.own.certificate, agency.own.key, agency.own.password or b"")
        self.context.load_verify_locations(cadata=caller.root)
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.context.verify_flags |= 0x200000  # no dates, as the real one
        self.agency = agency
        self.script = list(script)
        self.heard: list[Heard] = []
        self.connections = 0

    async def start(self, closing: AsyncExitStack) -> int:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.context)
        closing.callback(server.close)
        return int(server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        connection = self.connections
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                heard = Heard(head, b"", connection)
                heard.body = await reader.readexactly(int(heard.headers["content-length"]))
                self.heard.append(heard)
                behaviour = self.script.pop(0) if len(self.script) > 1 else self.script[0]
                await behaviour(heard, writer)
        writer.close()


def says(answer: bytes, *, hang_up: bool = False) -> Behaviour:
    """Says these bytes; then perhaps closes."""

    async def behave(heard: Heard, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        if hang_up:
            writer.close()

    return behave


def http(
    body: bytes, *, status: str = "200 OK", content_type: str = "application/msgpack", more: bytes = b""
) -> Behaviour:
    """A whole answer."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    return says(head.encode() + more + b"\r\n" + body)


async def closes(heard: Heard, writer: asyncio.StreamWriter) -> None:
    """Closes without a word."""
    writer.close()


class Silent:
    """Never answers; `asked` is set when it was asked."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def __call__(self, heard: Heard, writer: asyncio.StreamWriter) -> None:
        self.asked.set()
        await writer.wait_closed()
