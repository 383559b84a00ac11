"""Caches of answers that plain and guarded models share, under keys that keep them apart.

What a guarded model is asked differs from what the key says: it is made of the messages before the
guard. So the policy is part of the key.
"""

from __future__ import annotations

from typing import Any, cast

from langchain_core.caches import RETURN_VAL_TYPE, BaseCache
from langchain_core.globals import get_llm_cache

from ctxguard.handle import Handle
from ctxguard_langchain.classes import due
from ctxguard_langchain.dynamic import Dynamic, state_of

__all__ = ["CacheField", "salt_of", "salted"]


def salt_of(model: object) -> str:
    """What keeps the answers of guarded and plain calls apart in a cache that they share."""
    handle = due(model)
    return f"|{_salt(handle)}" if handle else ""


def _salt(handle: Handle) -> str:
    return f"ctxguard:{handle.policy.fingerprint()}"


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
