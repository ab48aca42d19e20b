"""The tree of a log: against a reference that follows RFC 9162's definitions word by word, and published vectors."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.errors import ProtocolBugError
from exchange.log import (
    EMPTY_ROOT,
    MAX_SIZE,
    Frontier,
    LogProofError,
    TileReader,
    consistency_proof,
    inclusion_path,
    inner_hash,
    leaf_hash,
    multi_proof,
    root_at,
    root_from_inclusion,
    verify_consistency,
    verify_inclusion,
    verify_multi,
)

# --- the reference ----------------------------------------------------------------------------------------------------


def leaf(number: int) -> bytes:
    return sha256(b"\x00" + number.to_bytes(8, "big")).digest()


def split(count: int) -> int:
    k = 1
    while k * 2 < count:
        k *= 2
    return k


def mth(leaves: Sequence[bytes]) -> bytes:
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m: int, leaves: Sequence[bytes], complete: bool) -> list[bytes]:
    if m == len(leaves):
        return [] if complete else [mth(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], complete), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


def walk(indices: Sequence[int], start: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PROTOCOL §5."""
    if not any(start <= index < start + len(leaves) for index in indices):
        return [mth(leaves)]
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    return [*walk(indices, start, leaves[:k]), *walk(indices, start + k, leaves[k:])]


# --- trees of tiles ---------------------------------------------------------------------------------------------------


class Tree:
    """A log as the store keeps it."""

    def __init__(self) -> None:
        self.frontier = Frontier.empty()
        self.tiles: dict[tuple[int, int], bytes] = {}
        self.leaves: list[bytes] = []

    def append(self, count: int) -> None:
        leaves = [leaf(number) for number in range(self.frontier.size, self.frontier.size + count)]
        append = self.frontier.append_many(leaves)
        self.frontier = append.frontier
        self.tiles.update(append.tiles)
        self.leaves.extend(leaves)

    @property
    def reader(self) -> TileReader:
        return lambda level, n: self.tiles[level, n]


def grown(*steps: int) -> Tree:
    tree = Tree()
    for step in steps:
        tree.append(step)
    return tree


EDGES = (1, 2, 3, 7, 8, 9, 255, 256, 257, 511, 512, 513, 1000)


@pytest.fixture(scope="module")
def large() -> Tree:
    """A tree that passes 65,536 leaves, where a third level of tiles begins."""
    return grown(65_535, 1, 1, 300)


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    assert Frontier.empty().root == EMPTY_ROOT == mth([])


def test_leaves_and_inner_nodes_are_hashed_apart() -> None:
    assert leaf_hash(b"x") == sha256(b"\x00x").digest()
    assert inner_hash(b"l" * 32, b"r" * 32) == sha256(b"\x01" + b"l" * 32 + b"r" * 32).digest()


@pytest.mark.parametrize("size", EDGES)
def test_a_root_is_that_of_the_definition(size: int) -> None:
    tree = grown(size)
    assert tree.frontier.root == mth(tree.leaves)


@given(st.lists(st.integers(0, 300), max_size=6))
def test_how_leaves_were_grouped_into_commits_does_not_show(steps: list[int]) -> None:
    tree, at_once = grown(*steps), grown(sum(steps))
    assert tree.frontier == at_once.frontier
    assert tree.tiles == at_once.tiles


@given(st.lists(st.integers(0, 300), min_size=1, max_size=5))
def test_a_frontier_read_back_from_tiles_is_the_one_that_wrote_them(steps: list[int]) -> None:
    tree = grown(*steps)
    assert Frontier.load(tree.frontier.size, tree.reader) == tree.frontier


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 65_837])
def test_a_frontier_is_read_back_at_the_third_level(large: Tree, size: int) -> None:
    frontier = Frontier.load(size, large.reader)
    assert frontier.root == root_at(large.reader, large.frontier.size, size)
    more = frontier.append_many(large.leaves[size:]).frontier
    assert more == large.frontier


def test_every_tile_holds_complete_subtrees_only(large: Tree) -> None:
    assert large.tiles[0, 255] == b"".join(large.leaves[65_280:65_536])
    assert large.tiles[1, 0][:32] == mth(large.leaves[:256])
    assert large.tiles[2, 0] == mth(large.leaves[:65_536])
    assert {(level, len(tile) // 32) for (level, _), tile in large.tiles.items() if level > 0} == {
        (1, 256),
        (1, 1),
        (2, 1),
    }


def test_an_append_names_only_tiles_that_changed() -> None:
    tree = grown(300)
    assert set(tree.frontier.append_many([leaf(300)]).tiles) == {(0, 1)}
    assert set(grown(255).frontier.append_many([leaf(255)]).tiles) == {(0, 0), (1, 0)}


def test_an_append_leaves_the_frontier_before_it_as_it_was() -> None:
    before = grown(300).frontier
    copy = Frontier(before.size, before.peaks, before.edges)
    before.append_many([leaf(300)])
    assert before == copy


# --- proofs -----------------------------------------------------------------------------------------------------------


@given(st.data())
def test_an_inclusion_path_is_that_of_the_definition_and_verifies(data: st.DataObject) -> None:
    size = data.draw(st.sampled_from(EDGES))
    index = data.draw(st.integers(0, size - 1))
    tree = grown(size)
    found = inclusion_path(tree.reader, size, index)
    assert list(found) == path(index, tree.leaves)
    verify_inclusion(tree.leaves[index], index, size, found, tree.frontier.root)


@given(st.data())
def test_a_consistency_proof_is_that_of_the_definition_and_verifies(data: st.DataObject) -> None:
    second = data.draw(st.sampled_from(EDGES))
    first = data.draw(st.integers(1, second))
    tree = grown(second)
    found = consistency_proof(tree.reader, first, second)
    assert list(found) == ([] if first == second else subproof(first, tree.leaves, True))
    verify_consistency(first, second, found, mth(tree.leaves[:first]), tree.frontier.root)


@given(st.data())
def test_a_multi_proof_is_that_of_the_walk_and_gives_each_leaf_its_own_path(data: st.DataObject) -> None:
    size = data.draw(st.sampled_from(EDGES))
    indices = sorted(data.draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=20)))
    tree = grown(size)
    nodes = multi_proof(tree.reader, size, indices)
    assert list(nodes) == walk(indices, 0, tree.leaves)
    paths = verify_multi(size, tree.frontier.root, [(index, tree.leaves[index]) for index in indices], nodes)
    assert [list(found) for found in paths] == [path(index, tree.leaves) for index in indices]


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 65_837])
@pytest.mark.parametrize("index", [0, 255, 256, 65_279, 65_280, 65_534])
def test_proofs_hold_where_a_third_level_begins(large: Tree, size: int, index: int) -> None:
    root = root_at(large.reader, large.frontier.size, size)
    verify_inclusion(large.leaves[index], index, size, inclusion_path(large.reader, size, index), root)
    indices = sorted({index, size - 1})
    leaves = [(number, large.leaves[number]) for number in indices]
    verify_multi(size, root, leaves, multi_proof(large.reader, size, indices))
    earlier = root_at(large.reader, size, index + 1)
    verify_consistency(index + 1, size, consistency_proof(large.reader, index + 1, size), earlier, root)


@given(st.data())
def test_every_earlier_root_can_be_computed(data: st.DataObject) -> None:
    size = data.draw(st.sampled_from(EDGES))
    at_size = data.draw(st.integers(0, size))
    tree = grown(size)
    assert root_at(tree.reader, size, at_size) == mth(tree.leaves[:at_size])


@given(st.data())
def test_no_changed_inclusion_path_verifies(data: st.DataObject) -> None:
    size = data.draw(st.sampled_from(EDGES))
    index = data.draw(st.integers(0, size - 1))
    tree = grown(size)
    good = list(inclusion_path(tree.reader, size, index))
    bad = data.draw(altered(good))
    with pytest.raises(LogProofError):
        verify_inclusion(tree.leaves[index], index, size, bad, tree.frontier.root)


@given(st.data())
def test_a_path_proves_its_own_place_only(data: st.DataObject) -> None:
    size = data.draw(st.sampled_from(EDGES[1:]))
    index = data.draw(st.integers(0, size - 1))
    other = data.draw(st.integers(0, size + 2).filter(lambda number: number != index))
    tree = grown(size)
    with pytest.raises(LogProofError):
        verify_inclusion(tree.leaves[index], other, size, path(index, tree.leaves), tree.frontier.root)


@given(st.data())
def test_no_changed_consistency_proof_verifies(data: st.DataObject) -> None:
    second = data.draw(st.sampled_from(EDGES))
    first = data.draw(st.integers(1, second))
    tree = grown(second)
    bad = data.draw(altered(list(consistency_proof(tree.reader, first, second))))
    with pytest.raises(LogProofError):
        verify_consistency(first, second, bad, mth(tree.leaves[:first]), tree.frontier.root)


@given(st.data())
def test_no_changed_multi_proof_verifies(data: st.DataObject) -> None:
    size = data.draw(st.sampled_from(EDGES))
    indices = sorted(data.draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=8)))
    tree = grown(size)
    bad = data.draw(altered(list(multi_proof(tree.reader, size, indices))))
    with pytest.raises(LogProofError):
        verify_multi(size, tree.frontier.root, [(index, tree.leaves[index]) for index in indices], bad)


def altered(nodes: list[bytes]) -> st.SearchStrategy[list[bytes]]:
    """The nodes with one added, one removed or one replaced."""
    ways = [st.tuples(st.just("add"), st.integers(0, len(nodes)))]
    if nodes:
        ways.append(st.tuples(st.sampled_from(["remove", "replace", "shorten"]), st.integers(0, len(nodes) - 1)))

    def change(way: tuple[str, int]) -> list[bytes]:
        kind, at = way
        if kind == "add":
            return [*nodes[:at], b"\x07" * 32, *nodes[at:]]
        kept = {"remove": [], "replace": [b"\x07" * 32], "shorten": [nodes[at][:31]] if nodes else []}[kind]
        return [*nodes[:at], *kept, *nodes[at + 1 :]]

    return st.one_of(ways).map(change)


@given(st.lists(st.binary(max_size=40), max_size=70), st.integers(-2, 2**64), st.integers(-2, 2**64))
def test_hostile_proofs_only_fail(nodes: list[bytes], index: int, size: int) -> None:
    with pytest.raises(LogProofError):
        verify_inclusion(b"\x01" * 32, index, size, nodes, b"\x02" * 32)
    with pytest.raises(LogProofError):
        verify_consistency(index, size, nodes, b"\x01" * 32, b"\x02" * 32)
    with pytest.raises(LogProofError):
        verify_multi(size, b"\x02" * 32, [(index, b"\x01" * 32)], nodes)


def test_a_multi_proof_in_the_largest_tree_is_walked_without_trouble() -> None:
    nodes = [bytes([number]) * 32 for number in range(63)]
    root = leaf(0)
    for node in nodes:
        root = inner_hash(root, node)
    # The tree of 2^63 - 1 leaves is 63 high at its left edge.
    (found,) = verify_multi(MAX_SIZE, root, [(0, leaf(0))], nodes)
    assert list(found) == nodes
    assert root_from_inclusion(leaf(0), 0, MAX_SIZE, nodes) == root


@pytest.mark.parametrize("size", [0, 2**63, -1])
def test_a_size_outside_the_bounds_is_no_tree(size: int) -> None:
    with pytest.raises(LogProofError):
        verify_inclusion(leaf(0), 0, size, [], leaf(0))
    with pytest.raises(LogProofError):
        verify_multi(size, leaf(0), [(0, leaf(0))], [])


@pytest.mark.parametrize("indices", [[], [1, 0], [1, 1], [0, 5], [-1, 2]])
def test_indices_are_ascending_and_in_the_tree(indices: list[int]) -> None:
    tree = grown(5)
    with pytest.raises(LogProofError):
        verify_multi(5, tree.frontier.root, [(index, leaf(0)) for index in indices], [])
    with pytest.raises(ProtocolBugError):
        multi_proof(tree.reader, 5, indices)


@pytest.mark.parametrize(
    "ask",
    [
        lambda tree: inclusion_path(tree.reader, 5, 5),
        lambda tree: inclusion_path(tree.reader, 5, -1),
        lambda tree: consistency_proof(tree.reader, 6, 5),
        lambda tree: consistency_proof(tree.reader, 0, 5),
        lambda tree: root_at(tree.reader, 5, 6),
        lambda tree: root_at(tree.reader, 5, -1),
        lambda tree: root_at(tree.reader, 2**63, 5),
        lambda tree: inclusion_path(tree.reader, 2**63, 0),
        lambda tree: consistency_proof(tree.reader, 5, 2**63),
        lambda tree: multi_proof(tree.reader, 2**63, [0]),
        lambda tree: Frontier.load(-1, tree.reader),
        lambda tree: Frontier.load(2**63, tree.reader),
        lambda tree: tree.frontier.append_many([b"short"]),
        lambda tree: Frontier(MAX_SIZE, tree.frontier.peaks, ()).append_many([leaf(0)]),
    ],
)
def test_asking_for_what_cannot_be_is_our_own_mistake(ask: Callable[[Tree], object]) -> None:
    tree = grown(5)
    with pytest.raises(ProtocolBugError):
        ask(tree)


def test_a_tile_that_is_too_short_is_seen() -> None:
    tree = grown(300)
    tree.tiles[0, 1] = tree.tiles[0, 1][:-32]
    assert rule_of(lambda: Frontier.load(300, tree.reader)) == "tile"
    assert rule_of(lambda: inclusion_path(tree.reader, 300, 298)) == "tile"


# --- what a refusal says ----------------------------------------------------------------------------------------------


def rule_of(act: Callable[[], object]) -> str:
    with pytest.raises(LogProofError) as caught:
        act()
    return caught.value.rule


SEVEN = grown(7)
ROOT = SEVEN.frontier.root
PATH = path(2, SEVEN.leaves)
SHORT = bytes(31)


@pytest.mark.parametrize(
    ("leaf_given", "index", "size", "path_given", "root", "rule"),
    [
        (leaf(2), 2, 0, PATH, ROOT, "size"),
        (leaf(2), 2, -1, PATH, ROOT, "size"),
        (leaf(2), 2, MAX_SIZE + 1, PATH, ROOT, "size"),
        (leaf(2), -1, 7, PATH, ROOT, "index"),
        (leaf(2), 7, 7, PATH, ROOT, "index"),
        (SHORT, 2, 7, PATH, ROOT, "length"),
        (leaf(2), 2, 7, [*PATH[:2], SHORT], ROOT, "length"),
        (leaf(2), 2, 7, PATH[:2], ROOT, "length"),
        (leaf(2), 2, 7, [*PATH, leaf(0)], ROOT, "length"),
        (leaf(0), 0, 1, [leaf(1)], ROOT, "length"),
        (leaf(3), 2, 7, PATH, ROOT, "root"),
        (leaf(2), 2, 7, PATH, leaf(0), "root"),
    ],
)
def test_a_refused_inclusion_says_what_is_wrong(
    leaf_given: bytes, index: int, size: int, path_given: list[bytes], root: bytes, rule: str
) -> None:
    verify_inclusion(leaf(2), 2, 7, PATH, ROOT)
    assert rule_of(lambda: verify_inclusion(leaf_given, index, size, path_given, root)) == rule


FIVE_ROOT, FOUR_ROOT = mth(SEVEN.leaves[:5]), mth(SEVEN.leaves[:4])
FROM_FIVE, FROM_FOUR = subproof(5, SEVEN.leaves, True), subproof(4, SEVEN.leaves, True)


@pytest.mark.parametrize(
    ("first", "second", "proof", "first_root", "second_root", "rule"),
    [
        (-1, 7, FROM_FIVE, FIVE_ROOT, ROOT, "size"),
        (0, 7, [], EMPTY_ROOT, ROOT, "size"),
        (8, 7, FROM_FIVE, FIVE_ROOT, ROOT, "size"),
        (5, MAX_SIZE + 1, FROM_FIVE, FIVE_ROOT, ROOT, "size"),
        (7, 7, [leaf(0)], ROOT, ROOT, "length"),
        (7, 7, [], FIVE_ROOT, ROOT, "root"),
        (0, 0, [], ROOT, ROOT, "root"),
        (0, 0, [], EMPTY_ROOT, ROOT, "root"),
        (5, 7, [], FIVE_ROOT, ROOT, "length"),
        (5, 7, FROM_FIVE[:-1], FIVE_ROOT, ROOT, "length"),
        (5, 7, [*FROM_FIVE, leaf(0)], FIVE_ROOT, ROOT, "length"),
        (5, 7, [SHORT, *FROM_FIVE[1:]], FIVE_ROOT, ROOT, "length"),
        (5, 7, FROM_FIVE, FOUR_ROOT, ROOT, "root"),
        (5, 7, FROM_FIVE, FIVE_ROOT, leaf(0), "root"),
        (4, 7, FROM_FOUR, SHORT, ROOT, "length"),
        (4, 7, [], FOUR_ROOT, ROOT, "length"),
        (4, 7, [*FROM_FOUR, leaf(0)], FOUR_ROOT, ROOT, "length"),
        (4, 7, FROM_FOUR, FIVE_ROOT, ROOT, "root"),
    ],
)
def test_a_refused_consistency_says_what_is_wrong(
    first: int, second: int, proof: list[bytes], first_root: bytes, second_root: bytes, rule: str
) -> None:
    assert rule_of(lambda: verify_consistency(first, second, proof, first_root, second_root)) == rule


def test_the_empty_tree_and_every_tree_is_a_prefix_of_itself() -> None:
    verify_consistency(0, 0, [], EMPTY_ROOT, EMPTY_ROOT)
    verify_consistency(7, 7, [], ROOT, ROOT)
    verify_consistency(MAX_SIZE, MAX_SIZE, [], ROOT, ROOT)


PROVED = [(1, leaf(1)), (5, leaf(5))]
NODES = walk([1, 5], 0, SEVEN.leaves)


@pytest.mark.parametrize(
    ("size", "root", "leaves", "nodes", "rule"),
    [
        (0, ROOT, PROVED, NODES, "size"),
        (MAX_SIZE + 1, ROOT, PROVED, NODES, "size"),
        (7, ROOT, [], NODES, "order"),
        (7, ROOT, PROVED[::-1], NODES, "order"),
        (7, ROOT, [PROVED[0], PROVED[0]], NODES, "order"),
        (7, ROOT, [(-1, leaf(1)), PROVED[1]], NODES, "order"),
        (7, ROOT, [PROVED[0], (7, leaf(5))], NODES, "order"),
        (7, ROOT, [(1, SHORT), PROVED[1]], NODES, "length"),
        (7, ROOT, PROVED, [SHORT, *NODES[1:]], "length"),
        (7, SHORT, PROVED, NODES, "length"),
        (7, ROOT, PROVED, NODES[:-1], "nodes"),
        (7, ROOT, PROVED, [*NODES, leaf(0)], "nodes"),
        (7, ROOT, [(1, leaf(0)), PROVED[1]], NODES, "root"),
        (7, leaf(0), PROVED, NODES, "root"),
    ],
)
def test_a_refused_multi_proof_says_what_is_wrong(
    size: int, root: bytes, leaves: list[tuple[int, bytes]], nodes: list[bytes], rule: str
) -> None:
    verify_multi(7, ROOT, PROVED, NODES)
    assert rule_of(lambda: verify_multi(size, root, leaves, nodes)) == rule


def test_every_proof_of_every_small_tree_holds_and_proves_its_own_place_only() -> None:
    for size in range(1, 20):
        tree = grown(size)
        root = mth(tree.leaves)
        for index in range(size):
            found = inclusion_path(tree.reader, size, index)
            assert list(found) == path(index, tree.leaves)
            verify_inclusion(leaf(index), index, size, found, root)
            first = index + 1
            proof = consistency_proof(tree.reader, first, size)
            assert list(proof) == ([] if first == size else subproof(first, tree.leaves, True))
            verify_consistency(first, size, proof, mth(tree.leaves[:first]), root)
            for other in range(size):
                if other != index:
                    rule_of(lambda: verify_inclusion(leaf(index), other, size, found, root))  # noqa: B023


def test_which_tiles_are_read_depends_on_places_only() -> None:
    tree = grown(65_700)

    def blank(level: int, n: int) -> bytes:
        return bytes(256 * 32)

    def places(reader: TileReader) -> list[tuple[int, int]]:
        asked: list[tuple[int, int]] = []

        def note(level: int, n: int) -> bytes:
            asked.append((level, n))
            return reader(level, n)

        multi_proof(note, 65_700, [3, 700, 65_699])
        consistency_proof(note, 4_711, 65_700)
        Frontier.load(65_700, note)
        return asked

    assert places(tree.reader) == places(blank)


def test_a_log_is_filled_to_its_last_leaf_and_no_further() -> None:
    assert MAX_SIZE == 9_223_372_036_854_775_807
    filled = Frontier(MAX_SIZE - 1, (), ()).append_many([leaf(0)]).frontier
    assert filled.size == MAX_SIZE
    with pytest.raises(ProtocolBugError):
        filled.append_many([leaf(0)])


def test_the_largest_log_has_its_earlier_roots() -> None:
    assert root_at(SEVEN.reader, MAX_SIZE, 5) == FIVE_ROOT


def test_a_proof_reads_a_few_tiles_however_many_leaves_there_are(large: Tree) -> None:
    asked: list[tuple[int, int]] = []

    def note(level: int, n: int) -> bytes:
        asked.append((level, n))
        return large.tiles[level, n]

    inclusion_path(note, 65_837, 300)
    # Its own tile, the two of the level above, and the one at the right edge.
    assert set(asked) == {(0, 1), (1, 0), (1, 1), (0, 257)}


# --- published vectors ------------------------------------------------------------------------------------------------


def _hash(text: str | None) -> bytes:
    return b64decode(text or "")


def _verify_vector(vector: dict[str, Any]) -> None:
    nodes = [_hash(node) for node in vector["proof"] or []]
    if vector["kind"] == "inclusion":
        verify_inclusion(_hash(vector["leafHash"]), vector["leafIdx"], vector["treeSize"], nodes, _hash(vector["root"]))
    else:
        verify_consistency(vector["size1"], vector["size2"], nodes, _hash(vector["root1"]), _hash(vector["root2"]))


def test_the_published_vectors_of_rfc_6962_proofs_get_their_verdicts(shared_dir: Path) -> None:
    file = shared_dir / "vectors" / "merkle" / "rfc6962_proof_vectors.json"
    vectors = json.loads(file.read_text())["vectors"]
    assert len(vectors) == 196
    for vector in vectors:
        try:
            _verify_vector(vector)
            refused = False
        except LogProofError:
            refused = True
        assert refused == vector["wantErr"], vector["file"]
