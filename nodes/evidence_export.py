"""Gathers what proves the history of a message or a case into one evidence file (PROTOCOL §14).

Owns the gathering; the file's format and its verification are `exchange.evidence`. It exports no key that opens
anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from exchange.checkpoint import Checkpoint
from exchange.evidence_file import ContentItem, EnvelopeItem, LinkItem, build_evidence
from exchange.proof import Proof
from exchange.statement import AgencyKeys
from keys.ids import AgencyId, EnvelopeId, GatewayName, MessageId
from nodes.identity import Identity
from nodes.ledger import Ledger
from nodes.loading import stored_checkpoint
from nodes.peers import Peers
from nodes.store.contract import AckRow, Direction, InboundRow, MessageRow, OutboundRow, StatementRow, Store
from nodes.vault import Vault


@dataclass(slots=True)
class _Bundle:
    agencies: dict[AgencyId, AgencyKeys] = field(default_factory=dict)
    envelopes: dict[bytes, EnvelopeItem] = field(default_factory=dict)
    statements: list[tuple[AgencyId, Proof]] = field(default_factory=list)
    contents: list[ContentItem] = field(default_factory=list)
    links: list[LinkItem] = field(default_factory=list)
    heads: list[Checkpoint] = field(default_factory=list)
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Exported:
    """The file's bytes, and how many acks with text were left out for want of --with-content."""

    data: bytes
    left_out: int


class EvidenceExport:
    """Builds evidence files from the store."""

    def __init__(self, identity: Identity, peers: Peers, store: Store, ledger: Ledger, vault: Vault) -> None:
        self._identity = identity
        self._peers = peers
        self._store = store
        self._ledger = ledger
        self._vault = vault

    async def export(self, rows: Sequence[MessageRow], *, with_content: bool) -> Exported:
        """Everything provable about these messages: issued, receipts, refusals, acks; the content only when asked
        for.
        """
        bundle = _Bundle()
        for row in rows:
            if row.direction is Direction.OUT:
                await self._outgoing(row, bundle, with_content)
            else:
                await self._incoming(row, bundle, with_content)
        data = build_evidence(
            agencies=list(bundle.agencies.values()),
            links=bundle.links,
            heads=bundle.heads,
            envelopes=list(bundle.envelopes.values()),
            statements=bundle.statements,
            contents=bundle.contents,
        )
        return Exported(data, bundle.left_out)

    async def _outgoing(self, row: MessageRow, bundle: _Bundle, with_content: bool) -> None:
        outbound = await self._store.outbound_of_message(row.message_id)
        for envelope in outbound:
            await self._own_envelope(row, envelope, bundle, with_content)
        for statement in await self._store.statements([envelope.envelope_id for envelope in outbound]):
            await self._peer_statement(statement, bundle)
        for ack in (await self._store.acks(row.sender, [row.message_id])).get(row.message_id, []):
            await self._ack(ack, bundle, with_content)

    async def _incoming(self, row: MessageRow, bundle: _Bundle, with_content: bool) -> None:
        for inbound in await self._store.inbound_of_message(row.sender, row.message_id):
            await self._peer_envelope(row, inbound, bundle, with_content)
        for ack in (await self._store.acks(row.sender, [row.message_id])).get(row.message_id, []):
            await self._ack(ack, bundle, with_content)

    async def _ack(self, ack: AckRow, bundle: _Bundle, with_content: bool) -> None:
        """An ack is a message of its own: its level is in its content, so it is proved by showing that."""
        body = self._vault.ack(ack)
        if body is None:
            return
        if body.text and not with_content:
            bundle.left_out += 1
            return
        carrier = await self._store.message(ack.by, ack.carrier_id)
        if carrier is None:
            return
        if carrier.direction is Direction.OUT:
            outbound = await self._store.outbound_of_message(carrier.message_id)
            for envelope in outbound:
                await self._own_envelope(carrier, envelope, bundle, show=True)
            for statement in await self._store.statements([envelope.envelope_id for envelope in outbound]):
                await self._peer_statement(statement, bundle)
        else:
            for inbound in await self._store.inbound_of_message(carrier.sender, carrier.message_id):
                await self._peer_envelope(carrier, inbound, bundle, show=True)

    async def _own_envelope(self, row: MessageRow, envelope: OutboundRow, bundle: _Bundle, show: bool) -> None:
        self._speaks(self._identity.agency, bundle)
        bundle.envelopes[envelope.header] = EnvelopeItem(envelope.header, envelope.body_hash)
        bundle.statements.append((self._identity.agency, await self._ledger.proof(envelope.log, envelope.index)))
        if show:
            self._content(
                row,
                envelope.envelope_id,
                envelope.sealed_opening,
                self._identity.agency,
                envelope.agency,
                envelope.generation,
                envelope.n,
                bundle,
            )

    async def _peer_envelope(self, row: MessageRow, inbound: InboundRow, bundle: _Bundle, show: bool) -> None:
        self._speaks(inbound.sender, bundle)
        self._speaks(self._identity.agency, bundle)
        bundle.envelopes[inbound.header] = EnvelopeItem(inbound.header, inbound.body_hash)
        proof = await self._archived(
            inbound.sender,
            inbound.issued_entry,
            inbound.issued_index,
            inbound.issued_path,
            inbound.gateway,
            inbound.head_generation,
            inbound.head_size,
            bundle,
        )
        if proof is not None:
            bundle.statements.append((inbound.sender, proof))
        bundle.statements.append((self._identity.agency, await self._ledger.proof(inbound.log, inbound.index)))
        if show and inbound.sealed_opening is not None:
            self._content(
                row,
                inbound.envelope_id,
                inbound.sealed_opening,
                inbound.sender,
                self._identity.agency,
                inbound.generation,
                inbound.n,
                bundle,
            )

    async def _peer_statement(self, row: StatementRow, bundle: _Bundle) -> None:
        self._speaks(row.agency, bundle)
        proof = await self._archived(
            row.agency, row.entry, row.index, row.path, row.gateway, row.head_generation, row.head_size, bundle
        )
        if proof is not None:
            bundle.statements.append((row.agency, proof))

    async def _archived(
        self,
        agency: AgencyId,
        entry: bytes,
        index: int,
        path: bytes,
        gateway: str,
        generation: int,
        size: int,
        bundle: _Bundle,
    ) -> Proof | None:
        head = await self._store.peer_head(agency, gateway, generation, size)
        if head is None:
            return None
        nodes = tuple(path[i : i + 32] for i in range(0, len(path), 32))
        await self._link(agency, gateway, generation, size, head.root, bundle)
        return Proof(entry=entry, index=index, path=nodes, checkpoint=stored_checkpoint(head.checkpoint, agency))

    async def _link(
        self, agency: AgencyId, gateway: str, generation: int, size: int, root: bytes, bundle: _Bundle
    ) -> None:
        """If the pair that signed this head was changed since, lead from it to a head of the later pair."""
        peer = self._peers.get(agency)
        if peer is None or not any(change.index + 1 >= size for change in peer.keys.changes_of(gateway)):
            return
        at, at_root = size, root
        for head in await self._store.head_chain(agency, gateway, generation, size):
            if head.from_size != at:
                continue
            nodes = tuple(head.nodes[i : i + 32] for i in range(0, len(head.nodes), 32))
            link = LinkItem(agency, GatewayName(gateway), generation, at, at_root, head.size, head.root, nodes)
            if link not in bundle.links:
                bundle.links.append(link)
            at, at_root = head.size, head.root
            checkpoint = stored_checkpoint(head.checkpoint, agency)
            if all(change.index + 1 < head.size for change in peer.keys.changes_of(gateway)):
                # The first head of the pair now in force: the chain need lead no further.
                bundle.heads.append(checkpoint)
                return

    def _content(
        self,
        row: MessageRow,
        envelope_id: EnvelopeId,
        sealed_opening: bytes,
        sender: AgencyId,
        recipient: AgencyId,
        generation: int,
        n: int,
        bundle: _Bundle,
    ) -> None:
        content, opening = self._vault.content(row), self._vault.opening(row, sealed_opening)
        if content is not None and opening is not None:
            bundle.contents.append(
                ContentItem.of(
                    envelope_id, opening, sender, recipient, generation, n, MessageId(row.message_id), content
                )
            )

    def _speaks(self, agency: AgencyId, bundle: _Bundle) -> None:
        if agency == self._identity.agency:
            bundle.agencies[agency] = self._identity.keys
        else:
            peer = self._peers.get(agency)
            if peer is not None:
                bundle.agencies[agency] = peer.keys
