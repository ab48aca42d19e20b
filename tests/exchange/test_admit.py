"""The inbound pipeline: every step of PROTOCOL §10 from 6 to 17 has an envelope that fails it and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.admit import (
    Admitted,
    Deferred,
    EarlierEnvelope,
    OpenedMessage,
    ParsedEnvelope,
    ProvedEnvelope,
    ReadMessage,
    Refused,
    Repeated,
    admit,
    examine,
    parse_envelope,
    prove,
    read,
)
from exchange.alerts import Defaults, DutyContact, Originator, complete
from exchange.envelope import Precedence, SealedEnvelope, SealRequest, seal_message
from exchange.errors import RefusalCode, RefusalError
from exchange.policy import CaseFacts
from exchange.round import RawEnvelope
from exchange.statement import Issued, Statement, verify_statement
from keys.errors import CannotOpenError
from keys.ids import AgencyId, EnvelopeId, MessageId
from tests.exchange.agencies import DAY_MS, NOW, Agency, make_agency, open_plainly, seal_plainly, seed

SENDER, RECIPIENT = AgencyId("ponal.co"), AgencyId("bka.de")
MESSAGE_ID = UUID("0193a5b2-7c1e-4d3a-9f00-1234567890ab")
ALERT: dict[str, Any] = {
    "kind": "alert",
    "precedence": "immediate",
    "summary": "Girl, 9, taken from school in Cucuta, white van towards the border",
    "handling": {"tlp": "AMBER", "permitted_actions": "stop_and_protect"},
    "incident": {
        "type": "child_nonfamily",
        "confirmation": "confirmed",
        "taken": {
            "earliest": "2026-11-23T02:10:00-05:00",
            "latest": "2026-11-23T02:30:00-05:00",
            "tz": "America/Bogota",
        },
        "risk": {"level": "extreme", "life_at_risk": True, "reasons": ["child_under_13"]},
    },
    "persons": [
        {
            "id": "p1",
            "roles": ["victim"],
            "identified": "yes",
            "names": [{"full": "Lucía Pérez", "type": "official"}],
            "age": {"min": 9, "max": 9},
            "minor": "yes",
            "status": "held_suspected",
        }
    ],
    "locations": [{"id": "l1", "role": "abduction", "country": "CO"}],
    "requested_actions": [{"action": "check_border", "target": "p1", "if_found": "stop_protect_victim"}],
}


class NationalLaw:
    """A legal basis."""

    code = "national_law"
    citation = ""


def content_of(sender: str = SENDER) -> bytes:
    """A valid alert as its node commits it."""
    contact = DutyContact(phone="+576013159000", secure_address=None, languages=("es",), available_24x7=True)
    originator = Originator(
        agency_id=sender, country="CO", agency_name="Policía", unit="", officer_ref="duty", duty_contact=contact
    )
    defaults = Defaults(
        originator=originator,
        languages=("es",),
        legal_basis=(NationalLaw(),),
        now_ms=NOW,
        message_id=str(MESSAGE_ID),
        case_id="CO-PONAL/2026/000017",
    )
    return complete(json.loads(json.dumps(ALERT)), defaults).content


CONTENT = content_of()
REQUEST = SealRequest(
    envelope_id=EnvelopeId(seed("envelope")[:16]),
    sender=SENDER,
    recipient=RECIPIENT,
    epoch_number=7,
    precedence=Precedence.IMMEDIATE,
    sent_at=NOW,
    deliver_by=NOW + 7 * DAY_MS,
    generation=1,
    number=1,
    message_id=MessageId(MESSAGE_ID.bytes),
    content=CONTENT,
)


@pytest.fixture(scope="module")
def sender() -> Agency:
    return make_agency(SENDER)


def proved(sender: Agency, sealed: SealedEnvelope) -> ProvedEnvelope:
    """The envelope with the statement that proves it."""
    parsed = parse_envelope(RawEnvelope(sealed.header_bytes, sealed.body))
    return prove(parsed, statement_of(sender, parsed))


def statement_of(sender: Agency, parsed: ParsedEnvelope) -> Statement:
    issued = Issued(seed("salt")[:16], NOW, parsed.header.envelope_id, parsed.envelope_hash)
    index = sender.log.commit(issued)
    return verify_statement(sender.log.proof(index), sender.keys, parsed.facts)


def seal(request: SealRequest = REQUEST) -> SealedEnvelope:
    return seal_message(request, seal_plainly, seed("opening"))


def examined(
    envelope: ProvedEnvelope,
    *,
    earlier: EarlierEnvelope | None = None,
    now: int = NOW,
    keys: tuple[int, ...] = (7,),
    open_: Callable[[bytes, bytes], bytes] = open_plainly,
    doubtful_up_to: int = 0,
) -> OpenedMessage | Repeated | Refused | Deferred:
    return examine(
        envelope,
        agency=RECIPIENT,
        earlier=earlier,
        now=now,
        has_epoch_key=keys.__contains__,
        open_with=lambda _: open_,
        doubtful_up_to=doubtful_up_to,
    )


def opened(sender: Agency, request: SealRequest = REQUEST) -> OpenedMessage:
    verdict = examined(proved(sender, seal(request)))
    assert isinstance(verdict, OpenedMessage)
    return verdict


def test_a_valid_alert_passes_every_step(sender: Agency) -> None:
    message = read(opened(sender), earlier_content_sha256=None)
    assert isinstance(message, ReadMessage)
    verdict = admit(message, CaseFacts())
    assert isinstance(verdict, Admitted)
    assert verdict.read.headline.case_id == "CO-PONAL/2026/000017"
    assert not verdict.read.repeat


def test_step_6_bytes_that_are_no_header_are_dropped() -> None:
    with pytest.raises(RefusalError) as refused:
        parse_envelope(RawEnvelope(b"\x90", b""))
    assert (refused.value.code, refused.value.step) == (RefusalCode.MALFORMED, 6)


def test_step_6_a_statement_about_another_envelope_proves_nothing(sender: Agency) -> None:
    other = proved(sender, seal(replace(REQUEST, number=2)))
    parsed = parse_envelope(RawEnvelope(seal().header_bytes, seal().body))
    with pytest.raises(RefusalError) as refused:
        prove(parsed, other.statement)
    assert (refused.value.code, refused.value.step) == (RefusalCode.BAD_PROOF, 6)


def test_step_7_the_same_envelope_again_gets_the_stored_answer(sender: Agency) -> None:
    envelope = proved(sender, seal())
    earlier = EarlierEnvelope(frozenset({envelope.parsed.envelope_hash}))
    assert isinstance(examined(envelope, earlier=earlier), Repeated)


def refused_with(verdict: object) -> tuple[str, int]:
    assert isinstance(verdict, Refused | Deferred)
    return verdict.code, verdict.step


def test_step_7_another_content_under_the_same_identity_is_final(sender: Agency) -> None:
    verdict = examined(proved(sender, seal()), earlier=EarlierEnvelope(frozenset({bytes(32)})))
    assert isinstance(verdict, Refused)
    assert refused_with(verdict) == ("id_reused", 7)


def test_step_8_an_envelope_to_somebody_else_is_final(sender: Agency) -> None:
    verdict = examined(proved(sender, seal(replace(REQUEST, recipient=AgencyId("interpol.int")))))
    assert isinstance(verdict, Refused)
    assert refused_with(verdict) == ("not_for_us", 8)


def test_step_10_a_day_ahead_is_admitted_and_more_comes_again_later(sender: Agency) -> None:
    assert isinstance(examined(proved(sender, seal()), now=NOW - DAY_MS), OpenedMessage)
    verdict = examined(proved(sender, seal()), now=NOW - DAY_MS - 1)
    assert isinstance(verdict, Deferred)
    assert refused_with(verdict) == ("from_future", 10)


def test_step_11_what_arrives_after_its_time_is_final(sender: Agency) -> None:
    verdict = examined(proved(sender, seal()), now=NOW + 7 * DAY_MS)
    assert isinstance(verdict, Refused)
    assert refused_with(verdict) == ("expired_on_arrival", 11)


def test_step_12_a_number_without_its_key_asks_for_a_reseal(sender: Agency) -> None:
    verdict = examined(proved(sender, seal()), keys=(8,))
    assert isinstance(verdict, Deferred)
    assert refused_with(verdict) == ("cannot_open", 12)


@pytest.mark.parametrize("harm", ["commitment", "padding", "bomb", "other names"])
def test_step_13_what_opens_to_something_else_is_final(sender: Agency, harm: str) -> None:
    import zlib

    sealed = seal()
    plaintext = open_plainly(b"", sealed.body)
    if harm == "commitment":
        altered = seal_message(REQUEST, lambda info, _: seal_plainly(info, plaintext), seed("another opening"))
    elif harm == "padding":
        altered = seal_message(REQUEST, lambda info, padded: seal_plainly(info, padded[:-1] + b"\x01"), seed("opening"))
    elif harm == "bomb":
        squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
        bomb = squeeze.compress(bytes(2_000_000)) + squeeze.flush()
        padded = bomb + bytes(2_048 - len(bomb))
        altered = seal_message(REQUEST, lambda info, _: seal_plainly(info, padded), seed("opening"))
    else:
        of_another = seal(replace(REQUEST, sender=AgencyId("other.co")))
        inside = open_plainly(b"", of_another.body)
        altered = seal_message(REQUEST, lambda info, _: seal_plainly(info, inside), seed("opening"))
    verdict = examined(proved(sender, altered))
    assert isinstance(verdict, Refused)
    assert refused_with(verdict) == ("malformed", 13)


def opens_nothing(info: bytes, body: bytes) -> bytes:
    raise CannotOpenError


@pytest.mark.parametrize(
    ("doubtful_up_to", "wanted"),
    [(0, ("malformed", 13)), (6, ("malformed", 13)), (7, ("cannot_open", 13)), (8, ("cannot_open", 13))],
)
def test_step_13_what_the_key_does_not_open_is_final_unless_others_may_hold_another_one(
    sender: Agency, doubtful_up_to: int, wanted: tuple[str, int]
) -> None:
    verdict = examined(proved(sender, seal()), open_=opens_nothing, doubtful_up_to=doubtful_up_to)
    assert isinstance(verdict, Refused if wanted[0] == "malformed" else Deferred)
    assert refused_with(verdict) == wanted


def test_step_13_what_opens_is_taken_whatever_others_hold_under_that_number(sender: Agency) -> None:
    assert isinstance(examined(proved(sender, seal()), doubtful_up_to=7), OpenedMessage)


def test_step_14_other_content_under_a_known_message_id_is_final(sender: Agency) -> None:
    verdict = read(opened(sender), earlier_content_sha256=bytes(32))
    assert refused_with(verdict) == ("id_reused", 14)


def test_step_14_the_same_content_in_another_envelope_is_a_repeat(sender: Agency) -> None:
    message = read(opened(sender), earlier_content_sha256=sha256(CONTENT).digest())
    assert isinstance(message, ReadMessage)
    assert message.repeat


@pytest.mark.parametrize(
    "content",
    [b"{", b'{"a":1,"a":2}', b"[" * 100 + b"]" * 100, b"null", CONTENT.replace(b'"alert"', b'"alarm"', 1)[:-1]],
    ids=["cut short", "a name twice", "too deep", "no object", "no end"],
)
def test_step_15_bytes_that_are_no_document_are_final(sender: Agency, content: bytes) -> None:
    verdict = read(opened(sender, replace(REQUEST, content=content)), earlier_content_sha256=None)
    assert refused_with(verdict) == ("invalid_message", 15)


def test_step_15_the_id_inside_must_be_the_id_outside(sender: Agency) -> None:
    verdict = read(opened(sender, replace(REQUEST, message_id=MessageId(bytes(16)))), earlier_content_sha256=None)
    assert refused_with(verdict) == ("invalid_message", 15)


def read_message(sender: Agency, content: bytes) -> ReadMessage:
    message = read(opened(sender, replace(REQUEST, content=content)), earlier_content_sha256=None)
    assert isinstance(message, ReadMessage), message
    return message


def test_step_16_a_marking_beyond_this_version_is_final(sender: Agency) -> None:
    document = json.loads(CONTENT)
    document["handling"]["h"] = ["H0", "H9"]
    verdict = admit(read_message(sender, json.dumps(document).encode()), CaseFacts())
    assert refused_with(verdict) == ("handling_above_ceiling", 16)


def test_step_17_speaking_for_another_agency_is_final(sender: Agency) -> None:
    verdict = admit(read_message(sender, content_of("bka.de")), CaseFacts())
    assert refused_with(verdict) == ("policy_denied", 17)


@given(st.binary(max_size=600), st.binary(max_size=600))
def test_any_bytes_are_an_envelope_or_a_refusal(header: bytes, body: bytes) -> None:
    with pytest.raises(RefusalError):
        parse_envelope(RawEnvelope(header, body))


@given(st.integers(0, 3_000), st.integers(1, 255))
def test_an_altered_body_never_opens_to_another_message(place: int, flip: int) -> None:
    sealed = seal()
    body = bytearray(sealed.body)
    at = 1_120 + place % (len(body) - 1_136)
    body[at] ^= flip
    parsed = parse_envelope(RawEnvelope(sealed.header_bytes, bytes(body)))
    assert parsed.envelope_hash != sealed.envelope_hash
