"""Runs a real node that kills itself with SIGKILL, or whose disk fails, at one named moment. Used as
`python crash_run.py PHASE N KEPT -- <arguments of tocsin>`.

The moment is a call of the store's commit, wrapped from outside; everything else is the product as it is shipped.

    before_post      the batch that holds the Nth round of posts is about to be committed
    before_commit    the batch that admits the Nth round of envelopes is about to be committed
    after_commit     that batch is durable, its answer has not been written
    during_settle    the batch that settles the Nth round of receipts is about to be committed
    after_settle     that batch is durable
    failed_sync      the batch that holds the Nth round of posts is being committed, and the sync of its log fails, once

`KEPT` is a directory that holds the store's files as they are on disk now; from then on, as they were last synced
(tests/power_cut.py). `-` for none.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from nodes.cli.main import main
from nodes.loading import RECOVER_META
from nodes.store.contract import Batch, InsertInbound, InsertOutbound, PutMeta, PutStatement
from nodes.store.sqlite import SqliteStore

sys.path.append(str(Path(__file__).resolve().parents[2]))  # run as a script: the tests are not beside it

from tests.power_cut import Keeper, keep_what_is_synced
from tests.sqlite_door import Call, Request, pass_through

OPS = {
    "before_post": InsertOutbound,
    "before_commit": InsertInbound,
    "after_commit": InsertInbound,
    "during_settle": PutStatement,
    "after_settle": PutStatement,
    "after_open": PutMeta,
}
TURNS = 2_000
FAILED_SYNC = "failed_sync"
SQLITE_IOERR_FSYNC = 10 | 4 << 8


def die_at(phase: str, number: int) -> None:
    """Wrap the commit so that the process ends at the moment named."""
    wanted = OPS[phase]
    real = SqliteStore.commit
    seen = 0

    async def commit(self: SqliteStore, batch: Batch) -> None:
        nonlocal seen
        hit = any(
            isinstance(op, wanted) and (not isinstance(op, PutMeta) or op.key == RECOVER_META) for op in batch.ops
        )
        seen += hit
        dies = hit and seen == number
        if dies and not phase.startswith("after"):
            await _die()
        await real(self, batch)
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)

    SqliteStore.commit = commit  # type: ignore[method-assign]


async def _die() -> None:
    """Before a commit: whatever would leave without waiting for it has its turn to leave."""
    for _ in range(TURNS):
        await asyncio.sleep(0)
    os.kill(os.getpid(), signal.SIGKILL)


def fail_sync_at(number: int, kept: Path) -> None:
    """Let the disk lose what the Nth round of posts wrote, and say so once; every later sync succeeds."""
    keeper = Keeper(kept)
    real = SqliteStore.commit
    seen, armed = 0, False

    def guard(request: Request) -> int:
        nonlocal armed
        if not armed or request.call is not Call.SYNC or not request.path.name.endswith("-wal"):
            return keeper.guard(request)
        armed = False
        keeper.sync_failed(request.path)
        return SQLITE_IOERR_FSYNC

    async def commit(self: SqliteStore, batch: Batch) -> None:
        nonlocal seen, armed
        hit = any(isinstance(op, InsertOutbound) for op in batch.ops)
        seen += hit
        armed = armed or (hit and seen == number)  # by whichever commit the log is synced next
        await real(self, batch)

    pass_through(guard)
    SqliteStore.commit = commit  # type: ignore[method-assign]


if __name__ == "__main__":
    if sys.argv[1] == FAILED_SYNC:
        fail_sync_at(int(sys.argv[2]), Path(sys.argv[3]))
    else:
        if sys.argv[3] != "-":
            keep_what_is_synced(Path(sys.argv[3]))
        die_at(sys.argv[1], int(sys.argv[2]))
    sys.exit(main(sys.argv[5:]))
