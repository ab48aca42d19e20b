"""Epoch keys and envelopes against published vectors, and what is kept at rest."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from keys.errors import BadKeyError, CannotOpenError, EncodingError
from keys.sealing import (
    WRAPPED_KEY_BYTES,
    AtRestKey,
    ContentKey,
    EpochKeyPair,
    check_epoch_public,
    open_sealed,
    probe_epoch_public,
    seal,
)
from tests.keys.builders import epoch_pair, seed

INFO = b"tocsin envelope v1\x00header"
P25519 = 2**255 - 19

# What `AtRestKey(seed("at rest"))` of version 1 made.
WRAPPED = (
    "c1de9259dc9a81dc13898ffa64a105b681ce512b09af4430e6b8b4b728e4ccd8"
    "f90ef1b79f7067d297ae696b28079b0dddcd8d7c9aa7b6693267359d"
)
SEALED = "5a221140182f508962e7185c8dc6ab7b2e3bff273201082b37c21aac02d680d7"
ROW = "47836c1df7dfb9e8d5facce3d2156d041eee1c89932eab9bdfd1def9639fff13"
TAG = "fda5d80526f4b5356bf32a9af7c74c9c"

LOW_ORDER_X25519 = {
    "zero": bytes(32),
    "one": (1).to_bytes(32, "little"),
    "order 8": bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    "order 8, the other": bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    "minus one": (P25519 - 1).to_bytes(32, "little"),
    "zero, not reduced": P25519.to_bytes(32, "little"),
    "one, not reduced": (P25519 + 1).to_bytes(32, "little"),
    "zero with the ignored bit": (1 << 255).to_bytes(32, "little"),
}


# RFC 9180 §5.1 and draft-connolly-cfrg-xwing-kem, written down a second time: what a peer of another make would do.


def extract(salt: bytes, material: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), material, hashlib.sha256)


def expand(key: bytes, info: bytes, length: int) -> bytes:
    output, block, counter = b"", b"", 1
    while len(output) < length:
        block = hmac.digest(key, block + info + bytes([counter]), hashlib.sha256)
        output, counter = output + block, counter + 1
    return output[:length]


def key_schedule(suite: bytes, shared: bytes, info: bytes) -> tuple[bytes, bytes]:
    """(key, base nonce) of base mode, single shot, for an AEAD of 32-byte keys."""
    prefix = b"HPKE-v1" + suite
    psk_id_hash = extract(b"", prefix + b"psk_id_hash")
    info_hash = extract(b"", prefix + b"info_hash" + info)
    context = b"\x00" + psk_id_hash + info_hash
    secret = extract(shared, prefix + b"secret")
    key = expand(secret, (32).to_bytes(2, "big") + prefix + b"key" + context, 32)
    nonce = expand(secret, (12).to_bytes(2, "big") + prefix + b"base_nonce" + context, 12)
    return key, nonce


SUITE_1 = b"HPKE" + bytes.fromhex("647a00010002")


def body_of_another_make(shared: bytes, enc: bytes, info: bytes, plaintext: bytes) -> bytes:
    """`enc || ct` of suite 1, from the KEM's shared secret on."""
    key, nonce = key_schedule(SUITE_1, shared, info)
    return enc + AESGCM(key).encrypt(nonce, plaintext, b"")


@pytest.fixture(scope="module")
def x_wing_vectors(shared_dir: Path) -> list[dict[str, Any]]:
    vectors = json.loads((shared_dir / "vectors" / "hpke" / "hpke-pq-test-vectors.json").read_text())
    return [vector for vector in vectors if vector["kem_id"] == 0x647A and vector["mode"] == 0]


def test_a_published_seed_gives_the_published_key(x_wing_vectors: list[dict[str, Any]]) -> None:
    assert len(x_wing_vectors) >= 2
    for vector in x_wing_vectors:
        pair = EpochKeyPair.from_seed(bytes.fromhex(vector["skRm"]))
        assert pair.public.hex() == vector["pkRm"]
        assert check_epoch_public(pair.public) == pair.public


def test_the_key_schedule_of_this_test_is_the_published_one(x_wing_vectors: list[dict[str, Any]]) -> None:
    """What the next test rests on; the vectors' own AEAD is ChaCha20-Poly1305, of the same key length.

    The generator of the file wrote `info` in hex twice and used what is left after undoing it once.
    """
    vector = next(vector for vector in x_wing_vectors if vector["kdf_id"] == 1)
    info = bytes.fromhex(vector["info"])
    key, nonce = key_schedule(bytes.fromhex(vector["suite_id"]), bytes.fromhex(vector["shared_secret"]), info)
    assert (key.hex(), nonce.hex()) == (vector["key"], vector["base_nonce"])


def test_a_body_made_by_others_with_a_published_encapsulation_opens(x_wing_vectors: list[dict[str, Any]]) -> None:
    for vector in x_wing_vectors:
        pair = EpochKeyPair.from_seed(bytes.fromhex(vector["skRm"]))
        shared, enc = bytes.fromhex(vector["shared_secret"]), bytes.fromhex(vector["enc"])
        body = body_of_another_make(shared, enc, INFO, b"plaintext")
        assert open_sealed(pair, INFO, body) == b"plaintext"


def test_ml_kem_agrees_with_every_wycheproof_case(shared_dir: Path) -> None:
    """Each case as half of an X-Wing key: the secret it names opens the body, implicit rejection included."""
    path = shared_dir / "vectors" / "wycheproof" / "mlkem_768_test.json.gz"
    cases = [case for group in json.loads(gzip.decompress(path.read_bytes()))["testGroups"] for case in group["tests"]]
    x25519 = X25519PrivateKey.from_private_bytes(seed("x25519 recipient"))
    ephemeral = X25519PrivateKey.from_private_bytes(seed("x25519 sender"))
    x_public, x_enc = x25519.public_key().public_bytes_raw(), ephemeral.public_key().public_bytes_raw()
    x_shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(x_public))
    opened = refused = 0
    for case in cases:
        mlkem_seed, mlkem_enc, mlkem_shared = (bytes.fromhex(case[name]) for name in ("seed", "c", "K"))
        if len(mlkem_seed) != 64:
            continue  # our private keys are X-Wing seeds; theirs of another length is a case that we cannot have
        mlkem = MLKEM768PrivateKey.from_seed_bytes(mlkem_seed)
        pair = EpochKeyPair(seed("replaced"))
        pair._private = hpke.MLKEM768X25519PrivateKey(mlkem, x25519)
        assert check_epoch_public(bytes.fromhex(case["ek"]) + x_public)
        shared = hashlib.sha3_256(mlkem_shared + x_shared + x_enc + x_public + b"\\.//^\\").digest()
        body = body_of_another_make(shared, mlkem_enc + x_enc, INFO, b"plaintext")
        if case["result"] == "valid":
            assert open_sealed(pair, INFO, body) == b"plaintext", case["tcId"]
            opened += 1
        else:
            with pytest.raises(CannotOpenError):
                open_sealed(pair, INFO, body)
            refused += 1
    assert opened > 100
    assert refused >= 20


@given(st.binary(max_size=2000), st.binary(max_size=600))
def test_what_is_sealed_opens_again(plaintext: bytes, info: bytes) -> None:
    body = seal(epoch_pair().public, info, plaintext)
    assert len(body) == 1120 + len(plaintext) + 16
    assert open_sealed(epoch_pair(), info, body) == plaintext


def test_the_same_plaintext_is_never_sealed_alike() -> None:
    assert seal(epoch_pair().public, INFO, b"x")[:1120] != seal(epoch_pair().public, INFO, b"x")[:1120]


@pytest.mark.parametrize(
    "attack", ["other info", "other key", "altered kem", "altered x25519", "altered ciphertext", "altered tag", "cut"]
)
def test_a_body_with_one_thing_wrong_does_not_open(attack: str) -> None:
    info, pair = INFO, epoch_pair()
    body = bytearray(seal(pair.public, info, b"plaintext"))
    match attack:
        case "other info":
            info = INFO + b"."
        case "other key":
            pair = epoch_pair("other")
        case "altered kem":
            body[0] ^= 1
        case "altered x25519":
            body[1119] ^= 1
        case "altered ciphertext":
            body[1120] ^= 1
        case "altered tag":
            body[-1] ^= 1
        case _:
            del body[-1]
    with pytest.raises(CannotOpenError):
        open_sealed(pair, info, bytes(body))


@given(st.binary(max_size=1300))
def test_any_bytes_cannot_be_opened_and_do_nothing_worse(body: bytes) -> None:
    with pytest.raises(CannotOpenError):
        open_sealed(epoch_pair(), INFO, body)


def test_a_body_whose_x25519_half_is_of_low_order_does_not_open() -> None:
    body = bytearray(seal(epoch_pair().public, INFO, b"plaintext"))
    body[1088:1120] = bytes(32)
    with pytest.raises(CannotOpenError):
        open_sealed(epoch_pair(), INFO, bytes(body))


@pytest.mark.parametrize("name", LOW_ORDER_X25519)
@pytest.mark.parametrize("use", [check_epoch_public, probe_epoch_public, lambda public: seal(public, INFO, b"x")])
def test_an_epoch_key_with_a_low_order_half_is_refused(name: str, use: Any) -> None:
    with pytest.raises(BadKeyError) as caught:
        use(epoch_pair().public[:1184] + LOW_ORDER_X25519[name])
    assert (caught.value.algorithm, caught.value.rule) == ("x25519", "low_order")


@pytest.mark.parametrize("at", [0, 576, 1149])
def test_an_epoch_key_with_a_coefficient_beyond_the_modulus_is_refused(at: int) -> None:
    public = bytearray(epoch_pair().public)
    public[at : at + 2] = bytes([0x01, (public[at + 1] & 0xF0) | 0x0D])  # 3,329, the modulus itself
    with pytest.raises(BadKeyError) as caught:
        check_epoch_public(bytes(public))
    assert (caught.value.algorithm, caught.value.rule) == ("mlkem768", "not_reduced")


@pytest.mark.parametrize("length", [0, 32, 1184, 1215, 1217])
def test_an_epoch_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(BadKeyError) as caught:
        check_epoch_public((epoch_pair().public * 2)[:length])
    assert (caught.value.algorithm, caught.value.rule) == ("x-wing", "wrong_length")


def test_a_key_to_which_the_library_does_not_seal_fails_its_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    class Suite:
        def encrypt(self, *_: object) -> bytes:
            raise ValueError

    monkeypatch.setattr("keys.sealing._SUITE", Suite())
    with pytest.raises(BadKeyError) as caught:
        probe_epoch_public(epoch_pair().public)
    assert (caught.value.algorithm, caught.value.rule) == ("x-wing", "does_not_seal")


def test_a_good_epoch_key_stands_its_probe() -> None:
    probe_epoch_public(EpochKeyPair.generate().public)


def test_an_epoch_pair_is_made_again_from_its_seed() -> None:
    pair = EpochKeyPair.generate()
    assert EpochKeyPair.from_seed(pair.seed).public == pair.public
    assert EpochKeyPair.generate().public != pair.public


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_seed_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(BadKeyError) as caught:
        EpochKeyPair.from_seed(bytes(length))
    assert (caught.value.algorithm, caught.value.rule) == ("x-wing", "wrong_length")


# at rest


def at_rest(name: str = "at rest") -> AtRestKey:
    return AtRestKey(seed(name))


@given(st.binary(max_size=500), st.binary(max_size=20))
def test_content_is_sealed_under_its_own_wrapped_key(plaintext: bytes, purpose: bytes) -> None:
    key = at_rest().new_content_key()
    sealed = key.seal(plaintext, purpose)
    again = at_rest().unwrap(key.wrapped)
    assert len(key.wrapped) == WRAPPED_KEY_BYTES
    assert again.open(sealed, purpose) == plaintext


def test_what_was_sealed_for_one_purpose_does_not_open_for_another() -> None:
    key = at_rest().new_content_key()
    with pytest.raises(CannotOpenError):
        key.open(key.seal(b"text", b"headline"), b"content")
    with pytest.raises(CannotOpenError):
        at_rest().open(at_rest().seal(b"text", b"draft"), b"audit")


def test_a_wrapped_key_does_not_open_under_another_at_rest_key() -> None:
    with pytest.raises(CannotOpenError):
        at_rest("another").unwrap(at_rest().new_content_key().wrapped)


def test_what_version_1_sealed_at_rest_still_opens() -> None:
    """Written once: a label that changes would lock every store."""
    key = at_rest().unwrap(bytes.fromhex(WRAPPED))
    assert key.key == seed("content key")
    assert key.open(bytes.fromhex(SEALED), b"content") == b"text"
    assert at_rest().open(bytes.fromhex(ROW), b"draft") == b"text"
    assert at_rest().tag(b"case", "DE/2026/17").hex() == TAG


def test_an_empty_plaintext_is_sealed_like_any_other() -> None:
    key = at_rest().new_content_key()
    assert key.open(key.seal(b"", b"p"), b"p") == b""
    assert open_sealed(epoch_pair(), INFO, seal(epoch_pair().public, INFO, b"")) == b""


def test_a_row_is_not_a_wrapped_key_and_a_wrapped_key_is_no_row() -> None:
    """Their subkeys differ: who can write rows must not be able to plant a content key."""
    wrapped = at_rest().new_content_key().wrapped
    with pytest.raises(CannotOpenError):
        at_rest().open(wrapped, b"content key")
    with pytest.raises(CannotOpenError):
        at_rest().unwrap(at_rest().seal(bytes(32), b"content key"))


def test_the_same_text_is_never_sealed_alike() -> None:
    key = at_rest().new_content_key()
    assert key.seal(b"x", b"p") != key.seal(b"x", b"p")
    assert at_rest().seal(b"x", b"p") != at_rest().seal(b"x", b"p")
    assert at_rest().new_content_key().key != key.key


@given(st.binary(max_size=80))
def test_any_bytes_at_rest_cannot_be_opened_and_do_nothing_worse(data: bytes) -> None:
    for use in (
        at_rest().unwrap,
        lambda d: at_rest().open(d, b"p"),
        lambda d: ContentKey(bytes(32), b"").open(d, b"p"),
    ):
        with pytest.raises(CannotOpenError):
            use(data)


@given(st.binary(min_size=1, max_size=64), st.data())
def test_an_altered_row_does_not_open(plaintext: bytes, data: st.DataObject) -> None:
    sealed = bytearray(at_rest().seal(plaintext, b"p"))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(CannotOpenError):
        at_rest().open(bytes(sealed), b"p")


def test_a_tag_is_the_same_for_the_same_text_only() -> None:
    tag = at_rest().tag(b"case", "DE/2026/17")
    assert len(tag) == 16
    assert tag == at_rest().tag(b"case", "DE/2026/17")
    others = [
        at_rest().tag(b"case", "DE/2026/18"),
        at_rest().tag(b"person", "DE/2026/17"),
        at_rest().tag(b"caseD", "E/2026/17"),
        at_rest("another").tag(b"case", "DE/2026/17"),
    ]
    assert len({tag, *others}) == 5


def test_a_tag_of_text_that_is_no_unicode_is_an_encoding_error() -> None:
    with pytest.raises(EncodingError):
        at_rest().tag(b"case", "\ud800")


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_secrets_of_another_length_are_refused(length: int) -> None:
    with pytest.raises(BadKeyError) as caught:
        AtRestKey(bytes(length))
    assert (caught.value.algorithm, caught.value.rule) == ("at rest", "wrong_length")
    with pytest.raises(BadKeyError) as caught:
        ContentKey(bytes(length), b"")
    assert (caught.value.algorithm, caught.value.rule) == ("aes256", "wrong_length")


def test_secrets_are_not_shown_when_printed() -> None:
    key = at_rest().new_content_key()
    for thing, secret in ((key, key.key), (at_rest(), seed("at rest")), (epoch_pair(), epoch_pair().seed)):
        assert secret.hex() not in repr(thing)
        assert repr(secret) not in repr(thing)
