"""Cards: everything in one follows from its root, or it is no card."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.card import (
    BEGIN_LINE,
    END_LINE,
    MAX_CARD_BYTES,
    Card,
    CardError,
    CardProblem,
    armour,
    encode_card,
    parse_card,
)
from exchange.log import leaf_hash
from exchange.statement import KeyDestroyed, LogOpened, encode_entry
from keys.anchor import Anchor
from keys.safety_code import safety_code
from tests.exchange.agencies import Agency, filler, make_agency, make_test_anchor, node_pair, root_pair


def well_kept() -> Agency:
    """An agency with history: a key change, a profile, a lost log, another key change."""
    agency = make_agency("bka.de")
    agency.publish_profile("https://old.bka.de:7443")
    agency.rotate()
    filler(agency, 2)
    agency.open_generation()
    agency.rotate()
    agency.publish_profile("https://bka.de:7443")
    return agency


@cache
def good_card() -> tuple[Agency, Card, bytes]:
    agency = well_kept()
    card = agency.card()
    return agency, card, encode_card(card)


def problem_of(data: str | bytes) -> CardProblem:
    with pytest.raises(CardError) as caught:
        parse_card(data)
    return caught.value.reason


def problem_with(card: Card) -> CardProblem:
    return problem_of(encode_card(card))


def test_a_card_introduces_its_agency() -> None:
    agency, card, data = good_card()
    found = parse_card(armour(data))
    assert found.card == card
    assert found.agency == card.agency == "bka.de"
    assert found.keys == agency.keys
    assert found.profile.endpoints == ("https://bka.de:7443",)
    assert found.profile_hash == leaf_hash(card.profile.entry)
    assert found.head == card.profile.checkpoint
    assert found.safety_code == safety_code(agency.agency, root_pair("bka.de").public)
    assert [entry.reason for entry in found.opened] == ["rollback"]


def test_a_fresh_agency_has_a_card() -> None:
    found = parse_card(encode_card(make_agency("bka.de").card()))
    assert found.keys.changes == ()
    assert found.opened == ()


def test_the_armour_has_lines_of_64_characters() -> None:
    _, _, data = good_card()
    first, *lines, last, end = armour(data).split("\n")
    assert (first, last, end) == ("-----BEGIN TOCSIN CARD-----", "-----END TOCSIN CARD-----", "")
    assert {len(line) for line in lines[:-1]} == {64}
    assert b64decode("".join(lines)) == data


def test_what_mail_does_to_a_card_does_no_harm() -> None:
    _, card, data = good_card()
    text = armour(data)
    whole = b64encode(data).decode()
    for mailed in (
        f"Dear colleagues,\n\nour card:\n{text}\nRegards\n",
        text.replace("\n", "\r\n"),
        text.replace("\n", "  \n\n"),
        "\ufeff" + text,
        f"{BEGIN_LINE}\n{whole}\n{END_LINE}",
    ):
        assert parse_card(mailed).card == card
        assert parse_card(mailed.encode()).card == card


def test_a_card_s_own_bytes_are_a_card_too() -> None:
    _, card, data = good_card()
    assert parse_card(data).card == card


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", CardProblem.NOT_A_CARD),
        (b"", CardProblem.BAD_ENCODING),
        ("hello", CardProblem.NOT_A_CARD),
        (BEGIN_LINE, CardProblem.NOT_A_CARD),
        (f"{END_LINE}\n{BEGIN_LINE}", CardProblem.NOT_A_CARD),
        (f"{BEGIN_LINE}\n{BEGIN_LINE}\n{END_LINE}", CardProblem.SEVERAL_CARDS),
        (f"{BEGIN_LINE}\n{END_LINE}\n{BEGIN_LINE}\n{END_LINE}", CardProblem.SEVERAL_CARDS),
        (f"{BEGIN_LINE}\n{END_LINE}", CardProblem.BAD_ENCODING),
        (f"{BEGIN_LINE}\nno base64!\n{END_LINE}", CardProblem.BAD_ENCODING),
        (f"{BEGIN_LINE}\nlQE=\n{END_LINE}", CardProblem.BAD_ENCODING),
        (f"{BEGIN_LINE}\nkwE\n{END_LINE}", CardProblem.BAD_ENCODING),
        ("x" * (2 * MAX_CARD_BYTES + 1), CardProblem.TOO_LARGE),
        (bytes(MAX_CARD_BYTES + 1), CardProblem.TOO_LARGE),
    ],
)
def test_what_is_no_card_is_told_by_its_reason(text: str | bytes, problem: CardProblem) -> None:
    assert problem_of(text) == problem


def test_another_version_is_not_read() -> None:
    _, _, data = good_card()
    assert data[:2] == b"\x95\x01"
    assert problem_of(b"\x95\x02" + data[2:]) is CardProblem.BAD_ENCODING


def test_an_anchor_that_its_root_did_not_sign_is_refused() -> None:
    _, card, _ = good_card()
    anchor = card.anchor
    forged = Anchor(anchor.body_bytes, anchor.body, bytes(64), anchor.mldsa_sig)
    assert problem_with(replace(card, anchor=forged)) is CardProblem.BAD_ANCHOR


def test_another_root_s_anchor_does_not_vouch_for_these_keys() -> None:
    _, card, _ = good_card()
    mallory = make_test_anchor("bka.de", node=node_pair("bka.de", 50).public, signer=root_pair("mallory.example"))
    assert problem_with(replace(card, anchor=mallory)) is CardProblem.BAD_KEY_CHANGE
    assert problem_with(replace(card, anchor=mallory, key_changes=())) is CardProblem.BAD_PROFILE


def test_a_card_that_leaves_out_a_key_change_proves_nothing_after_it() -> None:
    _, card, _ = good_card()
    assert problem_with(replace(card, key_changes=card.key_changes[1:])) is CardProblem.BAD_KEY_CHANGE
    assert problem_with(replace(card, key_changes=card.key_changes[:1])) is CardProblem.BAD_PROFILE


def test_two_changes_of_one_pair_on_a_card_are_a_conflict() -> None:
    agency = make_agency("bka.de")
    fork = agency.fork(0)
    thief = replace(agency, log=fork, changes=[], pairs=50)
    filler(thief, 1)
    agency.rotate()
    card = agency.card()
    stolen = thief.rotate()
    assert problem_with(replace(card, key_changes=(*card.key_changes, stolen))) is CardProblem.KEY_CONFLICT


def test_the_profile_of_a_card_is_a_profile_in_its_own_log() -> None:
    agency = well_kept()
    card = agency.card()
    other = agency.say(lambda salt, time: KeyDestroyed(salt, time, 1))
    assert problem_with(replace(card, profile=other)) is CardProblem.BAD_PROFILE
    foreign = make_agency("ponal.co").publish_profile()
    assert problem_with(replace(card, profile=foreign)) is CardProblem.BAD_PROFILE


def test_a_log_opened_is_leaf_0_of_a_later_generation() -> None:
    agency = well_kept()
    card = agency.card()
    profile_again = replace(card, opened=(card.profile,))
    assert problem_with(profile_again) is CardProblem.BAD_LOG_OPENED
    inside = agency.say(lambda salt, time: LogOpened(salt, time, 1, 3, bytes(32), "clock"))
    assert problem_with(replace(card, opened=(inside,))) is CardProblem.BAD_LOG_OPENED
    forged = replace(card.opened[0], path=(bytes(32),))
    assert problem_with(replace(card, opened=(forged,))) is CardProblem.BAD_LOG_OPENED
    own = make_agency("bka.de")
    first = own.log.proof(own.log.commit(encode_entry(LogOpened(own.salt(), own.time, 1, 3, bytes(32), "clock"))))
    assert problem_with(replace(own.card(), opened=(first,))) is CardProblem.BAD_LOG_OPENED


def test_a_card_carries_what_came_after_its_anchor_only() -> None:
    agency = well_kept()
    agency.next_anchor()
    agency.publish_profile("https://new.bka.de:7443")
    card = agency.card()
    assert card.anchor.body.serial == 2
    assert (card.key_changes, card.opened) == ((), ())
    found = parse_card(armour(encode_card(card)))
    assert found.profile.endpoints == ("https://new.bka.de:7443",)


def at_the_ceremony(*, revoke: bool = False, new_pair: bool = False) -> tuple[Agency, Card]:
    """The card that is made with the next anchor, before anything is logged beyond its base."""
    agency = well_kept()
    assert agency.profile is not None
    index = agency.profile.index
    filler(agency, 2)
    agency.profile = agency.log.proof(index)
    agency.next_anchor(revoke=revoke, new_pair=new_pair)
    return agency, agency.card()


@pytest.mark.parametrize("revoke", [False, True])
def test_a_card_made_at_the_ceremony_is_proved_by_the_base_that_the_root_signed(revoke: bool) -> None:
    _, card = at_the_ceremony(revoke=revoke)
    found = parse_card(armour(encode_card(card)))
    assert found.profile.endpoints == ("https://bka.de:7443",)
    assert (found.head.size, found.head.root) == (
        card.anchor.body.gateways[0].base_size,
        card.anchor.body.gateways[0].base_root,
    )


def test_a_profile_short_of_the_base_is_not_proved_by_it() -> None:
    agency, card = at_the_ceremony()
    assert agency.profile is not None
    short = agency.log.proof(agency.profile.index, agency.log.size - 1)
    assert problem_with(replace(card, profile=short)) is CardProblem.BAD_PROFILE


@pytest.mark.parametrize("change", [{"path": ()}, {"entry": b"no entry"}, {"index": 0}])
def test_what_does_not_lead_to_the_base_is_not_proved_by_it(change: dict[str, object]) -> None:
    _, card = at_the_ceremony(revoke=True)
    bad = replace(card.profile, **change)  # type: ignore[arg-type]
    assert problem_with(replace(card, profile=bad)) is CardProblem.BAD_PROFILE


def test_another_entry_at_the_base_is_no_profile() -> None:
    agency, card = at_the_ceremony(revoke=True)
    assert problem_with(replace(card, profile=agency.log.proof(agency.log.size - 1))) is CardProblem.BAD_PROFILE


def test_the_head_at_the_base_is_signed_by_the_pair_that_the_anchor_names() -> None:
    _, card = at_the_ceremony()
    unsigned = replace(card.profile.checkpoint, timestamp=1)
    assert problem_with(replace(card, profile=replace(card.profile, checkpoint=unsigned))) is CardProblem.BAD_PROFILE
    _, renewed = at_the_ceremony(new_pair=True)
    assert problem_with(renewed) is CardProblem.BAD_PROFILE


@given(st.data())
def test_no_byte_of_a_card_can_be_changed(data: st.DataObject) -> None:
    _, _, good = good_card()
    at = data.draw(st.integers(0, len(good) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != good[at]))
    with pytest.raises(CardError):
        parse_card(armour(good[:at] + bytes([byte]) + good[at + 1 :]))


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_input_is_a_card_or_a_card_error(data: bytes | str) -> None:
    with pytest.raises(CardError):
        parse_card(data)
    with pytest.raises(CardError):
        parse_card(armour(data if isinstance(data, bytes) else data.encode()))
