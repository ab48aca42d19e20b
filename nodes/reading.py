"""The contract's documents about messages (docs/CLI.md §3: P, R, inbox, show, case, why), built from stored rows each
time they are asked for.

Owns how state, reason and next step are shown. It writes nothing; what it shows is a function of the rows (promises
P5, P6).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from exchange.delivery import DECISIONS, END_STATES, State, at_least, highest
from keys.epochs import choose_key
from keys.ids import AgencyId, MessageId, format_uuid, parse_uuid
from keys.trust import AnchorLife, Trust, anchor_life
from nodes.errors import OperationError
from nodes.identity import Identity
from nodes.peers import Peers
from nodes.sentences import lost_sentence, lost_step, next_step, waiting_sentence
from nodes.store.contract import AckRow, Direction, MessageRow, RecipientRow, StatementRow, Store
from nodes.vault import AckBody, StoredHeadline, Vault

Document = dict[str, Any]

# An update whose alert has not come yet waits this long before it is shown alone (DESIGN 8); flash and cancel do not
# wait.
ORPHAN_WAIT_MS = 10_000
WHAT_IS_HERE = "tocsin inbox and tocsin sent list what is here"
MIN_SUFFIX = 4
FULL_ID = 32
LAST_MOMENT_MS = 253_402_300_799_999  # the end of the year 9999
UNLIMITED = 1_000_000
LEVELS = ("custody", "stored", "opened", "accepted", "rejected", "actioned", "refused", "erased")  # of one moment
COUNTED = 200  # messages received and not decided that `status` still looks into, one by one: 40 ms
SENT_UNLESS_SAID = 100  # each of them costs a read of its own


@lru_cache(maxsize=1024)  # one page, or one batch, names few moments often
def timestamp(ms: int | None) -> str | None:
    """RFC 3339, UTC, milliseconds, `Z`. Total: a peer may claim any time, and no page may fail for it."""
    if ms is None:
        return None
    ms = min(ms, LAST_MOMENT_MS)
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Reading:
    """Builds documents."""

    def __init__(
        self,
        identity: Identity,
        peers: Peers,
        store: Store,
        vault: Vault,
        clock: Callable[[], int],
        disk_low: Callable[[], bool],
    ) -> None:
        self._identity = identity
        self._peers = peers
        self._store = store
        self._vault = vault
        self._clock = clock
        self._disk_low = disk_low

    # --- which message is meant

    async def find(self, reference: str) -> MessageRow:
        """The message that an id, or its last four or more characters, names. Raises OperationError (unknown_id,
        ambiguous_id).
        """
        digits = reference.strip().lower().replace("-", "")
        if len(digits) < MIN_SUFFIX or any(digit not in "0123456789abcdef" for digit in digits):
            raise OperationError(
                "unknown_id",
                f"{reference!r} is no message id",
                "give the full id, or its last 4 or more characters, as `tocsin inbox` shows them",
            )
        rows = await self._store.messages_by_suffix(digits)
        shown = [row for row in rows if row.shown] or rows
        if not shown:
            raise OperationError("unknown_id", f"no message ends in {reference!r}", WHAT_IS_HERE)
        if len(shown) > 1:
            candidates = ", ".join(format_uuid(row.message_id) for row in shown)
            raise OperationError(
                "ambiguous_id", f"{reference!r} fits {len(shown)} messages: {candidates}", "give more characters"
            )
        return shown[0]

    async def case(self, case_id: str) -> list[MessageRow]:
        """All shown messages of a case, oldest first. Raises OperationError(unknown_id)."""
        rows = []
        for row in await self._store.messages_of_case(self._vault.case_tag(case_id)):
            headline = self._vault.headline(row)
            if row.shown and headline is not None and headline.case_id == case_id:
                rows.append(row)
        if not rows:
            raise OperationError(
                "unknown_id",
                f"no message of case {case_id!r} is here",
                WHAT_IS_HERE,
            )
        return rows

    async def opened_by(self, case_id: str) -> AgencyId | None:
        """Whose alert opened this case, as far as it lies here; our own first."""
        senders = []
        for row in await self._store.messages_of_case(self._vault.case_tag(case_id)):
            headline = self._vault.headline(row)
            if headline is not None and headline.case_id == case_id and headline.kind == "alert":
                senders.append(row.sender)
        return self._identity.agency if self._identity.agency in senders else next(iter(senders), None)

    async def known_cases(self, case_ids: Sequence[str]) -> set[str]:
        """Those of which a message lies here, whoever sent it."""
        tags = {self._vault.case_tag(case_id): case_id for case_id in case_ids}
        return {tags[tag] for tag in await self._store.known_cases(list(tags))}

    @staticmethod
    def is_case(reference: str) -> bool:
        """Case ids hold slashes; message ids never do."""
        return "/" in reference

    # --- R and P

    async def message(self, row: MessageRow, *, repeated: bool = False) -> Document:
        """P: one message of ours."""
        return self._message(row, self._headline(row), await self.recipients(row), repeated=repeated)

    def posted(self, row: MessageRow, headline: StoredHeadline, recipients: Sequence[RecipientRow]) -> Document:
        """P of a message that became durable just now: nobody has said anything about it."""
        shown = [self._recipient(recipient, (), ()) for recipient in sorted(recipients, key=lambda one: one.agency)]
        return self._message(row, headline, shown, repeated=False)

    @staticmethod
    def _message(row: MessageRow, headline: StoredHeadline, recipients: list[Document], *, repeated: bool) -> Document:
        return {
            "v": 1,
            "message_id": format_uuid(row.message_id),
            "case_id": headline.case_id,
            "kind": headline.kind,
            "revision": headline.revision,
            "precedence": headline.precedence,
            "posted_at": timestamp(row.at),
            "content_sha256": headline.content_sha256,
            "repeated": repeated,
            "recipients": recipients,
        }

    async def recipients(self, row: MessageRow) -> list[Document]:
        """R for each recipient of a message of ours, by agency."""
        headline = self._headline(row)
        history = await self._store.history(row.sender, row.message_id)
        said = [(ack, self._counted(ack, headline)) for ack in history.acks]
        documents = []
        for recipient in sorted(history.recipients, key=lambda entry: entry.agency):
            mine = {envelope.envelope_id for envelope in history.outbound if envelope.agency == recipient.agency}
            documents.append(
                self._recipient(
                    recipient,
                    [statement for statement in history.statements if statement.envelope_id in mine],
                    [(ack, body) for ack, body in said if ack.by == recipient.agency and body is not None],
                )
            )
        return documents

    def _recipient(
        self, row: RecipientRow, statements: Sequence[StatementRow], acks: Sequence[tuple[AckRow, AckBody]]
    ) -> Document:
        proved = [State(statement.level) for statement in statements if statement.level == "stored"]
        state = highest([State(row.state.value), *proved, *(State(body.level) for _, body in acks)])
        receipts = [
            {
                "level": statement.level,
                "at": timestamp(statement.at),
                "by": statement.agency,
                "officer": None,
                "cause": statement.code,
                "text": None,
                "verified": True,
            }
            for statement in statements
        ] + [
            {
                "level": body.level,
                "at": timestamp(body.at),
                "by": ack.by,
                "officer": body.officer,
                "cause": body.cause,
                "text": body.text,
                "verified": True,
            }
            for ack, body in acks
        ]
        receipts.sort(key=lambda receipt: (str(receipt["at"]), LEVELS.index(str(receipt["level"]))))
        waiting = state in (State.QUEUED, State.IN_CUSTODY)
        reason = self.waiting_reason(row) if waiting else (row.reason if state is State.REFUSED else None)
        return {
            "agency": row.agency,
            "state": state.value,
            "reason": reason,
            "custodian": None,
            "envelope_id": format_uuid(row.envelope_id),
            "updated_at": max([str(timestamp(row.updated_at)), *(str(receipt["at"]) for receipt in receipts)]),
            "expires_at": timestamp(row.deliver_by),
            "next_attempt_at": timestamp(self._next_attempt(row)) if waiting else None,
            "erased_at": None,
            "receipts": receipts,
        }

    def waiting_reason(self, row: RecipientRow) -> str:
        """Why a queued message has not gone: the first that holds, in the contract's order."""
        now = self._clock()
        peer = self._peers.get(row.agency)
        if peer is None or peer.trust in (Trust.PENDING, Trust.REMOVED):
            return "peer_pending"  # removed: it is added and confirmed anew, or never has it
        if peer.trust is Trust.SUSPENDED:
            return "peer_suspended"
        if anchor_life(peer.anchor, now) is AnchorLife.OVER and row.precedence > 1:
            return "anchor_expired"
        if self._disk_low():
            return "disk_low"
        line = peer.line
        if line.bar == "peer_does_not_trust_us":
            return "peer_does_not_trust_us"
        if line.bar == "unreachable" or not peer.listens:
            return "unreachable"
        if line.reachable is None and not line.failures:
            return "connecting"
        if line.failures:
            return "backoff"
        if not row.sealed and choose_key(list(peer.epoch_keys.values()), now) is None:
            return "no_epoch_key"
        return row.reason or "connecting"

    def _next_attempt(self, row: RecipientRow) -> int | None:
        peer = self._peers.get(row.agency)
        if peer is None or peer.trust is not Trust.TRUSTED:
            return None  # nobody calls it: what was planned before it lost our trust is void
        line = peer.line.next_attempt_at if peer.line.failures else 0
        return max(line, row.next_attempt_at or 0) or None

    async def why(self, row: MessageRow, to: AgencyId | None) -> Document:
        """Where each recipient stands, in a sentence, and what to do."""
        recipients = []
        rows = {entry.agency: entry for entry in await self._store.recipients(row.message_id)}
        for document in await self.recipients(row):
            agency = document["agency"]
            if to is not None and agency != to:
                continue
            peer = self._peers.get(agency)
            name = agency if peer is None else peer.row.name
            phone = None if peer is None or peer.profile is None else peer.profile.contact
            line_failures = 0 if peer is None else peer.line.failures
            line = {
                "listens": peer is None or peer.listens,
                "removed": peer is None or peer.trust is Trust.REMOVED,
            }
            recipients.append(
                {
                    "agency": agency,
                    "state": document["state"],
                    "reason": document["reason"],
                    "sentence": waiting_sentence(name, document, **line),
                    "next_step": next_step(agency, phone, document, format_uuid(row.message_id), **line),
                    "next_attempt_at": document["next_attempt_at"],
                    "attempts": max(line_failures, rows[agency].attempts),
                }
            )
        if to is not None and not recipients:
            raise OperationError(
                "unknown_agency", f"this message was not sent to {to}", "tocsin track shows to whom it went"
            )
        return {"v": 1, "message_id": format_uuid(row.message_id), "lost": False, "recipients": recipients}

    async def why_lost(self, reference: str) -> Document | None:
        """As `why`, of a message of ours that is not here but that agencies have answered: their sealed acks lie here.
        None where `reference` names none, or more than one.
        """
        digits = reference.strip().lower().replace("-", "")
        known = {id_ for peer in self._peers for id_ in peer.lost.ids if id_.hex().endswith(digits)}
        if len(digits) == FULL_ID and not known:
            known = {MessageId(bytes.fromhex(digits))}  # of more than are remembered
        if len(digits) < MIN_SUFFIX or len(known) != 1:
            return None
        (message_id,) = known
        said: dict[AgencyId, list[State]] = {}
        for ack in (await self._store.acks(self._identity.agency, [message_id]))[message_id]:
            body = self._vault.ack(ack)
            if body is not None and ack.by != self._identity.agency:
                said.setdefault(ack.by, []).append(State(body.level))
        recipients = []
        for agency, levels in sorted(said.items()):
            peer = self._peers.get(agency)
            phone = None if peer is None or peer.profile is None else peer.profile.contact
            recipients.append(
                {
                    "agency": agency,
                    "state": highest(levels).value,
                    "reason": None,
                    "sentence": lost_sentence(agency if peer is None else peer.row.name, highest(levels).value),
                    "next_step": lost_step(phone),
                    "next_attempt_at": None,
                    "attempts": 0,
                }
            )
        if not recipients:
            return None
        return {"v": 1, "message_id": format_uuid(message_id), "lost": True, "recipients": recipients}

    # --- messages as readers see them

    async def inbox(self, *, since: int | None, limit: int | None, unacknowledged: bool) -> Document:
        """Messages received, newest first."""
        rows = await self._store.inbox(since, limit or UNLIMITED, unacknowledged)
        acks = await self._own_acks(rows)
        threads: dict[bytes, Thread] = {}
        documents = []
        for row in rows:
            headline = self._vault.headline(row)
            if headline is None or await self._held_back(row, headline):
                continue
            if row.case_tag not in threads:
                threads[row.case_tag] = await self._thread(row)
            said = acks.get((row.sender, row.message_id), [])
            documents.append(_inbox_entry(row, headline, said, threads[row.case_tag]))
        return {"v": 1, "messages": documents}

    async def listed(self) -> tuple[int, int] | None:
        """(unopened, undecided) among what the inbox lists: neither superseded nor expired, which nobody can work off.
        None when there is so much that counting would hold others up.
        """
        counted = await self._store.inbound_count()
        if counted.undecided > COUNTED:
            return None
        entries = (await self.inbox(since=None, limit=None, unacknowledged=True))["messages"]
        now = str(timestamp(self._clock()))
        open_ = [
            entry
            for entry in entries
            if not entry["decision"] and not entry["superseded_by"] and (entry["expires_at"] or now) >= now
        ]
        return sum(entry["opened_at"] is None for entry in open_), len(open_)

    async def sent(self, *, since: int | None, limit: int | None, waiting: bool) -> Document:
        """P of messages of ours, newest first. `waiting`: only those that somebody does not have yet, however old."""
        documents = []
        for row in await self._store.sent(since, limit or SENT_UNLESS_SAID, waiting):
            headline = self._vault.headline(row)
            if headline is not None:
                documents.append({**await self.message(row), "summary": headline.summary})
        return {"v": 1, "messages": documents}

    async def inbox_entry(self, row: MessageRow) -> Document:
        """One message as the inbox lists it, for `watch`."""
        acks = (await self._own_acks([row])).get((row.sender, row.message_id), [])
        return _inbox_entry(row, self._headline(row), acks, await self._thread(row))

    async def show(self, row: MessageRow) -> Document:
        """One message with its content, as committed."""
        headline = self._headline(row)
        content = self._vault.content(row)
        acks = (await self._own_acks([row])).get((row.sender, row.message_id), [])
        opened_at, decision, decided_at = _own_words(acks)
        thread = await self._thread(row)
        return {
            "v": 1,
            "message_id": format_uuid(row.message_id),
            "case_id": headline.case_id,
            "kind": headline.kind,
            "revision": headline.revision,
            "direction": row.direction.value,
            "from": row.sender,
            "precedence": headline.precedence,
            "received_at": timestamp(row.at),
            "opened_at": opened_at,
            "decision": decision,
            "decided_at": decided_at,
            "superseded_by": thread.superseded_by(row, headline),
            "expires_at": timestamp(thread.expires_at(row, headline)),
            "content_sha256": headline.content_sha256,
            "content": None if content is None else json.loads(content),
        }

    async def case_document(self, case_id: str, *, content: bool) -> Document:
        """A case: its state and its messages, as show-documents (`content`) or, those of ours, as P."""
        rows = await self.case(case_id)
        messages = []
        for row in rows:
            if content or row.direction is Direction.IN:
                messages.append(await self.show(row))
            else:
                messages.append(await self.message(row))
        originators = [
            {"agency": agency, "state": min(states, key=CASE_STATES.index), "alerts": len(states)}
            for agency, states in self.case_states(rows).items()
        ]
        return {
            "v": 1,
            "case_id": case_id,
            "state": min((str(one["state"]) for one in originators), key=CASE_STATES.index, default="active"),
            "originators": originators,
            "messages": messages,
        }

    def case_states(self, rows: Sequence[MessageRow]) -> dict[AgencyId, list[str]]:
        """Where a case stands by the newest words of each agency that opened or moved it, alert by alert.

        Case ids are names that anybody may write: two agencies may mean two cases by one, and an agency whose node lost
        its memory may give a number again. So no cancel is read as the end of another alert than the one it follows.
        """
        read = [(row, headline) for row in rows if (headline := self._vault.headline(row)) is not None]
        thread = Thread(read)
        states: dict[tuple[AgencyId, str], str] = {}
        ends: dict[tuple[AgencyId, str], int] = {}
        for row, headline in read:
            line = (row.sender, thread.alert_of(row))
            match headline.kind:
                case "alert" | "update" | "renew":
                    states[line] = "suspended" if headline.suspended else "active"
                    ends[line] = headline.expires_at or ends.get(line, 0)
                case "cancel":
                    states[line] = "cancelled"
                case "resolve":
                    states[line] = "resolved"
                case _:
                    pass  # a note moves nothing
        now = self._clock()
        found: dict[AgencyId, list[str]] = {}
        for line, state in states.items():
            over = state == "active" and 0 < ends[line] <= now
            found.setdefault(line[0], []).append("expired" if over else state)
        return found

    # --- parts

    def _headline(self, row: MessageRow) -> StoredHeadline:
        headline = self._vault.headline(row)
        if headline is None:
            raise OperationError(
                "wrong_state", "the content of this message was erased", "its receipts remain: tocsin evidence export"
            )
        return headline

    def _counted(self, row: AckRow, headline: StoredHeadline) -> AckBody | None:
        """An ack counts if it names exactly the content that was sealed (PROTOCOL §11)."""
        body = self._vault.ack(row)
        return body if body is not None and body.content_sha256 == headline.content_sha256 else None

    async def _own_acks(self, rows: Sequence[MessageRow]) -> dict[tuple[AgencyId, MessageId], list[AckBody]]:
        by_sender: dict[AgencyId, list[MessageId]] = {}
        for row in rows:
            by_sender.setdefault(row.sender, []).append(row.message_id)
        found: dict[tuple[AgencyId, MessageId], list[AckBody]] = {}
        for sender, ids in by_sender.items():
            for message_id, acks in (await self._store.acks(sender, ids)).items():
                bodies = [self._vault.ack(ack) for ack in acks if ack.by == self._identity.agency]
                found[(sender, message_id)] = [body for body in bodies if body is not None]
        return found

    async def _thread(self, row: MessageRow) -> Thread:
        """How the messages of a message's case follow each other."""
        rows = await self._store.messages_of_case(row.case_tag)
        return Thread([(other, headline) for other in rows if (headline := self._vault.headline(other)) is not None])

    async def superseded_by(self, row: MessageRow) -> tuple[str, str] | None:
        """Id and kind of the message that took this one's place, the newest of them; None while it stands."""
        return (await self._thread(row)).last_after(row)

    async def _held_back(self, row: MessageRow, headline: StoredHeadline) -> bool:
        if headline.supersedes is None or headline.kind == "cancel" or headline.precedence == "flash":
            return False
        if self._clock() - row.at >= ORPHAN_WAIT_MS:
            return False
        return await self._store.message(row.sender, MessageId(parse_uuid(headline.supersedes))) is None


# Of one case by several agencies the whole stands as its first of these: while one is at work, nobody stands down.
CASE_STATES = ("active", "suspended", "expired", "resolved", "cancelled")


class Thread:
    """Which message of a case follows which, as their originators said: what is superseded, and until when each runs.

    A renewal moves the end of what it follows and replaces nothing: the alert stays what is to be read.
    """

    def __init__(self, messages: Sequence[tuple[MessageRow, StoredHeadline]]) -> None:
        self._next = {
            (row.sender, headline.supersedes): (format_uuid(row.message_id), headline)
            for row, headline in reversed(messages)  # of two that supersede one, the earlier counts
            if headline.supersedes is not None
        }
        self._before = {(row.sender, format_uuid(row.message_id)): headline.supersedes for row, headline in messages}
        self._alerts: dict[AgencyId, list[str]] = {}
        for row, headline in messages:
            if headline.kind == "alert":
                self._alerts.setdefault(row.sender, []).append(format_uuid(row.message_id))

    def alert_of(self, row: MessageRow) -> str:
        """Id of the alert that a message belongs to: its agency's only one in this case, whatever is missing between
        the two; of several the one that it leads back to, or where it leads to instead.
        """
        alerts = self._alerts.get(row.sender, [])
        if len(alerts) <= 1:
            return "".join(alerts)
        at, seen = format_uuid(row.message_id), set()
        while at not in seen and (before := self._before.get((row.sender, at))) is not None:
            seen.add(at)
            at = before
        return at

    def superseded_by(self, row: MessageRow, headline: StoredHeadline) -> str | None:
        """Id of the message that took this one's place; None while it stands."""
        for message_id, follower in self._after(row):
            if follower.kind != "renew" or headline.kind == "renew":
                return message_id
        return None

    def last_after(self, row: MessageRow) -> tuple[str, str] | None:
        """Id and kind of what stands in this message's place now; renewals take no place."""
        later = [(message_id, follower.kind) for message_id, follower in self._after(row) if follower.kind != "renew"]
        return later[-1] if later else None

    def expires_at(self, row: MessageRow, headline: StoredHeadline) -> int | None:
        """When a message ends, renewals counted; ms."""
        until = headline.expires_at
        for _, follower in self._after(row):
            if follower.kind != "renew":
                break
            until = follower.expires_at
        return until

    def _after(self, row: MessageRow) -> Iterator[tuple[str, StoredHeadline]]:
        """What follows a message, one after the other. A peer can write a circle: nothing is named twice."""
        at, seen = format_uuid(row.message_id), set()
        while at not in seen and (row.sender, at) in self._next:
            seen.add(at)
            at, headline = self._next[row.sender, at]
            yield at, headline


def _inbox_entry(row: MessageRow, headline: StoredHeadline, acks: Sequence[AckBody], thread: Thread) -> Document:
    opened_at, decision, decided_at = _own_words(acks)
    return {
        "message_id": format_uuid(row.message_id),
        "case_id": headline.case_id,
        "kind": headline.kind,
        "revision": headline.revision,
        "status": headline.status,
        "from": row.sender,
        "precedence": headline.precedence,
        "summary": headline.summary,
        "received_at": timestamp(row.at),
        "opened_at": opened_at,
        "decision": decision,
        "decided_at": decided_at,
        "superseded_by": thread.superseded_by(row, headline),
        "expires_at": timestamp(thread.expires_at(row, headline)),
    }


def _own_words(acks: Sequence[AckBody]) -> tuple[str | None, str | None, str | None]:
    """(opened_at, decision, decided_at) of this agency about a message received."""
    opened = [ack.at for ack in acks]
    decided = [ack for ack in acks if ack.level in {state.value for state in DECISIONS}]
    decision = highest([State(ack.level) for ack in decided]).value if decided else None
    decided_at = next((ack.at for ack in decided if ack.level == decision), None)
    return timestamp(min(opened)) if opened else None, decision, timestamp(decided_at)


def wait_exit(recipients: Sequence[Document]) -> int:
    """Exit of `--wait` for the state each recipient is in (docs/CLI.md §3)."""
    states = [State(recipient["state"]) for recipient in recipients]
    if any(state in (State.REFUSED, State.EXPIRED) for state in states):
        return 77
    return 0 if all(at_least(state, State.STORED) for state in states) else 75


def settled(recipients: Sequence[Document]) -> bool:
    """True when waiting any longer changes nothing."""
    return all(State(recipient["state"]) in END_STATES for recipient in recipients)
