"""What is remembered of a peer stays within bounds that its own words cannot move."""

from __future__ import annotations

from exchange.round import MAX_CONSISTENCY
from nodes.peers import FIRST_BATCH, MAX_BATCH, MAX_CROSSED, QUICK_MS, SLOW_MS, Head, Line, Peer
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


def test_rounds_grow_while_the_line_is_quick_and_shrink_when_one_takes_long() -> None:
    line = Line()
    for _ in range(9):
        line.carried(line.batch, QUICK_MS - 1)
    assert line.batch == MAX_BATCH
    line.carried(MAX_BATCH, SLOW_MS)
    line.carried(100, SLOW_MS)  # less waited than it could have held, and even that took long
    assert line.batch == 50
    line.carried(1, SLOW_MS)
    line.carried(0, SLOW_MS)  # nothing of this has to do with how many there were
    assert line.batch == 50


def test_a_round_that_is_neither_full_nor_slow_says_nothing_of_the_line() -> None:
    line = Line()
    line.carried(FIRST_BATCH - 1, 0)
    line.carried(FIRST_BATCH, QUICK_MS)
    assert line.batch == FIRST_BATCH
