"""A data directory put back to an old copy (PROTOCOL §9.1): no inconsistent history leaves, later posts arrive."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from uuid import UUID

import pytest

from tests.system.agencies import Node, until


@pytest.fixture
def rolled_back(pair: tuple[Node, Node]) -> tuple[Node, Node, list[str]]:
    """Two posts that the copy knows, two that it does not, and the copy in place of the directory; nothing runs."""
    bogota, berlin = pair
    posted = [bogota.post("bka.de", "--wait", "30")["message_id"] for _ in range(2)]
    berlin.post("ponal.co", "--wait", "30")
    bogota.stop()
    copy = bogota.home / "copy"
    shutil.copytree(bogota.directory, copy)
    bogota.start()
    posted += [bogota.post("bka.de", "--wait", "30")["message_id"] for _ in range(2)]
    berlin.post("ponal.co", "--wait", "30")
    bogota.kill()
    berlin.stop()
    shutil.rmtree(bogota.directory)
    copy.rename(bogota.directory)
    return bogota, berlin, posted


def heads_are_one_history_each(berlin: Node) -> None:
    """What the peer holds of each generation has one root per size."""
    berlin.stop()
    seen = berlin.rows("SELECT generation, size, root FROM peer_head WHERE agency = 'ponal.co'")
    roots = Counter((generation, size) for generation, size, _ in set(seen))
    assert set(roots.values()) == {1}
    assert {generation for generation, _, _ in seen} == {1, 2}


def test_an_old_copy_opens_a_new_generation_and_its_later_posts_arrive(
    rolled_back: tuple[Node, Node, list[str]],
) -> None:
    bogota, berlin, posted = rolled_back
    berlin.start()
    bogota.start()

    after = bogota.post("bka.de", "--wait", "60")["message_id"]

    assert bogota.ok("log", "verify")["origin"] == "ponal.co/gw1/2"
    assert sorted(entry["message_id"] for entry in berlin.inbox()) == sorted([*posted, after])
    assert {finding["code"] for finding in bogota.ok("status")["findings"]} >= {"log_reopened"}
    assert berlin.post("ponal.co", "--wait", "60")["recipients"][0]["state"] == "stored"
    heads_are_one_history_each(berlin)


def test_what_an_old_copy_posts_before_it_hears_anybody_leaves_in_the_new_generation_only(
    rolled_back: tuple[Node, Node, list[str]],
) -> None:
    bogota, berlin, posted = rolled_back
    bogota.start()
    early = bogota.post("bka.de")["message_id"]
    berlin.start()

    until(lambda: bogota.state(early, "bka.de") == "stored", "delivery in the new generation")

    assert sorted(entry["message_id"] for entry in berlin.inbox()) == sorted([*posted, early])
    heads_are_one_history_each(berlin)


def test_what_the_copy_had_received_and_lost_is_sent_again_and_shown_once(
    rolled_back: tuple[Node, Node, list[str]],
) -> None:
    """What comes again are the last minutes before the copy too: a message that the copy holds is not shown anew."""
    bogota, berlin, _ = rolled_back
    assert len(berlin.rows("SELECT 1 FROM message WHERE direction = 'out' AND shown = 1")) == 2
    berlin.start()
    bogota.start()

    until(lambda: len(bogota.inbox()) == 2, "the lost message")

    assert len({message["message_id"] for message in bogota.inbox()}) == 2
    for message in bogota.inbox():
        assert berlin.state(message["message_id"], "ponal.co") == "stored"


def test_a_log_reopened_for_its_clock_before_it_hears_of_its_loss_shows_nobody_a_second_history(
    rolled_back: tuple[Node, Node, list[str]],
) -> None:
    bogota, berlin, _ = rolled_back
    bogota.start(clock_ms=-600_000)
    for _ in range(3):
        bogota.post("bka.de")
    bogota.ok("log", "reopen", "--reason", "clock")
    berlin.start()

    last = bogota.post("bka.de", "--wait", "60")

    assert last["recipients"][0]["state"] == "stored"
    heads_are_one_history_each(berlin)


def test_what_a_lost_history_receipted_stays_proved_when_the_copy_has_grown_to_the_same_size(
    rolled_back: tuple[Node, Node, list[str]], tmp_path: Path
) -> None:
    bogota, berlin, _ = rolled_back
    receipted = berlin.rows("SELECT message_id, head_size FROM statement JOIN outbound ON outbound.number = envelope")
    message, size = max(receipted, key=lambda row: row[1])
    bogota.start()
    while bogota.ok("status")["log"]["size"] < size:
        bogota.post("bka.de")
    assert bogota.ok("status")["log"]["size"] == size
    berlin.start()
    bogota.post("bka.de", "--wait", "60")
    file = tmp_path / "evidence.tocsin"

    berlin.ok("evidence", "export", str(UUID(bytes=message)), "-o", str(file))

    said = berlin.cli("evidence", "verify", str(file), directory=False)
    assert (said.exit, said.document["verdict"]) == (0, "proved"), said.document
