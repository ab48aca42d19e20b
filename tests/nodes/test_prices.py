"""What a round costs: by its size before it is decoded, by its shape before a signature is checked."""

from __future__ import annotations

from exchange.round import MAX_ROUND_BYTES, Hello, Known, Numbers, Round
from nodes import prices
from nodes.budgets import BURST_S, Rates

HELLO = Hello(1, False, (), (), Known(bytes(32), None, 0), Numbers(0, 1, 1))


def test_the_largest_round_can_be_decoded_from_a_full_account() -> None:
    sizes = [0, 255, 256, 100_000, MAX_ROUND_BYTES]
    found = [prices.decoding(size) for size in sizes]
    assert found == sorted(found)
    assert found[0] > 0
    assert found[-1] < Rates().work * BURST_S


def test_a_hello_alone_costs_nothing_more_than_its_decoding() -> None:
    assert prices.taking(Round(HELLO), 0) == 0


def test_an_anchor_costs_more_the_more_key_changes_have_to_be_verified_again() -> None:
    spoken = Round(HELLO, anchor=[b"body", b"signature", b"signature"])
    few, many = prices.taking(spoken, 1), prices.taking(spoken, 200)
    assert many > 100 * few > 0
