"""The node's log: JSON lines on stderr, one event per unit of work. Owns what may appear in one, not what is worth one.

An event is a name and fields: ids, codes, sizes, durations. Never content, names of persons, keys, or the text of an
exception (a message can quote what it could not parse): of exceptions the log has the types and the places.
"""

from __future__ import annotations

import logging as stdlib
import sys
import traceback
from collections.abc import MutableMapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, TextIO

import structlog

_MAX_TEXT: Final = 300
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}

Logger = structlog.typing.FilteringBoundLogger


def configure(level: str, *, stream: TextIO | None = None) -> None:
    """Send the log to `stream` (stderr): JSON lines, coloured text where a terminal is watching. `level`: a LogLevel.

    What libraries log through the standard library appears too, by the same rules.
    """
    _configure_events(level, sys.stderr if stream is None else stream)
    root = stdlib.getLogger()
    root.handlers[:] = [_FromLibraries()]
    root.setLevel(max(_LEVELS[level], stdlib.WARNING))


def _configure_events(level: str, target: TextIO) -> None:
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer(ensure_ascii=False)
    if target.isatty():
        renderer = structlog.dev.ConsoleRenderer(colors=True)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _add_time,
            _describe_exception,
            _keep_plain_values,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(target),
        cache_logger_on_first_use=False,
    )


def get_logger(area: str) -> Logger:
    """A logger whose events carry `area`."""
    logger: Logger = structlog.get_logger(area=area)
    return logger


class _FromLibraries(stdlib.Handler):
    """Takes what libraries log; of their message the template alone, as its arguments can be anything."""

    def emit(self, record: stdlib.LogRecord) -> None:
        logger = get_logger(record.name)
        logger.log(record.levelno, "library", said=str(record.msg), exc_info=record.exc_info)


def _add_time(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:  # noqa: ARG001
    event["at"] = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return event


def _describe_exception(
    logger: object,  # noqa: ARG001
    method: str,  # noqa: ARG001
    event: MutableMapping[str, Any],
) -> MutableMapping[str, Any]:
    given = event.pop("exc_info", None)
    if given is True:
        given = sys.exc_info()[1]
    elif isinstance(given, tuple):
        given = given[1]
    if isinstance(given, BaseException):
        event["exception"], event["places"] = describe(given)
    return event


def describe(error: BaseException) -> tuple[str, list[str]]:
    """Types of an exception and its causes, and the places it passed through, innermost last. No text of it."""
    types: list[str] = []
    current: BaseException | None = error
    while current is not None and len(types) < 8:
        types.append(type(current).__name__)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return " < ".join(types), _places(error.__traceback__)


def _places(trace: TracebackType | None) -> list[str]:
    frames = traceback.extract_tb(trace, limit=-12)
    return [f"{'/'.join(frame.filename.rsplit('/', 2)[-2:])}:{frame.lineno} {frame.name}" for frame in frames]


def _keep_plain_values(
    logger: object,  # noqa: ARG001
    method: str,  # noqa: ARG001
    event: MutableMapping[str, Any],
) -> MutableMapping[str, Any]:
    """Numbers and short text pass; anything else is a slip on our side and shows as its type only."""
    for name, value in event.items():
        if not isinstance(value, (int, float, type(None))):
            event[name] = _plain(value)
    return event


def _plain(value: object) -> object:
    match value:
        case str():
            return value if len(value) <= _MAX_TEXT else f"{value[:_MAX_TEXT]}…"
        case list():
            return [_plain(item) for item in value]
        case _:
            return f"<{type(value).__name__}>"


# Until somebody configures it: structlog by itself prints every event on stdout, where the command line's JSON goes.
_configure_events("warning", sys.stderr)
