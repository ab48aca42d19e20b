"""What a row costs as a store grows: random ids beside rising ones. Owns these figures; no node, no keys, no network.

    python -m benchmarks.store_growth [COUNT]

Messages with their recipient and envelope, of the size of those of a real alert, 64 in a commit, each commit synced.
Only the processor time of the thread that writes is counted.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from keys.ids import EnvelopeId, MessageId
from nodes.store.connections import on_thread
from nodes.store.contract import Batch, InsertMessage, InsertOutbound, Op, PutRecipient
from nodes.store.sqlite import SqliteStore
from tests.store.rows import message, outbound, recipient

SLICE = 10_000
COMMIT = 64
HEADLINE, CONTENT, BODY = os.urandom(300), os.urandom(1_700), os.urandom(3_200)

Draw = Callable[[int], bytes]
"""The 16 bytes of an id, from its number."""


def rising(number: int) -> bytes:
    """Ids in the order of the rows."""
    return number.to_bytes(16, "big")


def random(_number: int) -> bytes:
    """Ids as the program draws them."""
    return os.urandom(16)


def _ops(number: int, draw: Draw) -> list[Op]:
    m, e = MessageId(draw(2 * number)), EnvelopeId(draw(2 * number + 1))
    row = replace(
        message(number), message_id=m, case_tag=draw(number), sealed_headline=HEADLINE, sealed_content=CONTENT
    )
    return [
        InsertMessage(row),
        PutRecipient(replace(recipient(number), message_id=m, envelope_id=e)),
        InsertOutbound(replace(outbound(number), message_id=m, envelope_id=e, body=BODY, index=number)),
    ]


async def measure(count: int, draw: Draw) -> list[float]:
    """Microseconds of processor time for one message, in each slice of 10,000."""
    costs = []
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as place:
        store = await SqliteStore.open(Path(place) / "node.db", create=True)
        for start in range(0, count, SLICE):
            before, slice_end = await _used(store), start + SLICE
            for first in range(start, slice_end, COMMIT):
                numbers = range(first, min(first + COMMIT, slice_end))
                await store.commit(Batch(ops=[op for number in numbers for op in _ops(number, draw)]))
            after = await _used(store)
            costs.append((after - before) / SLICE * 1e6)
        await store.close()
    return costs


async def _used(store: SqliteStore) -> float:
    """Seconds of the thread that writes, the kernel's for it among them."""

    def used(_: object) -> float:
        return time.thread_time()

    return await on_thread(store._open_writer(), used)  # noqa: SLF001 - the thread that is asked about


if __name__ == "__main__":
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 400_000
    for draw in (random, rising):
        found = asyncio.run(measure(wanted, draw))
        tenth = len(found) // 10
        first, last = sum(found[:tenth]) / tenth, sum(found[-tenth:]) / tenth
        print(f"| {draw.__name__} ids, first and last tenth of {wanted:,}, us | {first:.0f}, {last:.0f} |")
