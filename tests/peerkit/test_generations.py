"""Generations and the fork guard (PROTOCOL §7 log opened, §9.1, §9.3) between a peer written from the document and a
running node: either side loses its history or its clock, or only its process, and the other follows.
"""

from __future__ import annotations

import json
import shutil
import time
from datetime import datetime
from typing import Any

import pytest

from tests.peerkit.formats import AUDIT_HEAD, PROFILE, RECEIPT, decode, encode, sha256
from tests.peerkit.independent_peer import HELLO_HEAD_WANTED, HELLO_HELD, IndependentPeer
from tests.peerkit.meeting import HOUR_MS, answer_to, is_proved, port_of, receipt_for, reopened, sealed_alert, wait
from tests.peerkit.own_log import GATEWAY
from tests.peerkit.pins import Statement
from tests.system.agencies import Node, until


def generations(rounds: list[list[Any]]) -> list[list[int]]:
    """The generations of the groups of each round that carried some."""
    return [[group[0][1] for group in spoken[4]] for spoken in rounds if spoken[4]]


def opened(peer: IndependentPeer, generation: int) -> Statement:
    """The one `log opened` of the node that the peer keeps for a generation."""
    (statement,) = peer.other.opened[GATEWAY, generation]
    return statement


# --- the node opens a new generation ---


def test_after_a_clock_jump_the_end_of_the_old_generation_and_the_new_one_come_in_one_round(
    node: Node, peer: IndependentPeer, heard: list[list[Any]]
) -> None:
    reopened(node)
    wait(peer, lambda: (GATEWAY, 2) in peer.other.opened)
    assert [1, 2] in generations(heard)
    statement = opened(peer, 2)
    end = peer.other.heads[GATEWAY, 1][0]
    assert statement.entry[3:] == [1, end[2], end[3], "clock"]  # the end that the peer holds, tied by its consistency


def test_after_a_clock_jump_alerts_and_receipts_pass_both_ways_in_the_new_generation(
    node: Node, peer: IndependentPeer
) -> None:
    reopened(node)
    posted = node.post(peer.agency, "--wait", "60")
    assert posted["recipients"][0]["state"] == "stored"
    assert receipt_for(peer, node).compact[1] == 2


def test_what_the_node_had_not_delivered_keeps_its_entry_in_the_new_generation(
    node: Node, peer: IndependentPeer
) -> None:
    with peer.lock:  # the node waits for its answer until the new generation is open
        posted = node.post(peer.agency)["message_id"]
        reopened(node)
    until(lambda: node.state(posted, peer.agency) == "stored", "delivery in the new generation")
    numbers = [got.number for got in peer.got.values() if json.loads(got.message)["message_id"] == posted]
    assert numbers == [[1, 1]]  # the envelope is the one that was issued in the first generation


def test_what_was_tried_while_the_clock_was_ahead_is_tried_again_within_the_cap_once_it_is_right(
    node: Node, peer: IndependentPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer, "_admit_envelope", lambda *_: None)
    posted = node.post(peer.agency)["message_id"]
    node.kill()
    node.start(clock_ms=HOUR_MS)
    until(lambda: attempted(node, posted) > time.time() + 1800, "an attempt by the clock that is ahead")
    node.kill()
    node.start()
    node.ok("log", "reopen", "--reason", "clock")
    until(lambda: attempted(node, posted) < time.time() + 900, "an attempt by the clock that is right")


def attempted(node: Node, message: str) -> float:
    """When the node tries this message of its own next, in seconds; 0 where it does so at once."""
    (recipient,) = node.ask("track", id=message)["recipients"]
    at = recipient["next_attempt_at"]
    return 0 if at is None else datetime.fromisoformat(at).timestamp()


def test_a_generation_opened_after_a_key_change_is_signed_by_the_new_pair(node: Node, peer: IndependentPeer) -> None:
    node.ok("keys", "rotate")
    receipt_for(peer, node)
    reopened(node)
    receipt = receipt_for(peer, node)
    (change,) = peer.other.pairs.changes_of(GATEWAY)
    assert receipt.compact[1] == 2
    assert peer.other.pairs.check_head(receipt.compact) == change.pair


def test_a_key_change_in_the_new_generation_verifies(node: Node, peer: IndependentPeer) -> None:
    reopened(node)
    node.ok("keys", "rotate")
    receipt = receipt_for(peer, node)
    (change,) = peer.other.pairs.changes_of(GATEWAY)
    assert (change.generation, peer.other.pairs.check_head(receipt.compact)) == (2, change.pair)


def test_a_generation_opened_for_the_clock_and_a_key_change_in_it_while_the_peer_was_away_are_followed(
    node: Node, peer: IndependentPeer, heard: list[list[Any]]
) -> None:
    """The end of the closed generation comes under a pair that is not current: the `log opened` vouches for it."""
    receipt_for(peer, node)
    node.kill()
    node.start(clock_ms=HOUR_MS)
    node.post(peer.agency)
    node.kill()
    node.start()
    assert peer.call("127.0.0.1", port_of(node))[0] == 200  # the node has heard its head
    with peer.lock:  # and hears nothing more until both are done
        held = peer.other.heads[GATEWAY, 1][0]
        posted = node.post(peer.agency)["message_id"]
        node.ok("log", "reopen", "--reason", "clock")
        node.ok("keys", "rotate")
        heard.clear()
    until(lambda: node.state(posted, peer.agency) == "stored", "delivery in the new generation")
    assert [1, 2] in generations(heard)
    (change,) = peer.other.pairs.changes_of(GATEWAY)
    end = peer.other.heads[GATEWAY, 1][0]
    assert peer.other.pairs.check_head(end) != change.pair
    assert opened(peer, 2).entry[3:] == [1, end[2], end[3], "clock"]
    assert end[2] > held[2]
    receipt = receipt_for(peer, node)
    assert (receipt.compact[1], peer.other.pairs.check_head(receipt.compact)) == (2, change.pair)


def test_a_peer_that_missed_two_generations_is_handed_the_beginning_of_each(
    node: Node, peer: IndependentPeer, heard: list[list[Any]]
) -> None:
    with peer.lock:  # the node waits for its answer until both are open
        reopened(node, 2 * HOUR_MS, HOUR_MS)
        reopened(node, HOUR_MS, 0)
    wait(peer, lambda: (GATEWAY, 3) in peer.other.opened)
    assert opened(peer, 2).entry[3] == 1
    end = peer.other.heads[GATEWAY, 2][0]
    assert opened(peer, 3).entry[3:] == [2, end[2], end[3], "clock"]
    assert all(spoken == sorted(spoken) for spoken in generations(heard))
    assert receipt_for(peer, node).compact[1] == 3


@pytest.fixture
def rolled_back(node: Node, peer: IndependentPeer) -> tuple[list[bytes], list[str]]:
    """The node's directory is an old copy, which knows neither the second alert of the peer nor the node's own second
    post; it does not run. The peer's envelopes and the node's messages.
    """
    envelopes = [sealed_alert(peer)[1]]
    assert answer_to(peer, node, envelopes[0]).answer is not None
    posted = [node.post(peer.agency, "--wait", "60")["message_id"]]
    node.stop()
    copy = node.home / "copy"
    shutil.copytree(node.directory, copy)
    node.start()
    posted.append(node.post(peer.agency, "--wait", "60")["message_id"])
    envelopes.append(sealed_alert(peer)[1])
    assert answer_to(peer, node, envelopes[1]).answer is not None
    node.kill()
    shutil.rmtree(node.directory)
    copy.rename(node.directory)
    return envelopes, posted


def test_an_old_copy_of_the_node_opens_a_generation_and_sends_nothing_of_the_closed_one(
    node: Node, peer: IndependentPeer, rolled_back: tuple[list[bytes], list[str]], heard: list[list[Any]]
) -> None:
    end = peer.other.heads[GATEWAY, 1][0]
    node.start()
    wait(peer, lambda: (GATEWAY, 2) in peer.other.opened)
    statement = opened(peer, 2)
    assert (statement.entry[3], statement.entry[6]) == (1, "rollback")
    assert {generation for groups in generations(heard) for generation in groups} == {2}
    assert peer.other.heads[GATEWAY, 1] == [end]


def test_what_an_old_copy_of_the_node_had_lost_is_sent_again_and_receipted_in_the_new_generation(
    node: Node, peer: IndependentPeer, rolled_back: tuple[list[bytes], list[str]]
) -> None:
    envelopes, _ = rolled_back
    node.start()
    wait(peer, lambda: (GATEWAY, 2) in peer.other.opened)
    until(lambda: len(answer_of_lost(peer, node, envelopes)) == 2, "receipts of both")
    assert len(node.inbox()) == 2
    after = node.post(peer.agency, "--wait", "60")["message_id"]
    assert {json.loads(got.message)["message_id"] for got in peer.got.values()} >= {after}


def test_an_old_copy_of_the_node_from_before_its_key_change_is_taken_for_nothing_that_the_old_pair_signs(
    node: Node, peer: IndependentPeer
) -> None:
    node.stop()
    copy = node.home / "copy"
    shutil.copytree(node.directory, copy)
    node.start()
    node.ok("keys", "rotate")
    receipt_for(peer, node)
    node.kill()
    shutil.rmtree(node.directory)
    copy.rename(node.directory)
    node.start()
    posted = node.post(peer.agency)["message_id"]

    def reason() -> str | None:
        (recipient,) = node.ask("track", id=posted)["recipients"]
        return str(recipient["reason"])

    until(lambda: reason() == "key_not_valid", "the peer's word on the pair that was replaced")
    assert peer.got == {}


def answer_of_lost(peer: IndependentPeer, node: Node, envelopes: list[bytes]) -> list[bytes]:
    """Of these, what the node receipted, after a further round."""
    peer.call("127.0.0.1", port_of(node))
    return [envelope_id for envelope_id in envelopes if peer.sent[envelope_id].answer is not None]


# --- the fork guard, the node's and the peer's ---


def test_a_restarted_node_asks_before_it_hands_over_anything_and_goes_on_in_its_generation(
    node: Node, peer: IndependentPeer, heard: list[list[Any]]
) -> None:
    receipt_for(peer, node)
    node.stop()
    heard.clear()
    node.start()
    node.post(peer.agency, "--wait", "60")
    first = heard[0]
    assert first[1][HELLO_HEAD_WANTED] is True
    assert first[4] == []
    assert all(row[4] is not None for row in first[1][HELLO_HELD])
    assert node.ask("status")["log"]["origin"] == "bka.de/gw1/1"


def test_a_called_node_whose_guard_is_not_passed_answers_with_a_hello_only(
    node: Node, peer: IndependentPeer, heard: list[list[Any]], said: list[list[Any]]
) -> None:
    """Then the peer that called repeats its round with whole heads."""
    receipt_for(peer, node)
    node.stop()
    heard.clear()
    said.clear()
    node.start()
    receipt_for(peer, node)
    asked = [at for at, spoken in enumerate(heard) if spoken[1][HELLO_HEAD_WANTED]]
    assert asked
    assert all(heard[at][4:6] == [[], []] for at in asked)
    assert any(all(row[4] is not None for row in spoken[1][HELLO_HELD]) for spoken in said)


def test_a_restarted_peer_asks_and_sends_nothing_signed_until_the_node_has_told_its_head(
    node: Node, peer: IndependentPeer, heard: list[list[Any]], said: list[list[Any]]
) -> None:
    receipt_for(peer, node)
    peer.restart()
    said.clear()
    heard.clear()
    _, envelope_id = sealed_alert(peer)
    assert answer_to(peer, node, envelope_id).answer is None
    assert (said[0][1][HELLO_HEAD_WANTED], said[0][4]) == (True, [])
    assert peer.guard_passed
    ours = [row for row in heard[-1][1][HELLO_HELD] if row[0] == GATEWAY]
    assert ours
    assert all(row[4] is not None for row in ours)
    assert answer_to(peer, node, envelope_id).answer is not None
    assert peer.log.generation == 1


def test_a_restarted_peer_that_had_changed_its_pair_is_told_its_head_with_the_change_that_leads_to_it(
    node: Node, peer: IndependentPeer, heard: list[list[Any]]
) -> None:
    peer.change_pair()
    receipt_for(peer, node)
    peer.restart()
    heard.clear()
    assert peer.call("127.0.0.1", port_of(node))[0] == 200
    assert peer.guard_passed
    (row,) = [row for row in heard[-1][1][HELLO_HELD] if row[4] is not None]
    assert row[3] == 1
    assert row[5] == peer.own_pairs.proofs_of(GATEWAY)


# --- the peer opens a new generation ---


def test_an_old_copy_of_the_peer_opens_a_generation_and_goes_on_in_it(
    node: Node, peer: IndependentPeer, said: list[list[Any]]
) -> None:
    size = len(peer.leaves)
    receipt_for(peer, node)
    node.post(peer.agency, "--wait", "60")
    peer.restart(copy_of=size)
    said.clear()
    _, early = sealed_alert(peer)
    assert answer_to(peer, node, early).answer is None  # its guard is not passed yet
    assert peer.log.generation == 2
    receipt = answer_to(peer, node, early).answer
    assert receipt is not None
    assert {generation for groups in generations(said) for generation in groups} == {2}
    assert receipt.entry[6][:2] == [GATEWAY, 2]
    assert len(node.inbox()) == 2


def test_what_an_old_copy_of_the_peer_had_lost_the_node_sends_again(node: Node, peer: IndependentPeer) -> None:
    size = len(peer.leaves)
    posted = node.post(peer.agency, "--wait", "60")["message_id"]
    peer.restart(copy_of=size)
    assert peer.got == {}
    until(lambda: peer.call("127.0.0.1", port_of(node))[0] == 200 and bool(peer.got), "the lost envelope")
    (got,) = peer.got.values()
    assert json.loads(got.message)["message_id"] == posted
    assert peer.log.generation == 2


def test_a_generation_that_the_peer_opens_for_its_clock_is_followed(
    node: Node, peer: IndependentPeer, said: list[list[Any]]
) -> None:
    receipt_for(peer, node)
    peer.reopen("clock")
    assert receipt_for(peer, node).entry[6][:2] == [GATEWAY, 2]
    assert [1, 2] in generations(said)


def test_the_end_of_a_generation_that_the_pair_of_before_a_change_signed_is_held_by_the_node(
    node: Node, peer: IndependentPeer, heard: list[list[Any]], said: list[list[Any]]
) -> None:
    posted = node.post(peer.agency, "--wait", "60")["message_id"]
    peer.append(AUDIT_HEAD, 0, sha256())
    size = len(peer.leaves)
    peer.reopen("clock")
    peer.change_pair()
    receipt_for(peer, node)
    assert [1, 2] in generations(said)
    rows = [row[:3] for row in heard[-1][1][HELLO_HELD]]
    assert [GATEWAY, 1, size] in rows
    is_proved(node, posted)


def test_a_receipt_of_a_closed_generation_stays_proved_when_the_pair_has_changed_since(
    node: Node, peer: IndependentPeer
) -> None:
    """It hangs on the end of the closed generation, which the `log opened` names, under a pair that counts."""
    posted = node.post(peer.agency, "--wait", "60")["message_id"]
    peer.reopen("clock")
    receipt_for(peer, node)
    peer.change_pair()
    receipt_for(peer, node)
    is_proved(node, posted)


def test_the_card_of_a_peer_in_its_second_generation_is_added(node: Node) -> None:
    peer = IndependentPeer("policia.ec", "EC")
    peer.pin((node.directory / "card.tocsin").read_text(), node.code)
    peer.found_log()
    peer.reopen("clock")
    (node.home / "second.tocsin").write_text(peer.card())
    assert node.ok("peer", "add", str(node.home / "second.tocsin"), "--code", peer.code)["trust"] == "trusted"
    for _ in range(2):
        assert peer.call("127.0.0.1", port_of(node))[0] == 200
    assert decode(peer.entries[peer.profile_index])[0] == PROFILE
    assert peer.other.epoch_keys


def test_the_card_of_a_node_in_its_second_generation_is_read(node: Node, peer: IndependentPeer) -> None:
    reopened(node)
    reader = IndependentPeer("policia.ec", "EC")
    reader.pin(node.ok("card")["card"], node.code)
    assert reader.other.newest_generation(GATEWAY) == 2
    assert opened(reader, 2).entry[3] == 1
    assert receipt_for(peer, node).entry[0] == RECEIPT


# --- the peer's own judgement: ends of closed generations


@pytest.fixture
def two_generations() -> tuple[IndependentPeer, IndependentPeer]:
    """One who opened a second generation for its clock and changed its pair in it, and one who holds two leaves of the
    first and waits for what comes.
    """
    owner, reader = IndependentPeer("ponal.co", "CO"), IndependentPeer("bka.de", "DE")
    owner.found_log()
    reader.found_log()
    reader.pin(owner.card(), owner.code)
    owner.pin(reader.card(), reader.code)
    owner.guard_passed = reader.guard_passed = True
    owner.other.holds = reader.other.held_rows(True)
    owner.append(AUDIT_HEAD, 0, sha256())
    owner.reopen("clock")
    owner.change_pair()
    owner.append(AUDIT_HEAD, 0, sha256())
    return owner, reader


def spoken_by(owner: IndependentPeer) -> list[Any]:
    """A round of its, with the end of the closed generation and the beginning of the open one."""
    spoken = owner.speak()
    assert [group[0][1] for group in spoken[4]] == [1, 2]
    return spoken


def test_an_end_under_the_pair_before_is_held_as_the_log_opened_names_it(
    two_generations: tuple[IndependentPeer, IndependentPeer],
) -> None:
    owner, reader = two_generations
    reader.answer(encode(spoken_by(owner)))
    assert [reader.other.heads[GATEWAY, generation][0][2] for generation in (1, 2)] == [3, len(owner.leaves)]


def test_an_end_that_no_log_opened_of_the_round_names_is_not_held(
    two_generations: tuple[IndependentPeer, IndependentPeer],
) -> None:
    owner, reader = two_generations
    spoken = spoken_by(owner)
    spoken[4] = spoken[4][:1]
    reader.answer(encode(spoken))
    assert [head[2] for head in reader.other.heads[GATEWAY, 1]] == [2]


def test_an_end_that_does_not_lead_on_from_the_head_held_is_not_held(
    two_generations: tuple[IndependentPeer, IndependentPeer],
) -> None:
    owner, reader = two_generations
    spoken = spoken_by(owner)
    spoken[4][0][1] = []
    reader.answer(encode(spoken))
    assert [head[2] for head in reader.other.heads[GATEWAY, 1]] == [2]


def test_the_ends_of_two_generations_hang_on_one_another(
    two_generations: tuple[IndependentPeer, IndependentPeer],
) -> None:
    owner, reader = two_generations
    owner.reopen("clock")
    owner.change_pair()
    owner.append(AUDIT_HEAD, 0, sha256())
    spoken = owner.speak()
    assert [group[0][1] for group in spoken[4]] == [1, 2, 3]
    reader.answer(encode(spoken))
    ends = [log.end for log, _ in owner.closed]
    assert [reader.other.heads[GATEWAY, generation][0] for generation in (1, 2)] == ends
