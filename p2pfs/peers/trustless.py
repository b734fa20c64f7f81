"""What a request to the trustless gateway asks for, and with which headers it is answered.

Pure: no block is read here.  https://specs.ipfs.tech/http-gateways/trustless-gateway/; IPNS and
what is not UnixFS are left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal, cast, get_args
from urllib.parse import parse_qs, quote

from p2pfs.content.car import WHOLE_ENTITY, EntityBytes, parse_entity_bytes
from p2pfs.content.cid import Cid, parse_cid
from p2pfs.errors import MalformedError, P2pfsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Headers = list[tuple[bytes, bytes]]

RAW_TYPE = "application/vnd.ipld.raw"
CAR_TYPE = "application/vnd.ipld.car"
_PREFIX = "/ipfs/"
# format, dag-scope, entity-bytes, order, dups, car-version, filename, download, and some unknown.
_MAX_FIELDS = 16
Scope = Literal["block", "entity", "all"]
# What file systems take.
_MAX_FILENAME = 255
# What may not stand between quotes in a header, or in a name.
_NOT_IN_FILENAME = re.compile(r"[^ -~]|[\"\\/]")
# `bytes=from-to`; several ranges in one request are answered as if none were asked for.
_RANGE = re.compile(r"bytes=([0-9]{1,18})?-([0-9]{1,18})?", re.ASCII)


class RefusedError(P2pfsError):
    """A request that is answered with another status than 200, and why."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class RawWish:
    """One block as it is, or a range of it: first and last byte, either of them missing."""

    cid: Cid
    byte_range: tuple[int | None, int | None] | None
    path: tuple[str, ...] = ()
    filename: str | None = None

    @property
    def etag(self) -> str:
        return f'"{_below(self.cid, self.path)}.raw"'

    def span(self, size: int) -> tuple[int, int]:
        """The half-open range of a block of that size; raises RefusedError for one outside."""
        first, last = self.byte_range or (0, None)
        if first is None:  # the last so many bytes
            first, last = max(0, size - (last or 0)), None
        stop = size if last is None else min(size, last + 1)
        if first >= stop and self.byte_range is not None:
            raise RefusedError(
                HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, f"the block has {size} bytes"
            )
        return first, stop


@dataclass(frozen=True, slots=True)
class CarWish:
    """The blocks along a path, and of what it leads to, in depth-first order.

    `entity` is a range if that is a file; `block` is its root alone, `entity` a file or what it
    takes to list a directory, `all` everything below.
    """

    cid: Cid
    scope: Scope
    entity: EntityBytes
    has_duplicates: bool
    path: tuple[str, ...] = ()
    filename: str | None = None

    @property
    def etag(self) -> str:
        """Weak: the same content in other bytes would be as good."""
        last = "*" if self.entity.last is None else self.entity.last
        span = f"{self.scope}.{self.entity.first}:{last}"
        return f'W/"{_below(self.cid, self.path)}.car.{span}.{_letter(self.has_duplicates)}"'


def parse_wish(path: str, query: bytes, headers: Mapping[bytes, bytes]) -> RawWish | CarWish:
    """What is asked for; raises RefusedError."""
    cid, names = _target(path)
    fields = _fields(query)
    filename = fields.get("filename", "")[:_MAX_FILENAME] or None
    accepted = _accepted(headers.get(b"accept", b""))
    form = fields.get("format") or ("car" if CAR_TYPE in accepted else "raw")
    is_told = "format" in fields or {RAW_TYPE, CAR_TYPE} & accepted.keys()
    if not is_told and cid.inline is None:  # the probe, an inline CID, is asked for plainly
        raise RefusedError(
            HTTPStatus.NOT_ACCEPTABLE, f"ask for {RAW_TYPE} or {CAR_TYPE}: blocks are served only"
        )
    if form == "raw":
        byte_range = _byte_range(headers.get(b"range", b"").decode("latin-1"))
        return RawWish(cid, byte_range, names, filename)
    if form == "car":
        named = {name.removeprefix("car-"): value for name, value in fields.items()}
        wish = _car_wish(cid, {**accepted.get(CAR_TYPE, {}), **named})
        return replace(wish, path=names, filename=filename)
    raise RefusedError(HTTPStatus.NOT_ACCEPTABLE, f"format {form!r} is not served")


def answer_headers(wish: RawWish | CarWish, met: Sequence[Cid], length: int) -> Headers:
    """What goes with a 200: content never changes, and is nothing to look at in a browser.

    `met`: the root, and what each name of the path leads to.
    """
    if isinstance(wish, RawWish):
        content_type, suffix, ranges = RAW_TYPE, "bin", "bytes"
    else:
        duplicates = _letter(wish.has_duplicates)
        content_type = f"{CAR_TYPE}; version=1; order=dfs; dups={duplicates}"
        suffix, ranges = "car", "none"
    headers = {
        "content-type": content_type,
        "content-length": str(length),
        "content-disposition": _disposition(wish.filename or f"{met[-1]}.{suffix}"),
        "cache-control": "public, max-age=29030400, immutable",
        "etag": wish.etag,
        "accept-ranges": ranges,
        "x-content-type-options": "nosniff",
        "x-ipfs-path": f"{_PREFIX}{_below(wish.cid, wish.path)}",
        "x-ipfs-roots": ",".join(map(str, met)),
    }
    return [(name.encode(), value.encode()) for name, value in headers.items()]


def is_unchanged(wish: RawWish | CarWish, if_none_match: bytes) -> bool:
    """Whether the client has it already."""
    known = [tag.strip().removeprefix("W/") for tag in if_none_match.decode("latin-1").split(",")]
    return "*" in known or wish.etag.removeprefix("W/") in known


def _target(path: str) -> tuple[Cid, tuple[str, ...]]:
    text, *names = path.removeprefix(_PREFIX).split("/")
    try:
        return parse_cid(text), tuple(filter(None, names))
    except MalformedError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, str(error)) from error


def _below(cid: Cid, path: tuple[str, ...]) -> str:
    return "/".join([str(cid), *(quote(name, safe="", errors="replace") for name in path)])


def _disposition(filename: str) -> str:
    """RFC 6266: plain for the old, and as it is if that was not plain enough."""
    plain = _NOT_IN_FILENAME.sub("_", filename)
    told = f'attachment; filename="{plain}"'
    if plain == filename:
        return told
    return f"{told}; filename*=UTF-8''{quote(filename, safe='', errors='replace')}"


def _fields(query: bytes) -> dict[str, str]:
    try:
        fields = parse_qs(query.decode("ascii"), max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "not a query") from error
    return {name: values[0] for name, values in fields.items()}


def _accepted(header: bytes) -> dict[str, dict[str, str]]:
    """Media types with their parameters; preferences among them do not matter here."""
    found = {}
    for item in header.decode("latin-1").split(","):
        media_type, *parameters = (part.strip() for part in item.split(";"))
        found[media_type.lower()] = dict(_parameters(parameters))
    return found


def _parameters(items: Iterable[str]) -> Iterable[tuple[str, str]]:
    for item in items:
        name, _, value = item.partition("=")
        yield name.strip().lower(), value.strip().strip('"')


def _car_wish(cid: Cid, fields: Mapping[str, str]) -> CarWish:
    scope = fields.get("dag-scope", "all")
    if scope not in get_args(Scope):
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"dag-scope {scope!r} is not known")
    if fields.get("order", "dfs") not in {"dfs", "unk"}:
        raise RefusedError(HTTPStatus.NOT_ACCEPTABLE, "blocks are served depth first only")
    if fields.get("version", "1") != "1":
        raise RefusedError(HTTPStatus.NOT_ACCEPTABLE, "only CAR version 1 is served")
    entity = WHOLE_ENTITY
    if "entity-bytes" in fields and scope != "block":
        scope = "entity"  # which a range implies
        try:
            entity = parse_entity_bytes(fields["entity-bytes"])
        except MalformedError as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, str(error)) from error
    return CarWish(cid, cast("Scope", scope), entity, fields.get("dups", "n") == "y")


def _byte_range(header: str) -> tuple[int | None, int | None] | None:
    match = _RANGE.fullmatch(header)
    if match is None:
        return None
    first, last = (None if text is None else int(text) for text in match.groups())
    if (first is None and last is None) or (
        first is not None and last is not None and last < first
    ):
        return None  # RFC 9110 section 14.2: an invalid range is ignored
    return first, last


def _letter(yes: bool) -> str:
    return "y" if yes else "n"
