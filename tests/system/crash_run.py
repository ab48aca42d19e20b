"""Runs a real node that kills itself with SIGKILL at one named moment. Used as `python crash_run.py PHASE N --
<arguments of tocsin>`.

The moment is a call of the store's commit, wrapped from outside; everything else is the product as it is shipped.

    before_commit    the batch that admits the Nth round of envelopes is about to be committed
    after_commit     that batch is durable, its answer has not been written
    during_settle    the batch that settles the Nth round of receipts is about to be committed
    after_settle     that batch is durable
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from nodes.cli.main import main
from nodes.store.contract import Batch, InsertInbound, PutStatement
from nodes.store.sqlite import SqliteStore

ADMITS = {"before_commit": "before", "after_commit": "after"}
SETTLES = {"during_settle": "before", "after_settle": "after"}


def die_at(phase: str, number: int) -> None:
    """Wrap the commit so that the process ends at the moment named."""
    wanted = InsertInbound if phase in ADMITS else PutStatement
    when = {**ADMITS, **SETTLES}[phase]
    real = SqliteStore.commit
    seen = 0

    async def commit(self: SqliteStore, batch: Batch) -> None:
        nonlocal seen
        hit = any(isinstance(op, wanted) for op in batch.ops)
        seen += hit
        if hit and seen == number and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
            await asyncio.Event().wait()
        await real(self, batch)
        if hit and seen == number and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
            await asyncio.Event().wait()

    SqliteStore.commit = commit  # type: ignore[method-assign]


if __name__ == "__main__":
    die_at(sys.argv[1], int(sys.argv[2]))
    sys.exit(main(sys.argv[4:]))
