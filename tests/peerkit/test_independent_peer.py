"""A peer written from docs/PROTOCOL.md alone meets a running node: is the document enough, does the node keep to it?"""

from __future__ import annotations

import copy
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peerkit.independent_peer import (
    RECEIPT,
    REFUSED,
    IndependentPeer,
    NotProvedError,
    Sent,
    check_inclusion,
    check_multiproof,
    decode,
    inner,
    leaf_hash,
    make_consistency,
    make_multiproof,
    note_of,
    tree_root,
    unarmour,
)
from tests.peerkit.independent_peer import check_consistency as consistent
from tests.processes import Children
from tests.system.agencies import SMALLEST, Node, until

DAY_MS = 86_400_000


@pytest.fixture
def node(children: Children, tmp_path: Path) -> Node:
    """A running node of another house."""
    node = Node(children, tmp_path, "bka.de", "DE")
    assert node.make().exit == 0
    node.start()
    return node


@pytest.fixture
def peer(node: Node) -> Iterator[IndependentPeer]:
    """The independent peer, listening, with its card added to the node and past the first rounds."""
    peer = IndependentPeer("ponal.co", "CO")
    peer.pin((node.directory / "card.tocsin").read_text(), node.code)
    with peer.listening() as port:
        peer.found_log([f"https://127.0.0.1:{port}"])
        introduce_to(node, peer)
        yield peer


def introduce_to(node: Node, peer: IndependentPeer) -> None:
    """`peer add`, and the first contact, which the node begins."""
    card = node.home / "independent.tocsin"
    card.write_text(peer.card())
    assert node.ok("peer", "add", str(card), "--code", peer.code)["trust"] == "trusted"
    with peer.lock:
        assert peer.arrived.wait_for(lambda: bool(peer.other.epoch_keys and peer.other.knows[2]), timeout=60)


def port_of(node: Node) -> int:
    return int(node.ask("status")["listen"].rpartition(":")[2])


def committed(message_id: uuid.UUID, created_at: str, expires_at: str, retain_until: str) -> dict[str, Any]:
    """The smallest alert with all that its originator's node fills in (docs/CLI.md §2)."""
    alert: dict[str, Any] = copy.deepcopy(SMALLEST)
    contact = {"phone": "+573004417722", "languages": ["es"], "available_24x7": True}
    alert |= {
        "schema": "kxa/1.0",
        "message_id": str(message_id),
        "case_id": "CO-PONAL/2026/000017",
        "revision": 1,
        "status": "actual",
        "originator": {
            "agency_id": "ponal.co",
            "country": "CO",
            "agency_name": "Policía Nacional de Colombia",
            "officer_ref": "duty-07",
            "duty_contact": contact,
        },
        "sent_at": created_at,
        "created_at": created_at,
        "expires_at": expires_at,
        "languages": {"primary": "es"},
        "purpose": "save_life",
        "legal_basis": [{"code": "untoc"}],
        "transfer_basis": "vital_interests",
        "grading": {
            "scheme": "4x4",
            "source": "X",
            "info": "4",
            "fact": "reported",
            "assessed_at": created_at,
            "sanitised": False,
        },
    }
    alert["handling"] |= {
        "h": ["H0"],
        "onward": {"allowed": "consent"},
        "evidence_use": "with_consent",
        "victim_identity": "full",
        "retain_until": retain_until,
        "review_at": retain_until,
        "log_reads": False,
    }
    alert["incident"] |= {
        "phase": "confirmed_no_contact",
        "victim_count": {"min": 1, "max": 1},
        "cross_border": {"suspected": False},
        "media": {"state": "blackout"},
    }
    alert["incident"]["risk"]["assessed_at"] = created_at
    alert["persons"][0]["led_category"] = "c"
    return alert


def sealed_alert(peer: IndependentPeer, **changes: Any) -> tuple[uuid.UUID, bytes]:
    """Seal such an alert; its message id and envelope id."""
    from datetime import UTC, datetime, timedelta

    now = datetime.now(UTC)

    def text(days: int) -> str:
        return (now + timedelta(days=days)).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    message_id = uuid.uuid4()
    message = committed(message_id, text(0), text(7), text(37)) | changes
    blob = json.dumps(message, ensure_ascii=False).encode()
    return message_id, peer.seal_message(message_id.bytes, blob, precedence=1, lifetime_ms=7 * DAY_MS)


def answer_to(peer: IndependentPeer, node: Node, envelope_id: bytes) -> Sent:
    """Hold one round with the node; what it said about the envelope."""
    status, _ = peer.call("127.0.0.1", port_of(node))
    assert status == 200
    return peer.sent[envelope_id]


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
        consistent(first, tree_root(leaves[:first]), size, tree_root(leaves), path)
        with pytest.raises(NotProvedError):
            consistent(first, inner(leaves[0], leaves[0]), size, tree_root(leaves), path)


def test_text_around_the_armour_is_ignored() -> None:
    peer = IndependentPeer("ponal.co", "CO")
    peer.found_log()
    text = peer.card()
    assert unarmour("Dear colleague,\n\n" + text + "\nregards\n") == unarmour(text)
    assert note_of(peer.agency, [bytes(peer.node_ed.verify_key), b""], peer.checkpoint()).count(b"\n") == 6


@pytest.mark.parametrize("cap", [1, 10])
def test_what_is_longer_than_its_cap_is_not_parsed(cap: int) -> None:
    with pytest.raises(NotProvedError, match="too_large"):
        decode(os.urandom(cap + 1), cap)
