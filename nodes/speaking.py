"""The verbs by which an operator speaks: post, ack, resend, line test. Owns what each fills in for the operator;
those that follow a case are `following`.

Delivery, state and screens are elsewhere. A verb either commits whole or changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from exchange.alerts import Completed, build_ack, build_test
from keys.ids import AgencyId, format_uuid
from keys.randomness import new_message_id
from nodes.errors import NodeError, OperationError
from nodes.following import FOLLOWING_KINDS, Following, reference
from nodes.identity import Identity
from nodes.local_api import Answer
from nodes.posting import OwnAck, Posting
from nodes.reading import Document, Reading, timestamp
from nodes.store.contract import Direction, MachineState, MessageRow, OperatorRow, Store
from nodes.submission import Submission, completed
from nodes.submitting import Submitting, agency_of
from nodes.vault import AckBody, Vault


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
        submitting: Submitting,
        following: Following,
        posting: Posting,
        reading: Reading,
        store: Store,
        vault: Vault,
        clock: Callable[[], int],
    ) -> None:
        self._identity = identity
        self._submitting = submitting
        self._following = following
        self._posting = posting
        self._reading = reading
        self._store = store
        self._vault = vault
        self._clock = clock

    # --- verbs

    async def post(self, caller: OperatorRow, args: Document) -> Answer:
        """`post`, and `post --explain`. A file of a kind that follows a case is what its verb is."""
        submission = await self._submitting.read(caller, args)
        if _follows(submission):
            return await self._following.from_file(submission)
        if args.get("explain"):
            return await self._submitting.explain_new(submission)
        await self._submitting.post(submission)
        return await self._submitting.outcome(submission)

    async def post_many(self, caller: OperatorRow, batch: Sequence[Document]) -> list[Answer | NodeError]:
        """Several posts at the price of one commit, each with its own answer or error. Durable when it returns."""
        read = [await self._read(caller, args) for args in batch]
        new = [one for one in read if isinstance(one, Submission) and not _follows(one)]
        await self._submitting.post_many(new)
        return [one if isinstance(one, NodeError) else await self._outcome(one) for one in read]

    async def _read(self, caller: OperatorRow, args: Document) -> Submission | NodeError:
        try:
            return await self._submitting.read(caller, args)
        except NodeError as error:
            return error

    async def _outcome(self, submission: Submission) -> Answer | NodeError:
        try:
            if _follows(submission):
                return await self._following.from_file(submission)
            return await self._submitting.outcome(submission)
        except NodeError as error:
            return error

    async def ack(self, caller: OperatorRow, args: Document) -> Answer:
        """`ack ID`: accept, reject or actioned; without an earlier `show` it says opened too."""
        level = str(args["level"])
        row = await self._reading.find(str(args["id"]))
        if row.direction is not Direction.IN or not row.shown:
            raise OperationError(
                "wrong_state", "only a message received can be acknowledged", "tocsin inbox lists those"
            )
        officer = self._officer(caller, args)
        headline = self._vault.headline(row)
        case_id = None if headline is None else headline.case_id
        said = await self._said(row)
        decided = next((body for body in reversed(said) if body.level in ("accepted", "rejected", "actioned")), None)
        same = next((body for body in said if body.level == level), None)
        if same is not None and (decided is None or level in (decided.level, "accepted")):
            return Answer(_ack_document(row, case_id, same))
        if decided is not None and not (decided.level == "accepted" and level == "actioned"):
            raise OperationError(
                "wrong_state",
                f"this message was {decided.level} at {timestamp(decided.at)} by {decided.officer or 'this agency'}",
                f"a decision is corrected by a note: tocsin note {case_id} -" if case_id else "",
            )
        if level == "accepted":
            await self._check_stands(row)
        # Judged whole before anything is said: a mistyped code must not leave a signed `opened` behind.
        opened = None if said else self._ack(row, "opened", None, None, officer)  # dated before the decision
        decision = self._ack(row, level, args.get("cause"), args.get("text"), officer)
        if opened is not None:
            await self._acknowledge(row, opened)
        await self._acknowledge(row, decision)
        return Answer(_ack_document(row, case_id, decision.body))

    async def _check_stands(self, row: MessageRow) -> None:
        """To accept is to promise action on what was read: never on what its originator replaced or called off. What
        was done before that was known may still be said (`actioned`), and anything be rejected.
        """
        newer = await self._reading.superseded_by(row)
        if newer is None:
            return
        row_id, kind = newer
        what = {"cancel": "its case was cancelled: take no action", "resolve": "its case was resolved"}
        raise OperationError(
            "wrong_state",
            f"this message was superseded by {row_id}: {what.get(kind, 'what is asked may have changed')}",
            f"read that first: tocsin show {row_id}",
        )

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
        agency = agency_of(args.get("to"))
        recipient = await self._store.recipient(row.message_id, agency)
        if row.direction is not Direction.OUT or (recipient is None and agency not in await self._holders(row)):
            raise OperationError(
                "unknown_agency", f"this message was not sent to {agency}", "tocsin track shows to whom it went"
            )
        if recipient is None:
            audit = self._submitting.audit(caller, "disclosure", row.message_id, [agency])
            await self._posting.add_recipient(row, agency, audit=audit)
        elif recipient.state in (MachineState.REFUSED, MachineState.EXPIRED):
            self._posting.require_peer(agency)
            await self._posting.new_envelope(recipient, reseal=False)
        elif recipient.state is MachineState.STORED:
            raise OperationError(
                "wrong_state",
                f"{agency} already holds this message",
                f"its receipt: tocsin track {format_uuid(row.message_id)}",
            )
        else:
            self._posting.require_peer(agency)
        queued = recipient is not None and recipient.state is MachineState.QUEUED
        return await self._submitting.answer(row, args, repeated=queued)  # what is queued goes out as it is

    async def test(self, caller_ref: str, agency: AgencyId) -> MessageRow:
        """A sealed test message to one peer, for `doctor`."""
        defaults = self._submitting.defaults(caller_ref, new_message_id(), self._submitting.test_case())
        posted = await self._posting.post(completed(build_test("line test"), defaults), [agency])
        return posted.row

    # --- parts

    async def _holders(self, row: MessageRow) -> list[AgencyId]:
        """Agencies to which some message of this one's case was sent."""
        headline = self._vault.headline(row)
        if headline is None or not row.shown:
            return []
        return await self._following.holders(await self._reading.case(headline.case_id))

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
            self._submitting.defaults(officer or "", message_id, headline.case_id),
            references=(reference("replies_to", row, headline),),
            revision=headline.revision,
        )
        body = AckBody(
            level=level, cause=cause, officer=officer, text=text, at=now, content_sha256=headline.content_sha256
        )
        return _Ack(completed(tree, defaults), body)

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


def _follows(submission: Submission) -> bool:
    return submission.error is None and submission.tree.get("kind") in FOLLOWING_KINDS


def _ack_document(row: MessageRow, case_id: str | None, body: AckBody) -> Document:
    return {
        "v": 1,
        "message_id": format_uuid(row.message_id),
        "case_id": case_id,  # nobody knows it any more once the content is erased
        "level": body.level,
        "cause": body.cause,
        "at": timestamp(body.at),
        "officer": body.officer,
    }
