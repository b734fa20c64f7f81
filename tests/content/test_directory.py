from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfs.content.balanced import (
    DEFAULT_PROFILE,
    NO_ATTRIBUTES,
    PROFILES,
    Attributes,
    BuiltDag,
    build_file,
)
from p2pfs.content.cid import Cid, cid_of, raw_cid
from p2pfs.content.directory import BuiltDirectory, build_directory
from p2pfs.content.hamt import ROOT, Gathering, checked_part
from p2pfs.content.unixfs import DirectoryNode, ShardNode, parse_block
from p2pfs.errors import MalformedError
from tests.content.vectors import VECTORS, shake

_CHUNK_BYTES = 262_144
_CID = raw_cid(bytes(32))
_Tree = dict[str, "BuiltDag | _Tree"]


def _file(entry: dict[str, Any]) -> BuiltDag:
    attributes = Attributes(entry.get("mode"), entry.get("mtime"), entry.get("nsecs", 0))
    return build_file(
        shake(entry["seed"], entry["size"], _CHUNK_BYTES),
        attributes=NO_ATTRIBUTES if attributes == Attributes() else attributes,
    )


def _build(tree: _Tree, path: str, results: dict[str, Cid]) -> BuiltDirectory:
    entries = []
    for name, child in tree.items():
        below = f"{path}/{name}".strip("/")
        built = _build(child, below, results) if isinstance(child, dict) else child
        results[below] = built.cid
        entries.append((name, built.cid, built.tsize))
    built = build_directory(entries)
    node = parse_block(built.cid, built.block)
    assert isinstance(node, DirectoryNode)
    assert sorted(map(tuple, node.entries)) == sorted(entries)
    results[path] = built.cid
    return built


@pytest.mark.parametrize(
    "vector", [v for v in VECTORS["dirs"] if "results" in v], ids=lambda v: v["desc"]
)
def test_a_tree_has_the_cids_that_npm_gives_it(vector: dict[str, Any]) -> None:
    tree: _Tree = {}
    for entry in vector["entries"]:
        *folders, name = entry["path"].split("/")
        inside = tree
        for folder in folders:
            inside = inside.setdefault(folder, {})  # type: ignore[assignment]
        inside[name] = _file(entry) if "seed" in entry else {}
    results: dict[str, Cid] = {}
    built = _build(tree, "", results)
    assert str(built.cid) == vector["cid"]
    assert built.tsize == vector["dagSize"]
    for path, cid in vector["results"]:
        assert str(results[path]) == cid


def test_a_thousand_files_have_the_cid_that_npm_gives_them() -> None:
    vector = VECTORS["dirs"][3]
    built = build_file(shake("same", 10, _CHUNK_BYTES))
    entries = [(f"file-{index}.txt", built.cid, built.tsize) for index in range(1_000)]
    directory = build_directory(entries)
    assert str(directory.cid) == vector["cid"]
    assert directory.tsize == vector["dagSize"]
    node = parse_block(directory.cid, directory.block)
    assert isinstance(node, DirectoryNode)
    assert sorted(map(tuple, node.entries)) == sorted(entries)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b", "\udcff"])
def test_what_could_not_be_read_is_not_built(name: str) -> None:
    with pytest.raises(MalformedError):
        build_directory([("fine", _CID, 1), (name, _CID, 1)])


def test_one_name_twice_is_not_built() -> None:
    with pytest.raises(MalformedError, match="twice"):
        build_directory([("a", _CID, 1), ("a", _CID, 2)])


@pytest.mark.parametrize("vector", VECTORS["dirs"][4:], ids=lambda v: v["shardSplitStrategy"])
def test_six_thousand_files_are_sharded_as_npm_does(vector: dict[str, Any]) -> None:
    by_block = vector["shardSplitStrategy"] == "block-bytes"
    profile = replace(DEFAULT_PROFILE, shards_by_block=by_block)
    built = build_file(shake("same", 10, _CHUNK_BYTES))
    entries = [(f"file-{index}.txt", built.cid, built.tsize) for index in range(6_000)]
    directory = build_directory(entries, profile)
    assert str(directory.cid) == vector["cid"]
    assert directory.tsize == vector["dagSize"]
    assert directory.parts
    parts, gathering = dict(directory.parts), Gathering()
    root = parse_block(directory.cid, directory.block)
    assert isinstance(root, ShardNode)
    due = gathering.add(root, ROOT)
    while due:
        below = due.pop()
        due += gathering.add(
            checked_part(parse_block(below.cid, parts[below.cid]), root), below.way
        )
    assert sorted(map(tuple, gathering.entries())) == sorted(entries)


def test_what_ipfs_would_shard_is_sharded_and_nothing_else() -> None:
    entries = [(f"{index:05}", _CID, 1) for index in range(6_400)]  # 41 bytes of name and CID each
    by_block = PROFILES["unixfs-v1-2025"]
    assert build_directory(entries[:6_394]).parts
    assert not build_directory(entries[:6_393]).parts
    fitting = (262_144 - 4) // 49  # each link is framed by eight bytes more
    assert build_directory(entries[: fitting + 1], by_block).parts
    assert not build_directory(entries[:fitting], by_block).parts


def test_the_empty_directory_of_version_0_is_the_one_that_all_know() -> None:
    built = build_directory([], PROFILES["unixfs-v0-2015"])
    assert str(built.cid) == "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"


@given(
    st.dictionaries(st.text(min_size=1).filter(lambda name: name not in (".", "..")), st.binary())
)
def test_a_directory_reads_back_sorted_by_utf8(files: dict[str, bytes]) -> None:
    entries = [(name, cid_of(0x55, content), len(content)) for name, content in files.items()]
    try:
        directory = build_directory(entries)
    except MalformedError:
        assert any(bad in name for name in files for bad in "/\0" + "".join(_lone_surrogates(name)))
        return
    node = parse_block(directory.cid, directory.block)
    assert isinstance(node, DirectoryNode)
    assert [tuple(entry) for entry in node.entries] == sorted(entries, key=lambda e: e[0].encode())


def _lone_surrogates(name: str) -> list[str]:
    return [character for character in name if "\ud800" <= character <= "\udfff"]
