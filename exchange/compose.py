"""The outbound decision: to whom a message may go, and the envelope each recipient gets. Owns that decision; knows no
store, queue or socket.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from exchange.alerts import Headline
from exchange.envelope import Precedence, SealRequest, seal_message
from exchange.policy import Addressee, SendBar, send_bar
from keys.epochs import MESSAGE_LIFETIME_MAX_MS, PublishedKey
from keys.ids import AgencyId, EnvelopeId, MessageId, parse_uuid

if TYPE_CHECKING:
    from exchange.alerts import Completed

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


def tried_until(until: int, sent_at: int) -> int:
    """Until when one recipient is tried: a message whose own time is over is still told."""
    return until if until > sent_at else sent_at + DEFAULT_LIFETIME_MS


@dataclass(frozen=True, slots=True)
class Addressed:
    """What of one recipient decides about its envelope. `key` is None before an epoch key of it came."""

    to: Addressee
    key: PublishedKey | None
    envelope_id: EnvelopeId


@dataclass(frozen=True, slots=True)
class Given:
    """All that a message is composed with beside itself. `now` in milliseconds UTC; `generation` of the own log."""

    agency: AgencyId
    country: str
    now: int
    generation: int
    recipients: tuple[Addressed, ...]


@dataclass(frozen=True, slots=True)
class Issuable:
    """An envelope that can be issued: `n` is its number towards the recipient, `opening` what proves its content."""

    n: int
    header: bytes
    body: bytes
    body_hash: bytes
    envelope_hash: bytes
    opening: bytes


@dataclass(frozen=True, slots=True)
class Composed:
    """A message, judged for each recipient and sealed to it. Times in milliseconds UTC.

    `decisions` and `envelopes` are in the order of the recipients. No envelope at all was made when one of them is
    barred; None stands for one whose key is not known yet.
    """

    headline: Headline
    content: bytes
    decisions: tuple[Decision, ...]
    deliver_by: int
    envelopes: tuple[Issuable | None, ...]


def compose(
    message: Completed,
    given: Given,
    *,
    number: Callable[[int], int],
    opening: Callable[[], bytes],
    seal: Callable[[bytes, bytes, bytes], bytes],
) -> Composed:
    """Judge a message for all its recipients and, if all may have it, seal it to each.

    `number(i)` draws the number of the envelope to recipient `i`, `opening()` 32 fresh bytes; `seal(public, info,
    plaintext)` seals to a public key. Raises RefusalError: `too_large`.
    """
    headline = message.headline
    decisions = decide(
        message.document,
        headline,
        own_agency=given.agency,
        own_country=given.country,
        addressees=[one.to for one in given.recipients],
    )
    until = deliver_by(headline, given.now)
    if not all(decision.allowed for decision in decisions):
        return Composed(headline, message.content, decisions, until, ())
    message_id = MessageId(parse_uuid(headline.message_id))
    envelopes: list[Issuable | None] = []
    for index, recipient in enumerate(given.recipients):
        if recipient.key is None:
            envelopes.append(None)
            continue
        outgoing = Outgoing(
            envelope_id=recipient.envelope_id,
            message_id=message_id,
            sender=given.agency,
            recipient=recipient.to.agency,
            precedence=PRECEDENCES[headline.precedence],
            sent_at=given.now,
            deliver_by=tried_until(until, given.now),
            generation=given.generation,
            n=number(index),
            content=message.content,
        )
        envelopes.append(issuable(outgoing, recipient.key, seal, opening()))
    return Composed(headline, message.content, decisions, until, tuple(envelopes))


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


def issuable(
    outgoing: Outgoing, key: PublishedKey, seal: Callable[[bytes, bytes, bytes], bytes], opening: bytes
) -> Issuable:
    """The envelope for one recipient. `seal(public, info, plaintext)` seals to a public key.

    Raises RefusalError: `too_large`.
    """
    sealed = seal_message(
        SealRequest(
            envelope_id=outgoing.envelope_id,
            sender=outgoing.sender,
            recipient=outgoing.recipient,
            epoch_number=key.number,
            precedence=outgoing.precedence,
            sent_at=outgoing.sent_at,
            deliver_by=outgoing.deliver_by,
            generation=outgoing.generation,
            number=outgoing.n,
            message_id=outgoing.message_id,
            content=outgoing.content,
        ),
        lambda info, plaintext: seal(key.public, info, plaintext),
        opening,
    )
    return Issuable(outgoing.n, sealed.header_bytes, sealed.body, sealed.body_hash, sealed.envelope_hash, opening)
