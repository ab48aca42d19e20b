"""Anchors of PROTOCOL §4: made by a root, read and checked. Knows no state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey
from nacl.signing import SigningKey

from tests.peerkit.formats import NotProvedError, decode, encode, need, now_ms, safety_code, sha256, verify_ed25519

LABEL = b"tocsin anchor v1"
YEAR_MS = 365 * 86_400_000


@dataclass(slots=True)
class RootPair:
    """Both halves of a root pair, private."""

    ed25519: SigningKey = field(default_factory=SigningKey.generate)
    mldsa65: MLDSA65PrivateKey = field(default_factory=MLDSA65PrivateKey.generate)

    @property
    def public(self) -> list[bytes]:
        return [bytes(self.ed25519.verify_key), self.mldsa65.public_key().public_bytes_raw()]

    def sign(self, agency: str, country: str, serial: int, gateways: Sequence[list[Any]]) -> list[Any]:
        """The anchor of this serial."""
        issued = now_ms()
        names = [["en", f"Agency {agency}"]]
        body = encode([1, agency, names, country, serial, *self.public, issued, issued + YEAR_MS, list(gateways)])
        signed = LABEL + b"\x00" + body
        return [body, self.ed25519.sign(signed).signature, self.mldsa65.sign(signed, LABEL)]


@dataclass(frozen=True, slots=True)
class Anchor:
    """An anchor that both halves of the root it names have signed; `signed` is the array of §4."""

    agency: str
    serial: int
    roots: list[bytes]
    gateways: list[list[Any]]
    signed: list[Any]

    @classmethod
    def read(cls, signed: list[Any]) -> Self:
        """Check form and both signatures."""
        need(len(signed) == 3, "bad_encoding")
        body = decode(signed[0])
        need(len(body) == 10 and body[0] == 1 and body[4] >= 1, "bad_encoding")
        need(1 <= len(body[9]) <= 16 and all(len(gateway) == 7 for gateway in body[9]), "bad_encoding")
        _, agency, _, _, serial, ed25519, mldsa65, _, _, gateways = body
        labelled = LABEL + b"\x00" + signed[0]
        verify_ed25519(ed25519, labelled, signed[1], "bad_anchor")
        try:
            MLDSA65PublicKey.from_public_bytes(mldsa65).verify(signed[2], labelled, LABEL)
        except (InvalidSignature, ValueError) as error:
            raise NotProvedError("bad_anchor") from error
        return cls(agency, serial, [ed25519, mldsa65], gateways, signed)

    @property
    def digest(self) -> bytes:
        return sha256(self.signed[0])

    @property
    def code(self) -> str:
        return safety_code(self.agency, *self.roots)

    def follows(self, known: Anchor) -> bool:
        """Is it of a higher serial than the one known? Of the same root it has to be; two of one serial are one."""
        need((self.agency, self.roots) == (known.agency, known.roots), "wrong_key")
        need(self.serial != known.serial or self.digest == known.digest, "anchor_conflict")
        return self.serial > known.serial
