"""PROTOCOL §4: a hundred bits that two people compare, however they write them."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.encoding import encode
from keys.errors import EncodingError
from keys.safety_code import codes_equal, normalise_code, safety_code
from tests.keys.builders import BKA, PONAL, root_pair

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
RFC_4648 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
VECTORS = json.loads((Path(__file__).parent / "vectors" / "safety_code.json").read_text())

codes = st.text(alphabet=CROCKFORD, min_size=20, max_size=20)


def test_the_code_is_what_another_base32_makes_of_the_hash() -> None:
    root = root_pair().public
    body = encode([BKA, root.ed25519, root.mldsa65])
    digest = hashlib.sha256(b"tocsin safety code v1\x00" + body).digest()
    other = base64.b32encode(digest).decode()[:20].translate(str.maketrans(RFC_4648, CROCKFORD))
    assert safety_code(BKA, root).replace("-", "") == other


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["agency"] for vector in VECTORS])
def test_a_published_root_has_its_published_code(vector: dict[str, str]) -> None:
    body = encode([vector["agency"], bytes.fromhex(vector["root_ed25519"]), bytes.fromhex(vector["root_mldsa65"])])
    digest = hashlib.sha256(b"tocsin safety code v1\x00" + body).digest()
    assert digest.hex() == vector["sha256"]
    root = root_pair().public
    assert (root.ed25519.hex(), root.mldsa65.hex()) == (vector["root_ed25519"], vector["root_mldsa65"])
    agency = {"bka.de": BKA, "ponal.co": PONAL}[vector["agency"]]
    assert safety_code(agency, root) == vector["safety_code"]


def test_the_code_depends_on_the_agency_and_on_both_root_keys() -> None:
    root, other = root_pair().public, root_pair("other").public
    mixed = [type(root)(root.ed25519, other.mldsa65), type(root)(other.ed25519, root.mldsa65)]
    shown = [safety_code(BKA, root), safety_code(PONAL, root), safety_code(BKA, other)]
    shown += [safety_code(BKA, pair) for pair in mixed]
    assert len(set(shown)) == 5


def test_a_code_is_five_groups_of_four() -> None:
    groups = safety_code(BKA, root_pair().public).split("-")
    assert [len(group) for group in groups] == [4] * 5
    assert set("".join(groups)) <= set(CROCKFORD)


@given(codes, st.data())
def test_spaces_hyphens_case_and_look_alikes_do_not_matter(code: str, data: st.DataObject) -> None:
    typed = []
    for character in code:
        choices = {"0": "0Oo", "1": "1IiLl"}.get(character, character + character.lower())
        typed.append(data.draw(st.sampled_from(choices)))
        typed.append(data.draw(st.text(alphabet=" -\t\u00a0", max_size=2)))
    assert normalise_code("".join(typed)).replace("-", "") == code
    assert codes_equal("".join(typed), code)


@given(codes)
def test_a_normal_code_is_its_own_normal_form(code: str) -> None:
    normal = normalise_code(code)
    assert normalise_code(normal) == normal


@given(codes, codes)
def test_two_codes_are_equal_exactly_when_their_characters_are(first: str, second: str) -> None:
    assert codes_equal(first, second) == (first == second)


@given(st.text(max_size=30))
def test_any_text_is_a_code_or_an_encoding_error(text: str) -> None:
    try:
        normal = normalise_code(text)
    except EncodingError:
        return
    assert len(normal) == 24
    assert set(normal) <= set(CROCKFORD + "-")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7KQ2",
        "7KQ2-M9XD-4T0A-VB3E-H6W",
        "7KQ2-M9XD-4T0A-VB3E-H6WZ-0",
        "UKQ2-M9XD-4T0A-VB3E-H6WZ",
        "7KQ2_M9XD_4T0A_VB3E_H6WZ",
    ],
)
def test_what_is_no_code_is_refused(text: str) -> None:
    with pytest.raises(EncodingError) as caught:
        normalise_code(text)
    assert caught.value.rule == "safety_code"


@pytest.mark.parametrize("character", ["\u0131", "\u017f", "\uff11", "\u0661", "\u212a"])
def test_a_foreign_letter_that_upper_case_or_folding_turns_into_ours_is_refused(character: str) -> None:
    with pytest.raises(EncodingError) as caught:
        normalise_code(character + "KQ2-M9XD-4T0A-VB3E-H6WZ")
    assert caught.value.rule == "safety_code"
