"""Owns the drawing of randomness: the one place below nodes that asks for it; knows not what it is for.

Key pairs of libraries are made from seeds drawn here; what a library draws inside one call (HPKE encapsulation, hedged
ML-DSA signatures, ECDSA) stays there, since no call without it is offered.
"""

from __future__ import annotations

import os

from keys.ids import ID_BYTES, EnvelopeId, MessageId


def random_bytes(length: int) -> bytes:
    """`length` bytes that nobody can guess: salts, openings, nonces, keys."""
    return os.urandom(length)


def new_message_id() -> MessageId:
    """A fresh message id: the bytes of a UUIDv4, so that its text form is one (DESIGN 5)."""
    return MessageId(_uuid4())


def new_envelope_id() -> EnvelopeId:
    """A fresh envelope id, likewise."""
    return EnvelopeId(_uuid4())


def _uuid4() -> bytes:
    raw = bytearray(random_bytes(ID_BYTES))
    raw[6] = (raw[6] & 0x0F) | 0x40  # version 4 and variant 1, RFC 9562 §5.4
    raw[8] = (raw[8] & 0x3F) | 0x80
    return bytes(raw)
