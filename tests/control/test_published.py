"""What is asked about published paths: in share/ and elsewhere, by path and by content id."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from p2pfs.control import published as published_module
from p2pfs.control.asked import PublishedPath, ToAwait, ToPublish, ToUnpublish
from p2pfs.control.calls import Nothing
from p2pfs.control.published import Published
from p2pfs.errors import NoPeersError, NotFoundError, RefusedError, UsageError
from p2pfs.library.elsewhere import Elsewhere
from p2pfs.library.folders import Folders
from p2pfs.library.ingest import Ingest
from p2pfs.library.providing import Providing
from p2pfs.library.publishing import Publishing
from p2pfs.library.rounds import NO_PEERS
from p2pfs.library.standing import Place
from p2pfs.store.catalog import open_catalog
from p2pfs.store.folders import SharedFolders
from p2pfs.store.foldershares import in_share_folder
from p2pfs.store.provided import Provided
from p2pfs.store.publications import Publications
from p2pfs.store.share import ShareState
from p2pfs.store.shares import Shares
from tests.dht.fakes import OverlayWorld
from tests.library.kit import STILL_SECONDS, join, wait_until

MOUNT = Path("/mnt/p2p/share")


@asynccontextmanager
async def open_published(root: Path) -> AsyncIterator[Published]:
    """A node that nobody hears: its files stay on their way to others."""
    share, outside = root / "share", root / "outside"
    share.mkdir()
    outside.mkdir()
    async with open_catalog(root / "catalog.sqlite") as catalog, trio.open_nursery() as nursery:
        shares = Shares(catalog, share)
        providing = Providing(join(OverlayWorld(), 1), Provided(catalog), list)
        folders = Folders(share, SharedFolders(catalog), providing, 2 * STILL_SECONDS)
        rows = in_share_folder(shares)
        ingest = Ingest(rows, lambda _: None, STILL_SECONDS, touched=folders.changed)

        def changed(_: object) -> None:
            pass

        open_place = partial(
            Elsewhere, catalog, shares, providing, changed, still_seconds=STILL_SECONDS
        )
        publishing = Publishing(Publications(catalog), open_place, changed, lambda _: None, nursery)
        await publishing.start()
        nursery.start_soon(ingest.run)
        nursery.start_soon(folders.run, ingest.scanned)
        await ingest.scanned.wait()
        yield Published(publishing, shares, Place(rows, ingest, folders), [share, MOUNT])
        nursery.cancel_scope.cancel()


async def publish(node: Published, path: Path, *tags: str) -> PublishedPath:
    return await node.publish(ToPublish(os.fsencode(path), list(tags)))


async def unpublish(node: Published, *paths: Path, cid: str = "") -> str:
    return (await node.unpublish(ToUnpublish(list(map(os.fsencode, paths)), cid))).path


async def listed(node: Published) -> list[str]:
    return [path.path for path in (await node.all(Nothing())).paths]


async def wait_cid(node: Published, path: Path) -> str:
    def cid() -> str:
        standing = node.publishing.standing(os.fsencode(path))
        return str(standing.cid or "")

    await wait_until(lambda: bool(cid()))
    return cid()


async def test_what_lies_in_share_is_only_tagged(tmp_path: Path) -> None:
    async with open_published(tmp_path) as node:
        (tmp_path / "share" / "trip").mkdir()
        (tmp_path / "share" / "trip" / "a.txt").write_bytes(b"a")
        for seen in (tmp_path / "share", MOUNT):
            told = await publish(node, seen / "trip" / "a.txt", "Deep Sea")
            assert (told.path, told.files) == ("trip/a.txt", 1)
        assert os.getxattr(tmp_path / "share" / "trip" / "a.txt", "user.xdg.tags") == b"deep-sea"
        told = await publish(node, MOUNT / "trip")
        assert told.path == "trip"
        assert await listed(node) == []
        with pytest.raises(UsageError):
            await publish(node, MOUNT / "trip", "a-tag")
        with pytest.raises(NotFoundError):
            await publish(node, MOUNT / "nothing")
        with pytest.raises(RefusedError, match="out of share/"):
            await unpublish(node, MOUNT / "trip" / "a.txt")


async def test_a_content_id_names_what_has_it_alone(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    async with open_published(tmp_path) as node:
        for name in ("a.txt", "b.txt", "folder/c.txt"):
            (outside / name).parent.mkdir(exist_ok=True)
            (outside / name).write_bytes(b"the same" if name != "folder/c.txt" else b"another")
        for name in ("a.txt", "b.txt", "folder"):
            await publish(node, outside / name)
        cid = await wait_cid(node, outside / "a.txt")
        assert await wait_cid(node, outside / "b.txt") == cid
        folder = await wait_cid(node, outside / "folder")
        part = await wait_cid(node, outside / "folder" / "c.txt")
        with pytest.raises(UsageError, match=r"a\.txt.*b\.txt"):
            await unpublish(node, tmp_path / "none", cid=cid)
        with pytest.raises(RefusedError, match="part of"):
            await unpublish(node, tmp_path / "none", cid=part)
        assert await unpublish(node, tmp_path / "none", cid=folder) == f"{outside}/folder"
        with pytest.raises(NotFoundError):
            await unpublish(node, tmp_path / "none", cid=folder)
        assert await unpublish(node, tmp_path / "none", outside / "a.txt") == f"{outside}/a.txt"
        assert await unpublish(node, tmp_path / "none", cid=cid) == f"{outside}/b.txt"
        assert await listed(node) == []


async def test_the_content_of_a_file_in_share_is_not_taken_back(tmp_path: Path) -> None:
    async with open_published(tmp_path) as node:
        (tmp_path / "share" / "a.txt").write_bytes(b"a")
        await wait_until(lambda: node.shares.get(b"a.txt") is not None)
        row = node.shares.get(b"a.txt")
        assert row is not None
        with pytest.raises(RefusedError, match="out of share/"):
            await unpublish(node, tmp_path / "none", cid=str(row.cid))


async def test_slips_are_said(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"a")
    async with open_published(tmp_path) as node:
        for tag in ("a,b", "+/+"):
            with pytest.raises(UsageError):
                await publish(node, tmp_path / "a.txt", tag)
        with pytest.raises(UsageError):
            await unpublish(node, tmp_path / "a.txt", cid="no-cid")
        assert await listed(node) == []


async def test_waiting_ends_when_all_is_published(tmp_path: Path) -> None:
    path = tmp_path / "outside" / "a.txt"
    async with open_published(tmp_path) as node:
        path.write_bytes(b"a")
        await publish(node, path)
        states = []
        async for told in node.wait(ToAwait([os.fsencode(path)])):
            states.append(told.paths[0].state)
            if states[-1] == "announcing":
                await node.shares.set_state(os.fsencode(path), ShareState.PUBLISHED)
        assert states[-2:] == ["announcing", "published"]


async def test_waiting_alone_ends_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published_module, "_PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(published_module, "_LOOK_SECONDS", 0.02)
    path = tmp_path / "outside" / "a.txt"
    async with open_published(tmp_path) as node:
        path.write_bytes(b"a")
        await publish(node, path)
        with pytest.raises(NoPeersError):
            async for told in node.wait(ToAwait([os.fsencode(path)])):
                if told.paths[0].state == "announcing":
                    await node.shares.set_state(os.fsencode(path), ShareState.ANNOUNCING, NO_PEERS)
        assert await listed(node) == [str(path)]
