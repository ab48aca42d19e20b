"""What is wrong with a message: every problem at once, each with its place, its rule and an example. Knows no model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from exchange.errors import ExchangeError


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    `path` is a JSON Pointer (RFC 6901; "" = the whole document), `rule` a stable code, `message` prose for a person,
    `example` something that would be right there ("" where there is none).
    """

    path: str
    rule: str
    message: str
    example: str


class InvalidAlert(ExchangeError):  # noqa: N818 # part of the package's contract
    """A document that is not what its kind asks for. Its text names rules only: content must not reach a log."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__(", ".join(sorted({problem.rule for problem in self.problems})))


class MarkingContradiction(InvalidAlert):
    """Nothing is wrong but that the handling contradicts itself or the content."""


MARKING_RULE = "marking_contradiction"

# Nobody mends more at once, and a hostile document has as many as it has bytes.
MAX_PROBLEMS = 100


def pointer(*parts: str | int) -> str:
    """A JSON Pointer of these names and indices."""
    text = "/".join(["", *map(str, parts)])
    if text.count("/") == len(parts) and "~" not in text:  # nothing to escape, as nearly always
        return text
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def invalid(problems: Iterable[Problem]) -> InvalidAlert:
    """The error for these problems: each once, of the type that tells contradictory markings from other faults."""
    once = tuple(dict.fromkeys(problems))
    if len(once) > MAX_PROBLEMS:
        rest = Problem("", "more_problems", f"and {len(once) - MAX_PROBLEMS} more", "")
        once = (*once[:MAX_PROBLEMS], rest)
    if once and all(problem.rule == MARKING_RULE for problem in once):
        return MarkingContradiction(once)
    return InvalidAlert(once)
