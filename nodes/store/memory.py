"""A store in memory: the verified fake of the SQLite driver. Owns rows while the process lives, and failures on demand.

The suite of tests/store holds it to every promise but survival. A `commit` works on a copy of its tables: a read
sees the state before or the state after. `reopen` is what a restart finds: what was durable, and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Literal

from keys.ids import AgencyId, EnvelopeId, MessageId
from nodes.errors import DiskFullError, FatalError, StoreError
from nodes.store.contract import (
    AckRow,
    AnchorRow,
    Batch,
    DeliveryHistory,
    Direction,
    DraftRow,
    DropBody,
    EpochKeyRow,
    InboundCount,
    InboundRow,
    InsertAck,
    InsertInbound,
    InsertMessage,
    InsertOutbound,
    KeyChangeRow,
    LogAppend,
    LogState,
    MachineState,
    MessageRow,
    MoveInbound,
    MoveKeys,
    MoveOutbound,
    OperatorRow,
    OutboundRow,
    PeerHeadRow,
    PeerRow,
    PutAnchor,
    PutDraft,
    PutEpochKey,
    PutKeyChange,
    PutMeta,
    PutOperator,
    PutPeer,
    PutPeerHead,
    PutRecipient,
    PutStatement,
    QueueCount,
    RecipientRow,
    ReleaseDue,
    RemoveDraft,
    RemoveOperator,
    Startup,
    StatementRow,
    StoreConflictError,
    TouchPeer,
)

CommitFailure = Literal["failed", "failed_but_persisted", "lost"]
"""`failed`: DiskFullError, nothing happened. `failed_but_persisted`: FatalError, yet it did. `lost`: FatalError."""

SUFFIX_MATCHES = 20


@dataclass(slots=True)
class _Tables:
    """Rows are immutable; dictionaries keep the order of first insertion."""

    meta: dict[str, bytes] = field(default_factory=dict)
    logs: dict[str, LogState] = field(default_factory=dict)
    entries: dict[str, list[bytes]] = field(default_factory=dict)
    tiles: dict[tuple[str, int, int], bytes] = field(default_factory=dict)
    messages: dict[tuple[AgencyId, MessageId], MessageRow] = field(default_factory=dict)
    ours: dict[MessageId, MessageRow] = field(default_factory=dict)
    own_acks: dict[tuple[AgencyId, MessageId], int] = field(default_factory=dict)
    acks: dict[tuple[AgencyId, MessageId], AckRow] = field(default_factory=dict)
    recipients: dict[tuple[MessageId, AgencyId], RecipientRow] = field(default_factory=dict)
    outbound: dict[EnvelopeId, OutboundRow] = field(default_factory=dict)
    sent_numbers: dict[tuple[AgencyId, int], int] = field(default_factory=dict)
    statements: dict[tuple[AgencyId, EnvelopeId, str], StatementRow] = field(default_factory=dict)
    inbound: dict[tuple[AgencyId, EnvelopeId, bytes], InboundRow] = field(default_factory=dict)
    received_numbers: dict[tuple[AgencyId, int], int] = field(default_factory=dict)
    peers: dict[AgencyId, PeerRow] = field(default_factory=dict)
    peer_heads: dict[tuple[AgencyId, str, int, int, bytes], PeerHeadRow] = field(default_factory=dict)
    key_changes: dict[tuple[AgencyId, str, int, int], KeyChangeRow] = field(default_factory=dict)
    epoch_keys: dict[tuple[AgencyId, int], EpochKeyRow] = field(default_factory=dict)
    anchors: dict[AnchorRow, None] = field(default_factory=dict)
    operators: dict[str, OperatorRow] = field(default_factory=dict)
    drafts: dict[MessageId, DraftRow] = field(default_factory=dict)

    def copy(self) -> _Tables:
        """The same rows in dictionaries of their own."""
        return _Tables(**{column.name: dict(getattr(self, column.name)) for column in fields(self)})


@dataclass(slots=True)
class _Durable:
    """What a restart finds."""

    tables: _Tables = field(default_factory=_Tables)


class MemoryStore:
    """See nodes.store.contract.Store. Failures and pauses are asked for by tests, one at a time."""

    def __init__(self) -> None:
        self._durable = _Durable()
        self._lock = asyncio.Lock()
        self._failed: FatalError | None = None
        self._next_failure: CommitFailure | None = None
        self._may_commit = asyncio.Event()
        self._may_commit.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self.transactions = 0

    # --- what tests ask for ------------------------------------------------------------------------------------------

    def fail_next_commit(self, kind: CommitFailure) -> None:
        """The next commit that would succeed fails so."""
        self._next_failure = kind

    def hold_commits(self) -> None:
        """Commits wait before they become durable, until `release_commits`."""
        self._may_commit.clear()

    def release_commits(self) -> None:
        """Commits go on."""
        self._may_commit.set()

    def reopen(self) -> MemoryStore:
        """The store as a new process finds it."""
        store = MemoryStore()
        store._durable = _Durable(self._durable.tables)
        return store

    # --- writing -----------------------------------------------------------------------------------------------------

    async def commit(self, batch: Batch) -> None:
        """See Store.commit."""
        self._check_open()
        task = asyncio.ensure_future(self._commit(batch))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited may be gone

    async def _commit(self, batch: Batch) -> None:
        async with self._lock:
            if self._failed is not None:
                raise FatalError(self._failed.problem)
            tables = self._durable.tables.copy()
            try:
                _apply(tables, batch)
            except FatalError as error:
                self._failed = error
                raise
            for append in batch.appends:
                if append.checkpoint is not None:
                    checkpoint = await asyncio.wrap_future(append.checkpoint)
                    tables.logs[append.log] = replace(tables.logs[append.log], checkpoint=checkpoint)
            await self._may_commit.wait()
            self._make_durable(tables)

    def _make_durable(self, tables: _Tables) -> None:
        failure, self._next_failure = self._next_failure, None
        if failure == "failed":
            raise DiskFullError
        if failure != "lost":
            self._durable.tables = tables
            self.transactions += 1
        if failure is not None:
            self._failed = FatalError(f"a commit failed as a test asked ({failure})")
            raise self._failed

    async def close(self) -> None:
        """See Store.close."""
        self._closed = True
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("the store is closed")

    @property
    def _tables(self) -> _Tables:
        self._check_open()
        return self._durable.tables

    # --- reading -----------------------------------------------------------------------------------------------------

    async def startup(self) -> Startup:
        tables = self._tables
        return Startup(
            logs=tuple(tables.logs.values()),
            peers=tuple(row for _, row in sorted(tables.peers.items())),
            anchors=tuple(sorted(tables.anchors, key=lambda row: (row.agency, row.serial))),
            key_changes=tuple(row for _, row in sorted(tables.key_changes.items())),
            epoch_keys=tuple(row for _, row in sorted(tables.epoch_keys.items())),
            operators=tuple(row for _, row in sorted(tables.operators.items())),
            meta=MappingProxyType(dict(tables.meta)),
            counters=MappingProxyType(dict(tables.sent_numbers)),
            received=MappingProxyType(dict(tables.received_numbers)),
        )

    async def entry(self, log: str, index: int) -> bytes | None:
        found = await self.entries(log, index, 1)
        return found[0] if found else None

    async def entries(self, log: str, first: int, limit: int) -> list[bytes | None]:
        if first < 0 or limit < 1:
            return []
        return [*self._tables.entries.get(log, [])[first : first + limit]]

    async def tiles(self, log: str, wanted: Sequence[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        tables = self._tables
        return {(level, n): tables.tiles.get((log, level, n), b"") for level, n in wanted}

    async def message(self, sender: AgencyId, message_id: MessageId) -> MessageRow | None:
        return self._tables.messages.get((sender, message_id))

    async def messages(
        self, keys: Sequence[tuple[AgencyId, MessageId]]
    ) -> dict[tuple[AgencyId, MessageId], MessageRow]:
        tables = self._tables
        return {key: tables.messages[key] for key in keys if key in tables.messages}

    async def messages_by_suffix(self, suffix: str) -> list[MessageRow]:
        if not 1 <= len(suffix) <= 32 or set(suffix) - set("0123456789abcdef"):
            return []
        found = [row for row in self._tables.messages.values() if row.message_id.hex().endswith(suffix)]
        return sorted(found, key=lambda row: (not row.shown, -row.seq))[:SUFFIX_MATCHES]

    async def known_cases(self, case_tags: Sequence[bytes]) -> set[bytes]:
        wanted = set(case_tags)
        return {row.case_tag for row in self._tables.messages.values() if row.case_tag in wanted}

    async def messages_of_case(self, case_tag: bytes) -> list[MessageRow]:
        return [row for row in self._tables.messages.values() if row.case_tag == case_tag]

    async def inbox(self, since: int | None, limit: int, unacknowledged: bool) -> list[MessageRow]:
        tables = self._tables
        found = [
            tables.messages[key]
            for key, own_acks in tables.own_acks.items()
            if not (unacknowledged and own_acks >= 2) and tables.messages[key].at >= (0 if since is None else since)
        ]
        return sorted(found, key=lambda row: (row.at, row.seq), reverse=True)[: max(limit, 0)]

    async def sent(self, since: int | None, limit: int, waiting: bool = False) -> list[MessageRow]:
        under_way = {
            row.message_id
            for row in self._tables.recipients.values()
            if row.state in (MachineState.QUEUED, MachineState.IN_CUSTODY)
        }
        rows = [
            row
            for row in self._tables.messages.values()
            if row.shown
            and row.direction is Direction.OUT
            and row.at >= (since or 0)
            and (not waiting or row.message_id in under_way)
        ]
        return sorted(rows, key=lambda row: (-row.at, -row.seq))[: max(limit, 0)]

    async def shown_after(self, seq: int, limit: int) -> list[MessageRow]:
        found = [row for row in self._tables.messages.values() if row.shown and row.seq > seq]
        return found[: max(limit, 0)]

    async def inbound_count(self) -> InboundCount:
        counts = self._tables.own_acks.values()
        return InboundCount(unopened=sum(n == 0 for n in counts), undecided=sum(n < 2 for n in counts))

    async def recipients(self, message_id: MessageId) -> list[RecipientRow]:
        found = [row for row in self._tables.recipients.values() if row.message_id == message_id]
        return sorted(found, key=lambda row: row.agency)

    async def recipient(self, message_id: MessageId, agency: AgencyId) -> RecipientRow | None:
        return self._tables.recipients.get((message_id, agency))

    async def recipients_at(
        self, keys: Sequence[tuple[MessageId, AgencyId]]
    ) -> dict[tuple[MessageId, AgencyId], RecipientRow]:
        rows = self._tables.recipients
        return {key: rows[key] for key in keys if key in rows}

    async def outbound(self, envelope_ids: Sequence[EnvelopeId]) -> dict[EnvelopeId, OutboundRow]:
        tables = self._tables
        return {key: tables.outbound[key] for key in envelope_ids if key in tables.outbound}

    async def deliveries(
        self, envelope_ids: Sequence[EnvelopeId]
    ) -> dict[EnvelopeId, tuple[RecipientRow, OutboundRow]]:
        tables = self._tables
        found: dict[EnvelopeId, tuple[RecipientRow, OutboundRow]] = {}
        for key in envelope_ids:
            row = tables.outbound.get(key)
            recipient = None if row is None else tables.recipients.get((row.message_id, row.agency))
            if row is not None and recipient is not None:
                found[key] = recipient, replace(row, body=None)
        return found

    async def outbound_of_message(self, message_id: MessageId) -> list[OutboundRow]:
        return [row for row in self._tables.outbound.values() if row.message_id == message_id]

    async def history(self, sender: AgencyId, message_id: MessageId) -> DeliveryHistory:
        outbound = await self.outbound_of_message(message_id)
        return DeliveryHistory(
            recipients=await self.recipients(message_id),
            outbound=outbound,
            statements=await self.statements([row.envelope_id for row in outbound]),
            acks=(await self.acks(sender, [message_id]))[message_id],
        )

    async def outbound_since(self, agency: AgencyId, since: int) -> list[OutboundRow]:
        found = [row for row in self._tables.outbound.values() if row.agency == agency and row.at >= since]
        return sorted(found, key=lambda row: row.at)

    async def due(
        self, agency: AgencyId, now: int, exclude: frozenset[EnvelopeId], limit: int, max_bytes: int
    ) -> list[tuple[RecipientRow, OutboundRow]]:
        tables = self._tables
        candidates = [
            row
            for row in self._queued(agency, sealed=True)
            if row.deliver_by > now and (row.next_attempt_at is None or row.next_attempt_at <= now)
        ]
        found: list[tuple[RecipientRow, OutboundRow]] = []
        total = 0
        for row in sorted(candidates, key=lambda row: (row.precedence, self._seq(row))):
            envelope = tables.outbound.get(row.envelope_id)
            if len(found) >= limit:
                break
            if row.envelope_id in exclude or envelope is None or envelope.body is None:
                continue
            total += len(envelope.body)
            if found and total > max_bytes:
                break
            found.append((row, envelope))
        return found

    async def unsealed(self, agency: AgencyId, limit: int) -> list[RecipientRow]:
        found = self._queued(agency, sealed=False)
        return sorted(found, key=lambda row: (row.precedence, row.deliver_by, self._seq(row)))[: max(limit, 0)]

    async def overdue(self, now: int, limit: int) -> list[RecipientRow]:
        waiting = {MachineState.QUEUED, MachineState.IN_CUSTODY}
        found = [row for row in self._tables.recipients.values() if row.state in waiting and row.deliver_by <= now]
        return sorted(found, key=lambda row: (row.deliver_by, self._seq(row), row.agency))[: max(limit, 0)]

    async def next_due(self, agency: AgencyId, now: int) -> int | None:
        waiting = [row for row in self._queued(agency, sealed=True) if row.deliver_by > now]
        return min((row.next_attempt_at or 0 for row in waiting), default=None)

    async def queue_counts(self) -> list[QueueCount]:
        tables = self._tables
        waiting: dict[AgencyId, list[RecipientRow]] = {}
        for row in tables.recipients.values():
            if row.shown and row.state in {MachineState.QUEUED, MachineState.IN_CUSTODY}:
                waiting.setdefault(row.agency, []).append(row)
        return [
            QueueCount(
                agency=agency,
                queued=sum(row.state is MachineState.QUEUED for row in rows),
                in_custody=sum(row.state is MachineState.IN_CUSTODY for row in rows),
                oldest_at=tables.ours[min(rows, key=self._seq).message_id].at,
            )
            for agency, rows in sorted(waiting.items())
        ]

    async def inbound(self, sender: AgencyId, envelope_ids: Sequence[EnvelopeId]) -> dict[EnvelopeId, list[InboundRow]]:
        tables = self._tables
        found: dict[EnvelopeId, list[InboundRow]] = {}
        for row in tables.inbound.values():
            if row.sender == sender and row.envelope_id in envelope_ids:
                found.setdefault(row.envelope_id, []).append(row)
        return found

    async def inbound_of_message(self, sender: AgencyId, message_id: MessageId) -> list[InboundRow]:
        rows = self._tables.inbound.values()
        return [row for row in rows if row.sender == sender and row.message_id == message_id]

    async def statements(self, envelope_ids: Sequence[EnvelopeId]) -> list[StatementRow]:
        wanted = set(envelope_ids)
        found = [row for row in self._tables.statements.values() if row.envelope_id in wanted]
        return sorted(found, key=lambda row: row.at)

    async def acks(self, sender: AgencyId, message_ids: Sequence[MessageId]) -> dict[MessageId, list[AckRow]]:
        found: dict[MessageId, list[AckRow]] = {message_id: [] for message_id in message_ids}
        for row in sorted(self._tables.acks.values(), key=lambda row: row.at):
            if row.sender == sender and row.message_id in found:
                found[row.message_id].append(row)
        return found

    async def peer_head(self, agency: AgencyId, gateway: str, generation: int, size: int) -> PeerHeadRow | None:
        key = (agency, gateway, generation, size)
        found = [row for row_key, row in self._tables.peer_heads.items() if row_key[:4] == key]
        return min(found, key=lambda row: not row.reconciled, default=None)

    async def held_heads(self, agency: AgencyId) -> list[PeerHeadRow]:
        highest: dict[tuple[str, int], PeerHeadRow] = {}
        for row in self._tables.peer_heads.values():
            if row.agency == agency and row.reconciled:
                held = highest.get((row.gateway, row.generation))
                if held is None or row.size >= held.size:
                    highest[row.gateway, row.generation] = row
        return [row for _, row in sorted(highest.items())]

    async def head_chain(self, agency: AgencyId, gateway: str, generation: int, from_size: int) -> list[PeerHeadRow]:
        found = [
            row
            for key, row in self._tables.peer_heads.items()
            if key[:3] == (agency, gateway, generation) and row.reconciled and row.size > from_size
        ]
        return sorted(found, key=lambda row: row.size)

    async def unreconciled(self) -> list[PeerHeadRow]:
        return [row for row in self._tables.peer_heads.values() if not row.reconciled]

    async def drafts(self) -> list[DraftRow]:
        return sorted(self._tables.drafts.values(), key=lambda row: (-row.updated_at, row.draft_id))

    async def draft(self, draft_id: MessageId) -> DraftRow | None:
        return self._tables.drafts.get(draft_id)

    async def sizes(self) -> tuple[int, int]:
        tables = self._tables
        held = sum(len(entry) for entries in tables.entries.values() for entry in entries)
        return held, 1 << 40

    def _queued(self, agency: AgencyId, *, sealed: bool) -> list[RecipientRow]:
        return [
            row
            for row in self._tables.recipients.values()
            if row.agency == agency and row.state is MachineState.QUEUED and row.sealed is sealed
        ]

    def _seq(self, row: RecipientRow) -> int:
        return self._tables.ours[row.message_id].seq


# --- a batch ---------------------------------------------------------------------------------------------------------


def _apply(tables: _Tables, batch: Batch) -> None:
    """Execute the batch on these tables. Raises StoreConflictError or FatalError; the tables are worth nothing then."""
    for op in sorted(batch.ops, key=lambda op: _RANK.get(type(op), 2)):
        _EXECUTE[type(op)](tables, op)
    for append in batch.appends:
        _append(tables, append)
    for log in batch.closes:
        state = tables.logs.get(log)
        if state is None or not state.open:
            raise FatalError("a log to be closed is not open")
        tables.logs[log] = replace(state, open=False)


def _append(tables: _Tables, append: LogAppend) -> None:
    before = tables.logs.get(append.log)
    if (0 if before is None else before.size) != append.expected_size or (before is not None and not before.open):
        raise FatalError("a log of this node was moved by somebody else")
    tables.entries[append.log] = [*tables.entries.get(append.log, []), *append.entries]
    tables.tiles.update({(append.log, level, n): hashes for (level, n), hashes in append.tiles.items()})
    tables.logs[append.log] = LogState(
        log=append.log,
        size=append.size,
        root=append.root,
        checkpoint=None,
        last_time=append.last_time,
        timestamp=append.timestamp,
        open=True,
    )


def _insert_message(tables: _Tables, op: InsertMessage) -> None:
    key = (op.row.sender, op.row.message_id)
    if key in tables.messages:
        raise StoreConflictError("message")
    row = tables.messages[key] = replace(op.row, seq=len(tables.messages) + 1)
    if row.direction is Direction.OUT:
        tables.ours[row.message_id] = row
    if op.row.shown and op.row.direction is Direction.IN:
        tables.own_acks[key] = 0


def _insert_ack(tables: _Tables, op: InsertAck) -> None:
    row = op.row
    if (row.by, row.carrier_id) in tables.acks:
        return
    tables.acks[row.by, row.carrier_id] = row
    if (row.sender, row.message_id) in tables.own_acks:
        tables.own_acks[row.sender, row.message_id] += 1


def _put_recipient(tables: _Tables, op: PutRecipient) -> None:
    if op.row.message_id not in tables.ours:
        raise StoreConflictError("recipient.message")
    tables.recipients[op.row.message_id, op.row.agency] = op.row


def _release_due(tables: _Tables, op: ReleaseDue) -> None:
    for key, row in tables.recipients.items():
        if row.agency == op.agency and row.state is MachineState.QUEUED:
            tables.recipients[key] = replace(row, next_attempt_at=None)


def _insert_outbound(tables: _Tables, op: InsertOutbound) -> None:
    row = op.row
    if row.envelope_id in tables.outbound or row.message_id not in tables.ours:
        raise StoreConflictError("outbound")
    tables.outbound[row.envelope_id] = row
    _raise(tables.sent_numbers, (row.agency, row.generation), row.n)


def _drop_body(tables: _Tables, op: DropBody) -> None:
    row = tables.outbound.get(op.envelope_id)
    if row is not None:
        tables.outbound[op.envelope_id] = replace(row, body=None)


def _put_statement(tables: _Tables, op: PutStatement) -> None:
    if op.row.envelope_id not in tables.outbound:
        raise StoreConflictError("statement.envelope")
    tables.statements.setdefault((op.row.agency, op.row.envelope_id, op.row.level), op.row)


def _insert_inbound(tables: _Tables, op: InsertInbound) -> None:
    row = op.row
    if (row.sender, row.envelope_id, row.envelope_hash) in tables.inbound:
        raise StoreConflictError("inbound")
    tables.inbound[row.sender, row.envelope_id, row.envelope_hash] = row
    if row.generation:
        _raise(tables.received_numbers, (row.sender, row.generation), row.n)


def _move_outbound(tables: _Tables, op: MoveOutbound) -> None:
    row = tables.outbound.get(op.envelope_id)
    if row is not None:
        tables.outbound[op.envelope_id] = replace(row, log=op.log, index=op.index)


def _move_inbound(tables: _Tables, op: MoveInbound) -> None:
    key = (op.sender, op.envelope_id, op.envelope_hash)
    if key in tables.inbound:
        tables.inbound[key] = replace(tables.inbound[key], log=op.log, index=op.index)


def _raise(numbers: dict[tuple[AgencyId, int], int], key: tuple[AgencyId, int], n: int) -> None:
    numbers[key] = max(n, numbers.get(key, 0))


def _put_peer(tables: _Tables, op: PutPeer) -> None:
    tables.peers[op.row.agency] = op.row


def _touch_peer(tables: _Tables, op: TouchPeer) -> None:
    row = tables.peers.get(op.agency)
    if row is not None:
        tables.peers[op.agency] = replace(row, last_contact_at=op.last_contact_at, clock_skew_ms=op.clock_skew_ms)


def _put_peer_head(tables: _Tables, op: PutPeerHead) -> None:
    row = op.row
    key = (row.agency, row.gateway, row.generation, row.size, row.root)
    held = tables.peer_heads.get(key)
    if held is None or (row.reconciled and not held.reconciled):
        tables.peer_heads[key] = row


def _put_key_change(tables: _Tables, op: PutKeyChange) -> None:
    row = op.row
    tables.key_changes.setdefault((row.agency, row.gateway, row.generation, row.index), row)


def _put_epoch_key(tables: _Tables, op: PutEpochKey) -> None:
    tables.epoch_keys[op.row.agency, op.row.number] = op.row


def _move_keys(tables: _Tables, op: MoveKeys) -> None:
    heads, changes = tables.peer_heads, tables.key_changes
    tables.peer_heads = {}
    for key, head in heads.items():  # in their old order, in which later ones are looked at
        if key[0] != op.agency:
            tables.peer_heads[key] = head
        elif (op.to, *key[1:]) not in heads:
            tables.peer_heads[(op.to, *key[1:])] = replace(head, agency=op.to)
    tables.key_changes = {place: change for place, change in changes.items() if place[0] != op.agency}
    for place, change in changes.items():
        if place[0] == op.agency:
            tables.key_changes.setdefault((op.to, *place[1:]), replace(change, agency=op.to))
    tables.epoch_keys = {number: row for number, row in tables.epoch_keys.items() if number[0] != op.agency}


def _put_anchor(tables: _Tables, op: PutAnchor) -> None:
    tables.anchors.setdefault(op.row)


def _put_operator(tables: _Tables, op: PutOperator) -> None:
    tables.operators[op.row.ref] = op.row


def _remove_operator(tables: _Tables, op: RemoveOperator) -> None:
    tables.operators.pop(op.ref, None)


def _put_draft(tables: _Tables, op: PutDraft) -> None:
    tables.drafts[op.row.draft_id] = op.row


def _remove_draft(tables: _Tables, op: RemoveDraft) -> None:
    tables.drafts.pop(op.draft_id, None)


def _put_meta(tables: _Tables, op: PutMeta) -> None:
    tables.meta[op.key] = op.value


# Rows that others may name come first, as in the SQL drivers; everything else keeps its order.
_RANK: dict[type[Any], int] = {InsertMessage: 0, InsertOutbound: 1, DropBody: 1, MoveOutbound: 1}
_EXECUTE: dict[type[Any], Callable[[_Tables, Any], None]] = {
    InsertMessage: _insert_message,
    InsertAck: _insert_ack,
    PutRecipient: _put_recipient,
    ReleaseDue: _release_due,
    InsertOutbound: _insert_outbound,
    DropBody: _drop_body,
    PutStatement: _put_statement,
    InsertInbound: _insert_inbound,
    MoveOutbound: _move_outbound,
    MoveInbound: _move_inbound,
    PutPeer: _put_peer,
    TouchPeer: _touch_peer,
    PutPeerHead: _put_peer_head,
    PutKeyChange: _put_key_change,
    PutEpochKey: _put_epoch_key,
    MoveKeys: _move_keys,
    PutAnchor: _put_anchor,
    PutOperator: _put_operator,
    RemoveOperator: _remove_operator,
    PutDraft: _put_draft,
    RemoveDraft: _remove_draft,
    PutMeta: _put_meta,
}
