"""The lists are well-formed data, used, and readable without pydantic."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from exchange.alerts import code_list, kinds
from exchange.alerts.codes import LIST_NAMES, meaning, nearest, time_zones
from exchange.alerts.handling import H_CODES
from exchange.alerts.header import PRECEDENCES
from exchange.alerts.persons import LED_CATEGORIES
from exchange.alerts.registry import KINDS
from exchange.alerts.values import In
from tests.alerts.builders import ROOT
from tests.processes import Children


@pytest.mark.parametrize("name", LIST_NAMES)
def test_a_list_says_what_it_is_and_what_each_code_means(name: str) -> None:
    found = code_list(name)
    assert found.name == name
    assert found.title
    assert found.source
    assert re.fullmatch(r"\d+\.\d+", found.version)
    assert len(found.codes) >= 4
    for code, entry in found.codes.items():
        assert entry.code == code
        assert re.fullmatch(r"[A-Za-z0-9_+]{1,40}", code)
        assert entry.meaning.strip() == entry.meaning != ""
        assert "_" not in entry.meaning
    meanings = [entry.meaning for entry in found.codes.values()]
    assert len(set(meanings)) == len(meanings)


def test_every_data_file_is_a_list_and_every_list_a_data_file() -> None:
    files = {path.stem for path in (ROOT / "exchange" / "alerts" / "data" / "codes").glob("*.json")}
    assert files == set(LIST_NAMES)


def lists_in(annotation: Any) -> Iterator[str]:
    for marker in getattr(annotation, "__metadata__", ()):
        if isinstance(marker, In):
            yield from marker.lists
    for argument in get_args(annotation):
        yield from lists_in(argument)


def lists_used(model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[str]:
    if model in seen:
        return
    seen.add(model)
    for field in model.model_fields.values():
        yield from (name for marker in field.metadata if isinstance(marker, In) for name in marker.lists)
        yield from lists_in(field.annotation)
        for inner in models_in(field.annotation):
            yield from lists_used(inner, seen)


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from models_in(argument)


def test_every_list_is_used_by_a_model() -> None:
    seen: set[type[BaseModel]] = set()
    used = {name for kind in KINDS.values() for name in lists_used(kind.model, seen)}
    assert used | {"L01", "L03"} == set(LIST_NAMES)  # those two are words of the program, held to the lists below


def test_words_of_the_program_are_those_of_the_lists() -> None:
    assert set(kinds()) == set(code_list("L01").codes)
    assert tuple(code_list("L03").codes) == PRECEDENCES
    assert H_CODES == ("H0", "H1", "H2", "H3")


def test_every_role_but_officer_and_unknown_has_a_category_of_data_subject() -> None:
    categories = {code: entry.more.get("led") for code, entry in code_list("L08").codes.items()}
    assert {code for code, category in categories.items() if category is None} == {"officer", "unknown"}
    assert {category for category in categories.values() if category} == set(LED_CATEGORIES)


@pytest.mark.parametrize("scheme", list(code_list("L42").codes))
def test_a_grading_scheme_says_its_grades(scheme: str) -> None:
    more = code_list("L42").codes[scheme].more
    assert len(more["source"]) >= 3
    assert len(more["info"]) >= 4


def test_a_code_has_words_and_an_unknown_one_has_none() -> None:
    assert meaning("L34c", "false_report") == "false report"
    assert meaning("L34c", "of_a_later_version") is None


def test_a_list_that_is_not_there_is_no_empty_list() -> None:
    with pytest.raises(KeyError):
        code_list("L99")
    with pytest.raises(KeyError):
        code_list("../zones")


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("child_nonfamly", "child_nonfamily"),
        ("Child-NonFamily", "child_nonfamily"),
        ("ransome", "ransom"),
        ("hijack vehicle", "hijack_vehicle"),
    ],
)
def test_a_misspelt_code_is_answered_with_the_nearest(wrong: str, right: str) -> None:
    assert code_list("L04").nearest(wrong) == right


def test_what_is_like_nothing_has_no_nearest() -> None:
    assert code_list("L04").nearest("zzzzzz") is None
    assert nearest("", ["a"]) is None


def test_time_zones_are_those_of_the_database() -> None:
    assert {"America/Bogota", "Asia/Beirut", "UTC"} <= time_zones()
    assert len(time_zones()) > 400


def test_labels_are_had_without_pydantic(children: Children) -> None:
    program = (
        "import sys; from exchange.alerts.codes import meaning; assert meaning('L04', 'ransom');"
        "print([name for name in ('pydantic', 'phonenumbers', 'pycountry', 'ruamel') if name in sys.modules])"
    )
    result = children.run([sys.executable, "-c", program], cwd=ROOT)
    assert result.returncode == 0, result.stderr.decode()
    assert result.stdout.decode().strip() == "[]"
