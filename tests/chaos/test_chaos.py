"""A short run of the campaign (promises P1, P2): one arena, each kind of fault once. The long one is `make chaos`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.faults import Kind
from tests.chaos.run import Campaign, Task
from tests.power_cut import can_be_cut
from tests.processes import Children

# Of this seed each fault meets what it waits for within tenths of a second, and no sector survives the power cut.
SEED = 78404


@pytest.mark.timeout(300)
@pytest.mark.skipif(not can_be_cut(), reason="this Python's SQLite has no door for a shim: the campaign was not run")
def test_no_kind_of_fault_costs_a_message_or_shows_one_twice(children: Children, tmp_path: Path) -> None:
    verdict = Campaign(tmp_path, children, keep=True).run(Task(SEED, 0, tuple(Kind), len(Kind)))

    assert verdict["violations"] == []
    hit = {outcome["kind"] for outcome in verdict["outcomes"] if outcome["hit"]}
    assert hit == set(Kind)
    assert sum(verdict["acknowledged"].values()) > 100
    assert verdict["checkpoints"] > 20
