"""What a node does about what a peer says that it holds of the node's own keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from exchange.entry import AuditHead, LogOpened, decode_entry, encode_entry
from exchange.round import Known
from keys.ids import AgencyId
from nodes.generations import EPOCH_NUMBERS_LEFT_OUT, MOST_EPOCH_NUMBER_HEEDED, Generations
from nodes.hello import Forked
from nodes.peers import Peer
from nodes.submitting import CaseNumbers
from nodes.writer import Change, EntryDraft
from tests.exchange.agencies import NOW
from tests.nodes.presence import RunningNode, introduce, make_presence

BKA, PONAL = AgencyId("bka.de"), AgencyId("ponal.co")


def clock() -> int:
    return NOW


@pytest.fixture
async def bka() -> AsyncIterator[RunningNode]:
    """A node with one peer."""
    bka = await RunningNode.start(await make_presence(BKA, "DE", clock), clock)
    ponal = await RunningNode.start(await make_presence(PONAL, "CO", clock), clock)
    await introduce(bka, ponal)
    yield bka
    for node in (bka, ponal):
        await node.stop()


def generations_of(node: RunningNode, tmp_path: Path) -> tuple[Generations, Peer]:
    """Those of a node, and its peer."""
    peer = node.peers.get(PONAL)
    assert peer is not None
    generations = Generations(
        identity=node.identity,
        config=node.presence.config,
        peers=node.peers,
        writer=node.writer,
        ledger=node.ledger,
        keyring=node.keyring,
        cases=CaseNumbers("DE-BKA", {}),
        clock=clock,
        card=tmp_path / "card",
        known_until=NOW,
        pair_since=NOW,
    )
    return generations, peer


async def test_a_node_that_lost_nothing_draws_no_keys_because_a_peer_claims_to_hold_more(
    bka: RunningNode, tmp_path: Path
) -> None:
    generations, peer = generations_of(bka, tmp_path)
    before = dict(bka.identity.epoch_rows)

    await generations.keys_told(peer, bka.identity.highest_epoch_number + 1)

    assert bka.identity.epoch_rows == before
    assert bka.identity.epoch_floor == 0


@pytest.mark.parametrize(
    ("told", "floor"),
    [
        (40, NOW // 1000),
        (NOW // 1000, NOW // 1000 + EPOCH_NUMBERS_LEFT_OUT),
        (MOST_EPOCH_NUMBER_HEEDED, MOST_EPOCH_NUMBER_HEEDED + EPOCH_NUMBERS_LEFT_OUT),
    ],
)
async def test_a_node_that_lost_history_draws_keys_above_those_that_a_peer_holds_in_later_lives_too(
    bka: RunningNode, tmp_path: Path, told: int, floor: int
) -> None:
    generations, peer = generations_of(bka, tmp_path)
    bka.identity.epoch_floor = 1
    assert peer.known is None
    peer.known = Known(b"", None, told)

    await generations.keys_told(peer, told)

    drawn = {number for number in bka.identity.epoch_rows if number > told}
    assert min(drawn) == floor + 1
    assert min(bka.identity.epoch_rows[number].use_from for number in drawn) < NOW
    await bka.stop()
    again = await RunningNode.start(bka.presence, clock)
    assert again.identity.epoch_floor == floor
    assert again.identity.epoch_rows.keys() == bka.identity.epoch_rows.keys()
    await again.stop()


async def test_a_claim_that_no_loss_explains_is_not_heeded(bka: RunningNode, tmp_path: Path) -> None:
    generations, peer = generations_of(bka, tmp_path)
    bka.identity.epoch_floor = 1
    before = dict(bka.identity.epoch_rows)

    for told in (0, bka.identity.highest_epoch_number, MOST_EPOCH_NUMBER_HEEDED + 1):
        await generations.keys_told(peer, told)

    assert bka.identity.epoch_rows == before
    assert bka.identity.epoch_floor == 1


async def test_a_generation_names_the_end_that_the_log_before_it_came_to_whatever_was_posted_meanwhile(
    bka: RunningNode, tmp_path: Path
) -> None:
    generations, peer = generations_of(bka, tmp_path)
    head = bka.writer.head
    assert head is not None
    drafts = [EntryDraft("", _audit_head) for _ in range(3)]

    await asyncio.gather(
        generations.forked(peer, Forked(1, head, bka.identity.keys)),
        generations.forked(peer, Forked(1, head, bka.identity.keys)),
        *(bka.writer.commit(Change(entries=(draft,), ops=lambda _: [])) for draft in drafts),
    )

    (proof,) = bka.identity.opened
    opened = decode_entry(proof.entry)
    assert isinstance(opened, LogOpened)
    ended = next(state for state in (await bka.store.startup()).logs if state.log == "gw1/1")
    assert (opened.last_size, opened.last_root) == (ended.size, ended.root)
    assert (await bka.ledger.prove("gw1/1", [ended.size - 1])).checkpoint.size == ended.size
    assert all(row.log == "gw1/2" for row in bka.identity.epoch_rows.values())


def _audit_head(time: int, salt: bytes) -> bytes:
    return encode_entry(AuditHead(salt=salt, time=time, size=1, root=bytes(32)))
