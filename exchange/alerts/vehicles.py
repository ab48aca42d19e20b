"""With what: vehicles, vessels and aircraft, plates as they were read."""

from __future__ import annotations

from typing import Annotated

from exchange.alerts.values import (
    TIME_EXAMPLE,
    Flag,
    In,
    Line,
    LocalId,
    OneOf,
    Part,
    Sentence,
    Short,
    Span,
    Text,
    Time,
    Whole,
    may,
    need,
)
from exchange.alerts.world import CountryOrUnknown, PlateKey, Vin

_ROLES = ("abduction", "transfer", "demand", "payment_pickup", "victim_own", "dump")


class Plate(Part):
    """A number plate as it was read. A part of it is worth sending: mark it partial."""

    text: Annotated[str, Text(20)] = need("as it was read", "SXK 482")
    normalised: PlateKey | None = may("capital letters, without spaces", "SXK482")
    country: CountryOrUnknown = need("country, or unknown", "CO")
    region: Short | None = may("province or state", "Norte de Santander")
    partial: Flag | None = may("not all of it was read")
    pattern: Annotated[str, Text(20)] | None = may("? for one unknown character, * for several", "SX?4*")
    status: Annotated[str, OneOf("genuine", "false", "cloned", "temporary", "unknown")] | None = may(
        "what is known of it", "genuine"
    )


class Seen(Part):
    """When and where something was last seen."""

    at: Time | None = may("when", TIME_EXAMPLE)
    location: LocalId | None = may("where (id of a location)", "l2")


class GpsTracker(Part):
    """A tracker in the vehicle."""

    provider: Line = need("provider", "rental company")
    ref: Short | None = may("reference there")


class Vehicle(Part):
    """Anything that carries people."""

    id: LocalId = need("id inside the message", "v1")
    kind: Annotated[str, In("L25")] = need("kind of vehicle", "van")
    plates: list[Plate] | None = may("number plates", [{"text": "SXK 482", "country": "CO"}])
    vin: Vin | None = may("vehicle identification number, ISO 3779", "WVWZZZ1JZXW000001")
    make: Short | None = may("make", "Renault")
    model: Short | None = may("model", "Trafic")
    year: Span | None = may("year of manufacture", {"min": 2014, "max": 2018})
    body: Short | None = may("body", "panel van")
    colours: list[Annotated[str, In("L22")]] | None = may("colours", ["white"])
    features: Sentence | None = may("what makes it stand out", "dent in the left rear door")
    stickers: Line | None = may("stickers", "taxi stickers removed")
    roof: Line | None = may("roof, as seen from above", "white, ladder rack")
    occupants: Span | None = may("people in it", {"min": 2, "max": 3})
    direction: Short | None = may("direction, or bearing in degrees", "towards Ureña")
    last_seen: Seen | None = may("last seen")
    role: Annotated[str, OneOf(*_ROLES)] | None = may("its role in the case", "abduction")
    name: Short | None = may("name of a vessel", "Estrella del Mar")
    imo: Annotated[int, Whole(1_000_000, 9_999_999)] | None = may("IMO number of a vessel", 9074729)
    mmsi: Annotated[int, Whole(100_000_000, 999_999_999)] | None = may("MMSI of a vessel", 730000001)
    call_sign: Annotated[str, Text(12)] | None = may("call sign", "HKAB")
    flag: CountryOrUnknown | None = may("flag State of a vessel", "CO")
    icao24: Annotated[str, Text(6)] | None = may("transponder address of an aircraft", "0ac1f3")
    tail: Annotated[str, Text(12)] | None = may("registration of an aircraft", "HK-4921")
    flight: Annotated[str, Text(12)] | None = may("flight", "AV8404")
    stolen: Flag | None = may("reported stolen")
    toll_tag: Short | None = may("toll tag")
    rental_company: Line | None = may("rental company")
    gps_tracker: GpsTracker | None = may("tracker in the vehicle")
    actions: list[Annotated[str, In("L59")]] | None = may("what to do with it", ["look_out"])
    note: Sentence | None = may("note")
