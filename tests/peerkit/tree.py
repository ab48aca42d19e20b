"""The tree of PROTOCOL §5: roots, multi-proofs, inclusion and consistency."""

from __future__ import annotations

from collections.abc import Sequence

from tests.peerkit.formats import need, sha256


def leaf_hash(entry: bytes) -> bytes:
    """Hash of a leaf."""
    return sha256(b"\x00", entry)


def inner(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node."""
    return sha256(b"\x01", left, right)


def split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 9162 §2.1.1 over leaf hashes."""
    if not leaves:
        return sha256()
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return inner(tree_root(leaves[:k]), tree_root(leaves[k:]))


def make_multiproof(leaves: Sequence[bytes], indices: Sequence[int]) -> list[bytes]:
    """The nodes that the walk of §5 takes."""

    def walk(start: int, end: int) -> list[bytes]:
        if not any(start <= index < end for index in indices):
            return [tree_root(leaves[start:end])]
        if end - start == 1:
            return []
        k = split(end - start)
        return walk(start, start + k) + walk(start + k, end)

    return walk(0, len(leaves))


def check_multiproof(size: int, root: bytes, given: dict[int, bytes], nodes: Sequence[bytes]) -> dict[int, list[bytes]]:
    """Walk with the leaf hashes at hand; return the single inclusion path of each index, leaf's sibling first."""
    left = list(nodes)
    paths: dict[int, list[bytes]] = {index: [] for index in given}
    need(bool(given) and all(0 <= index < size for index in given), "bad_inclusion_proof")

    def walk(start: int, end: int) -> bytes:
        if not any(start <= index < end for index in given):
            need(bool(left), "bad_inclusion_proof")
            return left.pop(0)
        if end - start == 1:
            return given[start]
        middle = start + split(end - start)
        first, second = walk(start, middle), walk(middle, end)
        for index, path in paths.items():
            if start <= index < end:
                path.append(second if index < middle else first)
        return inner(first, second)

    need(walk(0, size) == root and not left, "bad_inclusion_proof")
    return paths


def check_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """RFC 9162 §2.1.3.2."""
    need(index < size, "bad_inclusion_proof")
    fn, sn, result = index, size - 1, leaf
    for node in path:
        need(sn > 0, "bad_inclusion_proof")
        if fn & 1 or fn == sn:
            result = inner(node, result)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            result = inner(result, node)
        fn, sn = fn >> 1, sn >> 1
    need(sn == 0 and result == root, "bad_inclusion_proof")


def make_consistency(leaves: Sequence[bytes], size: int) -> list[bytes]:
    """RFC 9162 §2.1.4.1 from `size` leaves to all."""

    def subproof(m: int, part: Sequence[bytes], whole: bool) -> list[bytes]:
        if m == len(part):
            return [] if whole else [tree_root(part)]
        k = split(len(part))
        if m <= k:
            return [*subproof(m, part[:k], whole), tree_root(part[k:])]
        return [*subproof(m - k, part[k:], False), tree_root(part[:k])]

    return subproof(size, leaves, True) if size else []


def check_consistency(first: int, first_root: bytes, second: int, second_root: bytes, path: Sequence[bytes]) -> None:
    """RFC 9162 §2.1.4.2."""
    if first in {0, second}:
        need(not path and (first == 0 or first_root == second_root), "bad_proof")
        return
    need(first < second, "bad_proof")
    nodes = list(path)
    if first & (first - 1) == 0:
        nodes.insert(0, first_root)
    need(bool(nodes), "bad_proof")
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = nodes[0]
    for node in nodes[1:]:
        need(sn > 0, "bad_proof")
        if fn & 1 or fn == sn:
            fr, sr = inner(node, fr), inner(node, sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = inner(sr, node)
        fn, sn = fn >> 1, sn >> 1
    need(sn == 0 and fr == first_root and sr == second_root, "bad_proof")
