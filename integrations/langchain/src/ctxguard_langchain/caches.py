"""Caches that guarded and plain objects share, under keys of their own.

An answer that was cached without a guard, or under another policy, must not be served to a guarded
model, nor the reverse. LangChain's cache of answers and LangGraph's cache of what a node wrote are
both asked before a prompt is made to fit, so the policy's fingerprint is part of the key.
"""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, cast

from langchain_core.caches import RETURN_VAL_TYPE, BaseCache
from langchain_core.globals import get_llm_cache

from ctxguard.block import ambient
from ctxguard.handle import Handle
from ctxguard.patching import Patches
from ctxguard.process import Carrying, ProcessHandle
from ctxguard_langchain.carrying import due
from ctxguard_langchain.dynamic import Dynamic, class_of, state_of

__all__ = [
    "CacheField",
    "patch_graph_caches",
    "salt_of",
    "salted",
    "separate_graph_cache",
    "take_graph_cache",
]

Namespace: TypeAlias = tuple[str, ...]
Key: TypeAlias = tuple[Namespace, str]


def salt_of(model: object) -> str:
    """What keeps the answers of guarded and plain calls apart in a cache that they share."""
    handle = due(model)
    return f"|{_salt(handle)}" if handle else ""


def _salt(handle: Handle) -> str:
    return f"ctxguard:{handle.guard.fingerprint}"


# -- answers of completion models -----------------------------------------------------------------


class _SaltedCache(BaseCache):
    """Another cache, under keys of its own."""

    def __init__(self, cache: BaseCache, salt: str) -> None:
        self._cache = cache
        self._salt = salt

    def lookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """What was answered under this policy."""
        return self._cache.lookup(prompt, llm_string + self._salt)

    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """Keep an answer for this policy."""
        self._cache.update(prompt, llm_string + self._salt, return_val)

    def clear(self, **kwargs: Any) -> None:
        """Clear the other cache."""
        self._cache.clear(**kwargs)

    async def alookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """As `lookup`."""
        return await self._cache.alookup(prompt, llm_string + self._salt)

    async def aupdate(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """As `update`."""
        await self._cache.aupdate(prompt, llm_string + self._salt, return_val)

    async def aclear(self, **kwargs: Any) -> None:
        """As `clear`."""
        await self._cache.aclear(**kwargs)


def salted(cache: BaseCache | None, handle: Handle | None) -> BaseCache | None:
    """A cache under keys of this handle's policy; as it is without one, or when it is salted."""
    if cache is None or handle is None or isinstance(cache, _SaltedCache):
        return cache
    return _SaltedCache(cache, f"|{_salt(handle)}")


class CacheField:
    """The model's field `cache`; completion models key it by parameters that are traced too.

    A class has no such attribute: pydantic would take it for the default of the field.
    """

    def __get__(self, obj: Dynamic, owner: type[Any] | None = None) -> BaseCache | bool | None:
        """The cache under keys of the guard's own."""
        if obj is None:
            raise AttributeError("cache")
        value = cast("BaseCache | bool | None", state_of(obj).get("cache"))
        if value is False:
            return value
        cache = value if isinstance(value, BaseCache) else get_llm_cache()
        made = salted(cache, due(obj))
        return value if made is cache else made

    def __set__(self, obj: Dynamic, value: object) -> None:
        """Set the field."""
        state_of(obj)["cache"] = value


# -- what a graph's nodes wrote -------------------------------------------------------------------


def separate_graph_cache(graph: Dynamic, handle: Handle) -> None:
    """Let a guarded copy of a compiled graph use its cache under keys of its own."""
    if _is_graph(graph):
        _separate(state_of(graph), handle)


def take_graph_cache(graph: Dynamic, handle: ProcessHandle) -> None:
    """Let a compiled graph itself do so, until its guard in place is taken off."""
    if _is_graph(graph) and state_of(graph).get("cache") is not None:
        handle.take(_Slot(graph), _Slot, _CARRYING)


def patch_graph_caches(patches: Patches) -> None:
    """Keep what nodes wrote inside and outside of a block apart, if LangGraph is loaded."""
    pregel = _pregel()
    if pregel is None:
        return
    choose: Any = pregel._defaults  # noqa: SLF001 -- where a graph chooses the cache of a call

    @functools.wraps(choose)
    def _defaults(self: Dynamic, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        chosen: tuple[Any, ...] = choose(self, *args, **kwargs)
        handle = ambient()
        return chosen if handle is None else tuple(_in_block(one, handle) for one in chosen)

    patches.put(pregel, "_defaults", _defaults)


def _pregel() -> type[Any] | None:
    return getattr(sys.modules.get("langgraph.pregel"), "Pregel", None)


def _is_graph(obj: Dynamic) -> bool:
    pregel = _pregel()
    return pregel is not None and issubclass(class_of(obj), pregel)


def _separate(state: dict[str, Any], handle: Handle | None) -> None:
    """Salt the cache of a graph with this handle's policy; None: as it was compiled with."""
    cache = state.get("cache")
    if cache is None:
        return
    kind = _salted_graph_cache()
    # A guarded graph that is guarded with another policy brings a salted one.
    inner = cache.inner if isinstance(cache, kind) else cache
    state["cache"] = inner if handle is None else kind(inner, handle)


def _in_block(chosen: object, handle: Handle) -> object:
    """A cache under keys of a block's own; one of a guarded graph, and anything else, as it is."""
    from langgraph.cache.base import BaseCache as GraphCache

    if not isinstance(chosen, GraphCache) or isinstance(chosen, _salted_graph_cache()):
        return cast("object", chosen)
    return _salted_graph_cache()(chosen, handle)


class _Slot:
    """Where a graph that is guarded in place has its cache; it does not keep the graph alive."""

    __slots__ = ("_graph",)

    def __init__(self, graph: Dynamic) -> None:
        self._graph = weakref.ref(graph)

    def owner(self) -> Handle | None:
        """The handle whose policy the cache is salted with."""
        graph = self._graph()
        cache: Any = None if graph is None else state_of(graph).get("cache")
        return cache.handle if isinstance(cache, _salted_graph_cache()) else None

    def keep(self, handle: Handle | None) -> None:
        """Salt it with this handle's policy; None: with none."""
        graph = self._graph()
        if graph is not None:
            _separate(state_of(graph), handle)


_CARRYING = Carrying(owner=_Slot.owner, keep=_Slot.keep, plain=lambda kind: kind)


def _plain(prefix: Namespace, found: Mapping[Key, Any]) -> dict[Key, Any]:
    return {(space[len(prefix) :], key): value for (space, key), value in found.items()}


def _salted(prefix: Namespace, key: Key) -> Key:
    return (*prefix, *key[0]), key[1]


def _spaces(prefix: Namespace, spaces: Sequence[Namespace] | None) -> list[Namespace] | None:
    return None if spaces is None else [(*prefix, *space) for space in spaces]


@functools.cache
def _salted_graph_cache() -> type[Any]:
    """The class of such a cache; made when there is a graph, because LangGraph is optional."""
    from langgraph.cache.base import BaseCache as GraphCache

    class SaltedGraphCache(GraphCache[Any]):
        """Another cache, whose namespaces begin with the policy's fingerprint.

        They do not in calls that begin after a guard in place was taken off, while others that it
        guards are still in flight.
        """

        def __init__(self, inner: GraphCache[Any], handle: Handle) -> None:
            super().__init__(serde=inner.serde)
            self.inner = inner
            self.handle = handle

        @property
        def _prefix(self) -> Namespace:
            return (_salt(self.handle),) if self.handle.live() else ()

        def get(self, keys: Sequence[Key]) -> dict[Key, Any]:
            prefix = self._prefix
            return _plain(prefix, self.inner.get([_salted(prefix, key) for key in keys]))

        async def aget(self, keys: Sequence[Key]) -> dict[Key, Any]:
            prefix = self._prefix
            return _plain(prefix, await self.inner.aget([_salted(prefix, key) for key in keys]))

        def set(self, pairs: Mapping[Key, tuple[Any, int | None]]) -> None:
            prefix = self._prefix
            self.inner.set({_salted(prefix, key): pair for key, pair in pairs.items()})

        async def aset(self, pairs: Mapping[Key, tuple[Any, int | None]]) -> None:
            prefix = self._prefix
            await self.inner.aset({_salted(prefix, key): pair for key, pair in pairs.items()})

        def clear(self, namespaces: Sequence[Namespace] | None = None) -> None:
            self.inner.clear(_spaces(self._prefix, namespaces))

        async def aclear(self, namespaces: Sequence[Namespace] | None = None) -> None:
            await self.inner.aclear(_spaces(self._prefix, namespaces))

    return SaltedGraphCache
