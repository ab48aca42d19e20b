"""Owns the tree of a log (PROTOCOL §5, RFC 9162 §2.1): appending, proofs, verifying them. Knows no entry, no signature.

A log is kept as tiles of height 8: tile n at level L holds up to 256 hashes, each the root of 256^L leaves (level 0:
the leaf hashes themselves), in order. Only complete subtrees are kept; what lies at the ragged right edge is computed.
Which tiles a function reads depends on sizes and indices only, never on what the tiles hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from types import MappingProxyType
from typing import Final, TypeAlias

from exchange.errors import ExchangeError, ProtocolBugError

HASH_BYTES: Final = 32
TILE_HEIGHT: Final = 8
TILE_WIDTH: Final = 1 << TILE_HEIGHT
MAX_SIZE: Final = 2**63 - 1
EMPTY_ROOT: Final = sha256(b"").digest()
"""Root of the tree without leaves."""

TileReader: TypeAlias = Callable[[int, int], bytes]
"""(level, n) -> the hashes of that tile, one after another; it may hold fewer than 256, or more than were asked for."""


class LogProofError(ExchangeError):
    """A proof does not hold. `rule` says why (`size`, `index`, `length`, `root`, `order`, `nodes`, `tile`)."""

    def __init__(self, rule: str) -> None:
        super().__init__(rule)
        self.rule = rule


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 || entry)."""
    return sha256(b"\x00" + entry).digest()


def inner_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


# --- appending --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Append:
    """What became of an append: the frontier after it, and every tile that changed, whole."""

    frontier: Frontier
    tiles: Mapping[tuple[int, int], bytes]


@dataclass(frozen=True, slots=True)
class Frontier:
    """The right edge of a tree, which is all that appending needs. Immutable: a failed commit drops the copy.

    `peaks` are the roots of the complete subtrees that the size's binary digits name, largest first; `edges[L]` is the
    incomplete tile at the end of level L.
    """

    size: int
    peaks: tuple[bytes, ...]
    edges: tuple[bytes, ...]

    @classmethod
    def empty(cls) -> Frontier:
        """Of the tree without leaves."""
        return cls(0, (), ())

    @classmethod
    def load(cls, size: int, reader: TileReader) -> Frontier:
        """Of the stored tree of `size` leaves. Raises LogProofError if a tile is shorter than that size needs."""
        _check_size(size)
        edges = []
        peaks: list[bytes] = []
        for level in range(_levels(size)):
            count = size >> (level * TILE_HEIGHT)
            width = count % TILE_WIDTH
            edges.append(_tile_slice(reader, level, count // TILE_WIDTH, 0, width))
        for level in reversed(range(len(edges))):
            edge, start = edges[level], 0
            for height in reversed(range(TILE_HEIGHT)):
                if (len(edge) // HASH_BYTES) >> height & 1:
                    peaks.append(_complete_root(edge, start, 1 << height))
                    start += 1 << height
        return cls(size, tuple(peaks), tuple(edges))

    @property
    def root(self) -> bytes:
        """Root of the tree."""
        if not self.peaks:
            return EMPTY_ROOT
        *others, root = self.peaks
        for peak in reversed(others):
            root = inner_hash(peak, root)
        return root

    def append_many(self, leaves: Sequence[bytes]) -> Append:
        """Put leaf hashes at the end. Raises ProtocolBugError beyond 2^63 - 1 leaves, or if one is no hash."""
        if self.size + len(leaves) > MAX_SIZE:
            raise ProtocolBugError("a log holds less than 2^63 leaves")
        if any(len(leaf) != HASH_BYTES for leaf in leaves):
            raise ProtocolBugError("a leaf hash has 32 bytes")
        if not leaves:
            return Append(self, MappingProxyType({}))
        peaks = list(self.peaks)
        added: list[list[bytes]] = [[]]  # per level, the hashes that this append puts there
        size = self.size
        for leaf in leaves:
            size += 1
            added[0].append(leaf)
            node = leaf
            # As adding one carries in binary: equal subtrees at the end become one of twice the size.
            for height in range(1, _trailing_zeros(size) + 1):
                node = inner_hash(peaks.pop(), node)
                if height % TILE_HEIGHT == 0:
                    level = height // TILE_HEIGHT
                    if level == len(added):
                        added.append([])
                    added[level].append(node)
            peaks.append(node)
        tiles: dict[tuple[int, int], bytes] = {}
        edges = [self._grown_edge(level, hashes, tiles) for level, hashes in enumerate(added)]
        edges.extend(self.edges[len(edges) :])
        return Append(Frontier(size, tuple(peaks), tuple(edges)), MappingProxyType(tiles))

    def _grown_edge(self, level: int, hashes: list[bytes], tiles: dict[tuple[int, int], bytes]) -> bytes:
        """The incomplete tile at the end of a level after `hashes` were added; tiles that changed go into `tiles`."""
        edge = self.edges[level] if level < len(self.edges) else b""
        n = self.size >> (level * TILE_HEIGHT) >> TILE_HEIGHT
        grown = edge + b"".join(hashes)
        whole = TILE_WIDTH * HASH_BYTES
        for start in range(0, len(grown), whole):
            tiles[level, n + start // whole] = grown[start : start + whole]
        return grown[len(grown) - len(grown) % whole :]


# --- making proofs ----------------------------------------------------------------------------------------------------


def root_at(reader: TileReader, size: int, at_size: int) -> bytes:
    """The root that the log of `size` leaves had when it had `at_size`.

    Raises:
        ProtocolBugError: at_size > size.
        LogProofError: a tile is too short.
    """
    _check_size(size)
    if not 0 <= at_size <= size:
        raise ProtocolBugError("a log has no root beyond its size")
    return _range_root(reader, 0, at_size) if at_size else EMPTY_ROOT


def inclusion_path(reader: TileReader, size: int, index: int) -> tuple[bytes, ...]:
    """The audit path of RFC 9162 §2.1.3.1, the leaf's sibling first.

    Raises:
        ProtocolBugError: index >= size.
        LogProofError: a tile is too short.
    """
    _check_size(size)
    if not 0 <= index < size:
        raise ProtocolBugError("the leaf is not in the tree")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_range_root(reader, middle, end))
            end = middle
        else:
            path.append(_range_root(reader, start, middle))
            start = middle
    return tuple(reversed(path))


def consistency_proof(reader: TileReader, first: int, second: int) -> tuple[bytes, ...]:
    """The proof of RFC 9162 §2.1.4.1 that the tree of `first` leaves is a prefix of that of `second`.

    Empty for first = second.

    Raises:
        ProtocolBugError: first = 0 (everything begins with nothing: there is nothing to prove), or first > second.
        LogProofError: a tile is too short.
    """
    _check_size(second)
    if not 0 < first <= second:
        raise ProtocolBugError("a tree is proved to be a prefix of one at least as large")
    proof: list[bytes] = []
    start, end = 0, second
    while end != first:
        middle = start + _split(end - start)
        if first <= middle:
            proof.append(_range_root(reader, middle, end))
            end = middle
        else:
            proof.append(_range_root(reader, start, middle))
            start = middle
    if start > 0:  # else the verifier holds this node: it is the first root
        proof.append(_range_root(reader, start, end))
    return tuple(reversed(proof))


def multi_proof(reader: TileReader, size: int, indices: Sequence[int]) -> tuple[bytes, ...]:
    """The nodes of PROTOCOL §5 that prove all leaves at `indices`, in the order of the walk.

    Raises:
        ProtocolBugError: no index, indices not strictly ascending, or one >= size.
        LogProofError: a tile is too short.
    """
    _check_size(size)
    if not _are_ascending_below(indices, size):
        raise ProtocolBugError("indices of a proof are ascending and in the tree")
    nodes: list[bytes] = []
    # (start, end, the indices in [start, end) as a range of positions); the left half is taken first.
    waiting = [(0, size, 0, len(indices))]
    while waiting:
        start, end, low, high = waiting.pop()
        if low == high:
            nodes.append(_range_root(reader, start, end))
        elif end - start > 1:
            middle = start + _split(end - start)
            cut = _position(indices, low, high, middle)
            waiting.append((middle, end, cut, high))
            waiting.append((start, middle, low, cut))
    return tuple(nodes)


# --- verifying proofs -------------------------------------------------------------------------------------------------


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Check that the leaf hash `leaf` is at `index` in the tree of that size and root.

    Raises:
        LogProofError: also for a path that is not exactly as long as RFC 9162 §2.1.3 makes it.
    """
    if root_from_inclusion(leaf, index, size, path) != root:
        raise LogProofError("root")


def root_from_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that an inclusion path leads to (RFC 9162 §2.1.3.2). Raises LogProofError."""
    if not 0 < size <= MAX_SIZE:
        raise LogProofError("size")
    if not 0 <= index < size:
        raise LogProofError("index")
    _check_hashes((leaf, *path))
    node, last = leaf, size - 1
    for sibling in path:
        if last == 0:
            raise LogProofError("length")
        if index & 1 or index == last:
            node = inner_hash(sibling, node)
            while index & 1 == 0 and index:  # an only child on the right edge: its parent is itself
                index >>= 1
                last >>= 1
        else:
            node = inner_hash(node, sibling)
        index >>= 1
        last >>= 1
    if last:
        raise LogProofError("length")
    return node


def verify_consistency(first: int, second: int, proof: Sequence[bytes], first_root: bytes, second_root: bytes) -> None:
    """Check that the tree (first, first_root) is a prefix of (second, second_root) (RFC 9162 §2.1.4.2).

    Raises:
        LogProofError: also for a proof that is not exactly as long as it must be, and from size 0 to another: nothing
            is proved by that.
    """
    if not 0 <= first <= second <= MAX_SIZE or (first == 0 and second > 0):
        raise LogProofError("size")
    _check_hashes(proof)
    if first == second:
        if proof:
            raise LogProofError("length")
        if first_root != second_root or (first == 0 and first_root != EMPTY_ROOT):
            raise LogProofError("root")
        return
    roots = _roots_from_consistency(first, second, proof, first_root)
    if roots != (first_root, second_root):
        raise LogProofError("root")


def _roots_from_consistency(first: int, second: int, proof: Sequence[bytes], first_root: bytes) -> tuple[bytes, bytes]:
    nodes = list(proof)
    if first & (first - 1) == 0:  # a complete subtree of the second: the verifier has that node already
        _check_hashes((first_root,))
        nodes.insert(0, first_root)
    if not nodes:
        raise LogProofError("length")
    index, last = first - 1, second - 1
    while index & 1:
        index >>= 1
        last >>= 1
    old = new = nodes[0]
    for node in nodes[1:]:
        if last == 0:
            raise LogProofError("length")
        if index & 1 or index == last:
            old = inner_hash(node, old)
            new = inner_hash(node, new)
            while index & 1 == 0 and index:
                index >>= 1
                last >>= 1
        else:
            new = inner_hash(new, node)
        index >>= 1
        last >>= 1
    if last:
        raise LogProofError("length")
    return old, new


def verify_multi(
    size: int, root: bytes, leaves: Sequence[tuple[int, bytes]], nodes: Sequence[bytes]
) -> tuple[tuple[bytes, ...], ...]:
    """Check a multi-proof (PROTOCOL §5) of `leaves`, pairs of index and leaf hash, and derive what is archived.

    Returns:
        Each leaf's own inclusion path, in the order of `leaves`.

    Raises:
        LogProofError: also when a node is missing or left over.
    """
    if not 0 < size <= MAX_SIZE:
        raise LogProofError("size")
    indices = [index for index, _ in leaves]
    if not _are_ascending_below(indices, size):
        raise LogProofError("order")
    _check_hashes([*nodes, *(leaf for _, leaf in leaves), root])
    walk = _Walk(indices, [leaf for _, leaf in leaves], nodes)
    computed = walk.subtree(0, size, 0, len(indices))
    if walk.taken != len(nodes):
        raise LogProofError("nodes")
    if computed != root:
        raise LogProofError("root")
    return tuple(tuple(path) for path in walk.paths)


class _Walk:
    """The verifier's side of the walk of PROTOCOL §5. Deep at most as the tree is high: 63."""

    def __init__(self, indices: Sequence[int], leaves: Sequence[bytes], nodes: Sequence[bytes]) -> None:
        self._indices = indices
        self._leaves = leaves
        self._nodes = nodes
        self.taken = 0
        self.paths: list[list[bytes]] = [[] for _ in leaves]

    def subtree(self, start: int, end: int, low: int, high: int) -> bytes:
        """Root over the leaves `start` to `end` - 1, of which those at positions `low` to `high` - 1 are proved."""
        if low == high:
            if self.taken == len(self._nodes):
                raise LogProofError("nodes")
            self.taken += 1
            return self._nodes[self.taken - 1]
        if end - start == 1:
            return self._leaves[low]
        middle = start + _split(end - start)
        cut = _position(self._indices, low, high, middle)
        left = self.subtree(start, middle, low, cut)
        right = self.subtree(middle, end, cut, high)
        for position in range(low, cut):
            self.paths[position].append(right)
        for position in range(cut, high):
            self.paths[position].append(left)
        return inner_hash(left, right)


# --- subtrees ---------------------------------------------------------------------------------------------------------


def _range_root(reader: TileReader, start: int, end: int) -> bytes:
    """Root over leaves `start` to `end` - 1, a subtree of some tree that is stored."""
    count = end - start
    height = count.bit_length() - 1
    if count == 1 << height:
        level, within = divmod(height, TILE_HEIGHT)
        first = start >> (level * TILE_HEIGHT)
        hashes = _tile_slice(reader, level, first // TILE_WIDTH, first % TILE_WIDTH, 1 << within)
        return _complete_root(hashes, 0, 1 << within)
    middle = start + _split(count)
    return inner_hash(_range_root(reader, start, middle), _range_root(reader, middle, end))


def _complete_root(hashes: bytes, start: int, count: int) -> bytes:
    """Root over `count` hashes, a power of two, from the one at `start` on."""
    end = (start + count) * HASH_BYTES
    row = [hashes[at : at + HASH_BYTES] for at in range(start * HASH_BYTES, end, HASH_BYTES)]
    while len(row) > 1:
        row = [sha256(b"\x01" + row[at] + row[at + 1]).digest() for at in range(0, len(row), 2)]
    return row[0]


def _tile_slice(reader: TileReader, level: int, n: int, start: int, count: int) -> bytes:
    if count == 0:
        return b""
    hashes = reader(level, n)[start * HASH_BYTES : (start + count) * HASH_BYTES]
    if len(hashes) != count * HASH_BYTES:
        raise LogProofError("tile")
    return hashes


def _split(count: int) -> int:
    """The largest power of two below `count` (RFC 9162 §2.1.1); count > 1."""
    return 1 << ((count - 1).bit_length() - 1)


def _trailing_zeros(number: int) -> int:
    return (number & -number).bit_length() - 1


def _levels(size: int) -> int:
    return -(-size.bit_length() // TILE_HEIGHT)


def _position(indices: Sequence[int], low: int, high: int, bound: int) -> int:
    """How many of the ascending indices, from `low` on, lie below `bound`, as a position."""
    while low < high:
        middle = (low + high) // 2
        if indices[middle] < bound:
            low = middle + 1
        else:
            high = middle
    return low


def _are_ascending_below(indices: Sequence[int], size: int) -> bool:
    ascending = all(before < after for before, after in pairwise(indices))
    return ascending and len(indices) > 0 and indices[0] >= 0 and indices[-1] < size


def _check_size(size: int) -> None:
    if not 0 <= size <= MAX_SIZE:
        raise ProtocolBugError("a log holds less than 2^63 leaves")


def _check_hashes(hashes: Sequence[bytes]) -> None:
    if any(len(node) != HASH_BYTES for node in hashes):
        raise LogProofError("length")
