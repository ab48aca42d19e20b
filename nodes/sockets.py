"""The Unix socket between operators and their node: made, reached, removed, whatever its path. Knows no protocol.

A socket's address holds 107 bytes and directories have longer names: both ends open the directory and name the socket
through that descriptor, `/proc/self/fd/N/node.sock`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nodes.errors import ListenError

_BACKLOG = 128
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid
_ADDRESS_BYTES = 107


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is at the other end of a Unix socket, as the kernel says."""

    pid: int
    uid: int
    gid: int


class LocalListener:
    """A listening Unix socket at `path`. Every uid may connect; the caller's uid then decides what it may do.

    Made only under the directory's lock: what lies at `path` is then the leftover of a killed process, and is replaced.
    """

    def __init__(self, path: Path) -> None:
        """Raises ListenError."""
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _short_name(path) as name:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name)
                self.socket.bind(name)
                os.chmod(name, 0o666)  # noqa: S103 # before listen: nobody connects under other rights
                self._identity = _identity(name)
            self.socket.listen(_BACKLOG)
            self.socket.setblocking(False)
        except OSError as problem:
            self.socket.close()
            raise ListenError(str(path), problem.strerror or "cannot be made") from problem

    def close(self) -> None:
        """Stop listening and remove the socket, unless another one has taken its place."""
        self.socket.close()
        with contextlib.suppress(OSError), _short_name(self.path) as name:
            if _identity(name) == self._identity:
                os.unlink(name)


def connect_local(path: Path, *, timeout_s: float | None = None) -> socket.socket:
    """Connect to a node's socket.

    Raises:
        OSError: FileNotFoundError and ConnectionRefusedError mean that no node runs there.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_s)
        with _short_name(path) as name:
            connection.connect(name)
    except OSError:
        connection.close()
        raise
    return connection


def caller_of(connection: socket.socket) -> Caller:
    """The kernel's word on who connected (SO_PEERCRED); it cannot be forged by the caller."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return Caller(*_CREDENTIALS.unpack(raw))


@contextlib.contextmanager
def _short_name(path: Path) -> Iterator[str]:
    """A name of the same file that fits into a socket's address, valid inside the block."""
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | getattr(os, "O_PATH", 0))
    try:
        name = f"/proc/self/fd/{directory}/{path.name}"
        if not os.path.isdir(f"/proc/self/fd/{directory}") and len(os.fsencode(path)) <= _ADDRESS_BYTES:
            name = str(path)  # no /proc: short paths work all the same
        yield name
    finally:
        os.close(directory)


def _identity(name: str) -> tuple[int, int]:
    status = os.lstat(name)
    return status.st_dev, status.st_ino
