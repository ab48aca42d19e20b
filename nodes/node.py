"""The node: post, receive, settle, tick. Loads facts, asks the core, commits; holds no socket, no schedule and no
rule of its own.

`receive` and `settle` are the two ends of a round (PROTOCOL §9); both take the other's groups through the same
`Intake` and build what goes back
through the same `Outflow`, so there is one way in and one way out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from exchange.envelope import Precedence, decode_header
from exchange.errors import ExchangeError, ReasonClass, RefusalCode, RefusalError, classify
from exchange.retry import next_attempt
from exchange.round import Group, Hello, Result, Round, decode_round, encode_round
from exchange.statement import LINE_CANDIDATES, add_key_change, build_agency_keys
from keys.anchor import Anchor, anchor_from_wire, anchor_to_wire
from keys.encoding import encode
from keys.errors import AnchorError, AnchorProblem, EncodingError, KeysError
from keys.ids import AgencyId
from keys.trust import AnchorVerdict, Trust, judge_anchor
from nodes import prices
from nodes.budgets import Budgets, Measure
from nodes.hello import Forked, NotTold, Passed, judge_held, our_hello
from nodes.identity import Identity, changes_below, log_name
from nodes.intake import Intake
from nodes.intake_plan import Taken
from nodes.ledger import Ledger
from nodes.loading import confirmed_meta, conflict_meta, key_change_row
from nodes.losses import with_numbers
from nodes.metrics import Metrics
from nodes.outflow import LEASE_MS, Item, Outflow
from nodes.peers import Peer, Peers
from nodes.posting import Posting
from nodes.store.contract import (
    AnchorRow,
    MachineState,
    Op,
    PutAnchor,
    PutKeyChange,
    PutMeta,
    PutPeer,
    PutRecipient,
    ReleaseDue,
    Store,
    TouchPeer,
)
from nodes.writer import Change, Writer

MAX_RESEALS = 3
MAX_HEAD_ASKS = 3
MAX_CHANGES_OF_A_PEER = 256
MAX_ANCHORS_OF_A_PEER = 64  # each is a ceremony with the root; with each, all key changes are verified again
RECOVER_EVERY_MS = 3_600_000
RECOVER_MARGIN_MS = 120_000  # clocks differ; a message sent twice is shown once
TOUCH_EVERY_MS = 60_000  # contact times are written with other news, or once a minute
EXPIRY_BATCH = 256


@dataclass(frozen=True, slots=True)
class Ask:
    """A request that is ready to go out."""

    body: bytes
    items: Sequence[Item]
    positions: frozenset[tuple[str, int]]
    hello_only: bool
    at: int  # when it was made
    most: int  # envelopes that it could have held
    anchor: bool = False  # whether it is a hello that holds an anchor


@dataclass(frozen=True, slots=True)
class _Heard:
    """Rows that a hello asks for, to be written with the round's commit; and whether a queue that waited was
    released.
    """

    ops: Sequence[Op]
    released: bool
    recovering: bool
    new_anchor: bool


@dataclass(frozen=True, slots=True)
class Settled:
    """What an answer came to. `again`: there is a reason for another round at once."""

    taken: Taken
    again: bool


class Node:
    """One agency's node. All methods run on the event loop; rounds with one peer are taken one after another."""

    def __init__(
        self,
        *,
        identity: Identity,
        peers: Peers,
        store: Store,
        writer: Writer,
        ledger: Ledger,
        intake: Intake,
        outflow: Outflow,
        posting: Posting,
        metrics: Metrics,
        clock: Callable[[], int],
        chance: Callable[[], float],
        on_taken: Callable[[Taken], None],
        on_fork: Callable[[Peer, Forked], Awaitable[None]],
        on_shown: Callable[[Peer, Anchor], Awaitable[bool]],
        on_heard: Callable[[Peer, int], Awaitable[None]],
        on_anchor: Callable[[], None],
        read_only: Callable[[], bool],
        budgets: Budgets,
    ) -> None:
        self._identity = identity
        self._peers = peers
        self._store = store
        self._writer = writer
        self._ledger = ledger
        self._intake = intake
        self._outflow = outflow
        self._posting = posting
        self._metrics = metrics
        self._clock = clock
        self._chance = chance
        self._on_taken = on_taken
        self._on_fork = on_fork
        self._on_shown = on_shown
        self._on_heard = on_heard
        self._on_anchor = on_anchor
        self._read_only = read_only
        self._budgets = budgets
        self._ticked_at: int | None = None

    # --- the called side

    async def receive(self, agency: AgencyId, body: bytes) -> bytes:
        """Answer a round. Written after the commit of everything admitted.

        Raises RefusalError, which the peer API turns into a status; nothing else that a peer can cause.
        """
        peer = self._peers.get(agency)
        if peer is None or peer.trust is not Trust.TRUSTED:
            raise RefusalError(RefusalCode.NOT_TRUSTED, 2)
        request = await self._afforded(peer, body)
        async with peer.lock:
            if peer.trust is not Trust.TRUSTED:  # suspended while this round waited its turn
                raise RefusalError(RefusalCode.NOT_TRUSTED, 2)
            with _unlearnt_unless_durable(peer):
                heard = await self._hear(peer, request)
                if self._read_only():
                    raise RefusalError(RefusalCode.INTERNAL, 4)
                if not peer.guard_passed:
                    # Nothing this process signed may leave before the peer said which head of ours it holds (PROTOCOL
                    # §9.1).
                    await self._remember(heard)
                    return encode_round(self._opening(peer))
                taken = await self._intake.take(
                    peer, request.groups, now=self._clock(), peer_now=self._peer_now(peer), also=heard.ops
                )
            room = peer.limits.entries
            positions = first_of(room, taken.answers, peer.owed, self._outflow.lacking_positions(peer))
            groups = await self._outflow.groups(peer, (), positions)
            answer = self._round(peer, groups, tuple(taken.results))
        self._budgets.charge(agency, Measure.WORK, prices.WASTE * taken.wasted)
        self._after(peer, taken, heard)
        if heard.released:
            peer.wake.set()
        return encode_round(answer)

    async def _afforded(self, peer: Peer, body: bytes) -> Round:
        """A request that its peer's budget has paid for: decoding before it is decoded, the rest before a signature is
        checked. Raises RefusalError.
        """
        decoding = prices.decoding(len(body))
        await self._budgets.take(peer.agency, Measure.WORK, decoding)
        try:
            request = self._decode(body, peer.agency)
        except RefusalError:
            self._budgets.charge(peer.agency, Measure.WORK, prices.WASTE)
            raise
        more = prices.taking(request, len(peer.keys.changes)) - decoding
        if more > 0:
            await self._budgets.take(peer.agency, Measure.WORK, more)
        else:
            self._budgets.charge(peer.agency, Measure.WORK, more)
        return request

    # --- the calling side

    async def ask(self, peer: Peer) -> Ask:
        """The next request to this peer: a hello only until the fork guard has passed, then what is due to it."""
        now = self._clock()
        if not peer.guard_passed:
            opening = self._opening(peer)
            told = opening.anchor is not None
            return Ask(encode_round(opening), (), frozenset(), hello_only=True, at=now, most=1, anchor=told)
        async with peer.asking:
            await self._posting.seal_waiting(peer)
            items = await self._outflow.due(peer, now)
            room = peer.most_entries - len(items)
            positions = first_of(room, peer.owed, self._outflow.lacking_positions(peer))
            return await self._asked(peer, items, frozenset(positions), now)

    async def ask_flash(self, peer: Peer) -> Ask | None:
        """A request beside one that is on the line, for flash messages that would have to wait for it. None if there
        are none.
        """
        if not peer.guard_passed:
            return None
        now = self._clock()
        async with peer.asking:
            await self._posting.seal_waiting(peer)
            items = await self._outflow.due(peer, now, only_flash=True)
            return await self._asked(peer, items, frozenset(), now) if items else None

    async def _asked(self, peer: Peer, items: Sequence[Item], positions: frozenset[tuple[str, int]], now: int) -> Ask:
        most = peer.most_envelopes
        groups = await self._outflow.groups(peer, items, positions)
        for item in items:
            peer.leased[item.outbound.envelope_id] = now + LEASE_MS
        body = encode_round(self._round(peer, groups, ()))
        return Ask(body, items, positions, hello_only=not items and not positions, at=now, most=most)

    async def settle(self, peer: Peer, ask: Ask, body: bytes) -> Settled:
        """Take a peer's answer. Raises RefusalError when it is none."""
        answer = self._decode(body, peer.agency)
        async with peer.lock:
            if peer.trust is not Trust.TRUSTED:
                raise RefusalError(RefusalCode.NOT_TRUSTED, 2)
            was_passed = peer.guard_passed
            with _unlearnt_unless_durable(peer):
                heard = await self._hear(peer, answer)
                # An answer that carries groups proves that our request was taken; what we owed is with the peer now,
                # and comes again if it asks again.
                if peer.guard_passed:
                    peer.owed -= ask.positions
                taken = await self._intake.take(
                    peer, answer.groups, now=self._clock(), peer_now=self._peer_now(peer), also=heard.ops
                )
            peer.owed |= taken.answers
            waiting = await self._unsigned(peer, ask, answer, taken)
            self.withdraw(peer, ask)
        cost = prices.taking(answer, len(peer.keys.changes)) + prices.WASTE * taken.wasted
        self._budgets.charge(peer.agency, Measure.WORK, cost)
        line = peer.line
        line.reachable, line.last_round_at = True, self._clock()
        line.carried(len(ask.items), line.last_round_at - ask.at)
        line.rounds_ok += 1
        # Asked twice running for a head we told: it cannot use what we say. Wait like after a failure instead of
        # calling for ever.
        line.head_asks = line.head_asks + 1 if answer.hello.head_wanted else 0
        self._after(peer, taken, heard)
        lacking = self._outflow.lacking_positions(peer) if peer.guard_passed else set()
        # Who lacks what it was just told will lack it after the next round too.
        lacks = bool((lacking | peer.owed) - ask.positions) and not lacking & ask.positions
        again = (
            (answer.hello.head_wanted and line.head_asks < MAX_HEAD_ASKS)
            or (peer.guard_passed and not was_passed)
            or (not peer.guard_passed and not ask.anchor and self._anchor_for(peer) is not None)
            or bool(taken.answers)
            or lacks
            or (len(ask.items) >= ask.most and not waiting)  # a full round: there is probably more
        )
        # Whoever answers with more than its share is called again when we have something for it, not because it asks.
        return Settled(taken, again and not self._budgets.is_overdrawn(peer.agency))

    async def failed(self, peer: Peer, ask: Ask, reason: str) -> None:
        """The line is down, or the peer's machine would not have it: when to try next. Nothing else changes."""
        now = self._clock()
        line = peer.line
        line.failures += 1
        line.failing_since = line.failing_since or now
        line.reachable = reason != "unreachable"
        line.bar = reason
        line.broke()
        flash = any(item.recipient.precedence == Precedence.FLASH for item in ask.items)
        line.next_attempt_at = next_attempt(
            now,
            attempts=line.failures,
            first_at=line.failing_since,
            precedence=Precedence.FLASH if flash else Precedence.IMMEDIATE,
            chance=self._chance(),
        )
        self.withdraw(peer, ask)

    @staticmethod
    def withdraw(peer: Peer, ask: Ask) -> None:
        """What was asked is not on the line any more: it may go in the next round."""
        for item in ask.items:
            peer.leased.pop(item.outbound.envelope_id, None)

    # --- time

    async def tick(self) -> None:
        """What time alone brings: messages whose deliver_by has passed end as `expired`, a stored fact."""
        now = self._clock()
        if self._ticked_at is None or now < self._ticked_at:
            await self._try_all_at_once()
        self._ticked_at = now
        while True:
            overdue = await self._store.overdue(now, EXPIRY_BATCH)
            if not overdue:
                return
            ops: list[Op] = [
                PutRecipient(
                    replace(row, state=MachineState.EXPIRED, reason=None, updated_at=now, next_attempt_at=None)
                )
                for row in overdue
            ]
            await self._writer.commit(Change.of(*ops))

    async def _try_all_at_once(self) -> None:
        """After a start, and when the clock went back: times of next attempts were told by a clock that may have been
        hours ahead, and whoever keeps to them waits as long.
        """
        waiting = list(self._peers.trusted())
        if waiting:
            await self._writer.commit(Change.of(*(ReleaseDue(peer.agency) for peer in waiting)))
        for peer in waiting:
            peer.line.next_attempt_at = 0
            peer.wake.set()

    # --- parts of a round

    def _decode(self, body: bytes, speaker: AgencyId) -> Round:
        try:
            taken = decode_round(body, speaker=speaker, listener=self._identity.agency)
        except (EncodingError, KeysError, ExchangeError) as error:
            raise RefusalError(RefusalCode.MALFORMED, 3) from error
        if 1 not in taken.hello.versions:
            raise RefusalError(RefusalCode.UNSUPPORTED_VERSION, 4)
        return taken

    def _hello(self, peer: Peer) -> Hello:
        return our_hello(
            self._identity, peer, now=self._clock(), generation=self._writer.generation, size=self._writer.durable_size
        )

    def _round(self, peer: Peer, groups: tuple[Group, ...], results: tuple[Result, ...]) -> Round:
        return replace(
            self._opening(peer), key_changes=self._outflow.lacking_key_changes(peer), groups=groups, results=results
        )

    def _opening(self, peer: Peer) -> Round:
        """What may be said before the fork guard has passed: nothing in it is signed by this process."""
        anchor = self._anchor_for(peer)
        peer.behind = peer.behind and anchor is not peer.anchor
        return Round(hello=self._hello(peer), anchor=None if anchor is None else anchor_to_wire(anchor))

    def _anchor_for(self, peer: Peer) -> Anchor | None:
        """Our own anchor if the peer holds another and not one that we lost; or its own, if it lost that."""
        own = {
            anchor.digest
            for anchor in self._identity.anchors_shown
            if anchor.body.serial >= self._identity.anchor.body.serial
        }
        if peer.known is not None and peer.known.anchor_digest not in own:
            return self._identity.anchor
        return peer.anchor if peer.behind else None

    async def _hear(self, peer: Peer, spoken: Round) -> _Heard:
        """Take what the other says of itself and of us."""
        now = self._clock()
        hello = spoken.hello
        skew = hello.time - now
        ops: list[Op] = []
        if peer.row.last_contact_at is None or now - peer.row.last_contact_at >= TOUCH_EVERY_MS or spoken.groups:
            ops.append(TouchPeer(peer.agency, now, skew))
        peer.row = replace(peer.row, last_contact_at=now, clock_skew_ms=skew)
        peer.known = hello.known
        peer.limits = hello.limits.heeded
        peer.head_wanted = hello.head_wanted
        ours = [held for held in hello.held if held.gateway == self._identity.gateway]
        peer.holds = {held.generation: tuple(h.size for h in ours if h.generation == held.generation) for held in ours}
        peer.changes_held = max((held.changes for held in ours), default=0)
        ops.extend(await self._hear_anchor(peer, spoken))
        ops.extend(self._hear_key_changes(peer, spoken))
        again = await self._recover(peer, hello.recover_since)
        ops.extend(again)
        await self._guard(peer, spoken)
        ops.extend(self._confirm(peer))
        ops.extend(self._hear_losses(peer, hello))
        released = peer.line.next_attempt_at > now or peer.line.failures > 0
        if released:
            ops.append(ReleaseDue(peer.agency))
        peer.line.clear_failures()
        new_anchor = any(isinstance(op, PutAnchor) for op in ops)
        return _Heard(ops, released, recovering=bool(again), new_anchor=new_anchor)

    def _hear_losses(self, peer: Peer, hello: Hello) -> list[Op]:
        """Nothing of this process has gone to the peer yet: what it has, earlier ones sent, or we have forgotten."""
        if not peer.guard_passed or peer.used_at_start is None:
            return []
        used = peer.used_at_start.get(hello.numbers.generation, 0)
        peer.used_at_start = None
        known, peer.lost = peer.lost, with_numbers(peer.lost, hello.numbers, used, self._clock())
        return [] if peer.lost == known else [peer.lost.row(peer.agency)]

    async def _recover(self, peer: Peer, since: int | None) -> list[Op]:
        """A peer that lost history asks once to be sent again what it may have lost: each message in a new envelope.

        What its receipts proved stays proved: state is read from statements, this only queues an envelope (P5).
        """
        now = self._clock()
        asked_before = since == peer.row.recover_since
        if since is None or asked_before or now - peer.recovered_at < RECOVER_EVERY_MS:
            return []
        peer.recovered_at = now
        peer.row = replace(peer.row, recover_since=since)
        ops: list[Op] = [PutPeer(peer.row)]
        messages = {row.message_id for row in await self._store.outbound_since(peer.agency, since - RECOVER_MARGIN_MS)}
        recipients = await self._store.recipients_at([(message_id, peer.agency) for message_id in messages])
        ops.extend(
            PutRecipient(self._posting.renewed(recipient, again=True))
            for recipient in recipients.values()
            if recipient.state is MachineState.STORED and recipient.deliver_by > now
        )
        return ops

    async def _remember(self, heard: _Heard) -> None:
        if heard.ops:
            await self._writer.commit(Change.of(*heard.ops))

    async def _hear_anchor(self, peer: Peer, spoken: Round) -> list[Op]:
        """An anchor: the peer's own, newer than the one held; or one of ours that was lost here (PROTOCOL §9.1)."""
        if spoken.anchor is None:
            return []
        try:
            offered = anchor_from_wire(spoken.anchor)
            if offered.body.agency == self._identity.agency and offered.body.root == self._identity.anchor.body.root:
                if not await self._on_shown(peer, offered):
                    self._budgets.charge(peer.agency, Measure.WORK, prices.WASTE)
                return []
            if len(peer.keys.anchors) >= MAX_ANCHORS_OF_A_PEER:
                return []
            if judge_anchor(peer.anchor, offered) is AnchorVerdict.NEWER:
                peer.keys = build_agency_keys([*peer.keys.anchors, offered], peer.keys.changes)
                peer.row = replace(peer.row, anchor=encode(spoken.anchor))
                return [
                    PutPeer(peer.row),
                    PutAnchor(AnchorRow(peer.agency, offered.body.serial, encode(spoken.anchor))),
                ]
        except AnchorError as error:
            self._metrics.items_dropped.add(error.reason.value)
            self._budgets.charge(peer.agency, Measure.WORK, prices.WASTE)
            peer.behind = peer.behind or error.reason is AnchorProblem.ROLLBACK
            if error.reason is AnchorProblem.CONFLICT and not peer.conflicting:
                peer.conflicting = True
                return [PutMeta(conflict_meta(peer.agency), encode(spoken.anchor))]
        except (KeysError, ExchangeError):
            self._metrics.items_dropped.add("key_not_valid")
            self._budgets.charge(peer.agency, Measure.WORK, prices.WASTE)
        return []

    def _hear_key_changes(self, peer: Peer, spoken: Round) -> list[Op]:
        ops: list[Op] = []
        for proof in spoken.key_changes:
            if len(peer.keys.changes) >= MAX_CHANGES_OF_A_PEER:
                break  # a pair lasts 90 days: nobody honest comes here, and each further one costs more
            try:
                peer.keys = add_key_change(peer.keys, proof, most=LINE_CANDIDATES)
            except (ExchangeError, KeysError):
                self._metrics.items_dropped.add("key_not_valid")
                self._budgets.charge(peer.agency, Measure.WORK, prices.WASTE)
                break
            ops.append(PutKeyChange(key_change_row(peer.agency, proof)))
        return ops

    def _confirm(self, peer: Peer) -> list[Op]:
        """Remember once that a peer holds a head beyond a key change of ours: no other successor counts then."""
        if not peer.guard_passed:
            return []
        identity, generation = self._identity, self._writer.generation
        head = (generation, max(peer.holds_sizes(generation), default=0))
        changes = identity.key_changes
        if len(changes_below(changes, head)) <= len(changes_below(changes, identity.confirmed)):
            return []
        identity.confirmed = head
        return [confirmed_meta(head)]

    async def _guard(self, peer: Peer, spoken: Round) -> None:
        if peer.guard_passed:
            return
        verdict = await self._judge(spoken)
        if isinstance(verdict, Forked):
            # A later generation is a fresh tree: what the peer holds of the old one no longer binds what we say.
            await self._on_fork(peer, verdict)
            verdict = await self._judge(spoken)
        peer.guard_passed = isinstance(verdict, Passed)
        peer.unproved_head = isinstance(verdict, NotTold) and verdict.unproved
        if peer.unproved_head:
            self._budgets.charge(peer.agency, Measure.WORK, prices.WASTE)
        if peer.guard_passed:
            peer.unsound = await self._unsound(spoken)
            await self._on_heard(peer, spoken.hello.known.highest_epoch_key)

    async def _unsound(self, spoken: Round) -> frozenset[int]:
        """Generations that have ended and that do not lead to a head that the peer tells of them."""
        found = set()
        for held in spoken.hello.held:
            if held.gateway != self._identity.gateway or not 0 < held.generation < self._writer.generation:
                continue
            roots = await self._ledger.ended_roots(log_name(held.gateway, held.generation), [held.size])
            if held.size > 0 and (held.checkpoint is None or roots.get(held.size) != held.checkpoint.root):
                found.add(held.generation)
        return frozenset(found)

    async def _judge(self, spoken: Round) -> Passed | NotTold | Forked:
        size = self._writer.durable_size
        generation = self._writer.generation
        ours = [
            held
            for held in spoken.hello.held
            if held.gateway == self._identity.gateway and held.generation == generation
        ]
        told = all(held.checkpoint is not None for held in ours if held.size > 0)  # else there is nothing to compare
        roots = await self._ledger.roots(held.size for held in ours if told and 0 < held.size <= size)
        return judge_held(spoken.hello, self._identity, generation=generation, size=size, roots=roots)

    async def _unsigned(self, peer: Peer, ask: Ask, answer: Round, taken: Taken) -> bool:
        """Act on unsigned codes: hints that end nothing. True if something of the request has to wait.

        An item that got neither a proof nor a code waits like any other failure: a peer that answers nothing must not
        be called in a circle.
        """
        codes = {result.envelope_id: result.code for result in answer.results}
        done = {(settled.message_id, settled.agency) for settled in taken.settled}
        now = self._clock()
        ops: list[Op] = []
        reseal = []
        open_ = [
            (item.recipient.message_id, peer.agency)
            for item in ask.items
            if (item.recipient.message_id, peer.agency) not in done
        ]
        rows = await self._store.recipients_at(open_) if open_ else {}
        for item in ask.items:
            said = codes.get(item.outbound.envelope_id)
            if said is None and (answer.hello.head_wanted or (item.recipient.message_id, peer.agency) in done):
                continue
            code = _known_code(said)
            row = rows.get((item.recipient.message_id, peer.agency))
            if row is None or row.state is not MachineState.QUEUED or row.envelope_id != item.outbound.envelope_id:
                continue
            again = classify(code) is ReasonClass.RESEAL and row.reseals < MAX_RESEALS
            if again and self._has_other_key(peer, item):
                reseal.append(row)
                continue
            attempts = row.attempts + 1
            due = next_attempt(
                now,
                attempts=attempts,
                first_at=item.outbound.at,
                precedence=Precedence(row.precedence),
                chance=self._chance(),
            )
            ops.append(
                PutRecipient(replace(row, reason=code.value, attempts=attempts, next_attempt_at=due, updated_at=now))
            )
        if ops:
            await self._writer.commit(Change.of(*ops))
        for row in reseal:
            await self._posting.new_envelope(row, reseal=True)
        return bool(ops)

    def _has_other_key(self, peer: Peer, item: Item) -> bool:
        """Whether there is another key to seal to than the one that did not do: to that one again would be in vain."""
        key = peer.usable_key(self._clock())
        return key is not None and key.number != decode_header(item.outbound.header).epoch_number

    def _peer_now(self, peer: Peer) -> int:
        return self._clock() + (peer.row.clock_skew_ms or 0)

    def _after(self, peer: Peer, taken: Taken, heard: _Heard) -> None:
        peer.unsealed = peer.unsealed or heard.recovering
        sealable = peer.unsealed and peer.guard_passed and peer.usable_key(self._clock()) is not None
        if sealable or taken.new_profile:  # its courier seals, and may have had no address until now
            peer.wake.set()
        if heard.new_anchor:
            self._on_anchor()
        self._on_taken(taken)


def first_of(room: int, *kinds: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    """As many positions as a round has room for, kind by kind: what finds no place comes in the next one. A round with
    one item too many would be refused whole, again and again.
    """
    ordered = dict.fromkeys(position for kind in kinds for position in sorted(kind))
    return list(ordered)[: max(room, 0)]


@contextmanager
def _unlearnt_unless_durable(peer: Peer) -> Iterator[None]:
    """What a hello teaches is used at once, to verify what comes with it. If the commit that makes it durable fails,
    memory must not go on knowing what the store does not: the peer says it again.
    """
    before = (peer.row, peer.keys, peer.conflicting, peer.recovered_at)
    try:
        yield
    except BaseException:
        peer.row, peer.keys, peer.conflicting, peer.recovered_at = before
        raise


def _known_code(said: str | None) -> RefusalCode:
    if said is None:
        return RefusalCode.INTERNAL
    try:
        return RefusalCode(said)
    except ValueError:
        return RefusalCode.INTERNAL
