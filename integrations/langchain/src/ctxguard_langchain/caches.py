"""Caches that guarded and plain objects share, under keys of their own.

An answer that was cached without a guard, or under another policy, must not be served to a guarded
model, nor the reverse. LangChain's cache of answers and LangGraph's cache of what a node wrote are
both asked before a prompt is made to fit, so the policy's fingerprint is part of the key.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, cast

from langchain_core.caches import RETURN_VAL_TYPE, BaseCache
from langchain_core.globals import get_llm_cache

from ctxguard.handle import Handle
from ctxguard_langchain.classes import due
from ctxguard_langchain.dynamic import Dynamic, class_of, state_of

__all__ = ["CacheField", "salt_of", "salted", "separate_graph_cache"]

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
    pregel: Any = getattr(sys.modules.get("langgraph.pregel"), "Pregel", None)
    if pregel is None or not issubclass(class_of(graph), pregel):
        return
    cache = state_of(graph).get("cache")
    if cache is not None:
        state_of(graph)["cache"] = _salted_graph_cache()(cache, _salt(handle))


def _salted(salt: str, key: Key) -> Key:
    return (salt, *key[0]), key[1]


def _plain(found: Mapping[Key, Any]) -> dict[Key, Any]:
    return {(space[1:], key): value for (space, key), value in found.items()}


def _spaces(salt: str, namespaces: Sequence[Namespace] | None) -> list[Namespace] | None:
    return None if namespaces is None else [(salt, *space) for space in namespaces]


@functools.cache
def _salted_graph_cache() -> type[Any]:
    """The class of such a cache; made when there is a graph, because LangGraph is optional."""
    from langgraph.cache.base import BaseCache as GraphCache

    class SaltedGraphCache(GraphCache[Any]):
        """Another cache, whose namespaces begin with the policy's fingerprint."""

        def __init__(self, cache: GraphCache[Any], salt: str) -> None:
            super().__init__(serde=cache.serde)
            # A guarded graph that is guarded with another policy brings one of these.
            inner = cache._cache if isinstance(cache, SaltedGraphCache) else cache  # noqa: SLF001 -- of this class
            self._cache: GraphCache[Any] = inner
            self._salt = salt

        def get(self, keys: Sequence[Key]) -> dict[Key, Any]:
            return _plain(self._cache.get([_salted(self._salt, key) for key in keys]))

        async def aget(self, keys: Sequence[Key]) -> dict[Key, Any]:
            return _plain(await self._cache.aget([_salted(self._salt, key) for key in keys]))

        def set(self, pairs: Mapping[Key, tuple[Any, int | None]]) -> None:
            self._cache.set({_salted(self._salt, key): pair for key, pair in pairs.items()})

        async def aset(self, pairs: Mapping[Key, tuple[Any, int | None]]) -> None:
            await self._cache.aset({_salted(self._salt, key): pair for key, pair in pairs.items()})

        def clear(self, namespaces: Sequence[Namespace] | None = None) -> None:
            self._cache.clear(_spaces(self._salt, namespaces))

        async def aclear(self, namespaces: Sequence[Namespace] | None = None) -> None:
            await self._cache.aclear(_spaces(self._salt, namespaces))

    return SaltedGraphCache
