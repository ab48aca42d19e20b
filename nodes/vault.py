"""Messages at rest (DESIGN 9, promise P9): what of a message goes into the store, sealed, and how it comes out again.

Owns the sealed columns' contents. It knows neither SQL nor who may read; erasing a wrapped key makes its columns mute
for ever.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any

from exchange.alerts import Headline
from keys.ids import AgencyId, MessageId
from keys.sealing import AtRestKey, ContentKey
from nodes.store.contract import AckRow, Direction, DraftRow, MessageRow

_HEADLINE = b"headline"
_CONTENT = b"content"
_OPENING = b"opening"
_ACK = b"ack"
_DRAFT = b"draft"
_AUDIT = b"audit"
_CASE_TAG = b"case"
_SILENT_TAG = b"silent"

# Sealed small columns are padded to this step, so that their length does not tell "accepted" from "rejected" or one
# name from another.
_PAD_STEP = 256
_CONTENT_STEP = 1_024


@dataclass(frozen=True, slots=True)
class StoredHeadline:
    """What lists need of a message without opening its content. Held sealed."""

    kind: str
    case_id: str
    revision: int
    status: str
    precedence: str
    summary: str
    sent_at: int
    expires_at: int | None
    supersedes: str | None
    supersedes_sender: str | None
    replies_to: str | None
    content_sha256: str
    input_sha256: str | None = None  # of the bytes posted: a repeat with the same id must bring the same
    log_reads: bool = False
    suspended: bool = False


@dataclass(frozen=True, slots=True)
class AckBody:
    """What a human said about a message. Held sealed."""

    level: str
    cause: str | None
    officer: str | None
    text: str | None
    at: int
    content_sha256: str


class Vault:
    """Seals rows on the way into the store and opens them on the way out."""

    def __init__(self, at_rest: AtRestKey) -> None:
        self._at_rest = at_rest

    def case_tag(self, case_id: str) -> bytes:
        """Keyed hash under which the messages of a case are found without its id in clear."""
        return self._at_rest.tag(_CASE_TAG, case_id)

    def _silent_tag(self, sender: AgencyId, message_id: MessageId) -> bytes:
        # Acks and tests are read by the message that they answer or not at all. Under the tag of the case that they
        # name, anybody could fill another's case unseen, and whoever reads the case would pay for it.
        return self._at_rest.tag(_SILENT_TAG, f"{sender}/{message_id.hex()}")

    def message_row(
        self,
        *,
        message_id: MessageId,
        sender: AgencyId,
        direction: Direction,
        at: int,
        precedence: int,
        shown: bool,
        headline: StoredHeadline,
        content: bytes,
    ) -> tuple[MessageRow, ContentKey]:
        """The row of a new message and the key its other sealed columns use."""
        key = self._at_rest.new_content_key()
        row = MessageRow(
            message_id=message_id,
            sender=sender,
            direction=direction,
            at=at,
            precedence=precedence,
            shown=shown,
            case_tag=self.case_tag(headline.case_id) if shown else self._silent_tag(sender, message_id),
            wrapped_key=key.wrapped,
            sealed_headline=key.seal(_padded(_body(headline)), _of(_HEADLINE, sender, message_id)),
            sealed_content=key.seal(_filled(content), _of(_CONTENT, sender, message_id)),
        )
        return row, key

    def headline(self, row: MessageRow) -> StoredHeadline | None:
        """The headline, or None once the message is erased."""
        if row.wrapped_key is None:
            return None
        key = self._at_rest.unwrap(row.wrapped_key)
        return StoredHeadline(**_unpadded(key.open(row.sealed_headline, _of(_HEADLINE, row.sender, row.message_id))))

    def content(self, row: MessageRow) -> bytes | None:
        """The message bytes as committed, or None once erased."""
        if row.wrapped_key is None:
            return None
        key = self._at_rest.unwrap(row.wrapped_key)
        return _unfilled(key.open(row.sealed_content, _of(_CONTENT, row.sender, row.message_id)))

    def key_of(self, row: MessageRow) -> ContentKey | None:
        """The content key of a stored message, or None once erased."""
        return None if row.wrapped_key is None else self._at_rest.unwrap(row.wrapped_key)

    @staticmethod
    def seal_opening(key: ContentKey, opening: bytes) -> bytes:
        """An envelope's opening, under its message's key: both are erased together."""
        return key.seal(opening, _OPENING)

    def opening(self, row: MessageRow, sealed: bytes) -> bytes | None:
        """The opening of an envelope of this message, or None once erased."""
        key = self.key_of(row)
        return None if key is None else key.open(sealed, _OPENING)

    def ack_row(
        self, *, message_id: MessageId, sender: AgencyId, by: AgencyId, carrier_id: MessageId, body: AckBody
    ) -> AckRow:
        """The row of what `by` said about (sender, message_id). The decision is sealed: a stolen disk must not tell
        it.
        """
        key = self._at_rest.new_content_key()
        return AckRow(
            message_id=message_id,
            sender=sender,
            by=by,
            carrier_id=carrier_id,
            at=body.at,
            wrapped_key=key.wrapped,
            sealed_body=key.seal(_padded(_body(body)), _of(_ACK, by, carrier_id)),
        )

    def ack(self, row: AckRow) -> AckBody | None:
        """What was said, or None once erased."""
        if row.wrapped_key is None:
            return None
        key = self._at_rest.unwrap(row.wrapped_key)
        return AckBody(**_unpadded(key.open(row.sealed_body, _of(_ACK, row.by, row.carrier_id))))

    def draft_row(self, draft_id: MessageId, updated_at: int, body: dict[str, Any]) -> DraftRow:
        """An analyst's unfinished message."""
        return DraftRow(draft_id, updated_at, self._at_rest.seal(_padded(body), _DRAFT))

    def draft(self, row: DraftRow) -> dict[str, Any]:
        """The draft as it was saved."""
        return _unpadded(self._at_rest.open(row.sealed_body, _DRAFT))

    def audit_entry(self, body: dict[str, Any]) -> bytes:
        """An entry of the audit log: who did what to which message, sealed (LED art. 25)."""
        return self._at_rest.seal(_padded(body), _AUDIT)


def _body(said: StoredHeadline | AckBody) -> dict[str, Any]:
    """Its fields by name; none of them holds another object, so `asdict`, which copies deeply, is not needed."""
    return {name: getattr(said, name) for name in _FIELDS[type(said)]}


_FIELDS = {kind: tuple(field.name for field in fields(kind)) for kind in (StoredHeadline, AckBody)}
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def _of(purpose: bytes, sender: AgencyId, message_id: MessageId) -> bytes:
    """Binds a sealed column to its message: whoever can write the file cannot pass one message off as another."""
    return b"/".join((purpose, sender.encode(), message_id))


def _filled(content: bytes) -> bytes:
    """Content with its length before it, filled up: the file shows a size class and not the length."""
    whole = len(content).to_bytes(4, "big") + content
    return whole + bytes(-len(whole) % _CONTENT_STEP)


def _unfilled(data: bytes) -> bytes:
    return data[4 : 4 + int.from_bytes(data[:4], "big")]


def _padded(body: dict[str, Any]) -> bytes:
    text = _ENCODER.encode(body).encode()
    return text + b" " * (-len(text) % _PAD_STEP)


def _unpadded(data: bytes) -> dict[str, Any]:
    body = json.loads(data)
    if not isinstance(body, dict):
        raise TypeError("a sealed row holds something else than an object")
    return body


def stored_headline(headline: Headline, content_sha256: bytes, input_sha256: str | None = None) -> StoredHeadline:
    """What the store keeps, sealed, of a headline."""
    return StoredHeadline(
        kind=headline.kind,
        case_id=headline.case_id,
        revision=headline.revision,
        status=headline.status,
        precedence=headline.precedence,
        summary=headline.summary,
        sent_at=headline.sent_at_ms,
        expires_at=headline.expires_at_ms,
        supersedes=headline.supersedes,
        supersedes_sender=headline.originator if headline.supersedes else None,
        replies_to=headline.replies_to,
        content_sha256=content_sha256.hex(),
        input_sha256=input_sha256,
        log_reads=headline.log_reads,
        suspended=headline.suspended,
    )
