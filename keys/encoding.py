"""Owns the one encoding of binary objects (PROTOCOL §2) and the takers of decoded values; knows no object.

Writing is msgpack's. Reading is ours, for two reasons measured with msgpack 1.2.4: its decoder reserves room for as
many elements as an array's header claims before it has seen one, at up to 1,024 levels (about 65,000 hostile bytes made
it take 60 MB), while the depth cap must hold before anything is allocated; and it takes what must be refused (maps,
floats, negative integers, longer forms than needed), so that a walk and a second encoding would have to follow. One
strict pass is faster on a full round than the three, says where it broke, and takes exactly the byte strings that
re-encode to themselves; tests/keys/test_encoding.py holds it against msgpack in both directions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias, TypeVar

import msgpack

from keys.errors import EncodingError

Value: TypeAlias = "bool | int | str | bytes | Sequence[Value] | None"
"""What can be encoded. Decoding gives arrays as lists; writing takes tuples too."""

MAX_INT: Final = 2**63 - 1
MAX_TIME_MS: Final = 253_402_300_799_999
"""The last moment of the year 9999, UTC: a calendar, a page and a database column can hold every time up to it."""
MAX_DEPTH: Final = 16
MAX_VALUES: Final = 131_072
"""Elements of all arrays of one object, or one for 32 bytes of its cap if that is more. A hash takes 34 bytes; what
holds nothing but one-byte values would take thirty times its size in memory."""

_T = TypeVar("_T")


def encode(value: Value) -> bytes:
    """The only encoding of `value`.

    Raises:
        EncodingError: `value` holds something that PROTOCOL §2 forbids (a float, a map, a negative integer, …).
    """
    _check(value, 0)
    try:
        packed: bytes = msgpack.packb(value, use_bin_type=True)
    except (ValueError, OverflowError) as error:  # lone surrogates in text; more than 2^32 - 1 bytes
        raise EncodingError("unencodable") from error
    return packed


def decode(data: bytes, *, max_bytes: int, max_depth: int = MAX_DEPTH) -> Value:
    """The value whose encoding is `data`. Total: any bytes give a value that encodes to them, or an EncodingError.

    Raises:
        EncodingError: `data` is longer than `max_bytes`, nests arrays deeper than `max_depth`, has more elements than
            it may (MAX_VALUES), or is not canonical.
    """
    size = len(data)
    if size > max_bytes:
        raise EncodingError("too_large", 0)
    try:
        value, end = _read(data, 0, max_depth, [max(MAX_VALUES, max_bytes // 32)])
    except IndexError:  # a first byte or a one-byte length lies beyond the end
        raise EncodingError("truncated", size) from None
    if end != size:
        raise EncodingError("trailing_bytes", end)
    return value


def take_array(value: Value, length: int | None = None, max_length: int | None = None) -> list[Value]:
    """`value` as an array, of exactly `length` or at most `max_length` elements. Raises EncodingError."""
    if type(value) is not list:
        raise EncodingError("not_an_array")
    if (length is not None and len(value) != length) or (max_length is not None and len(value) > max_length):
        raise EncodingError("wrong_length")
    return value


def take_int(value: Value, maximum: int = MAX_INT) -> int:
    """`value` as an integer from 0 to `maximum`. A boolean is none. Raises EncodingError."""
    if type(value) is not int:
        raise EncodingError("not_an_integer")
    if not 0 <= value <= maximum:
        raise EncodingError("out_of_range")
    return value


def take_time(value: Value) -> int:
    """`value` as milliseconds since 1970, up to the end of the year 9999. Raises EncodingError."""
    return take_int(value, maximum=MAX_TIME_MS)


def take_bytes(value: Value, length: int | None = None, max_length: int | None = None) -> bytes:
    """`value` as a byte string, of exactly `length` or at most `max_length` bytes. Raises EncodingError."""
    if type(value) is not bytes:
        raise EncodingError("not_bytes")
    if (length is not None and len(value) != length) or (max_length is not None and len(value) > max_length):
        raise EncodingError("wrong_length")
    return value


def take_text(value: Value, max_length: int | None = None) -> str:
    """`value` as text of at most `max_length` code points. Raises EncodingError."""
    if type(value) is not str:
        raise EncodingError("not_text")
    if max_length is not None and len(value) > max_length:
        raise EncodingError("wrong_length")
    return value


def take_bool(value: Value) -> bool:
    """`value` as a boolean. Raises EncodingError."""
    if type(value) is not bool:
        raise EncodingError("not_a_boolean")
    return value


def take_optional(value: Value, take: Callable[[Value], _T]) -> _T | None:
    """None for nil, else what `take` makes of `value`. Raises what `take` raises."""
    return None if value is None else take(value)


def _check(value: Value, depth: int) -> None:
    """Refuse what msgpack would write and PROTOCOL §2 forbids. Exact types first: this runs for every header."""
    kind = type(value)
    if kind is bytes or kind is str or kind is bool or value is None:
        return
    if isinstance(value, int):
        if not 0 <= value <= MAX_INT:
            raise EncodingError("out_of_range")
    elif isinstance(value, list | tuple):
        if depth == MAX_DEPTH:
            raise EncodingError("too_deep")
        for item in value:
            _check(item, depth + 1)
    elif not isinstance(value, str):  # a StrEnum is text
        raise EncodingError("forbidden_type")


# First byte of a form -> (how many bytes of length or number follow, the smallest number that needs this form).
_LONG_INTS: Final = {0xCC: (1, 0x80), 0xCD: (2, 0x100), 0xCE: (4, 0x1_0000), 0xCF: (8, 0x1_0000_0000)}
_LONG_BYTES: Final = {0xC5: (2, 0x100), 0xC6: (4, 0x1_0000)}  # 0xC4, the most frequent, is read without a table
_LONG_TEXTS: Final = {0xD9: (1, 0x20), 0xDA: (2, 0x100), 0xDB: (4, 0x1_0000)}
_LONG_ARRAYS: Final = {0xDC: (2, 0x10), 0xDD: (4, 0x1_0000)}


def _read(data: bytes, at: int, depth_left: int, left: list[int]) -> tuple[Value, int]:
    """The value whose encoding starts at `at`, and where it ends. Most frequent forms first."""
    first = data[at]
    if first < 0x80:
        return first, at + 1
    if first == 0xC4:
        start = at + 2
        return _slice(data, start, data[at + 1]), start + data[at + 1]
    if 0xA0 <= first < 0xC0:
        return _text(data, at + 1, first & 0x1F), at + 1 + (first & 0x1F)
    if 0x90 <= first < 0xA0:
        return _array(data, at + 1, first & 0x0F, depth_left, left)
    if first in _LONG_INTS:
        number, end = _number(data, at, _LONG_INTS[first])
        if number > MAX_INT:
            raise EncodingError("out_of_range", at)
        return number, end
    if first == 0xC0:
        return None, at + 1
    if first in _LONG_BYTES:
        length, start = _number(data, at, _LONG_BYTES[first])
        return _slice(data, start, length), start + length
    if first == 0xC2 or first == 0xC3:  # noqa: PLR1714 - half the time of a set
        return first == 0xC3, at + 1
    if first in _LONG_TEXTS:
        length, start = _number(data, at, _LONG_TEXTS[first])
        return _text(data, start, length), start + length
    if first in _LONG_ARRAYS:
        length, start = _number(data, at, _LONG_ARRAYS[first])
        return _array(data, start, length, depth_left, left)
    raise EncodingError("forbidden_type", at)


def _number(data: bytes, at: int, form: tuple[int, int]) -> tuple[int, int]:
    width, smallest = form
    end = at + 1 + width
    if end > len(data):
        raise EncodingError("truncated", at)
    number = int.from_bytes(data[at + 1 : end], "big")
    if number < smallest:
        raise EncodingError("not_minimal", at)
    return number, end


def _slice(data: bytes, start: int, length: int) -> bytes:
    piece = data[start : start + length]
    if len(piece) != length:
        raise EncodingError("truncated", start)
    return piece


def _text(data: bytes, start: int, length: int) -> str:
    try:
        return _slice(data, start, length).decode()
    except UnicodeDecodeError as error:
        raise EncodingError("bad_text", start + error.start) from None


def _array(data: bytes, at: int, length: int, depth_left: int, left: list[int]) -> tuple[list[Value], int]:
    if depth_left == 0:
        raise EncodingError("too_deep", at)
    if length > len(data) - at:  # each element takes a byte at least
        raise EncodingError("truncated", at)
    left[0] -= length
    if left[0] < 0:
        raise EncodingError("too_many_values", at)
    items: list[Value] = []
    for _ in range(length):
        item, at = _read(data, at, depth_left - 1, left)
        items.append(item)
    return items, at
