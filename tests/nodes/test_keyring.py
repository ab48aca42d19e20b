"""A node that dies between changing its pair and the first word under the new one: its peers go on believing it."""

from __future__ import annotations

import pytest

from keys.ids import AgencyId
from nodes.errors import FatalError
from tests.exchange.agencies import NOW
from tests.nodes.presence import RunningNode, introduce, make_presence

BKA, PONAL = AgencyId("bka.de"), AgencyId("ponal.co")


def clock() -> int:
    return NOW


async def ask(one: RunningNode, other: RunningNode) -> None:
    """Rounds until there is no reason for another."""
    peer = one.peers.get(other.agency)
    assert peer is not None
    for _ in range(8):
        request = await one.node.ask(peer)
        if not (await one.node.settle(peer, request, await other.node.receive(one.agency, request.body))).again:
            return


async def test_a_node_that_died_right_after_its_key_change_is_believed_again() -> None:
    bka = await RunningNode.start(await make_presence(BKA, "DE", clock), clock)
    ponal = await RunningNode.start(await make_presence(PONAL, "CO", clock), clock)
    await introduce(bka, ponal)
    bka.store.fail_next_commit("failed_but_persisted")
    with pytest.raises(FatalError):
        await bka.rotate()
    await bka.stop()

    bka = await RunningNode.start(bka.presence, clock)
    await ask(ponal, bka)

    peer = ponal.peers.get(BKA)
    assert peer is not None
    assert len(peer.keys.changes) == 1
    assert peer.epoch_keys
    for node in (bka, ponal):
        await node.stop()


async def test_a_node_whose_first_word_failed_says_it_when_it_looks_again() -> None:
    bka = await RunningNode.start(await make_presence(BKA, "DE", clock), clock)
    await bka.keyring.rotate_node_pair()
    changed_at = bka.writer.durable_size

    await bka.keep_keys()
    assert bka.writer.durable_size == changed_at + 1
    await bka.keep_keys()
    assert bka.writer.durable_size == changed_at + 1
    await bka.stop()
