"""What a guarded block changes: LangChain's classes, while a block is open anywhere.

The methods are those that a guarded copy overrides, and the hooks are the same; here they are put
on the plain classes themselves, where a class defines them. LangChain tells by comparing methods
with those of its base classes whether a class streams or is natively async, so the base classes
keep theirs, and every class that is loaded, or defined while a block is open, is patched itself.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from langchain_core.language_models import BaseChatModel, BaseLLM, llms
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore

from ctxguard.adapters import Patched
from ctxguard.block import Patches, ambient
from ctxguard.handle import Coverage, Reached
from ctxguard_langchain.classes import due, is_dynamic, is_guarded
from ctxguard_langchain.dynamic import Dynamic, extends
from ctxguard_langchain.hooks import choke_points, salt_of, salted

__all__ = ["patch"]

_ROOTS: tuple[type[Any], ...] = (BaseRetriever, BaseChatModel, BaseLLM, VectorStore)
_RESOLVE = "_resolve_cache"


def patch() -> Patched:
    """Let every class of retrievers, models and vector stores ask for the block around a call."""
    with Patches() as patches:
        for root in _ROOTS:
            _patch_new_classes(patches, root)
            for kind in _subclasses(root):
                _patch_class(patches, kind, root)
        _patch_caches(patches)
    reached = (
        Reached("langchain", "BaseRetriever", "retriever"),
        Reached("langchain", "VectorStore", "retriever"),
        Reached("langchain", "BaseChatModel", "model"),
        Reached("langchain", "BaseLLM", "model"),
    )
    return Patched(undo=patches.undo, coverage=Coverage(reached))


def _subclasses(root: type[Any]) -> Iterator[type[Any]]:
    seen: set[type[Any]] = set()
    pending = type.__subclasses__(root)
    while pending:
        kind = pending.pop()
        if kind not in seen:
            seen.add(kind)
            yield kind
            pending += type.__subclasses__(kind)


def _patch_class(patches: Patches, kind: type[Any], root: type[Any]) -> None:
    """Put hooks on what a class defines itself, or has from a class that knows no LangChain."""
    if is_dynamic(kind):
        return
    for name, hook in choke_points(kind).items():
        definer = next(base for base in kind.__mro__ if name in vars(base))
        abstract = getattr(vars(definer)[name], "__isabstractmethod__", False)
        foreign = not extends(definer, root) and not extends(root, definer)
        if not abstract and (definer is kind or foreign):
            patches.put(kind, name, hook)


def _patch_new_classes(patches: Patches, root: type[Any]) -> None:
    """Classes that are defined while a block is open: libraries are imported when they are used."""
    own: Dynamic = vars(root).get("__init_subclass__")

    def __init_subclass__(cls: type[Any], **kwargs: Any) -> None:  # noqa: N807 -- the method itself
        begin: Callable[..., None] = (
            own.__get__(None, cls) if own is not None else super(root, cls).__init_subclass__
        )
        begin(**kwargs)
        _patch_class(patches, cls, root)

    patches.put(root, "__init_subclass__", classmethod(__init_subclass__))


def _patch_caches(patches: Patches) -> None:
    """Keep the answers of calls inside and outside of a block apart in a cache that they share."""
    key: Callable[..., str] = BaseChatModel._get_llm_string  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] -- what a cache tells models apart by

    @functools.wraps(key)
    def _get_llm_string(self: Dynamic, *args: Any, **kwargs: Any) -> str:
        handle = None if is_guarded(self) else due(self)
        return key(self, *args, **kwargs) + salt_of(handle)

    patches.put(BaseChatModel, "_get_llm_string", _get_llm_string)
    resolve: Callable[..., Any] = getattr(llms, _RESOLVE)

    @functools.wraps(resolve)
    def _resolve_cache(*args: Any, **kwargs: Any) -> Dynamic:
        return salted(resolve(*args, **kwargs), ambient())

    patches.put(llms, _RESOLVE, _resolve_cache)
