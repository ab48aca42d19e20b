"""What this node hands a peer in a round: due envelopes, receipts owed, keys it lacks, with proofs made now from
stored tiles.

Owns the choice and the proofs. It signs nothing: every item is an entry that is already durable under a durable
checkpoint.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from exchange.entry import LogOpened, decode_entry
from exchange.envelope import Precedence
from exchange.proof import Proof
from exchange.round import MAX_KEY_CHANGES, Consistency, Group, RawEnvelope
from nodes.identity import Identity, log_name
from nodes.ledger import Ledger
from nodes.peers import Peer
from nodes.store.contract import MoveOutbound, Op, OutboundRow, RecipientRow, Store
from nodes.writer import Change, EntryDraft, Placed, Writer

BATCH_BYTES_EACH = 4_096  # a round takes this much for each envelope that it may hold; one larger one goes alone
LEASE_MS = 120_000  # longer than a round takes at most: nothing is on two lines at once
MAX_ENDS = 16  # generations whose ends are told in one round; each is a group


@dataclass(frozen=True, slots=True)
class Item:
    """One due envelope."""

    recipient: RecipientRow
    outbound: OutboundRow


class Outflow:
    """Builds groups for peers."""

    def __init__(self, identity: Identity, store: Store, ledger: Ledger, writer: Writer) -> None:
        self._identity = identity
        self._store = store
        self._ledger = ledger
        self._writer = writer

    async def due(self, peer: Peer, now: int, *, only_flash: bool = False) -> list[Item]:
        """Envelopes to send now, bounded in number and bytes: if any is flash then those alone, since on a bad line
        each of the others would hold it up by seconds. Those already on the line are left out while their lease lasts.
        """
        for envelope_id in [key for key, until in peer.leased.items() if until <= now]:
            del peer.leased[envelope_id]
        most = peer.most_envelopes
        most_bytes = min(most * BATCH_BYTES_EACH, peer.limits.envelope_bytes)
        rows = await self._store.due(peer.agency, now, frozenset(peer.leased), most, most_bytes)
        flash = [row for row in rows if row[0].precedence == Precedence.FLASH]
        rows = flash if flash or only_flash else rows
        rows = [(recipient, await self._in_open_log(outbound)) for recipient, outbound in rows]
        # The store may show a commit a moment before the writer makes its head current: what no head covers waits.
        covered = [row for row in rows if self._ledger.covers(row[1].log, row[1].index)]
        return [Item(recipient, outbound) for recipient, outbound in covered]

    async def _in_open_log(self, row: OutboundRow) -> OutboundRow:
        """A row whose entry lies in the open log. What was issued in a generation that is closed is issued again, the
        same bytes: of the old log nobody may be shown a head any more that contradicts one that they hold.
        """
        if self._ledger.is_open(row.log):
            return row
        entry = await self._ledger.entry(row.log, row.index)

        def move(placed: tuple[Placed, ...]) -> list[Op]:
            return [MoveOutbound(row.envelope_id, placed[0].log, placed[0].index)]

        draft = EntryDraft(destination=row.agency, make=lambda _time, _salt: entry)
        committed = await self._writer.commit(Change(entries=(draft,), ops=move))
        return replace(row, log=committed.placed[0].log, index=committed.placed[0].index)

    def lacking_key_changes(self, peer: Peer) -> tuple[Proof, ...]:
        """Own key changes beyond the newest head that the peer holds, as many as one round takes; of who holds none,
        beyond the count that it tells. A count alone would not do: it may hold changes that we lost.
        """
        newest = max(((generation, max(sizes)) for generation, sizes in peer.holds.items() if any(sizes)), default=None)
        if newest is None:
            return self._identity.key_changes[peer.changes_held :][:MAX_KEY_CHANGES]
        places = ((proof.checkpoint.origin.generation, proof.checkpoint.size) for proof in self._identity.key_changes)
        first = next((number for number, place in enumerate(places) if place >= newest), None)
        return () if first is None else self._identity.key_changes[first:][:MAX_KEY_CHANGES]

    def lacking_positions(self, peer: Peer) -> set[tuple[str, int]]:
        """Own profile and epoch keys that the peer's hello shows it lacks."""
        known = peer.known
        if known is None:
            return set()
        positions = {
            (row.log, row.index)
            for row in self._identity.epoch_rows.values()
            if row.number > known.highest_epoch_key and row.destroyed_at is None and self._ledger.is_open(row.log)
        }
        positions |= self._generation_ends(peer)
        profile = self._identity.profile
        if profile is not None and profile.leaf != known.profile_hash:
            origin = profile.proof.checkpoint.origin
            log = log_name(origin.gateway, origin.generation)
            if self._ledger.is_open(log):  # of a closed log no head leaves but its end: see _generation_ends
                positions.add((log, profile.proof.index))
        return positions

    def _generation_ends(self, peer: Peer) -> set[tuple[str, int]]:
        """Where generations that the peer has not seen begin, and where those before them end (PROTOCOL §9.3): without
        these it could not prove to a stranger, once our key pair has changed, what we told it before.
        """
        newest = max((generation for generation, sizes in peer.holds.items() if any(sizes)), default=None)
        positions: set[tuple[str, int]] = set()
        for proof in self._identity.opened[-MAX_ENDS:]:
            origin = proof.checkpoint.origin
            if newest is None or origin.generation <= newest:
                continue
            positions.add((log_name(origin.gateway, origin.generation), 0))
            entry = decode_entry(proof.entry)
            if (
                isinstance(entry, LogOpened)
                and entry.reason == "clock"
                and entry.last_size > 0
                # Of one that ran on from an old copy, an end beside the head it holds would convict us of two logs.
                and entry.previous_generation not in peer.unsound
            ):
                positions.add((log_name(origin.gateway, entry.previous_generation), entry.last_size - 1))
        return positions

    async def groups(
        self, peer: Peer, items: Sequence[Item], positions: Iterable[tuple[str, int]]
    ) -> tuple[Group, ...]:
        """One group per own log; in practice one, since what lay in closed generations is issued again first."""
        attachments = {
            (item.outbound.log, item.outbound.index): RawEnvelope(item.outbound.header, item.outbound.body)
            for item in items
            if item.outbound.body is not None
        }
        by_log: defaultdict[str, set[int]] = defaultdict(set)
        for log, index in [*attachments, *positions]:
            by_log[log].add(index)
        groups = []
        for log in sorted(by_log, key=lambda name: int(name.rpartition("/")[2])):
            indices = sorted(by_log[log])
            proved = await self._ledger.prove(log, indices)
            generation, size = proved.checkpoint.origin.generation, proved.checkpoint.size
            sizes = peer.sizes_to_prove_from(generation, size)
            peer.handed[generation] = size
            consistency = [
                Consistency(start, nodes) for start, nodes in await self._ledger.consistency(log, sizes, size)
            ]
            groups.append(
                Group(
                    checkpoint=proved.checkpoint,
                    consistency=tuple(consistency),
                    indices=tuple(indices),
                    entries=proved.entries,
                    nodes=proved.nodes,
                    attachments=tuple(attachments.get((log, index)) for index in indices),
                )
            )
        return tuple(groups)
