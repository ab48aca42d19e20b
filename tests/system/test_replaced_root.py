"""An agency whose keys were stolen begins anew with another root; `peer replace` goes on with it, on running nodes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.processes import Children
from tests.system.agencies import Node, introduce, until

OURS, THEIRS = "bka.de", "ponal.co"


@dataclass
class Scene:
    """Our node, theirs under the old root, which has ended, and theirs under the new one, which runs."""

    ours: Node
    old: Node
    new: Node
    before: str  # a message of ours that the old node accepted
    heard: str  # one of the old node's
    waiting: str  # one of ours, sealed to a key of the old node, which was gone by then


def _made(children: Children, home: Path, agency: str, country: str) -> Node:
    home.mkdir()
    node = Node(children, home, agency, country)
    assert node.make().exit == 0
    node.start()
    return node


def _replaced(scene: Scene) -> None:
    card = str(scene.new.directory / "card.tocsin")
    assert scene.ours.ok("peer", "replace", THEIRS, card, "--code", scene.new.code)["trust"] == "trusted"


def _removed_and_added(scene: Scene) -> None:
    scene.ours.ok("peer", "remove", THEIRS)
    scene.ours.trust(scene.new)


@pytest.fixture(params=[_replaced, _removed_and_added])
def scene(request: pytest.FixtureRequest, children: Children, tmp_path: Path) -> Scene:
    ours = _made(children, tmp_path / "ours", OURS, "DE")
    old = _made(children, tmp_path / "old", THEIRS, "CO")
    introduce(ours, old)
    before, heard = _deliver(ours, THEIRS), _deliver(old, OURS)
    old.ok("ack", before, "--accept")
    until(lambda: ours.state(before, THEIRS) == "accepted", "accepted")
    old.ok("keys", "rotate")  # a key change at a place where the new log may have one too
    for _ in range(6):  # the old log is longer than the new one will be
        _deliver(old, OURS)
    old.stop()
    waiting = ours.post(THEIRS)["message_id"]
    new = _made(children, tmp_path / "new", THEIRS, "CO")
    made = Scene(ours, old, new, before, heard, waiting)
    change: Callable[[Scene], None] = request.param
    change(made)
    new.trust(ours)
    return made


def _deliver(sender: Node, to: str) -> str:
    message = str(sender.post(to)["message_id"])
    until(lambda: sender.state(message, to) == "stored", f"delivery from {sender.agency}")
    return message


def _proves(node: Node, message: str, file: Path, *trusted: Node) -> None:
    node.ok("evidence", "export", message, "-o", str(file), "--with-content")
    codes = [option for one in trusted for option in ("--trust", one.code)]
    said = node.cli("evidence", "verify", str(file), *codes, "--require-trust", directory=False)
    assert (said.exit, said.document["verdict"]) == (0, "proved"), said.document


def _published(node: Node) -> set[tuple[int, bytes]]:
    with closing(sqlite3.connect(f"file:{node.store}?mode=ro", uri=True)) as connection:
        return set(connection.execute("SELECT number, public FROM epoch_key WHERE agency = ?", (THEIRS,)))


def test_the_new_root_is_spoken_to_and_the_old_one_stays_provable(scene: Scene, tmp_path: Path) -> None:
    ours, new = scene.ours, scene.new
    until(lambda: ours.state(scene.waiting, THEIRS) == "stored", "what waited, sealed anew")
    under_new, heard_new = _deliver(ours, THEIRS), _deliver(new, OURS)

    for restarted in (ours, new):
        restarted.stop()
        restarted.start()
        _deliver(ours, THEIRS)
        _deliver(new, OURS)
        assert _published(ours) == _published(new)
        for message, theirs in (
            (scene.before, scene.old),
            (scene.heard, scene.old),
            (under_new, new),
            (heard_new, new),
        ):
            _proves(ours, message, tmp_path / f"{restarted.agency}-{message}", ours, theirs)
        findings = {finding["code"] for finding in ours.ask("status")["findings"]}
        assert not findings & {"anchor_conflict", "head_unreconciled", "conflicting_decisions"}


def test_a_file_of_both_roots_holds_what_one_of_them_said_and_says_so(scene: Scene, tmp_path: Path) -> None:
    ours = scene.ours
    case = ours.ask("track", id=scene.before)["case_id"]
    resolved = ours.ok("resolve", case, "--outcome", "found_safe")["message_id"]
    until(lambda: ours.state(resolved, THEIRS) == "stored", "a receipt of the new root")
    file = tmp_path / "both"
    said = ours.cli("evidence", "export", case, "-o", str(file))
    assert (said.exit, "another root" in said.stderr) == (0, True)
    codes = ("--trust", ours.code, "--trust", scene.old.code)
    verified = ours.cli("evidence", "verify", str(file), *codes, directory=False)
    assert {claim["agency"]: claim["result"] for claim in verified.document["claims"]}[THEIRS] == "proved"
