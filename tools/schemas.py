"""Answers in JSON as tables for people: fields, types, and what the Struct says of itself."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import msgspec
from msgspec import inspect as types

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIMPLE = {
    types.StrType: "text",
    types.IntType: "integer",
    types.FloatType: "number",
    types.BoolType: "true or false",
    types.NoneType: "null",
    types.AnyType: "anything",
}


def described(answer: type[msgspec.Struct], when: str) -> Iterator[str]:
    """A Struct, and below it those that its fields are made of."""
    for index, struct in enumerate(_with_parts(answer)):
        heading = f"**{struct.__name__}**"
        yield heading + (f", {when}" if when and not index else "") + "\n"
        says = " ".join((inspect.getdoc(struct) or "").split())
        if says:
            yield f"{says}\n"
        yield "| field | type |\n|---|---|"
        for field in _fields(struct):
            yield f"| `{field.encode_name}` | {_type_name(field.type)} |"
        yield ""


def _with_parts(struct: type[msgspec.Struct]) -> list[type[msgspec.Struct]]:
    found = [struct]
    for one in found:  # grows while it is walked
        for field in _fields(one):
            found += [part for part in _structs(field.type) if part not in found]
    return found


def _fields(struct: type[msgspec.Struct]) -> tuple[types.Field, ...]:
    known = types.type_info(struct)
    return known.fields if isinstance(known, types.StructType) else ()


def _structs(kind: types.Type) -> Iterator[type[msgspec.Struct]]:
    if isinstance(kind, types.StructType):
        yield kind.cls
    elif isinstance(kind, types.CollectionType):
        yield from _structs(kind.item_type)
    elif isinstance(kind, types.DictType):
        yield from _structs(kind.value_type)
    elif isinstance(kind, types.UnionType):
        for one in kind.types:
            yield from _structs(one)


def _type_name(kind: types.Type) -> str:
    if isinstance(kind, types.StructType):
        return kind.cls.__name__
    if isinstance(kind, types.CollectionType):
        return f"list of {_type_name(kind.item_type)}"
    if isinstance(kind, types.DictType):
        return f"object: {_type_name(kind.key_type)} to {_type_name(kind.value_type)}"
    if isinstance(kind, types.UnionType):
        return " or ".join(map(_type_name, kind.types))
    if isinstance(kind, types.LiteralType):
        return " or ".join(f'`"{value}"`' for value in kind.values)
    return _SIMPLE[type(kind)]
