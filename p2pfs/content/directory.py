"""Plain UnixFS directories: building the block that `unixfs` reads.

Sharded (HAMT) directories are not built, so there is a limit to what fits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from p2pfs.content.balanced import DEFAULT_PROFILE, Profile, node_cid
from p2pfs.content.dag_pb import Link, encode_node
from p2pfs.content.unixfs import TAG_TYPE, TYPE_DIRECTORY, parse_name
from p2pfs.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from p2pfs.content.cid import Cid

# Above this `ipfs add` shards: a plain block would have another CID.
_SHARDED_ABOVE_BYTES = 256 * 1024
_MESSAGE = bytes((TAG_TYPE, TYPE_DIRECTORY))


class BuiltDirectory(NamedTuple):
    """A directory's block and the bytes of it and all below, which a parent's link states."""

    cid: Cid
    block: bytes
    tsize: int


def build_directory(
    entries: Iterable[tuple[str, Cid, int]], profile: Profile = DEFAULT_PROFILE
) -> BuiltDirectory:
    """The directory of (name, CID, tsize), in any order; raises MalformedError.

    Refused is what `unixfs` would not read: impossible and repeated names, and too many.
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
        raise MalformedError(f"{len(links)} entries are too many for a plain directory")
    tsize = len(block) + sum(link.tsize for link in links)
    return BuiltDirectory(node_cid(block, profile), block, tsize)
