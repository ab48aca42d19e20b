"""The SQLite driver. Owns the file, its connections, transactions and checkpoints; SQL lies in `writes` and `reads`.

One connection writes, and only through `commit`: SQLite before 3.51.3 can damage a database whose WAL two connections
write and checkpoint at once. A lock file keeps other processes away, readers are `query_only`, checkpoints run on the
writing connection.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from keys.ids import AgencyId, EnvelopeId, MessageId
from nodes.errors import DiskFullError, FatalError, StoreBusyError, StoreCorruptError, StoreError
from nodes.store import reads
from nodes.store.connections import (
    close_all,
    connect,
    error_name,
    is_full,
    is_io_error,
    on_thread,
    prepare_reader,
    prepare_writer,
    translated,
)
from nodes.store.contract import (
    AckRow,
    Batch,
    DeliveryHistory,
    DraftRow,
    InboundCount,
    InboundRow,
    MessageRow,
    OutboundRow,
    PeerHeadRow,
    QueueCount,
    RecipientRow,
    Startup,
    StatementRow,
)
from nodes.store.migrations import check_schema, migrate
from nodes.store.writes import apply_batch

READERS = 3
WAL_LIMIT_BYTES = 16 * 1024 * 1024
IDLE_S = 1.0
LOCK_SUFFIX = "-lock"

_WAL_HEADER_BYTES = 32
_WAL_FRAME_HEADER_BYTES = 24

_Result = TypeVar("_Result")
_FOREIGN = (sqlite3.Error, OverflowError, UnicodeEncodeError)


class SqliteStore:
    """A store in one SQLite file. Made by `open`, ended by `close`; for the rest see nodes.store.contract.Store."""

    def __init__(self, path: Path, lock: int) -> None:
        """Use `open`."""
        self._path = path
        self._lock: int | None = lock
        self._wal: int | None = None
        self._wal_frame_bytes = 0
        self._writer: aiosqlite.Connection | None = None
        self._all_readers: list[aiosqlite.Connection] = []
        self._idle_readers: asyncio.Queue[aiosqlite.Connection] = asyncio.Queue()
        self._failed: FatalError | None = None
        self._closing = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._idle: asyncio.TimerHandle | None = None
        self._commits = 0
        self._commits_checkpointed = 0

    @classmethod
    async def open(cls, path: Path, *, create: bool) -> SqliteStore:
        """Open the store in `path`; with `create` make it first, and refuse one that is there.

        Raises StoreError (missing, or already there), StoreBusyError (another process has it open), SchemaTooNewError,
        StoreCorruptError, DiskFullError.
        """
        store = cls(path, _take_lock(path))
        try:
            _prepare_file(path, create=create)
            await store._open_connections()
            if create:
                _sync_directory(path.parent)
        except BaseException as error:
            await store.close()
            if isinstance(error, _FOREIGN):
                raise translated(error) from error
            raise
        return store

    async def _open_connections(self) -> None:
        self._writer = await connect(self._path, "rw")
        await on_thread(self._writer, check_schema)
        await on_thread(self._writer, prepare_writer)
        await on_thread(self._writer, _begin_log_anew)
        await on_thread(self._writer, migrate)
        # Only the log: closing any descriptor of the database or of its -shm would drop SQLite's POSIX locks on it.
        self._wal = os.open(f"{self._path}-wal", os.O_RDONLY | os.O_CLOEXEC)
        page_bytes = await on_thread(self._writer, lambda raw: raw.execute("PRAGMA page_size").fetchone()[0])
        self._wal_frame_bytes = _WAL_FRAME_HEADER_BYTES + page_bytes
        for _ in range(READERS):
            reader = await connect(self._path, "ro")
            self._all_readers.append(reader)
            await on_thread(reader, prepare_reader)
            self._idle_readers.put_nowait(reader)

    # --- writing -----------------------------------------------------------------------------------------------------

    async def commit(self, batch: Batch) -> None:
        """See Store.commit."""
        if self._closing:
            raise StoreError("the store is closed")
        await asyncio.shield(self._start(self._commit(batch)))

    async def _commit(self, batch: Batch) -> None:
        await on_thread(self._open_writer(), lambda raw: self._transaction(raw, batch))
        self._commits += 1
        if self._closing:
            return
        if self._wal_exceeds_limit():
            # Behind the answer, before the next commit.
            self._start(self._checkpoint_quietly())
        elif self._idle is None:
            self._idle = asyncio.get_running_loop().call_later(IDLE_S, self._when_idle, self._commits)

    def _transaction(self, raw: sqlite3.Connection, batch: Batch) -> None:
        """One batch, whole, on the writing connection's thread."""
        if self._failed is not None:
            raise FatalError(self._failed.problem)
        try:
            raw.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise self._judged(error) from error
        try:
            apply_batch(raw, batch)
        except BaseException as error:
            self._roll_back(raw)
            if isinstance(error, FatalError):
                self._failed = error
            if isinstance(error, _FOREIGN):
                raise self._judged(error) from error
            raise
        try:
            raw.execute("COMMIT")
        except BaseException as error:
            self._roll_back(raw)
            # No room for all frames: the last one, which alone makes the others count, was not written whole, and the
            # next commit writes over them: nothing happened. After any other error, a failed sync say, it may have.
            if is_full(error):
                raise DiskFullError from error
            self._failed = FatalError(f"COMMIT failed ({error_name(error)})")
            raise self._failed from error

    def _roll_back(self, raw: sqlite3.Connection) -> None:
        try:
            if raw.in_transaction:  # SQLite rolls back by itself after some errors
                raw.execute("ROLLBACK")
        except sqlite3.Error as error:
            self._failed = FatalError(f"ROLLBACK failed ({error_name(error)})")
            raise self._failed from error

    def _judged(self, error: Exception) -> StoreError | FatalError:
        if is_io_error(error):
            self._failed = FatalError(f"the disk failed ({error_name(error)})")
            return self._failed
        return translated(error)

    # --- checkpoints: from the log into the database -----------------------------------------------------------------

    async def checkpoint(self) -> None:
        """Copy what the log holds into the database. Done by the store itself when idle or when the log is large."""
        await asyncio.shield(self._start(self._checkpoint()))

    async def _checkpoint(self) -> None:
        done = self._commits
        await on_thread(self._open_writer(), self._copy_log)
        self._commits_checkpointed = done

    def _copy_log(self, raw: sqlite3.Connection) -> None:
        if self._failed is not None:
            raise FatalError(self._failed.problem)
        try:
            raw.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            # A disk that failed ends all writing: a failed sync may "succeed" when asked again, having dropped what
            # it could not write, and the log would be begun anew over the only good copy.
            raise self._judged(error) from error

    async def _checkpoint_quietly(self) -> None:
        # When the disk is full, the log keeps everything and the next one tries again. When it failed, the next commit
        # says so.
        with suppress(StoreError, FatalError):
            await self._checkpoint()

    def _when_idle(self, commits: int) -> None:
        self._idle = None
        if self._closing or self._commits == self._commits_checkpointed:
            return
        if commits == self._commits:
            self._start(self._checkpoint_quietly())
        else:
            self._idle = asyncio.get_running_loop().call_later(IDLE_S, self._when_idle, self._commits)

    def _wal_exceeds_limit(self) -> bool:
        """True when the log holds more than the limit since it was last begun anew.

        The file keeps its largest size (overwriting is cheaper than growing), so its length says nothing. Frames of the
        present round carry the salt of the header (sqlite.org/fileformat2.html, section 4): look at the one there.
        """
        if self._wal is None:
            return False
        header = os.pread(self._wal, _WAL_HEADER_BYTES, 0)
        at = _WAL_HEADER_BYTES + WAL_LIMIT_BYTES // self._wal_frame_bytes * self._wal_frame_bytes
        frame = os.pread(self._wal, _WAL_FRAME_HEADER_BYTES, at)
        return len(frame) == _WAL_FRAME_HEADER_BYTES and frame[8:16] == header[16:24]

    # --- the end -----------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """See Store.close."""
        self._closing = True
        await asyncio.shield(self._start(self._close()))

    async def _close(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        others = self._tasks - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)
        readers, self._all_readers = self._all_readers, []
        writer, self._writer = self._writer, None
        try:
            await close_all(readers)
        finally:
            try:
                if writer is not None:
                    # The last one to close copies the log into the database and removes it.
                    await close_all([writer])
            finally:
                for descriptor in (self._wal, self._lock):
                    if descriptor is not None:
                        os.close(descriptor)
                self._wal = self._lock = None

    def _start(self, work: Coroutine[Any, Any, _Result]) -> asyncio.Task[_Result]:
        """A task that goes on when whoever waits for it is cancelled; `close` waits for it."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited may be gone; its error is not "never retrieved"

    def _open_writer(self) -> aiosqlite.Connection:
        if self._writer is None:
            raise StoreError("the store is closed")
        return self._writer

    # --- reading -----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _reader(self) -> AsyncIterator[aiosqlite.Connection]:
        reader = await self._idle_readers.get()
        try:
            if self._closing:
                raise StoreError("the store is closed")
            yield reader
        finally:
            self._idle_readers.put_nowait(reader)

    async def _read(self, function: Callable[..., _Result], *arguments: Any) -> _Result:
        """One read in a transaction of its own, so that it sees one state however many statements it takes."""

        def transaction(raw: sqlite3.Connection) -> _Result:
            raw.execute("BEGIN")
            try:
                return function(raw, *arguments)
            finally:
                raw.execute("ROLLBACK")

        async with self._reader() as reader:
            try:
                return await on_thread(reader, transaction)
            except _FOREIGN as error:
                raise translated(error) from error

    async def quick_check(self) -> None:
        """Look through the whole file for damage. Slow. Raises StoreCorruptError."""
        problem = await self._read(lambda raw: raw.execute("PRAGMA quick_check(1)").fetchone()[0])
        if problem != "ok":
            raise StoreCorruptError("quick_check")

    async def startup(self) -> Startup:
        return await self._read(reads.startup)

    async def entry(self, log: str, index: int) -> bytes | None:
        found = await self._read(reads.entries, log, index, 1)
        return found[0] if found else None

    async def entries(self, log: str, first: int, limit: int) -> list[bytes | None]:
        return await self._read(reads.entries, log, first, limit)

    async def tiles(self, log: str, wanted: Sequence[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        return await self._read(reads.tiles, log, wanted)

    async def message(self, sender: AgencyId, message_id: MessageId) -> MessageRow | None:
        found = await self._read(reads.messages, [(sender, message_id)])
        return found.get((sender, message_id))

    async def messages(
        self, keys: Sequence[tuple[AgencyId, MessageId]]
    ) -> dict[tuple[AgencyId, MessageId], MessageRow]:
        return await self._read(reads.messages, keys)

    async def messages_by_suffix(self, suffix: str) -> list[MessageRow]:
        return await self._read(reads.messages_by_suffix, suffix)

    async def known_cases(self, case_tags: Sequence[bytes]) -> set[bytes]:
        return await self._read(reads.known_cases, list(case_tags))

    async def messages_of_case(self, case_tag: bytes) -> list[MessageRow]:
        return await self._read(reads.messages_of_case, case_tag)

    async def inbox(self, since: int | None, limit: int, unacknowledged: bool) -> list[MessageRow]:
        return await self._read(reads.inbox, since, limit, unacknowledged)

    async def sent(self, since: int | None, limit: int, waiting: bool = False) -> list[MessageRow]:
        return await self._read(reads.sent, since, limit, waiting)

    async def shown_after(self, seq: int, limit: int) -> list[MessageRow]:
        return await self._read(reads.shown_after, seq, limit)

    async def inbound_count(self) -> InboundCount:
        return await self._read(reads.inbound_count)

    async def recipients(self, message_id: MessageId) -> list[RecipientRow]:
        return await self._read(reads.recipients, message_id)

    async def recipient(self, message_id: MessageId, agency: AgencyId) -> RecipientRow | None:
        return (await self.recipients_at([(message_id, agency)])).get((message_id, agency))

    async def recipients_at(
        self, keys: Sequence[tuple[MessageId, AgencyId]]
    ) -> dict[tuple[MessageId, AgencyId], RecipientRow]:
        return await self._read(reads.recipients_at, keys)

    async def outbound(self, envelope_ids: Sequence[EnvelopeId]) -> dict[EnvelopeId, OutboundRow]:
        return await self._read(reads.outbound, envelope_ids)

    async def deliveries(
        self, envelope_ids: Sequence[EnvelopeId]
    ) -> dict[EnvelopeId, tuple[RecipientRow, OutboundRow]]:
        return await self._read(reads.deliveries, envelope_ids)

    async def outbound_of_message(self, message_id: MessageId) -> list[OutboundRow]:
        return await self._read(reads.outbound_of_message, message_id)

    async def history(self, sender: AgencyId, message_id: MessageId) -> DeliveryHistory:
        return await self._read(reads.history, sender, message_id)

    async def outbound_since(self, agency: AgencyId, since: int) -> list[OutboundRow]:
        return await self._read(reads.outbound_since, agency, since)

    async def due(
        self, agency: AgencyId, now: int, exclude: frozenset[EnvelopeId], limit: int, max_bytes: int
    ) -> list[tuple[RecipientRow, OutboundRow]]:
        return await self._read(reads.due, agency, now, exclude, limit, max_bytes)

    async def unsealed(self, agency: AgencyId, limit: int) -> list[RecipientRow]:
        return await self._read(reads.unsealed, agency, limit)

    async def overdue(self, now: int, limit: int) -> list[RecipientRow]:
        return await self._read(reads.overdue, now, limit)

    async def next_due(self, agency: AgencyId, now: int) -> int | None:
        return await self._read(reads.next_due, agency, now)

    async def queue_counts(self) -> list[QueueCount]:
        return await self._read(reads.queue_counts)

    async def inbound(self, sender: AgencyId, envelope_ids: Sequence[EnvelopeId]) -> dict[EnvelopeId, list[InboundRow]]:
        return await self._read(reads.inbound, sender, envelope_ids)

    async def inbound_of_message(self, sender: AgencyId, message_id: MessageId) -> list[InboundRow]:
        return await self._read(reads.inbound_of_message, sender, message_id)

    async def statements(self, envelope_ids: Sequence[EnvelopeId]) -> list[StatementRow]:
        return await self._read(reads.statements, envelope_ids)

    async def acks(self, sender: AgencyId, message_ids: Sequence[MessageId]) -> dict[MessageId, list[AckRow]]:
        return await self._read(reads.acks, sender, message_ids)

    async def peer_head(self, agency: AgencyId, gateway: str, generation: int, size: int) -> PeerHeadRow | None:
        return await self._read(reads.peer_head, agency, gateway, generation, size)

    async def held_heads(self, agency: AgencyId) -> list[PeerHeadRow]:
        return await self._read(reads.held_heads, agency)

    async def head_chain(self, agency: AgencyId, gateway: str, generation: int, from_size: int) -> list[PeerHeadRow]:
        return await self._read(reads.head_chain, agency, gateway, generation, from_size)

    async def unreconciled(self) -> list[PeerHeadRow]:
        return await self._read(reads.unreconciled)

    async def drafts(self) -> list[DraftRow]:
        return await self._read(reads.drafts)

    async def draft(self, draft_id: MessageId) -> DraftRow | None:
        return await self._read(reads.draft, draft_id)

    async def sizes(self) -> tuple[int, int]:
        return await asyncio.to_thread(_sizes, self._path)


def _take_lock(path: Path) -> int:
    """The descriptor that holds the lock beside the store. Raises StoreBusyError when another one holds it."""
    try:
        descriptor = os.open(f"{path}{LOCK_SUFFIX}", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StoreBusyError("the store is open in another process", hint="stop that process first") from error
    return descriptor


def _prepare_file(path: Path, *, create: bool) -> None:
    if path.exists() == create:
        raise StoreError(f"there is already a store in {path}" if create else f"there is no store in {path}")
    if create:
        # SQLite gives the log and its index the mode of the database.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    else:
        path.chmod(0o600)


def _begin_log_anew(raw: sqlite3.Connection) -> None:
    """Bring all that the log holds into the database, synced.

    If the last process ended because a sync failed, what we read as committed may be in the system's memory only, and a
    later sync would not write it. Writing it again, elsewhere, makes true what we now take for the truth.
    """
    busy, _, _ = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise StoreBusyError("the store is being read by another program", hint="end that program first")


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sizes(path: Path) -> tuple[int, int]:
    used = 0
    for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        with suppress(FileNotFoundError):
            used += name.stat().st_size
    disk = os.statvfs(path.parent)
    return used, disk.f_bavail * disk.f_frsize
