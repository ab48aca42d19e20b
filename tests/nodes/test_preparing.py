"""A large batch is prepared in another process, and nobody can tell: the same messages, the same errors, each once, and
nothing that stopped being allowed meanwhile.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
import pytest_asyncio

from exchange.alerts import Completed
from exchange.envelope import decode_header, open_envelope
from keys.epochs import PublishedKey
from keys.ids import AgencyId, MessageId, parse_uuid
from keys.sealing import EpochKeyPair
from nodes.errors import NodeError, OperationError
from nodes.local_api import Answer
from nodes.preparing import FEWEST
from nodes.store.contract import MachineState, OutboundRow
from nodes.worker import Worker
from tests.exchange.agencies import NOW
from tests.nodes.presence import OFFICER, Presence, RunningNode, introduce, make_presence
from tests.system.agencies import SMALLEST

_Answer = TypeVar("_Answer")
BERLIN, LYON, ROME = AgencyId("bka.de"), AgencyId("interpol.int"), AgencyId("polizia.it")
COUNTRIES = {AgencyId("ponal.co"): "CO", BERLIN: "DE", LYON: "FR", ROME: "IT"}

# Programs in the worker's place, each up at once. A frame is its length in four bytes and that many bytes.
UP = "import os, sys; from struct import pack; say = lambda b: os.write(1, pack('!I', len(b)) + b); say(b''); "
HANGS = UP + "sys.stdin.buffer.read()"
DIES = UP + "sys.stdin.buffer.read(1); os._exit(1)"
NONSENSE = {
    "no form": UP + "sys.stdin.buffer.read(1); say(b'nonsense'); sys.stdin.buffer.read()",
    "no list": UP + "sys.stdin.buffer.read(1); say(b'\\x01'); sys.stdin.buffer.read()",
    "too few": UP + "sys.stdin.buffer.read(1); say(b'\\x90'); sys.stdin.buffer.read()",
    "another kind": UP
    + "sys.stdin.buffer.read(1); say(b'\\xdc\\x00\\x20' + b'\\x92\\x07\\x01' * 32); sys.stdin.buffer.read()",
    "a length of four gigabytes": UP + "sys.stdin.buffer.read(1); os.write(1, b'\\xff' * 9); sys.stdin.buffer.read()",
    "an answer nobody asked for": UP + "say(b'\\x90'); sys.stdin.buffer.read()",
}


class Meddled(Worker):
    """The real worker; between its answer and whoever waits for it something happens."""

    meanwhile: Callable[[], Awaitable[object]] | None = None
    questions = 0

    def ask(self, question: bytes, read: Callable[[bytes], _Answer]) -> asyncio.Future[_Answer | None]:
        self.questions += 1
        asked = super().ask(question, read)

        async def then() -> _Answer | None:
            answer = await asked
            if self.meanwhile is not None:
                await self.meanwhile()
            return answer

        return asyncio.ensure_future(then())


@dataclass
class World:
    """Bogota's disk, which knows Berlin with a key, Lyon without one, and Rome, suspended."""

    bogota: Presence
    berlin: Presence
    running: list[RunningNode] = field(default_factory=list)
    workers: list[Worker] = field(default_factory=list)

    async def node(self, worker: Worker | None) -> RunningNode:
        """Bogota's node over a copy of the disk; the worker is up."""
        node = await RunningNode.start(self.bogota.copy(), lambda: NOW, worker)
        self.running.append(node)
        published = (await self.berlin_node()).identity.published()
        peer = node.peers.get(BERLIN)
        assert peer is not None
        peer.epoch_keys = {key.number: key for key in published}
        if worker is not None:
            self.workers.append(worker)
            worker.ready()
            await worker.up.wait()
        return node

    async def berlin_node(self) -> RunningNode:
        node = await RunningNode.start(self.berlin.copy(), lambda: NOW)
        self.running.append(node)
        return node


_born: dict[AgencyId, Presence] = {}


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    if not _born:  # keys cost a second, and may be the same in every world
        found = {agency: await make_presence(agency, country, lambda: NOW) for agency, country in COUNTRIES.items()}
        nodes = {agency: await RunningNode.start(presence, lambda: NOW) for agency, presence in found.items()}
        bogota, *others = nodes.values()
        for other in others:
            await introduce(bogota, other)
        await bogota.peer_book.suspend({"agency": ROME})
        for node in nodes.values():
            await node.stop()
        _born.update({agency: node.presence for agency, node in nodes.items()})
    world = World(_born[AgencyId("ponal.co")], _born[BERLIN])
    yield world
    for node in world.running:
        await node.stop()
    for worker in world.workers:
        await worker.close()


def posts(count: int, **changes: Any) -> list[dict[str, Any]]:
    return [
        {"content": json.dumps({**SMALLEST, "summary": f"Alert {n}", **changes}), "to": [BERLIN], "id": identity(n)}
        for n in range(count)
    ]


def identity(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def every_kind() -> list[dict[str, Any]]:
    """Posts of every end, among as many as make a batch."""

    def post(to: Sequence[str] = (BERLIN,), **changes: Any) -> dict[str, Any]:
        return {"content": json.dumps({**SMALLEST, **changes}), "to": list(to)}

    eyes_only = {**SMALLEST["handling"], "caveats": ["NATIONAL_EYES_ONLY"]}
    some = [
        post(summary=""),
        post(precedence="whenever", precedance="flash", handling={}, locations=[], persons="nobody"),
        post(handling={"tlp": "CLEAR", "permitted_actions": "stop_and_protect"}),
        post(handling=eyes_only),
        post([BERLIN, LYON], handling=eyes_only),
        post(["nobody.xx"]),
        post([BERLIN, "nobody.xx"]),
        post([ROME]),
        post([BERLIN, ROME, LYON]),
        post(["ponal.co"]),
        post([]),
        post([LYON]),
        post([BERLIN, LYON]),
        post([LYON, BERLIN], precedence="routine"),
        post(case_id="CO-PON/2020/000001"),
        post(case_id="CO-PON/2020/000001"),
        post(case_id=17),
        post(message_id="00000000-0000-4000-8000-00000000abcd"),
        post(expires_at="2020-01-01T00:00:00Z"),
        post(kind="note", case_id="CO-PON/2020/000002", text="Alone"),
        post(kind="nothing"),
        {"content": "kind: alert\nprecedence: immediate\nsummary: 'half\n", "to": [BERLIN]},
        {"content": "kind: alert\nprecedence: immediate\nsummary: yaml\n", "to": [BERLIN]},
        post(ext={"org.example": {"deep": [1, 2.5, None, True, "\u00e9\U0001f6a8", 2**70]}}),
        post(ext={"org.example": {"deep": [1, 2.5, None, True, "\u00e9\U0001f6a8", 2**50]}}),
    ]
    return [{**post, "id": identity(n)} for n, post in enumerate([*some, *posts(2 * FEWEST)])]


def told(answer: Answer | NodeError) -> Any:
    """What the caller hears, but for the ids that chance makes."""
    if isinstance(answer, NodeError):
        return answer.document()
    recipients = [{**one, "envelope_id": None} for one in answer.document["recipients"]]
    return {**answer.document, "recipients": recipients}


async def kept(node: RunningNode, asked: Sequence[dict[str, Any]]) -> list[Any]:
    """What lies in the store for each post, but for what chance makes."""
    found: list[Any] = []
    for post in asked:
        row = await node.store.message(node.agency, MessageId(parse_uuid(post["id"])))
        if row is None:
            found.append(None)
            continue
        recipients = await node.store.recipients(row.message_id)
        rows = [(one.agency, one.state, one.deliver_by, one.sealed) for one in recipients]
        found.append((row.at, row.precedence, row.case_tag, node.vault.content(row), node.vault.headline(row), rows))
    return found


async def envelopes(node: RunningNode) -> list[OutboundRow]:
    found = await node.store.due(BERLIN, NOW, frozenset(), 1_000, 1 << 30)
    return [outbound for _, outbound in found]


async def opened(world: World, node: RunningNode) -> dict[MessageId, bytes]:
    """What Berlin finds in the envelopes."""
    berlin = await world.berlin_node()
    found = {}
    numbers = set()
    for row in await envelopes(node):
        header = decode_header(row.header)
        assert row.body is not None
        inside = open_envelope(row.header, header, row.body, berlin.identity.opener(header.epoch_number))
        assert inside.message_id not in found
        assert (inside.generation, inside.number) == (row.generation, row.n)
        numbers.add(inside.number)
        found[inside.message_id] = inside.content
    assert len(numbers) == len(found)
    return found


def prepared_here(node: RunningNode, monkeypatch: pytest.MonkeyPatch) -> list[Completed]:
    """Grows by each message that is composed in the node itself."""
    found: list[Completed] = []
    prepare = node.posting.prepare

    def noted(completed: Completed, *args: Any, **options: Any) -> Any:
        found.append(completed)
        return prepare(completed, *args, **options)

    monkeypatch.setattr(node.posting, "prepare", noted)
    return found


async def test_a_batch_comes_to_the_same_in_the_loop_and_in_the_worker(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, asked = Meddled(), every_kind()
    here, there = await world.node(None), await world.node(worker)
    composed = prepared_here(there, monkeypatch)

    said_here = [told(answer) for answer in await here.speaking.post_many(OFFICER, asked)]
    said_there = [told(answer) for answer in await there.speaking.post_many(OFFICER, asked)]

    assert worker.questions > 0
    assert composed == []
    codes = {said["error"]["code"] for said in said_here if "error" in said}
    assert codes >= {"usage", "invalid_alert", "marking_contradiction", "policy_denied", "peer_not_usable"}
    assert any(len(said["error"]["problems"]) > 2 for said in said_here if "error" in said)
    assert said_there == said_here
    assert await kept(there, asked) == await kept(here, asked)
    assert await opened(world, there) == await opened(world, here) != {}


async def test_few_posts_and_a_batch_with_a_flash_post_in_it_stay_in_the_loop(world: World) -> None:
    worker = Meddled()
    node = await world.node(worker)
    flash = {"content": json.dumps({**SMALLEST, "precedence": "flash"}), "to": [BERLIN], "id": identity(9_999)}

    await node.speaking.post_many(OFFICER, posts(FEWEST - 1))
    await node.speaking.post_many(OFFICER, [flash, *posts(2 * FEWEST)[FEWEST:]])

    assert worker.questions == 0


async def test_a_flash_post_does_not_wait_for_what_is_at_the_worker(world: World) -> None:
    node = await world.node(Worker(HANGS, answer_s=3_600))
    batches = [asyncio.create_task(node.speaking.post_many(OFFICER, posts(FEWEST))) for _ in range(3)]
    gathered = [asyncio.create_task(node.speaking.post(OFFICER, post)) for post in posts(300)[FEWEST:]]
    flash = {"content": json.dumps({**SMALLEST, "precedence": "flash"}), "to": [BERLIN], "id": identity(9_999)}

    await node.speaking.post(OFFICER, flash)

    assert not any(batch.done() for batch in batches)
    assert (await envelopes(node))[0].message_id == parse_uuid(identity(9_999))
    await world.workers[0].close()
    await asyncio.gather(*batches, *gathered)


async def test_a_peer_that_is_suspended_while_the_worker_seals_gets_nothing(world: World) -> None:
    worker = Meddled()
    node = await world.node(worker)
    worker.meanwhile = lambda: node.peer_book.suspend({"agency": BERLIN})

    said = await node.speaking.post_many(OFFICER, posts(FEWEST))

    assert [one.code for one in said if isinstance(one, OperationError)] == ["peer_not_usable"] * FEWEST
    assert await kept(node, posts(FEWEST)) == [None] * FEWEST
    assert await envelopes(node) == []


async def test_a_peer_that_is_suspended_between_two_parts_of_a_batch_gets_neither(world: World) -> None:
    worker, asked = Meddled(), posts(2 * FEWEST)
    node = await world.node(worker)
    answers = 0

    async def suspend_at_the_second() -> None:
        nonlocal answers
        answers += 1
        if answers == 2:
            await node.peer_book.suspend({"agency": BERLIN})

    worker.meanwhile = suspend_at_the_second
    said = await node.speaking.post_many(OFFICER, asked)

    assert answers == 2
    assert {one.code for one in said if isinstance(one, OperationError)} == {"peer_not_usable"}
    assert await kept(node, asked) == [None] * len(asked)


async def test_what_the_worker_sealed_in_a_generation_that_ended_is_sealed_anew(world: World) -> None:
    worker, asked = Meddled(), posts(FEWEST)
    node = await world.node(worker)

    async def open_generation() -> None:
        worker.meanwhile = None
        await node.writer.open_generation(2, lambda *_: b"opened", (), lambda *_: ())

    worker.meanwhile = open_generation
    said = await node.speaking.post_many(OFFICER, asked)

    assert not [one for one in said if isinstance(one, NodeError)]
    assert {row.generation for row in await envelopes(node)} == {2}
    assert len(await opened(world, node)) == len(asked)


async def test_what_the_worker_sealed_to_a_key_that_has_a_successor_is_sealed_anew(world: World) -> None:
    worker, asked = Meddled(), posts(FEWEST)
    node = await world.node(worker)
    peer, pair = node.peers.get(BERLIN), EpochKeyPair.generate()
    assert peer is not None

    async def publish() -> None:
        peer.epoch_keys[99] = PublishedKey(99, NOW, pair.public)

    worker.meanwhile = publish
    await node.speaking.post_many(OFFICER, asked)

    assert [decode_header(row.header).epoch_number for row in await envelopes(node)] == [99] * len(asked)


async def test_what_waits_for_a_key_that_comes_meanwhile_is_sealed_to_it(world: World) -> None:
    worker, asked = Meddled(), [{**post, "to": [BERLIN, LYON]} for post in posts(FEWEST)]
    node = await world.node(worker)
    peer, pair = node.peers.get(LYON), EpochKeyPair.generate()
    assert peer is not None

    async def publish() -> None:
        peer.epoch_keys[1] = PublishedKey(1, NOW, pair.public)

    worker.meanwhile = publish
    await node.speaking.post_many(OFFICER, asked)

    assert len(await node.store.due(LYON, NOW, frozenset(), 1_000, 1 << 30)) == len(asked)


@pytest.mark.parametrize("program", [DIES, HANGS, *NONSENSE.values()], ids=["dies", "hangs", *NONSENSE])
async def test_what_a_worker_does_not_answer_is_posted_once_all_the_same(world: World, program: str) -> None:
    worker, asked = Worker(program, answer_s=0.2, rest_s=3_600), posts(2 * FEWEST)
    node = await world.node(worker)

    said = await node.speaking.post_many(OFFICER, asked)

    assert not [one for one in said if isinstance(one, NodeError)]
    assert len(await opened(world, node)) == len(asked)
    assert [row[-1][0][1] for row in await kept(node, asked)] == [MachineState.QUEUED] * len(asked)
    assert not worker.ready()  # it rests
    repeated = await node.speaking.post_many(OFFICER, asked)
    assert all(isinstance(one, Answer) and one.document["repeated"] for one in repeated)


async def test_small_batches_of_a_stream_do_not_overtake_a_large_one_at_the_worker(world: World) -> None:
    node = await world.node(Meddled())
    asked = posts(4 * FEWEST)
    batches = (asked[: 2 * FEWEST], asked[2 * FEWEST : -1], asked[-1:])

    await asyncio.gather(*(node.speaking.post_many(OFFICER, batch) for batch in batches))

    assert [row.n for row in await envelopes(node)] == sorted(row.n for row in await envelopes(node))
    assert [row.message_id for row in await envelopes(node)] == [parse_uuid(post["id"]) for post in asked]
