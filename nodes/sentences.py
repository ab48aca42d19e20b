"""States and reasons as sentences for a person at three in the morning (promise P6). Owns prose only; nothing depends
on its words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exchange.delivery import State, decisions_conflict

_WAITING: Mapping[str, str] = {
    "peer_pending": "{name} is not confirmed here yet: nobody has typed its safety code.",
    "peer_suspended": "{name} is suspended here; the message stays queued and sealed.",
    "held_by_operator": "An operator holds this message back.",
    "anchor_expired": "The card of {name} has expired; only flash and immediate messages still go.",
    "disk_low": "This node's disk is nearly full.",
    "peer_does_not_trust_us": "{name} answers, but does not trust this agency. This is not a network fault.",
    "connecting": "It is on its way to {name}: the line is being used or made.",
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


def waiting_sentence(name: str, recipient: Mapping[str, Any], *, listens: bool = True, removed: bool = False) -> str:
    """One sentence about one recipient (an R document). `listens`: whether it has told us an address to call;
    `removed`: whether it is no peer of this node any more.
    """
    state, reason = recipient["state"], recipient["reason"]
    if state == "queued" and removed:
        return f"{name} was removed here: it is no peer of this node, and nothing goes to it."
    if state == "queued" and reason == "unreachable" and not listens:
        return f"{name} listens nowhere: this node cannot call it."
    if state == "queued":
        return _WAITING.get(reason or "", "Queued for {name}.").format(name=name)
    if state == "refused":
        why = _REFUSED.get(reason or "", f"code {reason}")
        return f"The machine of {name} refused it: {why}."
    if _contradicts_itself(recipient):
        return f"{name} has accepted it and rejected it (conflicting_decisions); both are listed by tocsin track."
    return _STATES[state].format(name=name)


def _contradicts_itself(recipient: Mapping[str, Any]) -> bool:
    return decisions_conflict(
        State(receipt["level"]) for receipt in recipient["receipts"] if receipt["level"] in ("accepted", "rejected")
    )


_WAITING_STEPS: Mapping[str, str] = {
    "peer_pending": "compare the safety code by phone, then: tocsin peer add CARD --code CODE (for {agency})",
    "peer_suspended": "tocsin peer resume {agency}",
    "peer_does_not_trust_us": "{call}: ask them to confirm or resume our card",
    "not_trusted": "{call}: ask them to confirm or resume our card",
    "disk_low": "free disk space; receipts, cancels and flash still pass",
    "unreachable": "nothing to do, it is tried again by itself; if it is urgent, {call}; tocsin doctor {agency}",
    "backoff": "nothing to do, it is tried again by itself; if it is urgent, {call}; tocsin doctor {agency}",
    "internal": "it is tried again by itself; if it is urgent, {call}: they may have it and be unable to say so",
    "from_future": "check this machine's clock (tocsin doctor)",
    "key_not_valid": "tocsin status says if this node needs a new anchor, else it passes; if it is urgent, {call}",
    "removed": "if it is to have this, type the code it says by phone: tocsin peer add CARD --code CODE (for {agency})",
    "silent": "{call}: it needs an address that others can reach (listen and endpoint in its node.toml)",
}
_STEPS: Mapping[str, str] = {
    "refused": "{call}; then: tocsin resend {message_id} --to {agency}",
    "expired": "{call}; then: tocsin resend {message_id} --to {agency}",
    "rejected": "tocsin track {message_id} shows the reason; if it is needed after all, {call}",
    "stored": "{call} if it is urgent: nobody has looked yet",
}


def next_step(
    agency: str,
    phone: str | None,
    recipient: Mapping[str, Any],
    message_id: str,
    *,
    listens: bool = True,
    removed: bool = False,
) -> str:
    """What to do about it, as a command or a phone call."""
    state, reason = recipient["state"], recipient["reason"]
    step = (
        "{call}: ask which of the two holds" if _contradicts_itself(recipient) else _STEPS.get(state, "nothing to do")
    )
    if state == "queued":
        known = "removed" if removed else "silent" if reason == "unreachable" and not listens else reason or ""
        step = _WAITING_STEPS.get(known, "nothing to do; tocsin doctor {agency} tests the line")
    call = f"call {phone}" if phone else "call their duty desk"
    return step.format(agency=agency, call=call, message_id=message_id)


def lost_sentence(name: str, state: str) -> str:
    """One sentence about a message of ours that only its recipient still has; `state`: the most it has said of it."""
    return f"{name} has {state} this message of ours and proved it; this node lost the message with an old copy."


def lost_step(phone: str | None) -> str:
    """What to do about it."""
    call = f"call {phone or 'their duty desk'}"
    return f"{call}: what it says, and whether it still stands; if it does, post it again as a new alert"
