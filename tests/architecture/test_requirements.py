"""The locks hold what pyproject.toml asks for, with hashes, and nothing is asked for that no module imports."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

from tests.architecture.imports import imported_modules

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ["run", "test", "dev", "campaign"]
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]

# Where the name to import is not the name to install.
IMPORT_NAMES = {"pynacl": "nacl", "python-stdnum": "stdnum", "ruamel-yaml": "ruamel"}


def normal_name(requirement: str) -> str:
    """The name that a requirement asks for, as PEP 503 normalises it."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name is not None, requirement
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def requirements(path: Path) -> list[str]:
    """The requirements of a file in pip's format, continuation lines joined, comments and options left out."""
    text = path.read_text().replace("\\\n", " ")
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith(("#", "-"))]


def locked(level: str) -> set[str]:
    """Names that a lock pins."""
    return {normal_name(requirement) for requirement in requirements(ROOT / "requirements" / f"{level}.txt")}


@pytest.mark.parametrize("level", LOCKS)
def test_every_locked_version_is_exact_and_has_a_hash(level: str) -> None:
    lines = requirements(ROOT / "requirements" / f"{level}.txt")
    assert lines
    assert [line for line in lines if "==" not in line or "--hash=sha256:" not in line] == []


@pytest.mark.parametrize("level", LOCKS)
def test_what_is_asked_for_is_locked(level: str) -> None:
    asked = requirements(ROOT / "requirements" / f"{level}.in") + (DECLARED if level == "run" else [])
    assert {normal_name(requirement) for requirement in asked} - locked(level) == set()


def test_the_locks_agree_on_every_version() -> None:
    pins: dict[str, set[str]] = {}
    for level in LOCKS:
        for line in requirements(ROOT / "requirements" / f"{level}.txt"):
            pins.setdefault(normal_name(line), set()).add(line.partition("==")[2].split()[0])
    assert {name: versions for name, versions in pins.items() if len(versions) > 1} == {}


@cache
def imported_packages() -> set[str]:
    """Top-level names that the three packages import, at the start or on use."""
    sources = (path.read_text() for area in ("keys", "exchange", "nodes") for path in (ROOT / area).rglob("*.py"))
    return {module.partition(".")[0] for source in sources for module in imported_modules(source)}


@pytest.mark.parametrize("name", [normal_name(requirement) for requirement in DECLARED])
def test_a_dependency_is_used(name: str) -> None:
    assert IMPORT_NAMES.get(name, name.replace("-", "_")) in imported_packages()
