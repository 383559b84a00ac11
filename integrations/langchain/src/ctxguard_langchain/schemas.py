"""Tools that are no tools: schemas of an agent's structured answer (`ToolStrategy`).

An agent offers them to its model beside its tools, and nothing in the call tells them apart. Their
names are found when the agent is guarded, or in the middleware's request.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from typing import Any, cast

from ctxguard.handle import Handle
from ctxguard_langchain.dynamic import Dynamic, class_of

__all__ = ["known_schemas", "note_schemas", "schemas_in", "schemas_of"]

_known: weakref.WeakKeyDictionary[Handle, frozenset[str]] = weakref.WeakKeyDictionary()


def note_schemas(handle: Handle, names: Iterable[str]) -> None:
    """Remember names of schemas that a guarded object offers as tools."""
    known = _known.get(handle, frozenset())
    new = known | frozenset(names)
    if new != known:
        _known[handle] = new


def known_schemas(handle: Handle) -> frozenset[str]:
    """The names of the schemas that a guarded object offers as tools."""
    return _known.get(handle, frozenset())


def schemas_of(handle: Handle, kwargs: Mapping[str, Any]) -> frozenset[str]:
    """Those among the tools of one call."""
    known = known_schemas(handle)
    if not known:
        return known
    return known & {_name(tool) for tool in cast("Iterable[object]", kwargs.get("tools") or ())}


def schemas_in(objects: Iterable[object]) -> list[str]:
    """The names of the schemas among what an agent holds."""
    return [
        str(cast("Any", obj).tool.name)
        for obj in objects
        if class_of(obj).__name__ == "OutputToolBinding"
        and class_of(obj).__module__ == "langchain.agents.structured_output"
    ]


def _name(tool: Dynamic) -> str:
    """A tool's name, as providers are given it or as LangChain has it."""
    if isinstance(tool, Mapping):
        known = cast("Mapping[str, Any]", tool)
        inner: Mapping[str, Any] = known.get("function") or known
        return str(inner.get("name", ""))
    return str(getattr(tool, "name", ""))
