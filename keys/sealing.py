"""Owns what keeps content closed: epoch keys and HPKE, AES-256-GCM at rest; knows no header, no row, no file.

Suite 1 (PROTOCOL §8): RFC 9180 base mode, single shot, KEM MLKEM768-X25519 (0x647a, X-Wing), HKDF-SHA256, AES-256-GCM.
At rest, each content has a key of its own, wrapped by the at-rest key: forgetting the 60 wrapped bytes erases the
content (DESIGN 9). Every AES-256-GCM nonce is 96 random bits, so one key must not seal more than 2^32 times (NIST SP
800-38D §8.3).
"""

from __future__ import annotations

import hashlib
import hmac
from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl import bindings

from keys.encoding import encode
from keys.errors import BadKeyError, CannotOpenError
from keys.foreign import refusals_as
from keys.randomness import random_bytes

EPOCH_PUBLIC_BYTES: Final = 1216
EPOCH_SEED_BYTES: Final = 32
WRAPPED_KEY_BYTES: Final = 60
_MLKEM_PUBLIC_BYTES = 1184
_KEY_BYTES = 32
_NONCE_BYTES = 12

_SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


# --- envelopes --------------------------------------------------------------------------------------------------------


def check_epoch_public(public: bytes) -> bytes:
    """`public` itself, an X-Wing public key (ML-KEM-768 || X25519) that can be sealed to.

    Raises:
        BadKeyError: wrong length, ML-KEM coefficients not reduced (FIPS 203 §7.2), X25519 point of low order.
    """
    _epoch_public(public)
    return public


def probe_epoch_public(public: bytes) -> None:
    """Seal to `public` once, for nothing: a key that does not work must not wait for the first alert (DESIGN 4).

    Raises:
        BadKeyError: it cannot be sealed to.
    """
    key = _epoch_public(public)
    with refusals_as(BadKeyError("x-wing", "does_not_seal")):
        _SUITE.encrypt(b"", key, b"tocsin probe v1")


def seal(public: bytes, info: bytes, plaintext: bytes) -> bytes:
    """The body `enc || ct` (PROTOCOL §8) that only the holder of `public`'s seed opens, and only with the same `info`.

    Raises:
        BadKeyError: `public` is not a key that `check_epoch_public` lets pass.
    """
    return _SUITE.encrypt(plaintext, _epoch_public(public), info)


class EpochKeyPair:
    """A private epoch key: the 32-byte X-Wing seed and what it expands to. Never printed."""

    __slots__ = ("_private", "public", "seed")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != EPOCH_SEED_BYTES:
            raise BadKeyError("x-wing", "wrong_length")
        # draft-connolly-cfrg-xwing-kem §5.2: SHAKE256(seed) gives d || z of ML-KEM and the X25519 scalar.
        expanded = hashlib.shake_256(seed).digest(96)
        mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
        x25519 = X25519PrivateKey.from_private_bytes(expanded[64:])
        self._private = hpke.MLKEM768X25519PrivateKey(mlkem, x25519)
        self.public: bytes = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
        self.seed = seed

    @classmethod
    def generate(cls) -> EpochKeyPair:
        """A fresh pair."""
        return cls(random_bytes(EPOCH_SEED_BYTES))

    @classmethod
    def from_seed(cls, seed: bytes) -> EpochKeyPair:
        """The pair of this 32-byte seed. Raises BadKeyError."""
        return cls(seed)

    def open(self, info: bytes, body: bytes) -> bytes:
        """As `open_sealed`."""
        with refusals_as(CannotOpenError()):
            return _SUITE.decrypt(body, self._private, info)

    def __repr__(self) -> str:
        return f"EpochKeyPair({hashlib.sha256(self.public).hexdigest()[:16]})"


def open_sealed(pair: EpochKeyPair, info: bytes, body: bytes) -> bytes:
    """The plaintext of a body sealed to `pair` with the same `info`.

    Raises:
        CannotOpenError: another key, other info, or an altered body.
    """
    return pair.open(info, body)


@lru_cache(maxsize=2048)
def _epoch_public(public: bytes) -> hpke.MLKEM768X25519PublicKey:
    if len(public) != EPOCH_PUBLIC_BYTES:
        raise BadKeyError("x-wing", "wrong_length")
    mlkem, x25519 = public[:_MLKEM_PUBLIC_BYTES], public[_MLKEM_PUBLIC_BYTES:]
    with refusals_as(BadKeyError("x25519", "low_order")):
        # X25519 makes any scalar a multiple of 8, which takes a point of low order to zero; libsodium refuses that.
        bindings.crypto_scalarmult(bytes(_KEY_BYTES), x25519)
    with refusals_as(BadKeyError("mlkem768", "not_reduced")):
        parsed = MLKEM768PublicKey.from_public_bytes(mlkem)
    return hpke.MLKEM768X25519PublicKey(parsed, X25519PublicKey.from_public_bytes(x25519))


# --- at rest ----------------------------------------------------------------------------------------------------------


class ContentKey:
    """The key of one content. `wrapped` goes into its row; once that is gone, nothing sealed by it opens again."""

    __slots__ = ("_aead", "key", "wrapped")

    def __init__(self, key: bytes, wrapped: bytes) -> None:
        if len(key) != _KEY_BYTES:
            raise BadKeyError("aes256", "wrong_length")
        self._aead = AESGCM(key)
        self.key = key
        self.wrapped = wrapped

    def seal(self, plaintext: bytes, purpose: bytes) -> bytes:
        """`nonce || ciphertext || tag`, bound to `purpose`: what was sealed as one column does not open as another."""
        return _gcm_seal(self._aead, plaintext, purpose)

    def open(self, sealed: bytes, purpose: bytes) -> bytes:
        """The plaintext. Raises CannotOpenError."""
        return _gcm_open(self._aead, sealed, purpose)

    def __repr__(self) -> str:
        return "ContentKey(…)"


class AtRestKey:
    """The secret of a node's store: wraps content keys, seals small rows, tags lookups; a subkey for each."""

    __slots__ = ("_rows", "_tag", "_wrap")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != _KEY_BYTES:
            raise BadKeyError("at rest", "wrong_length")
        self._wrap = AESGCM(derive_key(secret, b"tocsin at rest v1 wrap"))
        self._rows = AESGCM(derive_key(secret, b"tocsin at rest v1 rows"))
        self._tag = derive_key(secret, b"tocsin at rest v1 tag")

    def new_content_key(self) -> ContentKey:
        """A fresh key for one content."""
        key = random_bytes(_KEY_BYTES)
        return ContentKey(key, _gcm_seal(self._wrap, key, b"content key"))

    def unwrap(self, wrapped: bytes) -> ContentKey:
        """The content key of a row. Raises CannotOpenError."""
        return ContentKey(_gcm_open(self._wrap, wrapped, b"content key"), wrapped)

    def seal(self, plaintext: bytes, purpose: bytes) -> bytes:
        """A small row that lives and dies as a whole (drafts, audit entries): `nonce || ciphertext || tag`."""
        return _gcm_seal(self._rows, plaintext, purpose)

    def open(self, sealed: bytes, purpose: bytes) -> bytes:
        """The plaintext of such a row. Raises CannotOpenError."""
        return _gcm_open(self._rows, sealed, purpose)

    def tag(self, purpose: bytes, text: str) -> bytes:
        """16 bytes under which `text` is found again by who holds the key, and that tell nobody else what it is.

        Raises:
            EncodingError: `text` holds lone surrogates.
        """
        return hmac.digest(self._tag, encode([purpose, text]), hashlib.sha256)[:16]

    def __repr__(self) -> str:
        return "AtRestKey(…)"


def derive_key(secret: bytes, info: bytes) -> bytes:
    """A 32-byte subkey of a uniformly random `secret`: HKDF-SHA256 (RFC 5869) without salt."""
    return HKDF(algorithm=hashes.SHA256(), length=_KEY_BYTES, salt=None, info=info).derive(secret)


def _gcm_seal(aead: AESGCM, plaintext: bytes, purpose: bytes) -> bytes:
    nonce = random_bytes(_NONCE_BYTES)
    return nonce + aead.encrypt(nonce, plaintext, purpose)


def _gcm_open(aead: AESGCM, sealed: bytes, purpose: bytes) -> bytes:
    with refusals_as(CannotOpenError()):
        return aead.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], purpose)
