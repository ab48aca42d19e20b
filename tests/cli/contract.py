"""The outer contract as a check: is a document what docs/CLI.md and docs/schema/cli promise? Runs no command itself."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = ROOT / "docs" / "schema" / "cli"
CONTRACT = ROOT / "docs" / "CLI.md"

_EXAMPLE = re.compile(r"^```json (\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def check_document(name: str, document: Any) -> None:
    """Raise AssertionError unless `document` is what the schema of that name says (`post`, `inbox`, `error`, …)."""
    problems = [
        f"/{'/'.join(map(str, error.path))}: {error.message}" for error in _validator(name).iter_errors(document)
    ]
    assert problems == [], f"no {name} document: {'; '.join(problems)}"


def schema_names() -> list[str]:
    """Names of all documents."""
    return sorted(path.stem for path in SCHEMAS.glob("*.json") if path.stem != "defs")


def examples() -> Iterator[tuple[str, Any]]:
    """Each example of docs/CLI.md with the name of its schema."""
    for name, text in _EXAMPLE.findall(CONTRACT.read_text(encoding="utf-8")):
        yield name, json.loads(text)


def schema(name: str) -> dict[str, Any]:
    """One schema as it lies in docs/schema/cli."""
    read: dict[str, Any] = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    return read


@cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(schema(name), registry=_registry())


@cache
def _registry() -> Registry[Any]:
    resources = [Resource.from_contents(schema(path.stem)) for path in sorted(SCHEMAS.glob("*.json"))]
    return Registry().with_resources((str(resource.id()), resource) for resource in resources)
