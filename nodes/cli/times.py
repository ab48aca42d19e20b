"""Times between people and documents: typed ones become RFC 3339 in UTC, shown ones local time with UTC beside it.

Documents are never touched: `--json` prints what the node said.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo

from nodes.errors import OperationError, Problem

EXAMPLE = "2026-11-23T02:10:00-05:00"

_DURATION = re.compile(r"(\d{1,5})(m|h|d|w)")
_MOMENT = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def parse_time(option: str, text: str, now: datetime, *, past: bool) -> str:
    """The moment that an operator typed, as documents write it.

    RFC 3339 with an offset, or a distance from now (`90m`, `24h`, `7d`, `2w`): back if `past`, else ahead. A time
    without an offset is refused: at three in the morning nobody should have to know which zone was meant.

    Raises:
        OperationError: `usage`.
    """
    distance = _DURATION.fullmatch(text.lstrip("+"))
    try:
        if distance is not None:
            step = int(distance[1]) * _UNITS[distance[2]]
            return format_time(now - step if past else now + step)
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return format_time(moment)
    except (OverflowError, ValueError):
        pass
    message = f"{option} {text!r} is no time with an offset, nor a distance such as 24h or 7d"
    problem = Problem("", "rfc3339_offset", message, EXAMPLE)
    raise OperationError("usage", message, f"write it like {option} {EXAMPLE}", (problem,))


def format_time(moment: datetime) -> str:
    """RFC 3339, UTC, milliseconds, `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def format_millis(milliseconds: int) -> str | None:
    """The same of milliseconds since 1970, as signed objects hold them; None beyond the year 9999."""
    try:
        return format_time(datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=milliseconds))
    except OverflowError:
        return None


def show_time(text: object, zone: tzinfo | None = None) -> str:
    """A time of a document for a person: here, then UTC. What is no time is given back as it is; "" for null.

    `zone` is the machine's unless given.
    """
    if not isinstance(text, str):
        return ""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    if moment.tzinfo is None:
        return text
    try:
        here, utc = moment.astimezone(zone), moment.astimezone(UTC)
    except (OverflowError, ValueError):  # the year 1 or 9999, moved over its edge
        return text
    local = f"{here:%Y-%m-%d %H:%M} {here.tzname() or ''}".rstrip()
    if here.utcoffset() == timedelta(0):
        return f"{here:%Y-%m-%d %H:%M} UTC"
    return f"{local} ({utc:%H:%M}Z)" if here.date() == utc.date() else f"{local} ({utc:%Y-%m-%d %H:%M}Z)"


def show_times_in(sentence: str, zone: tzinfo | None = None) -> str:
    """A sentence of the node with each time as documents write it turned into one for a person."""
    return _MOMENT.sub(lambda found: show_time(found[0], zone), sentence)


def show_time_there(text: object, zone: tzinfo | None = None) -> str:
    """A time of an event elsewhere: the clock on the wall there, as its offset says, then here and UTC."""
    if not isinstance(text, str):
        return ""
    try:
        moment = datetime.fromisoformat(text)
        elsewhere = moment.tzinfo is not None and moment.utcoffset() != moment.astimezone(zone).utcoffset()
    except (OverflowError, ValueError):
        return text
    if not elsewhere or moment.utcoffset() == timedelta(0):
        return show_time(text, zone)
    return f"{moment:%Y-%m-%d %H:%M} there, {show_time(text, zone)} here"


def show_span(milliseconds: object) -> str:
    """A duration for a person."""
    if not isinstance(milliseconds, int | float) or isinstance(milliseconds, bool):
        return ""
    if abs(milliseconds) < 1000:
        return f"{milliseconds} ms"
    seconds = milliseconds / 1000
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if abs(seconds) < limit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds / 86_400:.0f} d"


def show_size(size: object) -> str:
    """A number of bytes for a person."""
    if not isinstance(size, int) or isinstance(size, bool):
        return ""
    for power, unit in ((4, "TB"), (3, "GB"), (2, "MB"), (1, "kB")):
        if size >= 1000**power:
            return f"{size / 1000**power:.1f} {unit}"
    return f"{size} bytes"
