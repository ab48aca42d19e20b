"""Targets of the binary forms and the signed texts: encoding, keys, log, envelope, round, card, evidence (PROTOCOL).

Besides "only our errors" each holds what was taken to its one form: written again, it is the same bytes.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache
from hashlib import sha256
from typing import Any

from cryptography import x509

from exchange.base64text import encode_base64
from exchange.card import BEGIN_LINE, Card, CardError, encode_card, parse_card
from exchange.checkpoint import NoteLine, ParsedNote, checkpoint_from_wire, checkpoint_to_wire, find_note_signer
from exchange.checkpoint import parse_note as read_note
from exchange.entry import decode_entry, encode_entry
from exchange.envelope import (
    MAX_PLAINTEXT_BYTES,
    OPENING_BYTES,
    PADDED_SIZES,
    Header,
    Precedence,
    commitment_of,
    decode_header,
    encode_header,
    encode_rest,
    open_envelope,
)
from exchange.errors import EvidenceError, RefusalError, StatementError
from exchange.evidence import verify_evidence
from exchange.log import LogProofError, verify_consistency, verify_inclusion, verify_multi
from exchange.proof import ExportedProof, from_tlog_proof, proof_from_wire, proof_to_wire
from exchange.round import decode_error, decode_round, encode_error, encode_round
from exchange.statement import EnvelopeFacts, build_agency_keys, verify_group, verify_statement
from keys.anchor import anchor_from_wire, anchor_to_wire
from keys.certificates import certificate_pem, check_tls_root, is_issued_by, key_from_der
from keys.encoding import Value, decode, encode, take_array, take_bytes, take_int, take_text, take_time
from keys.errors import AnchorError, BadKeyError, BadSignatureError, EncodingError, KeysError
from keys.ids import (
    AgencyId,
    EnvelopeId,
    format_uuid,
    parse_agency_id,
    parse_gateway_name,
    parse_origin,
    parse_uuid,
)
from keys.safety_code import codes_equal, normalise_code
from keys.sealing import EpochKeyPair, check_epoch_public
from keys.signing import NodePublicPair, RootPublicPair, WitnessPublicPair
from keys.trust import anchor_life, expiry_warning, judge_anchor
from nodes.tls import PeerRoot, _comparable, _issuer
from tests.exchange.agencies import NOW, Agency, make_agency, seed
from tests.fuzz.believing import believing
from tests.fuzz.target import Target

US, PEER = AgencyId("bka.de"), AgencyId("ponal.co")
WHOLE = 1 << 24


def text_of(data: bytes) -> str:
    """Any text that Python can hold: what is no UTF-8 becomes lone surrogates, as in an argument or a file name."""
    return data.decode("utf-8", "surrogateescape")


# --- encoding and names -----------------------------------------------------------------------------------------------


def encoding(data: bytes) -> None:
    value = decode(data, max_bytes=WHOLE)
    assert encode(value) == data


TAKERS: tuple[Callable[[Value], object], ...] = (
    take_array,
    take_int,
    take_bytes,
    take_text,
    take_time,
    NodePublicPair.from_wire,
    WitnessPublicPair.from_wire,
    RootPublicPair.from_wire,
)


def takers(data: bytes) -> None:
    value = decode(data, max_bytes=WHOLE)
    for take in TAKERS:
        with suppress(EncodingError, BadKeyError):
            take(value)
    if isinstance(value, bytes):
        with suppress(BadKeyError):
            check_epoch_public(value)


def names(data: bytes) -> None:
    text = text_of(data)
    with suppress(EncodingError):
        assert parse_agency_id(text) == text
    with suppress(EncodingError):
        assert parse_gateway_name(text) == text
    with suppress(EncodingError):
        assert format_uuid(parse_uuid(text)) == text
    with suppress(EncodingError):
        assert parse_origin(text).name == text


def code(data: bytes) -> None:
    text = text_of(data)
    normal = normalise_code(text)
    assert normalise_code(normal) == normal
    assert codes_equal(text, normal)


# --- keys -------------------------------------------------------------------------------------------------------------


def anchor(data: bytes) -> None:
    """The wire form of an anchor whose signatures hold, and what is asked of one that was taken."""
    with believing():
        found = anchor_from_wire(decode(data, max_bytes=WHOLE))
        assert encode(anchor_to_wire(found)) == data
        anchor_life(found, NOW)
        expiry_warning(found, NOW)
        with suppress(AnchorError):
            judge_anchor(_agency(PEER).anchors[0], found)
        keys = build_agency_keys([found], ())
        for gateway in found.body.gateways:
            keys.history.pairs(gateway.name, gateway.generation)
            keys.history.current_pair(gateway.name)


@cache
def _agency(name: AgencyId) -> Agency:
    return make_agency(name)


@cache
def _root() -> bytes:
    return _agency(PEER).anchors[0].body.gateways[0].tls_root


@cache
def _roots() -> dict[Any, PeerRoot]:
    return {_comparable(x509.load_der_x509_certificate(_root()).subject): PeerRoot(PEER, _root(), True)}


def certificate(data: bytes) -> None:
    """A root in an anchor, a leaf in a handshake, a key in the store: DER from somebody else."""
    with suppress(BadKeyError):
        key_from_der(data)
    is_issued_by(data, _root())
    is_issued_by(data, data)
    assert _issuer(data, _roots()) is None
    certificate_pem(data)
    assert check_tls_root(data) == data
    assert is_issued_by(data, data)


# --- the log ----------------------------------------------------------------------------------------------------------


def note(data: bytes) -> None:
    parsed = read_note(data)
    assert _note_bytes(parsed) == data
    pair = _agency(US).pair.public
    with suppress(BadSignatureError), believing():
        checkpoint, _ = find_note_signer(parsed, parse_origin(f"{US}/gw1/1"), [pair])
        wire = encode(checkpoint_to_wire(checkpoint))
        assert checkpoint_from_wire(decode(wire, max_bytes=WHOLE), US) == checkpoint


def _note_bytes(parsed: ParsedNote) -> bytes:
    lines = "".join(map(_line, parsed.lines))
    return f"{parsed.origin}\n{parsed.size}\n{encode_base64(parsed.root)}\n\n{lines}".encode()


def _line(line: NoteLine) -> str:
    return f"\u2014 {line.name} {encode_base64(line.key_id + line.signature)}\n"


def tlog_proof(data: bytes) -> None:
    parsed = from_tlog_proof(data)
    assert _proof_bytes(parsed) == data
    with suppress(EncodingError):
        parsed.parsed_note()


def _proof_bytes(proof: ExportedProof) -> bytes:
    path = "".join(f"{encode_base64(node)}\n" for node in proof.path)
    head = f"c2sp.org/tlog-proof@v1\nextra {encode_base64(proof.entry)}\nindex {proof.index}\n{path}\n"
    return head.encode() + proof.note


def entry(data: bytes) -> None:
    assert encode_entry(decode_entry(data)) == data


def statement(data: bytes) -> None:
    """A proof under a head that its agency signed, alone and as a group of a round."""
    proof = proof_from_wire(decode(data, max_bytes=WHOLE), PEER)
    assert encode(proof_to_wire(proof)) == data
    facts = EnvelopeFacts(PEER, US, EnvelopeId(bytes(16)), bytes(32))
    with believing(), suppress(StatementError):
        verify_statement(proof, _agency(PEER).keys, facts)
    with suppress(StatementError):
        verify_group(proof.checkpoint, [proof.index], [proof.entry], proof.path, _agency(PEER).keys, [facts])


def tree(data: bytes) -> None:
    """`[size, root, [[index, leaf]…], nodes]`, as they come out of a group."""
    fields = take_array(decode(data, max_bytes=WHOLE), length=4)
    size, root = take_int(fields[0]), take_bytes(fields[1])
    pairs = [take_array(pair, length=2) for pair in take_array(fields[2], max_length=64)]
    leaves = [(take_int(index), take_bytes(leaf)) for index, leaf in pairs]
    nodes = [take_bytes(node) for node in take_array(fields[3], max_length=256)]
    first, leaf = leaves[0] if leaves else (0, bytes(32))
    with suppress(LogProofError):
        verify_inclusion(leaf, first, size, nodes, root)
    with suppress(LogProofError):
        verify_consistency(first, size, nodes, leaf, root)
    paths = verify_multi(size, root, leaves, nodes)
    for (index, hashed), path in zip(leaves, paths, strict=True):
        verify_inclusion(hashed, index, size, path, root)


# --- the envelope -----------------------------------------------------------------------------------------------------


def header(data: bytes) -> None:
    assert encode_header(decode_header(data)) == data


HEADER = Header(EnvelopeId(seed("envelope")[:16]), PEER, US, 1, Precedence.FLASH, NOW, NOW + 1, bytes(32))


def sealed_plaintext(data: bytes) -> None:
    """What HPKE gives back, from a sender whose commitment is right: inflating, padding, the fields inside."""
    padded = data.ljust(next((size for size in PADDED_SIZES if size >= len(data)), 0), b"\x00")
    inflater = zlib.decompressobj(-15)
    try:
        plaintext = inflater.decompress(padded, MAX_PLAINTEXT_BYTES + 1)
    except zlib.error:
        plaintext = b""
    _open(padded, plaintext[:OPENING_BYTES], plaintext[OPENING_BYTES:])


def rest(data: bytes) -> None:
    """The fields inside alone, so that mutations need not get through DEFLATE."""
    squeezed = zlib.compressobj(0, zlib.DEFLATED, -15)
    plaintext = bytes(OPENING_BYTES) + data
    packed = squeezed.compress(plaintext) + squeezed.flush()
    size = next((size for size in PADDED_SIZES if size >= len(packed)), None)
    if size is not None:
        _open(packed.ljust(size, b"\x00"), bytes(OPENING_BYTES), data)


def _open(padded: bytes, opening: bytes, inside: bytes) -> None:
    committed = replace(HEADER, commitment=commitment_of(opening, inside))
    opened = open_envelope(encode_header(committed), committed, b"", lambda *_: padded)
    assert len(opened.opening) + len(opened.rest) <= MAX_PLAINTEXT_BYTES
    numbers = (opened.generation, opened.number, opened.message_id, opened.content)
    assert encode_rest(PEER, US, HEADER.envelope_id, *numbers) == opened.rest


def hpke_body(data: bytes) -> None:
    """`enc || ct` that nobody sealed to us: it never opens, whatever it is."""
    with suppress(KeysError):
        _epoch_pair().open(b"info", data)
        raise AssertionError("opened")


@cache
def _epoch_pair() -> EpochKeyPair:
    return EpochKeyPair.from_seed(sha256(b"fuzz").digest())


# --- what two nodes say to each other ---------------------------------------------------------------------------------


def round_(data: bytes) -> None:
    assert encode_round(decode_round(data, speaker=PEER, listener=US)) == data


def round_error(data: bytes) -> None:
    assert decode_error(encode_error(decode_error(data))) == decode_error(data)


# --- what people hand each other --------------------------------------------------------------------------------------


def card_text(data: bytes) -> None:
    """As a file and as pasted text. What is taken is what encodes to the same bytes, whatever stood around it."""
    _card(data)
    with suppress(CardError):
        parse_card(text_of(data))


def card(data: bytes) -> None:
    """The bytes of a card whose maker signed whatever is in it."""
    with believing():
        _card(data)


def _card(data: bytes) -> None:
    found: Card = parse_card(data).card
    if BEGIN_LINE.encode() not in data:
        assert encode_card(found) == data


def evidence_file(data: bytes) -> None:
    verify_evidence(data)


def evidence(data: bytes) -> None:
    """The same from somebody who signed all of it, with a card at hand."""
    with believing():
        verify_evidence(data, trusted={US: "9KZ8-P64K-RH6Y-NS4Q-JPX5"}, require_trust=True)


TARGETS = (
    Target("encoding", encoding, (EncodingError,), executions=400 * 6),
    Target("takers", takers, (EncodingError,), executions=200 * 6),
    Target("names", names, longest=128, executions=300 * 6),
    Target("safety_code", code, (EncodingError,), longest=64, executions=200 * 6),
    Target("anchor", anchor, (AnchorError, EncodingError), longest=16_384, executions=60 * 6),
    Target("certificate", certificate, (BadKeyError,), longest=2_048, executions=60 * 6),
    Target("note", note, (EncodingError,), longest=8_192, executions=80 * 6),
    Target("tlog_proof", tlog_proof, (EncodingError,), longest=8_192, executions=80 * 6),
    Target("entry", entry, (EncodingError,), longest=8_192, executions=200 * 6),
    Target("statement", statement, (EncodingError,), longest=8_192, executions=60 * 6),
    Target("tree", tree, (EncodingError, LogProofError), executions=200 * 6),
    Target("header", header, (EncodingError,), longest=512, executions=200 * 6),
    Target("sealed_plaintext", sealed_plaintext, (RefusalError,), executions=150 * 6),
    Target("rest", rest, (RefusalError,), executions=200 * 6),
    Target("hpke_body", hpke_body, longest=2_200, executions=30 * 6),
    Target("round", round_, (EncodingError,), longest=16_384, executions=150 * 6),
    Target("round_error", round_error, (EncodingError,), longest=256, executions=100 * 6),
    Target("card_text", card_text, (CardError,), longest=32_768, executions=20 * 6),
    Target("card", card, (CardError,), longest=32_768, executions=40 * 6),
    Target("evidence_file", evidence_file, (EvidenceError,), longest=32_768, executions=20 * 6),
    Target("evidence", evidence, (EvidenceError,), longest=32_768, executions=40 * 6),
)
