"""One value of a setting as a user writes it, from a file, the environment or a flag; and back.

Each parser takes whatever TOML can hold, and raises ValueError or MalformedError that says what it
may be.  Which settings there are, and where they come from, is for `settings`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Literal, cast, get_args
from urllib.parse import urlsplit, urlunsplit

from p2pfs.addresses import Scope, canonical_ip, parse_host_port, scope
from p2pfs.errors import MalformedError

Parse = Callable[[Any], Any]
Seed = Literal["all", "pinned", "none"]
ServerMode = Literal["auto", "yes", "no"]

DEFAULT_PORT = 7117
# More zero bits than this is hours of grinding: a slip of the keyboard.
_MAX_PUZZLE_BITS = 32
# A name is hashed, never stored by others; what is longer, or cannot be printed, is a mistake.
_MAX_NETWORK_NAME = 255
# RFC 1123, section 2.1; whether it exists is found out when the node looks for it.
# An Ed25519 key's; whether it is one is found out when it is used.
_PEER_ID = re.compile(r"12D3Koo[1-9A-HJ-NP-Za-km-z]{45}")
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_SWITCH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_MAX_LABEL = 63  # RFC 1035, section 2.3.4
_MOST_MAX_ENTRIES = 100_000  # a listing is in memory, at about 3 KB an entry
# At 300 requests a second these take a quarter of an hour, and 200 MB of memory.
_MOST_ANNOUNCE_CHUNKS = 1_000_000
# Binary units, as `du`, `df` and `rclone` count; "20G" is 20 GiB.
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_SIZE = re.compile(r"([0-9]{1,19}(?:\.[0-9]{1,3})?)\s*([KMGT]?)(?:I?B)?", re.IGNORECASE)
# Below 13 KB/s a connection, peers give up on this node: enough for two, with two connections each.
_MIN_RATE = 64 << 10


def several(parse: Callable[[str], Any]) -> Parse:
    """A list, or a text with spaces or commas between."""

    def parse_all(value: object) -> tuple[Any, ...]:
        parts = value.replace(",", " ").split() if isinstance(value, str) else value
        if not isinstance(parts, list | tuple) or not all(isinstance(p, str) for p in parts):
            raise ValueError(f"a list of texts, not {value!r}")
        return tuple(map(parse, parts))

    return parse_all


def peer(value: str) -> str:
    """HOST:PORT, HOST a literal IP or a name; without a port it is the default one."""
    try:
        return str(parse_host_port(value))
    except MalformedError as error:
        host, _, port = value.partition(":")
        if "[" in value or not _HOST_NAME.fullmatch(host) or (port and not port.isdigit()):
            raise ValueError(f"HOST or HOST:PORT, not {value!r}") from error
        return f"{host}:{port or DEFAULT_PORT}"


def router(value: str) -> str:
    """A URL; `PEER-ID@` before the host pins the key of a p2pfs node."""
    parts = urlsplit(value.strip())
    host, pinned = parts.hostname or "", parts.username
    extra = parts.query or parts.fragment or parts.password is not None
    if parts.scheme not in ("http", "https") or extra or not _is_host(host):
        raise ValueError(f"https://HOST[:PORT] or https://PEER-ID@HOST:PORT, not {value!r}")
    if parts.port == 0:  # raises ValueError itself for no number
        raise ValueError(f"no such port: {value!r}")
    if pinned is not None and not _PEER_ID.fullmatch(pinned):
        raise ValueError(f"before the @ a peer id, as `p2pfs id` prints it, not {pinned!r}")
    if parts.scheme == "http" and (pinned is not None or not _is_here(host)):
        raise ValueError(f"https, as http is only for this machine and its network, not {value!r}")
    return urlunsplit(parts).rstrip("/")


def folder(value: object) -> Path:
    """A path, absolute, with ~ spelt out."""
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError(f"the path of a folder, not {value!r}")
    return Path(value).expanduser().absolute()


def file(value: object) -> Path:
    """A path, absolute, with ~ spelt out."""
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError(f"the path of a file, not {value!r}")
    return Path(value).expanduser().absolute()


def network_name(value: object) -> str:
    """Printable text."""
    if not isinstance(value, str) or not value.isprintable() or not value:
        raise ValueError(f"a network's name is printable text, not {value!r}")
    if len(value.encode()) > _MAX_NETWORK_NAME:
        raise ValueError(f"a network's name has at most {_MAX_NETWORK_NAME} bytes")
    return value


def puzzle_bits(value: object) -> int:
    """A number of zero bits."""
    return _whole(value, "bits", 0, _MAX_PUZZLE_BITS)


def max_entries(value: object) -> int:
    """A number of files."""
    return _whole(value, "files", 1, _MOST_MAX_ENTRIES)


def announce_chunks(value: object) -> int:
    """A number of chunks."""
    return _whole(value, "chunks", 0, _MOST_ANNOUNCE_CHUNKS)


def prefix(value: str) -> IPv4Network | IPv6Network:
    """`192.168.0.0/24`."""
    try:
        return ip_network(value)
    except ValueError as error:
        raise ValueError(f"a network such as 192.168.0.0/24, not {value!r}") from error


def size(value: object) -> int:
    """Bytes, as a number or with a unit: `500M`, `20G`, `1.5T`."""
    found = None if isinstance(value, bool) else _SIZE.fullmatch(str(value).strip())
    if found is None:
        raise ValueError(f"a size such as 500M or 20G, not {value!r}")
    return int(Decimal(found[1]) * (1 << _UNITS[found[2].upper()]))


def size_text(count: int) -> str:
    """The shortest text that `size` reads as exactly so many bytes."""
    for unit, shift in reversed(_UNITS.items()):
        if count and count % (1 << shift) == 0:
            return f"{count >> shift}{unit}"
    return str(count)


def rate(value: object) -> int | None:
    """Bytes a second, written as a size; 0 and `none` are no limit."""
    if value == "none":
        return None
    found = size(value)
    if 0 < found < _MIN_RATE:
        raise ValueError(f"at least {_MIN_RATE >> 10}K a second, or 0 for no limit, not {value!r}")
    return found or None


def seed(value: object) -> Seed:
    """One of three words."""
    if value not in get_args(Seed):
        raise ValueError(f"one of {', '.join(get_args(Seed))}, not {value!r}")
    return cast("Seed", value)


def server_mode(value: object) -> ServerMode:
    """One of three words; TOML's own yes and no too."""
    word = {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value
    if word not in get_args(ServerMode):
        raise ValueError(f"one of {', '.join(get_args(ServerMode))}, not {value!r}")
    return cast("ServerMode", word)


def switch(value: object) -> bool:
    """On or off."""
    word = str(value).lower()
    if word not in _SWITCH:
        raise ValueError(f"true or false, not {value!r}")
    return _SWITCH[word]


def _is_host(host: str) -> bool:
    labels_fit = all(len(label) <= _MAX_LABEL for label in host.split("."))
    return _ip(host) is not None or (labels_fit and _HOST_NAME.fullmatch(host) is not None)


def _is_here(host: str) -> bool:
    ip = _ip(host)
    return host == "localhost" if ip is None else scope(ip) in (Scope.LOOPBACK, Scope.PRIVATE)


def _ip(host: str) -> str | None:
    try:
        return canonical_ip(host)
    except MalformedError:
        return None


def _whole(value: object, of: str, least: int, most: int) -> int:
    text = str(value)
    if isinstance(value, bool) or not text.isascii() or not text.isdigit():
        raise ValueError(f"a number of {of}, not {value!r}")
    if not least <= int(text) <= most:
        raise ValueError(f"between {least} and {most}, not {value!r}")
    return int(text)
