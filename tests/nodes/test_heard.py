"""What a hello teaches lasts only if its commit does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nodes.errors import DiskFullError
from nodes.node import _unlearnt_unless_durable
from nodes.peers import Peer
from nodes.store.contract import PeerRow
from tests.exchange.agencies import make_agency


def _peer() -> Peer:
    agency = make_agency("ponal.co")
    row = PeerRow(agency.agency, "trusted", "Policia", "CO", b"anchor", None, 1, 1, None, None, None)
    return Peer(row=row, keys=agency.keys)


def test_memory_forgets_what_the_store_could_not_keep() -> None:
    peer = _peer()
    row, keys = peer.row, peer.keys

    def failing() -> None:
        with _unlearnt_unless_durable(peer):
            peer.row, peer.keys = replace(row, recover_since=7, anchor=b"newer"), make_agency("bka.de").keys
            peer.conflicting, peer.recovered_at = True, 7
            raise DiskFullError

    with pytest.raises(DiskFullError):
        failing()

    assert (peer.row, peer.keys, peer.conflicting, peer.recovered_at) == (row, keys, False, 0)


def test_what_became_durable_stays_learnt() -> None:
    peer = _peer()
    with _unlearnt_unless_durable(peer):
        peer.row = replace(peer.row, recover_since=7)
    assert peer.row.recover_since == 7
