"""From stored rows to the memory a node works with: its own identity and its peers, verified again as they are read.

Owns that translation. A store that contradicts its keys stops the start: nothing is repaired silently.
"""

from __future__ import annotations

from collections.abc import Sequence

from exchange.checkpoint import Checkpoint, checkpoint_from_wire
from exchange.entry import Profile, decode_entry
from exchange.errors import ExchangeError
from exchange.log import leaf_hash
from exchange.proof import Proof, proof_from_wire, proof_to_wire
from exchange.statement import add_key_change, build_agency_keys
from keys.anchor import Anchor, anchor_from_wire
from keys.encoding import decode, encode, take_array
from keys.epochs import PublishedKey
from keys.errors import KeysError
from keys.ids import AgencyId, GatewayName
from keys.keystore import KeyStore
from nodes.errors import StoreCorruptError
from nodes.identity import Identity, PublishedProfile
from nodes.peers import Head, Peer, Peers
from nodes.store.contract import KeyChangeRow, PeerHeadRow, PeerRow, PutMeta, Startup, Store

MAX_STORED_BYTES = 4_194_304
PROFILE_META = "own/profile"
OPENED_META = "own/opened"


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
        identity = Identity(
            agency=agency,
            anchors=anchors,
            key_changes=_changes(agency, startup.key_changes),
            keystore=keystore,
            epoch_rows=[row for row in startup.epoch_keys if row.agency == agency],
        )
        profile = startup.meta.get(PROFILE_META)
        if profile is not None:
            identity.profile = PublishedProfile.of(stored_proof(profile, agency))
        identity.opened = tuple(_opened(startup, OPENED_META, agency))
    except (KeysError, ExchangeError) as error:
        raise StoreCorruptError("the stored identity does not verify") from error
    return identity


def opened_meta(proofs: Sequence[Proof], peer: AgencyId | None = None) -> PutMeta:
    """The row that keeps the proofs of opened generations: of the own log for the card, of a peer's for evidence."""
    key = OPENED_META if peer is None else f"opened/{peer}"
    return PutMeta(key, encode([proof_to_wire(proof) for proof in proofs]))


def _opened(startup: Startup, key: str, agency: AgencyId) -> list[Proof]:
    data = startup.meta.get(key)
    if data is None:
        return []
    return [proof_from_wire(value, agency) for value in take_array(decode(data, max_bytes=MAX_STORED_BYTES))]


async def load_peers(startup: Startup, store: Store) -> Peers:
    """All peers, pending and suspended ones too."""
    peers = Peers()
    for row in startup.peers:
        try:
            peers.put(await _load_peer(row, startup, store))
        except (KeysError, ExchangeError) as error:
            raise StoreCorruptError(f"the stored keys of {row.agency} do not verify") from error
    for (agency, generation), n in startup.counters.items():
        peer = peers.get(agency)
        if peer is not None:
            peer.next_number[generation] = n + 1
    for (agency, generation), n in startup.received.items():
        peer = peers.get(agency)
        if peer is not None:
            peer.highest_received[generation] = n
    for unreconciled in await store.unreconciled():
        peer = peers.get(unreconciled.agency)
        if peer is not None:
            head = _head(unreconciled)
            peer.cross(head)
    for peer in peers:
        peer.conflicting = conflict_meta(peer.agency) in startup.meta
    return peers


def conflict_meta(agency: AgencyId) -> str:
    """Where the second of two anchors of one serial is kept: a proof against whoever signed both."""
    return f"anchor_conflict/{agency}"


async def _load_peer(row: PeerRow, startup: Startup, store: Store) -> Peer:
    anchors = [stored_anchor(anchor.anchor) for anchor in startup.anchors if anchor.agency == row.agency]
    newest = stored_anchor(row.anchor)
    # After `peer replace` the anchors of the old root stay for old evidence; only those of the pinned root speak now.
    anchors = sorted((a for a in anchors if a.body.root == newest.body.root), key=lambda anchor: anchor.body.serial)
    keys = build_agency_keys(anchors or [newest], ())
    for change in _changes(row.agency, startup.key_changes):
        try:
            keys = add_key_change(keys, change)
        except (KeysError, ExchangeError):
            continue  # of a root that was replaced since: kept for old evidence, no key of today's
    peer = Peer(row=row, keys=keys)
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
    peer.opened = _opened(startup, f"opened/{row.agency}", row.agency)
    for held in await store.held_heads(row.agency):
        peer.hold(_head(held))
    return peer


def _head(row: PeerHeadRow) -> Head:
    checkpoint = stored_checkpoint(row.checkpoint, row.agency)
    return Head(GatewayName(row.gateway), row.generation, row.size, row.root, checkpoint, row.at)


def _changes(agency: AgencyId, rows: Sequence[KeyChangeRow]) -> list[Proof]:
    mine = sorted(
        (row for row in rows if row.agency == agency), key=lambda row: (row.gateway, row.generation, row.index)
    )
    return [stored_proof(row.proof, agency) for row in mine]
