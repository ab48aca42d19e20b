"""Who this node is: its agency, its anchors and keys, what it has published of them. Owns its own secrets in memory.

It does not know peers, messages or the network. Private keys come from the keystore and never leave this object but
as functions that use them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from exchange.card import Card, armour, encode_card, make_card
from exchange.checkpoint import Checkpoint, sign_checkpoint
from exchange.entry import KeyChange, Profile, decode_entry, encode_entry
from exchange.errors import StatementError
from exchange.log import leaf_hash
from exchange.proof import Proof
from exchange.statement import AgencyKeys, add_key_change, build_agency_keys, key_change_body
from keys.anchor import Anchor
from keys.epochs import PublishedKey
from keys.errors import KeyConflictError
from keys.ids import AgencyId, GatewayName, Origin
from keys.keystore import KeyStore
from keys.safety_code import safety_code
from keys.sealing import EpochKeyPair, open_sealed
from keys.signing import NodeKeyPair, NodePublicPair, sign_labelled
from nodes.store.contract import EpochKeyRow

GATEWAY = GatewayName("gw1")
NODE_KEY_LIFE_MS = 90 * 86_400_000
KEY_CHANGE_LABEL = "tocsin key change v1"


def pair_label(pair: NodePublicPair) -> str:
    """Name under which the private half of a node pair lies in the keystore."""
    return pair.ed25519.hex()[:16]


def log_name(gateway: str, generation: int) -> str:
    """Name of an own log in the store."""
    return f"{gateway}/{generation}"


@dataclass(frozen=True, slots=True)
class PublishedProfile:
    """The newest profile entry: what it says, its proof under the checkpoint of its commit, and its leaf hash."""

    entry: Profile
    proof: Proof
    leaf: bytes

    @classmethod
    def of(cls, proof: Proof) -> PublishedProfile:
        """Read it from its own proof. Raises StatementError for another entry."""
        entry = decode_entry(proof.entry)
        if not isinstance(entry, Profile):
            raise TypeError("the stored profile is another entry")
        return cls(entry, proof, leaf_hash(proof.entry))


@dataclass(frozen=True, slots=True)
class LostKeys:
    """What of our own anchors and key changes only peers hold, and that leads to a pair whose private half is not
    here. `serial`: the highest of our anchors, those among them, when a peer showed it.
    """

    serial: int
    anchors: tuple[Anchor, ...]
    changes: tuple[Proof, ...]


def merged_keys(anchors: Sequence[Anchor], *layers: Iterable[Proof]) -> AgencyKeys:
    """The keys that these anchors name with key changes from several sources, the most credible first: of the later
    layers whatever does not contradict those before. What a copy of the node drew itself before it heard of a successor
    left for nobody, and must not: two successors of one pair convict.

    Raises what build_agency_keys raises for the first layer.
    """
    first, *others = layers
    keys = build_agency_keys(anchors, first)
    for layer in others:
        for proof in layer:
            with suppress(KeyConflictError, StatementError):
                keys = add_key_change(keys, proof)
    return keys


def changes_below(changes: Iterable[Proof], head: tuple[int, int]) -> list[Proof]:
    """Those key changes that lie below a head, given as (generation, size)."""
    return [change for change in changes if (change.checkpoint.origin.generation, change.checkpoint.size) < head]


class Identity:
    """This node's own keys and what it has said about them."""

    def __init__(
        self,
        *,
        agency: AgencyId,
        anchors: Sequence[Anchor],
        key_changes: Sequence[Proof],
        keystore: KeyStore,
        epoch_rows: Sequence[EpochKeyRow],
    ) -> None:
        self.agency = agency
        self.gateway = GATEWAY
        self.keys: AgencyKeys = build_agency_keys(anchors, key_changes)
        self.keystore = keystore
        self.epoch_rows: dict[int, EpochKeyRow] = {row.number: row for row in epoch_rows}
        self._epoch_pairs: dict[int, EpochKeyPair] = {}
        self._destroyed: set[int] = {row.number for row in epoch_rows if row.destroyed_at is not None}
        self.profile: PublishedProfile | None = None
        self.opened: tuple[Proof, ...] = ()
        self.lost: LostKeys | None = None
        # (generation, size) of a head that some peer holds: our key changes below it stand, whatever anybody tells.
        self.confirmed: tuple[int, int] = (0, 0)
        # History was lost: numbers of epoch keys up to here may be those of other keys that peers hold (PROTOCOL §9.1).
        self.epoch_floor = 0
        # We lost history: peers are asked to send again what they issued since then, in this process and later ones.
        self.recover_since: int | None = None

    @property
    def needs_anchor(self) -> bool:
        """Whether peers take nothing that we sign until an anchor names another pair: this is an old copy, from before
        a key change (DESIGN 6).
        """
        return self.lost is not None and self.lost.serial >= self.anchor.body.serial

    @property
    def anchors_shown(self) -> tuple[Anchor, ...]:
        """All anchors of ours that are known, serials rising: those too that a peer showed and no key here speaks for
        yet.
        """
        shown = {anchor.body.serial: anchor for anchor in (() if self.lost is None else self.lost.anchors)}
        shown.update((anchor.body.serial, anchor) for anchor in self.keys.anchors)
        return tuple(shown[serial] for serial in sorted(shown))

    @property
    def changes_shown(self) -> tuple[Proof, ...]:
        """Key changes of ours that peers showed and that count again once an anchor has named another pair."""
        return self.lost.changes if self.lost is not None and self.needs_anchor else ()

    def keys_with(self, told: Iterable[Proof], *anchors: Anchor) -> AgencyKeys:
        """Our keys with changes that a peer tells, and with further anchors. What a peer is known to hold comes first:
        a thief of a retired pair can tell another successor of it. Raises what merged_keys raises.
        """
        firm = changes_below(self.key_changes, self.confirmed)
        return merged_keys([*self.anchors_shown, *anchors], firm, told, self.changes_shown, self.key_changes)

    @property
    def anchor(self) -> Anchor:
        """The newest anchor."""
        return self.keys.anchors[-1]

    @property
    def code(self) -> str:
        """The agency's own safety code."""
        return safety_code(self.agency, self.anchor.body.root)

    @property
    def key_changes(self) -> tuple[Proof, ...]:
        """Proved key changes, in log order."""
        return self.keys.changes

    def origin(self, generation: int) -> Origin:
        """Origin of one of the own logs."""
        return Origin(self.agency, self.gateway, generation)

    def node_pair(self, generation: int, next_size: int) -> NodeKeyPair:
        """The pair that signs checkpoints of `next_size` leaves. Raises KeyFileError when its private half is not in
        the keystore.
        """
        public = self.keys.history.pair_for(self.gateway, generation, next_size)
        return self.keystore.load_node_pair(pair_label(public))

    @staticmethod
    def signer(pair: NodeKeyPair) -> Callable[[Origin, int, bytes, int], Checkpoint]:
        """The signing function the writer calls in a thread."""

        def sign(origin: Origin, size: int, root: bytes, timestamp: int) -> Checkpoint:
            return sign_checkpoint(origin, size, root, timestamp, pair)

        return sign

    def key_change_entry(self, origin: Origin, new: NodeKeyPair, time: int, salt: bytes) -> bytes:
        """The entry by which a new pair is announced; signed by the new pair itself, which proves that it is held."""
        ed_signature, mldsa_signature = sign_labelled(new, KEY_CHANGE_LABEL, key_change_body(origin, new.public))
        return encode_entry(
            KeyChange(salt=salt, time=time, pair=new.public, ed_signature=ed_signature, mldsa_signature=mldsa_signature)
        )

    # epoch keys

    def has_epoch_key(self, number: int) -> bool:
        """True if envelopes sealed to that number can be opened here."""
        return self._epoch_pair(number) is not None

    def opener(self, number: int) -> Callable[[bytes, bytes], bytes]:
        """`open(info, body)` with the private half of that epoch key."""
        pair = self._epoch_pair(number)
        if pair is None:
            raise KeyError(number)

        def open_body(info: bytes, body: bytes) -> bytes:
            return open_sealed(pair, info, body)

        return open_body

    @property
    def highest_epoch_number(self) -> int:
        """The highest number of an epoch key that was ever drawn or left out here; 0 before the first."""
        return max((*self.epoch_rows, self.epoch_floor), default=0)

    def published(self) -> list[PublishedKey]:
        """Epoch keys published and not destroyed."""
        return [
            PublishedKey(row.number, row.use_from, row.public)
            for row in self.epoch_rows.values()
            if row.number not in self._destroyed
        ]

    def add_epoch(self, row: EpochKeyRow, pair: EpochKeyPair | None = None) -> None:
        """A key was published (after its commit), or destroyed."""
        self.epoch_rows[row.number] = row
        if row.destroyed_at is not None:
            self._destroyed.add(row.number)
            self._epoch_pairs.pop(row.number, None)
        elif pair is not None:
            self._epoch_pairs[row.number] = pair

    def _epoch_pair(self, number: int) -> EpochKeyPair | None:
        if number in self._destroyed or number not in self.epoch_rows:
            return None
        pair = self._epoch_pairs.get(number)
        if pair is None:
            pair = self.keystore.find_epoch(number)
            if pair is not None:
                self._epoch_pairs[number] = pair
        return pair

    # card

    def card(self) -> Card | None:
        """The card as it stands; None before the first profile is logged."""
        if self.profile is None:
            return None
        return make_card(self.keys, self.profile.proof, self.opened)

    def card_text(self) -> str | None:
        """The card in its armour."""
        card = self.card()
        return None if card is None else armour(encode_card(card))
