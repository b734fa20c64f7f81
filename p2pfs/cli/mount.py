"""`p2pfs mount` and `p2pfs node`: the commands that run a node."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from p2pfs.cli import daemon
from p2pfs.cli.control import running_status
from p2pfs.errors import P2pfsError
from p2pfs.settings import Chosen, Settings, choose_settings
from p2pfs.settingtable import SETTINGS
from p2pfs.settingvalues import Seed, ServerMode
from p2pfs.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable


# A round trip or two to the other side of the world; who is near answers in a tenth of a second.
_PEER_SECONDS = 2
_POLL_SECONDS = 0.05


def _flag(setting: str, group: Group, *names: str) -> Parameter:
    """The flag of a setting, which says what the setting does."""
    known = SETTINGS[setting]
    text = f"{known.says} [default: {known.default}]"
    return Parameter(name=names or None, help=text, metavar=known.form, group=group)


_NETWORK = Group.create_ordered("Network")
_CONTENT = Group.create_ordered("Content")
_SPEED = Group.create_ordered("Speed")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class NodeOptions:
    """What both commands take: a flag for each setting, checked as all settings are."""

    listen: Annotated[list[str], _flag("listen", _NETWORK)] = field(default_factory=list)
    peers: Annotated[list[str], _flag("peers", _NETWORK, "--peer")] = field(default_factory=list)
    delegated: Annotated[list[str], _flag("delegated", _NETWORK)] = field(default_factory=list)
    lan_discovery: Annotated[str | None, _flag("lan_discovery", _NETWORK)] = None
    network: Annotated[str | None, _flag("network", _NETWORK)] = None
    network_secret_file: Annotated[Path | None, _flag("network_secret_file", _NETWORK)] = None
    puzzle_bits: Annotated[str | None, _flag("puzzle_bits", _NETWORK)] = None
    lan: Annotated[list[str], _flag("lan", _NETWORK)] = field(default_factory=list)
    server: Annotated[ServerMode | None, _flag("server", _NETWORK)] = None
    share: Annotated[Path | None, _flag("share", _CONTENT)] = None
    cache_size: Annotated[str | None, _flag("cache_size", _CONTENT)] = None
    min_free: Annotated[str | None, _flag("min_free", _CONTENT)] = None
    seed: Annotated[Seed | None, _flag("seed", _CONTENT)] = None
    max_entries: Annotated[str | None, _flag("max_entries", _CONTENT)] = None
    announce_chunks: Annotated[str | None, _flag("announce_chunks", _CONTENT)] = None
    limit_up: Annotated[str | None, _flag("limit_up", _SPEED)] = None
    limit_down: Annotated[str | None, _flag("limit_down", _SPEED)] = None

    def chosen(self) -> Chosen:
        """These flags over environment and config.toml."""
        return choose_settings({name: value for name, value in asdict(self).items() if value})


def mount(
    directory: Path,
    /,
    options: NodeOptions = NodeOptions(),
    *,
    foreground: Annotated[bool, Parameter(name=["--foreground", "-f"])] = False,
) -> None:
    """Join the network and mount it on DIRECTORY; return when it is usable.

    Parameters
    ----------
    directory
        Where to mount; made if it is not there.
    options
        Of the node.
    foreground
        Stay in the foreground and log to the terminal; Ctrl-C unmounts.
    """
    place = Path(os.path.abspath(directory))
    chosen = options.chosen()
    settings = chosen.settings
    is_first = not settings.places.identity.exists()
    if foreground:
        daemon.log_to_stderr()
        said = f"p2pfs is mounted on {place}"
        daemon.exit_as_ended(_run(chosen, place, partial(_say_ready, said)))
    else:
        daemon.run_in_background(partial(_run_quietly, chosen, place), settings.places.log)
        print(f"p2pfs is mounted on {place}; `p2pfs umount {directory}` ends it")
        _warn_if_alone(settings)
        if is_first and not settings.peers:
            print("It knows no other node yet: name one with --peer HOST:PORT next time,")
            print("or give others the address that `p2pfs status` shows.")


def node(options: NodeOptions = NodeOptions()) -> None:
    """Join the network without a mount; Ctrl-C ends it.

    Parameters
    ----------
    options
        Of the node.
    """
    daemon.log_to_stderr()
    said = "p2pfs runs without a mount"
    daemon.exit_as_ended(_run(options.chosen(), None, partial(_say_ready, said)))


def _say_ready(said: str, address: str) -> None:
    print(f"{said}, at {address}; Ctrl-C ends it", flush=True)


def _warn_if_alone(settings: Settings) -> None:
    """Say that none of the peers that were named answers; one that does is waited for shortly."""
    if not settings.peers:
        return
    until = time.monotonic() + _PEER_SECONDS
    with suppress(P2pfsError):  # the mount is there all the same
        while (overlay := running_status().overlay).contacts == 0:
            if time.monotonic() > until:
                if overlay.mode != "starting":  # else it has not asked anybody yet
                    named = ", ".join(settings.peers)
                    said = f"no peer answered yet at {named}: does a node run there, "
                    said += "in the same network? Still trying; `p2pfs status` shows when one does"
                    print(f"p2pfs: {printable(said)}", file=sys.stderr)
                return
            time.sleep(_POLL_SECONDS)


def _run_quietly(chosen: Chosen, place: Path | None, ready: Callable[[], None]) -> int:
    return _run(chosen, place, lambda _: ready())


def _run(chosen: Chosen, place: Path | None, ready: Callable[[str], None]) -> int:
    from p2pfs.node import run_node  # late: it imports everything, `--help` needs nothing

    return run_node(chosen, place, ready)
