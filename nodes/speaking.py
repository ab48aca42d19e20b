"""The verbs by which an analyst speaks: post, update, cancel, resolve, renew, note, ack, resend. Owns what each verb
fills in for the analyst.

Delivery, state and screens are elsewhere. A verb either commits whole or changes nothing.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from exchange.alerts import (
    Completed,
    Defaults,
    DutyContact,
    InvalidAlert,
    MarkingContradiction,
    Originator,
    Reference,
    build_ack,
    build_cancel,
    build_note,
    build_renew,
    build_resolve,
    build_test,
    complete,
    diff,
    parse_input,
)
from exchange.alerts.times import ms_or_none
from exchange.envelope import padded_size
from exchange.errors import RefusalError
from keys.errors import EncodingError
from keys.ids import AgencyId, MessageId, format_uuid, parse_agency_id, parse_uuid
from keys.randomness import new_message_id
from nodes.config import NodeConfig
from nodes.errors import NodeError, OperationError, Problem
from nodes.events import Events, RecipientMoved
from nodes.gathering import Gathering
from nodes.identity import Identity
from nodes.local_api import Answer
from nodes.operators import Operators
from nodes.posting import OwnAck, Posting, Prepared, too_large_to_seal
from nodes.reading import Document, Reading, settled, timestamp, wait_exit
from nodes.store.contract import (
    Direction,
    MachineState,
    MessageRow,
    OperatorRow,
    PutMeta,
    Store,
    StoreConflictError,
)
from nodes.vault import AckBody, StoredHeadline, Vault

# Kinds that carry the full state of a case; the newest of them is what an update supersedes.
STATE_KINDS = ("alert", "update", "renew")
CLOSING_KINDS = ("cancel", "resolve")
MAX_WAIT_S = 3_600.0
# Messages of a batch that are worked on before others get a turn: about two milliseconds.
SLICE = 16
# Posts of several callers that share a commit, at most.
POSTS_TOGETHER = 64
# JSON of this size is read in the time that a turn through another thread costs.
PARSED_AT_ONCE = 16_384


class CaseNumbers:
    """Draws case ids of this agency: PREFIX/YEAR/000017. A number lost with a failed post stays a gap."""

    def __init__(self, prefix: str, last: dict[int, int]) -> None:
        self._prefix = prefix
        self._last = last

    def next(self, year: int) -> str:
        """The case id that would be drawn."""
        return f"{self._prefix}/{year}/{self._last.get(year, 0) + 1:06d}"

    def draw(self, year: int) -> tuple[str, PutMeta]:
        """The next case id and the row that remembers it."""
        case_id = self.next(year)
        self._last[year] = number = self._last.get(year, 0) + 1
        return case_id, PutMeta(f"case/{year}", number.to_bytes(8, "big"))


@dataclass(frozen=True, slots=True)
class _Case:
    """A case of this agency, as an own verb needs it."""

    case_id: str
    rows: Sequence[MessageRow]
    newest: MessageRow  # the newest message of ours that carries its state
    headline: StoredHeadline
    document: Document


@dataclass(slots=True)
class _Post:
    """One post on its way: what was asked, and what it came to so far, which is one of the last three."""

    caller: OperatorRow
    args: Document
    recipients: list[AgencyId]
    message_id: MessageId
    digest: str  # of the input and the recipients: a repeat with the same id must bring the same
    tree: Document = field(default_factory=dict)
    number: PutMeta | None = None  # of the case, if the node drew it
    completed: Completed | None = None
    prepared: Prepared | None = None
    earlier: MessageRow | None = None
    error: NodeError | None = None


@dataclass(frozen=True, slots=True)
class _Ack:
    """An acknowledgement that is valid and was not yet said."""

    completed: Completed
    body: AckBody


class Speaking:
    """Implements the verbs."""

    def __init__(
        self,
        *,
        identity: Identity,
        config: NodeConfig,
        posting: Posting,
        reading: Reading,
        store: Store,
        vault: Vault,
        operators: Operators,
        events: Events,
        cases: CaseNumbers,
        clock: Callable[[], int],
        check_writable: Callable[[str], None],
    ) -> None:
        self._identity = identity
        self._config = config
        self._posting = posting
        self._reading = reading
        self._store = store
        self._vault = vault
        self._operators = operators
        self._events = events
        self._cases = cases
        self._clock = clock
        self._check_writable = check_writable
        self._turn = asyncio.Lock()
        self._together = Gathering(self._post, POSTS_TOGETHER, at_once=2)

    # --- verbs

    async def post(self, caller: OperatorRow, args: Document) -> Answer:
        """`post`, and `post --explain`."""
        if args.get("explain"):
            return await self._explain(caller, args)
        post = await self._read_post(caller, args)
        if isinstance(post, NodeError):
            raise post
        await self._together.ask(post)
        return _raised(await self._outcome(post))

    async def post_many(self, caller: OperatorRow, batch: Sequence[Document]) -> list[Answer | NodeError]:
        """Several posts at the price of one commit, each with its own answer or error. Durable when it returns."""
        posts = [await self._read_post(caller, args) for args in batch]
        await self._post([post for post in posts if isinstance(post, _Post)])
        return [await self._outcome(post) if isinstance(post, _Post) else post for post in posts]

    async def _post(self, posts: Sequence[_Post]) -> Sequence[None]:
        """Work these posts to their end, in one commit. Nothing of it raises: each post holds what it came to."""
        earlier = await self._posting.earlier([(post.message_id, post.digest) for post in posts])
        fresh = []
        for post, found in zip(posts, earlier, strict=True):
            if found is None:
                fresh.append(post)
            elif isinstance(found, OperationError):
                post.error = found
            else:
                post.earlier = found
        # Batches take turns, and everything else that is ready goes between two slices: whoever hands over a thousand
        # alerts must not keep the couriers, or another's flash alert, from the loop. Step by step and not message by
        # message, since a step that is repeated finds its code in the processor's cache: half the time.
        async with self._turn if len(fresh) > 1 else nullcontext():
            for step in (self._complete, self._seal):
                for first in range(0, len(fresh), SLICE):
                    for post in fresh[first : first + SLICE]:
                        step(post)
                    if len(fresh) > 1:
                        await asyncio.sleep(0)
        await self._commit(fresh)
        return [None] * len(posts)

    async def _read_post(self, caller: OperatorRow, args: Document) -> _Post | NodeError:
        try:
            text = _content(args)
            recipients = self._recipients(args.get("to"))
            digest = sha256(text + b"\0" + ",".join(recipients).encode()).hexdigest()
            post = _Post(caller, args, recipients, _message_id(args), digest)
        except OperationError as error:
            return error
        try:
            post.tree = await _parsed(text)
        except OperationError as error:
            post.error = error  # its id may be that of an earlier post, which then is the answer
        return post

    def _complete(self, post: _Post) -> None:
        """What is wrong with a post is its own error and nobody else's."""
        if post.error is not None:
            return
        try:
            if not post.recipients:
                raise OperationError(
                    "usage", "no recipient is named", "name them: --to AGENCY[,AGENCY]; there is no default"
                )
            case_id = post.tree.get("case_id")
            if not case_id:
                case_id, post.number = self._cases.draw(self._year())
            post.completed = _completed(post.tree, self._defaults(post.caller, post.message_id, str(case_id)))
            self._check_writable(post.completed.headline.precedence)
        except NodeError as error:
            post.error = error

    def _seal(self, post: _Post) -> None:
        if post.error is not None or post.completed is None:
            return
        try:
            post.prepared = self._posting.prepare(
                post.completed,
                post.recipients,
                input_sha256=post.digest,
                extra_ops=() if post.number is None else (post.number,),
                audit=self._audit(post.caller, "disclosure", post.message_id, post.recipients),
            )
        except NodeError as error:
            post.error = error

    async def _commit(self, posts: Sequence[_Post]) -> None:
        """All in one commit. If an id was taken in the meantime (a lost answer, two shells at once), one by one: the
        second finds the first.
        """
        ready = [post for post in posts if post.prepared is not None]
        if not ready:
            return
        try:
            await self._posting.commit([post.prepared for post in ready if post.prepared is not None])
        except StoreConflictError as conflict:
            if len(ready) > 1:
                for post in ready:
                    await self._commit([post])
                return
            (post,) = ready
            (found,) = await self._posting.earlier([(post.message_id, post.digest)])
            post.prepared = None
            if isinstance(found, MessageRow):
                post.earlier = found
            else:
                post.error = found or conflict
        except NodeError as error:
            for post in ready:
                post.prepared, post.error = None, error

    async def _outcome(self, post: _Post) -> Answer | NodeError:
        if post.earlier is not None:
            return await self._answer(post.earlier, post.args, repeated=True)
        if post.prepared is not None:
            return await self._answer(post.prepared.row, post.args, prepared=post.prepared)
        return post.error or OperationError("internal", "this post came to nothing", "report it with the node's log")

    async def update(self, caller: OperatorRow, args: Document) -> Answer:
        """`update CASE F`: the complete new state, superseding the newest."""
        text = _content(args)
        case = await self._own_case(str(args["case"]))
        tree = await _parsed(text)
        named = tree.get("case_id")
        if named and named != case.case_id:
            raise OperationError(
                "invalid_alert",
                "the file is about another case than the command; nothing was posted",
                "name the case of the file, or take case_id out of the file",
                (Problem("/case_id", "case", f"the command is about {case.case_id}", case.case_id),),
            )
        tree["kind"] = "update"
        tree["case_id"] = case.case_id
        tree.setdefault("precedence", case.headline.precedence)
        if not tree.get("why"):
            tree["why"] = args.get("why") or "new_fact"
        return await self._follow_up(caller, args, case, tree, text)

    async def cancel(self, caller: OperatorRow, args: Document) -> Answer:
        """`cancel CASE`: action stops; nothing is erased."""
        case = await self._own_case(str(args["case"]))
        return await self._follow_up(caller, args, case, build_cancel(args.get("reason"), args.get("text")))

    async def resolve(self, caller: OperatorRow, args: Document) -> Answer:
        """`resolve CASE`: the outcome; everybody stands down."""
        case = await self._own_case(str(args["case"]))
        return await self._follow_up(caller, args, case, build_resolve(args.get("outcome"), args.get("text")))

    async def renew(self, caller: OperatorRow, args: Document) -> Answer:
        """`renew CASE --until T`."""
        case = await self._own_case(str(args["case"]))
        until, now_until = ms_or_none(args.get("until")), case.headline.expires_at
        if until is not None and now_until is not None and until < now_until:
            end = str(timestamp(now_until))
            raise OperationError(
                "invalid_alert",
                "a renewal never shortens; nothing was posted",
                "to end it earlier: tocsin update, cancel or resolve",
                (Problem("/expires_at", "renew_shortens", f"the case runs until {end} already", end),),
            )
        return await self._follow_up(caller, args, case, build_renew(args.get("until"), args.get("necessity")))

    async def note(self, caller: OperatorRow, args: Document) -> Answer:
        """`note CASE TEXT`: free text in the thread of a case, from anybody who holds it."""
        rows = await self._reading.case(str(args["case"]))
        headline = self._vault.headline(rows[-1])
        if headline is None:
            raise OperationError("wrong_state", "the content of this case was erased", "")
        about = _reference("related", rows[-1], headline)
        senders = [row.sender for row in rows if row.direction is Direction.IN]
        recipients = self._recipients(args.get("to")) or self._without(
            args, await self._case_recipients(rows, extra=senders)
        )
        tree = build_note(str(args.get("text") or ""))
        return await self._post_tree(
            caller,
            args,
            tree,
            headline,
            recipients,
            references=(about,),
            revision=headline.revision,
            document=self._newest_state(rows),
        )

    async def ack(self, caller: OperatorRow, args: Document) -> Answer:
        """`ack ID`: accept, reject or actioned; without an earlier `show` it says opened too."""
        level = str(args["level"])
        row = await self._reading.find(str(args["id"]))
        if row.direction is not Direction.IN or not row.shown:
            raise OperationError(
                "wrong_state", "only a message received can be acknowledged", "tocsin inbox lists those"
            )
        officer = self._officer(caller, args)
        said = await self._said(row)
        decided = next((body for body in reversed(said) if body.level in ("accepted", "rejected", "actioned")), None)
        same = next((body for body in said if body.level == level), None)
        if same is not None and (decided is None or level in (decided.level, "accepted")):
            return Answer(_ack_document(row, same))
        if decided is not None and not (decided.level == "accepted" and level == "actioned"):
            raise OperationError(
                "wrong_state",
                f"this message was {decided.level} at {timestamp(decided.at)} by {decided.officer or 'this agency'}",
                "a decision is corrected by a note: tocsin note CASE -",
            )
        # Judged whole before anything is said: a mistyped code must not leave a signed `opened` behind.
        decision = self._ack(row, level, args.get("cause"), args.get("text"), officer)
        if not said:
            await self._acknowledge(row, self._ack(row, "opened", None, None, officer))
        await self._acknowledge(row, decision)
        return Answer(_ack_document(row, decision.body))

    async def opened(self, caller: OperatorRow, row: MessageRow) -> None:
        """`opened`, when a person looked for the first time. A program never says it. Failing to send it does not
        keep anybody from reading.
        """
        if row.direction is not Direction.IN or not row.shown or caller.program:
            return
        if await self._said(row):
            return
        try:
            await self._acknowledge(row, self._ack(row, "opened", None, None, caller.ref))
        except OperationError as error:
            if error.code not in ("peer_not_usable", "unknown_agency", "policy_denied"):
                raise

    async def resend(self, caller: OperatorRow, args: Document) -> Answer:
        """`resend ID --to A`: the same message in a new envelope; also to an agency that has the case and was left out
        of this message (`--without`).
        """
        row = await self._reading.find(str(args["id"]))
        agency = _agency(args.get("to"))
        recipient = await self._store.recipient(row.message_id, agency)
        if row.direction is not Direction.OUT or (recipient is None and agency not in await self._holders(row)):
            raise OperationError(
                "unknown_agency", f"this message was not sent to {agency}", "tocsin track shows to whom it went"
            )
        if recipient is None:
            audit = self._audit(caller, "disclosure", row.message_id, [agency])
            await self._posting.add_recipient(row, agency, audit=audit)
        elif recipient.state in (MachineState.REFUSED, MachineState.EXPIRED):
            await self._posting.new_envelope(recipient, reseal=False)
        elif recipient.state is MachineState.STORED:
            raise OperationError(
                "wrong_state", f"{agency} already holds this message", "tocsin track shows its receipt"
            )
        return await self._answer(row, args)

    async def test(self, caller_ref: str, agency: AgencyId) -> MessageRow:
        """A sealed test message to one peer, for `doctor`."""
        message_id = new_message_id()
        defaults = self._defaults_for(caller_ref, message_id, f"{self._config.case_prefix}/{self._year()}/TEST")
        posted = await self._posting.post(_completed(build_test("line test"), defaults), [agency])
        return posted.row

    async def explain(self, caller: OperatorRow, args: Document) -> Answer:
        """The confirm screen's facts: what `post` would do, and with whom."""
        return await self.post(caller, {**args, "explain": True, "id": args.get("id") or format_uuid(new_message_id())})

    # --- parts

    async def _follow_up(
        self, caller: OperatorRow, args: Document, case: _Case, tree: Document, text: bytes | None = None
    ) -> Answer:
        added = self._recipients(args.get("to"))
        recipients = self._without(args, await self._case_recipients(case.rows, extra=added))
        if tree.get("kind") == "update":
            tree.setdefault("changed", diff(case.document, tree))
        supersedes = _reference("supersedes", case.newest, case.headline)
        return await self._post_tree(
            caller,
            args,
            tree,
            case.headline,
            recipients,
            references=(supersedes,),
            revision=case.headline.revision + 1,
            document=case.document,
            text=text,
        )

    async def _post_tree(
        self,
        caller: OperatorRow,
        args: Document,
        tree: Document,
        headline: StoredHeadline,
        recipients: Sequence[AgencyId],
        *,
        references: tuple[Reference, ...],
        revision: int,
        document: Document,
        text: bytes | None = None,
    ) -> Answer:
        message_id = _message_id(args)
        stable = text if text is not None else json.dumps(tree, sort_keys=True).encode()
        digest = sha256(stable + b"\0" + headline.case_id.encode()).hexdigest()
        post = _Post(caller, args, list(recipients), message_id, digest, tree)
        (earlier,) = await self._posting.earlier([(message_id, digest)])
        if isinstance(earlier, OperationError):
            raise earlier
        if earlier is not None:
            return await self._answer(earlier, args, repeated=True)
        if not recipients:
            raise OperationError("usage", "this case was sent to nobody", "name recipients: --to AGENCY")
        tree.setdefault("status", headline.status)
        defaults = replace(
            self._defaults(caller, message_id, headline.case_id),
            references=references,
            revision=revision,
            # What follows an alert is handled no more loosely than the alert, unless its author says otherwise.
            precedence=headline.precedence,
            handling=document.get("handling"),
            transfer_basis=document.get("transfer_basis"),
        )
        completed = _completed(tree, defaults)
        self._check_writable("flash" if completed.headline.kind in CLOSING_KINDS else completed.headline.precedence)
        post.prepared = self._posting.prepare(
            completed,
            recipients,
            input_sha256=digest,
            audit=self._audit(caller, "disclosure", message_id, recipients),
            leave_out="--without",
        )
        await self._commit([post])
        return _raised(await self._outcome(post))

    async def _own_case(self, case_id: str) -> _Case:
        rows = await self._reading.case(case_id)
        mine = []
        for row in rows:
            headline = self._vault.headline(row)
            if (
                row.direction is Direction.OUT
                and headline is not None
                and headline.kind in (*STATE_KINDS, *CLOSING_KINDS)
            ):
                mine.append((row, headline))
        if not mine:
            raise OperationError(
                "policy_denied",
                f"case {case_id} belongs to another agency",
                "only its originator moves it; tocsin note answers it",
            )
        newest, headline = mine[-1]
        if headline.kind in CLOSING_KINDS:
            raise OperationError(
                "wrong_state", f"case {case_id} is already closed ({headline.kind})", "open a new case: tocsin post"
            )
        return _Case(case_id, rows, newest, headline, self._newest_state([row for row, _ in mine]))

    def _newest_state(self, rows: Sequence[MessageRow]) -> Document:
        """The newest document of a case that carries its full state."""
        for row in reversed(rows):
            headline, content = self._vault.headline(row), self._vault.content(row)
            if headline is not None and content is not None and headline.kind in ("alert", "update"):
                return _object(content)
        return {}

    async def _case_recipients(self, rows: Sequence[MessageRow], extra: Sequence[AgencyId]) -> list[AgencyId]:
        """Everybody the case was sent to and who did not refuse it, and those added. Never silently fewer."""
        found: dict[AgencyId, None] = {}
        for row in rows:
            if row.direction is Direction.OUT:
                for recipient in await self._store.recipients(row.message_id):
                    if recipient.state is not MachineState.REFUSED:
                        found[recipient.agency] = None
        return list(dict.fromkeys([*found, *(agency for agency in extra if agency != self._identity.agency)]))

    def _without(self, args: Document, recipients: list[AgencyId]) -> list[AgencyId]:
        """Those that the caller does not leave out by name: a suspended agency must not keep a cancel from the others.
        Raises OperationError(unknown_agency) for a name that is not among them.
        """
        left_out = self._recipients(args.get("without"))
        foreign = [agency for agency in left_out if agency not in recipients]
        if foreign:
            raise OperationError(
                "unknown_agency",
                f"nothing was posted; {', '.join(foreign)} is not among the recipients",
                f"it would go to: {', '.join(recipients)}",
            )
        return [agency for agency in recipients if agency not in left_out]

    async def _holders(self, row: MessageRow) -> list[AgencyId]:
        """Agencies to which some message of this one's case was sent."""
        headline = self._vault.headline(row)
        if headline is None or not row.shown:
            return []
        return await self._case_recipients(await self._reading.case(headline.case_id), extra=())

    def _ack(self, row: MessageRow, level: str, cause: str | None, text: str | None, officer: str | None) -> _Ack:
        headline = self._vault.headline(row)
        if headline is None:
            raise OperationError("wrong_state", "the content of this message was erased", "")
        now = self._clock()
        message_id = new_message_id()
        tree = build_ack(
            message_id=format_uuid(row.message_id),
            content_sha256=headline.content_sha256,
            level=level,
            cause=cause,
            officer=officer,
            at_ms=now,
            text=text,
        )
        tree.setdefault("precedence", headline.precedence)
        tree.setdefault("status", headline.status)
        defaults = replace(
            self._defaults_for(officer or "", message_id, headline.case_id),
            references=(_reference("replies_to", row, headline),),
            revision=headline.revision,
        )
        body = AckBody(
            level=level, cause=cause, officer=officer, text=text, at=now, content_sha256=headline.content_sha256
        )
        return _Ack(_completed(tree, defaults), body)

    async def _acknowledge(self, row: MessageRow, ack: _Ack) -> None:
        own_ack = OwnAck(row.message_id, row.sender, ack.body)
        await self._posting.post(ack.completed, [row.sender], own_ack=own_ack)

    async def _said(self, row: MessageRow) -> list[AckBody]:
        acks = (await self._store.acks(row.sender, [row.message_id])).get(row.message_id, [])
        bodies = [self._vault.ack(ack) for ack in acks if ack.by == self._identity.agency]
        return [body for body in bodies if body is not None]

    def _officer(self, caller: OperatorRow, args: Document) -> str:
        named = args.get("officer")
        if caller.program and not named:
            raise OperationError(
                "not_permitted",
                f"{caller.ref} is a program: it cannot decide",
                "name the officer who did: --officer REF",
            )
        return str(named or caller.ref)

    async def _explain(self, caller: OperatorRow, args: Document) -> Answer:
        text, recipients = _content(args), self._recipients(args.get("to"))
        tree = await _parsed(text)
        case_id = str(tree.get("case_id") or self._cases.next(self._year()))
        completed = _completed(tree, self._defaults(caller, _message_id(args), case_id))
        headline = completed.headline
        decisions = self._posting.decisions(completed, recipients, self._clock())
        try:
            size = padded_size(completed.content)
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
            "content_sha256": sha256(completed.content).hexdigest(),
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
            "defaulted": list(completed.defaulted),
            "expires_at": timestamp(headline.expires_at_ms),
        }
        return Answer(document)

    async def _answer(
        self, row: MessageRow, args: Document, *, repeated: bool = False, prepared: Prepared | None = None
    ) -> Answer:
        wait_s = min(float(args.get("wait_s") or 0), MAX_WAIT_S)
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

    def _year(self) -> int:
        return int(str(timestamp(self._clock()))[:4])

    def _recipients(self, given: Any) -> list[AgencyId]:
        names = given if isinstance(given, list) else str(given or "").split(",")
        return list(dict.fromkeys(_agency(name) for name in names if str(name).strip()))

    def _defaults(self, caller: OperatorRow, message_id: MessageId, case_id: str) -> Defaults:
        return self._defaults_for(caller.ref, message_id, case_id)

    def _defaults_for(self, officer: str, message_id: MessageId, case_id: str) -> Defaults:
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

    def _audit(
        self, caller: OperatorRow, operation: str, message_id: MessageId, to: Sequence[AgencyId]
    ) -> tuple[bytes, ...]:
        body = {
            "operation": operation,
            "who": caller.ref,
            "at": self._clock(),
            "message_id": format_uuid(message_id),
            "to": list(to),
        }
        return (self._vault.audit_entry(body),)


def _raised(outcome: Answer | NodeError) -> Answer:
    if isinstance(outcome, NodeError):
        raise outcome
    return outcome


def _content(args: Document) -> bytes:
    if args.get("content_base64") is not None:
        return base64.b64decode(str(args["content_base64"]))
    return str(args.get("content") or "").encode()


def _message_id(args: Document) -> MessageId:
    given = args.get("id")
    if not given:
        return new_message_id()
    try:
        return MessageId(parse_uuid(str(given)))
    except EncodingError as error:
        raise OperationError(
            "usage", f"{given!r} is no message id", "a UUID, for example 0193a5b2-7c1e-4d3a-9f00-1234567890ab"
        ) from error


def _object(content: bytes) -> Document:
    document = json.loads(content)
    return document if isinstance(document, dict) else {}


def _agency(name: Any) -> AgencyId:
    try:
        return parse_agency_id(str(name or "").strip().lower())
    except EncodingError as error:
        raise OperationError(
            "unknown_agency", f"{name!r} is no agency id", "for example bka.de; tocsin peer list shows them"
        ) from error


async def _parsed(text: bytes) -> Document:
    try:
        if len(text) <= PARSED_AT_ONCE and text.lstrip().startswith(b"{"):
            return parse_input(text)
        return await asyncio.to_thread(parse_input, text)  # 256 KiB of YAML take seconds
    except InvalidAlert as error:
        raise _invalid(error) from error


def _completed(tree: Document, defaults: Defaults) -> Completed:
    try:
        return complete(tree, defaults)
    except InvalidAlert as error:
        raise _invalid(error) from error


def _invalid(error: InvalidAlert) -> OperationError:
    problems = tuple(Problem(p.path, p.rule, p.message, p.example) for p in error.problems)
    if isinstance(error, MarkingContradiction):
        return OperationError(
            "marking_contradiction",
            "the handling markings contradict each other; nothing was posted",
            "mend the fields below",
            problems,
        )
    code = "too_large" if any(problem.rule == "too_large" for problem in problems) else "invalid_alert"
    number = len(problems)
    return OperationError(
        code,
        f"the message has {number} problem{'s' if number != 1 else ''}; nothing was posted",
        "mend the fields below and post again",
        problems,
    )


def _reference(role: str, row: MessageRow, headline: StoredHeadline) -> Reference:
    return Reference(
        role=role,
        message_id=format_uuid(row.message_id),
        originator=row.sender,
        sent_at_ms=headline.sent_at,
        sha256=headline.content_sha256,
    )


def _ack_document(row: MessageRow, body: AckBody) -> Document:
    return {
        "v": 1,
        "message_id": format_uuid(row.message_id),
        "level": body.level,
        "cause": body.cause,
        "at": timestamp(body.at),
        "officer": body.officer,
    }
