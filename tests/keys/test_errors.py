"""The errors of keys/ carry codes and fields, which callers branch on and interfaces show."""

from __future__ import annotations

import pytest

from keys.errors import (
    AnchorError,
    AnchorProblem,
    BadKeyError,
    BadSignatureError,
    CannotOpenError,
    EncodingError,
    KeyConflictError,
    KeyFileError,
    KeyFileProblem,
    KeyNotValidError,
    KeysError,
)


def test_the_codes_are_those_of_the_contract() -> None:
    assert [one.value for one in AnchorProblem] == [
        "bad_encoding",
        "bad_signature",
        "root_changed",
        "rollback",
        "conflict",
        "expired",
        "wrong_agency",
    ]
    assert [one.value for one in KeyFileProblem] == ["permissions", "passphrase", "format", "missing", "exists", "io"]


def test_the_root_of_the_errors_is_never_raised_itself() -> None:
    with pytest.raises(TypeError):
        KeysError()


@pytest.mark.parametrize(
    ("error", "fields"),
    [
        (EncodingError("too_deep", 7), {"rule": "too_deep", "offset": 7}),
        (EncodingError("agency_id"), {"rule": "agency_id", "offset": None}),
        (BadSignatureError("label"), {"purpose": "label"}),
        (CannotOpenError(), {}),
        (BadKeyError("x25519", "low_order"), {"algorithm": "x25519", "rule": "low_order"}),
        (KeyNotValidError("gw1", 2, 3), {"gateway": "gw1", "generation": 2, "size": 3}),
        (KeyConflictError("gw1", 2, 3), {"gateway": "gw1", "generation": 2, "index": 3}),
        (AnchorError(AnchorProblem.ROLLBACK), {"reason": AnchorProblem.ROLLBACK}),
        (KeyFileError("path", KeyFileProblem.IO), {"path": "path", "problem": KeyFileProblem.IO}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_carries_its_fields_and_prints_them(error: KeysError, fields: dict[str, object]) -> None:
    assert {name: getattr(error, name) for name in fields} == fields
    assert error.args == tuple(fields.values())
