"""Owns what evidence reads of message bytes: whether they are an ack, of what, and which case they name. Nothing else.

A verifier that must run years from now reads with the standard library alone; the vocabulary (`exchange.alerts`) and
what it needs stay out of it. What is not readable here says nothing: content is proved by its commitment, not its form.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, NoReturn

from keys.errors import EncodingError
from keys.ids import MessageId, parse_uuid

ACK_KIND: Final = "ack"
ACK_LEVELS: Final = frozenset({"opened", "accepted", "rejected", "actioned"})
_MAX_CASE_ID: Final = 256
_MAX_WORD: Final = 64


@dataclass(frozen=True, slots=True)
class Ack:
    """What a person at the recipient said about a message (PROTOCOL §11)."""

    message_id: MessageId
    content_sha256: bytes
    level: str
    at: int | None
    """When, in ms, by the officer's clock; None if it is not told in a form that can be read."""
    officer: str | None = None

    def names(self, content: bytes) -> bool:
        """Whether the ack is about exactly these message bytes."""
        return sha256(content).digest() == self.content_sha256


@dataclass(frozen=True, slots=True)
class Saying:
    """What can be told of message bytes; all None for bytes that say nothing here."""

    ack: Ack | None = None
    case_id: str | None = None
    kind: str | None = None


def read_saying(content: bytes) -> Saying:
    """What message bytes say. Total: any bytes give an answer."""
    document = _read_object(content)
    if document is None:
        return Saying()
    kind = document.get("kind")
    return Saying(
        ack=_read_ack(document) if kind == ACK_KIND else None,
        case_id=_word(document.get("case_id"), _MAX_CASE_ID),
        kind=_word(kind, _MAX_WORD),
    )


def _read_object(content: bytes) -> dict[str, Any] | None:
    """I-JSON (RFC 7493) as far as it matters here: UTF-8, no name twice, no NaN."""
    try:
        document = json.loads(content.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError):  # deep nesting ends in RecursionError, huge numbers in ValueError
        return None
    return document if isinstance(document, dict) else None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) != len(pairs):
        raise ValueError  # two readers could take two different ones
    return names


def _no_constant(_: str) -> NoReturn:
    raise ValueError


def _read_ack(document: dict[str, Any]) -> Ack | None:
    body = document.get("ack")
    if not isinstance(body, dict):
        return None
    message_id, digest, level = body.get("message_id"), body.get("content_sha256"), body.get("level")
    if not isinstance(message_id, str) or not isinstance(digest, str) or not isinstance(level, str):
        return None
    if level not in ACK_LEVELS:
        return None
    try:
        content_sha256 = bytes.fromhex(digest)
        return Ack(
            MessageId(parse_uuid(message_id)),
            content_sha256,
            level,
            _read_time(body.get("at")),
            _word(body.get("officer"), _MAX_WORD),
        )
    except (ValueError, EncodingError):
        return None


def _read_time(value: object) -> int | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:  # without an offset it would be read by this machine's own
            return None
        milliseconds = round(moment.timestamp() * 1000)
    except (ValueError, OverflowError):
        return None
    return milliseconds if milliseconds >= 0 else None


def _word(value: object, longest: int) -> str | None:
    """Text that can be written again, else None: JSON may hold lone surrogates, which no output can."""
    return value if isinstance(value, str) and 0 < len(value) <= longest and value.isprintable() else None
