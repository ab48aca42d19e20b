"""What an analyst wrote, as a tree of plain values: JSON, or YAML 1.2 of which every scalar is read as text.

Owns the syntax. It types nothing: `NO`, `+47…` and `0123` stay what was typed until the model says what they mean.
YAML has no anchors, aliases, tags, directives and no second document here: each of them can make a file mean something
else than what a person reads in it.
"""

from __future__ import annotations

from typing import Any

from exchange.alerts.ijson import MAX_BYTES, read_document, too_large
from exchange.alerts.problems import Problem, invalid

_BOM = b"\xef\xbb\xbf"


def parse_input(text: bytes) -> dict[str, Any]:
    """The tree of an analyst's file. Text that begins with `{` is JSON, any other is YAML.

    A document that a node completed earlier (as `tocsin show` gives it) is taken back to what its analyst wrote: what
    the node filled in then, its id and time above all, is not true of the new message.

    Raises:
        InvalidAlert: with every problem that can be found.
    """
    if len(text) > MAX_BYTES:
        raise invalid([too_large(len(text))])
    text = text.removeprefix(_BOM)  # editors of one system put it there; nobody sees it
    if not text.strip():
        raise invalid([Problem("", "empty", "there is nothing in it", '{"kind": "alert"}')])
    if text.lstrip().startswith(b"{"):
        return _taken_back(read_document(text))
    # On first use: most messages come as JSON, and ruamel.yaml takes its time to load.
    from exchange.alerts.yaml_input import read_yaml  # noqa: PLC0415

    return _taken_back(read_yaml(text))


def _taken_back(tree: dict[str, Any]) -> dict[str, Any]:
    extensions = tree.get("ext")
    marked = extensions.pop("tocsin", None) if isinstance(extensions, dict) else None
    places = marked.get("defaulted") if isinstance(marked, dict) else None
    if extensions == {}:
        del tree["ext"]
    if not isinstance(places, list):
        return tree
    # From the back: an entry that leaves a list must not move those whose places come next.
    for place in sorted((place for place in places if isinstance(place, str)), key=_in_order, reverse=True):
        _remove(tree, [part.replace("~1", "/").replace("~0", "~") for part in place.split("/")[1:]])
    tree.pop("changed", None)  # says what changed against a message before this one
    return tree


def _in_order(place: str) -> list[tuple[int, str]]:
    return [(int(part[:18]) if part.isascii() and part.isdigit() else -1, part) for part in place.split("/")]


def _remove(tree: dict[str, Any], parts: list[str]) -> None:
    """Take what lies at these parts out, and every object that was there for its sake only."""
    found: Any = tree
    for part in parts[:-1]:
        found = _member(found, part)
    if not parts or _member(found, parts[-1]) is None:
        return
    del found[int(parts[-1]) if isinstance(found, list) else parts[-1]]
    if not found:
        _remove(tree, parts[:-1])


def _member(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return value.get(name)
    if isinstance(value, list) and name.isascii() and name.isdigit() and len(name) < 7 and int(name) < len(value):
        return value[int(name)]
    return None
