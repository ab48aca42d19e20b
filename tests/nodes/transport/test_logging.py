"""The log: JSON lines, plain values, and nothing of what an exception says."""

from __future__ import annotations

import io
import json
import logging as stdlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

from nodes import logging

SECRET = "Lucia was seen in Cucuta"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    handlers, level = stdlib.getLogger().handlers[:], stdlib.getLogger().level
    stream = io.StringIO()
    logging.configure("info", stream=stream)
    yield stream
    stdlib.getLogger().handlers[:] = handlers
    stdlib.getLogger().setLevel(level)
    logging._configure_events("warning", sys.stderr)


def events(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_line_of_json(stream: io.StringIO) -> None:
    logging.get_logger("courier").info("round.out", peer="bka.de", size=17, late=False, code=None)
    (event,) = events(stream)
    at = str(event.pop("at"))
    assert at.endswith("Z")
    assert len(at) == len("2026-11-23T07:12:31.204Z")
    assert event == {
        "area": "courier",
        "event": "round.out",
        "level": "info",
        "peer": "bka.de",
        "size": 17,
        "late": False,
        "code": None,
    }


def test_what_is_below_the_level_is_not_written(stream: io.StringIO) -> None:
    logging.get_logger("x").debug("detail")
    assert events(stream) == []


def test_an_exception_shows_its_types_and_places_and_none_of_its_text(stream: io.StringIO) -> None:
    def inner() -> None:
        raise KeyError(SECRET)

    try:
        try:
            inner()
        except KeyError as problem:
            raise ValueError(f"cannot read {SECRET}") from problem
    except ValueError:
        logging.get_logger("x").exception("failed")
    (event,) = events(stream)
    assert event["exception"] == "ValueError < KeyError"
    assert "transport/test_logging.py" in str(event["places"])
    assert SECRET not in stream.getvalue()


@pytest.mark.parametrize("value", [{"name": SECRET}, SECRET.encode(), (SECRET,), {SECRET}, Exception(SECRET)])
def test_a_value_that_is_not_plain_shows_its_type_only(value: object, stream: io.StringIO) -> None:
    logging.get_logger("x").info("slip", value=value)
    (event,) = events(stream)
    assert event["value"] == f"<{type(value).__name__}>"


def test_a_long_text_is_cut(stream: io.StringIO) -> None:
    logging.get_logger("x").info("slip", value="a" * 10_000)
    (event,) = events(stream)
    assert len(str(event["value"])) < 400


def test_a_text_cannot_make_a_line_of_its_own(stream: io.StringIO) -> None:
    logging.get_logger("x").info("said", value='a\n{"event": "forged"}\r\x1b[2J')
    (event,) = events(stream)
    assert event["event"] == "said"
    assert "\x1b" not in stream.getvalue()


def test_what_libraries_log_shows_without_its_arguments(stream: io.StringIO) -> None:
    try:
        raise RuntimeError(SECRET)
    except RuntimeError:
        stdlib.getLogger("asyncio").exception("Task failed: %s", SECRET)
    stdlib.getLogger("aiohttp.access").info("GET /")
    (event,) = events(stream)
    assert (event["area"], event["said"], event["exception"]) == ("asyncio", "Task failed: %s", "RuntimeError")
    assert SECRET not in stream.getvalue()


def test_a_terminal_gets_text_not_json() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    logging._configure_events("info", terminal)
    logging.get_logger("x").info("round.out", peer="bka.de")
    logging._configure_events("warning", sys.stderr)
    assert "round.out" in terminal.getvalue()
    with pytest.raises(json.JSONDecodeError):
        json.loads(terminal.getvalue())


def test_nothing_goes_to_stdout_before_anybody_has_configured_the_log() -> None:
    program = "from nodes.logging import get_logger; get_logger('x').error('early'); get_logger('x').info('detail')"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert ran.stdout == b""
    assert json.loads(ran.stderr)["event"] == "early"
