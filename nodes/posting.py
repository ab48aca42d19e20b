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
from exchange.compose import (
    DEFAULT_LIFETIME_MS,
    PRECEDENCES,
    Addressed,
    Composed,
    Decision,
    Given,
    Issuable,
    Outgoing,
    compose,
    decide,
    deliver_by,
    issuable,
    tried_until,
)
from exchange.entry import Issued, encode_entry
from exchange.envelope import OPENING_BYTES, Precedence
from exchange.errors import RefusalError
from exchange.policy import SILENT_KINDS, Addressee
from keys.epochs import PublishedKey
from keys.ids import AgencyId, EnvelopeId, MessageId, format_uuid, parse_uuid
from keys.randomness import new_envelope_id, random_bytes
from keys.sealing import ContentKey, seal
from keys.trust import Trust
from nodes.bars import forbid, too_large_to_seal
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
    given: Given  # what was known of the recipients when it was decided and sealed


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
        return decide(
            document,
            headline,
            own_agency=self._identity.agency,
            own_country=self._country,
            addressees=[self._known_of(agency, now)[0] for agency in recipients],
        )

    def _known_of(self, agency: AgencyId, now: int) -> tuple[Addressee, PublishedKey | None]:
        peer = self._peers.get(agency)
        if peer is None:
            return Addressee(agency, None, "", None), None
        return peer.addressee(now), peer.usable_key(now)

    def given(self, recipients: Sequence[AgencyId], now: int) -> Given:
        """What a message to these is composed with, as it is now."""
        return Given(
            self._identity.agency,
            self._country,
            now,
            self._writer.generation,
            tuple(Addressed(*self._known_of(agency, now), new_envelope_id()) for agency in recipients),
        )

    def stands(self, given: Given) -> bool:
        """Whether what was decided and sealed with this may be committed: nothing of it has changed since."""
        now = self._clock()
        return given.generation == self._writer.generation and all(
            (one.to, one.key) == self._known_of(one.to.agency, now) for one in given.recipients
        )

    def draw_number(self, given: Given, index: int) -> int:
        """The next number of an envelope to this recipient, which must be a peer."""
        peer = self._peers.get(given.recipients[index].to.agency)
        if peer is None:
            raise RuntimeError("an envelope is sealed to a peer")
        return peer.number(given.generation)

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
        given = self.given(recipients, self._clock())
        try:
            composed = compose(
                completed,
                given,
                number=lambda index: self.draw_number(given, index),
                opening=lambda: random_bytes(OPENING_BYTES),
                seal=seal,
            )
        except RefusalError as error:
            raise too_large_to_seal() from error
        return self.prepared(
            composed,
            given,
            input_sha256=input_sha256,
            extra_ops=extra_ops,
            own_ack=own_ack,
            audit=audit,
            leave_out=leave_out,
        )

    def prepared(
        self,
        composed: Composed,
        given: Given,
        *,
        input_sha256: str | None = None,
        extra_ops: Sequence[Op] = (),
        own_ack: OwnAck | None = None,
        audit: Sequence[bytes] = (),
        leave_out: str = "--to",
    ) -> Prepared:
        """The rows of a message that was composed with `given`, which must stand. Raises as `prepare` does."""
        forbid(composed.decisions, leave_out)
        headline, now = composed.headline, given.now
        message_id = MessageId(parse_uuid(headline.message_id))
        stored = stored_headline(headline, sha256(composed.content).digest(), input_sha256)
        row, key = self._vault.message_row(
            message_id=message_id,
            sender=self._identity.agency,
            direction=Direction.OUT,
            at=now,
            precedence=int(PRECEDENCES[headline.precedence]),
            shown=headline.kind not in SILENT_KINDS,
            headline=stored,
            content=composed.content,
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
        queued: list[RecipientRow] = []
        sealings: list[_Sealing] = []
        for one, envelope in zip(given.recipients, composed.envelopes, strict=True):
            recipient = _queued(row, one.to.agency, one.envelope_id, composed.deliver_by, now)
            queued.append(recipient)
            peer = self._peers.get(one.to.agency)
            if peer is None or envelope is None:
                # No epoch key of it yet: queued, sealed at rest, sealed to it when one comes.
                ops.append(PutRecipient(recipient))
            else:
                sealings.append(self._issuing(peer, recipient, envelope, given.generation, key))
        return Prepared(row, stored, tuple(queued), tuple(ops), tuple(sealings), tuple(audit), given)

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
        forbid(decisions, "--to")
        recipient = _queued(row, agency, new_envelope_id(), deliver_by(received.headline, now), now)
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
            envelope = issuable(outgoing, key_to, seal, random_bytes(OPENING_BYTES))
        except RefusalError as error:
            raise too_large_to_seal() from error
        return self._issuing(peer, recipient, envelope, generation, key)

    def _issuing(
        self, peer: Peer, recipient: RecipientRow, envelope: Issuable, generation: int, key: ContentKey
    ) -> _Sealing:
        sealed_opening = self._vault.seal_opening(key, envelope.opening)

        def make(time: int, salt: bytes) -> bytes:
            return encode_entry(
                Issued(salt=salt, time=time, envelope_id=recipient.envelope_id, envelope_hash=envelope.envelope_hash)
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
                        header=envelope.header,
                        body=envelope.body,
                        body_hash=envelope.body_hash,
                        envelope_hash=envelope.envelope_hash,
                        generation=generation,
                        n=envelope.n,
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


def _queued(row: MessageRow, agency: AgencyId, envelope_id: EnvelopeId, until: int, now: int) -> RecipientRow:
    """A message of ours that waits for one agency, not sealed yet."""
    return RecipientRow(
        message_id=row.message_id,
        agency=agency,
        envelope_id=envelope_id,
        state=MachineState.QUEUED,
        reason=None,
        precedence=row.precedence,
        deliver_by=tried_until(until, now),
        updated_at=now,
        attempts=0,
        next_attempt_at=None,
        reseals=0,
        sealed=False,
        shown=row.shown,
    )
