"""Key changes (PROTOCOL §4, §6.4, §7, §9) between a peer written from the document and a running node, both ways."""

from __future__ import annotations

from typing import Any

import pytest

from tests.peerkit.formats import ISSUED, KEY_DESTROYED, RECEIPT, NotProvedError, decode
from tests.peerkit.independent_peer import IndependentPeer
from tests.peerkit.meeting import answer_to, is_proved, port_of, receipt_for, sealed_alert
from tests.peerkit.own_log import GATEWAY, NodePair
from tests.peerkit.pins import Pairs, Step
from tests.system.agencies import Node, until


def changes(peer: IndependentPeer) -> list[Step]:
    """The node's key changes that the peer verified."""
    return peer.other.pairs.changes_of(GATEWAY)


def rotate(node: Node, peer: IndependentPeer, times: int = 1) -> None:
    """The node goes over to new pairs and hands the changes over."""
    for _ in range(times):
        node.ok("keys", "rotate")
    assert peer.call("127.0.0.1", port_of(node))[0] == 200


def test_the_nodes_key_change_verifies_and_its_next_receipt_is_under_the_new_pair(
    node: Node, peer: IndependentPeer
) -> None:
    before = receipt_for(peer, node)
    rotate(node, peer)
    (change,) = changes(peer)
    after = receipt_for(peer, node)
    assert peer.other.pairs.check_head(after.compact) == change.pair
    assert peer.other.pairs.check_head(before.compact) != change.pair  # and it goes on holding


def test_each_of_several_key_changes_leads_to_the_next(node: Node, peer: IndependentPeer) -> None:
    rotate(node, peer, times=3)
    assert len(changes(peer)) == 3
    assert peer.other.pairs.check_head(receipt_for(peer, node).compact) == changes(peer)[-1].pair


def test_an_envelope_that_the_node_issues_under_its_new_pair_is_taken(node: Node, peer: IndependentPeer) -> None:
    rotate(node, peer)
    posted = node.post(peer.agency)["message_id"]
    until(lambda: node.state(posted, peer.agency) == "stored", "the receipt at the node")
    assert len(peer.got) == 1


def test_a_restarted_node_learns_its_head_and_the_key_changes_to_it_from_the_peer(
    node: Node, peer: IndependentPeer
) -> None:
    rotate(node, peer)
    receipt_for(peer, node)
    node.stop()
    node.start()
    posted = node.post(peer.agency)["message_id"]
    until(lambda: node.state(posted, peer.agency) == "stored", "the guard, and the receipt")
    assert node.ask("status")["log"]["origin"] == "bka.de/gw1/1"


def test_a_card_made_after_a_key_change_leads_to_the_pair_that_signs_now(node: Node, peer: IndependentPeer) -> None:
    rotate(node, peer, times=2)
    reader = IndependentPeer("policia.ec", "EC")
    reader.pin(node.ok("card")["card"], node.code)
    assert [change.pair for change in changes(reader)] == [change.pair for change in changes(peer)]


def test_the_node_receipts_what_the_peer_issues_under_its_new_pair(node: Node, peer: IndependentPeer) -> None:
    receipt_for(peer, node)
    for _ in range(3):
        peer.change_pair()
        assert receipt_for(peer, node).entry[0] == RECEIPT


def test_an_envelope_logged_before_the_key_change_and_handed_over_after_it_is_receipted(
    node: Node, peer: IndependentPeer
) -> None:
    _, envelope_id = sealed_alert(peer)
    peer.change_pair()
    sealed_alert(peer)  # the head is larger than the one that the pair before signed last
    assert answer_to(peer, node, envelope_id).answer is not None


def test_a_head_whose_last_leaf_is_the_key_change_carries_nothing_until_one_leaf_more_is_logged(
    node: Node, peer: IndependentPeer
) -> None:
    """Size i + 1 is the newest head that there is, but its pair is not current any more."""
    _, envelope_id = sealed_alert(peer)
    peer.change_pair()
    assert answer_to(peer, node, envelope_id).answer is None
    assert peer.refusals == [[envelope_id, "key_not_valid"]]
    sealed_alert(peer)
    assert answer_to(peer, node, envelope_id).answer is not None


def test_what_the_node_issued_before_its_key_change_and_hands_over_after_it_is_under_the_new_pair(
    node: Node, peer: IndependentPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer, "_admit_envelope", lambda *_: None)
    posted = node.post(peer.agency)["message_id"]
    node.ok("keys", "rotate")
    monkeypatch.undo()
    until(lambda: node.state(posted, peer.agency) == "stored", "the receipt at the node")
    assert changes(peer)


def test_what_is_issued_under_the_pair_that_was_replaced_is_answered_key_not_valid(
    node: Node, peer: IndependentPeer
) -> None:
    before = peer.change_pair()
    receipt_for(peer, node)
    after, peer.pair, peer.refusals = peer.pair, before, []
    _, envelope_id = sealed_alert(peer)
    assert answer_to(peer, node, envelope_id).answer is None
    assert peer.refusals == [[envelope_id, "key_not_valid"]]
    peer.pair = after
    assert answer_to(peer, node, envelope_id).answer is not None


def test_a_pair_that_no_key_change_named_signs_nothing(node: Node, peer: IndependentPeer) -> None:
    receipt_for(peer, node)
    own, peer.pair, peer.refusals = peer.pair, NodePair(), []
    _, envelope_id = sealed_alert(peer)
    assert answer_to(peer, node, envelope_id).answer is None
    peer.pair = own
    assert answer_to(peer, node, envelope_id).answer is not None


def test_a_card_of_the_peer_with_key_changes_is_added_and_its_next_envelope_receipted(node: Node) -> None:
    peer = IndependentPeer("policia.ec", "EC")
    peer.pin((node.directory / "card.tocsin").read_text(), node.code)
    peer.found_log()
    for _ in range(2):
        peer.change_pair()
    peer.append(KEY_DESTROYED, 1)
    (node.home / "changed.tocsin").write_text(peer.card())
    assert node.ok("peer", "add", str(node.home / "changed.tocsin"), "--code", peer.code)["trust"] == "trusted"
    for _ in range(2):  # first contact needs two rounds
        assert peer.call("127.0.0.1", port_of(node))[0] == 200
    assert receipt_for(peer, node, originator=ecuador()).entry[0] == RECEIPT


def test_what_the_peer_receipted_before_its_key_change_stays_proved(node: Node, peer: IndependentPeer) -> None:
    posted = node.post(peer.agency, "--wait", "30")["message_id"]
    peer.change_pair()
    receipt_for(peer, node)
    is_proved(node, posted)


def ecuador() -> dict[str, Any]:
    """Who speaks in the alerts of the second peer."""
    return {
        "agency_id": "policia.ec",
        "country": "EC",
        "agency_name": "Policía Nacional del Ecuador",
        "officer_ref": "duty-02",
        "duty_contact": {"phone": "+593222555666", "languages": ["es"], "available_24x7": True},
    }


# --- the peer's own judgement ---


def changed_log() -> tuple[IndependentPeer, NodePair, Pairs]:
    """A peer that changed its pair, the pair before, and what a reader knows who has the anchor only."""
    peer = IndependentPeer("ponal.co", "CO")
    peer.found_log()
    reader = Pairs.of_anchor(peer.anchor)
    return peer, peer.change_pair(), reader


def test_the_size_of_the_key_change_is_the_last_that_the_pair_before_signs() -> None:
    peer, before, reader = changed_log()
    (proof,) = peer.own_pairs.proofs_of(GATEWAY)
    reader.learn(proof)
    assert reader.check_head(peer.checkpoint()) == before.public
    peer.append(ISSUED, bytes(16), bytes(32))
    assert reader.check_head(peer.checkpoint()) == peer.pair.public
    with pytest.raises(NotProvedError, match="key_not_valid"):
        reader.check_head(peer.log.checkpoint(before))


@pytest.mark.parametrize("field", [3, 4, 5, 6])
def test_a_key_change_that_its_new_pair_did_not_sign_changes_nothing(field: int) -> None:
    peer, before, reader = changed_log()
    other, _, _ = changed_log()
    entry = peer.log.entries.pop()
    peer.log.leaves.pop()
    peer.log.change_head = None
    fields, foreign = decode(entry), decode(other.entries[-1])
    fields[field] = foreign[field]
    index = peer.append(fields[0], *fields[3:])
    with pytest.raises(NotProvedError, match="bad_checkpoint_signature"):
        reader.learn(peer.log.proof(index, peer.log.checkpoint(before)))
    assert reader.newest(GATEWAY) == before.public


def test_a_key_change_proved_to_a_larger_size_than_its_own_changes_nothing() -> None:
    peer, before, reader = changed_log()
    index = len(peer.leaves) - 1
    peer.append(ISSUED, bytes(16), bytes(32))
    with pytest.raises(NotProvedError, match="bad_proof"):
        reader.learn(peer.log.proof(index, peer.log.checkpoint(before)))
