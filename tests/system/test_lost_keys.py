"""What an old copy of a node no longer knows of its own keys and its peers do (PROTOCOL §9.1)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.system.agencies import Node, introduce, until


def finding_codes(node: Node) -> set[str]:
    return {finding["code"] for finding in node.ok("status")["findings"]}


def keep_copy(node: Node) -> Path:
    """A copy of the stopped node's directory, as a snapshot of its machine would be."""
    copy = node.home / "copy"
    shutil.copytree(node.directory, copy)
    return copy


def put_back(node: Node, copy: Path, *parts: str) -> None:
    """Kill the node and put the copy in the place of its directory, or of these parts of it."""
    node.kill()
    for part in parts or (".",):
        shutil.rmtree(node.directory / part)
        shutil.copytree(copy / part, node.directory / part)


def is_told(sender: Node, recipient: str, message: str) -> bool:
    return sender.state(message, recipient) == "stored"


def sign_next_anchor(node: Node, tmp_path: Path, *options: str) -> Path:
    """The ceremony, with the node stopped: the root is taken off the machine first."""
    root, card = tmp_path / "root", tmp_path / f"card{len(list(tmp_path.iterdir()))}"
    node.stop()
    if not root.exists():
        node.ok("keys", "export-root", "-o", str(root))
    node.ok("keys", "anchor", "--root", str(root), *options, "-o", str(card))
    return card


def test_a_store_that_is_older_than_its_keys_learns_its_key_changes_again_and_needs_no_root(
    pair: tuple[Node, Node], tmp_path: Path
) -> None:
    bogota, berlin = pair
    bogota.stop()
    copy = keep_copy(bogota)
    bogota.start()
    bogota.post("bka.de", "--wait", "30")
    bogota.ok("keys", "rotate")
    bogota.post("bka.de", "--wait", "30")
    put_back(bogota, copy, "store")

    bogota.start()
    after = bogota.post("bka.de", "--wait", "60")

    assert after["recipients"][0]["state"] == "stored"
    assert "needs_anchor" not in finding_codes(bogota)
    bogota.stop()
    bogota.start()
    assert bogota.post("bka.de", "--wait", "60")["recipients"][0]["state"] == "stored"
    bogota.ok("keys", "rotate")
    assert bogota.post("bka.de", "--wait", "60")["recipients"][0]["state"] == "stored"
    file = tmp_path / "evidence"
    bogota.ok("evidence", "export", after["message_id"], "-o", str(file))
    assert berlin.ok("evidence", "verify", str(file))["verdict"] == "proved"


def test_a_store_that_is_older_than_its_anchor_is_given_the_anchor_by_a_peer(
    pair: tuple[Node, Node], tmp_path: Path
) -> None:
    bogota, _ = pair
    bogota.post("bka.de", "--wait", "30")
    bogota.stop()
    bogota.ok("keys", "export-root", "-o", str(tmp_path / "root"))
    copy = keep_copy(bogota)
    bogota.start()
    bogota.post("bka.de", "--wait", "30")
    sign_next_anchor(bogota, tmp_path)
    bogota.start()
    bogota.post("bka.de", "--wait", "30")
    assert bogota.ok("keys", "status")["root"]["serial"] == 2
    put_back(bogota, copy, "store")

    bogota.start()

    assert bogota.post("bka.de", "--wait", "60")["recipients"][0]["state"] == "stored"
    until(lambda: bogota.ok("keys", "status")["root"]["serial"] == 2, "the anchor that the peer holds")
    assert "needs_anchor" not in finding_codes(bogota)


def test_one_copy_put_back_twice_is_helped_twice(pair: tuple[Node, Node], tmp_path: Path) -> None:
    """The first help lies in an anchor that the copy does not hold: its pair is one that the copy never heard of."""
    bogota, berlin = pair
    bogota.post("bka.de", "--wait", "30")
    bogota.stop()
    bogota.ok("keys", "export-root", "-o", str(tmp_path / "root"))
    copy = keep_copy(bogota)
    bogota.start()
    bogota.post("bka.de", "--wait", "30")
    bogota.ok("keys", "rotate")
    bogota.post("bka.de", "--wait", "30")
    serials = [1]
    waiting = ""
    for _ in range(2):
        put_back(bogota, copy)
        bogota.start()
        waiting = str(bogota.post("bka.de")["message_id"])
        until(lambda: "needs_anchor" in finding_codes(bogota), "the finding")
        sign_next_anchor(bogota, tmp_path)
        bogota.start()
        until(partial(is_told, bogota, "bka.de", waiting), "what waited for the anchor")
        serials.append(bogota.ok("keys", "status")["root"]["serial"])
        assert "needs_anchor" not in finding_codes(bogota)

    assert serials == sorted(set(serials))
    assert berlin.post("ponal.co", "--wait", "60")["recipients"][0]["state"] == "stored"
    assert not finding_codes(berlin) & {"anchor_conflict", "head_unreconciled"}
    file = tmp_path / "evidence"
    bogota.ok("evidence", "export", waiting, "-o", str(file))
    assert berlin.ok("evidence", "verify", str(file))["verdict"] == "proved"


def test_a_peer_of_another_lost_life_is_spoken_to_in_a_generation_above_it(
    pair: tuple[Node, Node], make_node: Callable[[str, str], Node], tmp_path: Path
) -> None:
    """London holds generation 3 under the pair of the copy; the anchor that helps against Berlin names 3 too."""
    bogota, berlin = pair
    london = make_node("met.uk", "GB")
    london.start()
    introduce(bogota, london)
    both = ("--to", "met.uk")
    bogota.post("bka.de", *both, "--wait", "30")
    bogota.stop()
    bogota.ok("keys", "export-root", "-o", str(tmp_path / "root"))
    copy = keep_copy(bogota)
    bogota.start()
    bogota.post("bka.de", *both, "--wait", "30")
    put_back(bogota, copy)
    bogota.start()
    until(lambda: "log_reopened" in finding_codes(bogota), "the first fork")
    bogota.post("bka.de", *both, "--wait", "60")
    london.stop()
    bogota.ok("keys", "rotate")
    bogota.post("bka.de", "--wait", "30")
    put_back(bogota, copy)
    berlin.stop()
    london.start()
    bogota.start()
    until(lambda: "log_reopened" in finding_codes(bogota), "the second fork")
    bogota.post("met.uk", "--wait", "60")
    london.stop()
    put_back(bogota, copy)
    berlin.start()
    bogota.start()
    until(lambda: "needs_anchor" in finding_codes(bogota), "what Berlin knows")
    sign_next_anchor(bogota, tmp_path)
    bogota.start()
    for_both = bogota.post("bka.de", *both)["message_id"]
    until(lambda: is_told(bogota, "bka.de", for_both), "delivery to Berlin")

    london.start()

    until(lambda: is_told(bogota, "met.uk", for_both), "delivery to London")
    assert "needs_anchor" not in finding_codes(bogota)
    assert bogota.post("bka.de", *both, "--wait", "60")["recipients"][1]["state"] == "stored"
    assert london.post("ponal.co", "--wait", "60")["recipients"][0]["state"] == "stored"


def test_a_node_whose_pair_was_revoked_hears_it_from_a_peer_and_a_new_anchor_makes_it_speak_again(
    pair: tuple[Node, Node], tmp_path: Path
) -> None:
    bogota, berlin = pair
    bogota.post("bka.de", "--wait", "30")
    revocation = sign_next_anchor(bogota, tmp_path, "--revoke")
    berlin.ok("peer", "add", str(revocation), "--code", bogota.code)
    bogota.start()

    waiting = bogota.post("bka.de")["message_id"]
    until(lambda: "needs_anchor" in finding_codes(bogota), "the revocation")
    sign_next_anchor(bogota, tmp_path)
    bogota.start()

    until(lambda: is_told(bogota, "bka.de", waiting), "what waited for the anchor")
    assert bogota.ok("keys", "status")["root"]["serial"] > 2
    assert "anchor_conflict" not in finding_codes(berlin)


def test_what_is_sealed_to_an_epoch_key_that_an_old_copy_lost_is_sealed_again_and_arrives(
    pair: tuple[Node, Node],
) -> None:
    """The copy has drawn another key with the same number meanwhile: that it opens nothing is nobody's fault."""
    bogota, berlin = pair
    day = 86_400_000
    for node in pair:
        node.stop()
    copy = keep_copy(bogota)
    for node in pair:
        node.start(clock_ms=3 * day)
    berlin.post("ponal.co", "--wait", "30")
    bogota.post("bka.de", "--wait", "30")
    put_back(bogota, copy)
    berlin.stop()
    berlin.start(clock_ms=33 * day)
    sealed = berlin.post("ponal.co")["message_id"]

    bogota.start(clock_ms=33 * day)

    until(lambda: berlin.state(sealed, "ponal.co") != "queued", "an answer")
    assert berlin.state(sealed, "ponal.co") == "stored"
    assert sealed in {message["message_id"] for message in bogota.inbox()}
    later = berlin.post("ponal.co", "--wait", "30")["recipients"][0]
    assert (later["state"], len(later["receipts"])) == ("stored", 1)


def test_an_old_store_whose_peers_tell_of_its_loss_at_once_needs_no_root(
    pair: tuple[Node, Node], make_node: Callable[[str, str], Node]
) -> None:
    bogota, _ = pair
    london = make_node("met.uk", "GB")
    london.start()
    introduce(bogota, london)
    both = ("--to", "met.uk")
    bogota.post("bka.de", *both, "--wait", "30")
    bogota.stop()
    copy = keep_copy(bogota)
    bogota.start()
    bogota.post("bka.de", *both, "--wait", "30")
    london.stop()
    bogota.ok("keys", "rotate")
    bogota.post("bka.de", "--wait", "30")
    put_back(bogota, copy, "store")
    london.start()

    bogota.start()
    after = bogota.post("bka.de", *both)["message_id"]

    until(lambda: is_told(bogota, "bka.de", after) or "needs_anchor" in finding_codes(bogota), "an end")
    assert "needs_anchor" not in finding_codes(bogota)


def test_a_revocation_for_the_safe_and_the_next_anchor_do_not_have_one_serial(
    pair: tuple[Node, Node], tmp_path: Path
) -> None:
    bogota, berlin = pair
    bogota.post("bka.de", "--wait", "30")
    revocation = sign_next_anchor(bogota, tmp_path, "--revoke")
    bogota.start()
    sign_next_anchor(bogota, tmp_path)
    bogota.start()
    bogota.post("bka.de", "--wait", "30")

    late = berlin.cli("peer", "add", str(revocation), "--code", bogota.code)

    assert late.exit != 0
    assert late.document["error"]["code"] != "anchor_conflict"
    assert "anchor_conflict" not in finding_codes(berlin)
    newer = sign_next_anchor(bogota, tmp_path, "--revoke")
    berlin.ok("peer", "add", str(newer), "--code", bogota.code)


def test_what_was_sealed_to_a_lost_key_while_an_anchor_was_needed_arrives_after_it(
    pair: tuple[Node, Node], tmp_path: Path
) -> None:
    bogota, berlin = pair
    day = 86_400_000
    bogota.post("bka.de", "--wait", "30")
    for node in pair:
        node.stop()
    bogota.ok("keys", "export-root", "-o", str(tmp_path / "root"))
    copy = keep_copy(bogota)
    for node in pair:
        node.start(clock_ms=3 * day)
    berlin.post("ponal.co", "--wait", "30")
    bogota.post("bka.de", "--wait", "30")
    bogota.ok("keys", "rotate")
    bogota.post("bka.de", "--wait", "30")
    put_back(bogota, copy)
    berlin.stop()
    berlin.start(clock_ms=33 * day)
    bogota.start(clock_ms=33 * day)
    until(lambda: "needs_anchor" in finding_codes(bogota), "the finding")
    sealed = berlin.post("ponal.co")["message_id"]
    until(lambda: berlin.ask("why", id=sealed)["recipients"][0]["reason"] == "cannot_open", "the first answer")
    sign_next_anchor(bogota, tmp_path)

    bogota.start(clock_ms=33 * day)

    until(lambda: berlin.state(sealed, "ponal.co") == "stored", "what was sealed to a lost key")


@pytest.fixture
def forgotten_profile(pair: tuple[Node, Node], tmp_path: Path) -> tuple[Node, Node, int]:
    """A copy from before a change of the profile, not started yet; its peer, stopped, holds that profile and a head."""
    bogota, berlin = pair
    bogota.post("bka.de", "--wait", "30")
    bogota.stop()
    bogota.ok("keys", "export-root", "-o", str(tmp_path / "root"))
    copy = keep_copy(bogota)
    toml = bogota.directory / "node.toml"
    profile = "SELECT profile FROM peer WHERE agency = 'ponal.co'"
    known = berlin.rows(profile)
    lines = [line for line in toml.read_text().splitlines() if not line.startswith("contact")]
    toml.write_text("\n".join(['contact = "+4930555000"', *lines]) + "\n")
    bogota.start()
    bogota.post("bka.de", "--wait", "30")
    until(lambda: berlin.rows(profile) != known, "the new profile")
    berlin.stop()
    ((held,),) = berlin.rows("SELECT max(size) FROM peer_head WHERE agency = 'ponal.co'")
    put_back(bogota, copy)
    return bogota, berlin, held


def dies_opening(bogota: Node, berlin: Node) -> None:
    """The copy is killed by itself right after the commit that opens its next generation."""
    berlin.start()
    assert bogota.process is not None
    assert bogota.process.wait(60) == -9
    bogota.process = None


def test_an_old_copy_that_dies_as_it_opens_a_generation_shows_nobody_a_second_history(
    forgotten_profile: tuple[Node, Node, int],
) -> None:
    bogota, berlin, held = forgotten_profile
    bogota.start(crash=("after_open", 1))
    while bogota.ok("status")["log"]["size"] < held:
        bogota.post("bka.de")
    heads = "SELECT size, root FROM peer_head WHERE agency = 'ponal.co' AND generation = 1"
    before = set(berlin.rows(heads))
    dies_opening(bogota, berlin)

    bogota.start()
    bogota.post("bka.de", "--wait", "60")

    berlin.stop()
    assert set(berlin.rows(heads)) == before


def test_a_ceremony_after_that_crash_asks_for_a_start_first_and_then_makes_a_card_that_is_one(
    forgotten_profile: tuple[Node, Node, int], tmp_path: Path
) -> None:
    bogota, berlin, _ = forgotten_profile
    bogota.start(crash=("after_open", 1))
    dies_opening(bogota, berlin)
    ceremony = ("keys", "anchor", "--root", str(tmp_path / "root"), "-o", str(tmp_path / "card"))
    assert bogota.cli(*ceremony).document["error"]["code"] == "wrong_state"
    bogota.start()
    bogota.post("bka.de", "--wait", "60")
    bogota.stop()

    bogota.ok(*ceremony)

    berlin.ok("peer", "add", str(tmp_path / "card"), "--code", bogota.code)
