"""Handling rules: before sealing and before admission, all or nothing for each recipient (promise P7)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from exchange.alerts import Headline
from exchange.errors import RefusalCode, RefusalError
from exchange.policy import OWN_MARKINGS, Addressee, CaseFacts, SendBar, check_inbound, send_bar
from keys.ids import AgencyId
from keys.trust import Trust

BOGOTA, BERLIN, LYON = AgencyId("ponal.co"), AgencyId("bka.de"), AgencyId("interpol.int")
HEADLINE = Headline(
    kind="alert",
    case_id="CO-PONAL/2026/000001",
    message_id="0193a5b2-7c1e-4d3a-9f00-1234567890ab",
    revision=1,
    status="actual",
    precedence="urgent",
    summary="white van",
    originator=BOGOTA,
    sent_at_ms=1,
    expires_at_ms=2,
    supersedes=None,
    replies_to=None,
    tlp="AMBER",
    h=("H0",),
    log_reads=False,
    life_at_risk=True,
    suspended=False,
)
DOCUMENT: dict[str, Any] = {
    "handling": {"tlp": "AMBER", "h": ["H0"], "permitted_actions": "stop_and_protect", "caveats": []},
    "transfer_basis": "vital_interests",
}
TO = Addressee(BERLIN, Trust.TRUSTED, "DE", OWN_MARKINGS)


def bar(document: dict[str, Any] | None = None, headline: Headline = HEADLINE, to: Addressee = TO) -> SendBar | None:
    return send_bar(document or DOCUMENT, headline, BOGOTA, "CO", to)


def test_a_trusted_peer_that_can_honour_the_markings_may_have_it() -> None:
    assert bar() is None


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        (replace(TO, agency=BOGOTA), SendBar.OURSELVES),
        (replace(TO, trust=None), SendBar.UNKNOWN_AGENCY),
        (replace(TO, trust=Trust.REMOVED), SendBar.UNKNOWN_AGENCY),
        (replace(TO, trust=Trust.PENDING), SendBar.PEER_PENDING),
        (replace(TO, trust=Trust.SUSPENDED), SendBar.PEER_SUSPENDED),
        (replace(TO, anchor_over=True), SendBar.ANCHOR_EXPIRED),
        (replace(TO, markings=("H0", "TLP:GREEN")), SendBar.HANDLING_ABOVE_CEILING),
    ],
    ids=lambda value: value.value if isinstance(value, SendBar) else "",
)
def test_each_relation_that_forbids_sending_is_named(to: Addressee, expected: SendBar) -> None:
    assert bar(to=to) is expected


def test_an_expired_card_still_lets_flash_and_immediate_through() -> None:
    for precedence in ("flash", "immediate"):
        assert bar(headline=replace(HEADLINE, precedence=precedence), to=replace(TO, anchor_over=True)) is None


def test_national_eyes_only_leaves_no_country_but_goes_to_an_agency_of_the_same() -> None:
    secret = {**DOCUMENT, "handling": {**DOCUMENT["handling"], "caveats": ["NATIONAL_EYES_ONLY"]}}
    assert bar(secret) is SendBar.NATIONAL_EYES_ONLY
    assert bar(secret, to=replace(TO, agency=AgencyId("fiscalia.co"), country="CO")) is None


def test_sending_abroad_needs_a_transfer_basis() -> None:
    bare = {key: value for key, value in DOCUMENT.items() if key != "transfer_basis"}
    assert bar(bare) is SendBar.TRANSFER_BASIS_MISSING


def test_a_receiver_takes_a_valid_alert_of_its_sender() -> None:
    check_inbound(DOCUMENT, HEADLINE, BOGOTA, CaseFacts())


def refusal(document: dict[str, Any], headline: Headline, sender: AgencyId, case: CaseFacts) -> tuple[RefusalCode, int]:
    with pytest.raises(RefusalError) as refused:
        check_inbound(document, headline, sender, case)
    return refused.value.code, refused.value.step


def test_nobody_posts_in_the_name_of_another_agency() -> None:
    assert refusal(DOCUMENT, HEADLINE, LYON, CaseFacts()) == (RefusalCode.POLICY_DENIED, 17)


def test_a_marking_that_this_version_cannot_honour_is_refused() -> None:
    unknown = {**DOCUMENT, "handling": {**DOCUMENT["handling"], "h": ["H0", "H9"]}}
    assert refusal(unknown, HEADLINE, BOGOTA, CaseFacts()) == (RefusalCode.HANDLING_ABOVE_CEILING, 16)


CANCEL = replace(HEADLINE, kind="cancel", supersedes=HEADLINE.message_id, originator=LYON)


@pytest.mark.parametrize(
    ("document", "case"),
    [
        ({}, CaseFacts(superseded_sender=BOGOTA)),
        ({}, CaseFacts(alert_senders=frozenset({BOGOTA}))),
        ({"references": [{"role": "supersedes", "originator": BOGOTA}]}, CaseFacts()),
    ],
    ids=["the message named is another's", "the case is another's", "it says so itself"],
)
def test_only_the_originator_moves_an_alert(document: dict[str, Any], case: CaseFacts) -> None:
    assert refusal(document, CANCEL, LYON, case) == (RefusalCode.POLICY_DENIED, 17)


def test_a_cancel_before_its_alert_is_taken() -> None:
    check_inbound({}, CANCEL, LYON, CaseFacts())


def test_who_squats_a_case_id_does_not_keep_its_owner_from_moving_its_own_alert() -> None:
    squatted = CaseFacts(alert_senders=frozenset({LYON, BOGOTA}), superseded_sender=BOGOTA)
    check_inbound({}, replace(CANCEL, originator=BOGOTA), BOGOTA, squatted)
