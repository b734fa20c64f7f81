"""What a request to the trustless gateway asks for, and with which headers it is answered.

Pure: no block is read here.  https://specs.ipfs.tech/http-gateways/trustless-gateway/; left out
are paths below a content id and what is not a file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from p2pfs.content.car import WHOLE_ENTITY, EntityBytes, parse_entity_bytes
from p2pfs.content.cid import Cid, parse_cid
from p2pfs.errors import MalformedError, P2pfsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Headers = list[tuple[bytes, bytes]]

RAW_TYPE = "application/vnd.ipld.raw"
CAR_TYPE = "application/vnd.ipld.car"
_PREFIX = "/ipfs/"
# format, dag-scope, entity-bytes, order, dups, car-version, filename, download, and some unknown.
_MAX_FIELDS = 16
_SCOPES = frozenset({"block", "entity", "all"})
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

    @property
    def etag(self) -> str:
        return f'"{self.cid}.raw"'

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
    """The blocks of a file in depth-first order: `block` is its root alone."""

    cid: Cid
    only_root: bool
    entity: EntityBytes
    has_duplicates: bool

    @property
    def etag(self) -> str:
        """Weak: the same content in other bytes would be as good."""
        last = "*" if self.entity.last is None else self.entity.last
        scope = "block" if self.only_root else f"{self.entity.first}:{last}"
        return f'W/"{self.cid}.car.{scope}.{_letter(self.has_duplicates)}"'


def parse_wish(path: str, query: bytes, headers: Mapping[bytes, bytes]) -> RawWish | CarWish:
    """What is asked for; raises RefusedError."""
    cid = _cid(path)
    fields = _fields(query)
    accepted = _accepted(headers.get(b"accept", b""))
    form = fields.get("format") or ("car" if CAR_TYPE in accepted else "raw")
    is_told = "format" in fields or {RAW_TYPE, CAR_TYPE} & accepted.keys()
    if not is_told and cid.inline is None:  # the probe, an inline CID, is asked for plainly
        raise RefusedError(
            HTTPStatus.NOT_ACCEPTABLE, f"ask for {RAW_TYPE} or {CAR_TYPE}: blocks are served only"
        )
    if form == "raw":
        return RawWish(cid, _byte_range(headers.get(b"range", b"").decode("latin-1")))
    if form == "car":
        return _car_wish(cid, {**accepted.get(CAR_TYPE, {}), **fields})
    raise RefusedError(HTTPStatus.NOT_ACCEPTABLE, f"format {form!r} is not served")


def answer_headers(wish: RawWish | CarWish, length: int) -> Headers:
    """What goes with a 200: content never changes, and is nothing to look at in a browser."""
    if isinstance(wish, RawWish):
        content_type, suffix, ranges = RAW_TYPE, "bin", "bytes"
    else:
        duplicates = _letter(wish.has_duplicates)
        content_type = f"{CAR_TYPE}; version=1; order=dfs; dups={duplicates}"
        suffix, ranges = "car", "none"
    headers = {
        "content-type": content_type,
        "content-length": str(length),
        "content-disposition": f'attachment; filename="{wish.cid}.{suffix}"',
        "cache-control": "public, max-age=29030400, immutable",
        "etag": wish.etag,
        "accept-ranges": ranges,
        "x-content-type-options": "nosniff",
        "x-ipfs-path": f"{_PREFIX}{wish.cid}",
        "x-ipfs-roots": str(wish.cid),
    }
    return [(name.encode(), value.encode()) for name, value in headers.items()]


def is_unchanged(wish: RawWish | CarWish, if_none_match: bytes) -> bool:
    """Whether the client has it already."""
    known = [tag.strip().removeprefix("W/") for tag in if_none_match.decode("latin-1").split(",")]
    return "*" in known or wish.etag.removeprefix("W/") in known


def _cid(path: str) -> Cid:
    text, _, below = path.removeprefix(_PREFIX).partition("/")
    if below:
        raise RefusedError(HTTPStatus.NOT_IMPLEMENTED, "paths below a content id are not served")
    try:
        return parse_cid(text)
    except MalformedError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, str(error)) from error


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
    if scope not in _SCOPES:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"dag-scope {scope!r} is not known")
    if fields.get("order", "dfs") not in {"dfs", "unk"}:
        raise RefusedError(HTTPStatus.NOT_ACCEPTABLE, "blocks are served depth first only")
    if fields.get("version", "1") != "1" or fields.get("car-version", "1") != "1":
        raise RefusedError(HTTPStatus.NOT_ACCEPTABLE, "only CAR version 1 is served")
    entity = WHOLE_ENTITY
    if "entity-bytes" in fields and scope != "block":
        try:
            entity = parse_entity_bytes(fields["entity-bytes"])
        except MalformedError as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, str(error)) from error
    return CarWish(cid, scope == "block", entity, fields.get("dups", "y") != "n")


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
