"""What a call loads before it talks to the node: nothing that is slow."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.cli.contract import examples
from tests.cli.recorded import RecordedNode
from tests.cli.samples import CONTENT, SHOWN, inbox_entry, posted, recipient
from tests.processes import Children

SLOW = ["aiohttp", "aiosqlite", "asyncio", "cryptography", "nacl", "pydantic", "rich", "ruamel", "structlog"]
EXAMPLES = dict(examples())
LOADED = (
    "import sys\nfrom nodes.cli.main import main\nstatus = main(sys.argv[1:])\n"
    f"sys.stderr.write(' '.join(name for name in {SLOW!r} if name in sys.modules) + '\\n')\nsys.exit(status)"
)


def call(children: Children, directory: Path, *argv: str) -> tuple[int, str]:
    """Exit, and which of the slow modules were loaded."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    said = children.run([sys.executable, "-c", LOADED, "-D", str(directory), *argv], env=environment)
    return said.returncode, said.stderr.decode().splitlines()[-1]


def test_a_call_without_a_node_loads_nothing_slow(children: Children, tmp_path: Path) -> None:
    assert call(children, tmp_path, "status") == (69, "")


@pytest.mark.parametrize("json_too", [True, False], ids=["json", "page"])
@pytest.mark.parametrize(
    "argv",
    [["status"], ["inbox"], ["show", "567890ab"], ["track", "567890ab"], ["post", "FILE", "--to", "bka.de"]],
    ids=lambda argv: str(argv[0]),
)
def test_a_call_to_a_node_loads_nothing_slow(
    node: RecordedNode, children: Children, tmp_path: Path, argv: list[str], json_too: bool
) -> None:
    (tmp_path / "alert.json").write_text(json.dumps(CONTENT))
    node.answers("status", EXAMPLES["status"])
    node.answers("inbox", {"v": 1, "messages": [inbox_entry(1)]})
    node.answers("show", SHOWN)
    node.answers("track", posted(recipient("bka.de", "stored")))
    node.answers("why", EXAMPLES["why"])
    node.answers("post", posted(recipient("bka.de", "queued", "connecting")))
    words = [str(tmp_path / "alert.json") if word == "FILE" else word for word in argv]
    assert call(children, node.directory, *words, *(["--json"] if json_too else [])) == (0, "")
