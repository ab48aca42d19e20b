"""The stores that the contract's suite runs over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nodes.store.contract import Store
from nodes.store.memory import MemoryStore
from nodes.store.sqlite import SqliteStore


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
