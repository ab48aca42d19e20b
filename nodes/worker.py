"""The worker process as the node sees it: started when there is work, asked, watched, ended. Owns its life; knows
nothing of what is asked.

A plain child with its ends of two pipes as standard input and output, each question and answer with its length before
it. Not multiprocessing: its children are forks, or know the directory and the main module of their parent, and what
crosses is pickled. This one gets a fresh interpreter, an environment of its own and no descriptor of the node's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from nodes.logging import get_logger
from nodes.worker_main import LENGTH, UP

IDLE_S: Final = 30.0
ANSWER_S: Final = (
    3.0  # less than the local API drains for (DRAIN_S): what lies at one that hangs is answered all the same
)
START_S: Final = 30.0
REST_S: Final = 1.0
LONGEST_REST_S: Final = 300.0
MOST_BYTES: Final = 64 * 1_048_576  # of one answer

PROGRAM: Final = "import sys; sys.path[:] = sys.argv[2:]; from nodes.worker_main import main; main(int(sys.argv[1]))"
"""Finds the node's own code by the node's own path, and takes none from the directory it stands in."""

# What an interpreter and its cryptography may need of the node's environment; the rest is none of a child's business.
_ENVIRONMENT = ("LD_LIBRARY_PATH", "OPENSSL_CONF", "OPENSSL_MODULES")

_Answer = TypeVar("_Answer")

log = get_logger("worker")


class Worker:
    """At most one process. Nothing is asked of it before `ready` says so; it is ended by `close`, or by idleness.

    A process that ends, says what cannot be read, or does not answer within `answer_s` is killed: whatever it was asked
    is answered None, and the next one is started after a rest that doubles from `rest_s`.
    """

    def __init__(
        self,
        program: str = PROGRAM,
        *,
        answer_s: float = ANSWER_S,
        idle_s: float = IDLE_S,
        rest_s: float = REST_S,
    ) -> None:
        self._program = program
        self._answer_s = answer_s
        self._idle_s = idle_s
        self._first_rest_s = self._rest_s = rest_s
        self._rests_until = 0.0
        self._asked: deque[_Question[Any]] = deque()
        self._life: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._why = ""
        self._closed = False
        self.up = asyncio.Event()
        """Set while it takes questions."""

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return None if self._process is None else self._process.pid

    def ready(self) -> bool:
        """Whether it takes questions now. If not, it is being started, or rests."""
        resting = asyncio.get_running_loop().time() < self._rests_until
        if self._life is None and not self._closed and not resting:
            self._life = asyncio.get_running_loop().create_task(self._live(), name="worker")
        return self.up.is_set()

    def ask(self, question: bytes, read: Callable[[bytes], _Answer]) -> asyncio.Future[_Answer | None]:
        """Its answer, as `read` reads it (ValueError: nonsense); None if none comes. Answers come in order."""
        asked = _Question(read)
        line = None if self._process is None else self._process.stdin
        if line is None or not self.up.is_set():
            asked.end(None)
            return asked.answer
        line.write(LENGTH.pack(len(question)) + question)
        self._asked.append(asked)
        if len(self._asked) == 1:
            self._watch()
        return asked.answer

    async def close(self) -> None:
        """End it. What it was asked is answered None."""
        self._closed = True
        if self._life is not None:
            self._life.cancel()
            await asyncio.wait({self._life})

    async def _live(self) -> None:
        self._why = "cannot_start"
        try:
            self._process = process = await self._started()
            self._why = "ended"
            with contextlib.suppress(asyncio.IncompleteReadError, TimeoutError):
                await self._listen(process)
        except ValueError:
            self._why = "nonsense"
        except OSError:  # it could not be started, or its pipe broke
            pass
        except asyncio.CancelledError:
            self._why = "closed"
            raise
        finally:
            await self._end()

    async def _started(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-c", self._program, str(os.getpid()), *_path()),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a traceback may quote content
            close_fds=True,
            cwd="/",
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
            start_new_session=True,  # Ctrl-C is for the node
            limit=1 << 20,
        )

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        """Until it ends. Raises ValueError for nonsense, IncompleteReadError at its end."""
        stream = process.stdout
        if stream is None:
            raise ValueError
        async with asyncio.timeout(START_S):
            if await _frame(stream) != UP:
                raise ValueError
        log.info("worker.started", pid=process.pid)
        self.up.set()
        self._watch()
        while True:
            answer = await _frame(stream)
            if not self._asked:
                raise ValueError
            self._asked[0].take(answer)
            self._asked.popleft()
            self._rest_s = self._first_rest_s
            self._watch()

    def _watch(self) -> None:
        """Begin to count anew: how long the oldest question waits, or how long nothing was asked."""
        if self._timer is not None:
            self._timer.cancel()
        wait_s = self._answer_s if self._asked else self._idle_s
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._overdue)

    def _overdue(self) -> None:
        self._why = "too_slow" if self._asked else "idle"
        self.up.clear()
        self._kill()

    def _kill(self) -> None:
        """It has nothing that could be lost."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def _end(self) -> None:
        self.up.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._kill()
        if self._why in ("idle", "closed"):
            log.info("worker.ended", why=self._why)
        else:
            log.error("worker.lost", why=self._why, unanswered=len(self._asked), rest_s=self._rest_s)
            self._rests_until = asyncio.get_running_loop().time() + self._rest_s
            self._rest_s = min(2 * self._rest_s, LONGEST_REST_S)
        while self._asked:
            self._asked.popleft().end(None)
        try:
            if self._process is not None:
                await self._process.wait()
        finally:
            self._process = self._life = None


class _Question(Generic[_Answer]):
    """What was asked, and who waits for the answer."""

    def __init__(self, read: Callable[[bytes], _Answer]) -> None:
        self._read = read
        self.answer: asyncio.Future[_Answer | None] = asyncio.get_running_loop().create_future()

    def take(self, data: bytes) -> None:
        self.end(self._read(data))

    def end(self, answer: _Answer | None) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)


def cores() -> int:
    """On how many this process may run."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _path() -> list[str]:
    return [os.path.abspath(entry) for entry in sys.path]


async def _frame(stream: asyncio.StreamReader) -> bytes:
    (length,) = LENGTH.unpack(await stream.readexactly(LENGTH.size))
    if length > MOST_BYTES:
        raise ValueError
    return await stream.readexactly(length)
