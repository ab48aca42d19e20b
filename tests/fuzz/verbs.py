"""Target of the operators' requests behind the socket: the arguments of every verb, given to a whole node.

Nothing is posted (`explain`), so that each input meets the same node.
"""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import Awaitable, Callable
from functools import cache, partial
from typing import Any

from keys.ids import AgencyId
from nodes.errors import OperationError
from nodes.local_api import _json, read_object
from nodes.operations import _time, _whole
from tests.alerts.builders import SMALLEST
from tests.exchange.agencies import NOW
from tests.fuzz.target import Target
from tests.nodes.presence import OFFICER, RunningNode, introduce, make_presence

US, PEER = AgencyId("bka.de"), AgencyId("ponal.co")
CASE = "DE-BKA/2026/000001"
Verb = Callable[[dict[str, Any]], Awaitable[Any]]


def verb(data: bytes) -> None:
    """`{"verb": …, its arguments}`: an answer that can be written, or an error that is the caller's."""
    runner, node, verbs = _node()
    args = read_object(data)
    does = verbs.get(str(args.pop("verb", "")))
    if does is None:
        return
    answer = None
    try:
        answer = runner.run(_done(does, {**args, "explain": True}))
    except KeyError as missing:  # an argument is not there: nodes.operations says so
        if not missing.args or missing.args[0] in args:
            raise
    if answer is not None:
        _json(answer)
    assert node.writer.failed is None


async def _done(does: Verb, args: dict[str, Any]) -> Any:
    return await does(args)


@cache
def _node() -> tuple[asyncio.Runner, RunningNode, dict[str, Verb]]:
    """One node with one trusted peer and one case, for the whole process."""
    runner = asyncio.Runner()
    node, verbs = runner.run(_made())

    def end() -> None:
        runner.run(node.stop())
        runner.close()

    atexit.register(end)
    return runner, node, verbs


async def _made() -> tuple[RunningNode, dict[str, Verb]]:
    def clock() -> int:
        return NOW

    node = await RunningNode.start(await make_presence(US, "DE", clock), clock)
    other = await RunningNode.start(await make_presence(PEER, "CO", clock), clock)
    await introduce(node, other)
    await node.speaking.post(OFFICER, {"content": SMALLEST, "to": [PEER], "id": "0193a5b2-7c1e-4d3a-9f00-1234567890ab"})
    await other.stop()
    speaking, following, book = node.speaking, node.following, node.peer_book
    by_officer = {
        "post": speaking.post,
        "ack": speaking.ack,
        "update": following.update,
        "cancel": following.cancel,
        "resolve": following.resolve,
        "renew": following.renew,
        "note": following.note,
    }
    return node, {
        **{name: partial(does, OFFICER) for name, does in by_officer.items()},
        "peer_add": book.add,
        "peer_show": book.show,
        "peer_replace": book.replace,
        "template": lambda args: _template(node, args),
        "reading": lambda args: _reading(node, args),
    }


async def _template(node: RunningNode, args: dict[str, Any]) -> None:
    await node.following.template(str(args["kind"]), str(args["case"]))


async def _reading(node: RunningNode, args: dict[str, Any]) -> None:
    _time(args.get("since"))
    if args.get("limit"):
        _whole(args, "limit")
    await node.reading.show(await node.reading.find(str(args["id"])))


TARGETS = (Target("verb", verb, (OperationError,), longest=4_096, executions=400),)
