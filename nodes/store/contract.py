"""What a store promises to the node: rows, operations and reads; it knows no keys, sockets or policy.

Promises every driver keeps (tests/store runs one suite over all of them):

* `commit` is ONE transaction. When it returns, everything in the batch is durable (SQLite: WAL, synchronous=FULL) and
  visible to every later read. When it raises anything but `FatalError`, nothing of it happened. `FatalError` means the
  outcome is unknown or the disk failed: the process must stop signing and exit; start-up reads the truth.
* The head of each own log moves by compare-and-set: a batch that appends to a log names the size it started from;
  any other durable size makes the batch fail as `FatalError` (somebody else wrote: two daemons, or a copy).
* Reads see only committed data, each read one state of it. There is one writer; reads run beside
  it and never wait for it.
* What an operation speaks about is there: a recipient and an envelope of ours name a message that is in the
  store or in the same batch, a statement an envelope of ours. A batch that breaks this, or inserts twice what
  may be inserted once, fails whole as `StoreConflictError`.
* Operations are executed as if in order, but a row may name one that a later operation of the same batch inserts.
* Columns named `sealed_*`, and `wrapped_key`, are ciphertext to the store. No case content reaches it in clear.
* Times are milliseconds UTC, ids 16 bytes, hashes 32 bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, TypeAlias

from keys.ids import AgencyId, EnvelopeId, MessageId
from nodes.errors import StoreError


class StoreConflictError(StoreError):
    """The batch contradicts what is stored, or names what is not. Nothing of it happened; others are not concerned.

    `problem` names the constraint, never the data.
    """

    code = "internal"

    def __init__(self, problem: str) -> None:
        super().__init__(f"the store refused a change: {problem}", hint="report this with the node's log")
        self.problem = problem


class Direction(StrEnum):
    """Whether a message came in or went out."""

    IN = "in"
    OUT = "out"


class MachineState(StrEnum):
    """The part of a recipient's delivery state that machines decide (PROTOCOL §12); acks are joined when read."""

    QUEUED = "queued"
    IN_CUSTODY = "in_custody"
    EXPIRED = "expired"
    REFUSED = "refused"
    STORED = "stored"


# --- rows ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MessageRow:
    """One message, ours or received. Identity is (sender, message_id): ids of other agencies never shadow ours."""

    message_id: MessageId
    sender: AgencyId
    direction: Direction
    at: int  # posted or received
    precedence: int
    shown: bool  # False for ack and test: no inbox row
    case_tag: bytes  # keyed hash of the case id, 16 bytes; of a message that is not shown, a tag of its own
    wrapped_key: bytes | None  # content key, wrapped; None once erased
    sealed_headline: bytes
    sealed_content: bytes
    seq: int = 0  # given by the store, ascending in commit order; ignored on write


@dataclass(frozen=True, slots=True)
class RecipientRow:
    """Delivery of one message of ours to one agency."""

    message_id: MessageId
    agency: AgencyId
    envelope_id: EnvelopeId  # the newest envelope (chosen at post, before it is sealed)
    state: MachineState
    reason: str | None  # refusal code, or last unsigned code of class later or reseal
    precedence: int
    deliver_by: int
    updated_at: int
    attempts: int
    next_attempt_at: int | None  # None: due at once
    reseals: int
    sealed: bool  # an OutboundRow for envelope_id exists
    shown: bool  # of the message: acks and tests are not counted as queued alerts


@dataclass(frozen=True, slots=True)
class OutboundRow:
    """An envelope of ours. `body` is dropped once the envelope has reached an end."""

    envelope_id: EnvelopeId
    message_id: MessageId
    agency: AgencyId
    header: bytes
    body: bytes | None
    body_hash: bytes
    envelope_hash: bytes
    generation: int  # number = [generation, n]
    n: int
    sealed_opening: bytes  # under the message's content key
    log: str  # where the issued entry lies
    index: int
    at: int


@dataclass(frozen=True, slots=True)
class InboundRow:
    """An envelope we received and answered with a signed entry. Identity (sender, envelope_id).

    Never purged: this is the dedupe memory.
    """

    sender: AgencyId
    envelope_id: EnvelopeId
    envelope_hash: bytes
    header: bytes
    body_hash: bytes
    message_id: MessageId | None  # None when it never opened
    generation: int  # number = [generation, n]; 0, 0 when it never opened
    n: int
    sealed_opening: bytes | None
    issued_entry: bytes
    issued_index: int
    issued_path: bytes  # 32-byte nodes joined
    gateway: str  # head under which it was proved
    head_generation: int
    head_size: int
    code: str | None  # refusal code, None for a receipt
    log: str  # our receipt or refused entry
    index: int
    at: int


@dataclass(frozen=True, slots=True)
class StatementRow:
    """A peer's proved machine statement about an envelope of ours (receipt, refused, custody)."""

    agency: AgencyId
    envelope_id: EnvelopeId
    level: str  # stored | refused | custody
    code: str | None
    entry: bytes
    index: int
    path: bytes
    gateway: str
    head_generation: int
    head_size: int
    at: int  # the time in the entry: the issuer's claim


@dataclass(frozen=True, slots=True)
class AckRow:
    """What a human said about a message: a recipient about a message of ours, or we about a message that came in."""

    message_id: MessageId  # the message that is answered
    sender: AgencyId  # and its originator
    by: AgencyId
    carrier_id: MessageId  # the ack message itself
    at: int
    wrapped_key: bytes | None
    sealed_body: bytes  # JSON: level, cause, officer, text, at


@dataclass(frozen=True, slots=True)
class PeerRow:
    """A peer as this agency sees it."""

    agency: AgencyId
    trust: str  # pending trusted suspended removed
    name: str
    country: str
    anchor: bytes  # wire form, newest
    profile: bytes | None  # wire form of the proof, newest
    added_at: int
    confirmed_at: int | None
    last_contact_at: int | None
    clock_skew_ms: int | None
    reason: str | None
    recover_since: int | None = None  # the peer asked us to send again from here


@dataclass(frozen=True, slots=True)
class PeerHeadRow:
    """A verified checkpoint of a peer's log. `reconciled`: consistency with the chain of heads before it is proved."""

    agency: AgencyId
    gateway: str
    generation: int
    size: int
    root: bytes
    checkpoint: bytes  # compact wire form, encoded
    from_size: int | None  # `nodes` prove this head from that one; or into it, if it is larger; None for the first
    nodes: bytes
    reconciled: bool
    at: int


@dataclass(frozen=True, slots=True)
class KeyChangeRow:
    """A proved key change, own (agency = ourselves) or a peer's."""

    agency: AgencyId
    gateway: str
    generation: int
    index: int
    proof: bytes  # wire form, encoded


@dataclass(frozen=True, slots=True)
class EpochKeyRow:
    """A published epoch key, own or a peer's."""

    agency: AgencyId
    number: int
    use_from: int
    public: bytes
    log: str
    index: int
    destroyed_at: int | None = None


@dataclass(frozen=True, slots=True)
class AnchorRow:
    """Every anchor ever accepted from a peer, and our own."""

    agency: AgencyId
    serial: int
    anchor: bytes


@dataclass(frozen=True, slots=True)
class OperatorRow:
    """A person or program that may use the local API."""

    ref: str
    uid: int
    roles: tuple[str, ...]
    program: bool
    added_at: int


@dataclass(frozen=True, slots=True)
class DraftRow:
    """An analyst's unfinished message, sealed."""

    draft_id: MessageId
    updated_at: int
    sealed_body: bytes


@dataclass(frozen=True, slots=True)
class LogState:
    """The durable head of one own log (`gw1/1`, or `audit/1`)."""

    log: str
    size: int
    root: bytes
    checkpoint: bytes | None  # compact wire form, encoded; None for an audit log or an empty log
    last_time: int  # time of the last entry
    timestamp: int  # of the last checkpoint, seconds
    open: bool  # the newest generation of its kind


# --- operations: one row each, executed in order ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InsertMessage:
    """A new message; (sender, message_id) must be new."""

    row: MessageRow


@dataclass(frozen=True, slots=True)
class PutRecipient:
    """Insert or replace the row of (message_id, agency). Its place in the queue stays that of its first insertion."""

    row: RecipientRow


@dataclass(frozen=True, slots=True)
class InsertOutbound:
    """A new envelope of ours; envelope_id must be new. Raises the counter of (agency, generation) to at least n."""

    row: OutboundRow


@dataclass(frozen=True, slots=True)
class DropBody:
    """The envelope has reached an end; its ciphertext is no longer needed."""

    envelope_id: EnvelopeId


@dataclass(frozen=True, slots=True)
class InsertInbound:
    """A new envelope received; (sender, envelope_id) must be new. Raises the highest n of its sender."""

    row: InboundRow


@dataclass(frozen=True, slots=True)
class PutStatement:
    """Idempotent by (agency, envelope_id, level): the first one stays."""

    row: StatementRow


@dataclass(frozen=True, slots=True)
class InsertAck:
    """Idempotent by (by, carrier_id): the first one stays. Ids of one agency never shadow another's.

    Its message need not be there (a peer may name anything). About a message that came in only we speak: such an ack,
    after or in the batch that brought the message, is counted as ours.
    """

    row: AckRow


@dataclass(frozen=True, slots=True)
class MoveOutbound:
    """The issued entry of an envelope was logged again, in a later generation."""

    envelope_id: EnvelopeId
    log: str
    index: int


@dataclass(frozen=True, slots=True)
class MoveInbound:
    """Our receipt or refusal of an envelope was logged again, in a later generation."""

    sender: AgencyId
    envelope_id: EnvelopeId
    envelope_hash: bytes
    log: str
    index: int


@dataclass(frozen=True, slots=True)
class PutPeer:
    """Insert or replace the row of the agency."""

    row: PeerRow


@dataclass(frozen=True, slots=True)
class TouchPeer:
    """Contact bookkeeping; no row means nothing happens."""

    agency: AgencyId
    last_contact_at: int
    clock_skew_ms: int | None


@dataclass(frozen=True, slots=True)
class PutPeerHead:
    """Idempotent by (agency, gateway, generation, size, root): two roots at one size are both kept.

    The first row stays, except that a reconciled one replaces an unreconciled one.
    """

    row: PeerHeadRow


@dataclass(frozen=True, slots=True)
class PutKeyChange:
    """Idempotent by (agency, gateway, generation, index)."""

    row: KeyChangeRow


@dataclass(frozen=True, slots=True)
class PutEpochKey:
    """Insert or replace the row of (agency, number)."""

    row: EpochKeyRow


@dataclass(frozen=True, slots=True)
class MoveKeys:
    """Heads and key changes that lie under `agency` lie under `to`, another name, from now on; epoch keys that lie
    under `agency` are dropped. Where a row of the same identity lies under `to` already, that one stays.
    """

    agency: AgencyId
    to: AgencyId


@dataclass(frozen=True, slots=True)
class PutAnchor:
    """Idempotent by the whole row: two anchors of one serial are both kept."""

    row: AnchorRow


@dataclass(frozen=True, slots=True)
class PutOperator:
    """Insert or replace the row of the ref."""

    row: OperatorRow


@dataclass(frozen=True, slots=True)
class RemoveOperator:
    """No row means nothing happens."""

    ref: str


@dataclass(frozen=True, slots=True)
class PutDraft:
    """Insert or replace the row of the draft."""

    row: DraftRow


@dataclass(frozen=True, slots=True)
class RemoveDraft:
    """No row means nothing happens."""

    draft_id: MessageId


@dataclass(frozen=True, slots=True)
class PutMeta:
    """A small named value (case counter, first start, …)."""

    key: str
    value: bytes


@dataclass(frozen=True, slots=True)
class ReleaseDue:
    """The peer is back: everything queued to it is due at once (next_attempt_at = None)."""

    agency: AgencyId


Op: TypeAlias = (
    InsertMessage
    | PutRecipient
    | InsertOutbound
    | DropBody
    | InsertInbound
    | MoveOutbound
    | MoveInbound
    | PutStatement
    | InsertAck
    | PutPeer
    | TouchPeer
    | PutPeerHead
    | PutKeyChange
    | PutEpochKey
    | MoveKeys
    | PutAnchor
    | PutOperator
    | RemoveOperator
    | PutDraft
    | RemoveDraft
    | PutMeta
    | ReleaseDue
)


@dataclass(frozen=True, slots=True)
class LogAppend:
    """New entries of one own log and the head they lead to; the first append makes the log.

    `checkpoint` resolves (from a signing thread) to the compact wire form; None for the audit log.
    The driver waits for it after the rows are written and before COMMIT; if it raises, the batch is rolled back and
    that error comes out.
    """

    log: str
    expected_size: int  # compare-and-set
    entries: Sequence[bytes]
    tiles: Mapping[tuple[int, int], bytes]
    size: int
    root: bytes
    last_time: int
    timestamp: int
    checkpoint: Future[bytes] | None


@dataclass(frozen=True, slots=True)
class Batch:
    """Everything one commit does. `closes` names logs that end with it: nothing is ever appended to them again."""

    ops: Sequence[Op]
    appends: Sequence[LogAppend] = field(default=())
    closes: Sequence[str] = field(default=())


# --- what reads give -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Startup:
    """All small tables, read once when a process starts."""

    logs: tuple[LogState, ...]
    peers: tuple[PeerRow, ...]
    anchors: tuple[AnchorRow, ...]
    key_changes: tuple[KeyChangeRow, ...]
    epoch_keys: tuple[EpochKeyRow, ...]
    operators: tuple[OperatorRow, ...]
    meta: Mapping[str, bytes]
    counters: Mapping[tuple[AgencyId, int], int]  # (recipient, generation) -> highest n used
    received: Mapping[tuple[AgencyId, int], int]  # (sender, generation) -> highest n received


@dataclass(frozen=True, slots=True)
class QueueCount:
    """Shown messages of ours that have not reached an end at one agency; agencies without any are not listed."""

    agency: AgencyId
    queued: int
    in_custody: int
    oldest_at: int | None  # `at` of the first of the messages counted


@dataclass(frozen=True, slots=True)
class InboundCount:
    """What waits for a person here."""

    unopened: int  # shown messages received without any ack of ours
    undecided: int  # with fewer than two acks of ours


@dataclass(frozen=True, slots=True)
class DeliveryHistory:
    """All that is known of the delivery of one message of ours, as of one moment. Orders are those of the reads."""

    recipients: Sequence[RecipientRow]
    outbound: Sequence[OutboundRow]
    statements: Sequence[StatementRow]
    acks: Sequence[AckRow]


class Store(Protocol):
    """See the module's promises. A read that is asked for several keys answers what it found, unless it says more."""

    async def commit(self, batch: Batch) -> None:
        """Do everything in the batch, durably, or nothing of it. A caller that is cancelled does not stop it.

        Raises StoreConflictError, DiskFullError, StoreBusyError, StoreCorruptError, or what a checkpoint future raised:
        nothing happened. Raises FatalError: it is not known what happened; so does every commit after it.
        """

    async def startup(self) -> Startup:
        """All small tables."""

    # logs

    async def entry(self, log: str, index: int) -> bytes | None:
        """The bytes of one entry; None when there is none, or when it was erased."""

    async def entries(self, log: str, first: int, limit: int) -> list[bytes | None]:
        """Entries from `first` on, at most `limit`; None in place of one that was erased."""

    async def tiles(self, log: str, wanted: Sequence[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        """One value for each (level, n) asked for, complete or partial; b"" where there is none."""

    # messages

    async def message(self, sender: AgencyId, message_id: MessageId) -> MessageRow | None:
        """One message."""

    async def messages(
        self, keys: Sequence[tuple[AgencyId, MessageId]]
    ) -> dict[tuple[AgencyId, MessageId], MessageRow]:
        """Several messages."""

    async def messages_by_suffix(self, suffix: str) -> list[MessageRow]:
        """Messages whose id ends with 1 to 32 lower-case hex digits; shown first, then newest; at most 20."""

    async def messages_of_case(self, case_tag: bytes) -> list[MessageRow]:
        """Messages of one case, by seq."""

    async def known_cases(self, case_tags: Sequence[bytes]) -> set[bytes]:
        """Those of the given tags that a message has; the order and repetitions do not matter."""

    async def inbox(self, since: int | None, limit: int, unacknowledged: bool) -> list[MessageRow]:
        """Shown messages that came in at `since` or later, newest first by (at, seq).

        `unacknowledged`: only those with fewer than two acks of ours.
        """

    async def sent(self, since: int | None, limit: int, waiting: bool = False) -> list[MessageRow]:
        """Shown messages of ours posted at `since` or later, newest first by (at, seq). `waiting`: only those with a
        recipient that is queued or in custody; no other's content is read to find them.
        """

    async def shown_after(self, seq: int, limit: int) -> list[MessageRow]:
        """Shown messages of both directions with a higher seq, ascending: for watch."""

    async def inbound_count(self) -> InboundCount:
        """What waits for a person; cheap at any size."""

    # delivery

    async def recipients(self, message_id: MessageId) -> list[RecipientRow]:
        """Recipients of a message of ours, by agency."""

    async def recipient(self, message_id: MessageId, agency: AgencyId) -> RecipientRow | None:
        """One of them."""

    async def recipients_at(
        self, keys: Sequence[tuple[MessageId, AgencyId]]
    ) -> dict[tuple[MessageId, AgencyId], RecipientRow]:
        """Several of several messages."""

    async def outbound(self, envelope_ids: Sequence[EnvelopeId]) -> dict[EnvelopeId, OutboundRow]:
        """Envelopes of ours."""

    async def deliveries(
        self, envelope_ids: Sequence[EnvelopeId]
    ) -> dict[EnvelopeId, tuple[RecipientRow, OutboundRow]]:
        """Envelopes of ours, without their bodies, each with its recipient as that stands now."""

    async def outbound_of_message(self, message_id: MessageId) -> list[OutboundRow]:
        """All envelopes of a message of ours, oldest first."""

    async def history(self, sender: AgencyId, message_id: MessageId) -> DeliveryHistory:
        """Recipients, envelopes, statements and acks of a message of ours (`sender`), in one read."""

    async def outbound_since(self, agency: AgencyId, since: int) -> list[OutboundRow]:
        """Envelopes to one agency made at `since` or later, oldest first."""

    async def due(
        self, agency: AgencyId, now: int, exclude: frozenset[EnvelopeId], limit: int, max_bytes: int
    ) -> list[tuple[RecipientRow, OutboundRow]]:
        """What can go to an agency now: queued, sealed, body present, deliver_by > now, next_attempt_at None or <= now.

        By precedence, then oldest message first, without the envelopes in `exclude`. Stops before the bodies exceed
        `max_bytes`, but gives at least one.
        """

    async def unsealed(self, agency: AgencyId, limit: int) -> list[RecipientRow]:
        """Queued and not sealed, by precedence, then by deliver_by."""

    async def overdue(self, now: int, limit: int) -> list[RecipientRow]:
        """Queued or in custody with deliver_by <= now, by deliver_by."""

    async def next_due(self, agency: AgencyId, now: int) -> int | None:
        """The earliest next_attempt_at of queued, sealed rows with deliver_by > now.

        0 when one of them has None; None when there is no such row.
        """

    async def queue_counts(self) -> list[QueueCount]:
        """By agency; cheap at any size."""

    # inbound envelopes and statements

    async def inbound(self, sender: AgencyId, envelope_ids: Sequence[EnvelopeId]) -> dict[EnvelopeId, list[InboundRow]]:
        """Envelopes of one sender, oldest first: more than one for an id that it used for different contents."""

    async def inbound_of_message(self, sender: AgencyId, message_id: MessageId) -> list[InboundRow]:
        """Envelopes that brought (or claimed to bring) a message, oldest first."""

    async def statements(self, envelope_ids: Sequence[EnvelopeId]) -> list[StatementRow]:
        """What peers said about envelopes of ours, by `at`."""

    async def acks(self, sender: AgencyId, message_ids: Sequence[MessageId]) -> dict[MessageId, list[AckRow]]:
        """What humans said about messages of one originator, by `at`; one list for each message asked for."""

    # peers

    async def peer_head(self, agency: AgencyId, gateway: str, generation: int, size: int) -> PeerHeadRow | None:
        """A head of that size; of two, the reconciled one, else the first."""

    async def held_heads(self, agency: AgencyId) -> list[PeerHeadRow]:
        """The highest reconciled head of each (gateway, generation), in their order."""

    async def head_chain(self, agency: AgencyId, gateway: str, generation: int, from_size: int) -> list[PeerHeadRow]:
        """Reconciled heads larger than `from_size`, ascending."""

    async def unreconciled(self) -> list[PeerHeadRow]:
        """Heads whose consistency was never proved, of all peers, in the order they came."""

    # drafts

    async def drafts(self) -> list[DraftRow]:
        """All drafts, newest first."""

    async def draft(self, draft_id: MessageId) -> DraftRow | None:
        """One draft."""

    async def sizes(self) -> tuple[int, int]:
        """Bytes of the store's files, and bytes free on their disk."""

    async def close(self) -> None:
        """End what is under way and release everything. Calling it again does nothing."""
