"""The inbound pipeline (PROTOCOL §10, steps 6 to 17): from bytes that claim to be an envelope to a message that may
be stored.

Owns the order of the checks and the verdict. It reads no store and no clock: the node loads facts and passes them in.
Stages are types, each made
by exactly one function, so that skipping a check is a type error:

    RawEnvelope -> ParsedEnvelope -> ProvedEnvelope -> OpenedMessage -> ReadMessage -> Admitted
      (round)       parse_envelope     prove             examine          read           admit
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from exchange.alerts import Headline, InvalidAlert, read_received
from exchange.entry import Issued
from exchange.envelope import Header, OpenedContent, decode_header, envelope_hash, open_envelope
from exchange.errors import ReasonClass, RefusalCode, RefusalError, classify
from exchange.policy import CaseFacts, check_inbound
from exchange.round import RawEnvelope
from exchange.statement import EnvelopeFacts, Statement
from keys.errors import CannotOpenError, EncodingError
from keys.ids import AgencyId

# A sender's clock that runs ahead up to a day costs nothing; beyond, the message waits until it does not (DESIGN 7).
MAX_AHEAD_MS = 24 * 3_600_000


@dataclass(frozen=True, slots=True)
class ParsedEnvelope:
    """A header that decodes, and the hash that names the envelope. Nobody has signed for it yet."""

    raw: RawEnvelope
    header: Header
    body_hash: bytes
    envelope_hash: bytes

    @property
    def facts(self) -> EnvelopeFacts:
        """What steps 7 and 8 of statement verification compare with."""
        return EnvelopeFacts(
            sender=self.header.sender,
            recipient=self.header.recipient,
            envelope_id=self.header.envelope_id,
            envelope_hash=self.envelope_hash,
        )


@dataclass(frozen=True, slots=True)
class ProvedEnvelope:
    """The sender's log holds an `issued` entry for exactly this header and body."""

    parsed: ParsedEnvelope
    statement: Statement


@dataclass(frozen=True, slots=True)
class OpenedMessage:
    """Opened, inflated, in agreement with its header, committed to."""

    proved: ProvedEnvelope
    opened: OpenedContent


@dataclass(frozen=True, slots=True)
class ReadMessage:
    """Its bytes are a valid document of its kind. `repeat`: the same message came in an earlier envelope and is not
    shown again.
    """

    message: OpenedMessage
    document: dict[str, Any]
    headline: Headline
    content_sha256: bytes
    repeat: bool


@dataclass(frozen=True, slots=True)
class Admitted:
    """May be stored and receipted."""

    read: ReadMessage


@dataclass(frozen=True, slots=True)
class Repeated:
    """The very envelope is known: hand out the stored answer, byte for byte."""

    proved: ProvedEnvelope


@dataclass(frozen=True, slots=True)
class Refused:
    """Final: a signed refusal, remembered and repeated."""

    proved: ProvedEnvelope
    code: RefusalCode
    step: int
    opened: OpenedContent | None = None


@dataclass(frozen=True, slots=True)
class Deferred:
    """Later or reseal: an unsigned code; the sender comes again."""

    proved: ProvedEnvelope
    code: RefusalCode
    step: int


@dataclass(frozen=True, slots=True)
class EarlierEnvelope:
    """What is stored under the same (from, envelope id): one envelope, or more of a sender that equivocates."""

    envelope_hashes: frozenset[bytes]


def parse_envelope(raw: RawEnvelope) -> ParsedEnvelope:
    """Step 6, first half. Raises RefusalError(malformed): a drop, since nobody is proved to have sent it."""
    try:
        header = decode_header(raw.header)
    except EncodingError as error:
        raise RefusalError(RefusalCode.MALFORMED, 6) from error
    body_hash = sha256(raw.body).digest()
    return ParsedEnvelope(raw, header, body_hash, envelope_hash(raw.header, body_hash))


def prove(parsed: ParsedEnvelope, statement: Statement) -> ProvedEnvelope:
    """Step 6, second half: join an envelope with the verified statement that names it.

    Raises RefusalError(bad_proof) if the statement is of another type or of another agency: a caller's mix-up must
    never pass for a proof.
    """
    entry = statement.entry
    if (
        not isinstance(entry, Issued)
        or statement.agency != parsed.header.sender
        or entry.envelope_hash != parsed.envelope_hash
    ):
        raise RefusalError(RefusalCode.BAD_PROOF, 6)
    return ProvedEnvelope(parsed, statement)


def examine(
    proved: ProvedEnvelope,
    *,
    agency: AgencyId,
    earlier: EarlierEnvelope | None,
    now: int,
    has_epoch_key: Callable[[int], bool],
    open_with: Callable[[int], Callable[[bytes, bytes], bytes]],
    doubtful_up_to: int,
) -> OpenedMessage | Repeated | Refused | Deferred:
    """Steps 7 to 13. `now` is the own clock corrected by the measured skew of this peer; `open_with(n)` gives
    `open(info, body)` for epoch key n. Under numbers up to `doubtful_up_to` others may hold another key than we do.
    """

    def opener(number: int) -> Callable[[bytes, bytes], bytes]:
        open_ = open_with(number)
        return _doubting(open_) if number <= doubtful_up_to else open_

    try:
        return _examine(proved, agency, earlier, now, has_epoch_key, opener)
    except RefusalError as refusal:
        if classify(refusal.code) in (ReasonClass.LATER, ReasonClass.RESEAL):
            return Deferred(proved, refusal.code, refusal.step)
        return Refused(proved, refusal.code, refusal.step)


def _examine(
    proved: ProvedEnvelope,
    agency: AgencyId,
    earlier: EarlierEnvelope | None,
    now: int,
    has_epoch_key: Callable[[int], bool],
    open_with: Callable[[int], Callable[[bytes, bytes], bytes]],
) -> OpenedMessage | Repeated:
    parsed = proved.parsed
    header = parsed.header
    if earlier is not None:  # (7)
        if parsed.envelope_hash in earlier.envelope_hashes:
            return Repeated(proved)
        raise RefusalError(RefusalCode.ID_REUSED, 7)
    if header.recipient != agency:  # (8)
        raise RefusalError(RefusalCode.NOT_FOR_US, 8)
    # (9) suite and sizes are fixed by decode_header and the caps of the round; the padded size is checked when opening
    if header.sent_at > now + MAX_AHEAD_MS:  # (10)
        raise RefusalError(RefusalCode.FROM_FUTURE, 10)
    if header.deliver_by <= now:  # (11)
        raise RefusalError(RefusalCode.EXPIRED_ON_ARRIVAL, 11)
    if not has_epoch_key(header.epoch_number):  # (12)
        raise RefusalError(RefusalCode.CANNOT_OPEN, 12)
    opened = open_envelope(parsed.raw.header, header, parsed.raw.body, open_with(header.epoch_number))  # (13)
    return OpenedMessage(proved, opened)


def _doubting(open_: Callable[[bytes, bytes], bytes]) -> Callable[[bytes, bytes], bytes]:
    """What does not open with a key that may be another than the sender's is nobody's fault: it is sealed anew. A final
    refusal would lose the message.
    """

    def open_or_ask_again(info: bytes, body: bytes) -> bytes:
        try:
            return open_(info, body)
        except CannotOpenError as error:
            raise RefusalError(RefusalCode.CANNOT_OPEN, 13) from error

    return open_or_ask_again


def read(message: OpenedMessage, *, earlier_content_sha256: bytes | None) -> ReadMessage | Refused:
    """Steps 14 and 15. `earlier_content_sha256` is that of the message stored under the same (from, message id), if
    any.
    """
    content = message.opened.content
    digest = sha256(content).digest()
    if earlier_content_sha256 is not None and earlier_content_sha256 != digest:  # (14)
        return Refused(message.proved, RefusalCode.ID_REUSED, 14, message.opened)
    try:  # (15)
        received = read_received(content)
    except InvalidAlert:
        return Refused(message.proved, RefusalCode.INVALID_MESSAGE, 15, message.opened)
    headline = received.headline
    if headline.message_id.replace("-", "") != message.opened.message_id.hex():
        # The id inside the document is what acks and evidence name; the sealed one is what dedupe uses. They are one.
        return Refused(message.proved, RefusalCode.INVALID_MESSAGE, 15, message.opened)
    return ReadMessage(message, received.document, headline, digest, repeat=earlier_content_sha256 is not None)


def admit(message: ReadMessage, case: CaseFacts) -> Admitted | Refused:
    """Steps 16 and 17: handling and policy, with what is stored of the case."""
    proved = message.message.proved
    try:
        check_inbound(message.document, message.headline, proved.parsed.header.sender, case)
    except RefusalError as refusal:
        return Refused(proved, refusal.code, refusal.step, message.message.opened)
    return Admitted(message)
