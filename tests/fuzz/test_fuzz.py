"""Every parser that meets outside bytes takes any: the committed inputs, and the same few thousand changes of them."""

from __future__ import annotations

import pytest

from tests.fuzz import seeds
from tests.fuzz.mutations import mutated
from tests.fuzz.targets import CORPUS, TARGETS, inputs

MAX_CORPUS_BYTES = 600_000


@pytest.mark.parametrize("name", TARGETS)
def test_every_committed_input_is_taken_or_refused(name: str) -> None:
    for data in inputs(name).values():
        TARGETS[name].check(data)


@pytest.mark.parametrize("name", TARGETS)
def test_something_is_taken(name: str) -> None:
    """A target that refuses all it begins with would find nothing behind its first check."""
    assert any(TARGETS[name].check(data) for data in inputs(name).values())


@pytest.mark.parametrize("name", TARGETS)
def test_changed_inputs_are_taken_or_refused(name: str) -> None:
    target, found = TARGETS[name], inputs(name)
    each = -(-target.executions // len(found))
    for file, data in found.items():
        for changed in mutated(f"{name}/{file}", data, tuple(found.values()), each):
            target.check(changed)


def test_the_seeds_are_what_the_generator_makes() -> None:
    committed = {path: path.read_bytes() for path in CORPUS.glob(f"*/{seeds.PREFIX}*")}
    assert committed == seeds.files()


def test_the_corpus_stays_small() -> None:
    assert sum(path.stat().st_size for path in CORPUS.glob("*/*")) <= MAX_CORPUS_BYTES
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
