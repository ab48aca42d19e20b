"""What a human sees: lines, fields and tables laid out once, then printed plain or in colour. Knows no document.

The rules of every screen:

1.  What matters most comes first; the last line is the next command, exactly as it must be typed.
2.  Every string given to a page is raw. The page escapes and isolates each piece by itself (nodes/cli/text.py), so that
    no view can forget it, and text of a peer cannot reorder or hide our words beside it.
3.  Nothing is cut: on a terminal long text wraps, into a pipe each item is one line.
4.  Colour repeats what words already say. Without a terminal, or with NO_COLOR, the words are all there.
5.  Lines that a peer wrote stand behind a bar, so that they cannot imitate a part of the screen.
6.  Exercise and test never stand among what is actual; what is not real says so in words on its own line.
7.  Data goes to standard output; errors, hints, questions and progress go to standard error.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import IO, NamedTuple, TypeAlias

from nodes.cli.text import escape, isolate, lines_of, take, width

LABEL_COLUMNS = 14
MIN_COLUMNS = 40
GAP = 2
BAR = "| "  # before each line of foreign text that has several: no such line can pass for one of ours

ALARM, CAUTION, GOOD, QUIET, STRONG = "bold white on red", "bold yellow", "green", "dim", "bold"


class Styled(NamedTuple):
    """A piece of text with a style of its own."""

    text: str
    style: str


Piece: TypeAlias = "str | Styled | Sequence[Piece]"


class Ours(str):
    """Words of this program or of its node, never a peer's: a `tocsin …` in them can be typed as it is printed."""

    __slots__ = ()


class _Run(NamedTuple):
    """Escaped text of one piece."""

    text: str
    style: str


_COMMAND = re.compile(r"(?<![\w./-])tocsin (?!-D )(?=[a-z-])")  # the program, not the end of `card.tocsin`
_WORD = re.compile(r"\S+\s*|\s+")


class Page:
    """Collects lines; `columns` is the width to wrap at, None for no wrapping. `program` is how `tocsin` was called,
    with the directory that was named: what is printed to be typed reaches the same node.
    """

    def __init__(self, columns: int | None = None, program: str = "tocsin") -> None:
        self._program = program
        self.columns = None if columns is None else max(columns, MIN_COLUMNS)
        self.lines: list[tuple[_Run, ...]] = []

    # --- what views say

    def line(self, *pieces: Piece, style: str = "", indent: int = 0, hang: int = 2) -> None:
        """One line of text, wrapped with a hanging indent."""
        runs = self._runs(pieces, style)
        room = None if self.columns is None else self.columns - indent
        for number, wrapped in enumerate(_wrap(runs, room, hang)):
            pad = " " * (indent + (hang if number else 0))
            self.lines.append((_Run(pad, ""), *wrapped) if pad else tuple(wrapped))

    def blank(self) -> None:
        """An empty line, never two running and none at the top."""
        if self.lines and self.lines[-1]:
            self.lines.append(())

    def heading(self, text: str) -> None:
        """Begin a part."""
        self.blank()
        self.line(text, style=STRONG)

    def banner(self, *pieces: Piece, style: str = ALARM) -> None:
        """A line that is seen first."""
        self.line("*** ", *pieces, " ***", style=style)

    def field(self, label: str, *pieces: Piece, style: str = "", indent: int = 0) -> None:
        """`label` in its column, then what it says. A label may be a code that a peer made up: it is escaped too."""
        safe = escape(label)
        room = max(LABEL_COLUMNS - indent, width(safe) + GAP)
        if not self._runs(pieces, ""):
            return
        padded = isolate(safe) + " " * (room - width(safe))
        room_left = None if self.columns is None else self.columns - indent - room
        for number, wrapped in enumerate(_wrap(self._runs(pieces, style), room_left, 0)):
            lead = padded if number == 0 else " " * room
            self.lines.append((_Run(" " * indent + lead, QUIET), *wrapped))

    def paragraph(self, text: str, *, indent: int = 0, style: str = "") -> None:
        """Foreign text of several lines, each behind a bar, also where a long one wraps."""
        room = None if self.columns is None else self.columns - indent - width(BAR)
        for line in lines_of(text):
            for wrapped in _wrap(self._runs((line,), style), room, 0):
                self.lines.append((_Run(" " * indent + BAR, QUIET), *wrapped))

    def table(self, headers: Sequence[str], rows: Sequence[tuple[Sequence[Piece], str]]) -> None:
        """Aligned columns; each row is (cells, style). The last column takes the room that is left and wraps."""
        if not rows:
            return
        cells = [[self._runs((cell,), style) for cell in row] for row, style in rows]
        widths = [
            max(width(header), *(sum(width(run.text) for run in row[column]) for row in cells))
            for column, header in enumerate(headers)
        ]
        self._row([[_Run(header, QUIET)] if header else [] for header in headers], widths)
        for row in cells:
            self._row(row, widths)

    def _row(self, row: Sequence[Sequence[_Run]], widths: Sequence[int]) -> None:
        made: list[_Run] = []
        for runs, columns in zip(row[:-1], widths[:-1], strict=True):
            made.extend(_isolated(runs))
            made.append(_Run(" " * (columns - sum(width(run.text) for run in runs) + GAP), ""))
        start = sum(widths[:-1]) + GAP * (len(widths) - 1)
        room = None if self.columns is None else self.columns - start
        if room is not None and room < MIN_COLUMNS // 2:  # a narrow terminal: the long column goes below, whole
            self.lines.append(tuple(made))
            start = GAP
            made, room = [_Run(" " * GAP, "")], self.columns
        for number, wrapped in enumerate(_wrap(row[-1], room, 0)):
            self.lines.append((*made, *wrapped) if number == 0 else (_Run(" " * start, ""), *wrapped))

    def _runs(self, pieces: Sequence[Piece], style: str) -> list[_Run]:
        made: list[_Run] = []
        for piece in pieces:
            if isinstance(piece, Styled):
                made.append(_Run(escape(self._typed(piece.text)), piece.style))
            elif isinstance(piece, str):
                made.append(_Run(escape(self._typed(piece)), style))
            else:
                made.extend(self._runs(piece, style))
        return [run for run in made if run.text]

    def _typed(self, text: str) -> str:
        return with_program(text, self._program) if isinstance(text, Ours) else text

    # --- what becomes of it

    def plain(self) -> str:
        """The page without colour, one trailing newline per line."""
        return "".join("".join(run.text for run in line).rstrip(" ") + "\n" for line in self.lines)

    def print(self, stream: IO[str], *, terminal: bool) -> None:
        """Write the page; `terminal` means that somebody is looking."""
        if not terminal:
            stream.write(self.plain())
            return
        from rich.console import Console
        from rich.text import Text

        # Colour or not is rich's to know (NO_COLOR, TERM=dumb); text is never read as markup, emoji or hyperlink.
        console = Console(file=stream, markup=False, emoji=False, highlight=False, soft_wrap=True)
        for line in self.lines:
            text = Text()
            for run in line:
                text.append(run.text, run.style or None)
            console.print(text)


def with_program(text: str, program: str) -> str:
    """Our words with each command as it must be typed here; `program` is how `tocsin` was called."""
    return _COMMAND.sub(lambda _: f"{program} ", text)  # a function: a directory's name may hold backslashes


def _isolated(runs: Sequence[_Run]) -> list[_Run]:
    return [_Run(isolate(run.text), run.style) for run in runs]


def _wrap(runs: Sequence[_Run], columns: int | None, hang: int) -> list[list[_Run]]:
    """Break runs into lines. Isolation comes last: a piece broken in two is isolated on each line by itself."""
    if columns is None or sum(width(run.text) for run in runs) <= columns:
        return [_isolated(runs)]
    lines: list[list[_Run]] = [[]]
    left = columns
    for run in runs:
        begun = False  # whether the last run of this line is of this piece
        for word in _WORD.findall(run.text):
            rest = word
            while rest:
                size = width(rest.rstrip())
                if size > left and lines[-1]:
                    lines.append([])
                    left, begun = max(columns - hang, 1), False
                    continue
                part, rest = (rest, "") if size <= left else take(rest, left)
                if begun:
                    lines[-1][-1] = _Run(lines[-1][-1].text + part, run.style)
                else:
                    lines[-1].append(_Run(part, run.style))
                left, begun = left - width(part), True
    return [_isolated(_without_trailing_space(line)) for line in lines if line] or [[]]


def _without_trailing_space(line: Sequence[_Run]) -> list[_Run]:
    return [*line[:-1], _Run(line[-1].text.rstrip(" "), line[-1].style)]
