"""How a question reaches the node over its control socket, and how the answer comes back.

`POST /v1/<name>` with the question as JSON.  What can be asked is in the modules beside this one,
each with the values it takes and gives; who may ask is settled by the socket's folder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

T = TypeVar("T")

PREFIX = "/v1/"
# Some thousand paths on one command line (Linux takes 2 MiB); the socket is the user's own.
MAX_QUESTION_BYTES = 4 << 20


class Nothing(msgspec.Struct, frozen=True):
    """The question that has no details, or the answer that it is done."""


class Failed(msgspec.Struct, frozen=True):
    """Why something is not done: what happened and what to do, and the command's exit code."""

    error: str
    exit_code: int


class Told(msgspec.Struct, Generic[T], frozen=True, omit_defaults=True):
    """One line of an answer that comes bit by bit: a value, or, as the last, a failure."""

    value: T | None = None
    failed: Failed | None = None


class Answering(NamedTuple):
    """Answers a question with one value; may raise P2pfsError."""

    question: type[msgspec.Struct]
    answer: Callable[[Any], Awaitable[msgspec.Struct]]


class Telling(NamedTuple):
    """Answers a question with values as they come; ends when who asked has gone."""

    question: type[msgspec.Struct]
    tell: Callable[[Any], AsyncGenerator[msgspec.Struct, None]]


class Streaming(NamedTuple):
    """Answers a question with as many bytes as `length` says of it.

    `stream` may raise P2pfsError before its first piece, which may be empty but has to come; what
    it raises later cuts the answer, and whoever asks for the rest is told why.
    """

    question: type[msgspec.Struct]
    length: Callable[[Any], int]
    stream: Callable[[Any], AsyncGenerator[bytes | bytearray, None]]


Endpoint = Answering | Telling | Streaming
