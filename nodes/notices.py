"""Waking a person: runs the agency's own command for each urgent message, again and again until somebody has opened it.

Owns the schedule and the processes. It never has content: the command gets message id, case id, precedence and sender.
What is still unopened after a restart, the node says again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from keys.ids import AgencyId, MessageId, format_uuid
from nodes.logging import get_logger
from nodes.metrics import Metrics

REPEAT_S: Final = 300.0
TIMEOUT_S: Final = 30.0
_AT_ONCE: Final = 4

# Becomes the command, after asking the kernel to kill it when the node ends (PR_SET_PDEATHSIG is 1; it may have ended
# before the call). preexec_fn could ask as well, but is not safe in a process with threads.
_LAUNCHER: Final = """
import ctypes, os, signal, sys
parent, command = int(sys.argv[1]), sys.argv[2:]
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)
try:
    os.execvp(command[0], command)
except OSError:
    sys.exit(127)
"""
_NOT_FOUND: Final = 127

log = get_logger("notices")


@dataclass(frozen=True, slots=True)
class NoticeRun:
    """How a run of the command ended. `outcome`: ok exit_status not_found cannot_start timeout not_configured."""

    outcome: str
    exit_status: int | None
    elapsed_ms: int

    @property
    def ok(self) -> bool:
        return self.outcome == "ok"


@dataclass(slots=True)
class _Waiting:
    """A message that nobody has opened."""

    arguments: tuple[str, str, str, str]
    due: float  # the loop's time


class Notices:
    """Runs the command for messages until they are opened. `start` it, and `close` it."""

    def __init__(
        self,
        command: Sequence[str],
        metrics: Metrics,
        *,
        repeat_s: float = REPEAT_S,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """An empty `command` wakes nobody; everything else goes on as usual."""
        self._command = tuple(command)
        self._metrics = metrics
        self._repeat_s = repeat_s
        self._timeout_s = timeout_s
        self._waiting: dict[tuple[AgencyId, MessageId], _Waiting] = {}
        self._changed = asyncio.Event()
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._worker: asyncio.Task[None] | None = None
        self._runs: set[asyncio.Task[NoticeRun]] = set()
        self.failing: NoticeRun | None = None
        """The last run, if it failed: then perhaps nobody is woken, which is a finding."""

    async def start(self) -> None:
        """Begin to run the command."""
        self._worker = asyncio.get_running_loop().create_task(self._work())

    def notify(self, message_id: MessageId, case_id: str, precedence: str, sender: AgencyId) -> None:
        """Somebody must open this message. Saying it again changes nothing."""
        if not self._command or (sender, message_id) in self._waiting:
            return
        arguments = (format_uuid(message_id), case_id, precedence, sender)
        self._waiting[sender, message_id] = _Waiting(arguments, asyncio.get_running_loop().time())
        self._changed.set()

    def opened(self, message_id: MessageId, sender: AgencyId) -> None:
        """A person has opened it: no further run."""
        self._waiting.pop((sender, message_id), None)

    @property
    def unopened(self) -> int:
        """How many messages wait for a person."""
        return len(self._waiting)

    async def test(self) -> NoticeRun:
        """Run the command once, as for a routine message that does not exist, and say how it ended."""
        if not self._command:
            return NoticeRun("not_configured", None, 0)
        return await self._run(("00000000-0000-0000-0000-000000000000", "TEST", "routine", "test"))

    async def close(self) -> None:
        """Stop; commands that still run are killed."""
        tasks: list[asyncio.Task[None] | asyncio.Task[NoticeRun]] = [*self._runs]
        if self._worker is not None:
            tasks.append(self._worker)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            now = loop.time()
            for waiting in self._waiting.values():
                if waiting.due <= now:
                    waiting.due = now + self._repeat_s
                    run = loop.create_task(self._run(waiting.arguments))
                    self._runs.add(run)
                    run.add_done_callback(self._runs.discard)
            next_due = min((waiting.due for waiting in self._waiting.values()), default=None)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(next_due):
                    await self._changed.wait()

    async def _run(self, arguments: tuple[str, ...]) -> NoticeRun:
        async with self._room:
            started = time.monotonic()
            outcome, exit_status = await self._outcome(arguments)
        run = NoticeRun(outcome, exit_status, round((time.monotonic() - started) * 1_000))
        self._metrics.notices.add(outcome)
        self.failing = None if run.ok else run
        if not run.ok:
            log.error("notice.failed", outcome=outcome, exit_status=exit_status, elapsed_ms=run.elapsed_ms)
        return run

    async def _outcome(self, arguments: tuple[str, ...]) -> tuple[str, int | None]:
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-ISc", _LAUNCHER, str(os.getpid())),
                *self._command,
                *arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            return "cannot_start", None
        try:
            async with asyncio.timeout(self._timeout_s):
                status = await process.wait()
        except TimeoutError:
            return "timeout", None
        finally:
            if process.returncode is None:  # too slow, or we stop: it goes with all that it started
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if status == 0:
            return "ok", 0
        return ("not_found" if status == _NOT_FOUND else "exit_status"), status
