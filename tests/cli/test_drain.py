"""A node that stops while somebody watches: its local API ends the streams instead of waiting for them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from nodes.local_api import DRAIN_S, Document, Lines, LocalApi
from nodes.sockets import LocalListener

AT_ONCE_S = DRAIN_S / 2


async def _telling(uid: int, args: Document, lines: Lines) -> AsyncIterator[Sequence[Document]]:
    yield [{"event": "watching"}]
    await asyncio.Event().wait()


async def _answering(uid: int, args: Document, lines: Lines) -> AsyncIterator[Sequence[Document]]:
    yield [{"event": "streaming"}]
    async for together in lines.batches(2):
        yield [{"answer": json.loads(line)} for line in together]
    yield [{"event": "all answered"}]


@asynccontextmanager
async def _served(directory: Path) -> AsyncIterator[tuple[LocalApi, aiohttp.ClientSession]]:
    listener = LocalListener(directory / "node.sock")
    api = LocalApi({}, {"watch": _telling, "stream": _answering})
    await api.start(listener.socket)
    try:
        connector = aiohttp.UnixConnector(path=str(directory / "node.sock"))
        async with aiohttp.ClientSession(connector=connector) as session:
            yield api, session
    finally:
        await api.stop()
        listener.close()


def test_who_watches_does_not_hold_up_a_node_that_stops(tmp_path: Path) -> None:
    async def scene() -> list[bytes]:
        async with _served(tmp_path) as (api, session), session.post("http://node/v1/watch", data=b"{}\n") as watching:
            heard = [await watching.content.readline()]
            async with asyncio.timeout(AT_ONCE_S):
                await api.stop()
                heard += [line async for line in watching.content]
            return heard

    assert [json.loads(line) for line in asyncio.run(scene())] == [{"event": "watching"}]


def test_a_stream_that_reads_its_caller_answers_what_came_before_the_node_stopped(tmp_path: Path) -> None:
    open_end = asyncio.Event()

    async def sending() -> AsyncIterator[bytes]:
        yield b"{}\n"
        yield b"1\n"
        await open_end.wait()

    async def scene() -> list[bytes]:
        async with _served(tmp_path) as (api, session), session.post("http://node/v1/stream", data=sending()) as both:
            heard = [await both.content.readline(), await both.content.readline()]
            async with asyncio.timeout(AT_ONCE_S):
                await api.stop()
                heard += [line async for line in both.content]
            open_end.set()
            return heard

    heard = [json.loads(line) for line in asyncio.run(scene())]
    assert heard == [{"event": "streaming"}, {"answer": 1}, {"event": "all answered"}]
