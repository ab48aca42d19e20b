"""What every message says about itself, whatever its kind: who, when, about which case, under which law.

Owns the header's objects. What a kind adds is in the modules named after it; what is filled in is `defaults`.
"""

from __future__ import annotations

from typing import Annotated, Any

from exchange.alerts.handling import Handling
from exchange.alerts.values import (
    TIME_EXAMPLE,
    AgencyName,
    CaseId,
    Flag,
    HeaderTime,
    In,
    KindName,
    Line,
    MessageUuid,
    OneOf,
    Part,
    Rule,
    Sha256,
    Short,
    Text,
    Time,
    Truth,
    Whole,
    broken,
    may,
    need,
)
from exchange.alerts.world import Country, Language, Phone

SCHEMA = "kxa/1.0"
PRECEDENCES = ("flash", "immediate", "urgent", "priority", "routine")
UUID_EXAMPLE = "0193a5b2-7c1e-4d3a-9f00-1234567890ab"


def _schema(text: str) -> str:
    if text != SCHEMA:
        raise broken("schema", f"this version writes {SCHEMA}", SCHEMA)
    return text


class DutyContact(Part):
    """Whom the recipient can reach at any hour."""

    phone: Phone | None = may("telephone, E.164", "+573000000417")
    secure_address: Line | None = may("address on a secure network", "siena:CO-PONAL-SPOC")
    languages: list[Language] | None = may("languages spoken there", ["es", "en"])
    available_24x7: Flag | None = may("answers at any hour", True)


class Originator(Part):
    """The agency that speaks. Only it moves the alert."""

    agency_id: AgencyName = need("id of the agency on the exchange", "ponal.co")
    country: Country = need("its country", "CO")
    agency_name: Line = need("its name", "Policía Nacional de Colombia")
    unit: Line | None = may("its unit", "GAULA Cúcuta")
    officer_ref: Short = need("pseudonym of the officer", "duty-07")
    duty_contact: DutyContact = need("whom to telephone", {"phone": "+573000000417", "available_24x7": True})
    central_authority: Line | None = may("central authority for mutual legal assistance", "Fiscalía General")


class ReferencePart(Part):
    """A message that this one speaks about."""

    role: Annotated[str, OneOf("supersedes", "replies_to", "related")] = need("how it is meant", "supersedes")
    message_id: MessageUuid = need("id of that message", UUID_EXAMPLE)
    originator: AgencyName = need("agency that sent it", "ponal.co")
    sent_at: Time = need("when it was sent", TIME_EXAMPLE)
    sha256: Sha256 = need("SHA-256 of its bytes", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")


class ForeignReference(Part):
    """The case in another system."""

    system: Annotated[str, In("L53")] = need("system", "interpol_notice")
    ref: Annotated[str, Text(64)] = need("its number there", "2026/40417")


class Languages(Part):
    """Languages in which the originator writes and reads."""

    primary: Language = need("main language", "es")
    also: list[Language] | None = may("further languages", ["en"])


class LegalBasis(Part):
    """The law under which this is sent."""

    code: Annotated[str, In("L46")] = need("legal basis", "untoc")
    citation: Line | None = may("article", "art. 27(1)(b)")


class Narrative(Part):
    """The account in one language."""

    lang: Language = need("language of the text", "es")
    text: Annotated[str, Text(8000)] = need("the account", "La menor fue vista por última vez…")
    machine_translated: Flag | None = may("translated by a machine", False)


class Grading(Part):
    """How far the message is to be believed, for every fact that carries no grade of its own (LED art. 7)."""

    scheme: Annotated[str, In("L42")] = need("grading scheme", "4x4")
    source: Annotated[str, Text(8)] = need("grade of the source in that scheme", "B")
    info: Annotated[str, Text(8)] = need("grade of the information in that scheme", "2")
    source_type: Annotated[str, In("L44")] | None = may("kind of source; never who it is", "witness")
    fact: Annotated[str, OneOf("fact", "assessment", "reported", "inferred")] = need("how it is meant", "reported")
    confidence: Annotated[str, OneOf("low", "medium", "high")] | None = may("confidence", "medium")
    assessed_at: Time = need("when it was graded", TIME_EXAMPLE)
    sanitised: Annotated[bool, Truth()] = need("the source cannot be told from the text", True)


class SmallHeader(Part):
    """The header of every kind."""

    schema_: Annotated[str, Rule(_schema)] = need("version of the vocabulary", SCHEMA, alias="schema")
    kind: KindName = need("kind of message", "alert")
    message_id: MessageUuid = need("id of this message", UUID_EXAMPLE)
    case_id: CaseId = need("case", "CO-PONAL/2026/000017")
    revision: Annotated[int, Whole(1, 1_000_000, always=True)] = need("+1 with each message that moves the case", 1)
    references: list[ReferencePart] | None = may("messages that this one speaks about")
    status: Annotated[str, In("L02")] = need("whether it is real", "actual")
    precedence: Annotated[str, OneOf(*PRECEDENCES, always=True)] = need("how fast (list L03)", "immediate")
    originator: Originator = need("who speaks", {"agency_id": "ponal.co", "country": "CO"})
    sent_at: HeaderTime = need("when it was sent", TIME_EXAMPLE)
    summary: Annotated[str, Text(280)] | None = may("what the duty officer reads first; no names", "Girl, 9, taken")
    ext: dict[str, Any] | None = may("extensions, each under the name of its owner")


class FollowUpHeader(SmallHeader):
    """The header of what follows an alert. Without handling of its own, that of the case holds."""

    transfer_basis: Annotated[str, In("L47")] | None = may("basis for sending it abroad", "vital_interests")
    handling: Handling | None = may("what recipients may do with it, if other than the case says")


class FullHeader(SmallHeader):
    """The header of a message that carries a case."""

    summary: Annotated[str, Text(280)] = need(
        "what the duty officer reads first; no names", "Girl, 9, taken from school, white van towards the border"
    )
    precedence_reason: Annotated[str, Text(280)] | None = may(
        "why flash or immediate, if no life is known to be at risk", "live location of the suspect's vehicle"
    )
    local_refs: list[ForeignReference] | None = may("the case in other systems")
    created_at: Time = need("when it was written", TIME_EXAMPLE)
    respond_by: Time | None = may("when an answer is needed", TIME_EXAMPLE)
    expires_at: HeaderTime = need("when it ends unless renewed, at most 30 days on", TIME_EXAMPLE)
    languages: Languages = need("languages of the originator", {"primary": "es", "also": ["en"]})
    purpose: Annotated[str, In("L45")] = need("purpose", "save_life")
    legal_basis: list[LegalBasis] = need("law under which it is sent", [{"code": "untoc", "citation": "art. 27"}])
    transfer_basis: Annotated[str, In("L47")] | None = may("basis for sending it abroad", "vital_interests")
    handling: Handling = need(
        "what recipients may do with it; nobody but the analyst can say",
        {"tlp": "AMBER", "permitted_actions": "stop_and_protect"},
    )
    grading: Grading = need("how far it is to be believed", {"scheme": "4x4", "source": "X", "info": "4"})
    warnings: list[Annotated[str, In("L18")]] | None = may("read before everything else", ["armed"])
    narrative: list[Narrative] | None = may("the account, once per language")
