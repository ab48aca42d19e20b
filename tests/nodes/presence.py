"""A whole node without sockets, files or schedule: the daemon's parts over a store in memory, driven call by call.

Keys, signatures, sealing, logs and posting are the real ones. What a daemon decides by itself (when to call whom, when
to look at the time) is the caller's here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from keys.anchor import EMPTY_ROOT, Anchor, AnchorBody, GatewayEntry, anchor_to_wire, make_anchor
from keys.encoding import encode
from keys.ids import AgencyId
from keys.keystore import KeyStore
from keys.sealing import AtRestKey, EpochKeyPair
from keys.signing import NodeKeyPair
from keys.trust import Trust
from nodes.birth import ANCHOR_LIFE_MS
from nodes.budgets import Budgets, Rates
from nodes.config import NodeConfig, parse_config
from nodes.events import Events
from nodes.following import Following
from nodes.hello import Forked
from nodes.identity import GATEWAY, Identity, log_name, pair_label
from nodes.intake import Intake
from nodes.keyring import Keyring
from nodes.ledger import Ledger
from nodes.loading import load_identity, load_peers
from nodes.metrics import Metrics
from nodes.node import Node
from nodes.outflow import Outflow
from nodes.peer_book import PeerBook
from nodes.peers import Peer
from nodes.posting import Posting
from nodes.reading import Reading
from nodes.speaking import Speaking
from nodes.store.contract import AnchorRow, OperatorRow, PutAnchor
from nodes.store.memory import MemoryStore
from nodes.submitting import CaseNumbers, Submitting
from nodes.vault import Vault
from nodes.worker import Worker
from nodes.writer import AUDIT_LOG, Change, OwnLogState, Writer, load_own_log
from tests.exchange.agencies import node_pair, root_pair, seed, tls_root

OFFICER = OperatorRow("duty-07", 0, ("analyst", "releaser"), program=False, added_at=0)
Clock = Callable[[], int]


@dataclass
class MemoryKeys:
    """The private keys of one agency, kept in memory. It survives every restart, as the directory would."""

    agency: str
    node_pairs: dict[str, NodeKeyPair] = field(default_factory=dict)
    epochs: dict[int, EpochKeyPair] = field(default_factory=dict)

    def copy(self) -> MemoryKeys:
        """The same keys in dictionaries of their own."""
        return MemoryKeys(self.agency, dict(self.node_pairs), dict(self.epochs))

    def at_rest(self) -> AtRestKey:
        return AtRestKey(seed(self.agency, "at rest"))

    def load_node_pair(self, label: str) -> NodeKeyPair:
        return self.node_pairs[label]

    def save_node_pair(self, label: str, pair: NodeKeyPair) -> None:
        self.node_pairs[label] = pair

    def find_epoch(self, number: int) -> EpochKeyPair | None:
        return self.epochs.get(number)

    def save_epoch(self, number: int, pair: EpochKeyPair) -> None:
        self.epochs[number] = pair

    def destroy_epoch(self, number: int) -> None:
        self.epochs.pop(number, None)


@dataclass(frozen=True)
class Presence:
    """What an agency has on disk: its store, its keys, its configuration."""

    config: NodeConfig
    store: MemoryStore
    keys: MemoryKeys

    def copy(self) -> Presence:
        """The same disk once more; what is written to one is not seen in the other."""
        return Presence(self.config, self.store.reopen(), self.keys.copy())


async def make_presence(agency: str, country: str, clock: Clock) -> Presence:
    """What `init` leaves: anchor, profile and epoch keys published."""
    settings = {"agency": agency, "name": agency, "country": country, "case_prefix": f"{country}-{agency[:3].upper()}"}
    config = parse_config(
        {**settings, "listen": "127.0.0.1:7443", "endpoints": [f"https://{agency}:7443"]}, path="node.toml"
    )
    keys, store, pair = MemoryKeys(agency), MemoryStore(), node_pair(agency, 1)
    keys.save_node_pair(pair_label(pair.public), pair)
    now = clock()
    gateway = GatewayEntry(GATEWAY, 1, 0, EMPTY_ROOT, pair.public, None, tls_root(agency))
    body = AnchorBody(
        agency=AgencyId(agency),
        names=config.all_names,
        country=country,
        serial=1,
        root=root_pair(agency).public,
        issued_at=now,
        expires_at=now + ANCHOR_LIFE_MS,
        gateways=(gateway,),
    )
    anchor = make_anchor(body, root_pair(agency))
    identity = Identity(
        agency=AgencyId(agency), anchors=[anchor], key_changes=[], keystore=cast(KeyStore, keys), epoch_rows=[]
    )
    state = OwnLogState.empty(log_name(GATEWAY, 1))
    async with Writer(store, identity.origin(1), state, identity.signer(pair), clock, _salt) as writer:
        await writer.commit(Change.of(PutAnchor(AnchorRow(identity.agency, 1, encode(anchor_to_wire(anchor))))))
        keyring = Keyring(identity, store, writer, clock)
        await keyring.publish_profile(config)
        await keyring.publish_epoch_keys()
    return Presence(config, store, keys)


def _salt() -> bytes:
    return os.urandom(16)


class RunningNode:
    """One life of a node over what is on its disk. Made by `start`, ended by `stop`."""

    def __init__(self, presence: Presence, clock: Clock, worker: Worker | None) -> None:
        """Use `start`."""
        self._worker = worker
        self.presence = presence
        self.agency = presence.config.agency
        self.clock = clock
        self._pair_since = clock()

    @classmethod
    async def start(cls, presence: Presence, clock: Clock, worker: Worker | None = None) -> RunningNode:
        """What a start of the daemon does, up to the first round."""
        running = cls(Presence(presence.config, presence.store.reopen(), presence.keys), clock, worker)
        await running._build()
        await running.keep_keys()
        return running

    async def keep_keys(self) -> None:
        """What the daemon does at its start and once an hour."""
        if await self.keyring.keep(self._pair_since):
            await self.keyring.publish_profile(self.presence.config, again=True)
            self._pair_since = self.clock()

    async def rotate(self) -> None:
        """`keys rotate`."""
        await self.keyring.rotate_node_pair()
        await self.keyring.publish_profile(self.presence.config, again=True)

    async def stop(self) -> None:
        """End this life; what is durable is in `presence`."""
        await self.writer.close()

    async def _build(self) -> None:
        config, store, clock = self.presence.config, self.presence.store, self.clock
        startup = await store.startup()
        keystore = cast(KeyStore, self.presence.keys)
        self.store = store
        self.identity = identity = load_identity(self.agency, startup, keystore)
        self.peers = peers = await load_peers(startup, store)
        self.vault = vault = Vault(keystore.at_rest())
        states = {state.log: await load_own_log(store, self.agency, state) for state in startup.logs}
        main = states[log_name(GATEWAY, 1)]
        pair = identity.node_pair(1, main.frontier.size + 1)
        self.writer = writer = Writer(
            store,
            identity.origin(1),
            main,
            identity.signer(pair),
            clock,
            _salt,
            audit=states.get(AUDIT_LOG),
        )
        writer.start()
        self.ledger = ledger = Ledger(self.agency, store, writer, [])
        self.keyring = Keyring(identity, store, writer, clock)
        metrics = Metrics()
        outflow = Outflow(identity, store, ledger, writer)
        self.posting = posting = Posting(identity, config.country, peers, store, writer, vault, clock)
        self.node = Node(
            identity=identity,
            peers=peers,
            store=store,
            writer=writer,
            ledger=ledger,
            intake=Intake(identity, store, writer, vault, metrics),
            outflow=outflow,
            posting=posting,
            metrics=metrics,
            clock=clock,
            chance=lambda: 0.5,
            on_taken=lambda _: None,
            on_fork=self._on_fork,
            on_shown=self._on_shown,
            on_heard=self._on_heard,
            on_anchor=lambda: None,
            read_only=lambda: False,
            budgets=Budgets(Rates(), metrics),
        )
        self._build_operations(posting, startup.meta)

    def _build_operations(self, posting: Posting, meta: Any) -> None:
        config, store, vault, clock = self.presence.config, self.store, self.vault, self.clock
        self.reading = Reading(self.identity, self.peers, store, vault, clock, lambda: False)
        cases = {
            int(key.removeprefix("case/")): int.from_bytes(value, "big")
            for key, value in meta.items()
            if key.startswith("case/")
        }
        submitting = Submitting(
            identity=self.identity,
            config=config,
            posting=posting,
            reading=self.reading,
            vault=vault,
            events=Events(),
            cases=CaseNumbers(config.case_prefix, cases),
            clock=clock,
            check_writable=lambda _: None,
            metrics=Metrics(),
            worker=self._worker,
        )
        self.following = Following(
            identity=self.identity, submitting=submitting, reading=self.reading, store=store, vault=vault
        )
        self.speaking = Speaking(
            identity=self.identity,
            submitting=submitting,
            following=self.following,
            posting=posting,
            reading=self.reading,
            store=store,
            vault=vault,
            clock=clock,
        )
        self.peer_book = PeerBook(
            own=self.agency,
            peers=self.peers,
            store=store,
            writer=self.writer,
            clock=clock,
            trust_changed=self._trust_changed,
            end_line=self._end_line,
            renewed=posting.renewed,
        )

    async def _end_line(self, _: AgencyId) -> None:
        """No connection stays open between two rounds of this line."""

    async def _trust_changed(self, peer: Peer) -> None:
        if peer.trust is Trust.TRUSTED:
            peer.line.clear_failures()
        else:
            peer.guard_passed = False

    async def _on_fork(self, peer: Peer, forked: Forked) -> None:
        raise AssertionError(f"{peer.agency} holds a head of {self.agency} that is not of its log: nobody lost history")

    async def _on_heard(self, peer: Peer, highest_epoch_key: int) -> None:
        if highest_epoch_key > self.identity.highest_epoch_number:
            raise AssertionError(f"{peer.agency} holds epoch key {highest_epoch_key}: nobody lost history")

    async def _on_shown(self, peer: Peer, anchor: Anchor) -> bool:
        raise AssertionError(f"{peer.agency} holds an anchor of {self.agency} that is not here: nobody lost history")


async def introduce(first: RunningNode, second: RunningNode) -> None:
    """Each adds the other's card with the code that was read out over the telephone."""
    for one, other in ((first, second), (second, first)):
        await one.peer_book.add({"card": other.identity.card_text(), "code": other.identity.code})
