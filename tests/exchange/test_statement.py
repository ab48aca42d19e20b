"""Statements: one world in which a proof holds, and for each step of PROTOCOL §7.1 one way in which it does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.checkpoint import checkpoint_note
from exchange.entry import MAX_ENTRY_BYTES
from exchange.envelope import SealedEnvelope
from exchange.errors import ProtocolBugError, StatementError, StatementProblem
from exchange.log import multi_proof
from exchange.proof import MAX_EXPORTED_BYTES
from exchange.statement import (
    AgencyKeys,
    AnyProof,
    AuditHead,
    Custody,
    Entry,
    EnvelopeFacts,
    EpochKey,
    Head,
    Issued,
    KeyChange,
    KeyDestroyed,
    LogOpened,
    Profile,
    Proof,
    Receipt,
    Refused,
    Statement,
    add_key_change,
    build_agency_keys,
    decode_entry,
    encode_entry,
    from_tlog_proof,
    proof_from_wire,
    proof_to_wire,
    signing_pair,
    statement_proof,
    to_tlog_proof,
    verify_group,
    verify_head,
    verify_statement,
    with_key_changes,
)
from keys.encoding import Value, decode, encode
from keys.errors import AnchorError, EncodingError, KeyConflictError
from keys.ids import AgencyId, EnvelopeId, GatewayName, Origin
from keys.signing import NodeKeyPair, NodePublicPair, verify_labelled
from tests.exchange.agencies import (
    NOW,
    Agency,
    facts_of,
    filler,
    make_agency,
    make_envelope,
    make_test_anchor,
    node_pair,
    root_pair,
    seed,
)

HASH = seed("hash")
SALT = HASH[:16]
ID = EnvelopeId(HASH[16:])
HEAD = Head(GatewayName("gw1"), 1, 3, HASH)
BKA = AgencyId("bka.de")
PAIR = node_pair("bka.de", 9)
PAIRS = [node_pair("bka.de", number).public for number in (1, 2)]

ENTRIES: list[Entry] = [
    Issued(SALT, NOW, ID, HASH),
    Custody(SALT, NOW, BKA, ID, HASH, HEAD),
    Receipt(SALT, NOW, BKA, ID, HASH, HEAD),
    Refused(SALT, NOW, BKA, ID, HASH, HEAD, "policy_denied"),
    EpochKey(SALT, NOW, 1, NOW, bytes(1_216)),
    KeyChange(SALT, NOW, PAIR.public, bytes(64), bytes(2_420)),
    Profile(SALT, NOW, ("https://a:1",), (), ("de",), "+49", 4_194_304, 1_024, ("H0",)),
    LogOpened(SALT, NOW, 1, 7, HASH, "rollback"),
    KeyDestroyed(SALT, NOW, 1),
    AuditHead(SALT, NOW, 7, HASH),
]


# --- entries ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: type(entry).__name__)
def test_an_entry_comes_back_from_its_bytes(entry: Entry) -> None:
    assert decode_entry(encode_entry(entry)) == entry


def test_each_type_has_its_number() -> None:
    numbers = [decode(encode_entry(entry), max_bytes=MAX_ENTRY_BYTES) for entry in ENTRIES]
    assert [fields[0] for fields in numbers if isinstance(fields, list)] == list(range(1, 11))


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: type(entry).__name__)
def test_an_entry_with_a_field_more_or_less_is_none(entry: Entry) -> None:
    fields = decode(encode_entry(entry), max_bytes=MAX_ENTRY_BYTES)
    assert isinstance(fields, list)
    for other in (fields[:-1], [*fields, None], [*fields[:2]], []):
        with pytest.raises(EncodingError):
            decode_entry(encode(other))


@pytest.mark.parametrize(
    "fields",
    [
        [0, SALT, NOW, ID, HASH],
        [11, SALT, NOW, ID, HASH],
        [True, SALT, NOW, ID, HASH],
        [1, SALT[1:], NOW, ID, HASH],
        [1, SALT, "now", ID, HASH],
        [1, SALT, NOW, ID, HASH[1:]],
        [3, SALT, NOW, "BKA", ID, HASH, ["gw1", 1, 3, HASH]],
        [3, SALT, NOW, "bka.de", ID, HASH, ["gw1", 0, 3, HASH]],
        [4, SALT, NOW, "bka.de", ID, HASH, ["gw1", 1, 3, HASH], "Policy denied"],
        [5, SALT, NOW, 0, NOW, bytes(1_216)],
        [5, SALT, NOW, 1, NOW, bytes(1_215)],
        [6, SALT, NOW, bytes(32), bytes(1_312), bytes(64), bytes(2_420)],
        [7, SALT, NOW, [["https://a:1"], [], [], "", [1, 2]]],
        [7, SALT, NOW, [[1], [], [], "", [1, 2], []]],
        [8, SALT, NOW, 1, 7, HASH, "boredom"],
        [9, SALT, NOW, 0],
        [9, SALT, 253_402_300_800_000, 1],
        [10, SALT, NOW, -0, HASH[1:]],
    ],
    ids=str,
)
def test_an_entry_of_another_shape_is_none(fields: Value) -> None:
    with pytest.raises(EncodingError):
        decode_entry(encode(fields))


def test_an_entry_that_could_not_be_read_back_is_not_written() -> None:
    with pytest.raises(EncodingError):
        encode_entry(Refused(SALT, NOW, BKA, ID, HASH, HEAD, "Not a code"))
    with pytest.raises(EncodingError):
        encode_entry(LogOpened(SALT, NOW, 1, 7, HASH, "boredom"))


@given(st.binary(max_size=300))
def test_any_bytes_are_an_entry_or_an_encoding_error(data: bytes) -> None:
    try:
        entry = decode_entry(data)
    except EncodingError:
        return
    assert encode_entry(entry) == data


# --- one world --------------------------------------------------------------------------------------------------------


@dataclass
class World:
    """ponal.co sent bka.de an envelope, and holds its receipt."""

    ponal: Agency
    bka: Agency
    sealed: SealedEnvelope
    issued: Proof
    receipt: Proof

    @property
    def facts(self) -> EnvelopeFacts:
        return facts_of(self.sealed)


def make_world() -> World:
    ponal, bka = make_agency("ponal.co"), make_agency("bka.de")
    filler(ponal, 3)
    filler(bka, 5)
    sealed = make_envelope("ponal.co", "bka.de")
    issued = ponal.issue(sealed)
    receipt = bka.receipt(sealed, ponal.log.head())
    return World(ponal, bka, sealed, issued, receipt)


WORLD = make_world()


def exported(proof: Proof, pair: NodePublicPair) -> AnyProof:
    return from_tlog_proof(to_tlog_proof(proof, pair))


def why(proof: AnyProof, keys: AgencyKeys, facts: EnvelopeFacts | None) -> tuple[StatementProblem, int]:
    with pytest.raises(StatementError) as caught:
        verify_statement(proof, keys, facts)
    return caught.value.reason, caught.value.step


@pytest.mark.parametrize("form", ["compact", "exported"])
def test_what_was_said_is_a_statement(form: str) -> None:
    proof: AnyProof = WORLD.receipt if form == "compact" else exported(WORLD.receipt, WORLD.bka.pair.public)
    statement = verify_statement(proof, WORLD.bka.keys, WORLD.facts)
    assert statement.agency == "bka.de"
    assert statement.origin == WORLD.bka.log.origin
    assert isinstance(statement.entry, Receipt)
    assert statement.pair == WORLD.bka.pair.public
    assert statement.is_current
    assert statement_proof(statement) == WORLD.receipt


def test_both_forms_give_the_same_statement() -> None:
    compact = verify_statement(WORLD.issued, WORLD.ponal.keys, WORLD.facts)
    assert verify_statement(exported(WORLD.issued, WORLD.ponal.pair.public), WORLD.ponal.keys, WORLD.facts) == compact


# --- (1) the entry ----------------------------------------------------------------------------------------------------


def logged(agency: Agency, entry: bytes) -> Proof:
    """Bytes that really lie in the agency's log: only what they are is wrong with them."""
    return agency.log.proof(agency.log.commit(entry))


@pytest.mark.parametrize(
    "entry",
    [
        b"",
        b"no entry",
        encode([1, SALT, NOW, ID]),
        encode([99, SALT, NOW]),
        encode_entry(ENTRIES[0]) + b"\0",
        b"\xdc\x00\x05" + encode_entry(ENTRIES[0])[1:],
        bytes(MAX_ENTRY_BYTES + 1),
    ],
)
def test_step_1_an_entry_that_is_none_is_refused_wherever_it_lies(entry: bytes) -> None:
    agency = make_agency("bka.de")
    filler(agency, 2)
    assert why(logged(agency, entry), agency.keys, None) == (StatementProblem.BAD_ENCODING, 1)


# --- (2) the path -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda proof: replace(proof, index=proof.index + 1),
        lambda proof: replace(proof, index=proof.checkpoint.size),
        lambda proof: replace(proof, path=proof.path[:-1]),
        lambda proof: replace(proof, path=(*proof.path, bytes(32))),
        lambda proof: replace(proof, path=(bytes(32), *proof.path[1:])),
        lambda proof: replace(proof, path=()),
        lambda proof: replace(proof, entry=encode_entry(Issued(SALT, NOW, ID, HASH))),
    ],
)
@pytest.mark.parametrize("form", ["compact", "exported"])
def test_step_2_a_path_that_does_not_lead_to_the_root_is_refused(change: Callable[[Proof], Proof], form: str) -> None:
    proof = change(WORLD.issued)
    given_proof: AnyProof = proof if form == "compact" else exported(proof, WORLD.ponal.pair.public)
    found = why(given_proof, WORLD.ponal.keys, WORLD.facts)
    assert found == (StatementProblem.BAD_INCLUSION_PROOF, 2)


# --- (3) the note -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda note: note.replace(b"\n\n", b"\nextension\n\n"),
        lambda note: note.replace(b"\n4\n", b"\n04\n"),
        lambda note: note.replace(b"=\n\n", b"\n\n"),
        lambda note: note.replace(b"\n\n", b"\n", 1),
        lambda note: note[:0],
    ],
)
def test_step_3_a_note_of_another_shape_is_refused(change: Callable[[bytes], bytes]) -> None:
    proof = WORLD.issued
    note = checkpoint_note(proof.checkpoint, WORLD.ponal.pair.public)
    assert change(note) != note
    found = from_tlog_proof(to_tlog_proof(proof, WORLD.ponal.pair.public))
    assert why(replace(found, note=change(note)), WORLD.ponal.keys, WORLD.facts) == (StatementProblem.BAD_ENCODING, 3)


# --- (4) the log ------------------------------------------------------------------------------------------------------


def test_step_4_a_statement_in_a_foreign_log_is_not_this_agency_s() -> None:
    """bka.de logs what ponal.co would say, and signs it well: it stays bka.de's."""
    bka = make_agency("bka.de")
    foreign = bka.issue(WORLD.sealed)
    for proof in (foreign, exported(foreign, bka.pair.public)):
        assert why(proof, WORLD.ponal.keys, WORLD.facts) == (StatementProblem.WRONG_KEY, 4)


@pytest.mark.parametrize("origin", ["ponal.co/gw2/1", "ponal.co/gw1/01", "ponal.co/gw1", "bka.de/gw1/1"])
def test_step_4_a_gateway_that_no_anchor_names_is_refused(origin: str) -> None:
    proof = from_tlog_proof(to_tlog_proof(WORLD.issued, WORLD.ponal.pair.public))
    note = proof.note.replace(b"ponal.co/gw1/1", origin.encode())
    assert why(replace(proof, note=note), WORLD.ponal.keys, WORLD.facts) == (StatementProblem.WRONG_KEY, 4)


# --- (5) the signatures -----------------------------------------------------------------------------------------------


def rotated() -> tuple[Agency, Proof]:
    """An agency that changed its pair, and a statement under the new one."""
    agency = make_agency("ponal.co")
    filler(agency, 2)
    agency.rotate()
    return agency, agency.issue(WORLD.sealed)


def test_step_5_half_of_the_old_pair_and_half_of_the_new_are_no_signature() -> None:
    agency, issued = rotated()
    by_old = agency.log.sign(issued.checkpoint.size, node_pair("ponal.co", 1))
    mixed = replace(issued, checkpoint=replace(issued.checkpoint, ed_signature=by_old.ed_signature))
    assert why(mixed, agency.keys, WORLD.facts) == (StatementProblem.BAD_CHECKPOINT_SIGNATURE, 5)
    pairs = (node_pair("ponal.co", 1).public, agency.pair.public)
    text, lines = checkpoint_note(issued.checkpoint, pairs[1]).split(b"\n\n")
    old_lines = checkpoint_note(by_old, pairs[0]).split(b"\n\n")[1]
    note = text + b"\n\n" + old_lines.splitlines(keepends=True)[0] + lines.splitlines(keepends=True)[1]
    found = replace(from_tlog_proof(to_tlog_proof(issued, pairs[1])), note=note)
    assert why(found, agency.keys, WORLD.facts) == (StatementProblem.BAD_CHECKPOINT_SIGNATURE, 5)


@pytest.mark.parametrize("missing", [0, 1])
def test_step_5_one_line_of_two_is_no_signature(missing: int) -> None:
    proof = from_tlog_proof(to_tlog_proof(WORLD.issued, WORLD.ponal.pair.public))
    text, signatures = proof.note.split(b"\n\n")
    lines = signatures.splitlines(keepends=True)
    del lines[missing]
    one = replace(proof, note=text + b"\n\n" + b"".join(lines))
    assert why(one, WORLD.ponal.keys, WORLD.facts) == (StatementProblem.BAD_CHECKPOINT_SIGNATURE, 5)


@pytest.mark.parametrize("changed", [{"ed_signature": bytes(64)}, {"mldsa_signature": bytes(2_420)}, {"timestamp": 1}])
def test_step_5_a_signature_that_does_not_verify_is_none(changed: dict[str, object]) -> None:
    proof = replace(WORLD.issued, checkpoint=replace(WORLD.issued.checkpoint, **changed))  # type: ignore[arg-type]
    assert why(proof, WORLD.ponal.keys, WORLD.facts) == (StatementProblem.BAD_CHECKPOINT_SIGNATURE, 5)


def test_step_5_a_stranger_s_pair_is_no_signature() -> None:
    ponal = make_agency("ponal.co")
    ponal.log.pair = node_pair("mallory.example", 1)
    forged = ponal.issue(WORLD.sealed)
    assert why(forged, WORLD.ponal.keys, WORLD.facts) == (StatementProblem.BAD_CHECKPOINT_SIGNATURE, 5)


def test_step_5_a_checkpoint_signed_in_another_log_s_name_does_not_carry_over() -> None:
    """The same pair signs two generations; a checkpoint of one is none of the other."""
    checkpoint = replace(WORLD.issued.checkpoint, origin=Origin(AgencyId("ponal.co"), GatewayName("gw1"), 2))
    moved = replace(WORLD.issued, checkpoint=checkpoint)
    assert why(moved, WORLD.ponal.keys, WORLD.facts) == (StatementProblem.BAD_CHECKPOINT_SIGNATURE, 5)


# --- (6) the pair covers the size -------------------------------------------------------------------------------------


def backdated(thief: NodeKeyPair, agency: Agency, size: int) -> Proof:
    """A statement that a thief of an old pair puts into a fork of the log beyond `size`, years earlier by its time."""
    fork = agency.fork(size, thief)
    entry = Issued(agency.salt(), NOW - 10**9, WORLD.sealed.header.envelope_id, WORLD.sealed.envelope_hash)
    index = fork.commit(entry)
    checkpoint = fork.sign(fork.size, thief, timestamp=1)
    return replace(fork.proof(index), checkpoint=checkpoint)


@pytest.mark.parametrize("form", ["compact", "exported"])
def test_step_6_a_retired_key_is_refused_even_with_a_backdated_timestamp(form: str) -> None:
    agency, _ = rotated()
    old = node_pair("ponal.co", 1)
    forged = backdated(old, agency, agency.changes[0].checkpoint.size)
    proof: AnyProof = forged if form == "compact" else exported(forged, old.public)
    assert why(proof, agency.keys, WORLD.facts) == (StatementProblem.KEY_NOT_VALID, 6)


def test_step_6_without_the_key_change_the_old_pair_is_still_the_one() -> None:
    """As far as the key changes at hand go: this is why a verifier takes those of a card that it trusts."""
    agency, _ = rotated()
    forged = backdated(node_pair("ponal.co", 1), agency, agency.changes[0].checkpoint.size)
    statement = verify_statement(forged, build_agency_keys(agency.anchors, ()), WORLD.facts)
    assert statement.is_current


def test_step_6_a_new_pair_does_not_sign_sizes_before_its_change() -> None:
    agency, _ = rotated()
    proof = replace(agency.log.proof(0, 2), checkpoint=agency.log.sign(2, agency.pair))
    filler_facts = entry_facts(agency, proof)
    assert why(proof, agency.keys, filler_facts) == (StatementProblem.KEY_NOT_VALID, 6)


def entry_facts(agency: Agency, proof: Proof) -> EnvelopeFacts:
    entry = decode_entry(proof.entry)
    assert isinstance(entry, Issued)
    return EnvelopeFacts(agency.agency, AgencyId("abc"), entry.envelope_id, entry.envelope_hash)


def test_step_6_a_thief_who_forks_before_the_change_makes_a_statement_that_is_not_current() -> None:
    """The old pair covers that size. Whether it counts is for exchange.currency."""
    agency, _ = rotated()
    forged = backdated(node_pair("ponal.co", 1), agency, 1)
    assert not verify_statement(forged, agency.keys, WORLD.facts).is_current


def test_step_6_a_revoked_gateway_says_nothing_beyond_its_base() -> None:
    agency = make_agency("ponal.co")
    filler(agency, 2)
    before = agency.issue(WORLD.sealed)
    agency.next_anchor(revoke=True)
    assert not verify_statement(before, agency.keys, WORLD.facts).is_current
    after = agency.issue(WORLD.sealed)
    assert why(after, agency.keys, WORLD.facts) == (StatementProblem.KEY_NOT_VALID, 6)


# --- (7) the issuer, (8) the envelope ---------------------------------------------------------------------------------


def test_step_7_nobody_issues_in_another_s_name() -> None:
    facts = replace(WORLD.facts, sender=AgencyId("fbi.us"))
    assert why(WORLD.issued, WORLD.ponal.keys, facts) == (StatementProblem.RECIPIENT_MISMATCH, 7)


def test_step_7_only_the_recipient_receipts_or_refuses() -> None:
    facts = replace(WORLD.facts, recipient=AgencyId("fbi.us"))
    assert why(WORLD.receipt, WORLD.bka.keys, facts) == (StatementProblem.RECIPIENT_MISMATCH, 7)
    refused = make_agency("bka.de").refuse(WORLD.sealed, WORLD.ponal.log.head())
    assert why(refused, WORLD.bka.keys, facts) == (StatementProblem.RECIPIENT_MISMATCH, 7)


def test_step_7_custody_is_neither_the_sender_s_nor_the_recipient_s() -> None:
    relay, bka = make_agency("relay.int"), make_agency("bka.de")
    header, head = WORLD.sealed.header, WORLD.ponal.log.head()

    def custody(salt: bytes, time: int) -> Custody:
        return Custody(salt, time, header.sender, header.envelope_id, WORLD.sealed.envelope_hash, head)

    assert verify_statement(relay.say(custody), relay.keys, WORLD.facts).agency == "relay.int"
    assert why(bka.say(custody), bka.keys, WORLD.facts) == (StatementProblem.RECIPIENT_MISMATCH, 7)


@pytest.mark.parametrize(
    "changed", [{"envelope_id": EnvelopeId(bytes(16))}, {"envelope_hash": bytes(32)}], ids=lambda one: next(iter(one))
)
@pytest.mark.parametrize("whose", ["issued", "receipt"])
def test_step_8_a_statement_cannot_be_moved_to_another_envelope(whose: str, changed: dict[str, object]) -> None:
    facts = replace(WORLD.facts, **changed)  # type: ignore[arg-type]
    proof, keys = {"issued": (WORLD.issued, WORLD.ponal.keys), "receipt": (WORLD.receipt, WORLD.bka.keys)}[whose]
    assert why(proof, keys, facts) == (StatementProblem.CONTENT_MISMATCH, 8)


def test_step_8_a_receipt_names_the_sender_too() -> None:
    facts = replace(WORLD.facts, sender=AgencyId("fbi.us"))
    assert why(WORLD.receipt, WORLD.bka.keys, facts) == (StatementProblem.CONTENT_MISMATCH, 8)


def test_step_8_without_the_envelope_at_hand_nothing_is_said_about_it() -> None:
    assert why(WORLD.receipt, WORLD.bka.keys, None) == (StatementProblem.CONTENT_MISMATCH, 8)


def test_entries_about_the_agency_need_no_envelope() -> None:
    bka = make_agency("bka.de")
    for entry in (ENTRIES[4], ENTRIES[6], ENTRIES[8], ENTRIES[9]):
        assert verify_statement(logged(bka, encode_entry(entry)), bka.keys).entry == entry


def test_the_first_step_that_fails_names_the_reason() -> None:
    """Everything is wrong with this one; it is put right from the first step on."""
    stranger = make_agency("mallory.example")
    bad = logged(stranger, b"no entry")
    assert why(replace(bad, path=(bytes(32),)), WORLD.ponal.keys, None)[1] == 1
    proof = stranger.issue(WORLD.sealed)
    assert why(replace(proof, path=(bytes(32),)), WORLD.ponal.keys, None)[1] == 2
    assert why(proof, WORLD.ponal.keys, None)[1] == 4


# --- groups -----------------------------------------------------------------------------------------------------------


def group(agency: Agency, count: int) -> tuple[list[int], list[bytes], list[EnvelopeFacts | None]]:
    """`count` issued entries of one commit, and what they are about."""
    envelopes = [make_envelope(agency.agency, "bka.de", number=number) for number in range(1, count + 1)]
    first = agency.log.commit(
        *(Issued(agency.salt(), NOW, one.header.envelope_id, one.envelope_hash) for one in envelopes)
    )
    indices = list(range(first, first + count))
    return indices, [agency.log.entries[index] for index in indices], [facts_of(one) for one in envelopes]


def verified(
    agency: Agency,
    indices: Sequence[int],
    entries: Sequence[bytes],
    facts: Sequence[EnvelopeFacts | None],
    nodes: Sequence[bytes] | None = None,
) -> tuple[Statement | StatementError, ...]:
    checkpoint = agency.log.checkpoints[agency.log.size]
    found = multi_proof(agency.log.reader, agency.log.size, indices) if nodes is None else nodes
    return verify_group(checkpoint, indices, entries, found, agency.keys, facts)


def test_a_group_gives_the_statements_that_single_proofs_give() -> None:
    agency = make_agency("ponal.co")
    filler(agency, 300)
    indices, entries, facts = group(agency, 20)
    filler(agency, 3)
    for statement, index, fact in zip(verified(agency, indices, entries, facts), indices, facts, strict=True):
        assert isinstance(statement, Statement)
        assert statement == verify_statement(agency.log.proof(index), agency.keys, fact)


def test_one_bad_entry_of_a_group_does_not_take_the_others_with_it() -> None:
    agency = make_agency("ponal.co")
    indices, entries, facts = group(agency, 4)
    garbage = agency.log.commit(b"no entry")
    other = replace(WORLD.facts, sender=AgencyId("fbi.us"))
    found = verified(
        agency,
        [*indices, garbage],
        [*entries, b"no entry"],
        [facts[0], other, None, replace(WORLD.facts, envelope_hash=bytes(32)), None],
    )
    problems = [(one.reason, one.step) if isinstance(one, StatementError) else None for one in found]
    assert problems == [
        None,
        (StatementProblem.RECIPIENT_MISMATCH, 7),
        (StatementProblem.CONTENT_MISMATCH, 8),
        (StatementProblem.CONTENT_MISMATCH, 8),
        (StatementProblem.BAD_ENCODING, 1),
    ]


def test_what_is_wrong_with_a_group_as_a_whole_is_raised() -> None:
    agency = make_agency("ponal.co")
    filler(agency, 1)
    indices, entries, facts = group(agency, 2)
    nodes = multi_proof(agency.log.reader, agency.log.size, indices)
    for bad in ([*nodes, bytes(32)], nodes[1:], [bytes(32) for _ in nodes]):
        with pytest.raises(StatementError) as caught:
            verified(agency, indices, entries, facts, bad)
        assert (caught.value.reason, caught.value.step) == (StatementProblem.BAD_INCLUSION_PROOF, 2)
    with pytest.raises(StatementError) as caught:
        verified(agency, indices, entries[::-1], facts)
    assert caught.value.step == 2
    agency.log.checkpoints[agency.log.size] = agency.log.sign(agency.log.size, node_pair("mallory.example", 1))
    with pytest.raises(StatementError) as caught:
        verified(agency, indices, entries, facts)
    assert caught.value.step == 5


def test_a_group_under_a_retired_pair_is_refused() -> None:
    agency, _ = rotated()
    indices, entries, facts = group(agency, 2)
    agency.log.checkpoints[agency.log.size] = agency.log.sign(agency.log.size, node_pair("ponal.co", 1), timestamp=1)
    with pytest.raises(StatementError) as caught:
        verified(agency, indices, entries, facts)
    assert (caught.value.reason, caught.value.step) == (StatementProblem.KEY_NOT_VALID, 6)


@pytest.mark.parametrize(
    ("signer", "expected"),
    [(3, (StatementProblem.KEY_NOT_VALID, 6)), (2, (StatementProblem.BAD_CHECKPOINT_SIGNATURE, 5))],
)
def test_of_a_group_the_expected_pair_and_the_three_newest_others_are_tried(
    signer: int, expected: tuple[StatementProblem, int]
) -> None:
    agency = make_agency("ponal.co")
    for _ in range(5):
        agency.rotate()
    indices, entries, facts = group(agency, 2)
    agency.log.checkpoints[agency.log.size] = agency.log.sign(agency.log.size, node_pair("ponal.co", signer))
    with pytest.raises(StatementError) as caught:
        verified(agency, indices, entries, facts)
    assert (caught.value.reason, caught.value.step) == expected


def test_a_group_that_does_not_add_up_is_our_own_mistake() -> None:
    agency = make_agency("ponal.co")
    indices, entries, facts = group(agency, 2)
    with pytest.raises(ProtocolBugError):
        verified(agency, indices, entries[:1], facts, [])


# --- heads ------------------------------------------------------------------------------------------------------------


def test_a_signed_head_is_verified_without_an_entry_and_says_whether_its_pair_is_current() -> None:
    agency, issued = rotated()
    before = agency.changes[0].checkpoint
    assert verify_head(checkpoint_note(issued.checkpoint, agency.pair.public), agency.keys) == (issued.checkpoint, True)
    old = node_pair("ponal.co", 1).public
    assert verify_head(checkpoint_note(before, old), agency.keys) == (before, False)


def test_a_head_fails_at_the_step_at_which_a_statement_under_it_would() -> None:
    agency, issued = rotated()
    note = checkpoint_note(issued.checkpoint, agency.pair.public)
    old = node_pair("ponal.co", 1)
    backdated_note = checkpoint_note(agency.log.sign(issued.checkpoint.size, old), old.public)
    for bad, expected in (
        (b"no note", (StatementProblem.BAD_ENCODING, 3)),
        (note.replace(b"ponal.co/gw1/1", b"ponal.co/gw2/1"), (StatementProblem.WRONG_KEY, 4)),
        (note.replace(b"ponal.co/gw1/1", b"ponal.co/gw1/2"), (StatementProblem.BAD_CHECKPOINT_SIGNATURE, 5)),
        (backdated_note, (StatementProblem.KEY_NOT_VALID, 6)),
    ):
        with pytest.raises(StatementError) as caught:
            verify_head(bad, agency.keys)
        assert (caught.value.reason, caught.value.step) == expected


# --- keys of an agency ------------------------------------------------------------------------------------------------


def test_key_changes_lead_from_pair_to_pair() -> None:
    agency = make_agency("bka.de")
    proofs = []
    for _ in range(3):
        filler(agency, 2)
        agency.rotate()
        proofs.append(agency.publish_profile())
    keys = agency.keys
    assert keys.changes == tuple(agency.changes)
    assert keys.changes_of("gw1") == tuple(agency.changes)
    assert keys.changes_of("gw2") == ()
    assert [verify_statement(proof, keys).is_current for proof in proofs] == [False, False, True]
    assert [signing_pair(proof, keys) for proof in proofs] == [node_pair("bka.de", n).public for n in (2, 3, 4)]


def test_the_order_in_which_changes_come_does_not_matter() -> None:
    agency = make_agency("bka.de")
    for _ in range(3):
        agency.rotate()
    bare = build_agency_keys(agency.anchors, ())
    for order in (agency.changes, agency.changes[::-1], [agency.changes[1], agency.changes[0], agency.changes[2]]):
        assert build_agency_keys(agency.anchors, order) == agency.keys
        assert with_key_changes(bare, order) == agency.keys


def test_a_change_learnt_twice_is_one() -> None:
    agency = make_agency("bka.de")
    agency.rotate()
    keys = agency.keys
    assert keys.add_change(agency.changes[0]) is keys
    again = replace(agency.changes[0], checkpoint=agency.log.sign(1, node_pair("bka.de", 1)))  # signed anew: hedged
    assert keys.add_change(again) is keys
    as_text = exported(agency.changes[0], node_pair("bka.de", 1).public)
    assert build_agency_keys(agency.anchors, [as_text]) == keys


def change_problem(agency: Agency, proof: AnyProof) -> tuple[StatementProblem, int]:
    with pytest.raises(StatementError) as caught:
        add_key_change(build_agency_keys(agency.anchors, ()), proof)
    with pytest.raises(StatementError) as built:
        build_agency_keys(agency.anchors, [proof])
    assert (built.value.reason, built.value.step) == (caught.value.reason, caught.value.step)
    return caught.value.reason, caught.value.step


def test_a_change_is_proved_by_the_checkpoint_of_its_own_commit() -> None:
    agency = make_agency("bka.de")
    agency.rotate()
    agency.publish_profile()
    assert change_problem(agency, agency.log.proof(0)) == (StatementProblem.BAD_CHECKPOINT_SIGNATURE, 5)
    by_old = replace(agency.log.proof(0), checkpoint=agency.log.sign(2, node_pair("bka.de", 1)))
    assert change_problem(agency, by_old) == (StatementProblem.BAD_INCLUSION_PROOF, 2)


def test_a_change_is_signed_by_the_pair_before_it() -> None:
    agency = make_agency("bka.de")
    agency.rotate()
    by_new = replace(agency.changes[0], checkpoint=agency.log.sign(1, agency.pair))
    assert change_problem(agency, by_new) == (StatementProblem.BAD_CHECKPOINT_SIGNATURE, 5)


def test_nobody_names_a_pair_that_is_not_his() -> None:
    agency = make_agency("bka.de")
    entry = agency.change_entry(node_pair("fbi.us", 1), signer=agency.pair)
    assert change_problem(agency, logged(agency, encode_entry(entry))) == (StatementProblem.WRONG_KEY, 7)


def test_a_change_made_for_another_log_does_not_carry_over() -> None:
    fbi = make_agency("fbi.us")
    entry = fbi.change_entry(node_pair("fbi.us", 2))
    agency = make_agency("bka.de")
    assert change_problem(agency, logged(agency, encode_entry(entry))) == (StatementProblem.WRONG_KEY, 7)


def test_a_new_pair_signs_itself_as_the_protocol_writes_it() -> None:
    agency = make_agency("bka.de")
    entry = agency.change_entry(node_pair("bka.de", 2))
    body = encode(["bka.de/gw1/1", entry.pair.ed25519, entry.pair.mldsa44])
    verify_labelled(entry.pair, "tocsin key change v1", body, entry.ed_signature, entry.mldsa_signature)


def test_another_entry_is_no_change() -> None:
    agency = make_agency("bka.de")
    assert change_problem(agency, agency.publish_profile()) == (StatementProblem.BAD_ENCODING, 1)


def test_a_change_whose_note_cannot_be_read_is_refused() -> None:
    agency = make_agency("bka.de")
    agency.rotate()
    proof = from_tlog_proof(to_tlog_proof(agency.changes[0], node_pair("bka.de", 1).public))
    assert change_problem(agency, replace(proof, note=b"no note")) == (StatementProblem.BAD_ENCODING, 3)


def test_two_changes_of_one_pair_are_a_conflict() -> None:
    agency = make_agency("bka.de")
    filler(agency, 2)
    fork = agency.fork(1)
    agency.rotate()
    thief = replace(agency, log=fork, changes=[], pairs=50)
    thief.rotate()
    for first, second in ((agency, thief), (thief, agency)):
        keys = build_agency_keys(agency.anchors, first.changes)
        with pytest.raises(KeyConflictError):
            keys.add_change(second.changes[0])
    with pytest.raises(KeyConflictError):
        build_agency_keys(agency.anchors, [*agency.changes, *thief.changes])


def test_a_pair_that_was_replaced_cannot_be_brought_back() -> None:
    agency = make_agency("bka.de")
    agency.rotate()
    old = node_pair("bka.de", 1)
    back = logged(agency, encode_entry(agency.change_entry(old)))
    with pytest.raises(KeyConflictError):
        agency.keys.add_change(back)


def test_a_higher_serial_ends_what_a_thief_of_the_node_pair_began() -> None:
    """The thief changes the pair; the agency's root names another from a base before that on."""
    agency = make_agency("bka.de")
    filler(agency, 3)
    thief = replace(agency, log=agency.fork(3), changes=[], pairs=50)
    thief.log.commit(encode_entry(ENTRIES[8]))
    stolen = thief.rotate()
    said_by_thief = thief.issue(make_envelope("bka.de", "ponal.co"))
    agency.next_anchor(new_pair=True)
    keys = build_agency_keys(agency.anchors, [stolen])
    assert keys.changes == ()
    facts = facts_of(make_envelope("bka.de", "ponal.co"))
    assert why(said_by_thief, keys, facts) == (StatementProblem.BAD_CHECKPOINT_SIGNATURE, 5)
    assert verify_statement(agency.publish_profile(), keys).is_current


def test_a_chain_of_void_changes_is_left_out_and_a_forged_one_is_not() -> None:
    agency = make_agency("bka.de")
    filler(agency, 2)
    thief = replace(agency, log=agency.fork(2), changes=[], pairs=50)
    thief.log.commit(encode_entry(ENTRIES[8]))
    void = [thief.rotate(), thief.rotate()]
    agency.next_anchor(new_pair=True)
    assert build_agency_keys(agency.anchors, void).changes == ()
    forged = replace(void[0], checkpoint=replace(void[0].checkpoint, ed_signature=bytes(64)))
    with pytest.raises(StatementError):
        build_agency_keys(agency.anchors, [forged])


def test_a_change_that_counted_under_any_of_the_anchors_is_left_out_and_not_refused() -> None:
    agency = make_agency("bka.de")
    filler(agency, 2)
    thief = replace(agency, log=agency.fork(2), changes=[], pairs=50)
    thief.log.commit(encode_entry(ENTRIES[8]))
    void = thief.rotate()
    for _ in range(3):
        agency.next_anchor(new_pair=True)
        filler(agency, 1)
        assert build_agency_keys(agency.anchors, [void]).changes == ()


def test_a_change_beyond_the_base_of_a_revoked_gateway_is_by_a_pair_that_speaks_no_more() -> None:
    agency = make_agency("bka.de")
    filler(agency, 2)
    agency.next_anchor(revoke=True)
    change = agency.rotate()
    with pytest.raises(StatementError) as caught:
        add_key_change(build_agency_keys(agency.anchors, ()), change)
    assert (caught.value.reason, caught.value.step) == (StatementProblem.KEY_NOT_VALID, 6)


def test_a_note_that_cannot_be_read_is_refused_among_good_changes_too() -> None:
    agency = make_agency("bka.de")
    agency.rotate()
    agency.rotate()
    good = [from_tlog_proof(to_tlog_proof(one, one_pair)) for one, one_pair in zip(agency.changes, PAIRS, strict=True)]
    bad = replace(good[1], note=b"no note")
    for changes in ([good[0], bad], [bad, good[0]]):
        with pytest.raises(StatementError) as caught:
            build_agency_keys(agency.anchors, changes)
        assert (caught.value.reason, caught.value.step) == (StatementProblem.BAD_ENCODING, 3)


def test_changes_before_a_new_anchor_still_count() -> None:
    agency = make_agency("bka.de")
    agency.rotate()
    early = agency.publish_profile()
    agency.next_anchor()
    late = agency.publish_profile()
    keys = agency.keys
    assert keys.changes == tuple(agency.changes)
    assert verify_statement(early, keys).pair == verify_statement(late, keys).pair == agency.pair.public


def test_a_new_generation_is_signed_by_the_pair_in_force() -> None:
    agency = make_agency("bka.de")
    filler(agency, 2)
    agency.rotate()
    opened = agency.open_generation()
    statement = verify_statement(opened, agency.keys)
    assert isinstance(statement.entry, LogOpened)
    assert statement.origin.generation == 2
    assert statement.is_current
    agency.rotate()
    assert agency.keys.changes == tuple(agency.changes)
    assert not verify_statement(opened, agency.keys).is_current


def test_anchors_of_two_roots_are_not_mixed() -> None:
    agency = make_agency("bka.de")
    other = make_test_anchor("bka.de", serial=2, node=agency.pair.public, signer=root_pair("mallory.example"))
    with pytest.raises(AnchorError):
        build_agency_keys([*agency.anchors, other], ())


def test_keys_begin_with_an_anchor() -> None:
    with pytest.raises(ProtocolBugError):
        build_agency_keys([], ())


# --- the two forms of a proof -----------------------------------------------------------------------------------------


def test_a_compact_proof_comes_back_from_its_bytes() -> None:
    wire = decode(encode(proof_to_wire(WORLD.issued)), max_bytes=100_000)
    assert proof_from_wire(wire, AgencyId("ponal.co")) == WORLD.issued


def test_an_exported_proof_is_c2sp_s_tlog_proof() -> None:
    pair = WORLD.ponal.pair.public
    data = to_tlog_proof(WORLD.issued, pair)
    lines = data.split(b"\n")
    assert lines[0] == b"c2sp.org/tlog-proof@v1"
    assert lines[1].startswith(b"extra ")
    assert lines[2] == b"index 3"
    assert data.endswith(b"\n\n" + checkpoint_note(WORLD.issued.checkpoint, pair))
    found = from_tlog_proof(data)
    assert (found.entry, found.index, found.path) == (WORLD.issued.entry, 3, WORLD.issued.path)


def test_the_proof_of_a_log_s_only_entry_has_no_path() -> None:
    agency = make_agency("bka.de")
    proof = agency.publish_profile()
    assert proof.path == ()
    assert from_tlog_proof(to_tlog_proof(proof, agency.pair.public)).path == ()


TEXT = to_tlog_proof(WORLD.issued, WORLD.ponal.pair.public)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        TEXT.replace(b"@v1", b"@v2"),
        TEXT.replace(b"extra ", b"extras "),
        TEXT.replace(b"extra ", b"extra  "),
        TEXT.replace(TEXT.split(b"\n")[1], b"extra"),
        TEXT.replace(b"index 3", b"index 03"),
        TEXT.replace(b"index 3", b"index -3"),
        TEXT.replace(b"index 3", b"index " + str(2**63).encode()),
        TEXT.replace(b"\nindex 3", b""),
        TEXT.replace(b"\n\n", b"\n"),
        TEXT.replace(b"\n\n", b"\nAAAA\n\n", 1),
        TEXT.replace(b"\n\n", b"\nAAA\n\n", 1),
        TEXT.replace(b"\n\n", b"\n" + b"A" * 43 + b"=\n" * 64 + b"\n", 1),
        TEXT.replace(b"c2sp", b"c2s\xff"),
        b" " * (MAX_EXPORTED_BYTES + 1),
    ],
)
def test_an_exported_proof_of_another_shape_is_not_read(data: bytes) -> None:
    with pytest.raises(EncodingError):
        from_tlog_proof(data)


@given(st.data())
def test_no_byte_of_an_exported_proof_can_be_changed(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(TEXT) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != TEXT[at]))
    changed = TEXT[:at] + bytes([byte]) + TEXT[at + 1 :]
    with pytest.raises((EncodingError, StatementError)):
        verify_statement(from_tlog_proof(changed), WORLD.ponal.keys, WORLD.facts)
