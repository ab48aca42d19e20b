"""The check of the documents finds what points at nothing, and only that."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.check_docs import Project

# Put together here, so that this file points at nothing itself.
PROTOCOL = "PROTOCOL"
ADR = "ADR"

FILES = {
    "README.md": "# Tocsin\n\n## Run it\n\n## Run it\n\n```\n# not a heading\n```\n",
    "Makefile": ".PHONY: demo\ndemo: ## show\n\ttrue\ndocs-check:\n",
    "docs/PROTOCOL.md": "# The protocol\n## 7. Entries\n### 7.1 When `signed`, by X\n",
    "docs/adr/0004-why.md": "# Why\n",
    "keys/ids.py": '"""Ids."""\n',
    "tests/keys/test_ids.py": "async def test_one() -> None: ...\n",
}


def problems(root: Path, path: str, text: str) -> list[str]:
    """Findings in a project of FILES and one more."""
    files = {**FILES, path: text}
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return [str(finding) for finding in Project(root, sorted(files)).findings()]


@pytest.mark.parametrize(
    "line",
    [
        "[a](missing.md)",
        "[a](../README.md#walk-it)",
        "[a](../README.md#not-a-heading)",
        "[a](#nowhere)",
        f"as {PROTOCOL} §8 says",
        f"as {PROTOCOL}.md §7.2 says",
        f"see {ADR} 0005",
        "type `make dinner`",
        "```\nmake dinner\n```",
        "```\n$ make dinner\n```",
        "`keys/odds.py`",
        "`keys/odds`",
        "`tests/keys/test_ids.py::test_two`",
    ],
)
def test_what_points_at_nothing_is_found(tmp_path: Path, line: str) -> None:
    assert len(problems(tmp_path, "docs/a.md", f"text\n\n{line}\n")) == 1


@pytest.mark.parametrize(
    "line",
    [
        "[a](../README.md) [b](../README.md#run-it) [c](../README.md#run-it-1) [d](https://a.example/b)",
        "[a](PROTOCOL.md#71-when-signed-by-x)",
        "`[a](missing.md)`",
        f"{PROTOCOL} §7, {PROTOCOL} §7.1, {ADR} 0004",
        "`make demo` and `make docs-check`, and make dinner if you like",
        "```\nmake demo\n```",
        "`keys/ids.py` `keys/ids` `keys/` `docs/adr/`",
        "`tests/keys/test_ids.py::test_one`",
        "`keys/*` `docs/adr/NNNN-<what>.md` `DIR/keys/node.key`",
    ],
)
def test_what_points_at_something_is_let_be(tmp_path: Path, line: str) -> None:
    assert problems(tmp_path, "docs/a.md", f"text\n\n{line}\n") == []


def test_a_section_named_in_code_is_looked_up_too(tmp_path: Path) -> None:
    assert problems(tmp_path, "keys/x.py", f'"""Reads it ({PROTOCOL} §9)."""\n') == [
        "keys/x.py:1: docs/PROTOCOL.md has no section 9"
    ]
