"""From submissions to messages that can be committed: completed, judged and sealed, in the loop or in the worker. Owns
where that is done and what is looked at again; the steps themselves are `exchange.compose` and `posting`.

A large batch is worth the way to another process: sealing and judging hold the interpreter, and with one process a
stream had one core. What is few, and what has a flash message in it, is done here at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Protocol

from exchange.alerts import Defaults, InvalidAlert
from exchange.compose import Composed, Given
from keys.ids import AgencyId, MessageId
from nodes.bars import too_large_to_seal
from nodes.errors import NodeError, OperationError
from nodes.handover import Outcome, Task, TooLarge, read_outcomes, write_tasks
from nodes.posting import Posting
from nodes.store.contract import OperatorRow
from nodes.submission import Submission, completed, invalid
from nodes.worker import Worker

# Messages of a batch that are worked on before others get a turn: about two milliseconds.
SLICE = 16
FEWEST = 32  # that are worth the way
TOGETHER = 32  # go over in one piece: the node goes on with these while the worker has the next
TOGETHER_BYTES = 1_048_576
HEAVIEST_BYTES = 4 * 1_048_576  # of what one message comes to: the worker answers within seconds, whatever is asked


class Auditing(Protocol):
    """Makes the entries of the audit log for one message."""

    def __call__(
        self, caller: OperatorRow, operation: str, message_id: MessageId, to: Sequence[AgencyId]
    ) -> tuple[bytes, ...]:
        """See Submitting.audit."""
        ...


class Preparing:
    """Prepares submissions. `worker` is None where a second process has no core to run on."""

    def __init__(
        self,
        *,
        posting: Posting,
        worker: Worker | None,
        defaults: Callable[[str, MessageId, str], Defaults],
        audit: Auditing,
        clock: Callable[[], int],
        check_writable: Callable[[str], None],
    ) -> None:
        self._clock = clock
        self._posting = posting
        self._worker = worker
        self._defaults = defaults
        self._audit = audit
        self._check_writable = check_writable
        self._turn = asyncio.Lock()
        self._taking = asyncio.Lock()
        self._there_now = 0  # batches at the worker

    async def prepare(self, submissions: Sequence[Submission], *, in_order: bool = False) -> None:
        """Each gets its `prepared` or its `error`. `in_order`: not before those prepared earlier, but for flash."""
        flash = any(is_flash(one) for one in submissions)
        behind = in_order and self._there_now > 0
        worth = (len(submissions) >= FEWEST or behind) and not flash
        if worth and self._worker is not None and self._worker.ready():
            await self._there(submissions, self._worker)
            submissions = [one for one in submissions if one.prepared is None and one.error is None]
        await self._here(submissions, at_once=flash)

    async def look_again(self, submissions: Sequence[Submission]) -> None:
        """Before a commit: prepare anew whatever no longer stands. Nothing else runs between the last look and the
        caller's next step.

        A peer that was suspended meanwhile, a key it replaced, a log generation that ended: what was decided before
        must not be posted after, wherever it was decided.
        """
        while True:
            stale = [
                one for one in submissions if one.prepared is not None and not self._posting.stands(one.prepared.given)
            ]
            if not stale:
                return
            for submission in stale[:SLICE]:
                submission.prepared = None
                if submission.completed is None:
                    self._complete(submission)
                self._seal(submission)
            await asyncio.sleep(0)

    def seal(self, submission: Submission) -> None:
        """Seal what is complete. Raises OperationError when one recipient may not have it; see Posting.prepare."""
        if submission.completed is None:
            raise RuntimeError("a submission is completed before it is sealed")
        submission.prepared = self._posting.prepare(
            submission.completed,
            submission.recipients,
            input_sha256=submission.digest,
            audit=self._audit_of(submission),
            leave_out=submission.leave_out,
        )

    # --- here

    async def _here(self, submissions: Sequence[Submission], *, at_once: bool) -> None:
        # Batches take turns, and everything else that is ready goes between two slices: whoever hands over a thousand
        # alerts must not keep the couriers, or another's flash alert, from the loop. Step by step and not message by
        # message, since a step that is repeated finds its code in the processor's cache: half the time.
        several = len(submissions) > 1
        async with self._turn if several and not at_once else nullcontext():
            for step in (self._complete, self._seal):
                for first in range(0, len(submissions), SLICE):
                    for submission in submissions[first : first + SLICE]:
                        step(submission)
                    if several:
                        await asyncio.sleep(0)

    def _complete(self, submission: Submission) -> None:
        """What is wrong with a submission is its own error and nobody else's."""
        if submission.error is not None:
            return
        try:
            if not submission.recipients:
                raise OperationError(
                    "usage", "no recipient is named", "name them: --to AGENCY[,AGENCY]; there is no default"
                )
            submission.completed = completed(submission.tree, self._defaults_of(submission))
            self._check_writable(submission.completed.headline.precedence)
        except NodeError as error:
            submission.error = error

    def _seal(self, submission: Submission) -> None:
        if submission.error is not None or submission.completed is None:
            return
        try:
            self.seal(submission)
        except NodeError as error:
            submission.error = error

    # --- there

    async def _there(self, submissions: Sequence[Submission], worker: Worker) -> None:
        """Each that the worker can judge gets its `prepared` or its `error`."""
        asked = []
        self._there_now += 1
        try:
            async with self._turn:
                for part in _parts(submissions):
                    tasks = self._tasks(part)
                    question = write_tasks(tasks)
                    if question is not None:
                        asked.append((part, tasks, worker.ask(question, _reader(tasks))))
                    await asyncio.sleep(0)
            async with self._taking:  # the lock is fair: batches leave in the order in which they came
                for part, tasks, answer in asked:
                    outcomes = await answer
                    for submission, task, outcome in zip(part, tasks, outcomes or [None] * len(part), strict=True):
                        self._take(submission, task.given, outcome)
        finally:
            self._there_now -= 1

    def _tasks(self, part: Sequence[Submission]) -> list[Task]:
        tasks = []
        now = self._clock()  # one for all of them: nothing of what is known of a recipient differs between two
        for submission in part:
            defaults = replace(self._defaults_of(submission), now_ms=now)
            given = self._posting.given(submission.recipients, now)
            numbers = tuple(
                None if one.key is None else self._posting.draw_number(given, index)
                for index, one in enumerate(given.recipients)
            )
            tasks.append(Task(submission.tree, defaults, given, numbers))
        return tasks

    def _take(self, submission: Submission, given: Given, outcome: Outcome) -> None:
        """What it came to there. What nobody knows, or what no longer stands, is left for the loop."""
        if outcome is None or not self._posting.stands(given):
            return
        try:
            match outcome:
                case InvalidAlert():
                    raise invalid(outcome)
                case TooLarge():
                    self._check_writable(outcome.precedence)
                    raise too_large_to_seal()
                case Composed():
                    self._check_writable(outcome.headline.precedence)
                    submission.prepared = self._posting.prepared(
                        outcome,
                        given,
                        input_sha256=submission.digest,
                        audit=self._audit_of(submission),
                        leave_out=submission.leave_out,
                    )
        except NodeError as error:
            submission.error = error

    # --- both

    def _defaults_of(self, submission: Submission) -> Defaults:
        if not submission.case_id:
            submission.case_id = str(submission.tree["case_id"])
        return self._defaults(submission.caller.ref, submission.message_id, submission.case_id)

    def _audit_of(self, submission: Submission) -> tuple[bytes, ...]:
        return self._audit(submission.caller, "disclosure", submission.message_id, submission.recipients)


def is_flash(submission: Submission) -> bool:
    """Whether everything else makes way for it."""
    return submission.tree.get("precedence") == "flash"


def _reader(tasks: Sequence[Task]) -> Callable[[bytes], list[Outcome]]:
    return lambda answer: read_outcomes(answer, tasks)


def _parts(submissions: Sequence[Submission]) -> Iterator[list[Submission]]:
    """Those that the worker can judge, in pieces whose answers come soon."""
    part: list[Submission] = []
    size = 0
    for submission in submissions:
        weight = len(submission.text) * len(submission.recipients)
        if submission.error is not None or not submission.recipients or weight > HEAVIEST_BYTES:
            continue
        if part and (len(part) == TOGETHER or size + weight > TOGETHER_BYTES):
            yield part
            part, size = [], 0
        part.append(submission)
        size += weight
    if part:
        yield part
