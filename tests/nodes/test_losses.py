"""What is remembered of messages of ours that only peers still have: little, and never twice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.round import Numbers
from keys.encoding import MAX_INT
from keys.epochs import MESSAGE_LIFETIME_MAX_MS
from keys.ids import AgencyId, MessageId
from nodes.losses import MAX_COUNT, MAX_IDS, MAX_ROW_BYTES, LostPosts, stored_lost_posts, with_ids, with_numbers

NOW = 1_795_000_000_000
BKA = AgencyId("bka.de")


def told(generation: int, highest: int) -> Numbers:
    return Numbers(generation, highest + 1, highest + 1)


@pytest.mark.parametrize("told", [told(0, 0), told(1, 0), told(1, 7), told(1, 6)])
def test_a_peer_that_holds_no_more_than_was_sent_to_it_is_no_news(told: Numbers) -> None:
    assert with_numbers(LostPosts(), told, 7, NOW) == LostPosts()


def test_numbers_beyond_the_last_one_here_are_counted_once() -> None:
    lost = with_numbers(LostPosts(), told(1, 9), 7, NOW)
    assert (lost.generation, lost.count) == (1, 2)
    for used in (7, 8, 9):  # after other starts; the copy may have used the numbers again by then
        assert with_numbers(lost, told(1, 9), used, NOW + 1) == lost


def test_what_is_lost_in_a_later_generation_comes_on_top() -> None:
    lost = with_numbers(with_numbers(LostPosts(), told(1, 9), 7, NOW), told(2, 3), 0, NOW + 1)
    assert (lost.generation, lost.count, lost.at) == (2, 5, NOW + 1)
    assert with_numbers(lost, told(1, 50), 7, NOW + 2) == lost


def test_an_operator_hears_of_it_as_long_as_a_message_can_last() -> None:
    lost = with_numbers(LostPosts(), told(1, 9), 7, NOW)
    assert not LostPosts().is_news(NOW)
    assert lost.is_news(NOW + MESSAGE_LIFETIME_MAX_MS)
    assert not lost.is_news(NOW + MESSAGE_LIFETIME_MAX_MS + 1)


def test_what_an_ack_names_again_changes_nothing() -> None:
    lost = with_ids(LostPosts(), [MessageId(bytes(16))], NOW)
    assert with_ids(lost, [MessageId(bytes(16))], NOW + 1) is lost


@given(st.lists(st.tuples(st.integers(0, MAX_INT), st.integers(0, MAX_INT), st.integers(0, 300)), max_size=8))
def test_whatever_a_peer_claims_is_kept_in_one_small_row(claims: list[tuple[int, int, int]]) -> None:
    lost = replace(LostPosts(), at=NOW)
    for generation, following, first in claims:
        lost = with_numbers(lost, Numbers(generation, following, following), 3, NOW)
        lost = with_ids(lost, [MessageId(number.to_bytes(16, "big")) for number in range(first, first + 150)], NOW)
    assert len(lost.ids) <= MAX_IDS
    assert lost.count <= MAX_COUNT
    row = lost.row(BKA)
    assert len(row.value) <= MAX_ROW_BYTES
    assert stored_lost_posts(row.value) == lost
