"""Agencies for tests: a root, node pairs and whole logs in memory, from seeds, and thieves who hold some of their keys.

Also what tests/vectors/generate.py builds its vectors from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import sha256

from exchange.card import Card, make_card
from exchange.checkpoint import Checkpoint, sign_checkpoint
from exchange.currency import Link
from exchange.envelope import Precedence, SealedEnvelope, SealRequest, seal_message
from exchange.log import EMPTY_ROOT, Frontier, TileReader, consistency_proof, inclusion_path, leaf_hash, root_at
from exchange.statement import (
    KEY_CHANGE_LABEL,
    AgencyKeys,
    Entry,
    EnvelopeFacts,
    Head,
    Issued,
    KeyChange,
    LogOpened,
    Profile,
    Proof,
    Receipt,
    Refused,
    build_agency_keys,
    encode_entry,
    key_change_body,
)
from keys.anchor import Anchor, AnchorBody, GatewayEntry, make_anchor
from keys.certificates import make_tls_root
from keys.ids import AgencyId, EnvelopeId, GatewayName, MessageId, Origin
from keys.signing import NodeKeyPair, NodePublicPair, RootKeyPair, WitnessKeyPair, sign_labelled

NOW = 1_795_000_000_000
DAY_MS = 86_400_000
GATEWAY = GatewayName("gw1")


def seed(*parts: object) -> bytes:
    """32 bytes that are the same in every run."""
    return sha256("/".join(map(str, parts)).encode()).digest()


@lru_cache
def node_pair(agency: str, number: int) -> NodeKeyPair:
    """The agency's node pair of that number."""
    return NodeKeyPair.from_seeds(seed(agency, "node", number, "ed"), seed(agency, "node", number, "mldsa"))


@lru_cache
def root_pair(agency: str) -> RootKeyPair:
    """The agency's root."""
    return RootKeyPair.from_seeds(seed(agency, "root", "ed"), seed(agency, "root", "mldsa"))


@lru_cache
def tls_root(agency: str) -> bytes:
    """A TLS root certificate, fresh in every run: nothing compares it."""
    return make_tls_root(AgencyId(agency), NOW)[0]


@dataclass
class Log:
    """One log generation in memory: entries, tiles, and the checkpoint of every commit."""

    origin: Origin
    pair: NodeKeyPair
    entries: list[bytes] = field(default_factory=list)
    tiles: dict[tuple[int, int], bytes] = field(default_factory=dict)
    frontier: Frontier = field(default_factory=Frontier.empty)
    checkpoints: dict[int, Checkpoint] = field(default_factory=dict)

    @property
    def reader(self) -> TileReader:
        """Its tiles."""
        return lambda level, n: self.tiles[level, n]

    @property
    def size(self) -> int:
        """Its leaves."""
        return len(self.entries)

    def commit(self, *entries: Entry | bytes) -> int:
        """Append in one commit and sign its head. Gives the index of the first."""
        first = self.size
        data = [entry if isinstance(entry, bytes) else encode_entry(entry) for entry in entries]
        append = self.frontier.append_many([leaf_hash(entry) for entry in data])
        self.frontier = append.frontier
        self.tiles.update(append.tiles)
        self.entries.extend(data)
        self.checkpoints[self.size] = self.sign(self.size)
        return first

    def sign(self, size: int, pair: NodeKeyPair | None = None, timestamp: int | None = None) -> Checkpoint:
        """The checkpoint of that size, as `pair` would sign it."""
        root = root_at(self.reader, self.size, size) if size else EMPTY_ROOT
        time = NOW // 1000 + size if timestamp is None else timestamp
        return sign_checkpoint(self.origin, size, root, time, pair or self.pair)

    def proof(self, index: int, size: int | None = None) -> Proof:
        """The entry at `index` under the commit of `size`, the newest if not said."""
        size = self.size if size is None else size
        path = inclusion_path(self.reader, size, index)
        return Proof(self.entries[index], index, path, self.checkpoints[size])

    def head(self, size: int | None = None) -> Head:
        """The head as a receipt names it."""
        size = self.size if size is None else size
        return Head(self.origin.gateway, self.origin.generation, size, self.checkpoints[size].root)

    def link(self, first: int, second: int | None = None) -> Link:
        """The consistency proof between two of its heads."""
        second = self.size if second is None else second
        return Link(
            self.origin.agency,
            self.origin.gateway,
            self.origin.generation,
            first,
            root_at(self.reader, self.size, first),
            second,
            root_at(self.reader, self.size, second),
            consistency_proof(self.reader, first, second),
        )


@dataclass
class Agency:
    """An agency with one gateway."""

    agency: AgencyId
    anchors: list[Anchor]
    log: Log
    changes: list[Proof] = field(default_factory=list)
    opened: list[Proof] = field(default_factory=list)
    profile: Proof | None = None
    pairs: int = 1
    salts: int = 0

    @property
    def keys(self) -> AgencyKeys:
        """Its keys, with all that is known."""
        return build_agency_keys(self.anchors, self.changes)

    @property
    def pair(self) -> NodeKeyPair:
        """What signs its next checkpoint."""
        return self.log.pair

    def salt(self) -> bytes:
        """16 bytes, others each time."""
        self.salts += 1
        return seed(self.agency, "salt", self.salts)[:16]

    @property
    def time(self) -> int:
        """The time of its next entry."""
        return NOW + self.log.size

    def say(self, make: Callable[[bytes, int], Entry]) -> Proof:
        """Log one entry in a commit of its own, and its proof."""
        index = self.log.commit(make(self.salt(), self.time))
        return self.log.proof(index)

    def publish_profile(self, endpoint: str = "https://127.0.0.1:7443") -> Proof:
        """Log a profile."""
        self.profile = self.say(
            lambda salt, time: Profile(salt, time, (endpoint,), (), ("de", "en"), "+4961155", 4_194_304, 1_024, ("H0",))
        )
        return self.profile

    def issue(self, sealed: SealedEnvelope) -> Proof:
        """Log that it issued an envelope."""
        return self.say(lambda salt, time: Issued(salt, time, sealed.header.envelope_id, sealed.envelope_hash))

    def receipt(self, sealed: SealedEnvelope, head: Head) -> Proof:
        """Log a receipt."""
        header = sealed.header
        return self.say(
            lambda salt, time: Receipt(salt, time, header.sender, header.envelope_id, sealed.envelope_hash, head)
        )

    def refuse(self, sealed: SealedEnvelope, head: Head, code: str = "policy_denied") -> Proof:
        """Log a final refusal."""
        header = sealed.header
        return self.say(
            lambda salt, time: Refused(salt, time, header.sender, header.envelope_id, sealed.envelope_hash, head, code)
        )

    def change_entry(self, new: NodeKeyPair, signer: NodeKeyPair | None = None) -> KeyChange:
        """The entry that names `new`, signed by itself, or by somebody else."""
        body = key_change_body(self.log.origin, new.public)
        return KeyChange(self.salt(), self.time, new.public, *sign_labelled(signer or new, KEY_CHANGE_LABEL, body))

    def rotate(self) -> Proof:
        """Change the node pair: the old one signs that head, the new one every later one."""
        self.pairs += 1
        new = node_pair(self.agency, self.pairs)
        proof = self.log.proof(self.log.commit(self.change_entry(new)))
        self.changes.append(proof)
        self.log.pair = new
        return proof

    def next_anchor(self, *, revoke: bool = False, new_pair: bool = False) -> Anchor:
        """The anchor of the next serial, at the log's head."""
        if new_pair:
            self.pairs += 1
            self.log.pair = node_pair(self.agency, self.pairs)
        anchor = make_test_anchor(
            self.agency,
            serial=self.anchors[-1].body.serial + 1,
            generation=self.log.origin.generation,
            base_size=self.log.size,
            base_root=self.log.frontier.root,
            node=None if revoke else self.pair.public,
        )
        self.anchors.append(anchor)
        return anchor

    def open_generation(self, reason: str = "rollback") -> Proof:
        """Open the next log generation, signed by the pair in force."""
        before = self.log
        origin = replace(before.origin, generation=before.origin.generation + 1)
        self.log = Log(origin, before.pair)
        previous, size, root = before.origin.generation, before.size, before.frontier.root
        proof = self.say(lambda salt, time: LogOpened(salt, time, previous, size, root, reason))
        self.opened.append(proof)
        return proof

    def card(self) -> Card:
        """Its card."""
        profile = self.profile or self.publish_profile()
        return make_card(self.keys, profile, self.opened)

    def fork(self, size: int, pair: NodeKeyPair | None = None) -> Log:
        """A log that shares the first `size` entries and goes its own way: what a thief, or a restored copy, writes."""
        fork = Log(self.log.origin, pair or self.pair)
        if size:
            fork.commit(*self.log.entries[:size])
        return fork


def make_test_anchor(
    agency: str,
    *,
    serial: int = 1,
    generation: int = 1,
    base_size: int = 0,
    base_root: bytes = EMPTY_ROOT,
    node: NodePublicPair | None,
    signer: RootKeyPair | None = None,
) -> Anchor:
    """An anchor with one gateway, signed by the agency's root, or by another."""
    root = signer or root_pair(agency)
    witness = WitnessKeyPair.from_seeds(seed(agency, "witness", "ed"), seed(agency, "witness", "mldsa"))
    gateway = GatewayEntry(GATEWAY, generation, base_size, base_root, node, witness.public, tls_root(agency))
    body = AnchorBody(
        agency=AgencyId(agency),
        names=(("en", f"Agency {agency}"),),
        country="DE",
        serial=serial,
        root=root.public,
        issued_at=NOW + serial,
        expires_at=NOW + 730 * DAY_MS,
        gateways=(gateway,),
    )
    return make_anchor(body, root)


def make_agency(name: str) -> Agency:
    """An agency as `init` makes it, its log empty."""
    pair = node_pair(name, 1)
    anchor = make_test_anchor(name, node=pair.public)
    return Agency(AgencyId(name), [anchor], Log(Origin(AgencyId(name), GATEWAY, 1), pair))


def seal_plainly(info: bytes, plaintext: bytes) -> bytes:
    """A double of HPKE with its lengths: what lies inside is of no concern to logs and evidence."""
    return bytes(1_120) + plaintext + bytes(16)


def open_plainly(info: bytes, body: bytes) -> bytes:
    """The other side of seal_plainly."""
    return body[1_120:-16]


def make_envelope(
    sender: str,
    recipient: str,
    content: bytes = b'{"kind":"alert","case_id":"CO-PONAL/2026/000017"}',
    number: int = 1,
    message_id: bytes | None = None,
) -> SealedEnvelope:
    """An envelope, the same for the same arguments."""
    name = (sender, recipient, number, content.hex())
    request = SealRequest(
        envelope_id=EnvelopeId(seed("envelope", *name)[:16]),
        sender=AgencyId(sender),
        recipient=AgencyId(recipient),
        epoch_number=1,
        precedence=Precedence.IMMEDIATE,
        sent_at=NOW,
        deliver_by=NOW + 7 * DAY_MS,
        generation=1,
        number=number,
        message_id=MessageId(seed("message", sender, number)[:16] if message_id is None else message_id),
        content=content,
    )
    return seal_message(request, seal_plainly, seed("opening", *name))


def facts_of(sealed: SealedEnvelope) -> EnvelopeFacts:
    """What statements about an envelope are compared with."""
    header = sealed.header
    return EnvelopeFacts(header.sender, header.recipient, header.envelope_id, sealed.envelope_hash)


def filler(agency: Agency, count: int) -> Sequence[int]:
    """Log `count` entries that say nothing of interest, each in a commit of its own."""
    return [agency.log.commit(encode_entry(_unasked(agency))) for _ in range(count)]


def _unasked(agency: Agency) -> Issued:
    salt = agency.salt()
    return Issued(salt, agency.time, EnvelopeId(salt), sha256(salt).digest())
