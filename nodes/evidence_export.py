"""Gathers what proves the history of a message or a case into one evidence file (PROTOCOL §14).

Owns the gathering; the file's format and its verification are `exchange.evidence`. It exports no key that opens
anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from exchange.checkpoint import Checkpoint
from exchange.entry import LogOpened, decode_entry
from exchange.evidence_file import ContentItem, EnvelopeItem, LinkItem, build_evidence
from exchange.proof import Proof
from exchange.statement import AgencyKeys
from keys.ids import AgencyId, EnvelopeId, GatewayName, MessageId
from nodes.identity import Identity, log_name
from nodes.ledger import Ledger
from nodes.loading import stored_checkpoint
from nodes.peers import Peers
from nodes.store.contract import (
    AckRow,
    Direction,
    InboundRow,
    MessageRow,
    OutboundRow,
    PeerHeadRow,
    StatementRow,
    Store,
)
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
        history = await self._store.history(row.sender, row.message_id)
        for envelope in history.outbound:
            await self._own_envelope(row, envelope, bundle, with_content)
        for statement in history.statements:
            await self._peer_statement(statement, bundle)
        for ack in history.acks:
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
            history = await self._store.history(carrier.sender, carrier.message_id)
            for envelope in history.outbound:
                await self._own_envelope(carrier, envelope, bundle, show=True)
            for statement in history.statements:
                await self._peer_statement(statement, bundle)
        else:
            for inbound in await self._store.inbound_of_message(carrier.sender, carrier.message_id):
                await self._peer_envelope(carrier, inbound, bundle, show=True)

    async def _own_envelope(self, row: MessageRow, envelope: OutboundRow, bundle: _Bundle, show: bool) -> None:
        self._speaks(self._identity.agency, bundle)
        bundle.envelopes[envelope.header] = EnvelopeItem(envelope.header, envelope.body_hash)
        await self._own_statement(envelope.log, envelope.index, bundle)
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
        await self._own_statement(inbound.log, inbound.index, bundle)
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

    async def _own_statement(self, log: str, index: int, bundle: _Bundle) -> None:
        """What we said, and of a log generation that has ended what ties it to the ones after it."""
        own = self._identity.agency
        proof = await self._ledger.proof(log, index)
        bundle.statements.append((own, proof))
        said = proof.checkpoint
        if not _changed_since(self._identity.keys, said.origin.gateway, said.origin.generation, said.size):
            return
        for opened in self._identity.opened:
            origin = opened.checkpoint.origin
            if origin.generation > said.origin.generation and await self._we_agree(opened):
                tie = (own, await self._ledger.proof(log_name(origin.gateway, origin.generation), 0))
                if tie not in bundle.statements:
                    bundle.statements.append(tie)

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
        await self._tie(agency, gateway, generation, size, bundle)
        await self._link(agency, gateway, generation, size, head.root, bundle)
        return Proof(entry=entry, index=index, path=nodes, checkpoint=stored_checkpoint(head.checkpoint, agency))

    async def _we_agree(self, opened: Proof) -> bool:
        """True if our own closed log had the end that we named: after a lost history it is one that a peer told us."""
        entry, origin = decode_entry(opened.entry), opened.checkpoint.origin
        if not isinstance(entry, LogOpened):
            return False
        log = log_name(origin.gateway, entry.previous_generation)
        roots = await self._ledger.ended_roots(log, [entry.last_size])
        return entry.last_size == 0 or roots.get(entry.last_size) == entry.last_root

    async def _agrees(self, agency: AgencyId, opened: Proof) -> bool:
        """True if the end that it names is a head that lies here, or the generation before never had one."""
        entry, origin = decode_entry(opened.entry), opened.checkpoint.origin
        if not isinstance(entry, LogOpened):
            return False
        if entry.last_size == 0:
            return True
        head = await self._store.peer_head(agency, origin.gateway, entry.previous_generation, entry.last_size)
        return head is not None and head.root == entry.last_root

    async def _tie(self, agency: AgencyId, gateway: str, generation: int, size: int, bundle: _Bundle) -> None:
        """Where later generations of its log begin, each led on like any other statement of it. Only if they are
        needed, and only those whose word agrees with the heads that are held: one that it speaks later must not take
        back what it said before.
        """
        peer = self._peers.get(agency)
        if peer is None or not _changed_since(peer.keys, gateway, generation, size):
            return
        for opened in peer.opened:
            origin = opened.checkpoint.origin
            tie = (agency, opened)
            if origin.gateway == gateway and origin.generation > generation and tie not in bundle.statements:
                if not await self._agrees(agency, opened):
                    continue
                bundle.statements.append(tie)
                head = opened.checkpoint
                await self._link(agency, gateway, origin.generation, head.size, head.root, bundle)

    async def _link(
        self, agency: AgencyId, gateway: str, generation: int, size: int, root: bytes, bundle: _Bundle
    ) -> None:
        """If the pair that signed this head was changed since, lead from it to a head of the later pair, or to the
        end of its generation.
        """
        peer = self._peers.get(agency)
        if peer is None or not _changed_since(peer.keys, gateway, generation, size):
            return
        ends = _ends_of(peer.opened, gateway, generation)
        # Rounds cross on the line, so several heads may have been proved from the same earlier one, and a head that
        # came late was proved into a newer one: all the ways are looked at.
        first = await self._store.peer_head(agency, gateway, generation, size)
        heads = {head.size: head for head in await self._store.head_chain(agency, gateway, generation, size)}
        if first is not None and first.root == root:
            heads[size] = first
        ways: list[tuple[int, list[LinkItem]]] = [(size, [])]
        tried = {size}
        while ways:
            at, links = ways.pop()
            for step in _steps(heads, at):
                if step.to_size in tried:
                    continue
                tried.add(step.to_size)
                way = [*links, step]
                if (step.to_size, step.to_root) in ends or not _changed_since(
                    peer.keys, gateway, generation, step.to_size
                ):
                    # A head of the pair now in force, or the last one: the chain need lead no further.
                    bundle.links.extend(link for link in way if link not in bundle.links)
                    bundle.heads.append(stored_checkpoint(heads[step.to_size].checkpoint, agency))
                    return
                ways.append((step.to_size, way))

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


def _log_position(change: Proof) -> tuple[int, int]:
    """(generation, size) of the last head that the old pair of a key change signs."""
    return change.checkpoint.origin.generation, change.index + 1


def _changed_since(keys: AgencyKeys, gateway: str, generation: int, size: int) -> bool:
    """True if the pair that signs a head of this size was changed by now."""
    return any(_log_position(change) >= (generation, size) for change in keys.changes_of(gateway))


def _ends_of(opened: Iterable[Proof], gateway: str, generation: int) -> set[tuple[int, bytes]]:
    """Sizes and roots with which a generation ended, as later ones say; more than one from a liar."""
    entries = [decode_entry(proof.entry) for proof in opened if proof.checkpoint.origin.gateway == gateway]
    return {
        (entry.last_size, entry.last_root)
        for entry in entries
        if isinstance(entry, LogOpened) and entry.previous_generation == generation
    }


def _steps(heads: Mapping[int, PeerHeadRow], at: int) -> Iterator[LinkItem]:
    """The consistency proofs at hand that lead on from the head of one size, to the largest first."""
    here = heads.get(at)
    if here is None:
        return
    for head in sorted(heads.values(), key=lambda head: -head.size):
        proof = here if here.from_size == head.size > at else head if head.from_size == at < head.size else None
        if proof is not None:
            nodes = tuple(proof.nodes[i : i + 32] for i in range(0, len(proof.nodes), 32))
            gateway = GatewayName(here.gateway)
            yield LinkItem(here.agency, gateway, here.generation, at, here.root, head.size, head.root, nodes)
