"""The examples that the documents show post between real nodes, in their order, as their first lines say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.agencies import ROOT, Node, introduce

EXAMPLES = ROOT / "docs" / "examples"


@pytest.fixture
def agencies(make_node: Callable[..., Node]) -> tuple[Node, Node]:
    nodes = (make_node("ponal.co", "CO"), make_node("bka.de", "DE"))
    for node in nodes:
        node.start()
    introduce(*nodes)
    return nodes


def test_every_example_posts_as_it_stands(agencies: tuple[Node, Node]) -> None:
    bogota, berlin = agencies
    files = sorted(path for path in EXAMPLES.iterdir() if path.suffix in (".yaml", ".json"))
    opening = [path for path in files if not path.name.startswith("child-")]
    for path in opening:
        posted = bogota.ok("post", str(path), "--to", "bka.de", "--wait", "30")
        assert posted["recipients"][0]["state"] == "stored", path.name

    alert = bogota.ok("post", str(EXAMPLES / "child-1-alert.yaml"), "--to", "bka.de", "--wait", "30")
    case = alert["case_id"]
    note = berlin.ok("post", str(EXAMPLES / "child-2-note.yaml"), "--wait", "30")
    updated = bogota.ok("post", str(EXAMPLES / "child-3-update.yaml"), "--wait", "30")
    resolved = bogota.ok("resolve", case, str(EXAMPLES / "child-4-resolve.yaml"), "--wait", "30")

    assert [one["recipients"][0]["agency"] for one in (note, updated, resolved)] == ["ponal.co", "bka.de", "bka.de"]
    assert (updated["revision"], resolved["revision"]) == (2, 3)
    thread = berlin.ok("show", case)
    assert [message["kind"] for message in thread["messages"]] == ["alert", "note", "update", "resolve"]
    assert thread["messages"][-1]["content"]["arrests"] == 2
    assert bogota.cli("post", str(EXAMPLES / "child-cancel.yaml")).document["error"]["code"] == "wrong_state"


def test_a_case_is_followed_from_its_newest_state_and_closed_with_a_code(agencies: tuple[Node, Node]) -> None:
    bogota, berlin = agencies
    case = bogota.post("bka.de", "--wait", "30")["case_id"]

    begun = json.loads(bogota.ask("new_template", kind="update", case=case)["text"])
    begun["summary"] = "White van seen at the bridge"
    updated = bogota.ok("post", "-", "--wait", "30", given=json.dumps(begun).encode())
    foreign = berlin.cli("post", "-", given=json.dumps(begun).encode())
    nameless = bogota.cli("post", "-", given=json.dumps({**begun, "case_id": None}).encode())
    other = bogota.cli("resolve", case, "-", given=json.dumps({"kind": "note", "text": "x"}).encode())

    assert (updated["kind"], updated["revision"]) == ("update", 2)
    assert berlin.ok("show", updated["message_id"])["content"]["changed"] == ["/summary"]
    assert foreign.document["error"]["code"] == "policy_denied"
    assert [problem["path"] for problem in nameless.document["error"]["problems"]] == ["/case_id"]
    assert [problem["path"] for problem in other.document["error"]["problems"]] == ["/kind"]
    listed = bogota.ok("sent")["messages"]
    assert (listed[0]["kind"], listed[0]["summary"]) == ("update", "White van seen at the bridge")
    assert bogota.ok("sent", "--waiting")["messages"] == []
    assert "case_id: " + case in bogota.ask("new_template", kind="resolve", case=case)["text"]


def test_one_that_listens_nowhere_is_said_to_be_out_of_reach(make_node: Callable[..., Node], tmp_path: Path) -> None:
    bogota, silent = make_node("ponal.co", "CO"), Node(make_node("bka.de", "DE").children, tmp_path, "fetcher.de", "DE")
    assert silent.make("--listen", "none").exit == 0
    for node in (bogota, silent):
        node.start()
    bogota.trust(silent)
    message = bogota.post("fetcher.de")["message_id"]

    (recipient,) = bogota.ok("why", message)["recipients"]
    assert (recipient["state"], recipient["reason"]) == ("queued", "unreachable")
