"""RFC 9162 trees over lists of entries, straight from the RFC, to hold fast code against. Knows no tile."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256


def leaf(entry: bytes) -> bytes:
    return sha256(b"\x00" + entry).digest()


def inner(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def split(size: int) -> int:
    """The largest power of two below `size`."""
    power = 1
    while power * 2 < size:
        power *= 2
    return power


def root(entries: Sequence[bytes]) -> bytes:
    """RFC 9162 §2.1.1."""
    if not entries:
        return sha256(b"").digest()
    if len(entries) == 1:
        return leaf(entries[0])
    middle = split(len(entries))
    return inner(root(entries[:middle]), root(entries[middle:]))


def path(index: int, entries: Sequence[bytes]) -> list[bytes]:
    """RFC 9162 §2.1.3.1."""
    if len(entries) == 1:
        return []
    middle = split(len(entries))
    if index < middle:
        return [*path(index, entries[:middle]), root(entries[middle:])]
    return [*path(index - middle, entries[middle:]), root(entries[:middle])]


def consistency(size: int, entries: Sequence[bytes], *, whole: bool = True) -> list[bytes]:
    """RFC 9162 §2.1.4.1; nothing for an empty or an equal tree."""
    if size in (0, len(entries)):
        return [] if whole else [root(entries)]
    middle = split(len(entries))
    if size <= middle:
        return [*consistency(size, entries[:middle], whole=whole), root(entries[middle:])]
    return [*consistency(size - middle, entries[middle:], whole=False), root(entries[:middle])]


def multi_proof(indices: Sequence[int], entries: Sequence[bytes], start: int = 0) -> list[bytes]:
    """PROTOCOL §5: the nodes that the walk takes."""
    end = start + len(entries)
    if not any(start <= index < end for index in indices):
        return [root(entries)]
    if len(entries) == 1:
        return []
    middle = split(len(entries))
    return [
        *multi_proof(indices, entries[:middle], start),
        *multi_proof(indices, entries[middle:], start + middle),
    ]
