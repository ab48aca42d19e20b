"""Envelopes: what is sealed comes out again, its lengths say little, and nothing but the one form of it opens."""

from __future__ import annotations

import zlib
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.envelope import (
    MAX_MESSAGE_BYTES,
    PADDED_SIZES,
    SEALING_OVERHEAD,
    Header,
    Precedence,
    SealedEnvelope,
    SealRequest,
    body_hash,
    commitment_of,
    decode_header,
    encode_header,
    encode_rest,
    envelope_hash,
    open_envelope,
    padded_size,
    seal_message,
    verify_commitment,
)
from exchange.errors import RefusalCode, RefusalError
from keys.encoding import Value, decode, encode
from keys.errors import CannotOpenError, EncodingError
from keys.ids import AgencyId, EnvelopeId, MessageId
from keys.sealing import EpochKeyPair, open_sealed, seal
from tests.exchange.agencies import seal_plainly, seed

REQUEST = SealRequest(
    envelope_id=EnvelopeId(seed("id")[:16]),
    sender=AgencyId("ponal.co"),
    recipient=AgencyId("bka.de"),
    epoch_number=7,
    precedence=Precedence.FLASH,
    sent_at=1_795_000_000_000,
    deliver_by=1_795_600_000_000,
    generation=1,
    number=3,
    message_id=MessageId(seed("message")[:16]),
    content=b'{"kind":"alert"}',
)
OPENING = seed("opening")
EPOCH = EpochKeyPair.from_seed(seed("epoch"))


def sealed(request: SealRequest = REQUEST) -> SealedEnvelope:
    return seal_message(request, lambda info, plaintext: seal(EPOCH.public, info, plaintext), OPENING)


def refusal_of(header_bytes: bytes, header: Header, padded: bytes) -> RefusalCode:
    """What opening says to an envelope that decrypts to `padded`."""

    def decrypt(info: bytes, body: bytes) -> bytes:
        return padded

    with pytest.raises(RefusalError) as caught:
        open_envelope(header_bytes, header, b"", decrypt)
    return caught.value.code


def deflated(data: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return compressor.compress(data) + compressor.flush()


def committed(opening: bytes, rest: bytes) -> tuple[bytes, Header]:
    header = replace(sealed().header, commitment=commitment_of(opening, rest))
    return encode_header(header), header


def test_what_is_sealed_opens_again_with_the_real_cryptography() -> None:
    envelope = sealed()
    opened = open_envelope(
        envelope.header_bytes, envelope.header, envelope.body, lambda info, body: open_sealed(EPOCH, info, body)
    )
    assert (opened.generation, opened.number) == (1, 3)
    assert (opened.message_id, opened.content) == (REQUEST.message_id, REQUEST.content)
    assert (opened.opening, opened.rest) == (OPENING, envelope.rest)


def test_the_header_says_what_was_asked_for() -> None:
    envelope = sealed()
    assert decode_header(envelope.header_bytes) == envelope.header
    assert envelope.header == Header(
        REQUEST.envelope_id,
        REQUEST.sender,
        REQUEST.recipient,
        7,
        Precedence.FLASH,
        REQUEST.sent_at,
        REQUEST.deliver_by,
        sha256(b"tocsin content v1" + OPENING + envelope.rest).digest(),
    )


def test_the_hash_of_an_envelope_needs_its_body_s_hash_only() -> None:
    envelope = sealed()
    expected = sha256(envelope.header_bytes + sha256(envelope.body).digest()).digest()
    assert envelope.envelope_hash == envelope_hash(envelope.header_bytes, body_hash(envelope.body)) == expected


def test_an_envelope_with_another_header_does_not_open() -> None:
    envelope = sealed()
    other = replace(envelope.header, deliver_by=envelope.header.deliver_by + 1)
    with pytest.raises(RefusalError) as caught:
        open_envelope(encode_header(other), other, envelope.body, lambda info, body: open_sealed(EPOCH, info, body))
    assert caught.value.code is RefusalCode.MALFORMED
    assert isinstance(caught.value.__cause__, CannotOpenError)


@given(st.integers(0, 20_000), st.integers(0, 255))
def test_the_line_shows_one_of_nine_sizes(length: int, byte: int) -> None:
    content = bytes([byte]) * length
    envelope = seal_message(replace(REQUEST, content=content), seal_plainly, OPENING)
    assert len(envelope.body) - SEALING_OVERHEAD in PADDED_SIZES


@given(st.binary(max_size=5_000), st.text(alphabet="ab.-", min_size=3, max_size=64))
def test_the_foretold_size_is_never_too_small(content: bytes, name: str) -> None:
    request = replace(REQUEST, content=content, sender=AgencyId(name))
    envelope = seal_message(request, seal_plainly, OPENING)
    foretold = padded_size(content)
    assert len(envelope.body) in (foretold, (foretold - SEALING_OVERHEAD) // 2 + SEALING_OVERHEAD)


def incompressible(length: int) -> bytes:
    return b"".join(sha256(number.to_bytes(4, "big")).digest() for number in range(length // 32 + 1))[:length]


@pytest.mark.parametrize("content", [incompressible(MAX_MESSAGE_BYTES), bytes(MAX_MESSAGE_BYTES + 1)])
def test_what_does_not_fit_is_too_large_at_post(content: bytes) -> None:
    for ask in (padded_size, lambda data: seal_message(replace(REQUEST, content=data), seal_plainly, OPENING)):
        with pytest.raises(RefusalError) as caught:
            ask(content)
        assert caught.value.code is RefusalCode.TOO_LARGE


def test_the_largest_message_that_compresses_goes_through() -> None:
    content = b"a" * MAX_MESSAGE_BYTES
    envelope = sealed(replace(REQUEST, content=content))
    opened = open_envelope(
        envelope.header_bytes, envelope.header, envelope.body, lambda info, body: open_sealed(EPOCH, info, body)
    )
    assert opened.content == content


def test_an_opening_is_32_bytes() -> None:
    with pytest.raises(EncodingError):
        seal_message(REQUEST, seal_plainly, bytes(31))


# --- what must not open -----------------------------------------------------------------------------------------------


def plain() -> tuple[bytes, Header, bytes]:
    """Header bytes, header, and the plaintext before padding."""
    envelope = sealed()
    return envelope.header_bytes, envelope.header, OPENING + envelope.rest


def test_a_length_that_is_no_size_is_malformed() -> None:
    header_bytes, header, plaintext = plain()
    for length in (len(deflated(plaintext)), 1_023, 1_025, 524_288):
        assert refusal_of(header_bytes, header, deflated(plaintext).ljust(length, b"\0")) is RefusalCode.MALFORMED


def test_anything_but_zeros_after_the_stream_is_malformed() -> None:
    header_bytes, header, plaintext = plain()
    hidden = (deflated(plaintext).ljust(1_000, b"\0") + b"\x01").ljust(1_024, b"\0")
    assert refusal_of(header_bytes, header, hidden) is RefusalCode.MALFORMED


def test_a_second_stream_is_malformed() -> None:
    header_bytes, header, plaintext = plain()
    twice = (deflated(plaintext) + deflated(b"more")).ljust(1_024, b"\0")
    assert refusal_of(header_bytes, header, twice) is RefusalCode.MALFORMED


def test_a_stream_that_does_not_end_is_malformed() -> None:
    header_bytes, header, plaintext = plain()
    assert refusal_of(header_bytes, header, bytes(1_024)) is RefusalCode.MALFORMED
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    endless = compressor.compress(plaintext) + compressor.flush(zlib.Z_SYNC_FLUSH)
    assert refusal_of(header_bytes, header, endless.ljust(1_024, b"\0")) is RefusalCode.MALFORMED


def test_a_bomb_is_malformed() -> None:
    header_bytes, header, _ = plain()
    bomb = deflated(bytes(100_000_000))
    size = next(size for size in PADDED_SIZES if size >= len(bomb))
    assert refusal_of(header_bytes, header, bomb.ljust(size, b"\0")) is RefusalCode.MALFORMED


@pytest.mark.parametrize("position", range(5))
def test_a_rest_that_disagrees_with_the_header_is_malformed(position: int) -> None:
    rest = decode(sealed().rest, max_bytes=10_000)
    assert isinstance(rest, list)
    changed: list[Value] = ["bka.de", "ponal.co", bytes(16), [0, 1], bytes(15)]
    rest[position] = changed[position]
    header_bytes, header = committed(OPENING, encode(rest))
    padded = deflated(OPENING + encode(rest)).ljust(1_024, b"\0")
    assert refusal_of(header_bytes, header, padded) is RefusalCode.MALFORMED


def test_a_commitment_that_does_not_open_is_malformed() -> None:
    header_bytes, header, plaintext = plain()
    padded = deflated(plaintext).ljust(1_024, b"\0")
    other = replace(header, commitment=bytes(32))
    assert refusal_of(header_bytes, other, padded) is RefusalCode.MALFORMED


def test_a_message_beyond_the_cap_is_malformed() -> None:
    content = bytes(MAX_MESSAGE_BYTES + 1)
    rest = encode_rest(REQUEST.sender, REQUEST.recipient, REQUEST.envelope_id, 1, 3, REQUEST.message_id, content)
    header_bytes, header = committed(OPENING, rest)
    assert refusal_of(header_bytes, header, deflated(OPENING + rest).ljust(1_024, b"\0")) is RefusalCode.MALFORMED


@given(st.binary(max_size=400))
def test_any_plaintext_is_refused_or_what_was_committed(data: bytes) -> None:
    header_bytes, header, _ = plain()
    padded = data.ljust(1_024, b"\0")
    assert refusal_of(header_bytes, header, padded) is RefusalCode.MALFORMED
    assert refusal_of(header_bytes, header, deflated(data).ljust(1_024, b"\0")) is RefusalCode.MALFORMED


def test_content_is_proved_later_by_opening_and_rest_alone() -> None:
    envelope = sealed()
    assert verify_commitment(envelope.header, OPENING, envelope.rest).content == REQUEST.content
    for opening, rest in ((bytes(32), envelope.rest), (OPENING, envelope.rest[:-1] + b"]"), (OPENING[:31], b"")):
        with pytest.raises(RefusalError):
            verify_commitment(envelope.header, opening, rest)


def test_a_byte_cannot_move_between_opening_and_rest() -> None:
    envelope = sealed()
    with pytest.raises(RefusalError):
        verify_commitment(envelope.header, OPENING + envelope.rest[:1], envelope.rest[1:])


# --- header -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("position", "value"),
    [
        (0, 2),
        (1, bytes(15)),
        (2, "BKA.de"),
        (3, "xy"),
        (4, 0),
        (5, 5),
        (5, True),
        (6, None),
        (7, "soon"),
        (8, bytes(31)),
    ],
)
def test_a_header_of_another_shape_is_not_read(position: int, value: Value) -> None:
    fields = decode(sealed().header_bytes, max_bytes=512)
    assert isinstance(fields, list)
    fields[position] = value
    with pytest.raises(EncodingError):
        decode_header(encode(fields))


def test_a_header_has_one_encoding() -> None:
    header_bytes = sealed().header_bytes
    for other in (header_bytes + b"\0", header_bytes[:-1], b"\x9a" + header_bytes[1:] + b"\xc0", bytes(513)):
        with pytest.raises(EncodingError):
            decode_header(other)


@given(st.binary(max_size=600))
def test_any_bytes_are_a_header_or_an_encoding_error(data: bytes) -> None:
    try:
        header = decode_header(data)
    except EncodingError:
        return
    assert encode_header(header) == data
