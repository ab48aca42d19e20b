"""News inside the node: who waits for a receipt, who watches. Owns the fan-out to waiting tasks; it keeps nothing and
decides nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from keys.ids import AgencyId, MessageId

# A watcher that does not read loses news rather than hold memory: the store has everything, and it is told to look
# again.
MAX_BACKLOG = 10_000


@dataclass(frozen=True, slots=True)
class MessageArrived:
    """A message became a row of the inbox."""

    sender: AgencyId
    message_id: MessageId


@dataclass(frozen=True, slots=True)
class RecipientMoved:
    """The state of a message of ours with one recipient may have moved."""

    message_id: MessageId


@dataclass(frozen=True, slots=True)
class RoundEnded:
    """A round with a peer came to an answer, or failed."""

    agency: AgencyId


Event = MessageArrived | RecipientMoved | RoundEnded


class Events:
    """Hands each event to everybody who listens at that moment."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Queue[Event]] = set()

    def tell(self, event: Event) -> None:
        """Give `event` to all listeners."""
        for queue in self._listeners:
            if queue.qsize() < MAX_BACKLOG:
                queue.put_nowait(event)

    @contextlib.contextmanager
    def listen(self) -> Iterator[asyncio.Queue[Event]]:
        """A queue of what happens from now on."""
        queue: asyncio.Queue[Event] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            yield queue
        finally:
            self._listeners.discard(queue)
