"""`p2pfs id`, `id export` and `id import`: the key that makes this node the one others know.

Keys are made by the node itself, at its first start.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from p2pfs.errors import MalformedError, NotFoundError, P2pfsError, UsageError
from p2pfs.homelock import holding
from p2pfs.identity import Identity, keep_identity, parse_private_key, read_identity
from p2pfs.settings import load_settings

if TYPE_CHECKING:
    from p2pfs.settings import Settings

_STREAM = "-"
_MOST_BYTES = 64 << 10  # a key in PEM has 119

_File = Annotated[Path, Parameter(allow_leading_hyphen=True)]

app = App(
    name="id",
    help="Print this node's peer id; export its key, or import one.",
    help_epilogue="Examples:\n  p2pfs id\n  p2pfs id export key.pem\n  p2pfs id import key.pem",
)


@app.default
def print_id() -> None:
    """Print this node's peer id; export its key, or import one."""
    print(_own(load_settings({})).peer_id)


@app.command(name="export")
def export_key(file: _File = Path(_STREAM), /, *, force: bool = False) -> None:
    """Write this node's private key, in PEM: whoever has it can be this node.

    Parameters
    ----------
    file
        Where to; - is standard output.
    force
        Overwrite the file if it is there.
    """
    pem = _own(load_settings({})).private_key_pem()
    if str(file) == _STREAM:
        sys.stdout.write(pem.decode())
        return
    try:
        if force:
            file.unlink(missing_ok=True)
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
            target.write(pem)
    except FileExistsError as error:
        raise P2pfsError(f"{file} is there already; --force overwrites it") from error


@app.command(name="import")
def import_key(file: _File, /, *, force: bool = False) -> None:
    """Make the key in FILE this node's; a key that it replaces is kept beside it.

    Parameters
    ----------
    file
        What `p2pfs id export` wrote, or an identity.key of another home; - is standard input.
    force
        Replace the key that this node has.
    """
    settings = load_settings({})
    path = settings.places.identity
    new = _counting(_read(file), file, settings)
    with holding(settings.places.data):
        old = path.read_bytes() if path.exists() else None
        if old == new.private_key.private_bytes_raw():
            print(f"{new.peer_id} is this node's key already")
            return
        if old is not None and not force:
            raise P2pfsError(f"this node has another key, in {path}; --force replaces it")
        if old is not None:
            kept = _set_aside(path)
            print(f"the key it had is kept in {kept}", file=sys.stderr)
        keep_identity(path, new)
    print(new.peer_id)


def _own(settings: Settings) -> Identity:
    identity = read_identity(settings.places.identity)
    if identity is None:
        raise NotFoundError("this node has no key yet; it makes one when it is first started")
    return identity


def _read(file: Path) -> bytes:
    if str(file) == _STREAM:
        return sys.stdin.buffer.read(_MOST_BYTES)
    try:
        with open(file, "rb") as source:
            return source.read(_MOST_BYTES)
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no {file}") from error


def _counting(text: bytes, file: Path, settings: Settings) -> Identity:
    """The key in a text; raises UsageError if there is none, or none that others would accept."""
    try:
        identity = Identity(parse_private_key(text))
    except MalformedError as error:
        raise UsageError(f"{file}: {error}") from error
    network = settings.overlay_network()
    if not network.key_counts(identity.public_key):
        raise UsageError(
            f"the key in {file} does not solve the puzzle of network {network.name!r}; "
            "other nodes would ignore it"
        )
    return identity


def _set_aside(path: Path) -> Path:
    """Keep a key under the first name that is free too; no key is ever overwritten."""
    number = 1
    while (kept := path.with_suffix(f".old{number}")).exists():
        number += 1
    kept.hardlink_to(path)
    return kept
