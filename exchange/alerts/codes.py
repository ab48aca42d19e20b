"""The code lists of the vocabulary: which codes exist, in which version, and what each means in words.

Owns the lists and nothing else; knows no model. Importable without pydantic, so that the command line can show labels.
The lists are data of this package: reading them, each on first use, is the one read that the pure packages make. It
goes through pkgutil, which a command loads in half the time of importlib.resources.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pkgutil import get_data
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, slots=True)
class Code:
    """One code: its meaning in English, and its codes in other systems or further facts (`more`)."""

    code: str
    meaning: str
    more: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CodeList:
    """A versioned list. Codes are stable: never renamed, never renumbered, never given a second meaning."""

    name: str
    title: str
    version: str
    source: str
    codes: Mapping[str, Code]

    def __contains__(self, code: object) -> bool:
        """True if this version of the list knows the code."""
        return isinstance(code, str) and code in self.codes

    def nearest(self, code: str) -> str | None:
        """The code that somebody who wrote `code` most likely meant, or None."""
        return nearest(code, self.codes)


@cache
def code_list(name: str) -> CodeList:
    """The list of that name, for example `L04`. Raises KeyError for a name that no list has."""
    if name not in LIST_NAMES:
        raise KeyError(name)
    data = _read(f"codes/{name}.json")
    codes = {
        code: Code(code, entry["meaning"], MappingProxyType({k: v for k, v in entry.items() if k != "meaning"}))
        for code, entry in data["codes"].items()
    }
    return CodeList(data["list"], data["title"], data["version"], data["source"], MappingProxyType(codes))


@cache
def time_zones() -> frozenset[str]:
    """Names of the IANA time zone database. Its own copy: a small server may have none, or an old one."""
    return frozenset(_read("zones.json")["names"])


def meaning(list_name: str, code: str) -> str | None:
    """A code in words, or None for one that this version does not know. Raises KeyError for an unknown list."""
    known = code_list(list_name).codes.get(code)
    return None if known is None else known.meaning


def nearest(word: str, known: Mapping[str, object] | frozenset[str] | list[str]) -> str | None:
    """The known word closest to `word`, case and hyphens aside; None if none is close."""
    from difflib import get_close_matches  # noqa: PLC0415 # only a mistake needs it; every command reads labels

    folded = {_folded(name): name for name in known}
    found = get_close_matches(_folded(word), list(folded), n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def _folded(word: str) -> str:
    return word.casefold().replace("-", "_").replace(" ", "_")


def _read(name: str) -> Any:
    data = get_data("exchange.alerts", f"data/{name}")
    assert data is not None  # noqa: S101 # None only from loaders that cannot read data at all
    return json.loads(data)


LIST_NAMES: tuple[str, ...] = tuple(
    """
    L01 L02 L03 L04 L05 L06 L07 L08 L09 L10 L11 L12 L13 L14 L15 L16 L17 L18 L19 L20 L21 L22 L23 L24 L25 L26 L27 L28 L29
    L33 L34c L34r L36 L38 L42 L44 L45 L46 L47 L49 L50 L51 L52 L53 L54 L55 L56 L57 L58 L59 L60
    """.split()
)
"""Every list of this version. (The vocabulary's other numbers belong to kinds that this version does not have.)"""
