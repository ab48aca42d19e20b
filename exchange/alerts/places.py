"""Where: places with their role in the case, how exactly they are known, and from what."""

from __future__ import annotations

from typing import Annotated

from exchange.alerts.values import (
    TIME_EXAMPLE,
    Flag,
    In,
    Line,
    LocalId,
    Number,
    Part,
    Short,
    Text,
    Time,
    Whole,
    Zone,
    may,
    need,
)
from exchange.alerts.world import Country, Geometry, Subdivision


class Period(Part):
    """From one moment to another; either may be open."""

    since: Time | None = may("from", TIME_EXAMPLE, alias="from")
    until: Time | None = may("to", TIME_EXAMPLE, alias="to")


class Cell(Part):
    """A cell of a mobile network (3GPP 23.003)."""

    mcc: Annotated[int, Whole(0, 999)] = need("country of the network", 732)
    mnc: Annotated[int, Whole(0, 999)] = need("network", 101)
    lac: Annotated[int, Whole(0, 65_535)] | None = may("location area", 3021)
    tac: Annotated[int, Whole(0, 16_777_215)] | None = may("tracking area", 3021)
    cid: Annotated[int, Whole(0, 268_435_455)] | None = may("cell", 41_877)
    eci: Annotated[int, Whole(0, 68_719_476_735)] | None = may("cell, LTE and later", 10_720_513)
    timing_advance: Annotated[int, Whole(0, 3_846)] | None = may("timing advance", 4)


class Location(Part):
    """A place. The country alone is enough."""

    id: LocalId = need("id inside the message", "l1")
    role: Annotated[str, In("L26")] = need("what happened or may happen here", "abduction")
    country: Country = need("country", "CO")
    subdivision: Subdivision | None = may("province or state, ISO 3166-2", "CO-NSA")
    locality: Short | None = may("town or village", "Cúcuta")
    street: Line | None = may("street", "Avenida 5")
    number: Annotated[str, Text(20)] | None = may("house number", "12-40")
    postcode: Annotated[str, Text(20)] | None = may("postcode", "540001")
    name: Line | None = may("name of the place", "Colegio San José")
    geometry: Geometry | None = may("GeoJSON, longitude first", {"type": "Point", "coordinates": [-72.5, 7.89]})
    radius_m: Annotated[float, Number(0, 20_000_000)] | None = may("uncertainty in metres", 500)
    precision: Annotated[str, In("L27")] | None = may("how exactly it is known", "street")
    at: Period | None = may("when this place mattered", {"from": TIME_EXAMPLE})
    tz: Zone | None = may("time zone of the place", "America/Bogota")
    source: Annotated[str, In("L28")] | None = may("how it is known", "cctv")
    cell: Cell | None = may("cell of a mobile network", {"mcc": 732, "mnc": 101, "lac": 3021, "cid": 41877})
    plus_code: Annotated[str, Text(20)] | None = may("Open Location Code", "67P8VGR2+2Q")
    withheld: Flag | None = may("known, not told", True)
    note: Line | None = may("note", "rear entrance")
