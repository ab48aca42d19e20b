"""Owns key pairs that sign, a type for each purpose, and labelled signatures; knows no anchor, no log, no file.

A pair is Ed25519 and ML-DSA; both halves sign and both must verify. A root pair, a node pair and a witness pair are
different types with the same shape, so that a key made for one purpose is a type error in another. Ed25519 goes through
libsodium only: two libraries differ on edge cases, and two rules for one signature would be a way to show it to some
and not to others.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric.mldsa import (
    MLDSA44PrivateKey,
    MLDSA44PublicKey,
    MLDSA65PrivateKey,
    MLDSA65PublicKey,
)
from nacl import bindings

from keys.encoding import Value, take_array, take_bytes
from keys.errors import BadKeyError, BadSignatureError
from keys.foreign import refusals_as
from keys.randomness import random_bytes

SEED_BYTES: Final = 32
ED25519_PUBLIC_BYTES: Final = 32
ED25519_SIGNATURE_BYTES: Final = 64
MLDSA44_PUBLIC_BYTES: Final = 1312
MLDSA44_SIGNATURE_BYTES: Final = 2420
MLDSA65_PUBLIC_BYTES: Final = 1952
MLDSA65_SIGNATURE_BYTES: Final = 3309

# Parsed ML-DSA keys and checked Ed25519 keys: an exchange has some hundred agencies with a few pairs each.
_CACHED_KEYS = 2048


# --- verifying --------------------------------------------------------------------------------------------------------


def verify_ed25519(public_key: bytes, message: bytes, signature: bytes, *, purpose: str = "ed25519") -> None:
    """Check by libsodium's rule: canonical S; public key and R not of low order, public key canonical.

    Raises:
        BadSignatureError: with `purpose`; wrong lengths included.
    """
    _check_lengths(purpose, (public_key, ED25519_PUBLIC_BYTES), (signature, ED25519_SIGNATURE_BYTES))
    with refusals_as(BadSignatureError(purpose)):
        bindings.crypto_sign_open(signature + message, public_key)


def verify_mldsa44(
    public_key: bytes, message: bytes, signature: bytes, context: bytes = b"", *, purpose: str = "mldsa44"
) -> None:
    """Check an ML-DSA-44 signature (FIPS 204, pure) under `context`. Raises BadSignatureError with `purpose`."""
    _check_lengths(purpose, (public_key, MLDSA44_PUBLIC_BYTES), (signature, MLDSA44_SIGNATURE_BYTES))
    with refusals_as(BadSignatureError(purpose)):
        _mldsa44_public(public_key).verify(signature, message, context)


def verify_mldsa65(
    public_key: bytes, message: bytes, signature: bytes, context: bytes = b"", *, purpose: str = "mldsa65"
) -> None:
    """Check an ML-DSA-65 signature (FIPS 204, pure) under `context`. Raises BadSignatureError with `purpose`."""
    _check_lengths(purpose, (public_key, MLDSA65_PUBLIC_BYTES), (signature, MLDSA65_SIGNATURE_BYTES))
    with refusals_as(BadSignatureError(purpose)):
        _mldsa65_public(public_key).verify(signature, message, context)


def _check_lengths(purpose: str, *lengths: tuple[bytes, int]) -> None:
    """Before any library sees them: libsodium is given signature and message as one string."""
    if any(len(data) != length for data, length in lengths):
        raise BadSignatureError(purpose)


@lru_cache(maxsize=_CACHED_KEYS)
def _mldsa44_public(key: bytes) -> MLDSA44PublicKey:
    return MLDSA44PublicKey.from_public_bytes(key)


@lru_cache(maxsize=_CACHED_KEYS)
def _mldsa65_public(key: bytes) -> MLDSA65PublicKey:
    return MLDSA65PublicKey.from_public_bytes(key)


@lru_cache(maxsize=_CACHED_KEYS)
def _check_ed25519(key: bytes) -> None:
    """Refuse keys that no generator makes: for one of low order anybody can show signatures over anything (`01 00 …`).

    libsodium's point check also refuses non-canonical encodings, points off the curve and points with a part of low
    order.
    """
    if len(key) != ED25519_PUBLIC_BYTES:
        raise BadKeyError("ed25519", "wrong_length")
    if not bindings.crypto_core_ed25519_is_valid_point(key):
        raise BadKeyError("ed25519", "not_a_valid_point")


def _check_mldsa(key: bytes, algorithm: str, length: int) -> None:
    """Refuse a key whose vector t1 is zero: what verification subtracts is then zero, and anybody can sign under it.

    FIPS 204 asks for the length only (§7.2), and libraries take such a key.
    """
    if len(key) != length:
        raise BadKeyError(algorithm, "wrong_length")
    if not any(key[SEED_BYTES:]):  # rho || t1
        raise BadKeyError(algorithm, "zero_vector")


# --- public pairs -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NodePublicPair:
    """What speaks for a gateway: signs its checkpoints and announces its successor. Raises BadKeyError when made."""

    ed25519: bytes
    mldsa44: bytes

    def __post_init__(self) -> None:
        _check_ed25519(self.ed25519)
        _check_mldsa(self.mldsa44, "mldsa44", MLDSA44_PUBLIC_BYTES)

    def to_wire(self) -> list[Value]:
        """`[ed25519, mldsa44]` (PROTOCOL §4)."""
        return [self.ed25519, self.mldsa44]

    @classmethod
    def from_wire(cls, value: Value) -> NodePublicPair:
        """The pair of that wire form. Raises EncodingError for a wrong shape, BadKeyError for a degenerate key."""
        return cls(*_halves_from_wire(value, MLDSA44_PUBLIC_BYTES))


@dataclass(frozen=True, slots=True)
class WitnessPublicPair:
    """What cosigns heads of others (reserved). Raises BadKeyError when made."""

    ed25519: bytes
    mldsa44: bytes

    def __post_init__(self) -> None:
        _check_ed25519(self.ed25519)
        _check_mldsa(self.mldsa44, "mldsa44", MLDSA44_PUBLIC_BYTES)

    def to_wire(self) -> list[Value]:
        """`[ed25519, mldsa44]` (PROTOCOL §4)."""
        return [self.ed25519, self.mldsa44]

    @classmethod
    def from_wire(cls, value: Value) -> WitnessPublicPair:
        """The pair of that wire form. Raises EncodingError for a wrong shape, BadKeyError for a degenerate key."""
        return cls(*_halves_from_wire(value, MLDSA44_PUBLIC_BYTES))


@dataclass(frozen=True, slots=True)
class RootPublicPair:
    """What signs an agency's anchors and nothing else. Raises BadKeyError when made."""

    ed25519: bytes
    mldsa65: bytes

    def __post_init__(self) -> None:
        _check_ed25519(self.ed25519)
        _check_mldsa(self.mldsa65, "mldsa65", MLDSA65_PUBLIC_BYTES)

    def to_wire(self) -> list[Value]:
        """`[ed25519, mldsa65]`; an anchor holds the two apart (PROTOCOL §4)."""
        return [self.ed25519, self.mldsa65]

    @classmethod
    def from_wire(cls, value: Value) -> RootPublicPair:
        """The pair of that wire form. Raises EncodingError for a wrong shape, BadKeyError for a degenerate key."""
        return cls(*_halves_from_wire(value, MLDSA65_PUBLIC_BYTES))


def _halves_from_wire(value: Value, mldsa_bytes: int) -> tuple[bytes, bytes]:
    ed25519, mldsa = take_array(value, length=2)
    return take_bytes(ed25519, length=ED25519_PUBLIC_BYTES), take_bytes(mldsa, length=mldsa_bytes)


# --- key pairs --------------------------------------------------------------------------------------------------------


class _Ed25519Half:
    """A private Ed25519 key: its seed and libsodium's expanded form."""

    __slots__ = ("_secret", "public", "seed")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise BadKeyError("ed25519", "wrong_length")
        self.seed = seed
        self.public, self._secret = bindings.crypto_sign_seed_keypair(seed)

    def sign(self, message: bytes) -> bytes:
        signed: bytes = bindings.crypto_sign(message, self._secret)
        return signed[:ED25519_SIGNATURE_BYTES]


def _mldsa44_private(seed: bytes) -> MLDSA44PrivateKey:
    if len(seed) != SEED_BYTES:
        raise BadKeyError("mldsa44", "wrong_length")
    return MLDSA44PrivateKey.from_seed_bytes(seed)


class NodeKeyPair:
    """The private halves of a node pair. Never printed: the representation names the public key only."""

    __slots__ = ("_ed25519", "_mldsa44", "public", "seeds")

    def __init__(self, ed25519_seed: bytes, mldsa44_seed: bytes) -> None:
        self._ed25519 = _Ed25519Half(ed25519_seed)
        self._mldsa44 = _mldsa44_private(mldsa44_seed)
        self.public = NodePublicPair(self._ed25519.public, self._mldsa44.public_key().public_bytes_raw())
        self.seeds = (ed25519_seed, mldsa44_seed)

    @classmethod
    def generate(cls) -> NodeKeyPair:
        """A fresh pair."""
        return cls(random_bytes(SEED_BYTES), random_bytes(SEED_BYTES))

    @classmethod
    def from_seeds(cls, ed25519_seed: bytes, mldsa44_seed: bytes) -> NodeKeyPair:
        """The pair of these seeds, 32 bytes each. Raises BadKeyError."""
        return cls(ed25519_seed, mldsa44_seed)

    def sign_ed25519(self, message: bytes) -> bytes:
        """64 bytes."""
        return self._ed25519.sign(message)

    def sign_mldsa(self, message: bytes, context: bytes = b"") -> bytes:
        """2,420 bytes, different on every call (hedged)."""
        return self._mldsa44.sign(message, context)

    def __repr__(self) -> str:
        return f"NodeKeyPair({self.public.ed25519.hex()})"


class WitnessKeyPair:
    """The private halves of a witness pair. Never printed: the representation names the public key only."""

    __slots__ = ("_ed25519", "_mldsa44", "public", "seeds")

    def __init__(self, ed25519_seed: bytes, mldsa44_seed: bytes) -> None:
        self._ed25519 = _Ed25519Half(ed25519_seed)
        self._mldsa44 = _mldsa44_private(mldsa44_seed)
        self.public = WitnessPublicPair(self._ed25519.public, self._mldsa44.public_key().public_bytes_raw())
        self.seeds = (ed25519_seed, mldsa44_seed)

    @classmethod
    def generate(cls) -> WitnessKeyPair:
        """A fresh pair."""
        return cls(random_bytes(SEED_BYTES), random_bytes(SEED_BYTES))

    @classmethod
    def from_seeds(cls, ed25519_seed: bytes, mldsa44_seed: bytes) -> WitnessKeyPair:
        """The pair of these seeds, 32 bytes each. Raises BadKeyError."""
        return cls(ed25519_seed, mldsa44_seed)

    def sign_ed25519(self, message: bytes) -> bytes:
        """64 bytes."""
        return self._ed25519.sign(message)

    def sign_mldsa(self, message: bytes, context: bytes = b"") -> bytes:
        """2,420 bytes, different on every call (hedged)."""
        return self._mldsa44.sign(message, context)

    def __repr__(self) -> str:
        return f"WitnessKeyPair({self.public.ed25519.hex()})"


class RootKeyPair:
    """The private halves of an agency's root. Never printed: the representation names the public key only."""

    __slots__ = ("_ed25519", "_mldsa65", "public", "seeds")

    def __init__(self, ed25519_seed: bytes, mldsa65_seed: bytes) -> None:
        if len(mldsa65_seed) != SEED_BYTES:
            raise BadKeyError("mldsa65", "wrong_length")
        self._ed25519 = _Ed25519Half(ed25519_seed)
        self._mldsa65 = MLDSA65PrivateKey.from_seed_bytes(mldsa65_seed)
        self.public = RootPublicPair(self._ed25519.public, self._mldsa65.public_key().public_bytes_raw())
        self.seeds = (ed25519_seed, mldsa65_seed)

    @classmethod
    def generate(cls) -> RootKeyPair:
        """A fresh pair."""
        return cls(random_bytes(SEED_BYTES), random_bytes(SEED_BYTES))

    @classmethod
    def from_seeds(cls, ed25519_seed: bytes, mldsa65_seed: bytes) -> RootKeyPair:
        """The pair of these seeds, 32 bytes each. Raises BadKeyError."""
        return cls(ed25519_seed, mldsa65_seed)

    def sign_ed25519(self, message: bytes) -> bytes:
        """64 bytes."""
        return self._ed25519.sign(message)

    def sign_mldsa(self, message: bytes, context: bytes = b"") -> bytes:
        """3,309 bytes, different on every call (hedged)."""
        return self._mldsa65.sign(message, context)

    def __repr__(self) -> str:
        return f"RootKeyPair({self.public.ed25519.hex()})"


AnyKeyPair: TypeAlias = NodeKeyPair | RootKeyPair | WitnessKeyPair
AnyPublicPair: TypeAlias = NodePublicPair | RootPublicPair | WitnessPublicPair


# --- labelled signatures ----------------------------------------------------------------------------------------------


def sign_labelled(pair: AnyKeyPair, label: str, body: bytes) -> tuple[bytes, bytes]:
    """The labelled signature of PROTOCOL §3: (Ed25519, ML-DSA) over `label || 0x00 || body`."""
    message = _labelled(label, body)
    return pair.sign_ed25519(message), pair.sign_mldsa(message, label.encode("ascii"))


def verify_labelled(public: AnyPublicPair, label: str, body: bytes, ed_sig: bytes, mldsa_sig: bytes) -> None:
    """Check both halves of a labelled signature.

    Raises:
        BadSignatureError: with purpose `label`, if either half fails.
    """
    message = _labelled(label, body)
    context = label.encode("ascii")
    verify_ed25519(public.ed25519, message, ed_sig, purpose=label)
    match public:
        case RootPublicPair():
            verify_mldsa65(public.mldsa65, message, mldsa_sig, context, purpose=label)
        case NodePublicPair() | WitnessPublicPair():
            verify_mldsa44(public.mldsa44, message, mldsa_sig, context, purpose=label)


def _labelled(label: str, body: bytes) -> bytes:
    """One label is never the beginning of another's message: labels hold no zero byte."""
    return label.encode("ascii") + b"\x00" + body
