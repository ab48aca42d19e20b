"""What finds a place in a round."""

from __future__ import annotations

from nodes.node import first_of


def _positions(log: str, count: int) -> set[tuple[str, int]]:
    return {(log, index) for index in range(count)}


def test_a_round_takes_answers_first_then_what_is_owed_and_never_more_than_it_has_room_for() -> None:
    answers, owed, lacking = _positions("gw1/1", 6), _positions("gw1/1", 8), _positions("gw1/2", 9)
    assert first_of(100, answers, owed, lacking) == [*sorted(owed), *sorted(lacking)]
    assert first_of(7, answers, owed, lacking) == sorted(owed)[:7]
    assert first_of(10, owed, lacking) == [*sorted(owed), *sorted(lacking)[:2]]
    assert first_of(-1, answers) == []
