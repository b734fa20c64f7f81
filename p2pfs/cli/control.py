"""Talking to the running node over its control socket; not a command."""

from __future__ import annotations

import os
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import httpx
import msgspec

from p2pfs.control.found import parse_found, parse_refused
from p2pfs.errors import NotAnsweringError, NotRunningError, P2pfsError, UsageError
from p2pfs.settings import places
from p2pfs.status import Status, parse_status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from p2pfs.control.found import Found

# The node answers from memory; one that does not in this time is stuck.
_ANSWER_SECONDS = 5
# It lets the network answer for 5 s, and 10,000 files take it a moment to tell.
_SEARCH_SECONDS = 15
_BAD_REQUEST = 400


def running_status() -> Status:
    """What the node of this home says; raises NotRunningError, NotAnsweringError."""
    with _client(places(os.environ).socket) as client:
        try:
            return parse_status(_answer(client, "GET", "/v1/status").content)
        except msgspec.MsgspecError as error:
            raise NotAnsweringError(
                f"the node gives answers of another version: {error}"
            ) from error


def search_running(words: Sequence[str], tags: Sequence[str]) -> Found:
    """What the node of this home finds; raises UsageError for what cannot be searched for.

    Raises NotRunningError, NotAnsweringError.
    """
    asked = urlencode([("words", word) for word in words] + [("tag", tag) for tag in tags])
    with _client(places(os.environ).socket) as client:
        try:
            response = client.get(f"/v1/search?{asked}", timeout=_SEARCH_SECONDS)
            if response.status_code == _BAD_REQUEST:
                raise UsageError(parse_refused(response.content).error)
            return parse_found(response.raise_for_status().content)
        except UnicodeEncodeError as error:
            raise UsageError("words and tags are text in UTF-8") from error
        except httpx.HTTPError as error:
            raise _failure(error) from error
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
    except httpx.HTTPError as error:
        raise _failure(error) from error


def _failure(error: httpx.HTTPError) -> P2pfsError:
    """The domain error for what went wrong on the control socket."""
    if isinstance(error, httpx.TimeoutException):
        return NotAnsweringError("the node of this home runs, but does not answer")
    if isinstance(error, httpx.HTTPStatusError):
        return NotAnsweringError(f"the node cannot tell: {error.response.status_code}")
    return NotRunningError("no node is running here")


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
