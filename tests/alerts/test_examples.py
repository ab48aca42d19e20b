"""The examples post, and are what they are said to be."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from exchange.alerts import Completed, complete, json_schema, parse_input, read_received, unsupported_handling
from tests.alerts.builders import DEFAULTS, EXAMPLES, FOLLOWING, NOW, ROOT

README = ROOT / "docs" / "examples" / "README.md"


def posted(path: Path) -> Completed:
    tree = parse_input(path.read_bytes())
    defaults = FOLLOWING if tree["kind"] in ("update", "cancel", "resolve", "renew") else DEFAULTS
    return complete(tree, replace(defaults, now_ms=NOW + 6 * 3_600_000, precedence=None))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_posts_as_it_stands(path: Path) -> None:
    done = posted(path)
    assert read_received(done.content).headline == done.headline
    assert unsupported_handling(done.document) is None
    assert Draft202012Validator(json_schema(done.headline.kind)).is_valid(done.document)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_posts_years_later_too(path: Path) -> None:
    tree = parse_input(path.read_bytes())
    defaults = FOLLOWING if tree["kind"] in ("update", "cancel", "resolve", "renew") else DEFAULTS
    later = NOW + 5 * 365 * 86_400_000
    assert complete(tree, replace(defaults, now_ms=later, precedence=None)).headline.sent_at_ms == later


def test_the_examples_show_the_types_the_kinds_and_the_scripts() -> None:
    done = {path.stem: posted(path) for path in EXAMPLES}
    types = {one.document["incident"]["type"] for one in done.values() if "incident" in one.document}
    assert {"ransom", "child_nonfamily", "express", "virtual", "piracy", "political"} <= types
    assert {one.headline.kind for one in done.values()} >= {"alert", "update", "cancel", "resolve", "note"}
    letters = {char for one in done.values() for char in one.content.decode() if char.isalpha()}
    scripts = {unicodedata.name(char).split()[0] for char in letters}
    assert {"LATIN", "ARABIC", "CYRILLIC", "CJK"} <= scripts


def test_the_child_s_case_is_one_case() -> None:
    follow = [posted(path) for path in EXAMPLES if re.match(r"child-[234c]", path.name)]
    assert len(follow) == 4
    assert {one.headline.case_id for one in follow} == {"CO-PONAL/2026/000417"}


def test_the_readme_explains_each_example_in_a_line() -> None:
    text = README.read_text()
    for path in EXAMPLES:
        assert (
            len(
                re.findall(rf"^\| \[`{re.escape(path.name)}`\]\({re.escape(path.name)}\) \| .+ \|$", text, re.MULTILINE)
            )
            == 1
        )
