"""A store in a temporary folder, and contents small enough to have deep trees."""

from __future__ import annotations

import hashlib
import os
import random
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from p2pfs.content.cid import DAG_PB, Cid
from p2pfs.store.blocks import Blocks
from p2pfs.store.catalog import Catalog, open_catalog
from p2pfs.store.dags import Dags
from p2pfs.store.objects import Objects, open_objects
from p2pfs.store.room import NO_LIMITS, Limits
from p2pfs.store.share import Share, ShareState
from p2pfs.store.shares import Shares
from tests.content.dags import Dag, balanced
from tests.content.vectors import cut

CHUNK_BYTES = 64


@dataclass
class Store:
    catalog: Catalog
    dags: Dags
    shares: Shares
    objects: Objects
    blocks: Blocks
    changed: list[bytes] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.shares.folder


@asynccontextmanager
async def open_store(
    home: Path, seeds: Callable[[Cid], bool] = lambda _: True, limits: Limits = NO_LIMITS
) -> AsyncIterator[Store]:
    folder = home / "share"
    folder.mkdir(exist_ok=True)
    changed: list[bytes] = []
    async with open_catalog(home / "data" / "catalog.sqlite") as catalog:
        dags, shares = Dags(catalog), Shares(catalog, folder)
        async with open_objects(home / "cache", catalog, dags, shares, limits) as objects:
            blocks = Blocks(dags, shares, objects, seeds, changed.append)
            yield Store(catalog, dags, shares, objects, blocks, changed)


def content_of(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def small_dag(content: bytes) -> Dag:
    return balanced(content, CHUNK_BYTES, width=4)


def nodes_of(dag: Dag) -> list[tuple[Cid, bytes]]:
    return [(cid, block) for cid, block in dag.blocks.items() if cid.codec == DAG_PB]


def share_of(store: Store, path: str, dag: Dag, content: bytes, **fields: object) -> Share:
    """The row for a file that is there."""
    status = os.stat(store.folder / path)
    share = Share(
        path=path.encode(),
        dev=status.st_dev,
        ino=status.st_ino,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        cid=dag.root,
        crc32=zlib.crc32(content),
        mime="audio/mpeg",
        name=Path(path).name,
        title="Title",
        tags=("blue-notes", "music"),
        state=ShareState.PUBLISHED,
        seq=7,
        announced_until=1_000,
        ctime_ns=status.st_ctime_ns,
    )
    return replace(share, **fields)  # type: ignore[arg-type]  # each test names its own


async def publish(store: Store, path: str, content: bytes, **fields: object) -> Dag:
    """Put a file into the share folder and its row into the catalogue."""
    file = store.folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    dag = small_dag(content)
    digests = [hashlib.sha256(chunk).digest() for chunk in cut(content, CHUNK_BYTES)]
    share = share_of(store, path, dag, content, **fields)
    await store.shares.put(share, nodes_of(dag), digests, CHUNK_BYTES)
    return dag


async def fetch(
    store: Store, dag: Dag, content: bytes, start: int = 0, stop: int | None = None
) -> None:
    """Put a content into the cache as a transfer does: whole leaves that overlap the range."""
    opened = store.objects.open(dag.root, dag.size)
    await opened.keep_nodes(nodes_of(dag))
    for leaf in opened.leaves(start, dag.size if stop is None else stop):
        opened.write(leaf.start, content[leaf.start : leaf.stop])
        opened.landed(leaf.start, leaf.stop)
    store.objects.close(opened)
