"""Taking what a peer sent in a round: verify its groups, admit its envelopes, settle our own, remember its heads and
keys.

Owns the order in which a group is believed (PROTOCOL §10 steps 5 to 17, §12) and the one commit that comes of it. It
holds no socket and decides no rule: verification is `exchange.statement`; what is made of each item is `admitting`'s,
`settling`'s and `peer_words`'.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from exchange import admit as admission
from exchange.admit import ParsedEnvelope, ProvedEnvelope
from exchange.entry import Issued, Receipt
from exchange.entry import Refused as RefusedEntry
from exchange.errors import RefusalCode, RefusalError, StatementError, StatementProblem
from exchange.round import Group, Result
from exchange.statement import verify_group
from nodes.admitting import Admitting
from nodes.identity import Identity
from nodes.intake_plan import Plan, Taken
from nodes.loading import opened_meta
from nodes.metrics import Metrics
from nodes.peer_words import PeerWords, named_ends
from nodes.peers import Peer
from nodes.settling import answer_in, facts_of_ours, settle
from nodes.store.contract import Op, Store
from nodes.vault import Vault
from nodes.writer import Writer


class Intake:
    """Takes groups of one peer at a time (the caller holds the peer's lock)."""

    def __init__(self, identity: Identity, store: Store, writer: Writer, vault: Vault, metrics: Metrics) -> None:
        self._identity = identity
        self._store = store
        self._writer = writer
        self._metrics = metrics
        self._words = PeerWords(store, metrics)
        self._admitting = Admitting(identity, store, writer, vault, metrics)

    async def take(
        self, peer: Peer, groups: Sequence[Group], *, now: int, peer_now: int, also: Sequence[Op] = ()
    ) -> Taken:
        """Believe what is proved of `groups`, in one commit, together with the rows in `also`.

        `peer_now` is the own clock corrected by the peer's measured skew.
        """
        taken = Taken()
        plan = Plan(ops=list(also))
        for group in groups:
            await asyncio.sleep(0)  # its signatures are one block of work
            await self._take_group(peer, group, plan, taken, now, peer_now)
        await self._words.take_ends(peer, plan, now)
        if plan.opened:
            kept = [*peer.opened, *plan.opened]
            plan.ops.append(opened_meta(kept, peer.agency))
            plan.after.append(lambda: setattr(peer, "opened", kept))
        if plan.entries or plan.ops:
            committed = await self._writer.commit(plan.change())
            for placed, learn_placed in zip(committed.placed, plan.placed_after, strict=True):
                learn_placed(placed)
        for learn in plan.after:
            learn()
        for result in taken.results:
            self._metrics.items_deferred.add(result.code)
        return taken

    async def _take_group(self, peer: Peer, group: Group, plan: Plan, taken: Taken, now: int, peer_now: int) -> None:
        envelopes = self._parse(group, plan)
        answers = [answer_in(data) for data in group.entries]
        ours = [answer.envelope_id for answer in answers if answer is not None]
        deliveries = await self._store.deliveries(ours) if ours else {}
        facts = [
            # An answer is compared with what we sent, never with an envelope that comes beside it: its signer would
            # settle with one of its own making, and the true receipt would find the place taken.
            envelope.facts
            if envelope is not None and answer is None
            else facts_of_ours(self._identity.agency, answer, deliveries)
            for answer, envelope in zip(answers, envelopes, strict=True)
        ]
        brought = False
        try:
            _check_first_of_its_log(group, plan)
            statements = verify_group(group.checkpoint, group.indices, group.entries, group.nodes, peer.keys, facts)
            brought = self._words.keep_opened(peer, statements, plan)
            await self._words.check_in_force(peer, group, statements, plan, now)
            plan.ended |= named_ends(statements)
        except StatementError as error:
            code = RefusalCode.KEY_NOT_VALID if error.reason == "key_not_valid" else RefusalCode.BAD_PROOF
            taken.results.extend(
                Result(envelope.header.envelope_id, code) for envelope in envelopes if envelope is not None
            )
            self._metrics.items_dropped.add(error.reason)
            taken.wasted += not brought  # a generation that has ended may still say where it began (PROTOCOL §9.3)
            return
        await self._words.take_head(peer, group, plan, now)
        for row, _ in deliveries.values():
            plan.recipients.setdefault((row.message_id, row.agency), row)
        proved: list[ProvedEnvelope] = []
        for statement, envelope in zip(statements, envelopes, strict=True):
            if isinstance(statement, StatementError):
                if envelope is not None:
                    taken.results.append(Result(envelope.header.envelope_id, RefusalCode.BAD_PROOF))
                self._metrics.items_dropped.add(statement.reason)
                taken.wasted += 1
            elif isinstance(statement.entry, Receipt | RefusedEntry):
                settle(statement, deliveries, plan, taken, now)
            elif not isinstance(statement.entry, Issued):
                self._words.learn(peer, statement, plan, taken)
            elif envelope is not None:
                proved.append(admission.prove(envelope, statement))
        if proved:
            await self._admitting.admit(peer, group, proved, plan, taken, peer_now)

    @staticmethod
    def _parse(group: Group, plan: Plan) -> list[ParsedEnvelope | None]:
        envelopes: list[ParsedEnvelope | None] = []
        for raw in group.attachments:
            envelope = None
            if raw is not None:
                try:
                    envelope = admission.parse_envelope(raw)
                except RefusalError:
                    envelope = None  # a drop: without a header there is not even an id to name
            if envelope is not None and envelope.header.envelope_id in plan.envelopes:
                envelope = None  # twice in one round: the first one speaks
            if envelope is not None:
                plan.envelopes.add(envelope.header.envelope_id)
            envelopes.append(envelope)
        return envelopes


def _check_first_of_its_log(group: Group, plan: Plan) -> None:
    """One group for each log in a round (PROTOCOL §9). Two would be judged by what was known before either: under two
    roots of one size both would be believed, and only one of them can be proved to anybody else.

    Raises StatementError(bad_checkpoint_signature).
    """
    log = (group.checkpoint.origin.gateway, group.checkpoint.origin.generation)
    if log in plan.logs:
        raise StatementError(StatementProblem.BAD_CHECKPOINT_SIGNATURE, 6)
    plan.logs.add(log)
