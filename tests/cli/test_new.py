"""Writing in an editor: where the text lies meanwhile, and that it is never lost and never left."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nodes.cli.editor import PrivateFile, edit
from nodes.cli.invocation import Invocation
from nodes.errors import OperationError
from tests.cli.conftest import Operator
from tests.cli.contract import examples
from tests.cli.recorded import Recorded, RecordedNode
from tests.cli.samples import CONTENT, posted

EXAMPLES = dict(examples())
TEMPLATE = "kind: alert\nsummary:\n"
DRAFT_ID = EXAMPLES["draft"]["draft_id"]
WRITTEN = "kind: alert\nsummary: Niña\n"
PREVIEW = {
    **EXAMPLES["explain"],
    "would_send": [{"agency": "bka.de", "allowed": True, "reason": None, "via": [], "view": "full", "size": 1480}],
    "content": CONTENT,
}

Editor = Callable[[str], None]


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory in memory, as far as the command line can tell."""
    directory = tmp_path / "memory"
    directory.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(directory))
    return directory


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Editor:
    """Sets the editor to a shell script; `$1` is the file."""

    def install(script: str) -> None:
        path = tmp_path / "my editor"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o700)
        monkeypatch.setenv("VISUAL", f"'{path}'")

    return install


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    typed: list[str] = []
    monkeypatch.setattr(Invocation, "can_ask", property(lambda _: True))
    monkeypatch.setattr(Invocation, "question", lambda _self, _text: typed.pop(0) if typed else "")
    return typed


@pytest.fixture
def drafts(node: RecordedNode) -> dict[str, str]:
    """The drafts that the node holds: text by id."""
    held: dict[str, str] = {}

    def save(arguments: dict[str, Any]) -> Recorded:
        draft_id = arguments["draft_id"] or DRAFT_ID
        held[draft_id] = arguments["text"]
        return Recorded({**EXAMPLES["draft"], "draft_id": draft_id})

    def delete(arguments: dict[str, Any]) -> Recorded:
        del held[arguments["draft_id"]]
        return Recorded({"v": 1, "draft_id": arguments["draft_id"]})

    node.answers("new_template", {"v": 1, "kind": "alert", "text": TEMPLATE})
    node.answers("preview", PREVIEW)
    node.answers("post", posted())
    node.replies["draft_save"] = save
    node.replies["draft_delete"] = delete
    return held


def writes(text: str) -> str:
    return f"printf '{text}' > \"$1\""


def test_what_was_written_is_shown_posted_and_gone(
    node: RecordedNode, tocsin: Operator, memory: Path, editor: Editor, person: list[str], drafts: dict[str, str]
) -> None:
    editor(f'stat -c "%a %F" "$1" "$(dirname "$1")" > {memory}/modes; cat "$1" > {memory}/seen; {writes(WRITTEN)}')
    person.append("y")
    said = tocsin("new", "--to", "bka.de")
    assert said.exit == 0
    assert (memory / "seen").read_text() == TEMPLATE
    assert (memory / "modes").read_text().splitlines() == ["600 regular file", "700 directory"]
    assert sorted(path.name for path in memory.iterdir()) == ["modes", "seen"]
    assert node.asked("post")["content"] == WRITTEN
    assert node.asked("preview")["to"] == ["bka.de"]
    assert drafts == {}


def test_the_draft_is_sealed_before_anything_else_is_asked(
    node: RecordedNode, tocsin: Operator, memory: Path, editor: Editor, person: list[str], drafts: dict[str, str]
) -> None:
    editor(writes(WRITTEN))
    person.append("y")
    tocsin("new", "--to", "bka.de")
    assert [name for name, _ in node.requests] == ["new_template", "draft_save", "preview", "post", "draft_delete"]


def test_nothing_written_is_nothing_posted(
    node: RecordedNode, tocsin: Operator, memory: Path, editor: Editor, person: list[str], drafts: dict[str, str]
) -> None:
    editor("true")
    assert tocsin("new", "--to", "bka.de").exit == 130
    assert [name for name, _ in node.requests] == ["new_template"]
    assert list(memory.iterdir()) == []


def test_who_does_not_say_yes_keeps_a_draft(
    tocsin: Operator, memory: Path, editor: Editor, person: list[str], drafts: dict[str, str]
) -> None:
    editor(writes(WRITTEN))
    person.extend(["n", "n"])
    said = tocsin("new", "--to", "bka.de")
    assert said.exit == 130
    assert drafts == {DRAFT_ID: WRITTEN}
    assert f"{tocsin.program} new --draft {DRAFT_ID} --to bka.de" in said.err
    assert list(memory.iterdir()) == []


def test_what_the_node_cannot_take_goes_back_to_the_editor(
    node: RecordedNode, tocsin: Operator, memory: Path, editor: Editor, person: list[str], drafts: dict[str, str]
) -> None:
    node.replies["preview"] = lambda arguments: (
        Recorded(PREVIEW) if "better" in arguments["content"] else Recorded(EXAMPLES["error"], 65)
    )
    editor(f'if grep -q Ni "$1"; then {writes("summary: better")}; else {writes(WRITTEN)}; fi')
    person.extend(["y", "y"])
    said = tocsin("new", "--to", "bka.de")
    assert said.exit == 0
    assert EXAMPLES["error"]["error"]["problems"][0]["path"] in said.out
    assert node.asked("post")["content"] == "summary: better"
    assert drafts == {}


def test_recipients_are_asked_for_when_none_were_named(
    node: RecordedNode, tocsin: Operator, memory: Path, editor: Editor, person: list[str], drafts: dict[str, str]
) -> None:
    editor(writes(WRITTEN))
    person.extend(["bka.de, PONAL.co", "y"])
    assert tocsin("new").exit == 0
    assert node.asked("post")["to"] == ["bka.de", "ponal.co"]


def test_a_draft_is_gone_on_with(
    node: RecordedNode, tocsin: Operator, memory: Path, editor: Editor, person: list[str], drafts: dict[str, str]
) -> None:
    drafts[DRAFT_ID] = "kind: alert\nsummary: half\n"
    node.answers("draft_show", {**EXAMPLES["draft"], "text": drafts[DRAFT_ID]})
    editor('printf " done" >> "$1"')
    person.append("y")
    assert tocsin("new", "--draft", "d001", "--to", "bka.de").exit == 0
    assert node.asked("post")["content"] == "kind: alert\nsummary: half\n done"
    assert drafts == {}


def test_an_editor_that_fails_leaves_a_draft_and_no_file(
    tocsin: Operator, memory: Path, editor: Editor, person: list[str], drafts: dict[str, str]
) -> None:
    editor(f"{writes(WRITTEN)}; exit 3")
    assert tocsin("new", "--to", "bka.de").exit == 74
    assert drafts == {DRAFT_ID: WRITTEN}
    assert list(memory.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_terminal_that_closes_leaves_a_draft_and_no_file(
    tocsin: Operator, memory: Path, editor: Editor, person: list[str], drafts: dict[str, str], number: signal.Signals
) -> None:
    editor(f"{writes(WRITTEN)}; kill -{number.value} {os.getpid()}; sleep 60")
    before = signal.getsignal(number)
    with pytest.raises(SystemExit):
        tocsin("new", "--to", "bka.de")
    assert drafts == {DRAFT_ID: WRITTEN}
    assert list(memory.iterdir()) == []
    assert signal.getsignal(number) is before


def test_only_when_nothing_can_seal_it_the_text_stays_and_its_place_is_said(
    node: RecordedNode, tocsin: Operator, memory: Path, editor: Editor, person: list[str], drafts: dict[str, str]
) -> None:
    node.answers("draft_save", lost=True)
    editor(writes(WRITTEN))
    said = tocsin("new", "--to", "bka.de")
    assert said.exit == 69
    kept = [path for path in memory.rglob("*") if path.is_file()]
    assert [path.read_text() for path in kept] == [WRITTEN]
    assert str(kept[0]) in said.err
    assert kept[0].stat().st_mode & 0o777 == 0o600


def test_a_lost_answer_to_the_post_keeps_the_draft(
    node: RecordedNode, tocsin: Operator, memory: Path, editor: Editor, person: list[str], drafts: dict[str, str]
) -> None:
    node.answers("post", lost=True)
    editor(writes(WRITTEN))
    person.append("y")
    said = tocsin("new", "--to", "bka.de")
    assert said.exit == 69
    assert drafts == {DRAFT_ID: WRITTEN}
    assert list(memory.iterdir()) == []
    assert f"{tocsin.program} new --draft {DRAFT_ID} --to bka.de" in said.err
    node.answers("draft_show", {**EXAMPLES["draft"], "text": WRITTEN})
    node.answers("post", posted(repeated=True))
    editor("true")
    person.append("y")
    first = node.asked("post")
    assert tocsin("new", "--draft", DRAFT_ID, "--to", "bka.de").exit == 0
    assert node.asked("post") == first
    assert drafts == {}


def test_a_draft_is_deleted_by_the_end_of_its_id(node: RecordedNode, tocsin: Operator, drafts: dict[str, str]) -> None:
    drafts[DRAFT_ID] = WRITTEN
    node.answers("draft_show", {**EXAMPLES["draft"], "text": WRITTEN})
    assert tocsin("drafts", "delete", "d001").exit == 0
    assert drafts == {}


def test_without_a_person_there_is_no_editor(node: RecordedNode, tocsin: Operator) -> None:
    assert tocsin("new", "--to", "bka.de", "--json").json["error"]["code"] == "usage"
    assert node.requests == []


def test_an_editor_that_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for command in ("/no/such/editor", "'unbalanced"):
        monkeypatch.setenv("VISUAL", command)
        with pytest.raises(OperationError) as refused:
            edit(tmp_path / "x")
        assert refused.value.code == "io_error"


def test_a_file_never_lies_on_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.path.isdir", lambda _: False)
    with pytest.raises(OperationError):
        PrivateFile("text", ".yaml")


def test_a_directory_that_is_somebody_else_s_is_not_used(
    tmp_path: Path, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.getuid", lambda: memory.stat().st_uid + 1)
    memory.chmod(0o777)
    with PrivateFile("text", ".yaml") as file:
        assert memory not in file.path.parents
