"""That aiosqlite still is what `on_thread` reaches into, and why it has to."""

from __future__ import annotations

import asyncio
import inspect
import os
import sqlite3
import threading
from collections.abc import AsyncIterator
from functools import partial
from importlib.metadata import version
from pathlib import Path

import aiosqlite
import pytest

from nodes.store.connections import close_all, connect, on_thread


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncIterator[aiosqlite.Connection]:
    (tmp_path / "a.db").touch()
    opened = await connect(tmp_path / "a.db", "rw")
    yield opened
    await close_all([opened])


def test_the_private_api_is_the_one_that_was_read() -> None:
    assert version("aiosqlite").split(".")[:2] == ["0", "22"]
    execute = inspect.signature(aiosqlite.Connection._execute)
    assert [parameter.kind.name for parameter in execute.parameters.values()] == [
        "POSITIONAL_OR_KEYWORD",
        "POSITIONAL_OR_KEYWORD",
        "VAR_POSITIONAL",
        "VAR_KEYWORD",
    ]
    assert inspect.iscoroutinefunction(aiosqlite.Connection._execute)
    assert isinstance(inspect.getattr_static(aiosqlite.Connection, "_conn"), property)


async def test_the_thread_is_the_one_that_is_waited_for(connection: aiosqlite.Connection) -> None:
    def work(_: sqlite3.Connection) -> threading.Thread:
        return threading.current_thread()

    assert await on_thread(connection, work) is connection._thread


async def test_a_function_runs_whole_on_the_connections_own_thread(connection: aiosqlite.Connection) -> None:
    def work(raw: sqlite3.Connection) -> tuple[threading.Thread, bool]:
        raw.execute("BEGIN")
        inside = raw.in_transaction
        raw.execute("ROLLBACK")
        return threading.current_thread(), inside

    threads = {await on_thread(connection, work) for _ in range(3)}
    assert len(threads) == 1
    ((thread, inside),) = threads
    assert thread is not threading.current_thread()
    assert not thread.daemon
    assert inside


async def test_functions_of_one_connection_do_not_overlap(connection: aiosqlite.Connection) -> None:
    running: list[int] = []
    seen: list[tuple[int, ...]] = []

    def work(number: int, _: sqlite3.Connection) -> None:
        running.append(number)
        seen.append(tuple(running))
        running.remove(number)

    await asyncio.gather(*(on_thread(connection, partial(work, number)) for number in range(20)))
    assert seen == [(number,) for number in range(20)]


async def test_a_function_goes_on_when_its_caller_is_cancelled(connection: aiosqlite.Connection) -> None:
    may_end, ended = threading.Event(), threading.Event()

    def work(_: sqlite3.Connection) -> None:
        may_end.wait(10)
        ended.set()

    caller = asyncio.ensure_future(on_thread(connection, work))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    may_end.set()
    await on_thread(connection, lambda _: None)
    assert ended.is_set()


async def test_an_exception_comes_back_and_the_thread_lives_on(connection: aiosqlite.Connection) -> None:
    def work(_: sqlite3.Connection) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await on_thread(connection, work)
    assert await on_thread(connection, lambda raw: raw.execute("SELECT 1").fetchone()) == (1,)


async def test_aiosqlites_own_calls_leave_a_transaction_open_when_cancelled(connection: aiosqlite.Connection) -> None:
    """If this fails, aiosqlite has learned to do it, and `on_thread` may not be needed any more."""
    caller = asyncio.ensure_future(connection.execute("BEGIN IMMEDIATE").__aenter__())
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await on_thread(connection, lambda _: None)
    assert connection.in_transaction
    await connection.rollback()


async def test_a_missing_file_is_never_made_and_leaves_no_thread(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    for mode in ("rw", "ro"):
        with pytest.raises(sqlite3.OperationalError):
            await connect(tmp_path / "missing.db", mode)
        assert set(threading.enumerate()) - before == set()
    assert os.listdir(tmp_path) == []


async def test_a_path_may_hold_any_character(tmp_path: Path) -> None:
    path = tmp_path / "50% ?mode=memory#a.db"
    path.touch()
    connection = await connect(path, "rw")
    await on_thread(connection, lambda raw: raw.execute("CREATE TABLE t (a)"))
    await close_all([connection])
    assert path.stat().st_size > 0
