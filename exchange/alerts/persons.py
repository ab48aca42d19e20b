"""Who: victims, suspects and others in one list; the role decides which rules hold (see `rules`)."""

from __future__ import annotations

from typing import Annotated

from exchange.alerts.values import (
    TIME_EXAMPLE,
    AgencyName,
    Duration,
    Flag,
    In,
    Line,
    LocalId,
    OneOf,
    Paragraph,
    Part,
    PartialDate,
    Qualifiable,
    Rule,
    Sentence,
    Short,
    Text,
    Time,
    Whole,
    broken,
    may,
    need,
)
from exchange.alerts.world import Country, Language, Nationality, Script

LED_CATEGORIES = ("a", "b", "c", "d1", "d2", "d3")
_PROFILES = (
    "none",
    "business",
    "politician",
    "journalist",
    "diplomat",
    "ngo",
    "military",
    "police",
    "judge_prosecutor",
    "other",
)
_DOCUMENT_STATES = ("valid", "lost", "stolen", "forged", "cancelled", "held_by_offender")
_PHOTOS = ("portrait", "full", "composite", "cctv", "proof_of_life", "age_progressed")

_Height = Annotated[int, Whole(20, 280)]
_Weight = Annotated[int, Whole(1, 500)]


_SEX = {"m": "1", "male": "1", "f": "2", "female": "2", "u": "0", "unknown": "0", "x": "X"}


def _sex(text: str) -> str:
    code = _SEX.get(text.strip().lower(), text)
    if code not in ("0", "1", "2", "9", "X"):
        raise broken("sex", f"{text!r} is no ISO/IEC 5218 code: 0 not known, 1 male, 2 female, 9 not applicable", "2")
    return code


class Name(Part):
    """A name. Give the original script whenever it is not Latin: no transliteration leads back to it."""

    full: Line | None = may("whole name as it is used", "Lucía Pérez")
    family: Line | None = may("family name", "Pérez")
    given: Line | None = may("given names", "Lucía")
    middle: Line | None = may("middle name or patronymic", "Ивановна")
    prefix: Short | None = may("before the name", "Dr.")
    suffix: Short | None = may("after the name", "Jr.")
    type: Annotated[str, In("L12")] | None = may("kind of name", "official")
    script: Script | None = may("script of the name, ISO 15924", "Latn")
    lang: Language | None = may("language of the name", "es")
    original_script: Line | None = may("the name in its own script", "سلمى خوري")
    mrz: Annotated[str, Text(39)] | None = may("as in the machine-readable zone", "PEREZ<<LUCIA")


class Age(Part):
    """Age in years."""

    min: Annotated[int, Whole(0, 130)] | None = may("at least", 9)
    max: Annotated[int, Whole(0, 130)] | None = may("at most", 9)
    at: PartialDate | None = may("when that was so", "2026-11")


class BirthPlace(Part):
    """Where somebody was born."""

    text: Line | None = may("place", "Pamplona")
    country: Country | None = may("country", "CO")


class Parents(Part):
    """Names of the parents, as INTERPOL notices ask for them."""

    father_given: Line | None = may("father's given names")
    father_family: Line | None = may("father's family name")
    mother_given: Line | None = may("mother's given names")
    mother_family: Line | None = may("mother's family name")


class SpokenLanguage(Part):
    """A language that somebody speaks."""

    lang: Language = need("language", "es")
    level: Annotated[str, OneOf("native", "fluent", "basic")] | None = may("how well", "native")
    accent: Short | None = may("accent", "Caribbean coast")


class Document(Part):
    """A travel or identity document."""

    type: Annotated[str, In("L14")] = need("kind of document", "P")
    number: Annotated[str, Text(40)] = need("its number", "AX123456")
    issuer: Nationality = need("issuing State", "COL")
    issued: PartialDate | None = may("issued", "2022-06-30")
    expires: PartialDate | None = may("expires", "2032-06-29")
    status: Annotated[str, OneOf(*_DOCUMENT_STATES)] | None = may("state", "valid")


class NationalId(Part):
    """A number in a national register. Kept as given: one from a forged paper is worth having too."""

    country: Country = need("country of the register", "CO")
    scheme: Short = need("which register", "tarjeta de identidad")
    number: Annotated[str, Text(40)] = need("the number", "1093000111")


class Description(Part):
    """What somebody looks like."""

    height_cm: Qualifiable[_Height] | None = may("height", 132)
    weight_kg: Qualifiable[_Weight] | None = may("weight", 29)
    build: Qualifiable[Annotated[str, In("L15")]] | None = may("build", "thin")
    hair: Qualifiable[Annotated[str, In("L16")]] | None = may("hair", "black")
    hair_length: Short | None = may("length of the hair", "to the shoulders")
    hair_style: Short | None = may("how the hair is worn", "two plaits")
    facial_hair: Short | None = may("facial hair", "moustache")
    eyes: Qualifiable[Annotated[str, In("L17")]] | None = may("eyes", "brown")
    eyewear: Short | None = may("glasses", "none")
    complexion: Qualifiable[Short] | None = may("complexion; only where strictly necessary (LED art. 10)")
    handedness: Annotated[str, OneOf("left", "right", "both")] | None = may("handedness", "right")
    voice: Line | None = may("voice", "soft, lisp")
    dress: Qualifiable[Sentence] | None = may("dress", "school uniform, white shirt, blue skirt")
    jewellery: Sentence | None = may("jewellery", "silver bracelet")


class Mark(Part):
    """A scar, mark or tattoo."""

    type: Annotated[str, In("L19")] = need("kind of mark", "scar")
    body_part: Annotated[str, In("L20")] | None = may("where", "chin")
    side: Annotated[str, OneOf("left", "right", "both")] | None = may("side", "left")
    text: Annotated[str, Text(300)] | None = may("what it looks like", "2 cm, straight")
    photo: LocalId | None = may("photograph (id of an attachment)")


class Clothing(Part):
    """A garment."""

    item: Short = need("garment", "backpack")
    colour: Annotated[str, In("L22")] | None = may("colour", "pink")
    brand: Short | None = may("brand")
    note: Line | None = may("note", "butterfly on the flap")


class Medication(Part):
    """What somebody must take, and how long it lasts."""

    name: Line = need("medicine", "insulin")
    needed_every: Duration | None = may("how often", "PT8H")
    supply_until: Time | None = may("until when there is enough", TIME_EXAMPLE)
    without_it: Annotated[str, OneOf("inconvenience", "serious", "fatal")] | None = may("without it", "fatal")


class Health(Part):
    """Health as far as a rescuer must know it. Special category: needs a justification."""

    conditions: list[Annotated[str, In("L21")]] | None = may("conditions", ["diabetes_insulin"])
    medication: Medication | None = may("medication", {"name": "insulin", "without_it": "fatal"})
    allergies: Line | None = may("allergies", "penicillin")
    mobility: Line | None = may("mobility", "wheelchair")
    pregnancy: Line | None = may("pregnancy", "seventh month")
    note: Sentence | None = may("note")


class Wanted(Part):
    """A warrant or notice."""

    warrant: Flag | None = may("there is a warrant", True)
    issuing: Country | None = may("issued by", "CO")
    charge: Sentence | None = may("charge", "secuestro extorsivo")
    charge_translation: Sentence | None = may("charge, translated", "kidnapping for ransom")
    ref: Short | None = may("reference", "2026-00123")
    notice_colour: Annotated[str, In("L57")] | None = may("notice", "red")


class Relation(Part):
    """How two persons of the message stand to each other."""

    to: LocalId = need("the other person", "p2")
    type: Annotated[str, In("L58")] = need("what the other is to this person", "parent")


class Protection(Part):
    """Protection that somebody has or needs."""

    measure: Annotated[str, In("L36")] | None = may("measure", "identity_protection")
    identity_withheld: Flag | None = may("the identity is withheld")
    safe_location_withheld: Flag | None = may("the place is withheld")


class Biometrics(Part):
    """What exists for comparison, and who holds it. The data itself is sent on request only."""

    fingerprints_available: Flag | None = may("fingerprints")
    dna_available: Flag | None = may("DNA profile")
    face_available: Flag | None = may("facial image")
    dental_available: Flag | None = may("dental chart")
    held_by: AgencyName | None = may("held by", "ponal.co")
    ref: Short | None = may("reference")


class Photo(Part):
    """A photograph."""

    attachment: LocalId = need("id of an attachment", "a1")
    taken: PartialDate | None = may("taken", "2026-08")
    kind: Annotated[str, OneOf(*_PHOTOS)] | None = may("kind", "portrait")


class Person(Part):
    """Somebody who matters in the case."""

    id: LocalId = need("id inside the message", "p1")
    roles: list[Annotated[str, In("L08")]] = need("roles in the case, the main one first", ["victim"])
    led_category: Annotated[str, OneOf(*LED_CATEGORIES)] | None = may("category of data subject (LED art. 6)", "c")
    identified: Annotated[str, OneOf("yes", "presumed", "no")] = need("whether it is known who this is", "yes")
    names: list[Name] | None = may("names", [{"full": "Lucía Pérez", "type": "official"}])
    dob: Qualifiable[PartialDate] | None = may("date of birth, or the known part of it", "2017-04")
    age: Age | None = may("age", {"min": 9, "max": 9})
    minor: Annotated[str, OneOf("yes", "no", "unknown")] | None = may("under 18", "yes")
    sex: Annotated[str, Rule(_sex, enum=["0", "1", "2", "9", "X"])] | None = may(
        "ISO/IEC 5218: 0 not known, 1 male, 2 female, 9 not applicable; X as in a document", "2"
    )
    birth_place: BirthPlace | None = may("place of birth", {"text": "Pamplona", "country": "CO"})
    nationalities: list[Qualifiable[Nationality]] | None = may("nationalities", ["COL"])
    parents: Parents | None = may("parents")
    languages: list[SpokenLanguage] | None = may("languages", [{"lang": "es", "level": "native"}])
    occupation: Line | None = may("occupation", "pupil")
    employer: Line | None = may("employer")
    public_profile: Annotated[str, OneOf(*_PROFILES)] | None = may("public profile", "none")
    documents: list[Document] | None = may("documents", [{"type": "P", "number": "AX123456", "issuer": "COL"}])
    national_ids: list[NationalId] | None = may("numbers in national registers")
    description: Description | None = may("what they look like", {"height_cm": 132, "hair": "black"})
    marks: list[Mark] | None = may("scars, marks, tattoos", [{"type": "scar", "body_part": "chin"}])
    clothing: list[Clothing] | None = may("clothing", [{"item": "backpack", "colour": "pink"}])
    health: Health | None = may("health", {"conditions": ["diabetes_insulin"]})
    warnings: list[Annotated[str, In("L18")]] | None = may("warnings", ["armed"])
    status: Annotated[str, In("L24")] | None = may("what is known of them now", "held_suspected")
    status_at: Time | None = may("when that was so", TIME_EXAMPLE)
    location_ref: LocalId | None = may("where they are (id of a location)", "l1")
    wanted: Wanted | None = may("warrant or notice")
    devices: list[LocalId] | None = may("their devices (ids of comms entries)", ["c1"])
    accounts: list[LocalId] | None = may("their accounts (ids of comms entries)", ["c2"])
    relations: list[Relation] | None = may("relations to other persons", [{"to": "p2", "type": "parent"}])
    protection: Protection | None = may("protection")
    biometrics: Biometrics | None = may("what exists for comparison")
    photos: list[Photo] | None = may("photographs")
    special_category_justification: Annotated[str, Text(300)] | None = may(
        "why health, complexion or belief must be told", "insulin needed within 8 hours"
    )
    note: Paragraph | None = may("note")
