"""Two and three real nodes, for system tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.processes import Children
from tests.system.agencies import Node, introduce


@pytest.fixture
def make_node(children: Children, tmp_path: Path) -> Callable[[str, str], Node]:
    """Makes a node that is not started."""

    def make(agency: str, country: str) -> Node:
        node = Node(children, tmp_path, agency, country)
        node.born()
        return node

    return make


@pytest.fixture
def pair(make_node: Callable[[str, str], Node]) -> tuple[Node, Node]:
    """Two running nodes that trust each other: Colombia and Germany."""
    nodes = (make_node("ponal.co", "CO"), make_node("bka.de", "DE"))
    for node in nodes:
        node.start()
    introduce(*nodes)
    return nodes
