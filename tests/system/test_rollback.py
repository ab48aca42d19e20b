"""A data directory put back to an old copy (PROTOCOL §9.1): no inconsistent history leaves, later posts arrive."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

from nodes.identity import NODE_KEY_LIFE_MS
from tests.cli.contract import check_document
from tests.system.agencies import Node, introduce, until


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

    until(lambda: "log_reopened" in finding_codes(bogota), "the fork")
    said = bogota.post("bka.de", "--wait", "60")
    after = said["message_id"]
    assert len({entry["case_id"] for entry in berlin.inbox()}) == len(posted) + 1

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
    # The early one was given a number that the lost history had used: that hides nothing.
    assert [one["count"] for one in bogota.ok("status")["findings"] if one["code"] == "posts_lost"] == [2]
    heads_are_one_history_each(berlin)


def test_a_case_number_that_an_old_copy_gave_again_holds_two_alerts_and_a_cancel_ends_only_the_one_it_follows(
    rolled_back: tuple[Node, Node, list[str]],
) -> None:
    bogota, berlin, posted = rolled_back
    bogota.start()
    again = bogota.post("bka.de")
    berlin.start()
    until(lambda: bogota.state(again["message_id"], "bka.de") == "stored", "delivery in the new generation")
    case = again["case_id"]
    lost = next(one["message_id"] for one in berlin.inbox() if one["case_id"] == case and one["message_id"] in posted)
    assert berlin.ok("show", case)["originators"] == [{"agency": "ponal.co", "state": "active", "alerts": 2}]

    bogota.ok("cancel", case, "--reason", "false_report", "--wait", "30")

    assert berlin.ok("show", case)["state"] == "active"
    ended = {one["message_id"]: one["superseded_by"] for one in berlin.inbox()}
    assert ended[again["message_id"]] is not None
    assert ended[lost] is None


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


@pytest.mark.parametrize("more", [0, 1])
def test_a_copy_that_has_grown_past_what_its_peer_holds_shows_it_no_second_history_of_that_size(
    rolled_back: tuple[Node, Node, list[str]], more: int
) -> None:
    """Its length gives it away no more: the root does."""
    bogota, berlin, posted = rolled_back
    ((held,),) = berlin.rows("SELECT max(size) FROM peer_head WHERE agency = 'ponal.co'")
    bogota.start()
    while bogota.ok("status")["log"]["size"] < held + more:
        posted.append(bogota.post("bka.de")["message_id"])
    assert bogota.ok("status")["log"]["size"] == held + more
    berlin.start()

    until(lambda: "log_reopened" in finding_codes(bogota), "the fork")
    posted.append(bogota.post("bka.de", "--wait", "60")["message_id"])

    until(lambda: len(berlin.inbox()) == len(posted), "what was posted before the fork was known")
    assert sorted(entry["message_id"] for entry in berlin.inbox()) == sorted(posted)
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


@pytest.fixture
def put_back(pair: tuple[Node, Node]) -> tuple[Node, Node]:
    """A copy from before a change of the node's key pair in place of the directory: its peer knows the newer pair, and
    the private half of that one is gone. Only the peer runs.
    """
    bogota, berlin = pair
    bogota.post("bka.de", "--wait", "30")
    bogota.stop()
    copy = bogota.home / "copy"
    shutil.copytree(bogota.directory, copy)
    bogota.start()
    bogota.post("bka.de", "--wait", "30")  # a pair is not changed before a peer has told what it knows
    bogota.ok("keys", "rotate")
    bogota.post("bka.de", "--wait", "30")
    bogota.kill()
    shutil.rmtree(bogota.directory)
    copy.rename(bogota.directory)
    return bogota, berlin


@pytest.fixture
def older_than_its_key(put_back: tuple[Node, Node]) -> tuple[Node, Node]:
    """The same, and both run."""
    put_back[0].start()
    return put_back


def finding_codes(node: Node) -> set[str]:
    return {finding["code"] for finding in node.ok("status")["findings"]}


def test_a_copy_older_than_its_key_pair_says_that_it_needs_an_anchor_and_with_one_its_posts_arrive(
    older_than_its_key: tuple[Node, Node], tmp_path: Path
) -> None:
    bogota, berlin = older_than_its_key
    waiting = bogota.post("bka.de")["message_id"]
    until(lambda: "needs_anchor" in finding_codes(bogota), "the finding")
    # A second successor of one pair would convict the agency.
    assert bogota.cli("keys", "rotate").document["error"]["code"] == "wrong_state"

    bogota.stop()
    bogota.start()
    assert "needs_anchor" in finding_codes(
        bogota
    )  # its peers know no head of the new generation, and do not say it again
    assert bogota.state(waiting, "bka.de") == "queued"
    bogota.stop()
    bogota.ok("keys", "export-root", "-o", str(tmp_path / "root"))
    bogota.ok("keys", "anchor", "--root", str(tmp_path / "root"), "-o", str(tmp_path / "card"))
    bogota.start()

    until(lambda: bogota.state(waiting, "bka.de") == "stored", "what waited for the anchor")
    assert "needs_anchor" not in finding_codes(bogota)
    assert berlin.post("ponal.co", "--wait", "60")["recipients"][0]["state"] == "stored"
    bogota.ok("keys", "rotate")
    assert bogota.post("bka.de", "--wait", "30")["recipients"][0]["state"] == "stored"
    file = tmp_path / "evidence"
    bogota.ok("evidence", "export", waiting, "-o", str(file))
    assert berlin.ok("evidence", "verify", str(file))["verdict"] == "proved"
    heads_are_one_history_each(berlin)


def test_the_card_that_comes_with_such_an_anchor_is_taken_by_who_knows_the_newer_pair_and_by_a_stranger(
    older_than_its_key: tuple[Node, Node], make_node: Callable[[str, str], Node], tmp_path: Path
) -> None:
    bogota, berlin = older_than_its_key
    until(lambda: "needs_anchor" in finding_codes(bogota), "the finding")
    bogota.stop()
    bogota.ok("keys", "export-root", "-o", str(tmp_path / "root"))
    bogota.ok("keys", "anchor", "--root", str(tmp_path / "root"), "-o", str(tmp_path / "card"))

    for node in (berlin, make_node("met.uk", "GB")):
        if node is not berlin:
            node.start()
        assert node.ok("peer", "add", str(tmp_path / "card"), "--code", bogota.code)["trust"] == "trusted"


def test_a_copy_that_has_drawn_a_successor_of_its_own_can_be_helped_too(
    put_back: tuple[Node, Node], tmp_path: Path
) -> None:
    bogota, berlin = put_back
    berlin.stop()
    bogota.start()
    assert bogota.cli("keys", "rotate").document["error"]["code"] == "wrong_state"  # nobody has told what it knows
    bogota.ok("peer", "suspend", "bka.de")
    bogota.ok("keys", "rotate")  # with nobody to ask nothing hinders it
    bogota.ok("peer", "resume", "bka.de")
    berlin.start()
    waiting = bogota.post("bka.de")["message_id"]
    until(lambda: "needs_anchor" in finding_codes(bogota), "the finding")
    bogota.stop()
    bogota.ok("keys", "export-root", "-o", str(tmp_path / "root"))
    bogota.ok("keys", "anchor", "--root", str(tmp_path / "root"), "-o", str(tmp_path / "card"))
    bogota.start()

    until(lambda: bogota.state(waiting, "bka.de") == "stored", "what waited for the anchor")
    bogota.ok("keys", "rotate")
    assert bogota.post("bka.de", "--wait", "30")["recipients"][0]["state"] == "stored"
    heads_are_one_history_each(berlin)


def test_a_copy_whose_pair_has_come_of_age_does_not_change_it_before_its_peers_have_told_what_they_know(
    put_back: tuple[Node, Node],
) -> None:
    bogota, _ = put_back

    bogota.start(clock_ms=NODE_KEY_LIFE_MS + 86_400_000)  # what is due at a start is done before any round

    assert bogota.ok("keys", "status")["node"]["changes"] == 0
    until(lambda: "needs_anchor" in finding_codes(bogota), "the finding")
    assert bogota.ok("keys", "status")["node"]["changes"] == 0


def test_a_pair_that_waits_to_be_changed_until_a_peer_has_spoken_is_a_finding(pair: tuple[Node, Node]) -> None:
    bogota, berlin = pair
    for node in pair:
        node.stop()
    late = NODE_KEY_LIFE_MS + 2 * 86_400_000

    bogota.start(clock_ms=late)

    assert "node_pair_due" in finding_codes(bogota)
    bogota.stop()
    berlin.start(clock_ms=late)
    bogota.start(clock_ms=late)
    until(lambda: bogota.ok("status")["peers"][0]["reachable"], "a word of Berlin's")
    bogota.ok("keys", "rotate")
    assert "node_pair_due" not in finding_codes(bogota)


def test_what_an_old_copy_lost_is_asked_of_a_peer_too_that_is_reached_after_another_start(
    pair: tuple[Node, Node], make_node: Callable[[str, str], Node]
) -> None:
    bogota, _ = pair
    london = make_node("met.uk", "GB")
    london.start()
    introduce(bogota, london)
    before = london.post("ponal.co", "--wait", "30")["message_id"]
    bogota.stop()
    shutil.copytree(bogota.directory, bogota.home / "copy")
    bogota.start()
    bogota.post("bka.de", "--wait", "30")
    lost = london.post("ponal.co", "--wait", "30")["message_id"]
    for node in (bogota, london):
        node.kill()
    shutil.rmtree(bogota.directory)
    (bogota.home / "copy").rename(bogota.directory)

    bogota.start()
    until(lambda: "log_reopened" in finding_codes(bogota), "what Berlin told")
    bogota.stop()
    bogota.start()
    london.start()
    until(lambda: lost in {entry["message_id"] for entry in bogota.inbox()}, "what London was asked for")
    assert sorted(entry["message_id"] for entry in bogota.inbox()) == sorted([before, lost])


def lost_posts(node: Node) -> dict[str, list[str]]:
    """The messages that each peer has answered and this node has forgotten, of peers that hold any."""
    findings = [finding for finding in node.ok("status")["findings"] if finding["code"] == "posts_lost"]
    return {finding["peer"]: finding["message_ids"] for finding in findings}


def test_an_old_copy_names_who_holds_what_it_has_forgotten_and_says_why_of_what_was_answered(
    rolled_back: tuple[Node, Node, list[str]],
) -> None:
    bogota, berlin, posted = rolled_back
    assert len(posted) == 4
    berlin.start()
    bogota.start()
    until(lambda: lost_posts(bogota) == {"bka.de": []}, "the finding")
    known, lost = posted[0], posted[2]
    assert bogota.cli("why", lost).document["error"]["code"] == "unknown_id"

    for message in (known, lost):
        berlin.ok("ack", message, "--accept")

    until(lambda: lost_posts(bogota) == {"bka.de": [lost]}, "the answered one")
    until(lambda: bogota.state(known, "bka.de") == "accepted", "the ack of what the copy knows")
    for reference in (lost, lost[-6:]):
        why = bogota.ok("why", reference)
        check_document("why", why)
        assert (why["message_id"], why["lost"]) == (lost, True)
        assert [(one["agency"], one["state"]) for one in why["recipients"]] == [("bka.de", "accepted")]
    assert bogota.ok("why", known)["lost"] is False
    bogota.stop()
    bogota.start()
    assert lost_posts(bogota) == {"bka.de": [lost]}
    assert bogota.post("bka.de", "--wait", "60")["recipients"][0]["state"] == "stored"
    bogota.stop()
    bogota.start()
    assert bogota.post("bka.de", "--wait", "60")["recipients"][0]["state"] == "stored"
    kept = bogota.ok("status")
    check_document("status", kept)
    assert [one["count"] for one in kept["findings"] if one["code"] == "posts_lost"] == [2]
    assert "posts_lost" not in finding_codes(berlin)
    assert lost_posts(bogota) == {"bka.de": [lost]}
