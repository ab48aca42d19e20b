"""Owns the errors of exchange/ and the codes on the wire; knows no sentence: leaves carry fields, never content.

`ExchangeError` is what hostile bytes can cause. `ProtocolBugError` is what only our own code can: it is no
ExchangeError, so that whoever takes "the other side's fault" never swallows ours.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class ExchangeError(Exception):
    """Root of all errors of exchange/ that a remote party can cause. Never raised itself."""

    def __init__(self, *fields: object) -> None:
        if type(self) is ExchangeError:
            raise TypeError("ExchangeError is never raised itself")
        super().__init__(*fields)


class ProtocolBugError(RuntimeError):
    """Our own code asked for what the protocol forbids: a size beyond its bounds, an index that is not there, …"""


class RefusalCode(StrEnum):
    """Why something is not taken (PROTOCOL §10), on the wire and in `refused` entries."""

    TOO_LARGE = "too_large"
    MALFORMED = "malformed"
    NOT_TRUSTED = "not_trusted"
    UNSUPPORTED_VERSION = "unsupported_version"
    KEY_NOT_VALID = "key_not_valid"
    BAD_PROOF = "bad_proof"
    UNKNOWN_SENDER = "unknown_sender"
    ID_REUSED = "id_reused"
    NOT_FOR_US = "not_for_us"
    FROM_FUTURE = "from_future"
    EXPIRED_ON_ARRIVAL = "expired_on_arrival"
    CANNOT_OPEN = "cannot_open"
    INVALID_MESSAGE = "invalid_message"
    HANDLING_ABOVE_CEILING = "handling_above_ceiling"
    POLICY_DENIED = "policy_denied"
    RATE_LIMITED = "rate_limited"
    INTERNAL = "internal"
    HOP_LIMIT = "hop_limit"


class ReasonClass(StrEnum):
    """What follows from a code (PROTOCOL §10)."""

    LATER = "later"
    """Unsigned; the sender comes again."""
    RESEAL = "reseal"
    """Unsigned; the sender seals the same message anew, to the newest key."""
    FINAL = "final"
    """A signed `refused` entry, remembered and repeated."""
    DROP = "drop"
    """Unsigned and counted."""


_CLASSES: Final = {
    RefusalCode.NOT_TRUSTED: ReasonClass.LATER,
    RefusalCode.UNSUPPORTED_VERSION: ReasonClass.LATER,
    RefusalCode.KEY_NOT_VALID: ReasonClass.LATER,
    RefusalCode.FROM_FUTURE: ReasonClass.LATER,
    RefusalCode.RATE_LIMITED: ReasonClass.LATER,
    RefusalCode.INTERNAL: ReasonClass.LATER,
    RefusalCode.CANNOT_OPEN: ReasonClass.RESEAL,
    RefusalCode.BAD_PROOF: ReasonClass.DROP,
    RefusalCode.UNKNOWN_SENDER: ReasonClass.DROP,
}

FIRST_SIGNED_STEP: Final = 7
"""Before this step of admission nothing is signed: nobody is proved to have sent the thing."""


def classify(code: RefusalCode, step: int = FIRST_SIGNED_STEP) -> ReasonClass:
    """The class of a code met at `step` of admission. What is final once the issuer is proved is a drop before."""
    found = _CLASSES.get(code, ReasonClass.FINAL)
    if found is ReasonClass.FINAL and step < FIRST_SIGNED_STEP:
        return ReasonClass.DROP
    return found


class RefusalError(ExchangeError):
    """Something is refused with `code`, at `step` of admission (PROTOCOL §10)."""

    def __init__(self, code: RefusalCode, step: int) -> None:
        super().__init__(code, step)
        self.code = code
        self.step = step


class StatementProblem(StrEnum):
    """Why something is not a statement of an agency (PROTOCOL §7.1)."""

    BAD_ENCODING = "bad_encoding"
    BAD_INCLUSION_PROOF = "bad_inclusion_proof"
    BAD_CHECKPOINT_SIGNATURE = "bad_checkpoint_signature"
    WRONG_KEY = "wrong_key"
    KEY_NOT_VALID = "key_not_valid"
    RECIPIENT_MISMATCH = "recipient_mismatch"
    CONTENT_MISMATCH = "content_mismatch"


class StatementError(ExchangeError):
    """An entry with its proof is not a statement of the agency; `step` is the first of PROTOCOL §7.1 that fails."""

    def __init__(self, reason: StatementProblem, step: int) -> None:
        super().__init__(reason, step)
        self.reason = reason
        self.step = step


class EvidenceProblem(StrEnum):
    """What is wrong with an evidence file, or with one claim in it. The codes of the outer contract."""

    FILE_TRUNCATED = "file_truncated"
    NOT_EVIDENCE = "not_evidence"
    BAD_ENCODING = "bad_encoding"
    BAD_CHECKPOINT_SIGNATURE = "bad_checkpoint_signature"
    BAD_INCLUSION_PROOF = "bad_inclusion_proof"
    WRONG_KEY = "wrong_key"
    KEY_NOT_VALID = "key_not_valid"
    CARD_INVALID = "card_invalid"
    CONTENT_MISMATCH = "content_mismatch"
    RECIPIENT_MISMATCH = "recipient_mismatch"
    STATEMENT_MISSING = "statement_missing"


class EvidenceError(ExchangeError):
    """An evidence file is refused as a whole."""

    def __init__(self, reason: EvidenceProblem) -> None:
        super().__init__(reason)
        self.reason = reason
