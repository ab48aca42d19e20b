"""On a real terminal: colour for who sees it, a question before a post, and nothing of a peer's that it obeys."""

from __future__ import annotations

import json
import os
import pty
import sys
from pathlib import Path

import pytest

from tests.cli.contract import examples
from tests.cli.recorded import RecordedNode
from tests.cli.samples import CONTENT, SHOWN, posted
from tests.processes import Children

EXAMPLES = dict(examples())


def on_a_terminal(
    children: Children, directory: Path, *argv: str, typed: bytes = b"", environment: dict[str, str] | None = None
) -> tuple[int, bytes]:
    """Run a command with all its streams on a terminal of its own. Returns its exit and what the terminal got."""
    ours, theirs = pty.openpty()
    changed = {"TERM": "xterm-256color", "COLUMNS": "80", "NO_COLOR": "", **(environment or {})}
    everything = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), **changed}
    kept = {name: value for name, value in everything.items() if value}
    child = children.start(
        [sys.executable, "-m", "nodes.cli", "-D", str(directory), *argv],
        env=kept,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    os.write(ours, typed)
    said = b""
    try:
        while piece := os.read(ours, 65_536):
            said += piece
    except OSError:  # Linux tells the end of a terminal as EIO
        pass
    finally:
        os.close(ours)
    return child.wait(), said


def test_a_screen_is_coloured_and_a_peer_s_text_is_not_obeyed(node: RecordedNode, children: Children) -> None:
    hostile = "\x1b[2J\u202e[bold red]x[/] :smile: http://a.example"
    node.answers("show", {**SHOWN, "content": {**CONTENT, "summary": hostile}})
    status, said = on_a_terminal(children, node.directory, "show", "567890ab")
    assert status == 0
    assert b"\x1b[" in said
    assert b"\x1b[2J" not in said
    assert "\u202e".encode() not in said
    assert "\u241b[2J<U+202E>[bold red]x[/] :smile: http://a.example" in said.decode()


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_who_wants_no_colour_gets_none(node: RecordedNode, children: Children, environment: dict[str, str]) -> None:
    node.answers("show", SHOWN)
    _, said = on_a_terminal(children, node.directory, "show", "567890ab", environment=environment)
    assert b"\x1b[3" not in said
    assert b"\x1b[4" not in said
    assert b"DO NOT CALL THE FAMILY" in said


@pytest.mark.parametrize(("typed", "status", "asked"), [(b"y\n", 0, ["preview", "post"]), (b"\n", 130, ["preview"])])
def test_a_person_is_asked_before_a_post(
    node: RecordedNode, children: Children, tmp_path: Path, typed: bytes, status: int, asked: list[str]
) -> None:
    (tmp_path / "alert.json").write_text(json.dumps(CONTENT))
    node.answers("preview", {**EXAMPLES["explain"], "would_send": EXAMPLES["explain"]["would_send"][:1]})
    node.answers("post", posted())
    done, said = on_a_terminal(
        children, node.directory, "post", str(tmp_path / "alert.json"), "--to", "bka.de", typed=typed
    )
    assert done == status
    assert b"bka.de" in said
    assert [name for name, _ in node.requests] == asked


def test_a_program_on_a_terminal_that_wants_json_is_not_asked(
    node: RecordedNode, children: Children, tmp_path: Path
) -> None:
    (tmp_path / "alert.json").write_text(json.dumps(CONTENT))
    node.answers("post", posted())
    done, said = on_a_terminal(
        children, node.directory, "post", str(tmp_path / "alert.json"), "--to", "bka.de", "--json"
    )
    assert (done, json.loads(said)) == (0, posted())


@pytest.mark.parametrize(
    ("typed", "status", "asked"), [(b"y\n", 0, ["peer_show", "peer_remove"]), (b"\n", 130, ["peer_show"])]
)
def test_a_person_is_told_what_waits_before_a_peer_is_removed(
    node: RecordedNode, children: Children, typed: bytes, status: int, asked: list[str]
) -> None:
    peer = {**EXAMPLES["peer"], "trust": "suspended", "queued": 7}
    node.answers("peer_show", peer)
    node.answers("peer_remove", {**peer, "trust": "removed"})
    done, said = on_a_terminal(children, node.directory, "peer", "remove", "ponal.co", typed=typed)
    assert done == status
    assert b": 7" in said
    assert [name for name, _ in node.requests] == asked
