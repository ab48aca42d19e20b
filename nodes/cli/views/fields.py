"""Reaching into documents whose shape a peer chose. Every function is total: empty rather than an error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Document = Mapping[str, Any]
SHORT_ID = 8


def at(value: Any, *path: str) -> Any:
    """What lies at `path` inside nested objects; None when there is nothing, or no object on the way."""
    for name in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def text(value: Any, *path: str) -> str:
    """A scalar at `path` in words; "" for null, objects and lists."""
    found = at(value, *path)
    if found is None or isinstance(found, Mapping | list):
        return ""
    if isinstance(found, bool):
        return "yes" if found else "no"
    return str(found)


def objects(value: Any, *path: str) -> Iterator[Document]:
    """The objects of a list at `path`."""
    for item in items(value, *path):
        if isinstance(item, Mapping):
            yield item


def items(value: Any, *path: str) -> list[Any]:
    """The list at `path`; one value alone counts as a list of it."""
    found = at(value, *path)
    if found is None:
        return []
    return found if isinstance(found, list) else [found]


def texts(value: Any, *path: str) -> list[str]:
    """The scalars of a list at `path`."""
    return [said for item in items(value, *path) if (said := text(item))]


def short(id_: str) -> str:
    """The end of an id, as it may be typed."""
    return id_[-SHORT_ID:] if len(id_) > SHORT_ID and "/" not in id_ else id_


def qualified(value: Any, *path: str) -> str:
    """A value that may carry its grading (an object with `value`, `src`, `info`, `fact`, `absent`), in one line."""
    found = at(value, *path)
    if not isinstance(found, Mapping):
        return text(found)
    said = text(found, "value")
    low, high = text(found, "min"), text(found, "max")
    if not said and (low or high):
        said = low if low == high else f"{low or '?'} to {high or '?'}"
    absent = text(found, "absent")
    if not said and absent:
        return absent.replace("_", " ")
    grade = text(found, "src") + text(found, "info")
    remarks = [remark for remark in (text(found, "fact").replace("_", " "), grade, text(found, "precise")) if remark]
    return f"{said} ({', '.join(remarks)})" if said and remarks else said
