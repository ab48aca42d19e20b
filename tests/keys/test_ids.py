"""Names on the wire (PROTOCOL §2): one spelling each."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.errors import EncodingError
from keys.ids import (
    AgencyId,
    GatewayName,
    Origin,
    format_uuid,
    parse_agency_id,
    parse_gateway_name,
    parse_origin,
    parse_uuid,
)
from keys.randomness import new_envelope_id, new_message_id, random_bytes


@pytest.mark.parametrize("text", ["bka.de", "interpol.int", "abc", "a-b.c", "0.1", "x" * 64])
def test_an_agency_id_is_taken_as_it_is_written(text: str) -> None:
    assert parse_agency_id(text) == text


@pytest.mark.parametrize(
    "text", ["", "de", "x" * 65, "BKA.de", "bka_de", "bka/de", "bka.de\n", " bka.de", "bka\uff0ede", "\u017fka.de"]
)
def test_what_is_no_agency_id_is_refused(text: str) -> None:
    with pytest.raises(EncodingError) as caught:
        parse_agency_id(text)
    assert caught.value.rule == "agency_id"


@pytest.mark.parametrize("text", ["gw1", "a", "0-0", "x" * 16])
def test_a_gateway_name_is_taken_as_it_is_written(text: str) -> None:
    assert parse_gateway_name(text) == text


@pytest.mark.parametrize("text", ["", "x" * 17, "GW1", "gw.1", "gw 1", "gw1\n", "g/w", "gw\u0661"])
def test_what_is_no_gateway_name_is_refused(text: str) -> None:
    with pytest.raises(EncodingError) as caught:
        parse_gateway_name(text)
    assert caught.value.rule == "gateway_name"


def test_an_origin_is_named_as_the_protocol_writes_it() -> None:
    assert Origin(AgencyId("bka.de"), GatewayName("gw1"), 1).name == "bka.de/gw1/1"


def test_the_last_generation_has_a_name() -> None:
    assert parse_origin(f"bka.de/gw1/{2**63 - 1}").generation == 2**63 - 1


@given(st.from_regex(r"\A[a-z0-9.-]{3,64}\Z"), st.from_regex(r"\A[a-z0-9-]{1,16}\Z"), st.integers(1, 2**63 - 1))
def test_an_origin_is_read_back_from_its_name(agency: str, gateway: str, generation: int) -> None:
    origin = Origin(AgencyId(agency), GatewayName(gateway), generation)
    assert parse_origin(origin.name) == origin


@given(st.text(alphabet="abz019./- \n\u0661", max_size=24))
def test_any_text_is_the_name_of_an_origin_or_an_encoding_error(text: str) -> None:
    try:
        origin = parse_origin(text)
    except EncodingError:
        return
    assert origin.name == text


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("bka.de/gw1", "origin"),
        ("bka.de/gw1/1/1", "origin"),
        ("bka.de/gw1/", "origin"),
        ("bka.de/gw1/0", "origin"),
        ("bka.de/gw1/01", "origin"),
        ("bka.de/gw1/+1", "origin"),
        ("bka.de/gw1/-1", "origin"),
        ("bka.de/gw1/1 ", "origin"),
        ("bka.de/gw1/1_0", "origin"),
        ("bka.de/gw1/9223372036854775808", "origin"),
        ("bka.de/gw1/" + "9" * 5000, "origin"),
        ("BKA.de/gw1/1", "agency_id"),
        ("bka.de//1", "gateway_name"),
    ],
)
def test_what_is_no_origin_is_refused(text: str, rule: str) -> None:
    with pytest.raises(EncodingError) as caught:
        parse_origin(text)
    assert caught.value.rule == rule


@given(st.binary(min_size=16, max_size=16))
def test_an_id_is_read_back_from_its_text(data: bytes) -> None:
    assert format_uuid(data) == str(UUID(bytes=data))
    assert parse_uuid(format_uuid(data)) == data


@pytest.mark.parametrize(
    "text",
    [
        "",
        "6F0C7A52-1B2D-4E3F-8A90-B1C2D3E4F506",
        "6f0c7a521b2d4e3f8a90b1c2d3e4f506",
        "{6f0c7a52-1b2d-4e3f-8a90-b1c2d3e4f506}",
        "6f0c7a52-1b2d-4e3f-8a90-b1c2d3e4f50",
        "6f0c7a52-1b2d-4e3f-8a90-b1c2d3e4f506\n",
        "6f0c7a5-21b2d-4e3f-8a90-b1c2d3e4f506",
        "urn:uuid:6f0c7a52-1b2d-4e3f-8a90-b1c2d3e4f506",
    ],
)
def test_another_spelling_of_an_id_is_refused(text: str) -> None:
    with pytest.raises(EncodingError) as caught:
        parse_uuid(text)
    assert caught.value.rule == "uuid"


@pytest.mark.parametrize("length", [0, 15, 17])
def test_only_sixteen_bytes_are_shown_as_an_id(length: int) -> None:
    with pytest.raises(EncodingError) as caught:
        format_uuid(bytes(length))
    assert caught.value.rule == "uuid"


@pytest.mark.parametrize("draw", [new_message_id, new_envelope_id])
def test_new_ids_are_random_uuids_and_differ(draw: object) -> None:
    ids = [draw() for _ in range(100)]  # type: ignore[operator]
    assert len(set(ids)) == 100
    assert {UUID(bytes=bytes(one)).version for one in ids} == {4}
    assert {UUID(bytes=bytes(one)).variant for one in ids} == {"specified in RFC 4122"}


def test_as_many_random_bytes_are_drawn_as_are_asked_for() -> None:
    assert [len(random_bytes(length)) for length in (0, 1, 32)] == [0, 1, 32]
    assert random_bytes(32) != random_bytes(32)
