"""Gathers requests that come while others are under way, so that they are worked on together. Owns the waiting; knows
nothing of what is asked.

The first request starts at once: nobody waits for company. Those that come meanwhile make the next batch, as in the
writer's group commit.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

_Request = TypeVar("_Request")
_Outcome = TypeVar("_Outcome")


class Gathering(Generic[_Request, _Outcome]):
    """Calls `work` with at most `most` requests at a time; it answers with one outcome for each, in their order."""

    def __init__(
        self, work: Callable[[Sequence[_Request]], Awaitable[Sequence[_Outcome]]], most: int, at_once: int = 1
    ) -> None:
        self._work = work
        self._most = most
        self._at_once = at_once
        self._waiting: deque[tuple[_Request, asyncio.Future[_Outcome]]] = deque()
        self._working: set[asyncio.Task[None]] = set()

    async def ask(self, request: _Request) -> _Outcome:
        """The outcome of this request. Raises what the work on its batch raised.

        A caller that is cancelled takes nothing back.
        """
        answer: asyncio.Future[_Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, answer))
        self._begin()
        return await answer

    def _begin(self) -> None:
        if self._waiting and len(self._working) < self._at_once:
            task = asyncio.get_running_loop().create_task(self._batch())
            self._working.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._working.discard(task)
        self._begin()

    async def _batch(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
        try:
            outcomes = await self._work([request for request, _ in batch])
        except BaseException as error:
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error if isinstance(error, Exception) else asyncio.CancelledError())
                    answer.exception()  # whoever asked may be gone
            if not isinstance(error, Exception):
                raise
        else:
            for (_, answer), outcome in zip(batch, outcomes, strict=True):
                if not answer.done():
                    answer.set_result(outcome)
