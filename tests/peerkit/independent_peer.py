"""A peer written from docs/PROTOCOL.md alone: owns its own codec, tree, signatures, envelopes, rounds and TLS, and
refuses to know keys/, exchange/ and nodes/. It keeps everything in memory and exchanges with one other agency.
"""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey

from tests.peerkit.anchors import Anchor
from tests.peerkit.envelopes import envelope_hash, seal, unseal
from tests.peerkit.formats import (
    EPOCH_KEY,
    ISSUED,
    LOG_OPENED,
    PROFILE,
    RECEIPT,
    REFUSED,
    NotProvedError,
    armour,
    decode,
    encode,
    need,
    now_ms,
)
from tests.peerkit.line import ROUND_CAP, post, serving, tls_context
from tests.peerkit.own_keys import OwnKeys
from tests.peerkit.own_log import GATEWAY, NodePair, OwnLog
from tests.peerkit.pins import Other, Pairs, Statement, ends_named
from tests.peerkit.tree import leaf_hash, make_consistency, make_multiproof

LIMITS = [ROUND_CAP, 1000]
MARKINGS = ["H0", "TLP:CLEAR", "TLP:GREEN", "TLP:AMBER"]
HELLO_HEAD_WANTED, HELLO_OWN, HELLO_HELD, HELLO_KNOWN, HELLO_RECOVER_SINCE = 3, 4, 5, 6, 8
KEY_CHANGES_PER_ROUND = 16


@dataclass(slots=True)
class Sent:
    """An envelope of ours. `index` is that of its `issued` entry in the log that is open, `entry` its bytes once the
    log in which it was issued is closed.
    """

    index: int
    header: bytes
    body: bytes
    answer: Statement | None = None
    entry: bytes = b""


@dataclass(slots=True)
class Got:
    """An envelope of the other's that opened."""

    envelope_id: bytes
    message_id: bytes
    message: bytes
    number: list[int]
    receipt_index: int


class IndependentPeer(OwnKeys):
    """An agency of its own: keys, log, card, and rounds with one other agency, as a caller or called."""

    def __init__(self, agency: str, country: str) -> None:
        super().__init__(agency, country)
        self.kem, self.x25519 = MLKEM768PrivateKey.generate(), X25519PrivateKey.generate()
        self.epoch_key = MLKEM768X25519PrivateKey(self.kem, self.x25519)
        self.log = OwnLog(agency)
        self.closed: list[tuple[OwnLog, str]] = []  # with what the next was opened for
        self.profile_index = self.key_index = 0
        self.sent: dict[bytes, Sent] = {}
        self.got: dict[tuple[str, bytes], Got] = {}
        self.to_send: set[int] = set()
        self.results: list[list[Any]] = []
        self.refusals: list[Any] = []
        self.numbers = 0
        self.lock = threading.RLock()
        self.arrived = threading.Condition(self.lock)
        self.recover_since: int | None = None
        self._other: Other | None = None
        self._begin()

    def _begin(self) -> None:
        """What only this process knows: nobody was heard, so nothing may be handed over (§9.1)."""
        self.guard_passed, self.asked, self.said_whole = False, True, False
        self.hand_back = False  # the other side offered an anchor that is older than the one held of it
        self.handed: dict[int, int] = {}  # the size of the last head handed over, by generation
        self.untied: set[int] = (
            set()
        )  # closed generations of which the other side first told another end, or none whole

    def restart(self, *, copy_of: int | None = None, anchor: Anchor | None = None) -> None:
        """A new process over the same disk, or over an old copy of it, which knew only so many leaves, and no anchor
        after this one.
        """
        with self.lock:
            if copy_of is not None:
                del self.log.entries[copy_of:], self.log.leaves[copy_of:]
                self.sent = {id_: sent for id_, sent in self.sent.items() if sent.index < copy_of}
                self.got = {key: got for key, got in self.got.items() if got.receipt_index < copy_of}
            if anchor is not None:
                self.forget_anchors(anchor)
            self.to_send = set()
            if self._other is not None:
                self._other = replace(self._other, holds=[], knows=[b"", None, 0])
            self._begin()

    @property
    def other(self) -> Other:
        assert self._other is not None, "nobody is pinned yet"
        return self._other

    @property
    def entries(self) -> list[bytes]:
        return self.log.entries

    @property
    def leaves(self) -> list[bytes]:
        return self.log.leaves

    def pin(self, text: str, code: str) -> None:
        """Take the other agency's card."""
        self._other = Other.from_card(text, code)

    # --- our log

    def append(self, kind: int, *fields: Any) -> int:
        """One leaf more; its index."""
        return self.log.append(kind, *fields)

    def found_log(self, endpoints: Sequence[str] = ()) -> None:
        """The first two leaves: profile and epoch key."""
        self.profile_index = self.append(PROFILE, [list(endpoints), [], ["en"], "+4961155123", LIMITS, MARKINGS])
        self.key_index = self.append(EPOCH_KEY, 1, now_ms(), self.epoch_public)

    @property
    def epoch_public(self) -> bytes:
        return self.kem.public_key().public_bytes_raw() + self.x25519.public_key().public_bytes_raw()

    def checkpoint(self) -> list[Any]:
        """The signed head of our log, compact."""
        return self.log.checkpoint(self.pair)

    def card(self) -> str:
        """Our card, with the changes of our pair and the beginnings of our later generations."""
        opened = [log.proof(0, log.end or []) for log, _ in self.closed if log.generation > 1]
        head = self.checkpoint()
        if self.log.generation > 1:
            opened.append(self.log.proof(0, head))
        changes = self.own_pairs.proofs_since_anchor(GATEWAY)
        return armour(encode([1, self.anchor.signed, changes, self.log.proof(self.profile_index, head), opened]))

    def change_pair(self) -> NodePair:
        """Go over to a new node pair (§7 key change); the pair that was."""
        with self.lock:
            before, after = self.pair, self.draw_pair()
            self.own_pairs.learn(self.log.change_pair(before, after))
            self.pair = after
            return before

    def renew_anchor(self, pair: NodePair | None = None) -> None:
        """A ceremony: an anchor of the next serial, beyond all that our log holds, and where it is given with a pair
        that was never used.
        """
        with self.lock:
            size = len(self.leaves)
            self.pair = pair or self.pair
            self.anchor_at([self.log.generation, size, self.log.root(size)], self.anchor.serial + 1)

    def reopen(self, reason: str, above: int = 0) -> None:
        """Open a new generation and issue in it again, the same bytes, what is still to be handed over (§9.1)."""
        old = self.log
        old.end = self.checkpoint()
        self.closed.append((old, reason))
        self.log = OwnLog(self.agency, max(above, old.generation) + 1)
        self.log.append(LOG_OPENED, old.generation, old.end[2], old.end[3], reason)
        self.profile_index = self.log.take(old.entries[self.profile_index])
        self.key_index = self.log.take(old.entries[self.key_index])
        for sent in self.sent.values():
            sent.entry = sent.entry or old.entries[sent.index]
            sent.index = self.log.take(sent.entry) if sent.answer is None else -1
        for got in self.got.values():
            got.receipt_index = self.log.take(old.entries[got.receipt_index])
        self.to_send = {self.log.take(old.entries[index]) for index in self.to_send}
        if reason == "rollback":
            self.recover_since = decode(old.entries[-1])[2]

    # --- sending and receiving

    def seal_message(self, message_id: bytes, message: bytes, *, precedence: int, lifetime_ms: int) -> bytes:
        """Seal a message to the other agency and log it as issued; its envelope id."""
        number, public = self.other.newest_epoch_key()
        envelope_id, sent_at = os.urandom(16), now_ms()
        self.numbers += 1
        fields = [1, envelope_id, self.agency, self.other.agency, number, precedence, sent_at, sent_at + lifetime_ms]
        counted = [self.log.generation, self.numbers]
        rest = encode([self.agency, self.other.agency, envelope_id, counted, message_id, message])
        header, body = seal(public, fields, rest)
        index = self.append(ISSUED, envelope_id, envelope_hash(header, body))
        self.sent[envelope_id] = Sent(index, header, body)
        return envelope_id

    def speak(self) -> list[Any]:
        """Our half of a round: what the other side lacks and what we owe it. Before the guard is passed, a hello."""
        other = self.other
        self.said_whole = self.asked or not self.guard_passed
        hello = [
            [1],
            LIMITS,
            now_ms(),
            not self.guard_passed,
            [[GATEWAY, self.log.generation, len(self.leaves)]],
            other.held_rows(self.said_whole),
            [other.anchor.digest, other.profile and leaf_hash(other.profile.blob), max(other.epoch_keys, default=0)],
            other.numbers_row(),
            self.recover_since,
        ]
        anchor = self._anchor_due()
        if not self.guard_passed:
            return [1, hello, anchor, [], [], [], []]
        return [1, hello, anchor, self._changes_due(), self._groups(), self.results, []]

    def _anchor_due(self) -> list[Any] | None:
        """The other side's own, if it has just offered an older one; else ours, if it holds another (§9.1)."""
        if self.hand_back:
            self.hand_back = False
            return self.other.anchor.signed
        return None if self.other.knows[0] in {b"", self.anchor.digest} else self.anchor.signed

    def _changes_due(self) -> list[Any]:
        """Those at or beyond the newest head that the other side holds (§9.3)."""
        held = max(((row[1], row[2]) for row in self.other.holds), default=(0, 0))
        due = [change.proof for change in self.own_pairs.changes_of(GATEWAY) if change.place >= held]
        return due[:KEY_CHANGES_PER_ROUND]

    def _groups(self) -> list[Any]:
        bodies = {sent.index: sent for sent in self.sent.values() if sent.answer is None}
        indices = self.to_send | set(bodies)
        if self.other.knows[1] != self.leaves[self.profile_index]:
            indices.add(self.profile_index)
        if self.other.knows[2] < 1:
            indices.add(self.key_index)
        self.to_send = set()
        groups = self._ends()
        if self._highest_held() < self.log.generation and self.log.generation > 1:
            indices.add(0)
        if indices:
            attached = {index: [sent.header, sent.body, []] for index, sent in bodies.items()}
            groups.append(self._group(self.log, self.checkpoint(), indices, attached))
            self.handed[self.log.generation] = len(self.leaves)
        return groups

    def _highest_held(self) -> int:
        return max((row[1] for row in self.other.holds), default=self.log.generation)

    def _ends(self) -> list[Any]:
        """Of closed generations what the other side lacks to follow us into the open one (§9.3)."""
        groups, highest = [], self._highest_held()
        for log, next_reason in self.closed:
            indices = {0} if log.generation > highest else set()
            if log.generation >= highest and next_reason == "clock" and log.generation not in self.untied:
                indices.add(len(log.leaves) - 1)
            if indices:
                groups.append(self._group(log, log.end or [], indices, {}))
        return groups

    def _group(self, log: OwnLog, compact: list[Any], chosen: set[int], attached: dict[int, list[Any]]) -> list[Any]:
        ordered = sorted(chosen)
        sizes = {row[2] for row in self.other.holds if row[1] == log.generation}
        sizes.add(self.handed.get(log.generation, 0))
        consistency = [[size, make_consistency(log.leaves, size)] for size in sorted(sizes) if 0 < size <= compact[2]]
        entries, nodes = [log.entries[index] for index in ordered], make_multiproof(log.leaves, ordered)
        return [compact, consistency, ordered, entries, nodes, [attached.get(index) for index in ordered]]

    def absorb(self, blob: bytes) -> None:
        """The other half of a round. Nothing of it is taken but keys and heads until the guard is passed."""
        version, hello, anchor, key_changes, groups, results, cosignatures = decode(blob, ROUND_CAP)
        need(version == 1 and 1 in hello[0] and not cosignatures, "malformed")
        if anchor is not None:
            self._hear_anchor(Anchor.read(anchor))
        self.results, self.refusals = [], [*self.refusals, *results]
        for proof in key_changes:
            self.other.pairs.learn(proof)
        self.asked = hello[HELLO_HEAD_WANTED]
        self._hear_held([row for row in hello[HELLO_HELD] if row[0] == GATEWAY])
        self.other.knows = hello[HELLO_KNOWN]
        if hello[HELLO_RECOVER_SINCE] is not None:
            newest = max((row[1] for row in hello[HELLO_OWN] if row[0] == GATEWAY), default=0)
            self._send_again(hello[HELLO_RECOVER_SINCE], newest)
        if self.guard_passed:
            self._absorb_groups(groups)
        self.arrived.notify_all()

    # --- §9.1 anchors and fork guard

    def _hear_anchor(self, anchor: Anchor) -> None:
        """The other side's, or one of ours that we lost: then beyond what it names nothing of our tree counts."""
        if anchor.agency != self.agency:
            self.hand_back = self.other.hear_anchor(anchor)
        elif self.take_back(anchor):
            generation, base, root = next(gateway[1:4] for gateway in anchor.gateways if gateway[0] == GATEWAY)
            known = generation == self.log.generation and base <= len(self.leaves)
            if generation >= self.log.generation and not (known and self.log.root(base) == root):
                self.reopen("rollback", above=generation)

    def _hear_held(self, rows: list[list[Any]]) -> None:
        """What the other side holds of our log: pass the guard on it, or open a new generation, or wait."""
        self.other.holds = rows
        highest = max((row[1] for row in rows), default=0)
        newest = [row for row in rows if row[1] == highest] if highest >= self.log.generation else []
        if self.guard_passed:
            for row in newest:
                need(highest == self.log.generation and row[2] <= len(self.leaves), "bad_proof")
                need(row[4] is None or row[4][3] == self.log.root(row[2]), "bad_proof")
        elif all(row[4] is not None and self._is_ours(row[4], rows) for row in newest):
            self.guard_passed = True
            self.own_pairs = self._pairs_with(rows)
            self.use_newest()
            self.untied = {row[1] for row in rows if row[4] is None or not self._is_prefix(row[4])}
            if not all(self._is_prefix(row[4]) for row in newest):
                self.reopen("rollback", above=highest)

    def _pairs_with(self, rows: list[list[Any]]) -> Pairs:
        """Our pairs, and of the key changes that the rows show those that lead on from them."""
        pairs = self.own_pairs.copied()
        with suppress(NotProvedError):
            for proof in next((row[5] for row in rows if row[5]), []):
                pairs.learn(proof)
        return pairs

    def _is_ours(self, compact: list[Any], rows: list[list[Any]]) -> bool:
        """Does it verify under our own pairs, with the key changes that the rows show?"""
        try:
            self._pairs_with(rows).check_head(compact)
        except NotProvedError:
            return False
        return True

    def _is_prefix(self, compact: list[Any]) -> bool:
        _, generation, size, root = compact[:4]
        logs = [log for log in [self.log, *(log for log, _ in self.closed)] if log.generation == generation]
        return bool(logs) and size <= len(logs[0].leaves) and root == logs[0].root(size)

    def _send_again(self, since: int, newest: int) -> None:
        """What the other side may have lost: all that we issued since, until its newest generation receipts it."""
        for sent in self.sent.values():
            entry = sent.entry or self.entries[sent.index]
            if sent.answer is not None and sent.answer.compact[1] < newest and decode(entry)[2] >= since:
                sent.answer, sent.index = None, self.log.take(entry)

    # --- groups

    def _absorb_groups(self, groups: list[list[Any]]) -> None:
        """Take what is in force; of the rest the beginnings of generations, and the heads that are ends (§9.3)."""
        ends: list[list[Any]] = []
        waiting: list[tuple[list[Any], list[Statement]]] = []
        for group in groups:
            statements = self.other.proved(group)
            if statements and self.other.in_force(group[0]):
                self.other.keep_head(group[0], group[1])
                ends += ends_named(statements)
                for statement, attachment in zip(statements, group[5], strict=True):
                    self._admit(statement, attachment)
            else:
                self._answer_key_not_valid(group[5])
                for statement in statements:
                    if statement.entry[0] == LOG_OPENED:
                        self.other.keep_opened(statement)
                waiting.append((group, statements))
        for (compact, consistency, *_), statements in reversed(waiting):
            if statements and compact[:4] in ends and self.other.leads_on(compact, consistency):
                self.other.keep_head(compact, consistency)
                ends += ends_named(statements)

    def _answer_key_not_valid(self, attachments: list[list[Any] | None]) -> None:
        for attachment in attachments:
            if attachment is not None:
                self.results.append([decode(attachment[0], 512)[1], "key_not_valid"])

    def _admit(self, statement: Statement, attachment: list[Any] | None) -> None:
        kind, fields = statement.entry[0], statement.entry[3:]
        if kind == PROFILE:
            self.other.keep_profile(statement)
        elif kind == EPOCH_KEY:
            self.other.epoch_keys[fields[0]] = (fields[1], fields[2])
        elif kind == LOG_OPENED:
            self.other.keep_opened(statement)
        elif kind == ISSUED and attachment is not None:  # without one it is but the end of a closed generation
            self._admit_envelope(statement, attachment)
        elif kind in {RECEIPT, REFUSED}:
            self._admit_answer(statement)

    def _admit_answer(self, statement: Statement) -> None:
        """Steps 7 and 8 of §7.1 with our own header and hash."""
        sender, envelope_id, hashed, head = statement.entry[3:7]
        sent = self.sent.get(envelope_id)
        if sent is None:  # forgotten with what an old copy did not know
            return
        need(decode(sent.header, 512)[3] == self.other.agency, "recipient_mismatch")
        need((sender, hashed) == (self.agency, envelope_hash(sent.header, sent.body)), "content_mismatch")
        need(head[0] == GATEWAY and head[1] <= self.log.generation, "content_mismatch")
        if head[1] == self.log.generation:  # of a closed generation the end may be lost
            need(0 < head[2] <= len(self.leaves) and head[3] == self.log.root(head[2]), "content_mismatch")
        sent.answer = statement

    def _admit_envelope(self, statement: Statement, attachment: list[Any]) -> None:
        header, body, _custody = attachment
        _, envelope_id, sender, to, number, _, _, _, _ = decode(header, 512)
        need(sender == self.other.agency, "recipient_mismatch")
        need(statement.entry[3:] == [envelope_id, envelope_hash(header, body)], "content_mismatch")
        if (sender, envelope_id) in self.got:
            self.to_send.add(self.got[sender, envelope_id].receipt_index)
            return
        need(to == self.agency, "not_for_us")
        if number != 1:
            self.results.append([envelope_id, "cannot_open"])
            return
        rest = unseal(self.epoch_key, header, body)
        index = self.append(RECEIPT, sender, envelope_id, statement.entry[4], statement.compact[:4])
        self.to_send.add(index)
        generation, counted = rest[3]
        self.other.numbers.setdefault(generation, set()).add(counted)
        self.got[sender, envelope_id] = Got(envelope_id, rest[4], rest[5], rest[3], index)

    # --- §9, §13 the line

    def tls_context(self, side: ssl.Purpose) -> ssl.SSLContext:
        """TLS with our leaf, trusting only the pinned root."""
        return tls_context(side, self.other.tls_root, self.tls_key + self.tls_chain)

    def call(self, host: str, port: int) -> tuple[int, bytes]:
        """One round with us as the caller: status and body, absorbed where the status is 200. Once more, with whole
        heads, where the called side first wants to know which of its heads we hold.
        """
        status, body = self._call_once(host, port)
        if status == 200 and self.asked and not self.said_whole:
            status, body = self._call_once(host, port)
        return status, body

    def _call_once(self, host: str, port: int) -> tuple[int, bytes]:
        with self.lock:
            self.results = []  # those answer a request
            request = encode(self.speak())
        context = self.tls_context(ssl.Purpose.SERVER_AUTH)
        status, body = post(context, self.other.agency, (host, port), request)
        if status == 200:
            with self.lock:
                self.recover_since = None
                self.absorb(body)
        return status, body

    def answer(self, request: bytes) -> bytes:
        """One round with us as the called side."""
        with self.lock:
            self.absorb(request)
            return encode(self.speak())

    @contextmanager
    def listening(self) -> Iterator[int]:
        """Answer rounds on a port of 127.0.0.1 (the port is yielded) until the block ends."""
        with serving(lambda: self.tls_context(ssl.Purpose.CLIENT_AUTH), self.answer) as port:
            yield port
