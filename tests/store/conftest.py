"""The stores that the contract's suite runs over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nodes.store.contract import Store
from nodes.store.memory import MemoryStore
from nodes.store.sqlite import SqliteStore


@pytest.fixture
async def every_store_is_closed(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Closes what a failed test left open: a store's threads are no daemons, so the run would never end."""
    made: list[SqliteStore] = []
    initialise = SqliteStore.__init__

    def remember(store: SqliteStore, path: Path, lock: int) -> None:
        initialise(store, path, lock)
        made.append(store)

    monkeypatch.setattr(SqliteStore, "__init__", remember)
    yield
    for store in made:
        await store.close()


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store of each driver."""
    opened: Store
    opened = MemoryStore() if request.param == "memory" else await SqliteStore.open(tmp_path / "store.db", create=True)
    try:
        yield opened
    finally:
        await opened.close()


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """An empty SQLite store in tmp_path / "store.db"."""
    opened = await SqliteStore.open(tmp_path / "store.db", create=True)
    try:
        yield opened
    finally:
        await opened.close()
