"""Posting: from an analyst's text, or the node's own words, to rows and `issued` entries in one commit.

Owns the outbound path up to durability; the courier takes it from there. Nothing is posted unless every recipient may
have it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from exchange.alerts import Completed, Headline, read_received
from exchange.compose import DEFAULT_LIFETIME_MS, PRECEDENCES, Decision, Outgoing, decide, deliver_by, seal_outgoing
from exchange.entry import Issued, encode_entry
from exchange.envelope import Precedence
from exchange.errors import RefusalError
from exchange.policy import PEER_BARS, SILENT_KINDS, Addressee, SendBar
from keys.epochs import PublishedKey
from keys.ids import AgencyId, MessageId, format_uuid, parse_uuid
from keys.randomness import new_envelope_id, random_bytes
from keys.sealing import ContentKey, seal
from keys.trust import Trust
from nodes.errors import OperationError
from nodes.identity import Identity
from nodes.peers import Peer, Peers
from nodes.store.contract import (
    Direction,
    InsertAck,
    InsertMessage,
    InsertOutbound,
    MachineState,
    MessageRow,
    Op,
    OutboundRow,
    PutRecipient,
    RecipientRow,
    Store,
)
from nodes.vault import AckBody, StoredHeadline, Vault, stored_headline
from nodes.writer import Change, EntryDraft, Placed, Writer

SEALED_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class OwnAck:
    """Our own words about a message received, stored beside the ack message that carries them."""

    message_id: MessageId
    sender: AgencyId
    body: AckBody


@dataclass(frozen=True, slots=True)
class _Sealing:
    draft: EntryDraft
    ops: Callable[[Placed], list[Op]]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A message that is sealed and not durable yet: its row, its recipients, and what its commit writes."""

    row: MessageRow
    headline: StoredHeadline
    recipients: tuple[RecipientRow, ...]
    ops: tuple[Op, ...]
    sealings: tuple[_Sealing, ...]
    audit: tuple[bytes, ...]


class Posting:
    """Commits messages of this agency."""

    def __init__(
        self,
        identity: Identity,
        country: str,
        peers: Peers,
        store: Store,
        writer: Writer,
        vault: Vault,
        clock: Callable[[], int],
    ) -> None:
        self._identity = identity
        self._country = country
        self._peers = peers
        self._store = store
        self._writer = writer
        self._vault = vault
        self._clock = clock

    def decisions(self, completed: Completed, recipients: Sequence[AgencyId], now: int) -> tuple[Decision, ...]:
        """What would happen to each recipient."""
        return self._decisions(completed.document, completed.headline, recipients, now)

    def _decisions(
        self,
        document: Mapping[str, Any],
        headline: Headline,
        recipients: Sequence[AgencyId],
        now: int,
    ) -> tuple[Decision, ...]:
        addressees = []
        for agency in recipients:
            peer = self._peers.get(agency)
            addressees.append(Addressee(agency, None, "", None) if peer is None else peer.addressee(now))
        return decide(
            document,
            headline,
            own_agency=self._identity.agency,
            own_country=self._country,
            addressees=addressees,
        )

    async def earlier(self, posts: Sequence[tuple[MessageId, str]]) -> list[MessageRow | OperationError | None]:
        """For each (message id, hash of the input): the message that an earlier post with this id became, None if the
        id is new, or the error `id_reused` if that post brought other bytes.
        """
        own = self._identity.agency
        rows = await self._store.messages([(own, message_id) for message_id, _ in posts])
        found: list[MessageRow | OperationError | None] = []
        for message_id, input_sha256 in posts:
            row = rows.get((own, message_id))
            headline = None if row is None else self._vault.headline(row)
            if headline is not None and headline.input_sha256 != input_sha256:
                found.append(
                    OperationError(
                        "id_reused",
                        f"message id {format_uuid(message_id)} was already used here for other content",
                        "leave out --id, or give a new one",
                    )
                )
            else:
                found.append(row)
        return found

    def prepare(
        self,
        completed: Completed,
        recipients: Sequence[AgencyId],
        *,
        input_sha256: str | None = None,
        extra_ops: Sequence[Op] = (),
        own_ack: OwnAck | None = None,
        audit: Sequence[bytes] = (),
        leave_out: str = "--to",
    ) -> Prepared:
        """Seal to each recipient. Nothing has happened until `commit`.

        Raises OperationError when one recipient may not have it. `leave_out`: the option by which the caller goes on
        without such a one, `--to` the others or `--without` these.
        """
        now = self._clock()
        self._forbid(self.decisions(completed, recipients, now), leave_out)
        headline = completed.headline
        message_id = MessageId(parse_uuid(headline.message_id))
        precedence = PRECEDENCES[headline.precedence]
        stored = stored_headline(headline, sha256(completed.content).digest(), input_sha256)
        row, key = self._vault.message_row(
            message_id=message_id,
            sender=self._identity.agency,
            direction=Direction.OUT,
            at=now,
            precedence=int(precedence),
            shown=headline.kind not in SILENT_KINDS,
            headline=stored,
            content=completed.content,
        )
        ops: list[Op] = [InsertMessage(row), *extra_ops]
        if own_ack is not None:
            ops.append(
                InsertAck(
                    self._vault.ack_row(
                        message_id=own_ack.message_id,
                        sender=own_ack.sender,
                        by=self._identity.agency,
                        carrier_id=message_id,
                        body=own_ack.body,
                    )
                )
            )
        until = deliver_by(headline, now)
        queued = [_queued(row, agency, until, now) for agency in recipients]
        sealings: list[_Sealing] = []
        for recipient in queued:
            peer = self._peers.get(recipient.agency)
            key_to = None if peer is None else peer.usable_key(now)
            if peer is None or key_to is None:
                # No epoch key of it yet: queued, sealed at rest, sealed to it when one comes.
                ops.append(PutRecipient(recipient))
            else:
                sealings.append(self._sealing(peer, key_to, recipient, completed.content, key, now))
        return Prepared(row, stored, tuple(queued), tuple(ops), tuple(sealings), tuple(audit))

    async def commit(self, posts: Sequence[Prepared], *, also: Sequence[Op] = ()) -> None:
        """Make them durable, all in one transaction with the rows in `also`, and wake the couriers.

        Raises StoreConflictError when one of their ids is taken: none of them was posted.
        """
        ops = [*also, *(op for post in posts for op in post.ops)]
        sealings = [sealing for post in posts for sealing in post.sealings]
        await self._commit(ops, sealings, [entry for post in posts for entry in post.audit])
        for post in posts:
            flash = post.row.precedence == int(Precedence.FLASH)
            for recipient in post.recipients:
                self._wake(recipient.agency, flash=flash, unsealed=len(post.sealings) < len(post.recipients))

    async def post(
        self, completed: Completed, recipients: Sequence[AgencyId], *, own_ack: OwnAck | None = None
    ) -> Prepared:
        """The node's own words, whose id nobody else can have used: sealed and durable when it returns.

        Raises OperationError when one recipient may not have it.
        """
        prepared = self.prepare(completed, recipients, own_ack=own_ack)
        await self.commit([prepared])
        return prepared

    async def add_recipient(self, row: MessageRow, agency: AgencyId, audit: Sequence[bytes]) -> None:
        """A message of ours to one agency more, as it was committed. Raises OperationError when it may not have it."""
        content = self._vault.content(row)
        if content is None:
            raise OperationError("wrong_state", "the content of this message was erased", "")
        now = self._clock()
        received = read_received(content)
        decisions = self._decisions(received.document, received.headline, [agency], now)
        self._forbid(decisions, "--to")
        recipient = _queued(row, agency, deliver_by(received.headline, now), now)
        await self._writer.commit(Change.of(PutRecipient(recipient), audit=tuple(audit)))
        self._wake(agency, unsealed=True)

    def require_peer(self, agency: AgencyId) -> None:
        """Raises OperationError(unknown_agency) for one that was removed: what is queued for it goes nowhere."""
        peer = self._peers.get(agency)
        if peer is None or peer.trust is Trust.REMOVED:
            raise OperationError(
                "unknown_agency",
                f"{agency} is no peer of this node any more; nothing was sent",
                "type the code it says by phone: tocsin peer add CARD --code CODE; "
                "what waits for it then goes out by itself",
            )

    async def seal_waiting(self, peer: Peer) -> None:
        """Seal what waits for a key of this peer, once it has one. For its courier alone: two at once would issue one
        envelope twice.
        """
        while peer.unsealed:
            now = self._clock()
            key_to = peer.usable_key(now)
            if key_to is None:
                return
            peer.unsealed = False  # before the look: what is queued from now on raises it again
            try:
                peer.unsealed = await self._seal_some(peer, key_to, now) or peer.unsealed
            except BaseException:
                peer.unsealed = True
                raise

    async def _seal_some(self, peer: Peer, key_to: PublishedKey, now: int) -> bool:
        """True if there may be more."""
        waiting = await self._store.unsealed(peer.agency, SEALED_AT_ONCE)
        sealings = []
        for recipient in waiting:
            row = await self._store.message(self._identity.agency, recipient.message_id)
            key = None if row is None else self._vault.key_of(row)
            content = None if row is None else self._vault.content(row)
            if key is not None and content is not None:
                sealings.append(self._sealing(peer, key_to, recipient, content, key, now))
        if sealings:
            await self._commit([], sealings, ())
        return len(waiting) == SEALED_AT_ONCE and bool(sealings)

    async def new_envelope(self, recipient: RecipientRow, *, reseal: bool) -> RecipientRow:
        """The same message in a new envelope: a reseal by the node itself, or `resend` by an operator. The old row of
        the envelope keeps its end.
        """
        renewed = self.renewed(recipient, reseal=reseal)
        await self._writer.commit(Change.of(PutRecipient(renewed)))
        self._wake(recipient.agency, unsealed=True)
        return renewed

    def renewed(self, recipient: RecipientRow, *, reseal: bool = False, again: bool = False) -> RecipientRow:
        """The recipient with a new envelope to come. `again`: also when it holds the message already (it lost it)."""
        now = self._clock()
        keeps_state = recipient.state is MachineState.STORED and not again
        return replace(
            recipient,
            envelope_id=new_envelope_id(),
            state=recipient.state if keeps_state else MachineState.QUEUED,
            reason=None,
            updated_at=now,
            attempts=0,
            next_attempt_at=None,
            reseals=recipient.reseals + 1 if reseal else 0,
            sealed=False,
            deliver_by=recipient.deliver_by if recipient.deliver_by > now else now + DEFAULT_LIFETIME_MS,
        )

    def _sealing(
        self, peer: Peer, key_to: PublishedKey, recipient: RecipientRow, content: bytes, key: ContentKey, now: int
    ) -> _Sealing:
        generation = self._writer.generation
        outgoing = Outgoing(
            envelope_id=recipient.envelope_id,
            message_id=recipient.message_id,
            sender=self._identity.agency,
            recipient=peer.agency,
            precedence=Precedence(recipient.precedence),
            sent_at=now,
            deliver_by=recipient.deliver_by,
            generation=generation,
            n=peer.number(generation),
            content=content,
        )
        try:
            sealed = seal_outgoing(
                outgoing, key_to.number, lambda info, plaintext: seal(key_to.public, info, plaintext), random_bytes(32)
            )
        except RefusalError as error:
            raise too_large_to_seal() from error
        sealed_opening = self._vault.seal_opening(key, sealed.opening)
        body_hash = sha256(sealed.body).digest()

        def make(time: int, salt: bytes) -> bytes:
            return encode_entry(
                Issued(salt=salt, time=time, envelope_id=recipient.envelope_id, envelope_hash=sealed.envelope_hash)
            )

        def ops(placed: Placed) -> list[Op]:
            if peer.replaced:  # since it was sealed: whoever has the old root's keys could open it, the peer could not
                return [PutRecipient(self.renewed(recipient))]
            return [
                PutRecipient(replace(recipient, sealed=True)),
                InsertOutbound(
                    OutboundRow(
                        envelope_id=recipient.envelope_id,
                        message_id=recipient.message_id,
                        agency=peer.agency,
                        header=sealed.header_bytes,
                        body=sealed.body,
                        body_hash=body_hash,
                        envelope_hash=sealed.envelope_hash,
                        generation=generation,
                        n=outgoing.n,
                        sealed_opening=sealed_opening,
                        log=placed.log,
                        index=placed.index,
                        at=placed.time,
                    )
                ),
            ]

        return _Sealing(EntryDraft(destination=peer.agency, make=make), ops)

    async def _commit(self, fixed: Sequence[Op], sealings: Sequence[_Sealing], audit: Sequence[bytes]) -> None:
        def ops(placed: tuple[Placed, ...]) -> list[Op]:
            made = list(fixed)
            for sealing, place in zip(sealings, placed, strict=True):
                made.extend(sealing.ops(place))
            return made

        await self._writer.commit(Change(entries=tuple(s.draft for s in sealings), ops=ops, audit=tuple(audit)))

    def _wake(self, agency: AgencyId, *, flash: bool = False, unsealed: bool = False) -> None:
        peer = self._peers.get(agency)
        if peer is not None:
            if flash:
                peer.flash_waiting = True
                peer.flash.set()
            peer.unsealed = peer.unsealed or unsealed
            peer.wake.set()

    @staticmethod
    def _forbid(decisions: Sequence[Decision], leave_out: str) -> None:
        barred = [decision for decision in decisions if decision.bar is not None]
        if not barred:
            return
        allowed = [decision.agency for decision in decisions if decision.bar is None]
        reasons = ", ".join(f"{decision.agency}: {decision.bar}" for decision in barred)
        if not allowed:
            rest = _way_back(barred, leave_out)
        elif leave_out == "--without":
            names = [decision.agency for decision in barred]
            rest = (
                f"without them, at once: add --without {','.join(names)}; "
                f"when they can have it: tocsin resend ID --to {names[0]}"
            )
        else:
            rest = f"without them: --to {','.join(allowed)}"
        codes = {_error_code(decision) for decision in barred}
        code = next(code for code in ("unknown_agency", "peer_not_usable", "policy_denied") if code in codes)
        raise OperationError(code, f"nothing was posted; these recipients cannot have it: {reasons}", rest)


_WAYS_BACK = {
    SendBar.PEER_SUSPENDED: "tocsin peer resume {agency}, then the same again",
    SendBar.PEER_PENDING: "type the code it says by phone: tocsin peer add CARD --code CODE, then the same again",
    SendBar.UNKNOWN_AGENCY: "take its card: tocsin peer add CARD --code CODE, then the same again",
}


def _way_back(barred: Sequence[Decision], leave_out: str) -> str:
    """How a message that nobody may have gets to somebody after all."""
    ways = [_WAYS_BACK[one.bar].format(agency=one.agency) for one in barred if one.bar in _WAYS_BACK]
    if not ways:
        return "tocsin peer list shows whom you can send to"
    if leave_out != "--without":
        return f"{ways[0]}; tocsin peer list shows whom you can send to"
    return f"{ways[0]}; or to others only: add --to AGENCY --without {','.join(one.agency for one in barred)}"


def too_large_to_seal() -> OperationError:
    """A message that fits the limit of a document and, compressed and with what goes beside it, no envelope."""
    return OperationError(
        "too_large", "the message fills more than an envelope holds (256 KiB, compressed)", "shorten its texts"
    )


def _queued(row: MessageRow, agency: AgencyId, until: int, now: int) -> RecipientRow:
    """A message of ours that waits for one agency, not sealed yet. One whose own time is over is still told."""
    return RecipientRow(
        message_id=row.message_id,
        agency=agency,
        envelope_id=new_envelope_id(),
        state=MachineState.QUEUED,
        reason=None,
        precedence=row.precedence,
        deliver_by=until if until > now else now + DEFAULT_LIFETIME_MS,
        updated_at=now,
        attempts=0,
        next_attempt_at=None,
        reseals=0,
        sealed=False,
        shown=row.shown,
    )


def _error_code(decision: Decision) -> str:
    if decision.bar is None:
        return ""
    if decision.bar.value in ("unknown_agency", "ourselves"):
        return "unknown_agency"
    return "peer_not_usable" if decision.bar in PEER_BARS else "policy_denied"
