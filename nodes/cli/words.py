"""Codes in words for the screen. Owns short words for states and reasons; the vocabulary's labels are the alerts' own.

A code that this version does not know is shown as it came: an unknown code is never "none".
"""

from __future__ import annotations

from collections.abc import Mapping

PRECEDENCES = ("flash", "immediate", "urgent", "priority", "routine")

STATES: Mapping[str, str] = {
    "queued": "waiting here",
    "in_custody": "held by a relay",
    "expired": "EXPIRED, outcome not known",
    "refused": "REFUSED by their machine",
    "stored": "delivered, nobody has looked",
    "opened": "opened, no decision",
    "accepted": "accepted",
    "rejected": "REJECTED",
    "actioned": "acted on",
}

LEVELS: Mapping[str, str] = {
    "custody": "taken over by a relay",
    "stored": "stored",
    "opened": "opened",
    "accepted": "accepted",
    "rejected": "rejected",
    "actioned": "acted on",
    "refused": "refused by machine",
    "erased": "erased",
    "issued": "issued",
}

REASONS: Mapping[str, str] = {
    "peer_pending": "not confirmed here: its safety code is still to be typed",
    "peer_suspended": "suspended here",
    "held_by_operator": "held back by an operator",
    "anchor_expired": "its card has expired",
    "disk_low": "our disk is nearly full",
    "peer_does_not_trust_us": "IT DOES NOT TRUST US: telephone, this is no network fault",
    "connecting": "on its way",
    "unreachable": "cannot be reached",
    "backoff": "failed, will be tried again",
    "no_epoch_key": "it has sent no key to seal to yet",
    "malformed": "could not be parsed there",
    "too_large": "too large for it",
    "unsupported_version": "its version does not speak ours",
    "unknown_sender": "it does not know us",
    "not_trusted": "IT DOES NOT TRUST US: telephone, this is no network fault",
    "bad_proof": "it does not accept our proof",
    "key_not_valid": "it does not accept our key yet",
    "cannot_open": "it had lost the key; sealing anew",
    "not_for_us": "not its message",
    "from_future": "one of the two clocks is wrong",
    "expired_on_arrival": "came after its time",
    "id_reused": "its id was used for other content",
    "hop_limit": "passed too many relays",
    "policy_denied": "a rule does not allow it",
    "handling_above_ceiling": "its handling cannot be honoured there",
    "invalid_message": "the document is not valid for its kind",
    "rate_limited": "it asks to slow down",
    "internal": "a fault at its node",
    "unknown_agency": "no such peer here",
    "ourselves": "that is this agency",
    "national_eyes_only": "its marking keeps it in our own country",
    "transfer_basis_missing": "it lies abroad and no transfer basis is given",
}

TRUST: Mapping[str, str] = {
    "pending": "PENDING: its safety code was not typed yet",
    "trusted": "trusted",
    "suspended": "SUSPENDED",
    "removed": "removed",
}

STATUSES: Mapping[str, str] = {
    "exercise": "EXERCISE - NOT REAL - TAKE NO ACTION",
    "test": "TEST - NOT REAL - TAKE NO ACTION",
    "system": "SYSTEM MESSAGE - NO CASE - TAKE NO ACTION",
    "draft": "DRAFT - NOT ISSUED - TAKE NO ACTION",
}

HANDLING: Mapping[str, str] = {  # Europol handling codes
    "H0": "only to prevent and combat crime",
    "H1": "not in judicial proceedings without permission",
    "H2": "not to be passed on without permission",
    "H3": "with the restrictions in the text",
}

ONWARD: Mapping[str, str] = {
    "none": "to nobody",
    "same_agency": "inside your agency",
    "national": "inside your country",
    "listed": "to those listed",
    "consent": "only after the originator consents",
}

EVIDENCE_USE: Mapping[str, str] = {"no": "no", "with_consent": "only with consent", "yes": "yes"}


def word(words: Mapping[str, str], code: object) -> str:
    """The words for a code, or the code itself; "" for null."""
    return words.get(code, code) if isinstance(code, str) else ""


def label(list_: str, code: object) -> str:
    """A code of the vocabulary's list (`L04`) in words; one that this version does not know as it came, without "_"."""
    if not isinstance(code, str):
        return ""
    from exchange.alerts.codes import meaning  # read from package data: only for who reads a page

    return meaning(list_, code) or code.replace("_", " ")


def precedence_order(precedence: object) -> int:
    """Flash first; what is unknown last."""
    return PRECEDENCES.index(precedence) if precedence in PRECEDENCES else len(PRECEDENCES)
