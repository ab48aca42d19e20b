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
from exchange.log import LogProofError, leaf_hash, verify_inclusion
from exchange.proof import Proof
from exchange.statement import AgencyKeys
from keys.ids import AgencyId, EnvelopeId, GatewayName, MessageId
from nodes.identity import Identity, log_name
from nodes.ledger import Ledger
from nodes.loading import Voice, former_voices, stored_checkpoint
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
class _Part:
    """What an agency says in the file under one of its roots."""

    keys: AgencyKeys
    statements: list[tuple[AgencyId, Proof]] = field(default_factory=list)
    links: list[LinkItem] = field(default_factory=list)
    heads: list[Checkpoint] = field(default_factory=list)


@dataclass(slots=True)
class _Bundle:
    parts: dict[AgencyId, dict[AgencyId, _Part]] = field(default_factory=dict)  # by agency, then by Voice.lies_under
    voices: dict[AgencyId, list[Voice]] = field(default_factory=dict)
    envelopes: dict[bytes, EnvelopeItem] = field(default_factory=dict)
    contents: list[ContentItem] = field(default_factory=list)
    left_out: int = 0

    def part(self, voice: Voice) -> _Part:
        return self.parts.setdefault(voice.agency, {}).setdefault(voice.lies_under, _Part(voice.keys))

    def spoken(self) -> tuple[list[_Part], int]:
        """A file holds one root of each agency: that under which it says most; of two alike, the pinned one. And how
        many statements that leaves out.
        """
        chosen, other_root = [], 0
        for parts in self.parts.values():
            best = max(parts.values(), key=lambda part: len(part.statements))
            chosen.append(best)
            other_root += sum(len(part.statements) for part in parts.values()) - len(best.statements)
        return chosen, other_root


@dataclass(frozen=True, slots=True)
class Exported:
    """The file's bytes, how many acks with text were left out for want of --with-content, and how many statements
    because their speaker has had another root since, or had before.
    """

    data: bytes
    left_out: int
    other_root: int


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
        parts, other_root = bundle.spoken()
        data = build_evidence(
            agencies=[part.keys for part in parts],
            links=[link for part in parts for link in part.links],
            heads=[head for part in parts for head in part.heads],
            envelopes=list(bundle.envelopes.values()),
            statements=[said for part in parts for said in part.statements],
            contents=bundle.contents,
        )
        return Exported(data, bundle.left_out, other_root)

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
        bundle.envelopes[inbound.header] = EnvelopeItem(inbound.header, inbound.body_hash)
        await self._archived(
            inbound.sender,
            inbound.issued_entry,
            inbound.issued_index,
            inbound.issued_path,
            inbound.gateway,
            inbound.head_generation,
            inbound.head_size,
            bundle,
        )
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
        statements = bundle.part(Voice(own, own, self._identity.keys, self._identity.opened)).statements
        statements.append((own, proof))
        said = proof.checkpoint
        if not _changed_since(self._identity.keys, said.origin.gateway, said.origin.generation, said.size):
            return
        for opened in self._identity.opened:
            origin = opened.checkpoint.origin
            if origin.generation > said.origin.generation and await self._we_agree(opened):
                tie = (own, await self._ledger.proof(log_name(origin.gateway, origin.generation), 0))
                if tie not in statements:
                    statements.append(tie)

    async def _peer_statement(self, row: StatementRow, bundle: _Bundle) -> None:
        await self._archived(
            row.agency, row.entry, row.index, row.path, row.gateway, row.head_generation, row.head_size, bundle
        )

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
    ) -> None:
        """A peer's statement, under the root that it had when it said it, with what ties its head to later ones."""
        nodes = tuple(path[i : i + 32] for i in range(0, len(path), 32))
        for voice in await self._voices(agency, bundle):
            head = await self._store.peer_head(voice.lies_under, gateway, generation, size)
            if head is None or not _leads_to(entry, index, nodes, head):
                continue
            part = bundle.part(voice)
            await self._tie(voice, gateway, generation, size, part)
            await self._link(voice, gateway, generation, size, head.root, part)
            checkpoint = stored_checkpoint(head.checkpoint, agency)
            part.statements.append((agency, Proof(entry=entry, index=index, path=nodes, checkpoint=checkpoint)))
            return

    async def _voices(self, agency: AgencyId, bundle: _Bundle) -> list[Voice]:
        """An agency under its pinned root, then under each that it had before."""
        known = bundle.voices.get(agency)
        if known is None:
            known = bundle.voices[agency] = []
            peer = self._peers.get(agency)
            if peer is not None:
                known.append(Voice(agency, agency, peer.keys, peer.opened))
                bundle.part(known[0])  # it is named, even if nothing of it can be proved
                known += former_voices(agency, peer.anchor.body.root, await self._store.startup())
        return known

    async def _we_agree(self, opened: Proof) -> bool:
        """True if our own closed log had the end that we named: after a lost history it is one that a peer told us."""
        entry, origin = decode_entry(opened.entry), opened.checkpoint.origin
        if not isinstance(entry, LogOpened):
            return False
        log = log_name(origin.gateway, entry.previous_generation)
        roots = await self._ledger.ended_roots(log, [entry.last_size])
        return entry.last_size == 0 or roots.get(entry.last_size) == entry.last_root

    async def _agrees(self, voice: Voice, opened: Proof) -> bool:
        """True if the end that it names is a head that lies here, or the generation before never had one."""
        entry, origin = decode_entry(opened.entry), opened.checkpoint.origin
        if not isinstance(entry, LogOpened):
            return False
        if entry.last_size == 0:
            return True
        name = voice.lies_under
        head = await self._store.peer_head(name, origin.gateway, entry.previous_generation, entry.last_size)
        return head is not None and head.root == entry.last_root

    async def _tie(self, voice: Voice, gateway: str, generation: int, size: int, part: _Part) -> None:
        """Where later generations of its log begin, each led on like any other statement of it. Only if they are
        needed, and only those whose word agrees with the heads that are held: one that it speaks later must not take
        back what it said before.
        """
        if not _changed_since(voice.keys, gateway, generation, size):
            return
        for opened in voice.opened:
            origin = opened.checkpoint.origin
            tie = (voice.agency, opened)
            if origin.gateway == gateway and origin.generation > generation and tie not in part.statements:
                if not await self._agrees(voice, opened):
                    continue
                part.statements.append(tie)
                head = opened.checkpoint
                await self._link(voice, gateway, origin.generation, head.size, head.root, part)

    async def _link(self, voice: Voice, gateway: str, generation: int, size: int, root: bytes, part: _Part) -> None:
        """If the pair that signed this head was changed since, lead from it to a head of the later pair, or to the
        end of its generation.
        """
        if not _changed_since(voice.keys, gateway, generation, size):
            return
        ends = _ends_of(voice.opened, gateway, generation)
        # Rounds cross on the line, so several heads may have been proved from the same earlier one, and a head that
        # came late was proved into a newer one: all the ways are looked at.
        name = voice.lies_under
        first = await self._store.peer_head(name, gateway, generation, size)
        heads = {head.size: head for head in await self._store.head_chain(name, gateway, generation, size)}
        if first is not None and first.root == root:
            heads[size] = first
        ways: list[tuple[int, list[LinkItem]]] = [(size, [])]
        tried = {size}
        while ways:
            at, links = ways.pop()
            for step in _steps(voice.agency, heads, at):
                if step.to_size in tried:
                    continue
                tried.add(step.to_size)
                way = [*links, step]
                if (step.to_size, step.to_root) in ends or not _changed_since(
                    voice.keys, gateway, generation, step.to_size
                ):
                    # A head of the pair now in force, or the last one: the chain need lead no further.
                    part.links.extend(link for link in way if link not in part.links)
                    part.heads.append(stored_checkpoint(heads[step.to_size].checkpoint, voice.agency))
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


def _leads_to(entry: bytes, index: int, path: Sequence[bytes], head: PeerHeadRow) -> bool:
    """True if the entry lies under this head: one of another root has the same size perhaps, never the same leaves."""
    try:
        verify_inclusion(leaf_hash(entry), index, head.size, path, head.root)
    except LogProofError:
        return False
    return True


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


def _steps(agency: AgencyId, heads: Mapping[int, PeerHeadRow], at: int) -> Iterator[LinkItem]:
    """The consistency proofs at hand that lead on from the head of one size, to the largest first."""
    here = heads.get(at)
    if here is None:
        return
    for head in sorted(heads.values(), key=lambda head: -head.size):
        proof = here if here.from_size == head.size > at else head if head.from_size == at < head.size else None
        if proof is not None:
            nodes = tuple(proof.nodes[i : i + 32] for i in range(0, len(proof.nodes), 32))
            gateway = GatewayName(here.gateway)
            yield LinkItem(agency, gateway, here.generation, at, here.root, head.size, head.root, nodes)
