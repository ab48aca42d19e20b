"""A command that is printed can be typed as it stands, whatever the directory is called."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import nodes.daemon
from exchange.alerts.codes import LIST_NAMES
from nodes.cli.commands import CODE_OPTIONS
from nodes.directory import create_directory
from tests.cli.conftest import Operator
from tests.cli.contract import check_document, examples
from tests.cli.recorded import RecordedNode
from tests.cli.samples import CASE_ID


def test_the_command_that_starts_a_new_node_is_quoted(
    tocsin: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = str(tmp_path / "new comer" / "co")
    born = {"v": 1, "agency": "new.co", "dir": directory, "card": "c", "safety_code": "s", "listen": None}

    def init_node(*args: Any, **options: Any) -> SimpleNamespace:
        return SimpleNamespace(document=lambda: born)

    monkeypatch.setattr(nodes.daemon, "init_node", init_node)
    secret = tmp_path / "passphrase"
    secret.touch(0o600)
    secret.write_text("four words are enough")
    options = ["--agency", "new.co", "--name", "N", "--country", "CO", "--listen", "none"]
    said = tocsin("init", directory, *options, "--passphrase-file", str(secret))
    assert said.exit == 0
    _, _, command = said.out.splitlines()[-1].partition("Start it:  ")
    assert shlex.split(command) == ["tocsin", "-D", directory, "run"]


def test_what_doctor_says_to_type_is_quoted(tocsin: Operator, tmp_path: Path) -> None:
    layout = create_directory(tmp_path / "new comer")
    layout.config_file.touch()
    key = layout.keys / "node.key"
    key.write_bytes(b"sealed")
    key.chmod(0o644)
    tocsin.directory = layout.root
    checks = {check["name"]: check for check in tocsin("doctor", "--json").json["checks"]}
    assert shlex.quote(str(layout.root)) in checks["node_not_running"]["next_step"]
    assert checks["keys"]["next_step"].startswith(f"chmod 600 {shlex.quote(str(layout.keys))}/*,")


def test_the_help_counts_the_agencies_of_the_demo(tocsin: Operator) -> None:
    assert "Three agencies on this machine" in " ".join(tocsin("--help").out.split())


def test_a_hint_in_json_reaches_the_same_node(node: RecordedNode, tocsin: Operator) -> None:
    error = {"code": "wrong_state", "message": "m", "hint": "tocsin peer list", "exit": 65, "problems": []}
    node.answers("peer_list", {"v": 1, "error": error}, 65)
    assert tocsin("peer", "list", "--json").json["error"]["hint"] == f"{tocsin.program} peer list"


@pytest.mark.parametrize(("case_id", "named"), [(CASE_ID, CASE_ID), (None, "CASE")])
def test_an_ack_leads_to_a_note_in_its_own_case(
    node: RecordedNode, tocsin: Operator, case_id: str | None, named: str
) -> None:
    document = {**dict(examples())["ack"], "case_id": case_id}
    check_document("ack", document)
    node.answers("ack", document)
    assert f"{tocsin.program} note {named} -" in tocsin("ack", "567890ab", "--accept").out


@pytest.mark.parametrize(
    ("argv", "command"),
    [(["ack", "1234", "--text"], "ack"), (["peer", "add", "card", "--code"], "peer add")],
)
def test_what_the_parser_refuses_leads_to_the_help_of_its_command(
    tocsin: Operator, argv: list[str], command: str
) -> None:
    hint = tocsin("--json", *argv).json["error"]["hint"]
    assert hint == " ".join([tocsin.program, *command.split(), "--help"])


@pytest.mark.parametrize(("command", "option"), list(CODE_OPTIONS))
def test_what_asks_for_a_code_names_the_command_that_lists_it(tocsin: Operator, command: str, option: str) -> None:
    lister = f"codes {CODE_OPTIONS[command, option]}"
    assert f"tocsin {lister}" in " ".join(tocsin(command, "--help").out.split())
    assert f"{tocsin.program} {lister} " in tocsin("--json", command, "1234", option).json["error"]["hint"]
    if command in ("cancel", "resolve"):
        assert f"{tocsin.program} {lister} " in tocsin("--json", command, "1234").json["error"]["hint"]


def test_the_lists_are_named_with_what_asks_for_their_codes(tocsin: Operator) -> None:
    document = tocsin("codes", "--json").json
    check_document("code_lists", document)
    assert [one["list"] for one in document["lists"]] == list(LIST_NAMES)
    assert all(name in tocsin("codes").out for name in LIST_NAMES)
    asked = {(option, one["list"]) for one in document["lists"] for option in one["options"]}
    assert asked == {(" ".join(option), name) for option, name in CODE_OPTIONS.items()}


def test_a_list_that_an_error_names_can_be_read(tocsin: Operator) -> None:
    document = tocsin("codes", "l38", "--json").json
    check_document("codes", document)
    assert "refused_by_officer" in {one["code"] for one in document["codes"]}
    assert "refused_by_officer" in tocsin("codes", "L38").out
    assert tocsin("codes", "L99").exit == 2
