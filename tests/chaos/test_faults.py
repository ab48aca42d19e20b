"""What a seed draws, and what each action of a fault does to a disk."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.chaos.control import Action, Arm, Control, Where
from tests.chaos.disk import SQLITE_FULL, FaultyDisk
from tests.chaos.faults import MOST_DAYS, Kind, draw_arena
from tests.chaos.run import MOST_BROKEN, Total, broken, tasks
from tests.power_cut import Keeper, cut
from tests.sqlite_door import OK, Call, Request

SEEDS = range(40)


def test_a_seed_draws_the_same_faults_again() -> None:
    assert draw_arena(7, 3, list(Kind), 50) == draw_arena(7, 3, list(Kind), 50)
    assert draw_arena(7, 3, list(Kind), 50) != draw_arena(7, 4, list(Kind), 50)


def test_each_kind_is_drawn_as_often_as_another() -> None:
    for seed in SEEDS:
        drawn = Counter(fault.kind for fault in draw_arena(seed, 0, list(Kind), 20))
        assert set(drawn.values()) == {2}, drawn


def test_no_arena_outlives_the_anchors_of_its_nodes() -> None:
    for seed in SEEDS:
        faults = draw_arena(seed, 0, [Kind.EXPIRY], 100)
        assert 5 <= len(faults) < 100
        assert sum(fault.days for fault in faults) <= MOST_DAYS


def test_a_campaign_whose_arenas_only_break_ends_and_one_of_them_counts_as_a_violation() -> None:
    total = Total()
    begun = 0
    for _ in tasks(7, list(Kind), 25, 100, total):
        begun += 1
        total.take(broken("no end"))
    assert (begun, total.violations) == (MOST_BROKEN, MOST_BROKEN)


class Store:
    """A file on a faulty disk, and a page that says when it fails."""

    def __init__(self, place: Path) -> None:
        self.path = place / "store" / "node.db"
        self.kept = place / "kept"
        self.path.parent.mkdir()
        self.kept.mkdir()
        self.path.write_bytes(b"")
        self.control = Control(place / "control")
        self.begin_anew()

    def begin_anew(self) -> None:
        """Another process opens it."""
        self.disk = FaultyDisk(self.control, Keeper(self.kept))

    def write(self, offset: int, data: bytes) -> int:
        def part(length: int) -> int:
            with self.path.open("r+b") as file:
                file.seek(offset)
                file.write(data[:length])
            return OK

        return self.disk.guard(
            Request(Call.WRITE, self.path, lambda: part(len(data)), offset, len(data), lambda: data, part)
        )

    def sync(self) -> int:
        return self.disk.guard(Request(Call.SYNC, self.path, lambda: OK))

    def after_a_cut(self, chance: random.Random | None = None) -> bytes:
        cut(self.path, self.kept, chance)
        return self.path.read_bytes()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_after_a_power_cut_there_is_what_was_synced(store: Store) -> None:
    store.write(0, b"one")
    store.sync()
    store.write(3, b"two")
    store.sync()
    store.write(0, b"THREE")

    assert store.path.read_bytes() == b"THREEo"
    assert store.after_a_cut() == b"onetwo"


def test_a_sync_takes_what_an_earlier_process_left_unsynced(store: Store) -> None:
    store.write(0, b"one")
    store.begin_anew()
    store.write(3, b"two")
    store.sync()

    assert store.after_a_cut() == b"onetwo"


def test_a_torn_file_is_made_of_sectors_of_before_and_after(store: Store) -> None:
    store.write(0, bytes(512 * 64))
    store.sync()
    store.write(0, b"x" * 512 * 64)

    found = store.after_a_cut(random.Random(1))

    sectors = {found[at : at + 512] for at in range(0, len(found), 512)}
    assert sectors == {bytes(512), b"x" * 512}


def test_what_a_failed_sync_dropped_no_later_sync_makes_durable(store: Store) -> None:
    store.write(0, b"one")
    store.sync()
    store.write(3, b"two")
    store.control.arm(Arm(Action.FAIL, Where.DB_SYNC))
    assert store.sync() != OK
    assert store.sync() == OK
    store.begin_anew()
    store.write(6, b"three")
    assert store.sync() == OK

    assert store.path.read_bytes() == b"onetwothree"
    assert store.after_a_cut() == b"one\0\0\0three"


def test_what_was_dropped_and_is_written_again_is_durable(store: Store) -> None:
    store.write(0, b"one")
    store.sync()
    store.write(3, b"two")
    store.control.arm(Arm(Action.FAIL, Where.DB_SYNC))
    store.sync()
    store.begin_anew()
    store.write(3, b"two")
    store.sync()

    assert store.after_a_cut() == b"onetwo"


@pytest.mark.parametrize(
    ("action", "code", "left"),
    [
        (Action.FAIL, 778, b""),
        (Action.FULL, SQLITE_FULL, b""),
        (Action.FULL_HALFWAY, SQLITE_FULL, b"on"),
        (Action.NO_GROWTH, SQLITE_FULL, b""),
        (Action.DONE_BUT_FAILED, 778, b"once"),
    ],
)
def test_a_write_fails_as_it_is_armed_to_and_only_then(store: Store, action: Action, code: int, left: bytes) -> None:
    store.control.arm(Arm(action, Where.DB_WRITE, countdown=1))
    assert store.write(0, b"once") == code
    assert store.path.read_bytes() == left
    assert (store.control.struck, store.control.struck_where) == (1, Where.DB_WRITE)
    assert store.write(0, b"then") == OK


def test_the_countdown_counts_the_calls_that_are_meant(store: Store) -> None:
    store.control.arm(Arm(Action.FAIL, Where.DB_SYNC, countdown=2, strikes=2))
    said = [store.write(0, b"a"), store.sync(), store.write(1, b"b"), store.sync(), store.sync(), store.sync()]
    assert [code == OK for code in said] == [True, True, True, False, False, True]


@pytest.mark.parametrize("action", [Action.KILL_BEFORE, Action.KILL_AFTER])
def test_a_process_dies_at_a_call_that_has_nothing_to_do(tmp_path: Path, action: Action) -> None:
    script = (
        "import os, sys; from pathlib import Path; from tests.chaos.disk import install\n"
        "from tests.chaos.control import *\n"
        "control = Control(Path(sys.argv[1])); install(control, Path(sys.argv[2]))\n"
        "control.arm(Arm(Action[sys.argv[3]], Where.FILE_UNLINK)); Path(sys.argv[4]).unlink(missing_ok=True)"
    )
    places = (str(tmp_path / "control"), str(tmp_path), action.name, str(tmp_path / "nothing"))

    assert subprocess.run([sys.executable, "-c", script, *places], check=False).returncode == -9


@pytest.mark.parametrize(("action", "left"), [("KILL_BEFORE", b""), ("KILL_HALFWAY", b"on"), ("KILL_AFTER", b"once")])
def test_a_process_dies_at_the_very_call(tmp_path: Path, action: str, left: bytes) -> None:
    script = (
        "import sys; from pathlib import Path; from tests.chaos.test_faults import *\n"
        "store = Store(Path(sys.argv[1])); store.control.arm(Arm(Action[sys.argv[2]], Where.DB_WRITE))\n"
        "store.write(0, b'once')"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path, action], check=False)

    assert done.returncode == -9
    assert (tmp_path / "store" / "node.db").read_bytes() == left
    assert Control(tmp_path / "control").struck == 1
