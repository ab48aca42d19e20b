"""The body of a round: what is encoded decodes to itself, and no bytes do harm (PROTOCOL §9)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.checkpoint import Checkpoint
from exchange.proof import Proof
from exchange.round import (
    Consistency,
    Group,
    HeldHead,
    Hello,
    Known,
    Limits,
    Numbers,
    OwnHead,
    RawEnvelope,
    Result,
    Round,
    decode_error,
    decode_round,
    encode_error,
    encode_round,
)
from keys.encoding import MAX_TIME_MS, decode, encode
from keys.errors import EncodingError
from keys.ids import AgencyId, EnvelopeId, GatewayName, Origin

SPEAKER, LISTENER = AgencyId("ponal.co"), AgencyId("bka.de")
GATEWAY = GatewayName("gw1")
numbers = st.integers(0, 2**63 - 1)
times = st.integers(0, MAX_TIME_MS)
hashes = st.binary(min_size=32, max_size=32)


def checkpoints(agency: AgencyId) -> st.SearchStrategy[Checkpoint]:
    return st.builds(
        Checkpoint,
        origin=st.builds(Origin, st.just(agency), st.just(GATEWAY), st.integers(1, 9)),
        size=numbers,
        root=hashes,
        ed_signature=st.binary(min_size=64, max_size=64),
        timestamp=numbers,
        mldsa_signature=st.just(bytes(2_420)),
    )


def proofs(agency: AgencyId) -> st.SearchStrategy[Proof]:
    return st.builds(
        Proof,
        entry=st.binary(max_size=40),
        index=numbers,
        path=st.lists(hashes, max_size=3).map(tuple),
        checkpoint=checkpoints(agency),
    )


@st.composite
def held_heads(draw: st.DrawFn) -> HeldHead:
    checkpoint = draw(st.none() | checkpoints(LISTENER))
    origin, size = (
        (Origin(LISTENER, GATEWAY, 1), draw(numbers)) if checkpoint is None else (checkpoint.origin, checkpoint.size)
    )
    changes = draw(st.lists(proofs(LISTENER), max_size=1).map(tuple))
    return HeldHead(origin.gateway, origin.generation, size, draw(numbers), checkpoint, changes)


hellos = st.builds(
    Hello,
    time=times,
    head_wanted=st.booleans(),
    own=st.lists(st.builds(OwnHead, st.just(GATEWAY), numbers, numbers), max_size=2).map(tuple),
    held=st.lists(held_heads(), max_size=2).map(tuple),
    known=st.builds(Known, hashes, st.none() | hashes, numbers),
    numbers=st.builds(Numbers, numbers, numbers, numbers),
    recover_since=st.none() | times,
    limits=st.builds(Limits, numbers, numbers),
)


@st.composite
def groups(draw: st.DrawFn) -> Group:
    count = draw(st.integers(1, 3))
    attachment = st.none() | st.builds(RawEnvelope, st.binary(max_size=40), st.binary(max_size=40))
    return Group(
        checkpoint=draw(checkpoints(SPEAKER)),
        consistency=draw(
            st.lists(st.builds(Consistency, numbers, st.lists(hashes, max_size=2).map(tuple)), max_size=2).map(tuple)
        ),
        indices=tuple(draw(st.lists(numbers, min_size=count, max_size=count))),
        entries=tuple(draw(st.lists(st.binary(max_size=40), min_size=count, max_size=count))),
        nodes=tuple(draw(st.lists(hashes, max_size=3))),
        attachments=tuple(draw(st.lists(attachment, min_size=count, max_size=count))),
    )


rounds = st.builds(
    Round,
    hello=hellos,
    anchor=st.none(),
    key_changes=st.lists(proofs(SPEAKER), max_size=1).map(tuple),
    groups=st.lists(groups(), max_size=2).map(tuple),
    results=st.lists(
        st.builds(Result, st.binary(min_size=16, max_size=16).map(EnvelopeId), st.text("abc_", max_size=9)), max_size=2
    ).map(tuple),
)


@given(rounds)
def test_a_round_decodes_to_itself(body: Round) -> None:
    assert decode_round(encode_round(body), speaker=SPEAKER, listener=LISTENER) == body


@given(st.binary(max_size=400))
def test_any_bytes_are_a_round_or_an_encoding_error(data: bytes) -> None:
    with pytest.raises(EncodingError):
        decode_round(data, speaker=SPEAKER, listener=LISTENER)


@given(rounds, st.data())
def test_an_altered_round_is_refused_or_says_something_else(body: Round, data: st.DataObject) -> None:
    encoded = bytearray(encode_round(body))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= data.draw(st.integers(1, 255))
    try:
        altered = decode_round(bytes(encoded), speaker=SPEAKER, listener=LISTENER)
    except EncodingError:
        return
    assert altered != body


def _wire(body: Round) -> list[object]:
    wire = decode(encode_round(body), max_bytes=4_194_304)
    assert isinstance(wire, list)
    return wire


EMPTY = Round(Hello(1, False, (), (), Known(bytes(32), None, 0), Numbers(0, 1, 1)))


@pytest.mark.parametrize("place", [6])
def test_reserved_places_must_be_empty(place: int) -> None:
    wire = _wire(EMPTY)
    wire[place] = [[1]]
    with pytest.raises(EncodingError):
        decode_round(encode(wire), speaker=SPEAKER, listener=LISTENER)  # type: ignore[arg-type]


def test_an_error_body_carries_its_code() -> None:
    assert decode_error(encode_error("not_trusted")) == "not_trusted"
