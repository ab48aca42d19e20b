"""The tiles at hand: what is read from the store, when, and that an older tile never replaces a newer one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from exchange.log import LogProofError, TileReader
from nodes.store.contract import Batch
from nodes.store.memory import MemoryStore
from nodes.store.tiles import TileCache
from tests.store.rows import append

LOG = "gw1/1"


class CountingStore(MemoryStore):
    """Remembers which tiles were asked for, and can keep an answer back."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[list[tuple[int, int]]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def tiles(self, log: str, wanted: Sequence[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        self.asked.append(list(wanted))
        found = await super().tiles(log, wanted)
        await self.may_answer.wait()
        return found


async def stored(tiles: dict[tuple[int, int], bytes]) -> CountingStore:
    store = CountingStore()
    await store.commit(Batch([], [append(0, b"entry", tiles=tiles)]))
    return store


async def run(cache: TileCache, *places: tuple[int, int], fresh: dict[tuple[int, int], bytes] | None = None) -> bytes:
    def function(tiles: TileReader) -> bytes:
        return b"".join(tiles(level, n) for level, n in places)

    return await cache.run(LOG, function, fresh)


async def test_missing_tiles_are_read_once_and_together() -> None:
    store = await stored({(0, 0): b"a" * 32, (1, 0): b"b" * 32})
    cache = TileCache(store)
    assert await run(cache, (0, 0), (1, 0)) == b"a" * 32 + b"b" * 32
    assert await run(cache, (1, 0), (0, 0)) == b"b" * 32 + b"a" * 32
    assert store.asked == [[(0, 0), (1, 0)]]


async def test_tiles_that_were_put_in_are_not_read() -> None:
    store = await stored({})
    cache = TileCache(store)
    cache.put(LOG, {(0, 0): b"a" * 32})
    assert await run(cache, (0, 0)) == b"a" * 32
    assert store.asked == []


async def test_a_longer_tile_replaces_a_shorter_one_and_never_the_other_way() -> None:
    cache = TileCache(await stored({}))
    cache.put(LOG, {(0, 0): b"a" * 32})
    cache.put(LOG, {(0, 0): b"a" * 64})
    cache.put(LOG, {(0, 0): b"a" * 32})
    assert await run(cache, (0, 0)) == b"a" * 64


async def test_a_late_answer_of_the_store_does_not_replace_a_newer_tile() -> None:
    store = await stored({(0, 0): b"a" * 32})
    cache = TileCache(store)
    store.may_answer.clear()
    late = asyncio.ensure_future(run(cache, (0, 0)))
    await asyncio.sleep(0)
    cache.put(LOG, {(0, 0): b"a" * 64})
    store.may_answer.set()
    assert await late == b"a" * 32
    assert await run(cache, (0, 0)) == b"a" * 64


async def test_only_the_tiles_used_last_are_kept() -> None:
    store = await stored({(0, n): b"%d" % n * 32 for n in range(3)})
    cache = TileCache(store, kept=2)
    await run(cache, (0, 0))
    await run(cache, (0, 1))
    await run(cache, (0, 0))
    await run(cache, (0, 2))
    await run(cache, (0, 0))
    await run(cache, (0, 1))
    assert store.asked == [[(0, 0)], [(0, 1)], [(0, 2)], [(0, 1)]]


async def test_more_tiles_than_are_kept_can_be_read_at_once() -> None:
    store = await stored({(0, n): b"%d" % n * 32 for n in range(5)})
    cache = TileCache(store, kept=2)
    assert await run(cache, *((0, n) for n in range(5))) == b"".join(b"%d" % n * 32 for n in range(5))


async def test_fresh_tiles_go_before_all_others_and_are_not_kept() -> None:
    store = await stored({(0, 0): b"a" * 32, (1, 0): b"b" * 32})
    cache = TileCache(store)
    cache.put(LOG, {(0, 0): b"a" * 32})
    assert await run(cache, (0, 0), (1, 0), fresh={(0, 0): b"c" * 64}) == b"c" * 64 + b"b" * 32
    assert await run(cache, (0, 0)) == b"a" * 32


async def test_tiles_of_logs_are_kept_apart() -> None:
    store = await stored({(0, 0): b"a" * 32})
    await store.commit(Batch([], [append(0, b"entry", log="gw1/2", tiles={(0, 0): b"b" * 32})]))
    cache = TileCache(store)
    assert await run(cache, (0, 0)) == b"a" * 32
    assert await cache.run("gw1/2", lambda tiles: tiles(0, 0)) == b"b" * 32


async def test_a_tile_that_is_nowhere_is_empty() -> None:
    cache = TileCache(await stored({}))
    assert await run(cache, (0, 0)) == b""


async def test_what_the_function_makes_of_placeholders_is_never_heard_of() -> None:
    def judging(tiles: TileReader) -> bytes:
        tile = tiles(0, 0)
        if tile != b"a" * 32:
            raise LogProofError("tile")
        return tile

    cache = TileCache(await stored({(0, 0): b"a" * 32}))
    assert await cache.run(LOG, judging) == b"a" * 32
    cache = TileCache(await stored({(0, 0): b"b" * 32}))
    with pytest.raises(LogProofError):
        await cache.run(LOG, judging)
    with pytest.raises(LogProofError):
        await cache.run(LOG, judging)
