"""Nothing fails silently (promise P6): whatever keeps a message from its recipient has a reason and a next step."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from tests.cli.contract import check_document
from tests.system.agencies import Node, until

MakeNode = Callable[[str, str], Node]


def waits_because(node: Node, message: str, recipient: str, *reasons: str) -> None:
    """Until `track` gives one of the reasons; then `why` must give the same, as a sentence, with what to do then."""

    def told() -> bool:
        entries = {entry["agency"]: entry for entry in node.ask("track", id=message)["recipients"]}
        return (entries[recipient]["state"], entries[recipient]["reason"] in reasons) == ("queued", True)

    until(told, f"one of {reasons}")
    said = node.ok("why", message)
    check_document("why", said)
    (why,) = (entry for entry in said["recipients"] if entry["agency"] == recipient)
    assert why["reason"] in reasons
    assert recipient in why["sentence"]
    assert why["next_step"]


def test_what_waits_for_a_peer_says_for_what(make_node: MakeNode) -> None:
    bogota, berlin = make_node("ponal.co", "CO"), make_node("bka.de", "DE")
    bogota.start()
    bogota.trust(berlin)
    message = bogota.post("bka.de")["message_id"]

    waits_because(bogota, message, "bka.de", "unreachable")

    berlin.start()
    waits_because(bogota, message, "bka.de", "peer_does_not_trust_us")

    bogota.ok("peer", "suspend", "bka.de", "--reason", "audit")
    waits_because(bogota, message, "bka.de", "peer_suspended")

    bogota.ok("peer", "resume", "bka.de")
    berlin.trust(bogota)
    until(lambda: bogota.state(message, "bka.de") == "stored", "delivery")


def test_what_waits_for_a_removed_peer_says_how_it_comes_back_and_then_goes_out(make_node: MakeNode) -> None:
    bogota, berlin = make_node("ponal.co", "CO"), make_node("bka.de", "DE")
    bogota.start()
    bogota.trust(berlin)
    posted = bogota.post("bka.de")
    message = posted["message_id"]
    waits_because(bogota, message, "bka.de", "unreachable")

    removed = bogota.ok("peer", "remove", "bka.de")

    assert (removed["trust"], removed["queued"]) == ("removed", 1)
    waits_because(bogota, message, "bka.de", "peer_pending")
    (why,) = bogota.ok("why", message)["recipients"]
    assert "peer add" in why["next_step"]
    assert why["next_attempt_at"] is None
    (finding,) = (one for one in bogota.ok("status")["findings"] if one["code"] == "peer_removed")
    assert finding["peer"] == "bka.de"
    for command in (["resend", message, "--to", "bka.de"], ["cancel", posted["case_id"], "--reason", "duplicate"]):
        refused = bogota.cli(*command)
        assert refused.document["error"]["code"] == "unknown_agency"
        assert "peer add" in refused.document["error"]["hint"]

    bogota.trust(berlin)
    berlin.start()
    berlin.trust(bogota)
    until(lambda: bogota.state(message, "bka.de") == "stored", "delivery")
    assert "peer_removed" not in {one["code"] for one in bogota.ok("status")["findings"]}


def test_what_waits_is_found_behind_whatever_was_delivered_later(pair: tuple[Node, Node]) -> None:
    bogota, berlin = pair
    berlin.stop()
    waiting = bogota.post("bka.de")["message_id"]
    assert [one["message_id"] for one in bogota.ok("sent", "--waiting")["messages"]] == [waiting]
    bogota.ok("peer", "suspend", "bka.de")
    third = Node(bogota.children, bogota.home, "interpol.int", "FR")
    third.make()
    third.start()
    bogota.trust(third)
    third.trust(bogota)
    bogota.post("interpol.int", "--wait", "30")

    found = bogota.ok("sent", "--waiting", "--limit", "1")["messages"]

    assert [one["message_id"] for one in found] == [waiting]


def test_nothing_is_attempted_at_a_suspended_peer(make_node: MakeNode) -> None:
    bogota, berlin = make_node("ponal.co", "CO"), make_node("bka.de", "DE")
    bogota.start()
    bogota.trust(berlin)
    message = bogota.post("bka.de")["message_id"]
    waits_because(bogota, message, "bka.de", "unreachable")

    bogota.ok("peer", "suspend", "bka.de", "--reason", "audit")

    waits_because(bogota, message, "bka.de", "peer_suspended")
    (recipient,) = bogota.ok("track", message)["recipients"]
    assert recipient["next_attempt_at"] is None
    assert bogota.ok("resend", message, "--to", "bka.de")["repeated"] is True  # it is queued as it is
    assert bogota.ok("peer", "suspend", "bka.de")["reason"] == "audit"
    assert bogota.ok("peer", "suspend", "bka.de", "--reason", "stolen")["reason"] == "stolen"
    assert bogota.ok("peer", "resume", "bka.de")["reason"] is None


def test_a_case_whose_only_recipient_is_suspended_says_how_it_is_moved_after_all(make_node: MakeNode) -> None:
    bogota, berlin = make_node("ponal.co", "CO"), make_node("bka.de", "DE")
    bogota.start()
    bogota.trust(berlin)
    case = bogota.post("bka.de")["case_id"]
    bogota.ok("peer", "suspend", "bka.de")

    barred = bogota.cli("cancel", case, "--reason", "duplicate").document["error"]
    nobody = bogota.cli("note", case, "seen", "--without", "bka.de").document["error"]

    assert (barred["code"], nobody["code"]) == ("peer_not_usable", "usage")
    for way in ("peer resume bka.de", "--without bka.de"):
        assert way in barred["hint"]
    assert "bka.de" in nobody["message"]
    assert "peer resume bka.de" in nobody["hint"]


def test_a_message_whose_time_is_over_ends_as_expired_and_its_sender_is_told_what_to_do(
    pair: tuple[Node, Node],
) -> None:
    bogota, berlin = pair
    berlin.kill()
    over = time.time() + 3
    expires = datetime.fromtimestamp(over, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    message = bogota.post("bka.de", expires_at=expires)["message_id"]
    bogota.kill()
    until(lambda: time.time() > over, "its last moment")

    bogota.start()

    until(lambda: bogota.state(message, "bka.de") == "expired", "its end")
    (why,) = bogota.ok("why", message)["recipients"]
    assert why["state"] == "expired"
    assert "bka.de" in why["sentence"]
    assert message in why["next_step"]


def test_metrics_say_what_waits_what_was_posted_and_what_disk_is_left(make_node: MakeNode) -> None:
    bogota, berlin = make_node("ponal.co", "CO"), make_node("bka.de", "DE")
    bogota.start()
    bogota.trust(berlin)
    bogota.post("bka.de")
    assert bogota.cli("post", "-", "--to", "bka.de", given=b"{}").exit == 65

    lines = bogota.ask("metrics")["text"].splitlines()

    values = {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}
    assert values["tocsin_queued"] == 1
    assert values['tocsin_posts_total{outcome="posted"}'] == 1
    assert values['tocsin_posts_total{outcome="invalid_alert"}'] == 1
    assert values["tocsin_disk_free_bytes"] > 0
