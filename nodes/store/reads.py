"""The SQL of every read. Owns how rows become values; it begins and ends no transaction and knows no thread.

Every statement finds its rows through an index (tests/store checks the plans): what a read costs depends on what it
gives, never on how much is stored.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from types import MappingProxyType
from typing import Any

from keys.ids import AgencyId, EnvelopeId, MessageId
from nodes.store.contract import (
    AckRow,
    AnchorRow,
    DeliveryHistory,
    Direction,
    DraftRow,
    EpochKeyRow,
    InboundCount,
    InboundRow,
    KeyChangeRow,
    LogState,
    MachineState,
    MessageRow,
    OperatorRow,
    OutboundRow,
    PeerHeadRow,
    PeerRow,
    QueueCount,
    RecipientRow,
    Startup,
    StatementRow,
)
from nodes.store.writes import ENTRY_POSITION_BITS, reversed_id

SUFFIX_MATCHES = 20

_MESSAGE = (
    "SELECT m.reversed_id, m.sender, m.direction, m.at, m.precedence, m.shown, m.case_tag, m.wrapped_key,"
    " m.sealed_headline, m.sealed_content, m.seq FROM message AS m"
)
_RECIPIENT = (
    "SELECT message_id, agency, envelope_id, state, reason, precedence, deliver_by, updated_at, attempts,"
    " next_attempt_at, reseals, sealed, shown FROM recipient"
)
_OUTBOUND = (
    "SELECT o.envelope_id, o.message_id, o.agency, o.header, b.body, o.body_hash, o.envelope_hash, o.generation, o.n,"
    " o.sealed_opening, o.log, o.leaf, o.at FROM outbound AS o LEFT JOIN body AS b ON b.number = o.number"
)
_DELIVERY = (
    "SELECT r.message_id, r.agency, r.envelope_id, r.state, r.reason, r.precedence, r.deliver_by, r.updated_at,"
    " r.attempts, r.next_attempt_at, r.reseals, r.sealed, r.shown, o.envelope_id, o.message_id, o.agency, o.header,"
    " NULL, o.body_hash, o.envelope_hash, o.generation, o.n, o.sealed_opening, o.log, o.leaf, o.at FROM outbound AS o"
    " JOIN recipient AS r ON r.message = o.message AND r.agency = o.agency WHERE o.envelope_id = ?"
)
_RECIPIENT_COLUMNS = 13
_INBOUND = (
    "SELECT number, sender, envelope_id, envelope_hash, header, body_hash, message_id, generation, n, sealed_opening,"
    " issued_entry, issued_leaf, issued_path, gateway, head_generation, head_size, code, log, leaf, at FROM inbound"
)
_MESSAGE_OF_OURS = "(SELECT seq FROM message WHERE reversed_id = ? AND direction = 'out')"
_MESSAGE_NAMED = "(SELECT seq FROM message WHERE reversed_id = ? AND sender = ?)"
_PEER_HEAD = (
    "SELECT agency, gateway, generation, size, root, checkpoint, from_size, nodes, reconciled, at FROM peer_head"
)


def _message(row: Any) -> MessageRow:
    return MessageRow(
        MessageId(reversed_id(row[0])), AgencyId(row[1]), Direction(row[2]), row[3], row[4], bool(row[5]), *row[6:]
    )


def _recipient(row: Any) -> RecipientRow:
    values: tuple[Any, ...] = (
        MessageId(row[0]),
        AgencyId(row[1]),
        EnvelopeId(row[2]),
        MachineState(row[3]),
        *row[4:11],
        bool(row[11]),
        bool(row[12]),
    )
    return RecipientRow(*values)


def _outbound(row: Any) -> OutboundRow:
    return OutboundRow(EnvelopeId(row[0]), MessageId(row[1]), AgencyId(row[2]), *row[3:])


def _inbound(row: Any) -> InboundRow:
    message_id = None if row[6] is None else MessageId(row[6])
    values: tuple[Any, ...] = (AgencyId(row[1]), EnvelopeId(row[2]), *row[3:6], message_id, *row[7:])
    return InboundRow(*values)


def _peer_head(row: Any) -> PeerHeadRow:
    values: tuple[Any, ...] = (AgencyId(row[0]), *row[1:8], bool(row[8]), row[9])
    return PeerHeadRow(*values)


# --- start -----------------------------------------------------------------------------------------------------------


def startup(connection: sqlite3.Connection) -> Startup:
    """All small tables."""

    def rows(sql: str) -> Iterator[Any]:
        return iter(connection.execute(sql))

    return Startup(
        logs=tuple(
            LogState(row[0], row[1], row[2], row[3], row[4], row[5], bool(row[6]))
            for row in rows("SELECT name, size, root, checkpoint, last_time, timestamp, open FROM log ORDER BY number")
        ),
        peers=tuple(
            PeerRow(AgencyId(row[0]), *row[1:])
            for row in rows(
                "SELECT agency, trust, name, country, anchor, profile, added_at, confirmed_at, last_contact_at,"
                " clock_skew_ms, reason, recover_since FROM peer ORDER BY agency"
            )
        ),
        anchors=tuple(
            AnchorRow(AgencyId(row[0]), *row[1:])
            for row in rows("SELECT agency, serial, anchor FROM anchor ORDER BY agency, serial, rowid")
        ),
        key_changes=tuple(
            KeyChangeRow(AgencyId(row[0]), *row[1:])
            for row in rows(
                "SELECT agency, gateway, generation, leaf, proof FROM key_change"
                " ORDER BY agency, gateway, generation, leaf"
            )
        ),
        epoch_keys=tuple(
            EpochKeyRow(AgencyId(row[0]), *row[1:])
            for row in rows(
                "SELECT agency, number, use_from, public, log, leaf, destroyed_at FROM epoch_key"
                " ORDER BY agency, number"
            )
        ),
        operators=tuple(
            OperatorRow(row[0], row[1], tuple(json.loads(row[2])), bool(row[3]), row[4])
            for row in rows("SELECT ref, uid, roles, program, added_at FROM operator ORDER BY ref")
        ),
        meta=MappingProxyType(dict(rows("SELECT key, value FROM meta"))),
        counters=_numbers(rows("SELECT agency, generation, n FROM sent_number")),
        received=_numbers(rows("SELECT agency, generation, n FROM received_number")),
    )


def _numbers(rows: Iterator[Any]) -> MappingProxyType[tuple[AgencyId, int], int]:
    return MappingProxyType({(AgencyId(agency), generation): n for agency, generation, n in rows})


# --- logs ------------------------------------------------------------------------------------------------------------


def entries(connection: sqlite3.Connection, log: str, first: int, limit: int) -> list[bytes | None]:
    """See Store.entries."""
    head = connection.execute("SELECT number, size FROM log WHERE name = ?", (log,)).fetchone()
    if head is None or limit < 1 or not 0 <= first < head[1]:
        return []
    start = (head[0] << ENTRY_POSITION_BITS) + first
    end = start + min(limit, head[1] - first)
    rows = connection.execute(
        "SELECT entry FROM entry WHERE position >= ? AND position < ? ORDER BY position", (start, end)
    )
    return [row[0] for row in rows]


def tiles(connection: sqlite3.Connection, log: str, wanted: Sequence[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
    """See Store.tiles."""
    number = _one(connection, "SELECT number FROM log WHERE name = ?", (log,))
    found: dict[tuple[int, int], bytes] = {}
    for level, n in wanted:
        row = connection.execute(
            "SELECT hashes FROM tile WHERE log = ? AND level = ? AND n = ?", (number, level, n)
        ).fetchone()
        found[level, n] = b"" if row is None else row[0]
    return found


# --- messages --------------------------------------------------------------------------------------------------------


def messages(
    connection: sqlite3.Connection, keys: Sequence[tuple[AgencyId, MessageId]]
) -> dict[tuple[AgencyId, MessageId], MessageRow]:
    """See Store.messages."""
    found: dict[tuple[AgencyId, MessageId], MessageRow] = {}
    for sender, message_id in keys:
        row = connection.execute(
            f"{_MESSAGE} WHERE m.reversed_id = ? AND m.sender = ?", (reversed_id(message_id), sender)
        ).fetchone()
        if row is not None:
            found[sender, message_id] = _message(row)
    return found


def messages_by_suffix(connection: sqlite3.Connection, suffix: str) -> list[MessageRow]:
    """See Store.messages_by_suffix."""
    if not 1 <= len(suffix) <= 32 or set(suffix) - set("0123456789abcdef"):
        return []
    first = bytes.fromhex(suffix[::-1].ljust(32, "0"))
    last = bytes.fromhex(suffix[::-1].ljust(32, "f"))
    rows = connection.execute(
        f"{_MESSAGE} WHERE m.reversed_id BETWEEN ? AND ? ORDER BY m.shown DESC, m.seq DESC LIMIT {SUFFIX_MATCHES}",
        (first, last),
    )
    return [_message(row) for row in rows]


def known_cases(connection: sqlite3.Connection, case_tags: Sequence[bytes]) -> set[bytes]:
    """See Store.known_cases."""
    found = set()
    for tag in set(case_tags):
        if connection.execute("SELECT 1 FROM message WHERE case_tag = ? LIMIT 1", (tag,)).fetchone() is not None:
            found.add(tag)
    return found


def messages_of_case(connection: sqlite3.Connection, case_tag: bytes) -> list[MessageRow]:
    """See Store.messages_of_case."""
    rows = connection.execute(f"{_MESSAGE} WHERE m.case_tag = ? ORDER BY m.seq", (case_tag,))
    return [_message(row) for row in rows]


def inbox(connection: sqlite3.Connection, since: int | None, limit: int, unacknowledged: bool) -> list[MessageRow]:
    """See Store.inbox."""
    rows = connection.execute(
        f"{_MESSAGE} JOIN inbox AS i ON i.seq = m.seq WHERE i.at >= ?"
        + (" AND i.own_acks < 2" if unacknowledged else "")
        + " ORDER BY i.at DESC, i.seq DESC LIMIT ?",
        (0 if since is None else since, max(limit, 0)),
    )
    return [_message(row) for row in rows]


def sent(connection: sqlite3.Connection, since: int | None, limit: int, waiting: bool) -> list[MessageRow]:
    """See Store.sent."""
    # The unary plus: newest first along its index, with a look into the set of what waits, until there are enough. Led
    # by that set, a hundred thousand rows would be read whole to be sorted.
    only = (
        " AND (+m.seq IN (SELECT message FROM recipient WHERE state = 'queued')"
        " OR +m.seq IN (SELECT message FROM recipient WHERE state = 'in_custody'))"
    )
    rows = connection.execute(
        f"{_MESSAGE} WHERE m.direction = 'out' AND m.shown = 1 AND m.at >= ?{only if waiting else ''}"
        " ORDER BY m.at DESC, m.seq DESC LIMIT ?",
        (0 if since is None else since, max(limit, 0)),
    )
    return [_message(row) for row in rows]


def shown_after(connection: sqlite3.Connection, seq: int, limit: int) -> list[MessageRow]:
    """See Store.shown_after."""
    rows = connection.execute(
        f"{_MESSAGE} WHERE m.seq > ? AND m.shown = 1 ORDER BY m.seq LIMIT ?", (seq, max(limit, 0))
    )
    return [_message(row) for row in rows]


def inbound_count(connection: sqlite3.Connection) -> InboundCount:
    """See Store.inbound_count."""
    counts: dict[str, int] = dict(connection.execute("SELECT name, n FROM tally"))
    return InboundCount(unopened=counts["unopened"], undecided=counts["undecided"])


# --- delivery --------------------------------------------------------------------------------------------------------


def recipients(connection: sqlite3.Connection, message_id: MessageId) -> list[RecipientRow]:
    """See Store.recipients."""
    rows = connection.execute(
        f"{_RECIPIENT} WHERE message = {_MESSAGE_OF_OURS} ORDER BY agency",
        (reversed_id(message_id),),
    )
    return [_recipient(row) for row in rows]


def recipients_at(
    connection: sqlite3.Connection, keys: Sequence[tuple[MessageId, AgencyId]]
) -> dict[tuple[MessageId, AgencyId], RecipientRow]:
    """See Store.recipients_at."""
    found: dict[tuple[MessageId, AgencyId], RecipientRow] = {}
    for message_id, agency in keys:
        row = connection.execute(
            f"{_RECIPIENT} WHERE message = {_MESSAGE_OF_OURS} AND agency = ?",
            (reversed_id(message_id), agency),
        ).fetchone()
        if row is not None:
            found[message_id, agency] = _recipient(row)
    return found


def outbound(connection: sqlite3.Connection, envelope_ids: Sequence[EnvelopeId]) -> dict[EnvelopeId, OutboundRow]:
    """See Store.outbound."""
    found: dict[EnvelopeId, OutboundRow] = {}
    for envelope_id in envelope_ids:
        row = connection.execute(f"{_OUTBOUND} WHERE o.envelope_id = ?", (envelope_id,)).fetchone()
        if row is not None:
            found[envelope_id] = _outbound(row)
    return found


def deliveries(
    connection: sqlite3.Connection, envelope_ids: Sequence[EnvelopeId]
) -> dict[EnvelopeId, tuple[RecipientRow, OutboundRow]]:
    """See Store.deliveries."""
    found: dict[EnvelopeId, tuple[RecipientRow, OutboundRow]] = {}
    for envelope_id in envelope_ids:
        row = connection.execute(_DELIVERY, (envelope_id,)).fetchone()
        if row is not None:
            found[envelope_id] = _recipient(row), _outbound(row[_RECIPIENT_COLUMNS:])
    return found


def outbound_of_message(connection: sqlite3.Connection, message_id: MessageId) -> list[OutboundRow]:
    """See Store.outbound_of_message."""
    rows = connection.execute(
        f"{_OUTBOUND} WHERE o.message = {_MESSAGE_OF_OURS} ORDER BY o.number",
        (reversed_id(message_id),),
    )
    return [_outbound(row) for row in rows]


def outbound_since(connection: sqlite3.Connection, agency: AgencyId, since: int) -> list[OutboundRow]:
    """See Store.outbound_since."""
    rows = connection.execute(f"{_OUTBOUND} WHERE o.agency = ? AND o.at >= ? ORDER BY o.at, o.number", (agency, since))
    return [_outbound(row) for row in rows]


def due(
    connection: sqlite3.Connection,
    agency: AgencyId,
    now: int,
    exclude: frozenset[EnvelopeId],
    limit: int,
    max_bytes: int,
) -> list[tuple[RecipientRow, OutboundRow]]:
    """See Store.due."""
    found: list[tuple[RecipientRow, OutboundRow]] = []
    total = 0
    candidates = connection.execute(
        f"{_RECIPIENT} WHERE agency = ? AND state = 'queued' AND sealed = 1 AND deliver_by > ?"
        " AND (next_attempt_at IS NULL OR next_attempt_at <= ?) ORDER BY precedence, message",
        (agency, now, now),
    )
    for candidate in candidates:
        if len(found) >= limit:
            break
        if candidate[2] in exclude:
            continue
        envelope = connection.execute(f"{_OUTBOUND} WHERE o.envelope_id = ?", (candidate[2],)).fetchone()
        if envelope is None or envelope[4] is None:
            continue
        total += len(envelope[4])
        if found and total > max_bytes:
            break
        found.append((_recipient(candidate), _outbound(envelope)))
    candidates.close()
    return found


def unsealed(connection: sqlite3.Connection, agency: AgencyId, limit: int) -> list[RecipientRow]:
    """See Store.unsealed."""
    rows = connection.execute(
        f"{_RECIPIENT} WHERE agency = ? AND state = 'queued' AND sealed = 0 ORDER BY precedence, deliver_by, message"
        " LIMIT ?",
        (agency, max(limit, 0)),
    )
    return [_recipient(row) for row in rows]


def overdue(connection: sqlite3.Connection, now: int, limit: int) -> list[RecipientRow]:
    """See Store.overdue."""
    rows = connection.execute(
        f"{_RECIPIENT} WHERE state IN ('queued', 'in_custody') AND deliver_by <= ?"
        " ORDER BY deliver_by, message, agency LIMIT ?",
        (now, max(limit, 0)),
    )
    return [_recipient(row) for row in rows]


def next_due(connection: sqlite3.Connection, agency: AgencyId, now: int) -> int | None:
    """See Store.next_due."""
    row = connection.execute(
        "SELECT next_attempt_at FROM recipient WHERE agency = ? AND state = 'queued' AND sealed = 1 AND deliver_by > ?"
        " ORDER BY next_attempt_at LIMIT 1",  # NULL sorts first
        (agency, now),
    ).fetchone()
    if row is None:
        return None
    earliest: int | None = row[0]
    return 0 if earliest is None else earliest


def queue_counts(connection: sqlite3.Connection) -> list[QueueCount]:
    """See Store.queue_counts."""
    # The very words of the partial index recipient_waiting; the counts are kept by the triggers of schema 3.
    rows = connection.execute(
        "SELECT agency, queued, in_custody, (SELECT at FROM message WHERE seq = (SELECT min(message) FROM recipient"
        " WHERE recipient.agency = queue_tally.agency AND shown = 1 AND state IN ('queued', 'in_custody')))"
        " FROM queue_tally WHERE queued > 0 OR in_custody > 0 ORDER BY agency"
    )
    return [QueueCount(AgencyId(agency), queued, in_custody, at) for agency, queued, in_custody, at in rows]


# --- inbound envelopes, statements, acks -----------------------------------------------------------------------------


def inbound(
    connection: sqlite3.Connection, sender: AgencyId, envelope_ids: Sequence[EnvelopeId]
) -> dict[EnvelopeId, list[InboundRow]]:
    """See Store.inbound."""
    found: dict[EnvelopeId, list[InboundRow]] = {}
    for envelope_id in envelope_ids:
        rows = connection.execute(f"{_INBOUND} WHERE envelope_id = ? AND sender = ?", (envelope_id, sender)).fetchall()
        if rows:
            found[envelope_id] = [_inbound(row) for row in sorted(rows)]
    return found


def inbound_of_message(connection: sqlite3.Connection, sender: AgencyId, message_id: MessageId) -> list[InboundRow]:
    """See Store.inbound_of_message."""
    with_message = connection.execute(
        f"{_INBOUND} WHERE message = {_MESSAGE_NAMED}",
        (reversed_id(message_id), sender),
    ).fetchall()
    # Refused after it was opened, so that no message was stored; or opened before the message was.
    without = connection.execute(
        f"{_INBOUND} WHERE message IS NULL AND message_id = ? AND sender = ?",
        (message_id, sender),
    ).fetchall()
    return [_inbound(row) for row in sorted([*with_message, *without])]


def statements(connection: sqlite3.Connection, envelope_ids: Sequence[EnvelopeId]) -> list[StatementRow]:
    """See Store.statements."""
    found: list[tuple[int, int, StatementRow]] = []
    for envelope_id in dict.fromkeys(envelope_ids):
        rows = connection.execute(
            "SELECT number, agency, level, code, entry, leaf, path, gateway, head_generation, head_size, at"
            " FROM statement WHERE envelope = (SELECT number FROM outbound WHERE envelope_id = ?)",
            (envelope_id,),
        )
        found.extend((row[10], row[0], StatementRow(AgencyId(row[1]), envelope_id, *row[2:])) for row in rows)
    return [row for _, _, row in sorted(found, key=lambda item: item[:2])]


def acks(
    connection: sqlite3.Connection, sender: AgencyId, message_ids: Sequence[MessageId]
) -> dict[MessageId, list[AckRow]]:
    """See Store.acks."""
    found: dict[MessageId, list[AckRow]] = {}
    for message_id in message_ids:
        rows = connection.execute(
            "SELECT message_id, sender, by, carrier_id, at, wrapped_key, sealed_body FROM ack"
            " WHERE message_id = ? AND sender = ? ORDER BY at, number",
            (message_id, sender),
        )
        found[message_id] = [
            AckRow(MessageId(row[0]), AgencyId(row[1]), AgencyId(row[2]), MessageId(row[3]), *row[4:]) for row in rows
        ]
    return found


def history(connection: sqlite3.Connection, sender: AgencyId, message_id: MessageId) -> DeliveryHistory:
    """See Store.history."""
    outbound = outbound_of_message(connection, message_id)
    return DeliveryHistory(
        recipients=recipients(connection, message_id),
        outbound=outbound,
        statements=statements(connection, [row.envelope_id for row in outbound]),
        acks=acks(connection, sender, [message_id])[message_id],
    )


# --- peers -----------------------------------------------------------------------------------------------------------


def peer_head(
    connection: sqlite3.Connection, agency: AgencyId, gateway: str, generation: int, size: int
) -> PeerHeadRow | None:
    """See Store.peer_head."""
    row = connection.execute(
        f"{_PEER_HEAD} WHERE agency = ? AND gateway = ? AND generation = ? AND size = ?"
        " ORDER BY reconciled DESC, number LIMIT 1",
        (agency, gateway, generation, size),
    ).fetchone()
    return None if row is None else _peer_head(row)


def held_heads(connection: sqlite3.Connection, agency: AgencyId) -> list[PeerHeadRow]:
    """See Store.held_heads."""
    found: list[PeerHeadRow] = []
    at_or_below = ("\U0010ffff", 0)  # above every gateway name
    while True:
        # One step into the index for each log: a peer has few logs and very many heads.
        row = connection.execute(
            f"{_PEER_HEAD} WHERE agency = ? AND reconciled = 1 AND (gateway, generation) < (?, ?)"
            " ORDER BY gateway DESC, generation DESC, size DESC, number DESC LIMIT 1",
            (agency, *at_or_below),
        ).fetchone()
        if row is None:
            return found[::-1]
        found.append(_peer_head(row))
        at_or_below = (row[1], row[2])


def head_chain(
    connection: sqlite3.Connection, agency: AgencyId, gateway: str, generation: int, from_size: int
) -> list[PeerHeadRow]:
    """See Store.head_chain."""
    rows = connection.execute(
        f"{_PEER_HEAD} WHERE agency = ? AND gateway = ? AND generation = ? AND size > ? AND reconciled = 1"
        " ORDER BY size, number",
        (agency, gateway, generation, from_size),
    )
    return [_peer_head(row) for row in rows]


def unreconciled(connection: sqlite3.Connection) -> list[PeerHeadRow]:
    """See Store.unreconciled."""
    return [_peer_head(row) for row in connection.execute(f"{_PEER_HEAD} WHERE reconciled = 0 ORDER BY number")]


# --- drafts ----------------------------------------------------------------------------------------------------------


def drafts(connection: sqlite3.Connection) -> list[DraftRow]:
    """See Store.drafts."""
    rows = connection.execute("SELECT draft_id, updated_at, sealed_body FROM draft ORDER BY updated_at DESC, draft_id")
    return [DraftRow(MessageId(row[0]), row[1], row[2]) for row in rows]


def draft(connection: sqlite3.Connection, draft_id: MessageId) -> DraftRow | None:
    """See Store.draft."""
    row = connection.execute(
        "SELECT draft_id, updated_at, sealed_body FROM draft WHERE draft_id = ?", (draft_id,)
    ).fetchone()
    return None if row is None else DraftRow(MessageId(row[0]), row[1], row[2])


def _one(connection: sqlite3.Connection, sql: str, values: tuple[object, ...]) -> Any:
    row = connection.execute(sql, values).fetchone()
    return None if row is None else row[0]
