"""Shares: one row a file, opened only while it is the file that was hashed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from p2pfs.store.errors import ShareChangedError
from p2pfs.store.share import Share, ShareState
from tests.store.kit import content_of, open_store, publish, share_of, small_dag

CONTENT = content_of(1_000)


async def test_a_share_is_found_by_path_and_by_content_after_a_restart(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        dag = await publish(store, "blue/song.mp3", CONTENT)
        share = share_of(store, "blue/song.mp3", dag, CONTENT)
    async with open_store(tmp_path) as store:
        assert store.shares.get(b"blue/song.mp3") == share
        assert store.shares.all() == store.shares.by_cid(dag.root) == [share]
        assert store.shares.get(b"blue") is None
        assert store.dags.node(dag.root) == dag.lookup(dag.root)


async def test_odd_values_come_back_as_they_went(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await publish(store, "a", b"x", ino=2**64 - 1, dev=2**63, tags=(), name="ü\n", size=0)
        share = store.shares.get(b"a")
        assert share is not None
        assert (share.ino, share.dev, share.tags, share.name) == (2**64 - 1, 2**63, (), "ü\n")
        unhashed = replace(share, path=b"\xff\xfe", cid=None, state=ShareState.FAILED, reason="why")
        await store.shares.put(unhashed)
        assert store.shares.get(b"\xff\xfe") == unhashed


async def test_an_intact_share_opens(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await publish(store, "a/b", CONTENT)
        number = store.shares.open_share(only(store.shares.all()))
        assert os.read(number, 2_000) == CONTENT
        os.close(number)


def only(shares: list[Share]) -> Share:
    (share,) = shares
    return share


def overwrite(path: Path) -> None:
    path.write_bytes(b"x" * len(CONTENT))


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


def replace_by_twin(path: Path) -> None:
    status = path.stat()
    twin = path.with_name("twin")
    twin.write_bytes(b"x" * len(CONTENT))
    os.utime(twin, ns=(status.st_atime_ns, status.st_mtime_ns))
    twin.replace(path)


def replace_by_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def replace_folder_by_link(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))
    path.parent.symlink_to("elsewhere")


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


CHANGES = [
    overwrite,
    grow,
    Path.unlink,
    replace_by_twin,
    replace_by_link,
    replace_folder_by_link,
    replace_by_folder,
    replace_by_fifo,
]


@pytest.mark.parametrize("change", CHANGES)
async def test_a_file_that_changed_does_not_open(
    change: Callable[[Path], None], tmp_path: Path
) -> None:
    async with open_store(tmp_path) as store:
        await publish(store, "a/b", CONTENT)
        os.utime(store.folder / "a/b", ns=(0, 1))  # long ago
        dag = small_dag(CONTENT)
        await store.shares.put(share_of(store, "a/b", dag, CONTENT))
        os.close(store.shares.open_share(only(store.shares.all())))
        change(store.folder / "a" / "b")
        with pytest.raises(ShareChangedError) as caught:
            store.shares.open_share(only(store.shares.all()))
        assert caught.value.path == b"a/b"


@pytest.mark.parametrize(
    "state", [ShareState.WAITING, ShareState.HASHING, ShareState.IGNORED, ShareState.FAILED]
)
async def test_only_what_is_finished_is_found_by_content(state: ShareState, tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        dag = await publish(store, "a", CONTENT)
        await store.shares.set_state(b"a", state, "why")
        assert store.shares.by_cid(dag.root) == []
        share = only(store.shares.all())
        assert (share.state, share.reason) == (state, "why")
        await store.shares.set_state(b"nowhere", state)


async def test_a_removed_share_leaves_nothing(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        dag = await publish(store, "a", CONTENT)
        removed = await store.shares.remove(b"a")
        assert removed is not None
        assert removed.cid == dag.root
        assert await store.shares.remove(b"a") is None
        for table in ("shares", "roots", "nodes", "chunks"):
            assert store.catalog.rows(f"SELECT * FROM {table}") == []  # noqa: S608


async def test_new_content_at_a_path_replaces_the_old(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        old = await publish(store, "a", CONTENT)
        new = await publish(store, "a", CONTENT[1:])
        assert store.shares.by_cid(old.root) == []
        assert len(store.shares.by_cid(new.root)) == 1
        assert store.dags.roots_of(new.root) == [new.root]
        assert store.dags.roots_of(old.root) == []


async def test_content_that_is_still_there_elsewhere_stays(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        dag = await publish(store, "a", CONTENT)
        await publish(store, "b", CONTENT)
        await store.shares.remove(b"a")
        assert [share.path for share in store.shares.by_cid(dag.root)] == [b"b"]
        assert store.dags.block(dag.root) is not None


async def test_a_file_is_untouched_until_its_ctime_moves(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await publish(store, "a", CONTENT)
        file = store.folder / "a"
        assert only(store.shares.all()).is_untouched(file.stat())
        file.chmod(0o600)
        share = only(store.shares.all())
        assert share.is_of(file.stat())
        assert not share.is_untouched(file.stat())
        await store.shares.confirm(b"a", file.stat().st_ctime_ns)
        assert only(store.shares.all()).is_untouched(file.stat())
        assert only(store.shares.all()) == share  # it is the same as to what is published


async def test_a_renamed_folder_takes_its_shares_along(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        for path in ("a/x", "a/b/y", "a.mp3", "ab/z"):
            await publish(store, path, content_of(300, len(path)))
        moved = await store.shares.rename(b"a", b"c/d")
        assert [share.path for share in moved] == [b"c/d/b/y", b"c/d/x"]
        paths = [share.path for share in store.shares.all()]
        assert paths == [b"a.mp3", b"ab/z", b"c/d/b/y", b"c/d/x"]
        assert [share.path for share in store.shares.below(b"c")] == [b"c/d/b/y", b"c/d/x"]


async def test_a_rename_over_a_share_forgets_what_was_there(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        kept = await publish(store, "a", CONTENT)
        lost = await publish(store, "b", CONTENT[1:])
        (moved,) = await store.shares.rename(b"a", b"b")
        assert (moved.path, moved.cid) == (b"b", kept.root)
        assert store.dags.roots_of(lost.root) == []
        assert await store.shares.rename(b"b", b"b") == []
        assert await store.shares.rename(b"nowhere", b"there") == []


async def test_an_announcement_counts_only_for_what_was_announced(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await publish(store, "a", CONTENT, state=ShareState.ANNOUNCING, reason="no peers yet")
        before = only(store.shares.all())
        assert await store.shares.set_announced(before, 50, 2_000)
        now = only(store.shares.all())
        assert (now.state, now.reason, now.seq) == (ShareState.PUBLISHED, "", 50)
        await store.shares.put(replace(now, name="New.mp3", tags=("jazz",)))
        assert not await store.shares.set_announced(now, 60, 3_000)
        renamed = only(store.shares.all())
        assert (renamed.name, renamed.tags, renamed.seq) == ("New.mp3", ("jazz",), 50)
        await publish(store, "a", CONTENT[1:])
        assert not await store.shares.set_announced(renamed, 70, 4_000)
