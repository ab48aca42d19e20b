"""What the groups of a round come to: one change of the store, what memory learns after it, and what watchers are told.

Owns these values and the turn that others get between two slices of work. It decides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from exchange.proof import Proof
from exchange.round import Group, Result
from keys.ids import AgencyId, EnvelopeId, MessageId
from nodes.store.contract import MachineState, MessageRow, Op, RecipientRow
from nodes.vault import StoredHeadline
from nodes.writer import Change, EntryDraft, Placed

LogEnd: TypeAlias = tuple[str, int, int, bytes]  # gateway, generation, size, root

SLICE = 16  # envelopes that are worked on before others get a turn: about two milliseconds


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message that became a row here, for those who watch."""

    row: MessageRow
    headline: StoredHeadline


@dataclass(frozen=True, slots=True)
class SettledRecipient:
    """A recipient's state moved."""

    message_id: MessageId
    agency: AgencyId
    state: MachineState


@dataclass(slots=True)
class Taken:
    """What came of a round's groups."""

    answers: set[tuple[str, int]] = field(default_factory=set)  # own entries to hand back
    results: list[Result] = field(default_factory=list)
    arrived: list[Arrived] = field(default_factory=list)
    settled: list[SettledRecipient] = field(default_factory=list)
    acknowledged: list[tuple[AgencyId, MessageId]] = field(default_factory=list)  # messages that got an ack
    new_profile: bool = False
    wasted: int = 0  # groups and items that brought nothing but work


@dataclass(slots=True)
class Plan:
    """Grows into one Change: entries with the rows that name their place, rows that need none, and what memory learns
    after the commit.
    """

    entries: list[EntryDraft] = field(default_factory=list)
    placed_ops: list[Callable[[Placed], list[Op]]] = field(default_factory=list)
    placed_after: list[Callable[[Placed], None]] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    after: list[Callable[[], None]] = field(default_factory=list)
    opened: list[Proof] = field(default_factory=list)  # first words of the peer's generations, of all groups
    # Heads by a pair that is not in force, perhaps the last of their generation, with the ends that they name in turn;
    # and the ends that the pair in force names.
    ends: list[tuple[Group, set[LogEnd]]] = field(default_factory=list)
    ended: set[LogEnd] = field(default_factory=set)
    logs: set[tuple[str, int]] = field(default_factory=set)  # gateways and generations that spoke in this round
    envelopes: set[EnvelopeId] = field(default_factory=set)  # that came in this round
    messages: dict[MessageId, tuple[MessageRow, str]] = field(default_factory=dict)  # admitted in this round, with hash
    recipients: dict[tuple[MessageId, AgencyId], RecipientRow] = field(default_factory=dict)  # as this round has them
    acked: set[MessageId] = field(default_factory=set)  # messages that acks of this round say to be ours
    alerts: set[str] = field(default_factory=set)  # cases whose alert came before in this round
    cases: dict[str, set[AgencyId]] = field(default_factory=dict)  # what was read of cases: see _alert_senders

    def add(self, draft: EntryDraft, ops: Callable[[Placed], list[Op]], after: Callable[[Placed], None]) -> None:
        """One entry. `ops` may be called more than once (a commit tried again), `after` once, when it is durable."""
        self.entries.append(draft)
        self.placed_ops.append(ops)
        self.placed_after.append(after)

    def change(self) -> Change:
        placed_ops, fixed = tuple(self.placed_ops), tuple(self.ops)

        def ops(placed: tuple[Placed, ...]) -> list[Op]:
            made = [op for build, place in zip(placed_ops, placed, strict=True) for op in build(place)]
            return [*fixed, *made]

        return Change(entries=tuple(self.entries), ops=ops)


async def let_others(number: int) -> None:
    """One peer's large round must not keep another's flash alert waiting."""
    if number % SLICE == 0:
        await asyncio.sleep(0)
