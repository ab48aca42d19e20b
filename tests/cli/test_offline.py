"""What needs no node: checking evidence, reading one's own card. With real signatures and proofs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exchange.card import armour, encode_card, make_card
from exchange.checkpoint import sign_checkpoint
from exchange.entry import Entry, Issued, Profile, encode_entry
from exchange.envelope import Header, body_hash, encode_header, envelope_hash
from exchange.evidence import EnvelopeItem, build_evidence
from exchange.log import inner_hash, leaf_hash
from exchange.proof import Proof
from exchange.statement import AgencyKeys, build_agency_keys
from keys.ids import EnvelopeId, Origin
from keys.safety_code import safety_code
from tests.cli.conftest import Operator, Said
from tests.cli.contract import check_document
from tests.keys.builders import BKA, DAY_MS, GW1, NOW, PONAL, anchor, node_pair, root_pair, seed

CODE = safety_code(BKA, root_pair().public)
OTHER_CODE = safety_code(BKA, root_pair("another").public)
ENVELOPE_ID = EnvelopeId(bytes(range(16)))


def keys_of(root: str = "root") -> AgencyKeys:
    return build_agency_keys([anchor(root=root)], ())


def proof_of(entry: Entry, *before: bytes) -> Proof:
    """The last entry of a log of one leaf, or of two: a log that showed two heads of one size would contradict
    itself.
    """
    encoded = encode_entry(entry)
    root = leaf_hash(encoded) if not before else inner_hash(before[0], leaf_hash(encoded))
    size = 1 + len(before)
    checkpoint = sign_checkpoint(Origin(BKA, GW1, 1), size, root, NOW // 1000, node_pair())
    return Proof(entry=encoded, index=size - 1, path=before, checkpoint=checkpoint)


def evidence(time: int = NOW, root: str = "root") -> bytes:
    """A file that proves that bka.de issued one envelope."""
    header = encode_header(
        Header(
            envelope_id=ENVELOPE_ID,
            sender=BKA,
            recipient=PONAL,
            epoch_number=1,
            precedence=0,  # type: ignore[arg-type] # its number on the wire
            sent_at=NOW,
            deliver_by=NOW + DAY_MS,
            commitment=seed("commitment"),
        )
    )
    of_body = body_hash(b"sealed")
    issued = Issued(seed("salt")[:16], time, ENVELOPE_ID, envelope_hash(header, of_body))
    return build_evidence(
        agencies=[keys_of(root)],
        links=[],
        envelopes=[EnvelopeItem(header, of_body)],
        statements=[(BKA, proof_of(issued))],
    )


def card(root: str = "root") -> str:
    profile = Profile(seed("salt")[:16], NOW, ("https://192.0.2.1:7443",), (), ("de",), "+4961155123", 1 << 20, 256, ())
    return armour(encode_card(make_card(keys_of(root), proof_of(profile, leaf_hash(b"first")), ())))


class Reader:
    """Somebody with a file and nothing else."""

    def __init__(self, directory: Path, tocsin: Operator) -> None:
        self._directory = directory
        self._tocsin = tocsin

    def __call__(self, data: bytes, *argv: str, json: bool = True) -> Said:
        path = self._directory / "e.tocsin"
        path.write_bytes(data)
        return self._tocsin("evidence", "verify", str(path), *argv, *(["--json"] if json else []))

    def file(self, name: str, text: str) -> str:
        (self._directory / name).write_text(text)
        return str(self._directory / name)


@pytest.fixture
def verify(tmp_path: Path, tocsin: Operator) -> Reader:
    return Reader(tmp_path, tocsin)


def test_a_whole_file_is_proved_under_the_condition_that_it_says_first(verify: Reader) -> None:
    said = verify(evidence())
    check_document("evidence_verify", said.json)
    assert (said.exit, said.json["verdict"], said.json["reason"]) == (0, "proved", None)
    assert said.json["anchors"] == [{"agency": "bka.de", "safety_code": CODE, "trusted": False}]
    assert [(claim["claim"], claim["agency"]) for claim in said.json["claims"]] == [("issued", "bka.de")]
    assert CODE in verify(evidence(), json=False).out.splitlines()[0]


def test_a_code_that_is_trusted_ends_the_condition(verify: Reader) -> None:
    said = verify(evidence(), "--trust", CODE.lower().replace("-", " "), "--require-trust")
    assert (said.exit, said.json["anchors"][0]["trusted"]) == (0, True)
    assert CODE not in verify(evidence(), "--trust", CODE, json=False).out


def test_a_card_that_is_trusted_does_too(verify: Reader) -> None:
    said = verify(evidence(), "--trust", verify.file("bka.card", card()), "--require-trust")
    assert (said.exit, said.json["anchors"][0]["trusted"]) == (0, True)


def test_without_the_anchor_that_was_required_nothing_is_proved(verify: Reader) -> None:
    said = verify(evidence(), "--require-trust")
    check_document("evidence_verify", said.json)
    assert (said.exit, said.json["verdict"]) == (65, "not_proved")


@pytest.mark.parametrize("as_card", [True, False], ids=["card", "code"])
def test_another_root_than_the_trusted_one_contradicts(verify: Reader, as_card: bool) -> None:
    trusted = verify.file("other.card", card("another")) if as_card else OTHER_CODE
    said = verify(evidence(), "--trust", trusted)
    check_document("evidence_verify", said.json)
    assert (said.exit, said.json["verdict"]) == (65, "contradicted")
    assert {claim["reason"] for claim in said.json["claims"]} == {"wrong_key"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "not_evidence"), (b"kind: alert\n", "not_evidence"), (evidence()[:-9], "file_truncated")],
    ids=["empty", "something else", "cut"],
)
def test_a_file_that_is_refused_says_why_and_is_no_error(verify: Reader, data: bytes, reason: str) -> None:
    said = verify(data)
    check_document("evidence_verify", said.json)
    assert "error" not in said.json
    assert (said.exit, said.json["verdict"], said.json["reason"]) == (65, "not_proved", reason)
    assert reason.replace("_", " ") in verify(data, json=False).out


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data())
def test_no_changed_byte_is_ever_proved(verify: Reader, data: st.DataObject) -> None:
    whole = bytearray(evidence())
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    said = verify(bytes(whole))
    check_document("evidence_verify", said.json)
    assert said.exit == 65 or said.json["anchors"][0]["safety_code"] != CODE


@pytest.mark.parametrize("trusted", ["nobody", "7KQ2-M9XD", "/no/such/card"])
def test_what_is_neither_card_nor_code_is_a_usage_error(verify: Reader, trusted: str) -> None:
    said = verify(evidence(), "--trust", trusted)
    assert (said.exit, said.json["error"]["code"]) == (2, "usage")


def test_a_file_that_is_no_card_is_not_trusted(verify: Reader) -> None:
    said = verify(evidence(), "--trust", verify.file("photo.jpg", "no card"))
    assert (said.exit, said.json["error"]["code"]) == (65, "invalid_card")


def test_a_file_that_is_not_there_is_an_error(tocsin: Operator, tmp_path: Path) -> None:
    said = tocsin("evidence", "verify", str(tmp_path / "nothing"), "--json")
    assert (said.exit, said.json["error"]["code"]) == (74, "io_error")


@pytest.fixture
def stopped(tocsin: Operator) -> Path:
    tocsin.directory.mkdir()
    (tocsin.directory / "node.toml").touch()
    (tocsin.directory / "card.tocsin").write_text(card())
    return tocsin.directory


def test_the_card_of_a_stopped_node_is_read_from_its_file(tocsin: Operator, stopped: Path) -> None:
    said = tocsin("card", "--json")
    check_document("card", said.json)
    assert said.exit == 0
    held = (stopped / "card.tocsin").read_text()
    assert (said.json["agency"], said.json["safety_code"], said.json["card"]) == ("bka.de", CODE, held)
    assert said.json["endpoints"] == ["https://192.0.2.1:7443"]


def test_without_json_the_card_stands_alone_on_standard_output(tocsin: Operator, stopped: Path) -> None:
    assert tocsin("card").out == (stopped / "card.tocsin").read_text()


def test_a_card_is_written_to_a_file(tocsin: Operator, stopped: Path, tmp_path: Path) -> None:
    said = tocsin("card", "-o", str(tmp_path / "handed over"))
    assert (said.exit, said.out) == (0, "")
    assert (tmp_path / "handed over").read_text() == (stopped / "card.tocsin").read_text()


def test_a_card_that_is_damaged_is_said(tocsin: Operator, stopped: Path) -> None:
    (stopped / "card.tocsin").write_text(card().replace("A", "B"))
    said = tocsin("card", "--json")
    assert (said.exit, said.json["error"]["code"]) == (65, "invalid_card")
