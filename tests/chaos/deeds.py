"""How each kind of fault is done to a running pair of nodes, and whether it hit. Owns the deeds; which of them, when
and to whom is drawn elsewhere (tests/chaos/faults.py).

A fault counts only when it hit: the process died, a call failed, time stood still or moved while requests were under
way. After each deed both nodes run again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from threading import Event

from cryptography import x509

from keys.certificates import LEAF_LIFE_DAYS, make_tls_leaf
from keys.epochs import PUBLISH_AHEAD
from keys.ids import parse_agency_id
from keys.keystore import KeyStore
from nodes.errors import NodeError
from tests.chaos.agency import PASSPHRASE, Agency, until
from tests.chaos.control import Action, Arm, Where
from tests.chaos.faults import DAY_MS, Fault, Kind, Victim
from tests.chaos.record import YES, Record
from tests.power_cut import begin_to_keep, cut

STRIKES_S = 3.0  # a call that is not made in this time is not waited for
EXITS_S = 20.0
HEALS_S = 30.0
STARTS = 5
LEAF_LIVES_MS = 1_200
BALLAST = "ballast"
CLOCK_READ_ONLY_MS = -24 * 3_600_000
SQLITE_CALLS = (
    Where.LOG_WRITE | Where.LOG_SYNC | Where.LOG_TRUNCATE | Where.DB_WRITE | Where.DB_SYNC | Where.DB_TRUNCATE
)
ENDS_BY_ITSELF = (Kind.EIO, Kind.ENOSPC, Kind.UNKNOWN_OUTCOME, Kind.DISK_FULL)


class DoesNotStartError(AssertionError):
    """A node that does not start again, though nothing stands in its way any more."""


@dataclass(slots=True)
class Outcome:
    """What came of one fault."""

    kind: Kind
    hit: bool = False
    died: int = 0
    restarted: int = 0
    seconds: float = 0
    notes: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)  # the node did what it must not do


class Deeds:
    """Does faults to two nodes."""

    def __init__(self, pair: Sequence[Agency], record: Record, *, small_disk: bool) -> None:
        self._pair = tuple(pair)
        self._record = record
        self._small_disk = small_disk
        self._clock_ms = 0
        self._deeds: dict[Kind, Callable[[Fault, Outcome], None]] = {
            Kind.KILL_RANDOM: self._kill,
            Kind.KILL_AT_CALL: self._strike,
            Kind.EIO: self._strike,
            Kind.ENOSPC: self._strike,
            Kind.UNKNOWN_OUTCOME: self._strike,
            Kind.STOP: self._stop,
            Kind.DISK_FULL: self._fill,
            Kind.POWER_CUT: self._cut,
            Kind.CLOCK_JUMP: self._jump,
            Kind.EXPIRY: self._expire,
        }

    @property
    def clock_ms(self) -> int:
        """How far both clocks are ahead by now."""
        return self._clock_ms

    def do(self, fault: Fault) -> Outcome:
        """One fault, after its share of traffic. Raises DoesNotStartError."""
        outcome = Outcome(fault.kind)
        started = time.monotonic()
        Event().wait(fault.after_ms / 1000)
        try:
            self._deeds[fault.kind](fault, outcome)
        finally:
            for victim in self._pair:
                victim.control.disarm()
                victim.control.clock_ms = self._clock_ms
        for agency in self._pair:
            if not agency.runs:
                self._judge_death(agency, fault, outcome)
                self._start(agency, outcome)
        outcome.seconds = time.monotonic() - started
        return outcome

    def _judge_death(self, agency: Agency, fault: Fault, outcome: Outcome) -> None:
        """A node that is gone, and nobody has looked at it yet, ended by itself: only for want of a disk it may."""
        if agency.pid is None:
            return
        status = agency.ended()
        outcome.died += 1
        outcome.notes.append(f"ends with {status}")
        if fault.kind not in ENDS_BY_ITSELF or agency not in self._victims(fault) or status is None or status <= 0:
            outcome.wrong.append(f"{agency.agency} ended with {status} after {fault.kind}")

    def _victims(self, fault: Fault) -> tuple[Agency, ...]:
        match fault.victim:
            case Victim.FIRST:
                return self._pair[:1]
            case Victim.SECOND:
                return self._pair[1:]
            case Victim.BOTH:
                return self._pair

    def _start(self, victim: Agency, outcome: Outcome) -> None:
        """Start it until it runs: a fault that it was still armed with may have one start more."""
        for _ in range(STARTS):
            if victim.start():
                outcome.restarted += 1
                return
        raise DoesNotStartError(f"{victim.agency} ends at its start with {victim.exits[-STARTS:]}")

    # --- it dies

    def _kill(self, fault: Fault, outcome: Outcome) -> None:
        victims = [victim for victim in self._victims(fault) if victim.runs]
        for victim in victims:
            victim.kill()
        outcome.hit, outcome.died = bool(victims), len(victims)

    def _cut(self, fault: Fault, outcome: Outcome) -> None:
        """The process is gone, and so is what it wrote and did not sync."""
        self._kill(fault, outcome)
        for number, victim in enumerate(self._victims(fault)):
            cut(victim.store, victim.kept, random.Random(f"{fault.seed}/{number}") if fault.torn else None)
            begin_to_keep(victim.store, victim.kept)

    # --- a call fails

    def _strike(self, fault: Fault, outcome: Outcome) -> None:
        (victim,) = self._victims(fault)
        assert fault.arm is not None
        if fault.at_start:
            victim.kill()
            victim.control.arm(fault.arm)
            if victim.start():
                outcome.restarted += 1
        else:
            victim.control.arm(fault.arm)
            self._move_clocks(fault.days)
        outcome.hit = until(lambda: victim.control.struck > 0, STRIKES_S)
        if outcome.hit:
            outcome.notes.append(f"{fault.arm.action.name.lower()} {victim.control.struck_where.name}")
            self._judge_strike(fault.arm, victim, outcome)
        victim.control.disarm()
        if fault.days and victim.runs and not until(lambda: _epochs_ahead(victim) >= PUBLISH_AHEAD, HEALS_S, every=0.1):
            outcome.wrong.append(f"{victim.agency} publishes no keys any more")

    def _judge_strike(self, arm: Arm, victim: Agency, outcome: Outcome) -> None:
        """A process that was killed is gone. One whose store failed must go, and say so by its exit. One whose disk was
        full may stay.
        """
        killed = arm.action in (Action.KILL_BEFORE, Action.KILL_HALFWAY, Action.KILL_AFTER)
        failed = arm.action in (Action.FAIL, Action.DONE_BUT_FAILED) and victim.control.struck_where & SQLITE_CALLS
        if killed or failed:
            status = victim.ended(EXITS_S)
            outcome.died += status is not None
            if status is None:
                outcome.wrong.append(f"{victim.agency} outlives {outcome.notes[-1]}")
            elif failed and status <= 0:
                outcome.wrong.append(f"{victim.agency} ended with {status} after its disk failed")
        else:
            until(lambda: victim.control.struck >= arm.strikes or not victim.runs, 0.5)

    # --- time stands still

    def _stop(self, fault: Fault, outcome: Outcome) -> None:
        (victim,) = self._victims(fault)
        before = self._record.count(victim.agency)
        victim.signal(SIGSTOP)
        try:
            Event().wait(fault.for_ms / 1000)
            outcome.hit = self._record.in_flight[victim.agency] > 0 or self._record.count(victim.agency) > before
        finally:
            victim.signal(SIGCONT)

    # --- there is no room

    def _fill(self, fault: Fault, outcome: Outcome) -> None:
        (victim,) = self._victims(fault)
        before = self._record.count(victim.agency, "disk_low", "io_error", "lost", "node_not_running")
        with self._full(victim, fault.spare_bytes):
            deadline = time.monotonic() + STRIKES_S
            Event().wait(fault.for_ms / 1000)
            outcome.hit = until(
                lambda: (
                    not victim.runs
                    or self._record.count(victim.agency, "disk_low", "io_error", "lost", "node_not_running") > before
                ),
                deadline - time.monotonic(),
            )
        if victim.runs:
            self._heals(victim, outcome)

    @contextmanager
    def _full(self, victim: Agency, spare_bytes: int) -> Iterator[None]:
        if not self._small_disk:
            victim.control.arm(Arm(Action.NO_GROWTH, Where.LOG_WRITE | Where.DB_WRITE, strikes=1_000_000))
            yield
            victim.control.disarm()
            return
        ballast = victim.disk / BALLAST
        fill(ballast, spare_bytes)
        try:
            yield
        finally:
            ballast.unlink()

    def _heals(self, victim: Agency, outcome: Outcome) -> None:
        """What was wrong is over: it must take posts again by itself."""
        before = self._record.count(victim.agency, YES)
        if not until(lambda: self._record.count(victim.agency, YES) > before or not victim.runs, HEALS_S):
            outcome.wrong.append(f"{victim.agency} takes no posts again after {outcome.kind}")

    # --- clocks

    def _jump(self, fault: Fault, outcome: Outcome) -> None:
        (victim,) = self._victims(fault)
        behind = self._record.count(victim.agency, "clock_behind_log")
        others = self._record.count(victim.agency)
        victim.control.clock_ms = self._clock_ms + fault.clock_ms
        Event().wait(fault.for_ms / 1000)
        if fault.clock_ms <= CLOCK_READ_ONLY_MS - 3_600_000:
            outcome.hit = until(lambda: self._record.count(victim.agency, "clock_behind_log") > behind, STRIKES_S)
            if not outcome.hit and victim.runs:
                outcome.wrong.append(f"{victim.agency} is a day behind its log and takes posts")
        else:
            outcome.hit = until(lambda: self._record.count(victim.agency) > others, STRIKES_S)
        victim.control.clock_ms = self._clock_ms
        self._heals(victim, outcome)

    def _move_clocks(self, days: float) -> None:
        """Both ahead, for good."""
        self._clock_ms += int(days * DAY_MS)
        for agency in self._pair:
            agency.control.clock_ms = self._clock_ms

    # --- keys and certificates end

    def _expire(self, fault: Fault, outcome: Outcome) -> None:
        if fault.leaf:
            self._expire_leaf(fault, outcome)
            return
        before = [_keys(agency) for agency in self._pair]
        self._move_clocks(fault.days)
        renewed = until(
            lambda: all(_renewed(old, _keys(agency)) for old, agency in zip(before, self._pair, strict=True)),
            HEALS_S,
            every=0.1,
        )
        after = [_keys(agency) for agency in self._pair]
        outcome.hit = any(_renewed(old, new) for old, new in zip(before, after, strict=True))
        changed = sum(new[0] - old[0] for old, new in zip(before, after, strict=True))
        epochs = sum(new[1] - old[1] for old, new in zip(before, after, strict=True))
        destroyed = sum(new[2] - old[2] for old, new in zip(before, after, strict=True))
        outcome.notes.append(f"{changed} pairs, {epochs} epoch keys, {destroyed} destroyed")
        if not renewed:
            outcome.wrong.append(f"keys are not renewed {fault.days:.1f} days on")

    def _expire_leaf(self, fault: Fault, outcome: Outcome) -> None:
        """The victim's certificate ends while it is in use; then both sides must meet anew, each as the caller."""
        (victim,) = self._victims(fault)
        other = next(agency for agency in self._pair if agency is not victim)
        victim.kill()
        keys = KeyStore.open(victim.directory / "keys", PASSPHRASE)
        tls = keys.load_tls()
        now = time.time_ns() // 1_000_000
        born = now + LEAF_LIVES_MS - LEAF_LIFE_DAYS * DAY_MS
        leaf, leaf_key = make_tls_leaf(parse_agency_id(victim.agency), tls.root_cert, tls.root_key, born)
        keys.save_tls(tls.root_key, tls.root_cert, leaf_key, leaf)
        self._start(victim, outcome)
        until(lambda: not _is_valid(victim.directory / "keys"), LEAF_LIVES_MS / 1000 + 1)
        other.kill()
        self._start(other, outcome)
        outcome.died = 2
        before = [self._record.count(agency.agency, YES) for agency in self._pair]
        outcome.hit = not _is_valid(victim.directory / "keys") and until(
            lambda: all(
                self._record.count(agency.agency, YES) > old for agency, old in zip(self._pair, before, strict=True)
            ),
            STRIKES_S,
        )
        outcome.notes.append("leaf")
        if not until(lambda: all(_meets(agency) for agency in self._pair), HEALS_S, every=0.1):
            outcome.wrong.append(f"nobody reaches {victim.agency} after its certificate ended")


def fill(ballast: Path, spare_bytes: int) -> None:
    """Take all room of a file system but so many bytes."""
    with ballast.open("wb", buffering=0) as file:
        piece = bytes(1 << 20)
        while piece:
            try:
                while file.write(piece) == len(piece):
                    pass
            except OSError:
                pass
            piece = piece[: len(piece) // 2]
        file.truncate(max(0, file.tell() - spare_bytes))


def _keys(agency: Agency) -> tuple[int, int, int]:
    """Changes of the node pair, last epoch key, epoch keys destroyed; zeros of a node that does not answer."""
    try:
        status = agency.ask("keys_status")
    except NodeError:
        return (0, 0, 0)
    return status["node"]["changes"], status["epoch"]["last"], status["epoch"]["destroyed"]


def _epochs_ahead(agency: Agency) -> int:
    try:
        return int(agency.ask("keys_status")["epoch"]["ahead"])
    except NodeError:
        return 0


def _renewed(old: tuple[int, int, int], new: tuple[int, int, int]) -> bool:
    return new[0] > old[0] or new[1] > old[1]


def _meets(agency: Agency) -> bool:
    try:
        return all(peer["reachable"] for peer in agency.ask("status")["peers"])
    except NodeError:
        return False


def _is_valid(keys: Path) -> bool:
    """Whether the machine's clock, which TLS goes by, is before the end of the leaf that lies there."""
    pem = (keys / "tls-leaf.pem").read_bytes()
    return x509.load_pem_x509_certificate(pem).not_valid_after_utc.timestamp() > time.time()
