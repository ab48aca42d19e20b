"""Owns the envelope (PROTOCOL §8): header, padding, commitment, what lies inside; knows no key, no log, no JSON.

Sealing and opening are functions that the caller passes in. Nothing here draws randomness: the opening is an argument.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from typing import Final

from exchange.errors import RefusalCode, RefusalError
from keys.encoding import Value, decode, encode, take_array, take_bytes, take_int, take_text, take_time
from keys.errors import CannotOpenError, EncodingError
from keys.ids import ID_BYTES, AgencyId, EnvelopeId, MessageId, parse_agency_id

SUITE: Final = 1
MAX_HEADER_BYTES: Final = 512
MAX_BODY_BYTES: Final = 264_000
MAX_MESSAGE_BYTES: Final = 262_144
MAX_PLAINTEXT_BYTES: Final = 263_168
MAX_NUMBER: Final = 2**53 - 1  # of an envelope, and its generation: what counts on from it must still be a number
OPENING_BYTES: Final = 32
PADDED_SIZES: Final = tuple(1024 << step for step in range(9))
"""1, 2, 4, … 256 KiB: what the line shows of a message's length."""

SEALING_OVERHEAD: Final = 1_120 + 16
"""What HPKE adds: `enc` of MLKEM768-X25519 and the tag of AES-256-GCM."""

_INFO_PREFIX: Final = b"tocsin envelope v1\x00"
_COMMITMENT_PREFIX: Final = b"tocsin content v1"
_HASH_BYTES: Final = 32

# An alert of 1.5 KB: level 6 costs 2 us more than level 1 and often saves the next size. zlib's default memory level,
# 8, allocates 256 KiB per message, which costs five times the compression itself; 7 compresses documents no worse.
_DEFLATE_LEVEL: Final = 6
_DEFLATE_MEMORY: Final = 7
_RAW_DEFLATE: Final = -15

_STEP_SIZES: Final = 9  # of admission (PROTOCOL §10)
_STEP_OPEN: Final = 13

Seal = Callable[[bytes, bytes], bytes]
"""(info, plaintext) -> body `enc || ct`."""

Open = Callable[[bytes, bytes], bytes]
"""(info, body) -> plaintext. Raises CannotOpenError."""


class Precedence(IntEnum):
    """How fast it must be there and be read; the wire's number."""

    FLASH = 0
    IMMEDIATE = 1
    URGENT = 2
    PRIORITY = 3
    ROUTINE = 4


@dataclass(frozen=True, slots=True)
class Header:
    """What everybody on the way sees of an envelope. Times in ms."""

    envelope_id: EnvelopeId
    sender: AgencyId
    recipient: AgencyId
    epoch_number: int
    precedence: Precedence
    sent_at: int
    deliver_by: int
    commitment: bytes


@dataclass(frozen=True, slots=True)
class SealRequest:
    """One message to one recipient. `number` is the counter per recipient in the issuing log's `generation`, from 1."""

    envelope_id: EnvelopeId
    sender: AgencyId
    recipient: AgencyId
    epoch_number: int
    precedence: Precedence
    sent_at: int
    deliver_by: int
    generation: int
    number: int
    message_id: MessageId
    content: bytes


@dataclass(frozen=True, slots=True)
class SealedEnvelope:
    """An envelope, and what its sender keeps to prove its content later: `opening` and `rest`."""

    header_bytes: bytes
    header: Header
    body: bytes
    body_hash: bytes
    envelope_hash: bytes
    opening: bytes
    rest: bytes


@dataclass(frozen=True, slots=True)
class OpenedContent:
    """What an envelope held. `content` are the message bytes as committed; `opening` and `rest` prove them."""

    generation: int
    number: int
    message_id: MessageId
    content: bytes
    opening: bytes
    rest: bytes


# --- header -----------------------------------------------------------------------------------------------------------


def encode_header(header: Header) -> bytes:
    """The header's bytes. Raises EncodingError if a field cannot be encoded."""
    return encode(
        [
            SUITE,
            header.envelope_id,
            header.sender,
            header.recipient,
            header.epoch_number,
            header.precedence,
            header.sent_at,
            header.deliver_by,
            header.commitment,
        ]
    )


def decode_header(data: bytes) -> Header:
    """The header of these bytes, strictly. Raises EncodingError, for another suite too."""
    fields = take_array(decode(data, max_bytes=MAX_HEADER_BYTES), length=9)
    if take_int(fields[0]) != SUITE:
        raise EncodingError("suite")
    epoch_number = take_int(fields[4])
    if epoch_number < 1:
        raise EncodingError("epoch_number")
    return Header(
        envelope_id=EnvelopeId(take_bytes(fields[1], length=ID_BYTES)),
        sender=parse_agency_id(take_text(fields[2])),
        recipient=parse_agency_id(take_text(fields[3])),
        epoch_number=epoch_number,
        precedence=Precedence(take_int(fields[5], maximum=max(Precedence))),
        sent_at=take_time(fields[6]),
        deliver_by=take_time(fields[7]),
        commitment=take_bytes(fields[8], length=_HASH_BYTES),
    )


def body_hash(body: bytes) -> bytes:
    """SHA-256 of `enc || ct`: what is kept of a body once it is erased."""
    return sha256(body).digest()


def envelope_hash(header_bytes: bytes, hash_of_body: bytes) -> bytes:
    """The hash that names an envelope: SHA-256(header || SHA-256(body)). Provable without the body."""
    return sha256(header_bytes + hash_of_body).digest()


# --- sealing ----------------------------------------------------------------------------------------------------------


def seal_message(request: SealRequest, seal: Seal, opening: bytes) -> SealedEnvelope:
    """The envelope that `request` asks for. `opening` are 32 fresh random bytes, never used before.

    Raises:
        RefusalError: `too_large`, if the message does not fit the largest padded size.
        EncodingError: a field cannot be encoded.
    """
    if len(opening) != OPENING_BYTES:
        raise EncodingError("opening")
    rest = encode_rest(
        request.sender,
        request.recipient,
        request.envelope_id,
        request.generation,
        request.number,
        request.message_id,
        request.content,
    )
    header = Header(
        envelope_id=request.envelope_id,
        sender=request.sender,
        recipient=request.recipient,
        epoch_number=request.epoch_number,
        precedence=request.precedence,
        sent_at=request.sent_at,
        deliver_by=request.deliver_by,
        commitment=commitment_of(opening, rest),
    )
    header_bytes = encode_header(header)
    body = seal(_INFO_PREFIX + header_bytes, _pad(opening + rest, request.content))
    hash_of_body = body_hash(body)
    return SealedEnvelope(
        header_bytes=header_bytes,
        header=header,
        body=body,
        body_hash=hash_of_body,
        envelope_hash=envelope_hash(header_bytes, hash_of_body),
        opening=opening,
        rest=rest,
    )


def padded_size(content: bytes) -> int:
    """Bytes of the sealed body that these message bytes come to: `enc`, the padded plaintext and the tag.

    Ids and opening are taken at their largest, so at a boundary the envelope may come out one size smaller, never
    larger.

    Raises:
        RefusalError: `too_large`.
    """
    # 32 + 16 + 16 random bytes and two ids of 64 characters, none of which need compress, and the arrays around them.
    incompressible = 256
    return _padded_length(len(_deflate(content)) + incompressible, content) + SEALING_OVERHEAD


def encode_rest(
    sender: AgencyId,
    recipient: AgencyId,
    envelope_id: EnvelopeId,
    generation: int,
    number: int,
    message_id: MessageId,
    content: bytes,
) -> bytes:
    """What the plaintext holds after the opening. With the opening it is what proves content later."""
    return encode([sender, recipient, envelope_id, [generation, number], message_id, content])


def commitment_of(opening: bytes, rest: bytes) -> bytes:
    """What the header commits to: SHA-256("tocsin content v1" || opening || rest)."""
    return sha256(_COMMITMENT_PREFIX + opening + rest).digest()


def _pad(plaintext: bytes, content: bytes) -> bytes:
    deflated = _deflate(plaintext)
    return deflated.ljust(_padded_length(len(deflated), content), b"\x00")


def _padded_length(deflated: int, content: bytes) -> int:
    if len(content) > MAX_MESSAGE_BYTES:
        raise RefusalError(RefusalCode.TOO_LARGE, _STEP_SIZES)
    for size in PADDED_SIZES:
        if deflated <= size:
            return size
    raise RefusalError(RefusalCode.TOO_LARGE, _STEP_SIZES)


def _deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(_DEFLATE_LEVEL, zlib.DEFLATED, _RAW_DEFLATE, _DEFLATE_MEMORY)
    return compressor.compress(data) + compressor.flush()


# --- opening ----------------------------------------------------------------------------------------------------------


def open_envelope(header_bytes: bytes, header: Header, body: bytes, open_: Open) -> OpenedContent:
    """What lies in an envelope whose header is `header_bytes`.

    Raises:
        RefusalError: `malformed`, for whatever is wrong with it: it does not open, a length that is none of the sizes,
            more than one DEFLATE stream, anything but zeros after it, more than 257 KiB inflated, a rest that disagrees
            with the header, a commitment that does not open. One code for all: it is no oracle.
    """
    try:
        padded = open_(_INFO_PREFIX + header_bytes, body)
    except CannotOpenError as error:
        raise RefusalError(RefusalCode.MALFORMED, _STEP_OPEN) from error
    if len(padded) not in PADDED_SIZES:
        raise RefusalError(RefusalCode.MALFORMED, _STEP_OPEN)
    plaintext = _inflate(padded)
    return verify_commitment(header, plaintext[:OPENING_BYTES], plaintext[OPENING_BYTES:])


def verify_commitment(header: Header, opening: bytes, rest: bytes) -> OpenedContent:
    """What `rest` says, if it is what `header` committed to and agrees with it.

    Raises:
        RefusalError: `malformed`.
    """
    if len(opening) != OPENING_BYTES or commitment_of(opening, rest) != header.commitment:
        raise RefusalError(RefusalCode.MALFORMED, _STEP_OPEN)
    try:
        fields = take_array(decode(rest, max_bytes=MAX_PLAINTEXT_BYTES), length=6)
        if fields[:3] != [header.sender, header.recipient, header.envelope_id]:
            raise EncodingError("other_header")
        generation, number = _take_number(fields[3])
        message_id = MessageId(take_bytes(fields[4], length=ID_BYTES))
        content = take_bytes(fields[5], max_length=MAX_MESSAGE_BYTES)
    except EncodingError as error:
        raise RefusalError(RefusalCode.MALFORMED, _STEP_OPEN) from error
    return OpenedContent(generation, number, message_id, content, opening, rest)


def _take_number(value: Value) -> tuple[int, int]:
    generation, number = (take_int(field, maximum=MAX_NUMBER) for field in take_array(value, length=2))
    if generation < 1 or number < 1:
        raise EncodingError("number")
    return generation, number


def _inflate(padded: bytes) -> bytes:
    """The one stream at the start of `padded`. The cap holds while inflating: 256 KiB could come to 264 MB."""
    inflater = zlib.decompressobj(_RAW_DEFLATE)
    try:
        plaintext = inflater.decompress(padded, MAX_PLAINTEXT_BYTES + 1)
    except zlib.error as error:
        raise RefusalError(RefusalCode.MALFORMED, _STEP_OPEN) from error
    if not inflater.eof or len(plaintext) > MAX_PLAINTEXT_BYTES or inflater.unused_data.strip(b"\x00"):
        raise RefusalError(RefusalCode.MALFORMED, _STEP_OPEN)
    return plaintext
