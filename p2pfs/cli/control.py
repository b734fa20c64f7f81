"""Talking to the running node over its control socket; not a command."""

from __future__ import annotations

import os
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import msgspec

from p2pfs.errors import NotAnsweringError, NotRunningError
from p2pfs.settings import places
from p2pfs.status import Status, parse_status

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The node answers from memory; one that does not in this time is stuck.
_ANSWER_SECONDS = 5


def running_status() -> Status:
    """What the node of this home says; raises NotRunningError, NotAnsweringError."""
    with _client(places(os.environ).socket) as client:
        try:
            return parse_status(_answer(client, "GET", "/v1/status").content)
        except msgspec.MsgspecError as error:
            raise NotAnsweringError(
                f"the node gives answers of another version: {error}"
            ) from error


def stop_node() -> None:
    """Ask the node of this home to unmount and end; raises NotRunningError, NotAnsweringError."""
    with _client(places(os.environ).socket) as client:
        _answer(client, "POST", "/v1/stop")


def _answer(client: httpx.Client, method: str, path: str) -> httpx.Response:
    try:
        return client.request(method, path).raise_for_status()
    except httpx.TimeoutException as error:
        raise NotAnsweringError("the node of this home runs, but does not answer") from error
    except httpx.HTTPStatusError as error:
        raise NotAnsweringError(f"the node cannot tell: {error.response.status_code}") from error
    except httpx.HTTPError as error:
        raise NotRunningError("no node is running here") from error


@contextmanager
def _client(socket_path: Path) -> Iterator[httpx.Client]:
    # A socket's path may be at most 107 bytes long, a home's any: so by its folder's descriptor.
    try:
        folder = os.open(socket_path.parent, os.O_PATH | os.O_DIRECTORY)
    except OSError as error:
        raise NotRunningError("no node is running here") from error
    try:
        # There is no TLS on a Unix socket; httpx would read all certificate authorities for it.
        no_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        path = f"/proc/self/fd/{folder}/{socket_path.name}"
        transport = httpx.HTTPTransport(uds=path, verify=no_tls)
        with httpx.Client(
            transport=transport, base_url="http://node", timeout=_ANSWER_SECONDS, trust_env=False
        ) as client:
            yield client
    finally:
        os.close(folder)
