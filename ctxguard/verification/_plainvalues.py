"""A program's structured values as JSON: models, dataclasses, mappings, and which fields are fixed.

A field is fixed where its type says which values there are (an enumeration, a Literal): it is a
choice, and no evidence says which word stands for it.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set as AbstractSet
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, TypeAlias, cast
from uuid import UUID

from pydantic import BaseModel, RootModel, TypeAdapter
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

from ctxguard.errors import InputError
from ctxguard.verification._json import Path

__all__ = ["json_of", "says_fixed", "schema_of"]

Schema: TypeAlias = Mapping[str, Any]
"""A JSON Schema."""
_DEEPEST = 100
_MOST = 64
"""Parts of a schema that one field is looked for in."""
_BRANCHES = ("anyOf", "oneOf", "allOf")


def json_of(value: object) -> str:
    """The value as JSON, its fields in their own order.

    Raises:
        InputError: naming the field, for what is no data, or nested deeper than 100 levels.
    """
    return json.dumps(_plain(value, "", 0), ensure_ascii=False)


def _plain(value: object, where: str, depth: int) -> object:
    if depth > _DEEPEST:
        raise InputError(f"value{where[:80]}…: nested deeper than {_DEEPEST} levels")
    value = value.value if isinstance(value, Enum) else value
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, dt.date | dt.time | dt.timedelta | Decimal | UUID | PurePath):
        return str(value)
    if (pairs := _pairs(value)) is not None:
        return {_key(key, where): _plain(one, f"{where}/{key}", depth + 1) for key, one in pairs}
    if isinstance(value, RootModel):
        return _plain(cast("RootModel[object]", value).root, where, depth + 1)
    if isinstance(value, Sequence | AbstractSet) and not isinstance(value, bytes | bytearray):
        items = cast("Iterable[object]", value)
        return [_plain(one, f"{where}/{place}", depth + 1) for place, one in enumerate(items)]
    raise InputError(f"value{where}: expected data, got {type(value).__name__}")


def _pairs(value: object) -> Iterable[tuple[object, object]] | None:
    """The names and values of what has fields; None for what has none."""
    if isinstance(value, Mapping):
        return cast("Mapping[object, object]", value).items()
    if isinstance(value, BaseModel):
        return None if isinstance(value, RootModel) else list(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(one.name, getattr(value, one.name)) for one in dataclasses.fields(value)]
    return None


def _key(key: object, where: str) -> str:
    if key is None or isinstance(key, str | int | float):
        return key if isinstance(key, str) else json.dumps(key)
    raise InputError(f"value{where}: a key is {type(key).__name__}, expected a str")


# -- schemas --------------------------------------------------------------------------------------


def schema_of(kind: object) -> Schema | None:
    """The JSON Schema of a type; None where it has none.

    Args:
        kind: a class, or a JSON Schema.

    Raises:
        InputError: it is neither.
    """
    if isinstance(kind, Mapping):
        return cast("Schema", kind)
    if not isinstance(kind, type):
        raise InputError(f"schema: expected a class or a JSON Schema, got {kind!r:.80}")
    try:
        return TypeAdapter[Any](kind).json_schema()
    except (PydanticUndefinedAnnotation, PydanticUserError):
        return None


def says_fixed(schema: Schema) -> Callable[[Path], bool]:
    """Whether a schema says which values there are at a path."""
    known: dict[Path, bool] = {}

    def fixed(path: Path) -> bool:
        general = tuple(0 if isinstance(step, int) else step for step in path)
        if general not in known:
            known[general] = any(map(_is_fixed, _at(schema, general)))
        return known[general]

    return fixed


def _is_fixed(node: Schema) -> bool:
    return "enum" in node or "const" in node or node.get("format") == "uuid"


def _at(schema: Schema, path: Path) -> list[Schema]:
    """What a schema says of the values at a path."""
    nodes = _expanded(schema, [schema])
    for step in path:
        nodes = _expanded(schema, [one for node in nodes for one in _inside(node, step)])
    return nodes


def _expanded(schema: Schema, nodes: Sequence[object]) -> list[Schema]:
    """The nodes with what they refer to and branch into."""
    found: list[Schema] = []
    open_ = list(nodes)
    while open_ and len(found) < _MOST:
        node = open_.pop()
        if isinstance(node, Mapping):
            table = cast("Schema", node)
            found.append(table)
            open_ += [part for name in _BRANCHES for part in _listed(table.get(name))]
            open_ += _referred(schema, table.get("$ref"))
    return found


def _inside(node: Schema, step: str | int) -> Iterator[object]:
    if isinstance(step, int):
        yield from _listed(node.get("prefixItems"))
        yield node.get("items")
        return
    named: object = node.get("properties")
    if isinstance(named, Mapping) and step in named:
        yield named[step]
    else:
        yield node.get("additionalProperties")


def _listed(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _referred(schema: Schema, pointer: object) -> list[object]:
    """What a reference inside of the schema points at."""
    if not isinstance(pointer, str) or not pointer.startswith("#"):
        return []
    node: Any = schema
    for step in re.findall(r"/([^/]*)", pointer):
        name = step.replace("~1", "/").replace("~0", "~")
        node = cast("Any", node).get(name) if isinstance(node, Mapping) else None
    return [node]
