"""Group commit: who gets which place, what is signed, what happens on failure. The store is the verified fake."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from exchange.checkpoint import Checkpoint, sign_checkpoint, verify_checkpoint
from exchange.log import consistency_proof, leaf_hash, verify_consistency, verify_multi
from keys.errors import BadSignatureError
from keys.ids import GatewayName, Origin
from keys.signing import NodeKeyPair
from nodes.errors import DiskFullError, FatalError, StoreCorruptError
from nodes.store.contract import InsertMessage, Op, PutMeta, Store, StoreConflictError
from nodes.store.memory import MemoryStore
from nodes.store.sqlite import SqliteStore
from nodes.writer import (
    AUDIT_LOG,
    GROUP_CHANGES,
    Change,
    CommitFigures,
    Committed,
    EntryDraft,
    OwnLogState,
    Placed,
    Proved,
    Sign,
    Writer,
    WriterClosedError,
    load_own_log,
)
from tests.store import tree
from tests.store.rows import OURS, message, message_id

ORIGIN = Origin(OURS, GatewayName("gw1"), 1)
LOG = "gw1/1"


class Clock:
    """Set by the test."""

    def __init__(self, now: int = 1_000_000) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


def signer(mark: bytes = b"1") -> Sign:
    """Signs with a mark in place of signatures, which the writer never looks at."""

    def sign(origin: Origin, size: int, root: bytes, timestamp: int) -> Checkpoint:
        return Checkpoint(origin, size, root, mark * 64, timestamp, mark * 2420)

    return sign


def salt() -> bytes:
    return b"s" * 16


async def loaded(store: Store, log: str = LOG) -> OwnLogState:
    """The log as a new process reads it."""
    states = {state.log: state for state in (await store.startup()).logs}
    return await load_own_log(store, OURS, states[log]) if log in states else OwnLogState.empty(log)


@asynccontextmanager
async def writing(
    store: Store, *, sign: Sign | None = None, clock: Clock | None = None, origin: Origin = ORIGIN, **hooks: Any
) -> AsyncIterator[Writer]:
    state = await loaded(store, f"{origin.gateway}/{origin.generation}")
    audit = await loaded(store, AUDIT_LOG)
    writer = Writer(store, origin, state, sign or signer(), clock or Clock(), salt, audit=audit, **hooks)
    async with writer:
        yield writer


def draft(text: bytes, destination: str = "") -> EntryDraft:
    return EntryDraft(destination, lambda *_: text)


def no_rows(placed: tuple[Placed, ...]) -> Sequence[Op]:
    return ()


def change(*texts: bytes, destination: str = "", ops: Callable[[tuple[Placed, ...]], Sequence[Op]] = no_rows) -> Change:
    return Change(tuple(draft(text, destination) for text in texts), ops)


async def entries_of(store: Store, log: str = LOG) -> list[bytes | None]:
    return await store.entries(log, 0, 1_000_000)


def log_of(writer: Writer) -> str:
    return f"{writer.origin.gateway}/{writer.generation}"


async def assert_head_is_right(store: Store, writer: Writer) -> None:
    """The head is that of the durable entries, and what the store says of it agrees."""
    entries = [entry for entry in await entries_of(store, log_of(writer)) if entry is not None]
    head = writer.head
    assert head is not None
    assert (head.size, head.root, head.origin) == (len(entries), tree.root(entries), writer.origin)
    assert writer.durable_size == len(entries)
    assert (await loaded(store, log_of(writer))).checkpoint == head


# --- one group


async def test_changes_handed_in_together_are_one_transaction_with_one_signature() -> None:
    store, signed = MemoryStore(), []

    def sign(*what: Any) -> Checkpoint:
        signed.append(what)
        return signer()(*what)

    async with writing(store, sign=sign) as writer:
        done = await asyncio.gather(*(writer.commit(change(b"%d" % number)) for number in range(64)))
        assert store.transactions == 1
        assert [one.placed[0].index for one in done] == list(range(64))
        assert {one.checkpoint for one in done} == {writer.head}
        assert len(signed) == 1
        await assert_head_is_right(store, writer)


async def test_one_change_alone_is_committed_at_once() -> None:
    store = MemoryStore()
    async with writing(store) as writer:
        for number in range(3):
            await writer.commit(change(b"%d" % number))
        assert store.transactions == 3
        await assert_head_is_right(store, writer)


async def test_leaves_of_a_commit_lie_by_destination_and_else_as_handed_in() -> None:
    store = MemoryStore()
    mixed = Change((draft(b"b1", "b"), draft(b"a1", "a"), draft(b"b2", "b")), no_rows)
    async with writing(store) as writer:
        first, second = await asyncio.gather(
            writer.commit(mixed), writer.commit(Change((draft(b"a2", "a"), draft(b"b3", "b")), no_rows))
        )
        assert await entries_of(store) == [b"a1", b"a2", b"b1", b"b2", b"b3"]
        assert [(place.entry, place.index) for place in first.placed] == [(b"b1", 2), (b"a1", 0), (b"b2", 3)]
        assert [(place.entry, place.index) for place in second.placed] == [(b"a2", 1), (b"b3", 4)]
        assert {place.log for place in first.placed} == {LOG}


async def test_rows_may_name_the_places_of_their_entries() -> None:
    store = MemoryStore()

    def ops(placed: tuple[Placed, ...]) -> Sequence[Op]:
        return [PutMeta(place.entry.decode(), b"%d" % place.index) for place in placed]

    async with writing(store) as writer:
        await asyncio.gather(
            writer.commit(change(b"x", destination="z", ops=ops)), writer.commit(change(b"y", b"w", ops=ops))
        )
        assert (await store.startup()).meta == {"y": b"0", "w": b"1", "x": b"2"}


async def test_a_change_without_entries_moves_no_head() -> None:
    store = MemoryStore()
    rows = Change((), lambda _: [PutMeta("k", b"v")])
    async with writing(store) as writer:
        assert await writer.commit(rows) == Committed((), None)
        assert (await store.startup()).logs == ()
        await writer.commit(change(b"entry"))
        head = writer.head
        assert await writer.commit(rows) == Committed((), head)
        assert writer.head is head


async def test_a_group_is_bounded_in_number() -> None:
    store = MemoryStore()
    async with writing(store) as writer:
        await asyncio.gather(*(writer.commit(change(b"%d" % number)) for number in range(GROUP_CHANGES + 1)))
        assert store.transactions == 2
        assert await entries_of(store) == [b"%d" % number for number in range(GROUP_CHANGES + 1)]


async def test_a_group_is_bounded_in_bytes_but_holds_at_least_one_change() -> None:
    store = MemoryStore()
    huge = Change((draft(b"huge"),), no_rows, size_hint=100_000_000)
    async with writing(store) as writer:
        await asyncio.gather(writer.commit(change(b"1")), writer.commit(huge), writer.commit(change(b"2")))
        assert store.transactions == 3
        assert await entries_of(store) == [b"1", b"huge", b"2"]


async def test_what_a_commit_took_is_reported() -> None:
    figures: list[CommitFigures] = []
    async with writing(MemoryStore(), on_commit=figures.append) as writer:
        await asyncio.gather(writer.commit(change(b"1", b"2")), writer.commit(change(b"3")))
        await writer.commit(change())
    assert [(one.changes, one.entries) for one in figures] == [(2, 3), (1, 0)]
    assert all(one.seconds >= 0 for one in figures)


# --- nothing is seen before it is durable


async def test_the_head_is_the_durable_one_while_a_commit_is_under_way() -> None:
    store = MemoryStore()
    async with writing(store) as writer:
        await writer.commit(change(b"first"))
        head = writer.head
        store.hold_commits()
        commit = asyncio.ensure_future(writer.commit(change(b"second")))
        waited = asyncio.ensure_future(writer.drain())
        for _ in range(20):
            await asyncio.sleep(0)
        assert not commit.done()
        assert not waited.done()
        assert writer.head is head
        assert writer.durable_size == 1
        assert (await writer.multi_proof([0]))[0] is head
        store.release_commits()
        await waited
        assert (await commit).checkpoint == writer.head
        assert writer.durable_size == 2


async def test_changes_that_come_while_a_commit_is_under_way_are_the_next_group() -> None:
    store = MemoryStore()
    async with writing(store) as writer:
        store.hold_commits()
        first = asyncio.ensure_future(writer.commit(change(b"0")))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        later = [asyncio.ensure_future(writer.commit(change(b"%d" % number))) for number in range(1, 9)]
        await asyncio.sleep(0)
        assert writer.waiting == 8
        store.release_commits()
        await asyncio.gather(first, *later)
        assert store.transactions == 2
        await assert_head_is_right(store, writer)


# --- failures


async def test_after_a_failure_before_commit_nothing_happened_and_the_places_are_given_again() -> None:
    store = MemoryStore()
    async with writing(store) as writer:
        await writer.commit(change(b"first"))
        head = writer.head
        store.fail_next_commit("failed")
        ends = await asyncio.gather(writer.commit(change(b"a")), writer.commit(change(b"b")), return_exceptions=True)
        assert [type(end) for end in ends] == [DiskFullError] * 2
        assert writer.head is head
        assert (await writer.commit(change(b"second"))).placed[0].index == 1
        assert await entries_of(store) == [b"first", b"second"]
        await assert_head_is_right(store, writer)


@pytest.mark.parametrize(("kind", "kept"), [("failed_but_persisted", [b"a", b"b"]), ("lost", [])])
async def test_an_unknown_outcome_ends_the_right_to_sign(kind: Any, kept: list[bytes]) -> None:
    store = MemoryStore()
    ended: list[FatalError] = []
    async with writing(store, on_fatal=ended.append) as writer:
        store.hold_commits()
        store.fail_next_commit(kind)
        commits = [asyncio.ensure_future(writer.commit(change(text))) for text in (b"a", b"b")]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        commits.append(asyncio.ensure_future(writer.commit(change(b"c"))))
        await asyncio.sleep(0)
        store.release_commits()
        ends = await asyncio.gather(*commits, return_exceptions=True)
        assert [type(end) for end in ends] == [FatalError] * 3
        assert writer.failed is ended[0]
        assert len(ended) == 1
        assert writer.head is None
        for refused in (writer.commit(change(b"d")), writer.drain(), writer.commit_proved([draft(b"e")], no_proved)):
            with pytest.raises(FatalError):
                await refused
    again = store.reopen()
    assert await entries_of(again) == kept
    async with writing(again) as writer:
        await writer.commit(change(b"next"))
        assert await entries_of(again) == [*kept, b"next"]
        await assert_head_is_right(again, writer)


def no_proved(proofs: tuple[Proved, ...]) -> Sequence[Op]:
    return ()


async def test_somebody_elses_entry_in_the_log_is_fatal() -> None:
    store = MemoryStore()
    async with writing(store) as writer, writing(store) as second:
        await writer.commit(change(b"ours"))
        with pytest.raises(FatalError):
            await second.commit(change(b"theirs"))
        assert second.failed is not None
    assert await entries_of(store) == [b"ours"]


async def test_a_signature_that_fails_commits_nothing() -> None:
    store = MemoryStore()
    broken = True

    def sign(*what: Any) -> Checkpoint:
        if broken:
            raise LookupError("the key is gone")
        return signer()(*what)

    async with writing(store, sign=sign) as writer:
        ends = await asyncio.gather(*(writer.commit(change(b"%d" % n)) for n in range(3)), return_exceptions=True)
        assert [type(end) for end in ends] == [LookupError] * 3
        assert await entries_of(store) == []
        broken = False
        await writer.commit(change(b"entry"))
        await assert_head_is_right(store, writer)


async def test_a_change_that_contradicts_the_store_fails_alone() -> None:
    store = MemoryStore()

    def insert(number: int) -> Change:
        return change(b"entry %d" % number, ops=lambda _: [InsertMessage(message(number))])

    async with writing(store) as writer:
        await writer.commit(insert(1))
        ends = await asyncio.gather(*(writer.commit(insert(n)) for n in (2, 1, 3, 3, 4)), return_exceptions=True)
        assert [type(end) for end in ends] == [Committed, StoreConflictError, Committed, StoreConflictError, Committed]
        assert await entries_of(store) == [b"entry %d" % number for number in (1, 2, 3, 4)]
        assert [row.message_id for row in await store.shown_after(0, 9)] == [message_id(n) for n in (1, 2, 3, 4)]
        await assert_head_is_right(store, writer)


async def test_a_change_whose_own_functions_raise_fails_alone() -> None:
    store = MemoryStore()

    def raising(*_: object) -> Any:
        raise LookupError

    bad_entry = Change((draft(b"x", "a"), EntryDraft("a", raising)), no_rows)
    bad_rows = change(b"y", destination="a", ops=raising)
    async with writing(store) as writer:
        ends = await asyncio.gather(
            writer.commit(change(b"1", destination="b")),
            writer.commit(bad_entry),
            writer.commit(bad_rows),
            writer.commit(change(b"2", destination="b")),
            return_exceptions=True,
        )
        assert [type(end) for end in ends] == [Committed, LookupError, LookupError, Committed]
        assert await entries_of(store) == [b"1", b"2"]
        with pytest.raises(LookupError):
            await writer.commit(bad_rows)
        with pytest.raises(LookupError):
            await writer.commit_proved([draft(b"x")], raising)
        assert store.transactions == 1
        await assert_head_is_right(store, writer)


# --- callers that go away


async def test_a_caller_that_is_cancelled_takes_nothing_back() -> None:
    store = MemoryStore()
    async with writing(store) as writer:
        store.hold_commits()
        under_way = asyncio.ensure_future(writer.commit(change(b"under way")))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting = asyncio.ensure_future(writer.commit(change(b"waiting")))
        other = asyncio.ensure_future(writer.commit(change(b"other")))
        await asyncio.sleep(0)
        under_way.cancel()
        waiting.cancel()
        store.release_commits()
        assert (await other).placed[0].index == 2
        assert under_way.cancelled()
        assert waiting.cancelled()
        assert await entries_of(store) == [b"under way", b"waiting", b"other"]
        await assert_head_is_right(store, writer)


async def test_a_caller_that_is_gone_does_not_hear_of_failure() -> None:
    store = MemoryStore()
    async with writing(store) as writer:
        store.fail_next_commit("failed")
        gone = asyncio.ensure_future(writer.commit(change(b"1")))
        await asyncio.sleep(0)
        gone.cancel()
        await writer.drain()
        await writer.commit(change(b"2"))
        assert await entries_of(store) == [b"2"]


async def test_a_writer_whose_task_is_cancelled_leaves_nobody_waiting() -> None:
    store = MemoryStore()
    ended: list[FatalError] = []
    writer = Writer(store, ORIGIN, OwnLogState.empty(LOG), signer(), Clock(), salt, on_fatal=ended.append)
    writer.start()
    store.hold_commits()
    commits = [asyncio.ensure_future(writer.commit(change(b"1")))]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    commits.append(asyncio.ensure_future(writer.commit(change(b"2"))))
    await asyncio.sleep(0)
    assert writer._task is not None
    writer._task.cancel()
    ends = await asyncio.gather(*commits, return_exceptions=True)
    assert [type(end) for end in ends] == [FatalError] * 2
    assert len(ended) == 1
    with pytest.raises(asyncio.CancelledError):
        await writer.close()
    store.release_commits()
    await store.close()


# --- the end


async def test_closing_answers_what_was_handed_in_and_refuses_the_rest() -> None:
    store = MemoryStore()
    before = set(threading.enumerate())
    async with writing(store) as writer:
        commits = [asyncio.ensure_future(writer.commit(change(b"%d" % number))) for number in range(5)]
        await asyncio.sleep(0)
        await writer.close()
        assert all(commit.done() for commit in commits)
        with pytest.raises(WriterClosedError):
            await writer.commit(change(b"late"))
    assert await entries_of(store) == [b"%d" % number for number in range(5)]
    assert not any(thread.is_alive() for thread in set(threading.enumerate()) - before)


async def test_draining_waits_for_everything_handed_in() -> None:
    store = MemoryStore()
    async with writing(store) as writer:
        commits = [asyncio.ensure_future(writer.commit(change(b"%d" % number))) for number in range(5)]
        await asyncio.sleep(0)
        await writer.drain()
        assert writer.durable_size == 5
        assert all(commit.done() for commit in commits)


# --- time


async def test_time_never_goes_back() -> None:
    store, clock = MemoryStore(), Clock(5_000_000)
    async with writing(store, clock=clock) as writer:
        first = await writer.commit(change(b"1"))
        clock.now = 3_000_000
        second = await writer.commit(change(b"2"))
        clock.now = 6_000_500
        third = await writer.commit(change(b"3"))
        assert [one.placed[0].time for one in (first, second, third)] == [5_000_000, 5_000_000, 6_000_500]
        heads = [one.checkpoint.timestamp for one in (first, second, third) if one.checkpoint is not None]
        assert heads == [5_000, 5_000, 6_000]
    clock.now = 1
    async with writing(store, clock=clock) as writer:
        fourth = await writer.commit(change(b"4"))
        assert fourth.placed[0].time == 6_000_500
        assert fourth.checkpoint is not None
        assert fourth.checkpoint.timestamp == 6_000
        assert writer.last_time == 6_000_500


async def test_entries_are_made_with_the_time_of_their_commit_and_a_salt_of_their_own() -> None:
    drawn: list[bytes] = []

    def draw() -> bytes:
        drawn.append(len(drawn).to_bytes(16, "big"))
        return drawn[-1]

    made: list[tuple[int, bytes]] = []

    def make(time: int, salt: bytes) -> bytes:
        made.append((time, salt))
        return salt

    store = MemoryStore()
    async with Writer(store, ORIGIN, OwnLogState.empty(LOG), signer(), Clock(77_000), draw) as writer:
        await writer.commit(Change((EntryDraft("", make), EntryDraft("", make)), no_rows))
    assert made == [(77_000, drawn[0]), (77_000, drawn[1])]


# --- commits of their own


async def test_the_old_pair_signs_the_key_change_and_the_new_pair_everything_after_it() -> None:
    store = MemoryStore()
    rows: list[Proved] = []

    def ops(proved: Proved) -> Sequence[Op]:
        rows.append(proved)
        return [PutMeta("key change", proved.placed.entry)]

    async with writing(store, sign=signer(b"1")) as writer:
        done = await asyncio.gather(
            writer.commit(change(b"0")),
            writer.commit_key_change(lambda *_: b"key change", signer(b"2"), ops),
            writer.commit(change(b"2")),
        )
        assert await entries_of(store) == [b"0", b"key change", b"2"]
        assert store.transactions == 3
        before, proved, after = done
        assert rows == [proved]
        assert proved.checkpoint.size == 2
        assert proved.checkpoint.ed_signature == b"1" * 64
        assert list(proved.path) == tree.path(1, [b"0", b"key change"])
        assert before.checkpoint is not None
        assert before.checkpoint.ed_signature == b"1" * 64
        assert after.checkpoint is not None
        assert after.checkpoint.ed_signature == b"2" * 64
        assert (await store.startup()).meta == {"key change": b"key change"}
        await assert_head_is_right(store, writer)


async def test_a_key_change_that_was_not_committed_changes_no_key() -> None:
    store = MemoryStore()
    async with writing(store, sign=signer(b"1")) as writer:
        store.fail_next_commit("failed")
        with pytest.raises(DiskFullError):
            await writer.commit_key_change(lambda *_: b"key change", signer(b"2"), lambda _: ())
        done = await writer.commit(change(b"0"))
        assert done.checkpoint is not None
        assert done.checkpoint.ed_signature == b"1" * 64
        assert await entries_of(store) == [b"0"]


async def test_rows_of_a_proved_commit_hold_the_proofs_of_its_entries() -> None:
    store = MemoryStore()
    async with writing(store) as writer:
        await writer.commit(change(*(b"%d" % number for number in range(300))))
        proofs = await writer.commit_proved(
            [draft(b"profile"), draft(b"epoch key")],
            lambda proofs: [PutMeta(proof.placed.entry.decode(), b"".join(proof.path)) for proof in proofs],
        )
        entries = [entry for entry in await entries_of(store) if entry is not None]
        assert entries[300:] == [b"profile", b"epoch key"]
        meta = (await store.startup()).meta
        for proof in proofs:
            assert list(proof.path) == tree.path(proof.placed.index, entries)
            assert proof.checkpoint == writer.head
            assert meta[proof.placed.entry.decode()] == b"".join(proof.path)
        await assert_head_is_right(store, writer)


async def test_a_generation_is_opened_and_the_one_before_closed_in_one_commit() -> None:
    store = MemoryStore()
    places: list[tuple[Proved, tuple[Placed, ...]]] = []

    def ops(proved: Proved, placed: tuple[Placed, ...]) -> Sequence[Op]:
        places.append((proved, placed))
        return [PutMeta("opened", b"")]

    async with writing(store, sign=signer(b"1"), clock=Clock(9_000_000)) as writer:
        before = await writer.commit(change(b"a", b"b"))
        again = [(place.time, place.entry) for place in before.placed]
        transactions = store.transactions
        proved = await writer.open_generation(4, lambda *_: b"opened", again, ops, signer(b"2"))
        assert store.transactions == transactions + 1
        assert writer.origin == Origin(OURS, GatewayName("gw1"), 4)
        assert writer.generation == 4
        assert await entries_of(store, LOG) == [b"a", b"b"]
        assert await entries_of(store, "gw1/4") == [b"opened", b"a", b"b"]
        assert proved.placed == Placed("gw1/4", 0, b"opened", 9_000_000)
        assert list(proved.path) == tree.path(0, [b"opened", b"a", b"b"])
        assert places == [(proved, (Placed("gw1/4", 1, b"a", 9_000_000), Placed("gw1/4", 2, b"b", 9_000_000)))]
        assert {state.log: state.open for state in (await store.startup()).logs} == {LOG: False, "gw1/4": True}
        done = await writer.commit(change(b"c"))
        assert done.placed[0].log == "gw1/4"
        assert done.checkpoint is not None
        assert done.checkpoint.ed_signature == b"2" * 64
        await assert_head_is_right(store, writer)


async def test_a_generation_begins_at_the_clock_whatever_the_old_one_said() -> None:
    store = MemoryStore()
    clock = Clock(9_000_000)
    async with writing(store, clock=clock) as writer:
        await writer.commit(change(b"a"))
        clock.now = 5_000_000
        assert (await writer.commit(change(b"b"))).placed[0].time == 9_000_000
        await writer.open_generation(2, lambda *_: b"opened", (), lambda *_: ())
        assert writer.last_time == 5_000_000
        assert (await writer.commit(change(b"c"))).placed[0].time == 5_000_000


async def test_a_generation_only_rises() -> None:
    store = MemoryStore()
    async with writing(store) as writer:
        for generation in (0, 1):
            with pytest.raises(ValueError, match="later"):
                await writer.open_generation(generation, lambda *_: b"opened", (), lambda *_: ())
        assert store.transactions == 0


async def test_a_log_that_never_had_an_entry_can_be_left() -> None:
    store = MemoryStore()
    async with writing(store) as writer:
        await writer.open_generation(2, lambda *_: b"opened", (), lambda *_: ())
        assert [state.log for state in (await store.startup()).logs] == ["gw1/2"]
        await assert_head_is_right(store, writer)


async def test_a_generation_that_was_not_committed_was_not_opened() -> None:
    store = MemoryStore()
    async with writing(store) as writer:
        await writer.commit(change(b"a"))
        store.fail_next_commit("failed")
        with pytest.raises(DiskFullError):
            await writer.open_generation(2, lambda *_: b"opened", (), lambda *_: ())
        assert (await writer.commit(change(b"b"))).placed[0].log == LOG
        await assert_head_is_right(store, writer)


async def test_an_unknown_outcome_of_a_commit_of_its_own_is_fatal_too() -> None:
    store = MemoryStore()
    ended: list[FatalError] = []
    async with writing(store, on_fatal=ended.append) as writer:
        store.fail_next_commit("failed_but_persisted")
        with pytest.raises(FatalError):
            await writer.commit_proved([draft(b"x")], no_proved)
        with pytest.raises(FatalError):
            await writer.commit(change(b"y"))
        assert len(ended) == 1
        assert writer.head is None


# --- the audit log


async def test_audit_entries_are_in_the_same_commit_and_a_log_of_their_own() -> None:
    store = MemoryStore()
    async with writing(store) as writer:
        await asyncio.gather(
            writer.commit(Change((draft(b"entry"),), no_rows, audit=(b"who 1", b"who 2"))),
            writer.commit(Change((), no_rows, audit=(b"who 3",))),
        )
        assert store.transactions == 1
        assert await entries_of(store) == [b"entry"]
        audited = [b"who 1", b"who 2", b"who 3"]
        assert await entries_of(store, AUDIT_LOG) == audited
        assert writer.audit_head == (3, tree.root(audited))
    async with writing(store) as writer:
        await writer.commit(Change((), no_rows, audit=(b"who 4",)))
        assert writer.audit_head == (4, tree.root([*audited, b"who 4"]))
        assert writer.durable_size == 1
    audit = {state.log: state for state in (await store.startup()).logs}[AUDIT_LOG]
    assert audit.checkpoint is None


# --- restart


async def test_a_new_process_continues_the_same_tree(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    committed: list[bytes] = []
    for count in (1, 255, 1, 300):
        store = await SqliteStore.open(path, create=not committed)
        try:
            async with writing(store) as writer:
                texts = [b"%d" % (len(committed) + number) for number in range(count)]
                await asyncio.gather(*(writer.commit(change(text)) for text in texts))
                committed += texts
                await assert_head_is_right(store, writer)
        finally:
            await store.close()
    assert len(committed) == 557


async def test_a_log_whose_tiles_do_not_lead_to_its_root_is_damaged() -> None:
    store = MemoryStore()
    async with writing(store) as writer:
        await writer.commit(change(b"1", b"2"))
    tiles = store._durable.tables.tiles
    tiles[LOG, 0, 0] = bytes(len(tiles[LOG, 0, 0]))
    with pytest.raises(StoreCorruptError):
        await loaded(store)


# --- the real thing


async def test_what_was_committed_is_proved_under_real_signatures_after_a_restart(tmp_path: Path) -> None:
    old, new = NodeKeyPair.generate(), NodeKeyPair.generate()

    def sign_with(pair: NodeKeyPair) -> Sign:
        return lambda origin, size, root, timestamp: sign_checkpoint(origin, size, root, timestamp, pair)

    store = await SqliteStore.open(tmp_path / "store.db", create=True)
    try:
        async with writing(store, sign=sign_with(old)) as writer:
            await asyncio.gather(*(writer.commit(change(b"%d" % number)) for number in range(70)))
            changed = await writer.commit_key_change(lambda *_: b"key change", sign_with(new), lambda _: ())
            await writer.commit(change(b"after"))
        async with writing(store, sign=sign_with(new)) as writer:
            head, nodes = await writer.multi_proof([3, 70, 71])
            verify_checkpoint(head, new.public)
            with pytest.raises(BadSignatureError):
                verify_checkpoint(head, old.public)
            verify_checkpoint(changed.checkpoint, old.public)
            leaves = [(3, leaf_hash(b"3")), (70, leaf_hash(b"key change")), (71, leaf_hash(b"after"))]
            verify_multi(head.size, head.root, leaves, nodes)
            between = await _consistency(writer, changed.checkpoint.size)
            verify_consistency(71, head.size, between, changed.checkpoint.root, head.root)
    finally:
        await store.close()


# --- proofs


@pytest.mark.parametrize("size", [1, 2, 7, 256, 257, 600])
async def test_proofs_are_those_of_the_newest_head_warm_and_cold(size: int) -> None:
    store = MemoryStore()
    entries = [b"%d" % number for number in range(size)]
    async with writing(store) as writer:
        for start in range(0, size, 100):
            await writer.commit(change(*entries[start : start + 100]))
        warm = await all_proofs(writer, size)
    async with writing(store) as writer:
        assert await all_proofs(writer, size) == warm
    wanted = sorted({0, size // 3, size // 2, size - 1})
    assert list(warm["multi"]) == tree.multi_proof(wanted, entries)
    for index in wanted:
        assert list(warm["inclusion"][index]) == tree.path(index, entries)
        assert list(warm["consistency"][index + 1]) == tree.consistency(index + 1, entries)
        assert warm["roots"][index] == tree.root(entries[:index])


async def all_proofs(writer: Writer, size: int) -> dict[str, Any]:
    wanted = sorted({0, size // 3, size // 2, size - 1})
    head, nodes = await writer.multi_proof(wanted)
    assert head == writer.head
    return {
        "multi": nodes,
        "inclusion": {index: (await writer.inclusion(index))[1] for index in wanted},
        "consistency": {index + 1: await _consistency(writer, index + 1) for index in wanted},
        "roots": {index: await writer.root_at(index) for index in wanted},
    }


async def test_there_is_no_proof_before_the_first_entry() -> None:
    async with writing(MemoryStore()) as writer:
        assert writer.head is None
        with pytest.raises(LookupError):
            await writer.multi_proof([0])


async def _consistency(writer: Writer, size: int) -> tuple[bytes, ...]:
    """Nodes that prove the newest head to continue that size."""
    end = writer.durable_size
    return tuple(await writer.read_tiles(lambda tiles: consistency_proof(tiles, size, end)))
