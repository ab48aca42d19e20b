"""Three whole nodes and the line between them, which hands over what its holder wants it to. Judges nothing but errors.

A round is in transit from the moment it is asked until its answer is settled or lost; a courier has one at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from itertools import permutations
from typing import Any, TypeVar

from exchange.errors import RefusalError
from keys.ids import AgencyId
from nodes.errors import FatalError, NodeError, OperationError
from nodes.node import Ask
from nodes.peers import Peer
from nodes.store.contract import MessageRow
from tests.exchange.agencies import NOW
from tests.nodes.presence import OFFICER, Presence, RunningNode, introduce, make_presence

COUNTRIES = {AgencyId("ponal.co"): "CO", AgencyId("bka.de"): "DE", AgencyId("interpol.int"): "FR"}
AGENCIES = tuple(COUNTRIES)
PAIRS = tuple(permutations(AGENCIES, 2))
MINUTE_MS = 60_000

Pair = tuple[AgencyId, AgencyId]
"""Who asks, and who is asked."""

_Result = TypeVar("_Result")
_born: dict[AgencyId, Presence] = {}


@dataclass
class Transit:
    """A round on the line: asked, then perhaps answered."""

    ask: Ask
    answer: bytes | None = None


class Line:
    """The nodes, their clocks and what is between them. Every node trusts every other at first."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self.now = NOW
        self.offsets = dict.fromkeys(AGENCIES, 0)
        if not _born:  # keys cost a second, and may be the same in every world
            _born.update(self.run(self._births()))
        self.nodes = {
            agency: self.run(RunningNode.start(_born[agency].copy(), self._clock(agency))) for agency in AGENCIES
        }
        self.transits: dict[Pair, Transit] = {}
        self.requests: list[tuple[AgencyId, AgencyId, bytes]] = []

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

    def close(self) -> None:
        """End every node."""
        for node in self.nodes.values():
            self.run(node.stop())
        self._runner.close()

    def run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Do it to its end."""
        return self._runner.get_loop().run_until_complete(work)  # the runner's own `run` sets signal handlers each time

    # --- nodes

    def peer(self, who: AgencyId, other: AgencyId) -> Peer:
        """`other` as `who` knows it."""
        found = self.nodes[who].peers.get(other)
        assert found is not None
        return found

    def trusts(self, who: AgencyId, other: AgencyId) -> bool:
        """Whether it does."""
        return self.peer(who, other).row.trust == "trusted"

    def inbox(self, who: AgencyId) -> list[MessageRow]:
        """All that is shown there of others."""
        return self.run(self.nodes[who].store.inbox(None, 99, unacknowledged=False))

    def restart(self, who: AgencyId) -> None:
        """Another process over the same disk. What it was asking is lost with it."""
        self.run(self.nodes[who].stop())
        self.nodes[who] = self.run(RunningNode.start(self.nodes[who].presence, self._clock(who)))
        for pair in [pair for pair in self.transits if pair[0] == who]:
            del self.transits[pair]

    def say(self, who: AgencyId, verb: str, args: dict[str, Any]) -> Any:
        """The document of the answer, FatalError, or the code of what was answered instead."""
        node = self.nodes[who]
        does = {"post": node.speaking.post, "resend": node.speaking.resend, "ack": node.speaking.ack}
        try:
            return self.run((does.get(verb) or getattr(node.following, verb))(OFFICER, args)).document
        except NodeError as error:
            self.failed(who, error)
            return FatalError if isinstance(error, FatalError) else error.code

    def attempt(self, who: AgencyId, work: Coroutine[Any, Any, _Result]) -> _Result | None:
        """Do it; None if it was refused in the node's own words. Anything else that is raised is a finding."""
        try:
            return self.run(work)
        except RefusalError:
            return None
        except NodeError as error:
            self.failed(who, error)
            return None

    def failed(self, who: AgencyId, error: NodeError) -> None:
        """An error that is no answer: its disk failed as it was told to, or this is a bug."""
        if isinstance(error, FatalError):
            self.restart(who)
        elif isinstance(error, OperationError):
            assert error.code not in {"invalid_alert", "usage", "internal"}, error
        else:
            assert error.code == "disk_low", error

    # --- rounds

    def ask(self, pair: Pair) -> None:
        """Put a request on the line, unless one is there or the other is not trusted."""
        who, other = pair
        if pair in self.transits or not self.trusts(who, other):
            return
        ask = self.attempt(who, self.nodes[who].node.ask(self.peer(who, other)))
        if ask is not None:
            self.transits[pair] = Transit(ask)
            self.requests.append((who, other, ask.body))

    def advance(self, pair: Pair) -> bool:
        """One step of a round: its request arrives, or its answer. True if it is over and asks for another."""
        who, other = pair
        transit = self.transits[pair]
        if transit.answer is None:
            answer = self.receive(who, other, transit.ask.body)
            if isinstance(answer, bytes):
                transit.answer = answer
            else:
                del self.transits[pair]
                self.attempt(who, self.nodes[who].node.failed(self.peer(who, other), transit.ask, answer))
            return False
        del self.transits[pair]
        asking = self.nodes[who]
        settled = self.attempt(who, asking.node.settle(self.peer(who, other), transit.ask, transit.answer))
        if settled is None and self.nodes[who] is asking:  # not when it died of it
            self.attempt(who, asking.node.failed(self.peer(who, other), transit.ask, "internal"))
        return settled is not None and settled.again

    def lose(self, pair: Pair) -> None:
        """The request never arrives, or its answer does not."""
        ask = self.transits.pop(pair).ask
        self.attempt(pair[0], self.nodes[pair[0]].node.failed(self.peer(*pair), ask, "unreachable"))

    def receive(self, who: AgencyId, other: AgencyId, body: bytes) -> bytes | str:
        """The answer of `other` to a request of `who`, or the code of a refusal."""
        try:
            return self.run(self.nodes[other].node.receive(who, body))
        except RefusalError as refused:
            return refused.code.value
        except NodeError as error:
            self.failed(other, error)
            return "internal"

    def hold_round(self, pair: Pair) -> bool:
        """A round on a line that is well. True if there is a reason for another."""
        self.ask(pair)
        again = False
        while pair in self.transits:
            again = self.advance(pair)
        return again

    def pass_time(self, minutes: int) -> None:
        """All clocks go on, and every node looks at its own."""
        self.now += minutes * MINUTE_MS
        for who in AGENCIES:
            self.attempt(who, self.nodes[who].node.tick())
            self.attempt(who, self.nodes[who].keep_keys())
