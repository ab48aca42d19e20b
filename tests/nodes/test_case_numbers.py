"""Two kidnappings never get one case id, also not after a crash between posts that overtook each other."""

from __future__ import annotations

import pytest

from nodes.submitting import CaseNumbers


def test_ids_count_up_within_a_year() -> None:
    numbers = CaseNumbers("CO-PONAL", {2026: 16})
    assert numbers.next(2026) == "CO-PONAL/2026/000017"
    assert [numbers.draw(year) for year in (2026, 2026, 2027)] == [
        "CO-PONAL/2026/000017",
        "CO-PONAL/2026/000018",
        "CO-PONAL/2027/000001",
    ]


def test_a_batch_that_is_committed_after_a_later_post_does_not_write_its_lower_number() -> None:
    numbers = CaseNumbers("CO-PONAL", {})
    for _ in range(40):
        numbers.draw(2026)  # a batch, not committed yet
    numbers.draw(2026)  # a flash alert goes between its slices
    flash, batch = numbers.row(2026), numbers.row(2026)
    stored = {flash.key: flash.value}
    stored[batch.key] = batch.value
    assert {key: int.from_bytes(value, "big") for key, value in stored.items()} == {"case/2026": 41}


@pytest.mark.parametrize(
    ("named", "year", "drawn"),
    [
        ("CO-PONAL/2026/000017", 2026, "CO-PONAL/2026/000018"),
        ("CO-PONAL/2026/3", 2026, "CO-PONAL/2026/000006"),  # below what was drawn: the counter never falls
        ("CO-PONAL/2027/000009", 2027, "CO-PONAL/2026/000006"),
        ("CO-PONAL/2026/TEST", None, "CO-PONAL/2026/000006"),
        ("CO-PONAL/2026/\u0661\u0662", None, "CO-PONAL/2026/000006"),
        ("CO-PONAL/2026/" + "9" * 13, None, "CO-PONAL/2026/000006"),
        ("DE-BKA/2026/000017", None, "CO-PONAL/2026/000006"),
        ("2026/000017", None, "CO-PONAL/2026/000006"),
    ],
)
def test_a_number_that_an_analyst_named_is_not_drawn_for_another_case(named: str, year: int | None, drawn: str) -> None:
    numbers = CaseNumbers("CO-PONAL", {2026: 5})
    assert numbers.taken(named) == year
    assert numbers.draw(2026) == drawn
    assert numbers.draw(2027) == ("CO-PONAL/2027/000010" if year == 2027 else "CO-PONAL/2027/000001")


def test_the_highest_number_a_case_may_have_can_be_stored() -> None:
    numbers = CaseNumbers("CO-PONAL", {})
    assert numbers.taken("CO-PONAL/2026/" + "9" * 12) == 2026
    numbers.draw(2026)
    assert int.from_bytes(numbers.row(2026).value, "big") == 10**12
