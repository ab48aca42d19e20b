"""Messages of ours that a peer speaks of and this node does not know: what an old copy, put back, has forgotten.

Nothing brings them back: a peer sends again what it issued, not what it was sent. So the operator is told whom to
call. Owns what is remembered of that, for each peer one small row, and when it is worth a finding. A peer may claim
anything here; nothing is decided by it (PROTOCOL §9, `numbers`), and it can fill no more than that row.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from exchange.round import Numbers
from keys.encoding import decode, encode, take_array, take_bytes, take_int, take_time
from keys.epochs import MESSAGE_LIFETIME_MAX_MS
from keys.ids import AgencyId, MessageId
from nodes.store.contract import PutMeta

MAX_IDS = 100
MAX_COUNT = 1_000_000_000
MAX_ROW_BYTES = 8_192


@dataclass(frozen=True, slots=True)
class LostPosts:
    """What one peer has of us and we have not. `count` is its word alone; each of `ids` it has answered, sealed and
    signed, in an ack that lies in the store.
    """

    at: int = 0  # when it said something new
    generation: int = 0  # of our log in which the missing numbers lie
    count: int = 0  # envelopes: acks and tests too
    ids: tuple[MessageId, ...] = ()  # the first MAX_IDS

    def is_news(self, now: int) -> bool:
        """Whether an operator must hear of it. Later than a message lasts, none of them binds anybody any more."""
        return self.at > 0 and now - self.at <= MESSAGE_LIFETIME_MAX_MS

    def row(self, agency: AgencyId) -> PutMeta:
        """The row that keeps it."""
        return PutMeta(lost_posts_meta(agency), encode([self.at, self.generation, self.count, list(self.ids)]))


def lost_posts_meta(agency: AgencyId) -> str:
    """Where it lies."""
    return f"lost_posts/{agency}"


def stored_lost_posts(data: bytes) -> LostPosts:
    """As it was kept. Raises EncodingError."""
    at, generation, count, ids = take_array(decode(data, max_bytes=MAX_ROW_BYTES), length=4)
    return LostPosts(
        take_time(at),
        take_int(generation),
        take_int(count),
        tuple(MessageId(take_bytes(id_, length=16)) for id_ in take_array(ids)),
    )


def with_numbers(known: LostPosts, told: Numbers, used: int, now: int) -> LostPosts:
    """After a peer's first hello to this process. `used` is the highest number to it that was durable here when the
    process started, in the generation it names: an honest peer cannot have had a higher one, unless we forgot it.
    """
    missing = told.next - 1 - used
    if missing <= 0 or told.generation < known.generation:
        return known
    if told.generation > known.generation:
        missing += known.count  # lost once more, after the log was opened again
    elif missing <= known.count:
        return known  # said after an earlier start; the copy may have used some of these numbers again since
    return replace(known, at=now, generation=told.generation, count=min(missing, MAX_COUNT))


def with_ids(known: LostPosts, unknown: Iterable[MessageId], now: int) -> LostPosts:
    """After acks about messages of ours that are not in the store."""
    ids = tuple(dict.fromkeys([*known.ids, *sorted(unknown)]))[:MAX_IDS]
    return known if ids == known.ids else replace(known, at=now, ids=ids)
