"""Adding, confirming, suspending and replacing peers (DESIGN 4). Owns pairwise trust as operators change it; rounds
and keys are elsewhere.

A peer is trusted when somebody types the other side's safety code. On a mismatch nothing is stored.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from exchange.card import CardError, VerifiedCard, parse_card
from exchange.checkpoint import checkpoint_to_wire
from exchange.errors import ExchangeError
from exchange.proof import proof_to_wire
from exchange.statement import AgencyKeys, build_agency_keys
from keys.anchor import anchor_to_wire
from keys.encoding import encode
from keys.errors import AnchorError, EncodingError, KeysError
from keys.ids import AgencyId, GatewayName
from keys.safety_code import codes_equal, normalise_code, safety_code
from keys.signing import RootPublicPair
from keys.trust import AnchorVerdict, Trust, judge_anchor
from nodes.errors import OperationError
from nodes.loading import conflict_meta, load_peer, root_changed
from nodes.local_api import Answer, Document
from nodes.peers import Head, Peer, Peers
from nodes.reading import timestamp
from nodes.store.contract import (
    AnchorRow,
    DropBody,
    KeyChangeRow,
    Op,
    PeerHeadRow,
    PeerRow,
    PutAnchor,
    PutKeyChange,
    PutMeta,
    PutPeer,
    PutPeerHead,
    PutRecipient,
    RecipientRow,
    ReleaseDue,
    Store,
)
from nodes.writer import Change, Writer

UNSEALED_AT_ONCE = 256
UNSEALED_BYTES = 4_194_304


class PeerBook:
    """Implements `peer …`."""

    def __init__(
        self,
        *,
        own: AgencyId,
        peers: Peers,
        store: Store,
        writer: Writer,
        clock: Callable[[], int],
        trust_changed: Callable[[Peer], Awaitable[None]],
        end_line: Callable[[AgencyId], Awaitable[None]],
        renewed: Callable[[RecipientRow], RecipientRow],
    ) -> None:
        """`end_line` stops rounds with an agency and closes its connections; `renewed` is a queued message that is to
        be sealed anew.
        """
        self._own = own
        self._peers = peers
        self._store = store
        self._writer = writer
        self._clock = clock
        self._trust_changed = trust_changed
        self._end_line = end_line
        self._renewed = renewed

    async def add(self, args: Document) -> Answer:
        """`peer add CARD [--code]`: pending without a code, trusted with the right one."""
        card = self._card(args)
        code = _typed_code(args.get("code"), card)
        agency = card.keys.agency
        if agency == self._own:
            raise OperationError("invalid_card", "this is our own card", "add the card of the other agency")
        peer = self._peers.get(agency)
        if peer is not None and peer.trust is not Trust.REMOVED:
            await self._judge(peer, card)
            if peer.trust is Trust.SUSPENDED and code:
                raise OperationError("peer_not_usable", f"{agency} is suspended here", f"tocsin peer resume {agency}")
        trust = (
            Trust.TRUSTED
            if code
            else (peer.trust if peer is not None and peer.trust is not Trust.REMOVED else Trust.PENDING)
        )
        if peer is None:
            peer = await self._begin(card, trust, None)
        else:
            async with peer.lock:
                begins = peer.trust is Trust.REMOVED
                peer = await (self._begin if begins else self._keep)(card, trust, peer)
        await self._trust_changed(peer)
        return Answer(await self.document(peer))

    async def replace(self, args: Document) -> Answer:
        """`peer replace A CARD --code CODE`: the agency has a new root. What was proved under the old one stays as it
        is.
        """
        agency = AgencyId(str(args["agency"]))
        old = self._require(agency)
        card = self._card(args)
        if card.keys.agency != agency:
            raise OperationError("invalid_card", f"this card is of {card.keys.agency}, not of {agency}", "")
        if not _typed_code(args.get("code"), card):
            raise OperationError("usage", "a new root needs the safety code", "ask them for it by phone: --code CODE")
        if card.keys.anchors[-1].body.root == old.anchor.body.root:
            raise OperationError("wrong_state", "the root is the same", "tocsin peer add CARD takes an update")
        await self._end_line(agency)
        peer = old
        try:
            async with old.lock:
                peer = await self._begin(card, Trust.TRUSTED, old)
        finally:
            await self._trust_changed(peer)  # of the old root again, if the new one could not be kept
        return Answer(await self.document(peer))

    async def suspend(self, args: Document) -> Answer:
        """At once: open connections are answered `not_trusted` and closed; what is queued stays queued."""
        peer = self._require(AgencyId(str(args["agency"])))
        if peer.trust is Trust.PENDING:
            raise OperationError(
                "wrong_state", f"{peer.agency} is not confirmed yet", f"tocsin peer remove {peer.agency}"
            )
        again = peer.row.reason if peer.trust is Trust.SUSPENDED else None
        return await self._set(peer, Trust.SUSPENDED, args.get("reason") or again)  # why it was, until another is given

    async def resume(self, args: Document) -> Answer:
        """Trust again what was suspended. A pending peer needs its code."""
        peer = self._require(AgencyId(str(args["agency"])))
        if peer.trust is Trust.PENDING:
            raise OperationError(
                "wrong_state", f"{peer.agency} is not confirmed yet", "tocsin peer add CARD --code CODE"
            )
        return await self._set(peer, Trust.TRUSTED, None)

    async def remove(self, args: Document) -> Answer:
        """Forget the relation. Statements stay, with the anchor that proves them."""
        peer = self._require(AgencyId(str(args["agency"])))
        return await self._set(peer, Trust.REMOVED, None)

    async def list(self, args: Document) -> Answer:
        """All but removed peers, by agency."""
        entries = [await self.document(peer) for peer in self._peers if peer.trust is not Trust.REMOVED]
        for entry in entries:
            del entry["v"]
        return Answer({"v": 1, "peers": entries})

    async def show(self, args: Document) -> Answer:
        """One peer."""
        return Answer(await self.document(self._require(AgencyId(str(args["agency"])))))

    async def document(self, peer: Peer) -> Document:
        """K of the contract. The code of a pending peer is never printed: it must come from the other side."""
        queued = next((count.queued for count in await self._store.queue_counts() if count.agency == peer.agency), 0)
        anchor = peer.anchor
        pending = peer.trust is Trust.PENDING
        return {
            "v": 1,
            "agency": peer.agency,
            "name": peer.row.name,
            "country": peer.row.country,
            "trust": peer.trust.value,
            "safety_code": None if pending else safety_code(peer.agency, anchor.body.root),
            "serial": anchor.body.serial,
            "endpoints": list(peer.endpoints),
            "card_expires_at": timestamp(anchor.body.expires_at),
            "added_at": timestamp(peer.row.added_at),
            "confirmed_at": timestamp(peer.row.confirmed_at),
            "last_contact_at": timestamp(peer.row.last_contact_at),
            "clock_skew_ms": peer.row.clock_skew_ms,
            "queued": queued,
            "reason": peer.row.reason,
        }

    # --- parts

    def _card(self, args: Document) -> VerifiedCard:
        try:
            return parse_card(str(args.get("card") or ""))
        except CardError as error:
            raise OperationError(
                "invalid_card",
                f"this is no usable card ({error.reason})",
                "ask for the file again; it begins with -----BEGIN TOCSIN CARD-----",
            ) from error

    async def _judge(self, peer: Peer, card: VerifiedCard) -> AnchorVerdict:
        try:
            return judge_anchor(peer.anchor, card.keys.anchors[-1])
        except AnchorError as error:
            reason = str(error.reason)
            if reason == "root_changed":
                hint = f"call them; if they really have a new root: tocsin peer replace {peer.agency} CARD --code CODE"
                raise OperationError(
                    "root_changed", f"{peer.agency} shows another root than the pinned one", hint
                ) from error
            if reason == "rollback":
                raise OperationError(
                    "rollback", f"this card of {peer.agency} is older than the pinned one", "ask for the newest card"
                ) from error
            second = encode(anchor_to_wire(card.keys.anchors[-1]))
            await self._writer.commit(Change.of(PutMeta(conflict_meta(peer.agency), second)))
            peer.conflicting = True
            raise OperationError(
                "anchor_conflict",
                f"{peer.agency} signed two different anchors with one serial",
                "call them: this must not happen; both are kept",
            ) from error

    async def _begin(self, card: VerifiedCard, trust: Trust, former: Peer | None) -> Peer:
        """A relation that begins: with a new peer, one that was removed, or one that has another root."""
        now = self._clock()
        agency, anchor = card.keys.agency, card.keys.anchors[-1]
        if self._peers.get(agency) is not former:
            raise OperationError(
                "wrong_state", f"{agency} was changed by another command", "look again, then repeat it"
            )
        row = PeerRow(
            agency=agency,
            trust=trust.value,
            name=anchor.body.names[0][1],
            country=anchor.body.country,
            anchor=encode(anchor_to_wire(anchor)),
            profile=encode(proof_to_wire(card.card.profile)),
            added_at=now,
            confirmed_at=now if trust is Trust.TRUSTED else None,
            last_contact_at=None,
            clock_skew_ms=None,
            reason=None,
        )
        ops = [*_card_ops(card), _head_op(card, now), PutPeer(row)]
        if former is None or former.anchor.body.root == anchor.body.root:
            await self._writer.commit(Change.of(*ops))
        else:
            await self._commit_new_root(former, anchor.body.root, ops)
        # From the store, as at the next start: what is in memory and what a restart finds must not differ.
        peer = await load_peer(row, await self._store.startup(), self._store, await self._store.unreconciled())
        if former is not None:  # whoever waits for its lock holds rounds with one that is no more
            former.row = replace(former.row, trust=Trust.REMOVED.value)
        self._peers.put(peer)
        return peer

    async def _commit_new_root(self, former: Peer, root: RootPublicPair, ops: Sequence[Op]) -> None:
        """The old root's heads and keys leave the line in the commit that brings the new root's. What is queued is
        sealed anew: whoever has the old root's keys could open it, and the new root's node never.
        """
        agency = former.agency
        former.replaced = True
        try:
            await self._writer.commit(Change.of(ReleaseDue(agency)))  # what waits for its next attempt is due, too
            while due := await self._store.due(agency, self._clock(), frozenset(), UNSEALED_AT_ONCE, UNSEALED_BYTES):
                unsealed: list[Op] = []
                for recipient, outbound in due:
                    unsealed += [PutRecipient(self._renewed(recipient)), DropBody(outbound.envelope_id)]
                await self._writer.commit(Change.of(*unsealed))
            startup = await self._store.startup()
            moved = root_changed(agency, former.anchor.body.root, root, startup)
            await self._writer.commit(Change.of(*moved, *ops))
        except BaseException:
            former.replaced = False
            raise

    async def _keep(self, card: VerifiedCard, trust: Trust, peer: Peer) -> Peer:
        """What a card brings of a peer that is known already."""
        now = self._clock()
        anchor = card.keys.anchors[-1]
        keys = _joined(peer, card)
        row = replace(
            peer.row,
            trust=trust.value,
            name=anchor.body.names[0][1],
            country=anchor.body.country,
            anchor=encode(anchor_to_wire(anchor)),
            confirmed_at=peer.row.confirmed_at or (now if trust is Trust.TRUSTED else None),
        )
        position = (card.card.profile.checkpoint.origin.generation, card.card.profile.index)
        takes_profile = peer.profile_position is None or position > peer.profile_position
        if takes_profile:
            row = replace(row, profile=encode(proof_to_wire(card.card.profile)))
        head = card.head
        key = (GatewayName(head.origin.gateway), head.origin.generation)
        ops = _card_ops(card)
        takes_head = key not in peer.heads
        if takes_head:
            ops.append(_head_op(card, now))
        ops.append(PutPeer(row))
        await self._writer.commit(Change.of(*ops))
        peer.row, peer.keys = row, keys
        if takes_profile:
            peer.profile, peer.profile_hash, peer.profile_position = card.profile, card.profile_hash, position
        if takes_head:
            peer.hold(Head(key[0], key[1], head.size, head.root, head, now))
        return peer

    async def _set(self, peer: Peer, trust: Trust, reason: object) -> Answer:
        # Under the peer's lock: a round in hand writes its row too, and must not write back what it read before.
        async with peer.lock:
            row = replace(peer.row, trust=trust.value, reason=str(reason) if reason else None)
            changed = row != peer.row
            if changed:
                await self._writer.commit(Change.of(PutPeer(row)))
                peer.row = row
        if changed:
            await self._trust_changed(peer)
        return Answer(await self.document(peer))

    def _require(self, agency: AgencyId) -> Peer:
        peer = self._peers.get(agency)
        if peer is None or peer.trust is Trust.REMOVED:
            raise OperationError("unknown_agency", f"{agency} is no peer of this node", "tocsin peer list shows them")
        return peer


def _card_ops(card: VerifiedCard) -> list[Op]:
    """Rows of a card's anchor and key changes."""
    agency, anchor = card.keys.agency, card.keys.anchors[-1]
    ops: list[Op] = [PutAnchor(AnchorRow(agency, anchor.body.serial, encode(anchor_to_wire(anchor))))]
    for proof in card.card.key_changes:
        origin = proof.checkpoint.origin
        change = encode(proof_to_wire(proof))
        ops.append(PutKeyChange(KeyChangeRow(agency, origin.gateway, origin.generation, proof.index, change)))
    return ops


def _head_op(card: VerifiedCard, now: int) -> PutPeerHead:
    """The row of a card's head."""
    head = card.head
    return PutPeerHead(
        PeerHeadRow(
            agency=card.keys.agency,
            gateway=head.origin.gateway,
            generation=head.origin.generation,
            size=head.size,
            root=head.root,
            checkpoint=encode(checkpoint_to_wire(head)),
            from_size=None,
            nodes=b"",
            reconciled=True,
            at=now,
        )
    )


def _joined(peer: Peer, card: VerifiedCard) -> AgencyKeys:
    """What was known and what the card brings, together: a card can add keys, never take any away."""
    held = peer.heads.get((GatewayName(card.head.origin.gateway), card.head.origin.generation))
    rival = held is not None and held.size == card.head.size and held.root != card.head.root
    anchors = {anchor.digest: anchor for anchor in (*peer.keys.anchors, *card.keys.anchors)}
    try:
        keys = build_agency_keys(
            sorted(anchors.values(), key=lambda anchor: anchor.body.serial), [*peer.keys.changes, *card.keys.changes]
        )
    except (KeysError, ExchangeError):
        keys, rival = peer.keys, True
    if rival:
        raise OperationError(
            "anchor_conflict",
            f"this card of {peer.agency} contradicts keys that it announced before; nothing was stored",
            "call them: somebody may hold an old key of theirs",
        )
    return keys


def _typed_code(typed: object, card: VerifiedCard) -> bool:
    """True if a code was typed and is right. Raises OperationError(safety_code_mismatch) if it is wrong."""
    if not typed:
        return False
    try:
        code = normalise_code(str(typed))
    except EncodingError as error:
        raise OperationError(
            "safety_code_mismatch",
            "this is no safety code: five groups of four letters and digits",
            "nothing was stored; type it again",
        ) from error
    if not codes_equal(code, card.safety_code):
        raise OperationError(
            "safety_code_mismatch",
            f"the code does not belong to this card of {card.keys.agency}; nothing was stored",
            "compare by phone, on a number you already know; if it still differs, somebody may have changed the card",
        )
    return True
