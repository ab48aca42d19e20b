"""What a human sees: lines, fields and tables laid out once, then printed plain or in colour. Knows no document.

The rules of every screen:

1.  What matters most comes first; the last line is the next command, exactly as it must be typed.
2.  Every string given to a page is raw. The page escapes and isolates each piece by itself (nodes/cli/text.py), so that
    no view can forget it, and text of a peer cannot reorder or hide our words beside it.
3.  Nothing is cut: on a terminal long text wraps, into a pipe each item is one line. What is copied as one, such as an
    id or a command, is never broken (nodes/cli/wrapping.py). Columns that have no room go below, each with its name.
4.  Colour repeats what words already say. Without a terminal, or with NO_COLOR, the words are all there.
5.  Lines that a peer wrote stand behind a bar, so that they cannot imitate a part of the screen.
6.  Exercise and test never stand among what is actual; what is not real says so in words on its own line.
7.  Data goes to standard output; errors, hints, questions and progress go to standard error.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import IO, NamedTuple, TypeAlias

from nodes.cli.text import escape, isolate, lines_of, width
from nodes.cli.wrapping import GAP, Run, isolated, pad, wrap

LABEL_COLUMNS = 14
MIN_COLUMNS = 40
MIN_ROOM = MIN_COLUMNS // 2  # text in fewer columns is no text any more
RULE_COLUMNS = 60
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


class Whole(str):
    """Something of ours that is copied as one: the path of a file."""

    __slots__ = ()


_PROGRAM = re.compile(r"(?<![\w./-])tocsin (?!-D )(?=[a-z-])")  # the program, not the end of `card.tocsin`
# A command in our words goes to the end of its clause: punctuation, a second blank, or the verb of a sentence about it.
_COMMAND = re.compile(
    r"""(?<![\w./-])((?:tocsin[ ](?=[a-z-])|chmod[ ])
        (?:[ ]?(?!(?:lists|shows|takes|tests|confirms|answers|or|and)\b)
           (?:'[^']*'|"[^"]*"|(?![;,.:)]+(?:\s|$))[^\s'"`(])+)+)""",
    re.VERBOSE,
)


class Page:
    """Collects lines; `columns` is the width to wrap at, None for no wrapping. `program` is how `tocsin` was called,
    with the directory that was named: what is printed to be typed reaches the same node.
    """

    def __init__(self, columns: int | None = None, program: str = "tocsin") -> None:
        self._program = program
        self.columns = None if columns is None else max(columns, MIN_COLUMNS)
        self.lines: list[tuple[Run, ...]] = []

    # --- what views say

    def line(self, *pieces: Piece, style: str = "", indent: int = 0, hang: int = 2) -> None:
        """One line of text, wrapped with a hanging indent."""
        self._put(self._runs(pieces, style), indent=indent, hang=hang)

    def blank(self) -> None:
        """An empty line, never two running and none at the top."""
        if self.lines and self.lines[-1]:
            self.lines.append(())

    def heading(self, text: str) -> None:
        """Begin a part."""
        self.blank()
        self.line(text, style=STRONG)

    def rule(self) -> None:
        """A line across, before what is long."""
        self.line("-" * min(RULE_COLUMNS, self.columns or RULE_COLUMNS), style=QUIET)

    def banner(self, *pieces: Piece, style: str = ALARM) -> None:
        """A line that is seen first."""
        self.line("*** ", *pieces, " ***", style=style)

    def field(self, label: str, *pieces: Piece, style: str = "", indent: int = 0) -> None:
        """`label` in its column, then what it says. A label may be a code that a peer made up: it is escaped too."""
        runs = self._runs(pieces, style)
        if not runs:
            return
        indent, safe = self._held(indent), escape(label)
        start = max(LABEL_COLUMNS, indent + width(safe) + GAP)
        if self._held(start) < start:  # a label so long that it leaves no room stands above
            self.line(Styled(label, QUIET), indent=indent)
            self._put(runs, indent=indent + GAP, hang=0)
            return
        lead = Run(" " * indent + isolate(safe) + " " * (start - indent - width(safe)), QUIET)
        self.lines.extend(wrap(runs, self.columns, lead=[lead], start=start, hang=start))

    def paragraph(self, text: str, *, indent: int = 0, style: str = "") -> None:
        """Foreign text of several lines, each behind a bar, also where a long one wraps."""
        indent = self._held(indent)
        room = None if self.columns is None else self.columns - indent - width(BAR)
        for line in lines_of(text):
            for wrapped in wrap(self._runs((line,), style), room, tokens=False):
                self.lines.append((Run(" " * indent + BAR, QUIET), *wrapped))

    def table(self, headers: Sequence[str], rows: Sequence[tuple[Sequence[Piece], str]]) -> None:
        """Aligned columns; each row is (cells, style). The last column takes the room that is left and wraps.

        On a narrow terminal as many columns stand side by side as have room, from the left; the others follow below
        each row, with their names and as many in a line as fit.
        """
        if not rows:
            return
        cells = [[self._runs((cell,), style) for cell in row] for row, style in rows]
        widths = [max(width(header), *(_width(row[column]) for row in cells)) for column, header in enumerate(headers)]
        beside = self._beside(widths)
        self._row([[Run(header, QUIET)] if header else [] for header in headers[:beside]], widths)
        margin = GAP + len(headers[0]) - len(headers[0].lstrip(" "))
        for row in cells:
            self._row(row[:beside], widths)
            self._below(headers[beside:], row[beside:], margin)

    def _beside(self, widths: Sequence[int]) -> int:
        """How many columns stand side by side: the first one in any case."""
        if self.columns is None:
            return len(widths)
        wanted = [*widths[:-1], min(widths[-1], MIN_ROOM)]
        fitting = [
            count for count in range(1, len(widths) + 1) if sum(wanted[:count]) + GAP * (count - 1) <= self.columns
        ]
        return max(fitting, default=1)

    def _row(self, row: Sequence[Sequence[Run]], widths: Sequence[int]) -> None:
        lead: list[Run] = []
        for runs, columns in zip(row[:-1], widths, strict=False):
            lead += [*isolated(runs), Run(" " * (columns - _width(runs) + GAP))]
        start = sum(widths[: len(row) - 1]) + GAP * (len(row) - 1)
        hang = start if len(row) > 1 else GAP
        self.lines.extend(wrap(row[-1], self.columns, lead=lead, start=start, hang=hang))

    def _below(self, headers: Sequence[str], row: Sequence[Sequence[Run]], margin: int) -> None:
        line: list[Run] = []
        for header, runs in zip(headers, row, strict=True):
            if not runs:
                continue
            cell = [Run(f"{header} ", QUIET), *runs] if header else list(runs)
            if line and self.columns is not None and margin + _width(line) + GAP + _width(cell) > self.columns:
                self._put(line, indent=margin, hang=GAP)
                line = []
            line += [*pad(GAP if line else 0), *cell]
        if line:
            self._put(line, indent=margin, hang=GAP)

    def _put(self, runs: Sequence[Run], *, indent: int, hang: int) -> None:
        indent, hang = self._held(indent), self._held(indent + hang)
        self.lines.extend(wrap(runs, self.columns, lead=pad(indent), start=indent, hang=hang))

    def _held(self, indent: int) -> int:
        """`indent` as far as it leaves room for text."""
        return indent if self.columns is None else min(indent, self.columns - MIN_ROOM)

    def _runs(self, pieces: Sequence[Piece], style: str) -> list[Run]:
        made: list[Run] = []
        for piece in pieces:
            if isinstance(piece, Styled):
                made.extend(self._said(piece.text, piece.style))
            elif isinstance(piece, str):
                made.extend(self._said(piece, style))
            else:
                made.extend(self._runs(piece, style))
        return made

    def _said(self, text: str, style: str) -> list[Run]:
        """Escaped. In words of ours each command is one whole."""
        parts = _COMMAND.split(with_program(text, self._program)) if isinstance(text, Ours) else [text]
        return [
            Run(escape(part), style, number % 2 == 1 or isinstance(text, Whole))
            for number, part in enumerate(parts)
            if part
        ]

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
    """Our words with each command as it must be typed here; `program` is how `tocsin` was called. Words that repeat a
    command as it was typed name the directory already.
    """
    # A function replaces: a directory's name may hold backslashes.
    return text if " -D " in text else _PROGRAM.sub(lambda _: f"{program} ", text)


def _width(runs: Sequence[Run]) -> int:
    return sum(width(run.text) for run in runs)
