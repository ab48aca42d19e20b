"""Bytes of PROTOCOL §2 to §4 and §6, read and written: encoding, signatures, notes, armour. Knows no state."""

from __future__ import annotations

import base64
import hashlib
import re
import struct
import time
from collections.abc import Sequence
from typing import Any

import msgpack
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

ISSUED, RECEIPT, REFUSED, EPOCH_KEY, KEY_CHANGE, PROFILE, LOG_OPENED, KEY_DESTROYED = 1, 3, 4, 5, 6, 7, 8, 9
AUDIT_HEAD = 10
SAFETY_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
ARMOUR = re.compile(r"-----BEGIN TOCSIN CARD-----\s+([A-Za-z0-9+/=\s]+?)\s+-----END TOCSIN CARD-----")
KEY_CHANGE_LABEL = b"tocsin key change v1"


class NotProvedError(Exception):
    """What the other side sent does not hold; the argument is the reason of PROTOCOL §7.1 or §10."""


def need(holds: bool, reason: str) -> None:
    """Raise the reason where a check fails."""
    if not holds:
        raise NotProvedError(reason)


# --- §2 encoding ---------------------------------------------------------------------------------------------------


def encode(value: Any) -> bytes:
    """`encode` of §2."""
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed


def decode(blob: bytes, cap: int = 65_536) -> list[Any]:
    """Decode strictly: size cap first, then only the types and forms of §2."""
    need(len(blob) <= cap, "too_large")
    try:
        value = msgpack.unpackb(blob, raw=False, strict_map_key=True, use_list=True)
    except (ValueError, msgpack.UnpackException) as error:
        raise NotProvedError("bad_encoding") from error
    _allowed(value, 16)
    need(isinstance(value, list) and encode(value) == blob, "bad_encoding")
    decoded: list[Any] = value
    return decoded


def _allowed(value: Any, depth: int) -> None:
    need(depth >= 0 and (value is None or isinstance(value, (list, int, str, bytes, bool))), "bad_encoding")
    if isinstance(value, list):
        for each in value:
            _allowed(each, depth - 1)
    elif isinstance(value, int):
        need(0 <= value < 1 << 63, "bad_encoding")


def sha256(*parts: bytes) -> bytes:
    """SHA-256 of the concatenation."""
    return hashlib.sha256(b"".join(parts)).digest()


def now_ms() -> int:
    """The clock, in milliseconds."""
    return time.time_ns() // 1_000_000


# --- §3, §6 signatures and checkpoints -------------------------------------------------------------------------------


def verify_ed25519(public: bytes, message: bytes, signature: bytes, reason: str) -> None:
    """The rule of libsodium."""
    try:
        VerifyKey(public).verify(message, signature)
    except (BadSignatureError, ValueError) as error:
        raise NotProvedError(reason) from error


def verify_mldsa44(public: bytes, message: bytes, signature: bytes, reason: str, context: bytes = b"") -> None:
    """FIPS 204, pure."""
    try:
        MLDSA44PublicKey.from_public_bytes(public).verify(signature, message, context or None)
    except (InvalidSignature, ValueError) as error:
        raise NotProvedError(reason) from error


def key_change_signed(origin: str, pair: Sequence[bytes]) -> bytes:
    """What both halves of a new pair sign (§7 key change, §3 labelled signature)."""
    return KEY_CHANGE_LABEL + b"\x00" + encode([origin, *pair])


def check_key_change(origin: str, pair: Sequence[bytes], ed25519: bytes, mldsa44: bytes) -> None:
    """The new pair speaks for itself."""
    signed = key_change_signed(origin, pair)
    verify_ed25519(pair[0], signed, ed25519, "bad_checkpoint_signature")
    verify_mldsa44(pair[1], signed, mldsa44, "bad_checkpoint_signature", KEY_CHANGE_LABEL)


def note_text(origin: str, size: int, root: bytes) -> bytes:
    """The three lines of §6.1."""
    return f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n".encode()


def cosigned_message(origin: str, timestamp: int, size: int, root: bytes) -> bytes:
    """What ML-DSA-44 signs in a line of type 0x06."""
    name = bytes([len(origin)]) + origin.encode()
    return b"subtree/v1\n\x00" + name + struct.pack(">Q", timestamp) + name + struct.pack(">QQ", 0, size) + root


def note_line(origin: str, kind: int, public: bytes, signature: bytes) -> bytes:
    """One signature line."""
    key_id = sha256(origin.encode(), b"\n", bytes([kind]), public)[:4]
    return f"\N{EM DASH} {origin} {base64.b64encode(key_id + signature).decode()}\n".encode()


def note_of(agency: str, pair: Sequence[bytes], compact: Sequence[Any]) -> bytes:
    """The note for which a compact checkpoint stands (§6.2)."""
    gateway, generation, size, root, ed25519, timestamp, mldsa44 = compact
    origin = f"{agency}/{gateway}/{generation}"
    return (
        note_text(origin, size, root)
        + b"\n"
        + note_line(origin, 0x01, pair[0], ed25519)
        + note_line(origin, 0x06, pair[1], struct.pack(">Q", timestamp) + mldsa44)
    )


def signed_checkpoint(
    origin: str, size: int, root: bytes, pair: tuple[SigningKey, MLDSA44PrivateKey], stamp: int
) -> list[Any]:
    """A compact checkpoint (§6.2) under both halves of a pair."""
    _, gateway, generation = origin.split("/")
    ed25519 = pair[0].sign(note_text(origin, size, root)).signature
    mldsa44 = pair[1].sign(cosigned_message(origin, stamp, size, root))
    return [gateway, int(generation), size, root, ed25519, stamp, mldsa44]


def check_note(note: bytes, agency: str, pair: Sequence[bytes]) -> tuple[str, int, bytes]:
    """Steps 3 to 5 of §7.1 for one pair; returns origin, size and root."""
    text, blank, lines = note.partition(b"\n\n")
    text += b"\n"
    parts = text.decode().split("\n")
    need(bool(blank) and len(parts) == 4 and str(int(parts[1])) == parts[1], "bad_encoding")
    origin, size, root = parts[0], int(parts[1]), base64.b64decode(parts[2], validate=True)
    need(len(root) == 32 and note_text(origin, size, root) == text, "bad_encoding")
    need(origin.split("/")[0] == agency, "wrong_key")
    found: dict[int, int] = {0x01: 0, 0x06: 0}
    for line in lines.decode().splitlines():
        dash, name, blob = line.split(" ")
        signed = base64.b64decode(blob, validate=True)
        for kind, public in ((0x01, pair[0]), (0x06, pair[1])):
            key_id = sha256(name.encode(), b"\n", bytes([kind]), public)[:4]
            if dash == "\N{EM DASH}" and name == origin and signed[:4] == key_id:
                found[kind] += 1
                if kind == 0x01:
                    verify_ed25519(public, text, signed[4:], "bad_checkpoint_signature")
                else:
                    stamp = struct.unpack(">Q", signed[4:12])[0]
                    message = cosigned_message(origin, stamp, size, root)
                    verify_mldsa44(public, message, signed[12:], "bad_checkpoint_signature")
    need(found == {0x01: 1, 0x06: 1}, "bad_checkpoint_signature")
    return origin, size, root


# --- §4 safety code, armour ------------------------------------------------------------------------------------------


def safety_code(agency: str, root_ed25519: bytes, root_mldsa65: bytes) -> str:
    """The hundred bits that two people compare."""
    digest = sha256(b"tocsin safety code v1\x00", encode([agency, root_ed25519, root_mldsa65]))
    bits = int.from_bytes(digest[:13]) >> 4
    text = "".join(SAFETY_ALPHABET[bits >> shift & 31] for shift in range(95, -1, -5))
    return "-".join(text[at : at + 4] for at in range(0, 20, 4))


def armour(card: bytes) -> str:
    """A card as text."""
    text = base64.b64encode(card).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join(["-----BEGIN TOCSIN CARD-----", *lines, "-----END TOCSIN CARD-----", ""])


def unarmour(text: str) -> bytes:
    """A card out of the text around it."""
    found = ARMOUR.search(text)
    assert found is not None
    return base64.b64decode("".join(found.group(1).split()), validate=True)
