"""Taking what a peer sent in a round: verify its groups, admit its envelopes, settle our own, remember its heads and
keys.

Owns the order in which a group is believed (PROTOCOL §10 steps 5 to 17, §12) and the change that one commit makes of
it. It holds no socket and decides no
rule: verification is `exchange.statement`, admission `exchange.admit`, state `exchange.delivery`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from exchange import admit as admission
from exchange.admit import (
    Deferred,
    EarlierEnvelope,
    OpenedMessage,
    ParsedEnvelope,
    ProvedEnvelope,
    ReadMessage,
    Refused,
    Repeated,
)
from exchange.alerts import Headline, ack_fields
from exchange.checkpoint import checkpoint_to_wire
from exchange.delivery import Fact, State, delivery_state
from exchange.entry import (
    EpochKey,
    Issued,
    KeyDestroyed,
    LogOpened,
    Profile,
    Receipt,
    decode_entry,
    encode_entry,
)
from exchange.entry import Head as SignedHead
from exchange.entry import Refused as RefusedEntry
from exchange.errors import RefusalCode, RefusalError, StatementError, StatementProblem
from exchange.log import LogProofError, leaf_hash, verify_consistency
from exchange.policy import SILENT_KINDS, CaseFacts
from exchange.proof import Proof, proof_to_wire
from exchange.round import Group, Result
from exchange.statement import EnvelopeFacts, Statement, statement_proof, verify_group
from keys.encoding import encode
from keys.epochs import PublishedKey
from keys.errors import EncodingError, KeysError
from keys.ids import AgencyId, EnvelopeId, GatewayName, MessageId, parse_uuid
from keys.sealing import probe_epoch_public
from nodes.hello import MAX_GENERATION_JUMP
from nodes.identity import Identity, log_name
from nodes.loading import opened_meta
from nodes.metrics import Metrics
from nodes.peers import Head, Peer
from nodes.store.contract import (
    Direction,
    DropBody,
    EpochKeyRow,
    InboundRow,
    InsertAck,
    InsertInbound,
    InsertMessage,
    MachineState,
    MessageRow,
    MoveInbound,
    Op,
    OutboundRow,
    PeerHeadRow,
    PutEpochKey,
    PutPeer,
    PutPeerHead,
    PutRecipient,
    PutStatement,
    RecipientRow,
    StatementRow,
    Store,
)
from nodes.vault import AckBody, StoredHeadline, Vault
from nodes.writer import Change, EntryDraft, Placed, Writer

MAX_RIVALS = 2
LONG_CASE = 64  # messages; reading so many costs as much as one item that was in vain
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
MAX_EPOCH_KEYS = 1_024  # of one peer that are not destroyed: an honest one has about a hundred
MAX_OPENED_KEPT = 64  # of one peer: nobody honest reopens a log that often
SLICE = 16  # envelopes that are worked on before others get a turn: about two milliseconds


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message that became a row here, for those who watch."""

    row: MessageRow
    headline: StoredHeadline


@dataclass(frozen=True, slots=True)
class SettledRecipient:
    """A recipient's state moved."""

    message_id: MessageId
    agency: AgencyId
    state: MachineState


@dataclass(slots=True)
class Taken:
    """What came of a round's groups."""

    answers: set[tuple[str, int]] = field(default_factory=set)  # own entries to hand back
    results: list[Result] = field(default_factory=list)
    arrived: list[Arrived] = field(default_factory=list)
    settled: list[SettledRecipient] = field(default_factory=list)
    acknowledged: list[tuple[AgencyId, MessageId]] = field(default_factory=list)  # messages that got an ack
    new_profile: bool = False
    wasted: int = 0  # groups and items that brought nothing but work


@dataclass(slots=True)
class _Plan:
    """Grows into one Change: entries with the rows that name their place, rows that need none, and what memory learns
    after the commit.
    """

    entries: list[EntryDraft] = field(default_factory=list)
    placed_ops: list[Callable[[Placed], list[Op]]] = field(default_factory=list)
    placed_after: list[Callable[[Placed], None]] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    after: list[Callable[[], None]] = field(default_factory=list)
    opened: list[Proof] = field(default_factory=list)  # first words of the peer's generations, of all groups
    alerts: set[str] = field(default_factory=set)  # cases whose alert came before in this round
    cases: dict[str, set[AgencyId]] = field(default_factory=dict)  # what was read of cases: see _alert_senders

    def add(self, draft: EntryDraft, ops: Callable[[Placed], list[Op]], after: Callable[[Placed], None]) -> None:
        """One entry. `ops` may be called more than once (a commit tried again), `after` once, when it is durable."""
        self.entries.append(draft)
        self.placed_ops.append(ops)
        self.placed_after.append(after)

    def change(self) -> Change:
        placed_ops, fixed = tuple(self.placed_ops), tuple(self.ops)

        def ops(placed: tuple[Placed, ...]) -> list[Op]:
            made = [op for build, place in zip(placed_ops, placed, strict=True) for op in build(place)]
            return [*fixed, *made]

        return Change(entries=tuple(self.entries), ops=ops)


class Intake:
    """Takes groups of one peer at a time (the caller holds the peer's lock)."""

    def __init__(self, identity: Identity, store: Store, writer: Writer, vault: Vault, metrics: Metrics) -> None:
        self._identity = identity
        self._store = store
        self._writer = writer
        self._vault = vault
        self._metrics = metrics

    async def take(
        self, peer: Peer, groups: Sequence[Group], *, now: int, peer_now: int, also: Sequence[Op] = ()
    ) -> Taken:
        """Believe what is proved of `groups`, in one commit, together with the rows in `also`.

        `peer_now` is the own clock corrected by the peer's measured skew.
        """
        taken = Taken()
        plan = _Plan(ops=list(also))
        for group in groups:
            await self._take_group(peer, group, plan, taken, now, peer_now)
        if plan.opened:
            kept = [*peer.opened, *plan.opened]
            plan.ops.append(opened_meta(kept, peer.agency))
            plan.after.append(lambda: setattr(peer, "opened", kept))
        if plan.entries or plan.ops:
            committed = await self._writer.commit(plan.change())
            for placed, learn_placed in zip(committed.placed, plan.placed_after, strict=True):
                learn_placed(placed)
        for learn in plan.after:
            learn()
        for result in taken.results:
            self._metrics.items_deferred.add(result.code)
        return taken

    async def _take_group(self, peer: Peer, group: Group, plan: _Plan, taken: Taken, now: int, peer_now: int) -> None:
        envelopes = self._parse(group)
        answers = [_answer_in(data) for data in group.entries]
        ours = [answer.envelope_id for answer in answers if answer is not None]
        deliveries = await self._store.deliveries(ours) if ours else {}
        facts = [
            # An answer is compared with what we sent, never with an envelope that comes beside it: its signer would
            # settle with one of its own making, and the true receipt would find the place taken.
            envelope.facts
            if envelope is not None and answer is None
            else _facts(self._identity.agency, answer, deliveries)
            for answer, envelope in zip(answers, envelopes, strict=True)
        ]
        try:
            statements = verify_group(group.checkpoint, group.indices, group.entries, group.nodes, peer.keys, facts)
            self._keep_opened(peer, statements, plan)
            await self._check_in_force(peer, group, statements, plan, now)
        except StatementError as error:
            code = RefusalCode.KEY_NOT_VALID if error.reason == "key_not_valid" else RefusalCode.BAD_PROOF
            taken.results.extend(
                Result(envelope.header.envelope_id, code) for envelope in envelopes if envelope is not None
            )
            self._metrics.items_dropped.add(error.reason)
            taken.wasted += 1
            return
        await self._take_head(peer, group, plan, now)
        proved: list[ProvedEnvelope] = []
        recipients = {(row.message_id, row.agency): row for row, _ in deliveries.values()}
        for statement, envelope in zip(statements, envelopes, strict=True):
            if isinstance(statement, StatementError):
                if envelope is not None:
                    taken.results.append(Result(envelope.header.envelope_id, RefusalCode.BAD_PROOF))
                self._metrics.items_dropped.add(statement.reason)
                taken.wasted += 1
                continue
            match statement.entry:
                case Issued():
                    if envelope is not None:
                        proved.append(admission.prove(envelope, statement))
                case Receipt() | RefusedEntry():
                    self._settle(statement, deliveries, recipients, plan, taken, now)
                case EpochKey():
                    self._learn_epoch_key(peer, statement, statement.entry, plan, taken)
                case KeyDestroyed():
                    self._forget_epoch_key(peer, statement.entry, plan)
                case Profile():
                    self._learn_profile(peer, statement, statement.entry, plan, taken)
                case _:
                    # Key changes come with their own proof; audit heads ask nothing of a direct peer.
                    pass
        if proved:
            await self._admit(peer, group, proved, plan, taken, peer_now)

    async def _check_in_force(
        self, peer: Peer, group: Group, statements: Sequence[Statement | StatementError], plan: _Plan, now: int
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
        newest = max((head.generation for head in peer.heads.values() if head.gateway == gateway), default=generation)
        if generation > newest + MAX_GENERATION_JUMP:
            raise StatementError(StatementProblem.KEY_NOT_VALID, 6)
        retired = any(isinstance(statement, Statement) and not statement.is_current for statement in statements)
        if retired or generation < newest or peer.keys.history.is_ended(gateway, generation):
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
    def _keep_opened(peer: Peer, statements: Sequence[Statement | StatementError], plan: _Plan) -> None:
        """Keep where generations of its log begin, for evidence. Whether such a word counts is judged there, so it is
        kept whatever pair signed it; nothing is decided by it here. A second one for the same generation is kept too,
        since it convicts its signer; junk beyond that must not fill the place of what is true.
        """
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

    @staticmethod
    def _parse(group: Group) -> list[ParsedEnvelope | None]:
        envelopes: list[ParsedEnvelope | None] = []
        seen: set[EnvelopeId] = set()
        for raw in group.attachments:
            envelope = None
            if raw is not None:
                try:
                    envelope = admission.parse_envelope(raw)
                except RefusalError:
                    envelope = None  # a drop: without a header there is not even an id to name
            if envelope is not None and envelope.header.envelope_id in seen:
                envelope = None  # twice in one round: the first one speaks
            if envelope is not None:
                seen.add(envelope.header.envelope_id)
            envelopes.append(envelope)
        return envelopes

    # heads

    async def _take_head(self, peer: Peer, group: Group, plan: _Plan, now: int) -> None:
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
            plan.after.append(lambda: peer.heads.__setitem__(key, head))
        else:
            crossed = Head(key[0], key[1], checkpoint.size, checkpoint.root, checkpoint, now)
            plan.after.append(lambda: peer.cross(crossed))
        await self._reconcile_older(peer, group, plan)

    async def _reconcile_older(self, peer: Peer, group: Group, plan: _Plan) -> None:
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

    # what a peer says about itself

    def _learn_epoch_key(self, peer: Peer, statement: Statement, entry: EpochKey, plan: _Plan, taken: Taken) -> None:
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
    def _forget_epoch_key(peer: Peer, entry: KeyDestroyed, plan: _Plan) -> None:
        known = peer.epoch_keys.get(entry.number)
        if known is not None:
            plan.ops.append(
                PutEpochKey(
                    EpochKeyRow(peer.agency, known.number, known.use_from, known.public, "", 0, destroyed_at=entry.time)
                )
            )
            plan.after.append(partial(_forget, peer.epoch_keys, entry.number))

    @staticmethod
    def _learn_profile(peer: Peer, statement: Statement, entry: Profile, plan: _Plan, taken: Taken) -> None:
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

    # our own envelopes

    @staticmethod
    def _settle(
        statement: Statement,
        deliveries: Mapping[EnvelopeId, tuple[RecipientRow, OutboundRow]],
        recipients: dict[tuple[MessageId, AgencyId], RecipientRow],
        plan: _Plan,
        taken: Taken,
        now: int,
    ) -> None:
        entry = statement.entry
        if not isinstance(entry, Receipt | RefusedEntry):
            return
        delivery = deliveries.get(entry.envelope_id)
        if delivery is None or (delivery[1].agency, delivery[1].envelope_hash) != (
            statement.agency,
            entry.envelope_hash,
        ):
            return  # verify_group compared with our own facts; this says once more whose word settles what
        row = delivery[1]
        level, code = ("stored", None) if isinstance(entry, Receipt) else ("refused", entry.code)
        plan.ops.append(
            PutStatement(
                StatementRow(
                    agency=statement.agency,
                    envelope_id=entry.envelope_id,
                    level=level,
                    code=code,
                    entry=statement.entry_bytes,
                    index=statement.index,
                    path=b"".join(statement.path),
                    gateway=statement.origin.gateway,
                    head_generation=statement.origin.generation,
                    head_size=statement.checkpoint.size,
                    at=entry.time,
                )
            )
        )
        plan.ops.append(DropBody(entry.envelope_id))
        key = (row.message_id, row.agency)
        recipient = recipients[key]
        state = delivery_state(
            [
                Fact(State(recipient.state.value), newest=True),
                Fact(State(level), newest=entry.envelope_id == recipient.envelope_id),
            ]
        )
        moved = replace(
            recipient,
            state=MachineState(state.value),
            reason=code if state is State.REFUSED else None,
            updated_at=now,
            next_attempt_at=None,
        )
        if state.value != recipient.state.value:
            plan.ops.append(PutRecipient(moved))
            recipients[key] = moved
            taken.settled.append(SettledRecipient(row.message_id, row.agency, moved.state))

    # envelopes to us

    async def _admit(
        self, peer: Peer, group: Group, proved: Sequence[ProvedEnvelope], plan: _Plan, taken: Taken, peer_now: int
    ) -> None:
        earlier = await self._store.inbound(peer.agency, [p.parsed.header.envelope_id for p in proved])
        opened: list[OpenedMessage] = []
        for number, envelope in enumerate(proved, start=1):
            await _let_others(number)
            rows = earlier.get(envelope.parsed.header.envelope_id, [])
            verdict = admission.examine(
                envelope,
                agency=self._identity.agency,
                earlier=EarlierEnvelope(frozenset(row.envelope_hash for row in rows)) if rows else None,
                now=peer_now,
                has_epoch_key=self._identity.has_epoch_key,
                open_with=self._identity.opener,
            )
            match verdict:
                case Repeated():
                    for row in rows:
                        if row.envelope_hash == envelope.parsed.envelope_hash:
                            await self._answer_again(peer, row, plan, taken)
                case Deferred():
                    taken.results.append(Result(envelope.parsed.header.envelope_id, verdict.code))
                case Refused():
                    self._refuse(peer, group, verdict, plan, taken)
                case OpenedMessage():
                    opened.append(verdict)
        known = await self._store.messages([(peer.agency, message.opened.message_id) for message in opened])
        batch: dict[MessageId, tuple[MessageRow, str]] = {}
        for number, message in enumerate(opened, start=1):
            await _let_others(number)
            await self._admit_one(peer, group, message, known, batch, plan, taken)

    async def _answer_again(self, peer: Peer, row: InboundRow, plan: _Plan, taken: Taken) -> None:
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
        batch: dict[MessageId, tuple[MessageRow, str]],
        plan: _Plan,
        taken: Taken,
    ) -> None:
        message_id = message.opened.message_id
        earlier_row: MessageRow | None = known.get((peer.agency, message_id))
        earlier_sha: str | None = None
        if earlier_row is not None:
            stored = self._vault.headline(earlier_row)
            earlier_sha = stored.content_sha256 if stored is not None else None
        elif message_id in batch:
            earlier_row, earlier_sha = batch[message_id]
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
        self._store_admitted(peer, group, read, earlier_row, batch, plan, taken)

    async def _alert_senders(self, case_id: str, plan: _Plan, taken: Taken) -> set[AgencyId]:
        """Agencies whose alert of a case lies here. A long case is read once in a round, at its sender's cost: a peer
        could fill one with updates, of which each would read all others.
        """
        known = plan.cases.get(case_id)
        if known is not None:
            return known
        senders = plan.cases[case_id] = set()
        rows = await self._store.messages_of_case(self._vault.case_tag(case_id))
        taken.wasted += len(rows) // LONG_CASE
        for number, row in enumerate(rows, start=1):
            await _let_others(number)
            stored = self._vault.headline(row)
            if stored is not None and stored.kind == "alert" and stored.case_id == case_id:
                senders.add(row.sender)
        return senders

    async def _case_facts(self, sender: AgencyId, headline: Headline, plan: _Plan, taken: Taken) -> CaseFacts:
        if headline.kind in SILENT_KINDS or headline.supersedes is None:
            return CaseFacts()
        senders = await self._alert_senders(headline.case_id, plan, taken)
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
        batch: dict[MessageId, tuple[MessageRow, str]],
        plan: _Plan,
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
            batch[opened.message_id] = (row, stored.content_sha256)
            fresh = Arrived(row, stored)
        else:
            found = self._vault.key_of(earlier_row)
            if found is None:  # erased here: the envelope is receipted again, its content stays gone
                self._receipt(peer, group, read, None, lambda _: [], lambda _: None, plan, taken)
                return
            key = found

        ack = _ack_of(read)
        own = self._identity.agency

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
        plan: _Plan,
        taken: Taken,
    ) -> None:
        proved, opened = read.message.proved, read.message.opened
        header = proved.parsed.header
        head = _signed_head(group)
        draft = EntryDraft(
            destination=peer.agency,
            make=lambda time, salt: encode_entry(
                Receipt(
                    salt=salt,
                    time=time,
                    sender=header.sender,
                    envelope_id=header.envelope_id,
                    envelope_hash=proved.parsed.envelope_hash,
                    head=head,
                )
            ),
        )

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

    def _refuse(self, peer: Peer, group: Group, refused: Refused, plan: _Plan, taken: Taken) -> None:
        proved, opened = refused.proved, refused.opened
        taken.wasted += refused.code in WASTEFUL
        header = proved.parsed.header
        head = _signed_head(group)
        draft = EntryDraft(
            destination=peer.agency,
            make=lambda time, salt: encode_entry(
                RefusedEntry(
                    salt=salt,
                    time=time,
                    sender=header.sender,
                    envelope_id=header.envelope_id,
                    envelope_hash=proved.parsed.envelope_hash,
                    head=head,
                    code=refused.code.value,
                )
            ),
        )

        def placed_ops(placed: Placed) -> list[Op]:
            message_id = None if opened is None else opened.message_id
            number = (0, 0) if opened is None else (opened.generation, opened.number)
            return [InsertInbound(_inbound_row(proved, group, placed, refused.code.value, message_id, *number, None))]

        def placed_after(placed: Placed) -> None:
            taken.answers.add((placed.log, placed.index))
            self._metrics.items_refused.add(refused.code.value)

        plan.add(draft, placed_ops, placed_after)


def stored_headline(headline: Headline, content_sha256: bytes, input_sha256: str | None = None) -> StoredHeadline:
    """What the store keeps, sealed, of a headline."""
    return StoredHeadline(
        kind=headline.kind,
        case_id=headline.case_id,
        revision=headline.revision,
        status=headline.status,
        precedence=headline.precedence,
        summary=headline.summary,
        sent_at=headline.sent_at_ms,
        expires_at=headline.expires_at_ms,
        supersedes=headline.supersedes,
        supersedes_sender=headline.originator if headline.supersedes else None,
        replies_to=headline.replies_to,
        content_sha256=content_sha256.hex(),
        input_sha256=input_sha256,
        log_reads=headline.log_reads,
        suspended=headline.suspended,
    )


def _forget(known: MutableMapping[Any, Any], key: object) -> None:
    known.pop(key, None)


async def _let_others(number: int) -> None:
    """One peer's large round must not keep another's flash alert waiting."""
    if number % SLICE == 0:
        await asyncio.sleep(0)


def _answer_in(data: bytes) -> Receipt | RefusedEntry | None:
    """The receipt or refusal that an entry is. What does not decode is left to the verification."""
    try:
        entry = decode_entry(data)
    except (EncodingError, StatementError):
        return None
    return entry if isinstance(entry, Receipt | RefusedEntry) else None


def _facts(
    own: AgencyId,
    answer: Receipt | RefusedEntry | None,
    deliveries: Mapping[EnvelopeId, tuple[RecipientRow, OutboundRow]],
) -> EnvelopeFacts | None:
    """Of our envelope that an answer names."""
    if answer is None or answer.envelope_id not in deliveries:
        return None
    row = deliveries[answer.envelope_id][1]
    return EnvelopeFacts(sender=own, recipient=row.agency, envelope_id=row.envelope_id, envelope_hash=row.envelope_hash)


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


def _signed_head(group: Group) -> SignedHead:
    checkpoint = group.checkpoint
    return SignedHead(
        gateway=checkpoint.origin.gateway,
        generation=checkpoint.origin.generation,
        size=checkpoint.size,
        root=checkpoint.root,
    )


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
