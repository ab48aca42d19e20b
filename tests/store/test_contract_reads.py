"""What nodes.store.contract promises of each read, over every driver: what it finds, in which order, how much."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keys.ids import AgencyId, MessageId
from nodes.store.contract import (
    AnchorRow,
    Batch,
    DraftRow,
    DropBody,
    InboundCount,
    InsertAck,
    InsertInbound,
    InsertMessage,
    InsertOutbound,
    KeyChangeRow,
    LogState,
    MachineState,
    MoveKeys,
    Op,
    OperatorRow,
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
    ReleaseDue,
    RemoveDraft,
    RemoveOperator,
    Store,
    TouchPeer,
)
from tests.store.rows import (
    LATER,
    OTHER,
    OURS,
    PEER,
    ack,
    append,
    arrived,
    batch,
    envelope_id,
    epoch_key,
    inbound,
    message,
    message_id,
    outbound,
    own_ack,
    peer,
    peer_head,
    posted,
    recipient,
    statement,
)

# --- start


async def test_a_new_store_is_empty(store: Store) -> None:
    start = await store.startup()
    assert (start.logs, start.peers, start.anchors, start.key_changes, start.epoch_keys, start.operators) == ((),) * 6
    assert (start.meta, start.counters, start.received) == ({}, {}, {})
    assert await store.inbox(None, 9, False) == []
    assert await store.inbound_count() == InboundCount(0, 0)
    assert await store.queue_counts() == []
    assert await store.drafts() == []


async def test_start_gives_all_small_tables_in_a_fixed_order(store: Store) -> None:
    change = KeyChangeRow(PEER, "gw1", 1, 9, b"proof")
    operator = OperatorRow("duty-07", 1000, ("analyst", "releaser"), False, 12)
    await store.commit(
        Batch(
            [
                PutPeer(peer()),
                PutPeer(
                    peer(OTHER, profile=b"profile", confirmed_at=2, last_contact_at=3, clock_skew_ms=-4, reason="r")
                ),
                PutAnchor(AnchorRow(PEER, 2, b"second")),
                PutAnchor(AnchorRow(PEER, 1, b"first")),
                PutKeyChange(change),
                PutKeyChange(replace(change, index=3)),
                PutEpochKey(epoch_key(2)),
                PutEpochKey(epoch_key(1)),
                PutOperator(operator),
                PutMeta("first_start", b"\x00\x01"),
            ],
            [append(0, b"entry")],
        )
    )
    start = await store.startup()
    assert [row.agency for row in start.peers] == [OTHER, PEER]
    assert start.peers[1] == peer()
    assert start.peers[0].clock_skew_ms == -4
    assert start.anchors == (AnchorRow(PEER, 1, b"first"), AnchorRow(PEER, 2, b"second"))
    assert start.key_changes == (replace(change, index=3), change)
    assert start.epoch_keys == (epoch_key(1), epoch_key(2))
    assert start.operators == (operator,)
    assert start.meta == {"first_start": b"\x00\x01"}
    assert start.logs == (LogState("gw1/1", 1, b"\x01" * 32, b"checkpoint", 101, 11, True),)


async def test_rows_that_are_put_again_replace_the_first(store: Store) -> None:
    newer = peer(trust="trusted", recover_since=5)
    destroyed = epoch_key(1, destroyed_at=77)
    promoted = OperatorRow("duty-07", 1001, ("admin",), True, 13)
    await store.commit(
        batch(PutPeer(peer()), PutEpochKey(epoch_key(1)), PutOperator(OperatorRow("duty-07", 1, (), False, 1)))
    )
    await store.commit(batch(PutPeer(newer), PutEpochKey(destroyed), PutOperator(promoted)))
    start = await store.startup()
    assert (start.peers, start.epoch_keys, start.operators) == ((newer,), (destroyed,), (promoted,))


async def test_two_anchors_of_one_serial_are_both_kept_and_each_once(store: Store) -> None:
    first, second = AnchorRow(PEER, 1, b"first"), AnchorRow(PEER, 1, b"second")
    await store.commit(batch(PutAnchor(first), PutAnchor(second), PutAnchor(first)))
    assert (await store.startup()).anchors == (first, second)


async def test_the_first_proof_of_a_key_change_stays(store: Store) -> None:
    row = KeyChangeRow(PEER, "gw1", 1, 9, b"proof")
    await store.commit(batch(PutKeyChange(row), PutKeyChange(replace(row, proof=b"other"))))
    assert (await store.startup()).key_changes == (row,)


async def test_keys_that_are_moved_lie_under_the_other_name_alone_and_what_lay_there_stays(store: Store) -> None:
    former = AgencyId(f"{PEER}/former")
    change = KeyChangeRow(PEER, "gw1", 1, 9, b"proof")
    there = peer_head(2, agency=former, at=1)
    await store.commit(
        batch(
            PutPeerHead(there),
            *(PutPeerHead(peer_head(size)) for size in (1, 2)),
            PutPeerHead(peer_head(3, reconciled=False)),
            PutPeerHead(peer_head(1, agency=OTHER)),
            PutKeyChange(change),
            PutEpochKey(epoch_key(1)),
            MoveKeys(PEER, former),
            PutPeerHead(peer_head(1, root=b"n" * 32)),
            PutKeyChange(replace(change, proof=b"of the new root")),
            PutEpochKey(epoch_key(2)),
        )
    )
    start = await store.startup()
    assert await store.held_heads(PEER) == [peer_head(1, root=b"n" * 32)]
    assert await store.head_chain(former, "gw1", 1, 0) == [peer_head(1, agency=former), there]
    assert await store.unreconciled() == [peer_head(3, agency=former, reconciled=False)]
    assert await store.held_heads(OTHER) == [peer_head(1, agency=OTHER)]
    assert set(start.key_changes) == {replace(change, proof=b"of the new root"), replace(change, agency=former)}
    assert start.epoch_keys == (epoch_key(2),)


async def test_contact_is_noted_only_of_known_peers(store: Store) -> None:
    await store.commit(batch(PutPeer(peer()), TouchPeer(PEER, 50, -3), TouchPeer(OTHER, 60, None)))
    assert (await store.startup()).peers == (peer(last_contact_at=50, clock_skew_ms=-3),)


async def test_a_removed_operator_is_gone_and_one_that_never_was_may_be_removed(store: Store) -> None:
    await store.commit(batch(PutOperator(OperatorRow("a", 1, (), False, 1)), RemoveOperator("a"), RemoveOperator("b")))
    assert (await store.startup()).operators == ()


async def test_counters_hold_the_highest_number_of_each_agency_and_generation(store: Store) -> None:
    await store.commit(
        batch(
            *posted(1, 2, 3),
            InsertOutbound(outbound(1, n=5)),
            InsertOutbound(outbound(2, n=4)),
            InsertOutbound(outbound(3, generation=2, n=1)),
            InsertInbound(inbound(1, n=7)),
            InsertInbound(inbound(2, n=3)),
            InsertInbound(inbound(3, generation=0, n=0, message_id=None)),
        )
    )
    await store.commit(batch(*posted(4), InsertOutbound(outbound(4, agency=OTHER, n=9))))
    start = await store.startup()
    assert start.counters == {(PEER, 1): 5, (PEER, 2): 1, (OTHER, 1): 9}
    assert start.received == {(PEER, 1): 7}


# --- logs


async def test_entries_are_given_from_an_index_on_and_never_beyond_the_head(store: Store) -> None:
    await store.commit(Batch([], [append(0, b"a", b"b", b"c"), append(0, b"x", log="audit/1", checkpoint=None)]))
    assert await store.entries("gw1/1", 1, 9) == [b"b", b"c"]
    assert await store.entries("gw1/1", 0, 2) == [b"a", b"b"]
    assert await store.entries("gw1/1", 3, 1) == []
    assert await store.entries("gw1/1", 0, 0) == []
    assert await store.entries("gw1/1", -1, 9) == []
    assert await store.entries("gw1/9", 0, 9) == []
    assert [await store.entry("gw1/1", index) for index in (-1, 0, 2, 3)] == [None, b"a", b"c", None]
    assert await store.entry("audit/1", 0) == b"x"


async def test_tiles_are_the_newest_written_and_empty_where_there_is_none(store: Store) -> None:
    await store.commit(Batch([], [append(0, b"a", tiles={(0, 0): b"1" * 32, (1, 0): b"2" * 32})]))
    await store.commit(Batch([], [append(1, b"b", tiles={(0, 0): b"3" * 64, (0, 1): b"4" * 32})]))
    found = await store.tiles("gw1/1", [(0, 0), (0, 1), (1, 0), (2, 0)])
    assert found == {(0, 0): b"3" * 64, (0, 1): b"4" * 32, (1, 0): b"2" * 32, (2, 0): b""}
    assert await store.tiles("gw1/2", [(0, 0)]) == {(0, 0): b""}


# --- messages


async def test_a_message_is_found_by_sender_and_id_with_its_place_in_commit_order(store: Store) -> None:
    await store.commit(batch(*posted(1), *arrived(1)))
    assert await store.message(OURS, message_id(1)) == message(1, seq=1)
    assert await store.message(PEER, message_id(1)) == message(1, sender=PEER, seq=2)
    assert await store.message(OTHER, message_id(1)) is None
    keys = [(OURS, message_id(1)), (OTHER, message_id(1)), (PEER, message_id(1))]
    assert list(await store.messages(keys)) == [keys[0], keys[2]]


async def test_an_erased_message_has_no_key(store: Store) -> None:
    await store.commit(batch(InsertMessage(message(1, wrapped_key=None))))
    assert await store.message(OURS, message_id(1)) == message(1, wrapped_key=None, seq=1)


async def test_messages_are_found_by_the_end_of_their_id(store: Store) -> None:
    ids = [MessageId(bytes.fromhex(digits)) for digits in ("00" * 14 + "abcd", "11" * 14 + "abcd", "22" * 14 + "0bcd")]
    shown = [False, True, True]
    await store.commit(
        batch(*(InsertMessage(message(message_id=key, shown=seen)) for key, seen in zip(ids, shown, strict=True)))
    )

    async def found(suffix: str) -> list[MessageId]:
        return [row.message_id for row in await store.messages_by_suffix(suffix)]

    assert await found("abcd") == [ids[1], ids[0]]
    assert await found("bcd") == [ids[2], ids[1], ids[0]]
    assert await found("0bcd") == [ids[2]]
    assert await found(ids[0].hex()) == [ids[0]]
    assert await found("1" + ids[0].hex()) == []
    assert await found("") == []
    assert await found("ABCD") == []
    assert await found("x") == []


async def test_at_most_twenty_messages_share_a_suffix(store: Store) -> None:
    await store.commit(batch(*posted(*(16 * number + 5 for number in range(30)))))
    found = await store.messages_by_suffix("5")
    assert [row.seq for row in found] == list(range(30, 10, -1))


async def test_messages_of_a_case_come_in_commit_order(store: Store) -> None:
    tag = b"the other case".ljust(16)
    await store.commit(batch(*posted(1), InsertMessage(message(3, case_tag=tag)), *arrived(4)))
    await store.commit(batch(InsertMessage(message(2, case_tag=tag, shown=False))))
    assert [row.message_id for row in await store.messages_of_case(tag)] == [message_id(3), message_id(2)]
    assert await store.messages_of_case(b"x" * 16) == []
    assert await store.known_cases([tag, b"x" * 16, tag]) == {tag}
    assert await store.known_cases([]) == set()


async def test_the_inbox_holds_shown_messages_that_came_in_newest_first(store: Store) -> None:
    await store.commit(
        batch(
            *posted(1),
            InsertMessage(message(2, sender=PEER, at=500)),
            InsertMessage(message(3, sender=PEER, at=700)),
            InsertMessage(message(4, sender=PEER, at=600, shown=False)),
            InsertMessage(message(5, sender=OTHER, at=500)),
        )
    )

    async def inbox(since: int | None, limit: int = 9) -> list[MessageId]:
        return [row.message_id for row in await store.inbox(since, limit, False)]

    assert await inbox(None) == [message_id(3), message_id(5), message_id(2)]
    assert await inbox(501) == [message_id(3)]
    assert await inbox(700) == [message_id(3)]
    assert await inbox(701) == []
    assert await inbox(None, 2) == [message_id(3), message_id(5)]
    assert await inbox(None, 0) == []


async def test_what_waits_for_a_person_is_counted_by_our_own_acks(store: Store) -> None:
    await store.commit(batch(*arrived(1, 2), InsertMessage(message(3, sender=PEER, shown=False)), *posted(4)))
    assert await store.inbound_count() == InboundCount(unopened=2, undecided=2)

    await store.commit(batch(InsertAck(own_ack(1, 1)), InsertAck(own_ack(2, 3)), InsertAck(ack(3, 4))))
    assert await store.inbound_count() == InboundCount(unopened=1, undecided=2)
    assert len(await store.inbox(None, 9, True)) == 2

    await store.commit(batch(InsertAck(own_ack(1, 1)), InsertAck(own_ack(4, 1))))
    assert await store.inbound_count() == InboundCount(unopened=1, undecided=1)
    assert [row.message_id for row in await store.inbox(None, 9, True)] == [message_id(2)]
    assert len(await store.inbox(None, 9, False)) == 2

    await store.commit(batch(InsertAck(own_ack(5, 1)), InsertAck(own_ack(6, 2)), InsertAck(own_ack(7, 2))))
    assert await store.inbound_count() == InboundCount(unopened=0, undecided=0)


async def test_an_ack_in_the_batch_of_its_message_is_counted(store: Store) -> None:
    await store.commit(batch(InsertAck(own_ack(1, 1)), *arrived(1)))
    assert await store.inbound_count() == InboundCount(unopened=0, undecided=1)


async def test_an_ack_of_a_message_that_is_not_there_is_kept_and_counts_nothing(store: Store) -> None:
    await store.commit(batch(InsertAck(ack(1, 77))))
    assert await store.acks(OURS, [message_id(77)]) == {message_id(77): [ack(1, 77)]}
    assert await store.inbound_count() == InboundCount(0, 0)


async def test_watch_sees_shown_messages_of_both_directions_in_commit_order(store: Store) -> None:
    await store.commit(batch(*posted(1), *arrived(2), InsertMessage(message(3, shown=False)), *arrived(4)))
    assert [row.seq for row in await store.shown_after(0, 9)] == [1, 2, 4]
    assert [row.seq for row in await store.shown_after(1, 1)] == [2]
    assert await store.shown_after(4, 9) == []


async def test_what_was_sent_comes_newest_first_without_acks_and_what_came_in(store: Store) -> None:
    await store.commit(batch(*posted(1), *posted(2)))
    assert [row.message_id for row in await store.sent(None, 9)] == [message_id(2), message_id(1)]
    assert [row.message_id for row in await store.sent(None, 1)] == [message_id(2)]
    assert await store.sent((await store.sent(None, 1))[0].at + 1, 9) == []


async def test_of_what_was_sent_those_that_wait_are_found_behind_what_was_delivered(store: Store) -> None:
    await store.commit(batch(*(op for number in range(1, 6) for op in posted(number))))
    states = [
        MachineState.STORED,
        MachineState.QUEUED,
        MachineState.IN_CUSTODY,
        MachineState.EXPIRED,
        MachineState.REFUSED,
    ]
    rows = [recipient(number, state=state) for number, state in enumerate(states, start=1)]
    await store.commit(batch(*map(PutRecipient, rows)))
    assert [row.message_id for row in await store.sent(None, 9, waiting=True)] == [message_id(3), message_id(2)]
    assert [row.message_id for row in await store.sent(None, 1, waiting=True)] == [message_id(3)]


# --- delivery


async def test_recipients_of_a_message_come_by_agency(store: Store) -> None:
    await store.commit(batch(*posted(1), PutRecipient(recipient()), PutRecipient(recipient(agency=OTHER))))
    assert [row.agency for row in await store.recipients(message_id(1))] == [OTHER, PEER]
    assert await store.recipient(message_id(1), PEER) == recipient()
    assert await store.recipient(message_id(1), AgencyId("nobody.example")) is None
    keys = [(message_id(1), PEER), (message_id(1), AgencyId("nobody.example")), (message_id(9), PEER)]
    assert await store.recipients_at(keys) == {(message_id(1), PEER): recipient()}
    assert await store.recipients(message_id(2)) == []


async def test_a_recipient_put_again_is_replaced_in_every_field(store: Store) -> None:
    await store.commit(batch(*posted(1), PutRecipient(recipient())))
    newer = recipient(
        envelope_id=envelope_id(9),
        state=MachineState.REFUSED,
        reason="policy_denied",
        precedence=0,
        deliver_by=5,
        updated_at=6,
        attempts=8,
        next_attempt_at=9,
        reseals=2,
        sealed=False,
        shown=False,
    )
    await store.commit(batch(PutRecipient(newer)))
    assert await store.recipients(message_id(1)) == [newer]


async def test_an_envelope_keeps_all_but_its_body_when_that_is_dropped(store: Store) -> None:
    await store.commit(
        batch(*posted(1), InsertOutbound(outbound(1)), InsertOutbound(outbound(2, message_id=message_id(1))))
    )
    await store.commit(batch(DropBody(envelope_id(1)), DropBody(envelope_id(8))))
    found = await store.outbound([envelope_id(1), envelope_id(2), envelope_id(3)])
    assert found == {
        envelope_id(1): outbound(1, body=None),
        envelope_id(2): outbound(2, message_id=message_id(1)),
    }
    assert await store.outbound_of_message(message_id(1)) == list(found.values())
    assert await store.outbound_of_message(message_id(2)) == []


async def test_deliveries_are_envelopes_without_bodies_with_their_recipients(store: Store) -> None:
    await store.commit(batch(*posted(1), PutRecipient(recipient()), InsertOutbound(outbound(1))))
    await store.commit(batch(*posted(2), InsertOutbound(outbound(2))))
    found = await store.deliveries([envelope_id(1), envelope_id(2), envelope_id(3)])
    assert found == {envelope_id(1): (recipient(), outbound(1, body=None))}


async def test_envelopes_since_a_time_are_those_to_one_agency_oldest_first(store: Store) -> None:
    await store.commit(
        batch(
            *posted(1, 2, 3, 4),
            InsertOutbound(outbound(1, at=30)),
            InsertOutbound(outbound(2, at=20)),
            InsertOutbound(outbound(3, at=10)),
            InsertOutbound(outbound(4, at=25, agency=OTHER)),
        )
    )
    assert [row.at for row in await store.outbound_since(PEER, 20)] == [20, 30]
    assert await store.outbound_since(PEER, 31) == []


def queued(number: int, **given: object) -> list[Op]:
    """A message of ours with one recipient and a sealed envelope."""
    row = recipient(number, **given)
    return [*posted(number), PutRecipient(row), InsertOutbound(outbound(number, agency=row.agency))]


async def test_due_is_by_precedence_then_oldest_first(store: Store) -> None:
    await store.commit(batch(*queued(3), *queued(1, precedence=4), *queued(2, precedence=0), *queued(5)))
    await store.commit(batch(*queued(4), PutRecipient(recipient(3, attempts=9))))
    found = await store.due(PEER, 0, frozenset(), 9, 10_000)
    assert [row.message_id for row, _ in found] == [message_id(n) for n in (2, 3, 5, 4, 1)]
    assert found[0] == (recipient(2, precedence=0), outbound(2))


NOT_DUE: dict[str, dict[str, object]] = {
    "stored": {"state": MachineState.STORED},
    "in custody": {"state": MachineState.IN_CUSTODY},
    "expired": {"state": MachineState.EXPIRED},
    "refused": {"state": MachineState.REFUSED},
    "not sealed": {"sealed": False},
    "over": {"deliver_by": 100},
    "later": {"next_attempt_at": 101},
    "another agency": {"agency": OTHER},
    "no such envelope": {"envelope_id": envelope_id(99)},
}


@pytest.mark.parametrize("given", NOT_DUE.values(), ids=NOT_DUE)
async def test_what_cannot_go_now_is_not_due(store: Store, given: dict[str, object]) -> None:
    await store.commit(batch(*queued(1, **given), *queued(2, next_attempt_at=100, deliver_by=101)))
    found = await store.due(PEER, 100, frozenset(), 9, 10_000)
    assert [row.message_id for row, _ in found] == [message_id(2)]


async def test_due_leaves_out_envelopes_under_way_and_those_without_a_body(store: Store) -> None:
    await store.commit(batch(*queued(1), *queued(2), *queued(3), DropBody(envelope_id(2))))
    found = await store.due(PEER, 0, frozenset({envelope_id(1)}), 9, 10_000)
    assert [row.message_id for row, _ in found] == [message_id(3)]


async def test_due_is_bounded_in_number_and_bytes_but_gives_at_least_one(store: Store) -> None:
    await store.commit(batch(*queued(1), *queued(2), *queued(3)))

    async def due(limit: int, max_bytes: int) -> int:
        return len(await store.due(PEER, 0, frozenset(), limit, max_bytes))

    body = len(b"body 1")
    assert await due(2, 10_000) == 2
    assert await due(9, 2 * body) == 2
    assert await due(9, 2 * body - 1) == 1
    assert await due(9, 0) == 1
    assert await due(0, 10_000) == 0


async def test_unsealed_is_by_precedence_then_deliver_by(store: Store) -> None:
    waiting = {"sealed": False}
    await store.commit(
        batch(
            *queued(1, **waiting, deliver_by=9),
            *queued(2, **waiting, deliver_by=5),
            *queued(3, **waiting, precedence=0),
            *queued(4),
            *queued(5, **waiting, state=MachineState.EXPIRED),
            *queued(6, **waiting, agency=OTHER),
        )
    )
    assert [row.message_id for row in await store.unsealed(PEER, 9)] == [message_id(n) for n in (3, 2, 1)]
    assert [row.message_id for row in await store.unsealed(PEER, 1)] == [message_id(3)]


async def test_overdue_is_what_has_not_ended_and_whose_time_is_over(store: Store) -> None:
    await store.commit(
        batch(
            *queued(1, deliver_by=50),
            *queued(2, deliver_by=40, state=MachineState.IN_CUSTODY, agency=OTHER),
            *queued(3, deliver_by=51),
            *queued(4, deliver_by=10, state=MachineState.STORED),
            *queued(5, deliver_by=45, sealed=False),
        )
    )
    assert [row.message_id for row in await store.overdue(50, 9)] == [message_id(n) for n in (2, 5, 1)]
    assert [row.message_id for row in await store.overdue(50, 1)] == [message_id(2)]
    assert await store.overdue(39, 9) == []


async def test_the_next_attempt_is_the_earliest_of_what_can_still_go(store: Store) -> None:
    assert await store.next_due(PEER, 0) is None
    await store.commit(
        batch(
            *queued(1, next_attempt_at=80),
            *queued(2, next_attempt_at=60),
            *queued(3, next_attempt_at=10, deliver_by=20),
            *queued(4, next_attempt_at=10, sealed=False),
            *queued(5, next_attempt_at=10, agency=OTHER),
            *queued(6, next_attempt_at=10, state=MachineState.STORED),
        )
    )
    assert await store.next_due(PEER, 20) == 60
    await store.commit(batch(*queued(7)))
    assert await store.next_due(PEER, 20) == 0


async def test_a_peer_that_is_back_makes_all_that_is_queued_to_it_due(store: Store) -> None:
    await store.commit(
        batch(
            *queued(1, next_attempt_at=LATER),
            *queued(2, next_attempt_at=LATER, agency=OTHER),
            *queued(3, next_attempt_at=LATER, state=MachineState.STORED),
            *queued(4, next_attempt_at=LATER, sealed=False),
        )
    )
    await store.commit(batch(ReleaseDue(PEER)))
    rows = [(await store.recipients(message_id(number)))[0] for number in (1, 2, 3, 4)]
    assert [row.next_attempt_at for row in rows] == [None, LATER, LATER, None]
    assert await store.next_due(PEER, 0) == 0


async def test_queues_are_counted_by_agency_over_shown_messages(store: Store) -> None:
    await store.commit(
        batch(
            *queued(2),
            *queued(1),
            *queued(3, state=MachineState.IN_CUSTODY),
            *queued(4, shown=False),
            *queued(5, state=MachineState.STORED),
            *queued(6, state=MachineState.IN_CUSTODY, agency=OTHER),
            *queued(7, agency=AgencyId("done.example"), state=MachineState.EXPIRED),
        )
    )
    assert await store.queue_counts() == [
        QueueCount(OTHER, queued=0, in_custody=1, oldest_at=1_006),
        QueueCount(PEER, queued=2, in_custody=1, oldest_at=1_002),
    ]
    await store.commit(batch(PutRecipient(recipient(2, state=MachineState.STORED))))
    assert (await store.queue_counts())[1] == QueueCount(PEER, queued=1, in_custody=1, oldest_at=1_001)


async def test_what_waits_again_is_counted_again_and_what_moves_between_two_queues_once(store: Store) -> None:
    await store.commit(batch(*queued(1), *queued(2, state=MachineState.STORED)))
    for state in (MachineState.IN_CUSTODY, MachineState.QUEUED, MachineState.QUEUED, MachineState.IN_CUSTODY):
        await store.commit(batch(PutRecipient(recipient(1, state=state)), PutRecipient(recipient(2, state=state))))
        waiting = 0 if state is MachineState.IN_CUSTODY else 2
        assert await store.queue_counts() == [QueueCount(PEER, waiting, 2 - waiting, oldest_at=1_001)]
    gone = [PutRecipient(recipient(number, state=MachineState.EXPIRED)) for number in (1, 2)]
    await store.commit(batch(*gone))
    assert await store.queue_counts() == []
    await store.commit(batch(PutRecipient(recipient(2, state=MachineState.QUEUED))))
    assert await store.queue_counts() == [QueueCount(PEER, 1, 0, oldest_at=1_002)]


# --- envelopes received, statements, acks


async def test_an_envelope_received_is_found_by_sender_and_id(store: Store) -> None:
    twin = inbound(1, sender=OTHER, message_id=None, sealed_opening=None, code="malformed", generation=0, n=0)
    await store.commit(batch(InsertInbound(inbound()), InsertInbound(twin)))
    assert await store.inbound(PEER, [envelope_id(1), envelope_id(2)]) == {envelope_id(1): [inbound()]}
    assert await store.inbound(OTHER, [envelope_id(1)]) == {envelope_id(1): [twin]}


async def test_envelopes_of_a_message_are_found_whether_the_message_was_stored_or_not(store: Store) -> None:
    refused = inbound(1, code="invalid_message")
    again = inbound(2, message_id=message_id(1))
    await store.commit(batch(InsertInbound(refused)))
    assert await store.inbound_of_message(PEER, message_id(1)) == [refused]
    await store.commit(batch(InsertInbound(again), *arrived(1)))
    last = inbound(3, message_id=message_id(1))
    await store.commit(batch(InsertInbound(last), InsertInbound(inbound(4, sender=OTHER, message_id=message_id(1)))))
    assert await store.inbound_of_message(PEER, message_id(1)) == [refused, again, last]
    assert await store.inbound_of_message(PEER, message_id(2)) == []


async def test_statements_come_by_their_time_one_per_agency_and_level(store: Store) -> None:
    rows = [statement(at=30), statement(level="custody", at=20), statement(agency=OTHER, at=10), statement(2, at=15)]
    await store.commit(batch(*posted(1, 2), InsertOutbound(outbound(1)), InsertOutbound(outbound(2))))
    await store.commit(batch(*(PutStatement(row) for row in rows)))
    ids = [envelope_id(2), envelope_id(1), envelope_id(2), envelope_id(3)]
    assert await store.statements(ids) == [rows[2], rows[3], rows[1], rows[0]]
    assert await store.statements([]) == []


async def test_acks_come_by_their_time_with_a_list_for_every_message_asked_for(store: Store) -> None:
    late, early, twin = ack(1, at=90), ack(2, at=80), replace(ack(1, at=85), by=OTHER)
    await store.commit(batch(InsertAck(late), InsertAck(early), InsertAck(twin), InsertAck(own_ack(3, 1))))
    assert await store.acks(OURS, [message_id(1), message_id(2)]) == {
        message_id(1): [early, twin, late],
        message_id(2): [],
    }
    assert await store.acks(PEER, [message_id(1)]) == {message_id(1): [own_ack(3, 1)]}


# --- peers


async def test_two_roots_of_one_size_are_both_kept_and_the_reconciled_one_is_given(store: Store) -> None:
    doubtful, sure = peer_head(root=b"1" * 32, reconciled=False), peer_head(root=b"2" * 32)
    await store.commit(batch(PutPeerHead(doubtful), PutPeerHead(sure)))
    assert await store.peer_head(PEER, "gw1", 1, 1) == sure
    assert await store.unreconciled() == [doubtful]
    assert await store.peer_head(PEER, "gw1", 1, 2) is None
    assert await store.peer_head(OTHER, "gw1", 1, 1) is None


async def test_a_head_becomes_reconciled_and_never_the_other_way(store: Store) -> None:
    doubtful = peer_head(reconciled=False, at=1)
    proved = peer_head(from_size=1, nodes=b"n" * 32, at=2)
    await store.commit(batch(PutPeerHead(doubtful), PutPeerHead(proved)))
    await store.commit(batch(PutPeerHead(doubtful), PutPeerHead(replace(proved, at=3))))
    assert await store.peer_head(PEER, "gw1", 1, 1) == proved
    assert await store.unreconciled() == []


async def test_held_heads_are_the_highest_reconciled_ones_of_each_log(store: Store) -> None:
    heads = [
        peer_head(5),
        peer_head(7),
        peer_head(9, reconciled=False),
        peer_head(2, generation=2),
        peer_head(3, gateway="gw2"),
        peer_head(8, agency=OTHER),
        peer_head(4, gateway="gw3", reconciled=False),
    ]
    await store.commit(batch(*(PutPeerHead(head) for head in heads)))
    assert await store.held_heads(PEER) == [heads[1], heads[3], heads[4]]
    assert await store.held_heads(AgencyId("nobody.example")) == []


async def test_the_chain_of_heads_goes_up_from_a_size(store: Store) -> None:
    heads = [peer_head(size) for size in (9, 5, 7)]
    others = [peer_head(8, reconciled=False), peer_head(8, generation=2), peer_head(8, gateway="gw2")]
    await store.commit(batch(*(PutPeerHead(head) for head in [*heads, *others])))
    assert await store.head_chain(PEER, "gw1", 1, 5) == [heads[2], heads[0]]
    assert await store.head_chain(PEER, "gw1", 1, 9) == []


# --- drafts, sizes


async def test_drafts_are_kept_replaced_and_removed(store: Store) -> None:
    old, new = DraftRow(message_id(1), 10, b"old"), DraftRow(message_id(2), 20, b"new")
    await store.commit(batch(PutDraft(old), PutDraft(new)))
    assert await store.drafts() == [new, old]
    newer = replace(old, updated_at=30, sealed_body=b"newer")
    await store.commit(batch(PutDraft(newer), RemoveDraft(message_id(2)), RemoveDraft(message_id(3))))
    assert await store.drafts() == [newer]
    assert await store.draft(message_id(1)) == newer
    assert await store.draft(message_id(2)) is None


async def test_a_store_knows_how_large_it_is(store: Store) -> None:
    await store.commit(Batch([], [append(0, b"e" * 50_000)]))
    used, free = await store.sizes()
    assert used >= 50_000
    assert free > 0
