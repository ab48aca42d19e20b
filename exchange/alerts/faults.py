"""What pydantic found, as problems of the vocabulary: JSON Pointer, rule, words, and an example from the model itself.

Owns that translation, at the one edge where pydantic's errors leave this package's models.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from exchange.alerts.codes import nearest
from exchange.alerts.problems import Problem, pointer
from exchange.alerts.values import FORMS, In, fields_of

_TYPES: Final[Mapping[str, str]] = {
    "model_type": "an object with named fields is wanted here",
    "model_attributes_type": "an object with named fields is wanted here",
    "dict_type": "an object with named fields is wanted here",
    "list_type": "a list is wanted here, even of one",
    "string_type": "text is wanted here",
    "int_type": "a whole number is wanted here",
    "float_type": "a number is wanted here",
    "bool_type": "true or false is wanted here",
}

# Names that people bring from other systems, and what they are called here.
_OTHER_NAMES: Final[Mapping[str, str]] = {
    "license_plate": "plates",
    "plate": "plates",
    "birth_date": "dob",
    "date_of_birth": "dob",
    "gender": "sex",
    "phones": "comms",
    "phone_numbers": "comms",
    "victims": "persons",
    "suspects": "persons",
    "places": "locations",
    "actions": "requested_actions",
    "color": "colours",
    "colour": "colours",
    "marking": "handling",
    "headline": "summary",
    "title": "summary",
    "priority": "precedence",
    "urgency": "precedence",
    "city": "locality",
    "town": "locality",
    "state": "subdivision",
    "province": "subdivision",
    "zip": "postcode",
    "nationality": "nationalities",
}


def problems_from(model: type[BaseModel], errors: Sequence[ErrorDetails]) -> Iterator[Problem]:
    """A problem for each error that validating a tree by this model brought."""
    for error in errors:
        yield _problem(model, error)


def _problem(model: type[BaseModel], error: ErrorDetails) -> Problem:
    # The tags of a union say which form of a value was tried; they are no part of the document.
    place = [part for part in error["loc"] if part not in FORMS]
    if error["type"] == "extra_forbidden" and error["loc"][-1] in FORMS:  # but a name that nobody knows always is
        place.append(error["loc"][-1])
    path = pointer(*place)
    match error["type"]:
        case "missing":
            field = _field_at(model, place)
            said = "" if field is None else f": {_described(field)}"
            return Problem(path, "required", f"{place[-1]} is required{said}", _example(field))
        case "extra_forbidden":
            return _unknown_field(model, place, path)
        case kind if kind in _TYPES:
            field = _field_at(model, place)
            return Problem(path, "type", _TYPES[kind], _example(field))
        case kind:
            field = _field_at(model, place)
            context = error.get("ctx", {})
            return Problem(path, kind, error["msg"], str(context.get("example", "")) or _example(field))


def _described(field: FieldInfo) -> str:
    lists = [marker for marker in _markers(field) if isinstance(marker, In)]
    of = f", a code of list {' or '.join(lists[0].lists)} (tocsin codes {lists[0].lists[0]})" if lists else ""
    return f"{field.description}{of}"


def _markers(field: FieldInfo) -> list[Any]:
    found = list(field.metadata)
    pending: list[Any] = [field.annotation]
    while pending:
        annotation = pending.pop()
        if get_origin(annotation) is Annotated:
            found += annotation.__metadata__
        pending += get_args(annotation)
    return found


def _example(field: FieldInfo | None) -> str:
    if field is None or not field.examples:
        return ""
    example = field.examples[0]
    return example if isinstance(example, str) else json.dumps(example, ensure_ascii=False)


def _unknown_field(model: type[BaseModel], place: list[str | int], path: str) -> Problem:
    name = str(place[-1])
    owners = _models_at(model, place[:-1])
    known = [field for owner in owners for field in fields_of(owner)]
    meant = _OTHER_NAMES.get(name.casefold())
    close = meant if meant in known else nearest(name, known)
    if close is None:
        elsewhere = _elsewhere(model, name) if len(place) == 1 else None
        hint = f"it belongs under {elsewhere}" if elsewhere else f"its fields: {', '.join(known)}"
        return Problem(path, "unknown_field", f"there is no field {name!r} here; {hint}", elsewhere or "")
    return Problem(path, "unknown_field", f"there is no field {name!r} here; did you mean {close}?", close)


def _elsewhere(model: type[BaseModel], name: str) -> str | None:
    """The first place one level down that has a field of this name."""
    for outer, field in fields_of(model).items():
        if any(name in fields_of(inner) for inner in _models_in(field.annotation)):
            return outer
    return None


def _field_at(model: type[BaseModel], place: Sequence[str | int]) -> FieldInfo | None:
    """The field that this place is, or an entry of; None if there is none."""
    names = [part for part in place if isinstance(part, str)]
    if not names:
        return None
    owners = _models_at(model, names[:-1])
    return next((field for owner in owners if (field := fields_of(owner).get(names[-1])) is not None), None)


def _models_at(model: type[BaseModel], place: Sequence[str | int]) -> list[type[BaseModel]]:
    models = [model]
    for part in place:
        if isinstance(part, str):
            fields = [field for candidate in models if (field := fields_of(candidate).get(part)) is not None]
            models = [inner for field in fields for inner in _models_in(field.annotation)]
    return models


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for argument in get_args(annotation) for found in _models_in(argument)]
