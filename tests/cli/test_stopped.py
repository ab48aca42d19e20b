"""What can be said of a node that does not run."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from nodes.directory import create_directory
from tests.cli.conftest import Operator
from tests.cli.contract import check_document

CONFIG = """\
agency = "bka.de"
name = "Bundeskriminalamt"
country = "DE"
languages = ["de", "en"]
listen = "{listen}"
endpoints = []
case_prefix = "DE-BKA"
"""


@pytest.fixture
def stopped(tocsin: Operator) -> Path:
    layout = create_directory(tocsin.directory)
    layout.config_file.write_text(CONFIG.format(listen="none"))
    (layout.keys / "node.key").write_bytes(b"sealed")
    (layout.keys / "node.key").chmod(0o600)
    return layout.root


def checks(tocsin: Operator, *argv: str) -> dict[str, str]:
    said = tocsin("doctor", *argv, "--json")
    check_document("doctor", said.json)
    assert said.exit == 1
    assert said.json["ok"] is False
    return {check["name"]: check["result"] for check in said.json["checks"]}


def test_doctor_says_first_that_the_node_does_not_run_and_then_what_it_can_see(tocsin: Operator, stopped: Path) -> None:
    found = checks(tocsin)
    assert list(found) == ["node_not_running", "directory", "keys", "disk", "clock", "store", "log", "listen"]
    assert found["node_not_running"] == "fail"
    assert {found[name] for name in ("directory", "keys", "disk", "listen")} == {"ok"}


def test_doctor_names_the_peer_that_it_could_not_ask(tocsin: Operator, stopped: Path) -> None:
    assert tocsin("doctor", "ponal.co", "--json").json["peer"] == "ponal.co"


def test_doctor_sees_keys_that_others_may_read(tocsin: Operator, stopped: Path) -> None:
    (stopped / "keys" / "node.key").chmod(0o644)
    assert checks(tocsin)["keys"] == "fail"


def test_doctor_sees_that_there_are_no_keys(tocsin: Operator, stopped: Path) -> None:
    (stopped / "keys" / "node.key").unlink()
    assert checks(tocsin)["keys"] == "fail"


def test_doctor_sees_an_address_in_use(tocsin: Operator, stopped: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        (stopped / "node.toml").write_text(CONFIG.format(listen=f"127.0.0.1:{port}"))
        assert checks(tocsin)["listen"] == "fail"


def test_doctor_sees_a_configuration_that_cannot_be_used(tocsin: Operator, stopped: Path) -> None:
    (stopped / "node.toml").write_text("agency = 7")
    found = checks(tocsin)
    assert (found["listen"], found["disk"]) == ("fail", "skip")


def test_doctor_sees_a_directory_that_is_none(tocsin: Operator) -> None:
    assert checks(tocsin)["directory"] == "fail"


def test_a_card_that_is_not_there_is_said(tocsin: Operator, stopped: Path) -> None:
    said = tocsin("card", "--json")
    assert (said.exit, said.json["error"]["code"]) == (74, "io_error")
