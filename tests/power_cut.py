"""A disk that forgets: of every file that SQLite writes, the state at its last sync is kept beside; a power cut leaves
that and nothing else. Owns the shim between SQLite and the operating system; it knows no store.

A kill cannot show that a commit was not synced: the kernel still holds what was written. `keep_what_is_synced` puts
itself behind the `xSync` of SQLite (sqlite.org/c3ref/io_methods.html): when the real sync has returned, the file is
copied to `kept`. Bytes that nobody synced are not in the copy, which is the worst that a real disk may do with them.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

_POINTERS_AFTER_SYNC = 13  # xFileSize to xUnfetch
_MAIN_FILES = 0x100 | 0x80000  # SQLITE_OPEN_MAIN_DB, SQLITE_OPEN_WAL
_OK = 0

_Sync = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
_Open = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_int)
)


class _IoMethods(ctypes.Structure):
    _fields_: ClassVar = [
        ("version", ctypes.c_int),
        ("close_read_write_truncate", ctypes.c_void_p * 4),
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


_alive: list[Any] = []  # what SQLite points to must not be collected


def can_be_cut() -> bool:
    """True where this Python's SQLite lets itself be spoken to."""
    return hasattr(ctypes.CDLL(_sqlite3.__file__), "sqlite3_vfs_find")


def keep_what_is_synced(kept: Path) -> None:
    """From now on, for all connections that this process opens, `kept` holds each file as it was last synced."""
    find: Callable[..., Any] = ctypes.CDLL(_sqlite3.__file__).sqlite3_vfs_find
    find.restype = ctypes.POINTER(_Vfs)  # type: ignore[attr-defined]
    vfs = find(None).contents
    real_open = _Open.from_buffer_copy(vfs.open)
    names: dict[int, str] = {}

    # `name` is SQLite's own pointer: the file goes on using what it points to.
    def open_(this: int, name: int | None, file: int, flags: int, out: ctypes._Pointer[ctypes.c_int]) -> int:
        result: int = real_open(this, name, file, flags, out)
        if result == _OK and name and flags & _MAIN_FILES:
            names[file] = os.fsdecode(ctypes.string_at(name))
            opened = ctypes.cast(file, ctypes.POINTER(_File)).contents
            _alive.append(_with_sync(opened.methods.contents, names, kept))
            opened.methods = ctypes.pointer(_alive[-1])
        return result

    vfs.open = _Open(open_)
    _alive.extend((vfs.open, real_open))


def _with_sync(methods: _IoMethods, names: dict[int, str], kept: Path) -> _IoMethods:
    real_sync = _Sync.from_buffer_copy(methods.sync)

    def sync(file: int, flags: int) -> int:
        result: int = real_sync(file, flags)
        if result == _OK:
            path = Path(names[file])
            fresh = kept / f"{path.name}.new"
            shutil.copyfile(path, fresh)
            fresh.replace(kept / path.name)
        return result

    shimmed = _IoMethods.from_buffer_copy(methods)
    shimmed.sync = _Sync(sync)
    _alive.extend((shimmed.sync, real_sync))
    return shimmed


def cut(store: Path, kept: Path) -> None:
    """What the machine finds when the power is back: for the store at `store`, what is in `kept`, and no more."""
    for path in store.parent.glob(f"{store.name}*"):
        path.unlink()
    for path in kept.glob(f"{store.name}*"):
        if path.suffix != ".new":
            shutil.copyfile(path, store.with_name(path.name))
