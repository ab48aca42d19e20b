"""Owns whether a statement under a replaced key still counts (PROTOCOL §7.1, currency). Knows no file and no store.

Whoever stole a retired pair can sign checkpoints of any size that the pair covered, with any time. So such a statement
needs something that the thief does not have: that its head is part of what a pair still in force, or the root, stands
for; or that somebody who gains nothing by it held that very head.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from exchange.checkpoint import Checkpoint
from exchange.entry import LogOpened
from exchange.errors import StatementError, StatementProblem
from exchange.log import verify_consistency
from exchange.statement import AgencyKeys, Receipt, Statement
from keys.ids import AgencyId, GatewayName


@dataclass(frozen=True, slots=True)
class LogHead:
    """A head of an agency's log, without the signatures."""

    agency: AgencyId
    gateway: GatewayName
    generation: int
    size: int
    root: bytes

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> LogHead:
        """The head that a checkpoint signs."""
        origin = checkpoint.origin
        return cls(origin.agency, origin.gateway, origin.generation, checkpoint.size, checkpoint.root)


@dataclass(frozen=True, slots=True)
class Link:
    """A proof that the head (from_size, from_root) of a log is a prefix of (to_size, to_root)."""

    agency: AgencyId
    gateway: GatewayName
    generation: int
    from_size: int
    from_root: bytes
    to_size: int
    to_root: bytes
    nodes: tuple[bytes, ...]

    @property
    def earlier(self) -> LogHead:
        """The head it leads from."""
        return LogHead(self.agency, self.gateway, self.generation, self.from_size, self.from_root)

    @property
    def later(self) -> LogHead:
        """The head it leads to."""
        return LogHead(self.agency, self.gateway, self.generation, self.to_size, self.to_root)

    def verify(self) -> None:
        """Check the consistency proof. Raises LogProofError."""
        verify_consistency(self.from_size, self.to_size, self.nodes, self.from_root, self.to_root)


def standing_heads(
    keys: Iterable[AgencyKeys],
    links: Iterable[Link],
    checkpoints: Iterable[Checkpoint],
    ended: Iterable[LogHead] = (),
) -> frozenset[LogHead]:
    """The heads that a pair in force or a root stands for: those of `checkpoints`, the bases of anchors, those of
    `ended` generations, and every head from which verified `links` lead to one of these.

    `checkpoints` are verified, each signed by a pair that is current.
    """
    leading: defaultdict[LogHead, list[LogHead]] = defaultdict(list)
    for link in links:
        leading[link.later].append(link.earlier)
    waiting = [*ended, *(LogHead.of(checkpoint) for checkpoint in checkpoints)]
    for agency_keys in keys:
        waiting.extend(_bases(agency_keys))
    standing: set[LogHead] = set()
    while waiting:
        head = waiting.pop()
        if head not in standing:
            standing.add(head)
            waiting.extend(leading[head])
    return frozenset(standing)


def ended_heads(statements: Iterable[Statement]) -> frozenset[LogHead]:
    """The last heads of earlier generations, as the `log opened` among these statements name them. Each must count: no
    link leads from one generation to the next, so the owner's own word is what ties them.
    """
    return frozenset(
        LogHead(
            statement.agency,
            statement.checkpoint.origin.gateway,
            statement.entry.previous_generation,
            statement.entry.last_size,
            statement.entry.last_root,
        )
        for statement in statements
        if isinstance(statement.entry, LogOpened)
        and statement.entry.previous_generation < statement.checkpoint.origin.generation
    )


def _bases(keys: AgencyKeys) -> list[LogHead]:
    return [
        LogHead(keys.agency, gateway.name, gateway.generation, gateway.base_size, gateway.base_root)
        for anchor in keys.anchors
        for gateway in anchor.body.gateways
        if gateway.base_size > 0
    ]


def counting(
    statements: Sequence[Statement],
    beneficiaries: Sequence[AgencyId | None],
    standing: frozenset[LogHead],
    trusted: Container[AgencyId],
) -> tuple[bool, ...]:
    """Which of these statements count, each with the agency that gains by it (the other party of its envelope).

    One counts if its pair is current; if its head stands; or if a receipt that counts, by an agency that neither made
    it nor gains by it, names exactly its head.
    """
    by_head: defaultdict[LogHead, list[int]] = defaultdict(list)
    counts = [False] * len(statements)
    for number, statement in enumerate(statements):
        head = LogHead.of(statement.checkpoint)
        by_head[head].append(number)
        counts[number] = statement.is_current or head in standing
    waiting = [number for number, one in enumerate(counts) if one]
    while waiting:
        witness = statements[waiting.pop()]
        named = _witnessed_head(witness)
        if named is None or witness.agency not in trusted:
            continue
        for number in by_head[named]:
            if not counts[number] and witness.agency not in (statements[number].agency, beneficiaries[number]):
                counts[number] = True
                waiting.append(number)
    return tuple(counts)


def establish_currency(
    statement: Statement,
    keys: Mapping[AgencyId, AgencyKeys],
    links: Sequence[Link],
    other_statements: Sequence[Statement],
    beneficiary: AgencyId | None,
) -> None:
    """Check that one statement counts, with what else is at hand: links are verified here, statements were before.

    A receipt among `other_statements` speaks for whoever it speaks for only if it counts itself; no receipt by its own
    beneficiary, its sender, makes it count.

    Raises:
        LogProofError: a link does not hold.
        StatementError: `key_not_valid`: it does not count.
    """
    for link in links:
        link.verify()
    everything = [statement, *other_statements]
    gaining = [beneficiary, *(_receipt_beneficiary(other) for other in other_statements)]
    current = [one.checkpoint for one in everything if one.is_current]
    if not counting(everything, gaining, standing_heads(keys.values(), links, current), keys)[0]:
        raise StatementError(StatementProblem.KEY_NOT_VALID, 6)


def _receipt_beneficiary(statement: Statement) -> AgencyId | None:
    return statement.entry.sender if isinstance(statement.entry, Receipt) else None


def _witnessed_head(statement: Statement) -> LogHead | None:
    """The head that a receipt names: of the sender's log, under which the envelope was proved."""
    entry = statement.entry
    if not isinstance(entry, Receipt):
        return None
    head = entry.head
    return LogHead(entry.sender, head.gateway, head.generation, head.size, head.root)
