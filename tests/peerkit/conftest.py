"""A running node and the independent peer that it trusts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peerkit.formats import decode
from tests.peerkit.independent_peer import IndependentPeer
from tests.peerkit.line import ROUND_CAP
from tests.peerkit.meeting import introduce_to
from tests.processes import Children
from tests.system.agencies import Node


@pytest.fixture
def node(children: Children, tmp_path: Path) -> Node:
    """A running node of another house."""
    node = Node(children, tmp_path, "bka.de", "DE")
    node.born()
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


@pytest.fixture
def heard(peer: IndependentPeer, monkeypatch: pytest.MonkeyPatch) -> list[list[Any]]:
    """Every half of a round that the node says from here on."""
    rounds: list[list[Any]] = []
    absorb = peer.absorb

    def listen(blob: bytes) -> None:
        rounds.append(decode(blob, ROUND_CAP))
        absorb(blob)

    monkeypatch.setattr(peer, "absorb", listen)
    return rounds


@pytest.fixture
def said(peer: IndependentPeer, monkeypatch: pytest.MonkeyPatch) -> list[list[Any]]:
    """Every half of a round that the peer says from here on."""
    rounds: list[list[Any]] = []
    speak = peer.speak

    def note() -> list[Any]:
        rounds.append(speak())
        return rounds[-1]

    monkeypatch.setattr(peer, "speak", note)
    return rounds
