"""From what a caller hands in to a durable message and its answer. Owns the steps every posting verb goes through; what
each verb fills in for the analyst is `speaking` and `following`.

Many messages go through together: each step is done for all of them, and all share one commit.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

from exchange.alerts import Completed, Defaults, DutyContact, InvalidAlert, Originator, parse_input
from exchange.envelope import padded_size
from exchange.errors import RefusalError
from keys.errors import EncodingError
from keys.ids import AgencyId, MessageId, format_uuid, parse_agency_id, parse_uuid
from keys.randomness import new_message_id
from nodes.bars import too_large_to_seal
from nodes.config import NodeConfig
from nodes.errors import NodeError, OperationError, Problem
from nodes.events import Events, RecipientMoved
from nodes.gathering import Gathering
from nodes.identity import Identity
from nodes.local_api import Answer
from nodes.metrics import Metrics
from nodes.posting import Posting, Prepared
from nodes.preparing import Preparing, is_flash
from nodes.reading import Document, Reading, settled, timestamp, wait_exit
from nodes.store.contract import MessageRow, OperatorRow, PutMeta, StoreConflictError
from nodes.submission import Submission, completed, invalid
from nodes.vault import Vault
from nodes.worker import Worker

MAX_WAIT_S = 3_600.0
CASES_OF_A_DAY = 2_500  # 366 days of them still have six digits
# Messages of several callers that share a commit, at most.
TOGETHER = 64
LOOKED_AHEAD = 64  # numbers, to show one that is free; the draw itself goes on until it finds one
# JSON of this size is read in the time that a turn through another thread costs.
PARSED_AT_ONCE = 16_384


class CaseNumbers:
    """Draws case ids of this agency: PREFIX/YEAR/000017. A number lost with a failed post stays a gap."""

    def __init__(self, prefix: str, last: dict[int, int]) -> None:
        self.prefix = prefix
        self._last = last

    def ahead(self, year: int, count: int) -> list[str]:
        """The next case ids, in order."""
        first = self._last.get(year, 0) + 1
        return [f"{self.prefix}/{year}/{number:06d}" for number in range(first, first + count)]

    def draw(self, year: int) -> str:
        """The next case id."""
        (case_id,) = self.ahead(year, 1)
        self._last[year] = self._last.get(year, 0) + 1
        return case_id

    def leave_out(self, year: int, day: int) -> None:
        """Draw above what lost history may have drawn: an old copy must not put a second child under a number that its
        peers know. `day` of the year, from 1, tells lives that begin from one copy apart.
        """
        last = self._last.get(year, 0)
        self._last[year] = max(day, last // CASES_OF_A_DAY + 1) * CASES_OF_A_DAY

    def row(self, year: int) -> PutMeta:
        """What remembers the highest number drawn. Made when a commit is handed in and not when a number is drawn: of
        two posts that overtake each other the later commit must not write the lower one.
        """
        return PutMeta(f"case/{year}", self._last[year].to_bytes(8, "big"))


class Submitting:
    """Takes submissions from text to their answers."""

    def __init__(
        self,
        *,
        identity: Identity,
        config: NodeConfig,
        posting: Posting,
        reading: Reading,
        vault: Vault,
        events: Events,
        cases: CaseNumbers,
        clock: Callable[[], int],
        check_writable: Callable[[str], None],
        metrics: Metrics,
        worker: Worker | None = None,
    ) -> None:
        self._identity = identity
        self._config = config
        self._posting = posting
        self._reading = reading
        self._vault = vault
        self._events = events
        self._cases = cases
        self._clock = clock
        self.check_writable = check_writable
        self._metrics = metrics
        self._preparing = Preparing(
            posting=posting,
            worker=worker,
            defaults=self.defaults,
            audit=self.audit,
            clock=clock,
            check_writable=check_writable,
        )
        self._opening: set[str] = set()  # case ids of alerts on their way
        self._together = Gathering(self._post, TOGETHER, at_once=2)
        self._flash_together = Gathering(self._post, TOGETHER, at_once=2)

    # --- steps

    async def read(self, caller: OperatorRow, args: Document) -> Submission:
        """What the arguments ask for. Raises OperationError for what names no message.

        A text that cannot be read is the submission's own error: its id may be that of an earlier post.
        """
        text = content_of(args)
        left_out = agencies_of(args.get("without"))
        recipients = [agency for agency in agencies_of(args.get("to")) if agency not in left_out]
        digest = sha256(text + b"\0" + ",".join(recipients).encode()).hexdigest()
        submission = Submission(caller, args, recipients, message_id_of(args), digest, text)
        try:
            submission.tree = await parsed(text)
        except OperationError as error:
            submission.error = error
        return submission

    async def post(self, submission: Submission) -> None:
        """Take one submission to its end, together with others that come meanwhile."""
        # What is flash waits for no batch that is at the worker.
        await (self._flash_together if is_flash(submission) else self._together).ask(submission)

    async def post_many(self, submissions: Sequence[Submission]) -> None:
        """Take several to their end, in one commit, and after those that were handed in before, but for flash."""
        await self._post(submissions, in_order=True)

    async def _post(self, submissions: Sequence[Submission], *, in_order: bool = False) -> Sequence[None]:
        fresh = await self._fresh(submissions)
        opening: set[str] = set()
        try:
            await self._open_cases(fresh, opening)
            await self._preparing.prepare(fresh, in_order=in_order)
            await self.commit(fresh)
        finally:
            self._opening -= opening
        return [None] * len(submissions)

    async def _open_cases(self, submissions: Sequence[Submission], opening: set[str]) -> None:
        """A case id for each, that no other alert has or is about to get: those in `opening` are ours until the end."""
        await self._refuse_second_alerts(submissions, opening)
        await self._draw_numbers(submissions, opening)

    async def _fresh(self, submissions: Sequence[Submission]) -> list[Submission]:
        """Those whose id is new; each other one gets its earlier message, or its error."""
        earlier = await self._posting.earlier([(one.message_id, one.digest) for one in submissions])
        fresh = []
        for submission, found in zip(submissions, earlier, strict=True):
            if found is None:
                fresh.append(submission)
            elif isinstance(found, OperationError):
                submission.error = found
            else:
                submission.earlier = found
        return fresh

    async def _refuse_second_alerts(self, submissions: Sequence[Submission], opening: set[str]) -> None:
        """One case, one alert: a cancel follows the newest, and would leave the other standing at its recipients. Nor
        another agency's: its case is not ours to move.
        """
        for submission in submissions:
            case_id = submission.tree.get("case_id")
            if submission.error is not None or submission.tree.get("kind") != "alert" or not isinstance(case_id, str):
                continue
            whose: AgencyId | None = self._identity.agency
            if case_id not in self._opening:
                self._opening.add(case_id)
                opening.add(case_id)
                whose = await self._reading.opened_by(case_id)
            if whose is not None:
                ours = whose == self._identity.agency
                submission.error = _case_is_taken(case_id, None if ours else whose, await self._free_case())

    async def _draw_numbers(self, submissions: Sequence[Submission], opening: set[str]) -> None:
        """A case id for each alert that names none. One that somebody's message has already is passed over: a peer can
        write any case id, and its words about that case would stand beside ours.
        """
        waiting = [one for one in submissions if one.error is None and not one.tree.get("case_id")]
        while waiting:
            for submission in waiting:
                submission.year = self._year()
                submission.case_id = self._cases.draw(submission.year)
            drawn = {submission.case_id for submission in waiting}
            known = await self._reading.known_cases(list(drawn)) | (drawn & self._opening)
            self._opening |= drawn - known
            opening |= drawn - known
            waiting = [submission for submission in waiting if submission.case_id in known]

    async def _free_case(self) -> str:
        """The case id that would be drawn now."""
        ahead = self._cases.ahead(self._year(), LOOKED_AHEAD)
        known = await self._reading.known_cases(ahead) | self._opening
        return next((case_id for case_id in ahead if case_id not in known), ahead[-1])

    async def is_repeated(self, submission: Submission) -> bool:
        """True if its id was posted before with the same input. Raises OperationError(id_reused)."""
        fresh = await self._fresh([submission])
        if submission.error is not None:
            raise submission.error
        return not fresh

    def seal(self, submission: Submission, leave_out: str) -> None:
        """Seal what is complete. Raises OperationError when one recipient may not have it; see Posting.prepare."""
        submission.leave_out = leave_out
        self._preparing.seal(submission)

    async def commit(self, submissions: Sequence[Submission]) -> None:
        """All that are sealed, in one commit. If an id was taken in the meantime (a lost answer, two shells at once),
        one by one: the second finds the first.
        """
        await self._preparing.look_again(submissions)
        ready = [one for one in submissions if one.prepared is not None]
        if not ready:
            return
        try:
            drawn = [self._cases.row(year) for year in sorted({one.year for one in ready if one.year is not None})]
            await self._posting.commit([one.prepared for one in ready if one.prepared is not None], also=drawn)
        except StoreConflictError as conflict:
            if len(ready) > 1:
                for submission in ready:
                    await self.commit([submission])
                return
            (submission,) = ready
            submission.prepared = None
            await self._fresh([submission])
            if submission.earlier is None and submission.error is None:
                submission.error = conflict
        except NodeError as error:
            for submission in ready:
                submission.prepared, submission.error = None, error

    # --- answers

    async def outcome(self, submission: Submission) -> Answer:
        """The answer of a submission that has come to its end. Raises its error."""
        self._metrics.posts.add(_end_of(submission))
        if submission.earlier is not None:
            return await self.answer(submission.earlier, submission.args, repeated=True)
        if submission.prepared is not None:
            return await self.answer(submission.prepared.row, submission.args, prepared=submission.prepared)
        raise submission.error or OperationError(
            "internal", "this post came to nothing", "report it with the node's log"
        )

    async def answer(
        self, row: MessageRow, args: Document, *, repeated: bool = False, prepared: Prepared | None = None
    ) -> Answer:
        """P of a message, at once or when every recipient has it (`wait_s`)."""
        wait_s = wait_of(args)
        if wait_s <= 0:
            if prepared is not None:  # what was just written need not be read
                return Answer(self._reading.posted(row, prepared.headline, prepared.recipients))
            return Answer(await self._reading.message(row, repeated=repeated))
        with self._events.listen() as news:
            try:
                async with asyncio.timeout(wait_s):
                    document = await self._reading.message(row, repeated=repeated)
                    while not settled(document["recipients"]):
                        event = await news.get()
                        if isinstance(event, RecipientMoved) and event.message_id == row.message_id:
                            document = await self._reading.message(row, repeated=repeated)
            except TimeoutError:
                document = await self._reading.message(row, repeated=repeated)
        return Answer(document, wait_exit(document["recipients"]))

    async def explain_new(self, submission: Submission) -> Answer:
        """What posting a message that opens a case, or stands alone, would do. Raises OperationError."""
        if submission.error is not None:
            raise submission.error
        case_id = str(submission.tree.get("case_id") or await self._free_case())
        defaults = self.defaults(submission.caller.ref, submission.message_id, case_id)
        return self.explain(completed(submission.tree, defaults), submission.recipients)

    def explain(self, message: Completed, recipients: Sequence[AgencyId]) -> Answer:
        """What posting this would do, and with whom. Raises OperationError(too_large)."""
        headline = message.headline
        decisions = self._posting.decisions(message, recipients, self._clock())
        try:
            size = padded_size(message.content)
        except RefusalError as error:
            raise too_large_to_seal() from error
        document: Document = {
            "v": 1,
            "message_id": None,
            "case_id": headline.case_id,
            "kind": headline.kind,
            "revision": headline.revision,
            "precedence": headline.precedence,
            "posted_at": None,
            "content_sha256": sha256(message.content).hexdigest(),
            "repeated": False,
            "recipients": [],
            "would_send": [
                {
                    "agency": decision.agency,
                    "allowed": decision.allowed,
                    "reason": None if decision.bar is None else decision.bar.value,
                    "via": [],
                    "view": "full",
                    "size": size,
                }
                for decision in decisions
            ],
            "defaulted": list(message.defaulted),
            "expires_at": timestamp(headline.expires_at_ms),
        }
        return Answer(document)

    # --- what the node knows

    def defaults(self, officer: str, message_id: MessageId, case_id: str) -> Defaults:
        """What the node fills into a message of this officer."""
        config = self._config
        return Defaults(
            originator=Originator(
                agency_id=self._identity.agency,
                country=config.country,
                agency_name=config.name,
                unit=config.unit,
                officer_ref=officer or "node",
                duty_contact=DutyContact(
                    phone=config.contact, secure_address=None, languages=tuple(config.languages), available_24x7=True
                ),
            ),
            languages=tuple(config.languages),
            legal_basis=tuple(config.legal_basis),
            now_ms=self._clock(),
            message_id=format_uuid(message_id),
            case_id=case_id,
        )

    def audit(
        self, caller: OperatorRow, operation: str, message_id: MessageId, to: Sequence[AgencyId]
    ) -> tuple[bytes, ...]:
        """The entry of the audit log: who did what with a message, towards whom."""
        body = {
            "operation": operation,
            "who": caller.ref,
            "at": self._clock(),
            "message_id": format_uuid(message_id),
            "to": list(to),
        }
        return (self._vault.audit_entry(body),)

    def test_case(self) -> str:
        """The case that line tests stand in."""
        return f"{self._cases.prefix}/{self._year()}/TEST"

    def _year(self) -> int:
        return int(str(timestamp(self._clock()))[:4])


def _end_of(submission: Submission) -> str:
    if submission.earlier is not None:
        return "repeated"
    if submission.prepared is not None:
        return "posted"
    return submission.error.code if isinstance(submission.error, OperationError) else "internal"


def content_of(args: Document) -> bytes:
    """The bytes an analyst handed in; empty when there are none. Raises OperationError(usage)."""
    if args.get("content_base64") is not None:
        try:
            return base64.b64decode(str(args["content_base64"]))
        except ValueError as error:
            raise OperationError("usage", "content_base64 is no base64", "or give the text as content") from error
    return str(args.get("content") or "").encode()


def wait_of(args: Document) -> float:
    """How long the caller waits for recipients, in seconds. What is no number is no wait: the post itself stands."""
    given = args.get("wait_s")
    return float(min(given, MAX_WAIT_S)) if isinstance(given, int | float) else 0.0


def message_id_of(args: Document) -> MessageId:
    """The id the caller made, or a fresh one. Raises OperationError(usage)."""
    given = args.get("id")
    if not given:
        return new_message_id()
    try:
        return MessageId(parse_uuid(str(given)))
    except EncodingError as error:
        raise OperationError(
            "usage", f"{given!r} is no message id", "a UUID, for example 0193a5b2-7c1e-4d3a-9f00-1234567890ab"
        ) from error


def agencies_of(given: Any) -> list[AgencyId]:
    """Agencies as a list or separated by commas, each once. Raises OperationError(unknown_agency)."""
    names = given if isinstance(given, list) else str(given or "").split(",")
    return list(dict.fromkeys(agency_of(name) for name in names if str(name).strip()))


def agency_of(name: Any) -> AgencyId:
    """One agency. Raises OperationError(unknown_agency)."""
    try:
        return parse_agency_id(str(name or "").strip().lower())
    except EncodingError as error:
        raise OperationError(
            "unknown_agency", f"{name!r} is no agency id", "for example bka.de; tocsin peer list shows them"
        ) from error


async def parsed(text: bytes) -> Document:
    """The tree of an analyst's text. Raises OperationError."""
    try:
        if len(text) <= PARSED_AT_ONCE and text.lstrip().startswith(b"{"):
            return parse_input(text)
        return await asyncio.to_thread(parse_input, text)  # 256 KiB of YAML take seconds
    except InvalidAlert as error:
        raise invalid(error) from error


def _case_is_taken(case_id: str, whose: AgencyId | None, free: str) -> OperationError:
    what = f"what is new about it: tocsin update {case_id} F"
    if whose is not None:
        what = f"to tell them: tocsin note {case_id} -"
    return OperationError(
        "invalid_alert",
        f"case {case_id} has an alert of {whose or 'ours'} already; nothing was posted",
        f"{what}. Another case: take case_id out, the node gives a number",
        (Problem("/case_id", "case_taken", "one case has one alert", free),),
    )
