"""What finds a place in a round."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from exchange.round import MAX_ITEMS, MAX_ROUND_BYTES, MIN_ITEMS, MIN_ROUND_BYTES, Limits, decode_round, encode_round
from keys.ids import AgencyId
from nodes.courier import ROUND_TIMEOUT_S, patience_s
from nodes.node import Ask, first_of
from nodes.outflow import Item
from nodes.peers import Peer
from nodes.store.contract import PeerRow
from tests.alerts.builders import SMALLEST
from tests.exchange.agencies import NOW, make_agency
from tests.nodes.line import Line

FLASH = json.dumps({**json.loads(SMALLEST), "precedence": "flash"})
SENDER, RECIPIENT = AgencyId("ponal.co"), AgencyId("bka.de")


def _positions(log: str, count: int) -> set[tuple[str, int]]:
    return {(log, index) for index in range(count)}


def test_a_round_takes_answers_first_then_what_is_owed_and_never_more_than_it_has_room_for() -> None:
    answers, owed, lacking = _positions("gw1/1", 6), _positions("gw1/1", 8), _positions("gw1/2", 9)
    assert first_of(100, answers, owed, lacking) == [*sorted(owed), *sorted(lacking)]
    assert first_of(7, answers, owed, lacking) == sorted(owed)[:7]
    assert first_of(10, owed, lacking) == [*sorted(owed), *sorted(lacking)[:2]]
    assert first_of(-1, answers) == []


@pytest.mark.parametrize(
    ("said", "heeded"),
    [
        (Limits(1_048_576, 100), Limits(1_048_576, 100)),
        (Limits(0, 0), Limits(MIN_ROUND_BYTES, MIN_ITEMS)),
        (Limits(1 << 62, 1 << 62), Limits(MAX_ROUND_BYTES, MAX_ITEMS)),
    ],
)
def test_limits_of_a_peer_are_heeded_between_floor_and_ceiling(said: Limits, heeded: Limits) -> None:
    assert said.heeded == heeded


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.close()


def _answer_saying(line: Line, **hello: Any) -> bool:
    """The recipient answers the round on the line, and its hello says this. True if it asks for another round."""
    transit = line.transits[SENDER, RECIPIENT]
    line.advance((SENDER, RECIPIENT))
    assert transit.answer is not None
    answer = decode_round(transit.answer, speaker=RECIPIENT, listener=SENDER)
    transit.answer = encode_round(replace(answer, hello=replace(answer.hello, **hello)))
    return line.advance((SENDER, RECIPIENT))


def test_a_round_holds_no_more_than_its_recipient_takes_and_everything_arrives(line: Line) -> None:
    count, limits = MIN_ITEMS + 26, Limits(MIN_ROUND_BYTES, MIN_ITEMS)
    for _ in range(count):
        assert isinstance(line.say(SENDER, "post", {"content": SMALLEST, "to": [RECIPIENT]}), dict)
    line.peer(SENDER, RECIPIENT).line.batch = count  # a quick line: all would go in one round
    sizes = []
    while len(line.inbox(RECIPIENT)) < count:
        line.ask((SENDER, RECIPIENT))
        body = line.requests[-1][2]
        sizes.append(
            (len(body), sum(len(g.entries) for g in decode_round(body, speaker=SENDER, listener=RECIPIENT).groups))
        )
        _answer_saying(line, limits=limits)

    assert all(size <= limits.max_round_bytes and items <= limits.max_items for size, items in sizes)
    assert max(items for _, items in sizes) == limits.max_items
    assert len({row.message_id for row in line.inbox(RECIPIENT)}) == count


def test_on_a_bad_line_a_round_carries_few_entries_so_that_what_is_urgent_gets_through() -> None:
    agency = make_agency("ponal.co")
    peer = Peer(
        PeerRow(agency.agency, "trusted", "Policia", "CO", b"anchor", None, 1, 1, None, None, None), agency.keys
    )
    peer.line.batch = 512
    assert peer.most_entries == MAX_ITEMS
    for _ in range(9):
        peer.line.broke()
    assert (peer.most_envelopes, peer.most_entries) == (1, 16)


def test_one_envelope_gets_the_time_that_the_slowest_line_needs_and_several_come_again_smaller() -> None:
    def patience(envelopes: int) -> float:
        items: list[Item] = [None] * envelopes  # type: ignore[list-item]  # only their number counts
        return patience_s(Ask(bytes(266_240), items, frozenset(), hello_only=False, at=NOW, most=64))

    assert patience(1) == ROUND_TIMEOUT_S + 65
    assert patience(2) == ROUND_TIMEOUT_S


def _post(line: Line, content: str) -> None:
    assert isinstance(line.say(SENDER, "post", {"content": content, "to": [RECIPIENT]}), dict)


def test_a_round_with_a_flash_message_carries_nothing_that_is_less_urgent(line: Line) -> None:
    line.hold_round((SENDER, RECIPIENT))
    for content in (SMALLEST, FLASH, SMALLEST):
        _post(line, content)
    line.hold_round((SENDER, RECIPIENT))
    assert [row.precedence for row in line.inbox(RECIPIENT)] == [0]
    line.hold_round((SENDER, RECIPIENT))
    assert len(line.inbox(RECIPIENT)) == 3


def test_a_flash_message_overtakes_the_round_on_the_line_and_both_logs_agree_in_the_end(line: Line) -> None:
    pair, node = (SENDER, RECIPIENT), line.nodes[SENDER].node
    line.hold_round(pair)
    _post(line, SMALLEST)
    line.ask(pair)
    _post(line, FLASH)
    ask = line.run(node.ask_flash(line.peer(*pair)))
    assert ask is not None
    answer = line.receive(SENDER, RECIPIENT, ask.body)
    assert isinstance(answer, bytes)
    line.run(node.settle(line.peer(*pair), ask, answer))
    assert [row.precedence for row in line.inbox(RECIPIENT)] == [0]

    while pair in line.transits:
        line.advance(pair)
    line.hold_round(pair)
    assert len(line.inbox(RECIPIENT)) == 2
    assert line.run(line.nodes[SENDER].store.next_due(RECIPIENT, line.now)) is None
    assert not line.peer(RECIPIENT, SENDER).unreconciled
    assert line.run(node.ask_flash(line.peer(*pair))) is None


def test_a_peer_that_goes_on_lacking_what_it_was_told_is_not_called_in_a_circle(line: Line) -> None:
    while line.hold_round((SENDER, RECIPIENT)):
        pass
    known = line.peer(SENDER, RECIPIENT).known
    assert known is not None
    again = []
    for _ in range(3):
        line.ask((SENDER, RECIPIENT))
        again.append(_answer_saying(line, known=replace(known, highest_epoch_key=0)))
    assert again == [True, False, False]
