"""Who the peer is and which pairs speak for it (PROTOCOL §4, §9.1): its root, its anchor, its node pairs, and what it
learns again of them from the other side. Owns no log.
"""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from tests.peerkit.anchors import Anchor, RootPair
from tests.peerkit.certificates import make_tls
from tests.peerkit.formats import sha256
from tests.peerkit.own_log import GATEWAY, NodePair
from tests.peerkit.pins import Pairs


class OwnKeys:
    """The keys of an agency with one gateway."""

    def __init__(self, agency: str, country: str) -> None:
        self.agency, self.country = agency, country
        self.root = RootPair()
        self.pair = NodePair()
        self.at_hand = [self.pair]  # every private half ever drawn that was not lost
        self.tls_key, self.tls_chain, self.tls_root = make_tls(agency)
        self.anchor = self._sign_anchor(1, [1, 0, sha256()])
        self.own_pairs = Pairs.of_anchor(self.anchor)

    @property
    def code(self) -> str:
        return self.anchor.code

    @property
    def node_ml(self) -> MLDSA44PrivateKey:
        return self.pair.mldsa44

    @node_ml.setter
    def node_ml(self, key: MLDSA44PrivateKey) -> None:
        self.pair.mldsa44 = key

    def _sign_anchor(self, serial: int, at: list[Any]) -> Anchor:
        """Our anchor: our pair signs beyond this generation, size and root."""
        gateway = [GATEWAY, *at, self.pair.public, NodePair().public, self.tls_root]
        return Anchor.read(self.root.sign(self.agency, self.country, serial, [gateway]))

    def draw_pair(self) -> NodePair:
        """A pair that was never used."""
        pair = NodePair()
        self.at_hand.append(pair)
        return pair

    def anchor_at(self, at: list[Any], serial: int) -> None:
        """A ceremony: the root names our pair beyond this generation, size and root."""
        self.anchor = self._sign_anchor(serial, at)
        self.own_pairs.learn_anchor(self.anchor)

    def forget_anchors(self, first: Anchor) -> None:
        """The store is an old copy, from when this anchor was the newest; the private halves are all at hand."""
        self.anchor, self.own_pairs = first, Pairs.of_anchor(first)

    def take_back(self, anchor: Anchor) -> bool:
        """Take an anchor of ours that the other side holds and we lost, and its pair where that is at hand; whether it
        was news.
        """
        if not anchor.follows(self.anchor):
            return False
        self.anchor = anchor
        self.own_pairs.learn_anchor(anchor)
        self.use_newest()
        return True

    def use_newest(self) -> None:
        """Sign with the newest of our pairs, if its private half is at hand."""
        newest = self.own_pairs.newest(GATEWAY)
        self.pair = next((pair for pair in self.at_hand if pair.public == newest), self.pair)
