"""A node's directory: its modes, its lock, and files that are there whole or not at all."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from nodes.directory import DirectoryLock, Layout, check_directory, create_directory, layout_of, write_whole
from nodes.errors import (
    AlreadyRunningError,
    ConfigError,
    DirectoryPermissionsError,
    DiskFullError,
    NodeError,
    OperationError,
)
from tests.processes import Children


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = create_directory(tmp_path / "node")
    made.config_file.write_text("")
    return made


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_directory_has_its_modes_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        layout = create_directory(tmp_path / "a" / "b")
    finally:
        os.umask(before)
    assert [mode(path) for path in (layout.root, layout.run, layout.keys, layout.store)] == [0o711, 0o711, 0o700, 0o700]


def test_a_directory_with_something_in_it_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("")
    with pytest.raises(OperationError) as refused:
        create_directory(tmp_path)
    assert (refused.value.code, refused.value.exit) == ("exists", 73)
    assert [path.name for path in tmp_path.iterdir()] == ["letter"]


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for directory in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OperationError) as refused:
            create_directory(directory)
        assert refused.value.code == "exists"


def test_a_good_directory_passes(layout: Layout) -> None:
    assert check_directory(layout.root) == layout


def test_a_relative_path_is_the_same_directory(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(layout.root.parent)
    assert check_directory("node") == layout_of("node/") == layout


def test_a_directory_that_is_none_is_named(tmp_path: Path) -> None:
    for directory in (tmp_path / "gone", tmp_path):
        with pytest.raises(ConfigError) as refused:
            check_directory(directory)
        assert (refused.value.rule, refused.value.exit) == ("missing", 78)


@pytest.mark.parametrize("name", ["keys", "store"])
def test_a_part_that_is_missing_is_named(name: str, layout: Layout) -> None:
    (layout.root / name).rmdir()
    with pytest.raises(ConfigError) as refused:
        check_directory(layout.root)
    assert refused.value.path == str(layout.root / name)


def test_a_restored_directory_needs_no_run(layout: Layout) -> None:
    layout.run.rmdir()
    check_directory(layout.root)
    assert mode(layout.run) & 0o711 == 0o711 & ~_umask()


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


@pytest.mark.parametrize(
    ("name", "found"),
    [("keys", 0o750), ("keys", 0o701), ("store", 0o755), (".", 0o771), (".", 0o713), ("run", 0o777)],
)
def test_modes_that_let_others_in_stop_the_start(name: str, found: int, layout: Layout) -> None:
    (layout.root / name).chmod(found)
    with pytest.raises(DirectoryPermissionsError) as refused:
        check_directory(layout.root)
    assert (refused.value.code, refused.value.exit) == ("key_file_permissions", 78)
    assert mode(layout.root / name) == found


@pytest.mark.parametrize("found", [0o700, 0o755, 0o751])
def test_modes_that_keep_others_from_the_socket_are_opened(found: int, layout: Layout) -> None:
    for path in (layout.root, layout.run):
        path.chmod(found)
    check_directory(layout.root)
    for path in (layout.root, layout.run):
        assert mode(path) == found | 0o711


# --- the lock ---------------------------------------------------------------------------------------------------------

HOLDER = """
import sys
from nodes.directory import DirectoryLock, layout_of
lock = DirectoryLock(layout_of(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_process_learns_the_first_one_s_pid_and_a_killed_one_leaves_no_lock(
    layout: Layout, children: Children
) -> None:
    holder = children.start([sys.executable, "-c", HOLDER, layout.root], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(AlreadyRunningError) as refused:
        DirectoryLock(layout)
    assert (refused.value.pid, refused.value.exit) == (holder.pid, 78)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with DirectoryLock(layout):
        assert layout.lock.read_text() == f"{os.getpid()}\n"


def test_a_lock_that_was_given_back_can_be_taken(layout: Layout) -> None:
    lock = DirectoryLock(layout)
    lock.release()
    lock.release()
    with DirectoryLock(layout), pytest.raises(AlreadyRunningError):
        DirectoryLock(layout)


def test_a_process_that_has_not_yet_said_its_pid_is_a_process_all_the_same(layout: Layout) -> None:
    with DirectoryLock(layout):
        layout.lock.write_bytes(b"")
        with pytest.raises(AlreadyRunningError) as refused:
            DirectoryLock(layout)
    assert refused.value.pid is None


def test_a_child_does_not_keep_the_lock(layout: Layout, children: Children) -> None:
    with DirectoryLock(layout):
        children.start(["tail", "-f", "/dev/null"])
    DirectoryLock(layout).release()


def test_a_lock_that_is_a_link_is_not_followed(layout: Layout) -> None:
    victim = layout.root / "victim"
    victim.write_text("precious")
    layout.lock.symlink_to(victim)
    with pytest.raises(ConfigError):
        DirectoryLock(layout)
    assert victim.read_text() == "precious"


# --- whole files ------------------------------------------------------------------------------------------------------


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "card.tocsin"
    write_whole(path, b"one")
    write_whole(path, b"two", mode=0o600)
    assert path.read_bytes() == b"two"
    assert mode(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("broken", ["fsync", "rename", "fchmod"])
def test_a_write_that_fails_leaves_the_old_file(broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "card.tocsin"
    write_whole(path, b"old")

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(OperationError) as refused:
        write_whole(path, b"new")
    assert refused.value.code == "io_error"
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DiskFullError) as refused:
        write_whole(tmp_path / "card.tocsin", b"new")
    assert (refused.value.code, refused.value.exit) == ("disk_low", 74)


def test_a_place_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(NodeError):
        write_whole(tmp_path / "gone" / "card.tocsin", b"new")
