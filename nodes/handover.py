"""What goes to the worker process and comes back from it. Owns these bytes, both directions; knows neither processes
nor the store.

msgpack, because reading it makes plain values and nothing else: pickle calls what it reads, and marshal's reader trusts
its input. Both ends are one version of this program, so the form has no number.

No private key goes over. What does is content, policy's facts about the recipients, and their public keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import msgpack

from exchange.alerts import Defaults, DutyContact, Headline, InvalidAlert, MarkingContradiction, Originator, Problem
from exchange.compose import PRECEDENCES, Addressed, Composed, Decision, Given, Issuable
from exchange.policy import Addressee, SendBar
from keys.epochs import PublishedKey
from keys.ids import AgencyId, EnvelopeId, format_uuid, parse_uuid
from keys.trust import Trust

_HEADLINE = tuple(field.name for field in fields(Headline))
_MARKS = _HEADLINE.index("h")
_INVALID, _TOO_LARGE, _COMPOSED = 0, 1, 2
_HASH_BYTES = 32


class NonsenseError(ValueError):
    """Bytes that are no answer to what was asked."""


class Basis(NamedTuple):
    """A legal basis, as `Defaults` wants one."""

    code: str
    citation: str


@dataclass(frozen=True, slots=True)
class Task:
    """One message to complete and to compose. `numbers`: those of its envelopes, None where no key is known."""

    tree: dict[str, Any]
    defaults: Defaults
    given: Given
    numbers: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The message is valid, and fits no envelope."""

    precedence: str


Outcome = Composed | InvalidAlert | TooLarge | None
"""What a task came to. None: the other process does not know, and whoever asked finds out."""


# --- to the worker ----------------------------------------------------------------------------------------------------


def write_tasks(tasks: Sequence[Task]) -> bytes | None:
    """Tasks that share the agency's own facts and the time. None if a value in a tree has no form here.

    What one batch has in common goes once: it is most of what is known of a recipient.
    """
    first = tasks[0]
    known: dict[AgencyId, int] = {}
    recipients: list[list[Any]] = []
    rows = []
    for task in tasks:
        places = []
        for one, number in zip(task.given.recipients, task.numbers, strict=True):
            index = known.setdefault(one.to.agency, len(known))
            if index == len(recipients):
                recipients.append(_recipient(one))
            places.append([index, one.envelope_id, number])
        own = task.defaults
        rows.append([task.tree, own.message_id, own.case_id, own.originator.officer_ref, places])
    given = first.given
    batch = [given.agency, given.country, given.now, given.generation, _defaults(first.defaults), recipients, rows]
    try:
        packed: bytes = msgpack.packb(batch, use_bin_type=True, strict_types=True)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return None
    return packed


def read_tasks(data: bytes) -> list[Task]:
    """The tasks in bytes that the node wrote."""
    agency, country, now, generation, defaults, recipients, rows = msgpack.unpackb(data, raw=False)
    known = [_known(*row) for row in recipients]
    tasks = []
    for tree, message_id, case_id, officer, places in rows:
        to = tuple(
            Addressed(known[index][0], known[index][1], EnvelopeId(envelope_id)) for index, envelope_id, _ in places
        )
        tasks.append(
            Task(
                tree,
                _read_defaults(defaults, message_id, case_id, officer),
                Given(AgencyId(agency), country, now, generation, to),
                tuple(number for _, _, number in places),
            )
        )
    return tasks


def _recipient(one: Addressed) -> list[Any]:
    to, key = one.to, one.key
    return [
        to.agency,
        None if to.trust is None else str(to.trust.value),
        to.country,
        None if to.markings is None else list(to.markings),
        to.anchor_over,
        None if key is None else [key.number, key.use_from, key.public],
    ]


def _known(
    agency: str, trust: str | None, country: str, markings: list[str] | None, over: bool, key: list[Any] | None
) -> tuple[Addressee, PublishedKey | None]:
    to = Addressee(
        AgencyId(agency),
        None if trust is None else Trust(trust),
        country,
        None if markings is None else tuple(markings),
        over,
    )
    return to, None if key is None else PublishedKey(*key)


def _defaults(own: Defaults) -> list[Any]:
    by, contact = own.originator, own.originator.duty_contact
    return [
        [by.agency_id, by.country, by.agency_name, by.unit],
        [contact.phone, contact.secure_address, list(contact.languages), contact.available_24x7],
        list(own.languages),
        [[basis.code, basis.citation] for basis in own.legal_basis],
        own.now_ms,
    ]


def _read_defaults(row: list[Any], message_id: str, case_id: str, officer: str) -> Defaults:
    (agency, country, name, unit), (phone, address, spoken, always), languages, bases, now = row
    contact = DutyContact(phone, address, tuple(spoken), always)
    return Defaults(
        originator=Originator(agency, country, name, unit, officer, contact),
        languages=tuple(languages),
        legal_basis=tuple(Basis(*basis) for basis in bases),
        now_ms=now,
        message_id=message_id,
        case_id=case_id,
    )


# --- and back ---------------------------------------------------------------------------------------------------------


def write_outcomes(outcomes: Sequence[Outcome]) -> bytes:
    """What the tasks came to, in their order."""
    packed: bytes = msgpack.packb([_outcome(one) for one in outcomes], use_bin_type=True)
    return packed


def read_outcomes(data: bytes, tasks: Sequence[Task]) -> list[Outcome]:
    """What these tasks came to. Raises NonsenseError for what is no answer to them."""
    try:
        rows = msgpack.unpackb(data, raw=False)
        return [_read_outcome(row, task) for row, task in zip(rows, tasks, strict=True)]
    except Exception as error:  # whatever is wrong with it: it was not our function that wrote it
        raise NonsenseError from error


def _outcome(outcome: Outcome) -> list[Any] | None:
    match outcome:
        case None:
            return None
        case InvalidAlert():
            problems = [[one.path, one.rule, one.message, one.example] for one in outcome.problems]
            return [_INVALID, isinstance(outcome, MarkingContradiction), problems]
        case TooLarge():
            return [_TOO_LARGE, outcome.precedence]
        case Composed():
            headline = [getattr(outcome.headline, name) for name in _HEADLINE]
            bars = [None if one.bar is None else str(one.bar.value) for one in outcome.decisions]
            envelopes = [
                None if one is None else [one.n, one.header, one.body, one.body_hash, one.envelope_hash, one.opening]
                for one in outcome.envelopes
            ]
            return [_COMPOSED, headline, outcome.content, outcome.deliver_by, bars, envelopes]


def _read_outcome(row: Any, task: Task) -> Outcome:
    if row is None:
        return None
    kind, *rest = row
    if kind == _INVALID:
        contradicts, problems = rest
        error = MarkingContradiction if contradicts else InvalidAlert
        return error(Problem(*_texts(problem, 4)) for problem in problems)
    if kind == _TOO_LARGE:
        (precedence,) = _texts(rest, 1)
        return TooLarge(precedence)
    if kind != _COMPOSED:
        raise NonsenseError
    head, content, until, bars, envelopes = rest
    to = task.given.recipients
    decisions = tuple(
        Decision(one.to.agency, None if bar is None else SendBar(bar)) for one, bar in zip(to, bars, strict=True)
    )
    if not isinstance(content, bytes) or not isinstance(until, int):
        raise NonsenseError
    made: tuple[Issuable | None, ...] = ()
    if all(decision.allowed for decision in decisions):
        expected = zip(envelopes, to, task.numbers, strict=True)
        made = tuple(_envelope(envelope, one, number) for envelope, one, number in expected)
    return Composed(_headline(head, task), content, decisions, until, made)


def _headline(values: list[Any], task: Task) -> Headline:
    values[_MARKS] = tuple(values[_MARKS])
    headline = Headline(*values)
    of_task = headline.message_id == task.defaults.message_id and format_uuid(parse_uuid(headline.message_id))
    if not of_task or headline.precedence not in PRECEDENCES or headline.originator != task.given.agency:
        raise NonsenseError
    _texts([headline.kind, headline.case_id, headline.status, headline.summary], 4)
    return headline


def _envelope(row: Any, to: Addressed, number: int | None) -> Issuable | None:
    if row is None:
        if to.key is not None:
            raise NonsenseError
        return None
    n, *parts = row
    made = Issuable(n, *parts)
    sizes = (len(made.body_hash), len(made.envelope_hash), len(made.opening))
    if n != number or not all(isinstance(part, bytes) for part in parts) or sizes != (_HASH_BYTES,) * 3:
        raise NonsenseError
    return made


def _texts(values: Any, count: int) -> list[str]:
    if len(values) != count or not all(isinstance(value, str) for value in values):
        raise NonsenseError
    return list(values)
