"""Three whole nodes on a line that loses, doubles, delays and reorders, with restarts, failing disks and wrong clocks.

The line is the machine's: it holds each request and each answer until it hands it over, or does not. At any moment:
delivery states only rise, nobody is shown what nobody posted to him, and every head that one agency holds of another is
a head of that one's only history. When the line behaves again, everything that was accepted has come to its end.
TOCSIN_LONG=1 runs it longer, and shrinks what it finds to its fewest steps.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any, TypeVar

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from exchange.delivery import END_STATES, State, at_least
from exchange.errors import RefusalError
from exchange.log import EMPTY_ROOT, Frontier, leaf_hash
from keys.ids import AgencyId, MessageId, format_uuid, parse_uuid
from nodes.errors import FatalError, NodeError, OperationError
from nodes.node import Ask
from nodes.peers import Peer
from nodes.store.contract import MessageRow
from nodes.store.memory import CommitFailure
from tests.alerts.builders import SMALLEST
from tests.exchange.agencies import NOW, seed
from tests.nodes.presence import OFFICER, Presence, RunningNode, introduce, make_presence

COUNTRIES = {AgencyId("ponal.co"): "CO", AgencyId("bka.de"): "DE", AgencyId("interpol.int"): "FR"}
AGENCIES = tuple(COUNTRIES)
PAIRS = tuple(permutations(AGENCIES, 2))
MINUTE_MS = 60_000
FAIR_PASSES = 24
UPDATE = json.dumps({**json.loads(SMALLEST), "kind": "update", "why": "new_fact", "summary": "Van seen at the border"})

agencies = st.sampled_from(AGENCIES)
pairs = st.sampled_from(PAIRS)
choices = st.integers(0, 99)
_Result = TypeVar("_Result")
_born: dict[AgencyId, Presence] = {}


@dataclass
class Transit:
    """A round on the line: asked, then perhaps answered."""

    ask: Ask
    answer: bytes | None = None


@dataclass
class Post:
    """What a caller was told is durable, or was not told."""

    args: dict[str, Any]
    verb: str
    to: frozenset[AgencyId]
    known: bool = True  # False: the node died under it, and its caller does not know


@dataclass
class Told:
    """What was seen of one agency so far; none of it may ever be taken back."""

    roots: list[bytes] = field(default_factory=lambda: [EMPTY_ROOT])
    frontier: Frontier = field(default_factory=Frontier.empty)
    states: dict[tuple[MessageId, AgencyId], State] = field(default_factory=dict)


class Line(RuleBasedStateMachine):
    """The line and all who are on it."""

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.now = NOW
        self.offsets = dict.fromkeys(AGENCIES, 0)
        if not _born:
            _born.update(self.run(self._births()))
        self.nodes = {
            agency: self.run(RunningNode.start(_born[agency].copy(), self._clock(agency))) for agency in AGENCIES
        }
        self.transits: dict[tuple[AgencyId, AgencyId], Transit] = {}
        self.requests: list[tuple[AgencyId, AgencyId, bytes]] = []
        self.posts: dict[tuple[AgencyId, MessageId], Post] = {}
        self.told = {agency: Told() for agency in AGENCIES}
        self.count = 0
        self.post(AGENCIES[0], set(AGENCIES))

    async def _births(self) -> dict[AgencyId, Presence]:
        clocks = {agency: self._clock(agency) for agency in AGENCIES}
        found = {agency: await make_presence(agency, COUNTRIES[agency], clocks[agency]) for agency in AGENCIES}
        nodes = {agency: await RunningNode.start(found[agency], clocks[agency]) for agency in AGENCIES}
        for index, agency in enumerate(AGENCIES):
            for other in AGENCIES[index + 1 :]:
                await introduce(nodes[agency], nodes[other])
        for node in nodes.values():
            await node.stop()
        return {agency: node.presence for agency, node in nodes.items()}

    def _clock(self, agency: AgencyId) -> Callable[[], int]:
        return lambda: self.now + self.offsets[agency]

    def run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        return self.runner.get_loop().run_until_complete(work)  # the runner's own `run` sets signal handlers each time

    def peer(self, agency: AgencyId, other: AgencyId) -> Peer:
        found = self.nodes[agency].peers.get(other)
        assert found is not None
        return found

    # --- operators

    @rule(who=agencies, to=st.sets(agencies, min_size=1))
    def post(self, who: AgencyId, to: set[AgencyId]) -> None:
        """An alert; accepted by a node that is well whenever all its recipients are trusted."""
        wanted = frozenset(to - {who})
        if wanted:
            self._say(who, "post", {"content": SMALLEST, "to": sorted(wanted)}, wanted)

    @rule(who=agencies, choice=choices, kind=st.sampled_from(["update", "cancel", "resolve", "note"]))
    def follow(self, who: AgencyId, choice: int, kind: str) -> None:
        """A later word about a case that lies here."""
        rows = [row for row in self._inbox(who) + self._sent(who) if row.shown]
        if not rows:
            return
        headline = self.nodes[who].vault.headline(rows[choice % len(rows)])
        assert headline is not None
        options = {
            "update": {"content": UPDATE},
            "cancel": {"reason": "false_report"},
            "resolve": {"outcome": "found_safe"},
            "note": {"text": "seen"},
        }[kind]
        self._say(who, kind, {"case": headline.case_id, **options}, None)

    @rule(who=agencies, choice=choices, level=st.sampled_from(["accepted", "rejected", "actioned"]))
    def acknowledge(self, who: AgencyId, choice: int, level: str) -> None:
        rows = self._inbox(who)
        if rows:
            id_ = format_uuid(rows[choice % len(rows)].message_id)
            cause = {"rejected": "duplicate_case"}.get(level)
            self._try(who, self.nodes[who].speaking.ack(OFFICER, {"id": id_, "level": level, "cause": cause}))

    @precondition(lambda self: self.posts)
    @rule(choice=choices)
    def post_again(self, choice: int) -> None:
        """A caller who lost the answer asks for the same once more: the same message, not a second one."""
        who, message_id = sorted(self.posts)[choice % len(self.posts)]
        self._repeat(who, message_id)

    @rule(pair=pairs, suspends=st.booleans())
    def change_trust(self, pair: tuple[AgencyId, AgencyId], suspends: bool) -> None:
        who, other = pair
        book = self.nodes[who].peer_book
        self._try(who, (book.suspend if suspends else book.resume)({"agency": other}))

    @rule(who=agencies)
    def rotate(self, who: AgencyId) -> None:
        """A new node pair, and a first word under it."""
        self._try(who, self.nodes[who].rotate())

    # --- the line

    @rule(pair=pairs)
    def ask(self, pair: tuple[AgencyId, AgencyId]) -> None:
        who, other = pair
        if pair in self.transits or not self._trusts(who, other):
            return
        ask = self._try(who, self.nodes[who].node.ask(self.peer(who, other)))
        if ask is not None:
            self.transits[pair] = Transit(ask)
            self.requests.append((who, other, ask.body))

    @precondition(lambda self: self.transits)
    @rule(choice=choices)
    def hand_over(self, choice: int) -> None:
        """The request arrives, or the answer does."""
        pair = sorted(self.transits)[choice % len(self.transits)]
        self._advance(pair)

    @precondition(lambda self: self.transits)
    @rule(choice=choices)
    def lose(self, choice: int) -> None:
        """The request never arrives, or its answer does not."""
        pair = sorted(self.transits)[choice % len(self.transits)]
        ask = self.transits.pop(pair).ask
        self._try(pair[0], self.nodes[pair[0]].node.failed(self.peer(*pair), ask, "unreachable"))

    @precondition(lambda self: self.requests)
    @rule(choice=choices)
    def deliver_again(self, choice: int) -> None:
        """An old request once more, and nobody waits for the answer."""
        who, other, body = self.requests[choice % len(self.requests)]
        self._receive(who, other, body)

    @rule(pair=pairs)
    def hold_rounds(self, pair: tuple[AgencyId, AgencyId]) -> None:
        """What a courier does on a line that is well."""
        for _ in range(4):
            if not self._round(pair):
                return

    def _advance(self, pair: tuple[AgencyId, AgencyId]) -> bool:
        """One step of a round. True if it is over and asks for another."""
        who, other = pair
        transit = self.transits[pair]
        if transit.answer is None:
            answer = self._receive(who, other, transit.ask.body)
            if isinstance(answer, bytes):
                transit.answer = answer
            else:
                del self.transits[pair]
                self._try(who, self.nodes[who].node.failed(self.peer(who, other), transit.ask, answer))
            return False
        del self.transits[pair]
        asking = self.nodes[who]
        settled = self._try(who, asking.node.settle(self.peer(who, other), transit.ask, transit.answer))
        if settled is None and self.nodes[who] is asking:  # not when it died of it
            self._try(who, asking.node.failed(self.peer(who, other), transit.ask, "internal"))
        return settled is not None and settled.again

    def _round(self, pair: tuple[AgencyId, AgencyId]) -> bool:
        if pair not in self.transits:
            self.ask(pair)
        again = False
        while pair in self.transits:
            again = self._advance(pair)
        return again

    def _receive(self, who: AgencyId, other: AgencyId, body: bytes) -> bytes | str:
        """The answer, or the code of a refusal."""
        node = self.nodes[other]
        try:
            return self.run(node.node.receive(who, body))
        except RefusalError as refused:
            return refused.code.value
        except NodeError as error:
            self._failed(other, error)
            return "internal"

    # --- what goes wrong

    @rule(who=agencies)
    def restart(self, who: AgencyId) -> None:
        """Another process over the same disk. What it was asking is lost with it."""
        self.run(self.nodes[who].stop())
        self.nodes[who] = self.run(RunningNode.start(self.nodes[who].presence, self._clock(who)))
        for pair in [pair for pair in self.transits if pair[0] == who]:
            del self.transits[pair]

    @rule(who=agencies, kind=st.sampled_from(["failed", "failed_but_persisted", "lost"]))
    def fail_next_commit(self, who: AgencyId, kind: CommitFailure) -> None:
        self.nodes[who].store.fail_next_commit(kind)

    @rule(who=agencies, step=st.sampled_from([-120, -2, 2, 20, 120]))
    def step_clock(self, who: AgencyId, step: int) -> None:
        """One machine's clock jumps by so many minutes."""
        self.offsets[who] += step * MINUTE_MS

    @rule(minutes=st.sampled_from([1, 20, 4_320]))
    def pass_time(self, minutes: int) -> None:
        self.now += minutes * MINUTE_MS
        for who in AGENCIES:
            self._try(who, self.nodes[who].node.tick())
            self._try(who, self.nodes[who].keep_keys())

    def _failed(self, who: AgencyId, error: NodeError) -> None:
        """An error that is no answer: its disk failed as it was told to, or this is a bug."""
        if isinstance(error, FatalError):
            self.restart(who)
        elif isinstance(error, OperationError):
            assert error.code not in {"invalid_alert", "usage", "internal"}, error
        else:
            assert error.code == "disk_low", error

    # --- how

    def _try(self, who: AgencyId, work: Coroutine[Any, Any, _Result]) -> _Result | None:
        """Do it; None if it was refused in the node's own words. Anything else that is raised is a finding."""
        try:
            return self.run(work)
        except RefusalError:
            return None
        except NodeError as error:
            self._failed(who, error)
            return None

    def _say(self, who: AgencyId, verb: str, args: dict[str, Any], to: frozenset[AgencyId] | None) -> None:
        self.count += 1
        message_id = MessageId(seed("message", self.count)[:16])
        said = {**args, "id": format_uuid(message_id)}
        node, well = self.nodes[who], self.nodes[who].store._next_failure is None
        trusted = to is not None and all(self._trusts(who, agency) for agency in to)
        answer = self._do(who, verb, said)
        if isinstance(answer, dict):
            named = frozenset(AgencyId(recipient["agency"]) for recipient in answer["recipients"])
            assert to is None or named == to
            self.posts[who, message_id] = Post(said, verb, named)
        elif answer is FatalError:
            self.posts[who, message_id] = Post(said, verb, to or frozenset(AGENCIES), known=False)
        else:
            assert not (well and trusted), (node.agency, answer)

    def _repeat(self, who: AgencyId, message_id: MessageId) -> None:
        post = self.posts[who, message_id]
        answer = self._do(who, post.verb, post.args)
        if isinstance(answer, dict):
            assert parse_uuid(answer["message_id"]) == message_id
            post.known, post.to = True, frozenset(AgencyId(one["agency"]) for one in answer["recipients"])
        elif post.known:
            assert answer is FatalError or answer == "disk_low", answer

    def _do(self, who: AgencyId, verb: str, args: dict[str, Any]) -> Any:
        """The document of the answer, FatalError, or the code of what was answered instead."""
        node = self.nodes[who]
        does = {"post": node.speaking.post, **{name: getattr(node.following, name) for name in _FOLLOWING}}[verb]
        try:
            return self.run(does(OFFICER, args)).document
        except NodeError as error:
            self._failed(who, error)
            return FatalError if isinstance(error, FatalError) else error.code

    def _trusts(self, who: AgencyId, other: AgencyId) -> bool:
        return self.peer(who, other).row.trust == "trusted"

    def _inbox(self, who: AgencyId) -> list[MessageRow]:
        return self.run(self.nodes[who].store.inbox(None, 99, unacknowledged=False))

    def _sent(self, who: AgencyId) -> list[MessageRow]:
        return self.run(self.nodes[who].store.sent(None, 99))

    # --- what is always so

    @invariant()
    def nothing_is_shown_that_was_not_posted(self) -> None:
        if not hasattr(self, "nodes"):
            return
        for who in AGENCIES:
            rows = self._inbox(who)
            keys = [(row.sender, row.message_id) for row in rows]
            assert len(keys) == len(set(keys))
            assert all(key in self.posts and who in self.posts[key].to for key in keys)

    @invariant()
    def no_state_goes_back(self) -> None:
        if not hasattr(self, "nodes"):
            return
        for (who, message_id), states in self._states().items():
            for agency, state in states.items():
                before = self.told[who].states.get((message_id, agency), State.QUEUED)
                assert at_least(state, before), (who, agency, before, state)
                self.told[who].states[message_id, agency] = state

    @invariant()
    def every_head_is_of_one_history(self) -> None:
        if not hasattr(self, "nodes"):
            return
        for who in AGENCIES:
            self._grow(who)
        for who, other in PAIRS:
            store = self.nodes[who].store
            held = self.run(store.head_chain(other, "gw1", 1, 0))
            crossed = [row for row in self.run(store.unreconciled()) if row.agency == other]
            roots = self.told[other].roots
            for row in (*held, *crossed):
                assert row.size < len(roots)
                assert row.root == roots[row.size]

    def _grow(self, who: AgencyId) -> None:
        """What was logged since; and what was logged before is still there, byte for byte."""
        told = self.told[who]
        entries = self.run(self.nodes[who].store.entries("gw1/1", 0, 9_999))
        assert len(entries) >= told.frontier.size
        leaves = [leaf_hash(entry) for entry in entries if entry is not None]
        again = Frontier.empty().append_many(leaves[: told.frontier.size]).frontier if told.frontier.size else None
        assert again is None or again.root == told.frontier.root
        for leaf in leaves[told.frontier.size :]:
            told.frontier = told.frontier.append_many([leaf]).frontier
            told.roots.append(told.frontier.root)

    def _states(self) -> dict[tuple[AgencyId, MessageId], dict[AgencyId, State]]:
        """How each message that is in its sender's store stands with each recipient, as `track` shows it."""
        found = {}
        for who, message_id in self.posts:
            row = self.run(self.nodes[who].store.message(who, message_id))
            assert row is not None or not self.posts[who, message_id].known
            if row is not None:
                recipients = self.run(self.nodes[who].reading.recipients(row))
                found[who, message_id] = {AgencyId(one["agency"]): State(one["state"]) for one in recipients}
        return found

    # --- when all is well again

    @precondition(lambda self: self.posts)
    @rule()
    def fair_weather(self) -> None:
        self._calm()

    def _calm(self) -> None:
        """Clocks agree, disks hold, everybody trusts everybody and the line carries: all comes to its end."""
        self.now += max(self.offsets.values())
        self.offsets = dict.fromkeys(AGENCIES, 0)
        while self.transits:
            self.lose(0)
        for who in AGENCIES:
            self.nodes[who].store._next_failure = None
        for pair in PAIRS:
            self.change_trust(pair, suspends=False)
        for key, post in list(self.posts.items()):
            if not post.known:
                self._repeat(*key)
        for _ in range(FAIR_PASSES):
            for pair in PAIRS:
                self.hold_rounds(pair)
            self.pass_time(20)
            if self._is_at_rest():
                break
        self._check_ends()

    def _is_at_rest(self) -> bool:
        return all(state in END_STATES for states in self._states().values() for state in states.values())

    def _check_ends(self) -> None:
        inboxes = {who: {(row.sender, row.message_id) for row in self._inbox(who)} for who in AGENCIES}
        for (who, message_id), states in self._states().items():
            assert set(states) == self.posts[who, message_id].to
            for agency, state in states.items():
                assert state in END_STATES, (who, agency, state)
                if at_least(state, State.STORED):
                    assert (who, message_id) in inboxes[agency]
                else:
                    assert self._is_justified(who, agency, message_id, state), (who, agency, state)

    def _is_justified(self, who: AgencyId, agency: AgencyId, message_id: MessageId, state: State) -> bool:
        """Expired: its time had passed. Refused: the recipient signed that it refused, and shows nothing."""
        if state is State.EXPIRED:
            row = self.run(self.nodes[who].store.recipient(message_id, agency))
            return row is not None and row.deliver_by <= self.now
        rows = self.run(self.nodes[agency].store.inbound_of_message(who, message_id))
        return any(row.code is not None for row in rows)

    def teardown(self) -> None:
        if not hasattr(self, "nodes"):
            return
        try:
            if self.posts:
                self._calm()
                self.no_state_goes_back()
                self.every_head_is_of_one_history()
        finally:
            for node in self.nodes.values():
                self.run(node.stop())
            self.runner.close()


_FOLLOWING = ("update", "cancel", "resolve", "note")

TestLine = Line.TestCase
TestLine.settings = (
    settings(max_examples=150, stateful_step_count=40)
    if os.environ.get("TOCSIN_LONG")
    else settings(max_examples=15, stateful_step_count=30, phases=(Phase.explicit, Phase.reuse, Phase.generate))
)
