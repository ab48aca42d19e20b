"""A node's directory: its layout, its modes, its lock, whole-file writes. Knows nothing of what the files say.

Imports nothing slow: the command line needs the socket's place before anything else (docs/CLI.md §3, "DIR layout").
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from nodes.errors import AlreadyRunningError, ConfigError, DirectoryPermissionsError, DiskFullError, OperationError

PASSABLE = 0o711  # other uids reach the socket through it and list nothing
PRIVATE = 0o700
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything of a node lies. `root` is absolute."""

    root: Path

    @property
    def config_file(self) -> Path:
        return self.root / "node.toml"

    @property
    def card(self) -> Path:
        return self.root / "card.tocsin"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def socket(self) -> Path:
        return self.run / "node.sock"

    @property
    def lock(self) -> Path:
        return self.run / "lock"

    def modes(self) -> tuple[tuple[Path, int], ...]:
        """Each directory with the mode it must have."""
        return ((self.root, PASSABLE), (self.run, PASSABLE), (self.keys, PRIVATE), (self.store, PRIVATE))


def layout_of(directory: str | os.PathLike[str]) -> Layout:
    """The layout of a directory, which need not exist."""
    return Layout(Path(os.path.abspath(directory)))


def create_directory(directory: str | os.PathLike[str]) -> Layout:
    """Make an empty node directory with the right modes, whatever the umask; parents are made too.

    Raises:
        OperationError: `exists` when something is there that is no empty directory, `io_error` when it cannot be made.
    """
    layout = layout_of(directory)
    try:
        layout.root.mkdir(parents=True, exist_ok=True)
        if any(layout.root.iterdir()):
            raise OperationError("exists", f"{layout.root} is not empty", "name a new directory, or empty this one")
        for path, mode in layout.modes():
            path.mkdir(exist_ok=True)
            path.chmod(mode)
    except (FileExistsError, NotADirectoryError) as problem:
        raise OperationError("exists", f"{problem.filename} is not a directory", "name a new directory") from problem
    except OSError as problem:
        raise OperationError("io_error", f"cannot make {layout.root}: {problem.strerror}", "") from problem
    return layout


def check_directory(directory: str | os.PathLike[str]) -> Layout:
    """Find a node's directory fit to run in.

    `DIR` and `run/` that others cannot pass are opened again (0711). Keys or store that others may read, or a directory
    that others may change, stop the start: somebody may have used it, and only a person can judge that.

    Raises:
        ConfigError: it does not exist, is no node's directory, or cannot be written.
        DirectoryPermissionsError: modes are too wide.
    """
    layout = layout_of(directory)
    if not layout.root.is_dir():
        raise ConfigError(str(layout.root), "", "missing", "name the directory that `tocsin init` made: -D DIR")
    if not layout.config_file.is_file():
        raise ConfigError(str(layout.config_file), "", "missing", "make the node first: `tocsin init DIR`")
    with contextlib.suppress(FileExistsError):  # run/ holds nothing that lasts: a backup may leave it out
        os.mkdir(layout.run, PASSABLE)
    for path, mode in layout.modes():
        _check_mode(path, mode)
        if not os.access(path, os.W_OK | os.X_OK):
            raise ConfigError(str(path), "", "not_writable", f"give the node's user the right to write in {path}")
    return layout


def _check_mode(path: Path, wanted: int) -> None:
    try:
        found = stat.S_IMODE(path.stat().st_mode)
    except OSError as problem:
        raise ConfigError(str(path), "", "missing", "restore it from a backup, or make a new node") from problem
    too_wide = found & (0o077 if wanted == PRIVATE else _WRITABLE_BY_OTHERS)
    if too_wide:
        said = f"{path} has mode {found:04o}: others may {'read or change' if wanted == PRIVATE else 'change'} it"
        raise DirectoryPermissionsError(str(path), "", "mode", f"chmod {wanted:o} {path}", message=said)
    if found & wanted != wanted:
        try:
            path.chmod(found | wanted)
        except OSError as problem:
            raise ConfigError(str(path), "", "mode", f"chmod {wanted:o} {path}") from problem


def last_pid(layout: Layout) -> int | None:
    """The process that took the directory's lock last, if one of that number runs. Looks without taking the lock, which
    would keep a node from starting in that moment.
    """
    try:
        pid = int(layout.lock.read_text())
        with contextlib.suppress(PermissionError):  # it runs as another user
            os.kill(pid, 0)
    except (OSError, ValueError):
        return None
    return pid


class DirectoryLock:
    """The right to be the one process of a directory.

    The kernel frees it however the process ends; children do not inherit it.
    """

    def __init__(self, layout: Layout) -> None:
        """Take the lock and write our pid into it.

        Raises:
            AlreadyRunningError: another process holds it.
            ConfigError: the lock file cannot be made.
        """
        try:
            self._descriptor = os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as problem:
            raise ConfigError(str(layout.lock), "", "lock", problem.strerror or "cannot be opened") from problem
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = self._holder()
            self.release()
            raise AlreadyRunningError(pid) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)

    def _holder(self) -> int | None:
        text = os.pread(self._descriptor, 32, 0).strip()
        return int(text) if text.isdigit() else None

    def release(self) -> None:
        """Give the lock back. The file stays: removing it would let two processes lock two files of one name."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def check_replaceable(path: Path, beginning: bytes) -> None:
    """Raises OperationError(exists) unless nothing lies at `path`, or a file of the kind that begins so: a slip of the
    hand at night must not write a card or evidence over the agency's root.
    """
    try:
        with path.open("rb") as file:
            found = file.read(len(beginning))
    except OSError:
        return  # nothing there, or what the writing itself will meet
    if found != beginning:
        raise OperationError("exists", f"{path} is there already, and holds something else", "name a new file")


def write_whole(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Put `data` at `path` so that a reader, or a power cut, finds the old file or the new one whole, never a part.

    Raises:
        DiskFullError: no room; the old file stands.
        OperationError: `io_error` for any other reason; the old file stands.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with _unlinked_unless_renamed(beside):
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            with open(descriptor, "wb") as file:
                os.fchmod(descriptor, mode)
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            os.rename(beside, path)
        _sync_directory(path.parent)
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError from problem
        raise OperationError("io_error", f"cannot write {path}: {problem.strerror}", "") from problem


@contextlib.contextmanager
def _unlinked_unless_renamed(path: Path) -> Iterator[None]:
    path.unlink(missing_ok=True)  # of a process with our pid that was killed here
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
