"""Owns the signed head of a log (PROTOCOL §6.1, §6.2): note, compact form, its two signatures; knows no tree.

Which pair is the right one for a size is not decided here; callers name a pair, or those that come into question.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Protocol

from exchange.base64text import decode_base64, encode_base64
from exchange.log import MAX_SIZE
from keys.encoding import MAX_INT, Value, take_array, take_bytes, take_int, take_text
from keys.errors import BadSignatureError, EncodingError
from keys.ids import AgencyId, Origin, parse_gateway_name
from keys.signing import (
    ED25519_SIGNATURE_BYTES,
    MLDSA44_SIGNATURE_BYTES,
    NodePublicPair,
    verify_ed25519,
    verify_mldsa44,
)

MAX_NOTE_BYTES: Final = 131_072
"""Room for the 16 signatures that a reader of notes must take, and then some."""

_PURPOSE: Final = "checkpoint"
_ROOT_BYTES: Final = 32
_TIMESTAMP_BYTES: Final = 8
_KEY_ID_BYTES: Final = 4
_ED25519_TYPE: Final = b"\x01"
_MLDSA44_TYPE: Final = b"\x06"
_SUBTREE_LABEL: Final = b"subtree/v1\n\x00"
_DASH: Final = "\u2014 "
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A head: `size` leaves with `root`, signed twice. `timestamp` in seconds. Nothing says yet that it verifies."""

    origin: Origin
    size: int
    root: bytes
    ed_signature: bytes
    timestamp: int
    mldsa_signature: bytes


class CheckpointSigner(Protocol):
    """What signs checkpoints: a node's key pair, or whatever a simulation puts in its place."""

    def sign_ed25519(self, message: bytes) -> bytes:
        """64 bytes."""

    def sign_mldsa(self, message: bytes) -> bytes:
        """2,420 bytes of ML-DSA-44 with the empty context."""


# --- what is signed ---------------------------------------------------------------------------------------------------


def note_text(origin: Origin, size: int, root: bytes) -> bytes:
    """The three lines that Ed25519 signs."""
    return f"{origin.name}\n{size}\n{encode_base64(root)}\n".encode("ascii")


def mldsa_message(origin: Origin, size: int, root: bytes, timestamp: int) -> bytes:
    """What ML-DSA-44 signs: the cosigned message of C2SP tlog-cosignature, key name and log origin both `origin`."""
    name = origin.name.encode("ascii")
    named = len(name).to_bytes(1, "big") + name
    return b"".join(
        (
            _SUBTREE_LABEL,
            named,
            timestamp.to_bytes(_TIMESTAMP_BYTES, "big"),
            named,
            bytes(8),  # the subtree starts at leaf 0: a checkpoint
            size.to_bytes(8, "big"),
            root,
        )
    )


def sign_checkpoint(origin: Origin, size: int, root: bytes, timestamp: int, pair: CheckpointSigner) -> Checkpoint:
    """The signed head. `timestamp` in seconds, never less than that of the checkpoint before."""
    return Checkpoint(
        origin=origin,
        size=size,
        root=root,
        ed_signature=pair.sign_ed25519(note_text(origin, size, root)),
        timestamp=timestamp,
        mldsa_signature=pair.sign_mldsa(mldsa_message(origin, size, root, timestamp)),
    )


def verify_checkpoint(checkpoint: Checkpoint, pair: NodePublicPair) -> None:
    """Check both signatures under `pair`.

    Raises:
        BadSignatureError: if either fails.
    """
    origin, size, root = checkpoint.origin, checkpoint.size, checkpoint.root
    verify_ed25519(pair.ed25519, note_text(origin, size, root), checkpoint.ed_signature, purpose=_PURPOSE)
    message = mldsa_message(origin, size, root, checkpoint.timestamp)
    verify_mldsa44(pair.mldsa44, message, checkpoint.mldsa_signature, purpose=_PURPOSE)


def find_signer(checkpoint: Checkpoint, candidates: Iterable[NodePublicPair]) -> NodePublicPair:
    """The pair among `candidates` whose halves both signed.

    Raises:
        BadSignatureError: there is none; one half of one pair and one half of another are none.
    """
    for pair in candidates:
        try:
            verify_checkpoint(checkpoint, pair)
        except BadSignatureError:
            continue
        return pair
    raise BadSignatureError(_PURPOSE)


# --- compact form -----------------------------------------------------------------------------------------------------


def checkpoint_to_wire(checkpoint: Checkpoint) -> list[Value]:
    """The compact form of PROTOCOL §6.2."""
    return [
        checkpoint.origin.gateway,
        checkpoint.origin.generation,
        checkpoint.size,
        checkpoint.root,
        checkpoint.ed_signature,
        checkpoint.timestamp,
        checkpoint.mldsa_signature,
    ]


def checkpoint_from_wire(value: Value, agency: AgencyId) -> Checkpoint:
    """The checkpoint of a log of `agency`, which the context names. Nothing is verified. Raises EncodingError."""
    fields = take_array(value, length=7)
    generation = take_int(fields[1])
    if generation < 1:
        raise EncodingError("generation")
    return Checkpoint(
        origin=Origin(agency, parse_gateway_name(take_text(fields[0])), generation),
        size=take_int(fields[2]),
        root=take_bytes(fields[3], length=_ROOT_BYTES),
        ed_signature=take_bytes(fields[4], length=ED25519_SIGNATURE_BYTES),
        timestamp=take_int(fields[5]),
        mldsa_signature=take_bytes(fields[6], length=MLDSA44_SIGNATURE_BYTES),
    )


# --- note -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NoteLine:
    """A signature line of a note: who says that they signed, and with what."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class ParsedNote:
    """A note that has the shape of a checkpoint. Nothing is verified; `origin` may be any text without line breaks."""

    origin: str
    size: int
    root: bytes
    lines: tuple[NoteLine, ...]


def checkpoint_note(checkpoint: Checkpoint, pair: NodePublicPair) -> bytes:
    """The C2SP signed note of a checkpoint that `pair` signed: the public keys enter the key ids."""
    name = checkpoint.origin.name
    timed = checkpoint.timestamp.to_bytes(_TIMESTAMP_BYTES, "big") + checkpoint.mldsa_signature
    lines = (
        _note_line(name, key_id(name, _ED25519_TYPE, pair.ed25519), checkpoint.ed_signature),
        _note_line(name, key_id(name, _MLDSA44_TYPE, pair.mldsa44), timed),
    )
    text = note_text(checkpoint.origin, checkpoint.size, checkpoint.root)
    return text + b"\n" + "".join(lines).encode()


def parse_note(data: bytes) -> ParsedNote:
    """The note in `data`, strictly: three lines of text, canonical numbers, well-formed signature lines.

    Raises:
        EncodingError: `note`, `size`, `root`, `base64`.
    """
    if len(data) > MAX_NOTE_BYTES:
        raise EncodingError("too_large")
    try:
        note = data.decode()
    except UnicodeDecodeError as error:
        raise EncodingError("note") from error
    if any(character < " " and character != "\n" for character in note):
        raise EncodingError("note")
    text, blank, signatures = note.rpartition("\n\n")
    *lines, end = signatures.split("\n")
    fields = text.split("\n")
    if not blank or end or not lines or len(fields) != 3 or not fields[0]:
        raise EncodingError("note")
    origin, size, root_text = fields
    if _SIZE.fullmatch(size) is None or int(size) > MAX_SIZE:
        raise EncodingError("size")
    root = decode_base64(root_text)
    if len(root) != _ROOT_BYTES:
        raise EncodingError("root")
    return ParsedNote(origin, int(size), root, tuple(_parse_line(line) for line in lines))


def find_note_signer(
    note: ParsedNote, origin: Origin, candidates: Iterable[NodePublicPair]
) -> tuple[Checkpoint, NodePublicPair]:
    """The checkpoint that a note stands for, and the pair among `candidates` that signed it.

    Lines whose name is not the origin, or whose key id is of no candidate, are ignored and never counted. Of the
    others there must be exactly one of type 0x01 and one of type 0x06, of one and the same pair, and both must verify.

    Raises:
        BadSignatureError: otherwise.
    """
    name = origin.name
    if note.origin != name:
        raise BadSignatureError(_PURPOSE)
    pairs = tuple(candidates)
    ed_ids = [key_id(name, _ED25519_TYPE, pair.ed25519) for pair in pairs]
    mldsa_ids = [key_id(name, _MLDSA44_TYPE, pair.mldsa44) for pair in pairs]
    own = [line for line in note.lines if line.name == name]
    ed_lines = [line for line in own if line.key_id in ed_ids]
    mldsa_lines = [line for line in own if line.key_id in mldsa_ids]
    if len(ed_lines) != 1 or len(mldsa_lines) != 1:
        raise BadSignatureError(_PURPOSE)
    timed = mldsa_lines[0].signature
    timestamp = int.from_bytes(timed[:_TIMESTAMP_BYTES], "big")
    if timestamp > MAX_INT:
        raise BadSignatureError(_PURPOSE)
    checkpoint = Checkpoint(
        origin=origin,
        size=note.size,
        root=note.root,
        ed_signature=ed_lines[0].signature,
        timestamp=timestamp,
        mldsa_signature=timed[_TIMESTAMP_BYTES:],
    )
    named = [
        pair
        for pair, ed_id, mldsa_id in zip(pairs, ed_ids, mldsa_ids, strict=True)
        if ed_id == ed_lines[0].key_id and mldsa_id == mldsa_lines[0].key_id
    ]
    return checkpoint, find_signer(checkpoint, named)


def key_id(name: str, signature_type: bytes, public_key: bytes) -> bytes:
    """SHA-256(key name || 0x0A || type || public key)[:4]."""
    return sha256(name.encode() + b"\n" + signature_type + public_key).digest()[:_KEY_ID_BYTES]


def _note_line(name: str, identifier: bytes, signature: bytes) -> str:
    return f"{_DASH}{name} {encode_base64(identifier + signature)}\n"


def _parse_line(line: str) -> NoteLine:
    if not line.startswith(_DASH):
        raise EncodingError("note")
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not name or not space or "+" in name or any(character.isspace() for character in name):
        raise EncodingError("note")
    blob = decode_base64(encoded)
    if len(blob) <= _KEY_ID_BYTES:
        raise EncodingError("note")
    return NoteLine(name, blob[:_KEY_ID_BYTES], blob[_KEY_ID_BYTES:])
