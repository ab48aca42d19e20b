"""From stored rows to the memory a node works with: its own identity and its peers, verified again as they are read.

Owns that translation. A store that contradicts its keys stops the start: nothing is repaired silently.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from exchange.checkpoint import Checkpoint, checkpoint_from_wire
from exchange.entry import Profile, decode_entry
from exchange.errors import ExchangeError
from exchange.log import leaf_hash
from exchange.proof import Proof, proof_from_wire, proof_to_wire
from exchange.statement import AgencyKeys, add_key_change, build_agency_keys
from keys.anchor import Anchor, anchor_from_wire, anchor_to_wire
from keys.encoding import decode, encode, take_array, take_int
from keys.epochs import PublishedKey
from keys.errors import KeysError
from keys.ids import AgencyId, GatewayName
from keys.keystore import KeyStore
from keys.signing import RootPublicPair
from nodes.errors import StoreCorruptError
from nodes.identity import Identity, LostKeys, PublishedProfile, changes_below, log_name, merged_keys
from nodes.losses import lost_posts_meta, stored_lost_posts
from nodes.peers import Head, Peer, Peers
from nodes.store.contract import KeyChangeRow, MoveKeys, Op, PeerHeadRow, PeerRow, PutMeta, Startup, Store
from nodes.writer import AUDIT_LOG, OwnLogState, load_own_log

MAX_STORED_BYTES = 4_194_304
PROFILE_META = "own/profile"
OPENED_META = "own/opened"
LOST_KEYS_META = "own/lost_keys"
RECOVER_META = "own/recover_since"
EPOCH_FLOOR_META = "own/epoch_floor"
CONFIRMED_META = "own/confirmed"
HIGHEST_SERIAL_META = "own/highest_serial"


def proof_bytes(proof: Proof) -> bytes:
    """A proof as it is kept in the store."""
    return encode(proof_to_wire(proof))


def stored_proof(data: bytes, agency: AgencyId) -> Proof:
    """A proof as it was kept. Raises EncodingError."""
    return proof_from_wire(decode(data, max_bytes=MAX_STORED_BYTES), agency)


def stored_checkpoint(data: bytes, agency: AgencyId) -> Checkpoint:
    """A compact checkpoint as it was kept. Raises EncodingError."""
    return checkpoint_from_wire(decode(data, max_bytes=MAX_STORED_BYTES), agency)


def stored_anchor(data: bytes) -> Anchor:
    """An anchor as it was kept; its signatures are verified again."""
    return anchor_from_wire(decode(data, max_bytes=MAX_STORED_BYTES))


def load_identity(agency: AgencyId, startup: Startup, keystore: KeyStore) -> Identity:
    """The node's own identity. Raises StoreCorruptError when the store and its keys do not fit together."""
    try:
        anchors = [stored_anchor(row.anchor) for row in startup.anchors if row.agency == agency]
        anchors.sort(key=lambda anchor: anchor.body.serial)
        changes: Sequence[Proof] = _changes(agency, agency, startup.key_changes)
        lost = startup.meta.get(LOST_KEYS_META)
        told = _lost_keys(lost, agency) if lost else None
        confirmed = _confirmed(startup.meta.get(CONFIRMED_META))
        if told is not None and anchors[-1].body.serial > told.serial:
            changes = merged_keys(anchors, changes_below(changes, confirmed), told.changes, changes).changes
        identity = Identity(
            agency=agency,
            anchors=anchors,
            key_changes=changes,
            keystore=keystore,
            epoch_rows=[row for row in startup.epoch_keys if row.agency == agency],
        )
        profile = startup.meta.get(PROFILE_META)
        if profile is not None:
            identity.profile = PublishedProfile.of(stored_proof(profile, agency))
        identity.opened = tuple(_opened(startup, OPENED_META, agency))
        identity.lost = told
        identity.confirmed = confirmed
        identity.epoch_floor = int.from_bytes(startup.meta.get(EPOCH_FLOOR_META, b""), "big")
        since = startup.meta.get(RECOVER_META)
        identity.recover_since = None if since is None else int.from_bytes(since, "big")
    except (KeysError, ExchangeError) as error:
        raise StoreCorruptError("the stored identity does not verify") from error
    return identity


def opened_meta(proofs: Sequence[Proof], peer: AgencyId | None = None) -> PutMeta:
    """The row that keeps the proofs of opened generations: of the own log for the card, of a peer's for evidence."""
    key = OPENED_META if peer is None else _opened_key(peer)
    return PutMeta(key, encode([proof_to_wire(proof) for proof in proofs]))


def lost_keys_meta(lost: LostKeys | None) -> PutMeta:
    """The row that keeps which anchors and key changes of ours only peers hold; None: they are ours again."""
    if lost is None:
        return PutMeta(LOST_KEYS_META, b"")
    anchors = [anchor_to_wire(anchor) for anchor in lost.anchors]
    return PutMeta(LOST_KEYS_META, encode([lost.serial, anchors, [proof_to_wire(proof) for proof in lost.changes]]))


def _lost_keys(data: bytes, agency: AgencyId) -> LostKeys:
    serial, anchors, changes = take_array(decode(data, max_bytes=MAX_STORED_BYTES), length=3)
    return LostKeys(
        take_int(serial),
        tuple(anchor_from_wire(anchor) for anchor in take_array(anchors)),
        tuple(proof_from_wire(change, agency) for change in take_array(changes)),
    )


def epoch_floor_meta(number: int) -> PutMeta:
    """The row that keeps up to which number an epoch key here may be another than the one that peers hold."""
    return PutMeta(EPOCH_FLOOR_META, number.to_bytes(8, "big"))


def confirmed_meta(head: tuple[int, int]) -> PutMeta:
    """The row that keeps up to which head, (generation, size), a peer is known to hold the own log."""
    return PutMeta(CONFIRMED_META, encode(list(head)))


def _confirmed(data: bytes | None) -> tuple[int, int]:
    if not data:
        return 0, 0
    generation, size = take_array(decode(data, max_bytes=64), length=2)
    return take_int(generation), take_int(size)


def highest_serial_meta(serial: int) -> PutMeta:
    """The row that keeps the highest serial that the root ever signed here, a revocation's too."""
    return PutMeta(HIGHEST_SERIAL_META, serial.to_bytes(8, "big"))


def recover_meta(since: int) -> PutMeta:
    """The row that keeps from when on peers are asked to send again."""
    return PutMeta(RECOVER_META, since.to_bytes(8, "big"))


def key_change_row(agency: AgencyId, proof: Proof) -> KeyChangeRow:
    """A proved key change as it is kept."""
    origin = proof.checkpoint.origin
    return KeyChangeRow(agency, origin.gateway, origin.generation, proof.index, proof_bytes(proof))


async def load_own_logs(identity: Identity, startup: Startup, store: Store) -> tuple[int, OwnLogState, OwnLogState]:
    """The newest generation of the own log, that log, and the audit log."""
    states = {state.log: state for state in startup.logs}
    of_gateway = [name for name in states if name.startswith(f"{identity.gateway}/")]
    generation = max((int(name.rpartition("/")[2]) for name in of_gateway), default=1)
    main, audit = [
        OwnLogState.empty(name) if name not in states else await load_own_log(store, identity.agency, states[name])
        for name in (log_name(identity.gateway, generation), AUDIT_LOG)
    ]
    return generation, main, audit


def _opened_key(peer: AgencyId) -> str:
    return f"opened/{peer}"


def _opened(startup: Startup, key: str, agency: AgencyId) -> list[Proof]:
    data = startup.meta.get(key)
    if not data:
        return []
    return [proof_from_wire(value, agency) for value in take_array(decode(data, max_bytes=MAX_STORED_BYTES))]


async def load_peers(startup: Startup, store: Store) -> Peers:
    """All peers, pending and suspended ones too."""
    peers = Peers()
    unreconciled = await store.unreconciled()
    for row in startup.peers:
        peers.put(await load_peer(row, startup, store, unreconciled))
    return peers


async def load_peer(row: PeerRow, startup: Startup, store: Store, unreconciled: Sequence[PeerHeadRow]) -> Peer:
    """One peer, as the store has it. Raises StoreCorruptError."""
    try:
        peer = await _load_keys(row, startup, store)
        for head in unreconciled:
            if head.agency == row.agency:
                peer.cross(_head(head))
    except (KeysError, ExchangeError) as error:
        raise StoreCorruptError(f"the stored keys of {row.agency} do not verify") from error
    for (agency, generation), n in startup.counters.items():
        if agency == row.agency:
            peer.next_number[generation] = n + 1
    for (agency, generation), n in startup.received.items():
        if agency == row.agency:
            peer.highest_received[generation] = n
    peer.used_at_start = {generation: number - 1 for generation, number in peer.next_number.items()}
    lost = startup.meta.get(lost_posts_meta(row.agency))
    if lost is not None:
        peer.lost = stored_lost_posts(lost)
    peer.conflicting = bool(startup.meta.get(conflict_meta(row.agency)))
    return peer


def conflict_meta(agency: AgencyId) -> str:
    """Where the second of two anchors of one serial is kept: a proof against whoever signed both."""
    return f"anchor_conflict/{agency}"


async def _load_keys(row: PeerRow, startup: Startup, store: Store) -> Peer:
    # After `peer replace` what spoke under the old root stays for old evidence, under a name of its own (former_name).
    peer = Peer(row=row, keys=_keys(row.agency, row.agency, stored_anchor(row.anchor), startup))
    if row.profile is not None:
        proof = stored_proof(row.profile, row.agency)
        entry = decode_entry(proof.entry)
        if isinstance(entry, Profile):
            peer.profile, peer.profile_hash = entry, leaf_hash(proof.entry)
            peer.profile_position = (proof.checkpoint.origin.generation, proof.index)
    peer.epoch_keys = {
        key.number: PublishedKey(key.number, key.use_from, key.public)
        for key in startup.epoch_keys
        if key.agency == row.agency and key.destroyed_at is None
    }
    peer.opened = _opened(startup, _opened_key(row.agency), row.agency)
    for held in await store.held_heads(row.agency):
        peer.hold(_head(held))
    return peer


def _keys(agency: AgencyId, lies_under: AgencyId, anchor: Anchor, startup: Startup) -> AgencyKeys:
    """All keys known under the root of `anchor`. `lies_under` is the name that its key changes have in the store."""
    known = [stored_anchor(row.anchor) for row in startup.anchors if row.agency == agency]
    anchors = sorted((a for a in known if a.body.root == anchor.body.root), key=lambda a: a.body.serial)
    keys = build_agency_keys(anchors or [anchor], ())
    for change in _changes(agency, lies_under, startup.key_changes):
        try:
            keys = add_key_change(keys, change)
        except (KeysError, ExchangeError):
            continue  # a later anchor made it void: it was true, and says nothing any more
    return keys


# --- roots that a peer had before -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Voice:
    """An agency under one of its roots: the keys that speak, and the name under which its heads lie in the store."""

    agency: AgencyId
    lies_under: AgencyId
    keys: AgencyKeys
    opened: Sequence[Proof]


def former_name(agency: AgencyId, root: RootPublicPair) -> AgencyId:
    """Under which name the heads and key changes of an agency's former root lie in the store: no agency id holds a
    slash. Under the agency's own name lies what is of its pinned root, and only that is used on the line.
    """
    return AgencyId(f"{agency}/{sha256(encode([root.ed25519, root.mldsa65])).hexdigest()[:32]}")


def root_changed(agency: AgencyId, old: RootPublicPair, new: RootPublicPair, startup: Startup) -> list[Op]:
    """Rows that put aside what was known under the old root, and take up again what was once known under the new."""
    aside, again = former_name(agency, old), former_name(agency, new)
    ops: list[Op] = [MoveKeys(agency, aside), MoveKeys(again, agency)]
    for key_of in (_opened_key, conflict_meta):
        ops.append(PutMeta(key_of(aside), startup.meta.get(key_of(agency), b"")))
        ops.append(PutMeta(key_of(agency), startup.meta.get(key_of(again), b"")))
    return ops


def former_voices(agency: AgencyId, pinned: RootPublicPair, startup: Startup) -> list[Voice]:
    """An agency under each root that it had before."""
    anchors = [stored_anchor(row.anchor) for row in startup.anchors if row.agency == agency]
    by_name = {former_name(agency, a.body.root): a for a in anchors if a.body.root != pinned}
    return [
        Voice(agency, name, _keys(agency, name, anchor, startup), _opened(startup, _opened_key(name), agency))
        for name, anchor in by_name.items()
    ]


def _head(row: PeerHeadRow) -> Head:
    checkpoint = stored_checkpoint(row.checkpoint, row.agency)
    return Head(GatewayName(row.gateway), row.generation, row.size, row.root, checkpoint, row.at)


def _changes(agency: AgencyId, lies_under: AgencyId, rows: Sequence[KeyChangeRow]) -> list[Proof]:
    mine = sorted(
        (row for row in rows if row.agency == lies_under), key=lambda row: (row.gateway, row.generation, row.index)
    )
    return [stored_proof(row.proof, agency) for row in mine]
