"""Owns every error that keys/ raises; knows no sentence: leaves carry fields, and never key material.

Two families meet here and stay apart by type: what hostile bytes can cause (EncodingError, BadSignatureError,
CannotOpenError, BadKeyError, AnchorError, KeyNotValidError, KeyConflictError) and what our own disk can (KeyFileError).
"""

from __future__ import annotations

from enum import StrEnum


class KeysError(Exception):
    """Root of all errors of keys/. Never raised itself."""

    def __init__(self, *fields: object) -> None:
        if type(self) is KeysError:
            raise TypeError("KeysError is never raised itself")
        super().__init__(*fields)


class EncodingError(KeysError):
    """Bytes or text are not in the one form that PROTOCOL §2 allows.

    `rule` names the broken rule (`too_deep`, `not_minimal`, `wrong_length`, `agency_id`, …); `offset` is the byte at
    which it broke, None where a value already decoded has the wrong shape.
    """

    def __init__(self, rule: str, offset: int | None = None) -> None:
        super().__init__(rule, offset)
        self.rule = rule
        self.offset = offset


class BadSignatureError(KeysError):
    """A signature does not verify. `purpose` is the label (PROTOCOL §3), or the algorithm where there is none."""

    def __init__(self, purpose: str) -> None:
        super().__init__(purpose)
        self.purpose = purpose


class CannotOpenError(KeysError):
    """A sealed thing does not open: other key, info or purpose, or altered. One error for all: it must be no oracle."""


class BadKeyError(KeysError):
    """A key that nobody honest makes. `rule` (`wrong_length`, `low_order`, …) says what is wrong with it."""

    def __init__(self, algorithm: str, rule: str) -> None:
        super().__init__(algorithm, rule)
        self.algorithm = algorithm
        self.rule = rule


class KeyNotValidError(KeysError):
    """No known pair speaks for this size of this log (PROTOCOL §4)."""

    def __init__(self, gateway: str, generation: int, size: int) -> None:
        super().__init__(gateway, generation, size)
        self.gateway = gateway
        self.generation = generation
        self.size = size


class KeyConflictError(KeysError):
    """Two different changes of one pair: what follows the fork is contradicted (PROTOCOL §7.1)."""

    def __init__(self, gateway: str, generation: int, index: int) -> None:
        super().__init__(gateway, generation, index)
        self.gateway = gateway
        self.generation = generation
        self.index = index


class AnchorProblem(StrEnum):
    """Why an anchor is not taken."""

    BAD_ENCODING = "bad_encoding"
    BAD_SIGNATURE = "bad_signature"
    ROOT_CHANGED = "root_changed"
    ROLLBACK = "rollback"
    CONFLICT = "conflict"
    EXPIRED = "expired"
    WRONG_AGENCY = "wrong_agency"


class AnchorError(KeysError):
    """An anchor is refused."""

    def __init__(self, reason: AnchorProblem) -> None:
        super().__init__(reason)
        self.reason = reason


class KeyFileProblem(StrEnum):
    """What is wrong with a key file."""

    PERMISSIONS = "permissions"
    PASSPHRASE = "passphrase"  # noqa: S105 - a code
    FORMAT = "format"
    MISSING = "missing"
    EXISTS = "exists"
    IO = "io"


class KeyFileError(KeysError):
    """A file or directory of the keystore cannot be used as it is. `path` is text, for people."""

    def __init__(self, path: str, problem: KeyFileProblem) -> None:
        super().__init__(path, problem)
        self.path = path
        self.problem = problem
