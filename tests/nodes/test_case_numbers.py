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
    numbers.leave_out(2026)
    numbers.leave_out(2027)
    assert numbers.row(2026).value == (10_000).to_bytes(8, "big")  # also if it dies before the next draw
    assert [numbers.draw(year) for year in (2026, 2027)] == ["CO-PONAL/2026/010001", "CO-PONAL/2027/010001"]
