"""Which kinds of message there are, and the model and rules of each. A new kind is one model and one row here.

Owns the table. A kind that is not in it is read by its small header alone, kept and shown as it came.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import model_serializer

from exchange.alerts.comms import Comms
from exchange.alerts.header import FollowUpHeader, FullHeader, SmallHeader
from exchange.alerts.incident import Incident, RequestedAction
from exchange.alerts.persons import Person
from exchange.alerts.places import Location
from exchange.alerts.values import (
    TIME_EXAMPLE,
    HeaderTime,
    In,
    LocalId,
    MessageUuid,
    OneOf,
    Paragraph,
    Part,
    Pointer,
    Sentence,
    Sha256,
    Short,
    Text,
    Time,
    Truth,
    Whole,
    may,
    need,
)
from exchange.alerts.vehicles import Vehicle

ACK_LEVELS = ("opened", "accepted", "rejected", "actioned")


class Alert(FullHeader):
    """A new case: everything known so far."""

    incident: Incident = need("what happened", {"type": "child_nonfamily", "confirmation": "confirmed"})
    persons: list[Person] = need(
        "persons, at least one victim", [{"id": "p1", "roles": ["victim"], "identified": "yes"}]
    )
    vehicles: list[Vehicle] | None = may("vehicles", [{"id": "v1", "kind": "van"}])
    locations: list[Location] = need(
        "places, at least one with its country", [{"id": "l1", "role": "abduction", "country": "CO"}]
    )
    comms: list[Comms] | None = may("telephones and accounts", [{"id": "c1", "type": "msisdn"}])
    requested_actions: list[RequestedAction] = need(
        "what recipients are asked to do, at least one", [{"action": "check_border", "target": "p1"}]
    )


class Update(Alert):
    """The complete new state of a case. Receivers never merge."""

    changed: list[Pointer] = need("what changed against the message superseded", ["/persons/0/status"])
    why: Annotated[str, In("L55")] = need("why", "new_fact")


class Renew(FollowUpHeader):
    """The alert stays in force."""

    expires_at: HeaderTime = need("the new end, at most 30 days on", TIME_EXAMPLE)
    necessity: Paragraph | None = may("why it is still needed", "victim still held; negotiation continues")


class Cancel(FollowUpHeader):
    """The alert is called off. It stops action; it erases nothing."""

    reason: Annotated[str, In("L34c")] = need("why", "false_report")
    text: Paragraph | None = may("more about it")
    recipients_must: Annotated[str, OneOf("stop_action", "erase", "keep_as_history")] = need(
        "what recipients must do", "stop_action"
    )


class VictimOutcome(Part):
    """What became of one victim."""

    ref: LocalId = need("id of the person in the alert", "p1")
    status: Annotated[str, In("L24")] = need("status", "found_safe")
    condition: Sentence | None = may("condition", "unharmed, seen by a doctor")


class Ransom(Part):
    """Whether a ransom was paid."""

    paid: Annotated[str, OneOf("no", "yes", "partly", "unknown")] = need("paid", "no")
    amount: Short | None = may("amount with its currency", "12000 USD")


class PostRelease(Part):
    """What follows for the victim."""

    repatriation: Sentence | None = may("repatriation")
    medical: Sentence | None = may("medical care")
    debrief: Sentence | None = may("debriefing")
    protection: Sentence | None = may("protection")


class Retention(Part):
    """How long recipients keep the case."""

    retain_until: Time = need("when it must be erased", TIME_EXAMPLE)


class Resolve(FollowUpHeader):
    """The case is closed, with its outcome."""

    outcome: Annotated[str, In("L34r")] = need("how it ended", "found_safe")
    outcome_at: Time = need("when", TIME_EXAMPLE)
    text: Paragraph | None = may("more about it")
    victims: list[VictimOutcome] | None = may("what became of each victim", [{"ref": "p1", "status": "found_safe"}])
    arrests: Annotated[int, Whole(0, 10_000)] | None = may("arrests", 2)
    ransom: Ransom | None = may("ransom", {"paid": "no"})
    cross_border_needs: list[Annotated[str, In("L36")]] | None = may("assistance needed abroad", ["repatriation"])
    stand_down: Annotated[bool, Truth()] = need("recipients stop acting", True)
    post_release: PostRelease | None = may("what follows for the victim")
    retention: Retention | None = may("how long recipients keep the case")


class Note(FollowUpHeader):
    """Free text in the thread of a case."""

    text: Paragraph = need("the note", "The van was seen at the bridge at 03:40.")


class AckBody(Part):
    """What a person says about a message (PROTOCOL §11)."""

    message_id: MessageUuid = need("the message", "0193a5b2-7c1e-4d3a-9f00-1234567890ab")
    content_sha256: Sha256 = need("SHA-256 of its bytes", "9f86d081…")
    level: Annotated[str, OneOf(*ACK_LEVELS, always=True)] = need("what is said", "accepted")
    cause: Annotated[str, In("L38", "L33")] | None = may("why it is rejected", "duplicate_case")
    officer: Short | None = may("pseudonym of the officer", "duty-07")
    at: HeaderTime = need("when it was said", TIME_EXAMPLE)
    text: Paragraph | None = may("more about it")

    @model_serializer
    def _all_fields(self) -> dict[str, Any]:
        # An ack is proved to strangers: that no cause was given is said, not left open.
        return {name: getattr(self, name) for name in type(self).model_fields}


class Ack(SmallHeader):
    """Carries what a person says about a message. Makes no inbox row and is never acknowledged."""

    # An ack answers a message whose status a later version may have invented: it says it after it, known or not.
    status: Short = need("status of the message answered", "actual")
    ack: AckBody = need("what is said", {"level": "accepted"})


class Test(SmallHeader):
    """A test of the line. Never stored in a case."""

    text: Sentence | None = may("text", "line test")
    nonce: Annotated[str, Text(64)] | None = may("what an answer repeats")


class Standing(StrEnum):
    """How a message stands to an earlier one."""

    FIRST = "first"
    """Opens a case: supersedes nothing."""
    MOVES = "supersedes"
    """Moves the case: names exactly one message that it supersedes."""
    FREE = "free"
    """May name others, supersedes none."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of message: its model, how it stands to others, and what the node does for it."""

    name: str
    model: type[SmallHeader]
    standing: Standing
    carries_case: bool = False  # alert-like: full header and body, rules of a case
    marks_defaults: bool = True  # its document says what the node filled in


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            Kind("alert", Alert, Standing.FIRST, carries_case=True),
            Kind("update", Update, Standing.MOVES, carries_case=True),
            Kind("renew", Renew, Standing.MOVES),
            Kind("cancel", Cancel, Standing.MOVES),
            Kind("resolve", Resolve, Standing.MOVES),
            Kind("note", Note, Standing.FREE),
            Kind("ack", Ack, Standing.FREE, marks_defaults=False),  # nobody typed it: nothing to tell apart
            Kind("test", Test, Standing.FREE, marks_defaults=False),
        )
    }
)


def kinds() -> tuple[str, ...]:
    """Names of all kinds of this version."""
    return tuple(KINDS)
