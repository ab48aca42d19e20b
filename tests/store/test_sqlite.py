"""What only the SQLite driver promises: its file, its settings, its errors, its log, its threads."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from nodes.errors import (
    DiskFullError,
    FatalError,
    SchemaTooNewError,
    StoreBusyError,
    StoreCorruptError,
    StoreError,
)
from nodes.store import sqlite as driver
from nodes.store.connections import on_thread
from nodes.store.contract import (
    Batch,
    InsertMessage,
    MachineState,
    PutDraft,
    PutMeta,
    PutRecipient,
    QueueCount,
    RemoveDraft,
    StoreConflictError,
)
from nodes.store.contract import DraftRow as Draft
from nodes.store.migrations import APPLICATION_ID, schema_scripts
from nodes.store.sqlite import SqliteStore
from tests.store.rows import OURS, PEER, append, batch, message, message_id, posted, recipient

pytestmark = pytest.mark.usefixtures("every_store_is_closed")


async def on_writer(store: SqliteStore, sql: str) -> Any:
    writer = store._writer
    assert writer is not None
    return await on_thread(writer, lambda raw: raw.execute(sql).fetchone())


# --- the file


async def test_a_store_is_there_again_after_it_was_closed(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = await SqliteStore.open(path, create=True)
    await store.commit(Batch(posted(1), [append(0, b"entry")]))
    await store.close()
    again = await SqliteStore.open(path, create=False)
    try:
        assert await again.message(OURS, message_id(1)) == message(1, seq=1)
        await again.commit(Batch(posted(2), [append(1, b"next")]))
        assert await again.entries("gw1/1", 0, 9) == [b"entry", b"next"]
    finally:
        await again.close()


def modes_in(directory: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}


async def test_files_of_a_store_are_its_owners_only(sqlite: SqliteStore, tmp_path: Path) -> None:
    await sqlite.commit(batch(*posted(1)))
    assert modes_in(tmp_path) == dict.fromkeys(("store.db", "store.db-wal", "store.db-shm", "store.db-lock"), 0o600)


async def test_a_file_that_others_may_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    await (await SqliteStore.open(path, create=True)).close()
    path.chmod(0o644)
    await (await SqliteStore.open(path, create=False)).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_store_is_never_made_by_mistake(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        await SqliteStore.open(tmp_path / "store.db", create=False)
    with pytest.raises(StoreError):
        await SqliteStore.open(tmp_path / "no such directory" / "store.db", create=True)
    assert not (tmp_path / "store.db").exists()


async def test_a_store_is_never_made_over_another(sqlite: SqliteStore, tmp_path: Path) -> None:
    await sqlite.commit(batch(*posted(1)))
    await sqlite.close()
    with pytest.raises(StoreError):
        await SqliteStore.open(tmp_path / "store.db", create=True)
    again = await SqliteStore.open(tmp_path / "store.db", create=False)
    assert await again.message(OURS, message_id(1)) is not None
    await again.close()


async def test_a_store_that_is_open_is_not_opened_again(sqlite: SqliteStore, tmp_path: Path) -> None:
    with pytest.raises(StoreBusyError):
        await SqliteStore.open(tmp_path / "store.db", create=False)
    await sqlite.commit(batch(*posted(1)))
    assert await sqlite.message(OURS, message_id(1)) is not None


# --- schema


async def test_a_store_of_a_newer_version_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    await (await SqliteStore.open(path, create=True)).close()
    newer = len(schema_scripts()) + 1
    with sqlite3.connect(path) as raw:
        raw.execute(f"PRAGMA user_version = {newer}")
    raw.close()
    before = path.read_bytes()
    with pytest.raises(SchemaTooNewError) as caught:
        await SqliteStore.open(path, create=False)
    assert (caught.value.found, caught.value.supported) == (newer, newer - 1)
    assert path.read_bytes() == before


async def test_the_file_says_whose_it_is_and_which_schema_it_has(sqlite: SqliteStore) -> None:
    assert await on_writer(sqlite, "PRAGMA application_id") == (APPLICATION_ID,)
    assert await on_writer(sqlite, "PRAGMA user_version") == (len(schema_scripts()),)


async def test_another_programs_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with sqlite3.connect(path) as raw:
        raw.execute("CREATE TABLE theirs (a)")
    raw.close()
    before = path.read_bytes()
    with pytest.raises(StoreCorruptError):
        await SqliteStore.open(path, create=False)
    assert path.read_bytes() == before


async def test_a_migration_that_fails_leaves_the_schema_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "store.db"
    await (await SqliteStore.open(path, create=True)).close()
    broken = (*schema_scripts(), "CREATE TABLE half (a); CREATE TABLE half (a);")
    monkeypatch.setattr("nodes.store.migrations.schema_scripts", lambda: broken)
    with pytest.raises(StoreError):
        await SqliteStore.open(path, create=False)
    monkeypatch.undo()
    store = await SqliteStore.open(path, create=False)
    assert await on_writer(store, "SELECT count(*) FROM sqlite_schema WHERE name = 'half'") == (0,)
    await store.close()


async def test_a_migration_keeps_what_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "store.db"
    store = await SqliteStore.open(path, create=True)
    await store.commit(batch(*posted(1)))
    await store.close()
    newer = (*schema_scripts(), "CREATE TABLE later (a INTEGER) STRICT;")
    monkeypatch.setattr("nodes.store.migrations.schema_scripts", lambda: newer)
    store = await SqliteStore.open(path, create=False)
    assert await on_writer(store, "PRAGMA user_version") == (len(newer),)
    assert await store.message(OURS, message_id(1)) is not None
    await store.close()


async def test_what_waits_in_a_store_of_schema_2_is_counted_after_its_migration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store.db"
    older = schema_scripts()[:2]
    monkeypatch.setattr("nodes.store.migrations.schema_scripts", lambda: older)
    store = await SqliteStore.open(path, create=True)
    states = [MachineState.QUEUED, MachineState.QUEUED, MachineState.IN_CUSTODY, MachineState.STORED]
    for number, state in enumerate(states, 1):
        await store.commit(batch(*posted(number), PutRecipient(recipient(number, state=state))))
    await store.commit(batch(*posted(9), PutRecipient(recipient(9, shown=False))))
    await store.close()
    monkeypatch.undo()

    store = await SqliteStore.open(path, create=False)

    assert await store.queue_counts() == [QueueCount(PEER, queued=2, in_custody=1, oldest_at=1_001)]
    await store.commit(batch(PutRecipient(recipient(1, state=MachineState.STORED))))
    assert await store.queue_counts() == [QueueCount(PEER, queued=1, in_custody=1, oldest_at=1_002)]
    await store.close()


async def test_every_table_is_strict(sqlite: SqliteStore) -> None:
    loose = "SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND name NOT LIKE 'sqlite%' AND NOT strict"
    assert await on_writer(sqlite, loose) == (0,)


# --- damage


def spoil_header(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to be one".ljust(8192, b"."))


def spoil_pages(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)


@pytest.mark.parametrize("spoil", [spoil_header, spoil_pages])
async def test_a_damaged_file_is_reported_as_such(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    path = tmp_path / "store.db"
    store = await SqliteStore.open(path, create=True)
    await store.commit(Batch(posted(*range(1, 50)), [append(0, b"entry")]))
    await store.close()
    spoil(path)
    with pytest.raises(StoreCorruptError):
        await open_and_read(path)


async def open_and_read(path: Path) -> None:
    store = await SqliteStore.open(path, create=False)
    try:
        await store.startup()
    finally:
        await store.close()


async def test_a_look_through_the_whole_file_finds_damage(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = await SqliteStore.open(path, create=True)
    await store.commit(batch(*posted(*range(1, 500))))
    await store.quick_check()
    root = (await on_writer(store, "SELECT rootpage FROM sqlite_schema WHERE name = 'message_case'"))[0]
    await store.close()
    data = bytearray(path.read_bytes())
    data[(root - 1) * 4096 : root * 4096] = bytes(4096)
    path.write_bytes(data)
    store = await SqliteStore.open(path, create=False)
    with pytest.raises(StoreCorruptError):
        await store.quick_check()
    await store.close()


# --- settings


SETTINGS = {
    "journal_mode": "wal",
    "synchronous": 2,
    "wal_autocheckpoint": 0,
    "secure_delete": 1,
    "cell_size_check": 1,
    "trusted_schema": 0,
    "busy_timeout": 5000,
}


@pytest.mark.parametrize("name", SETTINGS)
async def test_the_writing_connection_has_its_settings(sqlite: SqliteStore, name: str) -> None:
    assert await on_writer(sqlite, f"PRAGMA {name}") == (SETTINGS[name],)


async def test_readers_cannot_write(sqlite: SqliteStore) -> None:
    for reader in sqlite._all_readers:
        with pytest.raises(sqlite3.OperationalError):
            await on_thread(reader, lambda raw: raw.execute("DELETE FROM meta"))


async def test_what_is_deleted_is_overwritten_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = await SqliteStore.open(path, create=True)
    secret = b"a draft that nobody may find on a stolen disk"
    await store.commit(batch(PutDraft(Draft(message_id(1), 1, secret))))
    await store.checkpoint()
    assert secret in path.read_bytes()
    await store.commit(batch(RemoveDraft(message_id(1))))
    await store.close()
    assert secret not in path.read_bytes()
    assert set(modes_in(tmp_path)) == {"store.db", "store.db-lock"}


# --- errors


async def test_a_full_disk_undoes_the_batch_and_the_store_goes_on(sqlite: SqliteStore) -> None:
    await sqlite.commit(batch(*posted(1)))
    pages = (await on_writer(sqlite, "PRAGMA page_count"))[0]
    await on_writer(sqlite, f"PRAGMA max_page_count = {pages}")
    large = InsertMessage(message(2, sealed_content=bytes(100_000)))
    with pytest.raises(DiskFullError):
        await sqlite.commit(Batch([large], [append(0, b"entry")]))
    assert await sqlite.message(OURS, message_id(2)) is None
    await on_writer(sqlite, "PRAGMA max_page_count = 1000000")
    await sqlite.commit(Batch([large], [append(0, b"entry")]))
    assert await sqlite.message(OURS, message_id(2)) is not None


@pytest.mark.parametrize("unfit", [{"at": 2**63}, {"sender": "\ud800"}, {"case_tag": None}, {"case_tag": object()}])
async def test_a_value_that_no_column_takes_undoes_its_batch(sqlite: SqliteStore, unfit: dict[str, Any]) -> None:
    with pytest.raises(StoreConflictError):
        await sqlite.commit(batch(*posted(2), InsertMessage(message(1, **unfit))))
    assert await sqlite.shown_after(0, 9) == []
    await sqlite.commit(batch(*posted(2)))


class _Failing:
    """A connection on which one statement fails as a disk does."""

    def __init__(self, raw: sqlite3.Connection, statement: str, code: int, name: str) -> None:
        self._raw = raw
        self._statement = statement
        self._error = sqlite3.OperationalError("as a test asked")
        self._error.sqlite_errorcode = code
        self._error.sqlite_errorname = name

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if sql.startswith(self._statement):
            raise self._error
        return self._raw.execute(sql, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


IO_ERRORS = {
    "COMMIT": (sqlite3.SQLITE_IOERR_FSYNC, "SQLITE_IOERR_FSYNC"),
    "UPDATE log": (sqlite3.SQLITE_IOERR_READ, "SQLITE_IOERR_READ"),
    "BEGIN": (sqlite3.SQLITE_IOERR_LOCK, "SQLITE_IOERR_LOCK"),
}


@pytest.mark.parametrize("statement", IO_ERRORS)
async def test_a_disk_that_fails_ends_all_writing(sqlite: SqliteStore, statement: str) -> None:
    work = Batch(posted(1), [append(0, b"entry")])
    writer = sqlite._writer
    assert writer is not None

    def transaction(raw: sqlite3.Connection) -> None:
        failing: Any = _Failing(raw, statement, *IO_ERRORS[statement])
        sqlite._transaction(failing, work)

    with pytest.raises(FatalError):
        await on_thread(writer, transaction)
    with pytest.raises(FatalError):
        await sqlite.commit(work)
    assert await sqlite.message(OURS, message_id(1)) is None


async def test_no_room_at_the_last_moment_undoes_the_batch(sqlite: SqliteStore) -> None:
    work = Batch(posted(1), [append(0, b"entry")])
    writer = sqlite._writer
    assert writer is not None

    def transaction(raw: sqlite3.Connection) -> None:
        failing: Any = _Failing(raw, "COMMIT", sqlite3.SQLITE_FULL, "SQLITE_FULL")
        sqlite._transaction(failing, work)

    with pytest.raises(DiskFullError):
        await on_thread(writer, transaction)
    await sqlite.commit(work)
    assert await sqlite.entries("gw1/1", 0, 9) == [b"entry"]


async def test_a_lock_held_elsewhere_is_busy_and_not_fatal(sqlite: SqliteStore, tmp_path: Path) -> None:
    await on_writer(sqlite, "PRAGMA busy_timeout = 0")
    intruder = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    try:
        intruder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusyError):
            await sqlite.commit(batch(*posted(1)))
        intruder.execute("ROLLBACK")
    finally:
        intruder.close()
    await sqlite.commit(batch(*posted(1)))


# --- the write-ahead log


async def test_a_disk_that_fails_while_the_log_is_copied_ends_all_writing(sqlite: SqliteStore) -> None:
    await sqlite.commit(batch(*posted(1)))
    writer = sqlite._writer
    assert writer is not None

    def copy(raw: sqlite3.Connection) -> None:
        failing: Any = _Failing(raw, "PRAGMA wal_checkpoint", sqlite3.SQLITE_IOERR_FSYNC, "SQLITE_IOERR_FSYNC")
        sqlite._copy_log(failing)

    with pytest.raises(FatalError):
        await on_thread(writer, copy)
    for refused in (sqlite.commit(batch(*posted(2))), sqlite.checkpoint()):
        with pytest.raises(FatalError):
            await refused


async def test_a_full_disk_while_the_log_is_copied_ends_nothing(sqlite: SqliteStore) -> None:
    await sqlite.commit(batch(*posted(1)))
    writer = sqlite._writer
    assert writer is not None

    def copy(raw: sqlite3.Connection) -> None:
        failing: Any = _Failing(raw, "PRAGMA wal_checkpoint", sqlite3.SQLITE_FULL, "SQLITE_FULL")
        sqlite._copy_log(failing)

    with pytest.raises(DiskFullError):
        await on_thread(writer, copy)
    await sqlite.commit(batch(*posted(2)))
    await sqlite.checkpoint()
    assert len(await sqlite.shown_after(0, 9)) == 2


async def test_a_large_log_is_copied_behind_the_answer_and_begun_anew(
    sqlite: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "WAL_LIMIT_BYTES", 100_000)
    wal = tmp_path / "store.db-wal"
    for number in range(1, 60):
        await sqlite.commit(batch(InsertMessage(message(number, sealed_content=bytes(20_000)))))
    # 59 commits of about 24 kB each; without checkpoints the log would hold all of them.
    assert wal.stat().st_size < 400_000
    assert (tmp_path / "store.db").stat().st_size > 1_000_000
    assert len(await sqlite.shown_after(0, 99)) == 59


async def test_a_log_below_the_limit_is_left_alone_until_the_store_is_idle(sqlite: SqliteStore, tmp_path: Path) -> None:
    size = (tmp_path / "store.db").stat().st_size
    await sqlite.commit(batch(InsertMessage(message(1, sealed_content=bytes(200_000)))))
    assert (tmp_path / "store.db").stat().st_size == size
    assert sqlite._idle is not None
    sqlite._idle.cancel()
    sqlite._when_idle(sqlite._commits)
    await asyncio.gather(*sqlite._tasks)
    assert (tmp_path / "store.db").stat().st_size > size + 200_000


async def test_a_store_is_idle_when_no_commit_came_since_it_was_last_asked(sqlite: SqliteStore) -> None:
    await sqlite.commit(batch(*posted(1)))
    first = sqlite._idle
    await sqlite.commit(batch(*posted(2)))
    assert sqlite._idle is first
    sqlite._when_idle(1)
    assert not sqlite._tasks
    assert sqlite._idle is not None
    assert sqlite._idle is not first
    sqlite._idle.cancel()
    sqlite._when_idle(2)
    await asyncio.gather(*sqlite._tasks)
    sqlite._when_idle(2)
    assert not sqlite._tasks


async def test_a_commit_whose_caller_was_cancelled_counts_for_the_next_copy(
    sqlite: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "WAL_LIMIT_BYTES", 50_000)
    size = (tmp_path / "store.db").stat().st_size
    signature: Future[bytes] = Future()
    work = Batch([InsertMessage(message(1, sealed_content=bytes(90_000)))], [append(0, b"e", checkpoint=signature)])
    caller = asyncio.ensure_future(sqlite.commit(work))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    signature.set_result(b"signed")
    while sqlite._tasks:
        await asyncio.gather(*sqlite._tasks)
    assert (tmp_path / "store.db").stat().st_size > size + 90_000


async def test_a_log_that_a_reader_holds_back_loses_nothing(
    sqlite: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "WAL_LIMIT_BYTES", 50_000)
    await sqlite.commit(batch(*posted(1)))
    reader = sqlite3.connect(f"file:{tmp_path / 'store.db'}?mode=ro", uri=True, isolation_level=None)
    try:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM message").fetchone() == (1,)
        for number in range(2, 12):
            await sqlite.commit(batch(InsertMessage(message(number, sealed_content=bytes(20_000)))))
        assert reader.execute("SELECT count(*) FROM message").fetchone() == (1,)
        reader.execute("ROLLBACK")
    finally:
        reader.close()
    assert len(await sqlite.shown_after(0, 99)) == 11
    await sqlite.quick_check()


# --- readers and threads


async def test_many_reads_at_once_share_few_connections(sqlite: SqliteStore) -> None:
    await sqlite.commit(batch(*posted(1)))
    found = await asyncio.gather(*(sqlite.message(OURS, message_id(1)) for _ in range(50)))
    assert found == [message(1, seq=1)] * 50


async def test_a_read_of_several_statements_sees_one_state(sqlite: SqliteStore) -> None:
    between, committed = threading.Event(), threading.Event()

    def count_twice(raw: sqlite3.Connection) -> list[int]:
        counts = [raw.execute("SELECT count(*) FROM message").fetchone()[0]]
        between.set()
        committed.wait(10)
        return [*counts, raw.execute("SELECT count(*) FROM message").fetchone()[0]]

    read = asyncio.ensure_future(sqlite._read(count_twice))
    assert await asyncio.to_thread(between.wait, 10)
    await sqlite.commit(batch(*posted(1)))
    committed.set()
    assert await read == [0, 0]
    assert len(await sqlite.shown_after(0, 9)) == 1


async def test_a_cancelled_read_gives_its_connection_back(sqlite: SqliteStore) -> None:
    for _ in range(2 * driver.READERS):
        read = asyncio.ensure_future(sqlite.startup())
        await asyncio.sleep(0)
        read.cancel()
        with pytest.raises(asyncio.CancelledError):
            await read
    assert (await sqlite.startup()).logs == ()


async def test_a_read_that_waits_for_a_connection_when_the_store_is_closed_ends(sqlite: SqliteStore) -> None:
    reads = [asyncio.ensure_future(sqlite.startup()) for _ in range(4 * driver.READERS)]
    await asyncio.sleep(0)
    await sqlite.close()
    ends = await asyncio.gather(*reads, return_exceptions=True)
    assert all(not isinstance(end, BaseException) or isinstance(end, StoreError) for end in ends)
    assert isinstance(ends[-1], StoreError)


async def test_no_thread_is_left_whichever_way_a_store_ends(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    store = await SqliteStore.open(tmp_path / "store.db", create=True)
    own = set(threading.enumerate()) - before
    assert len(own) == 1 + driver.READERS
    assert not any(thread.daemon for thread in own)
    with pytest.raises(FatalError):
        await store.commit(Batch([], [append(5, b"entry")]))
    await store.close()
    spoil_header(tmp_path / "store.db")
    with pytest.raises(StoreCorruptError):
        await SqliteStore.open(tmp_path / "store.db", create=False)
    assert set(threading.enumerate()) - before == set()


async def test_a_store_whose_closing_was_cancelled_is_closed_all_the_same(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "store.db", create=True)
    signature: Future[bytes] = Future()
    commit = asyncio.ensure_future(store.commit(Batch([PutMeta("k", b"v")], [append(0, b"e", checkpoint=signature)])))
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(store.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    signature.set_result(b"signed")
    await commit
    await store.close()
    again = await SqliteStore.open(tmp_path / "store.db", create=False)
    assert (await again.startup()).meta == {"k": b"v"}
    await again.close()
