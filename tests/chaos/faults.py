"""The ten kinds of faults, and how a seed draws them. Pure: no node, no clock, no process. The same seed gives the same
faults in the same order; at which instruction of a process each of them strikes is the machine's.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from tests.chaos.control import Action, Arm, Where

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
# Both clocks may go this far in one arena: the anchors that its nodes are made with last 720 days.
MOST_DAYS = 680


class Kind(StrEnum):
    """What is done to a node."""

    KILL_RANDOM = "kill_random"
    KILL_AT_CALL = "kill_at_call"
    EIO = "eio"
    ENOSPC = "enospc"
    UNKNOWN_OUTCOME = "unknown_outcome"
    STOP = "stop"
    DISK_FULL = "disk_full"
    POWER_CUT = "power_cut"
    CLOCK_JUMP = "clock_jump"
    EXPIRY = "expiry"


class Victim(StrEnum):
    """To whom."""

    FIRST = "first"
    SECOND = "second"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `after_ms` of traffic go before it; `for_ms` it lasts, where it lasts.

    `arm` is what the victim's system calls do; with `at_start` they do it while the victim starts. `clock_ms` is where
    the victim's clock stands meanwhile, `days` how far both clocks go ahead, for good. `leaf` lets the certificate of
    its TLS end. `torn`: of what nobody synced some sectors survive. `spare_bytes`: what is left of a full disk.
    """

    kind: Kind
    victim: Victim
    after_ms: int
    for_ms: int = 0
    arm: Arm | None = None
    at_start: bool = False
    clock_ms: int = 0
    days: float = 0
    leaf: bool = False
    torn: bool = False
    spare_bytes: int = 0
    seed: int = 0


LOG = Where.LOG_WRITE | Where.LOG_SYNC
DB = Where.DB_WRITE | Where.DB_SYNC
FILES = Where.FILE_SYNC | Where.FILE_RENAME | Where.FILE_UNLINK
START = Where.LOG_TRUNCATE | Where.LOG_SYNC | DB
ROUNDS = (Where.REQUEST_LEAVES, Where.ANSWER_LEAVES, Where.ANSWER_CAME)


def draw_arena(seed: int, number: int, kinds: Sequence[Kind], length: int) -> list[Fault]:
    """The faults of one arena: each kind as often as another, in no order."""
    chance = random.Random(f"{seed}/{number}")
    drawn: list[Kind] = []
    while len(drawn) < length:
        turn = list(kinds)
        chance.shuffle(turn)
        drawn.extend(turn)
    faults: list[Fault] = []
    days = 0.0
    for kind in drawn[:length]:
        fault = draw(kind, chance)
        if days + fault.days > MOST_DAYS:
            break
        days += fault.days
        faults.append(fault)
    return faults


def draw(kind: Kind, chance: random.Random) -> Fault:
    """One fault of that kind."""
    victim = chance.choice((Victim.FIRST, Victim.SECOND))
    after_ms = chance.randint(50, 400)
    match kind:
        case Kind.KILL_RANDOM | Kind.POWER_CUT:
            torn = kind is Kind.POWER_CUT and chance.random() < 0.5
            hit = Victim.BOTH if chance.random() < 0.2 else victim
            return Fault(kind, hit, after_ms, torn=torn, seed=chance.getrandbits(32))
        case Kind.KILL_AT_CALL | Kind.EIO | Kind.ENOSPC | Kind.UNKNOWN_OUTCOME:
            return _at_call(kind, victim, after_ms, chance)
        case Kind.STOP:
            return Fault(kind, victim, after_ms, for_ms=chance.randint(100, 1500))
        case Kind.DISK_FULL:
            spare = chance.choice((0, chance.randint(1, 64) * 1024, chance.randint(64, 2048) * 1024))
            return Fault(kind, victim, after_ms, for_ms=chance.randint(300, 1200), spare_bytes=spare)
        case Kind.CLOCK_JUMP:
            return Fault(kind, victim, after_ms, for_ms=chance.randint(300, 900), clock_ms=_jump_ms(chance))
        case Kind.EXPIRY:
            leaf = chance.random() < 0.25
            return Fault(kind, victim, after_ms, leaf=leaf, days=0 if leaf else _days(chance))


_ACTIONS = {
    Kind.KILL_AT_CALL: (Action.KILL_BEFORE, Action.KILL_HALFWAY, Action.KILL_AFTER),
    Kind.EIO: (Action.FAIL,),
    Kind.ENOSPC: (Action.FULL, Action.FULL_HALFWAY),
    Kind.UNKNOWN_OUTCOME: (Action.DONE_BUT_FAILED,),
}


def _at_call(kind: Kind, victim: Victim, after_ms: int, chance: random.Random) -> Fault:
    """A call of the log, of the database, of a start, or of the making of keys, for which both clocks go ahead; or a
    round's coming and going.
    """
    action = chance.choice(_ACTIONS[kind])
    if kind is Kind.KILL_AT_CALL and chance.random() < 0.2:
        return Fault(kind, victim, after_ms, arm=Arm(Action.KILL_BEFORE, chance.choice(ROUNDS), chance.randint(1, 4)))
    place = chance.random()
    strikes = chance.choice((1, 1, 2, 5))
    # A truncation and a sync know no lack of room: SQLite hears of any trouble there as of an I/O error.
    no_room = kind is Kind.ENOSPC
    if place < 0.4:
        where = Where.LOG_WRITE if no_room else chance.choice((Where.LOG_WRITE, Where.LOG_SYNC, LOG))
        return Fault(kind, victim, after_ms, arm=Arm(action, where, chance.randint(1, 24), strikes))
    if place < 0.7:
        where = Where.DB_WRITE if no_room else chance.choice((Where.DB_WRITE, Where.DB_SYNC, DB))
        return Fault(kind, victim, after_ms, arm=Arm(action, where, chance.randint(1, 12), strikes))
    if place < 0.85:
        where = Where.DB_WRITE | Where.LOG_WRITE if no_room else START
        arm = Arm(action, where, chance.randint(1, 4 if no_room else 6), strikes)
        return Fault(kind, victim, after_ms, arm=arm, at_start=True)
    where = Where.FILE_SYNC if no_room else chance.choice((Where.FILE_SYNC, Where.FILE_RENAME, FILES))
    arm = Arm(action, where, chance.randint(1, 8), strikes)
    return Fault(kind, victim, after_ms, arm=arm, days=chance.choice((1.5, 3.0, 8.0)))


def _jump_ms(chance: random.Random) -> int:
    """Seconds to hours, ahead and behind; now and then more than a day behind, where a node admits nothing."""
    sort = chance.random()
    if sort < 0.2:
        return -chance.randint(25 * HOUR_MS, 60 * HOUR_MS)
    if sort < 0.45:
        return -chance.randint(1_000, 59_000)
    if sort < 0.6:
        return -chance.randint(60_000, 20 * HOUR_MS)
    if sort < 0.8:
        return chance.randint(1_000, 120_000)
    return chance.randint(120_000, 20 * HOUR_MS)


def _days(chance: random.Random) -> float:
    """Past one epoch key, past nearly all that are published while a message stays alive, past the node pair."""
    sort = chance.random()
    if sort < 0.5:
        return chance.uniform(1.1, 6.0)
    if sort < 0.8:
        return chance.uniform(20.0, 26.0)
    return chance.uniform(90.5, 100.0)
