"""What it costs to keep 1,000 files announced: bytes a second, sent and received.

    python -m bench.bench_renewal [--files 200] [--nodes 50] [--rate 150]

Computed, for a network so large that no lookup serves two keys: the songs that are measured too,
each with all its tags and words; a key is looked up unless it was within the hour that
`dht.kad.regions` remembers; 55 nodes a lookup at 1.1 kB, and a store 0.8 kB with its answer.

Measured: real nodes on loopback, a clock that runs `--rate` times as fast, jumped over the 8 h in
which nothing is due; then all that leaves and reaches the publisher's socket while each file is
renewed, 28 bytes of IP and UDP a datagram, over 9.5 h and scaled to 1,000 files.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import socket
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from trio.testing import MockClock

from bench.figures import Figures
from p2pfs.addresses import Endpoint, Neighbourhood
from p2pfs.content.cid import raw_cid
from p2pfs.content.metainfo import Description, create_meta
from p2pfs.dht.kad.opening import open_overlay
from p2pfs.dht.kad.overlay import KadOverlay
from p2pfs.dht.kad.regions import REMEMBERED_SECONDS
from p2pfs.dht.memorystore import MemoryRecordStore
from p2pfs.dht.records import subjects_of
from p2pfs.dht.subjects import Subject, provider_subject
from p2pfs.errors import UnreachableError
from p2pfs.identity import Identity
from p2pfs.library.announcing import Announcing
from p2pfs.library.ingest import Ingest
from p2pfs.library.metas import Metas
from p2pfs.network import public_network
from p2pfs.store.catalog import open_catalog
from p2pfs.store.foldershares import in_share_folder
from p2pfs.store.share import ShareState
from p2pfs.store.shares import Shares
from tools.samples import mp3

BAR_KB_PER_SECOND = 20
FILES_OF_THE_BAR = 1_000
PERIOD_SECONDS = 9.5 * 3_600
FIRST_DUE_SECONDS, LAST_DUE_SECONDS = 8 * 3_600, 11 * 3_600
HEADER_BYTES = 28
NETWORK = public_network("bench-renewal")


# As `docs/decisions/lookups.md` measures them.
LOOKUP_KB, STORE_KB = 55 * 1.1, 0.8


class CountingSocket(socket.socket):
    """A UDP socket that knows what went through it."""

    count = 0

    def sendto(self, data: Any, *rest: Any) -> int:  # noqa: ANN401
        self.count += len(data) + HEADER_BYTES
        return super().sendto(data, *rest)

    def recvfrom(self, *size: Any) -> tuple[bytes, Any]:  # noqa: ANN401
        received = super().recvfrom(*size)
        self.count += len(received[0]) + HEADER_BYTES
        return received


async def no_https(_key: bytes, address: Endpoint, *_: object) -> Any:  # noqa: ANN401
    raise UnreachableError(f"no HTTPS at {address} here")


class World:
    """Nodes that share a clock, each knowing the first."""

    def __init__(self, stack: AsyncExitStack, clock: MockClock) -> None:
        self._stack = stack
        self._first: tuple[Endpoint, ...] = ()
        self._start = time.time() - clock.current_time()
        self._clock = clock

    def now(self) -> float:
        return self._start + self._clock.current_time()

    async def add(self) -> tuple[KadOverlay, Identity, CountingSocket]:
        sock = CountingSocket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        port = sock.getsockname()[1]
        identity = Identity(Ed25519PrivateKey.from_private_bytes(os.urandom(32)))
        overlay = await self._stack.enter_async_context(
            open_overlay(
                identity=identity,
                network=NETWORK,
                neighbourhood=Neighbourhood(),
                sockets=[sock],
                https_port=port,
                store=MemoryRecordStore(),
                fetch_page=no_https,
                post_records=no_https,
                peers=self._first,
                clock=self.now,
            )
        )
        await overlay.wait_settled()
        self._first = self._first or (Endpoint("127.0.0.1", port),)
        return overlay, identity, sock


def write_album(share: Path, files: int) -> None:
    """Songs of ten an album, in a folder each."""
    for number in range(files):
        album = share / f"album {number // 10}"
        album.mkdir(parents=True, exist_ok=True)
        song = mp3(
            artist=f"Artist {number // 50}",
            title=f"Some Title Number{number}",
            album=album.name,
            frames=number + 1,
        )
        (album / f"{number:04d} Some Title.mp3").write_bytes(song)


def computed() -> float:
    """kB a second for 1,000 files, renewed at random between 8 and 11 h."""
    dice, looked_up, spent = random.Random(1), dict[Subject, float](), 0.0
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    times = sorted(dice.uniform(FIRST_DUE_SECONDS, LAST_DUE_SECONDS) for _ in range(1_000))
    for number, due in zip(dice.sample(range(1_000), 1_000), times, strict=True):
        cid = raw_cid(hashlib.sha256(b"%d" % number).digest())
        tags = (
            "audio", "music", "mp3", f"album-{number // 10}", f"album:album-{number // 10}",
            f"artist:artist-{number // 50}", f"title:some-title-number{number}",
        )  # fmt: skip
        about = Description(cid, f"{number:04d} Some Title.mp3", 1, 0, "audio/mpeg", tags)
        meta = create_meta(about, (), 1, 1, key, NETWORK)
        for subject in (provider_subject(cid.multihash), *subjects_of(meta)):
            spent += subject.rules.copies * STORE_KB
            if due - looked_up.get(subject, 0.0) > REMEMBERED_SECONDS:
                looked_up[subject] = due
                spent += LOOKUP_KB
    return spent / PERIOD_SECONDS


async def measure(files: int, nodes: int, clock: MockClock, folder: Path) -> float:
    """kB a second for 1,000 files."""
    share = folder / "share"
    write_album(share, files)
    async with AsyncExitStack() as stack:
        world = World(stack, clock)
        for _ in range(nodes):
            await world.add()
        overlay, identity, sock = await world.add()
        catalog = await stack.enter_async_context(open_catalog(folder / "catalog.sqlite"))
        shares, metas = Shares(catalog, share), Metas(catalog, NETWORK)
        announcing = Announcing(
            overlay, shares, metas, identity, NETWORK, overlay.own_addresses, world.now
        )
        ingest = Ingest(in_share_folder(shares), announcing.changed)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ingest.run)
            nursery.start_soon(announcing.run)
            started = world.now()
            while (  # noqa: ASYNC110 the row changes, and tells nobody
                sum(each.state is ShareState.PUBLISHED for each in shares.all()) < files
            ):
                await trio.sleep(10)
            print(f"  first publication: {sock.count / files / 1e3:.0f} kB a file", flush=True)
            published = {each.path: each.announced_until for each in shares.all()}
            clock.jump(max(0, started + FIRST_DUE_SECONDS - 60 - world.now()))
            before = sock.count
            deadline = world.now() + LAST_DUE_SECONDS
            while any(each.announced_until <= published[each.path] for each in shares.all()):
                assert world.now() < deadline, "some files were not renewed in time"
                await trio.sleep(30)
            spent = sock.count - before
            nursery.cancel_scope.cancel()
    print(f"  renewal: {spent / files / 1e3:.0f} kB a file", flush=True)
    return spent / PERIOD_SECONDS * FILES_OF_THE_BAR / files / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--nodes", type=int, default=50)
    parser.add_argument("--rate", type=float, default=150)
    args = parser.parse_args()
    figures = Figures()
    clock = MockClock(rate=args.rate)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        cost = trio.run(measure, args.files, args.nodes, clock, Path(folder), clock=clock)
    figures.at_most("the same, computed for a vast network", computed(), BAR_KB_PER_SECOND, "kB/s")
    figures.at_most("re-announcing 1,000 files, sent and received", cost, BAR_KB_PER_SECOND, "kB/s")
    figures.end()


if __name__ == "__main__":
    main()
