"""`-o F`: what is there and is no regular file stays what it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.conftest import Operator
from tests.cli.recorded import RecordedNode

WRITERS = [
    ["evidence", "export", "567890ab"],
    ["card"],
    ["keys", "export-root"],
    ["keys", "anchor", "--root", "root.key"],
]


@pytest.mark.parametrize("argv", WRITERS, ids=lambda argv: " ".join(argv[:2]))
@pytest.mark.parametrize("kind", ["pipe", "link", "directory"])
def test_what_is_no_regular_file_is_not_replaced(
    node: RecordedNode, tocsin: Operator, tmp_path: Path, argv: list[str], kind: str
) -> None:
    output = tmp_path / "out"
    if kind == "pipe":
        os.mkfifo(output)
    elif kind == "link":
        output.symlink_to("/dev/full")
    else:
        output.mkdir()
    before = output.lstat()
    said = tocsin(*argv, "-o", str(output), "--json")
    assert (said.exit, said.json["error"]["code"]) == (2, "usage")
    assert "is no regular file" in said.json["error"]["message"]
    after = output.lstat()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["agency", "out"]
    assert node.requests == []


def test_a_device_is_no_regular_file(node: RecordedNode, tocsin: Operator) -> None:
    said = tocsin("evidence", "export", "567890ab", "-o", "/dev/full")
    assert said.exit == 2
    assert "/dev/full is no regular file" in said.err
