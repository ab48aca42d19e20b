"""Waking a person: the command runs until somebody opened the message, sees no content, never outlives the node."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from keys.ids import AgencyId, MessageId, format_uuid
from nodes.metrics import Metrics
from nodes.notices import NoticeRun, Notices
from tests.processes import Children

ONE, TWO = MessageId(b"\1" * 16), MessageId(b"\2" * 16)
CASE = "CO-PONAL/2026/000017"
PONAL = AgencyId("ponal.co")

PYTHON = sys.executable
LONG_S = 3_600.0
# Tells the test, over a datagram socket, with which arguments it runs and what it finds on its standard streams.
TELL = """
import json, os, socket, sys
path, *arguments = sys.argv[1:]
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
    line.connect(path)
    line.send(json.dumps([arguments, os.read(0, 100).decode(), os.readlink("/proc/self/fd/1")]).encode())
"""
# Holds a pipe open, together with a child of its own, and does not end.
HOLD = """
import os, sys
pipe = os.open(sys.argv[1], os.O_WRONLY)
os.fork()
os.write(pipe, b"x")
os.read(os.pipe()[0], 1)
"""
# Ends well, and leaves a child behind that goes on when it is told to.
LEAVE = """
import os, sys
if os.fork() == 0:
    with open(sys.argv[2]) as told, open(sys.argv[1], "w") as pipe:
        pipe.write(told.read())
"""


class Bell:
    """A command that rings here."""

    def __init__(self, directory: Path) -> None:
        path = directory / "bell"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)
        self.command = [PYTHON, "-c", TELL, str(path)]

    async def rung(self) -> tuple[list[str], str, str]:
        arguments, stdin, stdout = json.loads(await asyncio.get_running_loop().sock_recv(self.socket, 10_000))
        return arguments, stdin, stdout


@pytest.fixture
async def bell(tmp_path: Path) -> AsyncIterator[Bell]:
    bell = Bell(tmp_path)
    yield bell
    bell.socket.close()


Made = Callable[..., Coroutine[None, None, Notices]]


@pytest.fixture
def started(closing: AsyncExitStack) -> Made:
    async def start(command: list[str], *, repeat_s: float = LONG_S, timeout_s: float = LONG_S) -> Notices:
        notices = Notices(command, Metrics(), repeat_s=repeat_s, timeout_s=timeout_s)
        await notices.start()
        closing.push_async_callback(notices.close)
        return notices

    return start


class Pipe:
    """A named pipe that processes hold open; it ends when the last of them has."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self.end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._own = os.open(path, os.O_WRONLY)  # until others hold it, it must not look ended

    def let_go(self) -> None:
        """From now on only the others keep it from ending."""
        if self._own >= 0:
            os.close(self._own)
            self._own = -1

    async def read(self, size: int) -> bytes:
        """The next bytes; b"" when nobody holds it any more."""
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self.end, readable.set)
        try:
            while True:
                await readable.wait()
                try:
                    return os.read(self.end, size)
                except BlockingIOError:
                    readable.clear()
        finally:
            loop.remove_reader(self.end)

    async def held_by(self, holders: int) -> None:
        got = b""
        while len(got) < holders:
            got += await self.read(holders - len(got))


@pytest.fixture
async def pipe(tmp_path: Path) -> AsyncIterator[Pipe]:
    pipe = Pipe(tmp_path / "pipe")
    yield pipe
    pipe.let_go()
    os.close(pipe.end)


# --- what the command sees --------------------------------------------------------------------------------------------


async def test_the_command_gets_four_arguments_and_nothing_else(started: Made, bell: Bell) -> None:
    notices = await started(bell.command)
    notices.notify(ONE, CASE, "flash", PONAL)
    assert await bell.rung() == ([format_uuid(ONE), CASE, "flash", "ponal.co"], "", "/dev/null")


async def test_arguments_are_no_shell_s(started: Made, bell: Bell) -> None:
    notices = await started(bell.command)
    notices.notify(ONE, "$(touch x); `id` *", "flash", PONAL)
    arguments, _, _ = await bell.rung()
    assert arguments[1] == "$(touch x); `id` *"


async def test_a_trial_run_says_how_it_went(started: Made, bell: Bell) -> None:
    notices = await started(bell.command)
    run = await notices.test()
    assert (run.ok, run.outcome, run.exit_status) == (True, "ok", 0)
    arguments, _, _ = await bell.rung()
    assert arguments[1:3] == ["TEST", "routine"]
    assert notices.unopened == 0


async def test_without_a_command_nobody_is_woken(started: Made) -> None:
    notices = await started([])
    notices.notify(ONE, CASE, "flash", PONAL)
    assert notices.unopened == 0
    run = await notices.test()
    assert (run.ok, run.outcome) == (False, "not_configured")


# --- when it runs -----------------------------------------------------------------------------------------------------


class Recorded:
    """Notices whose runs are only written down, when they are begun."""

    def __init__(self, notices: Notices, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun: list[str] = []
        self.again = asyncio.Condition()
        monkeypatch.setattr(notices, "_run", self._run)

    def _run(self, arguments: tuple[str, ...]) -> Coroutine[None, None, NoticeRun]:
        self.begun.append(arguments[0] + arguments[3])
        return self._ended()

    async def _ended(self) -> NoticeRun:
        async with self.again:
            self.again.notify_all()
        return NoticeRun("ok", 0, 0)

    async def until(self, message: MessageId, times: int, sender: AgencyId = PONAL) -> None:
        async with self.again:
            await self.again.wait_for(lambda: self.begun.count(format_uuid(message) + sender) >= times)


async def test_it_runs_again_until_somebody_has_opened_the_message(
    started: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    notices = await started(["wake"], repeat_s=0.01)
    recorded = Recorded(notices, monkeypatch)
    notices.notify(ONE, CASE, "flash", PONAL)
    await recorded.until(ONE, 3)
    notices.opened(ONE, PONAL)
    assert notices.unopened == 0
    so_far = recorded.begun.count(format_uuid(ONE) + PONAL)
    notices.notify(TWO, CASE, "flash", PONAL)
    await recorded.until(TWO, 3)
    assert recorded.begun.count(format_uuid(ONE) + PONAL) == so_far


async def test_saying_it_twice_runs_it_once(started: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    notices = await started(["wake"])
    recorded = Recorded(notices, monkeypatch)
    for message in (ONE, ONE, TWO, ONE):
        notices.notify(message, CASE, "flash", PONAL)
    await recorded.until(TWO, 1)
    assert len(recorded.begun) == 2
    assert notices.unopened == 2


async def test_another_agency_s_message_of_the_same_id_wakes_somebody_too(
    started: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    notices = await started(["wake"])
    recorded = Recorded(notices, monkeypatch)
    other = AgencyId("met.uk")
    notices.notify(ONE, CASE, "flash", other)
    notices.notify(ONE, CASE, "flash", PONAL)
    await recorded.until(ONE, 1)
    await recorded.until(ONE, 1, other)
    notices.opened(ONE, other)
    assert notices.unopened == 1


async def test_opening_what_nobody_was_told_of_is_nothing(started: Made) -> None:
    (await started(["wake"])).opened(ONE, PONAL)


async def test_only_a_few_run_at_once(started: Made, pipe: Pipe) -> None:
    notices = await started([PYTHON, "-c", HOLD, str(pipe.path)])
    for number in range(9):
        notices.notify(MessageId(bytes([number]) * 16), CASE, "flash", PONAL)
    await pipe.held_by(8)  # four, and a child of each
    assert notices._room.locked()
    assert len(notices._runs) == 9


# --- how it ends ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "outcome", "status"),
    [
        ([PYTHON, "-c", "raise SystemExit(3)"], "exit_status", 3),
        (["/does/not/exist"], "not_found", 127),
        (["/dev/null"], "not_found", 127),
    ],
)
async def test_a_run_that_fails_is_a_finding_until_one_succeeds(
    command: list[str], outcome: str, status: int, started: Made
) -> None:
    notices = await started(command)
    run = await notices.test()
    assert (run.ok, run.outcome, run.exit_status) == (False, outcome, status)
    assert notices.failing == run
    assert notices._metrics.notices.values == {outcome: 1}
    notices._command = ("true",)
    assert (await notices.test()).ok
    assert notices.failing is None


async def test_a_machine_that_can_start_nothing_is_a_finding(started: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    notices = await started(["wake"])
    monkeypatch.setattr(asyncio, "create_subprocess_exec", fail)
    assert (await notices.test()).outcome == "cannot_start"


async def test_a_command_that_hangs_is_killed_with_all_that_it_started(
    started: Made, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadlines: list[asyncio.Timeout] = []

    def remember(seconds: float) -> asyncio.Timeout:
        assert seconds == 17
        deadlines.append(asyncio.timeout_at(None))
        return deadlines[-1]

    notices = await started([PYTHON, "-c", HOLD, str(pipe.path)], timeout_s=17)
    monkeypatch.setattr(asyncio, "timeout", remember)
    running = asyncio.create_task(notices.test())
    await pipe.held_by(2)
    pipe.let_go()
    (deadline,) = deadlines
    deadline.reschedule(asyncio.get_running_loop().time())
    assert (await running).outcome == "timeout"
    assert await pipe.read(1) == b""


async def test_closing_kills_what_still_runs(started: Made, pipe: Pipe) -> None:
    notices = await started([PYTHON, "-c", HOLD, str(pipe.path)])
    notices.notify(ONE, CASE, "flash", PONAL)
    await pipe.held_by(2)
    pipe.let_go()
    await notices.close()
    assert await pipe.read(1) == b""


async def test_what_a_command_leaves_behind_when_it_ends_well_goes_on(
    started: Made, pipe: Pipe, tmp_path: Path
) -> None:
    tell = tmp_path / "tell"
    os.mkfifo(tell)
    notices = await started([PYTHON, "-c", LEAVE, str(pipe.path), str(tell)])
    assert (await notices.test()).ok
    tell.write_text("still here")
    assert await pipe.read(100) == b"still here"
    pipe.let_go()


NODE = """
import asyncio, sys
from keys.ids import AgencyId, MessageId
from nodes.metrics import Metrics
from nodes.notices import Notices
async def main():
    notices = Notices(sys.argv[1:], Metrics())
    await notices.start()
    notices.notify(MessageId(bytes(16)), "DE-BKA/2026/1", "flash", AgencyId("ponal.co"))
    await asyncio.Event().wait()
asyncio.run(main())
"""


async def test_a_node_that_is_killed_takes_the_command_with_it(pipe: Pipe, children: Children) -> None:
    alone = HOLD.replace("os.fork()", "")
    node = children.start([PYTHON, "-c", NODE, PYTHON, "-c", alone, pipe.path], stderr=subprocess.DEVNULL)
    await pipe.held_by(1)
    pipe.let_go()
    node.send_signal(signal.SIGKILL)
    assert await pipe.read(1) == b""
