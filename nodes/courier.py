"""The courier: a task per trusted peer that holds rounds with it while there is something to say, and one for flash
messages that would have to wait for a slow round. Owns when, never what.

It keeps no queue: what is due is read from the store each time, so that a crash loses nothing and a restart begins
where the store stands.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Protocol

from exchange.errors import RefusalError
from exchange.round import SLOWEST_BYTES_PER_S
from keys.ids import AgencyId
from keys.trust import Trust
from nodes.errors import FatalError, StoreError
from nodes.logging import get_logger
from nodes.node import Ask, Node
from nodes.peer_client import BadAnswer, PeerDoesNotTrustUs, PeerRefused, PeerTarget, Unreachable
from nodes.peers import Peer, Peers
from nodes.store.contract import Store

# An idle link says hello this often: enough to see that a peer is there and to carry new keys, far below 1 MB a day
# (DESIGN 13).
HEARTBEAT_MS = 15 * 60_000
ROUND_TIMEOUT_S = 30.0
# Rounds in a row without a pause; then other tasks get a turn even if a peer's backlog is long.
BURST = 8
# A flash message to a peer that is away brings one attempt forward, whatever the back-off.
FLASH_NUDGE_MS = 1_000
# So long it waits for the round that is on the line. A quick one is over by then, and has taken it along.
FLASH_PATIENCE_S = 0.5
PAUSE_AFTER_BUG_S = 5.0

log = get_logger("courier")


class Line(Protocol):
    """What the courier needs of a client."""

    async def round(self, target: PeerTarget, body: bytes, timeout_s: float) -> bytes: ...


class Courier:
    """Runs one task per peer inside the daemon's task group."""

    def __init__(
        self,
        node: Node,
        peers: Peers,
        store: Store,
        client: Line,
        clock: Callable[[], int],
        on_fatal: Callable[[FatalError], None],
        on_round: Callable[[AgencyId], None],
    ) -> None:
        self._node = node
        self._peers = peers
        self._store = store
        self._client = client
        self._clock = clock
        self._on_fatal = on_fatal
        self._on_round = on_round
        self._tasks: dict[AgencyId, tuple[asyncio.Task[None], ...]] = {}
        self._on_line: set[AgencyId] = set()

    def serve(self, peer: Peer) -> None:
        """Begin holding rounds with a peer (again): called at start and when a peer becomes trusted."""
        if all(task.done() for task in self._tasks.get(peer.agency, ())):
            self._tasks[peer.agency] = (
                asyncio.create_task(self._run(peer, self._serve), name=f"courier {peer.agency}"),
                asyncio.create_task(self._run(peer, self._serve_flash), name=f"flash {peer.agency}"),
            )
        peer.wake.set()

    async def drop(self, agency: AgencyId) -> None:
        """Stop at once: the peer was suspended or removed."""
        tasks = self._tasks.pop(agency, ())
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def stop(self) -> None:
        """Stop all. What is on the line is due again at the next start."""
        for agency in list(self._tasks):
            await self.drop(agency)

    async def _run(self, peer: Peer, serve: Callable[[Peer], Awaitable[None]]) -> None:
        while True:
            try:
                await serve(peer)
            except FatalError as error:
                self._on_fatal(error)
                return
            except Exception:
                # Our bug must not silence a peer for ever: say it, wait, go on from what the store says.
                log.exception("courier.failed", peer=peer.agency)
                await asyncio.sleep(PAUSE_AFTER_BUG_S)

    async def _serve(self, peer: Peer) -> None:
        while True:
            peer.wake.clear()
            if peer.trust is Trust.TRUSTED and peer.endpoints and self._clock() >= peer.line.next_attempt_at:
                await self._burst(peer)
            await self._sleep(peer)

    async def _burst(self, peer: Peer) -> None:
        for _ in range(BURST):
            if not await self._round(peer):
                return
        peer.wake.set()
        await asyncio.sleep(0)

    async def _round(self, peer: Peer) -> bool:
        """One round. True if there is a reason for the next at once."""
        try:
            return await self._hold(peer)
        finally:
            self._on_round(peer.agency)

    async def _hold(self, peer: Peer) -> bool:
        ask = await self._node.ask(peer)
        self._on_line.add(peer.agency)
        try:
            answer = await self._carry(peer, ask)
            settled = await self._node.settle(peer, ask, answer)
        except Unreachable:
            await self._failed(peer, ask, "unreachable")
        except PeerDoesNotTrustUs:
            await self._failed(peer, ask, "peer_does_not_trust_us")
        except PeerRefused as refused:
            await self._failed(peer, ask, "peer_does_not_trust_us" if refused.code == "not_trusted" else refused.code)
        except (BadAnswer, RefusalError):
            await self._failed(peer, ask, "internal")
        except StoreError as error:
            # The answer came and could not be kept. Nothing of it happened, so that what was asked goes again, and not
            # only when its lease has run out.
            await self._failed(peer, ask, error.code)
        else:
            return settled.again
        finally:
            self._on_line.discard(peer.agency)
        return False

    async def _carry(self, peer: Peer, ask: Ask) -> bytes:
        target = PeerTarget(peer.agency, peer.endpoints[0], peer.tls_roots[0])
        return await self._client.round(target, ask.body, patience_s(ask))

    async def _serve_flash(self, peer: Peer) -> None:
        """A flash message does not wait for a round that is on the line and takes long: it gets one of its own."""
        while True:
            await peer.flash.wait()
            peer.flash.clear()
            await asyncio.sleep(FLASH_PATIENCE_S)
            if peer.agency in self._on_line:
                await self._hold_flash(peer)

    async def _hold_flash(self, peer: Peer) -> None:
        ask = await self._node.ask_flash(peer)
        if ask is None:
            return
        try:
            await self._node.settle(peer, ask, await self._carry(peer, ask))
        except (Unreachable, PeerDoesNotTrustUs, PeerRefused, BadAnswer, RefusalError, StoreError) as error:
            # How the line is, the other round tells. These go first in the next one.
            log.info("flash.failed", peer=peer.agency, reason=type(error).__name__, items=len(ask.items))
        finally:
            self._node.withdraw(peer, ask)
            peer.wake.set()

    async def _failed(self, peer: Peer, ask: Ask, reason: str) -> None:
        await self._node.failed(peer, ask, reason)
        log.info("round.failed", peer=peer.agency, reason=reason, failures=peer.line.failures, items=len(ask.items))

    async def _sleep(self, peer: Peer) -> None:
        """Until something happens: a wake, the next attempt, the next due item, or the heartbeat."""
        while True:
            until = await self._until(peer)
            try:
                async with asyncio.timeout(None if until is None else max(0.0, (until - self._clock()) / 1000)):
                    await peer.wake.wait()
            except TimeoutError:
                return
            if peer.trust is not Trust.TRUSTED or not peer.endpoints:
                peer.wake.clear()
                continue
            if not peer.line.failures or self._clock() >= peer.line.next_attempt_at:
                return
            # New mail for a peer that is away does not shorten its back-off, unless a life hangs on it.
            peer.wake.clear()

    async def _until(self, peer: Peer) -> int | None:
        if peer.trust is not Trust.TRUSTED or not peer.endpoints:
            return None
        now = self._clock()
        line = peer.line
        if line.failures:
            if peer.flash_waiting:
                line.next_attempt_at = min(line.next_attempt_at, now + FLASH_NUDGE_MS)
                peer.flash_waiting = False
            return line.next_attempt_at
        until = (line.last_round_at or now) + HEARTBEAT_MS
        if any(lease > now for lease in peer.leased.values()):
            return until  # flash is on a line of its own: it is due still, and wakes us when it is over
        due = await self._store.next_due(peer.agency, now)
        return until if due is None else min(until, max(due, now + 1))


def patience_s(ask: Ask) -> float:
    """How long a round may take. One that holds several envelopes and takes too long comes again smaller; a single
    envelope cannot, so it gets the time that the slowest line needs for it (PROTOCOL §9.5).
    """
    return ROUND_TIMEOUT_S + (len(ask.body) / SLOWEST_BYTES_PER_S if len(ask.items) <= 1 else 0.0)
