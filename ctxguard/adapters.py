"""Adapters: what an integration registers, and the one that knows an object.

An integration registers an object with the methods of `Adapter` under the entry points
`ctxguard.adapters`, named by the root module of its framework's classes. The other two protocols
are for what a copy cannot reach; an adapter without their method says so when it is asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Protocol, TypeVar, cast, runtime_checkable

from ctxguard.errors import UnsupportedObjectError
from ctxguard.handle import Coverage

if TYPE_CHECKING:
    from ctxguard.guard import Guard

__all__ = [
    "Adapter",
    "Patched",
    "SupportsBlocks",
    "SupportsProcess",
    "find_adapter",
    "integrations",
]

T = TypeVar("T")
ENTRY_POINTS = "ctxguard.adapters"


class Adapter(Protocol):
    """What an integration registers under `ctxguard.adapters`, named by its framework's module."""

    name: str

    def supports(self, obj: object, /) -> bool:
        """Whether this adapter can guard the object."""
        ...

    def guard(self, obj: T, guard: Guard, /) -> T:
        """A guarded copy of the object, of the same type; the original is untouched."""
        ...


@runtime_checkable
class SupportsProcess(Protocol):
    """An adapter that can guard objects in place: `guard(x, scope="process")`."""

    def guard_in_place(self, obj: T, guard: Guard, /) -> T:
        """The object itself, guarded for whoever holds it; its handle is a `ProcessHandle`."""
        ...


@runtime_checkable
class SupportsBlocks(Protocol):
    """An adapter whose framework can be guarded for `with guarded(policy): …`."""

    def patch(self) -> Patched:
        """Make the framework's classes ask `ctxguard.block.ambient()`, until this is undone.

        Called for the first open block of the process and undone after the last, under a lock.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Patched:
    """What an adapter changed while a block is open."""

    undo: Callable[[], None]
    coverage: Coverage
    """The kinds of objects that a block guards now, and what it cannot see."""


@cache
def integrations() -> Mapping[str, metadata.EntryPoint]:
    """The installed integrations, by the root module of their framework's classes.

    Cached, because it reads the metadata of every distribution.
    """
    return {point.name: point for point in metadata.entry_points(group=ENTRY_POINTS)}


def find_adapter(obj: object) -> Adapter:
    """The adapter for an object: by the modules of its classes, then by what is imported.

    Raises:
        UnsupportedObjectError: no installed integration knows this object.
    """
    adapter = _search(obj)
    if adapter is None:
        integrations.cache_clear()  # an integration may have been installed meanwhile
        adapter = _search(obj)
    if adapter is None:
        raise UnsupportedObjectError(_unsupported(obj, sorted(integrations())))
    return adapter


def _search(obj: object) -> Adapter | None:
    points = integrations()
    roots = [kind.__module__.partition(".")[0] for kind in type(obj).__mro__]
    names = [name for name in dict.fromkeys(roots) if name in points]
    names += [name for name in points if name not in names and name in sys.modules]
    for name in names:
        adapter = cast("Adapter", points[name].load())
        if adapter.supports(obj):
            return adapter
    return None


def _unsupported(obj: object, names: Sequence[str]) -> str:
    kind = f"{type(obj).__module__}.{type(obj).__qualname__}"
    installed = (
        f"integrations installed for: {', '.join(names)}"
        if names
        else "no integration is installed"
    )
    return (
        f"guard: do not know how to guard a {kind} ({installed}). For LangChain and LangGraph: "
        "pip install ctxguard-langchain; for LlamaIndex: pip install ctxguard-llamaindex; "
        "without a framework: Guard(policy).prepare(question, chunks)."
    )
