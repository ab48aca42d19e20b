"""The courier goes on from what the store says, whatever came of a round."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

import nodes.courier
from exchange.entry import Profile
from keys.ids import AgencyId
from nodes.courier import Courier
from nodes.errors import DiskFullError, FatalError, StoreError
from nodes.node import Ask, Node
from nodes.peer_client import PeerTarget, Unreachable
from nodes.peers import Peer, Peers
from nodes.store.contract import PeerRow
from nodes.store.memory import MemoryStore
from tests.exchange.agencies import NOW, make_agency

AGENCY = make_agency("bka.de")
ROW = PeerRow(AGENCY.agency, "trusted", "BKA", "DE", b"anchor", None, 1, 1, None, None, None)
PROFILE = Profile(
    salt=bytes(16),
    time=NOW,
    endpoints=("https://127.0.0.1:7443",),
    relays=(),
    languages=("de",),
    contact="+4961155123",
    max_round_bytes=1,
    max_items=1,
    markings=(),
)
ASK = Ask(b"round", (), frozenset(), hello_only=False, at=NOW, most=64)
FLASH = Ask(b"flash", (), frozenset(), hello_only=False, at=NOW, most=64)


class NodeWhoseStoreFails:
    """Its rounds are answered, and the answers cannot be kept."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.failures: asyncio.Queue[tuple[Ask, str]] = asyncio.Queue()

    async def ask(self, peer: Peer) -> Ask:
        return ASK

    async def settle(self, peer: Peer, ask: Ask, body: bytes) -> None:
        raise self.error

    async def failed(self, peer: Peer, ask: Ask, reason: str) -> None:
        peer.line.failures, peer.line.next_attempt_at = 1, NOW + 60_000
        self.failures.put_nowait((ask, reason))


class NodeWithFlash:
    """Has a round to hold, and a flash message that was posted when that was on its way."""

    def __init__(self) -> None:
        self.settled: asyncio.Queue[Ask] = asyncio.Queue()
        self.withdrawn: asyncio.Queue[Ask] = asyncio.Queue()

    async def ask(self, peer: Peer) -> Ask:
        return ASK

    async def ask_flash(self, peer: Peer) -> Ask:
        return FLASH

    async def settle(self, peer: Peer, ask: Ask, body: bytes) -> None:
        self.settled.put_nowait(ask)

    def withdraw(self, peer: Peer, ask: Ask) -> None:
        self.withdrawn.put_nowait(ask)


class Line:
    async def round(self, target: PeerTarget, body: bytes, timeout_s: float) -> bytes:
        return b"answer"


class SlowLine:
    """Its first round takes for ever; others are answered, or find the line broken."""

    def __init__(self, *, broken: bool) -> None:
        self.broken = broken
        self.begun = asyncio.Event()

    async def round(self, target: PeerTarget, body: bytes, timeout_s: float) -> bytes:
        if body == ASK.body:
            self.begun.set()
            await asyncio.Event().wait()
        if self.broken:
            raise Unreachable("timeout")
        return b"answer"


def _courier(node: Any, fatal: asyncio.Queue[FatalError], line: Any = None) -> tuple[Courier, Peer]:
    peer, peers = Peer(row=ROW, keys=AGENCY.keys, profile=PROFILE), Peers()
    peers.put(peer)

    def on_round(agency: AgencyId) -> None:
        return None

    store: Any = MemoryStore()
    return Courier(cast("Node", node), peers, store, line or Line(), lambda: NOW, fatal.put_nowait, on_round), peer


@pytest.mark.parametrize(("error", "reason"), [(DiskFullError(), "disk_low"), (StoreError("busy"), "io_error")])
async def test_a_round_whose_answer_cannot_be_kept_is_held_again_like_one_that_was_not_answered(
    error: StoreError, reason: str
) -> None:
    node = NodeWhoseStoreFails(error)
    courier, peer = _courier(node, asyncio.Queue())

    courier.serve(peer)
    async with asyncio.timeout(10):
        assert await node.failures.get() == (ASK, reason)
    await courier.stop()


async def test_a_store_of_unknown_state_ends_the_process() -> None:
    fatal: asyncio.Queue[FatalError] = asyncio.Queue()
    courier, peer = _courier(NodeWhoseStoreFails(FatalError("COMMIT failed")), fatal)

    courier.serve(peer)
    async with asyncio.timeout(10):
        assert (await fatal.get()).problem == "COMMIT failed"
    await courier.stop()


@pytest.mark.parametrize("broken", [False, True])
async def test_a_flash_message_does_not_wait_for_a_round_that_takes_long(
    monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    monkeypatch.setattr(nodes.courier, "FLASH_PATIENCE_S", 0)
    node, line = NodeWithFlash(), SlowLine(broken=broken)
    courier, peer = _courier(node, asyncio.Queue(), line)

    courier.serve(peer)
    async with asyncio.timeout(10):
        await line.begun.wait()
        peer.flash.set()
        assert await node.withdrawn.get() == FLASH  # what did not get through goes in the next round
    await courier.stop()
    assert node.settled.qsize() == (0 if broken else 1)
    assert peer.line.failures == 0


async def test_a_flash_message_to_a_peer_that_is_away_waits_for_the_next_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nodes.courier, "FLASH_PATIENCE_S", 0)
    node = NodeWithFlash()
    courier, peer = _courier(node, asyncio.Queue())
    peer.flash.set()

    peer.line.next_attempt_at = NOW + 60_000
    courier.serve(peer)
    for _ in range(9):
        await asyncio.sleep(0)
    assert not peer.flash.is_set()
    await courier.stop()
    assert node.withdrawn.empty()
