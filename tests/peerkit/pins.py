"""What is pinned and known of the agency at the other end: its anchor, its pairs, its heads by generation (PROTOCOL §4,
§7.1, §9.2). Says what holds; neither speaks nor owns a log.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

from tests.peerkit.anchors import Anchor
from tests.peerkit.formats import (
    KEY_CHANGE,
    LOG_OPENED,
    PROFILE,
    NotProvedError,
    check_key_change,
    check_note,
    decode,
    need,
    note_of,
    now_ms,
    unarmour,
)
from tests.peerkit.tree import check_consistency, check_inclusion, check_multiproof, leaf_hash

UNRECONCILED_ROWS = 7
OPENED_KEPT = 2


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement of an agency that held by steps 1 to 6 of §7.1, with what archives it."""

    entry: list[Any]
    blob: bytes
    index: int
    path: list[bytes]
    compact: list[Any]


def ends_named(statements: list[Statement]) -> list[list[Any]]:
    """The heads that the beginnings of generations among these name as the end of the one before."""
    opened = [each for each in statements if each.entry[0] == LOG_OPENED and each.index == 0]
    return [[each.compact[0], *each.entry[3:6]] for each in opened]


@dataclass(frozen=True, slots=True)
class Step:
    """From where on a pair signs: the sizes of this generation beyond the base, and what follows. An anchor made it,
    with the root at its base, or a key change, with its proof as it was handed over. No pair: the gateway is silent.
    """

    generation: int
    base: int
    pair: list[bytes] | None
    root: bytes = b""
    proof: list[Any] | None = None

    @property
    def place(self) -> tuple[int, int]:
        return self.generation, self.base

    def covers(self, generation: int, size: int) -> bool:
        return self.place < (generation, size) or self.place == (generation, size) == (generation, 0)


@dataclass(slots=True)
class Pairs:
    """The node pairs of one agency, as its anchors and its key changes name them: of each gateway in the order of the
    log.
    """

    agency: str
    steps: dict[str, list[Step]] = field(default_factory=dict)

    @classmethod
    def of_anchor(cls, anchor: Anchor) -> Self:
        pairs = cls(anchor.agency)
        pairs.learn_anchor(anchor)
        return pairs

    def copied(self) -> Pairs:
        return Pairs(self.agency, dict(self.steps))

    def learn_anchor(self, anchor: Anchor) -> None:
        """Take an anchor of a higher serial: it counts for what it names, and of what stood beyond its bases only the
        changes to which its pairs lead (§4).
        """
        named = {name: Step(at, base, pair, root) for name, at, base, root, pair, _witness, _tls in anchor.gateways}
        for gateway, known in self.steps.items():
            last = [step for step in known if step.proof is None][-1]
            named.setdefault(gateway, Step(last.generation, last.base, None, last.root))
        for gateway, step in named.items():
            known = self.steps.get(gateway, [])
            before = [each for each in known if each.place <= step.place]
            self.steps[gateway] = [*before, step]
            for proof in [each.proof for each in known[len(before) :] if each.proof is not None]:
                with suppress(NotProvedError):
                    self.learn(proof)

    def changes_of(self, gateway: str) -> list[Step]:
        return [step for step in self.steps.get(gateway, []) if step.proof is not None]

    def all_of(self, gateway: str) -> list[list[bytes]]:
        """Every pair of a gateway, newest first."""
        return [step.pair for step in reversed(self.steps[gateway]) if step.pair is not None]

    def newest(self, gateway: str) -> list[bytes] | None:
        return self.steps[gateway][-1].pair

    def anchored_generation(self, gateway: str) -> int:
        """The generation that the newest anchor names: those below it have ended."""
        return next(step.generation for step in reversed(self.steps[gateway]) if step.proof is None)

    def covering(self, gateway: str, generation: int, size: int) -> list[bytes]:
        """The pair that signs this size of this generation (§4, §7 key change). Who knows of nothing before an anchor
        has no other pair for the size of its base: the card of a ceremony shows its profile under that.
        """
        known = self.steps[gateway]
        covering = [step for step in known if step.covers(generation, size)]
        if not covering and known[0].place == (generation, size):
            covering = known[:1]
        pair = covering[-1].pair if covering else None
        if pair is None:
            raise NotProvedError("key_not_valid")
        return pair

    def check_head(self, compact: list[Any]) -> list[bytes]:
        """Steps 3 to 6 of §7.1 for a compact checkpoint; the pair that signed it."""
        gateway, generation, size, root = compact[:4]
        need(gateway in self.steps, "wrong_key")
        for pair in self.all_of(gateway):
            try:
                check_note(note_of(self.agency, pair, compact), self.agency, pair)
            except NotProvedError as error:
                need(str(error) == "bad_checkpoint_signature", str(error))
                continue
            need(pair == self.covering(gateway, generation, size), "key_not_valid")
            bases = [step for step in self.steps[gateway] if step.proof is None and step.place == (generation, size)]
            need(all(step.root == root for step in bases), "key_not_valid")
            return pair
        raise NotProvedError("bad_checkpoint_signature")

    def prove(self, blob: bytes, index: int, path: list[bytes], compact: list[Any]) -> Statement:
        """Steps 1 to 6 of §7.1."""
        entry = decode(blob)
        need(len(entry[1]) == 16, "bad_encoding")
        check_inclusion(leaf_hash(blob), index, compact[2], path, compact[3])
        self.check_head(compact)
        return Statement(entry, blob, index, path, compact)

    def learn(self, proof: list[Any]) -> None:
        """Take a key change, proved under the pair before it and signed by the pair after it. One from before the base
        of an anchor takes its place there; where a change already stands behind it, it comes too late.
        """
        gateway, generation, size = proof[3][:3]
        if any(step.proof is not None and step.proof[0] == proof[0] for step in self.steps.get(gateway, [])):
            return
        statement = self.prove(*proof)
        need(statement.entry[0] == KEY_CHANGE and len(statement.entry) == 7, "bad_encoding")
        need(size == statement.index + 1, "bad_proof")
        ed25519, mldsa44, *signatures = statement.entry[3:]
        pair = [ed25519, mldsa44]
        check_key_change(f"{self.agency}/{gateway}/{generation}", pair, signatures[0], signatures[1])
        known = self.steps[gateway]
        before = [step for step in known if step.place <= (generation, size)]
        after = known[len(before) :]
        need(pair not in [step.pair for step in before], "key_not_valid")  # a pair that was replaced never returns
        need(not after or after[0].proof is None, "key_not_valid")
        self.steps[gateway] = [*before, Step(generation, size, pair, proof=proof), *after]

    def proofs_of(self, gateway: str) -> list[list[Any]]:
        return [step.proof for step in self.steps.get(gateway, []) if step.proof is not None]

    def proofs_since_anchor(self, gateway: str) -> list[list[Any]]:
        """Those that a card shows (§4)."""
        known = self.steps[gateway]
        first = max(at for at, step in enumerate(known) if step.proof is None)
        return [step.proof for step in known[first:] if step.proof is not None]


@dataclass(slots=True)
class Other:
    """What is pinned and known of the agency at the other end, and what it said that it holds of ours."""

    anchor: Anchor
    pairs: Pairs
    # compact checkpoints by gateway and generation: the reconciled one first, then the unreconciled
    heads: dict[tuple[str, int], list[list[Any]]] = field(default_factory=dict)
    opened: dict[tuple[str, int], list[Statement]] = field(default_factory=dict)
    profile: Statement | None = None
    epoch_keys: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    numbers: dict[int, set[int]] = field(default_factory=dict)  # of envelopes received, by generation
    holds: list[list[Any]] = field(default_factory=list)  # rows of `held` about our log
    knows: list[Any] = field(default_factory=lambda: [b"", None, 0])

    @classmethod
    def from_card(cls, text: str, code: str) -> Self:
        """Pin what a card says, once its safety code is the one that was told."""
        version, signed, key_changes, profile, opened = decode(unarmour(text), 1_048_576)
        need(version == 1, "card_invalid")
        anchor = Anchor.read(signed)
        need(anchor.code == code, "wrong_key")
        other = cls(anchor, Pairs.of_anchor(anchor))
        for proof in key_changes:
            other.pairs.learn(proof)
        for proof in opened:
            other.keep_opened(other.pairs.prove(*proof))
        statement = other.pairs.prove(*profile)
        need(statement.entry[0] == PROFILE, "card_invalid")
        other.keep_profile(statement)
        other.heads[statement.compact[0], statement.compact[1]] = [statement.compact]
        return other

    @property
    def agency(self) -> str:
        return self.anchor.agency

    @property
    def tls_root(self) -> bytes:
        root: bytes = self.anchor.gateways[0][6]
        return root

    def hear_anchor(self, anchor: Anchor) -> bool:
        """Take one of a higher serial; whether it was of a lower one, so that its owner has lost what is held here."""
        if anchor.follows(self.anchor):
            self.pairs.learn_anchor(anchor)
            self.anchor = anchor
        return anchor.serial < self.anchor.serial

    def prove(self, blob: bytes, index: int, path: list[bytes], compact: list[Any]) -> Statement:
        """Steps 1 to 6 of §7.1."""
        return self.pairs.prove(blob, index, path, compact)

    def proved(self, group: list[Any]) -> list[Statement]:
        """The entries of a group; none where its head is of a pair that does not cover it."""
        compact, _, indices, entries, nodes, _ = group
        leaves = {index: leaf_hash(entry) for index, entry in zip(indices, entries, strict=True)}
        paths = check_multiproof(compact[2], compact[3], leaves, nodes)
        try:
            self.pairs.check_head(compact)
        except NotProvedError as error:
            need(str(error) == "key_not_valid", str(error))
            return []
        return [self.prove(entry, index, paths[index], compact) for index, entry in zip(indices, entries, strict=True)]

    def in_force(self, compact: list[Any]) -> bool:
        """On the line only the present counts (§7.1)."""
        gateway, generation, size = compact[:3]
        newest: int = max(self.newest_generation(gateway), self.pairs.anchored_generation(gateway))
        return generation >= newest and self.pairs.covering(gateway, generation, size) == self.pairs.newest(gateway)

    def newest_epoch_key(self) -> tuple[int, bytes]:
        """The highest number whose use_from has passed."""
        number = max(number for number, (use_from, _) in self.epoch_keys.items() if use_from <= now_ms())
        return number, self.epoch_keys[number][1]

    def newest_generation(self, gateway: str) -> int:
        return max((generation for named, generation in self.heads if named == gateway), default=0)

    def keep_profile(self, statement: Statement) -> None:
        """The newest profile is the one with the highest (generation, index)."""
        if self.profile is None or self._place(self.profile) <= self._place(statement):
            self.profile = statement

    @staticmethod
    def _place(statement: Statement) -> tuple[int, int]:
        return statement.compact[1], statement.index

    def keep_opened(self, statement: Statement) -> None:
        """A `log opened` that verifies: leaf 0, naming an earlier generation; at most two for one generation."""
        need(statement.entry[0] == LOG_OPENED and statement.index == 0, "bad_proof")
        need(statement.entry[3] < statement.compact[1], "bad_proof")
        kept = self.opened.setdefault((statement.compact[0], statement.compact[1]), [])
        if len(kept) < OPENED_KEPT and statement.blob not in {each.blob for each in kept}:
            kept.append(statement)

    # --- §9.2 heads

    def keep_head(self, compact: list[Any], consistency: list[list[Any]]) -> None:
        """Take a head that verified: reconciled with what is held where the proofs show it, else beside it."""
        kept = self.heads.setdefault((compact[0], compact[1]), [])
        if not kept:
            kept.append(compact)
            return
        same = [head for head in kept if head[2] == compact[2]]
        need(all(head[3] == compact[3] for head in same), "key_not_valid")  # two roots of one size: equivocation
        if same and same[0] is not kept[0]:
            kept.remove(same[0])
        proved = [head for head in kept if self._leads(head, compact, consistency)]
        if kept[0] in proved:
            self.heads[compact[0], compact[1]] = [compact, *(head for head in kept if head not in proved)]
        elif len(kept) <= UNRECONCILED_ROWS:
            kept.append(compact)

    def leads_on(self, compact: list[Any], consistency: list[list[Any]]) -> bool:
        """Does it lead on from the head held of its generation, or is none held?"""
        kept = self.heads.get((compact[0], compact[1]), [])
        return not kept or self._leads(kept[0], compact, consistency)

    @staticmethod
    def _leads(head: list[Any], compact: list[Any], consistency: list[list[Any]]) -> bool:
        if head[2] > compact[2]:
            return False
        for size, path in [*consistency, *([[head[2], []]] if head[2] == compact[2] else [])]:
            if size == head[2]:
                try:
                    check_consistency(head[2], head[3], compact[2], compact[3], path)
                except NotProvedError:
                    continue
                need(size == compact[2] or head[5] <= compact[5], "bad_proof")  # the timestamp never goes back
                return True
        return False

    def held_rows(self, whole: bool) -> list[list[Any]]:
        """Our `held`; whole: with the checkpoints, and the key changes in the first row of a newest generation."""
        rows: list[list[Any]] = []
        for (gateway, generation), heads in sorted(self.heads.items()):
            count = len(self.pairs.changes_of(gateway))
            proofs = self.pairs.proofs_of(gateway) if generation == self.newest_generation(gateway) else []
            for at, head in enumerate(heads):
                shown = proofs if whole and at == 0 else []
                rows.append([gateway, generation, head[2], count, head if whole else None, shown])
        return rows

    def numbers_row(self) -> list[int]:
        """`numbers`: the highest generation, the lowest number not received or next, the highest and one."""
        generation = max(self.numbers, default=0)
        came = self.numbers.get(generation, set())
        missing = next((n for n in range(1, max(came, default=0) + 1) if n not in came), max(came, default=0) + 1)
        return [generation, missing, max(came, default=0) + 1]
