"""Checkpoints: the note is C2SP's, byte for byte; both halves of one pair sign; nothing else counts."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.checkpoint import (
    MAX_NOTE_BYTES,
    Checkpoint,
    checkpoint_from_wire,
    checkpoint_note,
    checkpoint_to_wire,
    find_note_signer,
    find_signer,
    mldsa_message,
    note_text,
    parse_note,
    sign_checkpoint,
    verify_checkpoint,
)
from keys.encoding import Value, decode, encode
from keys.errors import BadSignatureError, EncodingError
from keys.ids import AgencyId, GatewayName, Origin
from keys.signing import NodePublicPair, verify_ed25519, verify_mldsa44
from tests.exchange.agencies import node_pair

ORIGIN = Origin(AgencyId("bka.de"), GatewayName("gw1"), 1)
ROOT = sha256(b"root").digest()
PAIR, OTHER = node_pair("bka.de", 1), node_pair("bka.de", 2)
CHECKPOINT = sign_checkpoint(ORIGIN, 4_711, ROOT, 1_795_000_000, PAIR)
NOTE = checkpoint_note(CHECKPOINT, PAIR.public)


def line_of(note: bytes, number: int) -> bytes:
    return note.split(b"\n\n")[1].splitlines(keepends=True)[number]


def with_lines(*lines: bytes, text: bytes = note_text(ORIGIN, 4_711, ROOT)) -> bytes:
    return text + b"\n" + b"".join(lines)


def test_the_text_of_a_note_is_origin_size_and_root() -> None:
    assert note_text(ORIGIN, 4_711, ROOT) == b"bka.de/gw1/1\n4711\n" + b64encode(ROOT) + b"\n"


def test_what_mldsa_signs_is_the_cosigned_message_of_c2sp() -> None:
    name = b"\x0cbka.de/gw1/1"
    expected = b"subtree/v1\n\x00" + name + (1_795_000_000).to_bytes(8, "big") + name
    expected += (0).to_bytes(8, "big") + (4_711).to_bytes(8, "big") + ROOT
    assert mldsa_message(ORIGIN, 4_711, ROOT, 1_795_000_000) == expected


def test_each_line_of_a_note_verifies_by_itself_under_its_key_id() -> None:
    note = parse_note(NOTE)
    assert (note.origin, note.size, note.root) == ("bka.de/gw1/1", 4_711, ROOT)
    ed, mldsa = note.lines
    assert ed.key_id == sha256(b"bka.de/gw1/1\n\x01" + PAIR.public.ed25519).digest()[:4]
    assert mldsa.key_id == sha256(b"bka.de/gw1/1\n\x06" + PAIR.public.mldsa44).digest()[:4]
    verify_ed25519(PAIR.public.ed25519, note_text(ORIGIN, 4_711, ROOT), ed.signature)
    timestamp = int.from_bytes(mldsa.signature[:8], "big")
    message = mldsa_message(ORIGIN, 4_711, ROOT, timestamp)
    verify_mldsa44(PAIR.public.mldsa44, message, mldsa.signature[8:])
    assert timestamp == 1_795_000_000


def test_a_note_gives_back_the_checkpoint_and_its_pair() -> None:
    found, pair = find_note_signer(parse_note(NOTE), ORIGIN, [OTHER.public, PAIR.public])
    assert found == CHECKPOINT
    assert pair == PAIR.public


def test_the_compact_form_gives_back_the_checkpoint() -> None:
    wire = decode(encode(checkpoint_to_wire(CHECKPOINT)), max_bytes=10_000)
    assert checkpoint_from_wire(wire, AgencyId("bka.de")) == CHECKPOINT


def test_the_compact_form_in_another_agency_s_name_does_not_verify() -> None:
    moved = checkpoint_from_wire(checkpoint_wire(), AgencyId("ponal.co"))
    with pytest.raises(BadSignatureError):
        verify_checkpoint(moved, PAIR.public)


def checkpoint_wire() -> list[Value]:
    wire = decode(encode(checkpoint_to_wire(CHECKPOINT)), max_bytes=10_000)
    assert isinstance(wire, list)
    return wire


@pytest.mark.parametrize(
    "changed",
    [
        {"size": 4_712},
        {"root": sha256(b"other").digest()},
        {"timestamp": 1_795_000_001},
        {"origin": Origin(AgencyId("bka.de"), GatewayName("gw1"), 2)},
        {"origin": Origin(AgencyId("bka.de"), GatewayName("gw2"), 1)},
        {"ed_signature": bytes(64)},
        {"mldsa_signature": bytes(2_420)},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_no_field_of_a_checkpoint_can_be_changed(changed: dict[str, object]) -> None:
    with pytest.raises(BadSignatureError):
        verify_checkpoint(replace(CHECKPOINT, **changed), PAIR.public)  # type: ignore[arg-type]


def test_half_of_one_pair_and_half_of_another_are_no_pair() -> None:
    theirs = sign_checkpoint(ORIGIN, 4_711, ROOT, 1_795_000_000, OTHER)
    mixed = replace(CHECKPOINT, mldsa_signature=theirs.mldsa_signature)
    with pytest.raises(BadSignatureError):
        find_signer(mixed, [PAIR.public, OTHER.public])
    note = with_lines(line_of(NOTE, 0), line_of(checkpoint_note(theirs, OTHER.public), 1))
    with pytest.raises(BadSignatureError):
        find_note_signer(parse_note(note), ORIGIN, [PAIR.public, OTHER.public])


def test_two_pairs_that_share_a_half_are_told_apart() -> None:
    sharing = NodePublicPair(PAIR.public.ed25519, OTHER.public.mldsa44)
    assert find_signer(CHECKPOINT, [sharing, PAIR.public]) == PAIR.public


@pytest.mark.parametrize("lines", [(0,), (1,), (0, 0, 1), (0, 1, 1)])
def test_one_line_of_each_type_is_needed_and_no_more(lines: tuple[int, ...]) -> None:
    note = with_lines(*(line_of(NOTE, number) for number in lines))
    with pytest.raises(BadSignatureError):
        find_note_signer(parse_note(note), ORIGIN, [PAIR.public])


def test_lines_of_both_known_pairs_are_refused() -> None:
    theirs = checkpoint_note(sign_checkpoint(ORIGIN, 4_711, ROOT, 1_795_000_000, OTHER), OTHER.public)
    note = with_lines(*(line_of(one, number) for one in (NOTE, theirs) for number in (0, 1)))
    with pytest.raises(BadSignatureError):
        find_note_signer(parse_note(note), ORIGIN, [PAIR.public, OTHER.public])


def test_lines_of_other_names_and_unknown_keys_are_ignored() -> None:
    theirs = checkpoint_note(sign_checkpoint(ORIGIN, 4_711, ROOT, 1, OTHER), OTHER.public)
    witness = "— witness.example/w1 ".encode() + b64encode(b"idid" + bytes(64)) + b"\n"
    note = with_lines(line_of(theirs, 0), line_of(NOTE, 1), witness, line_of(NOTE, 0), line_of(theirs, 1))
    assert find_note_signer(parse_note(note), ORIGIN, [PAIR.public])[0] == CHECKPOINT


def test_a_note_of_another_log_is_refused_before_its_signatures() -> None:
    other = Origin(AgencyId("bka.de"), GatewayName("gw1"), 2)
    with pytest.raises(BadSignatureError):
        find_note_signer(parse_note(NOTE), other, [PAIR.public])


def test_a_timestamp_beyond_63_bits_is_refused() -> None:
    mldsa = parse_note(NOTE).lines[1]
    blob = mldsa.key_id + b"\xff" * 8 + mldsa.signature[8:]
    note = with_lines(line_of(NOTE, 0), "— bka.de/gw1/1 ".encode() + b64encode(blob) + b"\n")
    with pytest.raises(BadSignatureError):
        find_note_signer(parse_note(note), ORIGIN, [PAIR.public])


def bad_text(origin: str = "bka.de/gw1/1", size: str = "4711", root: str | None = None, more: str = "") -> bytes:
    text = f"{origin}\n{size}\n{b64encode(ROOT).decode() if root is None else root}\n{more}"
    return with_lines(line_of(NOTE, 0), line_of(NOTE, 1), text=text.encode())


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"\n\n",
        NOTE[:-1],
        NOTE + b"\n",
        NOTE.replace(b"\n\n", b"\n"),
        NOTE.replace(b"\n", b"\r\n"),
        NOTE.replace("—".encode(), b"-", 1),
        NOTE.replace(b"bka.de", b"bka\xff"),
        b" " * (MAX_NOTE_BYTES + 1),
        with_lines(),
        with_lines("— bka.de/gw1/1 AAAA\n".encode()),
        with_lines("— bka+de AAAAAAAA\n".encode()),
        with_lines("— bka\u00a0de AAAAAAAA\n".encode()),
        with_lines("— bka.de/gw1/1\n".encode()),
        with_lines("— bka.de/gw1/1 AAAAAAA\n".encode()),
        with_lines("— bka.de/gw1/1 AAAAAAB=\n".encode()),
        bad_text(origin=""),
        bad_text(size="04711"),
        bad_text(size="+4711"),
        bad_text(size="4_711"),
        bad_text(size="٤٧١١"),
        bad_text(size=str(2**63)),
        bad_text(size=""),
        bad_text(root=b64encode(ROOT[:31]).decode()),
        bad_text(root=b64encode(ROOT).decode().rstrip("=")),
        bad_text(root=b64encode(ROOT).decode().replace("=", "") + "=\t"),
        bad_text(more="extension line\n"),
        bad_text(more="\n"),
    ],
)
def test_what_is_not_exactly_a_checkpoint_s_note_is_not_read(note: bytes) -> None:
    with pytest.raises(EncodingError):
        parse_note(note)


@pytest.mark.parametrize(
    ("position", "value"),
    [(0, "GW1"), (0, b"gw1"), (1, 0), (2, True), (3, bytes(31)), (4, bytes(63)), (5, None), (6, bytes(2_421))],
)
def test_a_compact_checkpoint_of_another_shape_is_not_read(position: int, value: Value) -> None:
    wire = checkpoint_wire()
    wire[position] = value
    with pytest.raises(EncodingError):
        checkpoint_from_wire(wire, AgencyId("bka.de"))


@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_note_or_an_encoding_error(data: bytes) -> None:
    try:
        note = parse_note(data)
    except EncodingError:
        return
    with pytest.raises(BadSignatureError):
        find_note_signer(note, ORIGIN, [PAIR.public])


@given(st.data())
def test_no_byte_of_a_note_can_be_changed(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(NOTE) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != NOTE[at]))
    changed = NOTE[:at] + bytes([byte]) + NOTE[at + 1 :]
    with pytest.raises((EncodingError, BadSignatureError)):
        find_note_signer(parse_note(changed), ORIGIN, [PAIR.public])


def test_signing_asks_for_exactly_two_signatures() -> None:
    asked: list[bytes] = []

    class Signer:
        def sign_ed25519(self, message: bytes) -> bytes:
            asked.append(message)
            return bytes(64)

        def sign_mldsa(self, message: bytes) -> bytes:
            asked.append(message)
            return bytes(2_420)

    made = sign_checkpoint(ORIGIN, 1, ROOT, 7, Signer())
    assert made == Checkpoint(ORIGIN, 1, ROOT, bytes(64), 7, bytes(2_420))
    assert asked == [note_text(ORIGIN, 1, ROOT), mldsa_message(ORIGIN, 1, ROOT, 7)]
