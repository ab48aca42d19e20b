"""Owns the anchor, which an agency's root signs to say who speaks for it; knows no card, no log, no other anchor.

An `Anchor` in memory is one whose self-signature holds: it is made by `make_anchor` or by `anchor_from_wire`, which
verifies. Whether its root is the right one is what a person decides by the safety code, and later judge_anchor by the
pinned one.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from keys.certificates import MAX_CERTIFICATE_BYTES, check_tls_root
from keys.encoding import Value, decode, encode, take_array, take_bytes, take_int, take_optional, take_text, take_time
from keys.errors import AnchorError, AnchorProblem, BadKeyError, BadSignatureError, EncodingError
from keys.ids import AgencyId, GatewayName, parse_agency_id, parse_gateway_name
from keys.signing import (
    ED25519_PUBLIC_BYTES,
    ED25519_SIGNATURE_BYTES,
    MLDSA65_PUBLIC_BYTES,
    MLDSA65_SIGNATURE_BYTES,
    NodePublicPair,
    RootKeyPair,
    RootPublicPair,
    WitnessPublicPair,
    sign_labelled,
    verify_labelled,
)

ANCHOR_LABEL: Final = "tocsin anchor v1"
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
"""Root of the empty tree (PROTOCOL §5): the base root of every gateway with base size 0."""

MAX_ANCHOR_BYTES: Final = 65_536
MAX_NAMES: Final = 32
MAX_GATEWAYS: Final = 16
MAX_NAME_LENGTH: Final = 256
_VERSION = 1
_LANGUAGE_TAG = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8}){0,4}", re.ASCII)
_COUNTRY = re.compile(r"[A-Z]{2}", re.ASCII)
# Both signatures, and room for the array around them.
_MAX_BODY_BYTES = MAX_ANCHOR_BYTES - ED25519_SIGNATURE_BYTES - MLDSA65_SIGNATURE_BYTES - 16


@dataclass(frozen=True, slots=True)
class GatewayEntry:
    """What an anchor says of one gateway: from this base on, this pair speaks. No pair: the gateway is revoked."""

    name: GatewayName
    generation: int
    base_size: int
    base_root: bytes
    node: NodePublicPair | None
    witness: WitnessPublicPair | None
    tls_root: bytes  # certificate, DER


@dataclass(frozen=True, slots=True)
class AnchorBody:
    """What the root signs. `names` are (language tag, name), the agency's own main name first; times in ms."""

    agency: AgencyId
    names: tuple[tuple[str, str], ...]
    country: str
    serial: int
    root: RootPublicPair
    issued_at: int
    expires_at: int
    gateways: tuple[GatewayEntry, ...]

    def gateway(self, name: str) -> GatewayEntry | None:
        """What it says of that gateway; None if it does not name it."""
        return next((entry for entry in self.gateways if entry.name == name), None)


@dataclass(frozen=True, slots=True)
class Anchor:
    """A signed anchor; `body` is what `body_bytes` say. Both signatures hold under the root in it."""

    body_bytes: bytes
    body: AnchorBody
    ed_sig: bytes
    mldsa_sig: bytes

    @property
    def digest(self) -> bytes:
        """SHA-256 of the body. Signatures do not enter: ML-DSA's differ each time the same body is signed."""
        return hashlib.sha256(self.body_bytes).digest()


def make_anchor(body: AnchorBody, root_pair: RootKeyPair) -> Anchor:
    """Sign `body`, which must be one that a peer would take.

    Raises:
        AnchorError: `bad_encoding`, if a field is not as PROTOCOL §4 has it; `root_changed`, if `root_pair` is not the
        root
            that the body names.
    """
    body_bytes = _body_bytes(body)
    _body_from_bytes(body_bytes)
    if root_pair.public != body.root:
        raise AnchorError(AnchorProblem.ROOT_CHANGED)
    return Anchor(body_bytes, body, *sign_labelled(root_pair, ANCHOR_LABEL, body_bytes))


def anchor_to_wire(anchor: Anchor) -> list[Value]:
    """`[anchor body, ed25519 signature, mldsa65 signature]`."""
    return [anchor.body_bytes, anchor.ed_sig, anchor.mldsa_sig]


def anchor_from_wire(value: Value) -> Anchor:
    """The anchor of that wire form, parsed strictly, its signatures verified under the root that it names.

    Raises:
        AnchorError: `bad_encoding` or `bad_signature`.
    """
    try:
        fields = take_array(value, length=3)
        body_bytes = take_bytes(fields[0], max_length=_MAX_BODY_BYTES)
        ed_sig = take_bytes(fields[1], length=ED25519_SIGNATURE_BYTES)
        mldsa_sig = take_bytes(fields[2], length=MLDSA65_SIGNATURE_BYTES)
    except EncodingError as error:
        raise AnchorError(AnchorProblem.BAD_ENCODING) from error
    body = _body_from_bytes(body_bytes)
    try:
        verify_labelled(body.root, ANCHOR_LABEL, body_bytes, ed_sig, mldsa_sig)
    except BadSignatureError as error:
        raise AnchorError(AnchorProblem.BAD_SIGNATURE) from error
    return Anchor(body_bytes, body, ed_sig, mldsa_sig)


# --- the body ---------------------------------------------------------------------------------------------------------


def _body_bytes(body: AnchorBody) -> bytes:
    try:
        return encode(
            [
                _VERSION,
                body.agency,
                body.names,
                body.country,
                body.serial,
                body.root.ed25519,
                body.root.mldsa65,
                body.issued_at,
                body.expires_at,
                [_gateway_to_wire(entry) for entry in body.gateways],
            ]
        )
    except EncodingError as error:
        raise AnchorError(AnchorProblem.BAD_ENCODING) from error


def _gateway_to_wire(entry: GatewayEntry) -> list[Value]:
    return [
        entry.name,
        entry.generation,
        entry.base_size,
        entry.base_root,
        None if entry.node is None else entry.node.to_wire(),
        None if entry.witness is None else entry.witness.to_wire(),
        entry.tls_root,
    ]


def _body_from_bytes(body_bytes: bytes) -> AnchorBody:
    try:
        body = _take_body(decode(body_bytes, max_bytes=_MAX_BODY_BYTES))
        _check_body(body)
    except (EncodingError, BadKeyError) as error:
        raise AnchorError(AnchorProblem.BAD_ENCODING) from error
    return body


def _take_body(value: Value) -> AnchorBody:
    fields = take_array(value, length=10)
    if take_int(fields[0]) != _VERSION:
        raise EncodingError("version")
    return AnchorBody(
        agency=parse_agency_id(take_text(fields[1])),
        names=tuple(_take_name(name) for name in take_array(fields[2], max_length=MAX_NAMES)),
        country=take_text(fields[3]),
        serial=take_int(fields[4]),
        root=RootPublicPair(
            take_bytes(fields[5], length=ED25519_PUBLIC_BYTES), take_bytes(fields[6], length=MLDSA65_PUBLIC_BYTES)
        ),
        issued_at=take_time(fields[7]),
        expires_at=take_time(fields[8]),
        gateways=tuple(_take_gateway(entry) for entry in take_array(fields[9], max_length=MAX_GATEWAYS)),
    )


def _take_name(value: Value) -> tuple[str, str]:
    language, name = take_array(value, length=2)
    return take_text(language), take_text(name, max_length=MAX_NAME_LENGTH)


def _take_gateway(value: Value) -> GatewayEntry:
    fields = take_array(value, length=7)
    return GatewayEntry(
        name=parse_gateway_name(take_text(fields[0])),
        generation=take_int(fields[1]),
        base_size=take_int(fields[2]),
        base_root=take_bytes(fields[3], length=32),
        node=take_optional(fields[4], NodePublicPair.from_wire),
        witness=take_optional(fields[5], WitnessPublicPair.from_wire),
        tls_root=check_tls_root(take_bytes(fields[6], max_length=MAX_CERTIFICATE_BYTES)),
    )


def _check_body(body: AnchorBody) -> None:
    if not body.names or any(_LANGUAGE_TAG.fullmatch(language) is None or not name for language, name in body.names):
        raise EncodingError("names")
    if _COUNTRY.fullmatch(body.country) is None:
        raise EncodingError("country")
    if body.serial < 1:
        raise EncodingError("serial")
    if body.expires_at <= body.issued_at:
        raise EncodingError("expires_at")
    if len({entry.name for entry in body.gateways}) != len(body.gateways):
        raise EncodingError("gateways")
    for entry in body.gateways:
        if entry.generation < 1:
            raise EncodingError("generation")
        if entry.base_size == 0 and entry.base_root != EMPTY_ROOT:
            raise EncodingError("base_root")  # there is one empty tree
