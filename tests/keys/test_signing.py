"""PROTOCOL §3: pairs that sign, each for one purpose, by one rule."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.errors import BadKeyError, BadSignatureError, EncodingError
from keys.signing import (
    AnyKeyPair,
    NodeKeyPair,
    NodePublicPair,
    RootKeyPair,
    RootPublicPair,
    WitnessKeyPair,
    WitnessPublicPair,
    sign_labelled,
    verify_ed25519,
    verify_labelled,
    verify_mldsa44,
    verify_mldsa65,
)
from tests.keys.builders import node_pair, root_pair, seed, witness_pair

LABEL = "tocsin anchor v1"
PAIRS: dict[str, AnyKeyPair] = {"root": root_pair(), "node": node_pair(), "witness": witness_pair()}
OTHERS: dict[str, AnyKeyPair] = {
    "root": root_pair("other"),
    "node": node_pair("other"),
    "witness": witness_pair("other"),
}
P = 2**255 - 19

# Points of low order and their other spellings. Under the first, `01 00 …`, R = [S]B signs anything.
DEGENERATE_ED25519 = {
    "the neutral element": (1).to_bytes(32, "little"),
    "the neutral element with a sign": (1 | 1 << 255).to_bytes(32, "little"),
    "order 2": (P - 1).to_bytes(32, "little"),
    "order 4": bytes(32),
    "order 4 with a sign": (1 << 255).to_bytes(32, "little"),
    "order 8": bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    "order 8, the other": bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    "the neutral element, not reduced": (P + 1).to_bytes(32, "little"),
    "order 4, not reduced": P.to_bytes(32, "little"),
    "not on the curve": (2).to_bytes(32, "little"),
    "all ones": b"\xff" * 32,
}


def wycheproof(shared_dir: Path, name: str) -> list[tuple[bytes, dict[str, Any]]]:
    """(public key, case) of a Wycheproof file of signatures."""
    path = shared_dir / "vectors" / "wycheproof" / name
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    cases = []
    for group in json.loads(data)["testGroups"]:
        key = group["publicKey"]
        public = bytes.fromhex(key if isinstance(key, str) else key["pk"])
        cases += [(public, case) for case in group["tests"]]
    return cases


def verdict(verify: Callable[[], None]) -> str:
    try:
        verify()
    except BadSignatureError:
        return "invalid"
    return "valid"


def test_ed25519_agrees_with_every_wycheproof_case(shared_dir: Path) -> None:
    cases = wycheproof(shared_dir, "ed25519_test.json")
    wrong = [
        case["tcId"]
        for public, case in cases
        if verdict(lambda: verify_ed25519(public, bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])))  # noqa: B023
        != case["result"]
    ]
    assert wrong == []
    assert len(cases) > 100


@pytest.mark.parametrize(("size", "verify"), [("44", verify_mldsa44), ("65", verify_mldsa65)])
def test_ml_dsa_agrees_with_every_wycheproof_case(
    shared_dir: Path, size: str, verify: Callable[[bytes, bytes, bytes, bytes], None]
) -> None:
    cases = wycheproof(shared_dir, f"mldsa_{size}_verify_test.json.gz")
    wrong = []
    for public, case in cases:
        message, signature = bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])
        context = bytes.fromhex(case.get("ctx", ""))
        if verdict(lambda: verify(public, message, signature, context)) != case["result"]:  # noqa: B023
            wrong.append(case["tcId"])
    assert wrong == []
    assert len(cases) > 100


@pytest.mark.parametrize("name", DEGENERATE_ED25519)
@pytest.mark.parametrize("purpose", ["root", "node", "witness"])
def test_a_degenerate_ed25519_key_is_refused_for_every_purpose(name: str, purpose: str) -> None:
    pair = PAIRS[purpose].public
    with pytest.raises(BadKeyError) as caught:
        replace(pair, ed25519=DEGENERATE_ED25519[name])
    assert (caught.value.algorithm, caught.value.rule) == ("ed25519", "not_a_valid_point")


@pytest.mark.parametrize("name", DEGENERATE_ED25519)
def test_nothing_verifies_under_a_degenerate_ed25519_key(name: str) -> None:
    neutral = (1).to_bytes(32, "little")
    with pytest.raises(BadSignatureError):
        verify_ed25519(DEGENERATE_ED25519[name], b"anything", neutral + bytes(32))


def test_an_ed25519_key_with_a_part_of_low_order_is_refused() -> None:
    from nacl import bindings

    order_8 = DEGENERATE_ED25519["order 8"]
    mixed = bindings.crypto_core_ed25519_add(node_pair().public.ed25519, order_8)
    with pytest.raises(BadKeyError):
        NodePublicPair(mixed, node_pair().public.mldsa44)


def test_an_ml_dsa_key_under_which_anybody_can_sign_is_refused() -> None:
    for algorithm, make in (
        ("mldsa44", lambda: NodePublicPair(node_pair().public.ed25519, seed("rho") + bytes(1280))),
        ("mldsa44", lambda: WitnessPublicPair(node_pair().public.ed25519, seed("rho") + bytes(1280))),
        ("mldsa65", lambda: RootPublicPair(root_pair().public.ed25519, seed("rho") + bytes(1920))),
    ):
        assert why(make) == (algorithm, "zero_vector")


def why(make: Callable[[], object]) -> tuple[str, str]:
    """What is wrong with a key."""
    with pytest.raises(BadKeyError) as caught:
        make()
    return caught.value.algorithm, caught.value.rule


def test_an_ml_dsa_key_whose_vector_begins_or_ends_with_zeros_is_one() -> None:
    ed25519 = node_pair().public.ed25519
    for vector in (b"\x01" + bytes(1279), bytes(1279) + b"\x01"):
        assert NodePublicPair(ed25519, bytes(32) + vector).mldsa44 == bytes(32) + vector


@pytest.mark.parametrize("change", [-1, 1])
def test_a_public_key_of_another_length_is_refused(change: int) -> None:
    node, root = node_pair().public, root_pair().public
    for algorithm, make in (
        ("ed25519", lambda: NodePublicPair(bytes(32 + change), node.mldsa44)),
        ("mldsa44", lambda: NodePublicPair(node.ed25519, b"\x01" * (1312 + change))),
        ("mldsa44", lambda: WitnessPublicPair(node.ed25519, b"\x01" * (1312 + change))),
        ("mldsa65", lambda: RootPublicPair(root.ed25519, b"\x01" * (1952 + change))),
        ("mldsa65", lambda: RootPublicPair(root.ed25519, node.mldsa44)),
    ):
        assert why(make) == (algorithm, "wrong_length")


@pytest.mark.parametrize("purpose", PAIRS)
def test_a_labelled_signature_verifies_under_its_own_pair(purpose: str) -> None:
    pair = PAIRS[purpose]
    verify_labelled(pair.public, LABEL, b"body", *sign_labelled(pair, LABEL, b"body"))


@pytest.mark.parametrize("purpose", PAIRS)
@pytest.mark.parametrize(
    "attack",
    [
        "another label",
        "another body",
        "a label that takes a byte of the body",
        "another key's ed25519 half",
        "another key's ml-dsa half",
        "an altered ed25519 half",
        "an altered ml-dsa half",
        "a short ed25519 half",
        "a short ml-dsa half",
        "no ml-dsa half",
    ],
)
def test_a_labelled_signature_with_one_thing_wrong_is_refused(purpose: str, attack: str) -> None:
    pair = PAIRS[purpose]
    other = OTHERS[purpose]
    label, body = LABEL, b"body"
    ed, mldsa = sign_labelled(pair, label, body)
    other_ed, other_mldsa = sign_labelled(other, label, body)
    match attack:
        case "another label":
            label = "tocsin key change v1"
        case "another body":
            body = b"bodz"
        case "a label that takes a byte of the body":
            label, body = LABEL[:-1], LABEL[-1].encode() + body
        case "another key's ed25519 half":
            ed = other_ed
        case "another key's ml-dsa half":
            mldsa = other_mldsa
        case "an altered ed25519 half":
            ed = bytes([ed[0] ^ 1]) + ed[1:]
        case "an altered ml-dsa half":
            mldsa = mldsa[:-1] + bytes([mldsa[-1] ^ 1])
        case "a short ed25519 half":
            ed = ed[:-1]
        case "a short ml-dsa half":
            mldsa = mldsa[:-1]
        case _:
            mldsa = b""
    with pytest.raises(BadSignatureError) as caught:
        verify_labelled(pair.public, label, body, ed, mldsa)
    assert caught.value.purpose == label


def test_what_a_label_signs_is_what_the_protocol_writes() -> None:
    ed, mldsa = sign_labelled(node_pair(), "label", b"body")
    verify_ed25519(node_pair().public.ed25519, b"label\x00body", ed)
    verify_mldsa44(node_pair().public.mldsa44, b"label\x00body", mldsa, b"label")
    ed, mldsa = sign_labelled(root_pair(), "label", b"body")
    verify_mldsa65(root_pair().public.mldsa65, b"label\x00body", mldsa, b"label")


def test_an_ml_dsa_signature_does_not_verify_under_another_context() -> None:
    signature = node_pair().sign_mldsa(b"message", b"one")
    for context in (b"", b"two", b"one\x00"):
        with pytest.raises(BadSignatureError):
            verify_mldsa44(node_pair().public.mldsa44, b"message", signature, context)


def test_a_context_may_have_255_bytes_and_no_more() -> None:
    context = b"c" * 255
    verify_mldsa44(node_pair().public.mldsa44, b"m", node_pair().sign_mldsa(b"m", context), context)
    verify_mldsa65(root_pair().public.mldsa65, b"m", root_pair().sign_mldsa(b"m", context), context)
    with pytest.raises(BadSignatureError):
        verify_mldsa44(node_pair().public.mldsa44, b"m", bytes(2420), b"c" * 256)
    with pytest.raises(BadSignatureError):
        verify_mldsa65(root_pair().public.mldsa65, b"m", bytes(3309), b"c" * 256)


def test_a_bad_signature_names_its_purpose_or_else_its_algorithm() -> None:
    node, root = node_pair().public, root_pair().public
    for verify, key, signature, algorithm in (
        (verify_ed25519, node.ed25519, bytes(64), "ed25519"),
        (verify_ed25519, node.ed25519, b"", "ed25519"),
        (verify_mldsa44, node.mldsa44, bytes(2420), "mldsa44"),
        (verify_mldsa44, node.mldsa44, b"", "mldsa44"),
        (verify_mldsa65, root.mldsa65, bytes(3309), "mldsa65"),
        (verify_mldsa65, root.mldsa65, b"", "mldsa65"),
    ):
        for purposes, expected in (({}, algorithm), ({"purpose": "checkpoint"}, "checkpoint")):
            with pytest.raises(BadSignatureError) as caught:
                verify(key, b"m", signature, **purposes)
            assert caught.value.purpose == expected


def test_without_a_context_a_signature_is_under_the_empty_one() -> None:
    for pair in (node_pair(), witness_pair()):
        verify_mldsa44(pair.public.mldsa44, b"m", pair.sign_mldsa(b"m"), b"")
        verify_mldsa44(pair.public.mldsa44, b"m", pair.sign_mldsa(b"m", b""))
    root = root_pair()
    verify_mldsa65(root.public.mldsa65, b"m", root.sign_mldsa(b"m"), b"")
    verify_mldsa65(root.public.mldsa65, b"m", root.sign_mldsa(b"m", b""))


def test_a_byte_cannot_move_between_signature_and_message() -> None:
    """The library is given both as one string: only their lengths keep them apart."""
    public, message = node_pair().public.ed25519, b"message"
    signature = node_pair().sign_ed25519(message)
    verify_ed25519(public, message, signature)
    for shorter, longer in ((signature[:63], signature[63:] + message), (signature + message[:1], message[1:])):
        with pytest.raises(BadSignatureError):
            verify_ed25519(public, longer, shorter)


def test_ml_dsa_signing_is_hedged_and_ed25519_signing_repeats_itself() -> None:
    pair = node_pair()
    assert pair.sign_mldsa(b"m") != pair.sign_mldsa(b"m")
    assert pair.sign_ed25519(b"m") == pair.sign_ed25519(b"m")
    assert (len(pair.sign_ed25519(b"m")), len(pair.sign_mldsa(b"m")), len(root_pair().sign_mldsa(b"m"))) == (
        64,
        2420,
        3309,
    )


def test_ed25519_signs_as_rfc_8032_does() -> None:
    pair = NodeKeyPair.from_seeds(
        bytes.fromhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7"), seed("any")
    )
    assert pair.public.ed25519.hex() == "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025"
    assert pair.sign_ed25519(bytes.fromhex("af82")).hex() == (
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
    )


@pytest.mark.parametrize("kind", [NodeKeyPair, WitnessKeyPair, RootKeyPair])
def test_a_pair_is_made_again_from_its_seeds(kind: type[NodeKeyPair | WitnessKeyPair | RootKeyPair]) -> None:
    pair = kind.generate()
    again = kind.from_seeds(*pair.seeds)
    assert again.public == pair.public
    verify_labelled(pair.public, LABEL, b"body", *sign_labelled(again, LABEL, b"body"))
    assert kind.generate().public != pair.public


@pytest.mark.parametrize("kind", [NodeKeyPair, WitnessKeyPair, RootKeyPair])
@pytest.mark.parametrize("lengths", [(31, 32), (33, 32), (32, 31), (32, 64), (0, 32)])
def test_seeds_of_another_length_are_refused(
    kind: type[NodeKeyPair | WitnessKeyPair | RootKeyPair], lengths: tuple[int, int]
) -> None:
    halves = ("ed25519", "mldsa65" if kind is RootKeyPair else "mldsa44")
    wrong = halves[lengths[0] == 32]
    assert why(lambda: kind.from_seeds(bytes(lengths[0]), bytes(lengths[1]))) == (wrong, "wrong_length")


@pytest.mark.parametrize("purpose", PAIRS)
def test_a_pair_does_not_show_its_secrets_when_printed(purpose: str) -> None:
    pair = PAIRS[purpose]
    for text in (repr(pair), str(pair), f"{pair}"):
        assert pair.seeds[0].hex() not in text
        assert repr(pair.seeds[0]) not in text
        assert pair.seeds[1].hex() not in text


def test_pairs_of_different_purpose_are_never_equal() -> None:
    node = node_pair()
    witness = WitnessKeyPair.from_seeds(*node.seeds)
    assert node.public != witness.public  # type: ignore[comparison-overlap]


def test_a_public_pair_is_read_back_from_the_wire() -> None:
    assert NodePublicPair.from_wire(node_pair().public.to_wire()) == node_pair().public
    assert WitnessPublicPair.from_wire(witness_pair().public.to_wire()) == witness_pair().public
    assert RootPublicPair.from_wire(root_pair().public.to_wire()) == root_pair().public


@pytest.mark.parametrize(
    "value",
    [None, b"", [], [b""], [b"", b"", b""], [b"\x01" * 32, "text"], [b"\x01" * 31, b"\x01" * 1312], [1, 2]],
    ids=repr,
)
def test_a_wire_form_of_another_shape_is_an_encoding_error(value: Any) -> None:
    for kind in (NodePublicPair, WitnessPublicPair, RootPublicPair):
        with pytest.raises(EncodingError):
            kind.from_wire(value)


def test_a_degenerate_key_on_the_wire_is_a_bad_key() -> None:
    with pytest.raises(BadKeyError):
        NodePublicPair.from_wire([DEGENERATE_ED25519["the neutral element"], node_pair().public.mldsa44])


@given(st.binary(max_size=100), st.binary(max_size=40), st.binary(max_size=100), st.binary(max_size=300))
def test_any_bytes_are_a_bad_signature_and_nothing_worse(
    message: bytes, key: bytes, signature: bytes, context: bytes
) -> None:
    with pytest.raises(BadSignatureError):
        verify_ed25519(key, message, signature)
    with pytest.raises(BadSignatureError):
        verify_mldsa44(key, message, signature, context)
    with pytest.raises(BadSignatureError):
        verify_mldsa65(key, message, signature, context)
    with pytest.raises(BadSignatureError):
        verify_mldsa44(node_pair().public.mldsa44, message, signature.ljust(2420, b"\x00"), context)
    with pytest.raises(BadSignatureError):
        verify_ed25519(key.ljust(32, b"\x00"), message, signature.ljust(64, b"\x00"))
