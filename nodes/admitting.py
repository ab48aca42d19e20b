"""Envelopes to us, from the proved item to its rows and the answer that our log gives (PROTOCOL §10 steps 7 to 17).

Owns what of the store each step is shown and what a verdict makes of it; the verdicts are `exchange.admit`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from exchange import admit as admission
from exchange.admit import Deferred, EarlierEnvelope, OpenedMessage, ProvedEnvelope, ReadMessage, Refused, Repeated
from exchange.alerts import Headline, ack_fields
from exchange.entry import Head as SignedHead
from exchange.entry import Receipt, encode_entry
from exchange.entry import Refused as RefusedEntry
from exchange.errors import RefusalCode
from exchange.policy import SILENT_KINDS, CaseFacts
from exchange.round import Group, Result
from keys.ids import AgencyId, EnvelopeId, MessageId, parse_uuid
from nodes.identity import Identity, log_name
from nodes.intake_plan import Arrived, Plan, Taken, let_others
from nodes.losses import with_ids
from nodes.metrics import Metrics
from nodes.peers import Peer
from nodes.store.contract import (
    Direction,
    InboundRow,
    InsertAck,
    InsertInbound,
    InsertMessage,
    MessageRow,
    MoveInbound,
    Op,
    Store,
)
from nodes.vault import AckBody, Vault, stored_headline
from nodes.writer import EntryDraft, Placed, Writer

LONG_CASE = 64  # messages of one sender; reading so many costs as much as one item that was in vain
# Refusals that no conforming sender meets. The others may come in thousands after a long cut, from an honest one.
WASTEFUL = frozenset(
    {
        RefusalCode.MALFORMED,
        RefusalCode.TOO_LARGE,
        RefusalCode.NOT_FOR_US,
        RefusalCode.ID_REUSED,
        RefusalCode.INVALID_MESSAGE,
    }
)


class Admitting:
    """Admits the proved envelopes of a group into a plan."""

    def __init__(self, identity: Identity, store: Store, writer: Writer, vault: Vault, metrics: Metrics) -> None:
        self._identity = identity
        self._store = store
        self._writer = writer
        self._vault = vault
        self._metrics = metrics

    async def admit(
        self, peer: Peer, group: Group, proved: Sequence[ProvedEnvelope], plan: Plan, taken: Taken, peer_now: int
    ) -> None:
        earlier = await self._store.inbound(peer.agency, [p.parsed.header.envelope_id for p in proved])
        opened: list[OpenedMessage] = []
        for number, envelope in enumerate(proved, start=1):
            await let_others(number)
            rows = earlier.get(envelope.parsed.header.envelope_id, [])
            verdict = admission.examine(
                envelope,
                agency=self._identity.agency,
                earlier=EarlierEnvelope(frozenset(row.envelope_hash for row in rows)) if rows else None,
                now=peer_now,
                has_epoch_key=self._identity.has_epoch_key,
                open_with=self._identity.opener,
                doubtful_up_to=self._identity.epoch_floor,
            )
            match verdict:
                case Repeated():
                    for row in rows:
                        if row.envelope_hash == envelope.parsed.envelope_hash:
                            await self._answer_again(peer, row, plan, taken)
                case Deferred():
                    taken.wasted += verdict.step == 13  # a key in doubt was tried, as for what is malformed
                    taken.results.append(Result(envelope.parsed.header.envelope_id, verdict.code))
                case Refused():
                    self._refuse(peer, group, verdict, plan, taken)
                case OpenedMessage():
                    opened.append(verdict)
        known = await self._store.messages([(peer.agency, message.opened.message_id) for message in opened])
        for number, message in enumerate(opened, start=1):
            await let_others(number)
            await self._admit_one(peer, group, message, known, plan, taken)
        if plan.acked and self._identity.recover_since is not None:
            await self._miss_acked(peer, plan)

    async def _miss_acked(self, peer: Peer, plan: Plan) -> None:
        """This node has lost history: remember of which forgotten messages of ours a peer speaks."""
        own = self._identity.agency
        here = await self._store.messages([(own, message_id) for message_id in plan.acked])
        lost = with_ids(peer.lost, (id_ for id_ in plan.acked if (own, id_) not in here), self._writer.last_time)
        if lost is not peer.lost:
            plan.ops.append(lost.row(peer.agency))
            plan.after.append(lambda: setattr(peer, "lost", lost))

    async def _answer_again(self, peer: Peer, row: InboundRow, plan: Plan, taken: Taken) -> None:
        """The stored answer, byte for byte; one of a closed generation is logged again first (PROTOCOL §9.1)."""
        if row.log == self._open_log():
            taken.answers.add((row.log, row.index))
            return
        entry = await self._store.entry(row.log, row.index)
        if entry is None:
            return  # lost with the history: the envelope was answered, and its sender knows by a later generation

        def move(placed: Placed) -> list[Op]:
            return [MoveInbound(row.sender, row.envelope_id, row.envelope_hash, placed.log, placed.index)]

        def answer(placed: Placed) -> None:
            taken.answers.add((placed.log, placed.index))

        plan.add(EntryDraft(destination=peer.agency, make=lambda _time, _salt: entry), move, answer)

    def _open_log(self) -> str:
        origin = self._writer.origin
        return log_name(origin.gateway, origin.generation)

    async def _admit_one(
        self,
        peer: Peer,
        group: Group,
        message: OpenedMessage,
        known: dict[tuple[AgencyId, MessageId], MessageRow],
        plan: Plan,
        taken: Taken,
    ) -> None:
        message_id = message.opened.message_id
        earlier_row: MessageRow | None = known.get((peer.agency, message_id))
        earlier_sha: str | None = None
        if earlier_row is not None:
            stored = self._vault.headline(earlier_row)
            earlier_sha = stored.content_sha256 if stored is not None else None
        elif message_id in plan.messages:
            earlier_row, earlier_sha = plan.messages[message_id]
        read = admission.read(
            message, earlier_content_sha256=None if earlier_sha is None else bytes.fromhex(earlier_sha)
        )
        if isinstance(read, Refused):
            self._refuse(peer, group, read, plan, taken)
            return
        verdict = admission.admit(read, await self._case_facts(peer.agency, read.headline, plan, taken))
        if isinstance(verdict, Refused):
            self._refuse(peer, group, verdict, plan, taken)
            return
        if read.headline.kind == "alert":
            plan.alerts.add(read.headline.case_id)
        self._store_admitted(peer, group, read, earlier_row, plan, taken)

    async def _alert_senders(self, sender: AgencyId, case_id: str, plan: Plan, taken: Taken) -> set[AgencyId]:
        """Agencies whose alert of a case lies here. A long case is read once in a round, at the cost of `sender` as far
        as it made it long: a peer could fill one with updates, of which each would read all others.
        """
        known = plan.cases.get(case_id)
        if known is not None:
            return known
        senders = plan.cases[case_id] = set()
        rows = await self._store.messages_of_case(self._vault.case_tag(case_id))
        taken.wasted += sum(row.sender == sender for row in rows) // LONG_CASE
        for number, row in enumerate(rows, start=1):
            await let_others(number)
            stored = self._vault.headline(row)
            if stored is not None and stored.kind == "alert" and stored.case_id == case_id:
                senders.add(row.sender)
        return senders

    async def _case_facts(self, sender: AgencyId, headline: Headline, plan: Plan, taken: Taken) -> CaseFacts:
        if headline.kind in SILENT_KINDS or headline.supersedes is None:
            return CaseFacts()
        senders = await self._alert_senders(sender, headline.case_id, plan, taken)
        if headline.case_id in plan.alerts:
            senders = senders | {sender}
        superseded = await self._store.messages_by_suffix(headline.supersedes.replace("-", ""))
        return CaseFacts(frozenset(senders), superseded[0].sender if len(superseded) == 1 else None)

    def _store_admitted(
        self,
        peer: Peer,
        group: Group,
        read: ReadMessage,
        earlier_row: MessageRow | None,
        plan: Plan,
        taken: Taken,
    ) -> None:
        headline, opened, header = read.headline, read.message.opened, read.message.proved.parsed.header
        shown = headline.kind not in SILENT_KINDS
        fresh: Arrived | None = None
        if earlier_row is None:
            stored = stored_headline(headline, read.content_sha256)
            row, key = self._vault.message_row(
                message_id=opened.message_id,
                sender=peer.agency,
                direction=Direction.IN,
                at=0,  # the time of our receipt, known when it is placed
                precedence=int(header.precedence),
                shown=shown,
                headline=stored,
                content=opened.content,
            )
            plan.messages[opened.message_id] = (row, stored.content_sha256)
            fresh = Arrived(row, stored)
        else:
            found = self._vault.key_of(earlier_row)
            if found is None:  # erased here: the envelope is receipted again, its content stays gone
                self._receipt(peer, group, read, None, lambda _: [], lambda _: None, plan, taken)
                return
            key = found

        ack = _ack_of(read)
        own = self._identity.agency
        if ack is not None:
            plan.acked.add(ack[0])

        def ops(placed: Placed) -> list[Op]:
            made: list[Op] = []
            if fresh is not None:
                made.append(InsertMessage(replace(fresh.row, at=placed.time)))
            if ack is not None:
                target, body = ack
                made.append(
                    InsertAck(
                        self._vault.ack_row(
                            message_id=target, sender=own, by=peer.agency, carrier_id=opened.message_id, body=body
                        )
                    )
                )
            return made

        def after(placed: Placed) -> None:
            if fresh is not None and shown:
                taken.arrived.append(replace(fresh, row=replace(fresh.row, at=placed.time)))
            if ack is not None:
                taken.acknowledged.append((own, ack[0]))

        self._receipt(peer, group, read, self._vault.seal_opening(key, opened.opening), ops, after, plan, taken)

    def _receipt(
        self,
        peer: Peer,
        group: Group,
        read: ReadMessage,
        sealed_opening: bytes | None,
        ops: Callable[[Placed], list[Op]],
        after: Callable[[Placed], None],
        plan: Plan,
        taken: Taken,
    ) -> None:
        proved, opened = read.message.proved, read.message.opened
        about = _about(proved, group)
        draft = EntryDraft(peer.agency, lambda time, salt: encode_entry(Receipt(salt, time, *about)))
        n, generation = opened.number, opened.generation

        def placed_ops(placed: Placed) -> list[Op]:
            row = _inbound_row(proved, group, placed, None, opened.message_id, generation, n, sealed_opening)
            return [*ops(placed), InsertInbound(row)]

        def placed_after(placed: Placed) -> None:
            taken.answers.add((placed.log, placed.index))
            peer.highest_received[generation] = max(n, peer.highest_received.get(generation, 0))
            self._metrics.items_admitted.add()
            after(placed)

        plan.add(draft, placed_ops, placed_after)

    def _refuse(self, peer: Peer, group: Group, refused: Refused, plan: Plan, taken: Taken) -> None:
        proved, opened = refused.proved, refused.opened
        taken.wasted += refused.code in WASTEFUL
        about, code = _about(proved, group), refused.code.value
        draft = EntryDraft(peer.agency, lambda time, salt: encode_entry(RefusedEntry(salt, time, *about, code)))

        def placed_ops(placed: Placed) -> list[Op]:
            message_id = None if opened is None else opened.message_id
            number = (0, 0) if opened is None else (opened.generation, opened.number)
            return [InsertInbound(_inbound_row(proved, group, placed, code, message_id, *number, None))]

        def placed_after(placed: Placed) -> None:
            taken.answers.add((placed.log, placed.index))
            self._metrics.items_refused.add(code)

        plan.add(draft, placed_ops, placed_after)


def _about(proved: ProvedEnvelope, group: Group) -> tuple[AgencyId, EnvelopeId, bytes, SignedHead]:
    """What an answer says which envelope it is about, and under which head of its sender: fields of both kinds."""
    header, checkpoint = proved.parsed.header, group.checkpoint
    origin = checkpoint.origin
    head = SignedHead(origin.gateway, origin.generation, checkpoint.size, checkpoint.root)
    return header.sender, header.envelope_id, proved.parsed.envelope_hash, head


def _inbound_row(
    proved: ProvedEnvelope,
    group: Group,
    placed: Placed,
    code: str | None,
    message_id: MessageId | None,
    generation: int,
    n: int,
    sealed_opening: bytes | None,
) -> InboundRow:
    parsed, statement = proved.parsed, proved.statement
    return InboundRow(
        sender=parsed.header.sender,
        envelope_id=parsed.header.envelope_id,
        envelope_hash=parsed.envelope_hash,
        header=parsed.raw.header,
        body_hash=parsed.body_hash,
        message_id=message_id,
        generation=generation,
        n=n,
        sealed_opening=sealed_opening,
        issued_entry=statement.entry_bytes,
        issued_index=statement.index,
        issued_path=b"".join(statement.path),
        gateway=group.checkpoint.origin.gateway,
        head_generation=group.checkpoint.origin.generation,
        head_size=group.checkpoint.size,
        code=code,
        log=placed.log,
        index=placed.index,
        at=placed.time,
    )


def _ack_of(read: ReadMessage) -> tuple[MessageId, AckBody] | None:
    """The message an ack answers, and what it says; None for every other kind."""
    if read.headline.kind != "ack":
        return None
    said = ack_fields(read.document)
    return MessageId(parse_uuid(said.message_id)), AckBody(
        level=said.level,
        cause=said.cause,
        officer=said.officer,
        text=said.text,
        at=said.at_ms,
        content_sha256=said.content_sha256,
    )
