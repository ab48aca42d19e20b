"""The judge of an arena. It believes what was recorded outside, and compares with it what the nodes show at the end.

It imports nothing of the product: not its rules, its store or its trees. What it demands is in docs/reliability.md.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

DECIDED = frozenset({"accepted", "rejected", "actioned"})
REACHED = DECIDED | {"stored", "opened"}
OVER = ("refused", "expired_on_arrival")  # in the recipient's own word


@dataclass(frozen=True, slots=True)
class Posted:
    """One message on record. `answered`: `yes` was promised, `no` was refused, `lost` nobody knows.

    `may_expire`: the clock of both nodes has passed the end that its sender was told.
    `accepted`: its recipient's operator was promised that this word is on its way, and its time is not over.
    """

    message_id: str
    sender: str
    recipient: str
    answered: str
    may_expire: bool = False
    accepted: bool = False


@dataclass(frozen=True, slots=True)
class Shown:
    """What one node shows at the end: its inbox as (sender, message id), what it sent as message id -> (state,
    reason); what `log verify` says; the entries of its log from the first one.
    """

    agency: str
    inbox: Sequence[tuple[str, str]]
    sent: dict[str, tuple[str, str | None]]
    log_ok: bool
    origin: str
    entries: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Head:
    """A checkpoint that left a node."""

    origin: str
    size: int
    root: str


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was not kept. `message_id` where one message is meant."""

    code: str
    detail: str
    message_id: str | None = None


def check(posted: Sequence[Posted], shown: Sequence[Shown], heads: Iterable[Head]) -> list[Violation]:
    """Everything that is wrong."""
    rows = {node.agency: Counter(node.inbox) for node in shown}
    sent = {node.agency: node.sent for node in shown}
    found: list[Violation] = []
    for one in posted:
        number = rows[one.recipient][one.sender, one.message_id]
        found.extend(_judge_post(one, number, sent[one.sender].get(one.message_id)))
    for node in shown:
        found.extend(_judge_inbox(node, posted))
        found.extend(_judge_log(node))
    found.extend(judge_heads(heads, {node.origin: node.entries for node in shown}))
    return found


def _judge_post(one: Posted, rows: int, end: tuple[str, str | None] | None) -> Iterable[Violation]:
    """`rows` of its recipient's inbox are this message; `end` is what its sender shows of it: state and reason."""
    if rows > 1:
        yield Violation("twice", f"{rows} rows of {one.recipient}", one.message_id)
    if one.answered == "no" and (rows or end is not None):
        yield Violation("refused_but_posted", f"{rows} rows, {end}", one.message_id)
    if end is None:
        if one.answered == "yes":
            yield Violation("forgotten_by_sender", f"{rows} rows", one.message_id)
        if rows:
            yield Violation("message_without_sender", f"{rows} rows", one.message_id)
        return
    if end[0] in REACHED:
        if one.accepted and end[0] not in DECIDED:
            yield Violation("ack_lost", f"{end}", one.message_id)
        if rows == 0:
            yield Violation("receipt_without_message", f"{end}", one.message_id)
    elif not (one.may_expire and (end[0] == "expired" or end == OVER)):
        yield Violation("lost" if rows == 0 else "not_settled", f"{end}", one.message_id)


def _judge_inbox(node: Shown, posted: Sequence[Posted]) -> Iterable[Violation]:
    known = {(one.sender, one.message_id) for one in posted if one.recipient == node.agency}
    for sender, message_id in Counter(node.inbox):
        if (sender, message_id) not in known:
            yield Violation("never_posted", f"a row of {node.agency} from {sender}", message_id)


def _judge_log(node: Shown) -> Iterable[Violation]:
    if not node.log_ok:
        yield Violation("log_broken", f"log verify of {node.agency}")
    if not node.origin.endswith("/1"):
        yield Violation("generation", f"{node.agency} goes on as {node.origin}")


def judge_heads(heads: Iterable[Head], logs: dict[str, Sequence[bytes]]) -> Iterable[Violation]:
    """Each head must be that of the first `size` entries that its owner has now: then all of one owner are prefixes of
    one history, and so of each other.
    """
    by_origin: dict[str, list[Head]] = {}
    for head in set(heads):
        by_origin.setdefault(head.origin, []).append(head)
    for origin, seen in by_origin.items():
        entries = logs.get(origin)
        if entries is None:
            yield Violation("unknown_log", f"{len(seen)} heads of {origin}")
            continue
        tree = Tree()
        for head in sorted(seen, key=lambda one: one.size):
            if head.size > len(entries):
                yield Violation("head_beyond_log", f"{origin}: size {head.size}, the log has {len(entries)}")
                continue
            for entry in entries[tree.size : head.size]:
                tree.add(entry)
            if tree.root().hex() != head.root:
                yield Violation("forked_head", f"{origin}: size {head.size}")


class Tree:
    """RFC 9162, section 2.1: the roots of complete subtrees, largest first, as a binary number has its digits."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[tuple[int, bytes]] = []  # (leaves under it, hash)

    def add(self, entry: bytes) -> None:
        """Put one leaf at the end."""
        self._peaks.append((1, hashlib.sha256(b"\0" + entry).digest()))
        while len(self._peaks) > 1 and self._peaks[-1][0] == self._peaks[-2][0]:
            (width, right), (_, left) = self._peaks.pop(), self._peaks.pop()
            self._peaks.append((2 * width, _node(left, right)))
        self.size += 1

    def root(self) -> bytes:
        """Root of all leaves so far."""
        if not self._peaks:
            return hashlib.sha256().digest()
        found = self._peaks[-1][1]
        for _, left in reversed(self._peaks[:-1]):
            found = _node(left, found)
        return found


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()
