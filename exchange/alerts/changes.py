"""What changed from one state of a case to the next, as JSON Pointers into the new one (`update.changed[]`).

Owns the comparison. It looks at what an analyst says: what the node sets in every message is no change, nor is a field
that the node filled in then and will fill in again, nor a number that is written as text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from exchange.alerts.defaults import LIFETIME_MS, RETENTION_MS
from exchange.alerts.problems import pointer
from exchange.alerts.times import format_time, ms_or_none

# Of each message its own.
_OF_THE_MESSAGE: Final = frozenset(
    {
        *("schema", "kind", "message_id", "case_id", "revision", "references", "originator", "created_at", "sent_at"),
        *("changed", "why", "ext"),
    }
)


def diff(old_document: Mapping[str, Any], new_document: Mapping[str, Any]) -> list[str]:
    """Sorted pointers to what is new, different or gone. Either may be a document or a tree that will become one.

    Objects with an `id` are compared with those of the same id, wherever they stand. Of what is gone the place is given
    where it lay: its list, for an entry of a list.
    """
    found = _changes(_said(old_document), _said(new_document), (), _filled(old_document))
    return sorted(set(found))


def handling_of_case(document: Mapping[str, Any], now_ms: int) -> dict[str, Any] | None:
    """The handling that what follows an alert inherits: its author's words. Times that the node had filled in are
    reckoned anew, and so are times that have passed: a cancel must be possible as long as anybody may act on the alert.
    """
    handling = document.get("handling")
    if not isinstance(handling, dict):
        return None
    filled = _filled(document)
    kept = dict(handling)
    for name in ("retain_until", "review_at"):
        until = ms_or_none(kept.get(name))
        if pointer("handling", name) in filled or (until is not None and until <= now_ms):
            kept[name] = format_time(now_ms + LIFETIME_MS + RETENTION_MS)
    return kept


def _said(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in _OF_THE_MESSAGE}


def _filled(document: Mapping[str, Any]) -> frozenset[str]:
    extensions = document.get("ext")
    own = extensions.get("tocsin") if isinstance(extensions, dict) else None
    places = own.get("defaulted") if isinstance(own, dict) else None
    return frozenset(place for place in places if isinstance(place, str)) if isinstance(places, list) else frozenset()


def _changes(old: Any, new: Any, path: tuple[str | int, ...], filled: frozenset[str]) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in {**old, **new}:
            place = pointer(*path, name)
            if new.get(name) is None:
                if old.get(name) is not None and not _is_filled(old[name], (*path, name), filled):
                    yield place
            elif old.get(name) is None:
                yield place
            else:
                yield from _changes(old[name], new[name], (*path, name), filled)
    elif isinstance(old, list) and isinstance(new, list):
        yield from _list_changes(old, new, path, filled)
    elif _as_text(old) != _as_text(new):
        yield pointer(*path)


def _list_changes(old: list[Any], new: list[Any], path: tuple[str | int, ...], filled: frozenset[str]) -> Iterator[str]:
    earlier = {_key(index, item): item for index, item in enumerate(old)}
    kept = set()
    for index, item in enumerate(new):
        key = _key(index, item)
        kept.add(key)
        if key in earlier:
            yield from _changes(earlier[key], item, (*path, index), filled)
        else:
            yield pointer(*path, index)
    gone = (place for place, item in enumerate(old) if _key(place, item) not in kept)
    if any(not _is_filled(old[place], (*path, place), filled) for place in gone):
        yield pointer(*path)


def _is_filled(value: Any, path: tuple[str | int, ...], filled: frozenset[str]) -> bool:
    """True if the node filled this in, or everything inside it."""
    if pointer(*path) in filled:
        return True
    return (
        isinstance(value, dict)
        and bool(value)
        and all(_is_filled(value[name], (*path, name), filled) for name in value)
    )


def _key(index: int, item: Any) -> str | int:
    own = item.get("id") if isinstance(item, dict) else None
    return own if isinstance(own, str) else index


def _as_text(value: Any) -> Any:
    """A scalar as YAML would have it; anything else as it is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value
