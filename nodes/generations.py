"""The lives of the own log: which generation is written, under which key pair, and what is done when history was lost
(PROTOCOL §9.1).

Owns those decisions and the commits that make them durable. What a peer told is judged in `hello`; keys are made in
`keyring`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from exchange.entry import LogOpened, encode_entry
from exchange.log import EMPTY_ROOT
from exchange.proof import Proof
from exchange.statement import AgencyKeys
from keys.anchor import Anchor, GatewayEntry, anchor_to_wire
from keys.encoding import encode
from keys.errors import KeyFileError
from keys.signing import NodeKeyPair, NodePublicPair
from nodes.config import NodeConfig
from nodes.directory import write_whole
from nodes.errors import OperationError
from nodes.hello import Forked
from nodes.identity import NODE_KEY_LIFE_MS, Identity, LostKeys, log_name, pair_label
from nodes.keyring import Keyring
from nodes.ledger import Ledger
from nodes.loading import epoch_floor_meta, key_change_row, lost_keys_meta, opened_meta, recover_meta
from nodes.logging import get_logger
from nodes.peers import Peer, Peers
from nodes.store.contract import AnchorRow, Op, PutAnchor, PutEpochKey, PutKeyChange
from nodes.submitting import CaseNumbers
from nodes.writer import Change, Placed, Proved, Sign, Writer

CLOCK_BEHIND_MS = 60_000
PAIR_DUE_MARGIN_MS = 86_400_000
EPOCH_NUMBERS_LEFT_OUT = 1_000  # if the clock is behind: a key a day, no copy is older
EPOCH_NUMBERS_AHEAD = 10**9
MOST_EPOCH_KEYS = 512  # peers take 1,024

log = get_logger("generations")


@dataclass(frozen=True, slots=True)
class _Learnt:
    """What a peer showed of our own keys: the rows that keep it, and what memory takes from them."""

    ops: tuple[Op, ...] = ()
    lost: LostKeys | None = None
    keys: AgencyKeys | None = None  # ours again
    sign: Sign | None = None  # with the pair that they lead to, if it is another than the one that signs now


class Generations:
    """Opens generations of the own log and changes the pair that signs it."""

    def __init__(
        self,
        *,
        identity: Identity,
        config: NodeConfig,
        peers: Peers,
        writer: Writer,
        ledger: Ledger,
        keyring: Keyring,
        cases: CaseNumbers,
        clock: Callable[[], int],
        card: Path,
        known_until: int,
        pair_since: int,
    ) -> None:
        self._identity = identity
        self._config = config
        self._peers = peers
        self._writer = writer
        self._ledger = ledger
        self._keyring = keyring
        self._cases = cases
        self._clock = clock
        self._card = card
        self._known_until = known_until
        self._pair_since = pair_since
        self._card_waits = False
        # One change at a time: peers tell what they hold while the clock or an operator asks for keys, and an epoch key
        # whose entry went into the log that ends would be looked for in the next.
        self._changing = asyncio.Lock()

    # --- keys

    async def begin(self) -> None:
        """What is due at a start: a profile that says what the configuration says, and keys."""
        async with self._changing:
            if await self._keyring.publish_profile(self._config, again=self._is_profile_below_base()):
                self._write_card()
            await self._keep_keys()

    async def keep_keys(self) -> None:
        """Make, change and destroy the keys whose time has come."""
        async with self._changing:
            await self._keep_keys()

    async def _keep_keys(self) -> None:
        if await self._keyring.keep(self._pair_since, may_rotate=self._may_rotate()):
            await self._after_key_change()

    async def rotate(self) -> None:
        """Raises OperationError where peers know a successor of the pair already, or may know one."""
        async with self._changing:
            if self._identity.needs_anchor:
                raise OperationError(
                    "wrong_state",
                    "this is an old copy: peers know a newer key pair of this node; nothing was changed",
                    "with the root at hand: tocsin keys anchor --root F -o CARD",
                )
            if not self._may_rotate():
                raise OperationError(
                    "wrong_state",
                    "no peer has told yet what it knows of this node's keys: as an old copy it would have two "
                    "successors of one pair; nothing was changed",
                    "tocsin status: try again when a peer is reachable",
                )
            await self._keyring.rotate_node_pair()
            await self._after_key_change()
        self._wake_peers()

    def is_pair_due(self) -> bool:
        """Whether the pair has been old enough to be changed for a day, and nobody has told what he knows of it."""
        age = self._clock() - self._pair_since
        return age >= NODE_KEY_LIFE_MS + PAIR_DUE_MARGIN_MS and not self._identity.needs_anchor

    def _may_rotate(self) -> bool:
        """Whether the node pair may be changed, by its age or by an operator. An old copy must not draw a second
        successor of a pair that has one: first a peer tells what it knows.
        """
        peers = self._peers.trusted()
        generation = self._writer.generation
        # Who holds no head of this log knows nothing of it, and is no witness.
        told = not peers or any(peer.guard_passed and peer.holds_sizes(generation) for peer in peers)
        return told and not self._identity.needs_anchor

    def _is_heard(self) -> bool:
        peers = self._peers.trusted()
        return not peers or any(peer.guard_passed for peer in peers)

    async def _after_key_change(self) -> None:
        self._pair_since = self._clock()
        # A first word under the new pair: what the old one signed counts only through a head of the new one.
        await self._keyring.publish_profile(self._config, again=True)
        self._write_card()

    def _is_profile_below_base(self) -> bool:
        """After a new anchor the profile is logged again, so that cards prove it under the pair that the anchor names;
        and in a new generation, if the process died before that was done.
        """
        profile, gateway = self._identity.profile, self._identity.anchor.body.gateway(self._identity.gateway)
        if profile is None or gateway is None:
            return False
        head = profile.proof.checkpoint
        below = (head.origin.generation, head.size) <= (gateway.generation, gateway.base_size)
        return below or head.origin.generation < self._writer.generation

    # --- generations

    async def forked(self, peer: Peer, forked: Forked) -> None:
        """A peer holds a head of ours that our log does not lead to: history was lost, or copied."""
        log.error("log.forked", peer=peer.agency, size=forked.checkpoint.size, generation=forked.generation)
        async with self._changing:
            learnt = self._learn(self._identity.keys_with(forked.told))  # of now: another peer may have told meanwhile
            if forked.generation < self._writer.generation and learnt.sign is None:
                await self._keep(learnt)  # what another peer told meanwhile has opened a later one
            else:
                await self._open("rollback", forked.generation, learnt)

    async def shown(self, peer: Peer, anchor: Anchor) -> bool:
        """A peer holds an anchor under our root. A later one than ours was lost, or signed and never taken here; of an
        earlier one nothing comes: False.
        """
        async with self._changing:
            if anchor.body.serial <= self._identity.anchors_shown[-1].body.serial:
                return False
            await self._take_shown(peer, anchor)
            return True

    async def _take_shown(self, peer: Peer, anchor: Anchor) -> None:
        identity = self._identity
        learnt = self._learn(identity.keys_with((), anchor))
        log.error("anchor.lost", peer=peer.agency, serial=anchor.body.serial)
        named = anchor.body.gateway(identity.gateway)
        if named is not None and (learnt.sign is not None or not await self._leads_from(named)):
            await self._open("rollback", named.generation, learnt)
            return
        await self._keep(learnt)
        self._write_card()

    async def heard(self, peer: Peer, highest_epoch_key: int) -> None:
        """A peer has told which head of ours it holds, and it is one of this log."""
        if self._card_waits:
            self._write_card()
        if highest_epoch_key > self._identity.highest_epoch_number:
            await self._keys_told(peer, highest_epoch_key)

    async def _keys_told(self, peer: Peer, highest: int) -> None:
        """A peer holds an epoch key of ours with a higher number than was ever drawn here. Heeded only after history
        was lost, and within bounds: else a peer could make a node draw keys without end.
        """
        identity = self._identity
        async with self._changing:
            if identity.epoch_floor == 0 or not identity.highest_epoch_number < highest <= self._heeded_up_to():
                return
            if len(identity.published()) > MOST_EPOCH_KEYS:
                return
            log.error("epoch_keys.lost", peer=peer.agency, highest=highest)
            floor = self._new_epoch_floor()
            await self._writer.commit(Change.of(epoch_floor_meta(floor)))
            identity.epoch_floor = floor
            await self._keyring.publish_epoch_keys()

    async def _leads_from(self, named: GatewayEntry) -> bool:
        """Whether the log goes on from the base that an anchor names."""
        writer = self._writer
        if named.generation != writer.generation or named.base_size == 0:
            return named.generation <= writer.generation
        return named.base_size <= writer.durable_size and await writer.root_at(named.base_size) == named.base_root

    def _learn(self, keys: AgencyKeys) -> _Learnt:
        """What becomes of our own keys as a peer can prove them: they are ours again if the pair that they lead to is
        at hand; else they wait for an anchor that names another pair.
        """
        identity = self._identity
        current = keys.history.current_pair(identity.gateway)
        known = {proof.entry for proof in identity.key_changes}
        changes = tuple(proof for proof in keys.changes if proof.entry not in known)
        anchors = keys.anchors[len(identity.keys.anchors) :]
        ours = identity.keys.history.current_pair(identity.gateway)
        if current == ours and not anchors:
            return _Learnt()
        pair = None if current is None or not known <= {proof.entry for proof in keys.changes} else self._pair(current)
        if pair is None:
            lost = LostKeys(keys.anchors[-1].body.serial, anchors, changes)
            return _Learnt(ops=(lost_keys_meta(lost),), lost=lost)
        agency = identity.agency
        rows: list[Op] = [lost_keys_meta(None)]
        rows += [PutAnchor(AnchorRow(agency, one.body.serial, encode(anchor_to_wire(one)))) for one in anchors]
        rows += [PutKeyChange(key_change_row(agency, proof)) for proof in changes]
        return _Learnt(ops=tuple(rows), keys=keys, sign=None if current == ours else identity.signer(pair))

    def _pair(self, public: NodePublicPair) -> NodeKeyPair | None:
        try:
            return self._identity.keystore.load_node_pair(pair_label(public))
        except KeyFileError:
            return None

    async def _keep(self, learnt: _Learnt) -> None:
        if learnt.ops:
            await self._writer.commit(Change.of(*learnt.ops))
            self._take(learnt)

    def _take(self, learnt: _Learnt) -> None:
        """What was learnt is durable."""
        identity = self._identity
        if learnt.keys is not None:
            identity.keys, identity.lost = learnt.keys, None
        elif learnt.lost is not None:
            identity.lost = learnt.lost

    async def reopen(self, reason: str) -> None:
        """Raises OperationError: a log whose clock is right has no reason to end."""
        behind = self._writer.last_time - self._clock()
        if behind <= CLOCK_BEHIND_MS:
            raise OperationError(
                "wrong_state",
                "the clock is not behind the log: there is nothing to reopen; nothing was changed",
                "tocsin status shows what is wrong with the log, if anything is",
            )
        async with self._changing:
            await self._open(reason, self._writer.generation, _Learnt())
        self._wake_peers()

    async def _open(self, reason: str, above: int, learnt: _Learnt) -> None:
        """Begin a new life of the log. What peers hold of the old one stays true; nothing inconsistent with it is
        said. What was `learnt` becomes durable with it: an anchor that names the old generation would let two pairs
        sign one size, and of the new one no peer tells what it knows of keys.
        """
        writer, identity = self._writer, self._identity
        previous = writer.generation
        generation = max(previous, above) + 1

        def opened(at: int, salt: bytes) -> bytes:
            # Called when nothing else is being committed: a post that came before lies in the log that ends here.
            head = writer.head
            if head is not None:
                self._ledger.close(log_name(identity.gateway, previous), head)
            return encode_entry(
                LogOpened(
                    salt=salt,
                    time=at,
                    previous_generation=previous,
                    last_size=0 if head is None else head.size,
                    last_root=EMPTY_ROOT if head is None else head.root,
                    reason=reason,
                )
            )

        rows = [row for row in identity.epoch_rows.values() if row.destroyed_at is None]
        again = [(0, await self._ledger.entry(row.log, row.index)) for row in rows]

        def ops(proof: Proved, placed: tuple[Placed, ...]) -> list[Op]:
            moved = [PutEpochKey(replace(row, log=p.log, index=p.index)) for row, p in zip(rows, placed, strict=True)]
            kept = [recover_meta(since), epoch_floor_meta(floor), *learnt.ops]
            if lost:
                kept.append(self._cases.row(today.year))
            return [opened_meta([*identity.opened, _as_proof(proof)]), *kept, *moved]

        # What was said since this process started is known here; what the lost history held is with the peers. Each
        # generation asks for a time of its own: a peer heeds each value once.
        since = max(self._known_until - generation, 0)
        lost = reason != "clock"
        floor = self._new_epoch_floor() if lost else identity.epoch_floor
        today = datetime.fromtimestamp(self._clock() / 1000, UTC)
        if lost:
            self._cases.leave_out(today.year, today.timetuple().tm_yday)
        proved = await writer.open_generation(generation, opened, again, ops, learnt.sign)
        identity.recover_since, identity.epoch_floor = since, floor
        self._take(learnt)
        for number, row in enumerate(rows, start=1):
            identity.add_epoch(replace(row, log=proved.placed.log, index=number))
        identity.opened = (*identity.opened, _as_proof(proved))
        await self._keyring.publish_profile(self._config, again=True)
        await self._keyring.publish_epoch_keys()
        for peer in self._peers:
            peer.owed.clear()
        self._write_card()

    # --- parts

    def _new_epoch_floor(self) -> int:
        """A number above those of all epoch keys that any life of this node may have drawn. The clock's seconds are: a
        life draws a key a day. They tell lives that began from one copy apart, which a fixed gap would not.
        """
        told = (peer.known.highest_epoch_key for peer in self._peers if peer.known is not None)
        heeded = [number for number in told if number <= self._heeded_up_to()]
        highest = max(self._identity.highest_epoch_number, *heeded, 0)
        return max(highest + EPOCH_NUMBERS_LEFT_OUT, self._clock() // 1000)

    def _heeded_up_to(self) -> int:
        """Numbers above are lies. It moves with the clock: what a lie made this node draw is below it soon, and heeded
        after the next loss.
        """
        return self._clock() // 1000 + EPOCH_NUMBERS_AHEAD

    def _wake_peers(self) -> None:
        for peer in self._peers.trusted():
            peer.wake.set()

    def _write_card(self) -> None:
        """Not before a peer has told what it holds: an old copy's card would show a second history to whoever is handed
        it (DESIGN 4).
        """
        self._card_waits = not self._is_heard()
        if self._card_waits:
            return
        text = self._identity.card_text()
        if text is not None:
            write_whole(self._card, text.encode())


def _as_proof(proved: Proved) -> Proof:
    return Proof(entry=proved.placed.entry, index=proved.placed.index, path=proved.path, checkpoint=proved.checkpoint)
