"""A share folder with an `Ingest` behind it, and nodes that publish and search in a dict."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pfs.addresses import Endpoint
from p2pfs.content.cid import Cid
from p2pfs.identity import Identity, OwnKey
from p2pfs.library.announcing import Announcing
from p2pfs.library.ingest import Ingest
from p2pfs.library.listednames import ListedNames
from p2pfs.library.metas import Metas
from p2pfs.library.ownfiles import OwnFiles
from p2pfs.library.searching import Searches
from p2pfs.network import public_network
from p2pfs.store.catalog import open_catalog
from p2pfs.store.foldershares import in_share_folder
from p2pfs.store.share import Share, ShareState
from p2pfs.store.shares import Shares
from tests.dht.fakes import DictOverlay, OverlayWorld

STILL_SECONDS = 0.1
NETWORK = public_network("tests")
# For what must happen; what must not is shown by something later that does.
_PATIENCE_SECONDS = 10


class ShareFolder:
    """What a test does to a share folder, and what came of it."""

    def __init__(self, shares: Shares, ingest: Ingest) -> None:
        self.folder = shares.folder
        self.shares = shares
        self.ingest = ingest

    def write(self, path: str, content: bytes) -> None:
        """As a write through the mount."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        self.ingest.hints.changed(path.encode())

    def remove(self, path: str) -> None:
        """As an unlink through the mount."""
        (self.folder / path).unlink()
        self.ingest.hints.removed(path.encode())

    def rename(self, old: str, new: str) -> None:
        """As a rename through the mount."""
        (self.folder / new).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / old).rename(self.folder / new)
        self.ingest.hints.renamed(old.encode(), new.encode())

    def share(self, path: str) -> Share | None:
        return self.shares.get(path.encode())

    def state(self, path: str) -> tuple[ShareState, str]:
        return self.ingest.state(path.encode())

    async def wait_share(self, path: str, content: bytes | None = None) -> Share:
        """The row of a path, as soon as there is one (of this size), and all that goes with it."""
        found: list[Share] = []

        def is_there() -> bool:
            share = self.share(path)
            settled = self.state(path)[0] in (ShareState.ANNOUNCING, ShareState.PUBLISHED)
            if share is None or not settled:
                return False
            if content is not None and share.size != len(content):
                return False
            found.append(share)
            return True

        await wait_until(is_there)
        return found[-1]

    async def wait_gone(self, path: str) -> None:
        await wait_until(lambda: self.share(path) is None)

    async def wait_state(self, path: str, state: ShareState, reason: str = "") -> None:
        await wait_until(lambda: self.state(path) == (state, reason))


class WatchedFolder(ShareFolder):
    """One that nobody announces: `told` is what would have been."""

    def __init__(self, shares: Shares, ingest: Ingest, told: list[Cid]) -> None:
        super().__init__(shares, ingest)
        self.told = told


class LibraryNode(ShareFolder):
    """A node's library, from its share folder to its listings."""

    def __init__(
        self, shares: Shares, ingest: Ingest, announcing: Announcing, searches: Searches
    ) -> None:
        super().__init__(shares, ingest)
        self.announcing = announcing
        self.searches = searches

    async def listed(self, tag: str) -> list[str]:
        """The names under a tag, looked up anew."""
        await self.searches.refresh(tag)
        return sorted(self.searches.listing(tag).entries)

    async def wait_listed(self, tag: str, *names: str) -> None:
        with trio.fail_after(_PATIENCE_SECONDS):
            while await self.listed(tag) != sorted(names):  # noqa: ASYNC110 nobody calls back
                await trio.sleep(0.05)


async def wait_until(condition: Callable[[], bool]) -> None:
    """Look every few milliseconds, for disks and threads call nobody back."""
    with trio.fail_after(_PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 as said
            await trio.sleep(0.005)


@asynccontextmanager
async def open_share_folder(
    root: Path, still_seconds: float = STILL_SECONDS
) -> AsyncIterator[WatchedFolder]:
    """The share folder below `root`, with its catalogue beside it, watched."""
    folder = root / "share"
    folder.mkdir(exist_ok=True)
    told: list[Cid] = []
    async with open_catalog(root / "catalog.sqlite") as catalog:
        shares = Shares(catalog, folder)
        ingest = Ingest(in_share_folder(shares), told.append, still_seconds)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ingest.run)
            await ingest.scanned.wait()
            yield WatchedFolder(shares, ingest, told)
            nursery.cancel_scope.cancel()


def identity(seed: int) -> Identity:
    return Identity(Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))


def join(world: OverlayWorld, seed: int) -> DictOverlay:
    return world.join(identity(seed).public_key, Endpoint("127.0.0.1", 7000 + seed))


@asynccontextmanager
async def open_library(
    root: Path,
    overlay: DictOverlay,
    seed: int,
    clock: Callable[[], float] = time.time,
    batch_comes_in: Callable[[], bool] = lambda: False,
) -> AsyncIterator[LibraryNode]:
    """A node's library with all that runs in it; opened again, it is the node restarted."""
    folder = root / "share"
    folder.mkdir(parents=True, exist_ok=True)
    own_identity = identity(seed)
    addresses = [Endpoint("127.0.0.1", 7000 + seed)]
    async with open_catalog(root / "catalog.sqlite") as catalog, trio.open_nursery() as nursery:
        shares, metas = Shares(catalog, folder), Metas(catalog, NETWORK)
        own = OwnFiles(shares, OwnKey(own_identity.public_key))
        own.load()
        announcing = Announcing(
            overlay, shares, metas, own_identity, NETWORK, lambda: addresses, clock, batch_comes_in
        )
        searches = Searches(overlay, metas, own, ListedNames(catalog), nursery, clock)

        def changed(cid: Cid) -> None:
            own.changed(cid)
            announcing.changed(cid)

        ingest = Ingest(in_share_folder(shares), changed, STILL_SECONDS)
        nursery.start_soon(ingest.run)
        nursery.start_soon(announcing.run)
        await ingest.scanned.wait()
        yield LibraryNode(shares, ingest, announcing, searches)
        nursery.cancel_scope.cancel()
