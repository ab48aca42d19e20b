"""The values that documents are made of: texts, codes, times, places in the world, each as a type of a pydantic model.

Owns how one value is written and judged; what several values say together is `rules`. Every type has two entrances, and
the lax and strict modes of pydantic are the switch:

* lax is what an analyst hands in. Scalars may be text (YAML is read as text), are typed here, and keep every rule.
* strict is what a peer sent. Only the JSON type counts; codes and texts stay what they are, known or not. The few
  header values that the node acts on are `always` judged.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Generic, TypeVar, Union

from pydantic import BaseModel, ConfigDict, Discriminator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, Tag
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, PydanticCustomError
from pydantic_core import core_schema as cs

from exchange.alerts.codes import code_list, nearest, time_zones
from exchange.alerts.times import date_range, ms_or_none

TIME_EXAMPLE: Final = "2026-11-23T02:10:00-05:00"


class Part(BaseModel):
    """An object of a document. Unknown fields are kept; the analyst's entrance refuses them (`extra="forbid"`)."""

    model_config = ConfigDict(extra="allow", frozen=True)


def need(description: str, example: object, *, alias: str | None = None) -> Any:
    """A field without which the object says nothing, with an example for whoever left it out."""
    return Field(description=description, examples=[example], alias=alias)


def may(description: str, example: object = None, *, alias: str | None = None) -> Any:
    """A field that may be left out. `alias`: its name in documents, where Python has another use for it."""
    return Field(default=None, description=description, examples=None if example is None else [example], alias=alias)


def fields_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of an object under their names in documents."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def broken(rule: str, message: str, example: str = "") -> PydanticCustomError:
    """The error for a value that breaks a rule. Raise it."""
    # pydantic fills {names} of its own in; a person's text may hold braces.
    return PydanticCustomError(rule, "{said}", {"said": message, "example": example})


class Value(ABC):
    """A marker in `Annotated`: builds the two entrances of a type."""

    @abstractmethod
    def lax(self, value: Any) -> Any:
        """The typed value that an analyst's value means. Raises what `broken` makes."""

    strict: CoreSchema
    json: Mapping[str, Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return cs.lax_or_strict_schema(
            lax_schema=cs.no_info_plain_validator_function(self.lax), strict_schema=self.strict
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return dict(self.json)


# --- texts ------------------------------------------------------------------------------------------------------------

# Line ends and tabs are text; every other control character is somebody's attempt at the reader's terminal, or damage.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]")


def _text(value: Any, longest: int) -> str:
    if type(value) is str and 0 < len(value) <= longest and value.isprintable() and not value.isspace():
        return value  # nearly every text; what is printable holds no control character
    if not isinstance(value, str):
        raise broken("type", f"text is wanted here, this is {_named(value)}: write it in quotation marks")
    if len(value) > longest:
        raise broken("too_long", f"at most {longest} characters; these are {len(value)}")
    if not value.strip():
        raise broken("blank", "there is nothing in it: leave the field out, or fill it")
    if _CONTROL.search(value):
        raise broken("control_character", "a control character lies in this text")
    return value


def _named(value: Any) -> str:
    match value:
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case dict():
            return "an object"
        case _:
            return "text"


class Text(Value):
    """Free text of at most so many characters."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self.strict = cs.str_schema(strict=True)
        self.json = {"type": "string", "minLength": 1, "maxLength": longest}

    def lax(self, value: Any) -> str:
        """Not blank, not too long, no control characters."""
        return _text(value, self._longest)


# A code of a later version: kept, whatever it is, but no longer than a code.
_ANY_CODE = cs.str_schema(strict=True, min_length=1, max_length=64)


class In(Value):
    """A code of a list of the vocabulary; of one of several lists where more are named."""

    def __init__(self, *lists: str) -> None:
        self.lists = lists
        self.strict = _ANY_CODE
        self._codes: frozenset[str] | None = None

    @property
    def json(self) -> Mapping[str, Any]:  # type: ignore[override] # read when a schema is asked for, not at import
        """All codes, the lists named."""
        codes = [code for name in self.lists for code in code_list(name).codes]
        return {"type": "string", "enum": codes, "x-tocsin-list": " ".join(self.lists)}

    def lax(self, value: Any) -> str:
        """Known to this version; an unknown one is answered with the nearest."""
        if self._codes is None:
            self._codes = frozenset(code for name in self.lists for code in code_list(name).codes)
        text = _text(value, 64)
        if text in self._codes:
            return text
        close = next((found for name in self.lists if (found := code_list(name).nearest(text))), None)
        titles = ", ".join(f"{name} ({code_list(name).title})" for name in self.lists)
        all_of_them = ", ".join(f"tocsin codes {name}" for name in self.lists)
        meant = (
            f"did you mean {close}? All: {all_of_them}"
            if close
            else f"its codes: {_some(code_list(self.lists[0]).codes)} ({all_of_them})"
        )
        raise broken("unknown_code", f"{text!r} is no code of list {titles}; {meant}", close or "")


class OneOf(Value):
    """One of a few fixed words."""

    def __init__(self, *choices: str, always: bool = False) -> None:
        self._choices = list(choices)
        self.strict = cs.literal_schema(self._choices) if always else _ANY_CODE
        self.json = {"type": "string", "enum": self._choices}

    def lax(self, value: Any) -> str:
        """One of the words."""
        text = _text(value, 64)
        if text not in self._choices:
            close = nearest(text, self._choices)
            raise broken("unknown_code", f"{text!r} is none of {', '.join(self._choices)}", close or self._choices[0])
        return text


def _some(codes: Mapping[str, object]) -> str:
    names = list(codes)
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


class Rule(Value):
    """A text with a form of its own. `check` returns its normal form or raises what `broken` makes.

    `always` is a pattern that peers' values must have too, for what the node acts on.
    """

    def __init__(
        self, check: Callable[[str], str], *, longest: int = 200, always: bool = False, **json: str | list[str]
    ) -> None:
        self._check = check
        self._longest = longest
        plain = cs.str_schema(strict=True)
        self.strict = cs.no_info_after_validator_function(self._judged, plain) if always else plain
        self.json = {"type": "string", **json}

    def _judged(self, value: str) -> str:
        # Checked, not normalised: a peer's document is kept as it came.
        self._check(value)
        return value

    def lax(self, value: Any) -> str:
        """Its normal form."""
        return self._check(_text(value, self._longest))


# --- numbers and truth ------------------------------------------------------------------------------------------------


class Whole(Value):
    """A whole number between two bounds, which are part of it."""

    def __init__(self, least: int, most: int, *, always: bool = False) -> None:
        self._least, self._most = least, most
        plain = cs.int_schema(strict=True)
        self.strict = cs.int_schema(strict=True, ge=least, le=most) if always else plain
        self.json = {"type": "integer", "minimum": least, "maximum": most}

    def lax(self, value: Any) -> int:
        """A number, or the text of one."""
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value.strip(), re.ASCII):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise broken("whole_number", f"a whole number is wanted here, this is {_named(value)}", str(self._least))
        if not self._least <= value <= self._most:
            raise broken("out_of_range", f"between {self._least} and {self._most}; this is {value}", str(self._least))
        return value


class Number(Value):
    """A number between two bounds, which are part of it."""

    def __init__(self, least: float, most: float) -> None:
        self._least, self._most = least, most
        self.strict = cs.float_schema(strict=True)
        self.json = {"type": "number", "minimum": least, "maximum": most}

    def lax(self, value: Any) -> float:
        """A number, or the text of one."""
        return as_number(value, self._least, self._most)


def as_number(value: Any, least: float, most: float) -> float:
    """A number, or the text of one, within the bounds. Raises what `broken` makes."""
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,15})?", value.strip(), re.ASCII):
        value = float(value) if "." in value else int(value)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise broken("number", f"a number is wanted here, this is {_named(value)}", "1.5")
    if not least <= value <= most:
        raise broken("out_of_range", f"between {least:g} and {most:g}; this is {value:g}")
    return value


class Truth(Value):
    """True or false."""

    strict = cs.bool_schema(strict=True)
    json: Mapping[str, Any] = {"type": "boolean"}

    def lax(self, value: Any) -> bool:
        """True, false, or one of the words that people write for them."""
        known = truth_of(value)
        if known is None:
            raise broken("true_or_false", "true or false is wanted here", "true")
        return known


def truth_of(value: Any) -> bool | None:
    """What `true`, `false`, `yes`, `no` mean, as values or text; None for anything else."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return {"true": True, "yes": True, "false": False, "no": False}.get(value.strip().lower())
    return None


# --- times ------------------------------------------------------------------------------------------------------------


def _time(text: str) -> str:
    if ms_or_none(text) is None:
        raise broken(
            "rfc3339_offset",
            f"{text!r} is no time with seconds and an offset: nobody reading it abroad could know which hour is meant",
            TIME_EXAMPLE,
        )
    return text


def _partial_date(text: str) -> str:
    try:
        date_range(text)
    except ValueError:
        message = f"{text!r} is no date, nor the known part of one; never pad an unknown part with 01"
        raise broken("partial_date", message, "1985-04") from None
    return text


_DURATION = re.compile(r"P(?!$)(?:\d+Y)?(?:\d+M)?(?:\d+W)?(?:\d+D)?(?:T(?!$)(?:\d+H)?(?:\d+M)?(?:\d+S)?)?", re.ASCII)


def _duration(text: str) -> str:
    if _DURATION.fullmatch(text) is None:
        raise broken("duration", f"{text!r} is no ISO 8601 duration", "PT8H")
    return text


def _zone(text: str) -> str:
    if text not in time_zones():
        close = nearest(text, time_zones())
        raise broken("time_zone", f"{text!r} is no zone of the IANA database", close or "America/Bogota")
    return text


# --- identifiers ------------------------------------------------------------------------------------------------------


def matching(rule: str, pattern: str, message: str, example: str) -> Callable[[str], str]:
    """A check that a text has this pattern, whole and in ASCII; else it breaks the rule."""
    compiled = re.compile(pattern, re.ASCII)

    def check(text: str) -> str:
        if compiled.fullmatch(text) is None:
            raise broken(rule, f"{text!r}: {message}", example)
        return text

    return check


_CASE_ID = r"[A-Z]{2}[A-Z0-9-]{1,20}/[0-9]{4}/[A-Z0-9-]{1,20}"
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
AGENCY_ID = r"[a-z0-9.-]{3,64}"

_case_id = matching("case_id", _CASE_ID, "a case id is PREFIX/YEAR/NUMBER", "CO-PONAL/2026/000017")
_uuid = matching("uuid", _UUID, "a UUID in lower case is wanted", "0193a5b2-7c1e-4d3a-9f00-1234567890ab")
_agency = matching("agency_id", AGENCY_ID, "an agency id is 3 to 64 of a-z, 0-9, dot, hyphen", "bka.de")
_sha256 = matching("sha256", r"[0-9a-f]{64}", "64 hexadecimal digits in lower case are wanted", "9f86d081…")
_pointer = matching("json_pointer", r"(?:/(?:[^~/]|~[01])*)*", "a JSON Pointer is wanted", "/persons/0/status")
_local_id = matching(
    "local_id", r"[A-Za-z][A-Za-z0-9_-]{0,31}", "an id inside the message is a letter, then letters and digits", "p1"
)
_kind = matching("kind", r"[a-z][a-z_]{0,31}", "a kind is a word in lower case", "alert")


# --- the types by name ------------------------------------------------------------------------------------------------

Time = Annotated[str, Rule(_time, format="date-time")]
HeaderTime = Annotated[str, Rule(_time, always=True, format="date-time")]
PartialDate = Annotated[str, Rule(_partial_date, examples=["1985", "1985-04", "1985-04-12", "1985~"])]
Duration = Annotated[str, Rule(_duration, format="duration")]
Zone = Annotated[str, Rule(_zone, examples=["America/Bogota"])]
CaseId = Annotated[str, Rule(_case_id, always=True, pattern=f"^{_CASE_ID}$")]
MessageUuid = Annotated[str, Rule(_uuid, always=True, pattern=f"^{_UUID}$")]
AgencyName = Annotated[str, Rule(_agency, always=True, pattern=f"^{AGENCY_ID}$")]
Sha256 = Annotated[str, Rule(_sha256, always=True, pattern="^[0-9a-f]{64}$")]
KindName = Annotated[str, Rule(_kind, always=True, pattern="^[a-z][a-z_]{0,31}$")]
Pointer = Annotated[str, Rule(_pointer, format="json-pointer")]
LocalId = Annotated[str, Rule(_local_id, pattern="^[A-Za-z][A-Za-z0-9_-]{0,31}$")]
Flag = Annotated[bool, Truth()]
Short = Annotated[str, Text(100)]
Line = Annotated[str, Text(200)]
Sentence = Annotated[str, Text(500)]
Paragraph = Annotated[str, Text(2000)]


# --- qualified values -------------------------------------------------------------------------------------------------

T = TypeVar("T")


class Qualified(Part, Generic[T]):
    """A value with what a reader needs to judge it, or the reason why there is none (LED art. 7)."""

    value: T | None = may("the value")
    fact: Annotated[str, OneOf("fact", "assessment", "reported", "inferred")] | None = may(
        "how it is meant", "reported"
    )
    src: Annotated[str, Text(8)] | None = may("grade of the source, in `scheme`", "B")
    info: Annotated[str, Text(8)] | None = may("grade of the information, in `scheme`", "2")
    scheme: Annotated[str, In("L42")] | None = may("grading scheme", "4x4")
    as_of: Time | None = may("when it was so", TIME_EXAMPLE)
    precise: Annotated[str, OneOf("exact", "approx", "range")] | None = may("how precise", "approx")
    min: T | None = may("lower end of a range")
    max: T | None = may("upper end of a range")
    absent: Annotated[str, In("L54")] | None = may("why there is no value", "unknown")


_BARE, _QUALIFIED = "~bare", "~qualified"
FORMS: Final = frozenset({_BARE, _QUALIFIED})
"""Tags by which pydantic names the form of a value that was tried."""


def _form(value: Any) -> str:
    return _QUALIFIED if isinstance(value, dict | Qualified) else _BARE


if TYPE_CHECKING:
    Qualifiable = Union[T, Qualified[T]]  # noqa: UP007 # mypy takes `|` of a type variable for an expression
else:

    class Qualifiable:
        """A bare value, or the qualified form of it.

        Told apart by their JSON type alone; the tags never appear in a path. (An alias cannot do this: pydantic's
        generic models take no part in the substitution of type variables.)
        """

        def __class_getitem__(cls, item: Any) -> Any:
            qualified = Annotated[Qualified[item], Tag(_QUALIFIED)]
            return Annotated[Annotated[item, Tag(_BARE)] | qualified, Discriminator(_form)]


class Span(Part):
    """A range of whole numbers: ages, heads, years."""

    min: Annotated[int, Whole(0, 1_000_000)] | None = may("at least", 9)
    max: Annotated[int, Whole(0, 1_000_000)] | None = may("at most", 9)
