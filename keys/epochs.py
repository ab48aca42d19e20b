"""Owns the calendar of epoch keys: when they are made, chosen, destroyed; knows no private key and no clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

DAY_MS: Final = 86_400_000
EPOCH_PERIOD_MS: Final = DAY_MS
PUBLISH_AHEAD: Final = 30
MESSAGE_LIFETIME_MAX_MS: Final = 30 * DAY_MS
DESTROY_MARGIN_MS: Final = 7 * DAY_MS


@dataclass(frozen=True, slots=True)
class PublishedKey:
    """An epoch key as its owner published it (PROTOCOL §7 type 5): number from 1, time in ms, X-Wing public key."""

    number: int
    use_from: int
    public: bytes


def plan_publication(existing: Sequence[tuple[int, int]], now: int, floor: int = 0) -> list[tuple[int, int]]:
    """The (number, use_from) still to be made, so that thirty days are covered from `now` on.

    `existing` is every key ever published, as (number, use_from). Numbers up to `floor` cover nothing: others may hold
    other keys under them (PROTOCOL §9.1); the first above it is usable at once for every clock that is less than a day
    behind. The first key of a node, and the first after a pause
    that outlasted the published ones, is usable at once. A key dated beyond the horizon (a clock that was wrong once)
    covers nothing: were it counted, the node would publish none until that day and would keep one key in use all the
    while.
    """
    horizon = now + PUBLISH_AHEAD * EPOCH_PERIOD_MS
    certain = [(number, use_from) for number, use_from in existing if number > floor]
    number = max((number for number, _ in certain), default=floor)
    covered = [use_from for _, use_from in certain if use_from <= horizon]
    planned: list[tuple[int, int]] = []
    if floor and not certain:
        use_from = now - EPOCH_PERIOD_MS
    else:
        use_from = max(now, max(covered) + EPOCH_PERIOD_MS if covered else now)
    while use_from <= horizon:
        number += 1
        planned.append((number, use_from))
        use_from += EPOCH_PERIOD_MS
    return planned


def choose_key(keys: Iterable[PublishedKey], now: int) -> PublishedKey | None:
    """The key to seal to: the highest number whose use_from has passed (PROTOCOL §7); None if there is none at all.

    If none has passed yet, the one that comes first: the owner holds its private half since it published it, the
    sender's clock may be the slow one, and an alert does not wait for a calendar.
    """
    known = list(keys)
    passed = [key for key in known if key.use_from <= now]
    if passed:
        return max(passed, key=lambda key: key.number)
    return min(known, key=lambda key: (key.use_from, key.number), default=None)


def plan_destruction(keys: Iterable[PublishedKey], now: int) -> list[int]:
    """Numbers, ascending, whose private half must go: a higher number has been in use for 37 days.

    No envelope of a sender that knew the successor can still be under way: the longest message lifetime and seven days
    have passed. A sender that did not know it seals anew (`cannot_open`, class reseal). The newest key is never
    destroyed.
    """
    retired: list[int] = []
    successor_from: int | None = None  # the earliest use_from of all higher numbers
    for key in sorted(keys, key=lambda key: key.number, reverse=True):
        if successor_from is not None and successor_from + MESSAGE_LIFETIME_MAX_MS + DESTROY_MARGIN_MS <= now:
            retired.append(key.number)
        successor_from = key.use_from if successor_from is None else min(successor_from, key.use_from)
    return retired[::-1]
