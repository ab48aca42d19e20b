"""Where a line on a terminal may end. Owns the breaking of escaped text into lines; knows no page and no document.

Lines end at words. What is copied as one (a command, an id, a case number, an agency, a telephone number) is never
broken: what does not fit its place stands on a line of its own, further left if need be and longer than the terminal
if it must be. The terminal wraps such a line by itself and copies it as one; a line that we had broken it would not.

Any other word that is too long is broken at the margin: a peer's text never reaches the start of a row by itself,
where it could imitate a part of the screen.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from nodes.cli.text import isolate, take, width

GAP = 2

_WORD = re.compile(r"\S+\s*|\s+")
_PUNCTUATION = ";,.:)"
_SEPARATORS = ";,. "  # between a command and what follows it; where the line ends there, nothing is to be separated
# By shape, since a peer may have written them: none of these can hold a sentence.
_TOKEN = re.compile(
    r"""(?:[a-z0-9.-]{3,64}(?:/[a-z0-9]{1,16}){0,2}             # an agency, its log, an id, a hash
        | [A-Z]{2}[A-Z0-9-]{1,20}/[0-9]{4}/[A-Z0-9-]{1,20}      # a case
        | [0-9A-Z]{4}(?:-[0-9A-Z]{4}){4}                        # a safety code
        | \+[0-9]{4,15}                                         # a telephone number
        | https://[a-z0-9.-]{1,64}(?::[0-9]{1,5})?/?            # where an agency listens
        )[;,.:)]*""",
    re.VERBOSE,
)


class Run(NamedTuple):
    """Escaped text in one style; `whole` is never broken."""

    text: str
    style: str = ""
    whole: bool = False


def wrap(
    runs: Sequence[Run],
    columns: int | None,
    *,
    lead: Sequence[Run] = (),
    start: int = 0,
    hang: int = 0,
    tokens: bool = True,
) -> list[tuple[Run, ...]]:
    """Runs as lines of `columns` (None: one line). The first begins with `lead`, which is `start` columns wide and
    isolated already; the others begin at `hang`. Without `tokens` all that is too long is broken, unless it is whole.
    """
    if columns is None or start + sum(width(run.text) for run in runs) <= columns:
        return [(*lead, *isolated(runs))]
    breaking = _Breaking(columns, lead, start, hang, tokens)
    for run, following in zip(runs, [*runs[1:], Run("")], strict=True):
        breaking.add(run, _punctuation(following.text))
    return breaking.finish()


def isolated(runs: Sequence[Run]) -> list[Run]:
    """Each run in an isolate of its own, if it holds what runs right to left."""
    return [Run(isolate(run.text), run.style) for run in runs]


def pad(columns: int) -> list[Run]:
    """So many blanks."""
    return [Run(" " * columns)] if columns else []


def _punctuation(text: str) -> str:
    """What of `text` may not begin a line."""
    return text[: len(text) - len(text.lstrip(_PUNCTUATION))]


class _Breaking:
    """Fills lines. Isolation comes last: a piece broken in two is isolated on each line by itself."""

    def __init__(self, columns: int, lead: Sequence[Run], start: int, hang: int, tokens: bool) -> None:
        self._columns = columns
        self._hang = hang
        self._tokens = tokens
        self._lines: list[tuple[Run, ...]] = []
        self._lead = list(lead)
        self._left = columns - start
        self._words: list[Run] = []
        self._taken = any(run.text.strip() for run in lead)  # whether something stands on the line
        self._alone = False  # whether that is longer than the line

    def add(self, run: Run, punctuation: str) -> None:
        """Put a run; `punctuation` is what the next one begins with and stays beside this one's last word."""
        words = [run.text] if run.whole else _WORD.findall(run.text)
        begun = False  # whether the last run of this line is of this one
        for number, word in enumerate(words, 1):
            behind = width(punctuation) if number == len(words) else 0
            needless = _SEPARATORS if self._alone else ""
            if self._taken and width(word.rstrip()) + behind > self._left:
                self._end()
                begun = False
            begun = self._place(word.lstrip(needless) if needless else word, run, begun)

    def finish(self) -> list[tuple[Run, ...]]:
        """All lines."""
        if self._words or not self._lines:
            self._end()
        return self._lines

    def _place(self, word: str, run: Run, begun: bool) -> bool:
        size = width(word.rstrip())
        if size > self._left:
            if run.whole or (self._tokens and _TOKEN.fullmatch(word.rstrip())):
                # What is ours may stand at the very margin; a peer's word never begins there.
                self._begin(min(self._hang, max(self._columns - size, 0 if run.whole else GAP)))
                self._alone = size > self._left
                begun = False
            # Measured again only where it may fit: a page of Chinese is one word.
            while not self._alone and (size > self._left or (size := width(word.rstrip())) > self._left):
                part, word = take(word, max(self._left, 1))
                size -= width(part)
                self._append(Run(part, run.style), begun)
                self._end()
                begun = False
        if word:
            self._append(Run(word, run.style), begun)
        return bool(word)

    def _append(self, run: Run, begun: bool) -> None:
        if begun:
            self._words[-1] = Run(self._words[-1].text + run.text, run.style)
        else:
            self._words.append(run)
        self._left = max(self._left - width(run.text), 0)
        self._taken = self._taken or bool(run.text.strip())

    def _end(self) -> None:
        if self._words:
            self._words[-1] = Run(self._words[-1].text.rstrip(" "), self._words[-1].style)
        self._lines.append((*self._lead, *isolated(self._words)))
        self._begin(self._hang)

    def _begin(self, at: int) -> None:
        self._lead = pad(at)
        self._left = self._columns - at
        self._words = []
        self._taken = self._alone = False
