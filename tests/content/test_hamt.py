from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfs.content import hamt
from p2pfs.content.balanced import DEFAULT_PROFILE
from p2pfs.content.cid import DAG_PB, Cid, cid_of, raw_cid
from p2pfs.content.dag_pb import Link, encode_node
from p2pfs.content.hamt import ROOT, Below, Gathering, Way, build_shards, checked_part, find
from p2pfs.content.murmur3 import murmur3_x64_64
from p2pfs.content.unixfs import Entry, ShardNode, parse_block
from p2pfs.errors import MalformedError

_CID = raw_cid(bytes(32))
_NODE = cid_of(DAG_PB, b"")
_FANOUT_256 = bytes.fromhex("2822308002")
_NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1).filter(
    lambda name: name not in (".", "..")
)


def _shards(names: list[str]) -> tuple[Cid, dict[Cid, bytes]]:
    links = [Link(_CID, name.encode(), len(name)) for name in names]
    built = build_shards(links, DEFAULT_PROFILE)
    return built.shards[-1][0], dict(built.shards)


def _parsed(cid: Cid, blocks: dict[Cid, bytes]) -> ShardNode:
    node = parse_block(cid, blocks[cid])
    assert isinstance(node, ShardNode)
    return node


def _listed(root: Cid, blocks: dict[Cid, bytes]) -> tuple[Entry, ...]:
    gathering = Gathering()
    shard = _parsed(root, blocks)
    due = gathering.add(shard, ROOT)
    while due:
        below = due.pop()
        due += gathering.add(checked_part(_parsed(below.cid, blocks), shard), below.way)
    return gathering.entries()


def _found(root: Cid, blocks: dict[Cid, bytes], name: str) -> tuple[Entry | None, int]:
    """The entry, and how many shards were looked at."""
    step = find(_parsed(root, blocks), ROOT, name)
    for met in count(1):
        if not isinstance(step, Below):
            return step, met
        step = find(_parsed(step.cid, blocks), step.way, name)
    raise AssertionError


def _block(links: list[tuple[bytes, Cid]], field: str, rest: bytes = _FANOUT_256) -> bytes:
    raw = bytes.fromhex(field)
    message = bytes((8, 5, 0x12, len(raw))) + raw + rest
    return encode_node([Link(cid, name, 1) for name, cid in links], message)


def _colliding(bits: int) -> tuple[str, str]:
    """Two names whose hashes begin with the same bits."""
    seen: dict[int, str] = {}
    for index in count():
        name = f"n{index}"
        begin = murmur3_x64_64(name.encode()) >> (64 - bits)
        if begin in seen:
            return seen[begin], name
        seen[begin] = name
    raise AssertionError


@given(st.sets(_NAMES, max_size=40))
def test_what_is_built_is_found_and_listed_whole(names: set[str]) -> None:
    root, blocks = _shards(sorted(names))
    assert [entry.name for entry in _listed(root, blocks)] == sorted(names, key=str.encode)
    for name in names:
        assert _found(root, blocks, name)[0] == Entry(name, _CID, len(name))
    assert _found(root, blocks, "not there, whatever" * 9)[0] is None


def test_a_lookup_meets_only_the_shards_on_its_way() -> None:
    root, blocks = _shards([f"file-{index}" for index in range(6_000)])
    assert len(blocks) > 400
    assert max(_found(root, blocks, f"file-{index}")[1] for index in range(100)) <= 4


def test_names_that_begin_alike_go_deep() -> None:
    names = _colliding(24)
    root, blocks = _shards(list(names))
    assert len(blocks) == 4
    assert {entry.name for entry in _listed(root, blocks)} == set(names)


def test_a_name_that_is_no_text_is_not_found() -> None:
    root, blocks = _shards(["a"])
    assert _found(root, blocks, "\udcff")[0] is None


def test_one_hash_twice_is_not_built() -> None:
    with pytest.raises(MalformedError, match="one hash"):
        build_shards([Link(_CID, b"a", 1)] * 2, DEFAULT_PROFILE)


@pytest.mark.parametrize(
    "block",
    [
        _block([(b"00a", _CID)], "01", b""),  # neither hash nor fanout
        _block([(b"00a", _CID)], "01", bytes.fromhex("2812308002")),  # another hash
        _block([(b"0a", _CID)], "01", bytes.fromhex("28223004")),  # four places
        _block([(b"00a", _CID)], "01", bytes.fromhex("28223081 02")),
        _block([(b"000a", _CID)], "01", bytes.fromhex("2822308010")),  # 2,048 places
        _block([(b"00a", _CID)], ""),  # a bit field that says otherwise
        _block([(b"00a", _CID)], "03"),
        _block([(b"01a", _CID), (b"00a", _CID)], "03"),  # out of order
        _block([(b"00a", _CID), (b"00b", _CID)], "01"),
        _block([(b"0a", _CID)], "0400"),  # small letters
        _block([(b"0", _CID)], "01"),
        _block([(b"-1a", _CID)], "01"),
        _block([(b"+1a", _CID)], "02"),
        _block([(b" 1a", _CID)], "02"),
        _block([(b"Ga", _CID)], "01"),
        _block([(b"00..", _CID)], "01"),  # names that no directory can have
        _block([(b"00a/b", _CID)], "01"),
        _block([(b"00\xff", _CID)], "01"),
        _block([(b"8a", _CID)], "0100", bytes.fromhex("28223008")),  # eight places, the ninth taken
    ],
)
def test_a_shard_that_does_not_add_up_is_refused(block: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_block(_NODE, block)


@given(st.lists(st.tuples(st.binary(max_size=6), st.just(_CID))), st.binary(max_size=33))
def test_any_other_shard_is_read_or_refused(links: list[tuple[bytes, Cid]], field: bytes) -> None:
    try:
        node = parse_block(_NODE, _block(links, field.hex()))
    except MalformedError:
        return
    assert isinstance(node, ShardNode)
    assert len(node.children) == len(links)


def test_a_width_other_than_256_is_read_by_its_own_bits() -> None:
    index = murmur3_x64_64(b"a") >> 61
    links = [(b"%Xa" % index, _CID)]
    node = parse_block(_NODE, _block(links, f"{1 << index:02x}", bytes.fromhex("28223008")))
    assert isinstance(node, ShardNode)
    assert find(node, ROOT, "a") == Entry("a", _CID, 1)
    assert Gathering().add(node, ROOT) == []


def _shard(*children: tuple[int, Entry | Cid], size: int = 100) -> ShardNode:
    return ShardNode(256, dict(children), size)


def test_a_name_where_its_hash_does_not_lead_is_refused() -> None:
    index = murmur3_x64_64(b"a") >> 56
    entry = Entry("a", _CID, 1)
    assert Gathering().add(_shard((index, entry)), ROOT) == []
    with pytest.raises(MalformedError, match="hash leads"):
        Gathering().add(_shard((index ^ 1, entry)), ROOT)
    second = murmur3_x64_64(b"a") >> 48 & 255
    assert Gathering().add(_shard((second, entry)), Way(8, index)) == []
    with pytest.raises(MalformedError, match="hash leads"):
        Gathering().add(_shard((second, entry)), Way(8, index ^ 1))


def test_a_shared_shard_and_an_empty_one_and_one_of_another_width_are_refused() -> None:
    with pytest.raises(MalformedError, match="twice"):
        Gathering().add(_shard((0, _NODE), (1, _NODE)), ROOT)
    root = _shard((0, _NODE))
    with pytest.raises(MalformedError, match="no shard"):
        checked_part(_shard(), root)
    with pytest.raises(MalformedError, match="no shard"):
        checked_part(replace(root, fanout=8), root)
    with pytest.raises(MalformedError, match="no shard"):
        checked_part(parse_block(_CID, b""), root)


def test_a_shard_below_the_end_of_the_hash_is_refused() -> None:
    too_deep = Way(64, murmur3_x64_64(b"a"))
    with pytest.raises(MalformedError, match="deeper"):
        find(_shard((0, _NODE)), too_deep, "a")
    with pytest.raises(MalformedError, match="deeper"):
        Gathering().add(_shard((0, _NODE)), too_deep)


def test_a_listing_is_bounded_in_bytes_entries_and_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    gathering = Gathering()
    gathering.add(_shard(size=hamt.MAX_LISTED_BYTES), ROOT)
    with pytest.raises(MalformedError, match="bytes"):
        gathering.add(_shard(size=1), ROOT)
    monkeypatch.setattr(hamt, "MAX_DIRECTORY_LINKS", 2)
    parts = [cid_of(DAG_PB, bytes((index,))) for index in range(3)]
    assert len(Gathering().add(_shard(*enumerate(parts[:2])), ROOT)) == 2
    with pytest.raises(MalformedError, match="more than 2"):
        Gathering().add(_shard(*enumerate(parts)), ROOT)
    root, blocks = _shards(["a", "b", "c"])
    with pytest.raises(MalformedError, match="more than 2"):
        _listed(root, blocks)
