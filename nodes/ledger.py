"""Proofs out of the own logs, of any generation, against their newest durable checkpoint. Owns reading tiles; it
appends nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from exchange.checkpoint import Checkpoint
from exchange.log import TileReader, consistency_proof, inclusion_path, multi_proof, root_at
from exchange.proof import Proof
from keys.ids import AgencyId
from nodes.errors import StoreCorruptError
from nodes.loading import stored_checkpoint
from nodes.store.contract import LogState, Store
from nodes.store.tiles import TileCache
from nodes.writer import Writer

_Result = TypeVar("_Result")

# Entries that lie this close are read in one go: a round's items are mostly neighbours.
NEIGHBOURS = 64


@dataclass(frozen=True, slots=True)
class Proved:
    """Entries of one log with one multi-proof."""

    checkpoint: Checkpoint
    entries: tuple[bytes, ...]
    nodes: tuple[bytes, ...]


class Ledger:
    """Reads own logs. A closed generation keeps the checkpoint it ended with."""

    def __init__(self, agency: AgencyId, store: Store, writer: Writer, closed: Iterable[LogState]) -> None:
        self._agency = agency
        self._store = store
        self._writer = writer
        self._tiles = TileCache(store)
        self._closed = {
            state.log: stored_checkpoint(state.checkpoint, agency) for state in closed if state.checkpoint is not None
        }

    def close(self, log: str, checkpoint: Checkpoint) -> None:
        """A generation ended with this head."""
        self._closed[log] = checkpoint

    def covers(self, log: str, index: int) -> bool:
        """True if the newest durable head of that log has this entry under it."""
        return index < self._writer.durable_size if self.is_open(log) else log in self._closed

    async def prove(self, log: str, indices: Sequence[int]) -> Proved:
        """Entries at ascending `indices` with one multi-proof. Raises StoreCorruptError if one is not there."""
        if self.is_open(log):
            checkpoint, nodes = await self._writer.multi_proof(indices)
        else:
            checkpoint = self._ended(log)
            nodes = await self._run(log, lambda tiles: multi_proof(tiles, checkpoint.size, indices))
        return Proved(checkpoint, await self._entries(log, indices), nodes)

    async def proof(self, log: str, index: int) -> Proof:
        """One entry with its path."""
        if self.is_open(log):
            checkpoint, path = await self._writer.inclusion(index)
        else:
            checkpoint = self._ended(log)
            path = await self._run(log, lambda tiles: inclusion_path(tiles, checkpoint.size, index))
        (entry,) = await self._entries(log, [index])
        return Proof(entry=entry, index=index, path=path, checkpoint=checkpoint)

    async def consistency(self, log: str, sizes: Sequence[int], end: int) -> list[tuple[int, tuple[bytes, ...]]]:
        """For each earlier size the nodes that lead from it to the head of size `end`: not to the newest one, which may
        be another by now.
        """

        def proofs(tiles: TileReader) -> list[tuple[int, tuple[bytes, ...]]]:
            return [(size, tuple(consistency_proof(tiles, size, end))) for size in sizes]

        return await self._run(log, proofs)

    async def entry(self, log: str, index: int) -> bytes:
        """One entry's bytes. Raises StoreCorruptError if it is not there."""
        (entry,) = await self._entries(log, [index])
        return entry

    async def roots(self, sizes: Iterable[int]) -> dict[int, bytes]:
        """The roots the open log had at these sizes."""
        return {size: await self._writer.root_at(size) for size in set(sizes)}

    async def ended_roots(self, log: str, sizes: Iterable[int]) -> dict[int, bytes]:
        """The roots that a closed log had at those of these sizes that it reached; none of one that is not there."""
        ended = self._closed.get(log)
        if ended is None:
            return {}
        within = {size for size in sizes if 0 < size <= ended.size}
        return await self._run(log, lambda tiles: {size: root_at(tiles, ended.size, size) for size in within})

    def is_open(self, log: str) -> bool:
        """True for the log that is written now."""
        origin = self._writer.origin
        return log == f"{origin.gateway}/{origin.generation}"

    def _ended(self, log: str) -> Checkpoint:
        checkpoint = self._closed.get(log)
        if checkpoint is None:
            raise StoreCorruptError(f"log {log} is named but not there")
        return checkpoint

    async def _run(self, log: str, function: Callable[[TileReader], _Result]) -> _Result:
        return await (self._writer.read_tiles(function) if self.is_open(log) else self._tiles.run(log, function))

    async def _entries(self, log: str, indices: Sequence[int]) -> tuple[bytes, ...]:
        found: dict[int, bytes] = {}
        if self.is_open(log):
            recent = ((index, self._writer.recent(index)) for index in indices)
            found = {index: entry for index, entry in recent if entry is not None}
        for first, last in _runs([index for index in indices if index not in found]):
            for offset, entry in enumerate(await self._store.entries(log, first, last - first + 1)):
                if entry is not None:
                    found[first + offset] = entry
        try:
            return tuple(found[index] for index in indices)
        except KeyError as error:
            raise StoreCorruptError(f"entry {error.args[0]} of log {log} is missing") from error


def _runs(indices: Sequence[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for index in indices:
        if runs and index - runs[-1][1] <= NEIGHBOURS:
            runs[-1] = (runs[-1][0], index)
        else:
            runs.append((index, index))
    return runs
