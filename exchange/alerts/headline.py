"""What a node knows of a message without its model: what it files, sorts, matches and shows in a list. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exchange.alerts.codes import meaning
from exchange.alerts.times import ms_or_none, time_ms

_SUMMARY_MAX = 280


@dataclass(frozen=True, slots=True)
class Headline:
    """The head of one message. Times in milliseconds UTC.

    `supersedes`, `replies_to`: message ids, None where the message names none. `tlp`, `h`: as written, unknown codes
    included; None and empty where the message has no handling of its own. `suspended`: an update that keeps the case
    but asks for nothing.
    """

    kind: str
    case_id: str
    message_id: str
    revision: int
    status: str
    precedence: str
    summary: str
    originator: str
    sent_at_ms: int
    expires_at_ms: int | None
    supersedes: str | None
    replies_to: str | None
    tlp: str | None
    h: tuple[str, ...]
    log_reads: bool
    life_at_risk: bool
    suspended: bool


@dataclass(frozen=True, slots=True)
class AckFields:
    """What an ack says (PROTOCOL §11). `at_ms` in milliseconds UTC."""

    message_id: str
    content_sha256: str
    level: str
    cause: str | None
    officer: str | None
    at_ms: int
    text: str | None


def headline_of(document: Mapping[str, Any]) -> Headline:
    """The head of a document that its model has accepted."""
    handling = _mapping(document.get("handling"))
    risk = _mapping(_mapping(document.get("incident")).get("risk"))
    marks = handling.get("h")
    tlp = handling.get("tlp")
    return Headline(
        kind=document["kind"],
        case_id=document["case_id"],
        message_id=document["message_id"],
        revision=document["revision"],
        status=document["status"],
        precedence=document["precedence"],
        summary=_summary(document),
        originator=document["originator"]["agency_id"],
        sent_at_ms=time_ms(document["sent_at"]),
        expires_at_ms=ms_or_none(document.get("expires_at")),
        supersedes=_referenced(document, "supersedes"),
        replies_to=_referenced(document, "replies_to"),
        tlp=tlp if isinstance(tlp, str) else None,
        h=tuple(mark for mark in marks if isinstance(mark, str)) if isinstance(marks, list) else (),
        log_reads=handling.get("log_reads") is True,
        life_at_risk=risk.get("life_at_risk") is True,
        suspended=_is_suspended(document),
    )


def ack_fields(document: Mapping[str, Any]) -> AckFields:
    """What the ack in this document says. `document` is of kind `ack`, as `complete` or `read_received` returned it."""
    body = document["ack"]
    return AckFields(
        message_id=body["message_id"],
        content_sha256=body["content_sha256"],
        level=body["level"],
        cause=body.get("cause"),
        officer=body.get("officer"),
        at_ms=time_ms(body["at"]),
        text=body.get("text"),
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _referenced(document: Mapping[str, Any], role: str) -> str | None:
    for reference in document.get("references") or ():
        if reference["role"] == role:
            return str(reference["message_id"])
    return None


def _is_suspended(document: Mapping[str, Any]) -> bool:
    # alert-domain 2.7: suspended = update with why=status_change and requested_actions=[none]
    if document.get("kind") != "update" or document.get("why") != "status_change":
        return False
    actions = document.get("requested_actions")
    return isinstance(actions, list) and all(_mapping(action).get("action") == "none" for action in actions)


def _summary(document: Mapping[str, Any]) -> str:
    """The summary; for kinds that need none, what they say in a few words."""
    given = document.get("summary")
    if isinstance(given, str):
        return given[:_SUMMARY_MAX]  # a peer's may be longer than the vocabulary allows
    match document["kind"]:
        case "cancel":
            return f"Cancelled: {_in_words('L34c', document.get('reason'))}"
        case "resolve":
            return f"Resolved: {_in_words('L34r', document.get('outcome'))}"
        case "renew":
            return f"Renewed until {document.get('expires_at')}"
        case "ack":
            return str(document["ack"]["level"])
        case _:
            text = document.get("text")
            words = " ".join(text.split()) if isinstance(text, str) else str(document["kind"])
            return words if len(words) <= _SUMMARY_MAX else words[: _SUMMARY_MAX - 1] + "…"


def _in_words(list_name: str, code: Any) -> str:
    return (meaning(list_name, code) or code) if isinstance(code, str) else ""
