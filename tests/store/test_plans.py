"""No read looks at all rows of a table that grows: the plan of every statement the reads execute is looked at."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nodes.store import reads
from nodes.store.contract import (
    Batch,
    InsertAck,
    InsertInbound,
    InsertOutbound,
    PutPeerHead,
    PutRecipient,
    PutStatement,
)
from nodes.store.migrations import migrate
from nodes.store.writes import apply_batch
from tests.store.rows import (
    OURS,
    PEER,
    ack,
    append,
    arrived,
    envelope_id,
    inbound,
    message_id,
    outbound,
    peer_head,
    posted,
    recipient,
    statement,
)

READS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "entries": (reads.entries, ("gw1/1", 0, 9)),
    "tiles": (reads.tiles, ("gw1/1", [(0, 0)])),
    "messages": (reads.messages, ([(OURS, message_id(1))],)),
    "messages_by_suffix": (reads.messages_by_suffix, ("01",)),
    "messages_of_case": (reads.messages_of_case, (b"c" * 16,)),
    "known_cases": (reads.known_cases, ([b"c" * 16],)),
    "inbox": (reads.inbox, (5, 9, False)),
    "inbox, unacknowledged": (reads.inbox, (None, 9, True)),
    "sent": (reads.sent, (None, 9, False)),
    "sent, waiting": (reads.sent, (None, 9, True)),
    "shown_after": (reads.shown_after, (0, 9)),
    "inbound_count": (reads.inbound_count, ()),
    "recipients": (reads.recipients, (message_id(1),)),
    "recipients_at": (reads.recipients_at, ([(message_id(1), PEER)],)),
    "history": (reads.history, (OURS, message_id(1))),
    "deliveries": (reads.deliveries, ([envelope_id(1)],)),
    "outbound": (reads.outbound, ([envelope_id(1)],)),
    "outbound_of_message": (reads.outbound_of_message, (message_id(1),)),
    "outbound_since": (reads.outbound_since, (PEER, 5)),
    "due": (reads.due, (PEER, 5, frozenset(), 9, 9)),
    "unsealed": (reads.unsealed, (PEER, 9)),
    "overdue": (reads.overdue, (5, 9)),
    "next_due": (reads.next_due, (PEER, 5)),
    "queue_counts": (reads.queue_counts, ()),
    "inbound": (reads.inbound, (PEER, [envelope_id(1)])),
    "inbound_of_message": (reads.inbound_of_message, (PEER, message_id(1))),
    "statements": (reads.statements, ([envelope_id(1)],)),
    "acks": (reads.acks, (OURS, [message_id(1)])),
    "peer_head": (reads.peer_head, (PEER, "gw1", 1, 1)),
    "held_heads": (reads.held_heads, (PEER,)),
    "head_chain": (reads.head_chain, (PEER, "gw1", 1, 0)),
    "unreconciled": (reads.unreconciled, ()),
}

# Read whole on purpose: two rows; one for each agency; indexes that hold only what has not reached an end; heads that
# were never proved.
WHOLE = {
    "SCAN tally",
    "SCAN queue_tally",
    "SCAN recipient USING COVERING INDEX recipient_queued",
    "SCAN recipient USING COVERING INDEX recipient_in_custody",
    "SCAN peer_head USING INDEX peer_head_unreconciled",
}
# Sorted in memory on purpose: a few matches of a suffix, a few heads of one size.
SORTED = {"messages_by_suffix", "peer_head"}


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A small store: one row of everything that is read."""
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as raw:
        migrate(raw)
        raw.execute("BEGIN")
        rows = [
            *posted(1),
            *arrived(1),
            PutRecipient(recipient()),
            InsertOutbound(outbound()),
            InsertInbound(inbound()),
            PutStatement(statement()),
            InsertAck(ack()),
            PutPeerHead(peer_head()),
            PutPeerHead(peer_head(2, reconciled=False)),
        ]
        apply_batch(raw, Batch(rows, [append(0, b"entry")]))
        raw.execute("COMMIT")
        yield raw


def plans_of(connection: sqlite3.Connection, name: str) -> list[str]:
    function, arguments = READS[name]
    executed: list[str] = []
    connection.set_trace_callback(executed.append)
    function(connection, *arguments)
    connection.set_trace_callback(None)
    assert executed
    return [row[3] for sql in executed for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")]


@pytest.mark.parametrize("name", READS)
def test_a_read_goes_through_an_index(connection: sqlite3.Connection, name: str) -> None:
    assert [step for step in plans_of(connection, name) if step.startswith("SCAN") and step not in WHOLE] == []


@pytest.mark.parametrize("name", sorted(set(READS) - SORTED))
def test_a_read_finds_its_rows_in_order(connection: sqlite3.Connection, name: str) -> None:
    assert [step for step in plans_of(connection, name) if "TEMP B-TREE" in step] == []


def test_every_read_of_a_table_that_grows_is_looked_at() -> None:
    public = {name for name, value in vars(reads).items() if callable(value) and value.__module__ == reads.__name__}
    looked_at = {function.__name__ for function, _ in READS.values()}
    assert {name for name in public if not name.startswith("_")} - looked_at == {"startup", "drafts", "draft"}
