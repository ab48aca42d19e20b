"""Trees for the messages that a command makes without a file: cancel, resolve, renew, note, ack, test.

Owns which field each argument becomes. What is missing or wrong is found by `complete`, like in any other tree.
"""

from __future__ import annotations

from typing import Any

from exchange.alerts.times import format_time

# A test must show what an urgent message would meet, without counting as one.
TEST_PRECEDENCE = "priority"


def build_cancel(reason: str | None, text: str | None = None, recipients_must: str | None = None) -> dict[str, Any]:
    """The alert is called off. `reason`: list L34c; `recipients_must`: stop_action unless given."""
    return {"kind": "cancel", "reason": reason, "text": text, "recipients_must": recipients_must}


def build_resolve(
    outcome: str | None,
    text: str | None = None,
    *,
    outcome_at: str | None = None,
    victims: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """The case is closed. `outcome`: list L34r; `outcome_at`: RFC 3339, now if None."""
    return {"kind": "resolve", "outcome": outcome, "outcome_at": outcome_at, "text": text, "victims": victims}


def build_renew(until: str | None, necessity: str | None = None) -> dict[str, Any]:
    """The alert stays in force until that time (RFC 3339)."""
    return {"kind": "renew", "expires_at": until, "necessity": necessity}


def build_note(text: str | None) -> dict[str, Any]:
    """Free text in the thread of a case."""
    return {"kind": "note", "text": text}


def build_ack(
    *,
    message_id: str,
    content_sha256: str,
    level: str,
    cause: str | None,
    officer: str | None,
    at_ms: int,
    text: str | None,
) -> dict[str, Any]:
    """What a person says about a message. `cause`: list L38 or L33, when rejecting; `at_ms`: milliseconds UTC."""
    body = {
        "message_id": message_id,
        "content_sha256": content_sha256,
        "level": level,
        "cause": cause,
        "officer": officer,
        "at": format_time(at_ms),
        "text": text,
    }
    return {"kind": "ack", "ack": body}


def build_test(text: str | None = None, nonce: str | None = None) -> dict[str, Any]:
    """A test of the line."""
    return {"kind": "test", "status": "test", "precedence": TEST_PRECEDENCE, "text": text, "nonce": nonce}
