"""Making a new node: keys, anchor, first log entries, card, directory. Owns `tocsin init`; nothing of it runs later.

Everything is made in a directory beside the wanted one and renamed into place when complete: a failure leaves nothing
half done.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from keys.anchor import EMPTY_ROOT, AnchorBody, GatewayEntry, anchor_to_wire, make_anchor
from keys.certificates import make_tls_leaf, make_tls_root
from keys.encoding import encode
from keys.ids import AgencyId
from keys.keystore import KeyStore
from keys.randomness import random_bytes
from keys.signing import NodeKeyPair, RootKeyPair, WitnessKeyPair
from nodes.config import NodeConfig, default_endpoint, format_listen, load_config, render_config
from nodes.directory import Layout, create_directory, layout_of, write_whole
from nodes.errors import ConfigError, OperationError
from nodes.identity import GATEWAY, Identity, log_name, pair_label
from nodes.keyring import PAIR_SINCE_META, Keyring
from nodes.operators import ALL_ROLES
from nodes.store.contract import AnchorRow, OperatorRow, PutAnchor, PutMeta, PutOperator
from nodes.store.sqlite import SqliteStore
from nodes.writer import Change, OwnLogState, Writer

ANCHOR_LIFE_MS = 24 * 30 * 86_400_000  # 24 months
STORE_FILE = "node.db"


@dataclass(frozen=True, slots=True)
class Born:
    """What `init` tells."""

    agency: AgencyId
    directory: Path
    card: Path
    safety_code: str
    listen: str | None
    endpoint: str | None

    def document(self) -> dict[str, object]:
        """The contract's document."""
        return {
            "v": 1,
            "agency": self.agency,
            "dir": str(self.directory),
            "card": str(self.card),
            "safety_code": self.safety_code,
            "listen": self.listen,
            "endpoint": self.endpoint,
        }


def check_place(directory: str | os.PathLike[str]) -> None:
    """Raises OperationError(exists) unless a node can be made there: where nothing is, or an empty directory."""
    wanted = layout_of(directory)
    if not wanted.root.exists() or (wanted.root.is_dir() and not any(wanted.root.iterdir())):
        return
    if wanted.config_file.is_file():
        try:
            whose = f"the node of {load_config(wanted.root).agency}"
        except ConfigError:
            whose = "a node"
        start = f"tocsin -D {shlex.quote(str(wanted.root))} run"
        raise OperationError(
            "exists",
            f"{wanted.root} is {whose} already",
            f"to start it: {start}; for another node name a new directory",
        )
    raise OperationError("exists", f"{wanted.root} is not empty", "name a new directory, or remove what is in it")


async def create_node(
    directory: str | os.PathLike[str], config: NodeConfig, passphrase: str, *, operator: str, clock: Callable[[], int]
) -> Born:
    """Make a node in `directory`, which must not exist or be empty.

    Raises OperationError (`exists`, `io_error`) and leaves what was there untouched.
    """
    wanted = layout_of(directory)
    check_place(directory)
    existed = wanted.root.is_dir()
    config = _with_port(config)
    making = wanted.root.with_name(f".{wanted.root.name}.making-{os.getpid()}")
    shutil.rmtree(making, ignore_errors=True)
    layout = create_directory(making)
    try:
        code = await _fill(layout, config, passphrase, operator, clock)
        if existed:
            wanted.root.rmdir()
        os.rename(making, wanted.root)
    except OSError as problem:
        raise OperationError(
            "io_error", f"cannot make {wanted.root}: {problem.strerror}", "check permissions and free space"
        ) from problem
    finally:
        shutil.rmtree(making, ignore_errors=True)
    listen = None if config.listen is None else format_listen(config.listen)
    endpoint = config.endpoints[0] if config.endpoints else None
    return Born(config.agency, wanted.root, wanted.card, code, listen, endpoint)


async def _fill(layout: Layout, config: NodeConfig, passphrase: str, operator: str, clock: Callable[[], int]) -> str:
    now = clock()
    agency = config.agency
    keystore = KeyStore.create(layout.keys, passphrase)
    root, node, witness = RootKeyPair.generate(), NodeKeyPair.generate(), WitnessKeyPair.generate()
    tls_root, tls_root_key = make_tls_root(agency, now)
    tls_leaf, tls_leaf_key = make_tls_leaf(agency, tls_root, tls_root_key, now)
    keystore.save_root(root)
    keystore.save_node_pair(pair_label(node.public), node)
    keystore.save_witness(witness)
    keystore.save_tls(tls_root_key, tls_root, tls_leaf_key, tls_leaf)
    gateway = GatewayEntry(
        name=GATEWAY,
        generation=1,
        base_size=0,
        base_root=EMPTY_ROOT,
        node=node.public,
        witness=witness.public,
        tls_root=tls_root,
    )
    anchor = make_anchor(
        AnchorBody(
            agency=agency,
            names=config.all_names,
            country=config.country,
            serial=1,
            root=root.public,
            issued_at=now,
            expires_at=now + ANCHOR_LIFE_MS,
            gateways=(gateway,),
        ),
        root,
    )
    identity = Identity(agency=agency, anchors=[anchor], key_changes=[], keystore=keystore, epoch_rows=[])
    store = await SqliteStore.open(layout.store / STORE_FILE, create=True)
    try:
        state = OwnLogState.empty(log_name(GATEWAY, 1))
        async with Writer(
            store, identity.origin(1), state, identity.signer(node), clock, lambda: random_bytes(16)
        ) as writer:
            await writer.commit(
                Change.of(
                    PutAnchor(AnchorRow(agency, 1, encode(anchor_to_wire(anchor)))),
                    PutOperator(OperatorRow(operator, os.getuid(), tuple(ALL_ROLES), program=False, added_at=now)),
                    PutMeta(PAIR_SINCE_META, now.to_bytes(8, "big")),
                )
            )
            keyring = Keyring(identity, store, writer, clock)
            await keyring.publish_profile(config)
            await keyring.publish_epoch_keys()
    finally:
        await store.close()
    write_whole(layout.card, (identity.card_text() or "").encode())
    write_whole(layout.config_file, render_config(config).encode())
    return identity.code


def _with_port(config: NodeConfig) -> NodeConfig:
    """Port 0: take a free one now and keep it, so that the card names an endpoint that will answer (ADR 0012)."""
    listen = config.listen
    if listen is not None and listen[1] == 0:
        family = socket.AF_INET6 if ":" in listen[0] else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((listen[0], 0))
            listen = (listen[0], int(probe.getsockname()[1]))
        config = config.model_copy(update={"listen": listen})
    endpoint = default_endpoint(config.listen)
    if not config.endpoints and endpoint is not None:
        config = config.model_copy(update={"endpoints": (endpoint,)})
    return config
