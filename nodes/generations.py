"""The lives of the own log: which generation is written, under which key pair, and what is done when history was lost
(PROTOCOL §9.1).

Owns those decisions and the commits that make them durable. What a peer told is judged in `hello`; keys are made in
`keyring`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from exchange.entry import LogOpened, encode_entry
from exchange.proof import Proof
from nodes.config import NodeConfig
from nodes.directory import write_whole
from nodes.errors import OperationError
from nodes.hello import Forked
from nodes.identity import Identity, LostChanges, log_name
from nodes.keyring import Keyring
from nodes.ledger import Ledger
from nodes.loading import lost_changes_meta, opened_meta, recover_meta
from nodes.logging import get_logger
from nodes.peers import Peer, Peers
from nodes.store.contract import Op, PutEpochKey
from nodes.submitting import CaseNumbers
from nodes.writer import Placed, Proved, Writer

CLOCK_BEHIND_MS = 60_000

log = get_logger("generations")


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

    # --- keys

    async def begin(self) -> None:
        """What is due at a start: a profile that says what the configuration says, and keys."""
        if await self._keyring.publish_profile(self._config, again=self._is_profile_below_base()):
            self._write_card()
        await self.keep_keys()

    async def keep_keys(self) -> None:
        """Make, change and destroy the keys whose time has come."""
        if await self._keyring.keep(self._pair_since, may_rotate=self._may_rotate()):
            await self._after_key_change()

    async def rotate(self) -> None:
        """Raises OperationError where peers know a successor of the pair already, or may know one."""
        if not self._may_rotate():
            if not self._identity.needs_anchor:
                raise OperationError(
                    "wrong_state",
                    "no peer has told yet what it knows of this node's keys: as an old copy it would have two "
                    "successors of one pair; nothing was changed",
                    "tocsin status: try again when a peer is reachable",
                )
            raise OperationError(
                "wrong_state",
                "this is an old copy: peers know a newer key pair of this node; nothing was changed",
                "with the root at hand: tocsin keys anchor --root F -o CARD",
            )
        await self._keyring.rotate_node_pair()
        await self._after_key_change()
        self._wake_peers()

    def _may_rotate(self) -> bool:
        """Whether the node pair may be changed, by its age or by an operator. An old copy must not draw a second
        successor of a pair that has one: first a peer tells what it knows.
        """
        peers = self._peers.trusted()
        heard = not peers or any(peer.guard_passed for peer in peers)
        return heard and not self._identity.needs_anchor

    async def _after_key_change(self) -> None:
        self._pair_since = self._clock()
        # A first word under the new pair: what the old one signed counts only through a head of the new one.
        await self._keyring.publish_profile(self._config, again=True)
        self._write_card()

    def _is_profile_below_base(self) -> bool:
        """After a new anchor the profile is logged again, so that cards prove it under the pair that the anchor
        names.
        """
        profile, gateway = self._identity.profile, self._identity.anchor.body.gateway(self._identity.gateway)
        if profile is None or gateway is None:
            return False
        head = profile.proof.checkpoint
        return (head.origin.generation, head.size) <= (gateway.generation, gateway.base_size)

    # --- generations

    async def forked(self, peer: Peer, forked: Forked) -> None:
        """A peer holds a head of ours that our log does not lead to: history was lost, or copied."""
        log.error("log.forked", peer=peer.agency, size=forked.checkpoint.size, generation=forked.generation)
        identity = self._identity
        ours = identity.keys.history.current_pair(identity.gateway)
        lost = None
        if forked.keys.history.current_pair(identity.gateway) != ours and not identity.needs_anchor:
            known = {proof.entry for proof in identity.key_changes}
            changes = tuple(proof for proof in forked.keys.changes if proof.entry not in known)
            lost = LostChanges(identity.anchor.body.serial, changes)
        await self._open("rollback", forked.generation, lost)

    async def reopen(self, reason: str) -> None:
        """Raises OperationError: a log whose clock is right has no reason to end."""
        behind = self._writer.last_time - self._clock()
        if behind <= CLOCK_BEHIND_MS:
            raise OperationError(
                "wrong_state",
                "the clock is not behind the log: there is nothing to reopen; nothing was changed",
                "tocsin status shows what is wrong with the log, if anything is",
            )
        await self._open(reason, self._writer.generation)
        self._wake_peers()

    async def _open(self, reason: str, above: int, lost: LostChanges | None = None) -> None:
        """Begin a new life of the log. What peers hold of the old one stays true; nothing inconsistent with it is
        said. `lost` becomes durable with it: an anchor that names the old generation would let two pairs sign one size,
        and of the new one no peer tells what it knows of keys.
        """
        writer, identity = self._writer, self._identity
        previous, last_head = writer.generation, writer.head
        generation = max(previous, above) + 1
        last_size = writer.durable_size
        last_root = last_head.root if last_head is not None else identity.anchor.body.gateways[0].base_root
        old_log = log_name(identity.gateway, previous)

        def opened(at: int, salt: bytes) -> bytes:
            return encode_entry(
                LogOpened(
                    salt=salt,
                    time=at,
                    previous_generation=previous,
                    last_size=last_size,
                    last_root=last_root,
                    reason=reason,
                )
            )

        rows = [row for row in identity.epoch_rows.values() if row.destroyed_at is None]
        again = [(0, await self._ledger.entry(row.log, row.index)) for row in rows]

        def ops(proof: Proved, placed: tuple[Placed, ...]) -> list[Op]:
            moved = [PutEpochKey(replace(row, log=p.log, index=p.index)) for row, p in zip(rows, placed, strict=True)]
            kept = [self._cases.row(year), *([] if lost is None else [lost_changes_meta(lost)])]
            return [opened_meta([*identity.opened, _as_proof(proof)]), recover_meta(since), *kept, *moved]

        # What was said since this process started is known here; what the lost history held is with the peers. Each
        # generation asks for a time of its own: a peer heeds each value once.
        since = max(self._known_until - generation, 0)
        year = datetime.fromtimestamp(self._clock() / 1000, UTC).year
        self._cases.leave_out(year)
        proved = await writer.open_generation(generation, opened, again, ops)
        identity.recover_since, identity.lost = since, lost or identity.lost
        if last_head is not None:
            self._ledger.close(old_log, last_head)
        for number, row in enumerate(rows, start=1):
            identity.add_epoch(replace(row, log=proved.placed.log, index=number))
        identity.opened = (*identity.opened, _as_proof(proved))
        await self._keyring.publish_profile(self._config, again=True)
        for peer in self._peers:
            peer.owed.clear()
        self._write_card()

    # --- parts

    def _wake_peers(self) -> None:
        for peer in self._peers.trusted():
            peer.wake.set()

    def _write_card(self) -> None:
        text = self._identity.card_text()
        if text is not None:
            write_whole(self._card, text.encode())


def _as_proof(proved: Proved) -> Proof:
    return Proof(entry=proved.placed.entry, index=proved.placed.index, path=proved.path, checkpoint=proved.checkpoint)
