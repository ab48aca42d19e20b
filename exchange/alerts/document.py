"""The two ways into the vocabulary: an analyst's tree becomes a document, a peer's bytes one that was read.

Owns the order of the steps. The same models serve both: `complete` is strict about everything a person can still mend,
`read_received` about what the node acts on, and keeps the rest as it came.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from exchange.alerts.codes import nearest
from exchange.alerts.comms import normalise_comms
from exchange.alerts.defaults import Defaults, Filling
from exchange.alerts.faults import problems_from
from exchange.alerts.header import SmallHeader
from exchange.alerts.headline import Headline, headline_of
from exchange.alerts.ijson import MAX_BYTES, read_document, too_large, write_document
from exchange.alerts.problems import MAX_PROBLEMS, Problem, invalid
from exchange.alerts.registry import KINDS, Kind, Standing
from exchange.alerts.rules import problems_of
from exchange.alerts.times import format_time


@dataclass(frozen=True, slots=True)
class Completed:
    """A document ready to be sealed.

    `content` is what is committed to: exactly these bytes. `defaulted` are the JSON Pointers of what the node filled.
    """

    document: dict[str, Any]
    content: bytes
    headline: Headline
    defaulted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Received:
    """A peer's document, with every field and code that it came with."""

    document: dict[str, Any]
    headline: Headline


def complete(tree: dict[str, Any], defaults: Defaults, *, kind: str | None = None) -> Completed:
    """The document that an analyst's tree means, with the node's part filled in.

    `tree` comes from `parse_input` or a `build_…`; it is not changed. `kind` is that of the verb, where there is one.

    Raises:
        InvalidAlert: with every problem at once. MarkingContradiction, if nothing but the handling contradicts itself.
    """
    filled = _without_blanks(tree)
    problems: list[Problem] = []
    table = _kind_of(filled, kind, problems)
    filling = Filling(filled, defaults)
    filling.fill(table)
    problems += _set_by_node(filled, defaults)
    problems += normalise_comms(filled)
    document: dict[str, Any] = {}
    try:
        model = table.model.model_validate(filled, extra="forbid")
    except ValidationError as error:
        problems += problems_from(table.model, error.errors(include_url=False, include_input=False))
    else:
        document = model.model_dump(by_alias=True, exclude_none=True)
    problems += problems_of(filled, table, defaults.now_ms)
    if problems:
        # A misspelt name first: it is the cause of the missing one.
        raise invalid(_once(sorted(problems, key=lambda problem: problem.rule != "unknown_field")))
    defaulted = tuple(sorted(filling.places))
    if table.marks_defaults:
        extensions = document.setdefault("ext", {})
        extensions["tocsin"] = {"defaulted": list(defaulted)}
    content = write_document(document)
    if len(content) > MAX_BYTES:
        raise invalid([too_large(len(content))])
    return Completed(document, content, headline_of(document), defaulted)


def read_received(content: bytes) -> Received:
    """The document in a peer's bytes, every field and code as it came. Raises InvalidAlert: the bytes are no message.

    A kind that this version does not know is read by its header alone.
    """
    document = read_document(content)
    name = document.get("kind")
    kind = KINDS.get(name) if isinstance(name, str) else None
    model = SmallHeader if kind is None else kind.model
    try:
        model.model_validate(document, strict=True)
    except ValidationError as error:
        raise invalid(_of_a_peer(model, error)) from None
    if kind is not None:
        superseded = [reference["role"] for reference in document.get("references") or ()].count("supersedes")
        if superseded != (1 if kind.standing is Standing.MOVES else 0):
            message = "a message that moves a case supersedes exactly one, every other none"
            raise invalid([Problem("/references", "supersedes", message, "")])
    return Received(document, headline_of(document))


def _of_a_peer(model: type[SmallHeader], error: ValidationError) -> Iterator[Problem]:
    count = error.error_count()
    if count > MAX_PROBLEMS:
        # Listing them would cost a hundred times what finding them did, and the sender chose how many there are.
        yield Problem("", "more_problems", f"{count} values are not what their fields hold", "")
    else:
        yield from problems_from(model, error.errors(include_url=False, include_input=False))


def _kind_of(tree: dict[str, Any], asked: str | None, problems: list[Problem]) -> Kind:
    """The kind of the tree. Without one, which is a problem, it is judged as an alert. Raises InvalidAlert."""
    if asked is not None:
        tree.setdefault("kind", asked)
    if "kind" not in tree:
        message = f"kind is required: one of {', '.join(KINDS)}"
        problems.append(Problem("/kind", "required", message, "alert"))
    name = tree.setdefault("kind", "alert")
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None or (asked is not None and name != asked):
        close = asked or (nearest(name, list(KINDS)) if isinstance(name, str) else None)
        meant = f"; did you mean {close}?" if close else ""
        message = f"{name!r} is not the kind wanted here; kinds: {', '.join(KINDS)}{meant}"
        raise invalid([Problem("/kind", "unknown_code", message, close or "alert")])
    return kind


def _without_blanks(tree: dict[str, Any]) -> dict[str, Any]:
    """The tree without what was left blank: a null, and an object or list in which nothing but blanks stood."""
    cleaned = _cleaned(tree)
    return cleaned if isinstance(cleaned, dict) else {}


def _cleaned(value: Any) -> Any:
    if isinstance(value, dict):
        found = {name: inner for name, inner in value.items() if inner is not None}
        for name, inner in value.items():
            if isinstance(inner, dict | list):
                kept = _cleaned(inner)
                if kept is None:
                    del found[name]
                else:
                    found[name] = kept
        return found if found or not value else None
    if isinstance(value, list):
        kept_items = [kept for inner in value if (kept := _cleaned(inner)) is not None]
        return kept_items if kept_items or not value else None
    return value


def _set_by_node(tree: dict[str, Any], defaults: Defaults) -> Iterator[Problem]:
    originator = tree.get("originator")
    given = originator.get("agency_id") if isinstance(originator, dict) else None
    if given != defaults.originator.agency_id:
        message = f"this node speaks for {defaults.originator.agency_id} only: leave `originator` out"
        yield Problem("/originator/agency_id", "set_by_node", message, defaults.originator.agency_id)
    own = {
        "message_id": defaults.message_id,
        "revision": str(defaults.revision),
        "sent_at": format_time(defaults.now_ms),
    }
    for name, value in own.items():
        if str(tree.get(name)) != value:
            yield Problem(f"/{name}", "set_by_node", "the node sets it: leave it out", value)


def _once(problems: list[Problem]) -> Iterator[Problem]:
    """Each place is required once, whoever noticed."""
    seen: set[tuple[str, str]] = set()
    for problem in problems:
        key = (problem.path, problem.rule)
        if problem.rule != "required" or key not in seen:
            seen.add(key)
            yield problem
