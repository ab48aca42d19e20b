"""YAML 1.2 as a tree of texts. The one module that knows ruamel.yaml.

The tree is built from the parser's events: no constructor runs, nothing is resolved, and what is not wanted (anchors,
aliases, tags, directives, a second document) is seen where it stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from exchange.alerts.ijson import MAX_DEPTH, too_deep
from exchange.alerts.problems import Problem, invalid, pointer

# Written plainly (without quotation marks) these mean that nothing is there. `Null` is a family name.
_NOTHING = frozenset({"", "~", "null"})

# What ruamel.yaml lets slip besides its own errors. ValueError was seen (an escape beyond Unicode); the others are what
# a parser of hostile text may raise next.
_FOREIGN_ERRORS = (ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError, RecursionError)


class _NotYamlError(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.rule)
        self.problem = problem


def read_yaml(data: bytes) -> dict[str, Any]:
    """The mapping that this text writes; every scalar is text, or None where nothing stands. Raises InvalidAlert."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise invalid([Problem("", "utf8", f"byte {error.start} is not UTF-8", "")]) from None
    tree = _Tree()
    try:
        for event in _events(text):
            tree.take(event)
    except _NotYamlError as error:
        raise invalid([*tree.problems, error.problem]) from None
    if tree.problems:
        raise invalid(tree.problems)
    if not isinstance(tree.root, dict):
        raise invalid([Problem("", "type", "a message is one mapping of names to values", "kind: alert")])
    return tree.root


def _events(text: str) -> Iterator[Event]:
    """The parser's events. Its errors end here: what the reader of the events raises does not pass through."""
    try:
        yield from YAML(typ="safe", pure=True).parse(text)
    except MarkedYAMLError as error:
        raise _NotYamlError(_syntax(error)) from None
    except (YAMLError, *_FOREIGN_ERRORS):
        raise _NotYamlError(Problem("", "yaml_syntax", "this is no YAML", "kind: alert")) from None


def _syntax(error: MarkedYAMLError) -> Problem:
    mark = error.problem_mark
    place = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
    return Problem("", "yaml_syntax", f"{place}{error.problem or 'this is no YAML'}", "kind: alert")


@dataclass(slots=True)
class _Open:
    """An open mapping or list, and where it lies in its parent. `name` is the key whose value comes next."""

    value: dict[str, Any] | list[Any]
    place: str | int | None
    name: str | None = None
    named: bool = False


@dataclass(slots=True)
class _Tree:
    root: Any = None
    problems: list[Problem] = field(default_factory=list)
    _open: list[_Open] = field(default_factory=list)
    _documents: int = 0

    def take(self, event: Event) -> None:
        """One event of the parser. Raises InvalidAlert where reading on would be of no use."""
        match event:
            case DocumentStartEvent():
                self._start(event)
            case AliasEvent():
                self._forbid("yaml_alias", "an alias (*) stands here: write it out")
                self._put(None)
            case ScalarEvent():
                self._mark(event)
                plain = event.style is None
                self._put(None if plain and event.value in _NOTHING else event.value)
            case MappingStartEvent() | SequenceStartEvent():
                self._mark(event)
                self._enter({} if isinstance(event, MappingStartEvent) else [])
            case MappingEndEvent() | SequenceEndEvent():
                self._open.pop()
            case _:
                pass

    def _start(self, event: DocumentStartEvent) -> None:
        self._documents += 1
        if self._documents > 1:
            raise invalid([*self.problems, Problem("", "yaml_documents", "a second document begins after ---", "")])
        if event.version is not None or event.tags:
            self._forbid("yaml_directive", "a directive (%) stands at the top: leave it out")

    def _mark(self, event: ScalarEvent | MappingStartEvent | SequenceStartEvent) -> None:
        if event.anchor is not None:
            self._forbid("yaml_anchor", "an anchor (&) stands here: leave it out")
        if event.tag is not None:
            self._forbid("yaml_tag", "a tag (!) stands here: leave it out; for text, use quotation marks")

    def _enter(self, value: dict[str, Any] | list[Any]) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise invalid([*self.problems, too_deep()])
        place = self._next()
        self._put(value)
        self._open.append(_Open(value, place))

    def _put(self, value: Any) -> None:
        if not self._open:
            self.root = value
            return
        top = self._open[-1]
        if isinstance(top.value, list):
            top.value.append(value)
        elif not top.named:
            self._name(top, value)
        else:
            if top.name is not None:
                top.value[top.name] = value
            top.name, top.named = None, False

    def _name(self, top: _Open, name: Any) -> None:
        top.named = True
        if not isinstance(name, str):
            self._forbid("yaml_name", "the name of a field is text")
        elif isinstance(top.value, dict) and name in top.value:
            message = f"{name!r} stands here more than once: which of them is meant?"
            self.problems.append(Problem(self._path(name), "duplicate_name", message, ""))
        else:
            top.name = name

    def _forbid(self, rule: str, message: str) -> None:
        self.problems.append(Problem(self._path(), rule, message, ""))

    def _next(self) -> str | int | None:
        """Where in the innermost open mapping or list the next value will lie."""
        if not self._open:
            return None
        top = self._open[-1]
        return len(top.value) if isinstance(top.value, list) else top.name

    def _path(self, *last: str) -> str:
        places = [opened.place for opened in self._open] + [self._next()]
        return pointer(*(place for place in places if place is not None), *last)
