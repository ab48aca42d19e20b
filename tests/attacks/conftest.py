"""A running daemon and the trusted peer that attacks it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.attacks.hostile_line import HostileLine, Unscrupulous, harming_nothing
from tests.peerkit.meeting import introduce_to, port_of
from tests.processes import Children
from tests.system.agencies import Node


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostileLine]:
    """A running daemon that trusts a peer written from the protocol alone."""
    children = Children()
    node = Node(children, tmp_path_factory.mktemp("hostile"), "bka.de", "DE")
    node.born()
    node.start()
    peer = Unscrupulous("ponal.co", "CO")
    peer.pin((node.directory / "card.tocsin").read_text(), node.code)
    try:
        with peer.listening() as port:
            peer.found_log([f"https://127.0.0.1:{port}"])
            introduce_to(node, peer)
            yield HostileLine(node, peer, port_of(node))
    finally:
        children.kill()


@pytest.fixture
def unharmed(line: HostileLine) -> Iterator[None]:
    """What must hold after every attack."""
    with harming_nothing(line):
        yield
