"""Where a node's settings come from: flags, then `P2PFS_*`, then config.toml, into one value.

Nothing here touches the network or creates a file.  What each is called is in `settingtable`.
"""

from __future__ import annotations

import os
import shlex
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from p2pfs.addresses import Endpoint
from p2pfs.errors import MalformedError, UsageError
from p2pfs.network import (
    DEFAULT_NAME,
    MAX_SECRET_BYTES,
    Network,
    private_network,
    public_network,
)
from p2pfs.settingtable import (
    DEFAULT_ANNOUNCE_CHUNKS,
    DEFAULT_MAX_ENTRIES,
    DEFAULT_MIN_FREE,
    SETTINGS,
)
from p2pfs.settingvalues import DEFAULT_PORT, size_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Network, IPv6Network

    from p2pfs.settingvalues import Seed, ServerMode

DEFAULT_LISTEN = (Endpoint("::", DEFAULT_PORT), Endpoint("0.0.0.0", DEFAULT_PORT))  # noqa: S104 a server
_PREFIX = "P2PFS_"
_HOME = "P2PFS_HOME"
_APP = "p2pfs"
_SIZES = {"cache_size", "min_free", "limit_up", "limit_down"}
DEFAULT = "default"  # where a setting comes from that nobody has set


@dataclass(frozen=True, slots=True)
class Places:
    """The folders of one node; `P2PFS_HOME` puts them all under one."""

    config: Path
    data: Path
    cache: Path
    state: Path
    runtime: Path

    @property
    def config_file(self) -> Path:
        """What the user writes settings into."""
        return self.config / "config.toml"

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
    delegated: tuple[str, ...] = ()
    """URLs of routers."""
    lan_discovery: bool = True
    network: str = DEFAULT_NAME
    network_secret_file: Path | None = None
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
    announce_chunks: int = DEFAULT_ANNOUNCE_CHUNKS
    """Chunks of the files changed last that are to be found by their own ids."""
    server: ServerMode = "auto"
    """Whether others may list this node and store with it."""

    def overlay_network(self) -> Network:
        """The network these settings name; raises UsageError if its secret cannot be used."""
        if self.network_secret_file is None:
            return public_network(self.network, self.puzzle_bits)
        secret = _read_secret(self.network_secret_file)
        try:
            return private_network(self.network, secret, self.puzzle_bits)
        except MalformedError as error:
            file = self.network_secret_file
            fix = f"make one with `head -c 32 /dev/urandom | base64 > {shlex.quote(str(file))}`"
            raise UsageError(f"{file}: {error}; {fix}") from error


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


assert set(SETTINGS) == {f.name for f in fields(Settings)} - {"places"}  # noqa: S101 each can be set


@dataclass(frozen=True, slots=True)
class Chosen:
    """Settings, and for each that was set, where; what is not among `sources` is the default."""

    settings: Settings
    sources: Mapping[str, str]

    def source(self, name: str) -> str:
        """Where a setting comes from: a path, `the environment`, `the command line`, `default`."""
        return self.sources.get(name, DEFAULT)

    def text(self, name: str) -> str | list[str] | None:
        """A setting's value as config.toml would have it; None where the default is no value."""
        value = getattr(self.settings, name)
        if isinstance(value, tuple):
            return list(map(str, value))
        if value is None:
            return None
        if isinstance(value, bool):
            return str(value).lower()
        return size_text(value) if name in _SIZES else str(value)


def load_settings(flags: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings out of flags (None: not given), environment and config.toml, in that order.

    Raises UsageError naming the setting, where it was set, and what it may be.
    """
    return choose_settings(flags, environ).settings


def choose_settings(flags: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Chosen:
    """As `load_settings`, with where each comes from."""
    where = places(environ)
    values: dict[str, Any] = {"places": where, "share": where.data / "share"}
    sources: dict[str, str] = {}
    for source, given in (
        (str(where.config_file), _from_file(where.config_file)),
        ("the environment", _from_environment(environ)),
        ("the command line", flags),
    ):
        for name, value in given.items():
            if value is None:
                continue
            try:
                values[name] = SETTINGS[name].parse(value)
            except (MalformedError, ValueError) as error:
                raise UsageError(f"{name} in {source}: {error}") from error
            sources[name] = source
    return Chosen(Settings(**values), sources)


def _read_secret(file: Path) -> bytes:
    """Without the line's end that an editor adds."""
    try:
        with open(file, "rb") as source:
            return source.read(MAX_SECRET_BYTES + 2).rstrip(b"\r\n")
    except OSError as error:
        raise UsageError(f"cannot read the network's secret in {file}: {error.strerror}") from error


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
    unknown = sorted(set(values) - set(SETTINGS))
    if unknown:
        known = ", ".join(SETTINGS)
        raise UsageError(f"{source}: unknown setting {unknown[0]!r}; there are: {known}")
