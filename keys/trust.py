"""Owns judgement of anchors, and which pair speaks at which place of a log; knows positions, and no proof.

`KeyHistory` is a function of the anchors and of the *set* of key changes: the order in which changes were learnt does
not matter, and learning one twice changes nothing. That a change is proved is for its caller to have checked, under the
pair that `pair_for` names for the change's own checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from keys.anchor import Anchor, AnchorBody, GatewayEntry
from keys.errors import AnchorError, AnchorProblem, KeyConflictError, KeyNotValidError
from keys.signing import NodePublicPair

DAY_MS: Final = 86_400_000
ANCHOR_GRACE_MS: Final = 30 * DAY_MS
EXPIRY_WARNING_DAYS: Final = (90, 30, 7, 1)


class Trust(StrEnum):
    """What an operator decided about a peer."""

    PENDING = "pending"
    TRUSTED = "trusted"
    SUSPENDED = "suspended"
    REMOVED = "removed"


class AnchorVerdict(StrEnum):
    """What an anchor on offer is, next to the pinned one."""

    NEW = "new"
    SAME = "same"
    NEWER = "newer"


class AnchorLife(StrEnum):
    """Where an anchor stands in time. In `grace` all goes on with warnings; `over`, only flash and immediate go."""

    VALID = "valid"
    GRACE = "grace"
    OVER = "over"


def judge_anchor(pinned: Anchor | None, offered: Anchor) -> AnchorVerdict:
    """Whether `offered` may take the place of `pinned`.

    Raises:
        AnchorError: `wrong_agency`, `root_changed`, `rollback` (a lower serial), or `conflict` (the same serial over
        other
            content: keep both, it is proof that the root signs two things).
    """
    if pinned is None:
        return AnchorVerdict.NEW
    if offered.body.agency != pinned.body.agency:
        raise AnchorError(AnchorProblem.WRONG_AGENCY)
    if offered.body.root != pinned.body.root:
        raise AnchorError(AnchorProblem.ROOT_CHANGED)
    if offered.body.serial < pinned.body.serial:
        raise AnchorError(AnchorProblem.ROLLBACK)
    if offered.body.serial > pinned.body.serial:
        return AnchorVerdict.NEWER
    if offered.body_bytes != pinned.body_bytes:
        raise AnchorError(AnchorProblem.CONFLICT)
    return AnchorVerdict.SAME


def anchor_life(anchor: Anchor, now: int) -> AnchorLife:
    """Where the anchor stands at `now` (ms): 30 days of grace begin at its expiry."""
    if now < anchor.body.expires_at:
        return AnchorLife.VALID
    return AnchorLife.GRACE if now < anchor.body.expires_at + ANCHOR_GRACE_MS else AnchorLife.OVER


def expiry_warning(anchor: Anchor, now: int) -> int | None:
    """The warning that is due: 90, 30, 7 or 1 for "expires within so many days", 0 once expired, None before."""
    left = anchor.body.expires_at - now
    if left <= 0:
        return 0
    due = [days for days in EXPIRY_WARNING_DAYS if left <= days * DAY_MS]
    return min(due, default=None)


@dataclass(frozen=True, slots=True)
class PairSpan:
    """The checkpoints of one log that a pair signs: sizes `first_size` to `last_size`, both included; None: no end."""

    pair: NodePublicPair
    first_size: int
    last_size: int | None

    def covers(self, size: int) -> bool:
        """Whether a checkpoint of this size is this pair's to sign."""
        return self.first_size <= size and (self.last_size is None or size <= self.last_size)


@dataclass(frozen=True, slots=True)
class KeyHistory:
    """The pairs of one agency by log position. Immutable: a change learnt makes a new one, an anchor starts anew."""

    _bodies: tuple[AnchorBody, ...]
    # (gateway, generation, index of the key change) -> the pair that signs every size above index + 1
    _changes: Mapping[tuple[str, int, int], NodePublicPair]
    _spans: dict[tuple[str, int], tuple[PairSpan, ...]] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def from_anchors(cls, anchors: Sequence[Anchor]) -> KeyHistory:
        """The history that these anchors of one agency and root name, serials rising.

        Key changes learnt under fewer anchors are not carried over but verified anew and given again: a higher serial
        says which pair speaks beyond its base, and a change that the pair before it made there is void.

        Raises:
            AnchorError: as judge_anchor, of each anchor against the one before it.
        """
        pinned: Anchor | None = None
        bodies: list[AnchorBody] = []
        for anchor in anchors:
            if judge_anchor(pinned, anchor) is not AnchorVerdict.SAME:
                bodies.append(anchor.body)
            pinned = anchor
        return cls(tuple(bodies), MappingProxyType({}))

    def with_change(
        self,
        gateway: str,
        generation: int,
        index: int,
        new_pair: NodePublicPair,
        old_pair: NodePublicPair | None = None,
    ) -> KeyHistory:
        """The history that also knows this key change: the pair before it signs size index + 1, `new_pair` all above.

        `old_pair` is the pair under which the change's own checkpoint verified, where the caller tried several; a fork
        by a pair that has another successor is seen by it.

        Raises:
            KeyNotValidError: no pair, or not `old_pair`, speaks for that checkpoint.
            KeyConflictError: another change of the same pair is known, or `new_pair` spoke at an earlier place: a pair
            that
                was replaced does not come back, else a thief could bring back a stolen one.
        """
        place = (gateway, generation, index)
        known = self._changes.get(place)
        if known == new_pair and (old_pair is None or old_pair == self.pair_for(gateway, generation, index + 1)):
            return self
        if known is not None:
            raise KeyConflictError(*place)
        if old_pair is not None and self._successor(gateway, old_pair) not in {None, new_pair}:
            raise KeyConflictError(*place)
        if self._is_reused(place, new_pair):
            raise KeyConflictError(*place)
        before = self.pair_for(gateway, generation, index + 1)
        if old_pair is not None and before != old_pair:
            raise KeyNotValidError(gateway, generation, index + 1)
        return KeyHistory(self._bodies, MappingProxyType({**self._changes, place: new_pair}))

    def pairs(self, gateway: str, generation: int) -> tuple[PairSpan, ...]:
        """The pairs of one log in order, without overlap. Empty if none is known to speak there."""
        key = (gateway, generation)
        spans = self._spans.get(key)
        if spans is None:
            spans = self._spans[key] = self._lay_spans(gateway, generation)
        return spans

    def pair_for(self, gateway: str, generation: int, size: int) -> NodePublicPair:
        """The pair that signs the checkpoint of `size` leaves. Raises KeyNotValidError if there is none."""
        for span in self.pairs(gateway, generation):
            if span.covers(size):
                return span.pair
        raise KeyNotValidError(gateway, generation, size)

    def candidates(self, gateway: str) -> tuple[NodePublicPair, ...]:
        """Every pair ever named for the gateway, oldest first: what PROTOCOL §7.1 step 5 tries."""
        named = [
            ((entry.generation, entry.base_size - 1), entry.node) for entry in self._entries(gateway) if entry.node
        ]
        changed = [((place[1], place[2]), pair) for place, pair in self._changes.items() if place[0] == gateway]
        return tuple(dict.fromkeys(pair for _, pair in sorted(named + changed, key=lambda item: item[0])))

    def is_current(self, gateway: str, generation: int, pair: NodePublicPair) -> bool:
        """Whether `pair` speaks at the open end of that log and nothing known has replaced it (PROTOCOL §7.1)."""
        spans = self.pairs(gateway, generation)
        return bool(spans) and spans[-1].pair == pair == self.current_pair(gateway)

    def current_pair(self, gateway: str) -> NodePublicPair | None:
        """The one pair of the gateway that nothing has replaced; None if it is unknown or speaks no more."""
        entry = self.base(gateway)
        return None if entry is None else self._carried(entry, gateway, None)

    def knows_gateway(self, name: str) -> bool:
        """Whether any anchor names the gateway, be it to revoke it."""
        return any(body.gateway(name) is not None for body in self._bodies)

    def is_confirmed(self, gateway: str, generation: int) -> bool:
        """Whether an anchor reaches this generation. One opened since is used, and is a finding (PROTOCOL §4)."""
        entry = self.base(gateway)
        return entry is not None and generation <= entry.generation

    def is_ended(self, gateway: str, generation: int) -> bool:
        """Whether this log grows no more: an anchor names a higher generation, or revokes the gateway."""
        entry = self.base(gateway)
        return entry is not None and (generation < entry.generation or entry.node is None)

    def base(self, gateway: str) -> GatewayEntry | None:
        """What the newest anchor says of the gateway: heads of that generation must be consistent with its base.

        A gateway that it does not name is revoked at the base it was last named with.
        """
        entries = self._entries(gateway)
        return entries[-1] if entries else None

    # How anchors lie over each other. Loops, not recursion: how many anchors and changes there are is a peer's choice.

    def _entries(self, gateway: str) -> list[GatewayEntry]:
        """What each anchor says of the gateway, from the first that names it."""
        entries: list[GatewayEntry] = []
        for body in self._bodies:
            entry = body.gateway(gateway)
            if entry is None and entries:
                entry = replace(entries[-1], node=None, witness=None)
            if entry is not None:
                entries.append(entry)
        return entries

    def _lay_spans(self, gateway: str, generation: int) -> tuple[PairSpan, ...]:
        spans: tuple[PairSpan, ...] = ()
        for entry in self._entries(gateway):
            if generation < entry.generation:
                continue  # ends where it was last known: as the anchors before had it
            if generation > entry.generation:
                carried = self._carried(entry, gateway, generation)
                spans = () if carried is None else self._chain(gateway, generation, carried, 0)
                continue
            before = _cut(spans, entry.base_size) if entry.base_size > 0 else ()
            if entry.node is None:
                spans = before
            else:
                spans = _joined(before, self._chain(gateway, generation, entry.node, _first_size(entry)))
        return spans

    def _carried(self, entry: GatewayEntry, gateway: str, generation: int | None) -> NodePublicPair | None:
        """The pair with which, under that anchor, generations below `generation` (None: all) end and the next opens."""
        if entry.node is None:
            return None
        pair = self._chain(gateway, entry.generation, entry.node, _first_size(entry))[-1].pair
        changed = {place[1] for place in self._changes if place[0] == gateway and place[1] > entry.generation}
        for number in sorted(changed):
            if generation is None or number < generation:
                pair = self._chain(gateway, number, pair, 0)[-1].pair
        return pair

    def _chain(self, gateway: str, generation: int, pair: NodePublicPair, first_size: int) -> tuple[PairSpan, ...]:
        """`pair` from `first_size` on, and those that the changes from there lead to."""
        spans: list[PairSpan] = []
        changes = [
            (place[2], new)
            for place, new in self._changes.items()
            if place[:2] == (gateway, generation) and place[2] + 1 >= first_size
        ]
        for index, new in sorted(changes, key=lambda change: change[0]):
            spans.append(PairSpan(pair, first_size, index + 1))
            pair, first_size = new, index + 2
        return (*spans, PairSpan(pair, first_size, None))

    # What contradicts a new change.

    def _successor(self, gateway: str, pair: NodePublicPair) -> NodePublicPair | None:
        for (changed, generation, index), new in self._changes.items():
            if changed == gateway and self.pair_for(gateway, generation, index + 1) == pair:
                return new
        return None

    def _is_reused(self, place: tuple[str, int, int], pair: NodePublicPair) -> bool:
        gateway, generation, index = place
        # An anchor may later confirm the pair that a change brought: reused is one named at or before this place.
        named = any(
            entry.node == pair and (entry.generation, entry.base_size) <= (generation, index)
            for entry in self._entries(gateway)
        )
        return named or any(changed[0] == gateway and new == pair for changed, new in self._changes.items())


def _first_size(entry: GatewayEntry) -> int:
    """The first size that an anchor's pair signs: beyond its base, or the empty tree where the log begins."""
    return entry.base_size + 1 if entry.base_size > 0 else 0


def _cut(spans: tuple[PairSpan, ...], last_size: int) -> tuple[PairSpan, ...]:
    """What of `spans` lies at or below `last_size`."""
    return tuple(
        span
        if span.last_size is not None and span.last_size <= last_size
        else PairSpan(span.pair, span.first_size, last_size)
        for span in spans
        if span.first_size <= last_size
    )


def _joined(before: tuple[PairSpan, ...], after: tuple[PairSpan, ...]) -> tuple[PairSpan, ...]:
    """Both in a row; a pair that the anchor confirms at its base is one span across it."""
    if before and before[-1].pair == after[0].pair and before[-1].last_size == after[0].first_size - 1:
        return (*before[:-1], PairSpan(before[-1].pair, before[-1].first_size, after[0].last_size), *after[1:])
    return before + after
