"""What nodes.store.contract promises of `commit`, over every driver: whole or not at all, in order, always."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from dataclasses import replace

import pytest

from nodes.errors import FatalError, StoreError
from nodes.store.contract import (
    Batch,
    DropBody,
    InsertAck,
    InsertInbound,
    InsertMessage,
    InsertOutbound,
    Op,
    PutMeta,
    PutRecipient,
    PutStatement,
    Store,
    StoreConflictError,
)
from tests.store.rows import (
    OURS,
    PEER,
    ack,
    append,
    arrived,
    batch,
    envelope_id,
    inbound,
    message,
    message_id,
    outbound,
    posted,
    recipient,
    statement,
)


async def test_nothing_of_a_batch_is_seen_while_its_signature_is_awaited_and_all_of_it_afterwards(store: Store) -> None:
    signature: Future[bytes] = Future()
    ops = [*posted(1), PutRecipient(recipient()), InsertOutbound(outbound())]
    commit = asyncio.ensure_future(store.commit(Batch(ops, [append(0, b"entry", checkpoint=signature)])))
    await asyncio.sleep(0)

    assert await store.message(OURS, message_id(1)) is None
    assert await store.entry("gw1/1", 0) is None
    assert (await store.startup()).logs == ()
    assert not commit.done()

    signature.set_result(b"signed")
    await commit
    assert (await store.message(OURS, message_id(1))) is not None
    assert await store.entry("gw1/1", 0) == b"entry"
    (log,) = (await store.startup()).logs
    assert (log.log, log.size, log.checkpoint) == ("gw1/1", 1, b"signed")


async def test_a_signature_that_fails_undoes_the_whole_batch(store: Store) -> None:
    signature: Future[bytes] = Future()
    signature.set_exception(LookupError("no key"))
    with pytest.raises(LookupError):
        await store.commit(Batch([*posted(1), PutMeta("k", b"v")], [append(0, b"entry", checkpoint=signature)]))
    assert await store.message(OURS, message_id(1)) is None
    assert (await store.startup()).meta == {}
    assert (await store.startup()).logs == ()

    await store.commit(Batch(posted(1), [append(0, b"entry")]))
    assert await store.entry("gw1/1", 0) == b"entry"


async def test_a_cancelled_caller_does_not_stop_its_commit(store: Store) -> None:
    signature: Future[bytes] = Future()
    caller = asyncio.ensure_future(store.commit(Batch(posted(1), [append(0, b"entry", checkpoint=signature)])))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    signature.set_result(b"signed")

    await store.commit(Batch(posted(2), [append(1, b"next")]))
    assert await store.entries("gw1/1", 0, 9) == [b"entry", b"next"]
    assert await store.message(OURS, message_id(1)) is not None


async def test_commits_handed_in_together_are_executed_one_after_the_other(store: Store) -> None:
    await asyncio.gather(*(store.commit(Batch(posted(n), [append(n - 1, b"%d" % n)])) for n in range(1, 9)))
    assert await store.entries("gw1/1", 0, 99) == [b"%d" % n for n in range(1, 9)]
    assert [row.seq for row in await store.shown_after(0, 99)] == list(range(1, 9))


@pytest.mark.parametrize("expected_size", [0, 2])
async def test_a_batch_that_starts_from_another_size_than_the_durable_one_is_fatal(
    store: Store, expected_size: int
) -> None:
    await store.commit(Batch([], [append(0, b"entry")]))
    with pytest.raises(FatalError):
        await store.commit(Batch(posted(1), [append(expected_size, b"other")]))
    assert await store.message(OURS, message_id(1)) is None
    assert await store.entries("gw1/1", 0, 9) == [b"entry"]


async def test_after_a_fatal_error_every_commit_is_refused(store: Store) -> None:
    with pytest.raises(FatalError):
        await store.commit(Batch([], [append(5, b"entry")]))
    with pytest.raises(FatalError):
        await store.commit(batch(*posted(1)))
    assert await store.message(OURS, message_id(1)) is None


async def test_a_closed_log_takes_no_entry_and_a_later_generation_goes_on(store: Store) -> None:
    await store.commit(Batch([], [append(0, b"old")]))
    await store.commit(Batch([], [append(0, b"opened", log="gw1/2")], closes=["gw1/1"]))
    logs = {log.log: log for log in (await store.startup()).logs}
    assert (logs["gw1/1"].open, logs["gw1/2"].open) == (False, True)
    await store.commit(Batch([], [append(1, b"more", log="gw1/2")]))
    with pytest.raises(FatalError):
        await store.commit(Batch([], [append(1, b"never")]))
    assert await store.entries("gw1/1", 0, 9) == [b"old"]


async def test_closing_a_log_that_is_not_open_is_fatal(store: Store) -> None:
    with pytest.raises(FatalError):
        await store.commit(Batch([], [append(0, b"opened", log="gw1/2")], closes=["gw1/1"]))
    assert (await store.startup()).logs == ()


async def test_two_logs_move_in_one_commit(store: Store) -> None:
    audit = append(0, b"who", b"what", log="audit/1", checkpoint=None)
    await store.commit(Batch([], [append(0, b"entry"), audit]))
    logs = {log.log: log for log in (await store.startup()).logs}
    assert (logs["gw1/1"].size, logs["gw1/1"].checkpoint) == (1, b"checkpoint")
    assert (logs["audit/1"].size, logs["audit/1"].checkpoint) == (2, None)
    assert await store.entries("audit/1", 0, 9) == [b"who", b"what"]


DUPLICATES: dict[str, Op] = {
    "message": InsertMessage(message(1, sealed_content=b"other")),
    "envelope": InsertOutbound(outbound(1, body=b"other")),
    "envelope received": InsertInbound(inbound(1, header=b"other")),
}


@pytest.mark.parametrize("op", DUPLICATES.values(), ids=DUPLICATES)
async def test_what_is_inserted_twice_undoes_its_whole_batch_and_no_other(store: Store, op: Op) -> None:
    await store.commit(batch(*posted(1), InsertOutbound(outbound()), InsertInbound(inbound())))
    with pytest.raises(StoreConflictError):
        await store.commit(Batch([*posted(2), op, *posted(3)], [append(0, b"entry")]))
    assert await store.message(OURS, message_id(2)) is None
    assert await store.entry("gw1/1", 0) is None

    await store.commit(Batch(posted(2), [append(0, b"entry")]))
    found = await store.message(OURS, message_id(1))
    assert found == replace(message(1), seq=1)
    assert (await store.outbound([envelope_id(1)]))[envelope_id(1)] == outbound()
    assert (await store.inbound(PEER, [envelope_id(1)]))[envelope_id(1)] == [inbound()]


@pytest.mark.parametrize("op", DUPLICATES.values(), ids=DUPLICATES)
async def test_what_is_inserted_twice_in_one_batch_undoes_it(store: Store, op: Op) -> None:
    with pytest.raises(StoreConflictError):
        await store.commit(batch(*posted(1), InsertOutbound(outbound()), InsertInbound(inbound()), op))
    assert await store.message(OURS, message_id(1)) is None


UNNAMED: dict[str, Op] = {
    "recipient of no message": PutRecipient(recipient(7)),
    "envelope of no message": InsertOutbound(outbound(7)),
    "recipient of a message that came in": PutRecipient(recipient(5)),
    "envelope of a message that came in": InsertOutbound(outbound(5)),
    "statement about no envelope": PutStatement(statement(7)),
}


@pytest.mark.parametrize("op", UNNAMED.values(), ids=UNNAMED)
async def test_a_row_that_names_what_is_not_there_undoes_its_batch(store: Store, op: Op) -> None:
    await store.commit(batch(*arrived(5)))
    with pytest.raises(StoreConflictError):
        await store.commit(batch(*posted(1), op))
    assert await store.message(OURS, message_id(1)) is None


async def test_a_row_may_name_what_a_later_operation_of_its_batch_inserts(store: Store) -> None:
    await store.commit(
        batch(
            PutStatement(statement()),
            InsertOutbound(outbound()),
            PutRecipient(recipient()),
            InsertInbound(inbound(2)),
            *posted(1),
            *arrived(2),
        )
    )
    assert await store.recipients(message_id(1)) == [recipient()]
    assert await store.statements([envelope_id(1)]) == [statement()]
    assert await store.inbound_of_message(PEER, message_id(2)) == [inbound(2)]


async def test_operations_on_one_row_take_effect_in_their_order(store: Store) -> None:
    first, second = recipient(attempts=1), recipient(attempts=2, next_attempt_at=50)
    await store.commit(
        batch(
            *posted(1),
            PutRecipient(first),
            PutRecipient(second),
            DropBody(envelope_id(1)),
            InsertOutbound(outbound()),
            PutMeta("k", b"1"),
            PutMeta("k", b"2"),
        )
    )
    assert await store.recipients(message_id(1)) == [second]
    assert (await store.outbound([envelope_id(1)]))[envelope_id(1)].body is not None
    assert (await store.startup()).meta == {"k": b"2"}


async def test_what_is_idempotent_keeps_the_first(store: Store) -> None:
    await store.commit(batch(*posted(1), InsertOutbound(outbound()), PutStatement(statement()), InsertAck(ack())))
    other_statement, other_ack = replace(statement(), entry=b"other"), replace(ack(), sealed_body=b"other")
    await store.commit(batch(PutStatement(other_statement), InsertAck(other_ack)))
    assert await store.statements([envelope_id(1)]) == [statement()]
    assert await store.acks(OURS, [message_id(1)]) == {message_id(1): [ack()]}


async def test_an_empty_batch_is_committed(store: Store) -> None:
    await store.commit(Batch([]))
    assert (await store.startup()).logs == ()


async def test_a_closed_store_refuses_everything_and_can_be_closed_again(store: Store) -> None:
    await store.commit(batch(*posted(1)))
    await store.close()
    await store.close()
    with pytest.raises(StoreError):
        await store.commit(batch(*posted(2)))
    with pytest.raises(StoreError):
        await store.startup()


async def test_closing_waits_for_a_commit_under_way(store: Store) -> None:
    signature: Future[bytes] = Future()
    commit = asyncio.ensure_future(store.commit(Batch(posted(1), [append(0, b"entry", checkpoint=signature)])))
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(store.close())
    await asyncio.sleep(0)
    assert not closing.done()
    signature.set_result(b"signed")
    await closing
    await commit
