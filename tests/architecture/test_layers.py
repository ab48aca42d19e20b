"""What no import contract can say: what a start of the command line loads, and who may know of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.architecture.imports import imported_modules
from tests.processes import Children

ROOT = Path(__file__).resolve().parents[2]
BELOW_THE_COMMAND_LINE = sorted(
    path.relative_to(ROOT).as_posix()
    for area in ("keys", "exchange", "nodes")
    for path in (ROOT / area).rglob("*.py")
    if not path.is_relative_to(ROOT / "nodes" / "cli")
)

# Each takes longer to import than a command may take to answer (goal: 150 ms for the whole of it).
SLOW = (
    "aiohttp",
    "aiosqlite",
    "asyncio",
    "cryptography",
    "phonenumbers",
    "pycountry",
    "pydantic",
    "rich",
    "ruamel",
    "uvloop",
)


def test_a_start_of_the_command_line_loads_nothing_slow(children: Children) -> None:
    program = "import json, sys; import nodes.cli.main; print(json.dumps(sorted(sys.modules)))"
    result = children.run([sys.executable, "-c", program], cwd=ROOT)
    assert result.returncode == 0, result.stderr.decode()
    loaded = set(json.loads(result.stdout))
    assert sorted(loaded.intersection(SLOW)) == []


@pytest.mark.parametrize("path", BELOW_THE_COMMAND_LINE)
def test_nothing_below_the_command_line_knows_it(path: str) -> None:
    assert [name for name in imported_modules((ROOT / path).read_text()) if name.startswith("nodes.cli")] == []
