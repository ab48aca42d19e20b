"""Acknowledged means on disk (promise P1): what a process was told is there after its death, whatever ended it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nodes.store.sqlite import SqliteStore
from tests.mounts import own_mounts
from tests.power_cut import can_be_cut, cut
from tests.processes import Children
from tests.store.rows import OURS, message_id

pytestmark = pytest.mark.usefixtures("every_store_is_closed")
ROOT = Path(__file__).resolve().parents[2]
CRASH = [sys.executable, "-m", "tests.store.crash"]


async def numbers_in(path: Path) -> list[int]:
    """The messages of an undamaged store whose log holds an entry for each."""
    store = await SqliteStore.open(path, create=False)
    try:
        await store.quick_check()
        rows = await store.shown_after(0, 1_000_000)
        (log,) = (await store.startup()).logs
        assert await store.entries("gw1/1", 0, 1_000_000) == [b"%d" % (number + 1) for number in range(log.size)]
        assert [row.message_id for row in rows] == [message_id(number + 1) for number in range(log.size)]
        assert all(row.sender == OURS for row in rows)
        return list(range(1, log.size + 1))
    finally:
        await store.close()


def wal_bytes(path: Path) -> int:
    return Path(f"{path}-wal").stat().st_size


@pytest.mark.parametrize("commits", [1, 7, 60])
async def test_a_killed_process_loses_no_commit_that_returned(tmp_path: Path, children: Children, commits: int) -> None:
    child = children.start([*CRASH, "forever", tmp_path / "store.db"], cwd=ROOT, stdout=subprocess.PIPE)
    assert child.stdout is not None
    said = [int(child.stdout.readline()) for _ in range(commits)]
    child.kill()
    said += [int(line) for line in child.stdout.read().splitlines()]
    child.wait()
    assert wal_bytes(tmp_path / "store.db") > 0
    found = await numbers_in(tmp_path / "store.db")
    assert said == list(range(1, len(said) + 1))
    # The one that was under way may have become durable: it was never answered either way.
    assert len(said) <= len(found) <= len(said) + 1


@pytest.mark.skipif(not can_be_cut(), reason="this Python's SQLite has no door for a shim: a power cut was not tried")
@pytest.mark.parametrize("commits", [1, 7, 60])
async def test_a_power_cut_loses_no_commit_that_returned(tmp_path: Path, children: Children, commits: int) -> None:
    path, kept = tmp_path / "store.db", tmp_path / "kept"
    kept.mkdir()
    child = children.start([*CRASH, "power_cut", path], cwd=ROOT, stdout=subprocess.PIPE)
    assert child.stdout is not None
    said = [int(child.stdout.readline()) for _ in range(commits)]
    child.kill()
    said += [int(line) for line in child.stdout.read().splitlines()]
    child.wait()
    cut(path, kept)
    found = await numbers_in(path)
    assert said == list(range(1, len(said) + 1))
    assert len(said) <= len(found) <= len(said) + 1


async def test_a_file_that_may_not_grow_is_a_failed_disk_and_loses_nothing(tmp_path: Path, children: Children) -> None:
    done = children.run([*CRASH, "file_size_limit", tmp_path / "store.db"], cwd=ROOT)
    assert done.returncode == 0
    *said, error, after = done.stdout.decode().split()
    assert (error, after) == ("FatalError", "FatalError")
    assert len(said) > 3
    assert await numbers_in(tmp_path / "store.db") == [int(number) for number in said]


async def test_a_full_disk_loses_nothing_and_the_process_goes_on_when_there_is_room(
    tmp_path: Path, children: Children
) -> None:
    disk, kept = tmp_path / "disk", tmp_path / "kept"
    disk.mkdir()
    kept.mkdir()
    script = (
        'mount -t tmpfs -o size=1m tmpfs "$1" && "$2" -m tests.store.crash full_disk "$1/store.db" && cp "$1"/* "$3"'
    )
    mounts = own_mounts()
    if not mounts:
        pytest.skip("no mount namespace: a disk that fills up was not tried")
    command: list[str | Path] = [*mounts, "sh", "-c", script, "sh", disk, sys.executable, kept]
    done = children.run(command, cwd=ROOT)
    assert done.returncode == 0
    words = done.stdout.decode().split()
    first_failure = words.index("DiskFullError")
    said = [int(word) for word in words if word != "DiskFullError"]
    assert words.count("DiskFullError") == 2
    assert 3 < first_failure < len(said)
    assert said == list(range(1, len(said) + 1))
    assert await numbers_in(kept / "store.db") == said


async def test_what_a_dead_process_left_in_the_log_is_in_the_database_before_anything_new(
    tmp_path: Path, children: Children
) -> None:
    path = tmp_path / "store.db"
    child = children.start([*CRASH, "forever", path], cwd=ROOT, stdout=subprocess.PIPE)
    assert child.stdout is not None
    said = [int(child.stdout.readline()) for _ in range(9)]
    child.kill()
    child.wait()
    store = await SqliteStore.open(path, create=False)
    try:
        assert wal_bytes(path) == 0
        copy = tmp_path / "copy.db"
        shutil.copyfile(path, copy)
    finally:
        await store.close()
    assert len(await numbers_in(copy)) >= len(said)
