"""What a trusted peer says of itself, over a real line: keys that do not work, heads that contradict each other, more
than its share. A bad word is counted and changes nothing; the next honest alert arrives, from it and from others.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.hostile_line import Came, HostileLine, Unscrupulous, harming_nothing
from tests.peerkit.formats import EPOCH_KEY, NotProvedError, decode, encode, now_ms
from tests.peerkit.independent_peer import IndependentPeer
from tests.peerkit.meeting import answer_to, introduce_to, port_of, sealed_alert
from tests.peerkit.tree import leaf_hash, make_consistency, make_multiproof
from tests.processes import Children
from tests.system.agencies import Node, until

LONDON = {
    "agency_id": "met.uk",
    "country": "GB",
    "agency_name": "Metropolitan Police",
    "officer_ref": "duty-01",
    "duty_contact": {"phone": "+442072301212", "languages": ["en"], "available_24x7": True},
}


def _own_key(peer: IndependentPeer) -> tuple[bytes, bytes]:
    return peer.kem.public_key().public_bytes_raw(), peer.x25519.public_key().public_bytes_raw()


@pytest.mark.parametrize("name", ["X25519 of low order", "ML-KEM not reduced", "cut short"])
def test_an_epoch_key_that_nobody_honest_makes_is_not_used(line: HostileLine, name: str) -> None:
    peer = line.peer
    kem, x25519 = _own_key(peer)
    public = {
        "X25519 of low order": kem + bytes(32),
        "ML-KEM not reduced": b"\xff" * 1152 + kem[1152:] + x25519,
        "cut short": (kem + x25519)[:-1],
    }[name]
    with harming_nothing(line):
        peer.to_send.add(peer.append(EPOCH_KEY, 50, now_ms(), public))
        assert peer.call("127.0.0.1", line.port)[0] == 200
    own = line.node.post("ponal.co")["message_id"]
    until(lambda: line.node.state(own, "ponal.co") == "stored", "our alert, sealed to the key that works")


def test_a_thousand_epoch_keys_fill_no_memory(line: HostileLine) -> None:
    peer = line.peer
    public = b"".join(_own_key(peer))
    year = 365 * 86_400_000
    with harming_nothing(line):
        peer.to_send |= {peer.append(EPOCH_KEY, 100 + n, now_ms() + year, public) for n in range(1_000)}
        assert peer.call("127.0.0.1", line.port)[0] == 200


def _anchor_of_the_node(line: HostileLine, name: str) -> list[Any]:
    """The node's own anchor, as a peer would hand it back to one that lost it (PROTOCOL §9.1)."""
    peer = line.peer
    body, *signatures = peer.other.anchor.signed
    fields = decode(body)
    if name == "as it is":
        return [body, *signatures]
    fields[4] += 1
    if name == "under another root":
        label = b"tocsin anchor v1"
        fields[5:7] = peer.root.public
        signed = label + b"\x00" + encode(fields)
        signatures = [peer.root.ed25519.sign(signed).signature, peer.root.mldsa65.sign(signed, label)]
    return [encode(fields), *signatures]


@pytest.mark.parametrize("name", ["as it is", "with a higher serial", "under another root"])
def test_no_peer_makes_a_node_give_up_its_keys_with_an_anchor_that_its_root_did_not_sign(
    line: HostileLine, name: str
) -> None:
    anchor = _anchor_of_the_node(line, name)

    with harming_nothing(line, 0):
        line.round(lambda spoken: [*spoken[:2], anchor, *spoken[3:]])

    status = line.node.ask("status")
    assert "needs_anchor" not in {finding["code"] for finding in status["findings"]}
    assert status["log"]["origin"].endswith("/1")


def test_a_second_history_of_the_same_size_is_not_believed(line: HostileLine) -> None:
    peer = line.peer
    _, envelope_id = sealed_alert(peer)
    assert answer_to(peer, line.node, envelope_id).answer is not None
    entry, leaf = peer.entries[0], peer.leaves[0]
    with harming_nothing(line):
        peer.entries[0] = os.urandom(8)
        peer.leaves[0] = leaf_hash(peer.entries[0])
        peer.sent[envelope_id].answer, peer.refusals = None, []
        with suppress(NotProvedError):  # the node goes on naming the true head, which the forger now denies
            peer.call("127.0.0.1", line.port)
        peer.entries[0], peer.leaves[0] = entry, leaf
        assert peer.refusals == [[envelope_id, "key_not_valid"]]


def test_a_consistency_proof_of_another_log_ties_nothing_and_hinders_nothing(
    line: HostileLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def foreign(leaves: list[bytes], size: int) -> list[bytes]:
        return [os.urandom(32) for _ in make_consistency(leaves, size)]

    monkeypatch.setattr("tests.peerkit.independent_peer.make_consistency", foreign)
    _, envelope_id = sealed_alert(line.peer)
    assert answer_to(line.peer, line.node, envelope_id).answer is not None
    monkeypatch.undo()
    with harming_nothing(line, entries=0):
        pass  # what is asked after every attack


@pytest.fixture
def strict(children: Children, tmp_path: Path) -> Iterator[tuple[Node, Unscrupulous, IndependentPeer]]:
    """A node whose budgets are small, a peer that floods it and one that does not."""
    node = Node(children, tmp_path, "bka.de", "DE")
    node.born()
    config = node.directory / "node.toml"
    config.write_text(config.read_text().replace("peer_work_per_s = 4000", "peer_work_per_s = 1200"))
    node.start()
    hostile, honest = Unscrupulous("ponal.co", "CO"), IndependentPeer("met.uk", "GB")
    for peer in (hostile, honest):
        peer.pin((node.directory / "card.tocsin").read_text(), node.code)
    with hostile.listening() as first, honest.listening() as second:
        for peer, port in ((hostile, first), (honest, second)):
            peer.found_log([f"https://127.0.0.1:{port}"])
            introduce_to(node, peer)
        yield node, hostile, honest


def test_who_sends_what_proves_nothing_is_refused_before_its_signatures_are_checked_and_others_are_served(
    strict: tuple[Node, Unscrupulous, IndependentPeer],
) -> None:
    node, hostile, honest = strict
    line = HostileLine(node, hostile, port_of(node))
    bad = [line.forge(logged=lambda _: bytes(32)) for _ in range(400)]
    assert line.told(bad[0]) == Came("result", "bad_proof")
    for envelope_id in bad[1:]:
        hostile.sent.pop(envelope_id)

    assert line.told(line.forge()) == Came("http", "rate_limited", 429)
    message_id, envelope_id = sealed_alert(honest, originator=LONDON)
    assert answer_to(honest, node, envelope_id).answer is not None
    assert [row["message_id"] for row in node.inbox()] == [str(message_id)]
    assert line.traces() == 0
    until(lambda: line.told(sealed_alert(hostile)[1]).how == "receipt", "its next honest alert, once it has paid")


def test_what_is_no_round_uses_up_the_share_of_its_sender_and_slows_nobody_else_down(
    strict: tuple[Node, Unscrupulous, IndependentPeer],
) -> None:
    node, hostile, honest = strict
    line = HostileLine(node, hostile, port_of(node))
    for _ in range(6):
        assert line.post(bytes(1_000_000)) == Came("http", "malformed", 400)

    assert slowed(node)
    _, envelope_id = sealed_alert(honest, originator=LONDON)
    assert answer_to(honest, node, envelope_id).answer is not None


def test_key_changes_that_do_not_verify_use_up_the_share_of_their_sender(
    strict: tuple[Node, Unscrupulous, IndependentPeer],
) -> None:
    node, hostile, _ = strict
    line = HostileLine(node, hostile, port_of(node))
    no_change = [hostile.entries[0], 0, make_multiproof(hostile.leaves, [0]), hostile.checkpoint()]
    rounds = 0
    while not slowed(node):
        for _ in range(10):
            assert line.round(lambda spoken: [*spoken[:3], 16 * [no_change], *spoken[4:]]).how == "receipt"
        rounds += 10
        assert rounds < 500, "what it sent was charged as if it were nothing"
    # The first of a round that does not verify ends them: the others would cost as much and bring as little.
    assert f'tocsin_items_dropped_total{{code="key_not_valid"}} {rounds}.0' in node.ask("metrics")["text"]


def slowed(node: Node) -> bool:
    """Whether a peer had to wait for its budget of work."""
    return 'tocsin_rounds_limited_total{budget="work_slowed"}' in node.ask("metrics")["text"]
