import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from p2pfs.addresses import Endpoint
from p2pfs.content.balanced import build_file
from p2pfs.content.cid import Cid
from p2pfs.content.directory import BuiltDirectory, build_directory
from p2pfs.errors import NoSpaceError, NotFoundError
from p2pfs.library import folders as folders_module
from p2pfs.library.folders import Folders
from p2pfs.library.ingest import Ingest
from p2pfs.library.providing import Providing
from p2pfs.store.blocks import Blocks
from p2pfs.store.catalog import open_catalog
from p2pfs.store.dags import Dags
from p2pfs.store.folders import SharedFolders
from p2pfs.store.foldershares import in_share_folder
from p2pfs.store.objects import open_objects
from p2pfs.store.provided import Provided
from p2pfs.store.share import ShareState
from p2pfs.store.shares import Shares
from tests.dht.fakes import OverlayWorld
from tests.library.kit import STILL_SECONDS, ShareFolder, identity, join, wait_until

PUBLISHED = (ShareState.PUBLISHED, "")
_CHUNK_BYTES = 262_144
_Tree = dict[str, "bytes | _Tree"]


@dataclass
class Publisher:
    world: OverlayWorld
    files: ShareFolder
    folders: Folders
    blocks: Blocks

    async def wait_cid(self, path: str, cid: Cid) -> None:
        await wait_until(lambda: self.folders.cid(os.fsencode(path)) == cid)

    def write(self, path: str, content: bytes) -> None:
        self.files.write(path, content)


@asynccontextmanager
async def open_publisher(root: Path) -> AsyncIterator[Publisher]:
    world = OverlayWorld()
    join(world, 9)
    overlay = join(world, 1)
    folder = root / "share"
    folder.mkdir(exist_ok=True)
    async with open_catalog(root / "catalog.sqlite") as catalog, trio.open_nursery() as nursery:
        shares, dags = Shares(catalog, folder), Dags(catalog)
        async with open_objects(root / "cache", catalog, dags, shares) as objects:
            providing = Providing(overlay, Provided(catalog), lambda: [Endpoint("127.0.0.1", 7001)])
            folders = Folders(folder, SharedFolders(catalog), providing, 2 * STILL_SECONDS)
            ingest = Ingest(
                in_share_folder(shares), lambda _: None, STILL_SECONDS, touched=folders.changed
            )
            blocks = Blocks(dags, shares, objects, lambda _: True, ingest.hints.changed)
            nursery.start_soon(ingest.run)
            nursery.start_soon(providing.run)
            nursery.start_soon(folders.run, ingest.scanned)
            await ingest.scanned.wait()
            yield Publisher(world, ShareFolder(shares, ingest), folders, blocks)
            nursery.cancel_scope.cancel()


def tree(entries: _Tree) -> BuiltDirectory:
    """The directory that `ipfs add` makes of these files."""
    built = []
    for name, below in entries.items():
        if isinstance(below, dict):
            child = tree(below)
            built.append((name, child.cid, child.tsize))
        else:
            cuts = [below[at : at + _CHUNK_BYTES] for at in range(0, len(below), _CHUNK_BYTES)]
            file = build_file(cuts)
            built.append((name, file.cid, file.tsize))
    return build_directory(built)


async def test_a_tree_has_the_cids_of_all_its_directories(tmp_path: Path) -> None:
    disc: _Tree = {"song.mp3": bytes(300_000), "cover.png": b"png"}
    async with open_publisher(tmp_path) as node:
        (tmp_path / "share" / "album" / "empty").mkdir(parents=True)
        node.write("album/disc 1/song.mp3", bytes(300_000))
        node.write("album/disc 1/cover.png", b"png")
        node.write("album/notes.txt", b"")
        node.write("album/.hidden", b"nobody's")
        (tmp_path / "share" / "album" / "link").symlink_to("notes.txt")
        await node.wait_cid("album", tree({"disc 1": disc, "notes.txt": b"", "empty": {}}).cid)
        assert node.folders.cid(b"album/disc 1") == tree(disc).cid
        assert node.folders.cid(b"album/empty") == tree({}).cid
        await wait_until(lambda: node.folders.state(b"album") == PUBLISHED)
        providers = node.world.providers[tree(disc).cid.multihash]
        assert list(providers) == [identity(1).public_key]


async def test_a_directory_is_served_only_while_it_is_that(tmp_path: Path) -> None:
    one, both = tree({"a": b"a"}), tree({"a": b"a", "b": b"b"})
    async with open_publisher(tmp_path) as node:
        node.write("d/a", b"a")
        await node.wait_cid("d", one.cid)
        assert await node.blocks.read(one.cid) == one.block
        node.write("d/b", b"b")
        assert node.folders.cid(b"d") is None
        await node.wait_cid("d", both.cid)
        assert await node.blocks.read(both.cid) == both.block
        with pytest.raises(NotFoundError):
            await node.blocks.read(one.cid)
        assert await node.blocks.held(one.cid) is None


async def test_a_full_disk_ends_nothing_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[bytes] = []

    async def refuse(_: SharedFolders, paths: Iterable[bytes]) -> None:
        refused.extend(paths)
        await trio.lowlevel.checkpoint()
        raise NoSpaceError("the disk that holds the catalogue is full")

    monkeypatch.setattr(folders_module, "_RETRY_SECONDS", STILL_SECONDS)
    async with open_publisher(tmp_path) as node:
        node.write("d/a", b"a")
        await node.wait_cid("d", tree({"a": b"a"}).cid)
        with monkeypatch.context() as full:
            full.setattr(SharedFolders, "remove", refuse)
            node.write("d/b", b"b")
            await wait_until(lambda: refused.count(b"d") > 2)
            assert node.folders.cid(b"d") is None
        await node.wait_cid("d", tree({"a": b"a", "b": b"b"}).cid)


async def test_a_renamed_directory_is_the_same_under_its_new_name(tmp_path: Path) -> None:
    built = tree({"a": b"a", "below": {"b": b"b"}})
    async with open_publisher(tmp_path) as node:
        node.write("old/a", b"a")
        node.write("old/below/b", b"b")
        await node.wait_cid("old", built.cid)
        before = await node.files.wait_share("old/below/b")
        node.files.rename("old", "new")
        await node.wait_cid("new", built.cid)
        assert node.folders.cid(b"old") is None
        assert (await node.files.wait_share("new/below/b")).hash_seconds == before.hash_seconds


async def test_after_a_restart_what_changed_meanwhile_is_built_anew(tmp_path: Path) -> None:
    async with open_publisher(tmp_path) as node:
        for path in ("same/a", "other/a", "gone/a"):
            node.write(path, b"a")
        for path in ("same", "other", "gone"):
            await node.wait_cid(path, tree({"a": b"a"}).cid)
    (tmp_path / "share/other/more").mkdir()
    (tmp_path / "share/gone/a").unlink()
    (tmp_path / "share/gone").rmdir()
    async with open_publisher(tmp_path) as node:
        await node.wait_cid("same", tree({"a": b"a"}).cid)
        await node.wait_cid("other", tree({"a": b"a", "more": {}}).cid)
        assert node.folders.cid(b"gone") is None


async def test_a_name_that_is_not_utf8_is_left_out_and_said(tmp_path: Path) -> None:
    async with open_publisher(tmp_path) as node:
        node.write("d/a", b"a")
        (tmp_path / "share/d").joinpath(os.fsdecode(b"\xff.txt")).write_bytes(b"odd")
        node.files.ingest.hints.changed(b"d/\xff.txt")
        reason = "without 1 entries whose names are not UTF-8"
        await wait_until(lambda: node.folders.state(b"d") == (ShareState.PUBLISHED, reason))
        assert node.folders.cid(b"d") == tree({"a": b"a"}).cid


async def test_what_is_excluded_has_no_content_id(tmp_path: Path) -> None:
    async with open_publisher(tmp_path) as node:
        (tmp_path / "share" / "d").mkdir()
        (tmp_path / "share/d/.p2pfsignore").write_bytes(b"build/\n")
        node.write("d/build/x", b"x")
        node.write("d/a", b"a")
        await node.wait_cid("d", tree({"a": b"a"}).cid)
        ignored = ShareState.IGNORED, "named in .p2pfsignore"
        await wait_until(lambda: node.folders.state(b"d/build") == ignored)


@pytest.mark.nightly
async def test_a_directory_of_ten_thousand_entries_is_sharded_and_served_whole(
    tmp_path: Path,
) -> None:
    names = [f"{index:05} empty" for index in range(10_000)]
    built = tree(dict.fromkeys(names, b""))
    for name in names:
        path = tmp_path / "share" / "many" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with trio.fail_after(120):
        async with open_publisher(tmp_path) as node:
            while node.folders.cid(b"many") != built.cid:  # noqa: ASYNC110 as `wait_until`
                await trio.sleep(0.05)
            assert built.parts
            for cid, block in built.parts:
                assert await node.blocks.read(cid) == block
