"""Owns the safety code that two people compare (PROTOCOL §4). Knows no peer and no screen."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from keys.encoding import encode
from keys.errors import EncodingError
from keys.ids import AgencyId
from keys.signing import RootPublicPair

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base32: no I, L, O, U
_READ_AS = str.maketrans("OIL", "011")
_BITS = 100
_CHARACTERS = _BITS // 5
_GROUP = 4


def safety_code(agency: AgencyId, root: RootPublicPair) -> str:
    """Five groups of four characters over the agency id and both root keys. It does not change with anchor serials."""
    body = encode([agency, root.ed25519, root.mldsa65])
    digest = hashlib.sha256(b"tocsin safety code v1\x00" + body).digest()
    bits = int.from_bytes(digest, "big") >> (len(digest) * 8 - _BITS)
    shifts = range(_BITS - 5, -1, -5)
    return _grouped("".join(_ALPHABET[(bits >> shift) & 31] for shift in shifts))


def normalise_code(text: str) -> str:
    """What a person typed, in the form of `safety_code`: spaces, hyphens and case ignored, O read as 0, I and L as 1.

    Raises:
        EncodingError: not twenty characters of the alphabet (`safety_code`).
    """
    typed = "".join(text.split()).replace("-", "")
    # ASCII first: upper() would turn a dotless i into I, and that into 1.
    if not typed.isascii():
        raise EncodingError("safety_code")
    code = typed.upper().translate(_READ_AS)
    if len(code) != _CHARACTERS or any(character not in _ALPHABET for character in code):
        raise EncodingError("safety_code")
    return _grouped(code)


def codes_equal(typed: str, expected: str) -> bool:
    """Whether both are the same code, however written. Raises EncodingError if either is none."""
    return hmac.compare_digest(normalise_code(typed), normalise_code(expected))


def _grouped(code: str) -> str:
    return "-".join(code[start : start + _GROUP] for start in range(0, _CHARACTERS, _GROUP))
