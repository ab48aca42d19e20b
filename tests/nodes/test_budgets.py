"""What one peer may take: it is slowed, then refused, gets its share back with time, and takes nothing from another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.errors import RefusalCode, RefusalError
from keys.ids import parse_agency_id
from nodes.budgets import BURST_S, LONGEST_WAIT_S, Bucket, Budgets, Measure, Rates
from nodes.metrics import Metrics

PONAL, BKA = parse_agency_id("ponal.co"), parse_agency_id("bka.de")


class Time:
    """A clock that only moves when somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def budgets(time: Time, metrics: Metrics) -> Budgets:
    """Ten rounds a second."""
    return Budgets(Rates(rounds=10, work=100), metrics, clock=time, sleep=time.sleep)


async def test_what_is_within_a_peer_s_share_never_waits(budgets: Budgets, time: Time, metrics: Metrics) -> None:
    for _ in range(int(10 * BURST_S)):
        await budgets.take(PONAL, Measure.ROUNDS, 1)
    assert time.waits == []
    assert not budgets.is_overdrawn(PONAL)
    assert metrics.rounds_limited.values == {}


async def test_a_peer_that_does_not_pause_gets_its_rate_and_no_more(budgets: Budgets, time: Time) -> None:
    rounds = 200
    for _ in range(rounds):
        await budgets.take(PONAL, Measure.ROUNDS, 1)
    assert time.now == pytest.approx((rounds - 10 * BURST_S) / 10)


async def test_who_owes_more_than_the_longest_wait_is_refused_after_that_wait(
    budgets: Budgets, time: Time, metrics: Metrics
) -> None:
    budgets.charge(PONAL, Measure.WORK, 100 * (BURST_S + LONGEST_WAIT_S) + 1)
    with pytest.raises(RefusalError) as refused:
        await budgets.take(PONAL, Measure.WORK, 1)
    assert refused.value.code is RefusalCode.RATE_LIMITED
    assert time.waits == [LONGEST_WAIT_S]
    await budgets.take(PONAL, Measure.WORK, 1)  # what was refused was not charged
    assert metrics.rounds_limited.values == {"work_refused": 1, "work_slowed": 1}


async def test_nobody_waits_longer_than_the_longest_wait(budgets: Budgets, time: Time) -> None:
    await budgets.take(PONAL, Measure.WORK, 100_000)
    assert time.waits == [LONGEST_WAIT_S]


async def test_a_peer_s_debt_is_nobody_else_s_and_not_of_another_measure(budgets: Budgets, time: Time) -> None:
    budgets.charge(PONAL, Measure.WORK, 1_000_000)
    await budgets.take(BKA, Measure.WORK, 1)
    await budgets.take(PONAL, Measure.ROUNDS, 1)
    assert time.waits == []
    assert budgets.is_overdrawn(PONAL)
    assert not budgets.is_overdrawn(BKA)


async def test_what_is_given_back_may_be_taken_again(budgets: Budgets, time: Time) -> None:
    for _ in range(10):
        await budgets.take(PONAL, Measure.WORK, 150)
        budgets.charge(PONAL, Measure.WORK, -150)
    assert time.waits == []


@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1_000)), max_size=50), st.floats(0.1, 1_000), st.floats(1, 1_000)
)
def test_a_bucket_gives_no_more_than_its_rate_and_what_it_held(
    steps: list[tuple[float, float]], rate: float, most: float
) -> None:
    bucket, now, given_out = Bucket(rate, most, 0.0), 0.0, 0.0
    for pause, amount in steps:
        now += pause
        assert bucket.is_full(now) <= (bucket.wait(now) == 0)
        if bucket.wait(now) == 0:
            bucket.spend(amount, now)
            given_out += amount
    assert given_out <= most + rate * now + max((amount for _, amount in steps), default=0) + 1e-6 * (1 + given_out)
