"""Evidence: what one file proves to a stranger, and all that does not turn the verdict in a forger's favour."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exchange.card import VerifiedCard, verify_card
from exchange.checkpoint import Checkpoint
from exchange.envelope import SealedEnvelope, encode_rest
from exchange.errors import EvidenceError, EvidenceProblem, ProtocolBugError
from exchange.evidence import (
    Claim,
    ClaimKind,
    ContentItem,
    EnvelopeItem,
    EvidenceReport,
    LinkItem,
    Verdict,
    build_evidence,
    verify_evidence,
)
from exchange.evidence_file import MAX_EVIDENCE_BYTES
from exchange.saying import Saying, read_saying
from exchange.statement import AgencyKeys, Custody, Issued, Proof, build_agency_keys
from keys.encoding import Value, decode, encode
from keys.errors import EncodingError
from keys.ids import AgencyId, MessageId, format_uuid
from keys.safety_code import safety_code
from tests.exchange.agencies import (
    NOW,
    Agency,
    Log,
    filler,
    make_agency,
    make_envelope,
    make_test_anchor,
    node_pair,
    root_pair,
    seed,
)

PROVED, NOT_PROVED, CONTRADICTED = Verdict.PROVED, Verdict.NOT_PROVED, Verdict.CONTRADICTED
PONAL, BKA, FBI = AgencyId("ponal.co"), AgencyId("bka.de"), AgencyId("fbi.us")
ALERT = b'{"kind":"alert","case_id":"CO-PONAL/2026/000017","summary":"Girl, 9"}'
MESSAGE = MessageId(seed("message")[:16])


@dataclass
class File:
    """An evidence file in the making."""

    agencies: list[Agency]
    envelopes: list[SealedEnvelope] = field(default_factory=list)
    statements: list[tuple[AgencyId, Proof]] = field(default_factory=list)
    contents: list[SealedEnvelope] = field(default_factory=list)
    links: list[LinkItem] = field(default_factory=list)
    heads: list[Checkpoint] = field(default_factory=list)
    keys: dict[AgencyId, AgencyKeys] = field(default_factory=dict)

    def say(self, agency: Agency, proof: Proof) -> None:
        self.statements.append((agency.agency, proof))

    def data(self) -> bytes:
        return build_evidence(
            agencies=[self.keys.get(one.agency, one.keys) for one in self.agencies],
            links=self.links,
            heads=self.heads,
            envelopes=[EnvelopeItem(one.header_bytes, one.body_hash) for one in self.envelopes],
            statements=self.statements,
            contents=[ContentItem(one.header.envelope_id, one.opening, one.rest) for one in self.contents],
        )

    def report(self, **options: object) -> EvidenceReport:
        return verify_evidence(self.data(), **options)  # type: ignore[arg-type]


def ack_bytes(
    content: bytes = ALERT, level: str = "accepted", message_id: MessageId = MESSAGE, **more: object
) -> bytes:
    body = {
        "message_id": format_uuid(message_id),
        "content_sha256": sha256(content).hexdigest(),
        "level": level,
        "at": "2026-11-24T02:13:20.000Z",
        **more,
    }
    return json.dumps({"kind": "ack", "ack": body}).encode()


@dataclass
class Story:
    """ponal.co alerts bka.de; bka.de receipts, and a person there accepts."""

    ponal: Agency
    bka: Agency
    alert: SealedEnvelope
    ack: SealedEnvelope
    issued: Proof
    receipt: Proof
    ack_issued: Proof
    ack_receipt: Proof

    def file(self, *, content: bool = True) -> File:
        file = File([self.ponal, self.bka])
        file.envelopes = [self.alert, self.ack]
        file.contents = [self.alert, self.ack] if content else [self.ack]
        file.say(self.ponal, self.issued)
        file.say(self.bka, self.receipt)
        file.say(self.bka, self.ack_issued)
        file.say(self.ponal, self.ack_receipt)
        return file


def make_story(ack_content: bytes | None = None) -> Story:
    ponal, bka = make_agency(PONAL), make_agency(BKA)
    filler(ponal, 5)
    filler(bka, 3)
    alert = make_envelope(PONAL, BKA, ALERT, message_id=MESSAGE)
    issued = ponal.issue(alert)
    receipt = bka.receipt(alert, ponal.log.head())
    ack = make_envelope(BKA, PONAL, ack_bytes() if ack_content is None else ack_content, number=2)
    ack_issued = bka.issue(ack)
    ack_receipt = ponal.receipt(ack, bka.log.head())
    return Story(ponal, bka, alert, ack, issued, receipt, ack_issued, ack_receipt)


@cache
def story() -> Story:
    """The same for all tests that only read it."""
    return make_story()


def claimed(report: EvidenceReport) -> list[tuple[str, str, str, str | None]]:
    return [(one.claim, one.agency, one.result, one.reason) for one in report.claims]


def result_of(report: EvidenceReport, kind: str, agency: str) -> tuple[Verdict, EvidenceProblem | None]:
    (found,) = [one for one in report.claims if (one.claim, one.agency) == (kind, agency)]
    return found.result, found.reason


def refusal(data: bytes, **options: object) -> EvidenceProblem:
    with pytest.raises(EvidenceError) as caught:
        verify_evidence(data, **options)  # type: ignore[arg-type]
    return caught.value.reason


def test_the_codes_are_those_of_the_contract() -> None:
    assert list(Verdict) == ["proved", "not_proved", "contradicted"]
    assert list(ClaimKind) == [
        *("issued", "custody", "stored", "refused"),
        *("opened", "accepted", "rejected", "actioned"),
    ]


# --- what is proved ---------------------------------------------------------------------------------------------------


def test_issued_stored_and_accepted_are_proved_with_what_was_said() -> None:
    report = story().file().report()
    assert report.verdict is PROVED
    assert claimed(report) == [
        ("stored", "bka.de", "proved", None),
        ("issued", "ponal.co", "proved", None),
        ("accepted", "bka.de", "proved", None),
    ]
    assert report.message_id == MESSAGE
    assert report.case_id == "CO-PONAL/2026/000017"
    accepted = report.claims[-1]
    assert (accepted.at, accepted.envelope_id) == (1_795_486_400_000, story().ack.header.envelope_id)
    assert report.claims[0].at == NOW + 3
    assert [(one.message_id, one.kind) for one in report.claims] == [(MESSAGE, "alert")] * 3


def test_a_decision_names_its_officer() -> None:
    report = make_story(ack_bytes(officer="duty-07")).file().report()
    assert {one.claim: one.officer for one in report.claims} == {"issued": None, "stored": None, "accepted": "duty-07"}


def test_of_one_moment_what_came_first_stands_first() -> None:
    (issued,) = [one for one in story().file().report().claims if one.claim == "issued"]
    assert issued.at is not None
    same = datetime.fromtimestamp(issued.at / 1000, UTC).isoformat(timespec="milliseconds")
    report = make_story(ack_bytes(at=same)).file().report()
    assert [one.claim for one in report.claims if one.at == issued.at] == ["issued", "accepted"]


def test_a_file_with_more_key_changes_than_an_agency_can_have_is_refused_before_any_is_tried() -> None:
    fields = decode(rotated_story().file().data(), max_bytes=MAX_EVIDENCE_BYTES)
    assert isinstance(fields, list)
    changes = fields[3]
    assert isinstance(changes, list)
    (change,) = changes
    fields[3] = [change] * 256  # the same again changes nothing
    assert verify_evidence(encode(fields)).anchors
    fields[3] = [change] * 257
    with pytest.raises(EvidenceError) as raised:
        verify_evidence(encode(fields))
    assert raised.value.reason is EvidenceProblem.BAD_ENCODING


def test_without_content_the_ack_still_tells_which_message_was_accepted() -> None:
    report = story().file(content=False).report()
    assert report.verdict is PROVED
    assert (report.message_id, report.case_id) == (MESSAGE, None)
    assert result_of(report, "accepted", BKA) == (PROVED, None)


def test_machine_statements_alone_name_no_message() -> None:
    file = story().file()
    file.envelopes, file.contents, file.statements = [story().alert], [], file.statements[:2]
    report = file.report()
    assert report.verdict is PROVED
    assert (report.message_id, report.case_id) == (None, None)


def test_a_refusal_and_custody_are_claims_too() -> None:
    ponal, bka, relay = make_agency(PONAL), make_agency(BKA), make_agency("relay.int")
    alert = make_envelope(PONAL, BKA)
    file = File([ponal, bka, relay], [alert])
    file.say(ponal, ponal.issue(alert))
    head = ponal.log.head()
    file.say(bka, bka.refuse(alert, head))
    file.say(
        relay,
        relay.say(lambda salt, time: Custody(salt, time, PONAL, alert.header.envelope_id, alert.envelope_hash, head)),
    )
    found = {(one.claim, one.agency): one.result for one in file.report().claims}
    assert found == {("issued", PONAL): PROVED, ("refused", BKA): PROVED, ("custody", "relay.int"): PROVED}


def test_every_claim_of_a_fan_out_is_listed() -> None:
    ponal = make_agency(PONAL)
    recipients = [make_agency(name) for name in ("bka.de", "fbi.us", "nca.uk")]
    file = File([ponal, *recipients])
    for recipient in recipients:
        sealed = make_envelope(PONAL, recipient.agency, ALERT, message_id=MESSAGE)
        file.envelopes.append(sealed)
        file.contents.append(sealed)
        file.say(ponal, ponal.issue(sealed))
        file.say(recipient, recipient.receipt(sealed, ponal.log.head()))
    report = file.report()
    assert report.verdict is PROVED
    assert sorted(claim.claim for claim in report.claims) == ["issued"] * 3 + ["stored"] * 3
    assert report.message_id == MESSAGE


def test_a_file_about_several_messages_names_none() -> None:
    ponal = make_agency(PONAL)
    file = File([ponal])
    for number in (1, 2):
        sealed = make_envelope(PONAL, BKA, ALERT, number=number)
        file.envelopes.append(sealed)
        file.contents.append(sealed)
        file.say(ponal, ponal.issue(sealed))
    report = file.report()
    assert (report.verdict, report.message_id, report.case_id) == (PROVED, None, "CO-PONAL/2026/000017")


def test_a_file_without_statements_proves_nothing() -> None:
    report = File([make_agency(PONAL)]).report()
    assert (report.verdict, report.claims) == (NOT_PROVED, ())


def test_what_is_given_twice_is_written_once() -> None:
    file = story().file()
    once = file.data()
    file.statements *= 2
    file.envelopes *= 2
    file.contents *= 2
    assert file.data() == once


def test_the_parts_of_content_that_are_kept_make_the_content() -> None:
    alert = story().alert
    item = ContentItem.of(alert.header.envelope_id, alert.opening, PONAL, BKA, 1, 1, MESSAGE, ALERT)
    assert item == ContentItem(alert.header.envelope_id, alert.opening, alert.rest)


def test_a_statement_without_its_agency_is_our_own_mistake() -> None:
    file = story().file()
    file.agencies = [story().ponal]
    with pytest.raises(ProtocolBugError):
        file.data()


def test_a_file_beyond_16_mib_is_not_written() -> None:
    header = story().alert.header_bytes
    items = [EnvelopeItem(header, number.to_bytes(32, "big")) for number in range(MAX_EVIDENCE_BYTES // 100)]
    with pytest.raises(EncodingError):
        build_evidence(agencies=[], links=[], envelopes=items, statements=[])


# --- whom the reader trusts -------------------------------------------------------------------------------------------

CODE = {name: safety_code(AgencyId(name), root_pair(name).public) for name in (PONAL, BKA, FBI)}


def test_the_report_says_whose_codes_it_depends_on() -> None:
    report = story().file().report(trusted={PONAL: CODE[PONAL]})
    assert [(one.agency, one.safety_code, one.trusted) for one in report.anchors] == [
        (BKA, CODE[BKA], False),
        (PONAL, CODE[PONAL], True),
    ]
    assert report.verdict is PROVED


def test_a_code_is_trusted_however_it_was_typed() -> None:
    typed = CODE[PONAL].lower().replace("-", " ")
    assert story().file().report(trusted={PONAL: typed}).anchors[1].trusted
    assert story().file().report(trusted_codes=[typed]).anchors[1].trusted


def test_an_agency_under_another_root_is_contradicted() -> None:
    report = story().file().report(trusted={PONAL: CODE[FBI]})
    assert report.verdict is CONTRADICTED
    assert result_of(report, "issued", PONAL) == (CONTRADICTED, EvidenceProblem.WRONG_KEY)
    assert result_of(report, "stored", BKA) == (PROVED, None)
    assert not report.anchors[1].trusted


def test_a_nameless_code_that_fits_nobody_contradicts_whoever_is_not_trusted_otherwise() -> None:
    report = story().file().report(trusted_codes=[CODE[PONAL], CODE[FBI]])
    assert result_of(report, "issued", PONAL) == (PROVED, None)
    assert result_of(report, "stored", BKA) == (CONTRADICTED, EvidenceProblem.WRONG_KEY)


def test_a_nameless_code_that_fits_somebody_says_nothing_of_the_others() -> None:
    report = story().file().report(trusted_codes=[CODE[PONAL]])
    assert [one.trusted for one in report.anchors] == [False, True]
    assert report.verdict is PROVED
    stray = story().file().report(trusted_codes=[CODE[FBI]])
    assert {one.result for one in stray.claims} == {CONTRADICTED}


def test_a_card_brings_its_code() -> None:
    card = verify_card(story().ponal.card())
    assert story().file().report(extra_cards=[card]).anchors[1].trusted
    mallory = make_agency(PONAL)
    mallory.anchors = [make_test_anchor(PONAL, node=node_pair(PONAL, 1).public, signer=root_pair("mallory.example"))]
    forged = make_story()
    forged.ponal.anchors = mallory.anchors
    report = forged.file().report(extra_cards=[card])
    assert result_of(report, "issued", PONAL) == (CONTRADICTED, EvidenceProblem.WRONG_KEY)


def test_with_require_trust_an_unknown_agency_s_claims_are_not_proved() -> None:
    report = story().file().report(trusted={PONAL: CODE[PONAL]}, require_trust=True)
    assert report.verdict is NOT_PROVED
    assert result_of(report, "issued", PONAL) == (PROVED, None)
    assert result_of(report, "stored", BKA) == (NOT_PROVED, EvidenceProblem.WRONG_KEY)
    both = story().file().report(trusted={PONAL: CODE[PONAL], BKA: CODE[BKA]}, require_trust=True)
    assert both.verdict is PROVED


def test_what_is_no_code_is_told() -> None:
    with pytest.raises(EncodingError):
        story().file().report(trusted={PONAL: "no code"})


# --- what is missing or does not fit ----------------------------------------------------------------------------------


def test_an_envelope_that_nobody_issued_is_not_proved() -> None:
    file = story().file(content=False)
    del file.statements[0]
    report = file.report()
    assert report.verdict is NOT_PROVED
    assert result_of(report, "issued", PONAL) == (NOT_PROVED, EvidenceProblem.STATEMENT_MISSING)
    assert [one.at is None for one in report.claims] == [False, False, True]  # what has no time comes last
    assert report.claims[-1].claim == "issued"


def test_an_ack_that_was_never_issued_is_not_proved() -> None:
    file = story().file()
    del file.statements[2:]
    assert result_of(file.report(), "accepted", BKA) == (NOT_PROVED, EvidenceProblem.STATEMENT_MISSING)


def test_a_statement_about_an_envelope_that_is_not_in_the_file_is_not_proved() -> None:
    file = story().file()
    file.envelopes, file.contents = [story().alert], [story().alert]
    report = file.report()
    assert (ClaimKind.ISSUED, BKA, NOT_PROVED, EvidenceProblem.CONTENT_MISMATCH) in claimed(report)
    assert report.verdict is NOT_PROVED


def test_a_statement_about_another_body_is_not_proved() -> None:
    file = story().file(content=False)
    file.envelopes[0] = replace(file.envelopes[0], body_hash=bytes(32))
    assert result_of(file.report(), "stored", BKA) == (NOT_PROVED, EvidenceProblem.CONTENT_MISMATCH)


def test_an_ack_in_another_body_than_was_issued_is_an_ack_that_is_not_proved() -> None:
    file = story().file()
    file.envelopes[1] = replace(story().ack, body_hash=bytes(32))
    assert result_of(file.report(), "accepted", BKA) == (NOT_PROVED, EvidenceProblem.CONTENT_MISMATCH)


@pytest.mark.parametrize("other", [bytes(32), b"\xff" * 32], ids=["low", "high"])
@pytest.mark.parametrize("first", [0, 1])
def test_of_two_bodies_under_one_header_a_statement_is_about_the_one_it_names(other: bytes, first: int) -> None:
    file = story().file()
    file.envelopes.insert(first, replace(story().alert, body_hash=other))
    report = file.report()
    assert result_of(report, "issued", PONAL) == result_of(report, "stored", BKA) == (PROVED, None)


def test_content_that_was_not_committed_to_is_not_proved() -> None:
    """Everything but the words is that of the true envelope: only the commitment tells."""
    file, alert = story().file(), story().alert
    other = b'{"kind":"alert","case_id":"other"}'
    rest = encode_rest(PONAL, BKA, alert.header.envelope_id, 1, 1, MESSAGE, other)
    assert encode_rest(PONAL, BKA, alert.header.envelope_id, 1, 1, MESSAGE, ALERT) == alert.rest
    file.contents[0] = replace(alert, rest=rest)
    report = file.report()
    assert result_of(report, "issued", PONAL) == (NOT_PROVED, EvidenceProblem.CONTENT_MISMATCH)
    assert report.case_id is None


def test_content_of_another_envelope_is_not_proved() -> None:
    file = story().file()
    other = make_envelope(PONAL, BKA, b'{"kind":"alert","case_id":"other"}', message_id=MESSAGE)
    file.contents[0] = replace(other, header=replace(other.header, envelope_id=story().alert.header.envelope_id))
    assert result_of(file.report(), "issued", PONAL) == (NOT_PROVED, EvidenceProblem.CONTENT_MISMATCH)


def test_content_of_no_envelope_is_refused() -> None:
    file = story().file()
    file.contents.append(make_envelope(PONAL, FBI))
    assert refusal(file.data()) is EvidenceProblem.CONTENT_MISMATCH


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (ack_bytes(b"other bytes"), EvidenceProblem.CONTENT_MISMATCH),
        (ack_bytes(message_id=MessageId(bytes(16))), EvidenceProblem.STATEMENT_MISSING),
    ],
)
def test_an_ack_counts_for_exactly_what_it_names(said: bytes, reason: EvidenceProblem) -> None:
    report = make_story(said).file().report()
    assert result_of(report, "accepted", BKA) == (NOT_PROVED, reason)


def test_of_two_contents_under_one_message_id_an_ack_counts_for_the_one_it_names() -> None:
    told = make_story()
    file = told.file()
    second = make_envelope(PONAL, BKA, b'{"kind":"alert"}', number=2, message_id=MESSAGE)
    file.envelopes.append(second)
    file.contents.append(second)
    file.say(told.ponal, told.ponal.issue(second))
    assert result_of(file.report(), "accepted", BKA) == (PROVED, None)


@pytest.mark.parametrize("content", [True, False], ids=["on show", "not on show"])
def test_an_ack_is_of_the_kind_of_the_message_that_it_names_and_of_no_other(content: bool) -> None:
    told = make_story()
    file = told.file(content=content)
    other = make_envelope(PONAL, BKA, b'{"kind":"update"}', number=4)
    file.envelopes.append(other)
    file.contents.append(other)
    file.say(told.ponal, told.ponal.issue(other))
    (accepted,) = [one for one in file.report().claims if one.claim == "accepted"]
    assert (accepted.message_id, accepted.kind) == (MESSAGE, "alert" if content else None)


def test_an_ack_by_somebody_who_was_never_sent_the_message_does_not_count() -> None:
    told = make_story()
    fbi = make_agency(FBI)
    meddling = make_envelope(FBI, PONAL, ack_bytes(level="actioned"))
    for content in (True, False):
        file = told.file(content=content)
        file.agencies.append(fbi)
        file.envelopes.append(meddling)
        file.contents.append(meddling)
        file.say(fbi, fbi.issue(meddling))
        assert result_of(file.report(), "actioned", FBI) == (NOT_PROVED, EvidenceProblem.STATEMENT_MISSING)


@pytest.mark.parametrize(
    "said",
    [
        ack_bytes(level="stored"),
        ack_bytes(content_sha256="abc"),
        ack_bytes(content_sha256=7),
        ack_bytes(message_id=MESSAGE).replace(b"-", b""),
        b'{"kind":"ack","ack":[]}',
        b'{"kind":"ack"}',
        ack_bytes().replace(b'"level"', b'"level": "rejected", "level"'),
    ],
)
def test_what_is_no_ack_claims_nothing_but_that_it_was_issued(said: bytes) -> None:
    report = make_story(said).file().report()
    assert {one.claim for one in report.claims} == {"issued", "stored"}


@pytest.mark.parametrize("at", [None, "yesterday", "2026-11-24T02:13:20", "0001-01-01T00:00:00+14:00", 7])
def test_an_ack_without_a_readable_time_has_that_of_its_entry(at: object) -> None:
    report = make_story(ack_bytes(at=at)).file().report()
    (accepted,) = [one for one in report.claims if one.claim == "accepted"]
    assert accepted.at == NOW + 4


@pytest.mark.parametrize("level", ["opened", "accepted", "rejected", "actioned"])
def test_each_thing_that_people_say_is_a_claim(level: str) -> None:
    assert result_of(make_story(ack_bytes(level=level)).file().report(), level, BKA) == (PROVED, None)


def test_that_an_ack_arrived_is_no_claim_but_one_that_was_altered_shows() -> None:
    """Whoever changes a byte of the file is not told that all of it is proved."""
    file = story().file()
    assert all(claim.agency != PONAL or claim.claim == "issued" for claim in file.report().claims)
    forged = replace(story().ack_receipt, checkpoint=replace(story().ack_receipt.checkpoint, timestamp=1))
    file.statements[3] = (PONAL, forged)
    report = file.report()
    assert report.verdict == NOT_PROVED
    assert result_of(report, "stored", PONAL) == (NOT_PROVED, EvidenceProblem.BAD_CHECKPOINT_SIGNATURE)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"index": 0}, EvidenceProblem.BAD_INCLUSION_PROOF),
        ({"path": ()}, EvidenceProblem.BAD_INCLUSION_PROOF),
    ],
)
def test_a_statement_that_does_not_verify_is_not_proved(change: dict[str, object], reason: EvidenceProblem) -> None:
    file = story().file()
    file.statements[1] = (BKA, replace(story().receipt, **change))  # type: ignore[arg-type]
    assert result_of(file.report(), "stored", BKA) == (NOT_PROVED, reason)


def test_a_statement_in_a_foreign_log_is_not_its_agency_s() -> None:
    """ponal.co writes bka.de's receipt into its own log: well signed, and by the wrong one."""
    told = make_story()
    file = told.file()
    foreign = told.ponal.receipt(told.alert, told.ponal.log.head())
    file.statements[1] = (PONAL, foreign)
    assert result_of(file.report(), "stored", PONAL) == (NOT_PROVED, EvidenceProblem.RECIPIENT_MISMATCH)
    moved = decode(file.data(), max_bytes=MAX_EVIDENCE_BYTES)
    assert isinstance(moved, list)
    statements = moved[7]
    assert isinstance(statements, list)
    pair = statements[1]
    assert isinstance(pair, list)
    pair[0] = BKA
    assert result_of(verify_evidence(encode(moved)), "stored", BKA) == (NOT_PROVED, EvidenceProblem.WRONG_KEY)


# --- replaced keys ----------------------------------------------------------------------------------------------------


def rotated_story() -> Story:
    """After all was said, ponal.co changes its pair and goes on."""
    told = make_story()
    told.ponal.rotate()
    told.ponal.publish_profile()
    return told


def with_later_head(file: File, agency: Agency) -> File:
    """Also a statement under the agency's newest pair, whose head others can be led to."""
    profile = agency.profile
    assert profile is not None
    file.say(agency, profile)
    return file


def test_a_replaced_pair_s_statement_needs_more_than_its_signature() -> None:
    report = rotated_story().file().report()
    assert result_of(report, "issued", PONAL) == (NOT_PROVED, EvidenceProblem.KEY_NOT_VALID)
    assert result_of(report, "stored", BKA) == (PROVED, None)


def test_an_ack_under_a_replaced_pair_is_not_proved_though_it_names_the_message() -> None:
    told = make_story()
    told.bka.rotate()
    told.bka.publish_profile()
    assert result_of(told.file().report(), "accepted", BKA) == (NOT_PROVED, EvidenceProblem.KEY_NOT_VALID)


def test_a_chain_to_a_head_of_the_later_pair_is_enough() -> None:
    told = rotated_story()
    file = with_later_head(told.file(), told.ponal)
    size = told.issued.checkpoint.size
    file.links = [told.ponal.log.link(size, size + 1), told.ponal.log.link(size + 1)]
    assert file.report().verdict is PROVED


def test_a_head_in_the_file_is_one_to_lead_to() -> None:
    told = rotated_story()
    file, log = told.file(), told.ponal.log
    file.links, file.heads = [log.link(told.issued.checkpoint.size)], [log.checkpoints[log.size]]
    assert file.report().verdict is PROVED
    told.ponal.rotate()
    card = verify_card(told.ponal.card())
    assert file.report(extra_cards=[card]).verdict is NOT_PROVED


def test_a_head_that_the_old_pair_signed_leads_nowhere() -> None:
    told = rotated_story()
    file, log = told.file(), told.ponal.log
    size = told.issued.checkpoint.size
    file.links, file.heads = [log.link(size, size + 1)], [log.checkpoints[size + 1]]
    assert file.report().verdict is NOT_PROVED


def test_a_head_that_does_not_verify_is_refused() -> None:
    told = rotated_story()
    file, log = told.file(), told.ponal.log
    file.heads = [replace(log.checkpoints[log.size], timestamp=1)]
    assert refusal(file.data()) is EvidenceProblem.BAD_CHECKPOINT_SIGNATURE


def test_a_head_that_a_later_anchor_made_void_is_left_aside() -> None:
    told = make_story()
    before = told.ponal.log.size
    filler(told.ponal, 3)
    file = told.file()
    file.heads = [told.ponal.log.checkpoints[told.ponal.log.size]]
    data = file.data()
    told.ponal.log = told.ponal.fork(before)
    told.ponal.next_anchor(new_pair=True)
    report = verify_evidence(data, extra_cards=[verify_card(told.ponal.card())])
    assert result_of(report, "stored", BKA) == (PROVED, None)


def test_behind_a_head_that_was_made_void_the_others_still_count() -> None:
    told = rotated_story()
    file, log = told.file(), told.ponal.log
    before = told.bka.log.size
    filler(told.bka, 3)
    file.heads = [told.bka.log.checkpoints[told.bka.log.size], log.checkpoints[log.size]]
    file.links = [log.link(told.issued.checkpoint.size)]
    data = file.data()
    told.bka.log = told.bka.fork(before)
    told.bka.next_anchor(new_pair=True)
    report = verify_evidence(data, extra_cards=[verify_card(told.bka.card())])
    assert result_of(report, "issued", PONAL) == (PROVED, None)


def test_the_head_of_a_card_that_an_anchor_in_the_file_made_void_is_none_to_lead_to() -> None:
    told = make_story()
    before = told.ponal.log.size
    told.ponal.publish_profile()
    card, void = verify_card(told.ponal.card()), told.ponal.log
    told.ponal.log = told.ponal.fork(before)
    told.ponal.next_anchor(new_pair=True)
    file = told.file()
    file.links = [void.link(told.issued.checkpoint.size)]
    report = file.report(extra_cards=[card])
    assert result_of(report, "issued", PONAL) == (NOT_PROVED, EvidenceProblem.KEY_NOT_VALID)


def test_a_trusted_card_of_an_agency_that_the_file_does_not_name_changes_nothing() -> None:
    assert story().file().report(extra_cards=[verify_card(make_agency(FBI).card())]) == story().file().report()


def test_a_generation_that_ended_is_tied_in_by_the_entry_that_opened_the_next() -> None:
    told = make_story()
    ended = told.ponal.log
    opened = told.ponal.open_generation()
    told.ponal.rotate()
    told.ponal.publish_profile()
    file = with_later_head(told.file(), told.ponal)
    file.links = [ended.link(told.issued.checkpoint.size), told.ponal.log.link(opened.checkpoint.size)]
    assert result_of(file.report(), "issued", PONAL) == (NOT_PROVED, EvidenceProblem.KEY_NOT_VALID)
    file.say(told.ponal, opened)
    assert result_of(file.report(), "issued", PONAL) == (PROVED, None)


def test_a_chain_that_ends_in_the_air_is_not() -> None:
    told = rotated_story()
    size = told.issued.checkpoint.size
    no_head = told.file()
    no_head.links = [told.ponal.log.link(size)]
    assert no_head.report().verdict is NOT_PROVED
    gap = with_later_head(told.file(), told.ponal)
    gap.links = [told.ponal.log.link(size, size + 1)]
    assert gap.report().verdict is NOT_PROVED


def test_a_chain_to_the_base_of_a_later_anchor_is_enough() -> None:
    told = make_story()
    filler(told.ponal, 2)
    told.ponal.next_anchor(new_pair=True)
    file = told.file()
    assert file.report().verdict is NOT_PROVED
    file.links = [told.ponal.log.link(told.issued.checkpoint.size)]
    assert file.report().verdict is PROVED


def test_a_revoked_gateway_s_statements_are_proved_by_the_base_of_the_revocation() -> None:
    told = make_story()
    told.ponal.next_anchor(revoke=True)
    file = told.file()
    assert result_of(file.report(), "issued", PONAL) == (NOT_PROVED, EvidenceProblem.KEY_NOT_VALID)
    file.links = [told.ponal.log.link(told.issued.checkpoint.size)]
    assert file.report().verdict is PROVED


def test_a_key_change_on_a_trusted_card_retires_the_pair_in_an_older_file() -> None:
    told = make_story()
    before = told.file()
    data = before.data()
    assert verify_evidence(data).verdict is PROVED
    told.ponal.rotate()
    card = verify_card(told.ponal.card())
    report = verify_evidence(data, extra_cards=[card])
    assert result_of(report, "issued", PONAL) == (NOT_PROVED, EvidenceProblem.KEY_NOT_VALID)


def test_an_anchor_on_a_trusted_card_retires_the_pair_in_an_older_file() -> None:
    told = make_story()
    data = told.file().data()
    told.ponal.next_anchor(new_pair=True)
    report = verify_evidence(data, extra_cards=[verify_card(told.ponal.card())])
    assert result_of(report, "issued", PONAL) == (NOT_PROVED, EvidenceProblem.KEY_NOT_VALID)
    assert result_of(report, "stored", BKA) == (PROVED, None)


def test_a_trusted_card_that_is_older_than_the_file_does_no_harm() -> None:
    told = make_story()
    old_card = verify_card(told.ponal.card())
    told.ponal.next_anchor()
    file = with_later_head(told.file(), _profiled(told.ponal))
    assert file.report(extra_cards=[old_card]).verdict is PROVED


def test_the_head_of_a_trusted_card_is_one_to_lead_to() -> None:
    told = rotated_story()
    card = verify_card(told.ponal.card())
    file = told.file()
    file.links = [told.ponal.log.link(told.issued.checkpoint.size)]
    assert file.report(extra_cards=[card]).verdict is PROVED


def forged_story() -> tuple[Story, File]:
    """A thief of ponal.co's old pair forks its log before the change, and issues an alert that ponal.co never sent."""
    told = rotated_story()
    thief = told.ponal.fork(2, node_pair(PONAL, 1))
    forged = make_envelope(PONAL, BKA, b'{"kind":"alert","case_id":"FORGED"}', number=66)
    index = thief.commit(Issued(told.ponal.salt(), NOW - 10**9, forged.header.envelope_id, forged.envelope_hash))
    checkpoint = thief.sign(thief.size, timestamp=1)
    file = File(
        [told.ponal, told.bka], [forged], [(PONAL, replace(thief.proof(index), checkpoint=checkpoint))], [forged]
    )
    return told, file


def test_a_stolen_old_pair_proves_nothing_when_its_change_is_in_the_file() -> None:
    _, file = forged_story()
    assert result_of(file.report(), "issued", PONAL) == (NOT_PROVED, EvidenceProblem.KEY_NOT_VALID)


def test_a_stolen_old_pair_proves_nothing_when_its_change_is_on_a_trusted_card() -> None:
    told, file = forged_story()
    file.keys[PONAL] = build_agency_keys(told.ponal.anchors, ())
    data = file.data()
    assert verify_evidence(data).verdict is PROVED  # as far as the key changes in the file go
    report = verify_evidence(data, extra_cards=[verify_card(told.ponal.card())])
    assert result_of(report, "issued", PONAL) == (NOT_PROVED, EvidenceProblem.KEY_NOT_VALID)


def test_a_thief_cannot_lead_his_fork_to_the_true_log() -> None:
    told, file = forged_story()
    with_later_head(file, told.ponal)
    true = told.ponal.log
    forged_root = file.statements[0][1].checkpoint.root
    file.links = [replace(true.link(3), from_root=forged_root)]
    assert refusal(file.data()) is EvidenceProblem.BAD_INCLUSION_PROOF


def test_a_thief_who_copies_the_true_key_change_into_his_fork_gains_nothing() -> None:
    """Same place, same new pair, signed by the stolen pair: but no head of the later pair follows from it."""
    told = make_story()
    size = told.ponal.log.size
    told.ponal.rotate()
    told.ponal.publish_profile()
    change = told.ponal.log.entries[size]
    thief = told.ponal.fork(2, node_pair(PONAL, 1))
    forged = make_envelope(PONAL, BKA, b"{}", number=66)
    index = thief.commit(Issued(told.ponal.salt(), NOW, forged.header.envelope_id, forged.envelope_hash))
    while thief.size < size:
        thief.commit(b"filler")
    thief.commit(change)
    proof = thief.proof(index)
    file = with_later_head(File([told.ponal], [forged], [(PONAL, proof)]), told.ponal)
    file.keys[PONAL] = build_agency_keys(told.ponal.anchors, [thief.proof(size)])
    assert file.report().verdict is NOT_PROVED


# --- receipts as witnesses --------------------------------------------------------------------------------------------


def witnessed_story(witness: AgencyId, *, exact: bool = True) -> File:
    """ponal.co's statement lies under an old pair; somebody receipted another envelope under that very head."""
    told = rotated_story()
    file = told.file()
    other = make_agency(witness) if witness not in (PONAL, BKA) else {PONAL: told.ponal, BKA: told.bka}[witness]
    second = make_envelope(PONAL, witness, number=9)
    log = told.ponal.log
    head = log.head(told.issued.checkpoint.size if exact else told.issued.checkpoint.size - 1)
    if other not in file.agencies:
        file.agencies.append(other)
    file.envelopes.append(second)
    file.say(other, other.receipt(second, head))
    return file


def issued_of(report: EvidenceReport) -> list[Verdict]:
    return [one.result for one in report.claims if one.claim == "issued" and one.at is not None]


def trusting_all(file: File) -> EvidenceReport:
    return file.report(
        trusted={one.agency: safety_code(one.agency, root_pair(one.agency).public) for one in file.agencies}
    )


def test_a_third_agency_s_receipt_that_names_the_head_is_enough() -> None:
    assert issued_of(trusting_all(witnessed_story(FBI))) == [PROVED]


def test_a_witness_whose_code_the_reader_does_not_trust_is_none() -> None:
    """The agency that shows the file could have made the witness, anchor and all."""
    assert issued_of(witnessed_story(FBI).report()) == [NOT_PROVED]


def test_a_receipt_that_names_another_head_is_not() -> None:
    assert issued_of(trusting_all(witnessed_story(FBI, exact=False))) == [NOT_PROVED]


def test_a_receipt_of_the_one_who_benefits_is_not() -> None:
    """bka.de would hold ponal.co to the alert: its own word that it saw that head proves nothing."""
    assert issued_of(trusting_all(witnessed_story(BKA))) == [NOT_PROVED]


@pytest.mark.parametrize(("witness", "expected"), [(PONAL, NOT_PROVED), (FBI, PROVED)])
def test_a_receipt_is_not_witnessed_by_the_sender_whom_it_serves(witness: AgencyId, expected: Verdict) -> None:
    told = make_story()
    told.bka.rotate()
    told.bka.publish_profile()
    file = told.file()
    other = told.ponal if witness == PONAL else make_agency(witness)
    if other not in file.agencies:
        file.agencies.append(other)
    second = make_envelope(BKA, witness, number=9)
    file.envelopes.append(second)
    file.say(other, other.receipt(second, told.bka.log.head(told.receipt.checkpoint.size)))
    assert result_of(trusting_all(file), "stored", BKA)[0] is expected


def test_a_witness_whose_own_word_does_not_count_is_none() -> None:
    file = witnessed_story(FBI)
    fbi = file.agencies[-1]
    fbi.rotate()
    assert issued_of(trusting_all(file)) == [NOT_PROVED]


def test_a_witness_who_is_witnessed_in_turn_counts() -> None:
    file = witnessed_story(FBI)
    fbi = file.agencies[-1]
    nca = make_agency("nca.uk")
    size = fbi.log.size
    third = make_envelope(FBI, "nca.uk", number=3)
    file.say(nca, nca.receipt(third, fbi.log.head(size)))
    fbi.rotate()
    file.agencies.append(nca)
    file.envelopes.append(third)
    assert issued_of(trusting_all(file)) == [PROVED]


# --- contradictions ---------------------------------------------------------------------------------------------------


def test_after_two_changes_of_one_pair_everything_is_contradicted() -> None:
    told = make_story()
    fork = told.ponal.fork(told.ponal.log.size)
    told.ponal.rotate()
    late = make_envelope(PONAL, BKA, number=5)
    issued_late = told.ponal.issue(late)
    thief = replace(told.ponal, log=fork, changes=[], pairs=50)
    filler(thief, 1)
    thief.rotate()
    file = told.file()
    file.envelopes.append(late)
    file.say(told.ponal, issued_late)
    clean = file.data()
    assert issued_of(verify_evidence(clean)) == [NOT_PROVED, PROVED]
    card = verify_card(thief.card())
    report = verify_evidence(clean, extra_cards=[card])
    found = {one.envelope_id: (one.result, one.reason) for one in report.claims if one.claim == "issued"}
    assert found[late.header.envelope_id] == (CONTRADICTED, EvidenceProblem.KEY_NOT_VALID)
    assert found[told.alert.header.envelope_id] == (NOT_PROVED, EvidenceProblem.KEY_NOT_VALID)
    assert report.verdict is CONTRADICTED


def test_the_last_head_before_two_changes_of_one_pair_is_not_in_doubt() -> None:
    told = make_story()
    size = told.ponal.log.size
    thief = replace(told.ponal, log=told.ponal.fork(size), changes=[], pairs=50)
    told.ponal.rotate()
    told.ponal.publish_profile()
    filler(thief, 1)
    thief.rotate()
    file = told.file()
    file.statements[0] = (PONAL, told.ponal.log.proof(told.issued.index, size + 1))
    file.links = [told.ponal.log.link(size + 1)]
    report = file.report(extra_cards=[verify_card(thief.card())])
    assert result_of(report, "issued", PONAL) == (NOT_PROVED, EvidenceProblem.KEY_NOT_VALID)


def thief_of(agency: Agency) -> Agency:
    """Who holds the agency's present pair, and goes on from its present head in a log of his own."""
    fork = agency.fork(agency.log.size)
    return replace(agency, log=fork, changes=list(agency.changes), profile=None, pairs=50)


def late_issue(told: Story, file: File, number: int) -> SealedEnvelope:
    """One more envelope that ponal.co issues now, and that the file holds."""
    sealed = make_envelope(PONAL, BKA, number=number)
    file.envelopes.append(sealed)
    file.say(told.ponal, told.ponal.issue(sealed))
    return sealed


def result_by_envelope(report: EvidenceReport) -> dict[bytes, tuple[Verdict, EvidenceProblem | None]]:
    return {one.envelope_id: (one.result, one.reason) for one in report.claims if one.claim == "issued"}


def test_of_two_changes_the_earlier_one_is_where_doubt_begins_whoever_made_it() -> None:
    told = make_story()
    told.ponal.rotate()  # a change that nobody disputes lies before
    file = told.file()
    thief = thief_of(told.ponal)
    thief.rotate()
    thief.rotate()  # and this one is signed by a pair that the true log never knew
    at_it, beyond_it = late_issue(told, file, 21), late_issue(told, file, 22)
    told.ponal.rotate()
    found = result_by_envelope(file.report(extra_cards=[verify_card(thief.card())]))
    assert found[told.alert.header.envelope_id] == (NOT_PROVED, EvidenceProblem.KEY_NOT_VALID)
    assert found[at_it.header.envelope_id] == (NOT_PROVED, EvidenceProblem.KEY_NOT_VALID)
    assert found[beyond_it.header.envelope_id] == (CONTRADICTED, EvidenceProblem.KEY_NOT_VALID)


def test_of_two_forks_the_earlier_one_is_where_doubt_begins() -> None:
    told = make_story()
    file = told.file()
    first = thief_of(told.ponal)
    first.rotate()
    at_it, beyond_it = late_issue(told, file, 21), late_issue(told, file, 22)
    told.ponal.rotate()
    second = thief_of(told.ponal)
    second.pairs = 60
    second.rotate()
    filler(told.ponal, 1)
    told.ponal.rotate()
    cards = [verify_card(first.card()), verify_card(second.card())]
    for order in (cards, cards[::-1]):
        found = result_by_envelope(file.report(extra_cards=order))
        assert found[at_it.header.envelope_id] == (NOT_PROVED, EvidenceProblem.KEY_NOT_VALID)
        assert found[beyond_it.header.envelope_id] == (CONTRADICTED, EvidenceProblem.KEY_NOT_VALID)


@pytest.mark.parametrize("form", ["statement", "head"])
def test_a_head_in_doubt_is_none_to_lead_to(form: str) -> None:
    told = make_story()
    thief = thief_of(told.ponal)
    filler(thief, 1)
    thief.rotate()
    told.ponal.rotate()
    told.ponal.publish_profile()
    file, log = told.file(), told.ponal.log
    file.links = [log.link(told.issued.checkpoint.size), log.link(told.ack_receipt.checkpoint.size)]
    if form == "statement":
        with_later_head(file, told.ponal)
    else:
        file.heads = [log.checkpoints[log.size]]
    assert result_of(file.report(), "issued", PONAL) == (PROVED, None)
    found = result_of(file.report(extra_cards=[verify_card(thief.card())]), "issued", PONAL)
    assert found == (NOT_PROVED, EvidenceProblem.KEY_NOT_VALID)


def test_changes_beyond_a_fork_are_followed_in_whatever_order_the_file_has_them() -> None:
    told = make_story()
    file = told.file()
    thief = thief_of(told.ponal)
    filler(thief, 1)
    thief.rotate()
    told.ponal.rotate()
    told.ponal.rotate()
    late = late_issue(told, file, 21)
    fields = decode(file.data(), max_bytes=MAX_EVIDENCE_BYTES)
    assert isinstance(fields, list)
    changes = fields[3]
    assert isinstance(changes, list)
    fields[3] = changes[::-1]
    found = result_by_envelope(verify_evidence(encode(fields), extra_cards=[verify_card(thief.card())]))
    assert found[late.header.envelope_id] == (CONTRADICTED, EvidenceProblem.KEY_NOT_VALID)


def two_histories(*, rotate: bool) -> tuple[File, Log]:
    told = make_story()
    fork = told.ponal.fork(5)
    other = make_envelope(PONAL, BKA, b"{}", number=8)
    index = fork.commit(Issued(told.ponal.salt(), NOW, other.header.envelope_id, other.envelope_hash))
    file = told.file()
    file.envelopes.append(other)
    file.say(told.ponal, fork.proof(index))
    if rotate:
        told.ponal.rotate()
        with_later_head(file, _profiled(told.ponal))
        file.links = [told.ponal.log.link(told.issued.checkpoint.size)]
    return file, fork


def _profiled(agency: Agency) -> Agency:
    agency.publish_profile()
    return agency


def test_two_heads_of_one_size_contradict_each_other() -> None:
    file, _ = two_histories(rotate=False)
    assert issued_of(file.report()) == [CONTRADICTED, CONTRADICTED]


def test_where_one_of_two_histories_stands_the_other_is_the_forgery() -> None:
    file, _ = two_histories(rotate=True)
    report = file.report()
    found = {one.envelope_id: one.result for one in report.claims if one.claim == "issued"}
    assert found[story().alert.header.envelope_id] is PROVED
    assert list(found.values()).count(CONTRADICTED) == 1


def test_a_head_that_contradicts_the_base_of_an_anchor_is_the_forgery() -> None:
    told = make_story()
    size = told.ponal.log.size
    fork = told.ponal.fork(size - 1)
    other = make_envelope(PONAL, BKA, b"{}", number=8)
    fork.commit(Issued(told.ponal.salt(), NOW, other.header.envelope_id, other.envelope_hash))
    told.ponal.next_anchor()
    file = told.file()
    file.envelopes.append(other)
    file.say(told.ponal, fork.proof(size - 1))
    found = {one.envelope_id: one.result for one in file.report().claims if one.claim == "issued"}
    assert found[other.header.envelope_id] is CONTRADICTED
    assert found[told.alert.header.envelope_id] is PROVED


# --- the file as a whole ----------------------------------------------------------------------------------------------


def test_a_file_cut_short_is_told_as_such() -> None:
    data = story().file().data()
    for length in [*range(1, 40), len(data) // 2, len(data) - 1]:
        assert refusal(data[:length]) is EvidenceProblem.FILE_TRUNCATED, length


@pytest.mark.parametrize(
    "data", [b"", b"PK\x03\x04", b"{}", encode(["tocsin evidence", 2]), b"\x99\xaftocsin Evidence\x01"]
)
def test_another_file_is_no_evidence(data: bytes) -> None:
    assert refusal(data) is EvidenceProblem.NOT_EVIDENCE


def parts() -> list[Value]:
    value = decode(story().file().data(), max_bytes=MAX_EVIDENCE_BYTES)
    assert isinstance(value, list)
    return value


@pytest.mark.parametrize(
    ("position", "value", "reason"),
    [
        (2, [], EvidenceProblem.BAD_ENCODING),
        (2, [[b"", bytes(64), bytes(3_309)]], EvidenceProblem.CARD_INVALID),
        (3, [["bka.de", b"no proof"]], EvidenceProblem.BAD_ENCODING),
        (3, [["fbi.us", b"no proof"]], EvidenceProblem.BAD_ENCODING),
        (4, [["fbi.us", "gw1", 1, 1, bytes(32), 2, bytes(32), []]], EvidenceProblem.BAD_ENCODING),
        (4, [["bka.de", "gw1", 1, 1, bytes(32), 2, bytes(32), []]], EvidenceProblem.BAD_INCLUSION_PROOF),
        (5, [["bka.de", b"no note"]], EvidenceProblem.BAD_ENCODING),
        (5, [["fbi.us", b"no note"]], EvidenceProblem.BAD_ENCODING),
        (6, [[b"no header", bytes(32)]], EvidenceProblem.BAD_ENCODING),
        (7, None, EvidenceProblem.BAD_ENCODING),
        (7, [["bka.de", b"no proof"]], EvidenceProblem.BAD_ENCODING),
        (8, [[bytes(16), bytes(31), b""]], EvidenceProblem.BAD_ENCODING),
        (8, [[bytes(16), bytes(32), b""]], EvidenceProblem.CONTENT_MISMATCH),
    ],
)
def test_a_file_with_a_part_of_another_shape_is_refused(position: int, value: Value, reason: EvidenceProblem) -> None:
    changed = parts()
    changed[position] = value
    assert refusal(encode(changed)) is reason


def test_a_statement_whose_entry_is_none_is_refused_though_it_lies_in_the_log() -> None:
    told = make_story()
    file = told.file()
    file.say(told.bka, told.bka.log.proof(told.bka.log.commit(b"no entry")))
    assert refusal(file.data()) is EvidenceProblem.BAD_ENCODING


@pytest.mark.parametrize("position", [3, 5, 7])
def test_a_good_proof_of_an_agency_without_an_anchor_in_the_file_is_refused(position: int) -> None:
    told = rotated_story()
    file = told.file()
    file.heads = [told.ponal.log.checkpoints[told.ponal.log.size]]
    changed = decode(file.data(), max_bytes=MAX_EVIDENCE_BYTES)
    assert isinstance(changed, list)
    part = changed[position]
    assert isinstance(part, list)
    assert isinstance(part[0], list)
    part[0][0] = FBI
    assert refusal(encode(changed)) is EvidenceProblem.BAD_ENCODING


def test_a_file_with_bytes_behind_it_is_refused() -> None:
    assert refusal(story().file().data() + b"\0") is EvidenceProblem.BAD_ENCODING
    assert refusal(encode([*parts(), None])) is EvidenceProblem.NOT_EVIDENCE


def test_two_roots_of_one_agency_are_refused() -> None:
    file = story().file()
    double = make_agency(PONAL)
    double.anchors = [make_test_anchor(PONAL, node=node_pair(PONAL, 1).public, signer=root_pair("mallory.example"))]
    data = decode(file.data(), max_bytes=MAX_EVIDENCE_BYTES)
    other = decode(File([double]).data(), max_bytes=MAX_EVIDENCE_BYTES)
    assert isinstance(data, list)
    assert isinstance(other, list)
    assert isinstance(data[2], list)
    assert isinstance(other[2], list)
    data[2].extend(other[2])
    assert refusal(encode(data)) is EvidenceProblem.CARD_INVALID


def test_a_forged_key_change_is_refused() -> None:
    told = rotated_story()
    change = told.ponal.changes[0]
    file = told.file()
    forged = replace(change, checkpoint=replace(change.checkpoint, timestamp=1))
    file.keys[PONAL] = replace(told.ponal.keys, changes=(forged,))
    assert refusal(file.data()) is EvidenceProblem.BAD_CHECKPOINT_SIGNATURE


@cache
def rich_file() -> tuple[bytes, frozenset[Claim], frozenset[Claim]]:
    """One of everything: key change, head, link, contents; what it claims, and what it does without the contents."""
    told = rotated_story()
    file = told.file()
    log = told.ponal.log
    file.links = [log.link(told.issued.checkpoint.size), log.link(told.ack_receipt.checkpoint.size)]
    file.heads = [log.checkpoints[log.size]]
    data = file.data()
    report = verify_evidence(data)
    assert report.verdict is PROVED
    file.contents = []
    return data, frozenset(report.claims), frozenset(file.report().claims)


def check_change(changed: bytes) -> None:
    """A changed file is refused, or claims nothing proved that the true one does not, with or without its contents."""
    _, true, bare = rich_file()
    try:
        report = verify_evidence(changed)
    except EvidenceError:
        return
    assert {claim for claim in report.claims if claim.result is PROVED} <= true | bare
    assert report.message_id in (MESSAGE, None)
    if report.verdict is PROVED:
        assert frozenset(report.claims) == true


@pytest.mark.parametrize("part", range(8))
def test_no_single_byte_can_be_changed_to_another_claim(part: int) -> None:
    data, _, _ = rich_file()
    for at in range(part * 3, len(data), 8 * 41):
        check_change(data[:at] + bytes([data[at] ^ (1 << part)]) + data[at + 1 :])


@given(st.data())
def test_no_bytes_at_all_can_be_changed_to_another_claim(data: st.DataObject) -> None:
    good, _, _ = rich_file()
    at = data.draw(st.integers(0, len(good)))
    removed = data.draw(st.integers(0, 8))
    added = data.draw(st.binary(max_size=8))
    check_change(good[:at] + added + good[at + removed :])


@given(st.binary(max_size=300))
@example(encode(["tocsin evidence", 1, [], [], [], [], [], []]))
def test_any_bytes_are_judged_or_refused(data: bytes) -> None:
    prefix = b"\x99\xaftocsin evidence\x01"
    for whole in (data, prefix + data):
        try:
            report = verify_evidence(whole)
        except EvidenceError:
            continue
        assert report.verdict is NOT_PROVED


# --- what message bytes say -------------------------------------------------------------------------------------------


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
@example(b"[" * 100_000)
@example(b'{"kind":' * 50_000)
@example(b'{"case_id": ' + b"9" * 10_000 + b"}")
@example(b'{"kind":"ack","ack":{"level":["accepted"],"message_id":"","content_sha256":""}}')
def test_any_message_bytes_can_be_read(content: bytes) -> None:
    assert read_saying(content).ack is None


@pytest.mark.parametrize(
    "content",
    [
        b'{"case_id":"\\ud800"}',
        b'{"case_id":""}',
        b'{"case_id":"a\\u0000b"}',
        b'{"case_id":"a","case_id":"b"}',
        b'{"case_id":"a","x":NaN}',
        b'{"case_id":"a"}\xff',
        b'["case_id"]',
        b'{"case_id":7}',
        json.dumps({"case_id": "x" * 257}).encode(),
    ],
)
def test_a_case_that_two_readers_could_read_differently_is_none(content: bytes) -> None:
    assert read_saying(content) == Saying()


def test_a_card_is_what_gives_trust_and_needs_no_file(story_cards: Sequence[VerifiedCard]) -> None:
    report = story().file().report(extra_cards=story_cards, require_trust=True)
    assert report.verdict is PROVED
    assert all(one.trusted for one in report.anchors)


@pytest.fixture
def story_cards() -> list[VerifiedCard]:
    told = make_story()
    return [verify_card(told.ponal.card()), verify_card(told.bka.card())]
