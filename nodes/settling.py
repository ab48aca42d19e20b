"""What a peer's receipts and refusals do to our own messages. Owns which word settles which envelope; the state that
comes of it is `exchange.delivery`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from exchange.delivery import Fact, State, delivery_state
from exchange.entry import Receipt, decode_entry
from exchange.entry import Refused as RefusedEntry
from exchange.errors import StatementError
from exchange.statement import EnvelopeFacts, Statement
from keys.errors import EncodingError
from keys.ids import AgencyId, EnvelopeId
from nodes.intake_plan import Plan, SettledRecipient, Taken
from nodes.store.contract import (
    DropBody,
    MachineState,
    OutboundRow,
    PutRecipient,
    PutStatement,
    RecipientRow,
    StatementRow,
)


def settle(
    statement: Statement,
    deliveries: Mapping[EnvelopeId, tuple[RecipientRow, OutboundRow]],
    plan: Plan,
    taken: Taken,
    now: int,
) -> None:
    """Add to `plan` what this statement says of an envelope of ours, if it is its addressee's and about its bytes.

    It starts from the recipient's row as this round has it so far: a state never goes back (DESIGN 8).
    """
    entry = statement.entry
    if not isinstance(entry, Receipt | RefusedEntry):
        return
    delivery = deliveries.get(entry.envelope_id)
    if delivery is None or (delivery[1].agency, delivery[1].envelope_hash) != (
        statement.agency,
        entry.envelope_hash,
    ):
        return  # verify_group compared with our own facts; this says once more whose word settles what
    row = delivery[1]
    level, code = ("stored", None) if isinstance(entry, Receipt) else ("refused", entry.code)
    plan.ops.append(
        PutStatement(
            StatementRow(
                agency=statement.agency,
                envelope_id=entry.envelope_id,
                level=level,
                code=code,
                entry=statement.entry_bytes,
                index=statement.index,
                path=b"".join(statement.path),
                gateway=statement.origin.gateway,
                head_generation=statement.origin.generation,
                head_size=statement.checkpoint.size,
                at=entry.time,
            )
        )
    )
    plan.ops.append(DropBody(entry.envelope_id))
    key = (row.message_id, row.agency)
    recipient = plan.recipients[key]
    state = delivery_state(
        [
            Fact(State(recipient.state.value), newest=True),
            Fact(State(level), newest=entry.envelope_id == recipient.envelope_id),
        ]
    )
    moved = replace(
        recipient,
        state=MachineState(state.value),
        reason=code if state is State.REFUSED else None,
        updated_at=now,
        next_attempt_at=None,
    )
    if state.value != recipient.state.value:
        plan.ops.append(PutRecipient(moved))
        plan.recipients[key] = moved
        taken.settled.append(SettledRecipient(row.message_id, row.agency, moved.state))


def answer_in(data: bytes) -> Receipt | RefusedEntry | None:
    """The receipt or refusal that an entry is. What does not decode is left to the verification."""
    try:
        entry = decode_entry(data)
    except (EncodingError, StatementError):
        return None
    return entry if isinstance(entry, Receipt | RefusedEntry) else None


def facts_of_ours(
    own: AgencyId,
    answer: Receipt | RefusedEntry | None,
    deliveries: Mapping[EnvelopeId, tuple[RecipientRow, OutboundRow]],
) -> EnvelopeFacts | None:
    """Of our envelope that an answer names."""
    if answer is None or answer.envelope_id not in deliveries:
        return None
    row = deliveries[answer.envelope_id][1]
    return EnvelopeFacts(sender=own, recipient=row.agency, envelope_id=row.envelope_id, envelope_hash=row.envelope_hash)
