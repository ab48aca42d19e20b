"""What an operator gets wrong: a clear error with its code and exit, and nothing half done."""

from __future__ import annotations

import json
import os
import socket
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.processes import Children
from tests.system.agencies import ROOT, SMALLEST, TOCSIN, Node, until

MakeNode = Callable[[str, str], Node]


def code_of(said: object) -> tuple[int, str]:
    document = said.document  # type: ignore[attr-defined]
    return said.exit, document["error"]["code"]  # type: ignore[attr-defined]


def run_once(node: Node, *options: str, env: dict[str, str] | None = None) -> tuple[int, str]:
    """`tocsin run` that is expected to fail at once."""
    return code_of(node.cli("run", *options, env=env))


def test_a_directory_that_is_not_empty_is_left_alone(make_node: MakeNode) -> None:
    node = make_node("bka.de", "DE")
    before = sorted(path.name for path in node.directory.rglob("*"))
    code = node.code

    node.passphrase.unlink()  # it is not asked for what cannot be made
    again = node.cli(
        "init", str(node.directory), "--agency", "x.de", "--name", "X", "--country", "DE", "--listen", "none"
    )
    assert code_of(again) == (73, "exists")
    assert node.agency in again.document["error"]["message"]
    assert again.document["error"]["hint"].startswith(f"to start it: tocsin -D {node.directory} run")
    assert code_of(node.make()) == (73, "exists")
    wrong = node.cli(
        "init", str(node.home / "n"), "--agency", "x.de", "--name", "X", "--country", "D", "--listen", "none"
    )
    assert wrong.document["error"]["problems"][0]["example"] == "--country DE"
    assert sorted(path.name for path in node.directory.rglob("*")) == before
    node.code = code
    node.start()


def test_a_wrong_passphrase_and_a_missing_one_are_named(make_node: MakeNode, tmp_path: Path) -> None:
    node = make_node("bka.de", "DE")
    wrong = tmp_path / "wrong"
    wrong.write_text("not it")
    wrong.chmod(0o600)
    assert run_once(node, "--passphrase-file", str(wrong)) == (78, "bad_passphrase")
    assert run_once(node, "--passphrase-file", str(tmp_path / "none")) == (78, "bad_passphrase")


def test_a_key_file_that_others_can_read_stops_the_start(make_node: MakeNode) -> None:
    node = make_node("bka.de", "DE")
    next(path for path in (node.directory / "keys").iterdir() if path.is_file()).chmod(0o644)
    assert run_once(node) == (78, "key_file_permissions")


def test_a_taken_port_is_named(make_node: MakeNode) -> None:
    node = make_node("bka.de", "DE")
    port = int(
        next(line for line in (node.directory / "node.toml").read_text().splitlines() if line.startswith("listen"))
        .rpartition(":")[2]
        .strip('"')
    )
    with socket.create_server(("127.0.0.1", port)):
        assert run_once(node) == (78, "port_in_use")
    node.start()


def test_a_second_daemon_on_one_directory_names_the_first(make_node: MakeNode) -> None:
    node = make_node("bka.de", "DE")
    node.start()
    assert node.process is not None

    said = node.cli("run")

    assert code_of(said) == (78, "already_running")
    assert str(node.process.pid) in said.document["error"]["message"]


def test_an_unknown_setting_is_named_with_the_nearest_one(make_node: MakeNode) -> None:
    node = make_node("bka.de", "DE")
    config = node.directory / "node.toml"
    config.write_text("contakt = 1\n" + config.read_text())
    said = node.cli("run")
    assert code_of(said) == (78, "bad_config")
    assert "contact" in json.dumps(said.document["error"])


def test_a_store_of_a_newer_version_is_not_touched(make_node: MakeNode) -> None:
    import sqlite3

    node = make_node("bka.de", "DE")
    database = next((node.directory / "store").glob("*.db"))
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA user_version = 9999")
    connection.close()
    assert run_once(node) == (78, "schema_too_new")


def test_a_directory_with_a_name_of_200_characters_works(children: Children, tmp_path: Path) -> None:
    node = Node(children, tmp_path / ("d" * 200), "bka.de", "DE")
    node.home.mkdir()
    assert node.make().exit == 0
    node.start()
    assert node.ok("status")["state"] == "running"


def test_a_node_that_does_not_run_is_said_with_the_line_to_start_it(make_node: MakeNode) -> None:
    node = make_node("bka.de", "DE")
    said = node.cli("inbox")
    assert code_of(said) == (69, "node_not_running")
    assert "run" in said.document["error"]["hint"]


def test_a_stopped_nodes_log_verifies_without_it(make_node: MakeNode) -> None:
    node = make_node("bka.de", "DE")
    said = node.cli("log", "verify")
    assert (said.exit, said.document["ok"]) == (0, True)


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda text: text[: len(text) // 2], "invalid_card"),
        (lambda _: "hello", "invalid_card"),
        (lambda text: text.replace("A", "B", 1), "invalid_card"),
    ],
    ids=["cut short", "no card", "altered"],
)
def test_a_card_that_is_damaged_is_refused(
    make_node: MakeNode, tmp_path: Path, damage: Callable[[str], str], code: str
) -> None:
    node, other = make_node("ponal.co", "CO"), make_node("bka.de", "DE")
    node.start()
    card = tmp_path / "card"
    card.write_text(damage((other.directory / "card.tocsin").read_text()))
    assert code_of(node.cli("peer", "add", str(card), "--code", other.code)) == (65, code)
    assert node.ok("peer", "list")["peers"] == []


def test_a_mistyped_safety_code_stores_nothing(make_node: MakeNode) -> None:
    node, other = make_node("ponal.co", "CO"), make_node("bka.de", "DE")
    node.start()
    card = str(other.directory / "card.tocsin")

    assert code_of(node.cli("peer", "add", card, "--code", node.code)) == (65, "safety_code_mismatch")
    assert node.ok("peer", "list")["peers"] == []
    pending = node.ok("peer", "add", card)
    assert (pending["trust"], pending["safety_code"]) == ("pending", None)
    assert code_of(node.cli("post", "-", "--to", "bka.de", given=json.dumps(SMALLEST).encode())) == (
        77,
        "peer_not_usable",
    )
    confirmed = node.ok("peer", "add", card, "--code", other.code.lower().replace("-", " "))
    assert confirmed["trust"] == "trusted"


def test_problems_of_an_alert_come_all_at_once_with_path_rule_and_example(make_node: MakeNode) -> None:
    node = make_node("ponal.co", "CO")
    node.start()
    broken = {key: value for key, value in SMALLEST.items() if key != "handling"} | {"precedance": "flash"}

    said = node.cli("post", "-", "--to", "bka.de", given=json.dumps(broken).encode())

    assert code_of(said) == (65, "invalid_alert")
    problems = said.document["error"]["problems"]
    assert {"/handling", "/precedance"} <= {problem["path"] for problem in problems}
    assert all(problem["rule"] and problem["message"] for problem in problems)


def test_contradictory_markings_are_refused_before_sealing(pair: tuple[Node, Node]) -> None:
    bogota, berlin = pair
    clear = {**SMALLEST, "handling": {"tlp": "CLEAR", "permitted_actions": "stop_and_protect"}}
    said = bogota.cli("post", "-", "--to", "bka.de", given=json.dumps(clear).encode())
    assert code_of(said) == (77, "marking_contradiction")
    assert berlin.inbox() == []


def test_an_operator_that_is_not_enrolled_is_told_so(make_node: MakeNode, children: Children) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to call as another user")
    node = make_node("bka.de", "DE")
    node.start()
    for path in (node.home, *node.home.parents):
        if path.stat().st_uid == 0 and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o011)
    done = children.run(
        [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            *TOCSIN,
            "-D",
            str(node.directory),
            "--json",
            "inbox",
        ],
        cwd=ROOT,
    )
    assert done.returncode == 77, (done.stdout, done.stderr)
    assert json.loads(done.stdout)["error"]["code"] == "not_permitted"


def test_suspended_peers_are_refused_at_once_and_resumed_with_their_queue(pair: tuple[Node, Node]) -> None:
    bogota, berlin = pair
    berlin.ok("peer", "suspend", "ponal.co", "--reason", "audit")
    posted = bogota.post("bka.de")["message_id"]
    from tests.system.agencies import until

    until(
        lambda: bogota.ask("track", id=posted)["recipients"][0]["reason"] == "peer_does_not_trust_us",
        "the reason that only a telephone call can mend",
    )
    assert berlin.inbox() == []
    assert code_of(berlin.cli("post", "-", "--to", "ponal.co", given=json.dumps(SMALLEST).encode())) == (
        77,
        "peer_not_usable",
    )
    berlin.ok("peer", "resume", "ponal.co")
    until(lambda: bogota.state(posted, "bka.de") == "stored", "delivery after the resumption")


def test_a_mistyped_reason_leaves_no_signed_word(pair: tuple[Node, Node]) -> None:
    bogota, berlin = pair
    message = bogota.post("bka.de", "--wait", "30")["message_id"]

    before = log_size(berlin)

    assert code_of(berlin.cli("ack", message, "--reject", "nonsense")) == (65, "invalid_alert")

    assert log_size(berlin) == before


def log_size(node: Node) -> int:
    return int(node.cli("log", "verify").document["size"])


def test_an_update_of_another_case_is_refused(pair: tuple[Node, Node], tmp_path: Path) -> None:
    bogota, _ = pair
    case = bogota.post("bka.de", "--wait", "30")["case_id"]
    other = tmp_path / "other.json"
    other.write_text(json.dumps({**SMALLEST, "case_id": f"{case}9"}))

    said = bogota.cli("update", case, str(other))

    assert code_of(said) == (65, "invalid_alert")
    assert said.document["error"]["problems"][0]["path"] == "/case_id"


def test_a_case_that_an_analyst_named_gets_no_second_alert_and_its_number_is_not_drawn(pair: tuple[Node, Node]) -> None:
    bogota, _ = pair
    drawn = bogota.post("bka.de")["case_id"]
    head, _, number = drawn.rpartition("/")
    named, following = (f"{head}/{int(number) + more:06d}" for more in (1, 2))
    assert bogota.post("bka.de", case_id=named)["case_id"] == named

    again = bogota.cli("post", "-", "--to", "bka.de", given=json.dumps({**SMALLEST, "case_id": named}).encode())
    bogota.kill()
    bogota.start()

    assert code_of(again) == (65, "invalid_alert")
    (problem,) = again.document["error"]["problems"]
    assert (problem["path"], problem["example"]) == ("/case_id", following)
    assert bogota.post("bka.de")["case_id"] == following


def test_a_case_id_that_two_agencies_use_is_no_case_of_both(pair: tuple[Node, Node]) -> None:
    """Neither may end the other's alert, and the node draws no number under which another's alert lies here."""
    bogota, berlin = pair
    head, _, number = berlin.post("ponal.co", "--wait", "30")["case_id"].rpartition("/")
    shared, following = (f"{head}/{int(number) + more:06d}" for more in (1, 2))
    bogota.post("bka.de", "--wait", "30", case_id=shared)

    assert berlin.post("ponal.co", "--wait", "30")["case_id"] == following
    refused = berlin.cli("post", "-", "--to", "ponal.co", given=json.dumps({**SMALLEST, "case_id": shared}).encode())
    assert code_of(refused) == (65, "invalid_alert")
    assert refused.document["error"]["problems"][0]["rule"] == "case_taken"


def test_what_one_agency_says_of_a_case_ends_nobody_else_s_alert(pair: tuple[Node, Node]) -> None:
    """Both alerts crossed: each agency had named the case before it saw the other's."""
    bogota, berlin = pair
    case = "CO-PONAL/2026/000900"
    bogota.kill()
    berlin.post("ponal.co", case_id=case)
    berlin.kill()
    bogota.start()
    bogota.post("bka.de", case_id=case)
    berlin.start()
    until(lambda: len(bogota.inbox()) == len(berlin.inbox()) == 1, "both alerts", 90)

    berlin.ok("resolve", case, "--outcome", "found_safe", "--wait", "30")

    shown = bogota.ok("show", case)
    assert shown["state"] == "active"
    states = {entry["agency"]: entry["state"] for entry in shown["originators"]}
    assert states == {"ponal.co": "active", "bka.de": "resolved"}
    bogota.ok("cancel", case, "--reason", "false_report", "--wait", "30")
    assert bogota.ok("show", case)["state"] == "resolved"


def test_of_posts_at_once_for_one_case_one_opens_it_and_a_refused_one_moves_no_number(pair: tuple[Node, Node]) -> None:
    bogota, _ = pair
    head, _, number = bogota.post("bka.de")["case_id"].rpartition("/")
    following = f"{head}/{int(number) + 1:06d}"
    refused = {**SMALLEST, "case_id": f"{head}/999999999999", "incident": {}}
    assert bogota.cli("post", "-", "--to", "bka.de", given=json.dumps(refused).encode()).exit == 65
    text = json.dumps({**SMALLEST, "case_id": f"{head}/000900"})

    def post(_: int) -> str:
        said = bogota.ask("post", content=text, to=["bka.de"])
        return str(said.get("case_id") or said["error"]["code"])

    with ThreadPoolExecutor(8) as pool:
        said = Counter(pool.map(post, range(8)))

    assert said == {f"{head}/000900": 1, "invalid_alert": 7}
    assert bogota.post("bka.de")["case_id"] == following
