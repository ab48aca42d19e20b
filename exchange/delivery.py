"""The delivery state of (message, recipient) as a function of the set of proofs (PROTOCOL §12). Owns the order of
states, knows no store.

Any order and any repetition of the same statements gives the same state, and no further statement takes it back
(promise P5): the
state is a maximum over a set, in one total order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Where a message stands with one recipient, in rising order."""

    QUEUED = "queued"
    IN_CUSTODY = "in_custody"
    EXPIRED = "expired"
    REFUSED = "refused"
    STORED = "stored"
    OPENED = "opened"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    ACTIONED = "actioned"


_RANK = {state: rank for rank, state in enumerate(State)}

# Once here, nothing more is sent: the recipient has it, said no, or we stopped trying.
END_STATES = frozenset(State) - {State.QUEUED, State.IN_CUSTODY}
DECISIONS = (State.ACCEPTED, State.REJECTED, State.ACTIONED)


def at_least(state: State, floor: State) -> bool:
    """True if `state` is `floor` or higher."""
    return _RANK[state] >= _RANK[floor]


def highest(states: Iterable[State]) -> State:
    """The maximum; `queued` for an empty set."""
    return max(states, key=_RANK.__getitem__, default=State.QUEUED)


@dataclass(frozen=True, slots=True)
class Fact:
    """One verified statement or ack, or the stored fact that trying stopped.

    `newest` tells whether it speaks of the newest envelope of the message: custody, expiry and refusal of an older
    one are history, while a
    receipt or an ack through any envelope is for the message itself.
    """

    state: State
    newest: bool


def delivery_state(facts: Iterable[Fact]) -> State:
    """The state that a set of facts amounts to."""
    counted = []
    for fact in facts:
        if at_least(fact.state, State.STORED):
            # Any ack implies that the recipient stored it; `highest` gives that for free.
            counted.append(fact.state)
        elif fact.newest:
            counted.append(fact.state)
    return highest(counted)


def decisions_conflict(states: Iterable[State]) -> bool:
    """True when the recipient both accepted and rejected: the higher is shown, both are listed (finding
    `conflicting_decisions`).
    """
    said = set(states)
    return State.ACCEPTED in said and State.REJECTED in said
