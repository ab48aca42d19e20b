"""A disk that forgets: of every file that SQLite writes, the state at its last sync is kept beside; a power cut leaves
that, and of what came later whatever chance lets through. Owns what a power cut leaves; it knows no store.

A kill cannot show that a commit was not synced: the kernel still holds what was written. `keep_what_is_synced` stands
at SQLite's door (tests/sqlite_door.py): when a real sync has returned, what was written before it goes to `kept` too.
Bytes that nobody synced are not there, which is the worst that a real disk may do with them; or the second worst: some
sectors of them are.
"""

from __future__ import annotations

import json
import random
import shutil
from collections import defaultdict
from pathlib import Path
from typing import TypeAlias

from tests.sqlite_door import OK, Call, Request, has_door, pass_through

SECTOR = 512
_NEW, _LOST = ".new", ".lost"

_Ranges: TypeAlias = list[tuple[int, int]]
"""(first byte, end) of parts of a file."""


def can_be_cut() -> bool:
    """True where this Python's SQLite lets itself be spoken to."""
    return has_door()


def keep_what_is_synced(kept: Path) -> None:
    """From now on, for all connections that this process opens, `kept` holds each file as it was last synced."""
    pass_through(Keeper(kept).guard)


class Keeper:
    """Keeps in a directory what is synced. One process after the other may keep in the same directory."""

    def __init__(self, kept: Path) -> None:
        self._kept = kept
        self._known: set[Path] = set()  # files whose unsynced bytes are all in `_unsynced`
        self._unsynced: defaultdict[Path, list[Request | tuple[int, bytes]]] = defaultdict(list)

    def guard(self, request: Request) -> int:
        """Let it through, and keep what it makes durable."""
        result = request.real()
        if result != OK:
            return result
        if request.call is Call.SYNC:
            self.synced(request.path)
        elif request.call is Call.WRITE:
            self._unsynced[request.path].append((request.offset, request.data()))
        else:
            self._unsynced[request.path].append(request)
        return result

    def synced(self, path: Path) -> None:
        """A sync of `path` has returned."""
        if path in self._known:
            self._apply(path)
        else:
            # What an earlier process wrote and did not sync is synced with the rest.
            self._copy(path)
            self._known.add(path)
        self._unsynced[path].clear()

    def sync_failed(self, path: Path) -> None:
        """A sync has failed, and the system has dropped what it could not write: it counts the pages as clean, so that
        no later sync writes them, and shows them until they leave its memory (the fsync of Linux since 2018).
        """
        lost = _read_ranges(self._kept / f"{path.name}{_LOST}")
        lost += [(one[0], one[0] + len(one[1])) for one in self._unsynced[path] if isinstance(one, tuple)]
        (self._kept / f"{path.name}{_LOST}").write_text(json.dumps(lost))
        self._unsynced[path].clear()

    def _apply(self, path: Path) -> None:
        with (self._kept / path.name).open("r+b") as file:
            for one in self._unsynced[path]:
                if isinstance(one, Request):
                    file.truncate(one.size)
                else:
                    file.seek(one[0])
                    file.write(one[1])

    def _copy(self, path: Path) -> None:
        old, fresh = self._kept / path.name, self._kept / f"{path.name}{_NEW}"
        shutil.copyfile(path, fresh)
        lost = _read_ranges(self._kept / f"{path.name}{_LOST}")
        if lost and old.exists():
            written = [(one[0], one[0] + len(one[1])) for one in self._unsynced[path] if isinstance(one, tuple)]
            _put_back(old, fresh, [part for part in lost if not _covered(part, written)])
        (self._kept / f"{path.name}{_LOST}").unlink(missing_ok=True)
        fresh.replace(old)


def _read_ranges(path: Path) -> _Ranges:
    return [(first, end) for first, end in json.loads(path.read_text())] if path.exists() else []


def _covered(part: tuple[int, int], written: _Ranges) -> bool:
    return any(first <= part[0] and part[1] <= end for first, end in written)


def _put_back(old: Path, fresh: Path, lost: _Ranges) -> None:
    """Give `fresh` the bytes that `old` has in these parts; beyond its end, zeros."""
    size = fresh.stat().st_size
    with old.open("rb") as source, fresh.open("r+b") as target:
        for first, end in lost:
            length = min(end, size) - first
            if length > 0:
                source.seek(first)
                target.seek(first)
                target.write(source.read(length).ljust(length, b"\0"))


def cut(store: Path, kept: Path, chance: random.Random | None = None) -> None:
    """What the machine finds when the power is back: for the store at `store`, what is in `kept`, and no more. With
    `chance`, of what was written after the last sync some sectors are there too, in no order.
    """
    torn = {path.name: path.read_bytes() for path in store.parent.glob(f"{store.name}*")} if chance else {}
    for path in store.parent.glob(f"{store.name}*"):
        path.unlink()
    for path in kept.glob(f"{store.name}*"):
        if path.suffix in (_NEW, _LOST):
            continue
        if chance is not None and path.name in torn:
            store.with_name(path.name).write_bytes(_torn(path.read_bytes(), torn[path.name], chance))
        else:
            shutil.copyfile(path, store.with_name(path.name))


def _torn(synced: bytes, written: bytes, chance: random.Random) -> bytes:
    """A mixture of two states of a file, sector by sector; its length is that of one of them."""
    length = chance.choice((len(synced), len(written)))
    found = bytearray(synced[:length].ljust(length, b"\0"))
    for at in range(0, length, SECTOR):
        sector = written[at : at + SECTOR]
        if sector and sector != synced[at : at + SECTOR] and chance.random() < 0.5:
            found[at : at + len(sector)] = sector[: length - at]
    return bytes(found)


def begin_to_keep(store: Path, kept: Path) -> None:
    """Make `kept` hold the store's files as they are: all of it is taken to be on disk."""
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(store.parent, kept, ignore=lambda _, names: {name for name in names if name.endswith("-shm")})
