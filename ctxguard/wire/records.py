"""Reading and changing what the SDKs take: dicts, and the SDKs' own (pydantic) objects, alike."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self, TypeAlias, TypeGuard, cast

from ctxguard.errors import InputError

__all__ = [
    "Item",
    "Path",
    "Record",
    "SdkObject",
    "change",
    "dump",
    "elements",
    "is_record",
    "readable",
    "required",
    "text_of",
    "tools_text",
    "value_of",
]


class SdkObject(Protocol):
    """What the SDKs' own objects have in common: pydantic's way to copy them."""

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with some fields replaced."""
        ...


Item: TypeAlias = Mapping[str, object] | SdkObject
"""A message of an SDK, or an input item: a dict or an object."""
Record: TypeAlias = Any
"""A dict, or an object of an SDK: whatever has named fields."""
Path: TypeAlias = tuple[str | int, ...]
"""Keys and indexes that lead from a message to one of its parts."""

_NOT_COUNTED = frozenset(
    # What no model reads (handles, caches, signatures), and what is not written in tokens.
    {"cache_control", "data", "encrypted_content", "fingerprint", "id", "signature", "status"}
)


class _Gone:
    """What `change` gives for a part of which nothing is left."""


_GONE = _Gone()


def is_record(value: object) -> bool:
    """Whether a value has named fields that can be read and replaced."""
    return isinstance(value, Mapping) or hasattr(type(value), "model_copy")


def value_of(record: Record, name: str) -> Any:  # noqa: ANN401 -- a field of any type
    """A field's value, None where there is no such field."""
    if type(record) is dict or isinstance(record, Mapping):  # the first costs a tenth
        return cast("Mapping[str, Any]", record).get(name)
    return getattr(record, name, None)


def required(record: Record, name: str, where: str) -> str:
    """A field that has to be a non-empty text.

    Raises:
        InputError: naming the field.
    """
    value = value_of(record, name)
    if not isinstance(value, str) or not value:
        raise InputError(f"{where}.{name}: expected a non-empty str, got {value!r}")
    return value


def text_of(record: Record, name: str, where: str) -> str:
    """A field that has to be a text, and may be blank.

    Raises:
        InputError: naming the field.
    """
    value = value_of(record, name)
    if not isinstance(value, str):
        raise InputError(f"{where}.{name}: expected a str, got {type(value).__name__}")
    return value


def elements(value: object, where: str) -> Sequence[Record]:
    """The blocks of a content that is a list, each with named fields.

    Raises:
        InputError: naming the field, when it is something else.
    """
    if not _is_list(value):
        kind = type(value).__name__
        raise InputError(f"{where}: expected a str or a list of content blocks, got {kind}")
    for index, block in enumerate(value):
        if not is_record(block) or not isinstance(value_of(block, "type"), str):
            raise InputError(
                f"{where}[{index}]: expected a content block with a 'type', got {block!r:.80}; "
                "a text is {'type': 'text', 'text': …}"
            )
    return value


def _is_list(value: object) -> TypeGuard[Sequence[Record]]:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


# -- counting ------------------------------------------------------------------------------------


def dump(value: object) -> str:
    """A value of any kind as JSON, to be counted."""
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: object) -> object:
    model_dump = getattr(value, "model_dump", None)
    return model_dump(exclude_none=True) if callable(model_dump) else str(value)


def readable(value: object) -> object:
    """A block without what is not read as tokens, at any depth."""
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        return {str(k): readable(v) for k, v in items if k not in _NOT_COUNTED and v is not None}
    if _is_list(value):
        return [readable(item) for item in value]
    return readable(_plain(value)) if is_record(value) else value


def tools_text(tools: object) -> str:
    """Tool schemas as the JSON that is counted; a text is taken as it is.

    Args:
        tools: a text, or the list that the SDK's call is given: OpenAI's `{"type": "function", …}`
            of either API, Anthropic's `{"name": …, "input_schema": …}`, their objects.

    Raises:
        InputError: it is neither.
    """
    if tools is None or isinstance(tools, str):
        return tools or ""
    if not _is_list(tools):
        kind = type(tools).__name__
        raise InputError(f"tools: expected a list of tool schemas, got {kind}; pass [tool]")
    for index, tool in enumerate(tools):
        if not is_record(tool):
            raise InputError(
                f"tools[{index}]: expected a tool's schema as a dict, got {type(tool).__name__}; "
                "pass what the SDK's `tools=` is given"
            )
    # A schema may have properties of any name, "id" and "data" too, so nothing is left out of it.
    schemas = [{k: v for k, v in _fields(tool).items() if k != "cache_control"} for tool in tools]
    return dump(schemas) if schemas else ""


def _fields(record: Record) -> Mapping[str, Any]:
    if isinstance(record, Mapping):
        return cast("Mapping[str, Any]", record)
    return record.model_dump(exclude_none=True)


# -- changing ------------------------------------------------------------------------------------


def change(value: Any, edits: Mapping[Path, str | None]) -> Any:  # noqa: ANN401 -- any shape in, the same out
    """A copy in which some texts are others; None when nothing of it is left.

    What no edit reaches is the same object in the copy. A block whose text became blank leaves,
    because providers refuse empty blocks; a cache breakpoint on it goes to the block before it.

    Args:
        value: a message, or a system prompt. It is not changed.
        edits: the new text of each part by its path; None takes the part out.
    """
    changed = _change(value, edits)
    return None if changed is _GONE else changed


def _change(value: Any, edits: Mapping[Path, str | None]) -> Any:  # noqa: ANN401 -- as `change`
    if not edits:
        return value
    if () in edits:
        text = edits[()]
        return text if text is not None and text.strip() else _GONE
    below: dict[str | int, dict[Path, str | None]] = {}
    for path, text in edits.items():
        below.setdefault(path[0], {})[path[1:]] = text
    return _change_list(value, below) if _is_list(value) else _change_record(value, below)


def _change_list(
    values: Sequence[Any], below: Mapping[str | int, Mapping[Path, str | None]]
) -> list[Any] | _Gone:
    kept: list[Any] = []
    for index, value in enumerate(values):
        changed = _change(value, below.get(index, {}))
        if changed is not _GONE:
            kept.append(changed)
        elif kept and value_of(kept[-1], "cache_control") is None:
            mark = value_of(value, "cache_control")
            kept[-1] = kept[-1] if mark is None else _with(kept[-1], "cache_control", mark)
    return kept or _GONE


def _change_record(
    record: Record, below: Mapping[str | int, Mapping[Path, str | None]]
) -> Record | _Gone:
    for key, edits in below.items():
        name = str(key)
        changed = _change(value_of(record, name), edits)
        if changed is _GONE:
            return _GONE
        record = _with(record, name, changed)
    return record


def _with(record: Record, name: str, value: object) -> Record:
    if isinstance(record, Mapping):
        return {**cast("Mapping[str, Any]", record), name: value}
    copied = record.model_copy(update={name: value})
    if value_of(copied, name) is not value:  # not a field but a property, as of LlamaIndex's
        raise InputError(
            f"messages: the {name!r} of a {type(record).__name__} cannot be replaced; pass dicts, "
            "or guard a framework's own object with guard(x)"
        )
    return copied
