"""Owns the changes that the suite makes to an input: the same for the same name, in every run and on every machine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from random import Random
from typing import Any

_NUMBERS = tuple(
    number.to_bytes(width, order)
    for width in (1, 2, 4, 8)
    for number in (0, 1, (1 << 8 * width - 1) - 1, 1 << 8 * width - 1, (1 << 8 * width) - 1)
    for order in ("big", "little")
)
_PIECES = (
    *(bytes([first]) for first in (0xC0, 0xC2, 0xC3, 0xC4, 0xC6, 0xCA, 0xCF, 0xD3, 0xD9, 0xDB, 0xDD, 0xDF, 0x90, 0x9F)),
    *(
        b"\n",
        b"\r\n",
        b"\x00",
        b"\x1b[2J",
        b'"',
        b"\\ud800",
        b"{",
        b"[[",
        b"]",
        b"}",
        b": ",
        b"- ",
        b"&a ",
        b"*a",
        b"!!",
        b"%",
    ),
    *(text.encode() for text in ("\u202e", "\u2028", "\ufeff", "\u0300" * 9, "é", "\U0001f469")),
    *(b"\xff\xfe", b"\xed\xa0\x80", b"9" * 20, b"-1", b"1e999", b"NaN", b"null", b"true", b"''", b"=", b"/", b"+00:00"),
)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 2**53, 2**63, 0.5, "", " ", "x", "\u202e", "\x1b[2J", "9" * 400, [], {}, [[]], [None]),
    *(
        {"value": "x"},
        {"value": None, "fact": "assessment"},
        ["x"] * 40,
        "2026-11-23T02:10:00-05:00",
        "p1",
        "/ext/tocsin",
    ),
)
_DEPTH = 40  # of a document that is changed as one; what is deeper stays
Change = Callable[[Random, bytes], bytes]


def mutated(name: str, data: bytes, others: Sequence[bytes], count: int) -> Iterator[bytes]:
    """`count` changed forms of `data`. `others` lend it pieces. Documents are changed as documents half of the time."""
    for number in range(count):
        random = Random(f"{name} {number}")
        if number % 2 and (document := _document(data)) is not None:
            yield _changed_document(random, document)
            continue
        changed = data
        for _ in range(random.choice((1, 1, 2, 4))):
            changed = (
                random.choice(_CHANGES)(random, changed) if random.random() < 0.8 else _spliced(random, changed, others)
            )
        yield changed


def _place(random: Random, data: bytes) -> int:
    return random.randrange(len(data) + 1)


def _flipped(random: Random, data: bytes) -> bytes:
    if not data:
        return b"\x80"
    place = random.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << random.randrange(8)]) + data[place + 1 :]


def _cut(random: Random, data: bytes) -> bytes:
    first, last = sorted((_place(random, data), _place(random, data)))
    return data[:first] + data[last:] if random.random() < 0.5 else data[:first]


def _doubled(random: Random, data: bytes) -> bytes:
    first, last = sorted((_place(random, data), _place(random, data)))
    return data[:last] + data[first:last] * random.choice((1, 1, 3)) + data[last:]


def _overwritten(random: Random, data: bytes) -> bytes:
    place, number = _place(random, data), random.choice(_NUMBERS)
    return data[:place] + number + data[place + len(number) :]


def _inserted(random: Random, data: bytes) -> bytes:
    place = _place(random, data)
    return data[:place] + random.choice(_PIECES) + data[place:]


def _spliced(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    other = random.choice(others) if others else data
    return data[: _place(random, data)] + other[_place(random, other) :]


_CHANGES: tuple[Change, ...] = (_flipped, _flipped, _cut, _doubled, _overwritten, _inserted)


# --- documents --------------------------------------------------------------------------------------------------------


def _document(data: bytes) -> dict[str, Any] | None:
    if data[:1] != b"{":
        return None
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _changed_document(random: Random, document: dict[str, Any]) -> bytes:
    """Some members of it replaced, removed, moved or added."""
    for _ in range(random.choice((1, 1, 2, 3))):
        places = list(_places(document, _DEPTH))
        if not places:
            break
        holder, name = random.choice(places)
        kind = random.randrange(4)
        if kind == 0:
            del holder[name]
        elif kind == 1:
            other, there = random.choice(places)
            holder[name] = deepcopy(other[there])
        elif isinstance(holder, dict) and kind == 2:
            holder[random.choice(("x", "", "a/b~c", "value", "kind", "ext"))] = deepcopy(random.choice(_VALUES))
        else:
            holder[name] = deepcopy(random.choice(_VALUES))
    return json.dumps(document, ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")


def _places(value: Any, depth: int) -> Iterator[tuple[Any, Any]]:
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in members if depth else ():
        yield value, name
        yield from _places(inner, depth - 1)
