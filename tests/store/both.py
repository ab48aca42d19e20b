"""Both drivers side by side under a state machine. Owns how they are opened, asked, started again and compared."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from nodes.store.contract import Batch, Store
from nodes.store.memory import MemoryStore
from nodes.store.sqlite import SqliteStore


class BothStores(RuleBasedStateMachine):
    """The memory store and SQLite, given the same batches. What they must hold the machine built on it says."""

    @initialize()
    def open(self) -> None:
        self.runner = asyncio.Runner()
        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name) / "store.db"
        self.memory = MemoryStore()
        self.sqlite = self.runner.run(SqliteStore.open(self.path, create=True))

    @rule()
    def restart(self) -> None:
        self.memory = self.memory.reopen()
        self.runner.run(self.sqlite.close())
        self.sqlite = self.runner.run(SqliteStore.open(self.path, create=False))

    @property
    def stores(self) -> tuple[Store, Store]:
        return self.memory, self.sqlite

    def ask(self, answer: Any) -> Any:
        """What a store answers."""
        return self.runner.run(answer)

    def ends(self, work: Batch) -> list[type[BaseException] | None]:
        """How each store took a batch: the type of its error, or None."""
        ends: list[type[BaseException] | None] = []
        for store in self.stores:
            try:
                self.ask(store.commit(work))
            except Exception as error:  # noqa: BLE001 - compared
                ends.append(type(error))
            else:
                ends.append(None)
        return ends

    def teardown(self) -> None:
        if hasattr(self, "sqlite"):
            self.runner.run(self.sqlite.close())
            self.runner.close()
            self.directory.cleanup()
