"""UnixFS directories: one plain block, or the shards of `hamt` where `ipfs add` would shard.

Reading them is for `unixfs`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from p2pfs.content.balanced import DEFAULT_PROFILE, Profile, node_cid
from p2pfs.content.dag_pb import Link, encode_node
from p2pfs.content.hamt import build_shards
from p2pfs.content.unixfs import TAG_TYPE, TYPE_DIRECTORY, parse_name
from p2pfs.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from p2pfs.content.cid import Cid

# Above this `ipfs add` shards: a plain block would have another CID.
_SHARDED_ABOVE_BYTES = 256 * 1024
_MESSAGE = bytes((TAG_TYPE, TYPE_DIRECTORY))


class BuiltDirectory(NamedTuple):
    """A directory's root block and the bytes of it and all below, which a parent's link states.

    Of a sharded one, `parts` are the shards below the root.
    """

    cid: Cid
    block: bytes
    tsize: int
    parts: tuple[tuple[Cid, bytes], ...] = ()


def build_directory(
    entries: Iterable[tuple[str, Cid, int]], profile: Profile = DEFAULT_PROFILE
) -> BuiltDirectory:
    """The directory of (name, CID, tsize), in any order; raises MalformedError.

    Refused are names that `unixfs` would not read, and one name twice.
    """
    links = sorted(
        (Link(cid, name.encode(errors="surrogateescape"), tsize) for name, cid, tsize in entries),
        key=lambda link: link.name,
    )
    if len({parse_name(link.name) for link in links}) != len(links):
        raise MalformedError("a directory with one name twice")
    block = encode_node(links, _MESSAGE)
    linked = sum(len(link.name) + len(link.cid.encode()) for link in links)
    if (len(block) if profile.shards_by_block else linked) > _SHARDED_ABOVE_BYTES:
        built = build_shards(links, profile)
        *parts, (cid, root) = built.shards
        return BuiltDirectory(cid, root, built.tsize, tuple(parts))
    tsize = len(block) + sum(link.tsize for link in links)
    return BuiltDirectory(node_cid(block, profile), block, tsize)
