"""`tocsin demo` from outside; the story itself is run by `make demo`."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from nodes.cli.demonstration.agencies import DemoError
from nodes.cli.demonstration.story import CLAIMS, Story
from tests.cli.conftest import Operator


@pytest.fixture(autouse=True)
def _own_sigterm() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def _tells(monkeypatch: pytest.MonkeyPatch, *held: bool, stops: bool = False) -> None:
    def tell(story: Story) -> bool:
        story.say("Once upon a time")
        for number, kept in enumerate(held):
            story.claim(f"claim {number}", kept)
        if stops:
            raise DemoError("a node did not start")
        return all(held)

    monkeypatch.setattr(Story, "tell", tell)


def test_with_json_the_claims_are_one_object_and_the_story_is_on_standard_error(
    tocsin: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    _tells(monkeypatch, *[True] * CLAIMS)
    said = tocsin("demo", "--json")
    claims = [{"text": f"claim {number}", "held": True} for number in range(CLAIMS)]
    assert (said.exit, said.json) == (0, {"v": 1, "claims": claims, "held": CLAIMS, "of": CLAIMS})
    assert "Once upon a time" in said.err


def test_a_demo_that_cannot_go_on_has_the_same_document_and_exit_1(
    tocsin: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    _tells(monkeypatch, True, False, stops=True)
    said = tocsin("demo", "--json")
    claims = [{"text": "claim 0", "held": True}, {"text": "claim 1", "held": False}]
    assert (said.exit, said.json) == (1, {"v": 1, "claims": claims, "held": 1, "of": CLAIMS})
    assert "a node did not start" in said.err


def test_without_json_the_story_is_the_output(tocsin: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    _tells(monkeypatch, *[True] * CLAIMS)
    said = tocsin("demo")
    assert said.exit == 0
    assert "Once upon a time" in said.out
    assert f"{CLAIMS} of {CLAIMS} claims held" in said.out
    assert said.err == ""
