"""Every setting: how it is read, and what help, `p2pfs config` and the reference say of it.

Where their values come from is for `settings`.
"""

from __future__ import annotations

from dataclasses import dataclass

from p2pfs import settingvalues
from p2pfs.addresses import parse_host_port
from p2pfs.network import DEFAULT_NAME
from p2pfs.settingvalues import DEFAULT_PORT, Parse, several, size_text

DEFAULT_MIN_FREE = 1 << 30  # what a machine needs to log, update and print
DEFAULT_ANNOUNCE_CHUNKS = 200_000  # 50 GB; renewed at 4 KB/s
DEFAULT_MAX_ENTRIES = 10_000  # what `ls` and file managers still cope with


@dataclass(frozen=True, slots=True)
class Setting:
    """How a setting is read, and what help, `p2pfs config` and the reference say of it."""

    parse: Parse
    form: str
    """What stands for a value in a usage line."""
    says: str
    default: str
    example: str
    """As it is written in config.toml."""


SETTINGS: dict[str, Setting] = {
    "listen": Setting(
        several(parse_host_port),
        "HOST:PORT",
        "Where to listen, UDP and TCP; several addresses share one port, and port 0 picks one.",
        f"all addresses, port {DEFAULT_PORT} or the next free",
        '["0.0.0.0:7117"]',
    ),
    "peers": Setting(
        several(settingvalues.peer),
        "HOST:PORT",
        f"Nodes that are in the network already, to join by; without a port it is {DEFAULT_PORT}.",
        "none",
        '["node.example.org", "192.0.2.7:7117"]',
    ),
    "delegated": Setting(
        several(settingvalues.router),
        "URL",
        "Routers that are asked over HTTP who has a content: IPFS Delegated Routing V1, as Kubo, "
        "public services and p2pfs nodes (https://PEER-ID@HOST:PORT) answer it.",
        "none",
        '["http://127.0.0.1:8080", "https://delegated-ipfs.dev"]',
    ),
    "lan_discovery": Setting(
        settingvalues.switch,
        "true|false",
        "Whether to find nodes of the same network on the local network, and be found by them.",
        "true",
        "false",
    ),
    "network": Setting(
        settingvalues.network_name,
        "NAME",
        "Which network to join.",
        DEFAULT_NAME,
        '"family"',
    ),
    "network_secret_file": Setting(
        settingvalues.file,
        "FILE",
        "The file with the secret of a private network: who has it is a member, all others are "
        "outside. The same on all its nodes.",
        "none",
        '"/etc/p2pfs/family.secret"',
    ),
    "puzzle_bits": Setting(
        settingvalues.puzzle_bits,
        "BITS",
        "How much work a key costs in a network of your own; the same on all its nodes.",
        f"16 in the network {DEFAULT_NAME}, else 0",
        "8",
    ),
    "lan": Setting(
        several(settingvalues.prefix),
        "NETWORK",
        "Private networks whose addresses count although this machine is not in them.",
        "none",
        '["192.168.0.0/16"]',
    ),
    "share": Setting(
        settingvalues.folder,
        "FOLDER",
        "The folder behind share/: all that lies in it is published.",
        "share in the data folder",
        '"/srv/music"',
    ),
    "cache_size": Setting(
        settingvalues.size,
        "SIZE",
        "How much of what was fetched is kept.",
        "a tenth of the disk",
        '"20G"',
    ),
    "min_free": Setting(
        settingvalues.size,
        "SIZE",
        "How much of its disk the cache leaves free.",
        size_text(DEFAULT_MIN_FREE),
        '"5G"',
    ),
    "seed": Setting(
        settingvalues.seed,
        "WHICH",
        "Which of the fetched content others may have from this node.",
        "all",
        '"pinned"',
    ),
    "limit_up": Setting(
        settingvalues.rate,
        "RATE",
        "Bytes a second sent to all peers together; 0 is no limit.",
        "no limit",
        '"2M"',
    ),
    "limit_down": Setting(
        settingvalues.rate,
        "RATE",
        "Bytes a second fetched from all peers together; 0 is no limit.",
        "no limit",
        '"10M"',
    ),
    "max_entries": Setting(
        settingvalues.max_entries,
        "COUNT",
        "How many files a listing holds at most.",
        f"{DEFAULT_MAX_ENTRIES}",
        "2000",
    ),
    "announce_chunks": Setting(
        settingvalues.announce_chunks,
        "COUNT",
        "How many chunks, of the files changed last, are to be found by their own ids; 0 for none.",
        f"{DEFAULT_ANNOUNCE_CHUNKS}",
        "50000",
    ),
    "server": Setting(
        settingvalues.server_mode,
        "MODE",
        "Whether others may count on reaching this node; auto finds out if they do.",
        "auto",
        '"no"',
    ),
}
