"""`p2pfs peers`."""

from __future__ import annotations

import sys

import msgspec

from p2pfs.cli.control import running_status
from p2pfs.cli.printing import write_json, write_table
from p2pfs.status import PEER_COLUMNS, ROUTER_COLUMNS, PeerStatus, RouterStatus
from p2pfs.text import counted


class Peers(msgspec.Struct, frozen=True):
    """The peers that content was asked of, how many nodes have answered, the delegated routers.

    `peers --json` prints exactly this; fields are only ever added.  A pipe gets a line a peer: peer
    id, address, round trip in ms, bytes a second, bytes fetched, failures, wrong answers, with
    tabs between; what is not known is empty.
    """

    contacts: int
    peers: list[PeerStatus]
    delegated: list[RouterStatus]


def peers(*, json: bool = False) -> None:
    """Show the nodes that content was fetched from, and the delegated routers.

    Parameters
    ----------
    json
        Print JSON instead, for scripts.
    """
    node = running_status()
    if json:
        write_json(Peers(node.overlay.contacts, node.peers, node.delegated))
        return
    write_table(PEER_COLUMNS, node.peers)
    if node.delegated and sys.stdout.isatty():
        print()
        write_table(ROUTER_COLUMNS, node.delegated)
    if sys.stderr.isatty():
        fetched = "" if node.peers else "nothing was fetched from anybody yet; "
        contacts = counted(node.overlay.contacts, "node")
        print(f"{fetched}{contacts} of the network known", file=sys.stderr)
