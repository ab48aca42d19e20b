"""One value at a time: what is taken, in which form it is kept, and what is refused by which rule."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.alerts import code_list
from exchange.alerts.times import date_range, format_time, ms_or_none, time_ms
from exchange.alerts.world import is_country, plate_key
from tests.alerts.builders import Tree, changed, completed, found, put, smallest


def kept(path: str, value: Any) -> Any:
    document: Any = completed(changed(put(path, value), furnished())).document
    for part in path.split("/")[1:]:
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document


def rule(path: str, value: Any) -> set[str]:
    return {rule for place, rule in found(changed(put(path, value), furnished())) if place == path}


def furnished() -> Tree:
    tree = smallest()
    tree["persons"][0]["special_category_justification"] = "needed"
    tree["vehicles"] = [{"id": "v1", "kind": "van", "plates": [{"text": "SXK 482", "country": "CO"}]}]
    tree["comms"] = [{"id": "c1", "type": "msisdn", "value": "+573000000417"}]
    return tree


PERSON, PLACE, VEHICLE, COMMS = "/persons/0", "/locations/0", "/vehicles/0", "/comms/0"

TAKEN: list[tuple[str, Any, Any]] = [
    ("/incident/last_seen", {"at": "2026-11-23T02:10:00Z"}, {"at": "2026-11-23T02:10:00Z"}),
    ("/incident/taken/tz", "Asia/Kathmandu", "Asia/Kathmandu"),
    (f"{PERSON}/dob", "2017-04-12", "2017-04-12"),
    (f"{PERSON}/description", {"height_cm": "132"}, {"height_cm": 132}),
    (
        f"{PERSON}/description",
        {"height_cm": {"value": "132", "fact": "reported", "src": "B", "info": "2", "scheme": "4x4"}},
        {"height_cm": {"value": 132, "fact": "reported", "src": "B", "info": "2", "scheme": "4x4"}},
    ),
    (f"{PERSON}/description", {"hair": {"absent": "not_asked"}}, {"hair": {"absent": "not_asked"}}),
    (f"{PERSON}/sex", "F", "2"),
    (f"{PERSON}/sex", "male", "1"),
    (f"{PERSON}/sex", "9", "9"),
    (f"{PERSON}/nationalities", ["COL", "XXA", "GBD", "D"], ["COL", "XXA", "GBD", "D"]),
    (f"{PERSON}/languages", [{"lang": "zh-Hans"}, {"lang": "quc"}], [{"lang": "zh-Hans"}, {"lang": "quc"}]),
    (f"{PERSON}/names/0/script", "Arab", "Arab"),
    (f"{PERSON}/names/0/original_script", "سلمى خوري", "سلمى خوري"),
    (
        f"{PERSON}/documents",
        [{"type": "P", "number": "X1", "issuer": "D"}],
        [{"type": "P", "number": "X1", "issuer": "D"}],
    ),
    (f"{PLACE}/country", "XK", "XK"),
    (f"{PLACE}/subdivision", "CO-NSA", "CO-NSA"),
    (f"{PLACE}/radius_m", "250.5", 250.5),
    (f"{PLACE}/geometry", {"type": "Point", "coordinates": ["-72.5", 7]}, {"type": "Point", "coordinates": [-72.5, 7]}),
    (
        f"{PLACE}/geometry",
        {"type": "LineString", "coordinates": [[0, 0], [1, 1]]},
        {"type": "LineString", "coordinates": [[0, 0], [1, 1]]},
    ),
    (f"{VEHICLE}/plates/0/country", "unknown", "unknown"),
    (f"{VEHICLE}/plates/0/normalised", "SXK482", "SXK482"),
    (f"{VEHICLE}/plates/0/partial", "yes", True),
    (f"{VEHICLE}/vin", "WVWZZZ1JZXW000001", "WVWZZZ1JZXW000001"),
    (f"{VEHICLE}/year", {"min": "2014"}, {"min": 2014}),
    (
        f"{COMMS}",
        {"id": "c1", "type": "msisdn", "value": "+57 300 000-0417"},
        {"id": "c1", "type": "msisdn", "value": "+573000000417"},
    ),
    (
        f"{COMMS}",
        {"id": "c1", "type": "msisdn", "value": "300 000 0417", "country": "CO"},
        {"id": "c1", "type": "msisdn", "value": "+573000000417", "country": "CO"},
    ),
    (
        f"{COMMS}",
        {"id": "c1", "type": "imei", "value": "49-015420-323751-8"},
        {"id": "c1", "type": "imei", "value": "490154203237518"},
    ),
    (
        f"{COMMS}",
        {"id": "c1", "type": "imei", "value": "49015420323751"},
        {"id": "c1", "type": "imei", "value": "490154203237518"},
    ),
    (
        f"{COMMS}",
        {"id": "c1", "type": "ip", "value": "2001:DB8::1"},
        {"id": "c1", "type": "ip", "value": "2001:db8::1"},
    ),
    (
        f"{COMMS}",
        {"id": "c1", "type": "im_handle", "value": "El Primo"},
        {"id": "c1", "type": "im_handle", "value": "El Primo"},
    ),
    (
        f"{COMMS}",
        {"id": "c1", "type": "msisdn", "value": "private number", "spoofed": "true"},
        {"id": "c1", "type": "msisdn", "value": "private number", "spoofed": True},
    ),
]


@pytest.mark.parametrize(("path", "value", "form"), TAKEN)
def test_a_value_is_taken_and_kept_in_its_normal_form(path: str, value: Any, form: Any) -> None:
    assert kept(path, value) == form


REFUSED: list[tuple[str, Any, str]] = [
    ("/summary", "x" * 281, "too_long"),
    ("/summary", " ", "blank"),
    ("/summary", "Girl, 9\x1b[2J", "control_character"),
    ("/summary", "Girl, 9\x00", "control_character"),
    ("/case_id", "17", "case_id"),
    ("/case_id", "co-ponal/2026/17", "case_id"),
    ("/incident/taken/earliest", "2026-11-23T02:10:00", "rfc3339_offset"),
    ("/incident/taken/earliest", "2026-11-23T02:10-05:00", "rfc3339_offset"),
    ("/incident/taken/earliest", "2026-11-23 02:10:00-05:00", "rfc3339_offset"),
    ("/incident/taken/earliest", "2026-02-30T02:10:00Z", "rfc3339_offset"),
    ("/incident/taken/earliest", "23.11.2026 02:10", "rfc3339_offset"),
    ("/incident/taken/tz", "EST5", "time_zone"),
    (f"{PERSON}/dob", "1985-13", "partial_date"),
    (f"{PERSON}/dob", "12.04.1985", "partial_date"),
    (f"{PERSON}/dob", "1985-XX-04", "partial_date"),
    (f"{PERSON}/dob", "0000", "partial_date"),
    (f"{PERSON}/age/min", "nine", "whole_number"),
    (f"{PERSON}/age/min", 9.5, "whole_number"),
    (f"{PERSON}/age/min", True, "whole_number"),
    (f"{PERSON}/age/min", 131, "out_of_range"),
    (f"{PERSON}/age/min", -1, "out_of_range"),
    (f"{PERSON}/sex", "girl", "sex"),
    (f"{PERSON}/nationalities/0", "CO", "nationality"),
    (f"{PERSON}/nationalities/0", "914", "nationality"),
    (f"{PERSON}/names/0/lang", "xq", "language"),
    (f"{PERSON}/names/0/lang", "Spanish", "language"),
    (f"{PERSON}/names/0/script", "Latin", "script"),
    (f"{PERSON}/health/medication/needed_every", "8h", "duration"),
    (f"{PERSON}/health/medication/needed_every", "P", "duration"),
    (f"{PERSON}/health/medication/needed_every", "PT", "duration"),
    (f"{PERSON}/id", "1", "local_id"),
    (f"{PLACE}/country", "co", "country"),
    (f"{PLACE}/country", "COL", "country"),
    (f"{PLACE}/country", "QA1", "country"),
    (f"{PLACE}/subdivision", "CO-ZZZ", "subdivision"),
    (f"{PLACE}/radius_m", "far", "number"),
    (f"{PLACE}/radius_m", True, "number"),
    (f"{PLACE}/geometry", {"type": "Point", "coordinates": [7.89, -172.5]}, "out_of_range"),
    (f"{PLACE}/geometry", {"type": "Point", "coordinates": [1]}, "geojson"),
    (f"{PLACE}/geometry", {"type": "Circle", "coordinates": [1, 1]}, "geojson"),
    (f"{PLACE}/geometry", {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [0, 0]]]}, "geojson"),
    (f"{PLACE}/geometry", {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1]]]}, "geojson"),
    (f"{PLACE}/geometry", {"type": "Point", "coordinates": [1, 1], "crs": "x"}, "geojson"),
    (f"{VEHICLE}/plates/0/country", "CX1", "country"),
    (f"{VEHICLE}/plates/0/normalised", "sxk 482", "plate_key"),
    (f"{VEHICLE}/vin", "WVWZZZ1JZXW00000O", "vin"),
    (f"{VEHICLE}/imo", "12", "out_of_range"),
]


@pytest.mark.parametrize(("path", "value", "broken"), REFUSED)
def test_a_value_that_breaks_a_rule_is_refused_by_it(path: str, value: Any, broken: str) -> None:
    tree = furnished()
    tree["persons"][0]["nationalities"] = ["COL"]
    tree["persons"][0]["health"] = {"medication": {"name": "insulin"}}
    assert broken in {rule for place, rule in found(changed(put(path, value), tree)) if place == path}


@pytest.mark.parametrize(
    ("type_", "value", "broken"),
    [
        ("msisdn", "3000000417", "e164"),
        ("msisdn", "+57", "e164"),
        ("msisdn", "+1 202 555 0100 ext. 5", "e164"),
        ("msisdn", "the mother's", "e164"),
        ("sat_phone", "+8816", "e164"),
        ("imei", "490154203237517", "imei"),
        ("imei", "12345", "imei"),
        ("imsi", "12a", "imsi"),
        ("iccid", "1", "iccid"),
        ("email", "nobody", "email"),
        ("ip", "999.1.1.1", "ip"),
        ("mac", "00:1a", "mac"),
        ("domain", "no domain", "domain"),
        ("url", "example.org", "url"),
    ],
)
def test_a_number_or_address_has_the_form_of_its_type(type_: str, value: str, broken: str) -> None:
    assert rule(COMMS, {"id": "c1", "type": type_, "value": value}) == set()
    tree = changed(put(COMMS, {"id": "c1", "type": type_, "value": value}), furnished())
    assert found(tree) == {(f"{COMMS}/value", broken)}
    tree["comms"][0]["spoofed"] = True
    assert found(tree) == set()


def test_what_is_no_text_at_all_is_left_to_the_model() -> None:
    for entry in ({"id": "c1", "type": "msisdn"}, {"id": "c1", "type": "msisdn", "value": 7}):
        tree = changed(put(COMMS, entry), furnished())
        assert {place for place, _ in found(tree)} == {f"{COMMS}/value"}
    assert found(changed(put("/comms", ["x"]), furnished())) == {("/comms/0", "type")}


@pytest.mark.parametrize(
    ("value", "good"),
    [
        ("8957 0000 0000 0000 045", True),
        ("8957 0000 0000 0000 046", False),
        ("895700000000000004", True),  # as some providers print it, without the digit that checks
        ("89570000000000000417", True),
    ],
)
def test_a_card_number_of_nineteen_digits_is_checked(value: str, good: bool) -> None:
    tree = changed(put(COMMS, {"id": "c1", "type": "iccid", "value": value}), furnished())
    assert found(tree) == (set() if good else {(f"{COMMS}/value", "iccid")})


def test_a_value_inside_a_qualified_one_is_judged_like_a_bare_one() -> None:
    tree = changed(put(f"{PERSON}/description", {"hair": {"value": "blnd"}, "eyes": {"valu": "x"}}), furnished())
    assert found(tree) == {
        (f"{PERSON}/description/hair/value", "unknown_code"),
        (f"{PERSON}/description/eyes/valu", "unknown_field"),
    }


# --- times ------------------------------------------------------------------------------------------------------------

MS = st.integers(0, 253_402_300_799_999)


@given(MS)
def test_a_time_that_is_written_is_read_as_the_same_moment(ms: int) -> None:
    assert time_ms(format_time(ms)) == ms


@given(MS, st.integers(-23 * 60, 23 * 60))
def test_an_offset_moves_the_clock_and_not_the_moment(ms: int, minutes: int) -> None:
    shifted = ms + minutes * 60_000
    if not 0 <= shifted <= 253_402_300_799_999:
        return
    sign = "-" if minutes < 0 else "+"
    offset = f"{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
    assert time_ms(format_time(shifted).replace("Z", offset)) == ms


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-11-23T02:10:00-05:00", 1_795_417_800_000),
        ("2026-11-23t07:10:00z", 1_795_417_800_000),
        ("2026-11-23T07:10:00.5Z", 1_795_417_800_500),
        ("2026-11-23T07:10:00.123456789Z", 1_795_417_800_123),
        ("2026-11-23T07:10:00-00:00", 1_795_417_800_000),
        ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
    ],
)
def test_the_forms_of_rfc_3339_are_read(text: str, ms: int) -> None:
    assert time_ms(text) == ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-23",
        "2026-11-23T07:10:00",
        "2026-11-23T07:10Z",
        "2026-11-23T24:00:00Z",
        "2026-11-23T07:10:60Z",
        "2026-13-01T00:00:00Z",
        "2026-11-23T07:10:00+24:00",
        "2026-11-23T07:10:00+05:60",
        "2026-11-23T07:10:00+0500",
        "٢٠٢٦-11-23T07:10:00Z",
        "2026-11-23T07:10:00Z\n",
        "0000-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "9999-12-31T23:59:59-01:00",
        "0001-01-01T00:00:00+23:59",
    ],
)
def test_what_nobody_could_write_back_is_no_time(text: str) -> None:
    assert ms_or_none(text) is None


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("1985", date(1985, 1, 1), date(1985, 12, 31)),
        ("1985-04", date(1985, 4, 1), date(1985, 4, 30)),
        ("1985-12", date(1985, 12, 1), date(1985, 12, 31)),
        ("2024-02", date(2024, 2, 1), date(2024, 2, 29)),
        ("1985-04-12", date(1985, 4, 12), date(1985, 4, 12)),
        ("1985-XX", date(1985, 1, 1), date(1985, 12, 31)),
        ("198X", date(1980, 1, 1), date(1989, 12, 31)),
        ("19XX", date(1900, 1, 1), date(1999, 12, 31)),
        ("1985~", date(1984, 1, 1), date(1986, 12, 31)),
        ("2024-02-29?", date(2023, 2, 28), date(2025, 2, 28)),
    ],
)
def test_a_partial_date_means_every_day_that_it_can(text: str, first: date, last: date) -> None:
    assert date_range(text) == (first, last)


@given(st.text(max_size=12))
def test_any_text_is_a_partial_date_or_is_refused(text: str) -> None:
    try:
        first, last = date_range(text)
    except ValueError:
        return
    assert first <= last


@pytest.mark.parametrize("text", ["9999", "9999-12", "999X", "0001", "9999-12-31~", "0001~"])
def test_the_ends_of_the_calendar_are_no_crash(text: str) -> None:
    try:
        first, last = date_range(text)
    except ValueError:
        return
    assert first <= last


# --- plates, countries ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("sxk 482", "SXK482"),
        ("SXK-482", "SXK482"),
        ("S·X·K.482", "SXK482"),
        ("\uff33\uff38\uff2b\uff14\uff18\uff12", "SXK482"),  # full-width, as a Japanese keyboard writes
        ("\u0410 001 \u0410\u0410", "\u0410001\u0410\u0410"),  # Cyrillic stays Cyrillic
    ],
)
def test_a_plate_is_compared_without_what_painters_add(text: str, key: str) -> None:
    assert plate_key(text) == key
    assert plate_key(key) == key


@given(st.text(max_size=20))
def test_normalising_a_plate_twice_changes_nothing(text: str) -> None:
    assert plate_key(plate_key(text)) == plate_key(text)


@pytest.mark.parametrize(
    ("text", "known"), [("CO", True), ("XK", True), ("EU", True), ("co", False), ("YY", False), ("", False)]
)
def test_a_country_is_one_of_the_list_or_assigned_by_users(text: str, known: bool) -> None:
    assert is_country(text) is known


def test_every_code_of_a_list_is_taken() -> None:
    for code in code_list("L04").codes:
        assert kept("/incident/type", code) == code
