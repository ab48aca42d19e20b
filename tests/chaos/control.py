"""The one page of memory that the campaign shares with a node's process: its clock, and the fault it is armed with.
Owns its layout. It outlives the process, so that who was killed can be asked whether the fault had struck.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from pathlib import Path

_FIELDS = ("clock_ms", "strikes_left", "action", "where", "countdown", "struck", "struck_where")
_NUMBER = struct.Struct("<q")


class Where(IntFlag):
    """System calls, and other moments, at which a fault may strike."""

    LOG_WRITE = 1  # SQLite's write-ahead log
    LOG_SYNC = 2
    LOG_TRUNCATE = 4
    DB_WRITE = 8
    DB_SYNC = 16
    DB_TRUNCATE = 32
    FILE_SYNC = 64  # key files, the card, their directories
    FILE_RENAME = 128
    FILE_UNLINK = 256
    REQUEST_LEAVES = 512  # the bytes of a round are about to be handed to the system
    ANSWER_LEAVES = 1024
    ANSWER_CAME = 2048


class Action(IntEnum):
    """What happens there."""

    NONE = 0
    KILL_BEFORE = 1
    KILL_HALFWAY = 2  # of a write, the first half was done
    KILL_AFTER = 3
    FAIL = 4  # EIO, and nothing was done
    FULL = 5  # ENOSPC
    FULL_HALFWAY = 6  # ENOSPC, and the first half was written
    DONE_BUT_FAILED = 7  # it was done, and EIO is what the caller hears
    NO_GROWTH = 8  # ENOSPC for every write that would make its file longer


@dataclass(frozen=True, slots=True)
class Arm:
    """A fault to come: `action` at the `countdown`th call of those in `where`, and at `strikes` calls from there on."""

    action: Action
    where: Where
    countdown: int = 1
    strikes: int = 1


class Control:
    """The page. The campaign arms and sets the clock; the node's process reads, and writes when it strikes."""

    def __init__(self, path: Path) -> None:
        """Opens it, made of zeros if it is not there."""
        with path.open("a+b") as file:
            file.truncate(mmap.PAGESIZE)
            self._page = mmap.mmap(file.fileno(), mmap.PAGESIZE)

    def _get(self, field: str) -> int:
        value: int = _NUMBER.unpack_from(self._page, _FIELDS.index(field) * _NUMBER.size)[0]
        return value

    def _set(self, field: str, value: int) -> None:
        _NUMBER.pack_into(self._page, _FIELDS.index(field) * _NUMBER.size, value)

    # --- the clock

    @property
    def clock_ms(self) -> int:
        """How far the node's clock is ahead of the machine's."""
        return self._get("clock_ms")

    @clock_ms.setter
    def clock_ms(self, off: int) -> None:
        self._set("clock_ms", off)

    # --- the fault

    def arm(self, arm: Arm) -> None:
        """From now on."""
        self._set("strikes_left", 0)
        self._set("action", arm.action)
        self._set("where", arm.where)
        self._set("countdown", arm.countdown)
        self._set("struck", 0)
        self._set("struck_where", 0)
        self._set("strikes_left", arm.strikes)

    def disarm(self) -> None:
        """No fault any more."""
        self._set("strikes_left", 0)

    @property
    def struck(self) -> int:
        """How often the fault has struck since it was armed."""
        return self._get("struck")

    @property
    def struck_where(self) -> Where:
        """Where it did first."""
        return Where(self._get("struck_where"))

    def strikes_at(self, where: Where, *, grows: bool = False) -> Action:
        """Asked by the node's process at each such moment: what happens now. Counts."""
        if not self._get("strikes_left") or not where & self._get("where"):
            return Action.NONE
        action = Action(self._get("action"))
        if action is Action.NO_GROWTH and not grows:
            return Action.NONE
        left = self._get("countdown") - 1
        if left > 0:
            self._set("countdown", left)
            return Action.NONE
        self._set("strikes_left", self._get("strikes_left") - 1)
        if not self._get("struck"):
            self._set("struck_where", where)
        self._set("struck", self._get("struck") + 1)
        return action
