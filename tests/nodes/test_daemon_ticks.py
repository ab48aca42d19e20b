"""What time alone brings goes on whatever fails meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nodes.daemon
from keys.errors import KeyFileError, KeyFileProblem
from nodes.config import parse_config
from nodes.daemon import Daemon
from nodes.directory import layout_of
from nodes.errors import DiskFullError, FatalError

CONFIG = {"agency": "bka.de", "name": "BKA", "country": "DE", "listen": "none", "case_prefix": "DE-BKA"}


class Part:
    """Stands for store, node and generations: counts what is asked of it, and fails the first time."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.calls = 0
        self.again = asyncio.Event()

    def _called(self) -> None:
        self.calls += 1
        error, self.error = self.error, None
        if error is not None:
            raise error
        self.again.set()

    async def sizes(self) -> tuple[int, int]:
        self._called()
        return 0, 1_000_000

    async def tick(self) -> None:
        self._called()

    async def keep_keys(self) -> None:
        self._called()


@pytest.fixture
def make_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A daemon that only ticks, fast."""
    monkeypatch.setattr(nodes.daemon, "TICK_S", 0)

    def make(**parts: Part) -> Any:
        daemon: Any = Daemon(layout_of(tmp_path), parse_config(CONFIG, path="test"), "")
        for name in ("store", "node", "generations"):
            setattr(daemon, f"_{name}", parts.get(name) or Part())
        return daemon

    return make


@pytest.mark.parametrize(
    ("part", "error"),
    [
        ("node", DiskFullError()),
        ("generations", KeyFileError("epoch-7.key", KeyFileProblem.IO)),
        ("store", OSError(5, "no answer from the disk")),
    ],
    ids=["disk_full", "key_file", "statvfs"],
)
async def test_a_tick_that_fails_is_followed_by_the_next_one(
    make_daemon: Callable[..., Any], part: str, error: Exception
) -> None:
    failing = Part(error)
    daemon = make_daemon(**{part: failing})

    ticking = asyncio.create_task(daemon._ticking())
    async with asyncio.timeout(10):
        await failing.again.wait()
        await daemon._generations.again.wait()

    assert daemon._free_bytes == 1_000_000
    assert not ticking.done()
    ticking.cancel()


async def test_an_unknown_state_of_the_store_ends_the_ticking_and_the_process(make_daemon: Callable[..., Any]) -> None:
    daemon = make_daemon(node=Part(FatalError("COMMIT failed")))

    async with asyncio.timeout(10):
        await daemon._ticking()

    assert daemon._stopping.is_set()
