"""The hello of a round, and what follows from the other's: skew, what it lacks, and the fork guard (PROTOCOL §9.1).

Owns the decision whether a peer's picture of our log agrees with ours. It sends nothing and stores nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exchange.checkpoint import Checkpoint, verify_checkpoint
from exchange.errors import ExchangeError
from exchange.proof import Proof
from exchange.round import MAX_HELD_CHANGES, HeldHead, Hello, Known, Numbers, OwnHead
from exchange.statement import AgencyKeys, build_agency_keys
from keys.errors import KeysError
from nodes.identity import Identity
from nodes.peers import Peer

MAX_GENERATION_JUMP = 1_000


@dataclass(frozen=True, slots=True)
class Passed:
    """The head the peer holds of our log is a prefix of it, or it holds none."""


@dataclass(frozen=True, slots=True)
class NotTold:
    """The hello does not say which head it holds; or, `unproved`, says one that no pair of ours signed."""

    unproved: bool = False


@dataclass(frozen=True, slots=True)
class Forked:
    """The peer holds a head of ours that our tree does not lead to: we lost history, or were copied."""

    generation: int
    checkpoint: Checkpoint
    told: tuple[Proof, ...] = ()  # key changes of ours that lead to it; none if its pair is over


def our_hello(identity: Identity, peer: Peer, *, now: int, generation: int, size: int) -> Hello:
    """What we say to this peer now. Heads are told whole when it asked, or in our first words to it.

    The key changes of a gateway stand beside its newest head only: it may have told us of many generations and changes,
    and each of one with each of the other would be hundreds of megabytes that a small request asks for.
    """
    whole = peer.head_wanted or not peer.guard_passed
    newest = {head.gateway: head.generation for head in sorted(peer.heads.values(), key=lambda head: head.generation)}
    told = set()
    held = []
    for head in [*sorted(peer.heads.values(), key=lambda head: (head.gateway, head.generation)), *peer.crossed_heads()]:
        changes = peer.keys.changes_of(head.gateway)
        leads = whole and head.gateway not in told and head.generation >= newest.get(head.gateway, 0)
        if leads:
            told.add(head.gateway)
        held.append(
            HeldHead(
                gateway=head.gateway,
                generation=head.generation,
                size=head.size,
                changes=len(changes),
                checkpoint=head.checkpoint if whole else None,
                key_changes=tuple(changes[:MAX_HELD_CHANGES]) if leads else (),
            )
        )
    received = peer.highest_received
    received_generation = max(received, default=0)
    highest = received.get(received_generation, 0)
    return Hello(
        time=now,
        head_wanted=not peer.guard_passed,
        own=(OwnHead(identity.gateway, generation, size),),
        held=tuple(held),
        known=Known(
            anchor_digest=peer.anchor.digest,
            profile_hash=peer.profile_hash,
            highest_epoch_key=max(peer.epoch_keys, default=0),
        ),
        numbers=Numbers(received_generation, highest + 1, highest + 1),
        recover_since=identity.recover_since,
    )


def judge_held(
    hello: Hello, identity: Identity, *, generation: int, size: int, roots: Mapping[int, bytes]
) -> Passed | NotTold | Forked:
    """Whether the peer's heads of our log let us speak. `roots`: what our open log's root was at the sizes it names.

    Only the highest generation it names counts: lower ones ended when a later one was opened. A head that does not
    verify under our own pairs is not counted, so that a peer cannot push us into new generations by inventing one.
    """
    ours = [held for held in hello.held if held.gateway == identity.gateway and held.size > 0]
    newest = max((held.generation for held in ours), default=0)
    if newest < generation:
        return Passed()
    if newest >= generation + MAX_GENERATION_JUMP:  # peers must be able to take the one above it
        return NotTold()
    newest_heads = [held for held in ours if held.generation == newest]
    if any(held.checkpoint is None for held in newest_heads):
        return NotTold()
    # What leads to one head of a gateway leads to its others.
    changes = next((held.key_changes for held in newest_heads if held.key_changes), ())
    # Once for all heads of a hello: each change is several signatures, and a stranger to our interests chooses how many
    # heads there are.
    present, former = _with_told(identity, changes), _before_the_loss(identity, changes)
    for held in sorted(newest_heads, key=lambda held: held.size, reverse=True):
        if held.checkpoint is None:
            return NotTold()
        if present is not None and _is_ours(held.checkpoint, present):
            told = changes
        elif former is not None and newest <= _named(identity) and _is_ours(held.checkpoint, former):
            told = ()  # its pair is over: what counts from now on is what our newest anchor names
        else:
            return NotTold(unproved=True)
        if newest > generation or held.size > size or roots[held.size] != held.checkpoint.root:
            return Forked(newest, held.checkpoint, told)
    return Passed()


def _with_told(identity: Identity, told: Sequence[Proof]) -> AgencyKeys | None:
    """Our keys with what peers showed of them and the changes that this one tells."""
    try:
        return identity.keys_with(told)
    except (ExchangeError, KeysError):
        return None


def _before_the_loss(identity: Identity, told: Sequence[Proof]) -> AgencyKeys | None:
    """Our keys as they were before the anchor that helped this node after a loss. A peer may hold a head of another
    lost life, in the very generation that the anchor names. Only a node that knows of a loss looks there, and no
    higher, since after a theft it is the thief who signs with the pair before.
    """
    lost = identity.lost
    if lost is None or identity.needs_anchor:
        return None
    try:
        return build_agency_keys([one for one in identity.keys.anchors if one.body.serial <= lost.serial], told)
    except (ExchangeError, KeysError):
        return None


def _named(identity: Identity) -> int:
    """The generation that our newest anchor names."""
    entry = identity.anchor.body.gateway(identity.gateway)
    return 0 if entry is None else entry.generation


def _is_ours(checkpoint: Checkpoint, keys: AgencyKeys) -> bool:
    try:
        pair = keys.history.pair_for(checkpoint.origin.gateway, checkpoint.origin.generation, checkpoint.size)
        verify_checkpoint(checkpoint, pair)
    except (ExchangeError, KeysError):
        return False
    return True
