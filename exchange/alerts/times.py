"""Times and partial dates as documents write them: RFC 3339 and EDTF. Knows no model and no clock."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from functools import lru_cache

_RFC3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_LAST_MS = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z


@lru_cache(maxsize=4096)  # a message names one moment in many fields, and each is looked at more than once
def time_ms(text: str) -> int:
    """Milliseconds since 1970 of an RFC 3339 time with seconds and offset.

    Raises:
        ValueError: it is none, or lies before 1970 or after the year 9999 in UTC: nobody could write it back.
    """
    found = _RFC3339.fullmatch(text)
    if found is None:
        raise ValueError("not RFC 3339")
    year, month, day, hour, minute, second, fraction, offset = found.groups()
    if offset in ("Z", "z"):
        zone = UTC
    else:
        hours, minutes = int(offset[1:3]), int(offset[4:6])
        if hours > 23 or minutes > 59:
            raise ValueError("not RFC 3339")
        shift = timedelta(hours=hours, minutes=minutes)
        zone = timezone(-shift if offset[0] == "-" else shift)
    moment = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), tzinfo=zone)
    ms = (moment - _EPOCH) // _MS + (int(fraction[:3].ljust(3, "0")) if fraction else 0)
    if not 0 <= ms <= _LAST_MS:
        raise ValueError("out of range")
    return ms


@lru_cache(maxsize=1024)
def format_time(ms: int) -> str:
    """RFC 3339, UTC, milliseconds, `Z`."""
    moment = _EPOCH + ms * _MS
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ms_or_none(text: object) -> int | None:
    """As `time_ms`, None for what is no time."""
    try:
        return time_ms(text) if isinstance(text, str) else None
    except ValueError:
        return None


_PARTIAL = re.compile(r"(\d{4}|\d{3}X|\d{2}XX)(?:-(\d\d|XX)(?:-(\d\d|XX))?)?([~?%])?", re.ASCII)


def date_range(text: str) -> tuple[date, date]:
    """First and last day that a partial date (EDTF level 1: `1985`, `1985-04`, `198X`, `1985~`) can mean.

    An approximate or uncertain one is widened by a year on each side. Raises ValueError for anything else.
    """
    found = _PARTIAL.fullmatch(text)
    if found is None:
        raise ValueError("not EDTF")
    years, month, day, doubt = found.groups()
    month, day = (None if part in (None, "XX") else int(part) for part in (month, day))
    if month is None and day is not None:
        raise ValueError("a day without a month")
    first_year, last_year = int(years.replace("X", "0")), int(years.replace("X", "9"))
    first = date(first_year, month or 1, day or 1)
    last = date(last_year, month or 12, day or 1)
    if day is None:
        last = date(last_year + last.month // 12, last.month % 12 + 1, 1) - timedelta(days=1)
    if doubt:
        first, last = _year_moved(first, -1), _year_moved(last, 1)
    return first, last


def _year_moved(day: date, years: int) -> date:
    return day.replace(year=day.year + years, day=28 if (day.month, day.day) == (2, 29) else day.day)
