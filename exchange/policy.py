"""Handling rules, before sealing and before admission (promise P7). Owns the rules; knows no store, no clock, no
envelope.

Every rule is all-or-nothing for one recipient: a message is sent or admitted whole, or not at all, never as an empty
or thinned-out shell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from exchange.alerts import Headline, unsupported_handling
from exchange.errors import RefusalCode, RefusalError
from keys.ids import AgencyId
from keys.trust import Trust

# Kinds that move an alert: only its originator may send them (complaint PP-13: otherwise the originator loses control).
MOVING_KINDS = frozenset({"update", "renew", "cancel", "resolve"})
# Kinds that make no inbox row, no notice and no `opened` (DESIGN 6).
SILENT_KINDS = frozenset({"ack", "test"})

# What this version can honour, as `profile.markings` tells peers.
OWN_MARKINGS = ("H0", "H1", "H2", "H3", "TLP:CLEAR", "TLP:GREEN", "TLP:AMBER", "TLP:AMBER+STRICT", "TLP:RED")


class SendBar(StrEnum):
    """Why a message may not go to one recipient."""

    UNKNOWN_AGENCY = "unknown_agency"
    OURSELVES = "ourselves"
    PEER_PENDING = "peer_pending"
    PEER_SUSPENDED = "peer_suspended"
    ANCHOR_EXPIRED = "anchor_expired"
    NATIONAL_EYES_ONLY = "national_eyes_only"
    HANDLING_ABOVE_CEILING = "handling_above_ceiling"
    TRANSFER_BASIS_MISSING = "transfer_basis_missing"


# Bars that lie in the relation to the peer, not in the content: exit `peer_not_usable` instead of `policy_denied`.
PEER_BARS = frozenset({SendBar.PEER_PENDING, SendBar.PEER_SUSPENDED, SendBar.ANCHOR_EXPIRED})


@dataclass(frozen=True, slots=True)
class Addressee:
    """What policy needs to know of a recipient. `trust` is None for an agency without a card here; `markings` is None
    before its profile came.
    """

    agency: AgencyId
    trust: Trust | None
    country: str
    markings: tuple[str, ...] | None
    anchor_over: bool = False


def send_bar(
    document: Mapping[str, Any], headline: Headline, own_agency: AgencyId, own_country: str, to: Addressee
) -> SendBar | None:
    """The first rule that forbids sending this message to this recipient, or None. Relation first, then content."""
    if to.agency == own_agency:
        return SendBar.OURSELVES
    if to.trust is None or to.trust is Trust.REMOVED:
        return SendBar.UNKNOWN_AGENCY
    if to.trust is Trust.PENDING:
        return SendBar.PEER_PENDING
    if to.trust is Trust.SUSPENDED:
        return SendBar.PEER_SUSPENDED
    if to.anchor_over and headline.precedence not in ("flash", "immediate"):
        return SendBar.ANCHOR_EXPIRED
    if headline.kind in SILENT_KINDS:
        return None
    handling = document.get("handling") or {}
    foreign = to.country != own_country
    if foreign and "NATIONAL_EYES_ONLY" in (handling.get("caveats") or ()):
        return SendBar.NATIONAL_EYES_ONLY
    if to.markings is not None and not set(_markings(handling)) <= set(to.markings):
        return SendBar.HANDLING_ABOVE_CEILING
    if foreign and handling and not document.get("transfer_basis"):
        return SendBar.TRANSFER_BASIS_MISSING
    return None


@dataclass(frozen=True, slots=True)
class CaseFacts:
    """What the receiver already holds of the case a message speaks about."""

    alert_senders: frozenset[AgencyId] = frozenset()  # agencies whose alert with this case id lies here
    superseded_sender: AgencyId | None = None  # originator of the message named as superseded, if it lies here


def check_inbound(document: Mapping[str, Any], headline: Headline, sender: AgencyId, case: CaseFacts) -> None:
    """Steps 16 and 17 of admission (PROTOCOL §10). Raises RefusalError; returns nothing when the message may be
    shown.
    """
    if headline.kind not in SILENT_KINDS and unsupported_handling(dict(document)) is not None:
        raise RefusalError(RefusalCode.HANDLING_ABOVE_CEILING, 16)
    if headline.originator != sender:
        # An agency speaks for itself only: nobody posts in another's name through its own node.
        raise RefusalError(RefusalCode.POLICY_DENIED, 17)
    if headline.kind in MOVING_KINDS:
        foreign_target = case.superseded_sender is not None and case.superseded_sender != sender
        foreign_case = bool(case.alert_senders) and sender not in case.alert_senders
        foreign_reference = any(
            reference.get("role") == "supersedes" and reference.get("originator") != sender
            for reference in _references(document)
        )
        if foreign_target or foreign_case or foreign_reference:
            raise RefusalError(RefusalCode.POLICY_DENIED, 17)


def _markings(handling: Mapping[str, Any]) -> Sequence[str]:
    marks = [str(code) for code in handling.get("h") or ()]
    if handling.get("tlp"):
        marks.append(f"TLP:{handling['tlp']}")
    return marks


def _references(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    references = document.get("references")
    if not isinstance(references, list):
        return []
    return [reference for reference in references if isinstance(reference, dict)]
