"""The one writer of a gateway: groups changes, makes log entries, signs the head, commits. Owns the own log's head.

Group commit (DESIGN 6): one task takes all that waits, computes leaves and frontier on a copy, has the head signed in a
thread while the store writes rows, and commits with compare-and-set on the size. Only then the copy becomes current and
answers are released: nobody sees a signature before what it covers is durable. It does not know what entries say, nor
who waits for them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from time import perf_counter
from types import TracebackType
from typing import Any, Generic, Self, TypeAlias, TypeVar

from exchange.checkpoint import Checkpoint, checkpoint_from_wire, checkpoint_to_wire
from exchange.log import (
    Append,
    Frontier,
    TileReader,
    inclusion_path,
    leaf_hash,
    multi_proof,
    root_at,
)
from keys.encoding import decode, encode
from keys.ids import AgencyId, Origin
from nodes.errors import FatalError, NodeError, StoreCorruptError
from nodes.store.contract import Batch, LogAppend, LogState, Op, Store, StoreConflictError
from nodes.store.tiles import TileCache

AUDIT_LOG = "audit/1"
GROUP_CHANGES = 1_024
GROUP_BYTES = 4 * 1024 * 1024
CHECKPOINT_BYTES = 8_192
RECENT_ENTRIES = 2_048  # of about 100 bytes

Sign: TypeAlias = Callable[[Origin, int, bytes, int], Checkpoint]
"""(origin, size, root, timestamp in seconds) -> the signed checkpoint. Called in a thread, one call at a time."""

MakeEntry: TypeAlias = Callable[[int, bytes], bytes]
"""(time in ms, 16 bytes of salt) -> the entry's bytes. May be called again: a group can be made anew."""

_Result = TypeVar("_Result")


class WriterClosedError(NodeError):
    """The writer takes no more changes: the process is ending."""


@dataclass(frozen=True, slots=True)
class EntryDraft:
    """An entry to be. Leaves of one commit are ordered by destination, so that what one peer gets lies together."""

    destination: str
    make: MakeEntry


@dataclass(frozen=True, slots=True)
class Placed:
    """An entry as it lies in a log."""

    log: str
    index: int
    entry: bytes
    time: int


@dataclass(frozen=True, slots=True)
class Change:
    """What one caller wants in one transaction: entries of the own log, rows that may name their places, audit entries.

    `ops` gets the entries in the order of `entries`; like `make` it has no effect of its own and may be called again.
    `size_hint` is about how many bytes the rows hold: it bounds a group.
    """

    entries: tuple[EntryDraft, ...]
    ops: Callable[[tuple[Placed, ...]], Sequence[Op]]
    audit: tuple[bytes, ...] = ()
    size_hint: int = GROUP_BYTES // GROUP_CHANGES

    @classmethod
    def of(cls, *rows: Op, audit: tuple[bytes, ...] = ()) -> Self:
        """A change that logs nothing for peers: rows, and perhaps audit entries."""
        return cls(entries=(), ops=lambda _: rows, audit=audit)


@dataclass(frozen=True, slots=True)
class Committed:
    """A change that is durable: its entries in the order given, and the head of that commit.

    `checkpoint` is None only while nothing was ever logged.
    """

    placed: tuple[Placed, ...]
    checkpoint: Checkpoint | None


@dataclass(frozen=True, slots=True)
class Proved:
    """An entry with its proof under the checkpoint of its own commit."""

    placed: Placed
    path: tuple[bytes, ...]
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class CommitFigures:
    """For metrics: what one commit took."""

    changes: int
    entries: int
    seconds: float


@dataclass(frozen=True, slots=True)
class OwnLogState:
    """One own log as far as it is durable. `timestamp` is that of the checkpoint, in seconds."""

    log: str
    frontier: Frontier
    checkpoint: Checkpoint | None = None
    last_time: int = 0
    timestamp: int = 0

    @classmethod
    def empty(cls, log: str) -> OwnLogState:
        """A log without entries."""
        return cls(log, Frontier.empty())


async def load_own_log(store: Store, agency: AgencyId, state: LogState) -> OwnLogState:
    """The log as the store holds it. Raises StoreCorruptError when its tiles do not lead to its root."""
    frontier = await TileCache(store).run(state.log, lambda tiles: Frontier.load(state.size, tiles))
    if frontier.root != state.root:
        raise StoreCorruptError(f"the tiles of log {state.log} do not lead to its root")
    checkpoint = None
    if state.checkpoint is not None:
        checkpoint = checkpoint_from_wire(decode(state.checkpoint, max_bytes=CHECKPOINT_BYTES), agency)
        if (checkpoint.size, checkpoint.root) != (state.size, state.root):
            raise StoreCorruptError(f"the checkpoint of log {state.log} is not that of its head")
    return OwnLogState(state.log, frontier, checkpoint, state.last_time, state.timestamp)


@dataclass(slots=True)
class _Waiting:
    """A change and whoever waits for it; that one may be gone, the change is committed all the same."""

    change: Change
    answer: asyncio.Future[Committed]


@dataclass(slots=True)
class _Alone(Generic[_Result]):
    """Work that has a commit of its own."""

    work: Callable[[], Coroutine[Any, Any, _Result]]
    answer: asyncio.Future[_Result]


@dataclass(frozen=True, slots=True)
class _Leaves:
    """Entries put at the end of one log: the state after, and the append that leads there."""

    state: OwnLogState
    append: Append
    entries: tuple[bytes, ...]
    expected_size: int


@dataclass(frozen=True, slots=True)
class _Group:
    """A group ready to be committed."""

    placed: tuple[tuple[_Waiting, tuple[Placed, ...]], ...]
    ops: tuple[Op, ...]
    leaves: _Leaves | None
    audit: _Leaves | None


class _Signature:
    """A checkpoint that is being signed in a thread."""

    def __init__(self) -> None:
        self.wire: Future[bytes] = Future()
        self.checkpoint: Checkpoint | None = None

    def make(self, sign: Callable[[], Checkpoint]) -> None:
        """Runs in the thread."""
        try:
            self.checkpoint = sign()
            self.wire.set_result(encode(checkpoint_to_wire(self.checkpoint)))
        except BaseException as error:  # noqa: BLE001 - carried to the commit that waits for it and now does not happen
            self.wire.set_exception(error)


class Writer:
    """See the module. Use as `async with`, or `start` and `close`; everything but signing happens on the event loop."""

    def __init__(
        self,
        store: Store,
        origin: Origin,
        state: OwnLogState,
        sign: Sign,
        clock: Callable[[], int],
        draw_salt: Callable[[], bytes],
        *,
        audit: OwnLogState | None = None,
        on_fatal: Callable[[FatalError], None] | None = None,
        on_commit: Callable[[CommitFigures], None] | None = None,
    ) -> None:
        self._store = store
        self._origin = origin
        self._state = state
        self._sign = sign
        self._clock = clock
        self._draw_salt = draw_salt
        self._audit = audit if audit is not None else OwnLogState.empty(AUDIT_LOG)
        self._on_fatal = on_fatal
        self._on_commit = on_commit
        self._tiles = TileCache(store)
        self._recent: dict[int, bytes] = {}  # the newest entries of the open log, oldest first
        self._queue: deque[_Waiting | _Alone[Any]] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._signer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sign")
        self._failed: FatalError | None = None
        self._closing = False

    # --- what is durable ---------------------------------------------------------------------------------------------

    @property
    def origin(self) -> Origin:
        """Origin of the log that is open."""
        return self._origin

    @property
    def generation(self) -> int:
        """Its generation."""
        return self._origin.generation

    @property
    def durable_size(self) -> int:
        """Entries of it that are durable."""
        return self._state.frontier.size

    @property
    def head(self) -> Checkpoint | None:
        """Its newest durable checkpoint; None before the first entry."""
        return self._state.checkpoint

    @property
    def last_time(self) -> int:
        """Time of its last entry, in ms."""
        return self._state.last_time

    @property
    def audit_head(self) -> tuple[int, bytes]:
        """Size and root of the audit log."""
        return self._audit.frontier.size, self._audit.frontier.root

    @property
    def failed(self) -> FatalError | None:
        """Why this writer will not sign again."""
        return self._failed

    @property
    def waiting(self) -> int:
        """Changes handed in and not yet taken."""
        return len(self._queue)

    # --- changes -----------------------------------------------------------------------------------------------------

    async def commit(self, change: Change) -> Committed:
        """Returns when the change is durable. Cancelling the caller does not take it back.

        Raises what `make` or `ops` raised, StoreError (nothing happened), FatalError (it is not known what happened;
        the process must stop), WriterClosedError.
        """
        answer: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
        self._hand_in(_Waiting(change, answer))
        return await answer

    async def commit_proved(
        self, entries: Sequence[EntryDraft], ops: Callable[[tuple[Proved, ...]], Sequence[Op]]
    ) -> tuple[Proved, ...]:
        """A commit of its own whose rows hold the entries' proofs: first the head is signed, then rows are made.

        Raises as `commit`.
        """
        return await self._alone(lambda: self._commit_proved(entries, ops))

    async def commit_key_change(self, make: MakeEntry, new_sign: Sign, ops: Callable[[Proved], Sequence[Op]]) -> Proved:
        """Log a key change as the last leaf of its commit: the old pair signs that head, `new_sign` every later one.

        Raises as `commit`.
        """

        async def work() -> Proved:
            (proved,) = await self._commit_proved([EntryDraft("", make)], lambda proofs: ops(proofs[0]))
            self._sign = new_sign
            return proved

        return await self._alone(work)

    async def open_generation(
        self,
        generation: int,
        opened: MakeEntry,
        reissued: Sequence[tuple[int, bytes]],
        ops: Callable[[Proved, tuple[Placed, ...]], Sequence[Op]],
        sign: Sign | None = None,
    ) -> Proved:
        """Close the log and open a later generation in one commit: leaf 0 is what `opened` makes, then `reissued`.

        `reissued` are (time, entry) of entries issued again, byte for byte. `ops` gets the proof of leaf 0 and the
        places of the others in their order. `sign` signs from now on, if that changes. Raises as `commit`, and
        ValueError for a generation that is not later.
        """
        return await self._alone(lambda: self._open_generation(generation, opened, reissued, ops, sign))

    async def drain(self) -> None:
        """Returns when everything handed in so far is answered. Raises FatalError when the writer has failed."""

        async def nothing() -> None:
            return None

        await self._alone(nothing)

    def recent(self, index: int) -> bytes | None:
        """A durable entry of the open log, if it is one of the newest: those are handed over at once."""
        return self._recent.get(index)

    # --- proofs ------------------------------------------------------------------------------------------------------

    async def multi_proof(self, indices: Sequence[int]) -> tuple[Checkpoint, tuple[bytes, ...]]:
        """Nodes that prove these ascending indices against the newest durable head. LookupError without a head."""
        head = self._proving_head()
        return head, await self._proof(lambda tiles: multi_proof(tiles, head.size, indices))

    async def inclusion(self, index: int) -> tuple[Checkpoint, tuple[bytes, ...]]:
        """The path that proves one index against the newest durable head. LookupError without a head."""
        head = self._proving_head()
        return head, await self._proof(lambda tiles: inclusion_path(tiles, head.size, index))

    async def root_at(self, size: int) -> bytes:
        """The root this log had at an earlier size, or has now."""
        now = self.durable_size
        return await self._proof(lambda tiles: root_at(tiles, now, size))

    def _proving_head(self) -> Checkpoint:
        if self._state.checkpoint is None:
            raise LookupError("nothing was ever logged")
        return self._state.checkpoint

    async def read_tiles(self, function: Callable[[TileReader], _Result]) -> _Result:
        """What the function makes of the open log's tiles, see TileCache.run."""
        return await self._proof(function)

    async def _proof(self, function: Callable[[TileReader], _Result]) -> _Result:
        return await self._tiles.run(self._state.log, function)

    # --- life --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to take changes. Needs a running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="writer")

    async def close(self) -> None:
        """Answer what was handed in, then end. The store stays open."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await asyncio.shield(self._task)
        self._signer.shutdown()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _alone(self, work: Callable[[], Coroutine[Any, Any, _Result]]) -> _Result:
        answer: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()
        self._hand_in(_Alone(work, answer))
        return await answer

    def _hand_in(self, item: _Waiting | _Alone[Any]) -> None:
        if self._failed is not None:
            raise FatalError(self._failed.problem)
        if self._closing:
            raise WriterClosedError("the node is stopping")
        self._queue.append(item)
        self._wake.set()

    async def _run(self) -> None:
        while self._queue or not self._closing:
            if not self._queue:
                self._wake.clear()
                await self._wake.wait()
                continue
            item = self._queue[0]
            taken: Sequence[_Waiting | _Alone[Any]]
            if isinstance(item, _Alone):
                taken = [self._queue.popleft()]
                work = self._do_alone(item)
            else:
                taken = group = self._take_group()
                work = self._commit_group(group)
            try:
                await work
            except BaseException as error:
                # Cancelled in a commit, or our own mistake: nobody may wait for ever, nothing may be signed.
                self._fail(FatalError(f"the writer ended ({type(error).__name__})"), taken)
                raise

    def _take_group(self) -> list[_Waiting]:
        """All changes that wait, up to the bounds of a group; work with a commit of its own ends a group."""
        group: list[_Waiting] = []
        total = 0
        while self._queue and len(group) < GROUP_CHANGES:
            item = self._queue[0]
            if isinstance(item, _Alone):
                break
            total += item.change.size_hint
            if group and total > GROUP_BYTES:
                break
            self._queue.popleft()
            group.append(item)
        return group

    # --- one group ---------------------------------------------------------------------------------------------------

    async def _commit_group(self, waiting: list[_Waiting]) -> None:
        if self._failed is not None:
            _refuse(waiting, self._failed)
            return
        started = perf_counter()
        group = self._prepare(waiting)
        if not group.placed:
            return
        waiting = [item for item, _ in group.placed]
        signature = self._start_signing(group.leaves)
        try:
            await self._store.commit(self._batch(group.ops, group.leaves, group.audit, signature))
        except FatalError as error:
            self._fail(error, waiting)
        except StoreConflictError as error:
            if len(waiting) == 1:
                _refuse(waiting, error)
                return
            # One of them is at fault and must not take the others with it.
            for item in waiting:
                await self._commit_group([item])
        except Exception as error:  # noqa: BLE001 - a full disk, a failed signature: nothing happened, all are told
            _refuse(waiting, error)
        else:
            checkpoint = None if signature is None else signature.checkpoint
            self._adopt(group.leaves, group.audit, checkpoint)
            for item, placed in group.placed:
                if not item.answer.done():
                    item.answer.set_result(Committed(placed, self._state.checkpoint))
            self._report(len(waiting), group.leaves, started)

    def _prepare(self, waiting: list[_Waiting]) -> _Group:
        """Make entries and rows. A change whose own functions raise gets that error and is left out."""
        time = max(self._clock(), self._state.last_time)
        made: list[tuple[_Waiting, tuple[bytes, ...]]] = []
        for item in waiting:
            try:
                made.append((item, tuple(draft.make(time, self._draw_salt()) for draft in item.change.entries)))
            except Exception as error:  # noqa: BLE001 - the caller's function, the caller's error
                _answer_error(item.answer, error)
        while True:
            placed, entries = self._place(made, time)
            ops, faulty = _ops_of(placed)
            if faulty is None:
                break
            # Its entries are gone from the tree to be, so everybody behind them moves.
            made = [one for one in made if one[0] is not faulty]
        audit = tuple(entry for item, _ in made for entry in item.change.audit)
        return _Group(
            placed=placed,
            ops=ops,
            leaves=self._grow(self._state, entries, time) if entries else None,
            audit=self._grow(self._audit, audit, time) if audit else None,
        )

    def _place(
        self, made: list[tuple[_Waiting, tuple[bytes, ...]]], time: int
    ) -> tuple[tuple[tuple[_Waiting, tuple[Placed, ...]], ...], tuple[bytes, ...]]:
        """Where each entry lies: ordered by destination, else as handed in."""
        flat = [
            (draft.destination, number, position, entry)
            for number, (item, entries) in enumerate(made)
            for position, (draft, entry) in enumerate(zip(item.change.entries, entries, strict=True))
        ]
        flat.sort(key=lambda leaf: leaf[0])
        places: list[dict[int, Placed]] = [{} for _ in made]
        first = self._state.frontier.size
        for index, (_, number, position, entry) in enumerate(flat, start=first):
            places[number][position] = Placed(self._state.log, index, entry, time)
        placed = tuple(
            (item, tuple(found[position] for position in range(len(found))))
            for (item, _), found in zip(made, places, strict=True)
        )
        return placed, tuple(leaf[3] for leaf in flat)

    def _grow(self, state: OwnLogState, entries: tuple[bytes, ...], time: int) -> _Leaves:
        append = state.frontier.append_many([leaf_hash(entry) for entry in entries])
        after = replace(
            state,
            frontier=append.frontier,
            last_time=max(time, state.last_time),
            timestamp=max(self._clock() // 1000, state.timestamp),
        )
        return _Leaves(after, append, entries, state.frontier.size)

    def _start_signing(self, leaves: _Leaves | None) -> _Signature | None:
        if leaves is None:
            return None
        signature = _Signature()
        frontier, sign, origin = leaves.state.frontier, self._sign, self._origin
        size, root, timestamp = frontier.size, frontier.root, leaves.state.timestamp
        self._signer.submit(signature.make, lambda: sign(origin, size, root, timestamp))
        return signature

    @staticmethod
    def _batch(
        ops: Sequence[Op],
        leaves: _Leaves | None,
        audit: _Leaves | None,
        signature: _Signature | None,
        closes: tuple[str, ...] = (),
    ) -> Batch:
        appends = [
            _log_append(grown, wire)
            for grown, wire in ((leaves, None if signature is None else signature.wire), (audit, None))
            if grown is not None
        ]
        return Batch(ops=ops, appends=appends, closes=closes)

    def _adopt(self, leaves: _Leaves | None, audit: _Leaves | None, checkpoint: Checkpoint | None) -> None:
        """What was a copy is the truth now."""
        if leaves is not None:
            if leaves.state.log != self._state.log:
                self._recent.clear()
            self._recent.update(enumerate(leaves.entries, start=leaves.expected_size))
            for index in list(self._recent)[:-RECENT_ENTRIES]:
                del self._recent[index]
            self._state = replace(leaves.state, checkpoint=checkpoint)
            self._tiles.put(self._state.log, leaves.append.tiles)
        if audit is not None:
            self._audit = audit.state
            self._tiles.put(self._audit.log, audit.append.tiles)

    def _report(self, changes: int, leaves: _Leaves | None, started: float) -> None:
        if self._on_commit is not None:
            entries = 0 if leaves is None else len(leaves.entries)
            self._on_commit(CommitFigures(changes, entries, perf_counter() - started))

    def _fail(self, error: FatalError, taken: Sequence[_Waiting | _Alone[Any]]) -> None:
        """Nothing is signed or committed after this. What is durable, the next process reads."""
        self._failed = error
        _refuse([*taken, *self._queue], error)
        self._queue.clear()
        if self._on_fatal is not None:
            self._on_fatal(error)

    # --- commits of their own ----------------------------------------------------------------------------------------

    async def _do_alone(self, item: _Alone[_Result]) -> None:
        try:
            result = await item.work()
        except FatalError as error:
            self._fail(error, [item])
        except Exception as error:  # noqa: BLE001 - nothing happened; whoever asked is told
            _answer_error(item.answer, error)
        else:
            if not item.answer.done():
                item.answer.set_result(result)

    async def _commit_proved(
        self, drafts: Sequence[EntryDraft], ops: Callable[[tuple[Proved, ...]], Sequence[Op]]
    ) -> tuple[Proved, ...]:
        started = perf_counter()
        time = max(self._clock(), self._state.last_time)
        entries = tuple(draft.make(time, self._draw_salt()) for draft in drafts)
        leaves = self._grow(self._state, entries, time)
        signature = await self._signed(leaves, self._sign, self._origin)
        proved = await self._prove_fresh(leaves, time, len(entries), signature)
        await self._store.commit(self._batch(ops(proved), leaves, None, signature))
        self._adopt(leaves, None, signature.checkpoint)
        self._report(1, leaves, started)
        return proved

    async def _open_generation(
        self,
        generation: int,
        opened: MakeEntry,
        reissued: Sequence[tuple[int, bytes]],
        ops: Callable[[Proved, tuple[Placed, ...]], Sequence[Op]],
        sign: Sign | None,
    ) -> Proved:
        if generation <= self._origin.generation:
            raise ValueError("a generation is later than the one before")
        started = perf_counter()
        origin = replace(self._origin, generation=generation)
        before, sign = self._state, sign or self._sign
        time = self._clock()  # a new tree: what the old one's clock said no longer binds
        entries = (opened(time, self._draw_salt()), *(entry for _, entry in reissued))
        fresh = replace(OwnLogState.empty(f"{origin.gateway}/{generation}"), timestamp=before.timestamp)
        leaves = self._grow(fresh, entries, time)
        signature = await self._signed(leaves, sign, origin)
        (proved,) = await self._prove_fresh(leaves, time, 1, signature)
        placed = tuple(
            Placed(fresh.log, index, entry, issued) for index, (issued, entry) in enumerate(reissued, start=1)
        )
        closes = (before.log,) if before.frontier.size else ()  # a log without entries was never made
        await self._store.commit(self._batch(ops(proved, placed), leaves, None, signature, closes))
        self._origin, self._sign = origin, sign
        self._adopt(leaves, None, signature.checkpoint)
        self._report(1, leaves, started)
        return proved

    async def _signed(self, leaves: _Leaves, sign: Sign, origin: Origin) -> _Signature:
        """Sign before the rows are made. Nobody sees it before the commit, so a failure after this costs nothing."""
        signature = _Signature()
        frontier, timestamp = leaves.state.frontier, leaves.state.timestamp
        self._signer.submit(signature.make, lambda: sign(origin, frontier.size, frontier.root, timestamp))
        await asyncio.wrap_future(signature.wire)
        return signature

    async def _prove_fresh(self, leaves: _Leaves, time: int, count: int, signature: _Signature) -> tuple[Proved, ...]:
        """Proofs of the first `count` of the new entries under the head that is not durable yet."""
        checkpoint = signature.checkpoint
        if checkpoint is None:
            raise RuntimeError("proofs are made after the signature")
        log, size, first = leaves.state.log, leaves.state.frontier.size, leaves.expected_size

        def paths(tiles: TileReader) -> list[tuple[bytes, ...]]:
            return [tuple(inclusion_path(tiles, size, first + number)) for number in range(count)]

        found = await self._tiles.run(log, paths, leaves.append.tiles)
        return tuple(
            Proved(Placed(log, first + number, leaves.entries[number], time), path, checkpoint)
            for number, path in enumerate(found)
        )


def _ops_of(placed: Sequence[tuple[_Waiting, tuple[Placed, ...]]]) -> tuple[tuple[Op, ...], _Waiting | None]:
    """The rows of all changes; or the first change whose function raised, which has been told so."""
    ops: list[Op] = []
    for item, places in placed:
        try:
            ops.extend(item.change.ops(places))
        except Exception as error:  # noqa: BLE001 - the caller's function, the caller's error
            _answer_error(item.answer, error)
            return (), item
    return tuple(ops), None


def _log_append(grown: _Leaves, checkpoint: Future[bytes] | None) -> LogAppend:
    after = grown.state
    tiles: Mapping[tuple[int, int], bytes] = grown.append.tiles
    return LogAppend(
        log=after.log,
        expected_size=grown.expected_size,
        entries=grown.entries,
        tiles=tiles,
        size=after.frontier.size,
        root=after.frontier.root,
        last_time=after.last_time,
        timestamp=after.timestamp,
        checkpoint=checkpoint,
    )


def _refuse(items: Sequence[_Waiting | _Alone[Any]], error: Exception) -> None:
    for item in items:
        _answer_error(item.answer, error)


def _answer_error(answer: asyncio.Future[Any], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
        answer.exception()  # whoever waited may be gone
