"""What recipients may do with a message. Owns the handling block, its contradictions, and what this version can honour.

Handling is part of the message and replaced as a whole: a marking beside the message would be lost on the way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

from exchange.alerts.codes import code_list
from exchange.alerts.problems import MARKING_RULE, Problem
from exchange.alerts.values import (
    AGENCY_ID,
    TIME_EXAMPLE,
    Flag,
    In,
    OneOf,
    Part,
    Pointer,
    Rule,
    Sentence,
    Short,
    Time,
    Truth,
    Whole,
    broken,
    fields_of,
    may,
    need,
)
from exchange.alerts.world import is_country

H_CODES: Final = ("H0", "H1", "H2", "H3")
_ONWARD: Final = ("none", "same_agency", "national", "listed", "consent")
_EVIDENCE: Final = ("no", "with_consent", "yes")


def _agency_or_country(text: str) -> str:
    if not is_country(text) and re.fullmatch(AGENCY_ID, text) is None:
        raise broken("agency_or_country", f"{text!r} is neither an agency id nor a country", "bka.de")
    return text


class Onward(Part):
    """To whom the recipient may pass it on."""

    allowed: Annotated[str, OneOf(*_ONWARD)] = need("to whom", "consent")
    listed: list[Annotated[str, Rule(_agency_or_country)]] | None = may(
        "agencies or countries, where `allowed` is listed", ["bka.de"], alias="list"
    )


class Audience(Part):
    """Who inside the receiving agency may read it."""

    roles: list[Annotated[str, In("L52")]] | None = may("roles", ["duty_officer", "command"])
    named: list[Short] | None = may("officers", ["duty-07"])
    max_readers: Annotated[int, Whole(1, 10_000)] | None = may("at most so many readers", 3)


class Handling(Part):
    """Marking, permission and retention."""

    h: list[Annotated[str, OneOf(*H_CODES)]] = need("Europol handling codes; H0 always", ["H0", "H2"])
    h3_text: Sentence | None = may("the restriction that H3 stands for", "not to be shown to the embassy")
    tlp: Annotated[str, In("L49")] = need("Traffic Light Protocol label", "AMBER")
    permitted_actions: Annotated[str, In("L50")] = need("what the recipient may do", "stop_and_protect")
    caveats: list[Annotated[str, In("L51")]] | None = may("what nobody may do", ["NO_FAMILY_CONTACT"])
    audience: Audience | None = may("who at the recipient may read it")
    onward: Onward = need("to whom it may be passed on", {"allowed": "consent"})
    evidence_use: Annotated[str, OneOf(*_EVIDENCE)] = need("whether it may be used as evidence", "with_consent")
    originator_anonymous: Flag | None = may("the originator is not to be named to third parties")
    victim_identity: Annotated[str, OneOf("full", "initials", "pseudonym", "withheld")] = need(
        "how much of the victim's identity is shown", "full"
    )
    redactions: list[Pointer] | None = may("what was removed for this recipient", ["/persons/0/names"])
    retain_until: Time = need("when it must be erased", TIME_EXAMPLE)
    review_at: Time = need("when keeping it must be reviewed", TIME_EXAMPLE)
    log_reads: Annotated[bool, Truth()] = need("each reading is logged with its reason", True)
    confidential_existence: Flag | None = may("even that this exists is secret")


# What this version's nodes do or show for each field. A field that is not here is a requirement of a later version.
_UNDERSTOOD: Final = frozenset(fields_of(Handling)) - {"audience"}


def unsupported_handling(document: Mapping[str, Any]) -> str | None:
    """The first handling requirement of a document that this version cannot honour, for example `h.H4`; None if none.

    A machine must know a rule to keep it: unknown codes of h, tlp, onward and evidence_use, and fields of handling that
    this version does not know, are refused. So is `audience`: no node enforces it yet. Caveats and permitted actions
    are orders to people; they are shown as they came, known or not.
    """
    handling = document.get("handling")
    if not isinstance(handling, Mapping):
        return None
    for name in handling:
        if name not in _UNDERSTOOD and handling[name] is not None:
            return str(name)
    return next(_unknown_codes(handling), None)


def _unknown_codes(handling: Mapping[str, Any]) -> Iterator[str]:
    # A kind that this version does not know has had its header judged only: any value may be of any type here.
    marks = handling.get("h", [])
    yield from (f"h.{mark}" for mark in (marks if isinstance(marks, list) else [marks]) if mark not in H_CODES)
    if handling.get("tlp", "RED") not in code_list("L49"):
        yield f"tlp.{handling['tlp']}"
    onward = handling.get("onward", {})
    if not isinstance(onward, Mapping):
        yield f"onward.{onward}"
    else:
        if onward.get("allowed", "none") not in _ONWARD:
            yield f"onward.{onward['allowed']}"
        yield from (f"onward.{name}" for name in onward if name not in fields_of(Onward))
    if handling.get("evidence_use", "no") not in _EVIDENCE:
        yield f"evidence_use.{handling['evidence_use']}"


def contradictions(tree: Mapping[str, Any]) -> Iterator[Problem]:
    """Markings that cannot both be meant, or not with this content. `tree` is typed as an analyst left it."""
    handling = tree.get("handling")
    if not isinstance(handling, Mapping):
        return
    tlp, marks, caveats = handling.get("tlp"), _strings(handling.get("h")), _strings(handling.get("caveats"))
    onward = handling.get("onward")
    allowed = onward.get("allowed") if isinstance(onward, Mapping) else None
    if tlp in ("CLEAR", "GREEN") and "H2" in marks:
        yield _contradiction("/handling/tlp", f"TLP:{tlp} lets readers pass it on, H2 forbids it", "AMBER")
    if tlp == "CLEAR" and any(tree.get(name) for name in ("persons", "comms")):
        yield _contradiction("/handling/tlp", "TLP:CLEAR is for the public, and this names persons", "AMBER")
    if "H2" in marks and allowed == "national":
        yield _contradiction("/handling/onward/allowed", "H2 forbids passing it on without consent", "consent")
    if tlp == "RED" and allowed in ("national", "listed"):
        yield _contradiction("/handling/onward/allowed", "TLP:RED is for the named readers only", "none")
    if "H1" in marks and handling.get("evidence_use") == "yes":
        yield _contradiction("/handling/evidence_use", "H1 forbids use in court without permission", "with_consent")
    if "NO_MEDIA" in caveats:
        yield from _publicity(tree, handling)
    if "EXERCISE" in caveats and tree.get("status") in (None, "actual"):
        yield _contradiction("/status", "the caveat EXERCISE stands in a message with status actual", "exercise")


def _publicity(tree: Mapping[str, Any], handling: Mapping[str, Any]) -> Iterator[Problem]:
    if handling.get("permitted_actions") == "public_appeal":
        yield _contradiction(
            "/handling/permitted_actions", "NO_MEDIA, yet a public appeal is permitted", "discreet_check"
        )
    incident = tree.get("incident")
    media = incident.get("media") if isinstance(incident, Mapping) else None
    if isinstance(media, Mapping) and media.get("state") == "appeal_authorised":
        yield _contradiction("/incident/media/state", "NO_MEDIA, yet an appeal is authorised", "blackout")


def _contradiction(path: str, message: str, example: str) -> Problem:
    return Problem(path, MARKING_RULE, message, example)


def _strings(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
