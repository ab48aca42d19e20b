"""An arena: two nodes that trust each other, load in both directions, a list of faults, and the verdict at the end.

Used as `python -m tests.chaos.arena SEED NUMBER KINDS LENGTH PLACE`, under a mount namespace of its own where that can
be had; prints one JSON line. Owns the arena's life; the rules of the verdict are the checker's.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.chaos.agency import Agency, Host, until
from tests.chaos.checker import DECIDED, REACHED, Head, Posted, Shown, Violation, check
from tests.chaos.deeds import Deeds, DoesNotStartError, Outcome
from tests.chaos.faults import Fault, Kind, draw_arena
from tests.chaos.record import Answered, Load, Post, Record
from tests.processes import Children

NODES = (("ponal.co", "CO"), ("bka.de", "DE"))
SMALL_DISK_MB = 192
MEET_S = 60.0
SETTLE_S = 150.0
ALL = 10_000_000
FULL = "DiskFullError"


@dataclass(slots=True)
class Verdict:
    """What came of an arena."""

    outcomes: list[Outcome]
    violations: list[Violation]
    acknowledged: dict[str, int]  # by the kind of the fault that was the last one then
    harmed: dict[str, dict[str, int]]  # code of a violation -> kind -> messages
    posts: int
    acks: int
    expired: int
    checkpoints: int
    settled_s: float
    seconds: float
    small_disk: bool
    notes: list[str] = field(default_factory=list)


class Arena:
    """See the module. Everything of it lies in `place`."""

    def __init__(self, place: Path, faults: Sequence[Fault], seed: str) -> None:
        self._place = place
        self._faults = faults
        self._seed = seed
        self._children = Children()
        self._record = Record()
        self._small_disk = any(fault.kind is Kind.DISK_FULL for fault in faults) and can_mount()
        host = Host(self._children)
        wire = place / "checkpoints"
        self._pair = [
            Agency(host, self._children, place / name, self._disk(name), name, country, wire) for name, country in NODES
        ]
        self._deeds = Deeds(self._pair, self._record, small_disk=self._small_disk)

    def _disk(self, name: str) -> Path:
        disk = self._place / f"{name}.disk"
        disk.mkdir()
        if self._small_disk:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_MB}m", "tmpfs", disk], check=True)
        return disk

    def run(self) -> Verdict:
        """From the making of the nodes to the verdict."""
        began = time.monotonic()
        try:
            self._meet()
            load = Load(self._pair, self._record, self._seed, self._now_ms)
            load.start()
            try:
                outcomes, problem = self._strike()
            finally:
                load.stop()
            settled_s = 0.0
            if problem is None:
                settled_s, problem = self._settle()
            return self._judge(outcomes, problem, settled_s, time.monotonic() - began)
        finally:
            self._children.kill()
            if self._small_disk:
                for agency in self._pair:  # lazily: what was just killed may not have let go yet
                    subprocess.run(["umount", "--lazy", agency.disk], check=True)

    def _now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self._deeds.clock_ms

    def _meet(self) -> None:
        """Make both, start them, introduce them to each other."""
        for agency in self._pair:
            agency.make()
        for agency in self._pair:
            assert agency.start(), agency.log.read_text()[-2000:]
        for agency, other in (self._pair, reversed(self._pair)):
            card = (other.directory / "card.tocsin").read_text()
            document = agency.ask("peer_add", card=card, code=other.code)
            assert document.get("trust") == "trusted", document
        assert until(lambda: all(_meets(agency) for agency in self._pair), MEET_S), "the nodes did not meet"

    def _strike(self) -> tuple[list[Outcome], Violation | None]:
        outcomes: list[Outcome] = []
        for number, fault in enumerate(self._faults):
            self._record.fault = number
            try:
                outcomes.append(self._deeds.do(fault))
            except DoesNotStartError as error:
                return outcomes, Violation("does_not_start", f"{error} after {fault}")
        return outcomes, None

    def _settle(self) -> tuple[float, Violation | None]:
        """Until nothing is queued any more, and what people said of messages is where it belongs."""
        began = time.monotonic()
        unheard = {post.message_id for post in self._record.posts.values() if self._is_accepted(post)}

        def settled() -> bool:
            if any(_queued(agency) for agency in self._pair):
                return False
            unheard.difference_update([one for one in unheard if self._state(one) in DECIDED])
            return not unheard

        if until(settled, SETTLE_S, every=0.1):
            return time.monotonic() - began, None
        left = {agency.agency: _queued(agency) for agency in self._pair}
        detail = f"after {SETTLE_S:.0f} s: queued {left}, {len(unheard)} acks not heard"
        return time.monotonic() - began, Violation("not_settled", detail)

    def _state(self, message_id: str) -> str:
        sender = self._record.posts[message_id].sender
        agency = next(one for one in self._pair if one.agency == sender)
        return str(agency.ask("track", id=message_id)["recipients"][0]["state"])

    def _is_accepted(self, post: Post) -> bool:
        return post.accepted_until > self._now_ms()

    def _judge(self, outcomes: list[Outcome], problem: Violation | None, settled_s: float, seconds: float) -> Verdict:
        violations = [
            Violation("behaviour", f"fault {number}, {outcome.kind}: {wrong}")
            for number, outcome in enumerate(outcomes)
            for wrong in outcome.wrong
        ]
        if problem is not None:
            violations.append(problem)
        heads = read_heads(self._place / "checkpoints")
        posts = list(self._record.posts.values())
        expired = 0
        if problem is None or problem.code != "does_not_start":
            posted = [self._posted(post) for post in posts]
            shown = [self._show(agency) for agency in self._pair]
            expired = sum(state not in REACHED for one in shown for state, _ in one.sent.values())
            violations += check(posted, shown, heads)
        acknowledged: dict[str, int] = {}
        for post in posts:
            if post.answered is Answered.YES:
                kind = self._kind(post.during)
                acknowledged[kind] = acknowledged.get(kind, 0) + 1
        return Verdict(
            outcomes=outcomes,
            violations=violations,
            acknowledged=acknowledged,
            harmed=self._harmed(violations),
            posts=len(posts),
            acks=sum(post.accepted_until > 0 for post in posts),
            expired=expired,
            checkpoints=len(heads),
            settled_s=settled_s,
            seconds=seconds,
            small_disk=self._small_disk,
            notes=sorted({line for agency in self._pair for line in complaints(agency.log)}),
        )

    def _kind(self, number: int) -> str:
        return self._faults[number].kind.value if 0 <= number < len(self._faults) else "before"

    def _harmed(self, violations: Sequence[Violation]) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        for violation in violations:
            post = self._record.posts.get(violation.message_id or "")
            kind = "none" if post is None else self._kind(post.during)
            by_kind = found.setdefault(violation.code, {})
            by_kind[kind] = by_kind.get(kind, 0) + 1
        return found

    def _posted(self, post: Post) -> Posted:
        ends = datetime.fromisoformat(post.deliver_by).timestamp() * 1000 if post.deliver_by else None
        may_expire = ends < self._now_ms() if ends is not None else True
        answered, accepted = post.answered.value, self._is_accepted(post)
        return Posted(post.message_id, post.sender, post.recipient, answered, may_expire, accepted)

    def _show(self, agency: Agency) -> Shown:
        """What a node shows; after it has been stopped, the entries of its log."""
        inbox = agency.ask("inbox", limit=ALL)["messages"]
        sent = agency.ask("sent", limit=ALL)["messages"]
        log = agency.ask("log_verify")
        assert agency.stop() == 0, agency.log.read_text()[-2000:]
        return Shown(
            agency=agency.agency,
            inbox=[(row["from"], row["message_id"]) for row in inbox],
            sent={row["message_id"]: _end(row["recipients"][0]) for row in sent},
            log_ok=bool(log["ok"]),
            origin=log["origin"],
            entries=read_entries(agency.store),
        )


def _end(recipient: dict[str, Any]) -> tuple[str, str | None]:
    """State and reason. The reason of a refusal is a cause in the recipient's word."""
    return str(recipient["state"]), recipient["reason"]


def can_mount() -> bool:
    """Whether this process may mount a file system."""
    probe = ["sh", "-c", "mount -t tmpfs -o size=64k tmpfs /mnt && umount /mnt"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def read_entries(store: Path) -> list[bytes]:
    """The entries of the first generation of a stopped node's log."""
    with contextlib.closing(sqlite3.connect(store)) as connection:
        rows = connection.execute(
            "SELECT entry FROM entry WHERE position >> 40 = (SELECT number FROM log WHERE name = 'gw1/1')"
            " ORDER BY position"
        ).fetchall()
    return [row[0] for row in rows]


def read_heads(wire: Path) -> set[Head]:
    """The checkpoints that left. A last line that a kill cut short never left: it is written before the round."""
    found = set()
    for line in wire.read_text().splitlines():
        words = line.split(" ")
        if len(words) == 3 and len(words[2]) == 64:
            found.add(Head(words[0], int(words[1]), words[2]))
    return found


def complaints(log: Path) -> list[str]:
    """Lines of a node's log that tell of a bug rather than of a fault; that a disk is full is none."""
    signs = ("Traceback", "never retrieved", "operation.failed", "courier.failed")
    lines = log.read_text(errors="replace").splitlines()
    return [line[:300] for line in lines if any(sign in line for sign in signs) and FULL not in line]


def _meets(agency: Agency) -> bool:
    peers = agency.ask("status")["peers"]
    return bool(peers) and all(peer["reachable"] for peer in peers)


def _queued(agency: Agency) -> int:
    outbound = agency.ask("status")["outbound"]
    return int(outbound["queued"]) + int(outbound["in_custody"])


def main(arguments: Sequence[str]) -> None:
    """See the module."""
    seed, number, kinds, length, place = arguments
    faults = draw_arena(int(seed), int(number), [Kind(kind) for kind in kinds.split(",")], int(length))
    verdict = Arena(Path(place), faults, f"{seed}/{number}").run()
    print(json.dumps(asdict(verdict)), flush=True)  # noqa: T201 # read by the campaign


if __name__ == "__main__":
    main(sys.argv[1:])
