"""States and reasons as sentences for a person at three in the morning (promise P6). Owns prose only; nothing depends
on its words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_WAITING: Mapping[str, str] = {
    "peer_pending": "{name} is not confirmed here yet: nobody has typed its safety code.",
    "peer_suspended": "{name} is suspended here; the message stays queued and sealed.",
    "held_by_operator": "An operator holds this message back.",
    "anchor_expired": "The card of {name} has expired; only flash and immediate messages still go.",
    "disk_low": "This node's disk is nearly full.",
    "peer_does_not_trust_us": "{name} answers, but does not trust this agency. This is not a network fault.",
    "connecting": "The first contact with {name} is being made.",
    "unreachable": "{name} cannot be reached over the network.",
    "backoff": "The last attempts to reach {name} failed; the next is scheduled.",
    "no_epoch_key": "{name} has not yet sent a key to seal to.",
    "cannot_open": "{name} no longer had the key for this envelope; the message is being sealed to a newer one.",
    "from_future": "{name} finds the message dated in the future: one of the two clocks is wrong.",
    "not_trusted": "{name} answers, but does not trust this agency. This is not a network fault.",
    "key_not_valid": "{name} does not accept this node's signing key yet.",
    "unsupported_version": "{name} runs a version that does not speak ours.",
    "rate_limited": "{name} asked to slow down.",
    "internal": "{name} could not process the message just now.",
}

_REFUSED: Mapping[str, str] = {
    "too_large": "the envelope is larger than it takes",
    "malformed": "the envelope could not be opened or parsed",
    "not_for_us": "it is not the addressee",
    "expired_on_arrival": "it arrived after its time",
    "id_reused": "its id was already used for other content",
    "hop_limit": "it passed too many relays",
    "policy_denied": "a rule of that agency does not allow it",
    "handling_above_ceiling": "its handling marking cannot be honoured there",
    "invalid_message": "the document is not valid for its kind",
}

_STATES: Mapping[str, str] = {
    "in_custody": "A relay holds it for {name}.",
    "expired": "Trying stopped at its deadline; whether {name} has it is not known.",
    "stored": "{name} holds it, with a signed receipt; nobody has opened it yet.",
    "opened": "An officer at {name} has opened it; no decision yet.",
    "accepted": "{name} has accepted it.",
    "rejected": "{name} has rejected it.",
    "actioned": "{name} has acted on it.",
}


def waiting_sentence(name: str, recipient: Mapping[str, Any]) -> str:
    """One sentence about one recipient (an R document)."""
    state, reason = recipient["state"], recipient["reason"]
    if state == "queued":
        return _WAITING.get(reason or "", "Queued for {name}.").format(name=name)
    if state == "refused":
        why = _REFUSED.get(reason or "", f"code {reason}")
        return f"The machine of {name} refused it: {why}."
    return _STATES[state].format(name=name)


def next_step(agency: str, phone: str | None, recipient: Mapping[str, Any], message_id: str) -> str:
    """What to do about it, as a command or a phone call."""
    state, reason = recipient["state"], recipient["reason"]
    call = f"call {phone}" if phone else "call their duty desk"
    if state == "queued":
        match reason:
            case "peer_pending":
                return f"compare the safety code by phone, then: tocsin peer add CARD --code CODE (for {agency})"
            case "peer_suspended":
                return f"tocsin peer resume {agency}"
            case "peer_does_not_trust_us" | "not_trusted":
                return f"{call}: ask them to confirm or resume our card"
            case "disk_low":
                return "free disk space; receipts, cancels and flash still pass"
            case "unreachable" | "backoff":
                return f"nothing to do, it is tried again by itself; if it is urgent, {call}; tocsin doctor {agency}"
            case "from_future":
                return "check this machine's clock (tocsin doctor)"
            case _:
                return f"nothing to do; tocsin doctor {agency} tests the line"
    if state in ("refused", "expired"):
        return f"{call}; then: tocsin resend {message_id} --to {agency}"
    if state == "stored":
        return f"{call} if it is urgent: nobody has looked yet"
    return "nothing to do"
