"""The line to the node: what is asked arrives as it was meant, and every way to fail has its exit."""

from __future__ import annotations

import json
import shlex
import socket
from pathlib import Path

import pytest

from nodes.cli.client import ask
from nodes.cli.main import main
from nodes.errors import OperationError
from tests.cli.conftest import Operator
from tests.cli.recorded import Recorded, RecordedNode

POSTED = {
    "v": 1,
    "message_id": "0193c0de-0000-4000-8000-00000000aaaa",
    "case_id": "CO-PONAL/2026/000017",
    "kind": "alert",
    "revision": 1,
    "precedence": "flash",
    "posted_at": "2026-11-23T07:12:31.204Z",
    "content_sha256": "00" * 32,
    "repeated": False,
    "recipients": [],
}


def test_without_a_node_the_error_says_how_to_start_it(tocsin: Operator) -> None:
    tocsin.directory.mkdir()
    (tocsin.directory / "node.toml").touch()
    said = tocsin("status", "--json")
    assert said.exit == 69
    assert said.json["error"]["code"] == "node_not_running"
    assert f"tocsin -D {shlex.quote(str(tocsin.directory))} run" in said.json["error"]["hint"]


def test_a_socket_that_nobody_listens_on_is_a_node_that_does_not_run(tocsin: Operator) -> None:
    (tocsin.directory / "run").mkdir(parents=True)
    left_behind = socket.socket(socket.AF_UNIX)
    left_behind.bind(str(tocsin.directory / "run" / "node.sock"))
    left_behind.close()
    assert tocsin("inbox", "--json").json["error"]["code"] == "node_not_running"


def test_the_error_document_of_the_node_is_handed_on_with_its_exit(node: RecordedNode, tocsin: Operator) -> None:
    error = {"code": "policy_denied", "message": "no", "hint": "ask", "exit": 77, "problems": [], "more": 1}
    node.answers("status", {"v": 1, "error": error}, 77)
    said = tocsin("status", "--json")
    assert (said.exit, said.json) == (77, {"v": 1, "error": error})


def test_an_error_code_of_a_newer_node_keeps_the_exit_it_came_with(node: RecordedNode, tocsin: Operator) -> None:
    error = {"code": "brand_new", "message": "no", "hint": "", "exit": 65, "problems": []}
    node.answers("status", {"v": 1, "error": error}, 65)
    assert tocsin("status").exit == 65


def test_the_exit_of_the_answer_is_the_exit_of_the_command(
    node: RecordedNode, tocsin: Operator, tmp_path: Path
) -> None:
    node.answers("post", POSTED, 75)
    (tmp_path / "alert.json").write_text("{}")
    said = tocsin("post", str(tmp_path / "alert.json"), "--to", "bka.de", "--wait", "0.1", "--json")
    assert (said.exit, said.json) == (75, POSTED)


def test_global_options_may_stand_before_and_after_the_command(
    node: RecordedNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node.answers("peer_list", {"v": 1, "peers": []})
    directory = str(node.directory)
    for argv in (
        ["-D", directory, "--json", "peer", "list"],
        ["peer", "-D", directory, "list", "--json"],
        ["--json", "peer", "list", "-D", directory],
    ):
        assert main(argv) == 0
        assert json.loads(capsys.readouterr().out) == {"v": 1, "peers": []}


def test_the_option_after_the_command_wins(node: RecordedNode, tmp_path: Path) -> None:
    node.answers("status", {"v": 1})
    assert main(["-D", str(tmp_path / "nowhere"), "status", "--json", "-D", str(node.directory)]) == 0


def test_the_directory_comes_from_the_environment_or_is_the_current_one(
    node: RecordedNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.answers("status", {"v": 1})
    monkeypatch.setenv("TOCSIN_DIR", str(node.directory))
    assert main(["status", "--json"]) == 0
    monkeypatch.delenv("TOCSIN_DIR")
    monkeypatch.chdir(node.directory)
    assert main(["status", "--json"]) == 0
    monkeypatch.chdir(tmp_path)
    assert main(["status", "--json"]) == 2


def test_a_directory_with_a_long_name_is_reached(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 120) / ("e" * 120)
    with RecordedNode(directory) as node:
        node.answers("status", {"v": 1, "agency": "bka.de"})
        assert ask(directory, "status", {}).document["agency"] == "bka.de"


def test_a_lost_answer_prints_the_exact_retry_with_the_id_that_was_sent(
    node: RecordedNode, tocsin: Operator, tmp_path: Path
) -> None:
    node.answers("post", lost=True)
    path = tmp_path / "alert of today.json"
    path.write_text("{}")
    said = tocsin("post", str(path), "--to", "bka.de,ponal.co", "--json")
    assert said.exit == 69
    assert said.json["error"]["code"] == "node_not_running"
    retry = shlex.split(said.json["error"]["hint"].partition(": ")[2])
    sent = node.asked("post")["id"]
    assert retry == [
        "tocsin", "-D", str(node.directory), "post", str(path), "--to", "bka.de,ponal.co", "--json", "--id", sent,
    ]  # fmt: skip
    node.answers("post", {**POSTED, "repeated": True})
    assert main(retry[1:]) == 0
    assert node.asked("post")["id"] == sent


def test_a_retry_keeps_its_id_before_the_end_of_options(node: RecordedNode, tocsin: Operator, tmp_path: Path) -> None:
    node.answers("post", lost=True)
    (tmp_path / "a.json").write_text("{}")
    said = tocsin("post", "--to", "bka.de", "--json", "--", str(tmp_path / "a.json"))
    retry = shlex.split(said.json["error"]["hint"].partition(": ")[2])
    assert retry[retry.index("--") - 2 : retry.index("--")] == ["--id", node.asked("post")["id"]]


def test_a_retry_never_repeats_the_words_of_a_note(node: RecordedNode, tocsin: Operator) -> None:
    node.answers("note", lost=True)
    node.answers("cancel", lost=True)
    said = tocsin("note", "CO-PONAL/2026/000017", "the grandmother knows")
    assert said.exit == 69
    assert "grandmother" not in said.err
    assert f"--id {node.asked('note')['id']}" in said.err
    said = tocsin("cancel", "CO-PONAL/2026/000017", "--reason", "duplicate", "--text=the grandmother knows")
    assert "grandmother" not in said.err
    assert "--text=-" in said.err


@pytest.mark.parametrize(
    "recorded",
    [
        Recorded(body=b"not json"),
        Recorded(body=b"[]"),
        Recorded(body=b'{"exit":0}'),
        Recorded(body=b'{"exit":"0","document":{}}'),
        Recorded(body=b'{"exit":true,"document":{}}'),
        Recorded(body=b"[" * 100_000),
        Recorded(status=502, body=b"oops"),
        Recorded(status=404, body=b""),
    ],
)
def test_an_answer_that_makes_no_sense_is_an_internal_error(
    node: RecordedNode, tocsin: Operator, recorded: Recorded
) -> None:
    node.replies["status"] = recorded
    said = tocsin("status", "--json")
    assert (said.exit, said.json["error"]["code"]) == (70, "internal")


def test_bytes_of_the_command_line_that_are_no_text_are_a_usage_error(node: RecordedNode, tocsin: Operator) -> None:
    assert tocsin("why", "caf\udce9", "--json").json["error"]["code"] == "usage"
    assert node.requests == []


def test_what_the_node_takes_for_too_large_is_too_large(node: RecordedNode, tocsin: Operator) -> None:
    node.answers("status", status=413, body=b"")
    assert tocsin("status", "--json").json["error"]["code"] == "too_large"


def test_a_node_that_fails_under_a_request_has_lost_its_answer(node: RecordedNode, tocsin: Operator) -> None:
    node.answers("status", status=500, body=b"")
    said = tocsin("status", "--json")
    assert (said.exit, said.json["error"]["code"]) == (69, "node_not_running")
    assert said.json["error"]["hint"]


def test_no_tcp_connection_is_ever_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that dies between two requests must not turn http.client to a host of that name."""
    tried: list[object] = []
    monkeypatch.setattr(socket, "create_connection", lambda *given: tried.append(given))
    with RecordedNode(tmp_path / "n") as node:
        node.answers("status", lost=True)
        with pytest.raises(OperationError) as lost:
            ask(node.directory, "status", {})
    assert lost.value.code == "node_not_running"
    assert tried == []


def test_a_stream_prints_one_object_a_line_until_the_node_stops(node: RecordedNode, tocsin: Operator) -> None:
    documents = [{"v": 1, "event": "watching", "at": "2026-11-23T07:12:31.204Z"}, {"v": 1, "event": "message", "n": 2}]
    node.answers("watch", lines=documents)
    said = tocsin("watch", "--json")
    *printed, last = [json.loads(line) for line in said.out.splitlines()]
    assert printed == documents
    assert (said.exit, last["error"]["code"], last["error"]["message"]) == (69, "node_not_running", "the node stopped")


def test_watch_says_that_the_node_stopped(node: RecordedNode, tocsin: Operator) -> None:
    node.answers("watch", lines=[{"v": 1, "event": "watching", "at": "2026-11-23T07:12:31.204Z"}])
    said = tocsin("watch")
    assert said.exit == 69
    assert "error: the node stopped" in said.err


def test_watch_says_the_same_of_a_node_that_was_killed(node: RecordedNode, tocsin: Operator) -> None:
    node.answers("watch", lost=True)
    said = tocsin("watch", "--json")
    assert (said.exit, said.json["error"]["message"]) == (69, "the node stopped")


def test_a_stream_that_is_refused_is_an_error_like_any_other(node: RecordedNode, tocsin: Operator) -> None:
    error = {"code": "not_permitted", "message": "no", "hint": "", "exit": 77, "problems": []}
    node.answers("watch", {"v": 1, "error": error}, 77)
    said = tocsin("watch", "--json")
    assert (said.exit, said.json["error"]["code"]) == (77, "not_permitted")
