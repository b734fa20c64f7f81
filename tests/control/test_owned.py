"""The tags of own files, asked for and set by any of the paths a user knows them by."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from p2pfs.control.calls import Answering
from p2pfs.control.owned import Tagged, Tagging, share_places, tag_endpoints
from p2pfs.errors import NotFoundError, P2pfsError, UsageError
from tests.library.kit import WatchedFolder, open_share_folder, wait_until

MOUNT = Path("/mnt/p2p")
MOUNTED = MOUNT / "share"


async def ask(share: WatchedFolder, path: str, *tags: str) -> Tagged:
    places = share_places(share.folder, MOUNT)
    endpoint = tag_endpoints(share.shares, share.ingest.hints.retagged, places)["tag"]
    assert isinstance(endpoint, Answering)
    answer = await endpoint.answer(Tagging(os.fsencode(path), list(tags)))
    assert isinstance(answer, Tagged)
    return answer


async def test_tags_are_set_and_shown_by_either_path(tmp_path: Path) -> None:
    async with open_share_folder(tmp_path) as share:
        share.write("trips/beach.txt", b"sand")
        await share.wait_share("trips/beach.txt")
        real, mounted = f"{share.folder}/trips/beach.txt", f"{MOUNTED}/trips/beach.txt"
        assert set((await ask(share, real)).tags) == {"trips", "text", "txt"}
        told = await ask(share, mounted, "Deep Sea", "summer", "deep-sea")
        assert told == Tagged("trips/beach.txt", ["deep-sea", "summer"])
        assert os.getxattr(real, "user.xdg.tags") == b"deep-sea,summer"

        def tags() -> set[str]:
            row = share.share("trips/beach.txt")
            return set(row.tags) if row else set()

        await wait_until(lambda: tags() == {"trips", "deep-sea", "summer"})
        assert set((await ask(share, mounted)).tags) == tags()


@pytest.mark.parametrize(
    ("path", "tags", "error"),
    [
        ("elsewhere/beach.txt", ["sea"], UsageError),
        ("share", ["sea"], UsageError),
        ("share/folder", ["sea"], UsageError),
        ("share/beach.txt", ["sea,sand"], UsageError),
        ("share/beach.txt", ["+/+"], UsageError),
        ("share/none.txt", ["sea"], NotFoundError),
        ("share/none.txt", [], NotFoundError),
        ("share/folder", [], UsageError),
        ("share/../elsewhere/beach.txt", ["sea"], NotFoundError),
        ("share/link.txt", ["sea"], P2pfsError),
    ],
)
async def test_nothing_else_gets_tags(
    tmp_path: Path, path: str, tags: list[str], error: type[P2pfsError]
) -> None:
    (tmp_path / "elsewhere").mkdir()
    outside = tmp_path / "elsewhere" / "beach.txt"
    outside.write_bytes(b"sand")
    async with open_share_folder(tmp_path) as share:
        (share.folder / "folder").mkdir()
        (share.folder / "beach.txt").write_bytes(b"sand")
        (share.folder / "link.txt").symlink_to(outside)
        with pytest.raises(error):
            await ask(share, f"{tmp_path}/{path}", *tags)
        assert os.listxattr(outside) == []
