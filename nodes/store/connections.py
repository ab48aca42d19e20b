"""SQLite connections on threads of their own, and what their errors mean. Owns aiosqlite; it knows no row.

`on_thread` is the one place that reaches into aiosqlite: a function given to it runs whole on the connection's thread,
so that a transaction is one function and nobody's cancelled coroutine can leave it half done (aiosqlite's own calls are
one statement each: a task cancelled between BEGIN and COMMIT leaves the transaction open). tests/store checks that the
private API still is this one.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import aiosqlite

from nodes.errors import DiskFullError, StoreBusyError, StoreCorruptError, StoreError
from nodes.store.contract import StoreConflictError

BUSY_TIMEOUT_S = 5.0
CACHED_STATEMENTS = 256

_Result = TypeVar("_Result")


async def connect(path: Path, mode: str) -> aiosqlite.Connection:
    """A connection in autocommit. `mode` is `rw` or `ro`: a missing file is an error, never a new store."""
    connection = aiosqlite.connect(
        f"file:{quote(str(path))}?mode={mode}",
        uri=True,
        isolation_level=None,
        timeout=BUSY_TIMEOUT_S,
        cached_statements=CACHED_STATEMENTS,
    )
    try:
        return await connection
    except BaseException:
        # aiosqlite has told its thread to end and does not wait: it would speak to a loop that is closed by then.
        connection._thread.join()  # noqa: SLF001 - see the module's docstring
        raise


async def on_thread(connection: aiosqlite.Connection, function: Callable[[sqlite3.Connection], _Result]) -> _Result:
    """Run the function on the connection's thread; functions of one connection run one after the other.

    A caller that is cancelled does not stop the function.
    """
    raw = connection._conn  # noqa: SLF001 - see the module's docstring
    result: _Result = await connection._execute(function, raw)  # type: ignore[no-untyped-call]  # noqa: SLF001
    return result


async def close_all(connections: list[aiosqlite.Connection]) -> None:
    """Close each of them and end its thread, also when another one fails to."""
    results = await asyncio.gather(*(connection.close() for connection in connections), return_exceptions=True)
    for connection in connections:
        connection._thread.join()  # noqa: SLF001 - it has answered and is about to end
    for result in results:
        if isinstance(result, sqlite3.Error):
            raise translated(result) from result
        if isinstance(result, BaseException):
            raise result


def prepare_writer(connection: sqlite3.Connection) -> None:
    """Settings of the one connection that writes. Raises StoreError when the file system cannot do WAL."""
    connection.execute("PRAGMA page_size = 4096")
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StoreError("the store's file system cannot hold a write-ahead log", hint="use a local disk")
    for setting in (
        "synchronous = FULL",  # promise P1: a commit that returned survives a power cut. Nothing turns this off.
        "fullfsync = ON",  # where fsync alone does not reach the disk (macOS)
        "wal_autocheckpoint = 0",  # the writer checkpoints when it is idle, not in the path of an answer
        "secure_delete = ON",
        "cell_size_check = ON",
        "trusted_schema = OFF",
        "temp_store = MEMORY",  # nothing of the store in /tmp
        "cache_size = -16384",  # KiB
    ):
        connection.execute(f"PRAGMA {setting}")
    if connection.execute("PRAGMA synchronous").fetchone()[0] != 2:
        raise StoreError("the store refuses synchronous = FULL")


def prepare_reader(connection: sqlite3.Connection) -> None:
    """Settings of a connection that reads."""
    for setting in ("query_only = ON", "cell_size_check = ON", "trusted_schema = OFF", "temp_store = MEMORY"):
        connection.execute(f"PRAGMA {setting}")
    connection.execute("PRAGMA cache_size = -4096")


def translated(error: Exception) -> StoreError:
    """What an error of sqlite3 means outside a COMMIT, once the transaction is rolled back: nothing happened."""
    primary = _primary_code(error)
    name = error_name(error)
    if primary == sqlite3.SQLITE_FULL:
        return DiskFullError()
    if primary in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return StoreBusyError(f"the store is held by another connection ({name})")
    if primary in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return StoreCorruptError(name)
    # The last three: a value that SQLite has no form for (an integer beyond 64 bits, a lone surrogate, a foreign type).
    unfit = (
        sqlite3.IntegrityError,
        sqlite3.InterfaceError,
        sqlite3.ProgrammingError,
        OverflowError,
        UnicodeEncodeError,
    )
    if isinstance(error, unfit):
        return StoreConflictError(f"{name}: {_constraint(error)}")
    return StoreError(f"the store cannot be used ({name})", hint="see that its disk is mounted, writable and not full")


def is_full(error: BaseException) -> bool:
    """True when there was no room for a write."""
    return _primary_code(error) == sqlite3.SQLITE_FULL


def is_io_error(error: BaseException) -> bool:
    """True when the disk itself failed: what was written before may be lost as well."""
    return _primary_code(error) == sqlite3.SQLITE_IOERR


def error_name(error: BaseException) -> str:
    """SQLite's name of the error, never its text."""
    name: str = getattr(error, "sqlite_errorname", type(error).__name__)
    return name


def _primary_code(error: BaseException) -> int | None:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _constraint(error: Exception) -> str:
    """The constraint's name out of SQLite's text, which holds table and column names and never a value."""
    return str(error) if isinstance(error, sqlite3.IntegrityError) else "a value does not fit"
