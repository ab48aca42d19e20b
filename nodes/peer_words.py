"""What a peer's log says of itself: heads and whether they are of one history, epoch keys, profile, where generations
begin.

Owns what of it is believed and kept (PROTOCOL §9.2, §9.3). It settles nothing of ours and admits no envelope.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from exchange.checkpoint import checkpoint_to_wire
from exchange.entry import EpochKey, KeyDestroyed, LogOpened, Profile
from exchange.errors import StatementError, StatementProblem
from exchange.log import LogProofError, leaf_hash, verify_consistency
from exchange.proof import proof_to_wire
from exchange.round import Group
from exchange.statement import Statement, statement_proof
from keys.encoding import encode
from keys.epochs import PublishedKey
from keys.errors import KeysError
from keys.ids import GatewayName
from keys.sealing import probe_epoch_public
from nodes.hello import MAX_GENERATION_JUMP
from nodes.intake_plan import LogEnd, Plan, Taken
from nodes.metrics import Metrics
from nodes.peers import Head, Peer
from nodes.store.contract import EpochKeyRow, PeerHeadRow, PutEpochKey, PutPeer, PutPeerHead, Store

MAX_RIVALS = 2
MAX_EPOCH_KEYS = 1_024  # of one peer that are not destroyed: an honest one has about a hundred
MAX_OPENED_KEPT = 64  # of one peer: nobody honest reopens a log that often


class PeerWords:
    """Turns what is proved of a peer's own words into rows, and into what memory knows of it after the commit."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics

    async def check_in_force(
        self, peer: Peer, group: Group, statements: Sequence[Statement | StatementError], plan: Plan, now: int
    ) -> None:
        """On the line only the present counts: the pair in force, the newest generation, one history.

        An honest owner proves everything under its newest head. Whoever holds a retired pair, or an ended
        generation's, could
        otherwise go on receipting what nobody holds; and what lies under a second root of a size already held could be
        settled here and never be proved to anybody else. That second head is kept: it convicts its signer.

        Raises StatementError(key_not_valid).
        """
        checkpoint = group.checkpoint
        gateway, generation = checkpoint.origin.gateway, checkpoint.origin.generation
        history = peer.keys.history
        newest = max((head.generation for head in peer.heads.values() if head.gateway == gateway), default=generation)
        named = history.base(gateway)
        highest = newest if named is None else max(newest, named.generation)  # the root may have gone up with it
        if generation > highest + MAX_GENERATION_JUMP:
            raise StatementError(StatementProblem.KEY_NOT_VALID, 6)
        retired = not history.is_current(gateway, generation, history.pair_for(gateway, generation, checkpoint.size))
        if retired and generation >= newest and not any(group.attachments):
            plan.ends.append((group, named_ends(statements)))
        if retired or generation < newest or history.is_ended(gateway, generation):
            raise StatementError(StatementProblem.KEY_NOT_VALID, 6)
        held = peer.heads.get((GatewayName(gateway), generation))
        if held is None or (
            checkpoint.size > held.size and (gateway, generation, checkpoint.size) not in peer.unreconciled
        ):
            return
        row = await self._store.peer_head(peer.agency, gateway, generation, checkpoint.size)
        if row is not None and row.root != checkpoint.root:
            plan.ops.append(PutPeerHead(_head_row(peer, group, None, b"", now, reconciled=False)))
            raise StatementError(StatementProblem.KEY_NOT_VALID, 6)

    @staticmethod
    def keep_opened(peer: Peer, statements: Sequence[Statement | StatementError], plan: Plan) -> bool:
        """Keep where generations of its log begin, for evidence; True if there was something to keep.

        Whether such a word counts is judged there, so it is kept whatever pair signed it; nothing is decided by it
        here. A second one for the same generation is kept too, since it convicts its signer; junk beyond that must not
        fill the place of what is true.
        """
        before = len(plan.opened)
        for statement in statements:
            if not (
                isinstance(statement, Statement)
                and isinstance(statement.entry, LogOpened)
                and statement.index == 0
                and statement.entry.previous_generation < statement.origin.generation
            ):
                continue
            kept = [*peer.opened, *plan.opened]
            place = (statement.origin.gateway, statement.origin.generation)
            rivals = [
                proof.entry
                for proof in kept
                if (proof.checkpoint.origin.gateway, proof.checkpoint.origin.generation) == place
            ]
            if statement.entry_bytes not in rivals and len(rivals) < MAX_RIVALS and len(kept) < MAX_OPENED_KEPT:
                plan.opened.append(statement_proof(statement))
        return len(plan.opened) > before

    # --- heads

    async def take_head(self, peer: Peer, group: Group, plan: Plan, now: int) -> None:
        checkpoint = group.checkpoint
        key = (GatewayName(checkpoint.origin.gateway), checkpoint.origin.generation)
        held = peer.heads.get(key)
        if held is not None and (checkpoint.size, checkpoint.root) == (held.size, held.root):
            await self._reconcile_older(peer, group, plan)
            return
        from_size, nodes, reconciled = None, b"", held is None
        if held is not None:
            for proof in group.consistency:
                if proof.from_size == held.size < checkpoint.size and _consistent(
                    held.size, held.root, group, proof.nodes
                ):
                    from_size, nodes, reconciled = held.size, b"".join(proof.nodes), True
        row = _head_row(peer, group, from_size, nodes, now, reconciled=reconciled)
        plan.ops.append(PutPeerHead(row))
        if reconciled:
            head = Head(key[0], key[1], checkpoint.size, checkpoint.root, checkpoint, now)
            plan.after.append(lambda: peer.hold(head))
        else:
            crossed = Head(key[0], key[1], checkpoint.size, checkpoint.root, checkpoint, now)
            plan.after.append(lambda: peer.cross(crossed))
        await self._reconcile_older(peer, group, plan)

    async def take_ends(self, peer: Peer, plan: Plan, now: int) -> None:
        """Last heads of generations, if the pair was changed after they ended: whoever was away meanwhile learns of the
        change first, and by then the pair that signed them is not in force. One counts if the pair in force names it as
        an end, or a generation that counts so, and if it leads on from the head held: what was said before can be led
        on to that pair then (PROTOCOL §9.3). Nothing else in its group counts.
        """
        for group, named in sorted(plan.ends, key=lambda end: -end[0].checkpoint.origin.generation):
            checkpoint = group.checkpoint
            log = (GatewayName(checkpoint.origin.gateway), checkpoint.origin.generation)
            held = peer.heads.get(log)
            leads_on = held is None or any(
                proof.from_size == held.size < checkpoint.size and _consistent(held.size, held.root, group, proof.nodes)
                for proof in group.consistency
            )
            if leads_on and (*log, checkpoint.size, checkpoint.root) in plan.ended:
                await self.take_head(peer, group, plan, now)
                plan.ended |= named

    async def _reconcile_older(self, peer: Peer, group: Group, plan: Plan) -> None:
        """Heads that crossed on the line: the owner proves them into its newer checkpoint, since our hello named
        them.
        """
        for proof in group.consistency:
            key = (GatewayName(group.checkpoint.origin.gateway), group.checkpoint.origin.generation, proof.from_size)
            head = peer.unreconciled.get(key)
            if (
                head is not None
                and head.size < group.checkpoint.size
                and _consistent(head.size, head.root, group, proof.nodes)
            ):
                row = await self._store.peer_head(peer.agency, head.gateway, head.generation, head.size)
                if row is not None and row.root == head.root:
                    # What lies under this head may have to be led on to a later pair: keep the way into the newer one.
                    onward = replace(row, reconciled=True, from_size=group.checkpoint.size, nodes=b"".join(proof.nodes))
                    plan.ops.append(PutPeerHead(onward))
                plan.after.append(partial(_forget, peer.unreconciled, key))

    # --- keys and profile

    def learn(self, peer: Peer, statement: Statement, plan: Plan, taken: Taken) -> None:
        """What an entry of its log says of itself. Key changes come with their own proof; audit heads ask nothing of a
        direct peer.
        """
        match statement.entry:
            case EpochKey():
                self._learn_epoch_key(peer, statement, statement.entry, plan, taken)
            case KeyDestroyed():
                self._forget_epoch_key(peer, statement.entry, plan)
            case Profile():
                self._learn_profile(peer, statement, statement.entry, plan, taken)
            case _:
                pass

    def _learn_epoch_key(self, peer: Peer, statement: Statement, entry: EpochKey, plan: Plan, taken: Taken) -> None:
        if entry.number in peer.epoch_keys:
            return
        if len(peer.epoch_keys) >= MAX_EPOCH_KEYS:
            self._metrics.items_dropped.add("epoch_keys_too_many")
            taken.wasted += 1
            return
        try:
            # Sealed to once on receipt: a key that does not work must not wait for the first alert (DESIGN 4).
            probe_epoch_public(entry.public)
        except KeysError:
            self._metrics.items_dropped.add("epoch_key_unusable")
            taken.wasted += 1
            return
        log = f"{statement.origin.gateway}/{statement.origin.generation}"
        plan.ops.append(
            PutEpochKey(EpochKeyRow(peer.agency, entry.number, entry.use_from, entry.public, log, statement.index))
        )
        key = PublishedKey(entry.number, entry.use_from, entry.public)
        plan.after.append(lambda: peer.epoch_keys.__setitem__(key.number, key))

    @staticmethod
    def _forget_epoch_key(peer: Peer, entry: KeyDestroyed, plan: Plan) -> None:
        known = peer.epoch_keys.get(entry.number)
        if known is not None:
            plan.ops.append(
                PutEpochKey(
                    EpochKeyRow(peer.agency, known.number, known.use_from, known.public, "", 0, destroyed_at=entry.time)
                )
            )
            plan.after.append(partial(_forget, peer.epoch_keys, entry.number))

    @staticmethod
    def _learn_profile(peer: Peer, statement: Statement, entry: Profile, plan: Plan, taken: Taken) -> None:
        position = (statement.origin.generation, statement.index)
        if peer.profile_position is not None and position <= peer.profile_position:
            return
        row = replace(peer.row, profile=encode(proof_to_wire(statement_proof(statement))))
        plan.ops.append(PutPeer(row))

        def learn() -> None:
            peer.row, peer.profile, peer.profile_position = row, entry, position
            peer.profile_hash = leaf_hash(statement.entry_bytes)

        plan.after.append(learn)
        taken.new_profile = True


def named_ends(statements: Sequence[Statement | StatementError]) -> set[LogEnd]:
    """The last heads of earlier generations that first words of later ones name."""
    return {
        (said.origin.gateway, said.entry.previous_generation, said.entry.last_size, said.entry.last_root)
        for said in statements
        if isinstance(said, Statement) and isinstance(said.entry, LogOpened) and said.index == 0
    }


def _forget(known: MutableMapping[Any, Any], key: object) -> None:
    known.pop(key, None)


def _head_row(
    peer: Peer, group: Group, from_size: int | None, nodes: bytes, now: int, *, reconciled: bool
) -> PeerHeadRow:
    checkpoint = group.checkpoint
    return PeerHeadRow(
        agency=peer.agency,
        gateway=checkpoint.origin.gateway,
        generation=checkpoint.origin.generation,
        size=checkpoint.size,
        root=checkpoint.root,
        checkpoint=encode(checkpoint_to_wire(checkpoint)),
        from_size=from_size,
        nodes=nodes,
        reconciled=reconciled,
        at=now,
    )


def _consistent(size: int, root: bytes, group: Group, nodes: tuple[bytes, ...]) -> bool:
    try:
        verify_consistency(size, group.checkpoint.size, nodes, root, group.checkpoint.root)
    except LogProofError:
        return False
    return True
