"""kill -9 and power cuts of either node under load, and a disk that fails (promises P1, P2). The checker reads only its
own record and `inbox --json`.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exchange.log import Frontier, leaf_hash
from nodes.cli.client import ask
from nodes.errors import ERROR_EXITS, OperationError
from tests.power_cut import begin_to_keep, can_be_cut, cut
from tests.system.agencies import PATIENCE, SMALLEST, WAIT_S, Node, until

# The suite takes a short run; the figure of docs/reliability comes from TOCSIN_KILLS=50.
KILLS = int(os.environ.get("TOCSIN_KILLS", "10"))
PHASES = ("before_post", "before_commit", "after_commit", "during_settle", "after_settle")
IN_FLIGHT = 4


@pytest.mark.timeout(1800)
def test_a_node_killed_at_any_moment_loses_nothing_and_shows_nothing_twice(pair: tuple[Node, Node]) -> None:
    _end_nodes_under_load(pair, KILLS, None)


@pytest.mark.timeout(1800)
@pytest.mark.skipif(not can_be_cut(), reason="this Python's SQLite has no door for a shim: a power cut was not tried")
def test_a_node_whose_power_is_cut_at_any_moment_loses_nothing_and_shows_nothing_twice(
    pair: tuple[Node, Node], tmp_path: Path
) -> None:
    _end_nodes_under_load(pair, max(KILLS // 2, len(PHASES)), tmp_path / "kept")


def test_what_waited_for_a_key_is_sealed_though_the_node_died_when_the_key_came(
    make_node: Callable[[str, str], Node],
) -> None:
    bogota, berlin = make_node("ponal.co", "CO"), make_node("bka.de", "DE")
    berlin.start()
    berlin.trust(bogota)
    berlin.kill()
    bogota.start(crash=("before_post", 1))
    bogota.trust(berlin)
    process = bogota.process
    assert process is not None
    waiting = bogota.post("bka.de")["message_id"]  # no key yet: queued, and not sealed

    berlin.start()
    assert process.wait(60) == -9
    bogota.start()

    until(lambda: bogota.state(waiting, "bka.de") == "stored", "delivery")
    assert [entry["message_id"] for entry in berlin.inbox()] == [waiting]


@pytest.mark.skipif(not can_be_cut(), reason="this Python's SQLite has no door for a shim: no sync could fail")
def test_a_node_whose_disk_fails_in_a_commit_ends_by_itself_and_what_it_did_not_answer_can_be_asked_again(
    pair: tuple[Node, Node], tmp_path: Path
) -> None:
    """A sync that failed may succeed when it is asked for again, and has written nothing then: to go on is to lie."""
    bogota, berlin = pair
    before = bogota.post("bka.de", "--wait", "30")["message_id"]  # it has a key: a post is sealed in its own commit
    bogota.kill()
    kept = tmp_path / "kept"
    begin_to_keep(bogota.store, kept)
    bogota.start(crash=("failed_sync", 2), kept=kept)
    process = bogota.process
    assert process is not None
    posts = [
        {"content": json.dumps(SMALLEST), "to": ["bka.de"], "id": f"00000000-0000-4000-8000-{number:012d}"}
        for number in range(2)
    ]
    ask(bogota.directory, "post", posts[0])

    with pytest.raises(OperationError) as lost:
        ask(bogota.directory, "post", posts[1])

    assert lost.value.code in ("internal", "node_not_running")
    assert process.wait(WAIT_S * PATIENCE) == ERROR_EXITS["internal"]
    _restart(bogota, kept)
    for post in posts:
        assert ask(bogota.directory, "post", post).document["message_id"] == post["id"]
    until(lambda: all(bogota.state(str(post["id"]), "bka.de") == "stored" for post in posts), "delivery of both")
    assert sorted(entry["message_id"] for entry in berlin.inbox()) == sorted([before, *(post["id"] for post in posts)])
    assert bogota.ok("log", "verify")["ok"]
    _checkpoints_seen_outside_are_prefixes(bogota, berlin)


def _end_nodes_under_load(pair: tuple[Node, Node], times: int, kept: Path | None) -> None:
    """End one of them `times` times; with `kept`, its store then holds only what was synced."""
    bogota, berlin = pair
    chance = random.Random(20261124)
    record: list[str] = []

    for number in range(times):
        phase = PHASES[number % len(PHASES)]
        victim = berlin if phase.endswith("_commit") else bogota
        victim.kill()
        if kept is not None:
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(victim.store.parent, kept)
        victim.start(crash=(phase, chance.randint(1, 2)), kept=kept)
        process = victim.process
        assert process is not None
        _post_until_dead(bogota, victim, record, kept)
        assert process.wait(60) == -9
        if victim.process is process:
            _restart(victim, kept)

    until(lambda: all(bogota.state(message, "bka.de") == "stored" for message in record), "delivery of all", 300)
    assert sorted(entry["message_id"] for entry in berlin.inbox()) == sorted(record)
    assert len(record) >= times
    for node in (bogota, berlin):
        assert node.ok("log", "verify")["ok"]
        assert node.ok("log", "verify")["origin"].endswith("/1")
    _checkpoints_seen_outside_are_prefixes(bogota, berlin)


def _restart(victim: Node, kept: Path | None) -> None:
    victim.process = None
    if kept is not None:
        cut(victim.store, kept)
    victim.start()


def _post_until_dead(bogota: Node, victim: Node, record: list[str], kept: Path | None) -> None:
    """Keep alerts in flight until the victim has killed itself. A post is on record when its answer came."""
    process = victim.process
    assert process is not None
    arguments: dict[str, Any] = {"content": json.dumps(SMALLEST), "to": ["bka.de"]}
    for number in range(400):
        message = f"00000000-0000-4000-8000-{len(record):06d}{number:06d}"
        try:
            answer = ask(bogota.directory, "post", {**arguments, "id": message})
        except OperationError:
            # The sender is the victim: its answer is lost. Asked again with the same id, it says what happened.
            assert process.wait(60) == -9
            _restart(victim, kept)
            again = ask(bogota.directory, "post", {**arguments, "id": message})
            record.append(again.document["message_id"])
            return
        record.append(answer.document["message_id"])
        if number >= IN_FLIGHT and process.poll() is not None:
            return
    raise AssertionError("the victim did not reach the moment of its death")


def _checkpoints_seen_outside_are_prefixes(*nodes: Node) -> None:
    """Every head that the other side ever held lies on the one history that this side has now."""
    for node in nodes:
        node.stop()
    for owner in nodes:
        entries = [
            row[0] for row in owner.rows("SELECT entry FROM entry WHERE position < (SELECT 2 << 40) ORDER BY position")
        ]
        numbers = dict(owner.rows("SELECT name, number FROM log"))
        positions = owner.rows("SELECT position, entry FROM entry ORDER BY position")
        main = [entry for position, entry in positions if position >> 40 == numbers["gw1/1"]]
        assert entries
        for other in nodes:
            if other is owner:
                continue
            seen = other.rows(f"SELECT size, root FROM peer_head WHERE agency = '{owner.agency}' ORDER BY size")
            assert seen
            frontier, at = Frontier.empty(), 0
            for size, root in seen:
                assert size <= len(main), "a head was seen outside that its owner does not have"
                frontier = frontier.append_many([leaf_hash(entry) for entry in main[at:size]]).frontier
                at = size
                assert frontier.root == root, "a head was seen outside that is of another history"
