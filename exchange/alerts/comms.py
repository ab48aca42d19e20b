"""Telephones, accounts and addresses: what was used to speak, by whom. Owns how each type of value is written."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

from pydantic_core import PydanticCustomError

from exchange.alerts.problems import Problem, pointer
from exchange.alerts.values import (
    TIME_EXAMPLE,
    Flag,
    In,
    Line,
    LocalId,
    OneOf,
    Paragraph,
    Part,
    Text,
    Time,
    broken,
    may,
    need,
    truth_of,
)
from exchange.alerts.world import Country, card_number, device_number, phone_e164

_LONGEST = 300
_ROLES = ("offender_demand", "offender_other", "victim", "family", "negotiator", "pol_exchange", "payment")
_STATES = ("asked", "granted", "running", "refused", "ended")


class TelecomMeasure(Part):
    """A measure of telecommunications, and where it stands."""

    measure: Annotated[str, In("L60")] = need("measure", "live_location")
    state: Annotated[str, OneOf(*_STATES)] = need("where it stands", "asked")
    at: Time | None = may("since when", TIME_EXAMPLE)


class Comms(Part):
    """One telephone, account or address."""

    id: LocalId = need("id inside the message", "c1")
    type: Annotated[str, In("L29")] = need("what it is", "msisdn")
    value: Annotated[str, Text(_LONGEST)] = need("number, address or name", "+573000000417")
    provider: Line | None = may("provider", "Claro")
    country: Country | None = may("country", "CO")
    used_by: LocalId | None = may("used by (id of a person)", "p2")
    role: Annotated[str, OneOf(*_ROLES)] | None = may("role in the case", "offender_demand")
    first_seen: Time | None = may("first seen", TIME_EXAMPLE)
    last_seen: Time | None = may("last seen", TIME_EXAMPLE)
    status: Annotated[str, OneOf("active", "off", "unknown", "seized", "ported")] | None = may("state", "active")
    spoofed: Flag | None = may("shown by the caller, believed false; its form is then not judged")
    measures: list[TelecomMeasure] | None = may("measures")
    note: Paragraph | None = may("note")


def _matches(rule: str, pattern: str, message: str, example: str) -> Callable[[str], str]:
    compiled = re.compile(pattern)

    def check(text: str) -> str:
        if compiled.fullmatch(text.strip()) is None:
            raise broken(rule, f"{text!r}: {message}", example)
        return text.strip()

    return check


def _ip(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        raise broken("ip", f"{text!r} is no internet address", "203.0.113.7") from None


_FORMS: Mapping[str, Callable[[str], str]] = {
    "imei": device_number,
    "iccid": card_number,
    "imsi": _matches("imsi", r"[0-9]{6,15}", "an IMSI has up to 15 digits", "732101234567890"),
    "email": _matches("email", r"[^@\s]{1,64}@[^@\s]{1,255}", "no e-mail address", "nobody@example.org"),
    "ip": _ip,
    "mac": _matches("mac", r"(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}", "six bytes in hexadecimal", "00:1a:2b:3c:4d:5e"),
    "domain": _matches("domain", r"(?:[\w-]{1,63}\.)+[\w-]{2,63}\.?", "no domain name", "example.org"),
    "url": _matches("url", r"[a-zA-Z][a-zA-Z0-9+.-]*://\S+", "a web address with its scheme", "https://example.org/x"),
}


def normalise_comms(tree: Mapping[str, Any]) -> Iterator[Problem]:
    """Bring every value in `comms` to the normal form of its type, in place; a problem for each that has not that form.

    A national telephone number is completed with the entry's country. Not judged is what was shown by a caller and is
    believed false (`spoofed`): there the point is what it looked like.
    """
    entries = tree.get("comms")
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        if not isinstance(entry, dict) or truth_of(entry.get("spoofed")):
            continue
        type_, value, country = entry.get("type"), entry.get("value"), entry.get("country")
        if not isinstance(type_, str) or not isinstance(value, str) or len(value) > _LONGEST:
            continue  # the model says what is wrong with it
        try:
            entry["value"] = _normal(type_, value, country if isinstance(country, str) else None)
        except PydanticCustomError as error:
            context = error.context or {}
            place = pointer("comms", index, "value")
            yield Problem(place, error.type, str(context.get("said", "")), str(context.get("example", "")))


def _normal(type_: str, value: str, country: str | None) -> str:
    if type_ in ("msisdn", "sat_phone"):
        return phone_e164(value, country)
    check = _FORMS.get(type_)
    return value if check is None else check(value)
