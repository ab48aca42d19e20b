"""The SQL of every operation of a batch. Owns how rows become statements; it begins and ends no transaction.

Operations of one kind are executed together (one prepared statement for many rows), kinds in the order of `_LANES`.
Operations that touch the same table share a lane, in which their order is kept, so the result is that of executing them
one by one.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

from nodes.errors import FatalError
from nodes.store.contract import (
    Batch,
    Direction,
    DropBody,
    InsertAck,
    InsertInbound,
    InsertMessage,
    InsertOutbound,
    LogAppend,
    MoveInbound,
    MoveKeys,
    MoveOutbound,
    Op,
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
    ReleaseDue,
    RemoveDraft,
    RemoveOperator,
    TouchPeer,
)

ENTRY_POSITION_BITS = 40


def reversed_id(message_id: bytes) -> bytes:
    """The id's hex digits from last to first: an index over this finds ids by their end."""
    return bytes.fromhex(message_id.hex()[::-1])


def apply_batch(connection: sqlite3.Connection, batch: Batch) -> None:
    """Execute the batch inside the open transaction; waits for the checkpoints last.

    Raises sqlite3.Error, FatalError (the head of a log is not where the batch expects it), and what a checkpoint future
    raises. The caller rolls back.
    """
    lanes: list[list[Op]] = [[] for _ in range(_LANE_COUNT)]
    for op in batch.ops:
        lanes[_LANE_OF[type(op)]].append(op)
    for lane in lanes:
        for kind, run in groupby(lane, type):
            _EXECUTE[kind](connection, list(run))
    for append in batch.appends:
        _append_entries(connection, append)
    for log in batch.closes:
        if connection.execute("UPDATE log SET open = 0 WHERE name = ? AND open = 1", (log,)).rowcount != 1:
            raise FatalError("a log to be closed is not open")
    for append in batch.appends:
        _move_head(connection, append)


# --- logs ------------------------------------------------------------------------------------------------------------


def _append_entries(connection: sqlite3.Connection, append: LogAppend) -> None:
    row = connection.execute("SELECT number, size, open FROM log WHERE name = ?", (append.log,)).fetchone()
    if row is None:
        row = connection.execute(
            "INSERT INTO log (name, size, root, checkpoint, last_time, timestamp, open) VALUES (?, 0, ?, NULL, 0, 0, 1)"
            " RETURNING number, size, open",
            (append.log, append.root),
        ).fetchone()
    number, size, is_open = row
    if size != append.expected_size or not is_open:
        raise FatalError("a log of this node was moved by somebody else")
    first = (number << ENTRY_POSITION_BITS) + size
    try:
        connection.executemany(
            "INSERT INTO entry (position, entry) VALUES (?, ?)", enumerate(append.entries, start=first)
        )
    except sqlite3.IntegrityError as error:
        raise FatalError("a log of this node has entries beyond its head") from error
    connection.executemany(
        "INSERT INTO tile (log, level, n, hashes) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (log, level, n) DO UPDATE SET hashes = excluded.hashes",
        ((number, level, n, hashes) for (level, n), hashes in append.tiles.items()),
    )


def _move_head(connection: sqlite3.Connection, append: LogAppend) -> None:
    # Everything else is written by now: the signature was made in the meantime, in another thread.
    checkpoint = None if append.checkpoint is None else append.checkpoint.result()
    connection.execute(
        "UPDATE log SET size = ?, root = ?, checkpoint = ?, last_time = ?, timestamp = ? WHERE name = ?",
        (append.size, append.root, checkpoint, append.last_time, append.timestamp, append.log),
    )


# --- messages --------------------------------------------------------------------------------------------------------


def _insert_messages(connection: sqlite3.Connection, ops: Sequence[InsertMessage]) -> None:
    first = _next(connection, "SELECT max(seq) FROM message")
    connection.executemany(
        "INSERT INTO message (seq, reversed_id, sender, direction, at, precedence, shown, case_tag, wrapped_key,"
        " sealed_headline, sealed_content) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (
                seq,
                reversed_id(row.message_id),
                row.sender,
                row.direction.value,
                row.at,
                row.precedence,
                row.shown,
                row.case_tag,
                row.wrapped_key,
                row.sealed_headline,
                row.sealed_content,
            )
            for seq, row in enumerate((op.row for op in ops), start=first)
        ),
    )
    arrived = [
        (op.row.at, seq) for seq, op in enumerate(ops, start=first) if op.row.shown and op.row.direction is Direction.IN
    ]
    if arrived:
        connection.executemany("INSERT INTO inbox (at, seq, own_acks) VALUES (?, ?, 0)", arrived)
        connection.execute("UPDATE tally SET n = n + ? WHERE name IN ('unopened', 'undecided')", (len(arrived),))


def _insert_acks(connection: sqlite3.Connection, ops: Sequence[InsertAck]) -> None:
    for row in (op.row for op in ops):
        message = connection.execute(
            "SELECT seq, at, direction = 'in' AND shown FROM message WHERE reversed_id = ? AND sender = ?",
            (reversed_id(row.message_id), row.sender),
        ).fetchone()
        inserted = connection.execute(
            "INSERT INTO ack (message_id, sender, by, carrier_id, at, wrapped_key, sealed_body)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (carrier_id, by) DO NOTHING",
            (row.message_id, row.sender, row.by, row.carrier_id, row.at, row.wrapped_key, row.sealed_body),
        ).rowcount
        if inserted and message is not None and message[2]:
            _count_own_ack(connection, seq=message[0], at=message[1])


def _count_own_ack(connection: sqlite3.Connection, seq: int, at: int) -> None:
    own_acks = connection.execute(
        "UPDATE inbox SET own_acks = own_acks + 1 WHERE at = ? AND seq = ? RETURNING own_acks", (at, seq)
    ).fetchone()[0]
    done = {1: "unopened", 2: "undecided"}.get(own_acks)
    if done is not None:
        connection.execute("UPDATE tally SET n = n - 1 WHERE name = ?", (done,))


# --- delivery --------------------------------------------------------------------------------------------------------


def _put_recipients(connection: sqlite3.Connection, ops: Sequence[PutRecipient]) -> None:
    connection.executemany(
        "INSERT INTO recipient (message, message_id, agency, envelope_id, state, reason, precedence, deliver_by,"
        " updated_at, attempts, next_attempt_at, reseals, sealed, shown)"
        " VALUES ((SELECT seq FROM message WHERE reversed_id = ? AND direction = 'out'),"
        " ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (message, agency) DO UPDATE SET envelope_id = excluded.envelope_id, state = excluded.state,"
        " reason = excluded.reason, precedence = excluded.precedence, deliver_by = excluded.deliver_by,"
        " updated_at = excluded.updated_at, attempts = excluded.attempts, next_attempt_at = excluded.next_attempt_at,"
        " reseals = excluded.reseals, sealed = excluded.sealed, shown = excluded.shown",
        (
            (
                reversed_id(row.message_id),
                row.message_id,
                row.agency,
                row.envelope_id,
                row.state.value,
                row.reason,
                row.precedence,
                row.deliver_by,
                row.updated_at,
                row.attempts,
                row.next_attempt_at,
                row.reseals,
                row.sealed,
                row.shown,
            )
            for row in (op.row for op in ops)
        ),
    )


def _release_due(connection: sqlite3.Connection, ops: Sequence[ReleaseDue]) -> None:
    connection.executemany(
        "UPDATE recipient SET next_attempt_at = NULL"
        " WHERE agency = ? AND state = 'queued' AND next_attempt_at IS NOT NULL",
        ((op.agency,) for op in ops),
    )


def _insert_outbound(connection: sqlite3.Connection, ops: Sequence[InsertOutbound]) -> None:
    first = _next(connection, "SELECT max(number) FROM outbound")
    connection.executemany(
        "INSERT INTO outbound (number, envelope_id, message, message_id, agency, header, body_hash, envelope_hash,"
        " generation, n, sealed_opening, log, leaf, at)"
        " VALUES (?, ?, (SELECT seq FROM message WHERE reversed_id = ? AND direction = 'out'),"
        " ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (
                number,
                row.envelope_id,
                reversed_id(row.message_id),
                row.message_id,
                row.agency,
                row.header,
                row.body_hash,
                row.envelope_hash,
                row.generation,
                row.n,
                row.sealed_opening,
                row.log,
                row.index,
                row.at,
            )
            for number, row in enumerate((op.row for op in ops), start=first)
        ),
    )
    connection.executemany(
        "INSERT INTO body (number, body) VALUES (?, ?)",
        ((number, op.row.body) for number, op in enumerate(ops, start=first) if op.row.body is not None),
    )
    connection.executemany(
        "INSERT INTO sent_number (agency, generation, n) VALUES (?, ?, ?)"
        " ON CONFLICT (agency, generation) DO UPDATE SET n = max(n, excluded.n)",
        _highest((op.row.agency, op.row.generation, op.row.n) for op in ops),
    )


def _drop_bodies(connection: sqlite3.Connection, ops: Sequence[DropBody]) -> None:
    connection.executemany(
        "DELETE FROM body WHERE number = (SELECT number FROM outbound WHERE envelope_id = ?)",
        ((op.envelope_id,) for op in ops),
    )


def _put_statements(connection: sqlite3.Connection, ops: Sequence[PutStatement]) -> None:
    connection.executemany(
        "INSERT INTO statement (envelope, agency, level, code, entry, leaf, path, gateway, head_generation, head_size,"
        " at) VALUES ((SELECT number FROM outbound WHERE envelope_id = ?), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (envelope, agency, level) DO NOTHING",
        (
            (
                row.envelope_id,
                row.agency,
                row.level,
                row.code,
                row.entry,
                row.index,
                row.path,
                row.gateway,
                row.head_generation,
                row.head_size,
                row.at,
            )
            for row in (op.row for op in ops)
        ),
    )


def _insert_inbound(connection: sqlite3.Connection, ops: Sequence[InsertInbound]) -> None:
    connection.executemany(
        "INSERT INTO inbound (envelope_id, sender, message, message_id, envelope_hash, header, body_hash, generation,"
        " n, sealed_opening, issued_entry, issued_leaf, issued_path, gateway, head_generation, head_size, code, log,"
        " leaf, at)"
        " VALUES (?, ?, (SELECT seq FROM message WHERE reversed_id = ? AND sender = ?),"
        " ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (
                row.envelope_id,
                row.sender,
                None if row.message_id is None else reversed_id(row.message_id),
                row.sender,
                row.message_id,
                row.envelope_hash,
                row.header,
                row.body_hash,
                row.generation,
                row.n,
                row.sealed_opening,
                row.issued_entry,
                row.issued_index,
                row.issued_path,
                row.gateway,
                row.head_generation,
                row.head_size,
                row.code,
                row.log,
                row.index,
                row.at,
            )
            for row in (op.row for op in ops)
        ),
    )
    connection.executemany(
        "INSERT INTO received_number (agency, generation, n) VALUES (?, ?, ?)"
        " ON CONFLICT (agency, generation) DO UPDATE SET n = max(n, excluded.n)",
        _highest((op.row.sender, op.row.generation, op.row.n) for op in ops if op.row.generation),
    )


def _move_outbound(connection: sqlite3.Connection, ops: Sequence[MoveOutbound]) -> None:
    connection.executemany(
        "UPDATE outbound SET log = ?, leaf = ? WHERE envelope_id = ?",
        ((op.log, op.index, op.envelope_id) for op in ops),
    )


def _move_inbound(connection: sqlite3.Connection, ops: Sequence[MoveInbound]) -> None:
    connection.executemany(
        "UPDATE inbound SET log = ?, leaf = ? WHERE envelope_id = ? AND sender = ? AND envelope_hash = ?",
        ((op.log, op.index, op.envelope_id, op.sender, op.envelope_hash) for op in ops),
    )


def _highest(used: Iterable[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    highest: dict[tuple[str, int], int] = {}
    for agency, generation, n in used:
        highest[agency, generation] = max(n, highest.get((agency, generation), 0))
    return [(agency, generation, n) for (agency, generation), n in highest.items()]


# --- agencies --------------------------------------------------------------------------------------------------------


def _put_peers(connection: sqlite3.Connection, ops: Sequence[PutPeer]) -> None:
    connection.executemany(
        "INSERT INTO peer (agency, trust, name, country, anchor, profile, added_at, confirmed_at, last_contact_at,"
        " clock_skew_ms, reason, recover_since) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (agency) DO UPDATE SET trust = excluded.trust, name = excluded.name, country = excluded.country,"
        " anchor = excluded.anchor, profile = excluded.profile, added_at = excluded.added_at,"
        " confirmed_at = excluded.confirmed_at, last_contact_at = excluded.last_contact_at,"
        " clock_skew_ms = excluded.clock_skew_ms, reason = excluded.reason, recover_since = excluded.recover_since",
        (
            (
                row.agency,
                row.trust,
                row.name,
                row.country,
                row.anchor,
                row.profile,
                row.added_at,
                row.confirmed_at,
                row.last_contact_at,
                row.clock_skew_ms,
                row.reason,
                row.recover_since,
            )
            for row in (op.row for op in ops)
        ),
    )


def _touch_peers(connection: sqlite3.Connection, ops: Sequence[TouchPeer]) -> None:
    connection.executemany(
        "UPDATE peer SET last_contact_at = ?, clock_skew_ms = ? WHERE agency = ?",
        ((op.last_contact_at, op.clock_skew_ms, op.agency) for op in ops),
    )


def _put_peer_heads(connection: sqlite3.Connection, ops: Sequence[PutPeerHead]) -> None:
    connection.executemany(
        "INSERT INTO peer_head (agency, gateway, generation, size, root, checkpoint, from_size, nodes, reconciled, at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (agency, gateway, generation, size, root) DO UPDATE SET checkpoint = excluded.checkpoint,"
        " from_size = excluded.from_size, nodes = excluded.nodes, reconciled = excluded.reconciled, at = excluded.at"
        " WHERE excluded.reconciled > reconciled",
        (
            (
                row.agency,
                row.gateway,
                row.generation,
                row.size,
                row.root,
                row.checkpoint,
                row.from_size,
                row.nodes,
                row.reconciled,
                row.at,
            )
            for row in (op.row for op in ops)
        ),
    )


def _put_key_changes(connection: sqlite3.Connection, ops: Sequence[PutKeyChange]) -> None:
    connection.executemany(
        "INSERT INTO key_change (agency, gateway, generation, leaf, proof) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (agency, gateway, generation, leaf) DO NOTHING",
        ((row.agency, row.gateway, row.generation, row.index, row.proof) for row in (op.row for op in ops)),
    )


def _put_epoch_keys(connection: sqlite3.Connection, ops: Sequence[PutEpochKey]) -> None:
    connection.executemany(
        "INSERT INTO epoch_key (agency, number, use_from, public, log, leaf, destroyed_at) VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (agency, number) DO UPDATE SET use_from = excluded.use_from, public = excluded.public,"
        " log = excluded.log, leaf = excluded.leaf, destroyed_at = excluded.destroyed_at",
        (
            (row.agency, row.number, row.use_from, row.public, row.log, row.index, row.destroyed_at)
            for row in (op.row for op in ops)
        ),
    )


def _move_keys(connection: sqlite3.Connection, ops: Sequence[MoveKeys]) -> None:
    for op in ops:
        connection.execute("UPDATE OR IGNORE peer_head SET agency = ? WHERE agency = ?", (op.to, op.agency))
        connection.execute("DELETE FROM peer_head WHERE agency = ?", (op.agency,))
        connection.execute("UPDATE OR IGNORE key_change SET agency = ? WHERE agency = ?", (op.to, op.agency))
        connection.execute("DELETE FROM key_change WHERE agency = ?", (op.agency,))
        connection.execute("DELETE FROM epoch_key WHERE agency = ?", (op.agency,))


def _put_anchors(connection: sqlite3.Connection, ops: Sequence[PutAnchor]) -> None:
    connection.executemany(
        "INSERT INTO anchor (agency, serial, anchor) SELECT ?1, ?2, ?3"
        " WHERE NOT EXISTS (SELECT 1 FROM anchor WHERE agency = ?1 AND serial = ?2 AND anchor = ?3)",
        ((op.row.agency, op.row.serial, op.row.anchor) for op in ops),
    )


# --- operators, drafts, small values ---------------------------------------------------------------------------------


def _put_operators(connection: sqlite3.Connection, ops: Sequence[PutOperator]) -> None:
    connection.executemany(
        "INSERT INTO operator (ref, uid, roles, program, added_at) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (ref) DO UPDATE SET uid = excluded.uid, roles = excluded.roles, program = excluded.program,"
        " added_at = excluded.added_at",
        ((row.ref, row.uid, json.dumps(row.roles), row.program, row.added_at) for row in (op.row for op in ops)),
    )


def _remove_operators(connection: sqlite3.Connection, ops: Sequence[RemoveOperator]) -> None:
    connection.executemany("DELETE FROM operator WHERE ref = ?", ((op.ref,) for op in ops))


def _put_drafts(connection: sqlite3.Connection, ops: Sequence[PutDraft]) -> None:
    connection.executemany(
        "INSERT INTO draft (draft_id, updated_at, sealed_body) VALUES (?, ?, ?)"
        " ON CONFLICT (draft_id) DO UPDATE SET updated_at = excluded.updated_at, sealed_body = excluded.sealed_body",
        ((op.row.draft_id, op.row.updated_at, op.row.sealed_body) for op in ops),
    )


def _remove_drafts(connection: sqlite3.Connection, ops: Sequence[RemoveDraft]) -> None:
    connection.executemany("DELETE FROM draft WHERE draft_id = ?", ((op.draft_id,) for op in ops))


def _put_meta(connection: sqlite3.Connection, ops: Sequence[PutMeta]) -> None:
    connection.executemany(
        "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        ((op.key, op.value) for op in ops),
    )


def _next(connection: sqlite3.Connection, highest: str) -> int:
    value: int | None = connection.execute(highest).fetchone()[0]
    return 1 if value is None else value + 1


# Rows that others name come first; what touches one table shares a lane.
_LANES: tuple[dict[type[Any], Callable[[sqlite3.Connection, Any], None]], ...] = (
    {InsertMessage: _insert_messages},
    {InsertAck: _insert_acks},
    {PutRecipient: _put_recipients, ReleaseDue: _release_due},
    {InsertOutbound: _insert_outbound, DropBody: _drop_bodies, MoveOutbound: _move_outbound},
    {PutStatement: _put_statements},
    {InsertInbound: _insert_inbound, MoveInbound: _move_inbound},
    {PutPeer: _put_peers, TouchPeer: _touch_peers},
    {
        PutPeerHead: _put_peer_heads,
        PutKeyChange: _put_key_changes,
        PutEpochKey: _put_epoch_keys,
        MoveKeys: _move_keys,
    },
    {PutAnchor: _put_anchors},
    {PutOperator: _put_operators, RemoveOperator: _remove_operators},
    {PutDraft: _put_drafts, RemoveDraft: _remove_drafts},
    {PutMeta: _put_meta},
)
_LANE_COUNT = len(_LANES)
_LANE_OF = {kind: number for number, lane in enumerate(_LANES) for kind in lane}
_EXECUTE = {kind: execute for lane in _LANES for kind, execute in lane.items()}
