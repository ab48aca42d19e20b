"""The door between SQLite and the operating system: every write, sync and truncation of a database or its log passes a
function of ours. Owns the C structures and the hanging of the door; it knows no fault and no store.

SQLite calls the system through a table of functions per open file (sqlite.org/c3ref/io_methods.html). `pass_through`
puts its own functions into the table of each file that the process opens from then on.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

OK = 0
_POINTERS_AFTER_SYNC = 13  # xFileSize to xUnfetch
_MAIN_FILES = 0x100 | 0x80000  # SQLITE_OPEN_MAIN_DB, SQLITE_OPEN_WAL

_Write = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int64)
_Truncate = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int64)
_Sync = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
_Open = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_int)
)


class _IoMethods(ctypes.Structure):
    _fields_: ClassVar = [
        ("version", ctypes.c_int),
        ("close_read", ctypes.c_void_p * 2),
        ("write", _Write),
        ("truncate", _Truncate),
        ("sync", _Sync),
        ("others", ctypes.c_void_p * _POINTERS_AFTER_SYNC),
    ]


class _File(ctypes.Structure):
    _fields_: ClassVar = [("methods", ctypes.POINTER(_IoMethods))]


class _Vfs(ctypes.Structure):
    _fields_: ClassVar = [
        ("version", ctypes.c_int),
        ("file_bytes", ctypes.c_int),
        ("longest_path", ctypes.c_int),
        ("next", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("open", _Open),
    ]


class Call(Enum):
    """What SQLite asks of the system."""

    WRITE = "write"
    TRUNCATE = "truncate"
    SYNC = "sync"


@dataclass(frozen=True, slots=True)
class Request:
    """One call. `real` does it, whole or only its first bytes, and returns SQLite's code; `data` are a write's bytes.

    `size` is that of a write, or what a truncation leaves.
    """

    call: Call
    path: Path
    real: Callable[[], int]
    offset: int = 0
    size: int = 0
    data: Callable[[], bytes] = bytes
    part: Callable[[int], int] | None = None


Guard: TypeAlias = Callable[[Request], int]
"""Stands at the door: lets a request through by calling `real`, or not, and says which code SQLite gets."""

_alive: list[Any] = []  # what SQLite points to must not be collected


def has_door() -> bool:
    """True where this Python's SQLite lets itself be spoken to."""
    return hasattr(ctypes.CDLL(_sqlite3.__file__), "sqlite3_vfs_find")


def pass_through(guard: Guard) -> None:
    """From now on, for all connections that this process opens, each request passes `guard`."""
    find: Callable[..., Any] = ctypes.CDLL(_sqlite3.__file__).sqlite3_vfs_find
    find.restype = ctypes.POINTER(_Vfs)  # type: ignore[attr-defined]
    vfs = find(None).contents
    real_open = _Open.from_buffer_copy(vfs.open)
    names: dict[int, Path] = {}

    # `name` is SQLite's own pointer: the file goes on using what it points to.
    def open_(this: int, name: int | None, file: int, flags: int, out: ctypes._Pointer[ctypes.c_int]) -> int:
        result: int = real_open(this, name, file, flags, out)
        if result == OK and name and flags & _MAIN_FILES:
            names[file] = Path(os.fsdecode(ctypes.string_at(name)))
            opened = ctypes.cast(file, ctypes.POINTER(_File)).contents
            _alive.append(_guarded(opened.methods.contents, names, guard))
            opened.methods = ctypes.pointer(_alive[-1])
        return result

    vfs.open = _Open(open_)
    _alive.extend((vfs.open, real_open))


def _guarded(methods: _IoMethods, names: dict[int, Path], guard: Guard) -> _IoMethods:
    real_write = _Write.from_buffer_copy(methods.write)
    real_truncate = _Truncate.from_buffer_copy(methods.truncate)
    real_sync = _Sync.from_buffer_copy(methods.sync)

    def write(file: int, buffer: int, size: int, offset: int) -> int:
        def part(length: int) -> int:
            return int(real_write(file, buffer, length, offset))

        def data() -> bytes:
            return ctypes.string_at(buffer, size)

        return guard(Request(Call.WRITE, names[file], lambda: part(size), offset, size, data, part))

    def truncate(file: int, size: int) -> int:
        return guard(Request(Call.TRUNCATE, names[file], lambda: int(real_truncate(file, size)), size=size))

    def sync(file: int, flags: int) -> int:
        return guard(Request(Call.SYNC, names[file], lambda: int(real_sync(file, flags))))

    shimmed = _IoMethods.from_buffer_copy(methods)
    shimmed.write, shimmed.truncate, shimmed.sync = _Write(write), _Truncate(truncate), _Sync(sync)
    _alive.extend((shimmed.write, shimmed.truncate, shimmed.sync, real_write, real_truncate, real_sync))
    return shimmed
