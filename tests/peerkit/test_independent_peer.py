"""A peer written from docs/PROTOCOL.md alone meets a running node: is the document enough, does the node keep to it?"""

from __future__ import annotations

import ast
import json
import os
import uuid
from pathlib import Path

import pytest

from tests.peerkit.formats import RECEIPT, REFUSED, NotProvedError, decode, note_of, unarmour
from tests.peerkit.independent_peer import IndependentPeer
from tests.peerkit.meeting import DAY_MS, answer_to, port_of, sealed_alert
from tests.peerkit.tree import (
    check_consistency,
    check_inclusion,
    check_multiproof,
    inner,
    leaf_hash,
    make_consistency,
    make_multiproof,
    tree_root,
)
from tests.system.agencies import SMALLEST, Node, until


def test_the_node_accepts_the_card_and_shows_the_safety_code_that_the_peer_computed(
    node: Node, peer: IndependentPeer
) -> None:
    shown = node.ok("peer", "show", "ponal.co")
    assert (shown["safety_code"], shown["serial"], shown["country"]) == (peer.code, 1, "CO")


def test_a_card_with_another_safety_code_is_refused_on_both_sides(node: Node, peer: IndependentPeer) -> None:
    stranger = IndependentPeer("policia.ec", "EC")
    stranger.found_log()
    (node.home / "stranger.tocsin").write_text(stranger.card())
    assert node.cli("peer", "add", str(node.home / "stranger.tocsin"), "--code", peer.code).exit != 0
    with pytest.raises(NotProvedError, match="wrong_key"):
        stranger.pin((node.directory / "card.tocsin").read_text(), peer.code)


def test_an_envelope_of_the_peer_is_shown_and_its_receipt_is_proved(node: Node, peer: IndependentPeer) -> None:
    message_id, envelope_id = sealed_alert(peer)
    receipt = answer_to(peer, node, envelope_id).answer
    assert receipt is not None
    assert receipt.entry[0] == RECEIPT  # steps 1 to 8 of §7.1 were taken by the peer before it kept it
    assert [row["message_id"] for row in node.inbox()] == [str(message_id)]


def test_a_receipt_does_not_hold_once_a_byte_of_it_is_changed(node: Node, peer: IndependentPeer) -> None:
    _, envelope_id = sealed_alert(peer)
    receipt = answer_to(peer, node, envelope_id).answer
    assert receipt is not None
    peer.other.prove(receipt.blob, receipt.index, receipt.path, receipt.compact)
    for at in (-1, len(receipt.blob) // 2):
        blob = bytearray(receipt.blob)
        blob[at] ^= 1
        with pytest.raises(NotProvedError):
            peer.other.prove(bytes(blob), receipt.index, receipt.path, receipt.compact)
    with pytest.raises(NotProvedError, match="bad_checkpoint_signature"):
        peer.other.prove(
            receipt.blob,
            receipt.index,
            receipt.path,
            [*receipt.compact[:5], receipt.compact[5] + 1, receipt.compact[6]],
        )


def test_the_same_envelope_again_gets_the_same_receipt_byte_for_byte(node: Node, peer: IndependentPeer) -> None:
    _, envelope_id = sealed_alert(peer)
    sent = answer_to(peer, node, envelope_id)
    first, sent.answer = sent.answer, None
    again = answer_to(peer, node, envelope_id).answer
    assert first is not None
    assert again is not None
    assert again.blob == first.blob


def test_an_analysts_bare_form_is_no_message_and_is_refused_under_signature(node: Node, peer: IndependentPeer) -> None:
    message_id = uuid.uuid4()
    envelope_id = peer.seal_message(
        message_id.bytes, json.dumps(SMALLEST).encode(), precedence=1, lifetime_ms=7 * DAY_MS
    )
    refusal = answer_to(peer, node, envelope_id).answer
    assert refusal is not None
    assert (refusal.entry[0], refusal.entry[7]) == (REFUSED, "invalid_message")


def test_an_alert_in_anothers_name_is_refused_by_policy(node: Node, peer: IndependentPeer) -> None:
    _, envelope_id = sealed_alert(
        peer,
        originator={
            "agency_id": "interpol.int",
            "country": "FR",
            "agency_name": "Interpol",
            "officer_ref": "duty-01",
            "duty_contact": {"phone": "+33472447163", "available_24x7": True},
        },
    )
    refusal = answer_to(peer, node, envelope_id).answer
    assert refusal is not None
    assert (refusal.entry[0], refusal.entry[7]) == (REFUSED, "policy_denied")


def test_an_envelope_of_the_node_opens_and_the_nodes_state_becomes_stored(node: Node, peer: IndependentPeer) -> None:
    posted = node.post(peer.agency)
    until(lambda: node.state(posted["message_id"], peer.agency) == "stored", "the receipt at the node")
    (got,) = peer.got.values()
    document = json.loads(got.message)
    assert uuid.UUID(bytes=got.message_id) == uuid.UUID(posted["message_id"]) == uuid.UUID(document["message_id"])
    assert document["summary"] == SMALLEST["summary"]
    assert got.number == [1, 1]


def test_a_round_that_is_no_messagepack_is_answered_malformed(
    node: Node, peer: IndependentPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer, "speak", lambda: {"a": 1})
    status, body = peer.call("127.0.0.1", port_of(node))
    assert (status, decode(body)) == (400, [1, "malformed"])


def test_a_suspended_peer_is_told_that_it_is_not_trusted(node: Node, peer: IndependentPeer) -> None:
    node.ok("peer", "suspend", peer.agency)
    status, body = peer.call("127.0.0.1", port_of(node))
    assert (status, decode(body)) == (403, [1, "not_trusted"])


# --- the peer's own parts, against each other ---


@pytest.mark.parametrize("size", range(1, 20))
def test_paths_derived_from_a_multiproof_are_inclusion_paths(size: int) -> None:
    leaves = [leaf_hash(bytes([at])) for at in range(size)]
    root = tree_root(leaves)
    for indices in ([0], [size - 1], list(range(0, size, 3)), list(range(size))):
        chosen = sorted(set(indices))
        nodes = make_multiproof(leaves, chosen)
        paths = check_multiproof(size, root, {index: leaves[index] for index in chosen}, nodes)
        for index in chosen:
            check_inclusion(leaves[index], index, size, paths[index], root)
        with pytest.raises(NotProvedError):
            check_multiproof(size, root, {index: leaves[index] for index in chosen}, [*nodes, root])


@pytest.mark.parametrize("size", range(1, 20))
def test_consistency_holds_from_every_size_and_from_no_other_tree(size: int) -> None:
    leaves = [leaf_hash(bytes([at])) for at in range(size)]
    for first in range(1, size + 1):
        path = make_consistency(leaves, first)
        check_consistency(first, tree_root(leaves[:first]), size, tree_root(leaves), path)
        with pytest.raises(NotProvedError):
            check_consistency(first, inner(leaves[0], leaves[0]), size, tree_root(leaves), path)


def test_text_around_the_armour_is_ignored() -> None:
    peer = IndependentPeer("ponal.co", "CO")
    peer.found_log()
    text = peer.card()
    assert unarmour("Dear colleague,\n\n" + text + "\nregards\n") == unarmour(text)
    assert note_of(peer.agency, [peer.pair.public[0], b""], peer.checkpoint()).count(b"\n") == 6


@pytest.mark.parametrize("cap", [1, 10])
def test_what_is_longer_than_its_cap_is_not_parsed(cap: int) -> None:
    with pytest.raises(NotProvedError, match="too_large"):
        decode(os.urandom(cap + 1), cap)


@pytest.mark.parametrize(
    "module",
    "anchors certificates envelopes formats independent_peer line own_keys own_log pins tree".split(),
)
def test_the_peer_is_made_of_nothing_of_the_product(module: str) -> None:
    parsed = ast.parse(Path(__file__).with_name(f"{module}.py").read_text())
    named = [each.module or "" for each in ast.walk(parsed) if isinstance(each, ast.ImportFrom)]
    named += [alias.name for each in ast.walk(parsed) if isinstance(each, ast.Import) for alias in each.names]
    assert {name.split(".")[0] for name in named}.isdisjoint({"keys", "exchange", "nodes"})
    assert all(name.startswith("tests.peerkit.") for name in named if name.startswith("tests"))
