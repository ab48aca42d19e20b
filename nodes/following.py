"""The verbs that follow an alert: update, cancel, resolve, renew, note. Owns what each fills in from the case it is
about: references, revision, recipients, handling.

A verb takes its words from options, from a file in the full form, or both. Only the originator moves a case; a note may
come from anybody who holds it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from exchange.alerts import (
    Completed,
    Reference,
    build_cancel,
    build_note,
    build_renew,
    build_resolve,
    diff,
    handling_of_case,
    new_template,
    parse_input,
)
from exchange.alerts.times import ms_or_none
from keys.ids import AgencyId, format_uuid
from nodes.errors import OperationError, Problem
from nodes.identity import Identity
from nodes.local_api import Answer
from nodes.reading import Document, Reading, timestamp
from nodes.store.contract import Direction, MachineState, MessageRow, OperatorRow, Store
from nodes.submission import Submission, completed
from nodes.submitting import Submitting, agencies_of, content_of, message_id_of, parsed
from nodes.vault import StoredHeadline, Vault

# Kinds that carry the state of a case or move its end; the newest of them is what the next one supersedes.
STATE_KINDS = ("alert", "update", "renew")
CLOSING_KINDS = ("cancel", "resolve")
FOLLOWING_KINDS = ("update", "cancel", "resolve", "renew", "note")


@dataclass(frozen=True, slots=True)
class _Case:
    """A case as a verb needs it: its messages, the one that is followed, and its newest full state."""

    case_id: str
    rows: Sequence[MessageRow]
    newest: MessageRow
    headline: StoredHeadline
    document: Document


@dataclass(frozen=True, slots=True)
class _Words:
    """What an analyst said: the tree of a file (empty without one) with the options laid over it, and its bytes."""

    tree: Document
    text: bytes


class Following:
    """Implements the verbs."""

    def __init__(
        self, *, identity: Identity, submitting: Submitting, reading: Reading, store: Store, vault: Vault
    ) -> None:
        self._identity = identity
        self._submitting = submitting
        self._reading = reading
        self._store = store
        self._vault = vault

    # --- verbs

    async def update(self, caller: OperatorRow, args: Document) -> Answer:
        """`update CASE F`: the complete new state, superseding the newest."""
        return await self._verb(caller, args, "update", {"why": args.get("why")})

    async def cancel(self, caller: OperatorRow, args: Document) -> Answer:
        """`cancel CASE`: action stops; nothing is erased."""
        return await self._verb(caller, args, "cancel", build_cancel(args.get("reason"), args.get("text")))

    async def resolve(self, caller: OperatorRow, args: Document) -> Answer:
        """`resolve CASE`: the outcome; everybody stands down."""
        return await self._verb(caller, args, "resolve", build_resolve(args.get("outcome"), args.get("text")))

    async def renew(self, caller: OperatorRow, args: Document) -> Answer:
        """`renew CASE --until T`."""
        return await self._verb(caller, args, "renew", build_renew(args.get("until"), args.get("necessity")))

    async def note(self, caller: OperatorRow, args: Document) -> Answer:
        """`note CASE TEXT`: free text in the thread of a case, from anybody who holds it."""
        return await self._verb(caller, args, "note", build_note(args.get("text")))

    async def from_file(self, submission: Submission) -> Answer:
        """`post F` of one of these kinds: what the verb does, about the case that the file names."""
        tree = submission.tree
        case_id = str(tree.get("case_id") or "")
        if not case_id:
            raise _no_case(str(tree["kind"]))
        return await self._about(
            submission.caller, submission.args, str(tree["kind"]), case_id, _Words(tree, submission.text)
        )

    async def template(self, kind: str, case_id: str) -> str:
        """A text to begin with in an editor: an update with the newest state, every other kind with its template."""
        if kind not in FOLLOWING_KINDS:
            raise OperationError(
                "usage", f"a message of kind {kind} follows no case", f"those that do: {', '.join(FOLLOWING_KINDS)}"
            )
        rows = await self._reading.case(case_id)
        if kind != "update":
            lines = new_template(kind).splitlines(keepends=True)
            return "".join(f"case_id: {case_id}\n" if line.startswith("case_id:") else line for line in lines)
        case = await self._own_case(case_id)
        document = self._newest_state(rows)
        tree = parse_input(json.dumps(document).encode())  # what the node had filled in is taken out again
        return json.dumps({**tree, "kind": "update", "case_id": case.case_id}, ensure_ascii=False, indent=2) + "\n"

    # --- parts

    async def _verb(self, caller: OperatorRow, args: Document, kind: str, options: Document) -> Answer:
        text = content_of(args)
        tree = await parsed(text) if text.strip() else {}
        case_id = str(args["case"])
        named = tree.get("case_id")
        if named and named != case_id:
            raise OperationError(
                "invalid_alert",
                "the file is about another case than the command; nothing was posted",
                "name the case of the file, or take case_id out of the file",
                (Problem("/case_id", "case", f"the command is about {case_id}", case_id),),
            )
        # An update starts from the alert itself or from `show`: that it is an update now goes without saying.
        if tree.get("kind") not in (None, kind) and kind != "update":
            raise OperationError(
                "invalid_alert",
                f"the file is a message of kind {tree['kind']}; nothing was posted",
                f"post it as what it is: tocsin post F, or tocsin {tree['kind']} CASE",
                (Problem("/kind", "kind", f"the command is {kind}", kind),),
            )
        said = {name: value for name, value in options.items() if value is not None}
        words = _Words({**tree, **said, "kind": kind}, text + json.dumps(said, sort_keys=True).encode())
        return await self._about(caller, args, kind, case_id, words)

    async def _about(self, caller: OperatorRow, args: Document, kind: str, case_id: str, words: _Words) -> Answer:
        tree = dict(words.tree)
        asked = [sorted(agencies_of(args.get(name))) for name in ("to", "without")]
        submission = Submission(
            caller=caller,
            args=args,
            recipients=[],
            message_id=message_id_of(args),
            digest=sha256(b"\0".join((words.text, case_id.encode(), json.dumps(asked).encode()))).hexdigest(),
            tree=tree,
        )
        # First of all: a cancel whose answer was lost is asked for again when its case is closed already.
        if not args.get("explain") and await self._submitting.is_repeated(submission):
            return await self._submitting.outcome(submission)
        case = await (self._held_case(case_id) if kind == "note" else self._own_case(case_id))
        submission.recipients = recipients = await self._recipients(args, kind, case)
        role = "related" if kind == "note" else "supersedes"
        revision = case.headline.revision + (0 if kind == "note" else 1)
        if kind == "renew":
            _check_renewal(tree, case)
        if kind == "update":
            tree.setdefault("precedence", case.headline.precedence)
            tree["why"] = tree.get("why") or "new_fact"
            tree.setdefault("changed", diff(case.document, tree))
        if not recipients:
            raise _to_nobody(agencies_of(args.get("without")))
        tree.setdefault("status", case.headline.status)
        if args.get("explain"):
            message = self._complete(submission, case, role, revision)
            return self._submitting.explain(message, recipients)
        submission.completed = self._complete(submission, case, role, revision)
        precedence = "flash" if kind in CLOSING_KINDS else submission.completed.headline.precedence
        self._submitting.check_writable(precedence)
        self._submitting.seal(submission, leave_out="--without")
        await self._submitting.commit([submission])
        return await self._submitting.outcome(submission)

    def _complete(self, submission: Submission, case: _Case, role: str, revision: int) -> Completed:
        headline = case.headline
        given = self._submitting.defaults(submission.caller.ref, submission.message_id, case.case_id)
        defaults = replace(
            given,
            references=(reference(role, case.newest, headline),),
            revision=revision,
            # What follows an alert is handled no more loosely than the alert, unless its author says otherwise.
            precedence=headline.precedence,
            handling=handling_of_case(case.document, given.now_ms),
            transfer_basis=case.document.get("transfer_basis"),
            runs_until_ms=headline.expires_at if submission.tree.get("kind") == "update" else None,
        )
        return completed(submission.tree, defaults)

    async def _recipients(self, args: Document, kind: str, case: _Case) -> list[AgencyId]:
        """Everybody the case went to, and those added, but for those left out by name: a suspended agency must not keep
        a cancel from the others. A note goes to those named only, if any are. Raises OperationError(unknown_agency).
        """
        added = agencies_of(args.get("to"))
        if kind == "note":
            senders = [row.sender for row in case.rows if row.direction is Direction.IN]
            found = added or await self.holders(case.rows, senders)
        else:
            found = await self.holders(case.rows, added)
        left_out = agencies_of(args.get("without"))
        foreign = [agency for agency in left_out if agency not in found]
        if foreign:
            raise OperationError(
                "unknown_agency",
                f"nothing was posted; {', '.join(foreign)} is not among the recipients",
                f"it would go to: {', '.join(found)}",
            )
        return [agency for agency in found if agency not in left_out]

    async def holders(self, rows: Sequence[MessageRow], extra: Sequence[AgencyId] = ()) -> list[AgencyId]:
        """Everybody a case was sent to and who did not refuse it, and those added. Never silently fewer."""
        found: dict[AgencyId, None] = {}
        for row in rows:
            if row.direction is Direction.OUT:
                for recipient in await self._store.recipients(row.message_id):
                    if recipient.state is not MachineState.REFUSED:
                        found[recipient.agency] = None
        return list(dict.fromkeys([*found, *(agency for agency in extra if agency != self._identity.agency)]))

    async def _held_case(self, case_id: str) -> _Case:
        """A case that lies here, whosever it is."""
        rows = await self._reading.case(case_id)
        headline = self._vault.headline(rows[-1])
        if headline is None:
            raise OperationError("wrong_state", "the content of this case was erased", "")
        return _Case(case_id, rows, rows[-1], headline, self._newest_state(rows))

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
                "wrong_state",
                f"case {case_id} is already closed ({headline.kind})",
                f"who knows of it: tocsin track {case_id}",
            )
        return _Case(case_id, rows, newest, headline, self._newest_state([row for row, _ in mine]))

    def _newest_state(self, rows: Sequence[MessageRow]) -> Document:
        """The newest document of a case that carries its full state."""
        for row in reversed(rows):
            headline, content = self._vault.headline(row), self._vault.content(row)
            if headline is not None and content is not None and headline.kind in ("alert", "update"):
                document = json.loads(content)
                return document if isinstance(document, dict) else {}
        return {}


def reference(role: str, row: MessageRow, headline: StoredHeadline) -> Reference:
    """How a message names another one."""
    return Reference(
        role=role,
        message_id=format_uuid(row.message_id),
        originator=row.sender,
        sent_at_ms=headline.sent_at,
        sha256=headline.content_sha256,
    )


def _check_renewal(tree: Document, case: _Case) -> None:
    until, now_until = ms_or_none(tree.get("expires_at")), case.headline.expires_at
    if until is None or now_until is None or until >= now_until:
        return  # what is no time at all, the model says
    end = str(timestamp(now_until))
    raise OperationError(
        "invalid_alert",
        "a renewal never shortens; nothing was posted",
        f"to end it earlier: tocsin resolve {case.case_id} --outcome CODE, "
        f"or tocsin cancel {case.case_id} --reason CODE",
        (Problem("/expires_at", "renew_shortens", f"the case runs until {end} already", end),),
    )


def _to_nobody(left_out: Sequence[AgencyId]) -> OperationError:
    if not left_out:
        return OperationError("usage", "this case was sent to nobody", "name recipients: --to AGENCY")
    names = ", ".join(left_out)
    return OperationError(
        "usage",
        f"nobody is left: {names} would be left out; nothing was posted",
        f"let them have it (if suspended: tocsin peer resume {left_out[0]}) without --without, or add --to AGENCY",
    )


def _no_case(kind: str) -> OperationError:
    return OperationError(
        "invalid_alert",
        f"a message of kind {kind} follows a case, and this names none; nothing was posted",
        f"name it in the file, or: tocsin {kind} CASE",
        (Problem("/case_id", "required", "case_id is required", "CO-PONAL/2026/000017"),),
    )
