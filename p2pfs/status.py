"""The snapshot of a node that the control socket, the mount and the command line show.

Values and their rendering; who fills them is `node`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from pathlib import Path


class OverlayStatus(msgspec.Struct, frozen=True):
    """`mode` is `starting`, `alone`, `server` or `client`."""

    mode: str
    contacts: int


class PeerStatus(msgspec.Struct, frozen=True):
    """A peer that content was asked of; `wrong` counts answers that did not match their hash."""

    peer_id: str
    address: str
    rtt_ms: float | None
    bytes_per_second: float | None
    fetched: int
    failures: int
    wrong: int


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


class CacheStatus(msgspec.Struct, frozen=True):
    """Bytes held of what was fetched; a quota of None is no limit."""

    used: int
    quota: int | None


class Status(msgspec.Struct, frozen=True):
    """The whole node.  `status --json` prints exactly this; fields are only ever added."""

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


def text_of(path: bytes | Path) -> str:
    """A path as text that JSON can hold: what is no UTF-8 in it is U+FFFD."""
    return os.fsencode(path).decode("utf-8", "replace")


def encode_json(answer: msgspec.Struct) -> bytes:
    """JSON for scripts and people, with a newline at its end."""
    return msgspec.json.format(msgspec.json.encode(answer), indent=2) + b"\n"


def render_status(status: Status) -> str:
    """What a person reads, one fact a line; nothing in it moves a terminal's cursor."""
    contacts = _count(status.overlay.contacts, "contact")
    lines = [
        f"node       {status.peer_id or 'making its key, a few seconds'}",
        f"address    {status.address or '-'}",
        f"network    {status.network}, {status.overlay.mode}, {contacts}",
        f"mounted    {', '.join(status.mounts) or '-'}",
        f"share      {status.share}",
        f"cache      {human_bytes(status.cache.used)}",
        f"served     {human_bytes(status.served_bytes)}",
    ]
    lines += ["", f"shares ({len(status.shares)})"] if status.shares else []
    lines += [
        f"  {share.state:<12} {human_bytes(share.size):>9}  {share.path}" for share in status.shares
    ]
    lines += ["", f"open files ({len(status.transfers)})"] if status.transfers else []
    for transfer in status.transfers:
        done = f"{human_bytes(transfer.present)} of {human_bytes(transfer.size)}"
        peers = _count(transfer.peers, "peer")
        lines.append(f"  {transfer.cid}  {done}  {peers}  {transfer.last_error}".rstrip())
    lines += ["", f"peers ({len(status.peers)})"] if status.peers else []
    for peer in status.peers:
        wrong = f"  WRONG BLOCKS: {peer.wrong}" if peer.wrong else ""
        rtt = f"{peer.rtt_ms:.0f} ms" if peer.rtt_ms is not None else "-"
        lines.append(
            f"  {peer.peer_id}  {peer.address}  {rtt}  {human_bytes(peer.fetched)} fetched"
            f"  {_count(peer.failures, 'failure')}{wrong}"
        )
    return "".join(_printable(line) + "\n" for line in lines)


def human_bytes(count: float) -> str:
    """`1.5 MiB`: binary units, one decimal from KiB on."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:  # noqa: PLR2004 binary units
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _printable(line: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in line)
