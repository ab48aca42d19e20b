"""JSON Schema (2020-12) of each kind, made from the models: for an analyst's editor and a program that writes alerts.

It describes what may be handed in: what the node fills in is not required. What is posted satisfies it too. For one who
writes a peer there is the other form, of what travels: everything is required, and fields not known yet are permitted.
"""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

from exchange.alerts.defaults import FILLED
from exchange.alerts.registry import KINDS

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema_kinds() -> tuple[str, ...]:
    """The kinds that have a schema: all of this version."""
    return tuple(KINDS)


def json_schema(kind: str | None = None, *, as_sent: bool = False) -> dict[str, Any]:
    """The schema of a kind, of an alert if None: of what an analyst hands in, or of the message that travels.

    Raises KeyError for an unknown kind.
    """
    name = kind or "alert"
    table = KINDS[name]
    generator = _SentGenerator if as_sent else _Generator
    made = table.model.model_json_schema(by_alias=True, schema_generator=generator)
    made["properties"]["kind"] = {"const": name, "description": "kind of message"}
    form = "sent:" if as_sent else ""
    return {"$schema": _DIALECT, "$id": f"urn:tocsin:kxa:1.0:{form}{name}", **made}


# Which places of FILLED lie in which model: `/handling/h` is field h of Handling.
_OWNERS = {
    "handling": "Handling",
    "onward": "Onward",
    "incident": "Incident",
    "cross_border": "CrossBorder",
    "media": "Media",
    "risk": "Risk",
    "persons": "Person",
}


def _filled_fields() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for place in FILLED:
        *path, name = [part for part in place.split("/")[1:] if part != "*"]
        found.setdefault(_OWNERS[path[-1]] if path else "", set()).add(name)
    return found


class _Generator(GenerateJsonSchema):
    """As pydantic's, but strict about unknown fields, silent about null, and with the node's part optional."""

    def generate(self, schema: Any, mode: JsonSchemaMode = "validation") -> dict[str, Any]:
        made = super().generate(schema, mode)
        filled = _filled_fields()
        _tidy(made, filled.get("", set()))
        for name, inner in made.get("$defs", {}).items():
            _tidy(inner, filled.get(name, set()), nulls=name in _SAYS_NULL)
        return made


class _SentGenerator(GenerateJsonSchema):
    """As pydantic's: null says that a field is not there, and what this version does not know is permitted."""

    def generate(self, schema: Any, mode: JsonSchemaMode = "validation") -> dict[str, Any]:
        made = super().generate(schema, mode)
        for part in (made, *made.get("$defs", {}).values()):
            part.pop("additionalProperties", None)
        return made


# Objects that say of each field that it is not given, instead of leaving it out.
_SAYS_NULL = {"AckBody"}


def _tidy(schema: dict[str, Any], filled: set[str], *, nulls: bool = False) -> None:
    """One object's schema, in place."""
    schema["additionalProperties"] = False
    required = [name for name in schema.get("required", ()) if name not in filled]
    schema.pop("required", None)
    if required:
        schema["required"] = required
    for name, inner in schema.get("properties", {}).items():
        if not nulls:
            _without_null(inner)
        if name in filled:
            inner["x-tocsin-filled"] = True


def _without_null(schema: dict[str, Any]) -> None:
    """A field that may be left out is left out; null says the same, and no editor should offer it."""
    schema.pop("title", None)
    if schema.get("default", ...) is None:
        del schema["default"]
    choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) == 1:
        del schema["anyOf"]
        schema.update({**choices[0], **schema})
