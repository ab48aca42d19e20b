"""Memory and SQLite get the same random operations and are asked everything after each: no answer may differ."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from keys.ids import AgencyId
from nodes.errors import FatalError
from nodes.store.contract import (
    AnchorRow,
    Batch,
    DraftRow,
    DropBody,
    InsertAck,
    InsertInbound,
    InsertMessage,
    InsertOutbound,
    KeyChangeRow,
    LogAppend,
    MachineState,
    MoveKeys,
    Op,
    OperatorRow,
    PutAnchor,
    PutDraft,
    PutEpochKey,
    PutKeyChange,
    PutMeta,
    PutOperator,
    PutPeer,
    PutPeerHead,
    PutRecipient,
    PutStatement,
    ReleaseDue,
    RemoveDraft,
    RemoveOperator,
    Store,
    TouchPeer,
)
from tests.store.both import BothStores
from tests.store.rows import (
    OTHER,
    OURS,
    PEER,
    ack,
    append,
    envelope_id,
    epoch_key,
    inbound,
    message,
    message_id,
    outbound,
    peer,
    peer_head,
    recipient,
    statement,
)

# Few values of everything, so that rows meet.
NUMBERS = range(1, 6)
TIMES = range(0, 60, 10)
LOGS = ("gw1/1", "gw1/2", "audit/1")

numbers = st.sampled_from(NUMBERS)
times = st.sampled_from(TIMES)
agencies = st.sampled_from([PEER, OTHER])
FORMER = AgencyId(f"{PEER}/former")
everybody = st.sampled_from([OURS, PEER, OTHER])
anything = st.binary(max_size=3)
flags = st.booleans()
nothing = st.none()


def rows(make: Any, **columns: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(make, **columns)


operations: st.SearchStrategy[Op] = st.one_of(
    rows(
        InsertMessage,
        row=rows(
            message,
            number=numbers,
            sender=everybody,
            at=times,
            shown=flags,
            case_tag=anything,
            wrapped_key=nothing | anything,
        ),
    ),
    rows(
        PutRecipient,
        row=rows(
            recipient,
            number=numbers,
            agency=agencies,
            state=st.sampled_from(MachineState),
            reason=nothing | st.text(max_size=3),
            precedence=st.integers(0, 4),
            deliver_by=times,
            next_attempt_at=nothing | times,
            sealed=flags,
            shown=flags,
        ),
    ),
    rows(
        InsertOutbound,
        row=rows(
            outbound,
            number=numbers,
            message_id=numbers.map(message_id),
            agency=agencies,
            body=nothing | anything,
            generation=st.integers(1, 2),
            n=numbers,
            at=times,
        ),
    ),
    rows(DropBody, envelope_id=numbers.map(envelope_id)),
    rows(
        InsertInbound,
        row=rows(
            inbound,
            number=numbers,
            sender=agencies,
            message_id=nothing | numbers.map(message_id),
            sealed_opening=nothing | anything,
            generation=st.integers(0, 2),
            n=numbers,
            code=nothing | st.just("malformed"),
        ),
    ),
    rows(
        PutStatement,
        row=rows(
            statement,
            number=numbers,
            agency=agencies,
            level=st.sampled_from(["stored", "refused", "custody"]),
            entry=anything,
            at=times,
        ),
    ),
    rows(
        InsertAck,
        row=rows(ack, carrier=numbers, number=numbers, sender=everybody, by=everybody, at=times, sealed_body=anything),
    ),
    rows(
        PutPeer,
        row=rows(peer, agency=agencies, trust=st.sampled_from(["pending", "trusted"]), profile=nothing | anything),
    ),
    rows(TouchPeer, agency=agencies, last_contact_at=times, clock_skew_ms=nothing | st.integers(-9, 9)),
    rows(
        PutPeerHead,
        row=rows(
            peer_head,
            size=numbers,
            agency=agencies,
            gateway=st.sampled_from(["gw1", "gw2"]),
            generation=st.integers(1, 2),
            root=st.sampled_from([b"1" * 32, b"2" * 32]),
            from_size=nothing | numbers,
            reconciled=flags,
            at=times,
        ),
    ),
    rows(
        PutKeyChange,
        row=rows(
            KeyChangeRow, agency=agencies, gateway=st.just("gw1"), generation=numbers, index=numbers, proof=anything
        ),
    ),
    rows(
        PutEpochKey, row=rows(epoch_key, number=numbers, agency=agencies, use_from=times, destroyed_at=nothing | times)
    ),
    st.sampled_from([MoveKeys(PEER, FORMER), MoveKeys(FORMER, PEER)]),
    rows(PutAnchor, row=rows(AnchorRow, agency=agencies, serial=numbers, anchor=anything)),
    rows(
        PutOperator,
        row=rows(
            OperatorRow,
            ref=st.sampled_from("ab"),
            uid=numbers,
            roles=st.lists(st.text(max_size=3), max_size=2).map(tuple),
            program=flags,
            added_at=times,
        ),
    ),
    rows(RemoveOperator, ref=st.sampled_from("ab")),
    rows(PutDraft, row=rows(DraftRow, draft_id=numbers.map(message_id), updated_at=times, sealed_body=anything)),
    rows(RemoveDraft, draft_id=numbers.map(message_id)),
    rows(PutMeta, key=st.text(max_size=2), value=anything),
    rows(ReleaseDue, agency=agencies),
)


async def everything(store: Store) -> dict[str, Any]:
    """Every answer there is."""
    messages = [message_id(number) for number in NUMBERS]
    envelopes = [envelope_id(number) for number in NUMBERS]
    answers: dict[str, Any] = {
        "startup": await store.startup(),
        "messages": await store.messages([(sender, key) for sender in (OURS, PEER, OTHER) for key in messages]),
        "inbound_count": await store.inbound_count(),
        "queue_counts": await store.queue_counts(),
        "outbound": await store.outbound(envelopes),
        "deliveries": await store.deliveries(envelopes),
        "statements": await store.statements(envelopes),
        "unreconciled": await store.unreconciled(),
        "drafts": await store.drafts(),
        "shown_after": [await store.shown_after(seq, 3) for seq in range(4)],
        "inbox": [
            await store.inbox(since, limit, flag) for since in (None, 20) for limit in (2, 9) for flag in (False, True)
        ],
        "sent": [await store.sent(since, 2, waiting) for since in (None, 20) for waiting in (False, True)],
        "overdue": [await store.overdue(now, 3) for now in TIMES],
        "suffix": [await store.messages_by_suffix(suffix) for suffix in ("1", "01", "0", message_id(2).hex())],
    }
    for log in LOGS:
        answers[f"entries {log}"] = await store.entries(log, 1, 3)
        answers[f"tiles {log}"] = await store.tiles(log, [(0, 0), (0, 1)])
    for key in messages:
        answers[f"recipients {key!r}"] = await store.recipients(key)
        answers[f"outbound {key!r}"] = await store.outbound_of_message(key)
        answers[f"history {key!r}"] = await store.history(OURS, key)
        answers[f"draft {key!r}"] = await store.draft(key)
    for sender in (OURS, PEER, OTHER):
        answers[f"acks {sender}"] = await store.acks(sender, messages)
    for agency in (PEER, OTHER, FORMER):
        answers |= {f"{name} {agency}": answer for name, answer in (await about(store, agency)).items()}
    return answers


async def about(store: Store, agency: AgencyId) -> dict[str, Any]:
    """Every answer about one peer."""
    messages = [message_id(number) for number in NUMBERS]
    envelopes = [envelope_id(number) for number in NUMBERS]
    answers: dict[str, Any] = {
        "unsealed": await store.unsealed(agency, 3),
        "outbound_since": await store.outbound_since(agency, 20),
        "held_heads": await store.held_heads(agency),
        "head_chain": await store.head_chain(agency, "gw1", 1, 1),
        "peer_head": [await store.peer_head(agency, "gw1", 1, number) for number in NUMBERS],
        "inbound": await store.inbound(agency, envelopes),
        "inbound_of_message": [await store.inbound_of_message(agency, key) for key in messages],
    }
    for now in TIMES:
        answers[f"next_due {now}"] = await store.next_due(agency, now)
        answers[f"due {now}"] = [
            await store.due(agency, now, exclude, limit, max_bytes)
            for exclude, limit, max_bytes in (
                (frozenset(), 9, 99),
                (frozenset(envelopes[:2]), 9, 3),
                (frozenset(), 2, 99),
            )
        ]
    return answers


class SameAnswers(BothStores):
    """Both stores, one batch after the other."""

    @rule(ops=st.lists(operations, max_size=6), log=st.sampled_from(LOGS), grows=flags, wrong=st.integers(-1, 9))
    def commit(self, ops: list[Op], log: str, grows: bool, wrong: int) -> None:
        appends = [self.next_append(log, wrong)] if grows else []
        ends = self.ends(Batch(ops, appends))
        assert ends[0] is ends[1]
        if ends[0] is FatalError:
            self.restart()

    @rule(log=st.sampled_from(LOGS))
    def close_log(self, log: str) -> None:
        ends = self.ends(Batch([], [], [log]))
        assert ends[0] is ends[1]
        if ends[0] is FatalError:
            self.restart()

    @rule(ops=st.lists(operations, max_size=3))
    def commit_without_signature(self, ops: list[Op]) -> None:
        failed: Future[bytes] = Future()
        failed.set_exception(LookupError())
        work = Batch(ops, [replace(self.next_append("gw1/1", 9), checkpoint=failed)])
        ends = self.ends(work)
        assert ends[0] is ends[1]
        assert ends[0] is not None
        if ends[0] is FatalError:
            self.restart()

    def next_append(self, log: str, wrong: int) -> LogAppend:
        """Two entries more; now and then from a size that is not the durable one."""
        logs = {state.log: state.size for state in self.runner.run(self.memory.startup()).logs}
        size = logs.get(log, 0)
        return append(size + 1 if wrong == 0 else size, b"%d" % size, b"%d" % (size + 1), log=log)

    @invariant()
    def answers_are_the_same(self) -> None:
        if hasattr(self, "sqlite"):
            expected, found = (self.runner.run(everything(store)) for store in (self.memory, self.sqlite))
            for question, answer in expected.items():
                assert found[question] == answer, question


TestSameAnswers = SameAnswers.TestCase
TestSameAnswers.settings = settings(max_examples=15, stateful_step_count=10)
