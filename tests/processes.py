"""Child processes of the tests: none outlives its test, nor a killed test run. Knows nothing of what they run."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, TypedDict

PR_SET_PDEATHSIG = 1  # linux/prctl.h

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class SpawnOptions(TypedDict):
    """The part of `Popen` and `asyncio.create_subprocess_exec` that decides about life and death."""

    start_new_session: bool
    preexec_fn: Callable[[], None]


def spawn_options() -> SpawnOptions:
    """Options under which a child leads its own process group and is killed when its parent dies, even by SIGKILL.

    The kernel takes the *thread* that forks for the parent: spawn from the main thread, or from one that lives as long.
    """
    parent = os.getpid()

    def die_with_parent() -> None:
        if _libc is None:
            return
        if _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
        if os.getppid() != parent:  # it died between the fork and the line above
            os._exit(1)

    return {"start_new_session": True, "preexec_fn": die_with_parent}


def kill_group(pid: int) -> None:
    """Kill a child that `spawn_options` made, with all it started. No error if nothing of it is left."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


class Children:
    """Starts programs and ends them all, with everything that they started, when `kill` is called."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[bytes]] = []

    def start(
        self,
        argv: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: int | IO[bytes] | None = subprocess.DEVNULL,
        stdout: int | IO[bytes] | None = None,
        stderr: int | IO[bytes] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> subprocess.Popen[bytes]:
        """Start a program that goes on beside the test. It is killed with its group at the end of the test."""
        child = subprocess.Popen(
            [str(argument) for argument in argv],
            cwd=cwd,
            env=env,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=pass_fds,
            **spawn_options(),
        )
        self._started.append(child)
        return child

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        given: bytes = b"",
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program to its end and return what it said. Its exit code is the caller's to judge.

        Raises:
            subprocess.TimeoutExpired: it did not end within `timeout` seconds; it and its group were killed.
        """
        child = self.start(
            argv, cwd=cwd, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            out, err = child.communicate(given, timeout=timeout)
        except subprocess.TimeoutExpired:
            kill_group(child.pid)
            raise
        return subprocess.CompletedProcess(child.args, child.returncode, out, err)

    def kill(self) -> None:
        """Kill what still runs, and wait for it, so that no zombie and no open pipe is left."""
        for child in self._started:
            kill_group(child.pid)
        for child in self._started:
            child.wait()
            for pipe in (child.stdin, child.stdout, child.stderr):
                if pipe is not None:
                    with contextlib.suppress(OSError):  # unsent input to a dead child
                        pipe.close()
        self._started.clear()
