"""What this node knows of each peer while it runs: trust, verified keys, heads, what the peer told of us, how the
line is.

Owns that memory and nothing else: the truth lies in the store and is loaded at start; sending and receiving are
elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from exchange.checkpoint import Checkpoint
from exchange.entry import Profile
from exchange.policy import Addressee
from exchange.proof import Proof
from exchange.round import MAX_CONSISTENCY, Known, Limits
from exchange.statement import AgencyKeys
from keys.anchor import Anchor
from keys.epochs import PublishedKey, choose_key
from keys.ids import AgencyId, EnvelopeId, GatewayName
from keys.trust import AnchorLife, Trust, anchor_life
from nodes.losses import LostPosts
from nodes.store.contract import PeerRow

MAX_GENERATIONS = 32  # of a peer's logs: nobody honest reopens one that often
MAX_CROSSED = 7
FIRST_BATCH = 8  # of a line that is not known yet; it doubles with each full round that goes quickly
MAX_BATCH = 128  # what is urgent waits for the round that its recipient is taking: a tenth of a second
QUICK_MS = 2_000
SLOW_MS = 2 * QUICK_MS
FEWEST_ENTRIES = 16


@dataclass(frozen=True, slots=True)
class Head:
    """A verified head of a peer's log that is consistent with those before it."""

    gateway: GatewayName
    generation: int
    size: int
    root: bytes
    checkpoint: Checkpoint
    seen_at: int


@dataclass(slots=True)
class Line:
    """How the connection to a peer is. Memory only: a new process tries at once."""

    reachable: bool | None = None
    bar: str | None = None  # unreachable | peer_does_not_trust_us | code of the last HTTP refusal
    failures: int = 0
    failing_since: int | None = None
    next_attempt_at: int = 0
    last_round_at: int | None = None
    rounds_ok: int = 0
    head_asks: int = 0  # answers in a row that asked for a head we had told
    batch: int = FIRST_BATCH  # envelopes of one round

    def carried(self, items: int, took_ms: int) -> None:
        """A round with so many envelopes was answered. A full one that went quickly may be followed by a larger one, a
        slow one is followed by a smaller: what is urgent waits for the round that is on the line.
        """
        if items >= self.batch and took_ms < QUICK_MS:
            self.batch = min(2 * self.batch, MAX_BATCH)
        elif items > 1 and took_ms >= SLOW_MS:
            self.batch = items // 2

    def broke(self) -> None:
        """A round was not answered: on a bad line a large one would be sent for ever and never arrive."""
        self.batch = max(self.batch // 4, 1)

    def clear_failures(self) -> None:
        """It spoke to us: no back-off stands in the way any more."""
        self.failures, self.failing_since, self.next_attempt_at, self.bar = 0, None, 0, None


@dataclass(slots=True)
class Peer:
    """One peer. Mutated only on the event loop; `lock` keeps rounds with one peer one after another."""

    row: PeerRow
    keys: AgencyKeys
    profile: Profile | None = None
    profile_hash: bytes | None = None
    profile_position: tuple[int, int] | None = None  # (generation, index) of the profile entry
    epoch_keys: dict[int, PublishedKey] = field(default_factory=dict)
    heads: dict[tuple[GatewayName, int], Head] = field(default_factory=dict)
    unreconciled: dict[tuple[GatewayName, int, int], Head] = field(default_factory=dict)
    # What it told of us in this process's life:
    guard_passed: bool = False
    known: Known | None = None
    limits: Limits = field(default_factory=Limits)  # what it takes in one round
    holds: dict[int, tuple[int, ...]] = field(default_factory=dict)  # our generation -> sizes it holds
    changes_held: int = 0
    head_wanted: bool = True  # it must be told, whole, which head of its log we hold
    # Generations of ours that have ended and of which it told a head that they do not lead to:
    unsound: frozenset[int] = frozenset()
    # What we owe it: positions (log, index) of receipts and refusals to hand over.
    owed: set[tuple[str, int]] = field(default_factory=set)
    handed: dict[int, int] = field(default_factory=dict)  # our generation -> size of the last head handed over
    leased: dict[EnvelopeId, int] = field(default_factory=dict)
    opened: list[Proof] = field(default_factory=list)  # of its log's later generations, as it told them
    highest_received: dict[int, int] = field(default_factory=dict)
    next_number: dict[int, int] = field(default_factory=dict)
    # Highest number used in each generation when this process started; None once the peer has told what it had by then.
    used_at_start: dict[int, int] | None = None
    lost: LostPosts = field(default_factory=LostPosts)  # what it has of us and we have not
    line: Line = field(default_factory=Line)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # rounds are taken one after another
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)  # and made so: nothing is sealed or leased twice
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    flash_waiting: bool = False  # posted while it was away
    flash: asyncio.Event = field(default_factory=asyncio.Event)  # a flash message was posted to it
    unsealed: bool = True  # the store may hold messages to it that wait for its key: at first nobody has looked
    replaced: bool = False  # it has another root from now on: nothing is sealed to a key of this one any more
    conflicting: bool = False  # it signed two anchors with one serial
    behind: bool = False  # it offered an anchor of itself that is older than the one held here: it lost that one
    unproved_head: bool = False  # it told a head of our log that no pair of ours signed, as far as is known here
    recovered_at: int = 0  # when it last asked to be sent again what it lost

    @property
    def agency(self) -> AgencyId:
        """Who it is."""
        return self.row.agency

    @property
    def trust(self) -> Trust:
        """Whether we trust it."""
        return Trust(self.row.trust)

    @property
    def anchor(self) -> Anchor:
        """Its newest anchor."""
        return self.keys.anchors[-1]

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Where it listens, by its newest profile; empty if nowhere."""
        return self.profile.endpoints if self.profile is not None else ()

    @property
    def listens(self) -> bool:
        """False for one whose profile names no address: only its own calls reach it."""
        return self.profile is None or bool(self.profile.endpoints)

    @property
    def most_envelopes(self) -> int:
        """How many envelopes the next round to it may hold."""
        return min(self.line.batch, self.limits.max_items)

    @property
    def most_entries(self) -> int:
        """How many entries the next round to it may hold, envelopes among them. On a bad line few: a large round would
        be sent for ever, and what is urgent with it.
        """
        return min(self.limits.entries, max(2 * self.line.batch, FEWEST_ENTRIES))

    @property
    def tls_roots(self) -> tuple[bytes, ...]:
        """DER roots of its gateways."""
        return tuple(dict.fromkeys(gateway.tls_root for gateway in self.anchor.body.gateways))

    def addressee(self, now: int) -> Addressee:
        """What policy needs to know of it."""
        return Addressee(
            agency=self.agency,
            trust=self.trust,
            country=self.row.country,
            markings=self.profile.markings if self.profile is not None else None,
            anchor_over=anchor_life(self.anchor, now) is AnchorLife.OVER,
        )

    def usable_key(self, now: int) -> PublishedKey | None:
        """The epoch key to seal to now; None before one was received."""
        return None if self.replaced else choose_key(list(self.epoch_keys.values()), now)

    def holds_sizes(self, generation: int) -> tuple[int, ...]:
        """Sizes of our log of that generation that it holds, as its last hello says."""
        return tuple(size for size in self.holds.get(generation, ()) if size > 0)

    def sizes_to_prove_from(self, generation: int, size: int) -> list[int]:
        """Sizes from which it may need a consistency proof to a head of `size`: those it named, and the last one handed
        to it, which its hello may not show yet when two rounds cross.
        """
        named = [held for held in self.holds_sizes(generation) if held <= size]
        handed = self.handed.get(generation, 0)
        if max(named, default=0) < handed <= size:
            return [*named[: MAX_CONSISTENCY - 1], handed]
        return named[:MAX_CONSISTENCY]

    def number(self, generation: int) -> int:
        """Draw the next number of an envelope to this peer. A number lost with a failed commit stays a gap."""
        n = self.next_number.get(generation, 1)
        self.next_number[generation] = n + 1
        return n

    def hold(self, head: Head) -> None:
        """A head that leads on from those before it. Of the generations of its log the newest are remembered; the store
        has all.
        """
        self.heads[(head.gateway, head.generation)] = head
        newest = dict(sorted(self.heads))
        older = sorted((key for key in self.heads if key[1] < newest[key[0]]), key=lambda key: (key[1], key[0]))
        for key in older[: max(0, len(self.heads) - MAX_GENERATIONS)]:
            del self.heads[key]

    def cross(self, head: Head) -> None:
        """A head that is not tied to those before it yet. Of more than a hello can name the newest are remembered; all
        of them lie in the store.
        """
        self.unreconciled[(head.gateway, head.generation, head.size)] = head
        while len(self.unreconciled) > MAX_CROSSED:
            del self.unreconciled[min(self.unreconciled, key=lambda key: key[1:])]

    def crossed_heads(self) -> list[Head]:
        """Unreconciled heads to name in our hello, so that the peer proves them (PROTOCOL §9.2)."""
        return list(self.unreconciled.values())[:MAX_CROSSED]


class Peers:
    """All peers by agency."""

    def __init__(self) -> None:
        self._peers: dict[AgencyId, Peer] = {}

    def __iter__(self) -> Iterator[Peer]:
        return iter(sorted(self._peers.values(), key=lambda peer: peer.agency))

    def __contains__(self, agency: object) -> bool:
        return agency in self._peers

    def get(self, agency: AgencyId) -> Peer | None:
        """The peer, unless removed or never added."""
        return self._peers.get(agency)

    def put(self, peer: Peer) -> None:
        """Add or replace."""
        self._peers[peer.agency] = peer

    def trusted(self) -> Iterable[Peer]:
        """Those with whom rounds are held."""
        return [peer for peer in self if peer.trust is Trust.TRUSTED]
