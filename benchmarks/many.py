"""Runs several nodes in one process: `python -m benchmarks.many PASSPHRASE_FILE DIR…`. Owns their lives; each is the
product as it is, with its own store, keys and listener.

Prints one line of JSON for each node that answers and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import ExitStack
from pathlib import Path

import uvloop

from nodes.config import load_config
from nodes.daemon import Daemon, Ready
from nodes.directory import DirectoryLock, check_directory


def _say(ready: Ready) -> None:
    sys.stdout.write(json.dumps(ready.document()) + "\n")
    sys.stdout.flush()


async def _run(passphrase: str, directories: list[str]) -> None:
    with ExitStack() as locks:
        daemons = []
        for directory in directories:
            layout = check_directory(directory)
            locks.enter_context(DirectoryLock(layout))
            daemons.append(Daemon(layout, load_config(directory), passphrase))
        running = []
        for daemon in daemons:  # one after the other: each start needs the memory of one Argon2id
            ready = asyncio.Event()

            def on_ready(document: Ready, ready: asyncio.Event = ready) -> None:
                _say(document)
                ready.set()

            running.append(asyncio.create_task(daemon.run(on_ready)))
            waiting = asyncio.create_task(ready.wait())
            await asyncio.wait({running[-1], waiting}, return_when=asyncio.FIRST_COMPLETED)
            if not ready.is_set():
                await running[-1]  # it did not start: this raises why
        await asyncio.to_thread(sys.stdin.read)
        for daemon in daemons:
            daemon.stop()
        await asyncio.gather(*running)


if __name__ == "__main__":
    uvloop.run(_run(Path(sys.argv[1]).read_text().strip(), sys.argv[2:]))
