"""Every test here runs on asyncio's own loop and on uvloop: the daemon may run on either."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import uvloop

from tests.nodes.transport.agencies import Agency, make_agency
from tests.nodes.transport.listening import Listening


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def tls_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="session")
def agencies(tls_directory: Path) -> Callable[[str], Agency]:
    """Agencies by id, each made once."""
    made: dict[str, Agency] = {}

    def agency(name: str) -> Agency:
        if name not in made:
            made[name] = make_agency(name, tls_directory)
        return made[name]

    return agency


@pytest.fixture
def bka(agencies: Callable[[str], Agency]) -> Agency:
    """The agency that listens."""
    return agencies("bka.de")


@pytest.fixture
def ponal(agencies: Callable[[str], Agency]) -> Agency:
    """A peer that it trusts."""
    return agencies("ponal.co")


@pytest.fixture
async def closing() -> AsyncIterator[AsyncExitStack]:
    """Closes what a test opened, last first."""
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def listening(closing: AsyncExitStack, bka: Agency, ponal: Agency) -> Listening:
    """bka.de listens and trusts ponal.co; `start` it."""
    return Listening(bka, [ponal], closing)
