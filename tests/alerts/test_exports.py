"""The package's face: what it exports exists, is loaded on use, and is what the type checker is told."""

from __future__ import annotations

import ast
import sys
from importlib import import_module

import pytest

import exchange.alerts
from tests.alerts.builders import ROOT
from tests.processes import Children

SOURCE = (ROOT / "exchange" / "alerts" / "__init__.py").read_text()


def told_to_the_type_checker() -> dict[str, str]:
    told = {}
    for node in ast.walk(ast.parse(SOURCE)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("exchange.alerts."):
            told.update({str(name.asname): node.module for name in node.names})
    return told


def test_what_is_loaded_on_use_is_what_the_type_checker_sees() -> None:
    assert told_to_the_type_checker() == exchange.alerts._HOMES
    assert sorted(exchange.alerts._HOMES) == exchange.alerts.__all__


@pytest.mark.parametrize(("name", "home"), exchange.alerts._HOMES.items())
def test_an_exported_name_is_that_of_its_module(name: str, home: str) -> None:
    assert getattr(exchange.alerts, name) is getattr(import_module(home), name)


def test_no_exported_name_is_a_module_of_the_package() -> None:
    modules = {path.stem for path in (ROOT / "exchange" / "alerts").glob("*.py")}
    assert modules.isdisjoint(exchange.alerts.__all__)  # importing such a module would put itself in the name's place


def test_a_name_that_is_not_exported_is_not_there() -> None:
    with pytest.raises(AttributeError):
        exchange.alerts.nothing  # noqa: B018 # looking it up is the test


def test_a_file_is_parsed_without_the_models(children: Children) -> None:
    program = (
        "import sys; from exchange.alerts.input import parse_input; parse_input(b'kind: alert');"
        "print('pydantic' in sys.modules)"
    )
    result = children.run([sys.executable, "-c", program], cwd=ROOT)
    assert result.stdout.decode().split() == ["False"], result.stderr.decode()


def test_yaml_is_not_loaded_for_json(children: Children) -> None:
    program = (
        'import sys; from exchange.alerts import parse_input; parse_input(b\'{"kind": "alert"}\');'
        "print('ruamel.yaml' in sys.modules); parse_input(b'kind: alert'); print('ruamel.yaml' in sys.modules)"
    )
    result = children.run([sys.executable, "-c", program], cwd=ROOT)
    assert result.stdout.decode().split() == ["False", "True"], result.stderr.decode()
