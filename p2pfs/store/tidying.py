"""Dropping what the cache's folder and its account do not agree about, while the node runs.

What a kill leaves is taken away by `sweeping`, when nothing is open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from p2pfs.store.sweeping import cache_files

if TYPE_CHECKING:
    from p2pfs.store.objects import Objects


async def tidy(objects: Objects) -> int:
    """Drop files without an account, and accounts without a file; how many went."""
    await objects.save()
    files = set(await trio.to_thread.run_sync(cache_files, objects.folder / "objects"))
    kept = [cached.cid for cached in objects.cached()]
    known = {objects.path(cid) for cid in kept} | {
        objects.path(held.cid) for held in objects.opened()
    }
    odd = [file for file in files if file not in known]
    for file in odd:
        file.unlink(missing_ok=True)
    lost = [cid for cid in kept if objects.path(cid) not in files and not objects.is_open(cid)]
    for cid in lost:
        await objects.remove(cid)
    return len(odd) + len(lost)
