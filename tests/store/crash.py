"""A process that commits until it is killed or cannot; run by test_durability. Says on stdout what was answered."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sys
from pathlib import Path

from nodes.errors import NodeError
from nodes.store.contract import Batch, InsertMessage
from nodes.store.sqlite import SqliteStore
from tests.power_cut import keep_what_is_synced
from tests.store.rows import append, message


def say(*words: object) -> None:
    print(*words, flush=True)  # noqa: T201 - read by the test


async def commit_until_failure(store: SqliteStore, first: int, content: int) -> int:
    """Commit one message after the other; say each number once its commit returned, then the error."""
    number = first
    while True:
        work = Batch(
            [InsertMessage(message(number, sealed_content=bytes(content)))],
            [append(number - 1, b"%d" % number, tiles={})],
        )
        try:
            await store.commit(work)
        except NodeError as error:
            say(type(error).__name__)
            return number
        say(number)
        number += 1


async def forever(path: Path) -> None:
    """Until killed."""
    await commit_until_failure(await SqliteStore.open(path, create=True), 1, 2_000)


async def power_cut(path: Path) -> None:
    """Until killed, with what was synced kept beside the store, in `kept`."""
    keep_what_is_synced(path.parent / "kept")
    await forever(path)


async def file_size_limit(path: Path) -> None:
    """Until no file may grow; then once more."""
    store = await SqliteStore.open(path, create=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
    number = await commit_until_failure(store, 1, 20_000)
    await commit_until_failure(store, number, 20_000)
    with contextlib.suppress(NodeError):
        await store.close()


async def full_disk(path: Path) -> None:
    """Until the disk is full; then make room and go on to the next number that fails."""
    ballast = path.with_name("ballast")
    ballast.write_bytes(bytes(300_000))
    store = await SqliteStore.open(path, create=True)
    number = await commit_until_failure(store, 1, 20_000)
    ballast.unlink()
    await commit_until_failure(store, number, 20_000)
    await store.close()


MODES = {"forever": forever, "power_cut": power_cut, "file_size_limit": file_size_limit, "full_disk": full_disk}

if __name__ == "__main__":
    asyncio.run(MODES[sys.argv[1]](Path(sys.argv[2])))
