"""The rest of a message: everything the document holds, as it is, unknown fields and codes included. Chooses nothing.

The first screen chooses; this part lets nobody miss what a newer version, or a peer's own habit, put elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nodes.cli.page import QUIET, Page
from nodes.cli.times import show_time_there
from nodes.cli.views.fields import Document, text

MAX_DEPTH = 40  # documents hold 32; a view must end whatever it is given

# Shown in full above, word for word.
_SHOWN = frozenset({"summary", "narrative"})


def view_rest(content: Document, page: Page) -> None:
    """Every field of a message's document, nested as it came."""
    rest = {name: value for name, value in content.items() if name not in _SHOWN}
    if not rest:
        return
    page.heading("Everything in it")
    for name, value in rest.items():
        _tree(str(name), value, page, indent=2)


def _tree(name: str, value: Any, page: Page, *, indent: int) -> None:
    if indent > 2 * MAX_DEPTH:
        page.line(name, ": (deeper than any document may be)", indent=indent)
    elif isinstance(value, Mapping):
        page.line(name, ":", " {}" if not value else "", indent=indent, style=QUIET)
        for inner, found in value.items():
            _tree(str(inner), found, page, indent=indent + 2)
    elif isinstance(value, list):
        if all(not isinstance(item, Mapping | list) for item in value):
            page.line(name, ": ", ", ".join(_scalar(item) for item in value) or "[]", indent=indent)
            return
        for number, item in enumerate(value, 1):
            _tree(f"{name} {number}", item, page, indent=indent)
    else:
        said = _scalar(value)
        if "\n" in said:
            page.line(name, ":", indent=indent, style=QUIET)
            page.paragraph(said, indent=indent + 2)
        else:
            page.line(name, ": ", said, indent=indent)


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, str) and len(value) >= len("2026-11-23T02:10Z") and value[4:5] == "-" and "T" in value[10:11]:
        return show_time_there(value)
    return text(value)
