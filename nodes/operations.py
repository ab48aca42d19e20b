"""The table of operations of the local API: name -> who may, and what does it. Owns the wiring of names to
implementations, nothing else.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

from exchange.alerts import new_template
from keys.errors import EncodingError
from keys.ids import MessageId, format_uuid, parse_uuid
from keys.randomness import new_message_id
from nodes.errors import NodeError, OperationError
from nodes.events import Events, MessageArrived, RecipientMoved, RoundEnded
from nodes.evidence_export import EvidenceExport
from nodes.following import Following
from nodes.identity import Identity
from nodes.local_api import Answer, Document, Lines, Operation, Stream, read_object
from nodes.notices import Notices
from nodes.operators import ALL_ROLES, Operators, Role
from nodes.oversight import Oversight
from nodes.peer_book import PeerBook
from nodes.reading import Reading, timestamp
from nodes.speaking import Speaking
from nodes.store.contract import (
    Direction,
    MessageRow,
    OperatorRow,
    PutDraft,
    PutOperator,
    RemoveDraft,
    RemoveOperator,
    Store,
)
from nodes.vault import Vault
from nodes.writer import Change, Writer

Handler = Callable[[OperatorRow, Document], Awaitable[Answer]]


class Operations:
    """Wires operations to what implements them."""

    def __init__(
        self,
        *,
        identity: Identity,
        operators: Operators,
        speaking: Speaking,
        following: Following,
        reading: Reading,
        peer_book: PeerBook,
        oversight: Oversight,
        evidence: EvidenceExport,
        notices: Notices,
        events: Events,
        store: Store,
        writer: Writer,
        vault: Vault,
        clock: Callable[[], int],
        rotate: Callable[[], Awaitable[None]],
        reopen: Callable[[str], Awaitable[None]],
    ) -> None:
        self._identity = identity
        self._operators = operators
        self._speaking = speaking
        self._following = following
        self._reading = reading
        self._peer_book = peer_book
        self._oversight = oversight
        self._evidence = evidence
        self._notices = notices
        self._events = events
        self._store = store
        self._writer = writer
        self._vault = vault
        self._clock = clock
        self._rotate = rotate
        self._reopen = reopen

    def table(self) -> dict[str, Operation]:
        """Every operation by name, each behind its role check."""
        speaking, following = self._speaking, self._following
        book, oversight = self._peer_book, self._oversight
        handlers: dict[str, Handler] = {
            "post": speaking.post,
            "preview": self._preview,
            "update": following.update,
            "cancel": following.cancel,
            "resolve": following.resolve,
            "renew": following.renew,
            "note": following.note,
            "ack": self._ack,
            "resend": speaking.resend,
            "inbox": self._inbox,
            "sent": self._sent,
            "show": self._show,
            "track": self._track,
            "why": self._why,
            "drafts": self._drafts,
            "draft_save": self._draft_save,
            "draft_show": self._draft_show,
            "draft_delete": self._draft_delete,
            "new_template": self._new_template,
            "card": self._card,
            "peer_add": _plain(book.add),
            "peer_list": _plain(book.list),
            "peer_show": _plain(book.show),
            "peer_suspend": _plain(book.suspend),
            "peer_resume": _plain(book.resume),
            "peer_remove": _plain(book.remove),
            "peer_replace": _plain(book.replace),
            "operator_list": self._operator_list,
            "operator_add": self._operator_add,
            "operator_remove": self._operator_remove,
            "evidence_export": self._evidence_export,
            "log_verify": _plain(oversight.log_verify),
            "status": _plain(oversight.status),
            "doctor": _plain(oversight.doctor),
            "notice_test": self._notice_test,
            "keys_status": _plain(oversight.keys_status),
            "keys_rotate": self._keys_rotate,
            "log_reopen": self._log_reopen,
            "metrics": _plain(oversight.metrics),
        }
        return {name: self._guarded(name, handler) for name, handler in handlers.items()}

    def streams(self) -> dict[str, Stream]:
        """Operations that answer line by line."""
        return {"watch": self._watch, "stream": self._stream}

    def _guarded(self, name: str, handler: Handler) -> Operation:
        async def run(uid: int, args: Document) -> Answer:
            caller = self._operators.may(uid, name)
            try:
                return await handler(caller, args)
            except KeyError as error:
                raise OperationError(
                    "usage", f"{name} needs {error.args[0]!r}", f"tocsin {name.replace('_', ' ')} --help"
                ) from error

        return run

    # --- reading

    async def _preview(self, caller: OperatorRow, args: Document) -> Answer:
        """What a posting verb would do, and with whom, for the screen before it."""
        verbs: dict[str, Handler] = {
            "post": self._speaking.post,
            "update": self._following.update,
            "cancel": self._following.cancel,
            "resolve": self._following.resolve,
            "renew": self._following.renew,
            "note": self._following.note,
        }
        verb = verbs.get(str(args.get("verb") or "post"))
        if verb is None:
            raise OperationError("usage", f"{args['verb']!r} posts nothing", f"verbs: {', '.join(verbs)}")
        return await verb(caller, {**args, "explain": True})

    async def _inbox(self, caller: OperatorRow, args: Document) -> Answer:
        since = _time(args.get("since"))
        limit = _whole(args, "limit") if args.get("limit") else None
        return Answer(
            await self._reading.inbox(since=since, limit=limit, unacknowledged=bool(args.get("unacknowledged")))
        )

    async def _sent(self, caller: OperatorRow, args: Document) -> Answer:
        limit = _whole(args, "limit") if args.get("limit") else None
        return Answer(
            await self._reading.sent(since=_time(args.get("since")), limit=limit, waiting=bool(args.get("waiting")))
        )

    async def _show(self, caller: OperatorRow, args: Document) -> Answer:
        reference = str(args["id"])
        if self._reading.is_case(reference):
            document = await self._reading.case_document(reference, content=True)
            # `opened` is a signed word to the sender: of a case's screen, only for what that shows in full.
            unseen = {
                message["message_id"]
                for message in document["messages"]
                if args.get("displayed") == "current" and message.get("superseded_by")
            }
            for row in await self._reading.case(reference):
                if format_uuid(row.message_id) not in unseen:
                    await self._opened(caller, row)
            return Answer(await self._reading.case_document(reference, content=True))
        row = await self._reading.find(reference)
        await self._opened(caller, row)
        return Answer(await self._reading.show(row))

    async def _opened(self, caller: OperatorRow, row: MessageRow) -> None:
        await self._audit("consultation", caller, row)
        await self._speaking.opened(caller, row)
        if row.direction is Direction.IN and not caller.program:
            self._notices.opened(row.message_id, row.sender)

    async def _ack(self, caller: OperatorRow, args: Document) -> Answer:
        answer = await self._speaking.ack(caller, args)
        row = await self._reading.find(str(args["id"]))
        self._notices.opened(row.message_id, row.sender)
        return answer

    async def _track(self, caller: OperatorRow, args: Document) -> Answer:
        reference = str(args["id"])
        if self._reading.is_case(reference):
            return Answer(await self._reading.case_document(reference, content=False))
        row = await self._reading.find(reference)
        if row.direction is Direction.IN:
            raise OperationError("wrong_state", "this message was received, not sent", f"tocsin show {reference}")
        return Answer(await self._reading.message(row))

    async def _why(self, caller: OperatorRow, args: Document) -> Answer:
        try:
            row = await self._reading.find(str(args["id"]))
        except OperationError as error:
            lost = await self._reading.why_lost(str(args["id"])) if error.code == "unknown_id" else None
            if lost is None:
                raise
            return Answer(lost)
        if row.direction is Direction.IN:
            raise OperationError("wrong_state", "this message was received, not sent", f"tocsin show {args['id']}")
        return Answer(await self._reading.why(row, args.get("to")))

    # --- drafts

    async def _drafts(self, caller: OperatorRow, args: Document) -> Answer:
        drafts = []
        for row in await self._store.drafts():
            body = self._vault.draft(row)
            drafts.append(
                {
                    "draft_id": format_uuid(row.draft_id),
                    "kind": body["kind"],
                    "by": body["by"],
                    "updated_at": timestamp(row.updated_at),
                }
            )
        return Answer({"v": 1, "drafts": drafts})

    async def _draft_save(self, caller: OperatorRow, args: Document) -> Answer:
        draft_id = MessageId(_uuid(args["draft_id"])) if args.get("draft_id") else new_message_id()
        body = {"kind": str(args.get("kind") or "alert"), "text": str(args["text"]), "by": caller.ref}
        row = self._vault.draft_row(draft_id, self._clock(), body)
        await self._writer.commit(Change.of(PutDraft(row)))
        return Answer(
            {
                "v": 1,
                "draft_id": format_uuid(draft_id),
                "kind": body["kind"],
                "by": caller.ref,
                "updated_at": timestamp(row.updated_at),
            }
        )

    async def _draft_show(self, caller: OperatorRow, args: Document) -> Answer:
        wanted = str(args["draft_id"]).lower()
        rows = [
            row for row in await self._store.drafts() if format_uuid(row.draft_id).endswith(wanted) and len(wanted) >= 4
        ]
        if len(rows) != 1:
            code = "ambiguous_id" if rows else "unknown_id"
            raise OperationError(code, f"{len(rows)} drafts end in {wanted!r}", "tocsin drafts lists them")
        body = self._vault.draft(rows[0])
        return Answer(
            {"v": 1, "draft_id": format_uuid(rows[0].draft_id), **body, "updated_at": timestamp(rows[0].updated_at)}
        )

    async def _draft_delete(self, caller: OperatorRow, args: Document) -> Answer:
        draft_id = MessageId(_uuid(args["draft_id"]))
        await self._writer.commit(Change.of(RemoveDraft(draft_id)))
        return Answer({"v": 1, "draft_id": format_uuid(draft_id)})

    async def _new_template(self, caller: OperatorRow, args: Document) -> Answer:
        kind = str(args.get("kind") or "alert")
        if args.get("case"):
            return Answer({"v": 1, "kind": kind, "text": await self._following.template(kind, str(args["case"]))})
        try:
            return Answer({"v": 1, "kind": kind, "text": new_template(kind)})
        except (KeyError, ValueError) as error:
            raise OperationError("usage", f"there is no kind {kind!r}", "tocsin schema lists the kinds") from error

    # --- the agency's own

    async def _card(self, caller: OperatorRow, args: Document) -> Answer:
        text, profile = self._identity.card_text(), self._identity.profile
        if text is None or profile is None:
            raise OperationError("wrong_state", "the card is not made yet", "start the node once: tocsin run")
        anchor = self._identity.anchor.body
        return Answer(
            {
                "v": 1,
                "agency": self._identity.agency,
                "name": anchor.names[0][1],
                "country": anchor.country,
                "serial": anchor.serial,
                "root_key_id": anchor.root.ed25519.hex()[:16],
                "safety_code": self._identity.code,
                "endpoints": list(profile.entry.endpoints),
                "issued_at": timestamp(anchor.issued_at),
                "expires_at": timestamp(anchor.expires_at),
                "card": text,
            }
        )

    async def _operator_list(self, caller: OperatorRow, args: Document) -> Answer:
        return Answer({"v": 1, "operators": [_operator(row) for row in self._operators]})

    async def _operator_add(self, caller: OperatorRow, args: Document) -> Answer:
        given = args["roles"]
        roles = tuple(given) if isinstance(given, list) else tuple(str(given).split(","))
        unknown = [role for role in roles if role not in ALL_ROLES]
        if unknown or not roles:
            raise OperationError(
                "usage", f"unknown role {', '.join(unknown) or '(none)'}", f"roles: {', '.join(ALL_ROLES)}"
            )
        row = OperatorRow(str(args["ref"]), _whole(args, "uid"), roles, bool(args.get("program")), self._clock())
        await self._writer.commit(Change.of(PutOperator(row)))
        self._operators.put(row)
        return Answer({"v": 1, **_operator(row)})

    async def _operator_remove(self, caller: OperatorRow, args: Document) -> Answer:
        row = self._operators.get(str(args["ref"]))
        if row is None:
            raise OperationError("unknown_id", f"there is no operator {args['ref']!r}", "tocsin operator list")
        if Role.ADMIN in row.roles and len(self._operators.admins()) == 1:
            raise OperationError(
                "wrong_state", f"{row.ref} is the last admin", "enrol another one first: tocsin operator add"
            )
        await self._writer.commit(Change.of(RemoveOperator(row.ref)))
        self._operators.drop(row.ref)
        return Answer({"v": 1, **_operator(row)})

    async def _evidence_export(self, caller: OperatorRow, args: Document) -> Answer:
        reference = str(args["id"])
        rows = (
            await self._reading.case(reference)
            if self._reading.is_case(reference)
            else [await self._reading.find(reference)]
        )
        with_content = bool(args.get("with_content"))
        exported = await self._evidence.export(rows, with_content=with_content)
        for row in rows:
            await self._audit("disclosure", caller, row)
        document = {"v": 1, "message_id": None if len(rows) > 1 else format_uuid(rows[0].message_id)}
        extra = {
            "file_base64": base64.b64encode(exported.data).decode(),
            "left_out": exported.left_out,
            "other_root": exported.other_root,
        }
        return Answer(document, extra=extra)

    async def _notice_test(self, caller: OperatorRow, args: Document) -> Answer:
        run = await self._notices.test()
        document = {
            "v": 1,
            "ok": run.ok,
            "outcome": run.outcome,
            "exit_status": run.exit_status,
            "elapsed_ms": run.elapsed_ms,
        }
        return Answer(document, 0 if run.ok else 1)

    async def _keys_rotate(self, caller: OperatorRow, args: Document) -> Answer:
        await self._rotate()
        return await self._oversight.keys_status(args)

    async def _log_reopen(self, caller: OperatorRow, args: Document) -> Answer:
        reason = str(args["reason"])
        if reason != "clock":
            raise OperationError("usage", f"{reason!r} is no reason to open the log again", "--reason clock")
        await self._reopen(reason)
        return Answer({"v": 1, "origin": self._writer.origin.name, "size": self._writer.durable_size})

    # --- streams

    async def _watch(self, uid: int, args: Document, lines: Lines) -> AsyncIterator[Sequence[Document]]:
        self._operators.may(uid, "watch")
        with self._events.listen() as news:
            yield [{"v": 1, "event": "watching", "at": timestamp(self._clock())}]
            while True:
                event = await news.get()
                match event:
                    case MessageArrived():
                        row = await self._store.message(event.sender, event.message_id)
                        if row is not None and row.shown:
                            yield [{"v": 1, "event": "message", "message": await self._reading.inbox_entry(row)}]
                    case RecipientMoved():
                        row = await self._store.message(self._identity.agency, event.message_id)
                        if row is not None and row.shown:
                            yield [{"v": 1, "event": "delivery", "message": await self._reading.message(row)}]
                    case RoundEnded():
                        pass

    async def _stream(self, uid: int, args: Document, lines: Lines) -> AsyncIterator[Sequence[Document]]:
        """Many posts on one connection: each line is the arguments of `post`, each answer line carries its `seq`.
        Answers come as they are durable.
        """
        caller = self._operators.may(uid, "stream")
        answers: asyncio.Queue[list[Document] | None] = asyncio.Queue()
        gate = asyncio.Semaphore(STREAM_IN_FLIGHT // STREAM_BATCH)

        async def several(first: int, batch: list[bytes]) -> None:
            try:
                outcomes = await self._post_lines(caller, batch)
                await answers.put([{"seq": seq, **said} for seq, said in enumerate(outcomes, start=first)])
            finally:
                gate.release()

        async def read() -> None:
            async with asyncio.TaskGroup() as group:
                seq = 0
                async for batch in lines.batches(STREAM_BATCH):
                    await gate.acquire()
                    group.create_task(several(seq, batch))
                    seq += len(batch)
            await answers.put(None)

        yield [{"v": 1, "event": "streaming"}]
        reader = asyncio.create_task(read())
        try:
            while (answer := await answers.get()) is not None:
                yield answer
        finally:
            reader.cancel()

    async def _post_lines(self, caller: OperatorRow, batch: Sequence[bytes]) -> list[Document]:
        """What became of each line, as its exit and document."""
        asked: list[Document | None] = []
        for line in batch:
            try:
                asked.append(read_object(line))
            except OperationError:
                asked.append(None)
        answered = iter(await self._speaking.post_many(caller, [args for args in asked if args is not None]))
        bad = OperationError("usage", "this line is no JSON object of post's arguments", "one object a line")
        outcomes = [bad if args is None else next(answered) for args in asked]
        return [
            {
                "exit": outcome.exit,
                "document": outcome.document() if isinstance(outcome, NodeError) else outcome.document,
            }
            for outcome in outcomes
        ]

    async def _audit(self, operation: str, caller: OperatorRow, row: MessageRow) -> None:
        body = {
            "operation": operation,
            "who": caller.ref,
            "at": self._clock(),
            "message_id": format_uuid(row.message_id),
            "from": row.sender,
        }
        entry = self._vault.audit_entry(body)
        await self._writer.commit(Change.of(audit=(entry,)))


STREAM_IN_FLIGHT = 512
# Posts of a stream that share a commit, at most.
STREAM_BATCH = 64


def _plain(handler: Callable[[Document], Awaitable[Answer]]) -> Handler:
    async def run(caller: OperatorRow, args: Document) -> Answer:
        return await handler(args)

    return run


def _operator(row: OperatorRow) -> dict[str, Any]:
    return {
        "ref": row.ref,
        "uid": row.uid,
        "roles": list(row.roles),
        "program": row.program,
        "added_at": timestamp(row.added_at),
    }


def _whole(args: Document, name: str) -> int:
    try:
        found = int(args[name])
    except (TypeError, ValueError, OverflowError) as error:  # a list; a word; infinity
        raise OperationError("usage", f"{name} is a whole number, not {args[name]!r}", "for example 20") from error
    if not 0 <= found < 2**32:
        raise OperationError("usage", f"{name} is out of range", "for example 20")
    return found


def _uuid(text: object) -> bytes:
    try:
        return parse_uuid(str(text))
    except EncodingError as error:
        raise OperationError("unknown_id", f"{text!r} is no id", "tocsin drafts lists them") from error


def _time(text: object) -> int | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(str(text))
        if moment.tzinfo is None:
            raise ValueError
    except ValueError as error:
        raise OperationError(
            "usage", f"{text!r} is no time", "RFC 3339 with offset, for example 2026-11-23T02:10:00Z"
        ) from error
    return int(moment.timestamp() * 1000)
