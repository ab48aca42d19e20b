"""What an operator hears when a recipient may not have a message. Owns these sentences; decides nothing."""

from __future__ import annotations

from collections.abc import Sequence

from exchange.compose import Decision
from exchange.policy import PEER_BARS, SendBar
from nodes.errors import OperationError


def forbid(decisions: Sequence[Decision], leave_out: str) -> None:
    """Raises OperationError when one of them is a bar."""
    barred = [decision for decision in decisions if decision.bar is not None]
    if not barred:
        return
    allowed = [decision.agency for decision in decisions if decision.bar is None]
    reasons = ", ".join(f"{decision.agency}: {decision.bar}" for decision in barred)
    if not allowed:
        rest = _way_back(barred, leave_out)
    elif leave_out == "--without":
        names = [decision.agency for decision in barred]
        rest = (
            f"without them, at once: add --without {','.join(names)}; "
            f"when they can have it: tocsin resend ID --to {names[0]}"
        )
    else:
        rest = f"without them: --to {','.join(allowed)}"
    codes = {_error_code(decision) for decision in barred}
    code = next(code for code in ("unknown_agency", "peer_not_usable", "policy_denied") if code in codes)
    raise OperationError(code, f"nothing was posted; these recipients cannot have it: {reasons}", rest)


_WAYS_BACK = {
    SendBar.PEER_SUSPENDED: "tocsin peer resume {agency}, then the same again",
    SendBar.PEER_PENDING: "type the code it says by phone: tocsin peer add CARD --code CODE, then the same again",
    SendBar.UNKNOWN_AGENCY: "take its card: tocsin peer add CARD --code CODE, then the same again",
}


def _way_back(barred: Sequence[Decision], leave_out: str) -> str:
    """How a message that nobody may have gets to somebody after all."""
    ways = [_WAYS_BACK[one.bar].format(agency=one.agency) for one in barred if one.bar in _WAYS_BACK]
    if not ways:
        return "tocsin peer list shows whom you can send to"
    if leave_out != "--without":
        return f"{ways[0]}; tocsin peer list shows whom you can send to"
    return f"{ways[0]}; or to others only: add --to AGENCY --without {','.join(one.agency for one in barred)}"


def too_large_to_seal() -> OperationError:
    """A message that fits the limit of a document and, compressed and with what goes beside it, no envelope."""
    return OperationError(
        "too_large", "the message fills more than an envelope holds (256 KiB, compressed)", "shorten its texts"
    )


def _error_code(decision: Decision) -> str:
    if decision.bar is None:
        return ""
    if decision.bar.value in ("unknown_agency", "ourselves"):
        return "unknown_agency"
    return "peer_not_usable" if decision.bar in PEER_BARS else "policy_denied"
