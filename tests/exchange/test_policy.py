"""Handling rules: before sealing and before admission, all or nothing for each recipient (promise P7)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from exchange.alerts import Headline
from exchange.errors import RefusalCode, RefusalError
from exchange.policy import (
    MOVING_KINDS,
    OWN_MARKINGS,
    PEER_BARS,
    SILENT_KINDS,
    Addressee,
    CaseFacts,
    SendBar,
    check_inbound,
    send_bar,
)
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


def test_at_home_or_without_handling_no_transfer_basis_is_needed() -> None:
    bare = {key: value for key, value in DOCUMENT.items() if key != "transfer_basis"}
    assert bar(bare, to=replace(TO, country="CO")) is None
    empty: list[dict[str, Any]] = [{"kind": "alert"}, {"handling": None}, {"handling": {}}]
    for nothing in empty:
        assert bar(nothing) is None


def test_a_caveat_of_another_name_or_none_at_all_forbids_nothing() -> None:
    for caveats in (["DO_NOT_CALL_FAMILY"], None):
        assert bar({**DOCUMENT, "handling": {**DOCUMENT["handling"], "caveats": caveats}}) is None
    assert bar({**DOCUMENT, "handling": {"tlp": "AMBER"}}) is None


@pytest.mark.parametrize(
    ("markings", "expected"),
    [
        (("H0", "TLP:AMBER"), None),
        (("H0",), SendBar.HANDLING_ABOVE_CEILING),
        (("TLP:AMBER",), SendBar.HANDLING_ABOVE_CEILING),
        ((), SendBar.HANDLING_ABOVE_CEILING),
        (None, None),
    ],
    ids=["both", "no TLP", "no H", "none", "its profile has not come"],
)
def test_a_peer_must_honour_every_marking_once_it_has_said_which(
    markings: tuple[str, ...] | None, expected: SendBar | None
) -> None:
    assert bar(to=replace(TO, markings=markings)) is expected


def test_a_message_without_markings_goes_to_a_peer_that_honours_none() -> None:
    assert bar({"handling": {"caveats": []}, "transfer_basis": "x"}, to=replace(TO, markings=())) is None


@pytest.mark.parametrize("kind", ["ack", "test"])
def test_what_makes_no_inbox_row_is_not_held_to_handling(kind: str) -> None:
    silent = replace(HEADLINE, kind=kind)
    secret = {"handling": {"h": ["H9"], "caveats": ["NATIONAL_EYES_ONLY"]}}
    assert bar(secret, silent, replace(TO, markings=())) is None
    check_inbound(secret, silent, BOGOTA, CaseFacts())
    assert bar(secret, silent, replace(TO, trust=Trust.SUSPENDED)) is SendBar.PEER_SUSPENDED
    assert kind in SILENT_KINDS


def test_the_codes_are_those_of_the_contract() -> None:
    assert [one.value for one in SendBar] == [
        "unknown_agency",
        "ourselves",
        "peer_pending",
        "peer_suspended",
        "anchor_expired",
        "national_eyes_only",
        "handling_above_ceiling",
        "transfer_basis_missing",
    ]
    assert {one.value for one in PEER_BARS} == {"peer_pending", "peer_suspended", "anchor_expired"}


def test_this_version_honours_h0_to_h3_and_every_tlp() -> None:
    assert set(OWN_MARKINGS) == {"H0", "H1", "H2", "H3"} | {
        f"TLP:{tlp}" for tlp in ("CLEAR", "GREEN", "AMBER", "AMBER+STRICT", "RED")
    }


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


@pytest.mark.parametrize("kind", ["update", "renew", "cancel", "resolve"])
@pytest.mark.parametrize(
    ("document", "case"),
    [
        ({}, CaseFacts(superseded_sender=BOGOTA)),
        ({}, CaseFacts(alert_senders=frozenset({BOGOTA}))),
        ({"references": [{"role": "supersedes", "originator": BOGOTA}]}, CaseFacts()),
        ({"references": [{"role": "supersedes"}]}, CaseFacts()),
        (
            {"references": [{"role": "supersedes", "originator": n} for n in (LYON, BOGOTA)]},
            CaseFacts(alert_senders=frozenset({LYON}), superseded_sender=LYON),
        ),
    ],
    ids=["the message named is another's", "the case is another's", "it says so itself", "of nobody", "one of two"],
)
def test_only_the_originator_moves_an_alert(kind: str, document: dict[str, Any], case: CaseFacts) -> None:
    moving = replace(CANCEL, kind=kind)
    assert refusal(document, moving, LYON, case) == (RefusalCode.POLICY_DENIED, 17)
    assert kind in MOVING_KINDS


def test_an_alert_may_speak_of_a_case_that_another_agency_opened() -> None:
    case = CaseFacts(alert_senders=frozenset({BOGOTA}), superseded_sender=BOGOTA)
    check_inbound({}, replace(HEADLINE, originator=LYON), LYON, case)


@pytest.mark.parametrize(
    "references",
    [
        None,
        {"role": "supersedes"},
        "supersedes",
        ["supersedes", None],
        [{"role": "related", "originator": BOGOTA}],
        [{"role": "supersedes", "originator": LYON}],
    ],
    ids=["none", "no list", "a text", "no objects", "another role", "its own"],
)
def test_a_reference_that_supersedes_nothing_of_another_agency_hinders_no_move(references: Any) -> None:
    own = CaseFacts(alert_senders=frozenset({LYON}), superseded_sender=LYON)
    check_inbound({"references": references}, CANCEL, LYON, own)


def test_a_cancel_before_its_alert_is_taken() -> None:
    check_inbound({}, CANCEL, LYON, CaseFacts())


def test_who_squats_a_case_id_does_not_keep_its_owner_from_moving_its_own_alert() -> None:
    squatted = CaseFacts(alert_senders=frozenset({LYON, BOGOTA}), superseded_sender=BOGOTA)
    check_inbound({}, replace(CANCEL, originator=BOGOTA), BOGOTA, squatted)
