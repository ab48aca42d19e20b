"""Tiles of the own logs at hand, so that proofs need no SQL. Owns what is kept in memory; it knows no proof.

A tree only grows, so a longer tile holds everything that a shorter one of the same place did: whatever tile is at hand
serves every size for which it is long enough, and a late answer from the store never replaces a newer tile.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TypeVar

from exchange.errors import ExchangeError
from exchange.log import TileReader
from nodes.store.contract import Store

TILES_KEPT = 1024  # of at most 8 KiB each

_Result = TypeVar("_Result")

_PLACEHOLDER = bytes(256 * 32)


class TileCache:
    """The tiles used last, of all own logs."""

    def __init__(self, store: Store, kept: int = TILES_KEPT) -> None:
        self._store = store
        self._kept = kept
        self._tiles: OrderedDict[tuple[str, int, int], bytes] = OrderedDict()

    def put(self, log: str, tiles: Mapping[tuple[int, int], bytes]) -> None:
        """Take in tiles that are durable."""
        for (level, n), hashes in tiles.items():
            key = (log, level, n)
            if len(hashes) >= len(self._tiles.get(key, b"")):
                self._tiles[key] = hashes
            self._tiles.move_to_end(key)
        while len(self._tiles) > self._kept:
            self._tiles.popitem(last=False)

    async def run(
        self,
        log: str,
        function: Callable[[TileReader], _Result],
        fresh: Mapping[tuple[int, int], bytes] | None = None,
    ) -> _Result:
        """What the function makes of the log's tiles; `fresh` are some that are not durable yet and go before others.

        Which tiles a function reads must depend on sizes and indices only, never on what the tiles hold: it runs once
        to name those that are not at hand, they are fetched in one read, and it runs again.
        """
        at_hand = dict(fresh or {})
        missing: list[tuple[int, int]] = []

        def name(level: int, n: int) -> bytes:
            tile = at_hand.get((level, n)) or self._used(log, level, n)
            if tile is None:
                missing.append((level, n))
                return _PLACEHOLDER
            at_hand[level, n] = tile
            return tile

        try:
            result = function(name)
        except ExchangeError:
            if not missing:
                raise
        else:
            if not missing:
                return result
        fetched = await self._store.tiles(log, missing)
        self.put(log, {place: hashes for place, hashes in fetched.items() if hashes})
        at_hand.update(fetched)
        return function(lambda level, n: at_hand[level, n])

    def _used(self, log: str, level: int, n: int) -> bytes | None:
        tile = self._tiles.get((log, level, n))
        if tile is not None:
            self._tiles.move_to_end((log, level, n))
        return tile
