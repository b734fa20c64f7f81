"""Files and folders that are published from where they lie, in the library of a node."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trio

from p2pfs.addresses import Endpoint
from p2pfs.content.balanced import build_file
from p2pfs.content.cid import Cid
from p2pfs.errors import NoSpaceError, NotFoundError, NotPermittedError, P2pfsError, RefusedError
from p2pfs.identity import OwnKey
from p2pfs.library import ingest as ingest_module
from p2pfs.library import publishing as publishing_module
from p2pfs.library.announcing import Announcing
from p2pfs.library.elsewhere import Elsewhere
from p2pfs.library.folders import Folders
from p2pfs.library.followed import Followed
from p2pfs.library.ingest import Ingest
from p2pfs.library.metas import Metas
from p2pfs.library.ownfiles import OwnFiles
from p2pfs.library.providing import Providing
from p2pfs.library.publishing import Publishing
from p2pfs.store.blocks import Blocks
from p2pfs.store.catalog import open_catalog
from p2pfs.store.dags import Dags
from p2pfs.store.folders import SharedFolders
from p2pfs.store.foldershares import FolderShares, in_share_folder
from p2pfs.store.objects import open_objects
from p2pfs.store.provided import Provided
from p2pfs.store.publications import Publications
from p2pfs.store.share import ShareState
from p2pfs.store.shares import Shares
from tests.dht.fakes import OverlayWorld
from tests.library.kit import NETWORK, STILL_SECONDS, identity, join, wait_until

_NOBODY = 65_534


def cid_of(content: bytes) -> Cid:
    return build_file([content]).cid


@dataclass
class Publisher:
    """`outside` is a folder of the user's, in one whose name is nobody's business."""

    world: OverlayWorld
    outside: Path
    shares: Shares
    publishing: Publishing
    blocks: Blocks
    refused: dict[bytes, str]

    async def publish(self, name: str, *tags: str) -> None:
        await self.publishing.publish(self.path(name), tags)

    async def unpublish(self, name: str) -> None:
        await self.publishing.unpublish(self.path(name))

    def path(self, name: str) -> bytes:
        return os.fsencode(self.outside / name)

    def write(self, name: str, content: bytes) -> None:
        (self.outside / name).parent.mkdir(parents=True, exist_ok=True)
        (self.outside / name).write_bytes(content)

    async def wait_published(self, name: str) -> None:
        state = (ShareState.PUBLISHED, "")
        await wait_until(lambda: self.standing(name) == state)

    async def wait_content(self, name: str, content: bytes) -> None:
        def is_there() -> bool:
            share = self.shares.get(self.path(name))
            return share is not None and share.cid == cid_of(content)

        await wait_until(is_there)

    def standing(self, name: str) -> tuple[ShareState, str]:
        standing = self.publishing.standing(self.path(name))
        return standing.state, standing.reason

    def tags(self, name: str) -> set[str]:
        """What others are told of it."""
        share = self.shares.get(self.path(name))
        return set(share.tags) if share else set()

    def found(self, tag: str) -> set[str]:
        """The names that another node finds under a tag."""
        metas = self.world.metas.get(tag, {}).values()
        return {meta.name for meta in metas if not meta.withdrawn}

    def told(self) -> bytes:
        """All that anybody else was ever told."""
        metas = [(tag, list(held.values())) for tag, held in self.world.metas.items()]
        return repr((metas, self.world.providers)).encode()

    async def serves(self, cid: Cid) -> bool:
        try:
            await self.blocks.read(cid)
        except NotFoundError:
            return False
        return True


@asynccontextmanager
async def open_publisher(root: Path) -> AsyncIterator[Publisher]:
    """A node; opened again, it is the node restarted."""
    world = OverlayWorld()
    join(world, 9)
    async with open_running(root, world) as node:
        yield node


@asynccontextmanager
async def open_running(
    root: Path, world: OverlayWorld, refused: dict[bytes, str] | None = None
) -> AsyncIterator[Publisher]:
    overlay = join(world, 1)
    folder, outside = root / "share", root / "private-name" / "stuff"
    folder.mkdir(exist_ok=True)
    outside.mkdir(parents=True, exist_ok=True)
    addresses = [Endpoint("127.0.0.1", 7001)]
    refused = {} if refused is None else refused
    async with open_catalog(root / "catalog.sqlite") as catalog, trio.open_nursery() as nursery:
        shares, dags = Shares(catalog, folder), Dags(catalog)
        async with open_objects(root / "cache", catalog, dags, shares) as objects:
            own = OwnFiles(shares, OwnKey(identity(1).public_key))
            own.load()
            metas = Metas(catalog, NETWORK)
            announcing = Announcing(overlay, shares, metas, identity(1), NETWORK, lambda: addresses)

            def changed(cid: Cid) -> None:
                own.changed(cid)
                announcing.changed(cid)

            providing = Providing(overlay, Provided(catalog), lambda: addresses)
            folders = Folders(folder, SharedFolders(catalog), providing, 2 * STILL_SECONDS)
            share_rows = in_share_folder(shares)
            ingest = Ingest(share_rows, changed, STILL_SECONDS, touched=folders.changed)
            open_place = partial(
                Elsewhere, catalog, shares, providing, changed, still_seconds=STILL_SECONDS
            )
            publishing = Publishing(
                Publications(catalog), open_place, changed, refused.get, nursery
            )
            followed = Followed(ingest, publishing)
            blocks = Blocks(dags, shares, objects, lambda _: True, followed.changed)
            await publishing.start()
            nursery.start_soon(ingest.run)
            nursery.start_soon(folders.run, ingest.scanned)
            nursery.start_soon(providing.run)
            nursery.start_soon(announcing.run)
            nursery.start_soon(publishing.look_again)
            yield Publisher(world, outside, shares, publishing, blocks, refused)
            nursery.cancel_scope.cancel()
    world.nodes.remove(overlay)


async def test_a_folder_is_published_from_its_own_name_on(tmp_path: Path) -> None:
    async with open_publisher(tmp_path) as node:
        node.write("album/song.txt", b"la")
        node.write("album/live/two.txt", b"two")
        node.write("album/.secret", b"nobody's")
        node.write("beside.txt", b"nobody's either")
        await node.publish("album", "jazz")
        await node.wait_published("album")
        assert node.tags("album/song.txt") == {"album", "jazz", "text", "txt"}
        assert node.tags("album/live/two.txt") == {"album", "live", "jazz", "text", "txt"}
        assert node.found("album") == node.found("jazz") == {"song.txt", "two.txt"}
        standing = node.publishing.standing(node.path("album"))
        assert (standing.files, standing.published) == (2, 2)
        assert standing.cid is not None
        assert await node.serves(standing.cid)
        assert await node.serves(cid_of(b"la"))
        assert not await node.serves(cid_of(b"nobody's"))
        assert not await node.serves(cid_of(b"nobody's either"))
        for part in ("private-name", "stuff", *tmp_path.parts[1:]):
            assert part.encode() not in node.told()


async def test_files_of_one_folder_are_published_one_by_one(tmp_path: Path) -> None:
    async with open_publisher(tmp_path) as node:
        for name in ("a.txt", "b.txt", "c.txt"):
            node.write(name, name.encode())
        await node.publish("a.txt", "one")
        await node.publish("b.txt", "two")
        await node.wait_published("a.txt")
        await node.wait_published("b.txt")
        assert (node.found("one"), node.found("two")) == ({"a.txt"}, {"b.txt"})
        assert node.found("txt") == {"a.txt", "b.txt"}
        node.write("c.txt", b"written again")
        node.write("a.txt", b"the second edition")
        await node.wait_content("a.txt", b"the second edition")
        await node.wait_published("a.txt")
        assert await node.serves(cid_of(b"the second edition"))
        assert not node.tags("c.txt")
        await node.unpublish("a.txt")
        await wait_until(lambda: not node.found("one"))
        assert not await node.serves(cid_of(b"the second edition"))
        await node.wait_published("b.txt")
        assert node.found("two") == {"b.txt"}
        assert (node.outside / "a.txt").read_bytes() == b"the second edition"


async def test_what_changes_is_published_anew_and_what_goes_is_withdrawn(tmp_path: Path) -> None:
    async with open_publisher(tmp_path) as node:
        node.write("album/song.txt", b"la")
        await node.publish("album")
        await node.wait_published("album")
        node.write("album/more.txt", b"more")
        node.write("album/song.txt", b"lala")
        await wait_until(lambda: node.found("album") == {"song.txt", "more.txt"})
        await node.wait_content("album/song.txt", b"lala")
        await node.wait_published("album")
        assert not await node.serves(cid_of(b"la"))
        assert await node.serves(cid_of(b"lala"))
        (node.outside / "album" / "more.txt").unlink()
        await wait_until(lambda: node.found("album") == {"song.txt"})


async def test_taken_back_nothing_of_it_is_served_and_everything_withdrawn(tmp_path: Path) -> None:
    async with open_publisher(tmp_path) as node:
        node.write("album/song.txt", b"la")
        await node.publish("album")
        await node.wait_published("album")
        folder = node.publishing.standing(node.path("album")).cid
        assert folder is not None
        await node.unpublish("album")
        assert node.publishing.all() == []
        assert node.shares.all() == []
        assert not await node.serves(folder)
        assert not await node.serves(cid_of(b"la"))
        await wait_until(lambda: not node.found("album"))
        node.write("album/later.txt", b"later")
        await trio.sleep(5 * STILL_SECONDS)
        assert node.shares.all() == []
        with pytest.raises(NotFoundError):
            await node.unpublish("album")


async def test_a_restart_goes_on_with_it(tmp_path: Path) -> None:
    world = OverlayWorld()
    join(world, 9)
    async with open_running(tmp_path, world) as node:
        node.write("album/song.txt", b"la")
        await node.publish("album", "jazz")
        await node.wait_published("album")
    node.write("album/more.txt", b"more")
    async with open_running(tmp_path, world) as node:
        await wait_until(lambda: node.found("jazz") == {"song.txt", "more.txt"})
        await node.wait_published("album")


async def test_what_may_not_be_published_any_more_is_not_served_after_a_restart(
    tmp_path: Path,
) -> None:
    world = OverlayWorld()
    join(world, 9)
    async with open_running(tmp_path, world) as node:
        node.write("album/song.txt", b"la")
        await node.publish("album")
        await node.wait_published("album")
    refused = {node.path("album"): "holds this node's own folders"}
    async with open_running(tmp_path, world, refused) as node:
        assert not await node.serves(cid_of(b"la"))
        assert node.publishing.failed() == {
            node.path("album"): "it holds this node's own folders",
        }
        assert node.standing("album")[0] is ShareState.FAILED
        await wait_until(lambda: not node.found("album"))
        await node.unpublish("album")
        assert node.publishing.failed() == {}


async def test_tags_that_had_no_room_are_given_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise NoSpaceError("the disk that holds the catalogue is full")

    monkeypatch.setattr(ingest_module, "RETRY_SECONDS", STILL_SECONDS)
    async with open_publisher(tmp_path) as node:
        node.write("song.txt", b"la")
        await node.publish("song.txt", "jazz")
        await node.wait_published("song.txt")
        with monkeypatch.context() as full:
            full.setattr(FolderShares, "put", refuse)
            await node.publish("song.txt", "rock")
            await wait_until(lambda: node.standing("song.txt")[0] is ShareState.FAILED)
        await wait_until(lambda: "rock" in node.tags("song.txt"))


async def test_what_may_not_be_published_for_a_while_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when p2pfs is mounted into a folder that is published, and unmounted again."""
    monkeypatch.setattr(publishing_module, "_LOOK_EVERY_SECONDS", 0.01)
    async with open_publisher(tmp_path) as node:
        node.write("album/song.txt", b"la")
        node.write("beside.txt", b"lala")
        await node.publish("album")
        await node.publish("beside.txt")
        await node.wait_published("album")
        node.refused[node.path("album")] = "holds a p2pfs mount"
        lost = (ShareState.FAILED, "it holds a p2pfs mount")
        await wait_until(lambda: node.standing("album") == lost)
        assert not await node.serves(cid_of(b"la"))
        await wait_until(lambda: not node.found("album"))
        await node.wait_published("beside.txt")
        node.refused.clear()
        await node.wait_published("album")
        assert node.found("album") == {"song.txt"}


@pytest.mark.parametrize("name", ["album", "song.txt"])
async def test_what_vanished_says_so_and_comes_back(tmp_path: Path, name: str) -> None:
    async with open_publisher(tmp_path) as node:
        node.write("album/song.txt", b"la")
        node.write("song.txt", b"lala")
        await node.publish(name, "music")
        await node.wait_published(name)
        (node.outside / name).rename(node.outside / "elsewhere")
        await wait_until(lambda: node.standing(name) == (ShareState.FAILED, "it is not there"))
        await wait_until(lambda: not node.found("music"))
        assert node.publishing.failed() == {node.path(name): "it is not there"}
        (node.outside / "elsewhere").rename(node.outside / name)
        await node.wait_published(name)
        assert node.found("music") == {"song.txt"}


async def test_a_file_that_becomes_a_folder_is_not_published(tmp_path: Path) -> None:
    async with open_publisher(tmp_path) as node:
        node.write("diary", b"public")
        await node.publish("diary")
        await node.wait_published("diary")
        (node.outside / "diary").unlink()
        node.write("diary/private.txt", b"private")
        lost = (ShareState.FAILED, "it was published as a file and is a folder now")
        await wait_until(lambda: node.standing("diary") == lost)
        await trio.sleep(5 * STILL_SECONDS)
        assert node.shares.all() == []


@pytest.mark.parametrize("moved", ["album", "."])
async def test_a_link_that_comes_into_the_way_ends_it(tmp_path: Path, moved: str) -> None:
    async with open_publisher(tmp_path) as node:
        node.write("album/song.txt", b"la")
        await node.publish("album")
        await node.wait_published("album")
        at = (node.outside / moved).resolve()
        at.rename(tmp_path / "moved")
        at.symlink_to(tmp_path / "moved")
        assert not await node.serves(cid_of(b"la"))  # and this makes it look again
        await wait_until(lambda: not node.tags("album/song.txt"))
        await wait_until(lambda: not node.found("album"))


async def test_publishing_again_changes_the_tags_only(tmp_path: Path) -> None:
    async with open_publisher(tmp_path) as node:
        node.write("album/song.txt", b"la")
        await node.publish("album", "jazz")
        await node.wait_published("album")
        await node.publish("album")
        await node.publish("album", "blues")
        await wait_until(lambda: node.found("blues") == {"song.txt"} and not node.found("jazz"))
        await node.wait_published("album")
        assert len(node.publishing.all()) == 1


async def test_publications_never_overlap(tmp_path: Path) -> None:
    async with open_publisher(tmp_path) as node:
        node.write("album/live/two.txt", b"two")
        await node.publish("album/live")
        with pytest.raises(RefusedError, match="live"):
            await node.publish("album")
        await node.unpublish("album/live")
        await node.publish("album")
        await node.publish("album/live/two.txt")
        assert [each.path for each in node.publishing.all()] == [node.path("album")]
        for refused in (node.publish("album/live", "tag"), node.unpublish("album/live")):
            with pytest.raises(RefusedError, match="part of"):
                await refused


async def test_a_file_below_a_folder_beside_one_that_is_published_stays_its_own(
    tmp_path: Path,
) -> None:
    """The rows of one place begin with the path of another."""
    async with open_publisher(tmp_path) as node:
        node.write("a.txt", b"a")
        node.write("below/b.txt", b"b")
        await node.publish("below/b.txt")
        await node.publish("a.txt")
        await node.wait_published("a.txt")
        await node.wait_published("below/b.txt")
        await node.unpublish("a.txt")
        assert [share.path for share in node.shares.all()] == [node.path("below/b.txt")]


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("nothing", NotFoundError),
        ("file/below", NotFoundError),
        ("link", RefusedError),
        ("linked/song.txt", NotFoundError),
        ("pipe", RefusedError),
        ("half.part", RefusedError),
        ("ignored.txt", RefusedError),
        ("ignored", RefusedError),
    ],
)
async def test_what_is_no_file_or_folder_for_others_is_refused(
    tmp_path: Path, name: str, error: type[P2pfsError]
) -> None:
    async with open_publisher(tmp_path) as node:
        for file in ("file", "folder/song.txt", "half.part", "ignored.txt", "ignored/a.txt"):
            node.write(file, b"x")
        node.write(".p2pfsignore", b"ignored*\n")
        (node.outside / "link").symlink_to("file")
        (node.outside / "linked").symlink_to("folder")
        os.mkfifo(node.outside / "pipe")
        with pytest.raises(error):
            await node.publish(name)
        assert node.publishing.all() == []


@pytest.fixture
def nobodys() -> Iterator[Path]:
    """A folder, and a process that may read no more of it than its mode says."""
    with TemporaryDirectory() as folder:
        before = os.geteuid()
        if not before:
            os.chown(folder, _NOBODY, -1)
            os.seteuid(_NOBODY)
        try:
            yield Path(folder)
        finally:
            os.seteuid(before)


@pytest.mark.parametrize("mode", [0, 0o444, 0o111])
def test_a_folder_that_cannot_be_read_is_refused(nobodys: Path, mode: int) -> None:
    (nobodys / "folder").mkdir()
    (nobodys / "folder").chmod(mode)
    with pytest.raises(NotPermittedError):
        publishing_module._is_folder(os.fsencode(nobodys / "folder"))
    (nobodys / "folder").chmod(0o700)
    assert publishing_module._is_folder(os.fsencode(nobodys / "folder"))


def test_a_file_that_cannot_be_read_is_refused(nobodys: Path) -> None:
    (nobodys / "file").write_bytes(b"x")
    (nobodys / "file").chmod(0o222)
    with pytest.raises(NotPermittedError):
        publishing_module._is_folder(os.fsencode(nobodys / "file"))


async def test_there_are_only_so_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing_module, "MAX_PUBLICATIONS", 1)
    async with open_publisher(tmp_path) as node:
        node.write("a", b"a")
        node.write("b", b"b")
        await node.publish("a")
        await node.publish("a")
        with pytest.raises(RefusedError, match="publish the folder"):
            await node.publish("b")
