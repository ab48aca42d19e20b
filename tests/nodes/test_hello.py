"""The fork guard (PROTOCOL §9.1): what a peer's picture of our log means for what we may say."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from exchange.checkpoint import Checkpoint, sign_checkpoint
from exchange.log import Frontier, leaf_hash
from exchange.proof import Proof
from exchange.round import HeldHead, Hello, Known, Numbers
from keys.anchor import EMPTY_ROOT, AnchorBody, GatewayEntry, make_anchor
from keys.certificates import make_tls_root
from keys.ids import AgencyId, GatewayName, Origin
from keys.keystore import KeyStore
from keys.signing import NodeKeyPair, RootKeyPair, WitnessKeyPair
from nodes.hello import Forked, NotTold, Passed, judge_held, our_hello
from nodes.identity import Identity
from nodes.peers import MAX_GENERATIONS, Head, Peer
from nodes.store.contract import PeerRow

AGENCY, GATEWAY = AgencyId("bka.de"), GatewayName("gw1")
LEAVES = [leaf_hash(bytes([number])) for number in range(9)]


@pytest.fixture(scope="module")
def pair() -> NodeKeyPair:
    return NodeKeyPair.generate()


@pytest.fixture(scope="module")
def own(pair: NodeKeyPair) -> Identity:
    root = RootKeyPair.generate()
    gateway = GatewayEntry(
        name=GATEWAY,
        generation=1,
        base_size=0,
        base_root=EMPTY_ROOT,
        node=pair.public,
        witness=WitnessKeyPair.generate().public,
        tls_root=make_tls_root(AGENCY, 1_800_000_000_000)[0],
    )
    body = AnchorBody(
        agency=AGENCY,
        names=(("de", "Bundeskriminalamt"),),
        country="DE",
        serial=1,
        root=root.public,
        issued_at=1,
        expires_at=2,
        gateways=(gateway,),
    )
    return Identity(
        agency=AGENCY,
        anchors=[make_anchor(body, root)],
        key_changes=(),
        keystore=cast(KeyStore, None),  # a verdict asks for no secret
        epoch_rows=(),
    )


def root_of(size: int, leaves: list[bytes] = LEAVES) -> bytes:
    return Frontier.empty().append_many(leaves[:size]).frontier.root


def head(pair: NodeKeyPair, size: int, root: bytes | None = None, generation: int = 1) -> Checkpoint:
    return sign_checkpoint(Origin(AGENCY, GATEWAY, generation), size, root or root_of(size), 1, pair)


def hello(*held: HeldHead) -> Hello:
    return Hello(1, False, (), held, Known(bytes(32), None, 0), Numbers(0, 1, 1))


def holding(checkpoint: Checkpoint) -> HeldHead:
    return HeldHead(GATEWAY, checkpoint.origin.generation, checkpoint.size, 0, checkpoint)


ROOTS = {size: root_of(size) for size in range(1, 6)}


def judge(own: Identity, spoken: Hello) -> Passed | NotTold | Forked:
    return judge_held(spoken, own, generation=1, size=5, roots=ROOTS)


def test_a_peer_that_holds_no_head_of_ours_may_be_spoken_to(own: Identity) -> None:
    assert judge(own, hello()) == Passed()
    assert judge(own, hello(HeldHead(GATEWAY, 1, 0, 0))) == Passed()


def test_a_head_that_is_a_prefix_of_our_log_passes(own: Identity, pair: NodeKeyPair) -> None:
    assert judge(own, hello(holding(head(pair, 3)))) == Passed()
    assert judge(own, hello(holding(head(pair, 5)))) == Passed()


def test_a_size_without_its_checkpoint_is_no_answer(own: Identity) -> None:
    assert judge(own, hello(HeldHead(GATEWAY, 1, 3, 0))) == NotTold()


def test_a_longer_head_of_ours_means_that_we_lost_history(own: Identity, pair: NodeKeyPair) -> None:
    verdict = judge(own, hello(holding(head(pair, 7))))
    assert isinstance(verdict, Forked)
    assert (verdict.generation, verdict.checkpoint.size) == (1, 7)


def test_another_history_of_the_same_size_means_that_we_were_copied(own: Identity, pair: NodeKeyPair) -> None:
    other = head(pair, 4, root_of(4, [leaf_hash(b"other"), *LEAVES[1:]]))
    assert isinstance(judge(own, hello(holding(other))), Forked)


def test_an_invented_larger_head_does_not_count(own: Identity) -> None:
    assert judge(own, hello(holding(head(NodeKeyPair.generate(), 7)))) == NotTold(unproved=True)


def test_a_later_generation_of_ours_that_we_do_not_know_is_a_loss_of_history(own: Identity, pair: NodeKeyPair) -> None:
    assert isinstance(judge(own, hello(holding(head(pair, 2, generation=2)))), Forked)


def test_heads_of_an_older_generation_bind_nothing_any_more(own: Identity, pair: NodeKeyPair) -> None:
    spoken = hello(holding(head(pair, 7)))
    assert judge_held(spoken, own, generation=2, size=5, roots=ROOTS) == Passed()


def test_of_several_heads_every_one_must_be_ours(own: Identity, pair: NodeKeyPair) -> None:
    crossed = holding(head(pair, 2, root_of(2, [leaf_hash(b"other"), *LEAVES[1:]])))
    assert isinstance(judge(own, hello(holding(head(pair, 4)), crossed)), Forked)


def test_a_jump_over_a_thousand_generations_is_not_believed(own: Identity, pair: NodeKeyPair) -> None:
    assert judge(own, hello(holding(head(pair, 2, generation=1_500)))) == NotTold()


def test_another_gateways_heads_are_not_ours(own: Identity, pair: NodeKeyPair) -> None:
    other = replace(holding(head(pair, 7)), gateway=GatewayName("gw2"))
    assert judge(own, hello(other)) == Passed()


def test_however_many_generations_a_peer_has_told_of_the_hello_names_few_and_their_key_changes_once(
    own: Identity, pair: NodeKeyPair
) -> None:
    """A small request asks for it, and so does each of our starts."""
    row = PeerRow(AGENCY, "trusted", "BKA", "DE", b"", None, 1, 1, None, None, None)
    leading = SimpleNamespace(checkpoint=head(pair, 1))
    keys = replace(own.keys, changes=cast("tuple[Proof, ...]", (leading,) * 5))
    peer = Peer(row=row, keys=keys)
    for generation in range(1, 101):
        peer.hold(Head(GATEWAY, generation, 9, root_of(9), head(pair, 9, generation=generation), 1))
    for size in (5, 7):
        peer.cross(Head(GATEWAY, 100, size, root_of(size), head(pair, size, generation=100), 1))

    said = our_hello(own, peer, now=1, generation=1, size=0)

    assert len(said.held) == MAX_GENERATIONS + 2
    assert max(held.generation for held in said.held) == 100
    assert all(held.checkpoint is not None for held in said.held)
    assert [held.generation for held in said.held if held.key_changes] == [100]


def test_what_leads_to_one_head_leads_to_its_siblings(own: Identity, pair: NodeKeyPair) -> None:
    first, second = holding(head(pair, 3)), replace(holding(head(pair, 5)), key_changes=())
    assert isinstance(judge(own, hello(first, second)), Passed)
