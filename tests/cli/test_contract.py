"""docs/CLI.md, its schemas and the program say the same."""

from __future__ import annotations

import copy
import re
from typing import Any

import click
import pytest
from jsonschema import Draft202012Validator

from nodes.cli.commands import COMMANDS, Branch, LazyGroup, root
from nodes.cli.words import LEVELS, PRECEDENCES, REASONS, STATES, TRUST
from nodes.errors import ERROR_EXITS
from tests.cli.contract import CONTRACT, check_document, examples, schema, schema_names

EXAMPLES = [(name, document) for name, document in examples() if name != "alert"]
DEFS = schema("defs")["$defs"]
TEXT = CONTRACT.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*schema_names(), "defs"])
def test_a_schema_is_a_schema(name: str) -> None:
    Draft202012Validator.check_schema(schema(name))
    assert schema(name)["$id"].endswith(f"/{name}.json")


@pytest.mark.parametrize(("name", "document"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_an_example_is_what_its_schema_says(name: str, document: Any) -> None:
    check_document(name, document)


def test_every_document_has_an_example_or_is_another_s() -> None:
    assert set(schema_names()) - {name for name, _ in EXAMPLES} == {"track"}


@pytest.mark.parametrize(("name", "document"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_no_key_of_a_document_may_be_missing(name: str, document: dict[str, Any]) -> None:
    for key in document:
        if name == "watch" and key == "at":
            continue  # the one line that differs by its event
        without = {other: value for other, value in document.items() if other != key}
        with pytest.raises(AssertionError):
            check_document(name, without)


@pytest.mark.parametrize(("name", "document"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_a_newer_node_may_add_keys(name: str, document: dict[str, Any]) -> None:
    check_document(name, {**copy.deepcopy(document), "added_later": True})


def test_error_codes_and_exits_are_those_of_the_program() -> None:
    assert set(DEFS["error_code"]["enum"]) == set(ERROR_EXITS)
    for line in re.findall(r"^\| (\d+) \|.*\|(.*)\|$", TEXT, re.MULTILINE):
        for code in re.findall(r"`(\w+)`", line[1]):
            assert ERROR_EXITS[code] == int(line[0])
    assert all(f"`{code}`" in TEXT for code in ERROR_EXITS)


def test_every_code_has_words() -> None:
    assert set(STATES) == set(DEFS["state"]["enum"])
    assert set(LEVELS) == {"issued", *DEFS["level"]["enum"]}
    assert set(TRUST) == set(DEFS["trust"]["enum"])
    assert list(PRECEDENCES) == DEFS["precedence"]["enum"]
    assert set(REASONS) == {
        *DEFS["waiting_reason"]["enum"],
        *DEFS["refusal_code"]["enum"],
        *DEFS["send_bar"]["enum"],
    }


def commands() -> list[tuple[str, ...]]:
    paths: list[tuple[str, ...]] = []
    for name, entry in COMMANDS.items():
        paths += [(name, inner) for inner in entry.entries] if isinstance(entry, Branch) else [(name,)]
    return paths


def load(path: tuple[str, ...]) -> click.Command:
    command = root()
    for name in path:
        assert isinstance(command, LazyGroup)
        found = command.get_command(click.Context(command), name)
        assert found is not None
        command = found
    return command


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_a_command_of_the_table_exists_and_takes_the_global_options(path: tuple[str, ...]) -> None:
    options = {option for parameter in load(path).params for option in parameter.opts}
    assert {"-D", "--json", "--lang", "-v", "--passphrase-file"} <= options


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_a_command_and_its_options_stand_in_the_contract(path: tuple[str, ...]) -> None:
    assert re.search(rf"`[^`]*\b{re.escape(' '.join(path))}\b", TEXT)
    own = {
        option
        for parameter in load(path).params
        if not (parameter.name or "").startswith("global_")
        for option in parameter.opts
    }
    for option in own:
        if option.startswith("--") and option != "--output":
            assert option in TEXT


def test_every_command_in_the_contract_exists() -> None:
    table = TEXT[TEXT.index("### 1.2 The table") : TEXT.index("### 1.3 Rules")]
    for span in re.findall(r"^\| (`.*?`(?:, `.*?`)*) \|", table, re.MULTILINE):
        for words in re.findall(r"`([a-z-]+(?: [a-z-]+)?)", span):
            path = tuple(words.split())
            known = [path[: len(there)] == there for there in commands()]
            assert any(known), words
