"""What a node does to its store, in random order, on both drivers and on a model of a few dictionaries.

tests/store/test_same_answers.py asks whether the drivers agree; here is asked whether they keep the promises that the
node builds on, whatever comes between: once in, a message, an envelope, an entry, a statement and a state are there for
good, once, and a batch that failed never was. TOCSIN_LONG=1 runs it longer.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from exchange.delivery import Fact, State, at_least, delivery_state
from keys.ids import AgencyId, EnvelopeId, MessageId
from nodes.errors import FatalError
from nodes.store.contract import (
    Batch,
    DropBody,
    InsertAck,
    InsertInbound,
    InsertMessage,
    InsertOutbound,
    LogAppend,
    MachineState,
    MoveInbound,
    MoveOutbound,
    Op,
    PutRecipient,
    PutStatement,
    ReleaseDue,
    Store,
    StoreConflictError,
)
from tests.store.both import BothStores
from tests.store.rows import (
    OTHER,
    OURS,
    PEER,
    ack,
    append,
    envelope_id,
    inbound,
    message,
    message_id,
    outbound,
    recipient,
    statement,
)
from tests.store.test_same_answers import everything

LOG = "gw1/1"
LEVELS = {"custody": State.IN_CUSTODY, "refused": State.REFUSED, "stored": State.STORED}

numbers = st.integers(1, 4)
agencies = st.sampled_from([PEER, OTHER])
hashes = st.sampled_from([b"1" * 32, b"2" * 32])


@dataclass
class Model:
    """What must be there. Only committed batches enter it; nothing ever leaves it."""

    messages: list[tuple[AgencyId, MessageId]] = field(default_factory=list)
    envelopes: dict[EnvelopeId, tuple[MessageId, AgencyId]] = field(default_factory=dict)
    received: dict[tuple[AgencyId, EnvelopeId, bytes], int] = field(default_factory=dict)
    statements: dict[tuple[AgencyId, EnvelopeId, str], bytes] = field(default_factory=dict)
    acks: dict[tuple[AgencyId, MessageId], MessageId] = field(default_factory=dict)
    states: dict[tuple[MessageId, AgencyId], State] = field(default_factory=dict)
    entries: list[bytes] = field(default_factory=list)


class Promises(BothStores):
    """A node's batches on both drivers at once."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.envelopes = 0

    # --- what a node does

    @rule(number=numbers, to=st.lists(agencies, min_size=1, unique=True))
    def post(self, number: int, to: list[AgencyId]) -> None:
        """A message of ours with an envelope for each recipient, in one batch with the entries that issue them."""
        key = message_id(number)
        ids = [envelope_id(100 + self.envelopes + offset) for offset in range(len(to))]
        ops: list[Op] = [InsertMessage(message(number))]
        for agency, id_ in zip(to, ids, strict=True):
            row = recipient(number, agency=agency, envelope_id=id_, next_attempt_at=None)
            sent = outbound(number, agency=agency, envelope_id=id_, index=len(self.model.entries))
            ops += [PutRecipient(row), InsertOutbound(sent)]
        if self.commit(ops, entries=[b"issued %b" % id_ for id_ in ids], fits=(OURS, key) not in self.model.messages):
            self.envelopes += len(to)
            self.model.messages.append((OURS, key))
            for agency, id_ in zip(to, ids, strict=True):
                self.model.envelopes[id_] = key, agency
                self.model.states[key, agency] = State.QUEUED

    @rule(number=numbers, sender=agencies, envelope=numbers, hashed=hashes)
    def arrive(self, number: int, sender: AgencyId, envelope: int, hashed: bytes) -> None:
        """An envelope of a peer, with the message if it is not here yet: by (from, envelope id and hash) it is once."""
        key, id_ = message_id(number), envelope_id(envelope)
        index = len(self.model.entries)
        ops: list[Op] = [
            InsertInbound(
                inbound(number, sender=sender, envelope_id=id_, envelope_hash=hashed, message_id=key, index=index)
            )
        ]
        is_new = (sender, key) not in self.model.messages
        if is_new:
            ops.append(InsertMessage(message(number, sender=sender)))
        fits = (sender, id_, hashed) not in self.model.received
        if self.commit(ops, entries=[b"receipt %b %b" % (id_, hashed)], fits=fits):
            self.model.received[sender, id_, hashed] = index
            if is_new:
                self.model.messages.append((sender, key))

    @rule(choice=st.integers(0, 99), level=st.sampled_from(sorted(LEVELS)), entry=st.binary(max_size=2))
    def hear(self, choice: int, level: str, entry: bytes) -> None:
        """A peer's statement about an envelope of ours: the row becomes the highest of what was said so far."""
        if not self.model.envelopes:
            return
        id_ = sorted(self.model.envelopes)[choice % len(self.model.envelopes)]
        key, agency = self.model.envelopes[id_]
        said = [LEVELS[one] for _, about, one in self.model.statements if about == id_]
        state = delivery_state(Fact(one, newest=True) for one in [self.model.states[key, agency], *said, LEVELS[level]])
        row = self.ask(self.memory.recipient(key, agency))
        ops: list[Op] = [
            PutStatement(statement(agency=agency, envelope_id=id_, level=level, entry=entry)),
            PutRecipient(replace(row, state=MachineState(state))),
        ]
        if state is State.STORED:
            ops.append(DropBody(id_))
        if self.commit(ops):
            self.model.statements.setdefault((agency, id_, level), entry)
            self.model.states[key, agency] = state

    @rule(number=numbers, about=st.sampled_from([OURS, PEER, OTHER]), by=agencies, carrier=numbers)
    def acknowledge(self, number: int, about: AgencyId, by: AgencyId, carrier: int) -> None:
        """What a person said: once for each carrier, whether or not the message is here."""
        row = ack(carrier, number, sender=about, by=by if about == OURS else OURS)
        if self.commit([InsertAck(row)]):
            self.model.acks.setdefault((row.by, row.carrier_id), row.message_id)

    @rule(agency=agencies)
    def peer_is_back(self, agency: AgencyId) -> None:
        self.commit([ReleaseDue(agency)])

    @rule()
    def log_again(self) -> None:
        """A new generation holds what was issued and answered: rows move, none is lost."""
        moves: list[Op] = [MoveOutbound(id_, "gw1/2", 7) for id_ in self.model.envelopes]
        moves += [MoveInbound(*key, "gw1/2", 7) for key in self.model.received]
        if self.commit(moves):
            self.model.received = dict.fromkeys(self.model.received, 7)

    # --- what goes wrong

    @rule(number=st.integers(5, 9), place=st.integers(0, 3), wrong=st.sampled_from(["twice", "nobody", "no envelope"]))
    def commit_what_contradicts(self, number: int, place: int, wrong: str) -> None:
        """Good operations with one that cannot be: nothing of the batch happened, and the next one is not concerned."""
        bad: dict[str, list[Op]] = {
            "twice": [InsertMessage(message(number, at=0))],
            "nobody": [PutRecipient(recipient(99))],
            "no envelope": [PutStatement(statement(98))],
        }
        good: list[Op] = [
            InsertMessage(message(number)),
            PutRecipient(recipient(number)),
            InsertOutbound(outbound(number)),
        ]
        self.commit([*good[:place], *bad[wrong], *good[place:]], entries=[b"never"], fits=False)

    @rule(number=st.integers(5, 9))
    def sign_in_vain(self, number: int) -> None:
        failed: Future[bytes] = Future()
        failed.set_exception(LookupError())
        work = Batch([InsertMessage(message(number))], [replace(self._append([b"never"]), checkpoint=failed)])
        assert self.ends(work) == [LookupError, LookupError]

    @rule(number=st.integers(5, 9), off=st.sampled_from([-1, 1]))
    def find_another_writer(self, number: int, off: int) -> None:
        """The log is not where the batch thinks: this process may commit nothing more; the next finds what was."""
        size = len(self.model.entries) + off
        if size < 0:
            return
        work = Batch([InsertMessage(message(number))], [append(size, b"never")])
        assert self.ends(work) == [FatalError, FatalError]
        assert self.ends(Batch([InsertMessage(message(number))])) == [FatalError, FatalError]
        self.restart()

    # --- how

    def commit(self, ops: Sequence[Op], *, entries: Sequence[bytes] = (), fits: bool = True) -> bool:
        """Commit on both; `fits` says whether they must take it."""
        before = None if fits else [self.ask(everything(store)) for store in self.stores]
        ends = self.ends(Batch(ops, [self._append(entries)] if entries else []))
        assert ends == ([None, None] if fits else [StoreConflictError, StoreConflictError])
        if fits:
            self.model.entries.extend(entries)
        else:
            assert before == [self.ask(everything(store)) for store in self.stores]
        return fits

    def _append(self, entries: Sequence[bytes]) -> LogAppend:
        size = len(self.model.entries)
        return append(size, *entries, root=(size + len(entries)).to_bytes(32, "big"))

    # --- what is always so

    @invariant()
    def every_promise_is_kept(self) -> None:
        if hasattr(self, "sqlite"):
            for store in self.stores:
                self.ask(self._keeps(store))
            assert self.ask(everything(self.memory)) == self.ask(everything(self.sqlite))

    async def _keeps(self, store: Store) -> None:
        model = self.model
        found = await store.messages(model.messages)
        assert set(found) == set(model.messages)
        seqs = [found[key].seq for key in model.messages]
        assert seqs == sorted(set(seqs))
        shown = await store.shown_after(0, 99)
        assert [(row.sender, row.message_id) for row in shown] == model.messages
        assert await store.entries(LOG, 0, len(model.entries) + 9) == model.entries
        assert set(await store.outbound(list(model.envelopes))) == set(model.envelopes)
        for sender in (PEER, OTHER):
            rows = await store.inbound(sender, [envelope_id(number) for number in range(1, 5)])
            held = {(sender, row.envelope_id, row.envelope_hash): row.index for of_id in rows.values() for row in of_id}
            assert held == {key: index for key, index in model.received.items() if key[0] == sender}
        said = await store.statements(list(model.envelopes))
        assert {(row.agency, row.envelope_id, row.level): row.entry for row in said} == model.statements
        await self._keeps_what_people_said(store)
        for key, state in model.states.items():
            row = await store.recipient(*key)
            assert row is not None
            assert at_least(State(row.state), state)

    async def _keeps_what_people_said(self, store: Store) -> None:
        ids = [message_id(number) for number in range(1, 5)]
        held = {}
        for sender in (OURS, PEER, OTHER):
            for rows in (await store.acks(sender, ids)).values():
                held.update({(row.by, row.carrier_id): row.message_id for row in rows})
        assert held == self.model.acks


TestPromises = Promises.TestCase
TestPromises.settings = (
    settings(max_examples=200, stateful_step_count=40)
    if os.environ.get("TOCSIN_LONG")
    else settings(max_examples=12, stateful_step_count=15)
)
