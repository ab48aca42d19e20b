"""Evidence convinces a stranger after keys were changed and destroyed and both nodes are gone (promise P4)."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.system.agencies import Node, Said, introduce, until


def verify(node: Node, file: Path, *options: str) -> Said:
    return node.cli("evidence", "verify", str(file), *options, directory=False)


@pytest.fixture
def exchanged(pair: tuple[Node, Node], tmp_path: Path) -> tuple[Node, Node, str, Path]:
    """An alert that was accepted, and the sender's evidence with its content."""
    bogota, berlin = pair
    message = bogota.post("bka.de", "--wait", "30")["message_id"]
    berlin.ok("ack", message, "--accept", "--text", "two cars on the way")
    until(lambda: bogota.state(message, "bka.de") == "accepted", "accepted")
    file = tmp_path / "evidence.tocsin"
    bogota.ok("evidence", "export", message, "-o", str(file), "--with-content")
    return bogota, berlin, message, file


def claims_of(document: dict[str, Any]) -> dict[tuple[str, str], str]:
    return {(claim["claim"], claim["agency"]): claim["result"] for claim in document["claims"]}


def test_content_is_proved_when_keys_are_destroyed_and_both_nodes_are_deleted(
    exchanged: tuple[Node, Node, str, Path], tmp_path: Path
) -> None:
    bogota, berlin, message, file = exchanged
    for node in (bogota, berlin):
        for key in (node.directory / "keys").glob("epoch*"):
            key.unlink()
        node.kill()
        shutil.rmtree(node.directory)
    court = tmp_path / "court"
    court.mkdir()
    alone = court / file.name
    shutil.move(file, alone)

    said = verify(bogota, alone)

    assert (said.exit, said.document["verdict"], said.document["message_id"]) == (0, "proved", message)
    assert claims_of(said.document)["accepted", "bka.de"] == "proved"


def test_statements_stay_proved_when_the_pair_that_signed_them_was_changed(
    exchanged: tuple[Node, Node, str, Path], tmp_path: Path
) -> None:
    bogota, berlin, message, _ = exchanged
    for node in (bogota, berlin):
        node.ok("keys", "rotate")
    later = bogota.post("bka.de", "--wait", "30")["message_id"]
    until(lambda: bogota.state(later, "bka.de") == "stored", "delivery under the new pairs")

    for node, name in ((bogota, "sender"), (berlin, "recipient")):
        file = tmp_path / f"{name}.tocsin"
        node.ok("evidence", "export", message, "-o", str(file), "--with-content")
        said = verify(node, file, "--trust", bogota.code, "--trust", berlin.code, "--require-trust")
        assert (said.exit, said.document["verdict"]) == (0, "proved"), said.document


@pytest.mark.parametrize("steps", [("rotate",), ("reopen", "rotate"), ("rotate", "reopen", "reopen", "rotate")])
def test_what_was_said_before_stays_proved_at_once(
    exchanged: tuple[Node, Node, str, Path], tmp_path: Path, steps: tuple[str, ...]
) -> None:
    """No later statement is needed: the judge may ask on the day of the change."""
    bogota, berlin, message, _ = exchanged
    healthy = bogota.cli("log", "reopen", "--reason", "clock")
    assert (healthy.exit, healthy.document["error"]["code"]) == (65, "wrong_state")
    behind = 0
    for step in steps:
        if step == "rotate":
            bogota.ok("keys", "rotate")
        else:
            behind -= 600_000  # each new generation begins with the time of a clock that is behind once more
            bogota.stop()
            bogota.start(clock_ms=behind)
            bogota.ok("log", "reopen", "--reason", "clock")
        log = bogota.ok("status")["log"]
        until(lambda log=log: _holds(berlin, log), "what the peer must know")  # type: ignore[misc]

    for node in (bogota, berlin):
        file = tmp_path / f"{node.agency}.tocsin"
        node.ok("evidence", "export", message, "-o", str(file), "--with-content")
        said = verify(node, file, "--trust", bogota.code, "--trust", berlin.code, "--require-trust")
        assert (said.exit, said.document["verdict"]) == (0, "proved"), (
            node.agency,
            [(c["claim"], c["agency"], c["result"], c["reason"]) for c in said.document["claims"]],
        )


@pytest.mark.parametrize(("last", "reopened"), [("issued", 1), ("audit_head", 2)])
def test_what_was_said_before_stays_proved_by_a_peer_that_was_away_when_log_and_pair_changed(
    exchanged: tuple[Node, Node, str, Path],
    make_node: Callable[[str, str], Node],
    tmp_path: Path,
    last: str,
    reopened: int,
) -> None:
    """It is told the key change first, and the pair that signed the end of the generation it knows is none any more."""
    bogota, berlin, message, _ = exchanged
    london = make_node("met.uk", "GB")
    london.start()
    introduce(bogota, london)  # a pair is not changed before somebody has told what he knows of it
    berlin.stop()
    for number in range(1, reopened + 1):
        bogota.stop()
        bogota.start(clock_ms=number * -600_000)
        if last == "issued":
            bogota.post("bka.de")
        until(lambda: any(peer["reachable"] for peer in bogota.ok("status")["peers"]), "a word of London's")
        bogota.ok("log", "reopen", "--reason", "clock")
    bogota.ok("keys", "rotate")
    berlin.start()
    log = bogota.ok("status")["log"]
    until(lambda: _holds(berlin, log), "what the peer must know")

    file = tmp_path / "evidence"
    berlin.ok("evidence", "export", message, "-o", str(file), "--with-content")

    said = verify(berlin, file, "--trust", bogota.code, "--trust", berlin.code, "--require-trust")
    assert (said.exit, said.document["verdict"]) == (0, "proved"), said.document["claims"]


def _holds(node: Node, log: dict[str, Any]) -> bool:
    """Whether a node holds the head that its peer's `status` named; read beside the running node."""
    store = next((node.directory / "store").glob("*.db"))
    generation = int(log["origin"].rpartition("/")[2])
    with contextlib.closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
        (size,) = connection.execute(
            "SELECT max(size) FROM peer_head WHERE reconciled AND generation = ?", (generation,)
        ).fetchone()
    return bool(size is not None and size >= log["size"])


def test_without_content_the_file_shows_no_word_and_still_proves_delivery(
    exchanged: tuple[Node, Node, str, Path], tmp_path: Path
) -> None:
    bogota, _, message, _ = exchanged
    file = tmp_path / "bare.tocsin"

    said = bogota.cli("evidence", "export", message, "-o", str(file))

    assert said.exit == 0
    data = file.read_bytes()
    # Long enough that the signatures in the file do not hold it by chance.
    for word in (b"white van", b"two cars", "Luc\u00eda P".encode(), b"Luc\\u00eda P"):
        assert word not in data
    verified = verify(bogota, file)
    found = claims_of(verified.document)
    assert found["issued", "ponal.co"] == found["stored", "bka.de"] == "proved"
    assert ("accepted", "bka.de") not in found


def test_another_root_than_the_trusted_one_is_contradicted(exchanged: tuple[Node, Node, str, Path]) -> None:
    bogota, _, _, file = exchanged
    said = verify(bogota, file, "--trust", "0000-0000-0000-0000-0000")
    assert (said.exit, said.document["verdict"]) == (65, "contradicted")


def test_a_missing_anchor_of_trust_is_not_proved_when_trust_is_required(
    exchanged: tuple[Node, Node, str, Path],
) -> None:
    bogota, _, _, file = exchanged
    said = verify(bogota, file, "--trust", bogota.code, "--require-trust")
    assert (said.exit, said.document["verdict"]) == (65, "not_proved")


def test_no_evidence_file_holds_a_private_key(exchanged: tuple[Node, Node, str, Path]) -> None:
    bogota, berlin, _, file = exchanged
    data = file.read_bytes()
    for node in (bogota, berlin):
        for key in (node.directory / "keys").iterdir():
            assert key.read_bytes()[-64:] not in data
    assert b"PRIVATE" not in data


def test_a_file_cut_short_and_a_file_of_something_else_are_refused_with_their_reason(
    exchanged: tuple[Node, Node, str, Path], tmp_path: Path
) -> None:
    bogota, _, _, file = exchanged
    cut = tmp_path / "cut.tocsin"
    cut.write_bytes(file.read_bytes()[: len(file.read_bytes()) // 2])
    other = tmp_path / "other.tocsin"
    other.write_bytes(b"PK\x03\x04 something else")

    for path in (cut, other):
        said = verify(bogota, path)
        assert said.exit == 65
        assert said.document["verdict"] != "proved"
