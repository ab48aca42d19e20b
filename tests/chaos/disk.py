"""A disk that fails on demand, and remembers what was synced. Owns what each action of a fault does to a call; when it
strikes is the campaign's to say (tests/chaos/control.py).
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from tests.chaos.control import Action, Control, Where
from tests.power_cut import Keeper
from tests.sqlite_door import Call, Request, pass_through

SQLITE_FULL = 13
_FAILED = {Call.WRITE: 10 | 3 << 8, Call.SYNC: 10 | 4 << 8, Call.TRUNCATE: 10 | 6 << 8}  # SQLITE_IOERR_…
_WHERE = {
    ("log", Call.WRITE): Where.LOG_WRITE,
    ("log", Call.SYNC): Where.LOG_SYNC,
    ("log", Call.TRUNCATE): Where.LOG_TRUNCATE,
    ("db", Call.WRITE): Where.DB_WRITE,
    ("db", Call.SYNC): Where.DB_SYNC,
    ("db", Call.TRUNCATE): Where.DB_TRUNCATE,
}


def die() -> NoReturn:
    """Kill -9, by its own hand."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("nobody outlives SIGKILL")


def install(control: Control, kept: Path) -> None:
    """From now on SQLite's calls, and those that make key files durable, can fail; `kept` holds what is synced."""
    pass_through(FaultyDisk(control, Keeper(kept)).guard)
    for name, where in (
        ("fsync", Where.FILE_SYNC),
        ("rename", Where.FILE_RENAME),
        ("replace", Where.FILE_RENAME),
        ("unlink", Where.FILE_UNLINK),
    ):
        setattr(os, name, _faulty(getattr(os, name), where, control))


class FaultyDisk:
    """Stands at SQLite's door."""

    def __init__(self, control: Control, keeper: Keeper) -> None:
        self._control = control
        self._keeper = keeper

    def guard(self, request: Request) -> int:
        """What SQLite hears. What becomes durable is kept."""
        where = _WHERE["log" if request.path.name.endswith("-wal") else "db", request.call]
        match self._control.strikes_at(where, grows=_grows(request)):
            case Action.NONE:
                return self._keeper.guard(request)
            case Action.KILL_BEFORE:
                die()
            case Action.KILL_HALFWAY:
                if request.part is not None:
                    request.part(request.size // 2)
                die()
            case Action.KILL_AFTER:
                self._keeper.guard(request)
                die()
            case Action.DONE_BUT_FAILED:
                self._keeper.guard(request)
                return _FAILED[request.call]
            case Action.FULL | Action.FULL_HALFWAY | Action.NO_GROWTH as action if request.part is not None:
                if action is Action.FULL_HALFWAY:
                    self._write_half(request, request.part)
                return SQLITE_FULL
            case _:
                if request.call is Call.SYNC:
                    self._keeper.sync_failed(request.path)
                return _FAILED[request.call]

    def _write_half(self, request: Request, part: Callable[[int], int]) -> None:
        half = request.size // 2
        whole = request.data
        self._keeper.guard(
            Request(Call.WRITE, request.path, lambda: part(half), request.offset, half, lambda: whole()[:half], part)
        )


def _grows(request: Request) -> bool:
    return request.call is Call.WRITE and request.offset + request.size > request.path.stat().st_size


def _faulty(real: Callable[..., Any], where: Where, control: Control) -> Callable[..., Any]:
    """One of Python's calls, with the same faults."""

    def call(*arguments: Any, **named: Any) -> Any:
        action = control.strikes_at(where)
        if action is Action.NONE:
            return real(*arguments, **named)
        if action in (Action.KILL_AFTER, Action.DONE_BUT_FAILED):
            with suppress(OSError):  # it is done, even where there was nothing to do
                real(*arguments, **named)
        if action in (Action.KILL_BEFORE, Action.KILL_HALFWAY, Action.KILL_AFTER):
            die()
        full = action in (Action.FULL, Action.FULL_HALFWAY, Action.NO_GROWTH)
        raise OSError(errno.ENOSPC if full else errno.EIO, "a fault of the campaign")

    return call
