"""I-JSON (RFC 7493) read strictly, and a document written. Owns what is no document at all; knows no field.

Refused: anything but UTF-8, a byte order mark, names that repeat, NaN and infinity, numbers that a reader would round,
half surrogates, nesting beyond 32, more than 256 KiB.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from exchange.alerts.problems import Problem, invalid, pointer

MAX_BYTES: Final = 262_144
MAX_DEPTH: Final = 32
_MAX_WHOLE: Final = 2**53 - 1

_CONTAINERS: Final = (dict, list)
_HALF_SURROGATE = re.compile("[\ud800-\udfff]")
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


class _Repeated(dict[str, Any]):
    """An object in which a name stood twice; what else it holds is not to be used."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.names = sorted(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)


class _NumberError(ValueError):
    pass


class _RepeatedNameError(ValueError):
    pass


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _RepeatedNameError
    return found


def _object_or_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else _Repeated(pairs)


def _whole(text: str) -> int:
    if len(text) > 17 or abs(number := int(text)) > _MAX_WHOLE:
        raise _NumberError
    return number


def _fraction(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _NumberError
    return number


def _constant(text: str) -> float:
    raise _NumberError(text)


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_whole, parse_float=_fraction, parse_constant=_constant
)
# Slower, and only for a document that the other has refused: where do the names repeat?
_FINDER: Final = json.JSONDecoder(
    object_pairs_hook=_object_or_repeated, parse_int=_whole, parse_float=_fraction, parse_constant=_constant
)


_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def read_document(data: bytes) -> dict[str, Any]:
    """The object that these bytes write. Raises InvalidAlert."""
    if len(data) > MAX_BYTES:
        raise invalid([too_large(len(data))])
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise invalid([Problem("", "utf8", f"byte {error.start} is not UTF-8", "")]) from None
    try:
        value = _decode(_DECODER, text)
    except _RepeatedNameError:
        raise invalid(_repeated(_decode(_FINDER, text))) from None
    if not isinstance(value, dict):
        raise invalid([Problem("", "type", "a message is one object", '{"kind": "alert"}')])
    if _SURROGATE_ESCAPE.search(text):  # the bytes are UTF-8, so only an escape can bring half a surrogate
        problems = list(_half_surrogates(value))
        if problems:
            raise invalid(problems)
    return value


def _decode(decoder: json.JSONDecoder, text: str) -> Any:
    try:
        value = decoder.decode(text)
    except json.JSONDecodeError as error:
        message = f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise invalid([Problem("", "json_syntax", message, '{"kind": "alert"}')]) from None
    except _NumberError:
        message = "a number is NaN, infinite, or beyond 2^53: no two readers agree on it"
        raise invalid([Problem("", "json_number", message, "write it as text")]) from None
    except RecursionError:
        raise invalid([too_deep()]) from None
    # What has few brackets cannot be deep: counting them is fifty times faster than looking.
    if text.count("{") + text.count("[") > MAX_DEPTH and not _is_shallow(value):
        raise invalid([too_deep()])
    return value


def write_document(document: dict[str, Any]) -> bytes:
    """The bytes of a document: compact UTF-8, fields in their order. They are committed to and never written again."""
    return _ENCODER.encode(document).encode()


def too_large(size: int) -> Problem:
    """The problem of a document over the limit."""
    return Problem("", "too_large", f"a message has at most {MAX_BYTES:,} bytes; this has {size:,}", "")


def too_deep() -> Problem:
    """The problem of a document nested beyond the limit."""
    return Problem("", "too_deep", f"objects and lists lie at most {MAX_DEPTH} deep in each other", "")


def _is_shallow(value: Any) -> bool:
    level: list[Any] = [value] if isinstance(value, _CONTAINERS) else []
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, _CONTAINERS)
        ]
        if not level:
            return True
    return False


def _members(value: Any) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)


def _walk(value: Any, *path: str | int) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Every value with its place, itself first. Only for what `_is_shallow`."""
    yield path, value
    for name, inner in _members(value):
        yield from _walk(inner, *path, name)


def _repeated(value: Any) -> Iterator[Problem]:
    for path, inner in _walk(value):
        if isinstance(inner, _Repeated):
            for name in inner.names:
                message = f"{name!r} stands here more than once: which of them is meant?"
                yield Problem(pointer(*path, name), "duplicate_name", message, "")


def _half_surrogates(value: dict[str, Any]) -> Iterator[Problem]:
    for path, inner in _walk(value):
        names = list(inner) if isinstance(inner, dict) else []
        if any(_HALF_SURROGATE.search(text) for text in [*names, inner] if isinstance(text, str)):
            clean = tuple(_HALF_SURROGATE.sub("?", part) if isinstance(part, str) else part for part in path)
            yield Problem(pointer(*clean), "half_surrogate", "half a character: an escape without its second part", "")
