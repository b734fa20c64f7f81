from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfs.content.balanced import PROFILES, DagBuilder, Profile, build_file
from p2pfs.content.unixfs import parse_file
from p2pfs.content.walk import leaves
from tests.content.dags import balanced
from tests.content.vectors import VECTORS, chacha20, cut, shake

# What every run can afford; the others wait for the night.
_QUICK_BYTES = 50_000_000


def _described(vector: dict[str, Any]) -> str:
    return "-".join(str(vector[key]) for key in ("size", "chunk", "width", "cidVersion"))


def _agrees(vector: dict[str, Any]) -> None:
    profile = Profile(
        "vector", vector["chunk"], vector["width"], vector["rawLeaves"], vector["cidVersion"]
    )
    built = build_file(shake(vector["seed"], vector["size"], profile.chunk_bytes), profile)
    leaf_count = max(1, -(-vector["size"] // profile.chunk_bytes))
    assert str(built.cid) == vector["cid"]
    assert built.size == vector["size"]
    assert built.tsize == vector["dagSize"]
    assert len(built.nodes) + leaf_count == vector["puts"]


@pytest.mark.parametrize(
    "vector", [v for v in VECTORS["files"] if v["size"] < _QUICK_BYTES], ids=_described
)
def test_a_file_has_the_cid_that_npm_gives_it(vector: dict[str, Any]) -> None:
    _agrees(vector)


@pytest.mark.nightly
@pytest.mark.parametrize(
    "vector", [v for v in VECTORS["files"] if v["size"] >= _QUICK_BYTES], ids=_described
)
def test_a_large_file_has_the_cid_that_npm_gives_it(vector: dict[str, Any]) -> None:
    _agrees(vector)


@pytest.mark.parametrize(
    "vector",
    [
        pytest.param(
            vector,
            id=vector["name"],
            marks=[pytest.mark.nightly, pytest.mark.slow] if vector["size"] > 2**28 else [],
        )
        for vector in VECTORS["kubo"]
    ],
)
def test_a_file_has_the_cid_that_kubo_gives_it(vector: dict[str, Any]) -> None:
    profile = PROFILES[vector["profile"]]
    content = chacha20(vector["seed"], vector["size"], profile.chunk_bytes)
    assert str(build_file(content, profile).cid) == vector["kuboCid"]


def test_one_chunk_is_its_own_root() -> None:
    built = build_file([b"hello world"])
    assert str(built.cid) == "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
    assert (built.size, built.tsize, built.nodes) == (11, 11, ())


def test_a_builder_without_leaves_builds_the_empty_file() -> None:
    assert DagBuilder().finish() == build_file([])


@given(st.integers(0, 400), st.integers(2, 5))
@settings(max_examples=50)
def test_what_is_built_reads_back_in_order(count: int, width: int) -> None:
    content = b"".join(index.to_bytes(2, "big") for index in range(count))
    dag = balanced(content, chunk_bytes=2, width=width)
    read = b""
    for leaf in leaves(dag.root, dag.size, 0, None, dag.lookup):
        read += dag.blocks[leaf.cid]
    assert read == content


@given(st.integers(2, 400), st.integers(2, 5))
@settings(max_examples=50)
def test_every_node_but_those_on_the_right_edge_is_full(count: int, width: int) -> None:
    dag = balanced(bytes(count), chunk_bytes=1, width=width)
    profile = Profile("tiny", 1, width)
    nodes = build_file(cut(bytes(count), 1), profile).nodes
    fans = [len(parse_file(cid, block).children) for cid, block in nodes]
    height = next(h for h in range(1, 20) if width**h >= count)
    assert sum(fan < width for fan in fans) <= height
    assert nodes[-1][0] == dag.root


def test_the_builder_needs_only_hashes() -> None:
    builder = DagBuilder()
    chunks = [b"a" * 262_144, b"b" * 262_144, b"c"]
    for chunk in chunks:
        builder.add(hashlib.sha256(chunk).digest(), len(chunk))
    assert builder.finish() == build_file(chunks)
