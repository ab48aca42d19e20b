"""The schedule of attempts (PROTOCOL §12)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from exchange.envelope import Precedence
from exchange.retry import next_attempt

NOW = 1_800_000_000_000
MINUTE = 60_000


@given(
    st.integers(1, 10_000),
    st.sampled_from(Precedence),
    st.floats(0, 1, exclude_max=True),
    st.integers(0, 40 * 86_400_000),
)
def test_an_attempt_lies_ahead_and_never_beyond_its_cap(
    attempts: int, precedence: Precedence, chance: float, age: int
) -> None:
    wait = next_attempt(NOW, attempts=attempts, first_at=NOW - age, precedence=precedence, chance=chance) - NOW
    cap = MINUTE if precedence is Precedence.FLASH else 15 * MINUTE if age < 86_400_000 else 60 * MINUTE
    assert 500 <= wait <= cap


def test_the_wait_doubles_from_one_second() -> None:
    waits = [
        next_attempt(NOW, attempts=n, first_at=NOW, precedence=Precedence.URGENT, chance=0.999999) - NOW
        for n in range(1, 6)
    ]
    assert [round(wait / 1000) for wait in waits] == [1, 2, 4, 8, 16]


def test_chance_spreads_attempts_over_the_whole_interval() -> None:
    assert next_attempt(NOW, attempts=12, first_at=NOW, precedence=Precedence.URGENT, chance=0.0) == NOW + 500
