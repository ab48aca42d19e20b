"""The vectors of this directory get the verdicts they name; they are what generate.py makes, signatures apart."""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from exchange.card import CardError, parse_card
from exchange.checkpoint import checkpoint_from_wire, find_note_signer, mldsa_message, note_text, parse_note
from exchange.entry import decode_entry
from exchange.envelope import body_hash, decode_header, envelope_hash, open_envelope, verify_commitment
from exchange.errors import EvidenceError, RefusalError, StatementError
from exchange.evidence import verify_evidence
from exchange.log import LogProofError, leaf_hash, verify_consistency, verify_multi
from exchange.proof import Proof, from_tlog_proof, proof_from_wire
from exchange.statement import AnyProof, EnvelopeFacts, build_agency_keys, verify_statement
from keys.anchor import anchor_from_wire
from keys.encoding import decode
from keys.errors import BadSignatureError, EncodingError
from keys.ids import AgencyId, EnvelopeId, format_uuid, parse_origin
from keys.sealing import EpochKeyPair, open_sealed
from keys.signing import NodePublicPair
from tests.vectors import generate

HERE = Path(__file__).resolve().parent
MAX_BYTES = 1_048_576
Vector = dict[str, Any]


def vectors(name: str) -> list[Vector]:
    document = json.loads((HERE / name).read_text())
    assert document["v"] == 1
    found: list[Vector] = document["vectors"]
    return found


def of(file: str) -> pytest.MarkDecorator:
    """One test for each vector of a file, named as it is."""
    found = vectors(file)
    return pytest.mark.parametrize("vector", found, ids=[vector["name"] for vector in found])


def refused(reason: str, step: int | None = None) -> Vector:
    return generate.refused(reason, step)


@pytest.mark.parametrize("file", list(generate.FILES))
def test_the_files_are_what_the_generator_makes(file: str) -> None:
    section, make = generate.FILES[file]
    assert json.loads((HERE / file).read_text())["section"] == section
    made = [(vector["name"], vector["expect"], sorted(vector)) for vector in make()]
    assert [(vector["name"], vector["expect"], sorted(vector)) for vector in vectors(file)] == made


@of("tree.json")
def test_tree(vector: Vector) -> None:
    root = bytes.fromhex(vector["root"])
    try:
        if "consistency" in vector:
            nodes = [bytes.fromhex(node) for node in vector["consistency"]]
            verify_consistency(vector["first"], vector["size"], nodes, bytes.fromhex(vector["first_root"]), root)
            found: list[list[str]] = []
        else:
            leaves = [(index, leaf_hash(index.to_bytes(8, "big"))) for index in vector["indices"]]
            paths = verify_multi(vector["size"], root, leaves, [bytes.fromhex(node) for node in vector["nodes"]])
            found = [[node.hex() for node in path] for path in paths]
        assert vector["expect"] == generate.OK
        assert vector.get("paths", []) == found
    except LogProofError:
        assert vector["expect"] == refused("bad_inclusion_proof")


@of("entry.json")
def test_entry(vector: Vector) -> None:
    data = bytes.fromhex(vector["entry"])
    try:
        entry = decode_entry(data)
        assert vector["expect"] == generate.OK
        assert type(entry).__name__ == vector["name"].title().replace(" ", "")
        assert leaf_hash(data).hex() == vector["leaf"]
    except EncodingError:
        assert vector["expect"] == refused("bad_encoding", 1)


@of("checkpoint.json")
def test_checkpoint(vector: Vector) -> None:
    origin = parse_origin(vector["origin"])
    pairs = [NodePublicPair(b64decode(ed25519), b64decode(mldsa44)) for ed25519, mldsa44 in vector["pairs"]]
    try:
        checkpoint, pair = find_note_signer(parse_note(vector["note"].encode()), origin, pairs)
    except EncodingError:
        assert vector["expect"] == refused("bad_encoding", 3)
        return
    except BadSignatureError:
        assert vector["expect"] == refused("bad_checkpoint_signature", 5)
        return
    assert vector["expect"] == generate.OK
    assert pair == pairs[0]
    if "compact" in vector:
        size, root, timestamp = vector["size"], bytes.fromhex(vector["root"]), vector["timestamp"]
        assert checkpoint_from_wire(decode(b64decode(vector["compact"]), max_bytes=MAX_BYTES), origin.agency) == (
            checkpoint
        )
        assert note_text(origin, size, root).hex() == vector["ed25519_message"]
        assert mldsa_message(origin, size, root, timestamp).hex() == vector["mldsa44_message"]


@of("statement.json")
def test_statement(vector: Vector) -> None:
    anchors = [anchor_from_wire(decode(b64decode(anchor), max_bytes=MAX_BYTES)) for anchor in vector["anchors"]]
    agency = AgencyId(vector["agency"])
    keys = build_agency_keys(anchors, [_proof(change, agency) for change in vector["key_changes"]])
    envelope = vector["envelope"]
    facts = None
    if envelope is not None:
        facts = EnvelopeFacts(
            AgencyId(envelope["from"]),
            AgencyId(envelope["to"]),
            EnvelopeId(bytes.fromhex(envelope["envelope_id"])),
            bytes.fromhex(envelope["envelope_hash"]),
        )
    forms: list[AnyProof] = [from_tlog_proof(vector["tlog_proof"].encode())]
    if vector["proof"] is not None:
        forms.append(_proof(vector["proof"], AgencyId(vector["proof_agency"])))
    for proof in forms:
        try:
            statement = verify_statement(proof, keys, facts)
            verdict = {**generate.OK, "current": statement.is_current}
        except StatementError as error:
            verdict = refused(error.reason, error.step)
        assert verdict == vector["expect"]


def _proof(text: str, agency: AgencyId) -> Proof:
    return proof_from_wire(decode(b64decode(text), max_bytes=MAX_BYTES), agency)


@of("envelope.json")
def test_envelope(vector: Vector) -> None:
    data = bytes.fromhex(vector["header"])
    try:
        header = decode_header(data)
    except EncodingError:
        assert vector["expect"] == refused("malformed", 6)
        return

    def decrypt(info: bytes, body: bytes) -> bytes:
        return bytes.fromhex(vector["padded"])

    if vector["expect"] != generate.OK:
        with pytest.raises(RefusalError) as caught:
            open_envelope(data, header, b"", decrypt)
        assert vector["expect"] == refused(caught.value.code, caught.value.step)
        return
    opened = open_envelope(data, header, b"", decrypt)
    if "body" in vector:
        body, epoch = bytes.fromhex(vector["body"]), EpochKeyPair.from_seed(bytes.fromhex(vector["epoch_seed"]))
        assert epoch.public.hex() == vector["epoch_public"]
        assert open_sealed(epoch, bytes.fromhex(vector["info"]), body).hex() == vector["padded"]
        assert open_envelope(data, header, body, lambda info, sealed: open_sealed(epoch, info, sealed)) == opened
        assert (opened.message_id.hex(), [opened.generation, opened.number]) == (
            vector["message_id"],
            vector["number"],
        )
        assert opened.content.decode() == vector["content"]
        assert header.commitment.hex() == vector["commitment"]
        opening, rest = bytes.fromhex(vector["opening"]), bytes.fromhex(vector["rest"])
        assert verify_commitment(header, opening, rest) == opened
        assert body_hash(body).hex() == vector["body_hash"]
        assert envelope_hash(data, body_hash(body)).hex() == vector["envelope_hash"]


@of("card.json")
def test_card(vector: Vector) -> None:
    if vector["expect"] != generate.OK:
        with pytest.raises(CardError) as caught:
            parse_card(vector["card"])
        assert vector["expect"] == refused(caught.value.reason)
        return
    card = parse_card(vector["card"])
    assert (card.agency, card.safety_code) == (vector["agency"], vector["safety_code"])
    assert (list(card.profile.endpoints), card.head.size) == (vector["endpoints"], vector["head_size"])


@of("evidence.json")
def test_evidence(vector: Vector) -> None:
    options = vector["options"]
    cards = [parse_card(card) for card in options.get("cards", [])]
    trusted = {AgencyId(agency): code for agency, code in options.get("trusted", {}).items()}
    file = b64decode(vector["file"])
    if vector["expect"]["verdict"] == "refused":
        with pytest.raises(EvidenceError) as caught:
            verify_evidence(file, trusted=trusted, extra_cards=cards)
        assert vector["expect"] == refused(caught.value.reason)
        return
    report = verify_evidence(file, trusted=trusted, extra_cards=cards)
    assert vector["expect"] == {"verdict": report.verdict}
    claims: list[list[Any]] = [[one.claim, one.agency, one.result, one.reason] for one in report.claims]
    assert sorted(claims, key=_order) == sorted(vector["claims"], key=_order)
    if "message_id" in vector:
        assert report.message_id is not None
        assert (format_uuid(report.message_id), report.case_id) == (vector["message_id"], vector["case_id"])


def _order(claim: list[Any]) -> tuple[str, str]:
    return claim[0], claim[1]
