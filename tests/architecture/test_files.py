"""What holds for every file: a name that says something, a first line that says who owns what, no machine's paths."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from scripts.check_docs import committed_files

ROOT = Path(__file__).resolve().parents[2]

# A module of one of these names is where things go that nobody has thought about.
SHAPELESS_NAMES = frozenset({"base", "common", "helper", "helpers", "manager", "misc", "tools", "util", "utils"})

# A path that is right on one machine only.
MACHINE_PATH = re.compile(r"(?<![\w.~}-])/(?:home|Users|root|work)/\w")
REGISTRY = re.compile(r"\b(?:pypi|python[h]osted|registry\.npm|deb\.debian)\.?[a-z]*\.(?:org|com)\b")


FILES = committed_files(ROOT)
MODULES = [name for name in FILES if name.endswith(".py")]


def test_the_project_s_files_are_found() -> None:
    assert "pyproject.toml" in FILES
    assert "keys/__init__.py" in MODULES


@pytest.mark.parametrize("path", MODULES)
def test_a_module_s_name_says_what_it_is(path: str) -> None:
    assert not SHAPELESS_NAMES.intersection(part.removesuffix(".py").strip("_") for part in path.split("/"))


@pytest.mark.parametrize("path", MODULES)
def test_a_module_s_first_line_says_what_it_owns(path: str) -> None:
    docstring = ast.get_docstring(ast.parse((ROOT / path).read_text()), clean=False)
    assert docstring is not None
    assert docstring.partition("\n")[0].strip()


def machine_words(text: str) -> list[str]:
    """Each line with a path of some machine or the host of a package registry in it."""
    return [line for line in text.splitlines() if MACHINE_PATH.search(line) or REGISTRY.search(line)]


@pytest.mark.parametrize("path", FILES)
def test_a_file_names_no_machine_and_no_registry(path: str) -> None:
    assert machine_words((ROOT / path).read_bytes().decode("utf-8", "replace")) == []


@pytest.mark.parametrize("place", ["home", "Users", "root", "work"])
@pytest.mark.parametrize("before", ["", " ", "'", "=", "file://", "("])
def test_a_path_of_a_machine_is_seen(place: str, before: str) -> None:
    assert machine_words(f"{before}/{place}/somebody/tocsin")


@pytest.mark.parametrize(
    "line", ["https://a.example/root/x", "$HOME/work/x", "../work/x", "/srv/bka", "keys/root/x", "~/work/x", "pypi"]
)
def test_what_only_looks_like_one_is_let_be(line: str) -> None:
    assert machine_words(line) == []
