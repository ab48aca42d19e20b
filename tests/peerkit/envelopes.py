"""The envelope of PROTOCOL §8: sealed and opened."""

from __future__ import annotations

import os
import zlib
from typing import Any

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from tests.peerkit.formats import decode, encode, need, sha256

SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
PADDED = [1024 << step for step in range(9)]
INFLATED_CAP = 263_168


def envelope_hash(header: bytes, body: bytes) -> bytes:
    """What the statements name."""
    return sha256(header, sha256(body))


def seal(recipient_key: bytes, header_fields: list[Any], rest: bytes) -> tuple[bytes, bytes]:
    """Header and body. `header_fields` are those before the commitment."""
    plaintext = os.urandom(32) + rest
    header = encode([*header_fields, sha256(b"tocsin content v1", plaintext)])
    deflate = zlib.compressobj(wbits=-15)
    packed = deflate.compress(plaintext) + deflate.flush()
    padded = packed.ljust(next(size for size in PADDED if size >= len(packed)), b"\x00")
    public = MLKEM768X25519PublicKey(
        MLKEM768PublicKey.from_public_bytes(recipient_key[:1184]),
        X25519PublicKey.from_public_bytes(recipient_key[1184:]),
    )
    return header, SUITE.encrypt(padded, public, b"tocsin envelope v1\x00" + header)


def unseal(key: MLKEM768X25519PrivateKey, header: bytes, body: bytes) -> list[Any]:
    """The rest of an envelope, checked against its header."""
    padded = SUITE.decrypt(body, key, b"tocsin envelope v1\x00" + header)
    need(len(padded) in PADDED, "malformed")
    inflate = zlib.decompressobj(wbits=-15)
    plaintext = inflate.decompress(padded, INFLATED_CAP + 1)
    need(len(plaintext) <= INFLATED_CAP and inflate.eof and not inflate.unused_data.strip(b"\x00"), "malformed")
    _, envelope_id, sender, to, _, _, _, _, commitment = decode(header, 512)
    need(sha256(b"tocsin content v1", plaintext) == commitment, "malformed")
    rest = decode(plaintext[32:], INFLATED_CAP)
    need(rest[:3] == [sender, to, envelope_id], "malformed")
    return rest
