"""Keys and anchors that tests of any area may ask for: made from names, so that a failure can be repeated."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

from keys.anchor import EMPTY_ROOT, Anchor, AnchorBody, GatewayEntry, make_anchor
from keys.certificates import make_tls_root
from keys.ids import AgencyId, GatewayName, parse_agency_id
from keys.sealing import EpochKeyPair
from keys.signing import NodeKeyPair, NodePublicPair, RootKeyPair, WitnessKeyPair

DAY_MS = 86_400_000
NOW = 1_795_000_000_000
BKA = parse_agency_id("bka.de")
PONAL = parse_agency_id("ponal.co")
GW1 = GatewayName("gw1")
GW2 = GatewayName("gw2")


def seed(name: str) -> bytes:
    """32 bytes that depend on nothing but the name."""
    return hashlib.sha256(name.encode()).digest()


@lru_cache(maxsize=256)
def root_pair(name: str = "root") -> RootKeyPair:
    return RootKeyPair.from_seeds(seed(f"root ed25519 {name}"), seed(f"root mldsa65 {name}"))


@lru_cache(maxsize=256)
def node_pair(name: str = "node") -> NodeKeyPair:
    return NodeKeyPair.from_seeds(seed(f"node ed25519 {name}"), seed(f"node mldsa44 {name}"))


@lru_cache(maxsize=256)
def witness_pair(name: str = "witness") -> WitnessKeyPair:
    return WitnessKeyPair.from_seeds(seed(f"witness ed25519 {name}"), seed(f"witness mldsa44 {name}"))


@lru_cache(maxsize=256)
def epoch_pair(name: str = "epoch") -> EpochKeyPair:
    return EpochKeyPair.from_seed(seed(f"epoch {name}"))


@lru_cache(maxsize=64)
def tls_root(agency: AgencyId = BKA) -> bytes:
    return make_tls_root(agency, NOW)[0]


def gateway_entry(
    *,
    name: GatewayName = GW1,
    generation: int = 1,
    base_size: int = 0,
    base_root: bytes | None = None,
    node: NodePublicPair | None = None,
    revoked: bool = False,
) -> GatewayEntry:
    """What an anchor says of one gateway; the pair is `node_pair()` unless another is given or it is revoked."""
    if base_root is None:
        base_root = EMPTY_ROOT if base_size == 0 else seed(f"root of {base_size}")
    pair = None if revoked else node or node_pair().public
    return GatewayEntry(name, generation, base_size, base_root, pair, witness_pair().public, tls_root())


def anchor_body(
    *, serial: int = 1, gateways: Sequence[GatewayEntry] | None = None, agency: AgencyId = BKA, root: str = "root"
) -> AnchorBody:
    """A body that a peer takes: 24 months from NOW."""
    return AnchorBody(
        agency=agency,
        names=(("de", "Bundeskriminalamt"), ("en", "Federal Criminal Police Office")),
        country="DE",
        serial=serial,
        root=root_pair(root).public,
        issued_at=NOW,
        expires_at=NOW + 730 * DAY_MS,
        gateways=(gateway_entry(),) if gateways is None else tuple(gateways),
    )


def anchor(
    *, serial: int = 1, gateways: Sequence[GatewayEntry] | None = None, agency: AgencyId = BKA, root: str = "root"
) -> Anchor:
    """The same, signed."""
    return make_anchor(anchor_body(serial=serial, gateways=gateways, agency=agency, root=root), root_pair(root))
