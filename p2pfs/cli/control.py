"""Talking to the running node over its control socket; not a command.

httpx and trio are imported when a question is asked: commands import this for their help too.
"""

from __future__ import annotations

import os
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import msgspec

from p2pfs.control.calls import PREFIX, Failed, Nothing, Told
from p2pfs.errors import AnsweredError, CutError, NotAnsweringError, NotRunningError
from p2pfs.settings import places
from p2pfs.status import Status

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    import httpx

T = TypeVar("T", bound=msgspec.Struct)

# The node answers from memory; one that does not in this time is stuck.
_ANSWER_SECONDS = 5


def ask(
    name: str, question: msgspec.Struct, answer: type[T], seconds: float = _ANSWER_SECONDS
) -> T:
    """What the node of this home answers within so many seconds.

    Raises NotRunningError, NotAnsweringError, and AnsweredError for what the node refuses.
    """
    with _client(places(os.environ).socket, seconds) as client, _domain_errors():
        response = client.post(PREFIX + name, content=msgspec.json.encode(question))
        if response.is_error:
            raise _answered(msgspec.json.decode(response.content, type=Failed))
        return msgspec.json.decode(response.content, type=answer)


def follow(name: str, question: msgspec.Struct, told: type[T]) -> Generator[T, None, None]:
    """What the node of this home tells, as it comes; raises as `ask`, also half-way.

    To stop listening is to take the question back.
    """
    with (
        _client(places(os.environ).socket, None) as client,
        _domain_errors(),
        client.stream("POST", PREFIX + name, content=msgspec.json.encode(question)) as response,
    ):
        if response.is_error:
            raise _answered(msgspec.json.decode(response.read(), type=Failed))
        for line in response.iter_lines():
            said = msgspec.json.decode(line, type=Told[told])  # type: ignore[valid-type]  # a class at run time
            if said.failed is not None:
                raise _answered(said.failed)
            if said.value is not None:
                yield said.value


def receive(name: str, question: msgspec.Struct) -> Iterator[bytes]:
    """The bytes that the node of this home answers, as they come; raises as `ask`.

    CutError if they end too early: then the next question for the rest is told why.
    """
    import httpx

    with (
        _client(places(os.environ).socket, None) as client,
        _domain_errors(),
        client.stream("POST", PREFIX + name, content=msgspec.json.encode(question)) as response,
    ):
        if response.is_error:
            raise _answered(msgspec.json.decode(response.read(), type=Failed))
        try:
            yield from response.iter_raw()
        except (httpx.RemoteProtocolError, httpx.ReadError) as error:
            raise CutError("the node broke off in the middle of the content") from error


def running_status() -> Status:
    """What the node of this home says; raises as `ask`."""
    return ask("status", Nothing(), Status)


def stop_node() -> None:
    """Ask the node of this home to unmount and end; raises as `ask`."""
    ask("stop", Nothing(), Nothing)


def _answered(failed: Failed) -> AnsweredError:
    return AnsweredError(failed.error, failed.exit_code)


@contextmanager
def _domain_errors() -> Iterator[None]:
    import httpx

    try:
        yield
    except httpx.TimeoutException as error:
        raise NotAnsweringError("the node of this home runs, but does not answer") from error
    except httpx.RemoteProtocolError as error:
        raise NotAnsweringError("the node ended before it had answered") from error
    except httpx.HTTPError as error:
        raise NotRunningError("no node is running here") from error
    except msgspec.MsgspecError as error:
        raise NotAnsweringError(f"the node gives answers of another version: {error}") from error


@contextmanager
def _client(socket_path: Path, seconds: float | None) -> Iterator[httpx.Client]:
    import httpx

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
            transport=transport, base_url="http://node", timeout=seconds, trust_env=False
        ) as client:
            yield client
    finally:
        os.close(folder)
