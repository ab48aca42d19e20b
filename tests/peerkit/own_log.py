"""One generation of the peer's own log (PROTOCOL §5 to §7): leaves, signed heads, the key changes in it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from nacl.signing import SigningKey

from tests.peerkit.formats import (
    KEY_CHANGE,
    KEY_CHANGE_LABEL,
    decode,
    encode,
    key_change_signed,
    now_ms,
    signed_checkpoint,
)
from tests.peerkit.tree import check_multiproof, leaf_hash, make_multiproof, tree_root

GATEWAY = "gw1"


@dataclass(slots=True)
class NodePair:
    """Both halves of a node pair, private."""

    ed25519: SigningKey = field(default_factory=SigningKey.generate)
    mldsa44: MLDSA44PrivateKey = field(default_factory=MLDSA44PrivateKey.generate)

    @property
    def public(self) -> list[bytes]:
        return [bytes(self.ed25519.verify_key), self.mldsa44.public_key().public_bytes_raw()]


@dataclass(slots=True)
class OwnLog:
    """The leaves of one generation. `end` is its last checkpoint once it is closed, `change_head` that of a key change:
    the checkpoint whose size the pair before still signs.
    """

    agency: str
    generation: int = 1
    entries: list[bytes] = field(default_factory=list)
    leaves: list[bytes] = field(default_factory=list)
    last_stamp: int = 0
    change_head: list[Any] | None = None
    end: list[Any] | None = None

    @property
    def origin(self) -> str:
        return f"{self.agency}/{GATEWAY}/{self.generation}"

    def append(self, kind: int, *fields: Any) -> int:
        """One leaf more; its index."""
        last = decode(self.entries[-1])[2] if self.entries else 0
        return self.take(encode([kind, os.urandom(16), max(now_ms(), last), *fields]))

    def take(self, entry: bytes) -> int:
        """One leaf more, of bytes that may have stood in an earlier generation; its index."""
        if entry in self.entries:
            return self.entries.index(entry)
        self.entries.append(entry)
        self.leaves.append(leaf_hash(entry))
        return len(self.entries) - 1

    def root(self, size: int) -> bytes:
        return tree_root(self.leaves[:size])

    def checkpoint(self, pair: NodePair) -> list[Any]:
        """The signed head, compact."""
        size = len(self.leaves)
        if self.change_head is not None and self.change_head[2] == size:
            return self.change_head
        self.last_stamp = max(self.last_stamp, now_ms() // 1000)
        return signed_checkpoint(
            self.origin, size, tree_root(self.leaves), (pair.ed25519, pair.mldsa44), self.last_stamp
        )

    def proof(self, index: int, compact: list[Any]) -> list[Any]:
        """A proof (§6.4) of one entry to a checkpoint of the whole log."""
        nodes = make_multiproof(self.leaves, [index])
        path = check_multiproof(compact[2], compact[3], {index: self.leaves[index]}, nodes)[index]
        return [self.entries[index], index, path, compact]

    def change_pair(self, before: NodePair, after: NodePair) -> list[Any]:
        """Log a key change as the last leaf of its commit; its proof, of size i + 1 under the pair before."""
        signed = key_change_signed(self.origin, after.public)
        signatures = [after.ed25519.sign(signed).signature, after.mldsa44.sign(signed, KEY_CHANGE_LABEL)]
        index = self.append(KEY_CHANGE, *after.public, *signatures)
        self.change_head = self.checkpoint(before)
        return self.proof(index, self.change_head)
