"""Times that people type, and times that people read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.cli.times import format_time, parse_time, show_size, show_span, show_time, show_time_there, show_times_in
from nodes.errors import OperationError

NOW = datetime(2026, 11, 23, 7, 12, 31, 204_000, UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("typed", "past", "meant"),
    [
        ("2026-11-23T02:10:00-05:00", True, "2026-11-23T07:10:00.000Z"),
        ("2026-11-23T07:10:00Z", True, "2026-11-23T07:10:00.000Z"),
        ("24h", True, "2026-11-22T07:12:31.204Z"),
        ("7d", False, "2026-11-30T07:12:31.204Z"),
        ("+2w", False, "2026-12-07T07:12:31.204Z"),
        ("90m", True, "2026-11-23T05:42:31.204Z"),
    ],
)
def test_a_time_is_taken_as_it_was_meant(typed: str, past: bool, meant: str) -> None:
    assert parse_time("--since", typed, NOW, past=past) == meant


@pytest.mark.parametrize(
    "typed",
    ["2026-11-23", "2026-11-23T02:10:00", "yesterday", "", "7", "d", "7y", "99999999d", "0001-01-01T00:00:00+14:00"],
)
def test_a_time_that_could_mean_two_things_is_refused(typed: str) -> None:
    with pytest.raises(OperationError) as refused:
        parse_time("--until", typed, NOW, past=False)
    assert refused.value.code == "usage"
    assert refused.value.problems[0].rule == "rfc3339_offset"


def test_a_person_reads_local_time_with_utc_beside_it() -> None:
    assert show_time("2026-11-23T07:12:31.204Z", BERLIN) == "2026-11-23 08:12 CET (07:12Z)"
    assert show_time("2026-11-22T23:30:00.000Z", BERLIN) == "2026-11-23 00:30 CET (2026-11-22 23:30Z)"
    assert show_time("2026-11-23T07:12:31.204Z", UTC) == "2026-11-23 07:12 UTC"


def test_an_event_elsewhere_is_told_by_the_clock_on_the_wall_there() -> None:
    assert (
        show_time_there("2026-11-23T02:10:00-05:00", BERLIN)
        == "2026-11-23 02:10 there, 2026-11-23 08:10 CET (07:10Z) here"
    )
    assert show_time_there("2026-11-23T08:10:00+01:00", BERLIN) == "2026-11-23 08:10 CET (07:10Z)"


@given(st.text() | st.none() | st.integers() | st.datetimes(timezones=st.timezones()).map(datetime.isoformat))
def test_whatever_stands_where_a_time_should_be_is_shown(said: object) -> None:
    for shown in (show_time(said, BERLIN), show_time_there(said, BERLIN)):
        assert bool(shown) == (isinstance(said, str) and bool(said))


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_written_is_read_back_to_the_millisecond(moment: datetime) -> None:
    again = datetime.fromisoformat(format_time(moment))
    assert timedelta(0) <= moment - again < timedelta(milliseconds=1)


def test_spans_and_sizes_are_for_people() -> None:
    assert [show_span(n) for n in (8, 1500, 600_000, 7_200_000, 864_000_000, -12, None, True)] == [
        "8 ms", "2 s", "10 min", "2 h", "10 d", "-12 ms", "", "",
    ]  # fmt: skip
    assert [show_size(n) for n in (5, 1480, 81_200_000_000, None)] == ["5 bytes", "1.5 kB", "81.2 GB", ""]


def test_a_sentence_of_the_node_tells_its_times_here_and_in_utc() -> None:
    said = show_times_in("It runs until 2026-11-30T23:12:30.911Z already.", BERLIN)
    assert said == "It runs until 2026-12-01 00:12 CET (2026-11-30 23:12Z) already."
    assert show_times_in("write it like 2026-11-23T02:10:00-05:00") == "write it like 2026-11-23T02:10:00-05:00"
