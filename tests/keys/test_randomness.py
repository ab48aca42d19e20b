"""What is drawn from the kernel, and what of it an id keeps."""

from __future__ import annotations

import pytest

from keys.ids import format_uuid
from keys.randomness import new_envelope_id, new_message_id


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        (bytes(16), "00000000-0000-4000-8000-000000000000"),
        (b"\xff" * 16, "ffffffff-ffff-4fff-bfff-ffffffffffff"),
        (bytes(range(16)), "00010203-0405-4607-8809-0a0b0c0d0e0f"),
        (bytes(range(255, 239, -1)), "fffefdfc-fbfa-49f8-b7f6-f5f4f3f2f1f0"),
    ],
    ids=["zeros", "ones", "rising", "falling"],
)
def test_an_id_keeps_every_bit_that_does_not_say_its_version(
    drawn: bytes, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keys.randomness.os.urandom", lambda length: drawn[:length])
    assert format_uuid(new_message_id()) == format_uuid(new_envelope_id()) == expected
