"""Owns the one answer to "did agency X say this?" (PROTOCOL §7.1), and X's verified keys. Knows no store and no trust.

`verify_statement` is the only way from a proof to a `Statement`; `verify_group` walks the same steps for many entries
under one checkpoint. Whose anchor is pinned, and whether an old key still counts, is for callers (`exchange.currency`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn, TypeAlias

from exchange.checkpoint import Checkpoint, ParsedNote, find_note_signer, find_signer, parse_note
from exchange.entry import (
    AuditHead,
    Custody,
    Entry,
    EnvelopeEntry,
    EpochKey,
    Head,
    Issued,
    KeyChange,
    KeyDestroyed,
    LogOpened,
    Profile,
    Receipt,
    Refused,
    decode_entry,
    encode_entry,
)
from exchange.errors import ProtocolBugError, StatementError, StatementProblem
from exchange.log import LogProofError, leaf_hash, verify_inclusion, verify_multi
from exchange.proof import (
    ExportedProof,
    Proof,
    from_tlog_proof,
    proof_from_wire,
    proof_to_wire,
    to_tlog_proof,
)
from keys.anchor import Anchor
from keys.encoding import encode
from keys.errors import BadSignatureError, EncodingError, KeyNotValidError
from keys.ids import AgencyId, EnvelopeId, Origin, parse_origin
from keys.signing import NodePublicPair, verify_labelled
from keys.trust import KeyHistory

__all__ = [
    "KEY_CHANGE_LABEL",
    "AgencyKeys",
    "AnyProof",
    "AuditHead",
    "Custody",
    "Entry",
    "EnvelopeEntry",
    "EnvelopeFacts",
    "EpochKey",
    "ExportedProof",
    "Head",
    "Issued",
    "KeyChange",
    "KeyDestroyed",
    "LogOpened",
    "Profile",
    "Proof",
    "Receipt",
    "Refused",
    "Statement",
    "add_key_change",
    "build_agency_keys",
    "decode_entry",
    "encode_entry",
    "from_tlog_proof",
    "key_change_body",
    "proof_from_wire",
    "proof_to_wire",
    "signing_pair",
    "statement_proof",
    "to_tlog_proof",
    "verify_group",
    "verify_head",
    "verify_statement",
    "with_key_changes",
]

KEY_CHANGE_LABEL: Final = "tocsin key change v1"
# Pairs that a head on the line is tried against: the one that should have signed, and the newest of the others, which
# tell a late word under a replaced pair from no word at all. All would be hundreds of checks for each forgery.
LINE_CANDIDATES: Final = 4

AnyProof: TypeAlias = Proof | ExportedProof


@dataclass(frozen=True, slots=True)
class EnvelopeFacts:
    """What an entry about an envelope is compared with: the header and hash at hand."""

    sender: AgencyId
    recipient: AgencyId
    envelope_id: EnvelopeId
    envelope_hash: bytes


@dataclass(frozen=True, slots=True)
class Statement:
    """Agency `agency` said `entry`: made by verify_statement and verify_group only.

    `is_current`: no change of the pair that signed is known. If one is, exchange.currency decides whether it counts.
    """

    agency: AgencyId
    origin: Origin
    entry: Entry
    entry_bytes: bytes
    index: int
    path: tuple[bytes, ...]
    checkpoint: Checkpoint
    pair: NodePublicPair
    is_current: bool


def statement_proof(statement: Statement) -> Proof:
    """The proof that the statement was made from."""
    return Proof(statement.entry_bytes, statement.index, statement.path, statement.checkpoint)


# --- an agency's keys -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AgencyKeys:
    """The verified keys of one agency: its anchors, serials rising, and the key changes that count under them.

    `changes` lie in the order of gateway, generation, index. Immutable.
    """

    agency: AgencyId
    anchors: tuple[Anchor, ...]
    history: KeyHistory
    changes: tuple[Proof, ...]

    def changes_of(self, gateway: str) -> tuple[Proof, ...]:
        """The key changes of one gateway, in log order."""
        return tuple(change for change in self.changes if change.checkpoint.origin.gateway == gateway)

    def add_change(self, proof: AnyProof) -> AgencyKeys:
        """As add_key_change."""
        return add_key_change(self, proof)


def build_agency_keys(anchors: Sequence[Anchor], key_changes: Iterable[AnyProof]) -> AgencyKeys:
    """The keys that these anchors of one agency and root name, serials rising, and these key changes, in any order.

    A change that counted under fewer of the anchors and that a later one made void (it lies beyond the base at which
    the anchor named another pair) is left out: it was true, and says nothing any more.

    Raises:
        AnchorError: the anchors do not follow each other.
        StatementError: a change does not verify.
        KeyConflictError: two different changes of one pair.
    """
    if not anchors:
        raise ProtocolBugError("keys begin with an anchor")
    ordered = sorted(key_changes, key=_place)
    keys, failed = _take_changes(anchors, ordered)
    for count in range(len(anchors) - 1, 0, -1):
        if not failed:
            break
        never = {proof for proof, _ in _take_changes(anchors[:count], ordered)[1]}
        failed = [(proof, error) for proof, error in failed if proof in never]
    if failed:
        raise failed[0][1]
    return keys


def add_key_change(keys: AgencyKeys, proof: AnyProof, *, most: int | None = None) -> AgencyKeys:
    """The keys that also know this change; the same keys if they do already.

    The change is verified by its own checkpoint, which has size index + 1 and is signed by the pair before it, and by
    the new pair's signature over itself. `most`: how many pairs its checkpoint is tried against, all if None.

    Raises:
        StatementError: it does not verify, or the pair before it is not known or does not cover that size.
        KeyConflictError: another change of the same pair is known.
    """
    change = _decode(proof.entry)
    if not isinstance(change, KeyChange):
        _fail(StatementProblem.BAD_ENCODING, 1)
    signed = _verify_place(proof, keys, most)
    checkpoint, origin = signed.checkpoint, signed.checkpoint.origin
    if checkpoint.size != proof.index + 1:
        _fail(StatementProblem.BAD_INCLUSION_PROOF, 2)
    body = key_change_body(origin, change.pair)
    try:
        verify_labelled(change.pair, KEY_CHANGE_LABEL, body, change.ed_signature, change.mldsa_signature)
    except BadSignatureError as error:
        raise StatementError(StatementProblem.WRONG_KEY, 7) from error
    try:
        history = keys.history.with_change(origin.gateway, origin.generation, proof.index, change.pair, signed.pair)
    except KeyNotValidError as error:
        raise StatementError(StatementProblem.KEY_NOT_VALID, 6) from error
    if history is keys.history:
        return keys
    compact = Proof(proof.entry, proof.index, proof.path, checkpoint)
    return AgencyKeys(keys.agency, keys.anchors, history, tuple(sorted((*keys.changes, compact), key=_place)))


def signing_pair(proof: AnyProof, keys: AgencyKeys) -> NodePublicPair:
    """Which pair signed a proof's checkpoint, whether or not it covers that size. Raises StatementError."""
    return _verify_place(proof, keys).pair


def with_key_changes(keys: AgencyKeys, proofs: Iterable[AnyProof]) -> AgencyKeys:
    """The keys that also know these changes, given in any order. Raises as add_key_change."""
    for proof in sorted(proofs, key=_place):
        keys = add_key_change(keys, proof)
    return keys


def key_change_body(origin: Origin, pair: NodePublicPair) -> bytes:
    """What the new pair signs: encode([origin, ed25519, mldsa44]), under KEY_CHANGE_LABEL."""
    return encode([origin.name, pair.ed25519, pair.mldsa44])


def _take_changes(
    anchors: Sequence[Anchor], ordered: Sequence[AnyProof]
) -> tuple[AgencyKeys, list[tuple[AnyProof, StatementError]]]:
    """The keys with every change that counts under exactly these anchors, and the changes that do not."""
    keys = AgencyKeys(anchors[0].body.agency, tuple(anchors), KeyHistory.from_anchors(anchors), ())
    failed: list[tuple[AnyProof, StatementError]] = []
    for proof in ordered:
        try:
            keys = add_key_change(keys, proof)
        except StatementError as error:
            failed.append((proof, error))
    return keys, failed


def _place(proof: AnyProof) -> tuple[str, int, int]:
    """Where a change lies; for a note that cannot be read, anywhere: it will not verify."""
    if isinstance(proof, Proof):
        origin = proof.checkpoint.origin
    else:
        try:
            origin = parse_origin(proof.parsed_note().origin)
        except EncodingError:
            return ("", 0, proof.index)
    return (origin.gateway, origin.generation, proof.index)


# --- verifying: the steps of PROTOCOL §7.1, in its order --------------------------------------------------------------


def verify_statement(proof: AnyProof, keys: AgencyKeys, envelope: EnvelopeFacts | None = None) -> Statement:
    """That the agency of `keys` said this. `envelope` is what the entry is about, for entries about one.

    Raises:
        StatementError: with the first of the eight steps that fails. An entry about an envelope that is not at hand
            fails step 8: there is nothing that it could equal.
    """
    entry = _decode(proof.entry)  # (1)
    held = _check_coverage(_verify_place(proof, keys), keys)  # (2) to (6)
    _check_envelope(entry, keys.agency, envelope)  # (7), (8)
    return _statement(held, entry, proof.entry, proof.index, proof.path)


def verify_group(
    checkpoint: Checkpoint,
    indices: Sequence[int],
    entries: Sequence[bytes],
    nodes: Sequence[bytes],
    keys: AgencyKeys,
    envelopes: Sequence[EnvelopeFacts | None],
) -> tuple[Statement | StatementError, ...]:
    """The same for many entries under one checkpoint, with one multi-proof (PROTOCOL §5) and one signature check.

    What concerns one entry alone (steps 1, 7 and 8) is answered for that entry; the others stand.

    Raises:
        StatementError: what concerns all of them fails: steps 2 to 6.
    """
    if not len(indices) == len(entries) == len(envelopes):
        raise ProtocolBugError("a group has one index and one attachment for each entry")
    leaves = [(index, leaf_hash(entry)) for index, entry in zip(indices, entries, strict=True)]
    try:
        paths = verify_multi(checkpoint.size, checkpoint.root, leaves, nodes)  # (2)
    except LogProofError as error:
        raise StatementError(StatementProblem.BAD_INCLUSION_PROOF, 2) from error
    held = _check_coverage(_verify_signatures(checkpoint, keys, most=LINE_CANDIDATES), keys)  # (3) to (6)
    found: list[Statement | StatementError] = []
    for index, data, path, envelope in zip(indices, entries, paths, envelopes, strict=True):
        try:
            entry = _decode(data)  # (1)
            _check_envelope(entry, keys.agency, envelope)  # (7), (8)
        except StatementError as error:
            found.append(error)
        else:
            found.append(_statement(held, entry, data, index, path))
    return tuple(found)


def verify_head(note: bytes, keys: AgencyKeys) -> tuple[Checkpoint, bool]:
    """A signed head without an entry under it: steps 3 to 6. The checkpoint, and whether its pair is current.

    Raises:
        StatementError: as verify_statement.
    """
    try:
        parsed = parse_note(note)  # (3)
    except EncodingError as error:
        raise StatementError(StatementProblem.BAD_ENCODING, 3) from error
    held = _check_coverage(_verify_note(parsed, keys), keys)  # (4) to (6)
    return held.checkpoint, held.is_current


@dataclass(frozen=True, slots=True)
class _Signed:
    """A checkpoint that this pair signed, both halves."""

    checkpoint: Checkpoint
    pair: NodePublicPair


@dataclass(frozen=True, slots=True)
class _Held:
    """The same, and the pair is the one for that size."""

    checkpoint: Checkpoint
    pair: NodePublicPair
    is_current: bool


def _statement(held: _Held, entry: Entry, data: bytes, index: int, path: tuple[bytes, ...]) -> Statement:
    origin = held.checkpoint.origin
    return Statement(
        agency=origin.agency,
        origin=origin,
        entry=entry,
        entry_bytes=data,
        index=index,
        path=path,
        checkpoint=held.checkpoint,
        pair=held.pair,
        is_current=held.is_current,
    )


def _decode(data: bytes) -> Entry:
    # (1) decodes strictly, re-encodes to itself, has the shape of its type.
    try:
        return decode_entry(data)
    except EncodingError as error:
        raise StatementError(StatementProblem.BAD_ENCODING, 1) from error


def _verify_place(proof: AnyProof, keys: AgencyKeys, most: int | None = None) -> _Signed:
    """Steps 2 to 5: the entry lies in a log of the agency, under a checkpoint that one pair signed."""
    if isinstance(proof, Proof):
        # A compact checkpoint stands for a note that is well-formed by construction: (3) holds.
        _check_inclusion(proof, proof.checkpoint.size, proof.checkpoint.root)  # (2)
        return _verify_signatures(proof.checkpoint, keys, most)  # (4), (5)
    # (3) exactly three lines, a canonical size, a 32-byte root. Read first: (2) needs size and root.
    try:
        note = proof.parsed_note()
    except EncodingError as error:
        raise StatementError(StatementProblem.BAD_ENCODING, 3) from error
    _check_inclusion(proof, note.size, note.root)  # (2)
    return _verify_note(note, keys)  # (4), (5)


def _check_inclusion(proof: AnyProof, size: int, root: bytes) -> None:
    # (2) index < size, a path of exactly the right length, that leads from the leaf to the root.
    try:
        verify_inclusion(leaf_hash(proof.entry), proof.index, size, proof.path, root)
    except LogProofError as error:
        raise StatementError(StatementProblem.BAD_INCLUSION_PROOF, 2) from error


def _check_origin(origin: Origin, keys: AgencyKeys) -> None:
    # (4) the log is one of the pinned agency's, of a gateway that its anchors name.
    if origin.agency != keys.agency or not keys.history.knows_gateway(origin.gateway):
        _fail(StatementProblem.WRONG_KEY, 4)


def _verify_signatures(checkpoint: Checkpoint, keys: AgencyKeys, most: int | None = None) -> _Signed:
    _check_origin(checkpoint.origin, keys)
    # (5) both halves of one pair that anchors or key changes ever named for the gateway.
    try:
        candidates = _candidates(checkpoint.origin, checkpoint.size, keys)[:most]
        return _Signed(checkpoint, find_signer(checkpoint, candidates))
    except BadSignatureError as error:
        raise StatementError(StatementProblem.BAD_CHECKPOINT_SIGNATURE, 5) from error


def _verify_note(note: ParsedNote, keys: AgencyKeys) -> _Signed:
    try:
        origin = parse_origin(note.origin)
    except EncodingError as error:
        raise StatementError(StatementProblem.WRONG_KEY, 4) from error
    _check_origin(origin, keys)
    # (5) exactly one line of each type, of one and the same pair.
    try:
        checkpoint, pair = find_note_signer(note, origin, _candidates(origin, note.size, keys))
    except BadSignatureError as error:
        raise StatementError(StatementProblem.BAD_CHECKPOINT_SIGNATURE, 5) from error
    return _Signed(checkpoint, pair)


def _candidates(origin: Origin, size: int, keys: AgencyKeys) -> Sequence[NodePublicPair]:
    """Every pair that comes into question, the one that should have signed first: trying a wrong one costs time."""
    candidates = keys.history.candidates(origin.gateway)[::-1]  # newest first
    try:
        expected = keys.history.pair_for(origin.gateway, origin.generation, size)
    except KeyNotValidError:
        return candidates
    return sorted(candidates, key=lambda pair: pair != expected)


def _check_coverage(signed: _Signed, keys: AgencyKeys) -> _Held:
    # (6) the pair that signed is the one for this size: a retired key signs nothing beyond its last size, whatever
    # time it writes.
    origin, size = signed.checkpoint.origin, signed.checkpoint.size
    try:
        expected = keys.history.pair_for(origin.gateway, origin.generation, size)
    except KeyNotValidError as error:
        raise StatementError(StatementProblem.KEY_NOT_VALID, 6) from error
    if expected != signed.pair:
        _fail(StatementProblem.KEY_NOT_VALID, 6)
    is_current = keys.history.is_current(origin.gateway, origin.generation, signed.pair)
    return _Held(signed.checkpoint, signed.pair, is_current)


def _check_envelope(entry: Entry, agency: AgencyId, envelope: EnvelopeFacts | None) -> None:
    match entry:
        case Issued() | Custody() | Receipt() | Refused():
            if envelope is None:
                _fail(StatementProblem.CONTENT_MISMATCH, 8)
            _check_issuer(entry, agency, envelope)  # (7)
            _check_content(entry, envelope)  # (8)
        case _:
            pass  # about the agency or the gateway: (4) says whose log it is, and so of whom it speaks


def _check_issuer(entry: EnvelopeEntry, agency: AgencyId, envelope: EnvelopeFacts) -> None:
    # (7) only the sender issues, only the recipient receipts or refuses; custody is neither's.
    match entry:
        case Issued():
            fitting = agency == envelope.sender
        case Receipt() | Refused():
            fitting = agency == envelope.recipient
        case _:
            fitting = agency not in (envelope.sender, envelope.recipient)
    if not fitting:
        _fail(StatementProblem.RECIPIENT_MISMATCH, 7)


def _check_content(entry: EnvelopeEntry, envelope: EnvelopeFacts) -> None:
    # (8) the entry names this very envelope: an id alone would let a statement be moved to another one.
    said = (entry.envelope_id, entry.envelope_hash)
    if said != (envelope.envelope_id, envelope.envelope_hash):
        _fail(StatementProblem.CONTENT_MISMATCH, 8)
    if not isinstance(entry, Issued) and entry.sender != envelope.sender:
        _fail(StatementProblem.CONTENT_MISMATCH, 8)


def _fail(reason: StatementProblem, step: int) -> NoReturn:
    raise StatementError(reason, step)
