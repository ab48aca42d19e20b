"""How the independent peer and a running node meet: cards both ways, the first rounds, an alert that a node takes."""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.peerkit.independent_peer import IndependentPeer, Sent
from tests.peerkit.pins import Statement
from tests.system.agencies import SMALLEST, Node

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


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


def receipt_for(peer: IndependentPeer, node: Node, **changes: Any) -> Statement:
    """Hand one alert to the node and hold what it receipted: in the answer, or in the node's next call where the alert
    went in the answer to a call that crossed this one.
    """
    _, envelope_id = sealed_alert(peer, **changes)
    sent = answer_to(peer, node, envelope_id)
    with peer.lock:
        assert peer.arrived.wait_for(lambda: sent.answer is not None, timeout=60)
    assert sent.answer is not None
    return sent.answer


def is_proved(node: Node, message: str) -> None:
    """The node's evidence of this message of its own convinces a stranger."""
    file = node.home / "evidence.tocsin"
    node.ok("evidence", "export", message, "-o", str(file))
    said = node.cli("evidence", "verify", str(file), directory=False)
    assert said.document["verdict"] == "proved", json.dumps(said.document)


def wait(peer: IndependentPeer, happened: Callable[[], bool]) -> None:
    """Until the node has told the peer so much."""
    with peer.lock:
        assert peer.arrived.wait_for(happened, timeout=60)


def reopened(node: Node, ahead_ms: int = HOUR_MS, then_ms: int = 0) -> None:
    """The node ran with a clock that was ahead; then it is not, and the operator opens a new generation."""
    node.kill()
    node.start(clock_ms=ahead_ms)
    node.post("ponal.co")
    node.kill()
    node.start(clock_ms=then_ms)
    node.ok("log", "reopen", "--reason", "clock")
