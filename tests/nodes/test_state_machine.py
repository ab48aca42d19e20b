"""Three whole nodes on a line that loses, doubles, delays and reorders, with restarts, failing disks and wrong clocks.

At any moment: delivery states only rise, nobody is shown what nobody posted to him, and every head that one agency
holds of another is a head of that one's only history. When the line behaves again, everything that was accepted comes
to its end. TOCSIN_LONG=1 runs it longer, and shrinks what it finds to its fewest steps.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from exchange.delivery import END_STATES, State, at_least
from exchange.log import EMPTY_ROOT, Frontier, leaf_hash
from keys.ids import AgencyId, MessageId, format_uuid, parse_uuid
from nodes.errors import FatalError
from nodes.store.memory import CommitFailure
from tests.alerts.builders import SMALLEST
from tests.exchange.agencies import NOW, seed
from tests.nodes.line import AGENCIES, MINUTE_MS, PAIRS, Line, Pair

FATES = ("arrives", "request lost", "answer lost", "arrives twice")
FAIR_PASSES = 24
STORM_STEPS = 12
A_MONTH_MS = 30 * 86_400_000
A_WEEK_AND_A_DAY = 8 * 1_440  # minutes; no alert here is delivered for longer than a week
UPDATE = json.dumps({**json.loads(SMALLEST), "kind": "update", "why": "new_fact", "summary": "Van seen at the border"})

agencies = st.sampled_from(AGENCIES)
pairs = st.sampled_from(PAIRS)
seeds = st.integers(0, 2**32)
choices = st.integers(0, 99)
failures = st.sampled_from(["failed", "failed_but_persisted", "lost"])


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


class Delivery(RuleBasedStateMachine):
    """Operators, the line and bad luck, in any order."""

    @initialize(seed=seeds)
    def begin(self, seed: int) -> None:
        self.line = Line()
        self.posts: dict[tuple[AgencyId, MessageId], Post] = {}
        self.told = {agency: Told() for agency in AGENCIES}
        self.count = 0
        self.post(AGENCIES[0], set(AGENCIES))
        self.storm(seed)

    @rule(seed=seeds)
    def storm(self, seed: int) -> None:
        """Many things at once that a short run of single steps seldom brings together."""
        random = Random(seed)
        for _ in range(STORM_STEPS):
            self._step(random)
            self.no_state_goes_back()

    def _step(self, random: Random) -> None:
        pair, choice = random.choice(PAIRS), random.randrange(100)
        who, fates = pair[0], random.choices(FATES, k=3)
        steps: tuple[Callable[[], object], ...] = (
            lambda: self.post(who, set(pair)),
            lambda: self.follow(who, choice, random.choice(("update", "note"))),
            lambda: self.acknowledge(who, choice, random.choice(("accepted", "actioned"))),
            lambda: self.hold_rounds_on_a_bad_line(pair, fates),
            lambda: self.hold_rounds_on_a_bad_line(pair, fates),
            lambda: self.ask(pair),
            lambda: self.deliver_again(choice),
            lambda: self.lose_every_answer_until_it_expires(pair, choice),
            lambda: self.restart(who),
            lambda: self.post_on_a_failing_disk(who, random.choice(("failed", "failed_but_persisted", "lost"))),
            lambda: self.rotate(who),
        )
        random.choice(steps)()

    # --- operators

    @rule(who=agencies, to=st.sets(agencies, min_size=1))
    def post(self, who: AgencyId, to: set[AgencyId]) -> None:
        """An alert; accepted by a node that is well whenever all its recipients are trusted."""
        wanted = frozenset(to - {who})
        if not wanted:
            return
        well = self.line.nodes[who].store._next_failure is None
        trusted = all(self.line.trusts(who, agency) for agency in wanted)
        answer = self._say(who, "post", {"content": SMALLEST, "to": sorted(wanted)}, wanted)
        assert isinstance(answer, dict) or not (well and trusted), answer

    @rule(who=agencies, choice=choices, kind=st.sampled_from(["update", "cancel", "resolve", "note"]))
    def follow(self, who: AgencyId, choice: int, kind: str) -> None:
        """A later word about a case that lies here."""
        node = self.line.nodes[who]
        rows = self.line.inbox(who) + self.line.run(node.store.sent(None, 99))
        if not rows:
            return
        headline = node.vault.headline(rows[choice % len(rows)])
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
        rows = self.line.inbox(who)
        if rows:
            id_ = format_uuid(rows[choice % len(rows)].message_id)
            cause = {"rejected": "duplicate_case"}.get(level)
            self.line.say(who, "ack", {"id": id_, "level": level, "cause": cause})

    @rule(choice=choices)
    def post_again(self, choice: int) -> None:
        """A caller who lost the answer asks for the same once more: the same message, not a second one."""
        if self.posts:
            self._repeat(*sorted(self.posts)[choice % len(self.posts)])

    @rule(choice=choices)
    def resend(self, choice: int) -> None:
        """What expired goes again in another envelope, and its state begins anew."""
        expired = sorted(
            (who, message_id, agency)
            for (who, message_id), states in self._states().items()
            for agency, state in states.items()
            if state is State.EXPIRED
        )
        if expired:
            who, message_id, agency = expired[choice % len(expired)]
            # Also if it fails: a commit whose outcome is not known may have happened.
            self.line.say(who, "resend", {"id": format_uuid(message_id), "to": agency})
            self.told[who].states.pop((message_id, agency), None)

    @rule(pair=pairs, suspends=st.booleans())
    def change_trust(self, pair: Pair, suspends: bool) -> None:
        who, other = pair
        book = self.line.nodes[who].peer_book
        self.line.attempt(who, (book.suspend if suspends else book.resume)({"agency": other}))

    @rule(who=agencies)
    def rotate(self, who: AgencyId) -> None:
        """A new node pair, and a first word under it."""
        self.line.attempt(who, self.line.nodes[who].rotate())

    # --- the line

    @rule(pair=pairs)
    def ask(self, pair: Pair) -> None:
        self.line.ask(pair)

    @precondition(lambda self: self.line.transits)
    @rule(choice=choices, lost=st.booleans())
    def hand_over(self, choice: int, lost: bool) -> None:
        """What is in transit goes one step further, or not."""
        pair = sorted(self.line.transits)[choice % len(self.line.transits)]
        if lost:
            self.line.lose(pair)
        else:
            self.line.advance(pair)

    @rule(choice=choices)
    def deliver_again(self, choice: int) -> None:
        """An old request once more, and nobody waits for the answer."""
        if self.line.requests:
            self.line.receive(*self.line.requests[choice % len(self.line.requests)])

    @rule(pair=pairs)
    def hold_rounds(self, pair: Pair) -> None:
        """What a courier does on a line that is well."""
        for _ in range(4):
            if not self.line.hold_round(pair):
                return

    @rule(pair=pairs, fates=st.lists(st.sampled_from(FATES), min_size=1, max_size=4))
    def hold_rounds_on_a_bad_line(self, pair: Pair, fates: list[str]) -> None:
        """The same where requests and answers are lost, and a request that seemed lost arrives twice."""
        for fate in fates:
            self.line.ask(pair)
            if pair not in self.line.transits:
                return
            request = self.line.transits[pair].ask.body
            if fate != "request lost":
                self.line.advance(pair)
            if fate == "arrives twice":
                self.line.receive(*pair, request)
            if pair in self.line.transits:
                (self.line.lose if fate.endswith("lost") else self.line.advance)(pair)

    @rule(pair=pairs, choice=choices)
    def lose_every_answer_until_it_expires(self, pair: Pair, choice: int) -> None:
        self.hold_rounds(pair[::-1])
        self.hold_rounds_on_a_bad_line(pair, ["arrives", "answer lost", "answer lost"])
        self.pass_time(A_WEEK_AND_A_DAY)
        self.resend(choice)

    # --- what goes wrong

    @rule(who=agencies)
    def restart(self, who: AgencyId) -> None:
        self.line.restart(who)

    @rule(who=agencies, kind=failures)
    def fail_next_commit(self, who: AgencyId, kind: CommitFailure) -> None:
        self.line.nodes[who].store.fail_next_commit(kind)

    @rule(who=agencies, kind=failures)
    def post_on_a_failing_disk(self, who: AgencyId, kind: CommitFailure) -> None:
        self.fail_next_commit(who, kind)
        self.post(who, set(AGENCIES))

    @rule(who=agencies, step=st.sampled_from([-120, -2, 2, 20, 120]))
    def step_clock(self, who: AgencyId, step: int) -> None:
        """One machine's clock jumps by so many minutes."""
        self.line.offsets[who] += step * MINUTE_MS

    @rule(minutes=st.sampled_from([1, 20, 1_440]))
    def pass_time(self, minutes: int) -> None:
        """Within a month: later, the retention that a node fills in is over, and nothing can be said of a case."""
        if self.line.now + minutes * MINUTE_MS < NOW + A_MONTH_MS:
            self.line.pass_time(minutes)

    # --- how

    def _say(self, who: AgencyId, verb: str, args: dict[str, Any], to: frozenset[AgencyId] | None) -> Any:
        self.count += 1
        message_id = MessageId(seed("message", self.count)[:16])
        said = {**args, "id": format_uuid(message_id)}
        answer = self.line.say(who, verb, said)
        if isinstance(answer, dict):
            named = frozenset(AgencyId(recipient["agency"]) for recipient in answer["recipients"])
            assert to is None or named == to
            self.posts[who, message_id] = Post(said, verb, named)
        elif answer is FatalError:
            self.posts[who, message_id] = Post(said, verb, to or frozenset(AGENCIES), known=False)
        return answer

    def _repeat(self, who: AgencyId, message_id: MessageId) -> None:
        post = self.posts[who, message_id]
        answer = self.line.say(who, post.verb, post.args)
        if isinstance(answer, dict):
            assert parse_uuid(answer["message_id"]) == message_id
            post.known, post.to = True, frozenset(AgencyId(one["agency"]) for one in answer["recipients"])
        elif post.known:
            assert answer is FatalError or answer == "disk_low", answer

    # --- what is always so

    @invariant()
    def nothing_is_shown_that_was_not_posted(self) -> None:
        for who in AGENCIES if hasattr(self, "line") else ():
            keys = [(row.sender, row.message_id) for row in self.line.inbox(who)]
            assert len(keys) == len(set(keys))
            assert all(key in self.posts and who in self.posts[key].to for key in keys)

    @invariant()
    def no_state_goes_back(self) -> None:
        for (who, message_id), states in self._states().items() if hasattr(self, "line") else ():
            for agency, state in states.items():
                before = self.told[who].states.get((message_id, agency), State.QUEUED)
                assert at_least(state, before), (who, agency, before, state)
                self.told[who].states[message_id, agency] = state

    @invariant()
    def every_head_is_of_one_history(self) -> None:
        if not hasattr(self, "line"):
            return
        for who in AGENCIES:
            self._grow(who)
        for who, other in PAIRS:
            store = self.line.nodes[who].store
            held = self.line.run(store.head_chain(other, "gw1", 1, 0))
            crossed = [row for row in self.line.run(store.unreconciled()) if row.agency == other]
            roots = self.told[other].roots
            for row in (*held, *crossed):
                assert row.size < len(roots)
                assert row.root == roots[row.size]

    def _grow(self, who: AgencyId) -> None:
        """What was logged since; and what was logged before is still there, byte for byte."""
        told = self.told[who]
        entries = self.line.run(self.line.nodes[who].store.entries("gw1/1", 0, 9_999))
        leaves = [leaf_hash(entry) for entry in entries if entry is not None]
        size = told.frontier.size
        assert len(leaves) >= size
        assert not size or Frontier.empty().append_many(leaves[:size]).frontier.root == told.frontier.root
        for leaf in leaves[size:]:
            told.frontier = told.frontier.append_many([leaf]).frontier
            told.roots.append(told.frontier.root)

    def _states(self) -> dict[tuple[AgencyId, MessageId], dict[AgencyId, State]]:
        """How each message that is in its sender's store stands with each recipient, as `track` shows it."""
        found = {}
        for who, message_id in self.posts:
            node = self.line.nodes[who]
            row = self.line.run(node.store.message(who, message_id))
            assert row is not None or not self.posts[who, message_id].known
            if row is not None:
                recipients = self.line.run(node.reading.recipients(row))
                found[who, message_id] = {AgencyId(one["agency"]): State(one["state"]) for one in recipients}
        return found

    # --- when all is well again

    @rule()
    def fair_weather(self) -> None:
        """Clocks agree, disks hold, everybody trusts everybody and the line carries: all comes to its end."""
        line = self.line
        line.now += max(line.offsets.values())
        line.offsets = dict.fromkeys(AGENCIES, 0)
        for pair in sorted(line.transits):
            line.lose(pair)
        for node in line.nodes.values():
            node.store._next_failure = None
        for pair in PAIRS:
            self.change_trust(pair, suspends=False)
        for key, post in list(self.posts.items()):
            if not post.known:
                self._repeat(*key)
        for _ in range(FAIR_PASSES):
            for pair in PAIRS:
                self.hold_rounds(pair)
            line.pass_time(20)
            if all(state in END_STATES for states in self._states().values() for state in states.values()):
                break
        self._check_ends()

    def _check_ends(self) -> None:
        inboxes = {who: {(row.sender, row.message_id) for row in self.line.inbox(who)} for who in AGENCIES}
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
            row = self.line.run(self.line.nodes[who].store.recipient(message_id, agency))
            return row is not None and row.deliver_by <= self.line.now
        rows = self.line.run(self.line.nodes[agency].store.inbound_of_message(who, message_id))
        return any(row.code is not None for row in rows)

    def teardown(self) -> None:
        if not hasattr(self, "line"):
            return
        try:
            self.fair_weather()
            self.no_state_goes_back()
            self.every_head_is_of_one_history()
        finally:
            self.line.close()


TestDelivery = Delivery.TestCase
TestDelivery.settings = (
    settings(max_examples=150, stateful_step_count=40)
    if os.environ.get("TOCSIN_LONG")
    else settings(max_examples=8, stateful_step_count=15, phases=(Phase.explicit, Phase.reuse, Phase.generate))
)
