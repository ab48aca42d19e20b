"""Owns the entries of a log, type by type (PROTOCOL §7): fields and bytes. Knows no proof and believes nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from keys.encoding import Value, decode, encode, take_array, take_bytes, take_int, take_text, take_time
from keys.errors import BadKeyError, EncodingError
from keys.ids import ID_BYTES, AgencyId, EnvelopeId, GatewayName, parse_agency_id, parse_gateway_name
from keys.sealing import EPOCH_PUBLIC_BYTES
from keys.signing import (
    ED25519_PUBLIC_BYTES,
    ED25519_SIGNATURE_BYTES,
    MLDSA44_PUBLIC_BYTES,
    MLDSA44_SIGNATURE_BYTES,
    NodePublicPair,
)

MAX_ENTRY_BYTES: Final = 65_536
SALT_BYTES: Final = 16
REOPEN_REASONS: Final = ("rollback", "clock", "restore")

_HASH_BYTES: Final = 32
_MAX_LIST: Final = 64
_MAX_TEXT: Final = 512
_CODE = re.compile(r"[a-z_]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Head:
    """A head of the *sender's* log, under which an envelope was proved to whoever says so."""

    gateway: GatewayName
    generation: int
    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Issued:
    """The origin's agency issued this envelope. `time` in ms, here and below, is the issuer's claim."""

    salt: bytes
    time: int
    envelope_id: EnvelopeId
    envelope_hash: bytes


@dataclass(frozen=True, slots=True)
class Custody:
    """A relay holds this envelope (reserved)."""

    salt: bytes
    time: int
    sender: AgencyId
    envelope_id: EnvelopeId
    envelope_hash: bytes
    head: Head


@dataclass(frozen=True, slots=True)
class Receipt:
    """The recipient holds this envelope, opened and admitted."""

    salt: bytes
    time: int
    sender: AgencyId
    envelope_id: EnvelopeId
    envelope_hash: bytes
    head: Head


@dataclass(frozen=True, slots=True)
class Refused:
    """The recipient refuses this envelope for good; `code` is one of RefusalCode, or of a later version."""

    salt: bytes
    time: int
    sender: AgencyId
    envelope_id: EnvelopeId
    envelope_hash: bytes
    head: Head
    code: str


@dataclass(frozen=True, slots=True)
class EpochKey:
    """Envelopes to the origin's agency may be sealed to `public` from `use_from` (ms) on."""

    salt: bytes
    time: int
    number: int
    use_from: int
    public: bytes


@dataclass(frozen=True, slots=True)
class KeyChange:
    """`pair` speaks for the gateway after this leaf; signed by itself, so that nobody names a key that is not his."""

    salt: bytes
    time: int
    pair: NodePublicPair
    ed_signature: bytes
    mldsa_signature: bytes


@dataclass(frozen=True, slots=True)
class Profile:
    """What the origin's agency says about itself."""

    salt: bytes
    time: int
    endpoints: tuple[str, ...]
    relays: tuple[str, ...]
    languages: tuple[str, ...]
    contact: str
    max_round_bytes: int
    max_items: int
    markings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LogOpened:
    """Leaf 0 of a log generation: why it was opened, and where the one before was last known."""

    salt: bytes
    time: int
    previous_generation: int
    last_size: int
    last_root: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class KeyDestroyed:
    """The private half of that epoch key is gone."""

    salt: bytes
    time: int
    number: int


@dataclass(frozen=True, slots=True)
class AuditHead:
    """Head of the gateway's audit log."""

    salt: bytes
    time: int
    size: int
    root: bytes


Entry: TypeAlias = (
    Issued | Custody | Receipt | Refused | EpochKey | KeyChange | Profile | LogOpened | KeyDestroyed | AuditHead
)

EnvelopeEntry: TypeAlias = Issued | Custody | Receipt | Refused
"""Entries that speak about one envelope."""


def encode_entry(entry: Entry) -> bytes:
    """The bytes of a leaf. Raises EncodingError for an entry that `decode_entry` would refuse."""
    number, fields = _to_wire(entry)
    data = encode([number, entry.salt, entry.time, *fields])
    if decode_entry(data) != entry:
        raise EncodingError("entry")
    return data


def decode_entry(data: bytes) -> Entry:
    """The entry of these bytes, strictly: known type, its exact shape. Raises EncodingError."""
    fields = take_array(decode(data, max_bytes=MAX_ENTRY_BYTES))
    if len(fields) < 3:
        raise EncodingError("wrong_length")
    number, salt, time = take_int(fields[0]), take_bytes(fields[1], length=SALT_BYTES), take_time(fields[2])
    reader = _READERS.get(number)
    if reader is None:
        raise EncodingError("entry_type")
    length, read = reader
    return read(salt, time, take_array(fields[3:], length=length))


# --- writing ----------------------------------------------------------------------------------------------------------


def _to_wire(entry: Entry) -> tuple[int, list[Value]]:
    match entry:
        case Issued():
            return 1, [entry.envelope_id, entry.envelope_hash]
        case Custody():
            return 2, _envelope_to_wire(entry)
        case Receipt():
            return 3, _envelope_to_wire(entry)
        case Refused():
            return 4, [*_envelope_to_wire(entry), entry.code]
        case EpochKey():
            return 5, [entry.number, entry.use_from, entry.public]
        case KeyChange():
            return 6, [*entry.pair.to_wire(), entry.ed_signature, entry.mldsa_signature]
        case Profile():
            limits = [entry.max_round_bytes, entry.max_items]
            lists = [entry.endpoints, entry.relays, entry.languages]
            return 7, [[*lists, entry.contact, limits, entry.markings]]
        case LogOpened():
            return 8, [entry.previous_generation, entry.last_size, entry.last_root, entry.reason]
        case KeyDestroyed():
            return 9, [entry.number]
        case AuditHead():
            return 10, [entry.size, entry.root]


def _envelope_to_wire(entry: Custody | Receipt | Refused) -> list[Value]:
    head = entry.head
    return [
        entry.sender,
        entry.envelope_id,
        entry.envelope_hash,
        [head.gateway, head.generation, head.size, head.root],
    ]


# --- reading ----------------------------------------------------------------------------------------------------------


def _read_issued(salt: bytes, time: int, fields: list[Value]) -> Issued:
    return Issued(salt, time, _take_envelope_id(fields[0]), _take_hash(fields[1]))


def _read_custody(salt: bytes, time: int, fields: list[Value]) -> Custody:
    return Custody(salt, time, *_take_envelope(fields))


def _read_receipt(salt: bytes, time: int, fields: list[Value]) -> Receipt:
    return Receipt(salt, time, *_take_envelope(fields))


def _read_refused(salt: bytes, time: int, fields: list[Value]) -> Refused:
    code = take_text(fields[4])
    if _CODE.fullmatch(code) is None:
        raise EncodingError("code")
    return Refused(salt, time, *_take_envelope(fields[:4]), code)


def _read_epoch_key(salt: bytes, time: int, fields: list[Value]) -> EpochKey:
    public = take_bytes(fields[2], length=EPOCH_PUBLIC_BYTES)
    return EpochKey(salt, time, _take_positive(fields[0]), take_time(fields[1]), public)


def _read_key_change(salt: bytes, time: int, fields: list[Value]) -> KeyChange:
    ed25519 = take_bytes(fields[0], length=ED25519_PUBLIC_BYTES)
    mldsa44 = take_bytes(fields[1], length=MLDSA44_PUBLIC_BYTES)
    try:
        pair = NodePublicPair(ed25519, mldsa44)
    except BadKeyError as error:  # a key of low order, for which anybody can sign
        raise EncodingError("bad_key") from error
    return KeyChange(
        salt,
        time,
        pair,
        take_bytes(fields[2], length=ED25519_SIGNATURE_BYTES),
        take_bytes(fields[3], length=MLDSA44_SIGNATURE_BYTES),
    )


def _read_profile(salt: bytes, time: int, fields: list[Value]) -> Profile:
    endpoints, relays, languages, contact, limits, markings = take_array(fields[0], length=6)
    max_round_bytes, max_items = take_array(limits, length=2)
    return Profile(
        salt,
        time,
        endpoints=_take_texts(endpoints),
        relays=_take_texts(relays),
        languages=_take_texts(languages),
        contact=take_text(contact, max_length=_MAX_TEXT),
        max_round_bytes=take_int(max_round_bytes),
        max_items=take_int(max_items),
        markings=_take_texts(markings),
    )


def _read_log_opened(salt: bytes, time: int, fields: list[Value]) -> LogOpened:
    reason = take_text(fields[3])
    if reason not in REOPEN_REASONS:
        raise EncodingError("reason")
    return LogOpened(salt, time, _take_positive(fields[0]), take_int(fields[1]), _take_hash(fields[2]), reason)


def _read_key_destroyed(salt: bytes, time: int, fields: list[Value]) -> KeyDestroyed:
    return KeyDestroyed(salt, time, _take_positive(fields[0]))


def _read_audit_head(salt: bytes, time: int, fields: list[Value]) -> AuditHead:
    return AuditHead(salt, time, take_int(fields[0]), _take_hash(fields[1]))


# Type -> how many fields follow the time, and what reads them.
_READERS: Final[dict[int, tuple[int, Callable[[bytes, int, list[Value]], Entry]]]] = {
    1: (2, _read_issued),
    2: (4, _read_custody),
    3: (4, _read_receipt),
    4: (5, _read_refused),
    5: (3, _read_epoch_key),
    6: (4, _read_key_change),
    7: (1, _read_profile),
    8: (4, _read_log_opened),
    9: (1, _read_key_destroyed),
    10: (2, _read_audit_head),
}


def _take_envelope(fields: list[Value]) -> tuple[AgencyId, EnvelopeId, bytes, Head]:
    return (
        parse_agency_id(take_text(fields[0])),
        _take_envelope_id(fields[1]),
        _take_hash(fields[2]),
        _take_head(fields[3]),
    )


def _take_head(value: Value) -> Head:
    fields = take_array(value, length=4)
    gateway = parse_gateway_name(take_text(fields[0]))
    return Head(gateway, _take_positive(fields[1]), take_int(fields[2]), _take_hash(fields[3]))


def _take_envelope_id(value: Value) -> EnvelopeId:
    return EnvelopeId(take_bytes(value, length=ID_BYTES))


def _take_hash(value: Value) -> bytes:
    return take_bytes(value, length=_HASH_BYTES)


def _take_positive(value: Value) -> int:
    number = take_int(value)
    if number < 1:
        raise EncodingError("out_of_range")
    return number


def _take_texts(value: Value) -> tuple[str, ...]:
    return tuple(take_text(text, max_length=_MAX_TEXT) for text in take_array(value, max_length=_MAX_LIST))
