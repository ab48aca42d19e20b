"""What a node does about what a peer says that it holds of the node's own keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from exchange.checkpoint import Checkpoint, sign_checkpoint, verify_checkpoint
from exchange.entry import AuditHead, KeyChange, LogOpened, decode_entry, encode_entry
from exchange.log import Frontier, leaf_hash
from exchange.proof import Proof
from exchange.round import HeldHead, Hello, Known, Numbers
from exchange.statement import build_agency_keys, key_change_body
from keys.anchor import Anchor, make_anchor
from keys.epochs import choose_key
from keys.ids import AgencyId, Origin
from keys.signing import NodeKeyPair, sign_labelled
from nodes.errors import OperationError
from nodes.generations import EPOCH_NUMBERS_AHEAD, EPOCH_NUMBERS_LEFT_OUT, Generations
from nodes.hello import MAX_GENERATION_JUMP, Forked, NotTold, Passed, judge_held
from nodes.identity import GATEWAY, KEY_CHANGE_LABEL, LostKeys, pair_label
from nodes.outflow import Outflow
from nodes.peers import Peer
from nodes.store.memory import MemoryStore
from nodes.submitting import CaseNumbers
from nodes.writer import Change, EntryDraft
from tests.exchange.agencies import NOW, node_pair, root_pair
from tests.nodes.presence import Presence, RunningNode, introduce, make_presence

BKA, PONAL = AgencyId("bka.de"), AgencyId("ponal.co")
HIGHEST_HEEDED = NOW // 1000 + EPOCH_NUMBERS_AHEAD


def clock() -> int:
    return NOW


@pytest.fixture
async def both() -> AsyncIterator[tuple[RunningNode, RunningNode]]:
    """Two nodes that trust each other."""
    bka = await RunningNode.start(await make_presence(BKA, "DE", clock), clock)
    ponal = await RunningNode.start(await make_presence(PONAL, "CO", clock), clock)
    await introduce(bka, ponal)
    yield bka, ponal
    for node in (bka, ponal):
        await node.stop()


@pytest.fixture
def bka(both: tuple[RunningNode, RunningNode]) -> RunningNode:
    """A node with one peer."""
    return both[0]


def generations_of(node: RunningNode, tmp_path: Path, at: Callable[[], int] = clock) -> tuple[Generations, Peer]:
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
        clock=at,
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

    await generations.heard(peer, bka.identity.highest_epoch_number + 1)

    assert bka.identity.epoch_rows == before
    assert bka.identity.epoch_floor == 0


@pytest.mark.parametrize(
    ("told", "floor"),
    [
        (40, NOW // 1000),
        (NOW // 1000, NOW // 1000 + EPOCH_NUMBERS_LEFT_OUT),
        (HIGHEST_HEEDED, HIGHEST_HEEDED + EPOCH_NUMBERS_LEFT_OUT),
    ],
)
async def test_a_node_that_lost_history_draws_keys_above_those_that_a_peer_holds_in_later_lives_too(
    bka: RunningNode, tmp_path: Path, told: int, floor: int
) -> None:
    generations, peer = generations_of(bka, tmp_path)
    bka.identity.epoch_floor = 1
    assert peer.known is None
    peer.known = Known(b"", None, told)

    await generations.heard(peer, told)

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

    for told in (0, bka.identity.highest_epoch_number, HIGHEST_HEEDED + 1):
        await generations.heard(peer, told)

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
        generations.forked(peer, Forked(1, head)),
        generations.forked(peer, Forked(1, head)),
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


# --- what a hostile reader found (each failed before it was mended) ---------------------------------------------------


def hello(*held: HeldHead) -> Hello:
    return Hello(1, False, (), held, Known(bytes(32), None, 0), Numbers(0, 1, 1))


async def judge(node: RunningNode, *held: HeldHead) -> Passed | NotTold | Forked:
    size, generation = node.writer.durable_size, node.writer.generation
    roots = await node.ledger.roots(row.size for row in held if row.generation == generation and row.size <= size)
    return judge_held(hello(*held), node.identity, generation=generation, size=size, roots=roots)


def holding(head: Checkpoint, *changes: Proof) -> HeldHead:
    return HeldHead(GATEWAY, head.origin.generation, head.size, len(changes), head, changes)


def say_something() -> Change:
    return Change(entries=(EntryDraft("", _audit_head),), ops=lambda _: [])


async def rounds(caller: RunningNode, called: RunningNode, times: int = 6) -> None:
    peer = caller.peers.get(called.agency)
    assert peer is not None
    for _ in range(times):
        ask = await caller.node.ask(peer)
        await caller.node.settle(peer, ask, await called.node.receive(caller.agency, ask.body))


def head_of(node: RunningNode) -> Checkpoint:
    assert node.writer.head is not None
    return node.writer.head


async def restarted(node: RunningNode, store: MemoryStore) -> RunningNode:
    """The node over an older store, its keys as they are."""
    await node.stop()
    return await RunningNode.start(Presence(node.presence.config, store, node.presence.keys), clock)


async def test_two_peers_that_tell_of_one_loss_at_once_do_not_make_an_old_store_an_old_copy(
    bka: RunningNode, tmp_path: Path
) -> None:
    """Both pairs are at hand. The second verdict was made before the first was acted on."""
    copy = bka.store.reopen()
    await bka.writer.commit(say_something())
    early = head_of(bka)  # under the old pair: what a peer holds that was away since
    await bka.rotate()
    late, changes = head_of(bka), bka.identity.key_changes
    again = await restarted(bka, copy)
    verdicts = [await judge(again, holding(late, *changes)), await judge(again, holding(early))]
    generations, peer = generations_of(again, tmp_path)

    await asyncio.gather(*(generations.forked(peer, one) for one in verdicts if isinstance(one, Forked)))

    assert [type(one) for one in verdicts] == [Forked, Forked]
    assert again.identity.key_changes == changes
    assert not again.identity.needs_anchor
    assert again.writer.generation == 2
    await again.stop()


async def test_a_verdict_made_before_an_anchor_was_shown_does_not_bring_back_the_pair_that_it_replaced(
    bka: RunningNode, tmp_path: Path
) -> None:
    copy = bka.store.reopen()
    await bka.writer.commit(say_something())
    early = head_of(bka)
    new = NodeKeyPair.generate()
    bka.presence.keys.save_node_pair(pair_label(new.public), new)
    anchor = next_anchor(bka, early, new)
    again = await restarted(bka, copy)
    stale = await judge(again, holding(early))  # of a peer without the anchor
    assert isinstance(stale, Forked)
    generations, peer = generations_of(again, tmp_path)

    await asyncio.gather(generations.shown(peer, anchor), generations.forked(peer, stale))

    assert again.identity.anchor.body.serial == 2
    verify_checkpoint(head_of(again), new.public)
    await again.stop()


def next_anchor(node: RunningNode, head: Checkpoint, pair: NodeKeyPair) -> Anchor:
    """An anchor of the next serial that names a pair at a head."""
    body = node.identity.anchor.body
    gateway = replace(
        body.gateways[0],
        generation=head.origin.generation,
        base_size=head.size,
        base_root=head.root,
        node=pair.public,
    )
    return make_anchor(replace(body, serial=body.serial + 1, gateways=(gateway,)), root_pair(BKA))


def forged_change(stolen: NodeKeyPair, rival: NodeKeyPair) -> Proof:
    """Another successor of a retired pair, as its thief makes it: the third leaf of a log of his own."""
    origin = Origin(BKA, GATEWAY, 1)
    signatures = sign_labelled(rival, KEY_CHANGE_LABEL, key_change_body(origin, rival.public))
    entry = encode_entry(KeyChange(bytes(16), 1, rival.public, *signatures))
    leaves = [leaf_hash(b"one"), leaf_hash(b"two"), leaf_hash(entry)]
    pair_of_leaves = Frontier.empty().append_many(leaves[:2]).frontier.root
    root = Frontier.empty().append_many(leaves).frontier.root
    return Proof(entry, 2, (pair_of_leaves,), sign_checkpoint(origin, 3, root, 1, stolen))


async def test_a_thief_of_a_retired_pair_and_one_peer_do_not_make_a_node_give_up_its_successor(
    both: tuple[RunningNode, RunningNode],
) -> None:
    bka, ponal = both
    await bka.rotate()
    await bka.writer.commit(say_something())
    true_changes = bka.identity.key_changes
    await rounds(ponal, bka)
    await rounds(ponal, bka)  # and says what it holds
    rival = NodeKeyPair.generate()
    forged = sign_checkpoint(Origin(BKA, GATEWAY, 1), 9_999, bytes(32), 1, rival)

    verdict = await judge(bka, holding(forged, forged_change(node_pair(BKA, 1), rival)))

    assert verdict == NotTold(unproved=True)
    assert bka.identity.keys_with([forged_change(node_pair(BKA, 1), rival)]).changes == true_changes
    presence = bka.presence
    await bka.stop()
    again = await RunningNode.start(presence, clock)  # what a peer holds is known in later processes too
    assert await judge(again, holding(forged, forged_change(node_pair(BKA, 1), rival))) == NotTold(unproved=True)
    await again.stop()


async def test_a_pair_that_an_anchor_replaced_after_a_loss_opens_no_generation_above_the_one_it_names(
    bka: RunningNode,
) -> None:
    identity, old = bka.identity, node_pair(BKA, 1)
    new = NodeKeyPair.generate()
    identity.keys = build_agency_keys([identity.anchor, next_anchor(bka, head_of(bka), new)], ())
    identity.lost = LostKeys(1, (), ())

    verdicts = [
        await judge(bka, holding(sign_checkpoint(Origin(BKA, GATEWAY, generation), 500, bytes(32), 1, old)))
        for generation in (1, 2, 3)
    ]

    assert [type(one) for one in verdicts] == [Forked, NotTold, NotTold]


@pytest.mark.parametrize(("above", "wanted"), [(MAX_GENERATION_JUMP - 1, Forked), (MAX_GENERATION_JUMP, NotTold)])
async def test_the_generation_that_a_fork_opens_is_one_that_peers_take(
    bka: RunningNode, above: int, wanted: type
) -> None:
    told = sign_checkpoint(Origin(BKA, GATEWAY, 1 + above), 5, bytes(32), 1, node_pair(BKA, 1))
    assert isinstance(await judge(bka, holding(told)), wanted)


async def test_numbers_that_a_lie_made_a_node_draw_are_heeded_after_the_next_loss(
    bka: RunningNode, tmp_path: Path
) -> None:
    copy = bka.store.reopen()
    generations, peer = generations_of(bka, tmp_path)
    bka.identity.epoch_floor = 1
    peer.known = Known(b"", None, HIGHEST_HEEDED)
    await generations.heard(peer, HIGHEST_HEEDED)
    published = bka.identity.published()
    highest = max(key.number for key in published)
    bka.presence.keys.epochs.clear()
    again = await restarted(bka, copy)
    again.identity.epoch_floor = NOW // 1000
    generations, peer = generations_of(again, tmp_path, lambda: NOW + 3_600_000)
    peer.known = Known(b"", None, highest)

    await generations.heard(peer, highest)

    chosen = choose_key([*published, *again.identity.published()], NOW)
    assert chosen is not None
    assert again.identity.has_epoch_key(chosen.number)
    await again.stop()


async def test_a_peer_that_holds_no_head_is_no_witness_that_a_pair_has_no_successor(
    bka: RunningNode, tmp_path: Path
) -> None:
    generations, peer = generations_of(bka, tmp_path)
    peer.guard_passed, peer.holds = True, {}

    with pytest.raises(OperationError) as refused:
        await generations.rotate()

    assert refused.value.code == "wrong_state"
    peer.holds = {1: (head_of(bka).size,)}
    await generations.rotate()
    assert len(bka.identity.key_changes) == 1


async def test_no_card_is_written_before_a_peer_was_heard(bka: RunningNode, tmp_path: Path) -> None:
    generations, peer = generations_of(bka, tmp_path)
    card = tmp_path / "card"
    peer.guard_passed = False
    bka.identity.profile = None
    await generations.begin()
    assert not card.exists()

    peer.guard_passed = True
    await generations.heard(peer, 0)

    assert card.exists()


async def test_a_profile_that_a_crash_left_in_a_closed_log_is_logged_again_and_that_log_is_shown_to_nobody(
    bka: RunningNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generations, peer = generations_of(bka, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(bka.keyring, "publish_profile", _killed)
        with pytest.raises(RuntimeError):
            await generations.forked(peer, Forked(1, head_of(bka)))
    peer.known = Known(bka.identity.anchor.digest, bytes(32), 0)  # it holds a profile that this copy lost
    peer.holds = {1: (500,)}
    outflow = Outflow(bka.identity, bka.store, bka.ledger, bka.writer)
    assert {log for log, _ in outflow.lacking_positions(peer)} == {"gw1/2"}

    await generations.begin()

    assert bka.identity.profile is not None
    assert bka.identity.profile.proof.checkpoint.origin.generation == 2


async def _killed(*_: object, **__: object) -> bool:
    raise RuntimeError("killed")
