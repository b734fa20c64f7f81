"""Many contents announced at once: one lookup for a region of keys, one record for neighbours.

Which contents, and when, is for `library.sweeping`; the records go out in bulk by `traffic`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from p2pfs.dht.kad.contacts import distance
from p2pfs.dht.recordpages import encode_batches
from p2pfs.dht.records import MAX_MULTIHASHES, MAX_PROVIDER_ADDRESSES, create_provider_record
from p2pfs.dht.subjects import CHUNK_COPIES, provider_subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeAlias

    from p2pfs.addresses import Endpoint
    from p2pfs.dht.kad.contacts import Contact
    from p2pfs.dht.kad.server import Server
    from p2pfs.dht.subjects import Subject

    # Whether ids were made for a key, by the nodes closest to it, closest first.
    IsSuspect: TypeAlias = Callable[[bytes, Sequence[Contact]], bool]

# Contents that share a record go where the first of them belongs, as long as a reader of each one,
# who asks the 20 closest, is sure to ask there too: six may come before a neighbour moves out.
_CLOSE_ENOUGH = 14
# Of a key that ids were made for, with those that see past them: each asks about as many.
_LOOKUPS_OF_A_CROWD = 4
# Holders reach into the regions on both sides, and get one batch for all that are served together:
# with four of them three in ten batches are saved, with eight hardly more.
_REGIONS_TOGETHER = 4


@dataclass(frozen=True, slots=True)
class Group:
    """Contents adjacent in the order of their keys, and who gets their one record."""

    subjects: tuple[Subject, ...]
    holders: tuple[Contact, ...]


@dataclass(frozen=True, slots=True)
class Served:
    """What a few region lookups serve, and what they took."""

    groups: tuple[Group, ...]
    requests: int

    @property
    def subjects(self) -> list[Subject]:
        return [subject for group in self.groups for subject in group.subjects]


@dataclass(frozen=True, slots=True)
class Swept:
    """How many contents were offered, which of their multihashes no node took, and requests."""

    contents: int
    refused: tuple[bytes, ...]
    requests: int


def groups_in(
    centre: bytes,
    closest: Sequence[Contact],
    k: int,
    subjects: Sequence[Subject],
    is_suspect: IsSuspect,
) -> list[Group]:
    """The first of `subjects`, which are in the order of their keys, cut into groups.

    `closest` are the k closest nodes to `centre`, closest first.  Ends at the first subject of
    which they may not hold the closest, fewer than k being all nodes that there are; and at the
    first that ids were made for.
    """
    groups: list[Group] = []
    nodes = {int.from_bytes(each.node_id, "big"): each for each in closest}
    middle = int.from_bytes(centre, "big")
    reach = max((node ^ middle for node in nodes), default=0) if len(nodes) >= k else None
    begun: list[Subject] = []
    holders: list[int] = []
    for subject in subjects:
        key = int.from_bytes(subject.key, "big")
        nearest = sorted(nodes, key=key.__xor__)
        # As in `regions`: the triangle inequality of XOR.
        last = nearest[:CHUNK_COPIES][-1:]
        if reach is not None and last and (last[0] ^ key) + (middle ^ key) > reach:
            break
        if is_suspect(subject.key, [nodes[each] for each in nearest]):
            break
        fits = len(begun) < MAX_MULTIHASHES and set(holders) <= set(nearest[:_CLOSE_ENOUGH])
        if not begun or not fits:
            _end(groups, begun, holders, nodes)
            begun, holders = [], nearest[:CHUNK_COPIES]
        begun.append(subject)
    _end(groups, begun, holders, nodes)
    return groups


def groups_in_crowd(
    region: Sequence[Contact], reach: int, subjects: Sequence[Subject], is_suspect: IsSuspect
) -> list[Group]:
    """The first subject, for which ids were made, and those after it that are in the same crowd.

    `region` is everybody up to `reach` from the first: as a reader asks them all, all hold it.  Of
    half of that around each of the others all are in it, too.
    """
    middle = int.from_bytes(subjects[0].key, "big")

    def is_crowded(subject: Subject) -> bool:
        key = int.from_bytes(subject.key, "big")
        nearest = sorted(region, key=lambda each: distance(each.node_id, subject.key))
        return 2 * (middle ^ key) <= reach and is_suspect(subject.key, nearest)

    crowded = [subjects[0], *takewhile(is_crowded, subjects[1:])]
    return [
        Group(tuple(crowded[at : at + MAX_MULTIHASHES]), tuple(region))
        for at in range(0, len(crowded), MAX_MULTIHASHES)
    ]


def _end(
    groups: list[Group], begun: list[Subject], holders: list[int], nodes: dict[int, Contact]
) -> None:
    if begun:
        groups.append(Group(tuple(begun), tuple(nodes[each] for each in holders)))


async def find_groups(server: Server, subjects: Sequence[Subject]) -> Served:
    """As many of the first subjects, in the order of their keys, as a few lookups serve.

    At least the first, if any node answers.
    """
    groups: list[Group] = []
    requests, left = 0, subjects
    for _ in range(_REGIONS_TOGETHER):
        served = await find_region(server, left)
        groups += served.groups
        requests += served.requests
        left = left[len(served.subjects) :]
        if not served.groups or not left:
            break
    return Served(tuple(groups), requests)


async def find_region(server: Server, subjects: Sequence[Subject]) -> Served:
    """As many of the first subjects, in the order of their keys, as one lookup serves.

    At least the first, if any node answers; where ids were made for it, it takes some lookups more.
    """
    first, finder, k = subjects[0].key, server.finder, server.settings.k
    lookup = await finder.lookup(first)
    closest = lookup.closest()
    if not closest:
        return Served((), lookup.asked)
    is_suspect, reach = finder.estimate.is_suspect, finder.estimate.reach
    if reach is not None and is_suspect(first, closest):
        region = await finder.whole_region(lookup)
        crowded = groups_in_crowd(region, reach, subjects, is_suspect)
        return Served(tuple(crowded), _LOOKUPS_OF_A_CROWD * lookup.asked)
    # Fewer than k are all that there are only where lookups find no more elsewhere.
    is_whole = lookup.is_over and (len(closest) >= k or reach is None)
    found = groups_in(first, closest, k, subjects, is_suspect) if is_whole else []
    # Nodes may also stand so that not even one key is certain.
    found = found or [Group((subjects[0],), tuple(closest[:CHUNK_COPIES]))]
    return Served(tuple(found), lookup.asked)


def encode_groups(
    server: Server, groups: Sequence[Group], addresses: Sequence[Endpoint], expires: int
) -> dict[Contact, list[bytes]]:
    """The batches that each holder is to be sent: a record for as many of a group as fit in one."""
    wanted: dict[Contact, list[tuple[Subject, bytes]]] = {}
    for group in groups:
        entries = list(_entries(server, group, addresses, expires))
        for holder in group.holders:
            wanted.setdefault(holder, []).extend(entries)
    return {holder: encode_batches(entries) for holder, entries in wanted.items()}


def _entries(
    server: Server, group: Group, addresses: Sequence[Endpoint], expires: int
) -> Iterator[tuple[Subject, bytes]]:
    settings = server.settings
    left = [bytes(subject.parts[0]) for subject in group.subjects]  # type: ignore[arg-type]  # multihashes
    while left:
        record = create_provider_record(
            left,
            addresses[:MAX_PROVIDER_ADDRESSES],
            expires,
            settings.identity.private_key,
            settings.network,
        )
        for multihash in record.multihashes:
            yield provider_subject(multihash), record.encoded
        left = left[len(record.multihashes) :]
