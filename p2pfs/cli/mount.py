"""`p2pfs mount` and `p2pfs node`: the commands that run a node."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from p2pfs.cli import daemon
from p2pfs.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable


_Repeated = Parameter(negative=(), show_default=False)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class NodeOptions:
    """What both commands take."""

    listen: Annotated[list[str], _Repeated] = field(default_factory=list)
    """HOST:PORT to listen on, UDP and TCP, any number of times; port 0 picks one
    [default: all addresses, port 7117 or the next free]"""

    peer: Annotated[list[str], _Repeated] = field(default_factory=list)
    """HOST:PORT of a node that is in the network already, any number of times"""

    network: str | None = None
    """Which network to join, by name [default: p2pfs]"""

    share: Path | None = None
    """The folder behind share/ [default: in p2pfs's data folder]"""

    def settings(self) -> Settings:
        """These flags over environment and config.toml."""
        given = asdict(self)
        given["peers"] = given.pop("peer")
        return load_settings({name: value for name, value in given.items() if value})


def mount(
    directory: Path,
    /,
    options: NodeOptions = NodeOptions(),
    *,
    foreground: Annotated[
        bool, Parameter(name=["--foreground", "-f"], negative=(), show_default=False)
    ] = False,
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
    settings = options.settings()
    is_first = not settings.places.identity.exists()
    if foreground:
        daemon.log_to_stderr()
        daemon.exit_as_ended(_run(settings, place, lambda: None))
    else:
        daemon.run_in_background(partial(_run, settings, place), settings.places.log)
        print(f"p2pfs is mounted on {place}; `p2pfs umount {directory}` ends it")
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
    daemon.exit_as_ended(_run(options.settings(), None, lambda: None))


def _run(settings: Settings, place: Path | None, ready: Callable[[], None]) -> int:
    from p2pfs.node import run_node  # late: it imports everything, `--help` needs nothing

    return run_node(settings, place, ready)
