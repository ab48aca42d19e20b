"""`make chaos`: does any fault cost a message? Owns the campaign: how many arenas, their verdicts, the table, the exit.

    python -m tests.chaos.run [--hits N] [--seed S] [--workers N] [--only KIND[,KIND]] [--arena K] [--length N] [--keep]

Arenas are run until each kind of fault has hit so often; each of them makes two nodes, and its faults follow from the
seed and its number alone. Exit 1 on any violation; the line to run that arena again is printed with it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.faults import Kind
from tests.mounts import own_mounts
from tests.processes import Children
from tests.sqlite_door import has_door

HITS = 100
LENGTH = 25
ARENA_S = 1_800
MOST_ARENAS = 1_000
MOST_BROKEN = 4  # arenas in a row that come to no verdict: the campaign itself is broken, or the machine
SMALL_DISK_EVERY, SMALL_DISK_SHARE = 4, 5
LOST = ("lost", "ack_lost", "forgotten_by_sender", "receipt_without_message", "not_settled")
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Task:
    """One arena to be run."""

    seed: int
    number: int
    kinds: tuple[Kind, ...]
    length: int

    @property
    def again(self) -> str:
        """The command that runs it again."""
        only = "" if self.kinds == tuple(Kind) else f" --only {','.join(self.kinds)}"
        return f"make chaos ARGS='--seed {self.seed} --arena {self.number} --length {self.length}{only}'"


@dataclass(slots=True)
class Row:
    """What came of one kind."""

    faults: int = 0
    hit: int = 0
    died: int = 0
    restarted: int = 0
    acknowledged: int = 0
    lost: int = 0
    twice: int = 0
    seconds: float = 0


@dataclass(slots=True)
class Total:
    """What came of all arenas so far."""

    rows: dict[Kind, Row] = field(default_factory=lambda: {kind: Row() for kind in Kind})
    violations: int = 0
    arenas: int = 0
    posts: int = 0
    acks: int = 0
    checkpoints: int = 0
    expired: int = 0
    small_disks: int = 0
    broken: int = 0  # arenas that came to no verdict, since the last that did

    def take(self, verdict: dict[str, Any]) -> None:
        """Add an arena's verdict."""
        self.arenas += 1
        self.broken = self.broken + 1 if verdict["violations"] and not verdict["outcomes"] else 0
        self.violations += len(verdict["violations"])
        self.posts += verdict["posts"]
        self.acks += verdict["acks"]
        self.checkpoints += verdict["checkpoints"]
        self.expired += verdict["expired"]
        self.small_disks += verdict["small_disk"]
        for outcome in verdict["outcomes"]:
            row = self.rows[Kind(outcome["kind"])]
            row.faults += 1
            row.hit += outcome["hit"]
            row.died += outcome["died"]
            row.restarted += outcome["restarted"]
            row.seconds += outcome["seconds"]
        for kind, row in self.rows.items():
            row.acknowledged += verdict["acknowledged"].get(kind, 0)
            row.twice += verdict["harmed"].get("twice", {}).get(kind, 0)
            row.lost += sum(verdict["harmed"].get(code, {}).get(kind, 0) for code in LOST)


class Campaign:
    """Runs arenas, each in a process and a directory of its own."""

    def __init__(self, place: Path, children: Children, *, keep: bool) -> None:
        self._place = place
        self._children = children
        self._keep = keep
        self._prefix = own_mounts()

    def run(self, task: Task) -> dict[str, Any]:
        """One arena; its verdict. What it left is kept if something was violated."""
        place = self._place / f"{task.seed}-{task.number}"
        place.mkdir()
        argv = [
            *(*self._prefix, sys.executable, "-m", "tests.chaos.arena"),
            *(str(task.seed), str(task.number), ",".join(task.kinds), str(task.length), str(place)),
        ]
        try:
            done = self._children.run(argv, cwd=ROOT, timeout=ARENA_S)
        except subprocess.TimeoutExpired:
            return broken(f"no end within {ARENA_S} s")
        if done.returncode != 0:
            return broken(done.stderr.decode()[-2000:])
        verdict: dict[str, Any] = json.loads(done.stdout)
        if not self._keep and not verdict["violations"]:
            shutil.rmtree(place)
        return verdict


def broken(why: str) -> dict[str, Any]:
    """The verdict on an arena that came to none."""
    return {
        "outcomes": [],
        "violations": [{"code": "arena_broke", "detail": why, "message_id": None}],
        "notes": [],
        "acknowledged": {},
        "harmed": {},
        "small_disk": False,
        "posts": 0,
        "acks": 0,
        "expired": 0,
        "checkpoints": 0,
        "settled_s": 0,
        "seconds": 0,
    }


def tasks(seed: int, kinds: Sequence[Kind], length: int, hits: int, total: Total) -> Iterator[Task]:
    """One arena after the other, each of the kinds that have not hit often enough by then. Ends early when arenas only
    break.
    """
    for number in range(MOST_ARENAS):
        lacking = tuple(kind for kind in kinds if total.rows[kind].hit < hits)
        if not lacking or total.broken >= MOST_BROKEN:
            return
        yield Task(seed, number, _mixed(lacking, number), length)


def _mixed(lacking: tuple[Kind, ...], number: int) -> tuple[Kind, ...]:
    """A disk that fills up is a file system in memory, which syncs nothing: its faults share every fourth arena, and
    the others lie on the real disk.
    """
    others = tuple(kind for kind in lacking if kind is not Kind.DISK_FULL)
    if len(others) in (0, len(lacking)):
        return lacking
    return others if number % SMALL_DISK_EVERY else (*lacking, *(SMALL_DISK_SHARE * (Kind.DISK_FULL,)))


def campaign(given: argparse.Namespace) -> int:
    """Run it, print the table; the exit."""
    if not has_door():
        say("chaos: this Python's SQLite has no door for a shim (tests/sqlite_door.py): none of its calls can fail")
        return 2
    kinds = [Kind(kind) for kind in given.only.split(",")] if given.only else list(Kind)
    total, began = Total(), time.monotonic()
    children = Children()
    place = Path(tempfile.mkdtemp(prefix="tocsin-chaos-"))
    say(f"chaos: seed {given.seed}, {given.hits} hits of each of {len(kinds)} kinds, {given.workers} arenas at once")
    try:
        runner = Campaign(place, children, keep=given.keep)
        if given.arena is not None:
            todo = iter([Task(given.seed, given.arena, tuple(kinds), given.length)])
        else:
            todo = tasks(given.seed, kinds, given.length, given.hits, total)
        with ThreadPoolExecutor(given.workers) as pool:
            _run_all(runner, pool, todo, given.workers, total)
    finally:
        children.kill()
        if not given.keep and not total.violations:
            shutil.rmtree(place, ignore_errors=True)
    print_table(total, time.monotonic() - began)
    if total.violations:
        say(f"chaos: {total.violations} VIOLATIONS; what the arenas left is in {place}")
    return 1 if total.violations else 0


def _run_all(runner: Campaign, pool: ThreadPoolExecutor, todo: Iterator[Task], workers: int, total: Total) -> None:
    running: dict[Future[dict[str, Any]], Task] = {}
    while True:
        while len(running) < workers and (task := next(todo, None)) is not None:
            running[pool.submit(runner.run, task)] = task
        if not running:
            return
        ended, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in ended:
            task = running.pop(future)
            verdict = future.result()
            total.take(verdict)
            say(line(task, verdict))
            for violation in verdict["violations"][:20]:
                say(f"  {violation['code']}: {violation['detail']} {violation['message_id'] or ''}")
            for note in verdict["notes"]:
                say(f"  log: {note}")
            if verdict["violations"]:
                say(f"  again: {task.again}")


def line(task: Task, verdict: dict[str, Any]) -> str:
    """One arena in one line."""
    hit = sum(outcome["hit"] for outcome in verdict["outcomes"])
    wrong = len(verdict["violations"])
    return (
        f"arena {task.seed}/{task.number}: {hit} of {len(verdict['outcomes'])} faults hit, {verdict['posts']} posts, "
        f"{verdict['checkpoints']} checkpoints, {verdict['expired']} expired, settled in {verdict['settled_s']:.1f} s, "
        f"{verdict['seconds']:.0f} s: " + (f"{wrong} VIOLATIONS" if wrong else "ok")
    )


def print_table(total: Total, seconds: float) -> None:
    """The table of docs/reliability.md."""
    names = ("kind", "faults", "hit", "node died", "restarted", "posts acknowledged", "lost", "twice", "seconds")
    say(f"| {' | '.join(names)} |")
    say(f"|---|{'---:|' * (len(names) - 1)}")
    whole = Row()
    for kind, row in total.rows.items():
        if row.faults:
            say(_table_row(kind, row))
        for column in Row.__dataclass_fields__:
            setattr(whole, column, getattr(whole, column) + getattr(row, column))
    say(_table_row("all", whole))
    hits = Counter({kind: row.hit for kind, row in total.rows.items() if row.faults})
    say(
        f"chaos: {total.arenas} arenas ({total.small_disks} on small disks), {whole.hit} hits, at least "
        f"{min(hits.values(), default=0)} of each kind; {total.posts} posts, {total.expired} of them expired; "
        f"{total.acks} acks; {total.checkpoints} checkpoints left; {total.violations} violations; {seconds:.0f} s"
    )


def _table_row(name: str, row: Row) -> str:
    return (
        f"| {name} | {row.faults} | {row.hit} | {row.died} | {row.restarted} | {row.acknowledged} | {row.lost} "
        f"| {row.twice} | {row.seconds:.0f} |"
    )


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make chaos")
    parser.add_argument("--hits", type=int, default=HITS, help=f"of each kind; default {HITS}")
    parser.add_argument("--seed", type=int, default=61179)
    parser.add_argument("--workers", type=int, default=2, help="arenas at once")
    parser.add_argument("--only", default="", help="kinds, with commas between: " + " ".join(Kind))
    parser.add_argument("--arena", type=int, help="run this one arena of the seed and no other")
    parser.add_argument("--length", type=int, default=LENGTH, help=f"faults of an arena; default {LENGTH}")
    parser.add_argument("--keep", action="store_true", help="keep what the arenas leave")
    given = parser.parse_args(arguments)
    try:
        [Kind(kind) for kind in given.only.split(",") if kind]
    except ValueError as problem:
        parser.error(str(problem))
    return given


def say(text: str) -> None:
    """To whoever runs it."""
    print(text, flush=True)  # noqa: T201 - what `make chaos` is for


if __name__ == "__main__":
    sys.exit(campaign(parse(None)))
