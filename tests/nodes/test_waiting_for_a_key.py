"""What was posted before a peer's first key came is sealed when it comes, whichever of the two is durable first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from typing import cast

import pytest
import pytest_asyncio

from exchange.checkpoint import sign_checkpoint
from keys.epochs import PublishedKey
from keys.ids import AgencyId, MessageId
from keys.randomness import new_envelope_id, random_bytes
from keys.sealing import AtRestKey, EpochKeyPair
from nodes.identity import Identity
from nodes.peers import Peer, Peers
from nodes.posting import Posting, Prepared
from nodes.store.contract import (
    Direction,
    InsertMessage,
    MachineState,
    MessageRow,
    PeerRow,
    PutPeer,
    PutRecipient,
    RecipientRow,
)
from nodes.store.memory import MemoryStore
from nodes.vault import StoredHeadline, Vault
from nodes.writer import Change, OwnLogState, Writer
from tests.exchange.agencies import NOW, Agency, make_agency

MESSAGE = MessageId(b"m" * 16)
LATER = NOW + 86_400_000


@dataclass
class World:
    """A node from the posting inward, and a peer whose key is not known yet."""

    posting: Posting
    store: MemoryStore
    vault: Vault
    us: Agency
    peer: Peer

    def prepared(self) -> Prepared:
        """As it is when no key was known at its making."""
        digest = sha256(b"content").hexdigest()
        headline = StoredHeadline("alert", "C-1", 1, "active", "flash", "s", NOW, None, None, None, None, digest)
        row, _ = self.vault.message_row(
            message_id=MESSAGE,
            sender=self.us.agency,
            direction=Direction.OUT,
            at=NOW,
            precedence=0,
            shown=True,
            headline=headline,
            content=b"content",
        )
        recipient = RecipientRow(
            message_id=MESSAGE,
            agency=self.peer.agency,
            envelope_id=new_envelope_id(),
            state=MachineState.QUEUED,
            reason=None,
            precedence=0,
            deliver_by=LATER,
            updated_at=NOW,
            attempts=0,
            next_attempt_at=None,
            reseals=0,
            sealed=False,
            shown=True,
        )
        given = self.posting.given([self.peer.agency], NOW)
        return Prepared(row, headline, (recipient,), (InsertMessage(row), PutRecipient(recipient)), (), (), given)

    def key_comes(self) -> None:
        pair = EpochKeyPair.generate()
        self.peer.epoch_keys[1] = PublishedKey(1, NOW, pair.public)

    async def due(self) -> int:
        """How many envelopes the courier would find."""
        return len(await self.store.due(self.peer.agency, NOW, frozenset(), 10, 1 << 20))


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    us, other, store, salts = make_agency("ponal.co"), make_agency("bka.de"), MemoryStore(), count()
    writer = Writer(
        store,
        us.log.origin,
        OwnLogState.empty("gw1/1"),
        lambda origin, size, root, time: sign_checkpoint(origin, size, root, time, us.pair),
        lambda: NOW,
        lambda: next(salts).to_bytes(16, "big"),
    )
    row = PeerRow(other.agency, "trusted", "BKA", "DE", b"anchor", None, NOW, NOW, None, None, None)
    peers, vault = Peers(), Vault(AtRestKey(random_bytes(32)))
    peers.put(peer := Peer(row, other.keys))
    async with writer:
        await writer.commit(Change.of(PutPeer(row)))
        posting = Posting(cast(Identity, us), "CO", peers, store, writer, vault, lambda: NOW)
        yield World(posting, store, vault, us, peer)


@pytest.mark.parametrize("key_first", [True, False])
async def test_a_post_whose_commit_crosses_the_key_is_sealed(world: World, *, key_first: bool) -> None:
    prepared = world.prepared()
    await world.posting.seal_waiting(world.peer)  # the courier's look in the meantime finds nothing
    if key_first:
        world.key_comes()
        await world.posting.seal_waiting(world.peer)
        world.peer.wake.clear()
        await world.posting.commit([prepared])
        assert world.peer.wake.is_set()
    else:
        await world.posting.commit([prepared])
        world.key_comes()

    assert await world.due() == 0
    await world.posting.seal_waiting(world.peer)

    assert await world.due() == 1
    await world.posting.seal_waiting(world.peer)
    assert await world.due() == 1


async def test_a_new_process_looks_for_what_waits(world: World) -> None:
    await world.posting.commit([world.prepared()])
    restarted = Peer(world.peer.row, world.peer.keys, epoch_keys=world.peer.epoch_keys)
    world.peer = restarted
    world.key_comes()
    await world.posting.seal_waiting(restarted)
    assert await world.due() == 1
    assert not restarted.unsealed


async def test_what_was_sealed_to_a_root_that_is_replaced_before_it_is_durable_is_sealed_anew(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.posting.commit([world.prepared()])
    world.key_comes()
    first = (await world.store.unsealed(world.peer.agency, 1))[0].envelope_id
    message = world.store.message

    async def replaced_now(sender: AgencyId, message_id: MessageId) -> MessageRow | None:
        world.peer.replaced = True
        return await message(sender, message_id)

    monkeypatch.setattr(world.store, "message", replaced_now)
    await world.posting.seal_waiting(world.peer)
    assert await world.due() == 0
    (waiting,) = await world.store.unsealed(world.peer.agency, 2)
    assert waiting.envelope_id != first  # one id never names two envelopes
