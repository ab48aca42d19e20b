"""The node's own keys over time: profile, epoch keys made and destroyed, the node pair renewed (DESIGN 4).

Owns what is published of them and when; it is called at init, at start, once an hour, and by `keys rotate`. Each step
is one commit, and a crash
between steps is picked up by the next call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from exchange.entry import AuditHead, EpochKey, KeyDestroyed, Profile, encode_entry
from exchange.policy import OWN_MARKINGS
from exchange.proof import Proof
from exchange.round import MAX_ITEMS, MAX_ROUND_BYTES
from exchange.statement import add_key_change
from keys.epochs import plan_destruction, plan_publication
from keys.sealing import EpochKeyPair
from keys.signing import NodeKeyPair
from nodes.config import NodeConfig
from nodes.identity import NODE_KEY_LIFE_MS, Identity, PublishedProfile, pair_label
from nodes.loading import PROFILE_META, proof_bytes
from nodes.store.contract import EpochKeyRow, KeyChangeRow, Op, PutEpochKey, PutKeyChange, PutMeta, Store
from nodes.writer import Change, EntryDraft, Placed, Proved, Writer

PAIR_SINCE_META = "own/node_pair_since"


class Keyring:
    """Publishes, renews and destroys this node's keys."""

    def __init__(self, identity: Identity, store: Store, writer: Writer, clock: Callable[[], int]) -> None:
        self._identity = identity
        self._store = store
        self._writer = writer
        self._clock = clock
        self._audit_head: tuple[int, bytes] | None = None

    async def publish_profile(self, config: NodeConfig, *, again: bool = False) -> bool:
        """Log the profile if what it says has changed, or `again` in a new generation. True if it was logged."""
        current = self._identity.profile
        if (
            not again
            and current is not None
            and _profile(config, current.entry.time, current.entry.salt) == current.entry
        ):
            return False

        def make(time: int, salt: bytes) -> bytes:
            return encode_entry(_profile(config, time, salt))

        # Kept with its proof under the checkpoint of its own commit: a card never carries a fresher one than it needs
        # (DESIGN 4).
        (proved,) = await self._writer.commit_proved(
            [EntryDraft("", make)], lambda proofs: [PutMeta(PROFILE_META, proof_bytes(_proof(proofs[0])))]
        )
        self._identity.profile = PublishedProfile.of(_proof(proved))
        return True

    async def publish_epoch_keys(self) -> int:
        """Make and publish the epoch keys that are missing for the days ahead. The private half is on disk before the
        public half is said.
        """
        existing = [(row.number, row.use_from) for row in self._identity.epoch_rows.values()]
        plan = plan_publication(existing, self._clock(), self._identity.epoch_floor)
        if not plan:
            return 0
        pairs: list[tuple[int, int, EpochKeyPair]] = []
        for number, use_from in plan:
            pair = self._identity.keystore.find_epoch(number)
            if pair is None:
                pair = EpochKeyPair.generate()
                self._identity.keystore.save_epoch(number, pair)
            pairs.append((number, use_from, pair))
        agency = self._identity.agency

        def draft(number: int, use_from: int, pair: EpochKeyPair) -> EntryDraft:
            return EntryDraft(
                "",
                lambda time, salt: encode_entry(
                    EpochKey(salt=salt, time=time, number=number, use_from=use_from, public=pair.public)
                ),
            )

        def rows(placed: tuple[Placed, ...]) -> list[EpochKeyRow]:
            return [
                EpochKeyRow(agency, number, use_from, pair.public, place.log, place.index)
                for (number, use_from, pair), place in zip(pairs, placed, strict=True)
            ]

        committed = await self._writer.commit(
            Change(
                entries=tuple(draft(*made) for made in pairs),
                ops=lambda placed: [PutEpochKey(row) for row in rows(placed)],
            )
        )
        for row, (_, _, pair) in zip(rows(committed.placed), pairs, strict=True):
            self._identity.add_epoch(row, pair)
        return len(pairs)

    async def destroy_epoch_keys(self) -> int:
        """Destroy the private halves whose time is over, then say so. In this order: a statement of destruction must
        never be ahead of the deed.
        """
        now = self._clock()
        numbers = plan_destruction(self._identity.published(), now)
        for number in numbers:
            self._identity.keystore.destroy_epoch(number)
            row = replace(self._identity.epoch_rows[number], destroyed_at=now)
            await self._writer.commit(_destruction(row))
            self._identity.add_epoch(row)
        return len(numbers)

    async def rotate_node_pair(self) -> None:
        """Change the node pair, without the root: the change is the last leaf under the old pair."""
        new = NodeKeyPair.generate()
        # On disk before anybody is told: a crash after the commit must find the pair that signs from then on.
        self._identity.keystore.save_node_pair(pair_label(new.public), new)
        origin = self._writer.origin
        now = self._clock()
        agency = self._identity.agency

        def make(time: int, salt: bytes) -> bytes:
            return self._identity.key_change_entry(origin, new, time, salt)

        def ops(proved: Proved) -> list[Op]:
            row = KeyChangeRow(
                agency, origin.gateway, origin.generation, proved.placed.index, proof_bytes(_proof(proved))
            )
            return [PutKeyChange(row), PutMeta(PAIR_SINCE_META, now.to_bytes(8, "big"))]

        proved = await self._writer.commit_key_change(make, self._identity.signer(new), ops)
        self._identity.keys = add_key_change(self._identity.keys, _proof(proved))

    async def log_audit_head(self) -> bool:
        """Put the head of the audit log into the signed log when it has moved: nobody rewrites it unseen."""
        size, root = self._writer.audit_head
        if size == 0 or self._audit_head == (size, root):
            return False

        def make(time: int, salt: bytes) -> bytes:
            return encode_entry(AuditHead(salt=salt, time=time, size=size, root=root))

        await self._writer.commit(Change(entries=(EntryDraft("", make),), ops=lambda _: []))
        self._audit_head = (size, root)
        return True

    async def keep(self, pair_since: int, *, may_rotate: bool = True) -> bool:
        """Everything that is due now, a change of the node pair only if it `may_rotate`. True if the pair changed and
        nothing was said under the new one yet.
        """
        await self.publish_epoch_keys()
        await self.destroy_epoch_keys()
        await self.log_audit_head()
        if may_rotate and self._clock() - pair_since >= NODE_KEY_LIFE_MS:
            await self.rotate_node_pair()
        return self._is_last_word_a_key_change()

    def _is_last_word_a_key_change(self) -> bool:
        """Whether the head is one of the old pair still: peers that know of the change take nothing under it. A node
        that died, or whose disk was full, between the change and the first word after it stands here.
        """
        changes = self._identity.key_changes
        head = (self._writer.generation, self._writer.durable_size)
        return any((change.checkpoint.origin.generation, change.checkpoint.size) == head for change in changes)


def _proof(proved: Proved) -> Proof:
    return Proof(entry=proved.placed.entry, index=proved.placed.index, path=proved.path, checkpoint=proved.checkpoint)


def _profile(config: NodeConfig, time: int, salt: bytes) -> Profile:
    return Profile(
        salt=salt,
        time=time,
        endpoints=tuple(config.endpoints),
        relays=(),
        languages=tuple(config.languages),
        contact=config.contact or "",
        max_round_bytes=MAX_ROUND_BYTES,
        max_items=MAX_ITEMS,
        markings=OWN_MARKINGS,
    )


def _destruction(row: EpochKeyRow) -> Change:
    def make(time: int, salt: bytes) -> bytes:
        return encode_entry(KeyDestroyed(salt=salt, time=time, number=row.number))

    return Change(entries=(EntryDraft("", make),), ops=lambda _: [PutEpochKey(row)])
