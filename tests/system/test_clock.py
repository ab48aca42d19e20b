"""A clock that was set back (DESIGN 7): from a day behind its log a node says nothing and admits nothing, and loses
nothing by it.
"""

from __future__ import annotations

import json

import pytest

from tests.system.agencies import SMALLEST, Node, until
from tests.system.test_reasons import waits_because

HOUR_MS = 3_600_000


def set_back(node: Node, hours: int) -> None:
    """Its last entry is of now; then it runs with a clock that is so many hours behind."""
    node.stop()
    node.start(clock_ms=-hours * HOUR_MS)


def clock_finding(node: Node) -> tuple[str, str]:
    """State of the node, and how severe it takes its clock."""
    status = node.ok("status")
    (severity,) = (found["severity"] for found in status["findings"] if found["code"] == "clock_behind_log")
    return status["state"], severity


def test_a_node_whose_clock_is_a_day_behind_its_log_posts_nothing_until_it_is_right(pair: tuple[Node, Node]) -> None:
    bogota, berlin = pair
    before = bogota.post("bka.de", "--wait", "30")["message_id"]
    set_back(bogota, 25)
    size = bogota.ok("status")["log"]["size"]

    refused = bogota.cli("post", "-", "--to", "bka.de", given=json.dumps(SMALLEST).encode())

    assert (refused.exit, refused.document["error"]["code"]) == (78, "clock_behind_log")
    assert clock_finding(bogota) == ("read_only", "error")
    assert bogota.ok("status")["log"]["size"] == size
    bogota.stop()
    bogota.start()
    after = bogota.post("bka.de", "--wait", "30")["message_id"]
    assert sorted(entry["message_id"] for entry in berlin.inbox()) == sorted([before, after])
    assert bogota.ok("log", "verify")["origin"] == "ponal.co/gw1/1"


def test_a_node_whose_clock_is_a_day_behind_its_log_admits_nothing_and_gets_it_when_it_is_right(
    pair: tuple[Node, Node],
) -> None:
    bogota, berlin = pair
    bogota.post("bka.de", "--wait", "30")
    set_back(bogota, 25)

    waiting = berlin.post("ponal.co")["message_id"]

    waits_because(berlin, waiting, "ponal.co", "backoff")  # it is called, and takes nothing
    assert bogota.inbox() == []
    bogota.stop()
    bogota.start()
    until(lambda: berlin.state(waiting, "ponal.co") == "stored", "delivery to a clock that is right")
    assert [entry["message_id"] for entry in bogota.inbox()] == [waiting]


@pytest.mark.parametrize("hours", [1, 23])
def test_a_node_whose_clock_is_hours_behind_its_log_warns_and_goes_on(pair: tuple[Node, Node], hours: int) -> None:
    bogota, _ = pair
    bogota.post("bka.de", "--wait", "30")

    set_back(bogota, hours)

    assert bogota.post("bka.de", "--wait", "30")["recipients"][0]["state"] == "stored"
    assert clock_finding(bogota) == ("running", "warning")
