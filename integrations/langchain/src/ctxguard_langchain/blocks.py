"""What a guarded block changes: LangChain's classes, while a block is open anywhere.

The methods are those that a guarded copy overrides, and the hooks are the same; here they are put
on the plain classes themselves, where a class defines them. LangChain tells by comparing methods
with those of its base classes whether a class streams or is natively async, so the base classes
keep theirs, and every class that is loaded, or defined while a block is open, is patched itself.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.language_models import BaseChatModel, BaseLLM, llms
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore

from ctxguard.adapters import Patched
from ctxguard.block import ambient
from ctxguard.handle import Coverage, Reached
from ctxguard.patching import Patches, patch_classes
from ctxguard_langchain.caches import patch_graph_caches, salt_of, salted
from ctxguard_langchain.calls import entries
from ctxguard_langchain.carrying import is_dynamic, is_guarded
from ctxguard_langchain.dynamic import Dynamic
from ctxguard_langchain.hooks import choke_points, routed_entries

__all__ = ["patch"]

_ROOTS: tuple[type[Any], ...] = (BaseRetriever, BaseChatModel, BaseLLM, VectorStore)
_RESOLVE = "_resolve_cache"


def patch() -> Patched:
    """Let every class of retrievers, models and vector stores ask for the block around a call."""
    with Patches() as patches:
        for root in _ROOTS:
            patch_classes(patches, root, _methods)
        for root in (BaseChatModel, BaseLLM):
            for name, method in routed_entries(root, entries(root)).items():
                patches.put(root, name, method)
        _patch_caches(patches)
        patch_graph_caches(patches)
    reached = (
        Reached("langchain", "BaseRetriever", "retriever"),
        Reached("langchain", "VectorStore", "retriever"),
        Reached("langchain", "BaseChatModel", "model"),
        Reached("langchain", "BaseLLM", "model"),
    )
    return Patched(undo=patches.undo, coverage=Coverage(reached))


def _methods(kind: type[Any]) -> Mapping[str, Any]:
    return {} if kind in _ROOTS or is_dynamic(kind) else choke_points(kind)


def _patch_caches(patches: Patches) -> None:
    """Keep the answers of calls inside and outside of a block apart in a cache that they share."""
    key: Callable[..., str] = BaseChatModel._get_llm_string  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] -- what a cache tells models apart by

    @functools.wraps(key)
    def _get_llm_string(self: Dynamic, *args: Any, **kwargs: Any) -> str:
        salt = "" if is_guarded(self) else salt_of(self)  # a guarded model's own is added to this
        return key(self, *args, **kwargs) + salt

    patches.put(BaseChatModel, "_get_llm_string", _get_llm_string)
    resolve: Callable[..., Any] = getattr(llms, _RESOLVE)

    @functools.wraps(resolve)
    def _resolve_cache(*args: Any, **kwargs: Any) -> Dynamic:
        return salted(resolve(*args, **kwargs), ambient())

    patches.put(llms, _RESOLVE, _resolve_cache)
