"""Where the passphrase comes from, and what stands on which stream."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from nodes.cli.invocation import Invocation, wants_json
from nodes.errors import NodeError


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOCSIN_PASSPHRASE_FILE", raising=False)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO())


def keep(path: Path, text: bytes, mode: int = 0o600) -> str:
    path.write_bytes(text)
    path.chmod(mode)
    return str(path)


def test_the_option_comes_before_the_environment_and_that_before_systemd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(tmp_path / "passphrase", b"of systemd")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert Invocation(()).passphrase() == "of systemd"
    monkeypatch.setenv("TOCSIN_PASSPHRASE_FILE", keep(tmp_path / "variable", b"of the variable\n"))
    assert Invocation(()).passphrase() == "of the variable"
    option = keep(tmp_path / "option", b"of the option\r\n")
    assert Invocation((), passphrase_file=option).passphrase() == "of the option"


@pytest.mark.parametrize(("text", "passphrase"), [(b" two words \n", " two words "), ("Zoë\n\n".encode(), "Zoë\n")])
def test_only_the_last_line_break_is_no_part_of_it(tmp_path: Path, text: bytes, passphrase: str) -> None:
    assert Invocation((), passphrase_file=keep(tmp_path / "p", text)).passphrase() == passphrase


@pytest.mark.parametrize("text", [b"", b"\n", b"\xff\xfe", b"x" * 5000])
def test_what_is_no_passphrase_is_not_taken_for_one(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(NodeError) as refused:
        Invocation((), passphrase_file=keep(tmp_path / "p", text)).passphrase()
    assert (refused.value.code, refused.value.exit) == ("bad_passphrase", 78)


def test_without_a_file_and_a_person_there_is_none(tmp_path: Path) -> None:
    for invocation in (Invocation(()), Invocation((), passphrase_file=str(tmp_path / "nothing"))):
        with pytest.raises(NodeError) as refused:
            invocation.passphrase()
        assert refused.value.code == "bad_passphrase"


def test_a_file_that_others_may_read_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Invocation((), passphrase_file=keep(tmp_path / "p", b"x", 0o644)).passphrase()
    out, err = capsys.readouterr()
    assert not out
    assert "chmod 600" in err


def test_json_is_wanted_only_by_an_option() -> None:
    assert wants_json(["status", "--json"])
    assert wants_json(["--json", "note", "C", "--", "text"])
    assert not wants_json(["note", "C", "--", "--json"])
    assert not wants_json(["status"])
