"""What this node says of its own files: from a path and its metadata to name, title and tags.

Pure.  Signing and sending it is for `announcing`, reading metadata for `media`.
"""

from __future__ import annotations

import os.path
from dataclasses import replace
from typing import TYPE_CHECKING

from p2pfs.content.metainfo import MAX_TAGS, Description, published_name
from p2pfs.content.tags import TITLE, by_importance, folder_tags, name_tags, type_tags

if TYPE_CHECKING:
    from collections.abc import Sequence

    from p2pfs.library.media import Media
    from p2pfs.store.share import Share


def tags_of(
    path: bytes, name: str, media: Media, more_tags: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Those given, the folders' and the user's own; without these, those of metadata and type.

    Every folder in `path` becomes a tag: it must begin at what was published.  At most as many as
    can be published.
    """
    folders = [part.decode("utf-8", "replace") for part in path.split(b"/")[:-1]]
    tags = more_tags + folder_tags(folders)
    if media.user_tags is not None:
        tags += media.user_tags
    else:
        tags += media.tags + type_tags(media.mime, os.path.splitext(name)[1])
    return by_importance(tags, name)[:MAX_TAGS]


def with_media(share: Share, media: Media, more_tags: tuple[str, ...] = ()) -> Share:
    """The same content with the name and tags that its path and its metadata give."""
    name = published_name(os.path.basename(share.path).decode("utf-8", "surrogateescape"))
    return replace(
        share,
        name=name,
        mime=media.mime,
        title=media.title,
        tags=tags_of(share.path, name, media, more_tags),
    )


def described(cid_shares: Sequence[Share]) -> Description | None:
    """One description of all the files with one content; None if there is none.

    The name is that of the first path, the tags are those of all.
    """
    files = sorted(cid_shares, key=lambda share: share.path)
    if not files or files[0].cid is None:
        return None
    first = files[0]
    tags = dict.fromkeys(tag for share in files for tag in share.tags)
    return Description(
        cid=files[0].cid,
        name=first.name,
        size=first.size,
        crc32=first.crc32,
        mime=first.mime,
        tags=by_importance(tags, first.name)[:MAX_TAGS],
    )


def own_tags(description: Description) -> tuple[str, ...]:
    """Every tag an own file is found under here: its tags, and all its words."""
    prefix = f"{TITLE}:"
    title = next((tag[len(prefix) :] for tag in description.tags if tag.startswith(prefix)), "")
    return tuple(dict.fromkeys((*description.tags, *name_tags(description.name, title))))
