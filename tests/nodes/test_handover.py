"""What goes to the worker comes out as it went in, and nothing is taken for an answer that is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgpack
import pytest

from exchange.alerts import Defaults, DutyContact, InvalidAlert, MarkingContradiction, Originator, Problem, complete
from exchange.compose import Addressed, Composed, Given, compose
from exchange.policy import Addressee
from keys.epochs import PublishedKey
from keys.ids import AgencyId, EnvelopeId
from keys.sealing import EpochKeyPair, seal
from keys.trust import Trust
from nodes.handover import (
    Basis,
    NonsenseError,
    Outcome,
    Task,
    TooLarge,
    read_outcomes,
    read_tasks,
    write_outcomes,
    write_tasks,
)
from tests.exchange.agencies import NOW
from tests.system.agencies import SMALLEST

OWN, BERLIN, LYON = AgencyId("ponal.co"), AgencyId("bka.de"), AgencyId("interpol.int")
KEY = PublishedKey(3, NOW - 1, EpochKeyPair(b"k" * 32).public)
MESSAGE = "00000000-0000-4000-8000-000000000001"


def task(**changes: Any) -> Task:
    contact = DutyContact("+4961155123", None, ("es", "en"), available_24x7=True)
    defaults = Defaults(
        originator=Originator(OWN, "CO", "Ponal", "", "duty-07", contact),
        languages=("es", "en"),
        legal_basis=(Basis("national_law", ""), Basis("national_law", "art. 3")),
        now_ms=NOW,
        message_id=MESSAGE,
        case_id="CO-PON/2026/000001",
    )
    to = (
        Addressed(Addressee(BERLIN, Trust.TRUSTED, "DE", ("H0", "TLP:AMBER")), KEY, EnvelopeId(b"e" * 16)),
        Addressed(Addressee(LYON, Trust.TRUSTED, "FR", None, anchor_over=True), None, EnvelopeId(b"f" * 16)),
    )
    return replace(Task(dict(SMALLEST), defaults, Given(OWN, "CO", NOW, 2, to), (7, None)), **changes)


def composed(one: Task) -> Composed:
    return compose(
        complete(one.tree, one.defaults),
        one.given,
        number=lambda index: one.numbers[index] or 0,
        opening=lambda: b"o" * 32,
        seal=seal,
    )


def test_tasks_come_out_as_they_went_in() -> None:
    unknown = Addressed(Addressee(AgencyId("nobody.xx"), None, "", None), None, EnvelopeId(b"g" * 16))
    first = task()
    second = task(given=replace(first.given, recipients=(unknown, *first.given.recipients)), numbers=(None, 8, None))
    data = write_tasks([first, second])
    assert data is not None
    assert read_tasks(data) == [first, second]


@pytest.mark.parametrize("value", [2**70, {1, 2}, "\ud800", (1,), object()])
def test_a_value_without_a_form_is_left_to_the_node(value: object) -> None:
    assert write_tasks([task(), task(tree={**SMALLEST, "ext": {"x": value}})]) is None


def test_outcomes_come_out_as_they_went_in() -> None:
    problem = Problem("/summary", "required", "summary is required", "")
    one = task()
    outcomes: list[Outcome] = [composed(one), TooLarge("routine"), None]
    assert read_outcomes(write_outcomes(outcomes), [one] * 3) == outcomes
    for error in (InvalidAlert([problem]), MarkingContradiction([problem])):
        (found,) = read_outcomes(write_outcomes([error]), [one])
        assert isinstance(found, InvalidAlert)
        assert (type(found), found.problems) == (type(error), error.problems)


def _head(name: int, value: Any) -> Callable[[list[Any]], None]:
    def change(row: list[Any]) -> None:
        row[1][name] = value

    return change


def _envelope(part: int, value: Any) -> Callable[[list[Any]], None]:
    def change(row: list[Any]) -> None:
        row[5][0][part] = value

    return change


def _of_row(place: int, value: Any) -> Callable[[list[Any]], None]:
    def change(row: list[Any]) -> None:
        row[place] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        _of_row(0, 9),
        _of_row(1, []),
        _of_row(2, "text"),
        _of_row(3, None),
        _of_row(4, [None]),
        _of_row(4, ["no_bar", None]),
        _of_row(5, []),
        _of_row(5, [None, None]),
        _head(2, "00000000-0000-4000-8000-000000000002"),
        _head(5, "whenever"),
        _head(6, 17),
        _head(7, "bka.de"),
        _envelope(0, 8),
        _envelope(1, "text"),
        _envelope(3, b"short"),
    ],
)
def test_an_answer_to_something_else_is_nonsense(change: Callable[[list[Any]], None]) -> None:
    one = task()
    rows = msgpack.unpackb(write_outcomes([composed(one)]))
    assert isinstance(read_outcomes(msgpack.packb(rows), [one])[0], Composed)
    change(rows[0])
    with pytest.raises(NonsenseError):
        read_outcomes(msgpack.packb(rows), [one])
