"""A peer written from docs/PROTOCOL.md alone: owns its own codec, tree, signatures, envelopes, rounds and TLS, and
refuses to know keys/, exchange/ and nodes/. It keeps everything in memory and exchanges with one other agency.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import http.server
import os
import re
import socket
import ssl
import struct
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import msgpack
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.mldsa import (
    MLDSA44PrivateKey,
    MLDSA44PublicKey,
    MLDSA65PrivateKey,
    MLDSA65PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

ISSUED, RECEIPT, REFUSED, EPOCH_KEY, PROFILE = 1, 3, 4, 5, 7
ROUND_CAP = 4_194_304
LIMITS = [ROUND_CAP, 1000]
MARKINGS = ["H0", "TLP:CLEAR", "TLP:GREEN", "TLP:AMBER"]
HELLO_HELD, HELLO_KNOWN = 5, 6
SAFETY_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
ARMOUR = re.compile(r"-----BEGIN TOCSIN CARD-----\s+([A-Za-z0-9+/=\s]+?)\s+-----END TOCSIN CARD-----")
SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
ENC_SIZE = 1120
PADDED = [1024 << step for step in range(9)]
INFLATED_CAP = 263_168


class NotProvedError(Exception):
    """What the other side sent does not hold; the argument is the reason of PROTOCOL §7.1 or §10."""


def need(holds: bool, reason: str) -> None:
    """Raise the reason where a check fails."""
    if not holds:
        raise NotProvedError(reason)


# --- §2 encoding ---------------------------------------------------------------------------------------------------


def encode(value: Any) -> bytes:
    """`encode` of §2."""
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed


def decode(blob: bytes, cap: int = 65_536) -> list[Any]:
    """Decode strictly: size cap first, then only the types and forms of §2."""
    need(len(blob) <= cap, "too_large")
    try:
        value = msgpack.unpackb(blob, raw=False, strict_map_key=True, use_list=True)
    except (ValueError, msgpack.UnpackException) as error:
        raise NotProvedError("bad_encoding") from error
    _allowed(value, 16)
    need(isinstance(value, list) and encode(value) == blob, "bad_encoding")
    decoded: list[Any] = value
    return decoded


def _allowed(value: Any, depth: int) -> None:
    need(depth >= 0 and (value is None or isinstance(value, (list, int, str, bytes, bool))), "bad_encoding")
    if isinstance(value, list):
        for each in value:
            _allowed(each, depth - 1)
    elif isinstance(value, int):
        need(0 <= value < 1 << 63, "bad_encoding")


def sha256(*parts: bytes) -> bytes:
    """SHA-256 of the concatenation."""
    return hashlib.sha256(b"".join(parts)).digest()


def now_ms() -> int:
    """The clock, in milliseconds."""
    return time.time_ns() // 1_000_000


# --- §5 tree -------------------------------------------------------------------------------------------------------


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


# --- §3, §6 signatures and checkpoints -------------------------------------------------------------------------------


def verify_ed25519(public: bytes, message: bytes, signature: bytes, reason: str) -> None:
    """The rule of libsodium."""
    try:
        VerifyKey(public).verify(message, signature)
    except (BadSignatureError, ValueError) as error:
        raise NotProvedError(reason) from error


def verify_mldsa44(public: bytes, message: bytes, signature: bytes, reason: str) -> None:
    """FIPS 204, empty context."""
    try:
        MLDSA44PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise NotProvedError(reason) from error


def note_text(origin: str, size: int, root: bytes) -> bytes:
    """The three lines of §6.1."""
    return f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n".encode()


def cosigned_message(origin: str, timestamp: int, size: int, root: bytes) -> bytes:
    """What ML-DSA-44 signs in a line of type 0x06."""
    name = bytes([len(origin)]) + origin.encode()
    return b"subtree/v1\n\x00" + name + struct.pack(">Q", timestamp) + name + struct.pack(">QQ", 0, size) + root


def note_line(origin: str, kind: int, public: bytes, signature: bytes) -> bytes:
    """One signature line."""
    key_id = sha256(origin.encode(), b"\n", bytes([kind]), public)[:4]
    return f"\N{EM DASH} {origin} {base64.b64encode(key_id + signature).decode()}\n".encode()


def note_of(agency: str, pair: Sequence[bytes], compact: Sequence[Any]) -> bytes:
    """The note for which a compact checkpoint stands (§6.2)."""
    gateway, generation, size, root, ed25519, timestamp, mldsa44 = compact
    origin = f"{agency}/{gateway}/{generation}"
    return (
        note_text(origin, size, root)
        + b"\n"
        + note_line(origin, 0x01, pair[0], ed25519)
        + note_line(origin, 0x06, pair[1], struct.pack(">Q", timestamp) + mldsa44)
    )


def check_note(note: bytes, agency: str, gateways: dict[tuple[str, int], list[bytes]]) -> tuple[str, int, bytes]:
    """Steps 3 to 5 of §7.1; returns origin, size and root."""
    text, blank, lines = note.partition(b"\n\n")
    text += b"\n"
    parts = text.decode().split("\n")
    need(bool(blank) and len(parts) == 4 and str(int(parts[1])) == parts[1], "bad_encoding")
    origin, size, root = parts[0], int(parts[1]), base64.b64decode(parts[2], validate=True)
    need(len(root) == 32 and note_text(origin, size, root) == text, "bad_encoding")
    named, gateway, generation = origin.split("/")
    pair = gateways.get((gateway, int(generation)))
    if named != agency or pair is None:
        raise NotProvedError("wrong_key")
    found: dict[int, int] = {0x01: 0, 0x06: 0}
    for line in lines.decode().splitlines():
        dash, name, blob = line.split(" ")
        signed = base64.b64decode(blob, validate=True)
        for kind, public in ((0x01, pair[0]), (0x06, pair[1])):
            key_id = sha256(name.encode(), b"\n", bytes([kind]), public)[:4]
            if dash == "\N{EM DASH}" and name == origin and signed[:4] == key_id:
                found[kind] += 1
                if kind == 0x01:
                    verify_ed25519(public, text, signed[4:], "bad_checkpoint_signature")
                else:
                    stamp = struct.unpack(">Q", signed[4:12])[0]
                    message = cosigned_message(origin, stamp, size, root)
                    verify_mldsa44(public, message, signed[12:], "bad_checkpoint_signature")
    need(found == {0x01: 1, 0x06: 1}, "bad_checkpoint_signature")
    return origin, size, root


# --- §4 anchor, card, safety code ------------------------------------------------------------------------------------


def safety_code(agency: str, root_ed25519: bytes, root_mldsa65: bytes) -> str:
    """The hundred bits that two people compare."""
    digest = sha256(b"tocsin safety code v1\x00", encode([agency, root_ed25519, root_mldsa65]))
    bits = int.from_bytes(digest[:13]) >> 4
    text = "".join(SAFETY_ALPHABET[bits >> shift & 31] for shift in range(95, -1, -5))
    return "-".join(text[at : at + 4] for at in range(0, 20, 4))


def armour(card: bytes) -> str:
    """A card as text."""
    text = base64.b64encode(card).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join(["-----BEGIN TOCSIN CARD-----", *lines, "-----END TOCSIN CARD-----", ""])


def unarmour(text: str) -> bytes:
    """A card out of the text around it."""
    found = ARMOUR.search(text)
    assert found is not None
    return base64.b64decode("".join(found.group(1).split()), validate=True)


@dataclass(slots=True)
class Statement:
    """A statement of the other agency that held by steps 1 to 6 of §7.1, with what archives it."""

    entry: list[Any]
    blob: bytes
    index: int
    path: list[bytes]
    compact: list[Any]


@dataclass(slots=True)
class Other:
    """What is pinned and known of the agency at the other end."""

    agency: str
    anchor: list[Any]
    gateways: dict[tuple[str, int], list[bytes]]
    tls_root: bytes
    root_keys: tuple[bytes, bytes]
    head: list[Any]  # compact checkpoint
    profile: bytes | None = None
    epoch_keys: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    holds: list[int] = field(default_factory=list)  # sizes of our log
    knows: list[Any] = field(default_factory=lambda: [b"", None, 0])
    top_number: int = 0

    @classmethod
    def from_card(cls, text: str, code: str) -> Self:
        """Pin what a card says, once its safety code is the one that was told."""
        version, anchor, key_changes, profile, opened = decode(unarmour(text), 1_048_576)
        body = decode(anchor[0])
        need([version, body[0], key_changes, opened] == [1, 1, [], []], "card_invalid")
        agency, roots = body[1], (body[5], body[6])
        need(safety_code(agency, *roots) == code, "wrong_key")
        label = b"tocsin anchor v1"
        verify_ed25519(roots[0], label + b"\x00" + anchor[0], anchor[1], "card_invalid")
        MLDSA65PublicKey.from_public_bytes(roots[1]).verify(anchor[2], label + b"\x00" + anchor[0], label)
        gateways = {(gateway[0], gateway[1]): gateway[4] for gateway in body[9]}
        other = cls(agency, anchor, gateways, body[9][0][6], roots, profile[3])
        statement = other.prove(*profile)
        need(statement.entry[0] == PROFILE, "card_invalid")
        other.profile = statement.blob
        return other

    def prove(self, blob: bytes, index: int, path: list[bytes], compact: list[Any]) -> Statement:
        """Steps 1 to 6 of §7.1."""
        entry = decode(blob)
        need(len(entry[1]) == 16, "bad_encoding")
        check_inclusion(leaf_hash(blob), index, compact[2], path, compact[3])
        pair = self.gateways.get((compact[0], compact[1]))
        if pair is None:
            raise NotProvedError("wrong_key")
        check_note(note_of(self.agency, pair, compact), self.agency, self.gateways)
        return Statement(entry, blob, index, path, compact)

    @property
    def anchor_digest(self) -> bytes:
        return sha256(self.anchor[0])

    def newest_epoch_key(self) -> tuple[int, bytes]:
        """The highest number whose use_from has passed."""
        number = max(number for number, (use_from, _) in self.epoch_keys.items() if use_from <= now_ms())
        return number, self.epoch_keys[number][1]


# --- §8 envelope -----------------------------------------------------------------------------------------------------


def envelope_hash(header: bytes, body: bytes) -> bytes:
    """What the statements name."""
    return sha256(header, sha256(body))


def seal(recipient_key: bytes, header_fields: list[Any], rest: bytes) -> tuple[bytes, bytes]:
    """Header and body. `header_fields` are those before the commitment."""
    plaintext = os.urandom(32) + rest
    header = encode([*header_fields, sha256(b"tocsin content v1", plaintext)])
    deflate = zlib.compressobj(wbits=-15)
    packed = deflate.compress(plaintext) + deflate.flush()
    padded = packed.ljust(next(size for size in PADDED if size >= len(packed)), b"\x00")
    public = MLKEM768X25519PublicKey(
        MLKEM768PublicKey.from_public_bytes(recipient_key[:1184]),
        X25519PublicKey.from_public_bytes(recipient_key[1184:]),
    )
    return header, SUITE.encrypt(padded, public, b"tocsin envelope v1\x00" + header)


def unseal(key: MLKEM768X25519PrivateKey, header: bytes, body: bytes) -> list[Any]:
    """The rest of an envelope, checked against its header."""
    padded = SUITE.decrypt(body, key, b"tocsin envelope v1\x00" + header)
    need(len(padded) in PADDED, "malformed")
    inflate = zlib.decompressobj(wbits=-15)
    plaintext = inflate.decompress(padded, INFLATED_CAP + 1)
    need(len(plaintext) <= INFLATED_CAP and inflate.eof and not inflate.unused_data.strip(b"\x00"), "malformed")
    _, envelope_id, sender, to, _, _, _, _, commitment = decode(header, 512)
    need(sha256(b"tocsin content v1", plaintext) == commitment, "malformed")
    rest = decode(plaintext[32:], INFLATED_CAP)
    need(rest[:3] == [sender, to, envelope_id], "malformed")
    return rest


@dataclass(slots=True)
class Sent:
    """An envelope of ours."""

    index: int
    header: bytes
    body: bytes
    answer: Statement | None = None


@dataclass(slots=True)
class Got:
    """An envelope of the other's that opened."""

    envelope_id: bytes
    message_id: bytes
    message: bytes
    number: list[int]
    receipt_index: int


class IndependentPeer:
    """An agency of its own: keys, log, card, and rounds with one other agency, as a caller or called."""

    def __init__(self, agency: str, country: str) -> None:
        self.agency, self.country = agency, country
        self.root_ed, self.root_ml = SigningKey.generate(), MLDSA65PrivateKey.generate()
        self.node_ed, self.node_ml = SigningKey.generate(), MLDSA44PrivateKey.generate()
        self.kem, self.x25519 = MLKEM768PrivateKey.generate(), X25519PrivateKey.generate()
        self.epoch_key = MLKEM768X25519PrivateKey(self.kem, self.x25519)
        self.tls_key, self.tls_chain, self.tls_root = make_tls(agency)
        self.entries: list[bytes] = []
        self.leaves: list[bytes] = []
        self.last_stamp = 0
        self.sent: dict[bytes, Sent] = {}
        self.got: dict[tuple[str, bytes], Got] = {}
        self.to_send: set[int] = set()
        self.results: list[list[Any]] = []
        self.refusals: list[Any] = []
        self.numbers = 0
        self.lock = threading.Lock()
        self.arrived = threading.Condition(self.lock)
        self.anchor = self._make_anchor()
        self._other: Other | None = None

    @property
    def other(self) -> Other:
        assert self._other is not None, "nobody is pinned yet"
        return self._other

    def pin(self, text: str, code: str) -> None:
        """Take the other agency's card."""
        self._other = Other.from_card(text, code)

    def _make_anchor(self) -> list[Any]:
        root_keys = [bytes(self.root_ed.verify_key), self.root_ml.public_key().public_bytes_raw()]
        node_pair = [bytes(self.node_ed.verify_key), self.node_ml.public_key().public_bytes_raw()]
        witness = [
            bytes(SigningKey.generate().verify_key),
            MLDSA44PrivateKey.generate().public_key().public_bytes_raw(),
        ]
        gateway = ["gw1", 1, 0, sha256(), node_pair, witness, self.tls_root]
        issued = now_ms()
        names, expires = [["en", f"Agency {self.agency}"]], issued + 365 * 86_400_000
        body = encode([1, self.agency, names, self.country, 1, *root_keys, issued, expires, [gateway]])
        label = b"tocsin anchor v1"
        signed = label + b"\x00" + body
        return [body, self.root_ed.sign(signed).signature, self.root_ml.sign(signed, label)]

    @property
    def code(self) -> str:
        body = decode(self.anchor[0])
        return safety_code(self.agency, body[5], body[6])

    def append(self, kind: int, *fields: Any) -> int:
        """One leaf more; its index."""
        last = decode(self.entries[-1])[2] if self.entries else 0
        self.entries.append(encode([kind, os.urandom(16), max(now_ms(), last), *fields]))
        self.leaves.append(leaf_hash(self.entries[-1]))
        return len(self.entries) - 1

    def found_log(self, endpoints: Sequence[str] = ()) -> None:
        """The first two leaves: profile and epoch key."""
        self.append(PROFILE, [list(endpoints), [], ["en"], "+4961155123", LIMITS, MARKINGS])
        public = self.kem.public_key().public_bytes_raw() + self.x25519.public_key().public_bytes_raw()
        self.append(EPOCH_KEY, 1, now_ms(), public)

    def checkpoint(self) -> list[Any]:
        """The signed head of our log, compact."""
        size, root, origin = len(self.leaves), tree_root(self.leaves), f"{self.agency}/gw1/1"
        self.last_stamp = max(self.last_stamp, now_ms() // 1000)
        return [
            "gw1",
            1,
            size,
            root,
            self.node_ed.sign(note_text(origin, size, root)).signature,
            self.last_stamp,
            self.node_ml.sign(cosigned_message(origin, self.last_stamp, size, root)),
        ]

    def card(self) -> str:
        """Our card; the newest profile is leaf 0."""
        path = check_multiproof(
            len(self.leaves), tree_root(self.leaves), {0: self.leaves[0]}, make_multiproof(self.leaves, [0])
        )[0]
        return armour(encode([1, self.anchor, [], [self.entries[0], 0, path, self.checkpoint()], []]))

    # --- sending and receiving

    def seal_message(self, message_id: bytes, message: bytes, *, precedence: int, lifetime_ms: int) -> bytes:
        """Seal a message to the other agency and log it as issued; its envelope id."""
        number, public = self.other.newest_epoch_key()
        envelope_id, sent_at = os.urandom(16), now_ms()
        self.numbers += 1
        fields = [1, envelope_id, self.agency, self.other.agency, number, precedence, sent_at, sent_at + lifetime_ms]
        rest = encode([self.agency, self.other.agency, envelope_id, [1, self.numbers], message_id, message])
        header, body = seal(public, fields, rest)
        index = self.append(ISSUED, envelope_id, envelope_hash(header, body))
        self.sent[envelope_id] = Sent(index, header, body)
        return envelope_id

    def speak(self) -> list[Any]:
        """Our half of a round: what the other side lacks and what we owe it."""
        other = self.other
        head = other.head
        hello = [
            [1],
            LIMITS,
            now_ms(),
            True,
            [["gw1", 1, len(self.leaves)]],
            [[head[0], head[1], head[2], 0, head, []]],
            [other.anchor_digest, leaf_hash(other.profile or b""), max(other.epoch_keys, default=0)],
            [head[1], other.top_number + 1, other.top_number + 1],
            None,
        ]
        anchor = None if other.knows[0] in {b"", sha256(self.anchor[0])} else self.anchor
        return [1, hello, anchor, [], self._groups(), self.results, []]

    def _groups(self) -> list[Any]:
        if not self.other.holds:  # not yet heard which heads are held: no proof can be made
            return []
        bodies = {sent.index: sent for sent in self.sent.values() if sent.answer is None}
        indices = self.to_send | set(bodies)
        if self.other.knows[1] != self.leaves[0]:
            indices.add(0)
        if self.other.knows[2] < 1:
            indices.add(1)
        self.to_send = set()
        if not indices:
            return []
        ordered = sorted(indices)
        consistency = [[size, make_consistency(self.leaves, size)] for size in self.other.holds]
        attachments = [[bodies[index].header, bodies[index].body, []] if index in bodies else None for index in ordered]
        entries = [self.entries[index] for index in ordered]
        return [[self.checkpoint(), consistency, ordered, entries, make_multiproof(self.leaves, ordered), attachments]]

    def absorb(self, blob: bytes) -> None:
        """The other half of a round."""
        version, hello, anchor, key_changes, groups, results, cosignatures = decode(blob, ROUND_CAP)
        need(version == 1 and 1 in hello[0] and not cosignatures and not key_changes, "malformed")
        need(anchor is None or anchor == self.other.anchor, "bad_proof")
        self.results, self.refusals = [], [*self.refusals, *results]
        for gateway, generation, size, _changes, checkpoint, _key_changes in hello[HELLO_HELD]:
            need((gateway, generation) == ("gw1", 1) and size <= len(self.leaves), "bad_proof")
            if checkpoint is not None:
                need(checkpoint[3] == tree_root(self.leaves[:size]), "bad_proof")
        self.other.holds = [row[2] for row in hello[HELLO_HELD]]
        self.other.knows = hello[HELLO_KNOWN]
        for group in groups:
            self._absorb_group(group)

    def _absorb_group(self, group: list[Any]) -> None:
        compact, consistency, indices, entries, nodes, attachments = group
        held = self.other.head
        leaves = {index: leaf_hash(entry) for index, entry in zip(indices, entries, strict=True)}
        paths = check_multiproof(compact[2], compact[3], leaves, nodes)
        if compact[2] >= held[2]:
            proof = next(path for size, path in consistency if size == held[2])
            check_consistency(held[2], held[3], compact[2], compact[3], proof)
        statements = [
            self.other.prove(entry, index, paths[index], compact) for index, entry in zip(indices, entries, strict=True)
        ]
        if compact[2] >= held[2]:
            self.other.head = compact
        for statement, attachment in zip(statements, attachments, strict=True):
            self._admit(statement, attachment)
        self.arrived.notify_all()

    def _admit(self, statement: Statement, attachment: list[Any] | None) -> None:
        kind, fields = statement.entry[0], statement.entry[3:]
        if kind == PROFILE:
            self.other.profile = statement.blob
        elif kind == EPOCH_KEY:
            self.other.epoch_keys[fields[0]] = (fields[1], fields[2])
        elif kind == ISSUED:
            need(attachment is not None, "malformed")
            self._admit_envelope(statement, attachment or [])
        elif kind in {RECEIPT, REFUSED}:
            self._admit_answer(statement)

    def _admit_answer(self, statement: Statement) -> None:
        """Steps 7 and 8 of §7.1 with our own header and hash."""
        sender, envelope_id, hashed, head = statement.entry[3:7]
        sent = self.sent[envelope_id]
        need(decode(sent.header, 512)[3] == self.other.agency, "recipient_mismatch")
        need((sender, hashed) == (self.agency, envelope_hash(sent.header, sent.body)), "content_mismatch")
        gateway, generation, size, root = head
        need((gateway, generation) == ("gw1", 1) and sent.index < size <= len(self.leaves), "content_mismatch")
        need(root == tree_root(self.leaves[:size]), "content_mismatch")
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
        compact = statement.compact
        index = self.append(RECEIPT, sender, envelope_id, statement.entry[4], compact[:4])
        self.to_send.add(index)
        self.other.top_number = max(self.other.top_number, rest[3][1])
        self.got[sender, envelope_id] = Got(envelope_id, rest[4], rest[5], rest[3], index)

    # --- §9, §13 the line

    def tls_context(self, side: ssl.Purpose) -> ssl.SSLContext:
        """TLS 1.3 with our leaf, trusting only the pinned root, whatever the time."""
        context = ssl.SSLContext(
            ssl.PROTOCOL_TLS_SERVER if side is ssl.Purpose.CLIENT_AUTH else ssl.PROTOCOL_TLS_CLIENT
        )
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        if side is ssl.Purpose.CLIENT_AUTH:
            context.num_tickets = 0
        context.load_verify_locations(cadata=self.other.tls_root)
        with tempfile.TemporaryDirectory() as directory:
            pem = Path(directory, "tls.pem")
            pem.write_bytes(self.tls_key + self.tls_chain)
            context.load_cert_chain(pem)
        return context

    def call(self, host: str, port: int) -> tuple[int, bytes]:
        """One round with us as the caller: status and body, absorbed where the status is 200."""
        with self.lock:
            request = encode(self.speak())
        context = self.tls_context(ssl.Purpose.SERVER_AUTH)
        with (
            socket.create_connection((host, port), timeout=30) as plain,
            context.wrap_socket(plain, server_hostname=self.other.agency) as line,
        ):
            connection = http.client.HTTPConnection(host, port)
            connection.sock = line
            connection.request("POST", "/v1/round", request, {"Content-Type": "application/msgpack"})
            answer = connection.getresponse()
            body = answer.read(ROUND_CAP + 1)
        if answer.status == 200:
            with self.lock:
                self.absorb(body)
        return answer.status, body

    @contextmanager
    def listening(self) -> Iterator[int]:
        """Answer rounds on a port of 127.0.0.1 (the port is yielded) until the block ends."""
        peer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                given = self.rfile.read(int(self.headers["Content-Length"]))
                with peer.lock:
                    peer.absorb(given)
                    answer = encode(peer.speak())
                self.send_response(200)
                self.send_header("Content-Type", "application/msgpack")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def finish_request(self, request: Any, client_address: Any) -> None:
                context = peer.tls_context(ssl.Purpose.CLIENT_AUTH)
                with context.wrap_socket(request, server_side=True) as line:
                    super().finish_request(line, client_address)

        with Server(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
            thread.start()
            try:
                yield server.server_address[1]
            finally:
                server.shutdown()
                thread.join()


def make_tls(agency: str) -> tuple[bytes, bytes, bytes]:
    """Leaf key (PEM), leaf certificate (PEM) and root certificate (DER) of §13."""
    root_key, leaf_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    begin = datetime.now(UTC) - timedelta(days=1)
    root_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"{agency} root")])
    leaf_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, agency)])
    # §13 asks for neither the key identifiers nor the key usage; a node refuses the handshake where one is missing
    key_cert_sign = x509.KeyUsage(False, False, False, False, False, True, False, False, False)
    root = (
        x509.CertificateBuilder(root_name, root_name, root_key.public_key(), x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(root_key.public_key()), critical=False)
        .add_extension(key_cert_sign, critical=True)
        .sign(root_key, hashes.SHA256())
    )
    leaf = (
        x509.CertificateBuilder(root_name, leaf_name, leaf_key.public_key(), x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(agency)]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    key = leaf_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return key, leaf.public_bytes(Encoding.PEM), root.public_bytes(Encoding.DER)
