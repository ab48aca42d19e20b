"""The outbound decision: to whom a message may go, and the envelope each recipient gets. Owns that decision; knows no
store, queue or socket.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exchange.alerts import Headline
from exchange.envelope import Precedence, SealedEnvelope, SealRequest, seal_message
from exchange.policy import Addressee, SendBar, send_bar
from keys.epochs import MESSAGE_LIFETIME_MAX_MS
from keys.ids import AgencyId, EnvelopeId, MessageId

# A message without an own expiry (note, ack, test, cancel, resolve): long enough for a peer that is away for days,
# short of the lifetime of epoch keys.
DEFAULT_LIFETIME_MS = 14 * 86_400_000

PRECEDENCES: Mapping[str, Precedence] = {
    "flash": Precedence.FLASH,
    "immediate": Precedence.IMMEDIATE,
    "urgent": Precedence.URGENT,
    "priority": Precedence.PRIORITY,
    "routine": Precedence.ROUTINE,
}
PRECEDENCE_NAMES: Mapping[int, str] = {int(value): name for name, value in PRECEDENCES.items()}


@dataclass(frozen=True, slots=True)
class Decision:
    """What would happen to one recipient."""

    agency: AgencyId
    bar: SendBar | None

    @property
    def allowed(self) -> bool:
        """True if no rule forbids it."""
        return self.bar is None


def decide(
    document: Mapping[str, Any],
    headline: Headline,
    *,
    own_agency: AgencyId,
    own_country: str,
    addressees: Sequence[Addressee],
) -> tuple[Decision, ...]:
    """One decision per addressee. The caller posts to all of them or to none."""
    return tuple(Decision(to.agency, send_bar(document, headline, own_agency, own_country, to)) for to in addressees)


def deliver_by(headline: Headline, sent_at: int) -> int:
    """When trying stops: the message's own expiry, never beyond the life of the epoch key it is sealed to."""
    expires = headline.expires_at_ms if headline.expires_at_ms is not None else sent_at + DEFAULT_LIFETIME_MS
    return min(expires, sent_at + MESSAGE_LIFETIME_MAX_MS)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Everything that fixes one envelope but the chance in it."""

    envelope_id: EnvelopeId
    message_id: MessageId
    sender: AgencyId
    recipient: AgencyId
    precedence: Precedence
    sent_at: int
    deliver_by: int
    generation: int
    n: int
    content: bytes


def seal_outgoing(
    outgoing: Outgoing, epoch_number: int, seal: Callable[[bytes, bytes], bytes], opening: bytes
) -> SealedEnvelope:
    """The envelope for one recipient. `seal(info, plaintext)` seals to the recipient's epoch key of that number."""
    return seal_message(
        SealRequest(
            envelope_id=outgoing.envelope_id,
            sender=outgoing.sender,
            recipient=outgoing.recipient,
            epoch_number=epoch_number,
            precedence=outgoing.precedence,
            sent_at=outgoing.sent_at,
            deliver_by=outgoing.deliver_by,
            generation=outgoing.generation,
            number=outgoing.n,
            message_id=outgoing.message_id,
            content=outgoing.content,
        ),
        seal,
        opening,
    )
