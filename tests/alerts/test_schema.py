"""The JSON Schema of a kind says of a message what the program says of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from exchange.alerts import complete, json_schema, kinds, schema_kinds
from tests.alerts.builders import FOLLOWING, changed, completed, put, smallest, without
from tests.alerts.test_complete import MANDATORY
from tests.alerts.test_follow_ups import REPLYING, TREES


def accepts(kind: str, tree: Any) -> bool:
    return bool(Draft202012Validator(json_schema(kind)).is_valid(tree))


def given(tree: Any) -> Any:
    """A tree without its nulls, as a document would have it."""
    if isinstance(tree, dict):
        return {name: given(value) for name, value in tree.items() if value is not None}
    return tree


@pytest.mark.parametrize("kind", schema_kinds())
def test_each_kind_has_a_schema_of_the_2020_dialect(kind: str) -> None:
    schema = json_schema(kind)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"].endswith("2020-12/schema")
    assert schema["properties"]["kind"]["const"] == kind
    assert json.loads(json.dumps(schema)) == schema


def test_every_kind_has_one_and_no_other_word_has() -> None:
    assert schema_kinds() == kinds()
    assert json_schema() == json_schema("alert")
    with pytest.raises(KeyError):
        json_schema("alarm")


def test_the_smallest_alert_and_what_becomes_of_it_satisfy_it() -> None:
    assert accepts("alert", smallest())
    assert accepts("alert", completed().document)


@pytest.mark.parametrize("kind", TREES)
def test_what_follows_satisfies_its_schema_before_and_after(kind: str) -> None:
    tree = given(TREES[kind])
    defaults = replace(FOLLOWING if kind in ("update", "cancel", "resolve", "renew") else REPLYING, precedence="flash")
    assert accepts(kind, {**tree, "precedence": "flash"})
    assert accepts(kind, complete(tree, defaults).document)


# Asked for by a rule between fields, which a schema does not say.
BY_RULE = {
    "/incident/taken/earliest",
    "/incident/taken/latest",
    "/persons/0/names",
    "/persons/0/age",
    "/persons/0/status",
}


@pytest.mark.parametrize("path", sorted(set(MANDATORY) - BY_RULE))
def test_a_missing_mandatory_field_is_seen(path: str) -> None:
    assert not accepts("alert", changed(without(path)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/sumary", "x"),
        ("/incident/kind", "x"),
        ("/incident/type", "child_nonfamly"),
        ("/handling/tlp", "ORANGE"),
        ("/handling/h", ["H4"]),
        ("/summary", "x" * 281),
        ("/persons/0/age/min", 131),
        ("/persons/0/age/min", "nine"),
        ("/locations/0/country", "Colombia"),
        ("/persons/0/description", {"height_cm": {"value": 1}}),
        ("/persons", "p1"),
    ],
)
def test_a_wrong_field_is_seen(path: str, value: Any) -> None:
    assert not accepts("alert", changed(put(path, value)))


@pytest.mark.parametrize(
    "value", [132, {"value": 132, "fact": "reported"}, {"min": 128, "max": 134}, {"absent": "unknown"}]
)
def test_a_qualified_value_and_a_bare_one_are_both_taken(value: Any) -> None:
    assert accepts("alert", changed(put("/persons/0/description", {"height_cm": value})))


def test_what_the_node_fills_is_marked_and_not_asked_for() -> None:
    schema = json_schema("alert")
    filled = {name for name, field in schema["properties"].items() if field.get("x-tocsin-filled")}
    assert {"schema", "message_id", "case_id", "originator", "grading", "expires_at"} <= filled
    assert filled.isdisjoint(schema["required"])
    handling = schema["$defs"]["Handling"]
    assert set(handling["required"]) == {"tlp", "permitted_actions"}


def test_no_field_offers_null() -> None:
    assert '{"type": "null"}' not in json.dumps(json_schema("update"))


@pytest.mark.parametrize("kind", schema_kinds())
def test_the_published_schema_of_what_travels_is_that_of_the_models(kind: str) -> None:
    """A peer is written from it; after a change of a model, `python scripts/wire_schemas.py`."""
    published = Path(__file__).parents[2] / "docs" / "schema" / "wire" / f"{kind}.json"
    assert json.loads(published.read_text()) == json_schema(kind, as_sent=True)


@pytest.mark.parametrize("missing", ["schema", "message_id", "originator", "expires_at", "grading"])
def test_what_travels_is_whole(missing: str) -> None:
    sent = Draft202012Validator(json_schema("alert", as_sent=True))
    whole = json.loads(completed().content)
    assert sent.is_valid({**whole, "of_a_later_version": 1})
    assert not sent.is_valid({name: value for name, value in whole.items() if name != missing})
    assert not sent.is_valid(smallest())
