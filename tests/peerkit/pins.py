"""What is pinned and known of the agency at the other end: its anchor, its pairs, its heads by generation (PROTOCOL §4,
§7.1, §9.2). Says what holds; neither speaks nor owns a log.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey

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
    safety_code,
    sha256,
    unarmour,
    verify_ed25519,
)
from tests.peerkit.tree import check_consistency, check_inclusion, leaf_hash

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


@dataclass(frozen=True, slots=True)
class Change:
    """A key change that verified: which sizes it begins to cover, and its proof as it was handed over."""

    generation: int
    base: int
    pair: list[bytes]
    proof: list[Any]


@dataclass(slots=True)
class Pairs:
    """The node pairs of one agency, as its first anchor and its key changes name them."""

    agency: str
    named: dict[str, tuple[int, list[bytes]]]  # gateway: generation and pair of the anchor
    changes: dict[str, list[Change]] = field(default_factory=dict)

    @classmethod
    def of_anchor(cls, body: list[Any]) -> Self:
        return cls(body[1], {gateway[0]: (gateway[1], gateway[4]) for gateway in body[9]})

    def changes_of(self, gateway: str) -> list[Change]:
        return self.changes.get(gateway, [])

    def all_of(self, gateway: str) -> list[list[bytes]]:
        """Every pair of a gateway, newest first."""
        return [*[change.pair for change in reversed(self.changes_of(gateway))], self.named[gateway][1]]

    def newest(self, gateway: str) -> list[bytes]:
        return self.all_of(gateway)[0]

    def covering(self, gateway: str, generation: int, size: int) -> list[bytes]:
        """The pair that signs this size of this generation (§4, §7 key change)."""
        first, pair = self.named[gateway]
        need(generation >= first, "key_not_valid")
        for change in self.changes_of(gateway):
            if (change.generation, change.base) < (generation, size):
                pair = change.pair
        return pair

    def check_head(self, compact: list[Any]) -> list[bytes]:
        """Steps 3 to 6 of §7.1 for a compact checkpoint; the pair that signed it."""
        gateway, generation, size = compact[:3]
        need(gateway in self.named, "wrong_key")
        due = self.covering(gateway, generation, size)
        for pair in [due, *(other for other in self.all_of(gateway) if other != due)]:
            try:
                check_note(note_of(self.agency, pair, compact), self.agency, pair)
            except NotProvedError as error:
                need(str(error) == "bad_checkpoint_signature", str(error))
                continue
            need(pair == due, "key_not_valid")
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
        """Take a key change, proved under the pair before it and signed by the pair after it."""
        gateway, generation, size = proof[3][:3]
        known = self.changes_of(gateway)
        if any(change.proof[0] == proof[0] for change in known):
            return
        statement = self.prove(*proof)
        need(statement.entry[0] == KEY_CHANGE and len(statement.entry) == 7, "bad_encoding")
        need(size == statement.index + 1, "bad_proof")
        ed25519, mldsa44, *signatures = statement.entry[3:]
        pair = [ed25519, mldsa44]
        check_key_change(f"{self.agency}/{gateway}/{generation}", pair, signatures[0], signatures[1])
        need(pair not in self.all_of(gateway), "key_not_valid")  # a pair that was replaced never returns
        need(not known or (known[-1].generation, known[-1].base) < (generation, size), "key_not_valid")
        self.changes[gateway] = [*known, Change(generation, size, pair, proof)]

    def proofs_of(self, gateway: str) -> list[list[Any]]:
        return [change.proof for change in self.changes_of(gateway)]


@dataclass(slots=True)
class Other:
    """What is pinned and known of the agency at the other end, and what it said that it holds of ours."""

    agency: str
    anchor: list[Any]
    pairs: Pairs
    tls_root: bytes
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
        version, anchor, key_changes, profile, opened = decode(unarmour(text), 1_048_576)
        body = decode(anchor[0])
        need([version, body[0]] == [1, 1], "card_invalid")
        agency, roots = body[1], (body[5], body[6])
        need(safety_code(agency, *roots) == code, "wrong_key")
        label = b"tocsin anchor v1"
        verify_ed25519(roots[0], label + b"\x00" + anchor[0], anchor[1], "card_invalid")
        MLDSA65PublicKey.from_public_bytes(roots[1]).verify(anchor[2], label + b"\x00" + anchor[0], label)
        other = cls(agency, anchor, Pairs.of_anchor(body), body[9][0][6])
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
    def anchor_digest(self) -> bytes:
        return sha256(self.anchor[0])

    def prove(self, blob: bytes, index: int, path: list[bytes], compact: list[Any]) -> Statement:
        """Steps 1 to 6 of §7.1."""
        return self.pairs.prove(blob, index, path, compact)

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
