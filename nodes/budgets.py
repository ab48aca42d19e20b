"""What one peer may take of this node in a second: rounds, bytes, work. Owns the arithmetic and who waits how long; it
knows no socket and does not know what a unit of work is spent on.

A flood by one peer must not delay the flash alert of another: whoever takes more than its share is first slowed down
and then refused, before its bytes are read or its signatures checked. What a round costs beyond what could be told
before it is charged afterwards, and slows down the next one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from exchange.errors import RefusalCode, RefusalError
from keys.ids import AgencyId
from nodes.logging import get_logger
from nodes.metrics import Metrics

BURST_S: Final = 2.0
"""Seconds of its rate that a peer may take at once after a pause."""

LONGEST_WAIT_S: Final = 2.0
"""Whoever would have to wait longer is refused instead: a caller that waits holds a connection and a place."""

_WARN_EVERY_S: Final = 60.0

log = get_logger("budgets")


class Measure(StrEnum):
    """What is counted."""

    ROUNDS = "rounds"
    BYTES = "bytes"
    WORK = "work"


@dataclass(frozen=True, slots=True)
class Rates:
    """What each peer may take, per second."""

    rounds: float = 250.0
    bytes: float = 16.0 * 1_048_576
    work: float = 4_000.0


class Bucket:
    """A share that fills at `rate` per second up to `most`, and may be overdrawn by whoever is let in."""

    __slots__ = ("_at", "_level", "_most", "_rate")

    def __init__(self, rate: float, most: float, now: float) -> None:
        self._rate = rate
        self._most = most
        self._level = most
        self._at = now

    def spend(self, amount: float, now: float) -> None:
        """Take so much, whether it is there or not. A negative amount is given back."""
        self._level = min(self._level + (now - self._at) * self._rate, self._most) - amount
        self._at = now

    def wait(self, now: float) -> float:
        """Seconds until what was taken too much has come back; 0 if nothing is owed."""
        level = self._level + (now - self._at) * self._rate
        return max(0.0, -level / self._rate)

    def is_full(self, now: float) -> bool:
        """True if it need not be remembered: a new one is the same."""
        return self._level + (now - self._at) * self._rate >= self._most


@dataclass(slots=True)
class _Account:
    buckets: dict[Measure, Bucket]
    warned_at: float = field(default=float("-inf"))


class Budgets:
    """The accounts of all peers that have called. Only agencies that are trusted are let this far, so they are few."""

    def __init__(
        self,
        rates: Rates,
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`clock` counts seconds and never goes back; `sleep` waits so many."""
        self._rates = rates
        self._metrics = metrics
        self._clock = clock
        self._sleep = sleep
        self._accounts: dict[AgencyId, _Account] = {}

    async def take(self, agency: AgencyId, measure: Measure, amount: float) -> None:
        """Take a share, waiting a little if too much was taken before.

        Raises:
            RefusalError: `rate_limited`; nothing was taken. Not at once: whoever asks again and again waits each time.
        """
        account, now = self._account(agency), self._clock()
        bucket = account.buckets[measure]
        if bucket.wait(now) > LONGEST_WAIT_S:
            self._count("refused", agency, account, measure, now)
            await self._sleep(LONGEST_WAIT_S)
            raise RefusalError(RefusalCode.RATE_LIMITED, 1)
        bucket.spend(amount, now)
        wait = bucket.wait(now)
        if wait > 0:
            self._count("slowed", agency, account, measure, now)
            await self._sleep(min(wait, LONGEST_WAIT_S))

    def charge(self, agency: AgencyId, measure: Measure, amount: float) -> None:
        """Charge what turned out to cost more, or less. Its next round waits for it, or is refused."""
        self._account(agency).buckets[measure].spend(amount, self._clock())

    def is_overdrawn(self, agency: AgencyId) -> bool:
        """True while more was taken than was there."""
        now = self._clock()
        return any(bucket.wait(now) > 0 for bucket in self._account(agency).buckets.values())

    def _account(self, agency: AgencyId) -> _Account:
        account = self._accounts.get(agency)
        if account is None:
            now = self._clock()
            rates = {measure: float(getattr(self._rates, measure)) for measure in Measure}
            account = _Account({measure: Bucket(rate, rate * BURST_S, now) for measure, rate in rates.items()})
            self._accounts[agency] = account
        return account

    def _count(self, what: str, agency: AgencyId, account: _Account, measure: Measure, now: float) -> None:
        self._metrics.rounds_limited.add(f"{measure}_{what}")
        if now - account.warned_at >= _WARN_EVERY_S:
            account.warned_at = now
            log.warning("peer.limited", peer=agency, budget=measure.value, outcome=what)
