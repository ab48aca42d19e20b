"""Persons, places and vehicles of a message in one line each. Knows no screen; the order of things is the message's."""

from __future__ import annotations

from nodes.cli.page import STRONG, Piece, Styled
from nodes.cli.times import show_time_there
from nodes.cli.views.fields import Document, at, items, objects, qualified, text, texts
from nodes.cli.words import label

_VICTIMS = ("victim", "victim_possible", "victim_companion")


def name_of(person: Document) -> str:
    """How a person is called, the official name first; the local id when no name is known."""
    names = sorted(objects(person, "names"), key=lambda name: text(name, "type") != "official")
    for name in names:
        full = text(name, "full") or " ".join(part for part in (text(name, "given"), text(name, "family")) if part)
        if full:
            original = text(name, "original_script")
            return f"{full} / {original}" if original and original != full else full
    return "unidentified" if text(person, "identified") == "no" else text(person, "id")


def is_victim(person: Document) -> bool:
    """Whether this is somebody who was taken."""
    return any(role in _VICTIMS for role in texts(person, "roles"))


def role_of(person: Document) -> str:
    """What this person is in the case."""
    return ", ".join(label("L08", role) for role in texts(person, "roles")) or "person"


def person_line(person: Document) -> Piece:
    """A person as one would be described over the radio."""
    age_low, age_high = text(person, "age", "min"), text(person, "age", "max")
    age = age_low if age_low == age_high else f"{age_low or '?'} to {age_high or '?'}"
    look = at(person, "description")
    height = qualified(look, "height_cm")
    nationalities = ", ".join(filter(None, (qualified(item) for item in items(person, "nationalities"))))
    return [
        name_of(person),
        f", {age} years" if age else "",
        f", born {qualified(person, 'dob')}" if qualified(person, "dob") else "",
        ", MINOR" if text(person, "minor") == "yes" else "",
        f", {_SEX.get(text(person, 'sex'), text(person, 'sex'))}" if text(person, "sex") else "",
        f", {nationalities}" if nationalities else "",
        f", {label('L24', text(person, 'status'))}" if text(person, "status") else "",
        f", {height} cm" if height else "",
        f", {label('L15', qualified(look, 'build'))}" if qualified(look, "build") else "",
        f", hair {label('L16', qualified(look, 'hair'))}" if qualified(look, "hair") else "",
        f", eyes {label('L17', qualified(look, 'eyes'))}" if qualified(look, "eyes") else "",
        (", wears ", qualified(look, "dress")) if qualified(look, "dress") else "",
    ]


def needs_of(person: Document) -> Piece:
    """What a person may not live without, and until when there is enough of it."""
    health = at(person, "health")
    medicine = at(health, "medication")
    conditions = ", ".join(label("L21", condition) for condition in texts(health, "conditions"))
    name, without = text(medicine, "name"), text(medicine, "without_it")
    enough = show_time_there(at(medicine, "supply_until"))
    return [
        conditions,
        (": " if conditions else "", name) if name else "",
        f" every {text(medicine, 'needed_every')}" if text(medicine, "needed_every") else "",
        f", without it: {without.upper()}" if without else "",
        f", enough until {enough}" if enough else "",
    ]


_SEX = {"0": "sex not known", "1": "male", "2": "female", "9": "sex not applicable"}


def place_line(location: Document) -> Piece:
    """A place, the particular before the general."""
    if location.get("withheld") is True:
        return [text(location, "country"), ", place withheld"]
    street = " ".join(part for part in (text(location, "street"), text(location, "number")) if part)
    parts = [text(location, name) for name in ("locality", "subdivision", "country")]
    point = items(location, "geometry", "coordinates") if text(location, "geometry", "type") == "Point" else []
    # GeoJSON writes longitude first; people, and every telephone that opens a map, say latitude first.
    where = (
        f", {point[1]}, {point[0]} (lat, lon)"
        if len(point) >= 2 and all(_is_number(value) for value in point[:2])
        else ""
    )
    return [
        (text(location, "name"), ", ") if text(location, "name") else "",
        (street, ", ") if street else "",
        ", ".join(part for part in parts if part),
        where,
        f", within {text(location, 'radius_m')} m" if text(location, "radius_m") else "",
    ]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def vehicle_line(vehicle: Document) -> Piece:
    """A vehicle, its plate first."""
    plates = [
        " ".join(
            part
            for part in (
                text(plate, "text"),
                text(plate, "country"),
                "(partial)" if plate.get("partial") is True else "",
            )
            if part
        )
        for plate in objects(vehicle, "plates")
    ]
    colours = ", ".join(label("L22", colour) for colour in texts(vehicle, "colours"))
    model = " ".join(part for part in (colours, text(vehicle, "make"), text(vehicle, "model")) if part)
    direction = text(vehicle, "direction")
    return [
        (Styled(", ".join(plates), STRONG), ", ") if plates else "",
        label("L25", text(vehicle, "kind")),
        (", ", model) if model else "",
        (", direction: ", direction) if direction else "",
        (", ", text(vehicle, "features")) if text(vehicle, "features") else "",
    ]


def name_behind(content: Document, reference: str) -> str:
    """What a local reference (`p1`, `v1`, `l1`) points at, in words."""
    for person in objects(content, "persons"):
        if text(person, "id") == reference:
            return name_of(person)
    for location in objects(content, "locations"):
        if text(location, "id") == reference:
            return text(location, "name") or text(location, "locality") or text(location, "country") or reference
    for vehicle in objects(content, "vehicles"):
        if text(vehicle, "id") == reference:
            return ", ".join(text(plate, "text") for plate in objects(vehicle, "plates")) or reference
    return reference
