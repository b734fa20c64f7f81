"""Where a node's settings come from: flags, then `P2PFS_*`, then config.toml, into one value.

Nothing here touches the network or creates a file.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass, fields
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import platformdirs

from p2pfs.addresses import Endpoint, parse_host_port
from p2pfs.errors import MalformedError, UsageError
from p2pfs.network import DEFAULT_NAME, Network, public_network

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DEFAULT_PORT = 7117
DEFAULT_LISTEN = (Endpoint("::", DEFAULT_PORT), Endpoint("0.0.0.0", DEFAULT_PORT))  # noqa: S104 a server
# More zero bits than this is hours of grinding: a slip of the keyboard.
_MAX_PUZZLE_BITS = 32
# A name is hashed, never stored by others; what is longer, or cannot be printed, is a mistake.
_MAX_NETWORK_NAME = 255
# RFC 1123, section 2.1; whether it exists is found out when the node looks for it.
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
DEFAULT_MIN_FREE = 1 << 30  # what a machine needs to log, update and print
DEFAULT_MAX_ENTRIES = 10_000  # what `ls` and file managers still cope with
_MOST_MAX_ENTRIES = 100_000  # a listing is in memory, at about 3 KB an entry
Seed = Literal["all", "pinned", "none"]
# Binary units, as `du`, `df` and `rclone` count; "20G" is 20 GiB.
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,3})?)\s*([KMGT]?)(?:I?B)?", re.IGNORECASE)
_MIN_RATE = 16 << 10  # a chunk in 16 s: slower, and peers give up on this node
_PREFIX = "P2PFS_"
_HOME = "P2PFS_HOME"
_APP = "p2pfs"


@dataclass(frozen=True, slots=True)
class Places:
    """The folders of one node; `P2PFS_HOME` puts them all under one."""

    config: Path
    data: Path
    cache: Path
    state: Path
    runtime: Path

    @property
    def identity(self) -> Path:
        """The node's private key."""
        return self.data / "identity.key"

    @property
    def catalog(self) -> Path:
        """What this node holds."""
        return self.data / "catalog.sqlite"

    @property
    def overlay(self) -> Path:
        """Records stored here for others, and contacts."""
        return self.data / "overlay.sqlite"

    @property
    def log(self) -> Path:
        """Where a node in the background writes."""
        return self.state / "log"

    @property
    def socket(self) -> Path:
        """The control socket."""
        return self.runtime / "control.sock"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a user can set, checked."""

    places: Places
    share: Path
    listen: tuple[Endpoint, ...] = DEFAULT_LISTEN
    peers: tuple[str, ...] = ()
    network: str = DEFAULT_NAME
    puzzle_bits: int | None = None
    lan: tuple[IPv4Network | IPv6Network, ...] = ()
    cache_size: int | None = None
    """Bytes of fetched content to keep at most; None: a tenth of the disk."""
    min_free: int = DEFAULT_MIN_FREE
    """Bytes of its disk that the cache leaves free."""
    seed: Seed = "all"
    """Which of the fetched content others may have."""
    limit_up: int | None = None
    limit_down: int | None = None
    """Bytes a second over all peers; None: no limit."""
    max_entries: int = DEFAULT_MAX_ENTRIES
    """Files in one listing at most."""

    def overlay_network(self) -> Network:
        """The network these settings name."""
        return public_network(self.network, self.puzzle_bits)


def places(environ: Mapping[str, str]) -> Places:
    """Where a node keeps its things: below `P2PFS_HOME`, or by the XDG base directories."""
    home = environ.get(_HOME)
    if home:
        root = Path(home).expanduser().absolute()
        return Places(root, root / "data", root / "cache", root / "state", root / "run")
    dirs = platformdirs.PlatformDirs(_APP, appauthor=False)
    return Places(
        dirs.user_config_path,
        dirs.user_data_path,
        dirs.user_cache_path,
        dirs.user_state_path,
        Path(environ.get("XDG_RUNTIME_DIR") or dirs.user_data_path / "run", _APP),
    )


def load_settings(flags: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings out of flags (None: not given), environment and config.toml, in that order.

    Raises UsageError naming the setting, where it was set, and what it may be.
    """
    where = places(environ)
    file = where.config / "config.toml"
    chosen: dict[str, Any] = {"places": where, "share": where.data / "share"}
    sources = (
        (str(file), _from_file(file)),
        ("the environment", _from_environment(environ)),
        ("the command line", flags),
    )
    for source, values in sources:
        for name, value in values.items():
            if value is None:
                continue
            try:
                chosen[name] = _PARSERS[name](value)
            except (MalformedError, ValueError) as error:
                raise UsageError(f"{name} in {source}: {error}") from error
    return Settings(**chosen)


def _from_file(file: Path) -> Mapping[str, Any]:
    try:
        values = tomllib.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read {file}: {error}") from error
    _refuse_unknown(values, str(file))
    return values


def _from_environment(environ: Mapping[str, str]) -> Mapping[str, str]:
    named = {
        name.removeprefix(_PREFIX).lower(): value
        for name, value in environ.items()
        if name.startswith(_PREFIX) and name != _HOME and value
    }
    _refuse_unknown(named, "the environment")
    return named


def _refuse_unknown(values: Mapping[str, Any], source: str) -> None:
    unknown = sorted(set(values) - set(_PARSERS))
    if unknown:
        known = ", ".join(_PARSERS)
        raise UsageError(f"{source}: unknown setting {unknown[0]!r}; there are: {known}")


def _several(parse: Callable[[str], Any]) -> Callable[[Any], tuple[Any, ...]]:
    def parse_all(value: object) -> tuple[Any, ...]:
        parts = value.replace(",", " ").split() if isinstance(value, str) else value
        if not isinstance(parts, list | tuple) or not all(isinstance(p, str) for p in parts):
            raise ValueError(f"a list of texts, not {value!r}")
        return tuple(map(parse, parts))

    return parse_all


def _peer(value: str) -> str:
    """HOST:PORT, HOST a literal IP or a name; without a port it is the default one."""
    try:
        return str(parse_host_port(value))
    except MalformedError as error:
        host, _, port = value.partition(":")
        if "[" in value or not _HOST_NAME.fullmatch(host) or (port and not port.isdigit()):
            raise ValueError(f"HOST or HOST:PORT, not {value!r}") from error
        return f"{host}:{port or DEFAULT_PORT}"


def _folder(value: object) -> Path:
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError(f"the path of a folder, not {value!r}")
    return Path(value).expanduser().absolute()


def _network_name(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable() or not value:
        raise ValueError(f"a network's name is printable text, not {value!r}")
    if len(value.encode()) > _MAX_NETWORK_NAME:
        raise ValueError(f"a network's name has at most {_MAX_NETWORK_NAME} bytes")
    return value


def _puzzle_bits(value: object) -> int:
    text = str(value)
    if isinstance(value, bool) or not text.isascii() or not text.isdigit():
        raise ValueError(f"a number of bits, not {value!r}")
    if not 0 <= int(text) <= _MAX_PUZZLE_BITS:
        raise ValueError(f"between 0 and {_MAX_PUZZLE_BITS}, not {value!r}")
    return int(text)


def _prefix(value: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(value)
    except ValueError as error:
        raise ValueError(f"a network such as 192.168.0.0/24, not {value!r}") from error


def _size(value: object) -> int:
    """Bytes, as a number or with a unit: `500M`, `20G`, `1.5T`."""
    found = None if isinstance(value, bool) else _SIZE.fullmatch(str(value).strip())
    if found is None:
        raise ValueError(f"a size such as 500M or 20G, not {value!r}")
    return int(float(found[1]) * (1 << _UNITS[found[2].upper()]))


def _rate(value: object) -> int | None:
    """Bytes a second, written as a size; 0 and `none` are no limit."""
    if value == "none":
        return None
    rate = _size(value)
    if 0 < rate < _MIN_RATE:
        raise ValueError(f"at least {_MIN_RATE >> 10}K a second, or 0 for no limit, not {value!r}")
    return rate or None


def _seed(value: object) -> Seed:
    if value not in get_args(Seed):
        raise ValueError(f"one of {', '.join(get_args(Seed))}, not {value!r}")
    return cast("Seed", value)


def _max_entries(value: object) -> int:
    text = str(value)
    if isinstance(value, bool) or not text.isascii() or not text.isdigit():
        raise ValueError(f"a number of files, not {value!r}")
    if not 0 < int(text) <= _MOST_MAX_ENTRIES:
        raise ValueError(f"between 1 and {_MOST_MAX_ENTRIES}, not {value!r}")
    return int(text)


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "share": _folder,
    "listen": _several(parse_host_port),
    "peers": _several(_peer),
    "network": _network_name,
    "puzzle_bits": _puzzle_bits,
    "lan": _several(_prefix),
    "cache_size": _size,
    "min_free": _size,
    "seed": _seed,
    "limit_up": _rate,
    "limit_down": _rate,
    "max_entries": _max_entries,
}
assert set(_PARSERS) == {f.name for f in fields(Settings)} - {"places"}  # noqa: S101 each can be set
