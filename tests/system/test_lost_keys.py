"""What an old copy of a node no longer knows of its own keys and its peers do (PROTOCOL §9.1)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

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
