"""Names that the world has given things: countries, languages, telephones, devices, plates, places on the globe.

Owns how each is written, with the libraries that know: phonenumbers, pycountry, python-stdnum. The entrances are those
of `values`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any

import phonenumbers
import pycountry
from pydantic_core import core_schema as cs
from stdnum import imei, luhn

from exchange.alerts.values import Rule, Value, as_number, broken, matching

# By ISO 3166-1 for users to assign (XK and the like), and two that it reserves for organisations.
_USER_ASSIGNED = re.compile(r"AA|Q[M-Z]|X[A-Z]|ZZ|EU|UN")

# Nationalities and issuers of documents that ICAO Doc 9303-3 §5 adds to ISO 3166-1 alpha-3. Four of them are people's:
# XXA stateless, XXB and XXC refugees, XXX of unspecified nationality.
_ICAO = frozenset("D GBD GBN GBO GBP GBS RKS EUE UNO UNA UNK XXA XXB XXC XXX XOM XPO XIM".split())

# ISO 639-1. The library's table of all 8,000 languages costs 6 MB; it is read only for a code of three letters.
_LANGUAGES = frozenset(
    """
    aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en eo es
    et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv ka kg ki
    kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no
    nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg sh si sk sl sm sn so sq sr ss st su sv sw ta
    te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
    """.split()
)


@lru_cache(maxsize=512)
def is_country(text: str) -> bool:
    """True for an ISO 3166-1 alpha-2 code in capital letters, or one that users assign."""
    if re.fullmatch(r"[A-Z]{2}", text) is None:
        return False
    return _USER_ASSIGNED.fullmatch(text) is not None or pycountry.countries.get(alpha_2=text) is not None


def _country(text: str) -> str:
    if not is_country(text):
        message = f"{text!r} is no country: ISO 3166-1, two capital letters"
        raise broken("country", message, text.upper() if is_country(text.upper()) else "CO")
    return text


def _country_or_unknown(text: str) -> str:
    return text if text == "unknown" else _country(text)


def _nationality(text: str) -> str:
    known = re.fullmatch(r"[A-Z]{3}", text) and pycountry.countries.get(alpha_3=text) is not None
    if not known and text not in _ICAO:
        found = pycountry.countries.get(alpha_2=text.upper()) if re.fullmatch(r"[A-Za-z]{2}", text) else None
        example = found.alpha_3 if found is not None else "COL"
        raise broken("nationality", f"{text!r} is no nationality: ISO 3166-1, three capital letters, or ICAO", example)
    return text


def _subdivision(text: str) -> str:
    if pycountry.subdivisions.get(code=text) is None:  # type: ignore[no-untyped-call]
        raise broken("subdivision", f"{text!r} is no ISO 3166-2 code of a province or state", "CO-NSA")
    return text


@lru_cache(maxsize=256)
def _language(text: str) -> str:
    found = re.fullmatch(r"([a-z]{2,3})((?:-[A-Za-z0-9]{1,8})*)", text, re.ASCII)
    primary = found[1] if found else ""
    if not (primary in _LANGUAGES or (len(primary) == 3 and pycountry.languages.get(alpha_3=primary) is not None)):
        raise broken("language", f"{text!r} is no BCP 47 language tag", "es")
    return text


def _script(text: str) -> str:
    if not re.fullmatch(r"[A-Z][a-z]{3}", text) or pycountry.scripts.get(alpha_4=text) is None:
        raise broken("script", f"{text!r} is no ISO 15924 code of a script", "Arab")
    return text


_vin = matching("vin", r"[A-HJ-NPR-Z0-9]{5,17}", "a VIN has up to 17 characters, never I, O, Q", "WVWZZZ1JZXW000001")


@lru_cache(maxsize=64)  # the duty contacts, which stand in every message
def phone_e164(text: str, country: str | None = None) -> str:
    """The E.164 form of a telephone number; a national number needs its country. Raises what `broken` makes."""
    try:
        number = phonenumbers.parse(text, None if country in (None, "unknown") else country)
    except phonenumbers.NumberParseException:
        message = f"{text!r} is no telephone number with + and the country's calling code"
        raise broken("e164", message, "+573000000417") from None
    if number.extension or not phonenumbers.is_possible_number(number):
        raise broken("e164", f"{text!r}: no telephone number of that country has this length", "+573000000417")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def device_number(text: str) -> str:
    """An IMEI (15 digits with its check digit) or IMEISV (16), without separators. Raises what `broken` makes.

    Of 14 digits, as phones on a table often show them, the check digit is computed.
    """
    digits = re.sub(r"[\s./-]", "", text)
    if re.fullmatch(r"[0-9]{14}", digits):
        return digits + luhn.calc_check_digit(digits)
    if not re.fullmatch(r"[0-9]{15,16}", digits) or not imei.is_valid(digits):
        raise broken("imei", f"{text!r} is no IMEI: 15 digits, the last of them checks the others", "490154203237518")
    return digits


def card_number(text: str) -> str:
    """An ICCID: 18 to 20 digits; of 19 the last checks the others (ITU E.118). Raises what `broken` makes."""
    digits = re.sub(r"[\s-]", "", text)
    if not re.fullmatch(r"[0-9]{18,20}", digits) or (len(digits) == 19 and not luhn.is_valid(digits)):
        raise broken("iccid", f"{text!r} is no ICCID: 19 digits, the last of them checks the others", "")
    return digits


def plate_key(text: str) -> str:
    """A plate for comparison: NFKC, capital letters, without spaces, hyphens and dots."""
    bare = re.sub(r"[\s.·•\u2010-\u2015-]", "", unicodedata.normalize("NFKC", text).upper())
    # Without the spaces between them two characters may have become one (a letter and its accent).
    return unicodedata.normalize("NFKC", bare)


def _plate_key(text: str) -> str:
    if plate_key(text) != text:
        raise broken("plate_key", "a normalised plate has capital letters and no spaces", plate_key(text) or "SXK482")
    return text


# --- geometry ---------------------------------------------------------------------------------------------------------

_GEOMETRY_EXAMPLE = '{"type": "Point", "coordinates": [-72.50, 7.89]}'


class _Geometry(Value):
    strict = cs.dict_schema(cs.str_schema(strict=True), cs.any_schema())
    json: Mapping[str, Any] = {
        "type": "object",
        "required": ["type", "coordinates"],
        "properties": {"type": {"enum": ["Point", "LineString", "Polygon"]}, "coordinates": {"type": "array"}},
        "additionalProperties": False,
    }

    def lax(self, value: Any) -> dict[str, Any]:
        """RFC 7946, WGS 84, longitude first."""
        if not isinstance(value, dict) or set(value) != {"type", "coordinates"}:
            raise broken("geojson", "a geometry has `type` and `coordinates` (GeoJSON)", _GEOMETRY_EXAMPLE)
        match value["type"], value["coordinates"]:
            case "Point", point:
                return {"type": "Point", "coordinates": _position(point)}
            case "LineString", list(line) if len(line) >= 2:
                return {"type": "LineString", "coordinates": [_position(point) for point in line]}
            case "Polygon", list(rings) if rings:
                return {"type": "Polygon", "coordinates": [_ring(ring) for ring in rings]}
            case _:
                raise broken("geojson", "a Point, a LineString or a Polygon is wanted", _GEOMETRY_EXAMPLE)


def _ring(ring: Any) -> list[list[float]]:
    positions = [_position(point) for point in ring] if isinstance(ring, list) else []
    if len(positions) < 4 or positions[0] != positions[-1]:
        raise broken("geojson", "a ring has four positions or more, the last of them the first again", "")
    return positions


def _position(point: Any) -> list[float]:
    if not isinstance(point, list) or len(point) != 2:
        raise broken("geojson", "a position is [longitude, latitude]", "[-72.50, 7.89]")
    return [as_number(point[0], -180, 180), as_number(point[1], -90, 90)]


# --- the types by name ------------------------------------------------------------------------------------------------

Country = Annotated[str, Rule(_country, pattern="^[A-Z]{2}$")]
CountryOrUnknown = Annotated[str, Rule(_country_or_unknown, pattern="^([A-Z]{2}|unknown)$")]
Nationality = Annotated[str, Rule(_nationality, pattern="^[A-Z]{1,3}$")]
Subdivision = Annotated[str, Rule(_subdivision, pattern="^[A-Z]{2}-[A-Z0-9]{1,3}$")]
Language = Annotated[str, Rule(_language, pattern="^[a-z]{2,3}(-[A-Za-z0-9]{1,8})*$")]
Script = Annotated[str, Rule(_script, pattern="^[A-Z][a-z]{3}$")]
Phone = Annotated[str, Rule(phone_e164, pattern=r"^\+[0-9 ()./-]{4,40}$")]
Vin = Annotated[str, Rule(_vin, pattern="^[A-HJ-NPR-Z0-9]{5,17}$")]
PlateKey = Annotated[str, Rule(_plate_key)]
Geometry = Annotated[dict[str, Any], _Geometry()]
