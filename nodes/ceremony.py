"""What is done with the agency root while the node is stopped: taking it off the machine, signing the next anchor.

Owns the two ceremonies. It takes the directory's lock, so that no running node signs meanwhile.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from exchange.card import BEGIN_LINE, armour, encode_card, make_card
from exchange.errors import ProtocolBugError
from exchange.log import inclusion_path
from exchange.proof import Proof
from exchange.statement import build_agency_keys
from keys.anchor import Anchor, GatewayEntry, anchor_to_wire, make_anchor
from keys.encoding import encode
from keys.errors import KeyFileError, KeyFileProblem
from keys.keystore import KeyStore
from keys.randomness import random_bytes
from keys.signing import NodeKeyPair, NodePublicPair, RootKeyPair
from nodes.birth import ANCHOR_LIFE_MS, STORE_FILE
from nodes.config import NodeConfig, load_config
from nodes.daemon import key_file_error, wall_clock
from nodes.directory import DirectoryLock, Layout, check_directory, check_replaceable, write_whole
from nodes.errors import OperationError
from nodes.identity import Identity, log_name, pair_label
from nodes.keyring import PAIR_SINCE_META, Keyring
from nodes.loading import (
    HIGHEST_SERIAL_META,
    highest_serial_meta,
    load_identity,
    load_own_logs,
    stored_checkpoint,
)
from nodes.store.contract import AnchorRow, Batch, LogState, PutAnchor, PutMeta
from nodes.store.sqlite import SqliteStore
from nodes.store.tiles import TileCache
from nodes.writer import Writer

Document = dict[str, object]

SERIALS_LEFT_OUT = 1_000


def export_root(directory: str, passphrase: str, output: Path) -> Document:
    """Write the root sealed with the same passphrase, read it back, remove it from the node.

    Raises OperationError; the root is removed only after the copy was read back and is the same.
    """
    layout = check_directory(directory)
    config = load_config(directory)
    with DirectoryLock(layout):
        keystore = _open(layout, passphrase)
        if not keystore.has_root():
            raise OperationError("wrong_state", "the root is not on this machine", "it was exported before")
        if output.exists():
            raise OperationError("exists", f"{output} is there already", "name a new file")
        if output.resolve().is_relative_to(layout.root.resolve()):
            raise OperationError(
                "usage",
                f"{output} lies in the node's own directory: whoever takes the machine would take the root with it",
                "name a file on a stick, for the safe",
            )
        try:
            keystore.export_root(output, passphrase)
            read_back = KeyStore.load_exported_root(output, passphrase)
            if read_back.public != keystore.load_root().public:
                raise OperationError("io_error", f"{output} does not hold what was written", "use another stick")
            keystore.remove_root()
        except KeyFileError as error:
            raise OperationError(
                "io_error", f"cannot write {output}: {error.problem}", "the root is still in the node"
            ) from error
    return {"v": 1, "agency": config.agency, "file": str(output)}


def next_anchor(directory: str, passphrase: str, root_file: Path, output: Path, *, revoke: bool) -> Document:
    """Sign the next serial with current values. A revocation is only written to `output`, not taken by this node."""
    layout = check_directory(directory)
    config = load_config(directory)
    check_replaceable(output, BEGIN_LINE.encode())
    with DirectoryLock(layout):
        keystore = _open(layout, passphrase)
        try:
            root = KeyStore.load_exported_root(root_file, passphrase)
        except KeyFileError as error:
            raise _root_file_error(error, root_file) from error
        with asyncio.Runner() as runner:
            return runner.run(_sign(layout, config, keystore, root, output, revoke=revoke))


async def _sign(
    layout: Layout, config: NodeConfig, keystore: KeyStore, root: RootKeyPair, output: Path, *, revoke: bool
) -> Document:
    store = await SqliteStore.open(layout.store / STORE_FILE, create=False)
    try:
        startup = await store.startup()
        identity = load_identity(config.agency, startup, keystore)
        if root.public != identity.anchor.body.root:
            raise OperationError(
                "root_changed",
                "this is the root of another agency, or an older one",
                "use the file that export-root wrote",
            )
        state = next(state for state in startup.logs if state.open and state.log.startswith(f"{identity.gateway}/"))
        successor = _successor(identity) if identity.needs_anchor and not revoke else None
        signed = int.from_bytes(startup.meta.get(HIGHEST_SERIAL_META, b""), "big")
        anchor = _anchor(identity, config, root, state, successor, revoke=revoke, signed=signed)
        if not revoke and _says_the_same(anchor, identity.anchor):
            # It was signed before, and its card did not reach a file: the same anchor again, not another serial.
            anchor = identity.anchor
        row = AnchorRow(config.agency, anchor.body.serial, encode(anchor_to_wire(anchor)))
        # Durable before anybody gets it: the next one must have another serial, also after a revocation for the safe.
        await store.commit(Batch(ops=[highest_serial_meta(max(signed, anchor.body.serial))]))
        if successor is not None:
            card = await _begin_anew(identity, config, store, row)
        else:
            card = await _card(identity, anchor, store, state)
            if not revoke and anchor is not identity.anchor:
                await store.commit(Batch(ops=[PutAnchor(row)]))
    finally:
        await store.close()
    write_whole(output, card.encode())
    if not revoke:
        write_whole(layout.card, card.encode())
    return {
        "v": 1,
        "agency": config.agency,
        "serial": anchor.body.serial,
        "safety_code": identity.code,
        "revoked": revoke,
        "card": str(output),
    }


def _successor(identity: Identity) -> NodePublicPair:
    """A new pair for a node whose own was replaced while this copy of its directory lay aside: that one never returns
    (PROTOCOL §4). On disk before the anchor that names it.
    """
    new = NodeKeyPair.generate()
    identity.keystore.save_node_pair(pair_label(new.public), new)
    return new.public


async def _begin_anew(identity: Identity, config: NodeConfig, store: SqliteStore, row: AnchorRow) -> str:
    """Take an anchor that names a successor, with those before it that peers showed, and say a first word under it: to
    those who know the pair before as replaced, no head of that one proves the profile in a card. Returns the card.
    """
    since = PutMeta(PAIR_SINCE_META, wall_clock().to_bytes(8, "big"))
    startup = await store.startup()
    shown = () if identity.lost is None else identity.lost.anchors
    rows = [*(AnchorRow(row.agency, one.body.serial, encode(anchor_to_wire(one))) for one in shown), row]
    load_identity(
        identity.agency, replace(startup, anchors=(*startup.anchors, *rows)), identity.keystore
    )  # or it raises
    await store.commit(Batch(ops=[*(PutAnchor(one) for one in rows), since]))
    startup = await store.startup()
    identity = load_identity(identity.agency, startup, identity.keystore)
    generation, main, audit = await load_own_logs(identity, startup, store)
    signer = identity.signer(identity.node_pair(generation, main.frontier.size + 1))
    origin = identity.origin(generation)
    writer = Writer(store, origin, main, signer, wall_clock, lambda: random_bytes(16), audit=audit)
    writer.start()
    try:
        await Keyring(identity, store, writer, wall_clock).publish_profile(config, again=True)
    finally:
        await writer.close()
    card = identity.card_text()
    if card is None:
        raise ProtocolBugError("a profile was logged and there is no card")
    return card


def _anchor(
    identity: Identity,
    config: NodeConfig,
    root: RootKeyPair,
    state: LogState,
    successor: NodePublicPair | None,
    *,
    revoke: bool,
    signed: int,
) -> Anchor:
    now = wall_clock()
    old = identity.anchor.body
    generation = int(state.log.rpartition("/")[2])
    pair = successor or identity.keys.history.pair_for(identity.gateway, generation, state.size + 1)
    gateways: list[GatewayEntry] = [
        replace(entry, generation=generation, base_size=state.size, base_root=state.root, node=None if revoke else pair)
        if entry.name == identity.gateway
        else entry
        for entry in old.gateways
    ]
    return make_anchor(
        replace(
            old,
            names=config.all_names,
            country=config.country,
            serial=_serial(identity, now, signed),
            issued_at=now,
            expires_at=now + ANCHOR_LIFE_MS,
            gateways=tuple(gateways),
        ),
        root,
    )


def _serial(identity: Identity, now: int, signed: int) -> int:
    """The next serial. Two anchors of one serial would convict the root, and what an old copy lost may have held
    anchors that no peer has shown: some are left out, and the more the older the copy, so that a second ceremony on the
    same copy goes above the first. `signed`: the highest that was signed here, of a revocation for the safe perhaps.
    """
    newest = identity.anchors_shown[-1].body
    highest = max(newest.serial, signed)
    if not identity.needs_anchor:
        return highest + 1
    return highest + SERIALS_LEFT_OUT + max(now - newest.issued_at, 0) // 1000


def _says_the_same(new: Anchor, old: Anchor) -> bool:
    """True if nothing has happened since the old anchor was signed: its base is the log's head still."""
    body = replace(new.body, serial=old.body.serial, issued_at=old.body.issued_at, expires_at=old.body.expires_at)
    return old.body.serial > 1 and body == old.body


def _root_file_error(error: KeyFileError, path: Path) -> OperationError:
    wanted = "name the file that `tocsin keys export-root` wrote"
    match error.problem:
        case KeyFileProblem.MISSING:
            return OperationError("io_error", f"there is no file {path}", wanted)
        case KeyFileProblem.PASSPHRASE:
            return OperationError(
                "bad_passphrase",
                f"the passphrase does not open {path}",
                "it was sealed with the node's passphrase of the day of its export",
            )
        case KeyFileProblem.FORMAT:
            return OperationError("bad_config", f"{path} is no sealed root, or was cut short", wanted)
        case _:
            return OperationError("io_error", f"cannot read {path}: {error.problem}", "check its medium and its mode")


async def _card(identity: Identity, anchor: Anchor, store: SqliteStore, state: LogState) -> str:
    """The card under the new anchor: its profile is proved to exactly the head that the anchor makes its base."""
    profile = identity.profile
    if profile is None or state.checkpoint is None or _log_of(profile.proof) != state.log:
        raise OperationError("wrong_state", "the card is not made yet", "start the node once: tocsin run")
    entry, index = profile.proof.entry, profile.proof.index
    path = await TileCache(store).run(state.log, lambda tiles: inclusion_path(tiles, state.size, index))
    proof = Proof(entry, index, path, stored_checkpoint(state.checkpoint, identity.agency))
    keys = build_agency_keys([*identity.keys.anchors, anchor], identity.key_changes)
    return armour(encode_card(make_card(keys, proof, identity.opened)))


def _log_of(proof: Proof) -> str:
    origin = proof.checkpoint.origin
    return log_name(origin.gateway, origin.generation)


def _open(layout: Layout, passphrase: str) -> KeyStore:
    try:
        return KeyStore.open(layout.keys, passphrase)
    except KeyFileError as error:
        raise key_file_error(error) from error
