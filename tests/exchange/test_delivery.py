"""The delivery state is a maximum over a set: order and repetition do not matter, and it never goes back (promise
P5).
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from exchange.delivery import END_STATES, Fact, State, at_least, decisions_conflict, delivery_state, highest

ORDER = ["queued", "in_custody", "expired", "refused", "stored", "opened", "accepted", "rejected", "actioned"]
facts = st.lists(st.builds(Fact, st.sampled_from(State), st.booleans()))


def test_states_stand_in_the_order_of_the_contract() -> None:
    assert [state.value for state in State] == ORDER
    assert {state.value for state in END_STATES} == set(ORDER) - {"queued", "in_custody"}


@given(facts, st.randoms())
def test_any_order_and_repetition_of_the_same_facts_gives_the_same_state(known: list[Fact], chance: object) -> None:
    shuffled = [*known, *known]
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert delivery_state(shuffled) == delivery_state(known)


@given(facts, facts)
def test_a_further_fact_never_takes_the_state_back(known: list[Fact], more: list[Fact]) -> None:
    assert at_least(delivery_state(known + more), delivery_state(known))


def test_a_receipt_beats_an_expiry_and_a_refusal_whatever_came_first() -> None:
    assert (
        delivery_state([Fact(State.STORED, True), Fact(State.EXPIRED, True), Fact(State.REFUSED, True)]) is State.STORED
    )


def test_a_receipt_through_an_older_envelope_counts_and_its_refusal_does_not() -> None:
    assert delivery_state([Fact(State.STORED, False)]) is State.STORED
    assert delivery_state([Fact(State.REFUSED, False)]) is State.QUEUED
    assert delivery_state([Fact(State.EXPIRED, False)]) is State.QUEUED


def test_custody_expiry_and_refusal_of_the_newest_envelope_count() -> None:
    for state in (State.IN_CUSTODY, State.EXPIRED, State.REFUSED):
        assert delivery_state([Fact(State.QUEUED, True), Fact(state, True)]) is state


def test_accepted_and_rejected_together_are_a_conflict_that_shows_the_higher() -> None:
    assert decisions_conflict([State.ACCEPTED, State.REJECTED])
    assert not decisions_conflict([State.ACCEPTED, State.ACTIONED])
    assert highest([State.ACCEPTED, State.REJECTED]) is State.REJECTED
