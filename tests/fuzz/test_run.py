"""`make fuzz` says what is missing, what was found, and how a finding is run again."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.fuzz import run
from tests.fuzz.targets import TARGETS


def asked(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["run", *arguments])
    return run.main()


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(run, "FOUND", tmp_path / "found")


def ended(monkeypatch: pytest.MonkeyPatch, log: bytes, status: int) -> None:
    """The engine's child says this and ends so."""
    monkeypatch.setattr(run, "find_spec", lambda _: object())
    monkeypatch.setattr(run, "_child", lambda *_: (log, status))


def test_without_the_engine_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "find_spec", lambda _: None)
    assert asked(monkeypatch) == 69
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("status", [0, 1])
def test_a_finding_is_named_with_the_line_that_runs_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, status: int
) -> None:
    place = tmp_path / "found" / "names" / "crash-1"
    ended(monkeypatch, b"#9\tNEW    cov: 3 ft: 4 corp\nTest unit written to %b\n" % bytes(place), status)
    assert asked(monkeypatch, "--only", "names", "--seconds", "1") == 1
    assert "make fuzz ARGS='--only names --again found/names/crash-1'" in capsys.readouterr().out


def test_a_child_that_ends_badly_without_an_input_is_no_clean_run(monkeypatch: pytest.MonkeyPatch) -> None:
    ended(monkeypatch, b"Killed\n", -9)
    assert asked(monkeypatch, "--only", "names") == 1
    ended(monkeypatch, b"#9\tDONE   cov: 3 ft: 4 corp\n", 0)
    assert asked(monkeypatch, "--only", "names") == 0


def test_one_input_is_run_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "input"
    for data, verdict in ((b"\x00", "taken"), (b"\x81", "refused")):
        file.write_bytes(data)
        assert asked(monkeypatch, "--only", "encoding", "--again", str(file)) == 0
        assert capsys.readouterr().out.split() == [verdict]


def test_a_campaign_runs_every_target(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    ended(monkeypatch, b"", 0)
    assert asked(monkeypatch) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == list(TARGETS)
