"""What the tests of the command line share: a recorded node, and calls as an operator makes them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nodes.cli.main import main
from tests.cli.recorded import RecordedNode


@dataclass(frozen=True)
class Said:
    """What one call said."""

    exit: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Standard output as the one JSON object that it must be."""
        assert self.out.endswith("\n")
        assert self.out.count("\n") == 1
        document = json.loads(self.out)
        assert isinstance(document, dict)
        return document


class Operator:
    """Types commands."""

    def __init__(self, directory: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self._capture = capture

    @property
    def program(self) -> str:
        """How a command that is printed begins, so that it can be typed as it stands."""
        return f"tocsin -D {shlex.quote(str(self.directory))}"

    def __call__(self, *argv: str) -> Said:
        self._capture.readouterr()
        status = main(["-D", str(self.directory), *argv])
        out, err = self._capture.readouterr()
        return Said(status, out, err)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RecordedNode]:
    """A node that answers what the test records."""
    with RecordedNode(tmp_path / "agency") as node:
        yield node


@pytest.fixture
def tocsin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Operator:
    """`tocsin` in the directory of `node`, whether one runs there or not."""
    return Operator(tmp_path / "agency", capsys)
