"""A file that only its writer sees, and the writer's editor on it. Owns where content may lie in clear, and how long.

The file lies in a directory of its own in $XDG_RUNTIME_DIR or /dev/shm: never on a disk, where deleting erases nothing.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from nodes.errors import OperationError

_ENDING = (signal.SIGTERM, signal.SIGHUP)


class PrivateFile:
    """Text in a file of mode 0600 in a directory of mode 0700, gone at the end with all that the editor left there."""

    def __init__(self, text: str, suffix: str) -> None:
        """Raises OperationError (io_error) where no memory-backed directory can be had."""
        self.text = text
        self._kept = False
        try:
            self._directory = Path(tempfile.mkdtemp(prefix="tocsin-", dir=_memory_directory()))
            self.path = self._directory / f"message{suffix}"
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
        except OSError as problem:
            raise OperationError(
                "io_error", f"cannot make a private file: {problem.strerror}", "tocsin post -"
            ) from problem

    def read_back(self) -> None:
        """Take what the editor saved. Raises OperationError when it is gone or no text."""
        try:
            self.text = self.path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as problem:
            raise OperationError(
                "io_error", "what the editor left cannot be read as UTF-8 text", "save it as UTF-8"
            ) from problem

    def keep(self) -> None:
        """Do not remove it: the node that would seal it is gone, and it is the only copy."""
        self._kept = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._kept:
            shutil.rmtree(self._directory, ignore_errors=True)


def edit(path: Path) -> None:
    """Run $VISUAL, $EDITOR or vi on a file and wait for it.

    Raises:
        OperationError: `io_error` when it cannot be started or reports failure.
    """
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        argv = [*shlex.split(command), str(path)]
        with _ending_raises():
            status = subprocess.run(argv, check=False).returncode
    except (OSError, ValueError) as problem:
        raise OperationError("io_error", f"cannot start the editor {command!r}", "set VISUAL or EDITOR") from problem
    if status != 0:
        raise OperationError(
            "io_error", f"the editor {command!r} ended with {status}", "what it saved is kept as a draft"
        )


@contextmanager
def _ending_raises() -> Iterator[None]:
    """A closed terminal or a request to end unwinds through our own cleaning up instead of stopping the process."""

    def end(number: int, frame: FrameType | None) -> None:
        del frame
        raise SystemExit(128 + number)

    def leave_to_the_editor(number: int, frame: FrameType | None) -> None:
        """Ctrl-C goes to both. A handler, unlike SIG_IGN, is not inherited: the editor gets it as it always does."""

    before = {number: signal.signal(number, end) for number in _ENDING}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, leave_to_the_editor)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _memory_directory() -> str:
    for name in (os.environ.get("XDG_RUNTIME_DIR"), "/dev/shm"):  # noqa: S108 # a directory of our own is made in it
        if name and os.path.isdir(name) and os.access(name, os.W_OK | os.X_OK) and _is_ours_or_sticky(name):
            return name
    raise OperationError(
        "io_error", "there is no directory in memory for the editor's file", "set XDG_RUNTIME_DIR, or use tocsin post -"
    )


def _is_ours_or_sticky(name: str) -> bool:
    status = os.stat(name)
    return status.st_uid == os.getuid() or bool(status.st_mode & stat.S_ISVTX)
