"""The body of a round (PROTOCOL §9): hello, groups, results, as values and as bytes.

Owns the shape of what two nodes say to each other in one request or answer. It does not know what is true: proofs are
verified in
`exchange.statement`, envelopes in `exchange.admit`; nothing here is believed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from exchange.checkpoint import Checkpoint, checkpoint_from_wire, checkpoint_to_wire
from exchange.proof import Proof, proof_from_wire, proof_to_wire
from keys.encoding import (
    Value,
    decode,
    encode,
    take_array,
    take_bool,
    take_bytes,
    take_int,
    take_text,
    take_time,
)
from keys.errors import EncodingError
from keys.ids import AgencyId, EnvelopeId, GatewayName, parse_gateway_name

ROUND_VERSION = 1
MAX_ROUND_BYTES = 4_194_304
MAX_ITEMS = 1_024
MIN_ROUND_BYTES = 524_288
MIN_ITEMS = 64
SLOWEST_BYTES_PER_S = 4_096  # a round may take its size over this (PROTOCOL §9.5): rural lines are slow
MAX_LOGS = 64
MAX_HELD_CHANGES = 256  # all that lead from an anchor to a head
MAX_KEY_CHANGES = 16  # a pair lasts 90 days; each costs several signature checks
MAX_PROOF_NODES = 65_536
MAX_CONSISTENCY = 8
MAX_HEADER_BYTES = 512
MAX_BODY_BYTES = 264_000
MAX_ENTRY_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Limits:
    """What a node takes in one round."""

    max_round_bytes: int = MAX_ROUND_BYTES
    max_items: int = MAX_ITEMS

    @property
    def heeded(self) -> Limits:
        """What the other plans by: not beyond the ceilings, and not so little that the largest envelope found no place
        (PROTOCOL §9).
        """
        return Limits(
            min(max(self.max_round_bytes, MIN_ROUND_BYTES), MAX_ROUND_BYTES),
            min(max(self.max_items, MIN_ITEMS), MAX_ITEMS),
        )

    @property
    def envelope_bytes(self) -> int:
        """Half of the bytes are for envelopes, the rest for entries and proofs."""
        return self.max_round_bytes // 2

    @property
    def entries(self) -> int:
        """Entries that surely find room in the other half: 1 KiB each, with its share of the proof."""
        return min(self.max_items, self.max_round_bytes // 2_048)


@dataclass(frozen=True, slots=True)
class OwnHead:
    """Durable size of one log the speaker owns. A claim without a signature: nothing depends on it but what is asked
    for.
    """

    gateway: GatewayName
    generation: int
    size: int


@dataclass(frozen=True, slots=True)
class HeldHead:
    """The highest head of one of the *other's* logs that the speaker holds. `checkpoint` is given when the hello is
    whole.
    """

    gateway: GatewayName
    generation: int
    size: int
    changes: int
    checkpoint: Checkpoint | None = None
    key_changes: tuple[Proof, ...] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """What the speaker has of the other: the other sends what is missing (PROTOCOL §9.3)."""

    anchor_digest: bytes
    profile_hash: bytes | None
    highest_epoch_key: int


@dataclass(frozen=True, slots=True)
class Numbers:
    """Envelopes received from the other: lowest number not yet seen and the next after the highest."""

    generation: int
    open_from: int
    next: int


@dataclass(frozen=True, slots=True)
class Hello:
    """What both sides say first."""

    time: int
    head_wanted: bool
    own: tuple[OwnHead, ...]
    held: tuple[HeldHead, ...]
    known: Known
    numbers: Numbers
    recover_since: int | None = None
    versions: tuple[int, ...] = (ROUND_VERSION,)
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class RawEnvelope:
    """Bytes that claim to be an envelope. First of the stage types: only `exchange.admit.parse_envelope` takes it
    further.
    """

    header: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class Consistency:
    """A proof that a head of `from_size` leaves, which the other holds, and the group's checkpoint are one history."""

    from_size: int
    nodes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Entries of one log under one checkpoint with one multi-proof; `attachments[i]` belongs to `entries[i]`."""

    checkpoint: Checkpoint
    consistency: tuple[Consistency, ...]
    indices: tuple[int, ...]
    entries: tuple[bytes, ...]
    nodes: tuple[bytes, ...]
    attachments: tuple[RawEnvelope | None, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """An unsigned code for an envelope of the request: a hint, never evidence."""

    envelope_id: EnvelopeId
    code: str


@dataclass(frozen=True, slots=True)
class Round:
    """One request, or one answer."""

    hello: Hello
    anchor: Value = None  # wire form; parsed only where it is judged
    key_changes: tuple[Proof, ...] = ()
    groups: tuple[Group, ...] = ()
    results: tuple[Result, ...] = ()


def encode_round(body: Round) -> bytes:
    """Bytes of a round."""
    return encode(
        [
            ROUND_VERSION,
            _hello_to_wire(body.hello),
            body.anchor,
            [proof_to_wire(proof) for proof in body.key_changes],
            [_group_to_wire(group) for group in body.groups],
            [[result.envelope_id, result.code] for result in body.results],
            [],
        ]
    )


def decode_round(data: bytes, *, speaker: AgencyId, listener: AgencyId) -> Round:
    """Parse what `speaker` sent to `listener`. The agencies fix whose logs the compact checkpoints stand for.

    Raises EncodingError for anything that is not a round of version 1 in its one encoding.
    """
    fields = take_array(decode(data, max_bytes=MAX_ROUND_BYTES), length=7)
    if take_int(fields[0]) != ROUND_VERSION:
        raise EncodingError("round_version")
    if take_array(fields[6], max_length=MAX_ITEMS):
        raise EncodingError("cosignatures_are_reserved")
    groups = tuple(_group_from_wire(v, speaker) for v in take_array(fields[4], max_length=MAX_LOGS))
    if sum(len(group.entries) for group in groups) > MAX_ITEMS:
        raise EncodingError("too_many_items")
    return Round(
        hello=_hello_from_wire(fields[1], listener),
        anchor=fields[2],
        key_changes=tuple(proof_from_wire(v, speaker) for v in take_array(fields[3], max_length=MAX_KEY_CHANGES)),
        groups=groups,
        results=tuple(_result_from_wire(v) for v in take_array(fields[5], max_length=MAX_ITEMS)),
    )


def encode_error(code: str) -> bytes:
    """Body of an HTTP answer that is not a round."""
    return encode([ROUND_VERSION, code])


def decode_error(data: bytes) -> str:
    """Code of an error body. Raises EncodingError."""
    fields = take_array(decode(data, max_bytes=256), length=2)
    take_int(fields[0])
    return take_text(fields[1], max_length=64)


def _hello_to_wire(hello: Hello) -> Value:
    return [
        list(hello.versions),
        [hello.limits.max_round_bytes, hello.limits.max_items],
        hello.time,
        hello.head_wanted,
        [[own.gateway, own.generation, own.size] for own in hello.own],
        [
            [
                held.gateway,
                held.generation,
                held.size,
                held.changes,
                None if held.checkpoint is None else checkpoint_to_wire(held.checkpoint),
                [proof_to_wire(proof) for proof in held.key_changes],
            ]
            for held in hello.held
        ],
        [hello.known.anchor_digest, hello.known.profile_hash, hello.known.highest_epoch_key],
        [hello.numbers.generation, hello.numbers.open_from, hello.numbers.next],
        hello.recover_since,
    ]


def _hello_from_wire(value: Value, listener: AgencyId) -> Hello:
    fields = take_array(value, length=9)
    limits = take_array(fields[1], length=2)
    known = take_array(fields[6], length=3)
    numbers = take_array(fields[7], length=3)
    return Hello(
        versions=tuple(take_int(v) for v in take_array(fields[0], max_length=16)),
        limits=Limits(take_int(limits[0]), take_int(limits[1])),
        time=take_time(fields[2]),
        head_wanted=take_bool(fields[3]),
        own=tuple(_own_from_wire(v) for v in take_array(fields[4], max_length=MAX_LOGS)),
        held=tuple(_held_from_wire(v, listener) for v in take_array(fields[5], max_length=MAX_LOGS)),
        known=Known(
            take_bytes(known[0], length=32),
            None if known[1] is None else take_bytes(known[1], length=32),
            take_int(known[2]),
        ),
        numbers=Numbers(take_int(numbers[0]), take_int(numbers[1]), take_int(numbers[2])),
        recover_since=None if fields[8] is None else take_time(fields[8]),
    )


def _own_from_wire(value: Value) -> OwnHead:
    fields = take_array(value, length=3)
    return OwnHead(parse_gateway_name(take_text(fields[0])), take_int(fields[1]), take_int(fields[2]))


def _held_from_wire(value: Value, listener: AgencyId) -> HeldHead:
    fields = take_array(value, length=6)
    held = HeldHead(
        gateway=parse_gateway_name(take_text(fields[0])),
        generation=take_int(fields[1]),
        size=take_int(fields[2]),
        changes=take_int(fields[3]),
        checkpoint=None if fields[4] is None else checkpoint_from_wire(fields[4], listener),
        key_changes=tuple(proof_from_wire(v, listener) for v in take_array(fields[5], max_length=MAX_HELD_CHANGES)),
    )
    whole = held.checkpoint
    if whole is not None and (whole.origin.gateway, whole.origin.generation, whole.size) != (
        held.gateway,
        held.generation,
        held.size,
    ):
        raise EncodingError("held_head_names_another_checkpoint")
    return held


def _group_to_wire(group: Group) -> Value:
    return [
        checkpoint_to_wire(group.checkpoint),
        [[consistency.from_size, list(consistency.nodes)] for consistency in group.consistency],
        list(group.indices),
        list(group.entries),
        list(group.nodes),
        [None if a is None else [a.header, a.body, []] for a in group.attachments],
    ]


def _group_from_wire(value: Value, speaker: AgencyId) -> Group:
    fields = take_array(value, length=6)
    indices = tuple(take_int(v) for v in take_array(fields[2], max_length=MAX_ITEMS))
    entries = tuple(take_bytes(v, max_length=MAX_ENTRY_BYTES) for v in take_array(fields[3], max_length=MAX_ITEMS))
    attachments = tuple(_attachment_from_wire(v) for v in take_array(fields[5], max_length=MAX_ITEMS))
    if not indices or len(indices) != len(entries) or len(entries) != len(attachments):
        raise EncodingError("group_lists_differ_in_length")
    return Group(
        checkpoint=checkpoint_from_wire(fields[0], speaker),
        consistency=tuple(_consistency_from_wire(v) for v in take_array(fields[1], max_length=MAX_CONSISTENCY)),
        indices=indices,
        entries=entries,
        nodes=_nodes(fields[4]),
        attachments=attachments,
    )


def _consistency_from_wire(value: Value) -> Consistency:
    fields = take_array(value, length=2)
    return Consistency(take_int(fields[0]), _nodes(fields[1], max_length=128))


def _nodes(value: Value, max_length: int = MAX_PROOF_NODES) -> tuple[bytes, ...]:
    return tuple(take_bytes(node, length=32) for node in take_array(value, max_length=max_length))


def _attachment_from_wire(value: Value) -> RawEnvelope | None:
    if value is None:
        return None
    fields = take_array(value, length=3)
    if take_array(fields[2], max_length=4):
        raise EncodingError("custody_is_reserved")
    return RawEnvelope(
        take_bytes(fields[0], max_length=MAX_HEADER_BYTES),
        take_bytes(fields[1], max_length=MAX_BODY_BYTES),
    )


def _result_from_wire(value: Value) -> Result:
    fields = take_array(value, length=2)
    return Result(EnvelopeId(take_bytes(fields[0], length=16)), take_text(fields[1], max_length=64))
