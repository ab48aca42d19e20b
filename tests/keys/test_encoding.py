"""PROTOCOL §2: one encoding for each value, and no byte string that is not one."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keys.encoding import (
    MAX_DEPTH,
    MAX_INT,
    MAX_TIME_MS,
    MAX_VALUES,
    Value,
    decode,
    encode,
    take_array,
    take_bool,
    take_bytes,
    take_int,
    take_optional,
    take_text,
    take_time,
)
from keys.errors import EncodingError

VECTORS = json.loads((Path(__file__).parent / "vectors" / "encoding.json").read_text())
ROOMY = 1 << 20

scalars = st.one_of(st.none(), st.booleans(), st.integers(0, MAX_INT), st.text(max_size=300), st.binary(max_size=300))
values: st.SearchStrategy[Any] = st.recursive(scalars, lambda inner: st.lists(inner, max_size=20), max_leaves=30)


@st.composite
def nearly_encodings(draw: st.DrawFn) -> bytes:
    """What an encoder of msgpack that does not know our rules, or an attacker with an eye for them, would send."""
    loose = st.recursive(
        st.one_of(scalars, st.integers(-(2**63), 2**64 - 1), st.floats()),
        lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
        max_leaves=10,
    )
    data = bytearray(msgpack.packb(draw(loose), use_bin_type=draw(st.booleans())))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.integers(0, 2)):
            case 0:
                data[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case 1:
                data[at:at] = bytes([draw(st.integers(0, 255))])
            case _:
                del data[at:]
    return bytes(data)


def reference(data: bytes) -> tuple[bool, Any]:
    """PROTOCOL §2 said with msgpack: decode, look at every type, encode again, compare."""
    try:
        value = msgpack.unpackb(data, raw=False, use_list=True, strict_map_key=False)
        _look(value, 0)
        return msgpack.packb(value, use_bin_type=True) == data, value
    except (ValueError, TypeError, msgpack.exceptions.UnpackException):
        return False, None


def _look(value: Any, depth: int) -> None:
    if isinstance(value, list):
        if depth == MAX_DEPTH:
            raise ValueError
        for item in value:
            _look(item, depth + 1)
    elif type(value) is int:
        if not 0 <= value <= MAX_INT:
            raise ValueError
    elif not (value is None or isinstance(value, bool | str | bytes)):
        raise ValueError


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_each_published_case_has_its_verdict(vector: dict[str, str]) -> None:
    data = bytes.fromhex(vector["hex"])
    if vector["verdict"] == "accept":
        assert encode(decode(data, max_bytes=ROOMY)) == data
    else:
        with pytest.raises(EncodingError) as caught:
            decode(data, max_bytes=ROOMY)
        assert caught.value.rule == vector["verdict"]
        assert caught.value.offset is not None
        assert 0 <= caught.value.offset <= len(data)


@given(values)
def test_what_is_encoded_is_read_back(value: Any) -> None:
    assert decode(encode(value), max_bytes=ROOMY) == value


@given(values)
def test_the_encoding_is_msgpack(value: Any) -> None:
    assert encode(value) == msgpack.packb(value, use_bin_type=True)


@pytest.mark.parametrize("length", [0, 1, 14, 15, 16, 17, 30, 31, 32, 33, 254, 255, 256, 257, 65_535, 65_536, 65_537])
def test_every_form_is_read_from_its_first_length_to_its_last(length: int) -> None:
    for value in ([None] * length, "a" * length, b"a" * length, length):
        assert decode(encode(value), max_bytes=ROOMY) == value


@pytest.mark.parametrize(
    ("head", "length"),
    [
        *((b"\xc5\x00\xff", 255), (b"\xc6\x00\x00\xff\xff", 65_535)),
        *((b"\xd9\x1f", 31), (b"\xda\x00\xff", 255), (b"\xdb\x00\x00\xff\xff", 65_535)),
        *((b"\xdc\x00\x0f", 15), (b"\xdd\x00\x00\xff\xff", 65_535)),
        *((b"\xcc\x7f", 0), (b"\xcd\x00\xff", 0), (b"\xce\x00\x00\xff\xff", 0), (b"\xcf" + bytes(4) + b"\xff" * 4, 0)),
    ],
    ids=lambda value: value.hex() if isinstance(value, bytes) else "",
)
def test_the_last_length_of_a_shorter_form_is_not_taken_in_a_longer_one(head: bytes, length: int) -> None:
    with pytest.raises(EncodingError) as caught:
        decode(head + bytes(length), max_bytes=ROOMY)
    assert (caught.value.rule, caught.value.offset) == ("not_minimal", 0)


@pytest.mark.parametrize("power", [7, 8, 16, 32, 63])
def test_every_integer_is_read_on_both_sides_of_where_its_form_changes(power: int) -> None:
    for value in range(2**power - 2, min(2**power + 2, MAX_INT + 1)):
        assert decode(encode(value), max_bytes=ROOMY) == value


@pytest.mark.parametrize(
    "first",
    [*range(0x80, 0x90), 0xC1, *range(0xC7, 0xCC), *range(0xD0, 0xD9), 0xDE, 0xDF, *range(0xE0, 0x100)],
    ids=hex,
)
def test_maps_floats_extensions_and_negative_integers_are_refused_by_their_first_byte(first: int) -> None:
    for length in range(40):
        with pytest.raises(EncodingError) as caught:
            decode(bytes([first]) + bytes(length), max_bytes=ROOMY)
        assert (caught.value.rule, caught.value.offset) == ("forbidden_type", 0)


def test_text_that_is_no_utf_8_is_refused_at_the_byte_that_breaks_it() -> None:
    with pytest.raises(EncodingError) as caught:
        decode(b"\x92\x01\xa3ab\xff", max_bytes=ROOMY)
    assert (caught.value.rule, caught.value.offset) == ("bad_text", 5)


@given(st.binary(max_size=200))
@example(b"\x91" * 2000)
@example(b"\xdd\xff\xff\xff\xff" * 2000)
def test_any_bytes_are_a_canonical_encoding_or_an_encoding_error(data: bytes) -> None:
    try:
        value = decode(data, max_bytes=ROOMY)
    except EncodingError:
        return
    assert encode(value) == data


@given(st.one_of(nearly_encodings(), st.binary(max_size=40)))
def test_bytes_are_taken_exactly_when_they_re_encode_to_themselves(data: bytes) -> None:
    canonical, value = reference(data)
    try:
        decoded = decode(data, max_bytes=ROOMY)
    except EncodingError:
        assert not canonical
    else:
        assert canonical
        assert decoded == value


@given(values, st.data())
def test_no_encoding_is_the_beginning_of_another(value: Any, data: st.DataObject) -> None:
    encoded = encode(value)
    cut = data.draw(st.integers(0, len(encoded) - 1))
    for other in (encoded[:cut], encoded + data.draw(st.binary(min_size=1, max_size=4))):
        with pytest.raises(EncodingError):
            decode(other, max_bytes=ROOMY)


def test_the_size_is_looked_at_before_the_content() -> None:
    data = encode([1, 2, 3])
    assert decode(data, max_bytes=len(data)) == [1, 2, 3]
    with pytest.raises(EncodingError) as caught:
        decode(b"\xc1" * 100, max_bytes=99)
    assert (caught.value.rule, caught.value.offset) == ("too_large", 0)


def test_a_smaller_depth_can_be_asked_for() -> None:
    data = encode([[[]]])
    assert decode(data, max_bytes=ROOMY, max_depth=3) == [[[]]]
    with pytest.raises(EncodingError) as caught:
        decode(data, max_bytes=ROOMY, max_depth=2)
    assert caught.value.rule == "too_deep"


def test_an_array_longer_than_what_is_left_is_refused_before_its_elements_are_read() -> None:
    with pytest.raises(EncodingError) as caught:
        decode(b"\xdc\x10\x01" + bytes(4096), max_bytes=ROOMY)
    assert (caught.value.rule, caught.value.offset) == ("truncated", 3)


@pytest.mark.parametrize(("max_bytes", "most"), [(ROOMY, MAX_VALUES), (8 << 20, 8 * 32_768)])
def test_an_object_has_131072_elements_or_one_for_32_bytes_of_its_cap(max_bytes: int, most: int) -> None:
    assert MAX_VALUES == 131_072
    assert decode(encode([0] * most), max_bytes=max_bytes) == [0] * most
    inner: Value = [0] * 9
    too_many: list[Value] = [[0] * (most + 1), [*[0] * (most - 10), inner, 0]]
    for value in too_many:
        with pytest.raises(EncodingError) as caught:
            decode(encode(value), max_bytes=max_bytes)
        assert caught.value.rule == "too_many_values"


@pytest.mark.parametrize("head", [b"\xdd\x00\x01\x00\x00", b"\xdc\xff\xff", b"\x9f"])
def test_headers_that_claim_much_reserve_nothing(head: bytes) -> None:
    data = head * 1000 + bytes(65_536)
    tracemalloc.start()
    try:
        with pytest.raises(EncodingError):
            decode(data, max_bytes=ROOMY)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 * 1024


class Colour(StrEnum):
    RED = "red"


class Rank(IntEnum):
    FIRST = 1


def test_tuples_and_enumerations_are_written_as_what_they_hold() -> None:
    assert encode((Colour.RED, Rank.FIRST, (b"x",))) == encode(["red", 1, [b"x"]])


def nested(depth: int) -> Value:
    value: Value = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_sixteen_arrays_deep_can_be_written_and_seventeen_cannot() -> None:
    assert decode(encode(nested(16)), max_bytes=ROOMY) == nested(16)
    with pytest.raises(EncodingError) as caught:
        encode(nested(17))
    assert caught.value.rule == "too_deep"


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (-1, "out_of_range"),
        (2**63, "out_of_range"),
        (1.0, "forbidden_type"),
        ({}, "forbidden_type"),
        ({"a": 1}, "forbidden_type"),
        (set(), "forbidden_type"),
        (bytearray(b"x"), "forbidden_type"),
        (memoryview(b"x"), "forbidden_type"),
        (object(), "forbidden_type"),
        ([[1.5]], "forbidden_type"),
        ("\ud800", "unencodable"),
        (["\ud800"], "unencodable"),
    ],
    ids=lambda value: type(value).__name__,  # an address in an id differs from worker to worker
)
def test_what_the_protocol_forbids_is_never_written(value: Any, rule: str) -> None:
    with pytest.raises(EncodingError) as caught:
        encode(value)
    assert caught.value.rule == rule


def test_the_last_time_is_the_last_millisecond_of_the_year_9999() -> None:
    after = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert int(after.timestamp()) * 1000 + 999 == MAX_TIME_MS


TAKERS: dict[str, Callable[[Any], object]] = {
    "array": take_array,
    "array of two": lambda value: take_array(value, length=2),
    "array of at most one": lambda value: take_array(value, max_length=1),
    "integer": take_int,
    "integer to ten": lambda value: take_int(value, 10),
    "time": take_time,
    "bytes": take_bytes,
    "two bytes": lambda value: take_bytes(value, length=2),
    "at most one byte": lambda value: take_bytes(value, max_length=1),
    "text": take_text,
    "text of one": lambda value: take_text(value, max_length=1),
    "boolean": take_bool,
    "nothing or an integer": lambda value: take_optional(value, take_int),
}


@pytest.mark.parametrize(
    ("taker", "value"),
    [
        ("array", []),
        ("array of two", [1, b"x"]),
        ("array of at most one", []),
        ("array of at most one", [1]),
        ("integer", 0),
        ("integer", MAX_INT),
        ("integer to ten", 10),
        ("time", MAX_TIME_MS),
        ("bytes", b""),
        ("two bytes", b"ab"),
        ("at most one byte", b"a"),
        ("text", ""),
        ("text of one", "ü"),
        ("boolean", True),
        ("boolean", False),
        ("nothing or an integer", None),
        ("nothing or an integer", 7),
    ],
)
def test_a_value_of_the_right_shape_is_taken(taker: str, value: Value) -> None:
    assert TAKERS[taker](value) == value


@pytest.mark.parametrize(
    ("taker", "value", "rule"),
    [
        ("array", None, "not_an_array"),
        ("array", b"", "not_an_array"),
        ("array", (1,), "not_an_array"),
        ("array of two", [1], "wrong_length"),
        ("array of two", [1, 2, 3], "wrong_length"),
        ("array of at most one", [1, 2], "wrong_length"),
        ("integer", True, "not_an_integer"),
        ("integer", None, "not_an_integer"),
        ("integer", "1", "not_an_integer"),
        ("integer", -1, "out_of_range"),
        ("integer", MAX_INT + 1, "out_of_range"),
        ("integer to ten", 11, "out_of_range"),
        ("time", MAX_TIME_MS + 1, "out_of_range"),
        ("bytes", "x", "not_bytes"),
        ("bytes", None, "not_bytes"),
        ("two bytes", b"a", "wrong_length"),
        ("two bytes", b"abc", "wrong_length"),
        ("at most one byte", b"ab", "wrong_length"),
        ("text", b"x", "not_text"),
        ("text of one", "ab", "wrong_length"),
        ("boolean", 1, "not_a_boolean"),
        ("boolean", None, "not_a_boolean"),
        ("nothing or an integer", False, "not_an_integer"),
    ],
)
def test_a_value_of_another_shape_is_refused(taker: str, value: Any, rule: str) -> None:
    with pytest.raises(EncodingError) as caught:
        TAKERS[taker](value)
    assert (caught.value.rule, caught.value.offset) == (rule, None)
