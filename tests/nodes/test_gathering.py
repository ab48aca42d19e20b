"""Requests that come while others are under way are worked on together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from nodes.gathering import Gathering


class Desk:
    """Answers each request with its double; holds every batch until it is let go."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = asyncio.Event()

    async def work(self, batch: Sequence[int]) -> list[int]:
        self.batches.append(list(batch))
        await self.go.wait()
        if 0 in batch:
            raise ValueError("refused")
        return [2 * request for request in batch]


async def _started(count: int, gathering: Gathering[int, int]) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(gathering.ask(number)) for number in range(1, count + 1)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_the_first_request_waits_for_nobody_and_those_behind_it_are_worked_on_together() -> None:
    desk = Desk()
    gathering = Gathering(desk.work, most=3)
    first = await _started(1, gathering)
    others = await _started(4, gathering)

    assert desk.batches == [[1]]
    desk.go.set()
    answers = await asyncio.gather(*first, *others)

    assert answers == [2, 2, 4, 6, 8]
    assert desk.batches == [[1], [1, 2, 3], [4]]


async def test_as_many_batches_as_allowed_are_under_way_at_once() -> None:
    desk = Desk()
    gathering = Gathering(desk.work, most=1, at_once=2)
    tasks = await _started(3, gathering)

    assert desk.batches == [[1], [2]]
    desk.go.set()
    assert await asyncio.gather(*tasks) == [2, 4, 6]


async def test_an_error_of_the_work_reaches_everybody_in_its_batch_and_nobody_behind() -> None:
    desk = Desk()
    desk.go.set()
    gathering = Gathering(desk.work, most=8)
    bad, beside = asyncio.create_task(gathering.ask(0)), asyncio.create_task(gathering.ask(1))

    for task in (bad, beside):
        with pytest.raises(ValueError, match="refused"):
            await task
    assert await gathering.ask(3) == 6


async def test_a_caller_that_is_cancelled_takes_nothing_back() -> None:
    desk = Desk()
    gathering = Gathering(desk.work, most=8)
    (gone,) = await _started(1, gathering)
    gone.cancel()
    await asyncio.sleep(0)
    later = asyncio.create_task(gathering.ask(5))
    desk.go.set()

    assert await later == 10
    assert desk.batches == [[1], [5]]
    assert gone.cancelled()
