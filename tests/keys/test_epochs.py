"""DESIGN 4: an epoch key a day, thirty days published ahead, the private half destroyed when nothing can need it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.epochs import (
    DESTROY_MARGIN_MS,
    EPOCH_PERIOD_MS,
    MESSAGE_LIFETIME_MAX_MS,
    PUBLISH_AHEAD,
    PublishedKey,
    choose_key,
    plan_destruction,
    plan_publication,
)
from tests.keys.builders import DAY_MS, NOW


def published(*calendar: tuple[int, int]) -> list[PublishedKey]:
    return [PublishedKey(number, use_from, b"") for number, use_from in calendar]


def test_the_periods_are_those_of_the_design() -> None:
    assert (EPOCH_PERIOD_MS, MESSAGE_LIFETIME_MAX_MS, DESTROY_MARGIN_MS) == (DAY_MS, 30 * DAY_MS, 7 * DAY_MS)
    assert PUBLISH_AHEAD == 30


def test_a_new_node_publishes_a_key_for_now_and_thirty_ahead() -> None:
    assert plan_publication([], NOW) == [(1 + day, NOW + day * DAY_MS) for day in range(31)]


def test_nothing_is_due_until_a_day_has_passed_and_then_one_key() -> None:
    calendar = plan_publication([], NOW)
    assert plan_publication(calendar, NOW + DAY_MS - 1) == []
    assert plan_publication(calendar, NOW + DAY_MS) == [(32, NOW + 31 * DAY_MS)]


def test_a_node_that_was_off_for_a_week_publishes_what_it_missed() -> None:
    calendar = plan_publication([], NOW)
    assert [number for number, _ in plan_publication(calendar, NOW + 7 * DAY_MS)] == list(range(32, 39))


def test_a_node_that_was_off_for_a_year_begins_again_now_and_makes_no_key_for_the_past() -> None:
    now = NOW + 365 * DAY_MS
    assert plan_publication(plan_publication([], NOW), now) == [(32 + day, now + day * DAY_MS) for day in range(31)]


def test_numbers_that_others_may_hold_other_keys_under_cover_nothing() -> None:
    calendar = plan_publication([], NOW)
    again = plan_publication(calendar, NOW, 1_031)
    assert again == [(1_032 + day, NOW + (day - 1) * DAY_MS) for day in range(32)]
    assert plan_publication([*calendar, *again], NOW, 1_031) == []
    assert plan_publication([*calendar, *again], NOW + DAY_MS, 1_031) == [(1_064, NOW + 31 * DAY_MS)]
    assert plan_publication([(7, NOW)], NOW, 7)[0] == (8, NOW - DAY_MS)


def test_keys_dated_by_a_clock_that_was_years_ahead_do_not_stop_the_calendar() -> None:
    wrong = [(1, NOW), (2, NOW + 4000 * DAY_MS), (3, NOW + 4001 * DAY_MS)]
    planned = plan_publication(wrong, NOW)
    assert planned[0] == (4, NOW + DAY_MS)
    assert len(planned) == PUBLISH_AHEAD


@given(st.lists(st.integers(0, 100 * DAY_MS), min_size=1, max_size=25))
def test_however_irregularly_a_node_runs_its_calendar_covers_the_next_thirty_days(steps: list[int]) -> None:
    calendar: list[tuple[int, int]] = []
    now = NOW
    for step in steps:
        now += step
        planned = plan_publication(calendar, now)
        calendar += planned
        assert [number for number, _ in calendar] == list(range(1, len(calendar) + 1))
        assert all(use_from >= now for _, use_from in planned)
        ahead = [use_from for _, use_from in calendar if use_from > now]
        assert len(ahead) == PUBLISH_AHEAD
        assert any(use_from <= now for _, use_from in calendar)
        assert plan_publication(calendar, now) == []


def test_a_sender_uses_the_highest_number_whose_time_has_come() -> None:
    keys = published((1, NOW), (2, NOW + DAY_MS), (3, NOW + 2 * DAY_MS))
    chosen = [choose_key(keys, NOW + offset) for offset in (0, DAY_MS - 1, DAY_MS, 2 * DAY_MS, 900 * DAY_MS)]
    assert [key.number for key in chosen if key] == [1, 1, 2, 3, 3]


def test_the_highest_number_counts_and_not_the_latest_date() -> None:
    keys = published((4, NOW), (2, NOW + DAY_MS))
    chosen = choose_key(keys, NOW + 2 * DAY_MS)
    assert chosen is not None
    assert chosen.number == 4


def test_a_sender_whose_clock_is_slow_uses_the_first_key() -> None:
    chosen = choose_key(published((2, NOW + DAY_MS), (1, NOW)), NOW - 60_000)
    assert chosen is not None
    assert chosen.number == 1


def test_without_a_key_none_is_chosen() -> None:
    assert choose_key([], NOW) is None


def test_a_key_is_destroyed_thirty_seven_days_after_its_successor_came_into_use() -> None:
    keys = published((1, NOW), (2, NOW + DAY_MS), (3, NOW + 2 * DAY_MS))
    at = NOW + DAY_MS + 37 * DAY_MS
    assert plan_destruction(keys, at - 1) == []
    assert plan_destruction(keys, at) == [1]
    assert plan_destruction(keys, at + DAY_MS) == [1, 2]


def test_the_newest_key_is_never_destroyed() -> None:
    assert plan_destruction(published((7, NOW)), NOW + 10_000 * DAY_MS) == []
    assert plan_destruction([], NOW) == []


def test_a_key_dated_years_ahead_is_destroyed_once_higher_numbers_were_in_use() -> None:
    keys = published((1, NOW), (2, NOW + 4000 * DAY_MS), (3, NOW + DAY_MS))
    assert plan_destruction(keys, NOW + 38 * DAY_MS) == [1, 2]


def test_a_missing_number_does_not_keep_the_one_before_it() -> None:
    assert plan_destruction(published((1, NOW), (3, NOW + DAY_MS)), NOW + 38 * DAY_MS) == [1]


@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(-50, 50)), max_size=12, unique_by=lambda key: key[0]),
    st.integers(-100, 150),
)
@pytest.mark.parametrize("late", [0, 6])
def test_no_key_is_destroyed_that_a_message_under_way_can_still_need(
    late: int, calendar: list[tuple[int, int]], day: int
) -> None:
    """Whoever sealed in the last thirty days, by a clock up to six days slow, chose a key that is kept."""
    keys = published(*((number, NOW + offset * DAY_MS) for number, offset in calendar))
    now = NOW + day * DAY_MS
    destroyed = plan_destruction(keys, now)
    for ago in range(31):
        chosen = choose_key(keys, now - (ago + late) * DAY_MS)
        assert chosen is None or chosen.number not in destroyed
