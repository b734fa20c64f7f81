from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfs.content.cid import DAG_PB, MAX_BLOCK_BYTES, RAW, Cid, cid_of, parse_cid, raw_cid
from p2pfs.content.unixfs import FileNode, parse_file
from p2pfs.content.walk import MAX_DEPTH, Gap, Leaf, Want, leaves, walk
from p2pfs.errors import MalformedError
from tests.content.dags import Dag, balanced, file_block, trickle, wants

_CONTENT = bytes(index * 7 % 251 for index in range(997))
_LAYOUTS = {"balanced": balanced(_CONTENT), "trickle": trickle(_CONTENT)}
_POINTS = st.integers(0, len(_CONTENT) + 20)


@pytest.fixture(params=_LAYOUTS)
def dag(request: pytest.FixtureRequest) -> Dag:
    return _LAYOUTS[request.param]


def _read(dag: Dag, start: int, stop: int | None) -> bytes:
    """What a reader makes of a range, each leaf cut to what was asked for."""
    content = b""
    end = dag.size if stop is None else stop
    for leaf in leaves(dag.root, dag.size, start, stop, dag.lookup):
        assert isinstance(leaf, Leaf)
        assert leaf.framed == (leaf.cid.codec == DAG_PB)
        block = dag.blocks[leaf.cid]
        first = max(start, leaf.start)
        last = min(end, leaf.stop)
        assert first < last
        content += block[leaf.data_at + first - leaf.start : leaf.data_at + last - leaf.start]
    return content


@given(st.sampled_from(sorted(_LAYOUTS)), _POINTS, st.one_of(st.none(), _POINTS))
def test_any_range_of_any_layout_reads_right(layout: str, start: int, stop: int | None) -> None:
    assert _read(_LAYOUTS[layout], start, stop) == _CONTENT[start:stop]


@given(st.sampled_from(sorted(_LAYOUTS)), _POINTS, _POINTS)
def test_a_walk_asks_for_the_overlapping_blocks_in_preorder(
    layout: str, start: int, stop: int
) -> None:
    dag = _LAYOUTS[layout]
    everything = wants(dag, 0, None)
    root, *others = everything
    expected = [
        want
        for want in others
        if want.stop is not None and max(start, want.start) < min(stop, want.stop)
    ]
    assert wants(dag, start, stop) == [root, *expected]
    assert wants(dag, start, stop, dag.size)[1:] == expected


def test_a_walk_from_the_middle_leaves_out_the_content_before(dag: Dag) -> None:
    assert all(want.stop is None or want.stop > 500 for want in wants(dag, 500, 501))
    assert len(wants(dag, 500, 501)) < 9


def test_the_root_comes_even_for_an_empty_range(dag: Dag) -> None:
    for start, stop in ((5, 5), (9, 3), (2_000, 2_100), (2_000, None)):
        assert wants(dag, start, stop) == [Want(dag.root, 0, None)]
        assert list(leaves(dag.root, dag.size, start, stop, dag.lookup)) == []


def test_a_raw_root_is_the_only_block() -> None:
    dag = balanced(b"short")
    assert wants(dag, 0, None) == [Want(dag.root, 0, None)]
    assert wants(dag, 0, None, 5) == [Want(dag.root, 0, 5)]
    assert list(leaves(dag.root, 5, 1, 2, dag.lookup)) == [Leaf(dag.root, 0, 5, 0, framed=False)]
    assert dag.met == []


def test_the_empty_file_has_a_root_and_no_leaves() -> None:
    dag = balanced(b"")
    assert wants(dag, 0, None, 0) == [Want(dag.root, 0, 0)]
    assert list(leaves(dag.root, 0, 0, None, dag.lookup)) == []


def test_an_unknown_node_is_a_gap_and_what_follows_is_still_found() -> None:
    dag = balanced(_CONTENT)
    hidden = parse_file(dag.root, dag.blocks[dag.root]).children[0].cid
    blocks = {cid: block for cid, block in dag.blocks.items() if cid != hidden}
    some = Dag(dag.root, dag.size, blocks)
    gap, *rest = leaves(dag.root, dag.size, 0, None, some.lookup)
    assert isinstance(gap, Gap)
    assert (gap.cid, gap.start, gap.stop) == (hidden, 0, rest[0].start)
    assert rest == list(leaves(dag.root, dag.size, gap.stop, None, dag.lookup))
    nothing = Dag(dag.root, dag.size)
    assert list(leaves(dag.root, dag.size, 0, None, nothing.lookup)) == [Gap(dag.root, 0, dag.size)]


def test_a_cid_that_carries_its_node_is_not_looked_up() -> None:
    inner = file_block(b"abc", [])
    inline = parse_cid("f0170" + bytes((0, len(inner))).hex() + inner.hex())
    block = file_block(b"", [(inline, 3), (parse_cid("bafkqaaa"), 0)])
    dag = Dag(cid_of(DAG_PB, block), 3, {cid_of(DAG_PB, block): block})
    [leaf] = leaves(dag.root, 3, 0, None, dag.lookup)
    assert leaf == Leaf(inline, 0, 3, inner.index(b"abc"), framed=True)
    assert dag.met == [dag.root]


def test_a_small_range_of_a_huge_file_costs_its_path() -> None:
    # Every node is the same: 1,024 children, each a shared subtree, 2^60 bytes in all.
    leaf = raw_cid(bytes(32))
    cid, size = leaf, 2**20
    nodes: dict[Cid, FileNode] = {}
    blocks = 0
    for _ in range(4):
        block = file_block(b"", [(cid, size)] * 1_024)
        cid, size = cid_of(DAG_PB, block), size * 1_024
        nodes[cid] = parse_file(cid, block)
    started = time.process_time()
    for found in leaves(cid, size, 2**59, 2**59 + 5 * 2**20, nodes.get):
        assert isinstance(found, Leaf)
        blocks += 1
    assert blocks == 5
    assert time.process_time() - started < 0.1


def _lying(parent_says: int, child_is: bytes) -> Dag:
    child = file_block(child_is, [])
    root = file_block(b"", [(cid_of(DAG_PB, child), parent_says)])
    cids = cid_of(DAG_PB, root), cid_of(DAG_PB, child)
    return Dag(cids[0], parent_says, dict(zip(cids, (root, child), strict=True)))


def test_a_child_of_another_size_than_its_parent_says_is_refused() -> None:
    for says in (2, 4):
        dag = _lying(says, b"abc")
        with pytest.raises(MalformedError, match="bytes where"):
            wants(dag, 0, None)
        with pytest.raises(MalformedError):
            list(leaves(dag.root, dag.size, 0, None, dag.lookup))
    assert len(wants(_lying(3, b"abc"), 0, None)) == 2


def test_a_root_of_another_size_than_was_announced_is_refused(dag: Dag) -> None:
    with pytest.raises(MalformedError):
        wants(dag, 0, None, dag.size + 1)
    with pytest.raises(MalformedError):
        next(leaves(dag.root, dag.size - 1, 0, None, dag.lookup))


def test_a_raw_root_of_an_impossible_size_is_refused() -> None:
    with pytest.raises(MalformedError):
        next(walk(cid_of(RAW, b""), MAX_BLOCK_BYTES + 1, 0, None))


def _chain(depth: int) -> Dag:
    blocks: dict[Cid, bytes] = {}
    cid, content = raw_cid(bytes(32)), 7
    for _ in range(depth):
        block = file_block(b"", [(cid, content)])
        cid = cid_of(DAG_PB, block)
        blocks[cid] = block
    return Dag(cid, content, blocks)


def test_a_file_is_at_most_32_blocks_deep() -> None:
    assert len(wants(_chain(MAX_DEPTH), 0, None)) == MAX_DEPTH + 1
    for depth in (MAX_DEPTH + 1, 500):
        with pytest.raises(MalformedError, match="deep"):
            wants(_chain(depth), 0, None)


def test_shared_subtrees_do_not_make_endless_work() -> None:
    # Six blocks that stand for 10^18 bytes, one byte a leaf.
    leaf = parse_cid("f01550001" + "61")
    cid, size = leaf, 1
    nodes: dict[Cid, FileNode] = {}
    for _ in range(6):
        block = file_block(b"", [(cid, size)] * 1_000)
        cid, size = cid_of(DAG_PB, block), size * 1_000
        nodes[cid] = parse_file(cid, block)
    started = time.process_time()
    with pytest.raises(MalformedError, match="blocks"):
        for _ in leaves(cid, size, 0, 2**20, nodes.get):
            pass
    assert time.process_time() - started < 2


@given(st.integers(0, 2_000), st.integers(0, 255))
@settings(max_examples=200)
def test_a_wrong_byte_in_a_node_is_refused_or_harmless(at: int, byte: int) -> None:
    dag = balanced(_CONTENT[:300])
    node = bytearray(dag.blocks[dag.root])
    node[at % len(node)] = byte
    root = cid_of(DAG_PB, node)
    broken = Dag(root, dag.size, dag.blocks | {root: bytes(node)})
    covered = 0
    try:
        for leaf in leaves(root, dag.size, 0, None, broken.lookup):
            assert leaf.start == covered
            covered = leaf.stop
    except MalformedError:
        return
    assert covered == dag.size


def test_a_leaf_costs_microseconds() -> None:
    chunk = 2**18
    raw = file_block(b"", [(raw_cid(bytes(32)), chunk)] * 174)
    inner = cid_of(DAG_PB, raw)
    root = file_block(b"", [(inner, 174 * chunk)] * 174)
    top = cid_of(DAG_PB, root)
    nodes = {inner: parse_file(inner, raw), top: parse_file(top, root)}
    started = time.process_time()
    count = sum(1 for _ in leaves(top, 174 * 174 * chunk, 0, None, nodes.get))
    spent = time.process_time() - started
    assert count == 174 * 174
    assert spent / count < 30e-6  # 2 µs, with room for a busy machine
