"""The snapshot of a node that the control socket, the mount and the command line show.

Values and their rendering; who fills them is `node`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from p2pfs.text import (
    Column,
    Fact,
    aligned,
    aligned_facts,
    counted,
    human_bytes,
    printable_json,
    uncoloured,
)

if TYPE_CHECKING:
    from pathlib import Path

    from p2pfs.text import Paint, Style


ALONE = "alone"
UDP_BLOCKED = "UDP is blocked: asking over HTTPS"
"""A problem that a node has: no datagram is answered, but requests by HTTPS are."""


class OverlayStatus(msgspec.Struct, frozen=True):
    """`mode` is `starting`, `alone`, `server` or `client`; `problem`: why few answer, or nobody."""

    mode: str
    contacts: int
    private: bool = False
    problem: str = ""


class PeerStatus(msgspec.Struct, frozen=True):
    """A peer that content was asked of; `wrong` counts answers that did not match their hash."""

    peer_id: str
    address: str
    rtt_ms: float | None
    bytes_per_second: float | None
    fetched: int
    failures: int
    wrong: int


class RouterStatus(msgspec.Struct, frozen=True):
    """A delegated router: contents it was asked for, peers it named, why it failed last."""

    url: str
    asked: int
    found: int
    last_error: str


class TransferStatus(msgspec.Struct, frozen=True):
    """A file that is open; `present` of its `size` bytes are held here."""

    cid: str
    size: int
    present: int
    peers: int
    last_error: str


class ShareStatus(msgspec.Struct, frozen=True):
    """A file of this node; `path` is below the share folder, or absolute."""

    path: str
    cid: str | None
    state: str
    size: int


class FolderStatus(msgspec.Struct, frozen=True):
    """A directory of `share/`, by its path below that; `cid` is null while it has none."""

    path: str
    cid: str | None
    state: str


class CacheStatus(msgspec.Struct, frozen=True):
    """Bytes held of what was fetched; a quota of None is no limit."""

    used: int
    quota: int | None


class Status(msgspec.Struct, frozen=True):
    """The whole node.  `status --json` prints exactly this; fields are only ever added.

    `noticing` says why changes behind the mount are noticed late, and is empty if they are not;
    `clock_behind` by how many seconds this machine's clock is behind its peers' median.
    """

    version: str
    pid: int
    network: str
    peer_id: str | None
    address: str | None
    mounts: list[str]
    share: str
    overlay: OverlayStatus
    peers: list[PeerStatus]
    transfers: list[TransferStatus]
    shares: list[ShareStatus]
    cache: CacheStatus
    served_bytes: int
    fetched_bytes: dict[str, int]
    delegated: list[RouterStatus] = []
    folders: list[FolderStatus] = []
    noticing: str = ""
    clock_behind: float | None = None


def text_of(path: bytes | Path) -> str:
    """A path as text that JSON can hold: what is no UTF-8 in it is U+FFFD."""
    return os.fsencode(path).decode("utf-8", "replace")


def encode_json(answer: msgspec.Struct) -> bytes:
    """JSON for scripts and people, with a newline at its end; a terminal may be given it."""
    text = msgspec.json.format(msgspec.json.encode(answer), indent=2).decode()
    return printable_json(text).encode() + b"\n"


def render_status(status: Status, paint: Paint = uncoloured) -> str:
    """What a person reads; nothing in it moves a terminal's cursor."""
    return aligned_facts(_facts(status), paint) + "".join(
        f"\n{paint(f'{what} ({count})', 'heading')}\n{table}"
        for what, count, table in (
            ("shares", len(status.shares), aligned(_SHARES, status.shares, paint)),
            ("open files", len(status.transfers), aligned(_TRANSFERS, status.transfers, paint)),
            ("peers", len(status.peers), aligned(PEER_COLUMNS, status.peers, paint)),
            ("routers", len(status.delegated), aligned(ROUTER_COLUMNS, status.delegated, paint)),
        )
        if count
    )


def said_alone(status: Status) -> str:
    """What it means for this node's files that no other answers; empty while one does."""
    if status.overlay.mode != ALONE:
        return ""
    states = [share.state for share in status.shares]
    then = "name one with --peer HOST:PORT, or give others this address"
    if published := states.count("published"):
        took = f"others took the records of {counted(published, 'file')} earlier"
        then = f"{took}, and keep them for a day at most"
    elif states:
        then = "nobody else is told of your files until one does"
    return f"no other node of the network answers; {then}"


def said_unanswered(peers: int) -> str:
    """Why none of so many peers that the user has named may have answered."""
    return (
        f"{counted(peers, 'peer')} given, none answers: does a node run there, and are `--network` "
        "and its secret the same? A private network is silent to all others"
    )


def _facts(status: Status) -> list[Fact]:
    overlay = status.overlay
    network = f"{status.network} (private)" if overlay.private else status.network
    joined = f"{network}, {overlay.mode}, {counted(overlay.contacts, 'contact')}"
    alone = said_alone(status)
    return [
        Fact("node", status.peer_id or "making its key, a few seconds"),
        Fact("address", status.address),
        Fact("network", joined, style="good" if overlay.contacts else "busy"),
        *([Fact("alone", alone, style="busy")] if alone else []),
        *([Fact("problem", overlay.problem, style="bad")] if overlay.problem else []),
        Fact("mounted", ", ".join(status.mounts) or None),
        Fact("share", status.share),
        Fact("cache", human_bytes(status.cache.used)),
        Fact("served", human_bytes(status.served_bytes)),
    ]


_STATE_STYLES: dict[str, Style] = {"published": "good", "ignored": "dim", "failed": "bad"}


def state_style(state: str) -> Style:
    """How the state of a file in `share/` is painted: done, in work, or wrong."""
    return _STATE_STYLES.get(state.partition(":")[0], "busy")


def _rtt(peer: PeerStatus) -> str | None:
    return None if peer.rtt_ms is None else f"{peer.rtt_ms:.0f} ms"


def _rate(peer: PeerStatus) -> str | None:
    return None if peer.bytes_per_second is None else f"{human_bytes(peer.bytes_per_second)}/s"


def _failing(peer: PeerStatus) -> Style:
    return "busy" if peer.failures else "dim"


def _lying(peer: PeerStatus) -> Style:
    return "bad" if peer.wrong else "dim"


def _share_of(transfer: TransferStatus) -> str:
    return f"{human_bytes(transfer.present)} of {human_bytes(transfer.size)}"


_SHARES: list[Column[ShareStatus]] = [
    Column("STATE", lambda share: share.state, style=lambda share: state_style(share.state)),
    Column("SIZE", lambda share: share.size, lambda share: human_bytes(share.size), "right"),
    Column("PATH", lambda share: share.path),
]
_TRANSFERS: list[Column[TransferStatus]] = [
    Column("CONTENT ID", lambda transfer: transfer.cid),
    Column("HERE", lambda transfer: transfer.present, _share_of, "right"),
    Column("PEERS", lambda transfer: transfer.peers, align="right"),
    Column("LAST ERROR", lambda transfer: transfer.last_error, style=lambda _: "bad"),
]
PEER_COLUMNS: list[Column[PeerStatus]] = [
    Column("PEER", lambda peer: peer.peer_id),
    Column("ADDRESS", lambda peer: peer.address),
    Column("RTT", lambda peer: peer.rtt_ms, _rtt, "right"),
    Column("RATE", lambda peer: peer.bytes_per_second, _rate, "right"),
    Column("FETCHED", lambda peer: peer.fetched, lambda peer: human_bytes(peer.fetched), "right"),
    Column("FAILURES", lambda peer: peer.failures, align="right", style=_failing),
    Column("WRONG", lambda peer: peer.wrong, align="right", style=_lying),
]
ROUTER_COLUMNS: list[Column[RouterStatus]] = [
    Column("ROUTER", lambda router: router.url),
    Column("ASKED", lambda router: router.asked, align="right"),
    Column("FOUND", lambda router: router.found, align="right"),
    Column("LAST ERROR", lambda router: router.last_error, style=lambda _: "bad"),
]
