"""What happened, how far it is confirmed, how great the risk is, and what recipients are asked to do about it."""

from __future__ import annotations

from typing import Annotated

from exchange.alerts.values import (
    TIME_EXAMPLE,
    CaseId,
    Flag,
    In,
    Line,
    LocalId,
    OneOf,
    Paragraph,
    Part,
    Sentence,
    Short,
    Span,
    Text,
    Time,
    Truth,
    Zone,
    may,
    need,
)
from exchange.alerts.world import Country, Language


class Taken(Part):
    """When it happened, as an interval. Either end may be left out with the reason in `absent`."""

    earliest: Time | None = may("not before", "2026-11-23T02:10:00-05:00")
    latest: Time | None = may("not after", "2026-11-23T02:30:00-05:00")
    tz: Zone | None = may("time zone of the place", "America/Bogota")
    absent: Annotated[str, In("L54")] | None = may("why an end is not given", "unknown")


class LastSeen(Part):
    """When, where and by whom the victim was last seen."""

    at: Time | None = may("when", TIME_EXAMPLE)
    location: LocalId | None = may("where (id of a location)", "l1")
    by: LocalId | None = may("by whom (id of a person)", "p2")
    note: Sentence | None = may("note", "getting into the van")


class Reported(Part):
    """How the police came to know."""

    at: Time = need("when", TIME_EXAMPLE)
    by: Annotated[str, In("L08")] | None = may("by whom", "family")
    channel: Annotated[str, In("L23")] | None = may("over which channel", "phone_mobile")
    delay_reason: Sentence | None = may("why it came late", "the family was told to keep silent")


class CrossBorder(Part):
    """Whether a border was, or may be, crossed."""

    suspected: Annotated[bool, Truth()] = need("a crossing is suspected", True)
    direction: list[Country] | None = may("towards", ["VE"])
    route: list[LocalId] | None = may("along these locations", ["l1", "l2"])
    border_crossed: Time | None = may("when it was crossed", TIME_EXAMPLE)


class Method(Part):
    """How it was done."""

    approach: Annotated[str, In("L07")] | None = may("approach", "school")
    force_used: Flag | None = may("force was used")
    weapons: list[Annotated[str, In("L13")]] | None = may("weapons", ["handgun"])
    restraint: list[Short] | None = may("restraints", ["cable ties"])
    drugged: Flag | None = may("the victim was drugged")
    impersonated_authority: Flag | None = may("the offenders posed as an authority")
    note: Paragraph | None = may("note")


class Group(Part):
    """The group behind it."""

    name: Line | None = may("name", "unknown")
    alias: list[Line] | None = may("other names")
    type: Annotated[str, In("L10")] | None = may("kind of group", "organised_crime")
    claim: Annotated[str, OneOf("none", "claimed", "attributed")] | None = may("how it is tied to the group", "none")


class Offence(Part):
    """The offence in law."""

    national_law: Line | None = may("provision", "art. 169 Código Penal")
    ncic: Annotated[str, Text(8)] | None = may("NCIC code", "1005")
    iccs: Annotated[str, Text(12)] | None = may("ICCS code", "020221")
    penalty_ge_4y: Flag | None = may("serious crime under UNTOC: four years or more", True)


class RelatedCase(Part):
    """Another case."""

    case_id: CaseId = need("that case", "CO-PONAL/2026/000011")
    relation: Annotated[str, In("L56")] = need("how it is related", "same_vehicle")


class Risk(Part):
    """How great the danger is."""

    level: Annotated[str, OneOf("extreme", "severe", "moderate", "low", "unknown")] = need("level", "extreme")
    life_at_risk: Annotated[bool, Truth()] = need("a life is at risk", True)
    reasons: list[Annotated[str, In("L11")]] | None = may("why", ["child_under_13"])
    assessed_at: Time = need("when it was assessed", TIME_EXAMPLE)
    next_review: Time | None = may("when it will be assessed again", TIME_EXAMPLE)


class PublicText(Part):
    """What the public may be told."""

    lang: Language = need("language", "es")
    text: Paragraph = need("text", "La Policía busca…")


class Media(Part):
    """What is known in public, and what may be."""

    state: Annotated[str, OneOf("blackout", "limited", "appeal_authorised", "leaked")] = need("state", "blackout")
    public_text: list[PublicText] | None = may("text for the public")
    public_photo: LocalId | None = may("photograph for the public (id of an attachment)")


class FamilyPolicy(Part):
    """How the family is dealt with."""

    told_police: Annotated[str, OneOf("yes", "no", "unknown")] | None = may("the family told the police", "yes")
    family_contact: Annotated[str, OneOf("via_originator_only", "allowed")] | None = may(
        "contact with the family", "via_originator_only"
    )
    liaison_officer: Short | None = may("liaison officer", "flo-02")


class Incident(Part):
    """The event."""

    type: Annotated[str, In("L04")] = need("kidnapping type; `unknown` is allowed", "child_nonfamily")
    type_also: list[Annotated[str, In("L04")]] | None = may("further types", ["ransom"])
    motive: list[Annotated[str, In("L05")]] | None = may("motives", ["money"])
    confirmation: Annotated[str, OneOf("suspected", "probable", "confirmed", "disproved")] = need(
        "how far it is confirmed", "confirmed"
    )
    phase: Annotated[str, In("L06")] = need("phase of the case", "confirmed_no_contact")
    attempted: Flag | None = may("it remained an attempt")
    taken: Taken = need(
        "when it happened", {"earliest": "2026-11-23T02:10:00-05:00", "latest": "2026-11-23T02:30:00-05:00"}
    )
    last_seen: LastSeen | None = may("when the victim was last seen")
    reported: Reported | None = may("how the police came to know", {"at": TIME_EXAMPLE, "by": "family"})
    discovered_by: (
        Annotated[
            str,
            OneOf("witness", "family", "demand", "employer", "police", "victim_call", "media", "other"),
        ]
        | None
    ) = may("how it was discovered", "witness")
    victim_count: Span = need("number of victims", {"min": 1, "max": 1})
    offender_count: Span | None = may("number of offenders", {"min": 2, "max": 3})
    cross_border: CrossBorder = need("whether a border is crossed", {"suspected": False})
    method: Method | None = may("how it was done", {"approach": "school", "force_used": True})
    linked_crimes: list[Annotated[str, In("L09")]] | None = may("linked crimes", ["drugs"])
    group: Group | None = may("the group behind it", {"type": "organised_crime"})
    offence: Offence | None = may("the offence in law")
    related_cases: list[RelatedCase] | None = may("related cases")
    risk: Risk = need(
        "how great the danger is", {"level": "extreme", "life_at_risk": True, "reasons": ["child_under_13"]}
    )
    media: Media = need("what may be known in public", {"state": "blackout"})
    family_policy: FamilyPolicy | None = may("how the family is dealt with")


class RequestedAction(Part):
    """What recipients are asked to do."""

    action: Annotated[str, In("L59")] = need("what to do", "check_border")
    target: LocalId | None = may("about whom or what (id of a person, vehicle, location or comms entry)", "p1")
    area: list[Short] | None = may("where: ids of locations, or countries", ["VE"])
    by: Time | None = may("by when", TIME_EXAMPLE)
    if_found: Annotated[str, In("L59")] | None = may("what to do on a hit", "stop_protect_victim")
    contact_before_action: Flag | None = may("telephone the originator first")
    reward: Line | None = may("reward", "none")
    note: Sentence | None = may("note", "both lanes")
