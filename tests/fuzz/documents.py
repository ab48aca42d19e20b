"""Targets of what people write and read: alerts as JSON and YAML, received documents, times, screens."""

from __future__ import annotations

import json
import unicodedata
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from exchange.alerts import InvalidAlert, ack_fields, complete, diff, parse_input, read_received
from exchange.alerts.ijson import read_document, write_document
from exchange.alerts.times import date_range, format_time, time_ms
from exchange.alerts.yaml_input import read_yaml
from exchange.errors import RefusalError
from exchange.policy import CaseFacts, check_inbound
from exchange.saying import read_saying
from keys.ids import AgencyId, parse_agency_id, parse_uuid
from nodes.cli.client import _answer, _stream_answer
from nodes.cli.page import Page
from nodes.cli.text import ISOLATE, RELEASE, escape, shown, take
from nodes.cli.times import parse_time, show_time, show_time_there
from nodes.cli.views.message import view_message
from nodes.errors import OperationError
from tests.alerts.builders import DEFAULTS, NOW
from tests.cli.samples import SHOWN
from tests.fuzz.target import Target
from tests.fuzz.wire import text_of

# --- what an analyst writes -------------------------------------------------------------------------------------------


def alert_input(data: bytes) -> None:
    """What a node completes, a peer takes; and taken back, it is completed to the same bytes."""
    made = complete(parse_input(data), DEFAULTS)
    try:
        read_received(made.content)
        again = complete(parse_input(made.content), DEFAULTS)
    except InvalidAlert as error:
        raise AssertionError(f"completed, and then refused: {error.problems}") from error
    assert again.content == made.content


def yaml(data: bytes) -> None:
    write_document(read_yaml(data))


# --- what a peer sends ------------------------------------------------------------------------------------------------


def received(data: bytes) -> None:
    """A peer's message bytes, and what the intake goes on to ask of a document that was taken."""
    read_saying(data)
    found = read_received(data)
    headline = found.headline
    parse_uuid(headline.message_id)
    for named in (headline.supersedes, headline.replies_to):
        if named is not None:
            parse_uuid(named)
    parse_agency_id(headline.originator)
    if headline.kind == "ack":
        said = ack_fields(found.document)
        parse_uuid(said.message_id)
    with suppress(RefusalError):
        check_inbound(found.document, headline, AgencyId(headline.originator), CaseFacts())
    diff(found.document, {})
    diff({}, found.document)
    assert read_document(write_document(found.document)) == found.document
    with suppress(InvalidAlert):
        parse_input(data)
    _screen(found.document)


def saying(data: bytes) -> None:
    read_saying(data)


def ijson(data: bytes) -> None:
    found = read_document(data)
    assert read_document(write_document(found)) == found


# --- what a person sees -----------------------------------------------------------------------------------------------

_NEVER = frozenset({"Cc", "Cs", "Co", "Zl", "Zp"})
_OURS = frozenset({ISOLATE, RELEASE, "\u200c", "\u200d"})


def assert_clean(text: str) -> None:
    """No character that a terminal obeys or does not show, but line ends of our own."""
    for character in text.replace("\n", ""):
        category = unicodedata.category(character)
        assert category not in _NEVER, hex(ord(character))
        assert category != "Cf" or character in _OURS, hex(ord(character))


def screen(data: bytes) -> None:
    """Any document as the content of a message that is shown."""
    _screen(read_document(data))


def _screen(content: dict[str, Any]) -> None:
    for columns in (None, 40):
        page = Page(columns)
        view_message({**SHOWN, "content": content}, page)
        assert_clean(page.plain())


def escaping(data: bytes) -> None:
    """Foreign text in every place that a page has."""
    text = text_of(data)
    safe = shown(text)
    assert "\n" not in safe
    assert_clean(safe)
    left = escape(text)
    while left:
        part, left = take(left, 7)
        assert part
    for columns in (None, 40):
        page = Page(columns)
        page.line(text)
        page.field("field", text)
        page.paragraph(text)
        page.banner(text)
        page.table(("a", "b"), [((text, text), "")])
        said = page.plain()
        assert_clean(said)
        said.encode()


# --- times ------------------------------------------------------------------------------------------------------------

_MOMENT = datetime.fromtimestamp(NOW / 1000, UTC)
_BOGOTA = timezone(timedelta(hours=-5))


def times(data: bytes) -> None:
    text = text_of(data)
    with suppress(ValueError):
        ms = time_ms(text)
        assert time_ms(format_time(ms)) == ms
    with suppress(ValueError):
        first, last = date_range(text)
        assert first <= last
    for past in (True, False):
        with suppress(OperationError):
            datetime.fromisoformat(parse_time("--until", text, _MOMENT, past=past))
    for show in (show_time, show_time_there):
        assert_clean(shown(show(text, _BOGOTA)))


# --- what the command line is told ------------------------------------------------------------------------------------


def node_answer(data: bytes) -> None:
    with suppress(OperationError):
        json.dumps(_answer(data).document)
    _stream_answer(data)


TARGETS = (
    Target("alert_json", alert_input, (InvalidAlert,), longest=16_384, executions=60 * 6),
    Target("alert_yaml", alert_input, (InvalidAlert,), longest=8_192, executions=25 * 6),
    Target("yaml", yaml, (InvalidAlert,), longest=2_048, executions=60 * 6),
    Target("received", received, (InvalidAlert,), longest=16_384, executions=80 * 6),
    Target("saying", saying, executions=200 * 6),
    Target("ijson", ijson, (InvalidAlert,), executions=200 * 6),
    Target("screen", screen, (InvalidAlert,), longest=8_192, executions=40 * 6),
    Target("escaping", escaping, longest=512, executions=150 * 6),
    Target("times", times, longest=64, executions=300 * 6),
    Target("node_answer", node_answer, (OperationError,), executions=100 * 6),
)
