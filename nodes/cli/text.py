"""Foreign text made safe to show on a terminal. Owns escaping, isolation and width; knows no document.

A peer chooses the names, summaries and notes that an officer reads at three in the morning. Left as it comes, such text
can move the cursor, hide a line, retitle the window (ECMA-48 control sequences) or show `DE-123 gpj` as `jpg 321-ED`
(Unicode UAX #9 overrides, the "trojan source" attack). Here it keeps every letter and loses that power.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

ISOLATE = "\u2068"  # FIRST STRONG ISOLATE: what follows orders itself and nothing around it
RELEASE = "\u2069"  # POP DIRECTIONAL ISOLATE

# Format characters that writing needs: without the joiners Persian, Hindi or a family emoji fall apart.
_WRITTEN_FORMATS = frozenset("\u200c\u200d")
_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
# Vietnamese, Hebrew with cantillation and Tibetan stay below; more only climb over the lines above and below.
MAX_MARKS = 8
LONG_TEXT = 8  # letters in a column; with more it is no use to measure the whole before a part is taken
_FIRST_MARK = "\u0300"  # below it stands one letter in one column
_CARRIER = "\u25cc"  # DOTTED CIRCLE: a mark with nothing to sit on must not change our own last letter


def escape(text: str) -> str:
    """`text` with everything that a terminal would obey, or not show, made visible; line breaks too.

    Control characters become their pictures (U+241B for ESC), other invisible ones their number (`<U+202E>`).
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_visible(text))


def _visible(text: str) -> Iterator[str]:
    marks = 0
    for position, character in enumerate(text):
        category = unicodedata.category(character)
        if category in ("Mn", "Me"):
            marks += 1
            if marks > MAX_MARKS:
                yield _number(character)
                continue
            if position == 0:
                yield _CARRIER
        elif character not in _WRITTEN_FORMATS:
            marks = 0
        yield character if category not in _INVISIBLE or character in _WRITTEN_FORMATS else _picture(character)


def _picture(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return _number(character)


def _number(character: str) -> str:
    return f"<U+{ord(character):04X}>"


def isolate(escaped: str) -> str:
    """Escaped text in a directional isolate, if it holds anything that runs right to left."""
    if escaped.isascii() or not any(unicodedata.bidirectional(character) in _RIGHT_TO_LEFT for character in escaped):
        return escaped
    return f"{ISOLATE}{escaped}{RELEASE}"


def shown(text: str) -> str:
    """Foreign text as one line that is safe between our own words: escaped, then isolated."""
    return isolate(escape(text))


def lines_of(text: str) -> list[str]:
    """Foreign text of several lines, each still raw. Other breaks than people type are shown by `escape`."""
    return [line.replace("\t", "    ") for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]


def width(escaped: str) -> int:
    """Columns that escaped text takes on a terminal."""
    if escaped.isascii() or max(escaped) < _FIRST_MARK:
        return len(escaped)
    import wcwidth  # slow to load, and most text is Latin

    columns = wcwidth.wcswidth(escaped)
    return columns if columns >= 0 else len(escaped)


def take(escaped: str, columns: int) -> tuple[str, str]:
    """Split escaped text so that the first part fits `columns`: one character at least, marks stay with theirs."""
    if len(escaped) <= LONG_TEXT * columns and width(escaped) <= columns:
        return escaped, ""
    used = end = 0
    for character in escaped:
        used += width(character)
        if used > columns and end:
            break
        end += 1
    while end < len(escaped) and unicodedata.combining(escaped[end]):
        end += 1
    return escaped[:end], escaped[end:]
