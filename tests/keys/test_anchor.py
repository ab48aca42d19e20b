"""PROTOCOL §4: what an agency's root signs, and what is taken for it."""

from __future__ import annotations

import hashlib
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.anchor import (
    ANCHOR_LABEL,
    EMPTY_ROOT,
    MAX_ANCHOR_BYTES,
    MAX_GATEWAYS,
    Anchor,
    anchor_from_wire,
    anchor_to_wire,
    make_anchor,
)
from keys.encoding import Value, decode, encode
from keys.errors import AnchorError, AnchorProblem, EncodingError
from keys.ids import AgencyId, GatewayName
from keys.signing import sign_labelled, verify_labelled
from tests.keys.builders import (
    BKA,
    GW1,
    GW2,
    NOW,
    anchor,
    anchor_body,
    gateway_entry,
    node_pair,
    root_pair,
    seed,
    tls_root,
    witness_pair,
)
from tests.keys.test_encoding import values

NEUTRAL = (1).to_bytes(32, "little")


def fields_of(signed: Anchor) -> list[Any]:
    value = decode(signed.body_bytes, max_bytes=MAX_ANCHOR_BYTES)
    assert isinstance(value, list)
    return value


def signed_fields(fields: Value) -> list[Value]:
    """The wire form of an anchor whose root signs whatever it is given, as a hostile agency's would."""
    body_bytes = encode(fields)
    return [body_bytes, *sign_labelled(root_pair(), ANCHOR_LABEL, body_bytes)]


def problem_of(wire: Value) -> AnchorProblem:
    with pytest.raises(AnchorError) as caught:
        anchor_from_wire(wire)
    return caught.value.reason


def test_an_anchor_is_read_back_from_the_wire() -> None:
    made = anchor(gateways=[gateway_entry(), gateway_entry(name=GW2, revoked=True)])
    wire = decode(encode(anchor_to_wire(made)), max_bytes=MAX_ANCHOR_BYTES)
    assert anchor_from_wire(wire) == made
    assert made.body.gateway("gw2") == made.body.gateways[1]
    assert made.body.gateway("gw3") is None


def test_the_body_is_laid_out_as_the_protocol_writes_it() -> None:
    made = anchor()
    pair, witness, root = node_pair().public, witness_pair().public, root_pair().public
    assert fields_of(made) == [
        1,
        "bka.de",
        [["de", "Bundeskriminalamt"], ["en", "Federal Criminal Police Office"]],
        "DE",
        1,
        root.ed25519,
        root.mldsa65,
        NOW,
        made.body.expires_at,
        [
            [
                "gw1",
                1,
                0,
                hashlib.sha256(b"").digest(),
                [pair.ed25519, pair.mldsa44],
                [witness.ed25519, witness.mldsa44],
                tls_root(),
            ]
        ],
    ]
    verify_labelled(root, "tocsin anchor v1", made.body_bytes, made.ed_sig, made.mldsa_sig)
    assert made.digest == hashlib.sha256(made.body_bytes).digest()


def test_signing_the_same_body_again_gives_the_same_digest() -> None:
    first, second = anchor(), anchor()
    assert first.mldsa_sig != second.mldsa_sig
    assert first.digest == second.digest


def test_an_anchor_cannot_be_changed_in_memory() -> None:
    with pytest.raises(FrozenInstanceError):
        anchor().body.serial = 2  # type: ignore[misc]


@given(st.data())
def test_an_anchor_with_one_bit_flipped_is_refused(data: st.DataObject) -> None:
    wire = bytearray(encode(anchor_to_wire(FLIPPED)))
    at = data.draw(st.integers(0, len(wire) - 1))
    wire[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        value = decode(bytes(wire), max_bytes=MAX_ANCHOR_BYTES)
    except EncodingError:
        return  # never reaches the anchor
    with pytest.raises(AnchorError):
        anchor_from_wire(value)


FLIPPED = anchor()


@given(values)
def test_any_value_is_refused_as_an_anchor_and_nothing_worse(value: Any) -> None:
    with pytest.raises(AnchorError):
        anchor_from_wire(value)


@given(values)
def test_any_body_that_a_root_signs_is_refused_and_nothing_worse(body: Any) -> None:
    assert problem_of([encode(body), bytes(64), bytes(3309)]) is AnchorProblem.BAD_ENCODING


@given(st.integers(0, 9), values)
def test_any_field_that_a_hostile_root_signs_gives_an_anchor_or_an_anchor_error(at: int, value: Any) -> None:
    fields = fields_of(FLIPPED)
    fields[at] = value
    try:
        taken = anchor_from_wire(signed_fields(fields))
    except AnchorError:
        return
    assert taken.body_bytes == encode(fields)


def test_a_signature_by_another_root_is_refused() -> None:
    made = anchor()
    wire = [made.body_bytes, *sign_labelled(root_pair("other"), ANCHOR_LABEL, made.body_bytes)]
    assert problem_of(wire) is AnchorProblem.BAD_SIGNATURE


def test_each_half_of_the_signature_is_needed() -> None:
    made = anchor()
    other_ed, other_mldsa = sign_labelled(root_pair("other"), ANCHOR_LABEL, made.body_bytes)
    assert problem_of([made.body_bytes, other_ed, made.mldsa_sig]) is AnchorProblem.BAD_SIGNATURE
    assert problem_of([made.body_bytes, made.ed_sig, other_mldsa]) is AnchorProblem.BAD_SIGNATURE


def test_a_signature_under_another_label_is_refused() -> None:
    made = anchor()
    wire = [made.body_bytes, *sign_labelled(root_pair(), "tocsin key change v1", made.body_bytes)]
    assert problem_of(wire) is AnchorProblem.BAD_SIGNATURE


GATEWAY = fields_of(FLIPPED)[9][0]


def gateway_with(at: int, value: Any) -> list[Any]:
    changed = list(GATEWAY)
    changed[at] = value
    return changed


BAD_FIELDS: dict[str, tuple[int, Any]] = {
    "version 0": (0, 0),
    "version 2": (0, 2),
    "an agency id in capitals": (1, "BKA.de"),
    "no name": (2, []),
    "an empty name": (2, [["de", ""]]),
    "a name without its language": (2, [["", "Bundeskriminalamt"]]),
    "a language that is none": (2, [["d/e", "Bundeskriminalamt"]]),
    "a second name without its language": (2, [["de", "Bundeskriminalamt"], ["", "BKA"]]),
    "a name of three parts": (2, [["de", "a", "b"]]),
    "a name too long": (2, [["de", "x" * 257]]),
    "too many names": (2, [["de", "x"]] * 33),
    "a country in small letters": (3, "de"),
    "a country of three letters": (3, "DEU"),
    "serial 0": (4, 0),
    "a root of low order": (5, NEUTRAL),
    "a root half of another length": (6, bytes(1951)),
    "a root half under which anybody can sign": (6, bytes(1952)),
    "an end before the beginning": (8, NOW),
    "a gateway twice": (9, [GATEWAY, GATEWAY]),
    "too many gateways": (9, [gateway_with(0, f"gw{n}") for n in range(MAX_GATEWAYS + 1)]),
    "a gateway name in capitals": (9, [gateway_with(0, "GW1")]),
    "generation 0": (9, [gateway_with(1, 0)]),
    "an empty tree of another root": (9, [gateway_with(3, bytes(32))]),
    "a base root of another length": (9, [gateway_with(3, bytes(31))]),
    "a node key of low order": (9, [gateway_with(4, [NEUTRAL, GATEWAY[4][1]])]),
    "half a node pair": (9, [gateway_with(4, [GATEWAY[4][0]])]),
    "an empty node pair": (9, [gateway_with(4, [])]),
    "a witness key of low order": (9, [gateway_with(5, [NEUTRAL, GATEWAY[5][1]])]),
    "a TLS root that is no certificate": (9, [gateway_with(6, b"root")]),
    "no TLS root": (9, [gateway_with(6, None)]),
    "a gateway of six fields": (9, [GATEWAY[:6]]),
}


@pytest.mark.parametrize("name", BAD_FIELDS)
def test_an_anchor_with_one_wrong_field_is_refused_though_its_root_signed_it(name: str) -> None:
    fields = fields_of(FLIPPED)
    at, value = BAD_FIELDS[name]
    fields[at] = value
    assert problem_of(signed_fields(fields)) is AnchorProblem.BAD_ENCODING


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("version 2", "version"),
        ("no name", "names"),
        ("a country of three letters", "country"),
        ("serial 0", "serial"),
        ("an end before the beginning", "expires_at"),
        ("a gateway twice", "gateways"),
        ("generation 0", "generation"),
        ("an empty tree of another root", "base_root"),
    ],
)
def test_the_cause_of_a_refusal_names_the_field(name: str, rule: str) -> None:
    fields = fields_of(FLIPPED)
    at, value = BAD_FIELDS[name]
    fields[at] = value
    with pytest.raises(AnchorError) as caught:
        anchor_from_wire(signed_fields(fields))
    assert isinstance(caught.value.__cause__, EncodingError)
    assert caught.value.__cause__.rule == rule


@pytest.mark.parametrize("change", ["one field fewer", "one field more"])
def test_an_anchor_body_of_another_length_is_refused(change: str) -> None:
    fields = fields_of(FLIPPED)
    fields = fields[:-1] if change == "one field fewer" else [*fields, None]
    assert problem_of(signed_fields(fields)) is AnchorProblem.BAD_ENCODING


def test_an_agency_without_gateways_may_sign_an_anchor() -> None:
    assert anchor_from_wire(anchor_to_wire(anchor(gateways=[]))).body.gateways == ()


def test_names_and_gateways_may_be_as_many_and_as_long_as_the_protocol_says() -> None:
    names = tuple(("de", "x" * 256) for _ in range(32))
    gateways = tuple(gateway_entry(name=GatewayName(f"gw{number}"), revoked=True) for number in range(16))
    body = replace(anchor_body(), names=names, gateways=gateways)
    assert anchor_from_wire(anchor_to_wire(make_anchor(body, root_pair()))).body == body
    for more in (
        replace(body, names=(*names, ("de", "x"))),
        replace(body, gateways=(*gateways, gateway_entry(name=GatewayName("gw16"), revoked=True))),
        replace(body, names=(("de", "x" * 257),)),
    ):
        with pytest.raises(AnchorError):
            make_anchor(more, root_pair())


def names_of(size: int) -> list[tuple[str, str]]:
    """Names that take exactly so many bytes of a body, each with its language and the heads of both texts."""
    wide, size = divmod(size - 1_007, 1_007)
    names, size = [("de", "\U0001f514" * 250)] * wide, size + 1_007
    while size:
        one = size if size <= 206 else min(size - 40, 206)
        names.append(("de", "x" * (one - 6)))
        size -= one
    return names


def test_an_anchor_of_the_largest_body_fits_into_64_kib_and_one_byte_more_is_refused() -> None:
    assert MAX_ANCHOR_BYTES == 65_536
    largest = MAX_ANCHOR_BYTES - 64 - 3_309 - 16
    gateways = tuple(gateway_entry(name=GatewayName(f"gw{number:02}")) for number in range(16))
    body = replace(anchor_body(), gateways=gateways, names=(("de", "x" * 100),))
    missing = largest - len(make_anchor(body, root_pair()).body_bytes)
    made = make_anchor(replace(body, names=(*body.names, *names_of(missing))), root_pair())
    assert len(made.body_bytes) == largest
    assert anchor_from_wire(anchor_to_wire(made)) == made
    assert len(encode(anchor_to_wire(made))) <= MAX_ANCHOR_BYTES
    with pytest.raises(AnchorError):
        make_anchor(replace(body, names=(("de", "x" * 101), *names_of(missing))), root_pair())


def test_an_anchor_beyond_the_size_cap_is_neither_made_nor_taken() -> None:
    names = tuple((f"x-{number:08}", "ü" * 256) for number in range(32))
    gateways = tuple(gateway_entry(name=GatewayName(f"gw{number}")) for number in range(MAX_GATEWAYS))
    with pytest.raises(AnchorError):
        make_anchor(replace(anchor_body(), names=names, gateways=gateways), root_pair())
    fields = fields_of(FLIPPED)
    fields[9] = [gateway_with(6, bytes(70_000))]
    assert problem_of(signed_fields(fields)) is AnchorProblem.BAD_ENCODING


@pytest.mark.parametrize(
    "body",
    [
        replace(anchor_body(), agency=AgencyId("BKA")),
        replace(anchor_body(), names=()),
        replace(anchor_body(), country="D"),
        replace(anchor_body(), serial=0),
        replace(anchor_body(), serial=-1),
        replace(anchor_body(), expires_at=NOW),
        anchor_body(gateways=[gateway_entry(), gateway_entry()]),
        anchor_body(gateways=[gateway_entry(base_root=seed("wrong"))]),
        anchor_body(gateways=[gateway_entry(generation=0)]),
        anchor_body(gateways=[replace(gateway_entry(), tls_root=b"")]),
    ],
)
def test_what_no_peer_would_take_is_not_signed(body: Any) -> None:
    with pytest.raises(AnchorError) as caught:
        make_anchor(body, root_pair())
    assert caught.value.reason is AnchorProblem.BAD_ENCODING


def test_a_root_does_not_sign_for_another() -> None:
    with pytest.raises(AnchorError) as caught:
        make_anchor(anchor_body(), root_pair("other"))
    assert caught.value.reason is AnchorProblem.ROOT_CHANGED


def test_a_later_anchor_has_a_base_and_an_earlier_gateway_may_be_revoked_in_it() -> None:
    entries = [gateway_entry(generation=2, base_size=70), gateway_entry(name=GW2, base_size=9, revoked=True)]
    made = anchor_from_wire(anchor_to_wire(anchor(serial=2, gateways=entries)))
    assert made.body.gateways == tuple(entries)
    assert made.body.agency == BKA
    assert made.body.gateways[0].name == GW1
    assert made.body.gateways[1].node is None


def test_a_gateway_needs_no_witness() -> None:
    entries = [replace(gateway_entry(), witness=None)]
    assert anchor_from_wire(anchor_to_wire(anchor(gateways=entries))).body.gateways == tuple(entries)


def test_the_empty_tree_has_the_root_of_rfc_9162() -> None:
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
