"""The worker process: when it starts and ends, and what its end means for what it was asked."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest

from nodes.worker import Worker

UP = "import os, sys; from struct import pack; say = lambda b: os.write(1, pack('!I', len(b)) + b); say(b''); "
ECHOES = (
    UP + "from struct import unpack; read = sys.stdin.buffer.read\n"
    "while head := read(4): say(read(unpack('!I', head)[0]) + str(os.getpid()).encode())"
)
HANGS = UP + "sys.stdin.buffer.read()"
NEVER_UP = "import os; os._exit(1)"


async def started(worker: Worker) -> Worker:
    worker.ready()
    await worker.up.wait()
    return worker


async def ended(worker: Worker) -> None:
    """Its process has ended and was waited for."""
    life = worker._life
    if life is not None:
        await asyncio.wait({life})


async def test_it_starts_when_it_is_wanted_and_is_not_waited_for() -> None:
    worker = Worker(ECHOES)
    seen = [worker.pid is None, not worker.ready()]
    await worker.up.wait()
    seen += [worker.ready(), worker.pid is not None]
    await worker.close()
    seen += [worker.pid is None, not worker.ready()]
    assert seen == [True] * 6


async def test_answers_come_in_the_order_of_the_questions() -> None:
    worker = await started(Worker(ECHOES))
    pid = str(worker.pid).encode()
    answers = [worker.ask(b"%d " % n * 100_000, bytes) for n in range(5)]
    assert await asyncio.gather(*answers) == [b"%d " % n * 100_000 + pid for n in range(5)]
    await worker.close()


async def test_one_that_is_idle_ends_and_the_next_question_starts_another() -> None:
    worker = await started(Worker(ECHOES, idle_s=0.01))
    first = worker.pid
    await ended(worker)
    assert worker.pid is None
    await started(worker)
    assert worker.pid != first
    await worker.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
async def test_what_a_killed_one_was_asked_is_answered_none_and_another_starts_after_a_rest(number: int) -> None:
    worker = await started(Worker(HANGS, rest_s=0))
    answers = [worker.ask(b"question", bytes) for _ in range(3)]
    assert worker.pid is not None
    os.kill(worker.pid, number)
    assert await asyncio.gather(*answers) == [None, None, None]
    await ended(worker)
    await started(worker)
    await worker.close()


async def test_one_that_does_not_answer_in_time_is_killed() -> None:
    worker = await started(Worker(HANGS, answer_s=0.01, rest_s=3_600))
    assert await worker.ask(b"question", bytes) is None
    await ended(worker)
    assert worker.pid is None
    assert not worker.ready()
    assert worker._life is None  # it rests: no other was started


async def test_the_rest_grows_with_each_failure_and_ends_with_an_answer() -> None:
    worker = Worker(NEVER_UP, rest_s=0.001)
    rests = []
    for _ in range(3):
        worker._rests_until = 0
        worker.ready()
        await ended(worker)
        rests.append(worker._rest_s)
    assert rests == [0.002, 0.004, 0.008]
    worker._program, worker._rests_until = ECHOES, 0
    await started(worker)
    await worker.ask(b"question", bytes)
    assert worker._rest_s == 0.001
    await worker.close()


async def test_one_that_cannot_be_started_is_a_failure_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    worker = Worker(ECHOES, rest_s=3_600)
    assert not worker.ready()
    await ended(worker)
    assert await worker.ask(b"question", bytes) is None
    assert not worker.ready()
    assert worker._life is None
    await worker.close()


async def test_an_answer_that_cannot_be_read_ends_it() -> None:
    worker = await started(Worker(ECHOES, rest_s=3_600))

    def read(_: bytes) -> bytes:
        raise ValueError

    assert await worker.ask(b"question", read) is None
    await ended(worker)
    assert not worker.ready()


async def test_what_lies_there_when_it_is_closed_is_answered_none() -> None:
    worker = await started(Worker(HANGS))
    answer = worker.ask(b"question", bytes)
    await worker.close()
    assert await answer is None
    assert await worker.ask(b"question", bytes) is None
