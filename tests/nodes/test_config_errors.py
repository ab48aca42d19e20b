"""Errors as an operator gets them: the contract's document, code and exit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nodes.errors import (
    ERROR_EXITS,
    AlreadyRunningError,
    ConfigError,
    DirectoryPermissionsError,
    DiskFullError,
    FatalError,
    ListenError,
    NodeError,
    OperationError,
    Problem,
    SchemaTooNewError,
    StoreBusyError,
    StoreCorruptError,
)

EVERY_ERROR = [
    OperationError("unknown_id", "no such message", "see `tocsin inbox`"),
    ConfigError("node.toml", "notice.repeat_minutes", "greater_than_equal", "repeat_minutes = 5"),
    DirectoryPermissionsError("keys", "", "mode", "chmod 700 keys"),
    ListenError("127.0.0.1:7443", "Address already in use"),
    AlreadyRunningError(4711),
    AlreadyRunningError(None),
    StoreBusyError("busy"),
    SchemaTooNewError(7, 3),
    StoreCorruptError("quick_check"),
    DiskFullError(),
    FatalError("commit_unknown"),
]


def exits_of(text: str) -> dict[str, int]:
    """Codes and exits of the contract's table."""
    found: dict[str, int] = {}
    for line in text[text.index("| exit | meaning") :].splitlines():
        columns = [column.strip() for column in line.strip("|").split("|")]
        if len(columns) != 3 or not columns[2] or columns[2].startswith("("):
            continue
        groups = columns[2].split(" · ")
        for number, codes in zip(re.findall(r"\d+", columns[0]), groups, strict=False):
            found.update(dict.fromkeys(re.findall(r"[a-z_]{4,}", codes), int(number)))
    return found


def test_exits_are_those_of_the_contract(shared_dir: Path) -> None:
    contract = exits_of((shared_dir / "CLI.md").read_text())
    contract.pop("error", None)
    assert {code: contract.get(code) for code in ERROR_EXITS} == {**ERROR_EXITS, "disk_low": 74}


@pytest.mark.parametrize("error", EVERY_ERROR, ids=lambda error: type(error).__name__)
def test_every_error_has_the_contract_s_document(error: NodeError) -> None:
    document = error.document()
    assert document["v"] == 1
    inner = document["error"]
    assert isinstance(inner, dict)
    assert set(inner) == {"code", "message", "hint", "exit", "problems"}
    assert inner["exit"] == ERROR_EXITS[inner["code"]] == error.exit
    assert inner["message"]
    assert all(set(problem) == {"path", "rule", "message", "example"} for problem in inner["problems"])


def test_a_problem_points_into_what_was_given() -> None:
    error = ConfigError("node.toml", "notice.repeat_minutes", "greater_than_equal", "")
    assert [(problem.path, problem.rule) for problem in error.problems] == [
        ("/notice/repeat_minutes", "greater_than_equal")
    ]


def test_problems_of_a_draft_reach_the_operator() -> None:
    problem = Problem("/incident/taken/earliest", "rfc3339_offset", "no offset", "2026-11-23T02:10:00-05:00")
    error = OperationError("invalid_alert", "one problem", problems=(problem,))
    assert error.document()["error"]["problems"] == [problem.document()]  # type: ignore[index]


def test_a_code_that_the_contract_does_not_have_is_our_bug() -> None:
    with pytest.raises(KeyError):
        OperationError("oops", "what is that")
