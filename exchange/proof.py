"""Owns the two forms of a proof (PROTOCOL §6.3, §6.4): an entry, its path, a checkpoint. Verifies nothing of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from exchange.base64text import decode_base64, encode_base64
from exchange.checkpoint import (
    MAX_NOTE_BYTES,
    Checkpoint,
    ParsedNote,
    checkpoint_from_wire,
    checkpoint_note,
    checkpoint_to_wire,
    parse_note,
)
from exchange.entry import MAX_ENTRY_BYTES
from exchange.log import HASH_BYTES, MAX_SIZE
from keys.encoding import Value, take_array, take_bytes, take_int
from keys.errors import EncodingError
from keys.ids import AgencyId
from keys.signing import NodePublicPair

MAX_PATH_LENGTH: Final = 63
"""A tree has less than 2^63 leaves."""

MAX_EXPORTED_BYTES: Final = MAX_NOTE_BYTES + 2 * MAX_ENTRY_BYTES
_FIRST_LINE: Final = "c2sp.org/tlog-proof@v1"
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Proof:
    """An entry with what proves it: its place in a log of the context's agency and the path to a checkpoint."""

    entry: bytes
    index: int
    path: tuple[bytes, ...]
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class ExportedProof:
    """The same with the checkpoint as a note. `note` is not parsed: what is wrong with it is a step of verifying."""

    entry: bytes
    index: int
    path: tuple[bytes, ...]
    note: bytes

    def parsed_note(self) -> ParsedNote:
        """The checkpoint's note. Raises EncodingError."""
        return parse_note(self.note)


def proof_to_wire(proof: Proof) -> list[Value]:
    """`[entry, index, path, compact checkpoint]`."""
    return [proof.entry, proof.index, proof.path, checkpoint_to_wire(proof.checkpoint)]


def proof_from_wire(value: Value, agency: AgencyId) -> Proof:
    """The proof of an entry in a log of `agency`, which the context names. Raises EncodingError."""
    fields = take_array(value, length=4)
    return Proof(
        entry=take_bytes(fields[0], max_length=MAX_ENTRY_BYTES),
        index=take_int(fields[1]),
        path=take_path(fields[2]),
        checkpoint=checkpoint_from_wire(fields[3], agency),
    )


def take_path(value: Value, max_length: int = MAX_PATH_LENGTH) -> tuple[bytes, ...]:
    """`value` as a list of at most `max_length` hashes. Raises EncodingError."""
    return tuple(take_bytes(node, length=HASH_BYTES) for node in take_array(value, max_length=max_length))


def to_tlog_proof(proof: Proof, pair: NodePublicPair) -> bytes:
    """The C2SP `tlog-proof` whose `extra` is the entry; `pair` signed its checkpoint."""
    lines = [
        _FIRST_LINE,
        f"extra {encode_base64(proof.entry)}",
        f"index {proof.index}",
        *(encode_base64(node) for node in proof.path),
        "\n",
    ]
    return "\n".join(lines).encode("ascii") + checkpoint_note(proof.checkpoint, pair)


def from_tlog_proof(data: bytes) -> ExportedProof:
    """The proof in `data`, its lines read strictly, its note not yet. Raises EncodingError (`tlog_proof`, `base64`)."""
    if len(data) > MAX_EXPORTED_BYTES:
        raise EncodingError("too_large")
    head, blank, note = data.partition(b"\n\n")
    try:
        first, extra, index, *path = head.decode("ascii").split("\n")
    except ValueError as error:  # not ASCII, or fewer than three lines
        raise EncodingError("tlog_proof") from error
    extra_word, space, entry = extra.partition(" ")
    index_word, _, number = index.partition(" ")
    if not blank or (first, extra_word, space, index_word) != (_FIRST_LINE, "extra", " ", "index"):
        raise EncodingError("tlog_proof")
    if _NUMBER.fullmatch(number) is None or int(number) > MAX_SIZE or len(path) > MAX_PATH_LENGTH:
        raise EncodingError("tlog_proof")
    nodes = tuple(decode_base64(line) for line in path)
    if any(len(node) != HASH_BYTES for node in nodes):
        raise EncodingError("tlog_proof")
    return ExportedProof(decode_base64(entry), int(number), nodes, note)
