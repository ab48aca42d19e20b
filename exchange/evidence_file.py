"""Owns the bytes of an evidence file (PROTOCOL §14): what is in it, building, parsing. Verifies no proof in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from exchange.checkpoint import MAX_NOTE_BYTES, Checkpoint, checkpoint_note
from exchange.currency import Link
from exchange.envelope import (
    MAX_HEADER_BYTES,
    MAX_PLAINTEXT_BYTES,
    OPENING_BYTES,
    Header,
    decode_header,
    encode_rest,
    envelope_hash,
)
from exchange.errors import EvidenceError, EvidenceProblem, ProtocolBugError
from exchange.log import HASH_BYTES
from exchange.proof import MAX_EXPORTED_BYTES, take_path
from exchange.statement import AgencyKeys, EnvelopeFacts, ExportedProof, Proof, from_tlog_proof, to_tlog_proof
from keys.anchor import Anchor, anchor_from_wire, anchor_to_wire
from keys.encoding import Value, decode, encode, take_array, take_bytes, take_int, take_text
from keys.errors import AnchorError, EncodingError, KeyNotValidError
from keys.ids import ID_BYTES, AgencyId, EnvelopeId, MessageId, parse_agency_id, parse_gateway_name
from keys.signing import NodePublicPair

MAGIC: Final = "tocsin evidence"
VERSION: Final = 1
MAX_EVIDENCE_BYTES: Final = 16_777_216
# Consistency proofs of RFC 9162 §2.1.4: at most one node more than the tree is high.
MAX_LINK_NODES: Final = 64
_MAX_ITEMS: Final = 100_000

# array of nine, the magic, the version: how every evidence file begins
_PREFIX: Final = bytes([0x99]) + encode(MAGIC) + encode(VERSION)

LinkItem: TypeAlias = Link


@dataclass(frozen=True, slots=True)
class EnvelopeItem:
    """An envelope without its body: what statements about it are compared with."""

    header_bytes: bytes
    body_hash: bytes


@dataclass(frozen=True, slots=True)
class ContentItem:
    """What opens an envelope's commitment, and with it proves what was said."""

    envelope_id: EnvelopeId
    opening: bytes
    rest: bytes

    @classmethod
    def of(
        cls,
        envelope_id: EnvelopeId,
        opening: bytes,
        sender: AgencyId,
        recipient: AgencyId,
        generation: int,
        number: int,
        message_id: MessageId,
        content: bytes,
    ) -> ContentItem:
        """The same from the parts that are kept of an envelope."""
        rest = encode_rest(sender, recipient, envelope_id, generation, number, message_id, content)
        return cls(envelope_id, opening, rest)


@dataclass(frozen=True, slots=True)
class ParsedEnvelope:
    """An envelope of the file, its header read."""

    header: Header
    facts: EnvelopeFacts


@dataclass(frozen=True, slots=True)
class EvidenceFile:
    """What a file says. Anchors have verified themselves; nothing else has."""

    anchors: tuple[Anchor, ...]
    key_changes: tuple[tuple[AgencyId, ExportedProof], ...]
    links: tuple[Link, ...]
    heads: tuple[tuple[AgencyId, bytes], ...]
    envelopes: tuple[ParsedEnvelope, ...]
    statements: tuple[tuple[AgencyId, ExportedProof], ...]
    contents: tuple[ContentItem, ...]


def build_evidence(
    *,
    agencies: Sequence[AgencyKeys],
    links: Sequence[LinkItem],
    heads: Sequence[Checkpoint] = (),
    envelopes: Sequence[EnvelopeItem],
    statements: Sequence[tuple[AgencyId, Proof]],
    contents: Sequence[ContentItem] = (),
) -> bytes:
    """The bytes of an evidence file. What is given twice is written once.

    `agencies` are all that speak in it, with every anchor and key change known of them.

    Raises:
        EncodingError: `too_large`: more than 16 MiB.
        ProtocolBugError: a statement of an agency that is not given, or under no pair of it.
    """
    keys = {one.agency: one for one in agencies}
    data = encode(
        [
            MAGIC,
            VERSION,
            [anchor_to_wire(anchor) for one in agencies for anchor in one.anchors],
            [[one.agency, _exported(one, change)] for one in agencies for change in one.changes],
            [_link_to_wire(link) for link in dict.fromkeys(links)],
            [[head.origin.agency, _note(_keys_of(head.origin.agency, keys), head)] for head in dict.fromkeys(heads)],
            [[item.header_bytes, item.body_hash] for item in dict.fromkeys(envelopes)],
            [[agency, _exported(_keys_of(agency, keys), proof)] for agency, proof in dict.fromkeys(statements)],
            [[item.envelope_id, item.opening, item.rest] for item in dict.fromkeys(contents)],
        ]
    )
    if len(data) > MAX_EVIDENCE_BYTES:
        raise EncodingError("too_large")
    return data


def parse_evidence(data: bytes) -> EvidenceFile:
    """What the file says.

    Raises:
        EvidenceError: `file_truncated`, `not_evidence`, `bad_encoding`, or `card_invalid` for an anchor that does not
            verify.
    """
    if data and len(data) < len(_PREFIX) and _PREFIX.startswith(data):
        raise EvidenceError(EvidenceProblem.FILE_TRUNCATED)
    if not data.startswith(_PREFIX):
        raise EvidenceError(EvidenceProblem.NOT_EVIDENCE)
    try:
        value = decode(data, max_bytes=MAX_EVIDENCE_BYTES)
    except EncodingError as error:
        truncated = error.rule == "truncated"
        reason = EvidenceProblem.FILE_TRUNCATED if truncated else EvidenceProblem.BAD_ENCODING
        raise EvidenceError(reason) from error
    try:
        return _take_file(value)
    except EncodingError as error:
        raise EvidenceError(EvidenceProblem.BAD_ENCODING) from error
    except AnchorError as error:
        raise EvidenceError(EvidenceProblem.CARD_INVALID) from error


# --- writing ----------------------------------------------------------------------------------------------------------


def _keys_of(agency: AgencyId, keys: dict[AgencyId, AgencyKeys]) -> AgencyKeys:
    if agency not in keys:
        raise ProtocolBugError("every agency that speaks in a file has its anchor in it")
    return keys[agency]


def _exported(keys: AgencyKeys, proof: Proof) -> bytes:
    return to_tlog_proof(proof, _pair_of(keys, proof.checkpoint))


def _note(keys: AgencyKeys, head: Checkpoint) -> bytes:
    return checkpoint_note(head, _pair_of(keys, head))


def _pair_of(keys: AgencyKeys, checkpoint: Checkpoint) -> NodePublicPair:
    origin = checkpoint.origin
    try:
        return keys.history.pair_for(origin.gateway, origin.generation, checkpoint.size)
    except KeyNotValidError as error:
        raise ProtocolBugError("what is exported is under a known pair") from error


def _link_to_wire(link: Link) -> list[Value]:
    return [
        link.agency,
        link.gateway,
        link.generation,
        link.from_size,
        link.from_root,
        link.to_size,
        link.to_root,
        link.nodes,
    ]


# --- reading ----------------------------------------------------------------------------------------------------------


def _take_file(value: Value) -> EvidenceFile:
    fields = take_array(value, length=9)
    return EvidenceFile(
        anchors=tuple(anchor_from_wire(anchor) for anchor in _take_items(fields[2])),
        key_changes=tuple(_take_exported(item) for item in _take_items(fields[3])),
        links=tuple(_take_link(item) for item in _take_items(fields[4])),
        heads=tuple(_take_head(item) for item in _take_items(fields[5])),
        envelopes=tuple(_take_envelope(item) for item in _take_items(fields[6])),
        statements=tuple(_take_exported(item) for item in _take_items(fields[7])),
        contents=tuple(_take_content(item) for item in _take_items(fields[8])),
    )


def _take_items(value: Value) -> Iterable[Value]:
    return take_array(value, max_length=_MAX_ITEMS)


def _take_exported(value: Value) -> tuple[AgencyId, ExportedProof]:
    agency, proof = take_array(value, length=2)
    return parse_agency_id(take_text(agency)), from_tlog_proof(take_bytes(proof, max_length=MAX_EXPORTED_BYTES))


def _take_head(value: Value) -> tuple[AgencyId, bytes]:
    agency, note = take_array(value, length=2)
    return parse_agency_id(take_text(agency)), take_bytes(note, max_length=MAX_NOTE_BYTES)


def _take_link(value: Value) -> Link:
    fields = take_array(value, length=8)
    return Link(
        agency=parse_agency_id(take_text(fields[0])),
        gateway=parse_gateway_name(take_text(fields[1])),
        generation=take_int(fields[2]),
        from_size=take_int(fields[3]),
        from_root=take_bytes(fields[4], length=HASH_BYTES),
        to_size=take_int(fields[5]),
        to_root=take_bytes(fields[6], length=HASH_BYTES),
        nodes=take_path(fields[7], max_length=MAX_LINK_NODES),
    )


def _take_envelope(value: Value) -> ParsedEnvelope:
    header_bytes, body_hash = take_array(value, length=2)
    raw = take_bytes(header_bytes, max_length=MAX_HEADER_BYTES)
    header = decode_header(raw)
    whole_hash = envelope_hash(raw, take_bytes(body_hash, length=HASH_BYTES))
    return ParsedEnvelope(header, EnvelopeFacts(header.sender, header.recipient, header.envelope_id, whole_hash))


def _take_content(value: Value) -> ContentItem:
    envelope_id, opening, rest = take_array(value, length=3)
    return ContentItem(
        envelope_id=EnvelopeId(take_bytes(envelope_id, length=ID_BYTES)),
        opening=take_bytes(opening, length=OPENING_BYTES),
        rest=take_bytes(rest, max_length=MAX_PLAINTEXT_BYTES),
    )
