"""What a trusted peer with its own code tries through the groups of a round, and what the intake makes of it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import count
from typing import cast

import pytest
import pytest_asyncio

from exchange.alerts import complete
from exchange.checkpoint import sign_checkpoint
from exchange.entry import Head, Issued, LogOpened, Receipt, encode_entry
from exchange.envelope import SealedEnvelope, encode_header, envelope_hash
from exchange.log import multi_proof
from exchange.policy import SILENT_KINDS
from exchange.proof import Proof, proof_from_wire
from exchange.round import Group, RawEnvelope, Result
from keys.anchor import anchor_to_wire
from keys.encoding import decode, encode, take_array
from keys.ids import AgencyId, EnvelopeId, MessageId
from keys.sealing import AtRestKey
from nodes.admitting import LONG_CASE
from nodes.identity import Identity
from nodes.intake import Intake
from nodes.intake_plan import Taken
from nodes.metrics import Metrics
from nodes.peers import Peer
from nodes.store.contract import (
    Direction,
    InsertMessage,
    InsertOutbound,
    MachineState,
    MessageRow,
    Op,
    OutboundRow,
    PeerRow,
    PutPeer,
    PutRecipient,
    RecipientRow,
)
from nodes.store.memory import MemoryStore
from nodes.vault import StoredHeadline, Vault
from nodes.writer import Change, EntryDraft, OwnLogState, Placed, Writer
from tests.alerts.builders import FOLLOWING, updated
from tests.exchange.agencies import (
    GATEWAY,
    NOW,
    Agency,
    Log,
    filler,
    make_agency,
    make_envelope,
    open_plainly,
)

US, PEER, THIRD = AgencyId("bka.de"), AgencyId("ponal.co"), AgencyId("fbi.us")
MESSAGE = MessageId(b"m" * 16)
SOME_HEAD = Head(GATEWAY, 1, 1, bytes(32))


@dataclass
class _OurKeys:
    """The part of an identity that the intake asks for; bodies are sealed by seal_plainly."""

    agency: AgencyId = US
    epoch_floor: int = 0

    def has_epoch_key(self, number: int) -> bool:
        return number == 1

    def opener(self, number: int) -> Callable[[bytes, bytes], bytes]:
        return open_plainly


@dataclass
class World:
    """Our node from the intake inward, and one trusted peer."""

    store: MemoryStore
    writer: Writer
    vault: Vault
    intake: Intake
    hostile: Agency
    peer: Peer

    async def take(self, log: Log, index: int, envelope: SealedEnvelope | None = None) -> Taken:
        """The peer hands over one entry of `log` under its newest head."""
        attachment = None if envelope is None else RawEnvelope(envelope.header_bytes, envelope.body)
        return await self.intake.take(self.peer, [_group(log, [index], [attachment])], now=NOW, peer_now=NOW)

    async def post(self, sealed: SealedEnvelope) -> None:
        """We issued this envelope, and it waits for its receipt."""
        headline = StoredHeadline(
            "alert", "C-1", 1, "active", "immediate", "s", NOW, None, None, None, None, sha256(b"content").hexdigest()
        )
        row, key = self.vault.message_row(
            message_id=MESSAGE,
            sender=US,
            direction=Direction.OUT,
            at=NOW,
            precedence=1,
            shown=True,
            headline=headline,
            content=b"content",
        )
        envelope_id, to = sealed.header.envelope_id, sealed.header.recipient
        recipient = RecipientRow(
            MESSAGE, to, envelope_id, MachineState.QUEUED, None, 1, NOW + 86_400_000, NOW, 0, None, 0, True, True
        )

        def ops(placed: tuple[Placed, ...]) -> list[Op]:
            outbound = OutboundRow(
                envelope_id=envelope_id,
                message_id=MESSAGE,
                agency=to,
                header=sealed.header_bytes,
                body=sealed.body,
                body_hash=sha256(sealed.body).digest(),
                envelope_hash=sealed.envelope_hash,
                generation=1,
                n=1,
                sealed_opening=self.vault.seal_opening(key, bytes(32)),
                log=placed[0].log,
                index=placed[0].index,
                at=placed[0].time,
            )
            return [InsertMessage(row), PutRecipient(recipient), InsertOutbound(outbound)]

        issued = EntryDraft(to, lambda time, salt: encode_entry(Issued(salt, time, envelope_id, sealed.envelope_hash)))
        await self.writer.commit(Change(entries=(issued,), ops=ops))

    async def is_waiting(self, to: AgencyId) -> bool:
        """Whether our message is still queued, its body kept."""
        row = await self.store.recipient(MESSAGE, to)
        assert row is not None
        outbound = (await self.store.outbound([row.envelope_id]))[row.envelope_id]
        return row.state is MachineState.QUEUED and outbound.body is not None


def _group(log: Log, indices: Sequence[int], attachments: Sequence[RawEnvelope | None]) -> Group:
    return Group(
        checkpoint=log.checkpoints[log.size],
        consistency=(),
        indices=tuple(indices),
        entries=tuple(log.entries[index] for index in indices),
        nodes=tuple(multi_proof(log.reader, log.size, indices)),
        attachments=tuple(attachments),
    )


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    """A node with an empty log and one trusted peer."""
    us, hostile, store, salts = make_agency(US), make_agency(PEER), MemoryStore(), count()
    writer = Writer(
        store,
        us.log.origin,
        OwnLogState.empty("gw1/1"),
        lambda origin, size, root, time: sign_checkpoint(origin, size, root, time, us.pair),
        lambda: NOW,
        lambda: next(salts).to_bytes(16, "big"),
    )
    vault = Vault(AtRestKey(b"k" * 32))
    anchor = encode(anchor_to_wire(hostile.anchors[-1]))
    row = PeerRow(PEER, "trusted", "Peer", "CO", anchor, None, NOW, NOW, None, None, None)
    async with writer:
        await writer.commit(Change.of(PutPeer(row)))
        intake = Intake(cast(Identity, _OurKeys()), store, writer, vault, Metrics())
        yield World(store, writer, vault, intake, hostile, Peer(row, hostile.keys))


async def test_a_receipt_for_exactly_what_was_sent_settles_it(world: World) -> None:
    sealed = make_envelope(US, PEER)
    await world.post(sealed)
    world.hostile.receipt(sealed, SOME_HEAD)
    taken = await world.take(world.hostile.log, world.hostile.log.size - 1)
    assert [settled.state for settled in taken.settled] == [MachineState.STORED]
    assert not await world.is_waiting(PEER)


async def test_a_refusal_of_what_was_sent_ends_it_with_its_code(world: World) -> None:
    sealed = make_envelope(US, PEER)
    await world.post(sealed)
    world.hostile.refuse(sealed, SOME_HEAD, "policy_denied")
    taken = await world.take(world.hostile.log, world.hostile.log.size - 1)
    row = await world.store.recipient(MESSAGE, PEER)
    assert row is not None
    assert [settled.state for settled in taken.settled] == [MachineState.REFUSED]
    assert (row.state, row.reason) == (MachineState.REFUSED, "policy_denied")


async def test_a_refusal_after_a_receipt_takes_nothing_back(world: World) -> None:
    sealed, hostile = make_envelope(US, PEER), world.hostile
    await world.post(sealed)
    hostile.receipt(sealed, SOME_HEAD)
    await world.take(hostile.log, hostile.log.size - 1)
    hostile.refuse(sealed, SOME_HEAD)
    taken = await world.take(hostile.log, hostile.log.size - 1)
    row = await world.store.recipient(MESSAGE, PEER)
    assert row is not None
    assert not taken.settled
    assert (row.state, row.reason) == (MachineState.STORED, None)


async def test_a_receipt_after_a_refusal_counts(world: World) -> None:
    sealed, hostile = make_envelope(US, PEER), world.hostile
    await world.post(sealed)
    hostile.refuse(sealed, SOME_HEAD)
    await world.take(hostile.log, hostile.log.size - 1)
    hostile.receipt(sealed, SOME_HEAD)
    await world.take(hostile.log, hostile.log.size - 1)
    row = await world.store.recipient(MESSAGE, PEER)
    assert row is not None
    assert (row.state, row.reason) == (MachineState.STORED, None)


async def test_what_must_come_again_later_is_told_so(world: World) -> None:
    early, hostile = make_envelope(PEER, US), world.hostile
    early = _with_header(early, NOW + 2 * 86_400_000)
    hostile.issue(early)
    taken = await world.take(hostile.log, hostile.log.size - 1, early)
    assert taken.results == [Result(early.header.envelope_id, "from_future")]
    assert not taken.answers


async def test_a_receipt_for_another_body_settles_nothing(world: World) -> None:
    sealed = make_envelope(US, PEER)
    await world.post(sealed)
    log = world.hostile.log
    index = log.commit(
        Receipt(world.hostile.salt(), NOW, US, sealed.header.envelope_id, sha256(b"other").digest(), SOME_HEAD)
    )
    taken = await world.take(log, index)
    assert not taken.settled
    assert await world.is_waiting(PEER)


async def test_a_receipt_for_what_was_sent_to_another_agency_settles_nothing(world: World) -> None:
    sealed = make_envelope(US, THIRD)
    await world.post(sealed)
    world.hostile.receipt(sealed, SOME_HEAD)
    taken = await world.take(world.hostile.log, world.hostile.log.size - 1)
    assert not taken.settled
    assert await world.is_waiting(THIRD)


@pytest.mark.parametrize("addressee", [PEER, THIRD])
async def test_an_envelope_of_its_own_making_beside_a_receipt_settles_nothing(
    world: World, addressee: AgencyId
) -> None:
    sealed, hostile = make_envelope(US, addressee), world.hostile
    await world.post(sealed)
    header = encode_header(replace(sealed.header, recipient=PEER, sent_at=sealed.header.sent_at + 1))
    other = envelope_hash(header, sha256(b"body").digest())
    index = hostile.log.commit(Receipt(hostile.salt(), NOW, US, sealed.header.envelope_id, other, SOME_HEAD))

    group = _group(hostile.log, [index], [RawEnvelope(header, b"body")])
    taken = await world.intake.take(world.peer, [group], now=NOW, peer_now=NOW)

    assert not taken.settled
    assert await world.is_waiting(addressee)
    assert not await world.store.statements([sealed.header.envelope_id])


async def test_the_first_words_of_all_generations_in_one_round_are_kept(world: World) -> None:
    hostile, groups = world.hostile, []
    filler(hostile, 2)
    for _ in range(3):
        hostile.open_generation("clock")
        groups.append(_group(hostile.log, [0], [None]))

    await world.intake.take(world.peer, groups, now=NOW, peer_now=NOW)

    assert [proof.checkpoint.origin.generation for proof in world.peer.opened] == [2, 3, 4]
    assert [proof.checkpoint.origin.generation for proof in (await _kept_opened(world))] == [2, 3, 4]


async def test_junk_does_not_take_the_place_of_a_generation_s_first_word(world: World) -> None:
    hostile = world.hostile
    hostile.open_generation("clock")
    true = hostile.log.entries[0]
    await world.take(hostile.log, 0)
    for number in range(80):
        index = hostile.log.commit(LogOpened(hostile.salt(), NOW, 1, number, bytes(32), "clock"))
        await world.take(hostile.log, index)
    assert [proof.entry for proof in world.peer.opened] == [true]


async def test_a_generation_far_beyond_the_newest_is_not_taken(world: World) -> None:
    hostile = world.hostile
    filler(hostile, 1)
    await world.take(hostile.log, 0)
    far = Log(replace(hostile.log.origin, generation=1_000_000), hostile.pair)
    far.commit(LogOpened(hostile.salt(), NOW, 1, 1, bytes(32), "clock"))

    await world.take(far, 0)

    assert {generation for _, generation in world.peer.heads} == {1}


async def _kept_opened(world: World) -> list[Proof]:
    meta = (await world.store.startup()).meta[f"opened/{PEER}"]
    return [proof_from_wire(wire, PEER) for wire in take_array(decode(meta, max_bytes=4 << 20), max_length=64)]


async def test_a_refusal_for_what_was_sent_to_another_agency_ends_nothing(world: World) -> None:
    sealed = make_envelope(US, THIRD)
    await world.post(sealed)
    world.hostile.refuse(sealed, SOME_HEAD)
    taken = await world.take(world.hostile.log, world.hostile.log.size - 1)
    assert not taken.settled
    assert await world.is_waiting(THIRD)


async def test_a_receipt_that_the_true_recipient_signed_does_not_count_from_another_peer_s_hands(world: World) -> None:
    sealed, third = make_envelope(US, THIRD), make_agency(THIRD)
    await world.post(sealed)
    third.receipt(sealed, SOME_HEAD)
    taken = await world.take(third.log, third.log.size - 1)
    assert not taken.settled
    assert await world.is_waiting(THIRD)


async def test_a_retired_pair_settles_nothing_beyond_its_last_size(world: World) -> None:
    sealed, hostile = make_envelope(US, PEER), world.hostile
    await world.post(sealed)
    filler(hostile, 2)
    stolen = hostile.pair
    hostile.rotate()
    world.peer.keys = hostile.keys
    fork = hostile.fork(hostile.log.size, stolen)
    index = fork.commit(Receipt(hostile.salt(), NOW, US, sealed.header.envelope_id, sealed.envelope_hash, SOME_HEAD))
    taken = await world.take(fork, index)
    assert not taken.settled
    assert await world.is_waiting(PEER)


async def test_an_envelope_in_another_agency_s_name_is_signed_for_by_nobody(world: World) -> None:
    foreign, hostile = make_envelope(THIRD, US), world.hostile
    index = hostile.log.commit(Issued(hostile.salt(), NOW, foreign.header.envelope_id, foreign.envelope_hash))
    before = world.writer.durable_size
    taken = await world.take(hostile.log, index, foreign)
    assert not taken.answers
    assert world.writer.durable_size == before


async def test_an_envelope_beside_an_entry_about_another_is_signed_for_by_nobody(world: World) -> None:
    sealed, other, hostile = make_envelope(PEER, US), make_envelope(PEER, US, number=2), world.hostile
    hostile.issue(other)
    before = world.writer.durable_size
    taken = await world.take(hostile.log, hostile.log.size - 1, sealed)
    assert not taken.answers
    assert world.writer.durable_size == before


async def test_a_body_exchanged_on_the_way_is_signed_for_by_nobody(world: World) -> None:
    sealed, hostile = make_envelope(PEER, US), world.hostile
    hostile.issue(sealed)
    before = world.writer.durable_size
    altered = replace(sealed, body=sealed.body[:-1] + b"\x01")
    taken = await world.take(hostile.log, hostile.log.size - 1, altered)
    assert not taken.answers
    assert world.writer.durable_size == before


async def test_one_envelope_id_with_two_bodies_is_answered_twice_and_the_first_answer_stays(world: World) -> None:
    first, hostile = make_envelope(PEER, US, b"first"), world.hostile
    hostile.issue(first)
    one = await world.take(hostile.log, hostile.log.size - 1, first)
    second = _with_header(first, first.header.sent_at + 1)
    hostile.issue(second)
    two = await world.take(hostile.log, hostile.log.size - 1, second)
    hostile.issue(first)
    again = await world.take(hostile.log, hostile.log.size - 1, first)
    rows = (await world.store.inbound(PEER, [first.header.envelope_id]))[first.header.envelope_id]
    codes = {row.envelope_hash: row.code for row in rows}
    assert codes[second.envelope_hash] == "id_reused"
    assert codes[first.envelope_hash] != "id_reused"
    assert one.answers == again.answers != two.answers


def _with_header(sealed: SealedEnvelope, sent_at: int) -> SealedEnvelope:
    """The same body and id under a header of another time."""
    header = replace(sealed.header, sent_at=sent_at)
    data = encode_header(header)
    return replace(
        sealed,
        header=header,
        header_bytes=data,
        envelope_hash=envelope_hash(data, sha256(sealed.body).digest()),
    )


async def test_a_receipt_about_an_envelope_that_we_never_made_is_dropped(world: World) -> None:
    hostile = world.hostile
    index = hostile.log.commit(Receipt(hostile.salt(), NOW, US, EnvelopeId(b"e" * 16), bytes(32), SOME_HEAD))
    taken = await world.take(hostile.log, index)
    assert not taken.settled
    assert not taken.answers


def _update(number: int) -> SealedEnvelope:
    """The update with this number of one and the same case."""
    message_id = uuid.UUID(int=number)
    following = replace(FOLLOWING, message_id=str(message_id))
    content = complete(updated(), following).content
    return make_envelope(PEER, US, content, number=number, message_id=message_id.bytes)


async def test_a_case_filled_with_updates_is_read_once_in_a_round_and_at_its_sender_s_cost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[bytes] = []
    messages_of_case = world.store.messages_of_case

    async def counted(case_tag: bytes) -> list[MessageRow]:
        reads.append(case_tag)
        return await messages_of_case(case_tag)

    monkeypatch.setattr(world.store, "messages_of_case", counted)
    hostile, wasted = world.hostile, []
    for first in (1, 1 + LONG_CASE):
        envelopes = [_update(number) for number in range(first, first + LONG_CASE)]
        for sealed in envelopes:
            hostile.issue(sealed)
        indices = range(hostile.log.size - LONG_CASE, hostile.log.size)
        attachments = [RawEnvelope(sealed.header_bytes, sealed.body) for sealed in envelopes]
        taken = await world.intake.take(world.peer, [_group(hostile.log, indices, attachments)], now=NOW, peer_now=NOW)
        assert len(taken.arrived) == LONG_CASE
        wasted.append(taken.wasted)
    assert len(reads) == 2
    assert wasted == [0, 1]


async def test_two_groups_of_one_log_in_a_round_do_not_vouch_for_two_histories(world: World) -> None:
    """Each would be compared with what was known before the round, and both be believed; one can never be proved."""
    sealed, hostile = make_envelope(US, PEER), world.hostile
    await world.post(sealed)
    hostile.receipt(sealed, SOME_HEAD)
    true = _group(hostile.log, [hostile.log.size - 1], [None])
    fork = hostile.fork(hostile.log.size - 1)
    fork.commit(encode_entry(Issued(hostile.salt(), NOW, sealed.header.envelope_id, sealed.envelope_hash)))
    other = _group(fork, [fork.size - 1], [None])

    taken = await world.intake.take(world.peer, [other, true], now=NOW, peer_now=NOW)

    assert not taken.settled
    assert await world.is_waiting(PEER)


async def test_an_envelope_that_stands_in_groups_of_two_logs_is_admitted_once(world: World) -> None:
    hostile, envelope = world.hostile, _update(1)
    hostile.issue(envelope)
    attachment = RawEnvelope(envelope.header_bytes, envelope.body)
    first = _group(hostile.log, [hostile.log.size - 1], [attachment])
    hostile.open_generation("clock")
    hostile.issue(envelope)
    second = _group(hostile.log, [hostile.log.size - 1], [attachment])

    taken = await world.intake.take(world.peer, [first, second], now=NOW, peer_now=NOW)

    assert len(taken.arrived) == 1
    assert len(taken.answers) == 1


def _of_case(world: World, number: int, kind: str) -> MessageRow:
    """A message of a third agency in the case of the updates."""
    case_id, digest = FOLLOWING.case_id, sha256(b"content").hexdigest()
    headline = StoredHeadline(kind, case_id, 1, "active", "routine", "s", NOW, None, None, None, None, digest)
    row, _ = world.vault.message_row(
        message_id=MessageId(number.to_bytes(16, "big")),
        sender=THIRD,
        direction=Direction.IN,
        at=NOW,
        precedence=3,
        shown=kind not in SILENT_KINDS,
        headline=headline,
        content=b"content",
    )
    return row


async def test_what_others_say_in_a_case_is_not_at_the_cost_of_who_updates_it(world: World) -> None:
    rows = [_of_case(world, number, "note") for number in range(LONG_CASE)]
    await world.writer.commit(Change.of(*map(InsertMessage, rows)))
    sealed = _update(1)
    world.hostile.issue(sealed)
    taken = await world.take(world.hostile.log, world.hostile.log.size - 1, sealed)
    assert (len(taken.arrived), taken.wasted) == (1, 0)


@pytest.mark.parametrize("kind", sorted(SILENT_KINDS))
async def test_what_is_not_shown_lies_in_no_case_whatever_case_it_names(world: World, kind: str) -> None:
    rows = [_of_case(world, number, kind) for number in range(2)]
    await world.writer.commit(Change.of(*map(InsertMessage, rows)))
    assert await world.store.messages_of_case(world.vault.case_tag(FOLLOWING.case_id)) == []
    for row in rows:  # nor do those that are not shown fill a place of their own
        assert [found.message_id for found in await world.store.messages_of_case(row.case_tag)] == [row.message_id]
