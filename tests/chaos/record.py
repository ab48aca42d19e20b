"""What was posted and what was answered, written down outside the nodes while it happens. Owns that record, and the
load that makes it; it judges nothing.
"""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from nodes.cli.client import LostAnswerError
from nodes.errors import OperationError
from tests.chaos.agency import Agency
from tests.system.agencies import SMALLEST

POSTERS_EACH = 2
AGAIN_S = 0.05
ACKS = 0.06  # share of turns in which a poster first accepts what came last
ACK_LIFE_MS = 14 * 86_400_000
LONGEST_LIFE_MS = 28 * 86_400_000  # less than the thirty days that a message may live: a clock may be a day behind
YES, LOST = "yes", "lost"
UNCERTAIN = (LOST, "internal")  # whether it was posted is not known
PRECEDENCES = ("immediate", "immediate", "immediate", "flash", "routine")


class Answered(StrEnum):
    """What the sender's node said to a post."""

    WAITING = "waiting"  # nothing yet
    YES = "yes"  # durable: promised
    NO = "no"  # an error that says that nothing was posted
    LOST = "lost"  # no answer came, and nobody asked again


@dataclass(slots=True)
class Post:
    """One message. `during` is the number of the fault that was the last one when its answer came."""

    message_id: str
    sender: str
    recipient: str
    answered: Answered = Answered.WAITING
    code: str = ""
    deliver_by: str = ""
    during: int = -1
    accepted_until: int = 0  # its recipient's operator was told, before this time, that the acceptance is durable


@dataclass(slots=True)
class Record:
    """All posts of an arena; many threads write it."""

    posts: dict[str, Post] = field(default_factory=dict)
    fault: int = -1  # number of the latest fault
    lock: threading.Lock = field(default_factory=threading.Lock)
    in_flight: Counter[str] = field(default_factory=Counter)
    counted: Counter[tuple[str, str]] = field(default_factory=Counter)  # (sender, YES, LOST or an error's code)

    def opened(self, post: Post) -> None:
        """It is about to be handed over."""
        with self.lock:
            self.posts[post.message_id] = post

    def accepted(self, message_id: str, until: int) -> None:
        """Its recipient has accepted it, and the word must reach its sender before the time is over."""
        with self.lock:
            post = self.posts.get(message_id)
            if post is not None:
                post.accepted_until = post.accepted_until or until

    def flies(self, sender: str, by: int) -> None:
        """A request to a node begins or ends."""
        with self.lock:
            self.in_flight[sender] += by

    def heard(self, post: Post, word: str) -> None:
        """A node answered, or its answer is lost."""
        with self.lock:
            post.during = self.fault
            self.counted[post.sender, word] += 1

    def count(self, sender: str, *words: str) -> int:
        """How often these answers came from a sender's node."""
        with self.lock:
            return sum(n for (who, word), n in self.counted.items() if who == sender and (not words or word in words))


class Load:
    """Posts in both directions, a few in flight, until it is told to stop."""

    def __init__(self, pair: Sequence[Agency], record: Record, seed: str, now_ms: Callable[[], int]) -> None:
        """`now_ms` is the time that both nodes have, but for the one whose clock is off."""
        self._record = record
        self._now_ms = now_ms
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._post_on, args=(sender, recipient, random.Random(f"{seed}/{number}/{way}")))
            for way, (sender, recipient) in enumerate((tuple(pair), tuple(reversed(pair))))
            for number in range(POSTERS_EACH)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Begin no more; whoever asks again goes on until an answer has come."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _post_on(self, sender: Agency, recipient: Agency, chance: random.Random) -> None:
        while not self._stopping.wait(chance.uniform(0.01, 0.06)):
            post = Post(str(UUID(int=chance.getrandbits(128), version=4)), sender.agency, recipient.agency)
            if chance.random() < ACKS:
                self._accept(sender)
            self._record.opened(post)
            arguments = {
                "content": json.dumps(self._content(chance)),
                "to": [recipient.agency],
                "id": post.message_id,
            }
            self._post(sender, post, arguments, asks_again=chance.random() < 0.5)

    def _accept(self, agency: Agency) -> None:
        """What a person at this agency says of the newest message there. A lost answer is left at that."""
        with suppress(OperationError):
            newest = agency.ask("inbox", limit=1).get("messages")
            if not newest:
                return
            message_id, until = newest[0]["message_id"], self._now_ms() + ACK_LIFE_MS
            if "error" not in agency.ask("ack", id=message_id, level="accepted"):
                self._record.accepted(message_id, until)

    def _content(self, chance: random.Random) -> dict[str, Any]:
        content = {
            **SMALLEST,
            "precedence": chance.choice(PRECEDENCES),
            "summary": f"{SMALLEST['summary']}, seen at kilometre {chance.randint(1, 999_999)}",
        }
        if chance.random() < 0.7:
            ends = datetime.fromtimestamp((self._now_ms() + LONGEST_LIFE_MS) // 1000, UTC)
            content["expires_at"] = ends.isoformat().replace("+00:00", "Z")
        return content

    def _post(self, sender: Agency, post: Post, arguments: dict[str, Any], *, asks_again: bool) -> None:
        """Post it. When the answer is lost, perhaps ask again with the same id until one comes: an operator would."""
        while True:
            word, document = self._ask(sender, arguments)
            self._record.heard(post, word)
            if word == YES:
                post.deliver_by = document["recipients"][0]["expires_at"]
                post.answered = Answered.YES
                return
            if word not in UNCERTAIN and post.answered is Answered.WAITING:
                post.answered, post.code = Answered.NO, word
                return
            post.answered = Answered.LOST  # it may have been posted, until an answer says that it was
            if not asks_again or (self._stopping.is_set() and not sender.runs):
                return
            threading.Event().wait(AGAIN_S)

    def _ask(self, sender: Agency, arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """A word for what came of it, and the document."""
        self._record.flies(sender.agency, 1)
        try:
            document = sender.ask("post", **arguments)
        except LostAnswerError:
            return LOST, {}
        except OperationError as error:
            return error.code, {}
        finally:
            self._record.flies(sender.agency, -1)
        refusal = document.get("error")
        return YES if refusal is None else str(refusal["code"]), document
