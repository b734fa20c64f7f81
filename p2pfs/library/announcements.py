"""What the network should be told about one content of this node, given what it was told.

Pure: time is handed in.  Telling it is for `announcing`.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from p2pfs.content.metainfo import LIFETIME_SECONDS, SKEW_SECONDS

if TYPE_CHECKING:
    from p2pfs.content.cid import Cid
    from p2pfs.content.metainfo import MetaInfo

# Long before the end, for this node may be off at its end; not all at once, for the network's sake.
_RENEW_AFTER_SECONDS = 8 * 3_600
_RENEW_WITHIN_SECONDS = 3 * 3_600
_BYTE_VALUES = 256


class Need(Enum):
    """What is to be sent now."""

    NOTHING = auto()
    PUBLISH = auto()
    WITHDRAW = auto()
    REPLACE = auto()
    """Withdraw, since the old one is under tags that the new one has not; then publish."""


def need(told: MetaInfo | None, wanted: MetaInfo | None, accepted_until: int, now: int) -> Need:
    """What to send: `told` is what was sent last, `wanted` what holds now (None: no file).

    `accepted_until` is when what other nodes accepted expires, 0 if they accepted nothing.
    """
    live = told is not None and not told.withdrawn and is_live(told.expires, now)
    if wanted is None:
        return Need.WITHDRAW if live else Need.NOTHING
    if told is None or not live:
        return Need.PUBLISH
    if set(told.index_tags) - set(wanted.index_tags):
        return Need.REPLACE
    if accepted_until <= now or _says(told) != _says(wanted):
        return Need.PUBLISH
    return Need.PUBLISH if now >= renewal(told) else Need.NOTHING


def renewal(told: MetaInfo) -> int:
    """When to say it again; see `renewed_at`."""
    return renewed_at(told.cid, told.expires)


def renewed_at(cid: Cid, expires: int) -> int:
    """8 to 11 hours after what ends at `expires` was said of a root; the same after a restart."""
    spread = _RENEW_WITHIN_SECONDS * _last_byte(cid) // _BYTE_VALUES
    return expires - LIFETIME_SECONDS + _RENEW_AFTER_SECONDS + spread


def is_live(expires: int, now: int) -> bool:
    """Whether what ends then is still held: what ends later was said by a clock that was ahead."""
    return now < expires <= now + LIFETIME_SECONDS + SKEW_SECONDS


def _says(meta: MetaInfo) -> tuple[object, ...]:
    return meta.name, meta.size, meta.crc32, meta.mime, meta.tags, meta.at


def _last_byte(cid: Cid) -> int:
    return cid.multihash[-1]
