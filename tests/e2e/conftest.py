"""Networks of real processes on loopback, each node with its own home, port and mount."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tools.testbed import Node, testbed

MakeNode = Callable[..., Node]


@pytest.fixture
def make_node(tmp_path: Path) -> Iterator[MakeNode]:
    with testbed(tmp_path) as make:
        yield make


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    """Four mounted nodes, each knowing only the one before it."""
    with testbed(tmp_path_factory.mktemp("chain")) as make:
        yield start_chain(make, 4)


def start_chain(make: MakeNode, count: int, **options: object) -> list[Node]:
    nodes: list[Node] = []
    for index in range(count):
        nodes.append(make("ABCDEFGH"[index], **options).start(*nodes[-1:]))
    for node in nodes:
        node.wait_contacts(1)
    return nodes
