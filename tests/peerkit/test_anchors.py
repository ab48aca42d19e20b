"""Anchors of higher serial, anchors that were lost and what was lost with them (PROTOCOL §4, §9, §9.1), between a peer
written from the document and a running node, both ways.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.peerkit.anchors import Anchor
from tests.peerkit.formats import ISSUED, REFUSED, NotProvedError, decode, encode
from tests.peerkit.independent_peer import HELLO_HEAD_WANTED, IndependentPeer
from tests.peerkit.meeting import answer_to, is_proved, port_of, receipt_for, sealed_alert, wait
from tests.peerkit.own_log import GATEWAY
from tests.peerkit.pins import Other, Pairs
from tests.system.agencies import Node, until
from tests.system.test_lost_keys import finding_codes, keep_copy, put_back, sign_next_anchor


def anchors(rounds: list[list[Any]]) -> list[tuple[str, int]]:
    """Agency and serial of the anchors in these rounds."""
    read = [Anchor.read(spoken[2]) for spoken in rounds if spoken[2] is not None]
    return [(anchor.agency, anchor.serial) for anchor in read]


def serial_of(node: Node) -> int:
    return int(node.ok("keys", "status")["root"]["serial"])


def passes_both_ways(node: Node, peer: IndependentPeer) -> str:
    """An alert of either is taken by the other; the node's message."""
    posted = node.post(peer.agency, "--wait", "60")
    assert posted["recipients"][0]["state"] == "stored"
    receipt_for(peer, node)
    return str(posted["message_id"])


@pytest.fixture
def ceremony_forgotten(node: Node, peer: IndependentPeer, request: pytest.FixtureRequest) -> None:
    """The peer holds the node's second anchor; of the stopped node these parts are from before it."""
    receipt_for(peer, node)
    node.stop()
    node.ok("keys", "export-root", "-o", str(node.home / "root"))
    copy = keep_copy(node)
    node.start()
    sign_next_anchor(node, node.home)
    node.start()
    receipt_for(peer, node)
    wait(peer, lambda: peer.other.anchor.serial == 2)
    put_back(node, copy, *request.param)


# --- the node's anchors ---


def test_a_newer_anchor_of_the_node_is_taken_from_a_round_and_alerts_go_on(
    node: Node, peer: IndependentPeer, heard: list[list[Any]]
) -> None:
    node.ok("keys", "rotate")
    receipt_for(peer, node)
    sign_next_anchor(node, node.home)
    heard.clear()
    node.start()
    passes_both_ways(node, peer)
    assert peer.other.anchor.serial == 2
    assert anchors(heard) == [("bka.de", 2)]
    node.ok("keys", "rotate")  # and a change leads on from the pair that it names
    is_proved(node, passes_both_ways(node, peer))
    assert peer.other.pairs.changes_of(GATEWAY)[-1].pair == peer.other.pairs.newest(GATEWAY)


def test_the_card_of_a_ceremony_is_read_by_one_who_knows_no_anchor_before_it(node: Node, peer: IndependentPeer) -> None:
    node.ok("keys", "rotate")
    receipt_for(peer, node)
    card = sign_next_anchor(node, node.home)
    reader = IndependentPeer("policia.ec", "EC")
    reader.pin(card.read_text(), node.code)
    assert reader.other.anchor.serial == 2
    assert reader.other.pairs.newest(GATEWAY) == peer.other.pairs.newest(GATEWAY)
    node.start()
    newer = IndependentPeer("policia.ec", "EC")
    newer.pin((node.directory / "card.tocsin").read_text(), node.code)
    assert newer.other.pairs.newest(GATEWAY) == peer.other.pairs.newest(GATEWAY)


def test_a_called_node_that_does_not_know_its_head_yet_shows_its_newer_anchor_beside_the_hello(
    node: Node, peer: IndependentPeer, heard: list[list[Any]]
) -> None:
    receipt_for(peer, node)
    sign_next_anchor(node, node.home)
    heard.clear()
    with peer.lock:  # what the node asks of its own accord waits
        node.start()
        assert peer.call("127.0.0.1", port_of(node))[0] == 200
        assert heard[0][1][HELLO_HEAD_WANTED] is True
        assert heard[0][4] == []
        assert anchors(heard[:1]) == [("bka.de", 2)]
        assert peer.other.anchor.serial == 2


@pytest.mark.parametrize("ceremony_forgotten", [(), ("store",)], indirect=True, ids=["all of it", "its store"])
@pytest.mark.usefixtures("ceremony_forgotten")
def test_a_node_from_before_its_ceremony_is_given_its_anchor_back_and_alerts_flow_again(
    node: Node, peer: IndependentPeer, heard: list[list[Any]], said: list[list[Any]]
) -> None:
    node.start()
    posted = passes_both_ways(node, peer)
    assert set(anchors(heard)) == {("bka.de", 1)}
    assert set(anchors(said)) == {("bka.de", 2)}
    assert serial_of(node) == 2
    assert peer.other.newest_generation(GATEWAY) == 2
    assert "needs_anchor" not in finding_codes(node)
    is_proved(node, posted)


@pytest.mark.parametrize("ceremony_forgotten", [()], indirect=True)
@pytest.mark.usefixtures("ceremony_forgotten")
def test_a_called_node_takes_its_anchor_from_a_request_before_it_knows_its_head(
    node: Node, peer: IndependentPeer, heard: list[list[Any]], said: list[list[Any]]
) -> None:
    with peer.lock:  # what the node asks of its own accord waits
        node.start()
        assert peer.call("127.0.0.1", port_of(node))[0] == 200
        assert (heard[0][1][HELLO_HEAD_WANTED], heard[0][4], anchors(heard[:1])) == (True, [], [("bka.de", 1)])
        assert anchors(said) == [("bka.de", 2)]
        assert serial_of(node) == 2


def test_a_node_that_lost_the_pair_of_its_anchor_needs_the_root_and_is_followed_under_the_anchor_after_it(
    node: Node, peer: IndependentPeer
) -> None:
    node.stop()
    node.ok("keys", "export-root", "-o", str(node.home / "root"))
    copy = keep_copy(node)
    node.start()
    receipt_for(peer, node)
    node.ok("keys", "rotate")
    sign_next_anchor(node, node.home)
    node.start()
    receipt_for(peer, node)
    put_back(node, copy)
    node.start()
    posted = node.post(peer.agency)["message_id"]
    until(lambda: "needs_anchor" in finding_codes(node), "the finding")
    assert peer.got == {}
    sign_next_anchor(node, node.home)
    node.start()
    until(lambda: node.state(posted, peer.agency) == "stored", "what waited for the anchor")
    assert peer.other.anchor.serial == serial_of(node) > 3
    receipt = receipt_for(peer, node)
    assert peer.other.pairs.check_head(receipt.compact) == peer.other.pairs.newest(GATEWAY)
    assert receipt.compact[1] == 2
    node.ok("keys", "rotate")  # and it changes its pair as ever
    receipt_for(peer, node)
    (lost, change) = peer.other.pairs.changes_of(GATEWAY)
    assert (lost.generation, change.generation) == (1, 2)
    assert peer.other.pairs.check_head(receipt_for(peer, node).compact) == change.pair
    is_proved(node, posted)


def test_a_store_from_before_a_ceremony_and_a_key_change_after_it_needs_no_root(
    node: Node, peer: IndependentPeer
) -> None:
    """It hears of the change first, and of the anchor from which it leads on then."""
    node.stop()
    node.ok("keys", "export-root", "-o", str(node.home / "root"))
    copy = keep_copy(node)
    node.start()
    receipt_for(peer, node)
    sign_next_anchor(node, node.home)
    node.start()
    receipt_for(peer, node)
    node.ok("keys", "rotate")
    receipt_for(peer, node)
    (change,) = peer.other.pairs.changes_of(GATEWAY)
    put_back(node, copy, "store")
    node.start()
    passes_both_ways(node, peer)
    assert serial_of(node) == 2
    assert peer.other.pairs.check_head(receipt_for(peer, node).compact) == change.pair


# --- the peer's anchors ---


def renewed(peer: IndependentPeer, with_new_pair: bool) -> None:
    peer.renew_anchor(peer.draw_pair() if with_new_pair else None)


@pytest.mark.parametrize("with_new_pair", [False, True], ids=["its pair", "a new pair"])
def test_a_newer_anchor_of_the_peer_is_taken_from_a_round(
    node: Node, peer: IndependentPeer, with_new_pair: bool
) -> None:
    before = node.post(peer.agency, "--wait", "60")["message_id"]
    renewed(peer, with_new_pair)
    receipt_for(peer, node)
    peer.change_pair()
    after = passes_both_ways(node, peer)
    assert node.ok("peer", "show", peer.agency)["serial"] == 2
    is_proved(node, after)
    is_proved(node, before)


@pytest.mark.parametrize("with_new_pair", [False, True], ids=["its pair", "a new pair"])
def test_a_peer_from_before_its_ceremony_is_given_its_anchor_back(
    node: Node, peer: IndependentPeer, with_new_pair: bool, heard: list[list[Any]]
) -> None:
    first, size = peer.anchor, len(peer.leaves)
    renewed(peer, with_new_pair)
    receipt_for(peer, node)
    peer.change_pair()
    receipt_for(peer, node)
    pair = peer.pair.public
    peer.restart(copy_of=size, anchor=first)
    heard.clear()
    until(lambda: peer.call("127.0.0.1", port_of(node))[0] == 200 and peer.guard_passed, "what the node holds")
    until(lambda: peer.call("127.0.0.1", port_of(node))[0] == 200 and peer.anchor.serial == 2, "the anchor")
    assert set(anchors(heard)) == {(peer.agency, 2)}
    passes_both_ways(node, peer)
    assert (peer.log.generation, peer.pair.public) == (2, pair)
    assert not finding_codes(node) & {"anchor_conflict", "key_not_valid"}


def test_anchors_that_both_sides_lack_travel_one_after_the_other(
    node: Node, peer: IndependentPeer, heard: list[list[Any]]
) -> None:
    first = peer.anchor
    peer.renew_anchor()
    receipt_for(peer, node)
    sign_next_anchor(node, node.home)
    heard.clear()
    with peer.lock:  # what the node asks of its own accord waits
        node.start()
        peer.forget_anchors(first)
        for _ in range(2):  # a call that is answered with a hello only is repeated
            assert peer.call("127.0.0.1", port_of(node))[0] == 200
        assert (peer.other.anchor.serial, peer.anchor.serial) == (2, 2)
    assert set(anchors(heard)) == {("bka.de", 2), ("ponal.co", 2)}
    passes_both_ways(node, peer)


# --- epoch keys that were lost ---


def sealed_to_another_key(peer: IndependentPeer, node: Node, number: int) -> bytes:
    """Hand the node an envelope that names this number and opens under no key of its."""
    public = IndependentPeer("policia.ec", "EC").epoch_public
    known, peer.other.epoch_keys = peer.other.epoch_keys, {number: (0, public)}
    _, envelope_id = sealed_alert(peer)
    peer.other.epoch_keys = known
    peer.refusals = []
    answer_to(peer, node, envelope_id)
    return envelope_id


def test_what_opens_under_no_key_is_refused_for_good_while_nothing_was_lost(node: Node, peer: IndependentPeer) -> None:
    envelope_id = sealed_to_another_key(peer, node, 1)
    wait(peer, lambda: peer.sent[envelope_id].answer is not None)
    answer = peer.sent[envelope_id].answer
    assert answer is not None
    assert (answer.entry[0], answer.entry[7]) == (REFUSED, "malformed")


@pytest.mark.parametrize("ceremony_forgotten", [()], indirect=True)
@pytest.mark.usefixtures("ceremony_forgotten")
def test_what_opens_under_no_key_of_a_number_from_before_the_loss_is_to_be_sealed_again(
    node: Node, peer: IndependentPeer
) -> None:
    before = max(peer.other.epoch_keys)
    node.start()
    passes_both_ways(node, peer)
    number, _ = peer.other.newest_epoch_key()
    assert number > before + 1  # usable at once, beyond a gap
    envelope_id = sealed_to_another_key(peer, node, 1)
    assert (peer.refusals, peer.sent[envelope_id].answer) == ([[envelope_id, "cannot_open"]], None)
    del peer.sent[envelope_id]
    refused = sealed_to_another_key(peer, node, number)
    wait(peer, lambda: peer.sent[refused].answer is not None)
    answer = peer.sent[refused].answer
    assert answer is not None
    assert (answer.entry[0], answer.entry[7]) == (REFUSED, "malformed")


# --- the peer's own judgement ---


@pytest.fixture
def owner() -> IndependentPeer:
    """Somebody with a log, and a reader of its card."""
    owner = IndependentPeer("ponal.co", "CO")
    owner.found_log()
    return owner


@pytest.fixture
def reader(owner: IndependentPeer) -> Other:
    return Other.from_card(owner.card(), owner.code)


def test_an_anchor_of_which_a_byte_is_changed_is_none(owner: IndependentPeer) -> None:
    for field in range(3):
        signed = list(owner.anchor.signed)
        signed[field] = signed[field][:-1] + bytes([signed[field][-1] ^ 1])
        with pytest.raises(NotProvedError):
            Anchor.read(signed)


def test_an_anchor_of_another_root_is_not_taken(owner: IndependentPeer, reader: Other) -> None:
    stranger = IndependentPeer("ponal.co", "CO")
    stranger.found_log()
    stranger.renew_anchor()
    with pytest.raises(NotProvedError, match="wrong_key"):
        reader.hear_anchor(stranger.anchor)
    assert reader.anchor == owner.anchor


def test_a_second_anchor_of_the_same_serial_is_not_taken(owner: IndependentPeer, reader: Other) -> None:
    fields = decode(owner.anchor.signed[0])
    other = Anchor.read(owner.root.sign(owner.agency, "EC", fields[4], owner.anchor.gateways))
    assert encode(fields) != other.signed[0]
    with pytest.raises(NotProvedError, match="anchor_conflict"):
        reader.hear_anchor(other)
    assert reader.anchor == owner.anchor


def test_an_anchor_of_a_lower_serial_tells_that_its_owner_lost_the_one_that_is_held(
    owner: IndependentPeer, reader: Other
) -> None:
    first = owner.anchor
    owner.renew_anchor()
    assert reader.hear_anchor(owner.anchor) is False
    assert reader.hear_anchor(first) is True
    assert reader.anchor == owner.anchor


def test_the_pair_that_an_anchor_names_signs_the_sizes_beyond_its_base_and_the_pair_before_those_up_to_it(
    owner: IndependentPeer, reader: Other
) -> None:
    before = owner.pair
    owner.renew_anchor(owner.draw_pair())
    reader.hear_anchor(owner.anchor)
    assert reader.pairs.check_head(owner.log.checkpoint(before)) == before.public
    with pytest.raises(NotProvedError, match="key_not_valid"):
        reader.pairs.check_head(owner.log.checkpoint(owner.pair))
    owner.append(ISSUED, bytes(16), bytes(32))
    assert reader.pairs.check_head(owner.log.checkpoint(owner.pair)) == owner.pair.public
    with pytest.raises(NotProvedError, match="key_not_valid"):
        reader.pairs.check_head(owner.log.checkpoint(before))


@pytest.mark.parametrize("anchor_first", [False, True])
def test_a_key_change_that_leads_on_from_an_anchor_counts_whichever_is_heard_first(anchor_first: bool) -> None:
    owner = IndependentPeer("ponal.co", "CO")
    owner.found_log()
    pairs = Pairs.of_anchor(owner.anchor)
    owner.renew_anchor()
    owner.append(ISSUED, bytes(16), bytes(32))
    owner.change_pair()
    (proof,) = owner.own_pairs.proofs_of(GATEWAY)
    if anchor_first:
        pairs.learn_anchor(owner.anchor)
    pairs.learn(proof)
    pairs.learn_anchor(owner.anchor)
    assert pairs.newest(GATEWAY) == owner.pair.public
    assert pairs.proofs_of(GATEWAY) == [proof]


def test_a_key_change_of_the_pair_that_an_anchor_replaced_is_forgotten(owner: IndependentPeer) -> None:
    pairs = Pairs.of_anchor(owner.anchor)
    size, root = len(owner.leaves), owner.log.root(len(owner.leaves))
    owner.append(ISSUED, bytes(16), bytes(32))
    owner.change_pair()
    (proof,) = owner.own_pairs.proofs_of(GATEWAY)
    pairs.learn(proof)
    owner.pair = owner.draw_pair()
    owner.anchor_at([1, size, root], 2)
    pairs.learn_anchor(owner.anchor)
    assert (pairs.newest(GATEWAY), pairs.proofs_of(GATEWAY)) == (owner.pair.public, [])
