"""Owns the card, by which an agency introduces itself in one text file (PROTOCOL §4). Knows no peer and trusts nobody.

A card proves itself: everything in it follows from its root. Whether that root is the right one, two people decide by
the safety code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from exchange.base64text import decode_base64, encode_base64
from exchange.checkpoint import Checkpoint, verify_checkpoint
from exchange.errors import ExchangeError, StatementError
from exchange.log import LogProofError, leaf_hash, verify_inclusion
from exchange.statement import (
    AgencyKeys,
    LogOpened,
    Profile,
    Proof,
    build_agency_keys,
    decode_entry,
    proof_from_wire,
    proof_to_wire,
    verify_statement,
)
from keys.anchor import Anchor, anchor_from_wire, anchor_to_wire
from keys.encoding import Value, decode, encode, take_array, take_int
from keys.errors import AnchorError, BadSignatureError, EncodingError, KeyConflictError
from keys.ids import AgencyId
from keys.safety_code import safety_code

CARD_VERSION: Final = 1
MAX_CARD_BYTES: Final = 1_048_576
MAX_KEY_CHANGES: Final = 256
MAX_OPENED: Final = 1_000
BEGIN_LINE: Final = "-----BEGIN TOCSIN CARD-----"
END_LINE: Final = "-----END TOCSIN CARD-----"

_LINE_LENGTH: Final = 64
# base64 is 4 for 3; and a mail around it. Beyond, it is no card, and nothing of it is looked at.
_MAX_TEXT_LENGTH: Final = 2 * MAX_CARD_BYTES


class CardProblem(StrEnum):
    """What is wrong with a card."""

    NOT_A_CARD = "not_a_card"
    SEVERAL_CARDS = "several_cards"
    TOO_LARGE = "too_large"
    BAD_ENCODING = "bad_encoding"
    BAD_ANCHOR = "bad_anchor"
    BAD_KEY_CHANGE = "bad_key_change"
    KEY_CONFLICT = "key_conflict"
    BAD_PROFILE = "bad_profile"
    BAD_LOG_OPENED = "bad_log_opened"


class CardError(ExchangeError):
    """A card is not usable."""

    def __init__(self, reason: CardProblem) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Card:
    """The parts of a card: key changes since the anchor, the newest profile, `log opened` entries since the anchor."""

    anchor: Anchor
    key_changes: tuple[Proof, ...]
    profile: Proof
    opened: tuple[Proof, ...]

    @property
    def agency(self) -> AgencyId:
        """Whose card it says it is."""
        return self.anchor.body.agency


@dataclass(frozen=True, slots=True)
class VerifiedCard:
    """A card of which everything follows from its root. Made by parse_card and verify_card only.

    `head` is the checkpoint of the profile's proof: the head of that log which the reader holds from now on.
    """

    card: Card
    keys: AgencyKeys
    profile: Profile
    profile_hash: bytes
    head: Checkpoint
    opened: tuple[LogOpened, ...]
    safety_code: str

    @property
    def agency(self) -> AgencyId:
        """Whose card it is."""
        return self.keys.agency


def make_card(keys: AgencyKeys, profile: Proof, opened: Sequence[Proof]) -> Card:
    """The card of an agency that has `keys`: its newest anchor, and of the rest what came after that anchor's bases."""
    anchor = keys.anchors[-1]
    return Card(
        anchor=anchor,
        key_changes=tuple(proof for proof in keys.changes if _is_after(anchor, proof)),
        profile=profile,
        opened=tuple(proof for proof in opened if _is_after(anchor, proof)),
    )


def _is_after(anchor: Anchor, proof: Proof) -> bool:
    origin = proof.checkpoint.origin
    base = anchor.body.gateway(origin.gateway)
    return base is not None and (origin.generation, proof.checkpoint.size) > (base.generation, base.base_size)


def encode_card(card: Card) -> bytes:
    """The bytes of a card."""
    return encode(
        [
            CARD_VERSION,
            anchor_to_wire(card.anchor),
            [proof_to_wire(proof) for proof in card.key_changes],
            proof_to_wire(card.profile),
            [proof_to_wire(proof) for proof in card.opened],
        ]
    )


def armour(card_bytes: bytes) -> str:
    """The text form of a card, to be mailed, printed or read out of a file."""
    text = encode_base64(card_bytes)
    lines = [text[start : start + _LINE_LENGTH] for start in range(0, len(text), _LINE_LENGTH)]
    return "\n".join([BEGIN_LINE, *lines, END_LINE, ""])


def parse_card(data: str | bytes) -> VerifiedCard:
    """The card in an armoured text, or of a card's bytes, with everything in it verified.

    Raises:
        CardError: for whatever is wrong with it. Total: nothing else comes out of any input.
    """
    if isinstance(data, bytes):
        text = data.decode("utf-8", "replace")
        card_bytes = _remove_armour(text) if BEGIN_LINE in text else data
    else:
        card_bytes = _remove_armour(data)
    return verify_card(_decode_card(card_bytes))


def verify_card(card: Card) -> VerifiedCard:
    """The card with everything in it verified. Raises CardError."""
    try:
        keys = build_agency_keys([card.anchor], card.key_changes)
    except AnchorError as error:
        raise CardError(CardProblem.BAD_ANCHOR) from error
    except StatementError as error:
        raise CardError(CardProblem.BAD_KEY_CHANGE) from error
    except KeyConflictError as error:
        raise CardError(CardProblem.KEY_CONFLICT) from error
    return VerifiedCard(
        card=card,
        keys=keys,
        profile=_verify_profile(card, keys),
        profile_hash=leaf_hash(card.profile.entry),
        head=card.profile.checkpoint,
        opened=tuple(_verify_opened(proof, keys) for proof in card.opened),
        safety_code=safety_code(keys.agency, card.anchor.body.root),
    )


def _verify_profile(card: Card, keys: AgencyKeys) -> Profile:
    """The profile, proved by a pair that the card names, or by the base that the root signed with the anchor.

    A card is made at the ceremony too, before anything is logged beyond the new anchor's base. Which pair signed the
    head at the base, only earlier anchors tell; after a revocation no pair is named at all.
    """
    try:
        entry = verify_statement(card.profile, keys).entry
    except StatementError as error:
        if not _is_at_base(card):
            raise CardError(CardProblem.BAD_PROFILE) from error
        entry = decode_entry(card.profile.entry)
    if not isinstance(entry, Profile):
        raise CardError(CardProblem.BAD_PROFILE)
    return entry


def _is_at_base(card: Card) -> bool:
    """Whether the profile lies under exactly the head that the anchor names as a base, in a form that can be read."""
    proof, checkpoint = card.profile, card.profile.checkpoint
    base = card.anchor.body.gateway(checkpoint.origin.gateway)
    head = (checkpoint.origin.agency, checkpoint.origin.generation, checkpoint.size, checkpoint.root)
    if base is None or head != (card.agency, base.generation, base.base_size, base.base_root):
        return False
    try:
        decode_entry(proof.entry)
        verify_inclusion(leaf_hash(proof.entry), proof.index, checkpoint.size, proof.path, checkpoint.root)
        if base.node is not None:
            # The reader will show this head to its owner: signatures that do not hold would be of no use to either.
            verify_checkpoint(checkpoint, base.node)
    except (EncodingError, LogProofError, BadSignatureError):
        return False
    return True


def _verify_opened(proof: Proof, keys: AgencyKeys) -> LogOpened:
    """Leaf 0 of a generation after the anchor's, which says that it follows a lower one."""
    try:
        statement = verify_statement(proof, keys)
    except StatementError as error:
        raise CardError(CardProblem.BAD_LOG_OPENED) from error
    entry, generation = statement.entry, statement.origin.generation
    base = keys.history.base(statement.origin.gateway)
    if not isinstance(entry, LogOpened) or statement.index != 0 or entry.previous_generation >= generation:
        raise CardError(CardProblem.BAD_LOG_OPENED)
    if base is None or generation <= base.generation:
        raise CardError(CardProblem.BAD_LOG_OPENED)
    return entry


def _decode_card(card_bytes: bytes) -> Card:
    if len(card_bytes) > MAX_CARD_BYTES:
        raise CardError(CardProblem.TOO_LARGE)
    try:
        fields = take_array(decode(card_bytes, max_bytes=MAX_CARD_BYTES), length=5)
        if take_int(fields[0]) != CARD_VERSION:
            raise EncodingError("card_version")
        anchor = anchor_from_wire(fields[1])
        agency = anchor.body.agency
        return Card(
            anchor=anchor,
            key_changes=_take_proofs(fields[2], agency, MAX_KEY_CHANGES),
            profile=proof_from_wire(fields[3], agency),
            opened=_take_proofs(fields[4], agency, MAX_OPENED),
        )
    except EncodingError as error:
        raise CardError(CardProblem.BAD_ENCODING) from error
    except AnchorError as error:
        raise CardError(CardProblem.BAD_ANCHOR) from error


def _take_proofs(value: Value, agency: AgencyId, max_length: int) -> tuple[Proof, ...]:
    return tuple(proof_from_wire(proof, agency) for proof in take_array(value, max_length=max_length))


def _remove_armour(text: str) -> bytes:
    """The bytes between the lines. Text around them is ignored; what mail and editors do to lines is borne."""
    if len(text) > _MAX_TEXT_LENGTH:
        raise CardError(CardProblem.TOO_LARGE)
    lines = [line.strip("\ufeff \t") for line in text.splitlines()]
    begins = [number for number, line in enumerate(lines) if line == BEGIN_LINE]
    ends = [number for number, line in enumerate(lines) if line == END_LINE]
    if len(begins) > 1 or len(ends) > 1:
        raise CardError(CardProblem.SEVERAL_CARDS)  # which one was meant, nobody can say
    if not begins or not ends or ends[0] < begins[0]:
        raise CardError(CardProblem.NOT_A_CARD)
    try:
        return decode_base64("".join(lines[begins[0] + 1 : ends[0]]))
    except EncodingError as error:
        raise CardError(CardProblem.BAD_ENCODING) from error
