"""What is remembered of a peer stays within bounds that its own words cannot move."""

from __future__ import annotations

from exchange.round import MAX_CONSISTENCY
from nodes.peers import MAX_CROSSED, Head, Peer
from nodes.store.contract import PeerRow
from tests.exchange.agencies import GATEWAY, NOW, filler, make_agency

ROW = PeerRow(make_agency("ponal.co").agency, "trusted", "Policia", "CO", b"anchor", None, 1, 1, None, None, None)


def _peer() -> Peer:
    return Peer(row=ROW, keys=make_agency("ponal.co").keys)


def test_a_group_never_carries_more_proofs_of_consistency_than_a_peer_takes() -> None:
    peer = _peer()
    peer.holds, peer.handed = {1: tuple(range(10, 18))}, {1: 30}
    sizes = peer.sizes_to_prove_from(1, 40)
    assert len(sizes) == MAX_CONSISTENCY
    assert (sizes[0], sizes[-1]) == (10, 30)  # the head that the others hang on, and the one handed over last


def test_of_heads_that_crossed_the_newest_are_remembered() -> None:
    peer, agency = _peer(), make_agency("ponal.co")
    filler(agency, 40)
    checkpoint = agency.log.checkpoints[40]
    for size in range(1, 41):
        peer.cross(Head(GATEWAY, 1, size, bytes(32), checkpoint, NOW))
    assert sorted(size for _, _, size in peer.unreconciled) == list(range(41 - MAX_CROSSED, 41))
