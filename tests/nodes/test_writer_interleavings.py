"""Random interleavings of commits, failures, cancelled callers, key changes, generations and restarts of a writer.

Whatever happens: an answered entry lies where the answer said; a head that anybody saw is a prefix of the durable log
for ever, signed by the pair of its size; what failed without being fatal is nowhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.checkpoint import Checkpoint
from keys.ids import GatewayName, Origin
from nodes.errors import DiskFullError, FatalError
from nodes.store.contract import Op, PutMeta, Store
from nodes.store.memory import MemoryStore
from nodes.writer import Change, Committed, EntryDraft, OwnLogState, Placed, Proved, Sign, Writer, load_own_log
from tests.store import tree
from tests.store.rows import OURS

GATEWAY = GatewayName("gw1")


@dataclass(frozen=True)
class Commit:
    """Some changes at once, each a list of its entries' destinations. `cancelled`: callers that leave."""

    changes: list[list[str]]
    cancelled: set[int]


@dataclass(frozen=True)
class Fail:
    """The next commit fails so."""

    kind: Any


@dataclass(frozen=True)
class Turn:
    """A key change, a new generation, or the end of the process."""

    kind: str


steps = st.lists(
    st.one_of(
        st.builds(
            Commit,
            changes=st.lists(st.lists(st.sampled_from("abc"), max_size=3), min_size=1, max_size=5),
            cancelled=st.sets(st.integers(0, 4), max_size=2),
        ),
        st.builds(Fail, kind=st.sampled_from(["failed", "failed_but_persisted", "lost"])),
        st.builds(Turn, kind=st.sampled_from(["key change", "generation", "restart"])),
    ),
    max_size=14,
)


def signer(pair: int) -> Sign:
    def sign(origin: Origin, size: int, root: bytes, timestamp: int) -> Checkpoint:
        return Checkpoint(origin, size, root, pair.to_bytes(64, "big"), timestamp, bytes(2420))

    return sign


def no_rows(_: object) -> Sequence[Op]:
    return ()


@dataclass
class Seen:
    """What the outside was told, of all lives of the writer."""

    placed: list[Placed] = field(default_factory=list)
    refused: list[bytes] = field(default_factory=list)
    heads: list[Checkpoint] = field(default_factory=list)
    changes: dict[tuple[int, int], int] = field(default_factory=dict)  # (generation, size) of a key change -> old pair

    def note(self, end: object, texts: Sequence[bytes]) -> None:
        if isinstance(end, Committed):
            self.placed.extend(end.placed)
            if end.checkpoint is not None:
                self.heads.append(end.checkpoint)
        elif isinstance(end, Proved):
            self.placed.append(end.placed)
            self.heads.append(end.checkpoint)
        elif isinstance(end, DiskFullError):
            self.refused.extend(texts)
        else:
            assert isinstance(end, FatalError | asyncio.CancelledError)


class Life:
    """One store, one writer after the other."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.seen = Seen()
        self.now = 1_000_000
        self.texts = 0
        self.generation = 1
        self.pair = 1

    async def start(self) -> None:
        """As a new process: everything from the store."""
        start = await self.store.startup()
        logs = {state.log: state for state in start.logs}
        is_open = [state for state in start.logs if state.open]
        self.generation = int(is_open[0].log.rpartition("/")[2]) if is_open else 1
        self.pair = int(start.meta.get("pair", b"1"))
        log = f"gw1/{self.generation}"
        state = await load_own_log(self.store, OURS, logs[log]) if log in logs else OwnLogState.empty(log)
        self.writer = Writer(
            self.store,
            Origin(OURS, GATEWAY, self.generation),
            state,
            signer(self.pair),
            lambda: self.now,
            lambda: b"s" * 16,
        )
        self.writer.start()
        if self.writer.head is not None:
            self.seen.heads.append(self.writer.head)

    async def restart(self) -> None:
        await self.writer.close()
        self.store = self.store.reopen()
        await self.start()

    async def take(self, step: Commit | Fail | Turn) -> None:
        self.now += 700 if self.texts % 3 else -900
        match step:
            case Fail(kind):
                self.store.fail_next_commit(kind)
            case Commit():
                await self.commit(step)
            case Turn("key change"):
                await self.change_key()
            case Turn("generation"):
                await self.open_generation()
            case _:
                await self.restart()
        if self.writer.failed is not None:
            await self.restart()

    def text(self) -> bytes:
        self.texts += 1
        return b"%d" % self.texts

    async def commit(self, step: Commit) -> None:
        texts = [[self.text() for _ in destinations] for destinations in step.changes]
        changes = [
            Change(
                tuple(
                    EntryDraft(destination, lambda *_, text=text: text)
                    for destination, text in zip(destinations, made, strict=True)
                ),
                no_rows,
            )
            for destinations, made in zip(step.changes, texts, strict=True)
        ]
        commits = [asyncio.ensure_future(self.writer.commit(change)) for change in changes]
        await asyncio.sleep(0)
        for number in step.cancelled:
            if number < len(commits):
                commits[number].cancel()
        ends = await asyncio.gather(*commits, return_exceptions=True)
        for end, made in zip(ends, texts, strict=True):
            self.seen.note(end, made)

    async def change_key(self) -> None:
        new = self.pair + 1
        text = self.text()
        try:
            end = await self.writer.commit_key_change(
                lambda *_: text, signer(new), lambda _: [PutMeta("pair", b"%d" % new)]
            )
        except (DiskFullError, FatalError) as error:
            self.seen.note(error, [text])
        else:
            self.seen.note(end, [text])
            self.seen.changes[self.generation, end.checkpoint.size] = self.pair
            self.pair = new

    async def open_generation(self) -> None:
        text = self.text()
        try:
            end = await self.writer.open_generation(self.generation + 2, lambda *_: text, (), lambda *_: ())
        except (DiskFullError, FatalError) as error:
            self.seen.note(error, [text])
        else:
            self.seen.note(end, [text])
            self.generation += 2


async def entries_of(store: Store) -> dict[str, list[bytes | None]]:
    logs = (await store.startup()).logs
    return {state.log: await store.entries(state.log, 0, 10_000) for state in logs}


async def live(plan: list[Commit | Fail | Turn]) -> None:
    life = Life()
    await life.start()
    try:
        for step in plan:
            await life.take(step)
        await life.writer.drain()
    except FatalError:
        pass
    await life.restart()
    await life.writer.close()
    check(life.seen, await entries_of(life.store))


def check(seen: Seen, logs: dict[str, list[bytes | None]]) -> None:
    for place in seen.placed:
        assert logs[place.log][place.index] == place.entry
    durable = [entry for entries in logs.values() for entry in entries if entry is not None]
    assert len(set(durable)) == len(durable)
    assert not set(seen.refused) & set(durable)
    for head in seen.heads:
        entries = logs[f"gw1/{head.origin.generation}"]
        assert head.root == tree.root([entry for entry in entries[: head.size] if entry is not None])
        assert head.size <= len(entries)
    for (generation, size), old_pair in seen.changes.items():
        of_log = [head for head in seen.heads if head.origin.generation == generation]
        assert all(pair_of(head) <= old_pair for head in of_log if head.size <= size)
        assert all(pair_of(head) > old_pair for head in of_log if head.size > size)
    for generation in {head.origin.generation for head in seen.heads}:
        of_log = sorted(
            (head for head in seen.heads if head.origin.generation == generation), key=lambda head: head.size
        )
        times = [head.timestamp for head in of_log]
        assert times == sorted(times)


def pair_of(head: Checkpoint) -> int:
    return int.from_bytes(head.ed_signature, "big")


@settings(max_examples=150)
@given(plan=steps)
def test_whatever_happens_no_answer_and_no_head_is_ever_taken_back(plan: list[Commit | Fail | Turn]) -> None:
    asyncio.run(live(plan))
