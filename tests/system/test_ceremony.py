"""The agency root off line: exported, read back, and used to sign the next anchor (DESIGN 4)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.system.agencies import Node, until


def test_the_root_leaves_the_machine_and_signs_the_next_anchor_from_its_file(
    pair: tuple[Node, Node], tmp_path: Path
) -> None:
    bogota, berlin = pair
    first = bogota.post("bka.de", "--wait", "30")
    assert {finding["code"] for finding in bogota.ok("status")["findings"]} >= {"root_online"}
    bogota.stop()
    root, card = tmp_path / "root", tmp_path / "card"

    inside = bogota.cli("keys", "export-root", "-o", str(bogota.directory / "root.key"))
    assert (inside.exit, inside.document["error"]["code"]) == (2, "usage")
    bogota.ok("keys", "export-root", "-o", str(root))
    again = bogota.cli("keys", "export-root", "-o", str(tmp_path / "other"))
    anchored = bogota.ok("keys", "anchor", "--root", str(root), "-o", str(card))

    assert again.document["error"]["code"] == "wrong_state"
    assert (anchored["serial"], anchored["safety_code"]) == (2, bogota.code)
    assert root.stat().st_mode & 0o077 == 0
    bogota.start()
    assert "root_online" not in {finding["code"] for finding in bogota.ok("status")["findings"]}
    updated = berlin.ok("peer", "add", str(card))
    assert (updated["trust"], updated["serial"]) == ("trusted", 2)
    second = bogota.post("bka.de", "--wait", "30")
    until(lambda: bogota.state(second["message_id"], "bka.de") == "stored", "delivery under the new anchor")
    assert {entry["message_id"] for entry in berlin.inbox()} == {first["message_id"], second["message_id"]}
    newer = berlin.ok("peer", "add", str(bogota.directory / "card.tocsin"))
    assert newer["serial"] == 2


def test_a_peer_that_was_not_given_the_new_anchor_gets_it_in_a_round(pair: tuple[Node, Node], tmp_path: Path) -> None:
    bogota, berlin = pair
    bogota.stop()
    root = tmp_path / "root"
    bogota.ok("keys", "export-root", "-o", str(root))
    bogota.ok("keys", "anchor", "--root", str(root), "-o", str(tmp_path / "card"))
    bogota.start()
    bogota.post("bka.de", "--wait", "30")
    until(lambda: berlin.ok("peer", "show", "ponal.co")["serial"] == 2, "the new anchor")


def test_an_anchor_whose_card_reached_no_file_is_given_again_and_uses_up_no_serial(
    make_node: Callable[[str, str], Node], tmp_path: Path
) -> None:
    bogota = make_node("ponal.co", "CO")
    bogota.start()
    bogota.stop()
    root, card = tmp_path / "root", tmp_path / "card"
    bogota.ok("keys", "export-root", "-o", str(root))

    nowhere = bogota.cli("keys", "anchor", "--root", str(root), "-o", str(tmp_path / "missing" / "card"))
    first = bogota.ok("keys", "anchor", "--root", str(root), "-o", str(card))
    again = bogota.ok("keys", "anchor", "--root", str(root), "-o", str(tmp_path / "again"))
    bogota.start()
    bogota.stop()
    later = bogota.ok("keys", "anchor", "--root", str(root), "-o", str(tmp_path / "later"))

    assert (nowhere.exit, nowhere.document["error"]["code"]) == (74, "io_error")
    assert [one["serial"] for one in (first, again, later)] == [2, 2, 3]
    assert card.read_bytes() == (tmp_path / "again").read_bytes()


def test_a_file_that_is_no_root_of_this_agency_is_named_with_what_to_do(
    make_node: Callable[[str, str], Node], tmp_path: Path
) -> None:
    bogota, berlin = make_node("ponal.co", "CO"), make_node("bka.de", "DE")
    for node in (bogota, berlin):
        node.start()
        node.stop()
    root, foreign, cut = tmp_path / "root", tmp_path / "foreign", tmp_path / "cut"
    bogota.ok("keys", "export-root", "-o", str(root))
    berlin.ok("keys", "export-root", "-o", str(foreign))
    cut.write_bytes(root.read_bytes()[:40])
    before = (bogota.directory / "card.tocsin").read_bytes()

    said = {
        path.name: bogota.cli("keys", "anchor", "--root", str(path), "-o", str(tmp_path / "card")).document["error"]
        for path in (cut, foreign, tmp_path / "missing")
    }

    assert {name: error["code"] for name, error in said.items()} == {
        "cut": "bad_config",
        "foreign": "root_changed",
        "missing": "io_error",
    }
    assert all("export-root" in error["hint"] for error in said.values())
    assert (bogota.directory / "card.tocsin").read_bytes() == before


def test_no_card_and_no_evidence_is_written_over_a_file_of_another_kind(
    pair: tuple[Node, Node], tmp_path: Path
) -> None:
    """The names lie side by side on the stick, and the root cannot be made again."""
    bogota, _ = pair
    message = bogota.post("bka.de", "--wait", "30")["message_id"]
    root = tmp_path / "root"
    bogota.stop()
    bogota.ok("keys", "export-root", "-o", str(root))
    kept = root.read_bytes()

    anchor = bogota.cli("keys", "anchor", "--root", str(root), "-o", str(root))
    bogota.start()
    evidence = bogota.cli("evidence", "export", message, "-o", str(root))

    assert anchor.document["error"]["code"] == evidence.document["error"]["code"] == "exists"
    assert root.read_bytes() == kept
    assert bogota.ok("keys", "status")["root"]["serial"] == 1
    for _ in range(2):  # over one of its own kind it is
        bogota.ok("evidence", "export", message, "-o", str(tmp_path / "evidence"))
