"""Rows for tests of stores; most fields have a value of their own, so that two mixed up are seen. Knows no driver."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from keys.ids import AgencyId, EnvelopeId, MessageId
from nodes.store.contract import (
    AckRow,
    Batch,
    Direction,
    EpochKeyRow,
    InboundRow,
    InsertMessage,
    LogAppend,
    MachineState,
    MessageRow,
    Op,
    OutboundRow,
    PeerHeadRow,
    PeerRow,
    RecipientRow,
    StatementRow,
)

OURS = AgencyId("bka.de")
PEER = AgencyId("ponal.co")
OTHER = AgencyId("interpol.int")

LATER = 10**9


def message_id(number: int) -> MessageId:
    return MessageId(number.to_bytes(16, "big"))


def envelope_id(number: int) -> EnvelopeId:
    return EnvelopeId(b"\xee" + number.to_bytes(15, "big"))


def message(number: int = 1, **given: Any) -> MessageRow:
    """A message of ours; `sender=PEER` makes it one that came in."""
    sender = given.pop("sender", OURS)
    row = MessageRow(
        message_id=message_id(number),
        sender=sender,
        direction=Direction.OUT if sender == OURS else Direction.IN,
        at=1_000 + number,
        precedence=2,
        shown=True,
        case_tag=b"case".ljust(16, b"."),
        wrapped_key=b"wrapped key",
        sealed_headline=b"headline %d" % number,
        sealed_content=b"content %d" % number,
    )
    return replace(row, **given)


def recipient(number: int = 1, **given: Any) -> RecipientRow:
    """PEER's row of message `number`; its envelope has the same number."""
    row = RecipientRow(
        message_id=message_id(number),
        agency=PEER,
        envelope_id=envelope_id(number),
        state=MachineState.QUEUED,
        reason=None,
        precedence=2,
        deliver_by=LATER,
        updated_at=7,
        attempts=3,
        next_attempt_at=None,
        reseals=1,
        sealed=True,
        shown=True,
    )
    return replace(row, **given)


def outbound(number: int = 1, **given: Any) -> OutboundRow:
    """The envelope that carries message `number` to PEER."""
    row = OutboundRow(
        envelope_id=envelope_id(number),
        message_id=message_id(number),
        agency=PEER,
        header=b"header",
        body=b"body %d" % number,
        body_hash=b"b" * 32,
        envelope_hash=b"e" * 32,
        generation=1,
        n=number,
        sealed_opening=b"opening",
        log="gw1/1",
        index=number + 40,
        at=2_000 + number,
    )
    return replace(row, **given)


def inbound(number: int = 1, **given: Any) -> InboundRow:
    """The envelope that brought message `number` from PEER."""
    row = InboundRow(
        sender=PEER,
        envelope_id=envelope_id(number),
        envelope_hash=b"e" * 32,
        header=b"header",
        body_hash=b"b" * 32,
        message_id=message_id(number),
        generation=1,
        n=number,
        sealed_opening=b"opening",
        issued_entry=b"issued",
        issued_index=5,
        issued_path=b"p" * 64,
        gateway="gw1",
        head_generation=2,
        head_size=9,
        code=None,
        log="gw1/1",
        index=11,
        at=3_000 + number,
    )
    return replace(row, **given)


def statement(number: int = 1, **given: Any) -> StatementRow:
    """PEER's receipt of envelope `number`."""
    row = StatementRow(
        agency=PEER,
        envelope_id=envelope_id(number),
        level="stored",
        code=None,
        entry=b"receipt",
        index=4,
        path=b"p" * 32,
        gateway="gw1",
        head_generation=1,
        head_size=8,
        at=4_000 + number,
    )
    return replace(row, **given)


def ack(carrier: int = 1, number: int = 1, **given: Any) -> AckRow:
    """What PEER says about our message `number`, carried by a message of its own."""
    row = AckRow(
        message_id=message_id(number),
        sender=OURS,
        by=PEER,
        carrier_id=message_id(900 + carrier),
        at=5_000 + carrier,
        wrapped_key=b"wrapped",
        sealed_body=b"ack %d" % carrier,
    )
    return replace(row, **given)


def own_ack(carrier: int, number: int) -> AckRow:
    """What we say about message `number` of PEER."""
    return ack(carrier, number, sender=PEER, by=OURS)


def peer(agency: AgencyId = PEER, **given: Any) -> PeerRow:
    row = PeerRow(
        agency=agency,
        trust="pending",
        name="Policía",
        country="CO",
        anchor=b"anchor",
        profile=None,
        added_at=1,
        confirmed_at=None,
        last_contact_at=None,
        clock_skew_ms=None,
        reason=None,
        recover_since=None,
    )
    return replace(row, **given)


def peer_head(size: int = 1, **given: Any) -> PeerHeadRow:
    row = PeerHeadRow(
        agency=PEER,
        gateway="gw1",
        generation=1,
        size=size,
        root=b"r" * 32,
        checkpoint=b"checkpoint",
        from_size=None,
        nodes=b"",
        reconciled=True,
        at=6_000,
    )
    return replace(row, **given)


def epoch_key(number: int = 1, **given: Any) -> EpochKeyRow:
    row = EpochKeyRow(agency=PEER, number=number, use_from=86_400_000, public=b"k" * 1216, log="gw1/1", index=3)
    return replace(row, **given)


def signed(value: bytes = b"checkpoint") -> Future[bytes]:
    """A signature that is there."""
    future: Future[bytes] = Future()
    future.set_result(value)
    return future


def append(expected_size: int, *entries: bytes, **given: Any) -> LogAppend:
    """The entries at the end of gw1/1. The tile and the root are made up: a store does not compute them."""
    size = expected_size + len(entries)
    row = LogAppend(
        log="gw1/1",
        expected_size=expected_size,
        entries=entries,
        tiles={(0, 0): b"t" * 32 * size},
        size=size,
        root=bytes([size]) * 32,
        last_time=100 + size,
        timestamp=10 + size,
        checkpoint=signed(),
    )
    return replace(row, **given)


def batch(*ops: Op) -> Batch:
    return Batch(ops=ops)


def posted(*numbers: int) -> list[Op]:
    """Messages of ours."""
    return [InsertMessage(message(number)) for number in numbers]


def arrived(*numbers: int) -> list[Op]:
    """Messages of PEER."""
    return [InsertMessage(message(number, sender=PEER)) for number in numbers]
