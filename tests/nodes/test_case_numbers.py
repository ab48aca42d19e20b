"""Two kidnappings never get one case id, also not after a crash between posts that overtook each other."""

from __future__ import annotations

from nodes.submitting import CaseNumbers


def test_ids_count_up_within_a_year() -> None:
    numbers = CaseNumbers("CO-PONAL", {2026: 16})
    assert numbers.ahead(2026, 2) == ["CO-PONAL/2026/000017", "CO-PONAL/2026/000018"]
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


def test_after_lost_history_numbers_go_on_above_all_that_it_can_have_drawn() -> None:
    numbers = CaseNumbers("CO-PONAL", {2026: 5})
    numbers.leave_out(2026, 331)
    numbers.leave_out(2027, 1)
    assert numbers.row(2026).value == (331 * 2_500).to_bytes(8, "big")  # also if it dies before the next draw
    assert [numbers.draw(year) for year in (2026, 2027)] == ["CO-PONAL/2026/827501", "CO-PONAL/2027/002501"]


def test_one_copy_put_back_on_two_days_does_not_give_one_number_twice() -> None:
    lives = [CaseNumbers("CO-PONAL", {2026: 5}) for _ in range(2)]
    for day, numbers in enumerate(lives, start=30):
        numbers.leave_out(2026, day)
    assert [numbers.draw(2026) for numbers in lives] == ["CO-PONAL/2026/075001", "CO-PONAL/2026/077501"]


def test_who_had_given_more_numbers_than_its_day_stands_for_leaves_out_more() -> None:
    numbers = CaseNumbers("CO-PONAL", {2026: 2_500})
    numbers.leave_out(2026, 1)
    assert numbers.draw(2026) == "CO-PONAL/2026/005001"
    numbers = CaseNumbers("CO-PONAL", {2026: 2_499})
    numbers.leave_out(2026, 1)
    assert numbers.draw(2026) == "CO-PONAL/2026/002501"
