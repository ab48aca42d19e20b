"""Reading a stopped node's log. Owns `log verify` without a daemon: read-only, under the directory's lock."""

from __future__ import annotations

import asyncio
from typing import Any

from keys.errors import KeyFileError
from keys.keystore import KeyStore
from nodes.birth import STORE_FILE
from nodes.config import load_config
from nodes.daemon import key_file_error
from nodes.directory import DirectoryLock, check_directory
from nodes.loading import load_identity
from nodes.oversight import verify_log
from nodes.store.sqlite import SqliteStore


def verify_stopped_log(directory: str, passphrase: str) -> dict[str, Any]:
    """The `log verify` document of a node that does not run. Raises AlreadyRunningError if it does."""
    layout = check_directory(directory)
    config = load_config(directory)
    with DirectoryLock(layout):
        try:
            keystore = KeyStore.open(layout.keys, passphrase)
        except KeyFileError as error:
            raise key_file_error(error) from error

        async def verify() -> dict[str, Any]:
            store = await SqliteStore.open(layout.store / STORE_FILE, create=False)
            try:
                startup = await store.startup()
                identity = load_identity(config.agency, startup, keystore)
                state = next(s for s in startup.logs if s.open and s.log.startswith(f"{identity.gateway}/"))
                generation = int(state.log.rpartition("/")[2])
                return await verify_log(store, identity, state, identity.origin(generation).name)
            finally:
                await store.close()

        with asyncio.Runner() as runner:
            return runner.run(verify())
